//! Prints the sum and the mean of each line of numbers on standard input.
//!
//! Numbers are whole and separated by spaces or commas. A `#` starts a comment; empty lines are
//! skipped.
//!
//! Bug 16: a line with separators only, or with nothing but a comment, has no mean.

use std::process::ExitCode;

fn main() -> ExitCode {
    for (number, line) in (1..).zip(std::io::stdin().lines()) {
        let Ok(line) = line else {
            eprintln!("sums: line {number} is not text");
            return ExitCode::FAILURE;
        };
        if line.is_empty() {
            continue;
        }
        match parse(&line) {
            Ok(numbers) => println!("{} {}", sum(&numbers), bug_16_mean(&numbers)),
            Err(word) => {
                eprintln!("sums: line {number}: {word:?} is not a number");
                return ExitCode::FAILURE;
            }
        }
    }
    ExitCode::SUCCESS
}

/// The numbers of a line, or the first word that is none.
fn parse(line: &str) -> Result<Vec<i64>, &str> {
    let line = line.split('#').next().unwrap_or_default();
    line.split([' ', ','])
        .filter(|word| !word.is_empty())
        .map(|word| word.parse().map_err(|_| word))
        .collect()
}

fn sum(numbers: &[i64]) -> i64 {
    numbers.iter().fold(0, |sum, &number| sum.saturating_add(number))
}

/// Bug: there may be no numbers.
#[inline(never)]
fn bug_16_mean(numbers: &[i64]) -> i64 {
    sum(numbers) / numbers.len() as i64
}
