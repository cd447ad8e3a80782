//# stdin: first line\n\ttabbed\\n\nno newline at the end
//# stdout: first line\n\ttabbed\\n\nno newline at the end
//! Standard input to its end, copied to standard output.

fn main() {
    let copied = std::io::copy(&mut std::io::stdin(), &mut std::io::stdout()).expect("can copy");
    assert_eq!(copied, 42);
}
