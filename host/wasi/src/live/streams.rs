//! The process's standard streams on Windows, where they are consoles, pipes or files with little in common.
//!
//! Whether a pipe or a console has input can only be found out (in safe code) by reading. So who polls sets a thread
//! to read once, and the next read gets what it found: nothing is read ahead unless somebody asked.
//!
//! Invariant: while the thread reads, nobody else does, so bytes stay in order.

use crate::standard;
use std::any::Any;
use std::io::{IoSlice, IoSliceMut, IsTerminal as _, Read, SeekFrom, Write};
use std::os::windows::io::AsHandle as _;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use wasi_common::file::{FdFlags, FileType};
use wasi_common::{Error, ErrorExt as _, WasiFile};

/// How much a poll may read.
const AHEAD_BYTES: usize = 1 << 16;
/// A poll that does not wait gives the thread this long: input that is there is found within it.
const GRACE: Duration = Duration::from_millis(1);
/// How many buffers a write takes at once: what other systems take.
const BUFFERS_MAX: usize = 1024;
/// What standard output takes behind the last buffer with a line's end: see [`StandardOutput`].
const TAIL_BYTES_MAX: usize = 1024;

/// The process's standard input. A file is read as a file.
pub fn stdin() -> Box<dyn WasiFile> {
    let stdin = std::io::stdin();
    if stdin.is_terminal() {
        // The library's own reader turns a console's characters into UTF-8.
        return Box::new(StandardInput::new(Input::Console(stdin), true));
    }
    match stdin.as_handle().try_clone_to_owned() {
        Ok(handle) => {
            let file = std::fs::File::from(handle);
            if file.metadata().is_ok_and(|m| m.is_file()) {
                let file = cap_std::fs::File::from_std(file);
                return Box::new(wasi_common::sync::file::File::from_cap_std(file));
            }
            Box::new(StandardInput::new(Input::Handle(file), false))
        }
        // There is none: to the library it is empty.
        Err(_) => Box::new(StandardInput::new(Input::Console(stdin), false)),
    }
}

enum Input {
    Console(std::io::Stdin),
    Handle(std::fs::File),
}

impl Input {
    fn read(&self, buffer: &mut [u8]) -> std::io::Result<usize> {
        match self {
            Input::Console(stdin) => stdin.lock().read(buffer),
            Input::Handle(file) => (&mut &*file).read(buffer),
        }
    }
}

/// What was read ahead.
#[derive(Default)]
struct Ahead {
    /// The thread is there.
    started: bool,
    /// The thread reads, or is about to.
    asked: bool,
    /// What it found; no bytes are the end of the input.
    found: Option<std::io::Result<Vec<u8>>>,
}

struct Shared {
    input: Input,
    ahead: Mutex<Ahead>,
    changed: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Ahead> {
        self.ahead.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read_when_asked(&self) {
        let mut ahead = self.lock();
        loop {
            while !ahead.asked {
                ahead = self.changed.wait(ahead).unwrap_or_else(PoisonError::into_inner);
            }
            drop(ahead);
            let mut buffer = vec![0; AHEAD_BYTES];
            let found = self.input.read(&mut buffer).map(|count| {
                buffer.truncate(count);
                buffer
            });
            ahead = self.lock();
            ahead.asked = false;
            ahead.found = Some(found);
            self.changed.notify_all();
        }
    }
}

/// Standard input that is no file.
pub struct StandardInput {
    shared: Arc<Shared>,
    terminal: bool,
}

/// What a poll finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// So many bytes, or an error that a read will tell.
    Bytes(u64),
    /// The other side is gone.
    Over,
}

impl StandardInput {
    fn new(input: Input, terminal: bool) -> StandardInput {
        let (ahead, changed) = (Mutex::default(), Condvar::new());
        StandardInput { shared: Arc::new(Shared { input, ahead, changed }), terminal }
    }

