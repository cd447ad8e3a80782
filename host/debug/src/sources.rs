//! The text of a program, which is where the program itself had it from: what it read from its files is in the recording.

use std::collections::HashMap;
use std::sync::Arc;
use wrr::format::{EventIndex, Function, Input, Reply, TraceReader};

/// Files larger than this are no sources, in bytes.
const FILE_BYTES_MAX: usize = 4 << 20;

/// The sources that are known.
#[derive(Debug, Default)]
pub struct Sources {
    /// By the path as it was opened.
    files: HashMap<String, Arc<Vec<String>>>,
}

impl Sources {
    /// Collects what the program read from files whose names end like one of these.
    ///
    /// # Errors
    /// The recording cannot be read.
    pub fn of(reader: &TraceReader, endings: &[&str]) -> Result<Sources, wrr::TraceError> {
        let mut open: HashMap<u64, (String, Vec<u8>)> = HashMap::new();
        let mut files = HashMap::new();
        let mut finish = |(path, bytes): (String, Vec<u8>)| {
            if !bytes.is_empty() {
                files.entry(path).or_insert_with(|| lines(&bytes));
            }
        };
        for event in reader.events_from(EventIndex(0))? {
            let event = event?;
            if event.outcome.errno != wrr::format::Errno::success {
                continue;
            }
            let fd = event.call.args[0];
            match (event.call.function, &event.call.input, &event.outcome.reply) {
                (Function::PathOpen, Input::Path(path), Reply::Number(new)) => {
                    let path = String::from_utf8_lossy(path).into_owned();
                    if let Some(before) = open.remove(&u64::from(*new)) {
                        finish(before);
                    }
                    if endings.iter().any(|ending| path.ends_with(ending)) {
                        open.insert(u64::from(*new), (path, Vec::new()));
                    }
                }
                (Function::FdRead, ..) => {
                    if let Some((_, bytes)) = open.get_mut(&fd)
                        && bytes.len() < FILE_BYTES_MAX
                    {
                        bytes.extend_from_slice(&event.outcome.data);
                    }
                }
                (Function::FdClose, ..) => {
                    if let Some(closed) = open.remove(&fd) {
                        finish(closed);
                    }
                }
                _ => {}
            }
        }
        open.into_values().for_each(finish);
        Ok(Sources { files })
    }

    /// Adds a text that stands in no file.
    pub fn add(&mut self, path: &str, text: &str) {
        self.files.insert(path.to_owned(), lines(text.as_bytes()));
    }

    /// The lines of a file, by a path as the program has it.
    #[must_use]
    pub fn lines(&self, path: &str) -> Option<Arc<Vec<String>>> {
        let known = |path: &str| self.files.get(path).map(Arc::clone);
        known(path).or_else(|| {
            // The path that was opened is relative to a folder that the program was given.
            let ends = |opened: &&String| {
                let opened = opened.trim_start_matches("./");
                path.strip_suffix(opened).is_some_and(|rest| rest.ends_with('/'))
            };
            let longest = self.files.keys().filter(ends).max_by_key(|opened| opened.len());
            longest.and_then(|opened| known(opened))
        })
    }
}

fn lines(bytes: &[u8]) -> Arc<Vec<String>> {
    Arc::new(String::from_utf8_lossy(bytes).lines().map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_found_by_the_end_of_its_path() {
        let mut sources = Sources::default();
        sources.add("lib/a.py", "one\ntwo\n");
        sources.add("a.py", "other\n");
        assert_eq!(sources.lines("/app/lib/a.py").map(|lines| lines.len()), Some(2));
        assert_eq!(sources.lines("/app/a.py").map(|lines| lines.len()), Some(1));
        assert_eq!(sources.lines("ba.py"), None);
    }
}
