//! The process's own output streams, for bytes that need not be text.
//!
//! On a Windows console, Rust's standard library refuses what is not UTF-8. A guest's output must never make a run
//! fail, so it is shown there as well as it can be. Everywhere else the bytes pass as they are.

use std::io::Write;

/// Standard output.
pub fn stdout() -> Box<dyn Write + Send + Sync> {
    shown(std::io::stdout())
}

/// Standard error.
pub fn stderr() -> Box<dyn Write + Send + Sync> {
    shown(std::io::stderr())
}

/// Whether an error says that nobody reads any more. Windows has a code for it that the standard library does not know.
pub fn is_closed(error: &std::io::Error) -> bool {
    const ERROR_PIPE_NOT_CONNECTED: i32 = 233;
    error.kind() == std::io::ErrorKind::BrokenPipe
        || cfg!(windows) && error.raw_os_error() == Some(ERROR_PIPE_NOT_CONNECTED)
}

#[cfg(not(windows))]
fn shown(stream: impl Write + Send + Sync + 'static) -> Box<dyn Write + Send + Sync> {
    Box::new(stream)
}

#[cfg(windows)]
fn shown(
    stream: impl Write + std::io::IsTerminal + Send + Sync + 'static,
) -> Box<dyn Write + Send + Sync> {
    match stream.is_terminal() {
        true => Box::new(Text { inner: stream, begun: Vec::new() }),
        false => Box::new(stream),
    }
}

/// Turns bytes into text. A character that comes in parts is shown when it is complete.
#[cfg(any(windows, test))]
struct Text<W> {
    inner: W,
    /// The first bytes of a character; at most three.
    begun: Vec<u8>,
}

#[cfg(any(windows, test))]
impl<W: Write> Write for Text<W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let mut all = std::mem::take(&mut self.begun);
        all.extend_from_slice(bytes);
        let mut text = String::with_capacity(all.len());
        let mut rest = &all[..];
        while !rest.is_empty() {
            match std::str::from_utf8(rest) {
                Ok(valid) => {
                    text.push_str(valid);
                    rest = &[];
                }
                Err(error) => {
                    let (valid, behind) = rest.split_at(error.valid_up_to());
                    text.push_str(&String::from_utf8_lossy(valid));
                    let Some(bad) = error.error_len() else {
                        self.begun = behind.to_vec();
                        break;
                    };
                    text.push(char::REPLACEMENT_CHARACTER);
                    rest = &behind[bad..];
                }
            }
        }
        self.inner.write_all(text.as_bytes())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown_in_pieces(bytes: &[u8], piece_bytes: usize) -> String {
        let mut text = Text { inner: Vec::new(), begun: Vec::new() };
        for piece in bytes.chunks(piece_bytes) {
            text.write_all(piece).unwrap();
        }
        String::from_utf8(text.inner).unwrap()
    }

    #[test]
    fn text_is_shown_as_it_is_however_it_is_cut() {
        let text = "größe 日本語 🦀\r\n";
        for piece_bytes in 1..=text.len() {
            assert_eq!(shown_in_pieces(text.as_bytes(), piece_bytes), text);
        }
    }

    #[test]
    fn what_is_not_text_becomes_a_sign_that_says_so() {
        for piece_bytes in 1..5 {
            assert_eq!(shown_in_pieces(b"a\xffb\xf0\x9fc\xc3", piece_bytes), "a\u{fffd}b\u{fffd}c");
        }
    }
}
