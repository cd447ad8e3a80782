//# stdin: x = 40\nx = x + 2\nx\n\ny\nx * x = 1\nx - 50\n
//# stdout: > > > 42\n> > y?\n> x * x?\n> -8\n> \n
//! A calculator with variables, as one sits at: a prompt, a line, perhaps an answer.

use std::collections::BTreeMap;
use std::io::{BufRead, Write};

fn value(word: &str, variables: &BTreeMap<String, i64>) -> Result<i64, String> {
    let known = word.parse().ok().or_else(|| variables.get(word).copied());
    known.ok_or_else(|| word.to_owned())
}

fn computed(words: &[&str], variables: &BTreeMap<String, i64>) -> Result<i64, String> {
    let value = |word| value(word, variables);
    match words {
        [one] => value(one),
        [left, "+", right] => Ok(value(left)?.wrapping_add(value(right)?)),
        [left, "-", right] => Ok(value(left)?.wrapping_sub(value(right)?)),
        [left, "*", right] => Ok(value(left)?.wrapping_mul(value(right)?)),
        other => Err(other.join(" ")),
    }
}

fn main() {
    let mut variables = BTreeMap::new();
    let mut lines = std::io::stdin().lock().lines();
    loop {
        print!("> ");
        std::io::stdout().flush().expect("can flush");
        let Some(line) = lines.next() else { break };
        let line = line.expect("a line");
        let (name, formula) = match line.split_once('=') {
            Some((name, formula)) => (Some(name.trim()), formula),
            None => (None, &line[..]),
        };
        let words: Vec<&str> = formula.split_whitespace().collect();
        match (name, computed(&words, &variables)) {
            (Some(name), Ok(_)) if name.contains(' ') => println!("{name}?"),
            (Some(name), Ok(value)) => {
                variables.insert(name.to_owned(), value);
            }
            (None, Ok(value)) => println!("{value}"),
            (_, Err(_)) if line.is_empty() => {}
            (_, Err(what)) => println!("{what}?"),
        }
    }
    println!();
}
