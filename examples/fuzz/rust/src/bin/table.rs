//! Prints for each column of a CSV file the length of its longest cell.
//!
//! A cell may be in quotes, in which two quotes stand for one. The first row names the columns.
//! Exit codes: 0 success, 2 no file, 3 a quote that nothing closes.
//!
//! Bug 17: a row may have more cells than there are columns.

use std::process::ExitCode;

struct Column {
    name: String,
    longest_bytes: usize,
}

fn main() -> ExitCode {
    let Some(path) = std::env::args_os().nth(1) else {
        eprintln!("usage: table FILE");
        return ExitCode::from(2);
    };
    let text = match std::fs::read(&path) {
        Ok(text) => text,
        Err(error) => {
            eprintln!("table: {}: {error}", path.display());
            return ExitCode::from(2);
        }
    };
    let Some(rows) = parse(&text) else {
        eprintln!("table: a quote is not closed");
        return ExitCode::from(3);
    };
    let mut rows = rows.into_iter();
    let mut columns: Vec<Column> =
        rows.next().unwrap_or_default().into_iter().map(column).collect();
    for row in rows {
        bug_17_measure(&mut columns, &row);
    }
    for column in columns {
        println!("{} {}", column.name, column.longest_bytes);
    }
    ExitCode::SUCCESS
}

fn column(name: Vec<u8>) -> Column {
    Column { name: String::from_utf8_lossy(&name).into_owned(), longest_bytes: 0 }
}

/// The rows of cells, or `None` if a quote is not closed.
fn parse(text: &[u8]) -> Option<Vec<Vec<Vec<u8>>>> {
    let mut rows = Vec::new();
    let mut row = Vec::new();
    let mut cell = Vec::new();
    let mut bytes = text.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' if cell.is_empty() => loop {
                match bytes.next()? {
                    b'"' if bytes.next_if_eq(&b'"').is_none() => break,
                    byte => cell.push(byte),
                }
            },
            b',' => row.push(std::mem::take(&mut cell)),
            b'\n' => {
                row.push(std::mem::take(&mut cell));
                rows.push(std::mem::take(&mut row));
            }
            b'\r' => (),
            byte => cell.push(byte),
        }
    }
    if !cell.is_empty() || !row.is_empty() {
        row.push(cell);
        rows.push(row);
    }
    Some(rows)
}

/// Bug: a cell is taken to have a column.
#[inline(never)]
fn bug_17_measure(columns: &mut [Column], row: &[Vec<u8>]) {
    for (at, cell) in row.iter().enumerate() {
        let column = &mut columns[at];
        column.longest_bytes = column.longest_bytes.max(cell.len());
    }
}
