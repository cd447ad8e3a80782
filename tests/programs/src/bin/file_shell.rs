//# dir: /work
//# stdin: write a one\nappend a  two\nmkdir d\nmv a d/b\ncat d/b\nls d\nhold d/b\nrm d/b\nheld\ncat d/b\nrmdir d\ncheckpoint here\nrollback here\nls nowhere\n
//# stdout: one two\nb\none two\nno such file\nattempt 1\nno such file\n
//! Does with files what the lines of its input say. It goes back only once, to where it was not going to go back.

use std::fs;
use std::io::{BufRead as _, Error, ErrorKind, Read as _, Write as _};

struct Shell {
    held: Option<fs::File>,
    attempt: u32,
}

impl Shell {
    fn carry_out(&mut self, line: &str) -> Result<Option<String>, Error> {
        let (command, rest) = line.split_once(' ').unwrap_or((line, ""));
        let (one, two) = rest.split_once(' ').unwrap_or((rest, ""));
        let path = |path: &str| format!("/work/{path}");
        match command {
            "write" => fs::write(path(one), two)?,
            "append" => {
                fs::File::options().append(true).open(path(one))?.write_all(two.as_bytes())?;
            }
            "fill" => {
                let bytes = vec![b'f'; two.parse().expect("a number of bytes")];
                fs::write(path(one), bytes)?;
            }
            "cat" => return fs::read_to_string(path(one)).map(Some),
            "ls" => {
                let entries = fs::read_dir(path(one))?.map(|entry| Ok(entry?.file_name()));
                let mut names = entries.collect::<Result<Vec<_>, Error>>()?;
                names.sort();
                let names = names.into_iter().map(|name| name.into_string().expect("UTF-8"));
                return Ok(Some(names.collect::<Vec<_>>().join(" ")));
            }
            "rm" => fs::remove_file(path(one))?,
            "mv" => fs::rename(path(one), path(two))?,
            "mkdir" => fs::create_dir(path(one))?,
            "rmdir" => fs::remove_dir(path(one))?,
            "hold" => self.held = Some(fs::File::options().read(true).write(true).open(path(one))?),
            "held" => {
                let mut text = String::new();
                self.held.as_mut().expect("a file is held").read_to_string(&mut text)?;
                return Ok(Some(text));
            }
            "put" => self.held.as_mut().expect("a file is held").write_all(rest.as_bytes())?,
            "checkpoint" => {
                self.attempt = wrr_guest::checkpoint(one);
            }
            "rollback" if self.attempt == 0 => {
                wrr_guest::rollback(one);
            }
            "rollback" => return Ok(Some(format!("attempt {}", self.attempt))),
            "exit" => std::process::exit(one.parse().expect("a number")),
            other => panic!("unknown command {other:?}"),
        }
        Ok(None)
    }
}

fn main() {
    let mut shell = Shell { held: None, attempt: 0 };
    let mut input = std::io::BufReader::with_capacity(1 << 16, std::io::stdin());
    let mut line = String::new();
    while input.read_line(&mut line).expect("a line") > 0 {
        match shell.carry_out(line.trim_end_matches('\n')) {
            Ok(None) => {}
            Ok(Some(text)) => println!("{text}"),
            Err(error) if error.kind() == ErrorKind::NotFound => println!("no such file"),
            Err(error) if error.kind() == ErrorKind::StorageFull => println!("no space"),
            Err(error) => println!("{error}"),
        }
        line.clear();
    }
}
