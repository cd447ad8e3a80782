//! Tells how a recording that was interrupted goes on.

use crate::report::say;
use std::io::IsTerminal as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// A recording that may be interrupted, and what its program was given.
#[derive(Clone)]
pub struct Saved {
    trace: PathBuf,
    dirs: Vec<String>,
    /// The options that a resumed run needs again.
    options: Vec<String>,
}

impl Saved {
    pub fn new(
        trace: &Path,
        dirs: &[String],
        stdin: Option<&Path>,
        tcplisten: &[SocketAddr],
        commit_fs: bool,
    ) -> Saved {
        let mut options = Vec::new();
        let mut option = |name: &str, value: String| options.extend([name.to_owned(), value]);
        dirs.iter().for_each(|dir| option("--dir", dir.clone()));
        stdin.into_iter().for_each(|file| option("--stdin", file.display().to_string()));
        tcplisten.iter().for_each(|address| option("--tcplisten", address.to_string()));
        options.extend(commit_fs.then(|| "--commit-fs".to_owned()));
        let dirs = dirs.to_vec();
        Saved { trace: trace.to_owned(), dirs, options }
    }

    /// Says which command goes on from here, unless the recording went to a device or a pipe.
    pub fn tell(&self) {
        if !self.trace.is_file() {
            return;
        }
        // Behind a prompt, or the ^C that a terminal shows.
        let break_before = if std::io::stderr().is_terminal() { "\n" } else { "" };
        say(&format!("{break_before}wrr: saved; to go on: {}", self.command()));
    }

    /// The command of `wrr fs` that does something with the program's changes to files.
    pub fn fs_command(&self, what: &str, with_dirs: bool) -> String {
        let trace = self.trace.display().to_string();
        let dirs = self.dirs.iter().filter(|_| with_dirs).flat_map(|dir| ["--dir", dir]);
        ["wrr", "fs", what, &trace]
            .into_iter()
            .chain(dirs)
            .map(quoted)
            .collect::<Vec<_>>()
            .join(" ")
    }

    fn command(&self) -> String {
        let (trace, next) = (self.trace.display().to_string(), next_name(&self.trace));
        let fixed = ["wrr", "resume", &trace];
        let next = next.display().to_string();
        let words = fixed.into_iter().chain(self.options.iter().map(String::as_str));
        words.chain(["-o", &next]).map(quoted).collect::<Vec<_>>().join(" ")
    }
}

/// A file that does not exist: `run.wrr` goes on in `run-2.wrr`, that in `run-3.wrr`.
fn next_name(trace: &Path) -> PathBuf {
    let stem = trace.file_stem().unwrap_or_default().to_string_lossy();
    let (name, number) = match stem.rsplit_once('-') {
        Some((name, digits)) if !name.is_empty() => {
            digits.parse::<u32>().map_or((&*stem, 1), |number| (name, number))
        }
        _ => (&*stem, 1),
    };
    (u64::from(number) + 1..)
        .map(|number| trace.with_file_name(format!("{name}-{number}.wrr")))
        .find(|path| !path.exists())
        .expect("no folder has that many files")
}

/// A word as a shell takes it.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "/._-:=+,@%[]\\".contains(c);
    // There the backslash is a separator, and single quotes quote nothing.
    if cfg!(windows) {
        return match !word.is_empty() && word.chars().all(plain) {
            true => word.to_owned(),
            false => format!("\"{word}\""),
        };
    }
    match !word.is_empty() && word.chars().all(|c| plain(c) && !"[]\\".contains(c)) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn the_command_can_be_pasted_into_a_shell() {
        let folder = tempfile::tempdir().unwrap();
        let trace = folder.path().join("it's.wrr");
        let dirs = ["my files::/work".to_owned()];
        let command = Saved::new(&trace, &dirs, Some(Path::new("in")), &[], false).command();
        let folder = folder.path().display();
        let expected = format!(
            r"wrr resume '{folder}/it'\''s.wrr' --dir 'my files::/work' --stdin in -o '{folder}/it'\''s-2.wrr'"
        );
        assert_eq!(command, expected);
    }

    #[test]
    fn the_next_file_has_the_next_free_number() {
        let folder = tempfile::tempdir().unwrap();
        let next = |name: &str| {
            let next = next_name(&folder.path().join(name));
            next.file_name().unwrap().to_str().unwrap().to_owned()
        };
        assert_eq!(next("run.wrr"), "run-2.wrr");
        assert_eq!(next("run-2.wrr"), "run-3.wrr");
        assert_eq!(next("tool-1.2.wrr"), "tool-1.2-2.wrr");
        assert_eq!(next("-7"), "-7-2.wrr");
        std::fs::write(folder.path().join("run-2.wrr"), "").unwrap();
        assert_eq!(next("run.wrr"), "run-3.wrr");
    }
}
