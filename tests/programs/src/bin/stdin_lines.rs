//# stdin: alpha\nbeta\n\ngamma\n
//# stdout: 1: alpha\n2: beta\n3: \n4: gamma\n
//! Line-wise reading, answering each line before the next one is asked for.

use std::io::{BufRead, Write};

fn main() {
    for (index, line) in std::io::stdin().lock().lines().enumerate() {
        println!("{}: {}", index + 1, line.expect("a line"));
        std::io::stdout().flush().expect("can flush");
    }
}