    /// Waits until there is something to read, for this long.
    pub fn wait(&self, timeout: Duration) -> Option<Readiness> {
        let mut ahead = self.shared.lock();
        if ahead.found.is_none() && !ahead.asked {
            if !ahead.started {
                let shared = Arc::clone(&self.shared);
                let thread = std::thread::Builder::new().name("wrr input".to_owned());
                if thread.spawn(move || shared.read_when_asked()).is_err() {
                    // As good as ready: the read will wait.
                    return Some(Readiness::Bytes(1));
                }
                ahead.started = true;
            }
            ahead.asked = true;
            self.shared.changed.notify_all();
        }
        let waits = |ahead: &mut Ahead| ahead.found.is_none();
        let waited = self.shared.changed.wait_timeout_while(ahead, timeout.max(GRACE), waits);
        let (ahead, _) = waited.unwrap_or_else(PoisonError::into_inner);
        ahead.found.as_ref().map(|found| match found {
            Ok(bytes) if bytes.is_empty() && !self.terminal => Readiness::Over,
            Ok(bytes) => Readiness::Bytes((bytes.len() as u64).max(1)),
            Err(_) => Readiness::Bytes(1),
        })
    }

    fn read(&self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        let mut ahead = self.shared.lock();
        while ahead.asked {
            ahead = self.shared.changed.wait(ahead).unwrap_or_else(PoisonError::into_inner);
        }
        let Some(found) = ahead.found.take() else {
            // Nobody polls meanwhile: a guest does one thing at a time.
            drop(ahead);
            return self.shared.input.read(buffer);
        };
        let mut found = found?;
        let count = found.len().min(buffer.len());
        buffer[..count].copy_from_slice(&found[..count]);
        if count < found.len() {
            found.drain(..count);
            ahead.found = Some(Ok(found));
        }
        Ok(count)
    }
}

#[async_trait::async_trait]
impl WasiFile for StandardInput {
    fn as_any(&self) -> &dyn Any {
        self
    }

    async fn get_filetype(&self) -> Result<FileType, Error> {
        Ok(if self.terminal { FileType::CharacterDevice } else { FileType::Unknown })
    }

    fn isatty(&self) -> bool {
        self.terminal
    }

    async fn read_vectored<'a>(&self, bufs: &mut [IoSliceMut<'a>]) -> Result<u64, Error> {
        match bufs.iter_mut().find(|buf| !buf.is_empty()) {
            Some(buf) => Ok(self.read(buf)? as u64),
            None => Ok(0),
        }
    }

    async fn read_vectored_at<'a>(
        &self,
        _bufs: &mut [IoSliceMut<'a>],
        _offset: u64,
    ) -> Result<u64, Error> {
        Err(Error::seek_pipe())
    }

    async fn seek(&self, _pos: SeekFrom) -> Result<u64, Error> {
        Err(Error::seek_pipe())
    }
}

/// Standard output or standard error.
///
/// How much of several buffers one write takes is what the standard library's line buffer takes on other systems, so that
/// deterministic recordings are the same there and here: all of them, but at most [`TAIL_BYTES_MAX`] bytes behind the last
/// buffer that ends a line. (For standard error, which has no such buffer, all.)
pub struct StandardOutput {
    writer: Mutex<Box<dyn Write + Send + Sync>>,
    lines: bool,
    terminal: bool,
}

/// Standard output.
pub fn stdout() -> Box<dyn WasiFile> {
    let terminal = std::io::stdout().is_terminal();
    Box::new(StandardOutput { writer: Mutex::new(standard::stdout()), lines: true, terminal })
}

/// Standard error.
pub fn stderr() -> Box<dyn WasiFile> {
    let terminal = std::io::stderr().is_terminal();
    Box::new(StandardOutput { writer: Mutex::new(standard::stderr()), lines: false, terminal })
}

