//# stdout: prepared\nno data\n
//! Prepares something, and does with it what it is given. Its exit code is the number of bytes.

fn main() {
    let table: Vec<u64> = (0..10_000_u64).map(|n| n * n).collect();
    println!("prepared");
    wrr_guest::mark("prepared");
    match wrr_guest::branch("here") {
        None => println!("no data"),
        Some(data) => {
            let text = String::from_utf8_lossy(&data);
            println!("{text}: {}", table[data.len()]);
            if text == "panic" {
                panic!("as it was told");
            }
            std::process::exit(data.len() as i32);
        }
    }
}
