//# dir: /work
//# args: /work
//! Keeps files open over many steps: one that it writes, one that it reads, and prints where it is in both.

use std::io::{BufRead, BufReader, Seek, Write};

fn main() {
    let folder = std::env::args().nth(1).expect("a folder");
    let input = format!("{folder}/input.txt");
    std::fs::write(&input, (0..20).map(|i| format!("line {i}\n")).collect::<String>()).unwrap();
    let mut log = std::fs::File::create(format!("{folder}/log.txt")).unwrap();
    let mut lines = BufReader::with_capacity(16, std::fs::File::open(&input).unwrap());
    let mut line = String::new();
    for step in 0..20 {
        line.clear();
        lines.read_line(&mut line).unwrap();
        write!(log, "{step}: {line}").unwrap();
        let at = log.stream_position().unwrap();
        println!("step {step} read {} log at {at}", line.trim());
    }
    let all = std::fs::read_to_string(format!("{folder}/log.txt")).unwrap();
    println!("{} bytes, {} lines", all.len(), all.lines().count());
}