/// Several buffers in one piece: Windows writes one at a time, and a guest would see how many were taken.
pub fn gathered(bufs: &[IoSlice<'_>]) -> Vec<u8> {
    let mut all = Vec::with_capacity(bufs.iter().map(|buf| buf.len()).sum());
    for buf in bufs.iter().take(BUFFERS_MAX) {
        all.extend_from_slice(buf);
    }
    all
}

/// How many bytes the line buffer of the standard library takes.
fn taken_by_lines(bufs: &[IoSlice<'_>]) -> usize {
    let bufs = &bufs[..bufs.len().min(BUFFERS_MAX)];
    let len = |bufs: &[IoSlice<'_>]| bufs.iter().map(|buf| buf.len()).sum::<usize>();
    match bufs.iter().rposition(|buf| buf.contains(&b'\n')) {
        Some(last) => len(&bufs[..=last]) + len(&bufs[last + 1..]).min(TAIL_BYTES_MAX),
        None => len(bufs),
    }
}

#[async_trait::async_trait]
impl WasiFile for StandardOutput {
    fn as_any(&self) -> &dyn Any {
        self
    }

    async fn get_filetype(&self) -> Result<FileType, Error> {
        Ok(if self.terminal { FileType::CharacterDevice } else { FileType::Unknown })
    }

    async fn get_fdflags(&self) -> Result<FdFlags, Error> {
        Ok(FdFlags::APPEND)
    }

    fn isatty(&self) -> bool {
        self.terminal
    }

    async fn write_vectored<'a>(&self, bufs: &[IoSlice<'a>]) -> Result<u64, Error> {
        let mut bytes = gathered(bufs);
        if self.lines {
            bytes.truncate(taken_by_lines(bufs));
        }
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        writer.write_all(&bytes)?;
        writer.flush()?;
        Ok(bytes.len() as u64)
    }

    async fn write_vectored_at<'a>(
        &self,
        _bufs: &[IoSlice<'a>],
        _offset: u64,
    ) -> Result<u64, Error> {
        Err(Error::seek_pipe())
    }

    async fn seek(&self, _pos: SeekFrom) -> Result<u64, Error> {
        Err(Error::seek_pipe())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pipe() -> (StandardInput, std::io::PipeWriter) {
        let (reader, writer) = std::io::pipe().unwrap();
        let handle = std::os::windows::io::OwnedHandle::from(reader);
        (StandardInput::new(Input::Handle(handle.into()), false), writer)
    }

    #[test]
    fn a_poll_finds_input_when_there_is_some_and_a_read_gets_it() {
        let (input, mut writer) = pipe();
        assert_eq!(input.wait(Duration::ZERO), None);
        assert_eq!(input.wait(Duration::from_millis(20)), None);
        writer.write_all(b"hello").unwrap();
        assert_eq!(input.wait(Duration::from_secs(10)), Some(Readiness::Bytes(5)));
        assert_eq!(input.wait(Duration::ZERO), Some(Readiness::Bytes(5)));
        let mut buffer = [0; 3];
        assert_eq!(input.read(&mut buffer).unwrap(), 3);
        assert_eq!(&buffer, b"hel");
        assert_eq!(input.wait(Duration::ZERO), Some(Readiness::Bytes(2)));
        assert_eq!(input.read(&mut buffer).unwrap(), 2);
        assert_eq!(&buffer[..2], b"lo");
        writer.write_all(b"!").unwrap();
        assert_eq!(input.read(&mut buffer).unwrap(), 1);
        drop(writer);
        assert_eq!(input.wait(Duration::from_secs(10)), Some(Readiness::Over));
        assert_eq!(input.read(&mut buffer).unwrap(), 0);
        assert_eq!(input.read(&mut buffer).unwrap(), 0);
    }

    #[test]
    fn a_read_that_comes_during_a_poll_waits_for_what_it_finds() {
        let (input, mut writer) = pipe();
        assert_eq!(input.wait(Duration::ZERO), None);
        std::thread::scope(|scope| {
            scope.spawn(move || {
                std::thread::sleep(Duration::from_millis(50));
                writer.write_all(b"later").unwrap();
            });
            let mut buffer = [0; 16];
            assert_eq!(input.read(&mut buffer).unwrap(), 5);
            assert_eq!(&buffer[..5], b"later");
        });
    }

    #[test]
    fn output_takes_what_the_line_buffer_of_other_systems_takes() {
        let taken = |bufs: &[&[u8]]| {
            taken_by_lines(&bufs.iter().map(|buf| IoSlice::new(buf)).collect::<Vec<_>>())
        };
        let long = &[b'x'; 3000][..];
        assert_eq!(taken(&[]), 0);
        assert_eq!(taken(&[b"a", long, b"b"]), 3002);
        assert_eq!(taken(&[b"a\nb", long]), 3 + 1024);
        assert_eq!(taken(&[long, b"\n", b"", b"ab"]), 3003);
        assert_eq!(taken(&[b"a\n", b"b", long, b"c\n"]), 3005);
    }
}
