//! Writes a trace while the guest runs: the guest's thread encodes, a second thread compresses and writes.
//!
//! States: *open* (events are accepted), then *finished* (ending, index and footer are written) or
//! *failed* (the disk refused; the file was cut back to its last complete chunk, nothing more is accepted).
//!
//! Invariant: at every moment the file is a valid trace up to its last complete chunk. An event is in
//! the file at most [`FLUSH_INTERVAL`] and one write after it was appended.

use crate::chunk::{
    self, CHUNK_HEADER_BYTES, ChunkHeader, ChunkKind, FILE_HEADER_BYTES, FORMAT_VERSION, MAGIC,
};
use crate::codec::BatchEncoder;
use crate::error::TraceError;
use crate::event::{Call, EventIndex, Outcome, Tick};
use crate::manifest::{Ending, HostNote, IndexEntry, Manifest, TimeStamp};
use crate::reader::TraceReader;
use rayon::prelude::*;
use std::collections::VecDeque;
use std::fs::File;
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How long an event may wait in memory. Half of what is promised (50 ms), to leave time for the write.
const FLUSH_INTERVAL: Duration = Duration::from_millis(25);
/// A batch of this size is handed over at once.
const BATCH_BYTES: usize = 1 << 20;
/// The guest waits when the writer is this many batches behind, so that memory stays bounded.
const QUEUE_BATCHES_MAX: usize = 8;
/// The guest's thread compresses its batches itself when the writer is this many behind.
const QUEUE_BATCHES_LONG: usize = 2;
/// How often wall-clock stamps are written out.
const STAMP_INTERVAL: Duration = Duration::from_secs(1);
/// The module is cut into pieces of this size.
const MODULE_PIECE_BYTES: usize = 2 << 20;
/// How long an interrupted recording may take to be written out; a disk that hangs must not hang a signal.
const INTERRUPT_TIMEOUT: Duration = Duration::from_secs(5);

/// How a trace is to be written.
#[derive(Clone, Copy, Debug, Default)]
pub struct WriterOptions {
    /// Make the file a function of its content alone: no stamps, no host note, batches of fixed sizes.
    pub canonical: bool,
}

/// What a finished recording holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Saved {
    /// Events in the file.
    pub events: u64,
    /// The file's length.
    pub file_bytes: u64,
}

struct State {
    encoder: BatchEncoder,
    queue: VecDeque<Batch>,
    /// Somebody waits until all is written.
    flush_wanted: bool,
    /// The writer holds a batch that is not in the file yet.
    writing: bool,
    closing: Option<Ending>,
    /// The thread has ended.
    done: bool,
    failed: Option<TraceError>,
    /// A batch was sealed before it was full, so the file is not canonical.
    sealed_early: bool,
}

struct Batch {
    payload: Vec<u8>,
    /// The chunk, if the guest's thread has encoded it already.
    chunk: Option<EncodedChunk>,
    first: EventIndex,
    next: EventIndex,
    elapsed: Duration,
}

impl Batch {
    /// Takes the events out of an encoder, which goes on behind them.
    fn seal(encoder: &mut BatchEncoder, elapsed: Duration) -> Batch {
        let empty = BatchEncoder::new(EventIndex(0), Tick(0));
        let sealed = std::mem::replace(encoder, empty);
        let first = sealed.first_event();
        let (payload, next) = sealed.seal();
        let batch = Batch { payload, chunk: None, first, next: next.next_event(), elapsed };
        *encoder = next;
        batch
    }
}

struct Shared {
    state: Mutex<State>,
    /// For the writer: something is to be written.
    work: Condvar,
    /// For the guest: something was written.
    room: Condvar,
    started: Instant,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic while the lock is held is a bug of ours; the state is only ever moved forward, so going on is safe.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn seal(&self, state: &mut State) {
        let batch = Batch::seal(&mut state.encoder, self.started.elapsed());
        state.queue.push_back(batch);
    }
}

/// Records events into a new trace file.
pub struct TraceWriter {
    shared: Arc<Shared>,
    /// For the guest's thread, when the writer's cannot keep up.
    helper: Mutex<Compressor>,
    thread: Option<JoinHandle<(Saved, Option<TraceError>)>>,
    path: PathBuf,
    options: WriterOptions,
}

/// A handle that can end a recording from another thread, for a signal handler.
#[derive(Clone)]
pub struct Interrupter(Arc<Shared>);

impl Interrupter {
    /// Writes out what there is, with [`Ending::Interrupted`], and waits (not forever) until it is in
    /// the file. `false` if the recording was being finished already, so that there is nothing to interrupt.
    #[must_use]
    pub fn interrupt(&self) -> bool {
        let mut state = self.0.lock();
        if state.closing.is_some() {
            return false;
        }
        state.closing = Some(Ending::Interrupted);
        self.0.work.notify_one();
        let until = Instant::now() + INTERRUPT_TIMEOUT;
        while !state.done && Instant::now() < until {
            let waited = self.0.room.wait_timeout(state, Duration::from_millis(50));
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }
}

impl TraceWriter {
    /// Creates the file and starts to write the manifest and the module.
    ///
    /// `module` is the module's binary form and must be the one that the manifest names.
    ///
    /// # Errors
    /// [`TraceError::WouldOverwrite`] if the file exists and is not a trace, [`TraceError::Io`] if it
    /// cannot be created.
    pub fn create(
        path: &Path,
        manifest: &Manifest,
        module: Arc<[u8]>,
        options: WriterOptions,
    ) -> Result<TraceWriter, TraceError> {
        refuse_to_overwrite(path)?;
        let mut file = ChunkFile::create(path, &to_bytes(manifest))?;
        let shared = Arc::new(Shared {
            state: Mutex::new(State {
                encoder: BatchEncoder::new(EventIndex(0), Tick(0)),
                queue: VecDeque::new(),
                flush_wanted: false,
                writing: true,
                closing: None,
                done: false,
                failed: None,
                sealed_early: false,
            }),
            work: Condvar::new(),
            room: Condvar::new(),
            started: Instant::now(),
        });
        let note = (!options.canonical).then(host_note);
        let helper = Mutex::new(compressor(path)?);
        let for_thread = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("wrr trace writer".to_owned())
            .spawn(move || {
                let result = file
                    .write_head(note.as_ref(), &module)
                    .and_then(|()| write_batches(&for_thread, &mut file, options));
                drop(module);
                if result.is_err() {
                    file.cut_back();
                }
                let mut state = for_thread.lock();
                state.writing = false;
                state.done = true;
                state.failed = result.as_ref().err().map(TraceError::again);
                for_thread.room.notify_all();
                (Saved { events: file.events, file_bytes: file.end }, result.err())
            })
            .map_err(TraceError::io(path, "start the writer's thread for"))?;
        Ok(TraceWriter { shared, helper, thread: Some(thread), path: path.to_owned(), options })
    }

    /// Adds an event. Waits only if the disk is slower than the guest produces.
    ///
    /// # Errors
    /// The writer's error, once it has failed; the event is then lost.
    pub fn append(&self, tick: Tick, call: &Call, outcome: &Outcome) -> Result<(), TraceError> {
        let mut state = self.shared.lock();
        if let Some(error) = &state.failed {
            return Err(error.again());
        }
        if state.closing.is_some() {
            // Interrupted: the trace ends with what was there by then.
            return Ok(());
        }
        state.encoder.push(tick, call, outcome);
        if state.encoder.len_bytes() >= BATCH_BYTES {
            let mut batch = Batch::seal(&mut state.encoder, self.shared.started.elapsed());
            if state.queue.len() >= QUEUE_BATCHES_LONG {
                // Better than to wait. Nobody else appends, so the order stays.
                drop(state);
                let mut helper = self.helper.lock().unwrap_or_else(PoisonError::into_inner);
                batch.chunk = chunk::encode(ChunkKind::EVENTS, &batch.payload, &mut helper).ok();
                state = self.shared.lock();
            }
            state.queue.push_back(batch);
            self.shared.work.notify_one();
            while state.queue.len() > QUEUE_BATCHES_MAX && state.failed.is_none() {
                state = self.shared.room.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
        }
        Ok(())
    }

    /// Waits until all events so far are in the file.
    ///
    /// # Errors
    /// The writer's error.
    pub fn flush(&self) -> Result<(), TraceError> {
        let mut state = self.shared.lock();
        loop {
            if let Some(error) = &state.failed {
                return Err(error.again());
            }
            if state.done || (state.encoder.is_empty() && state.queue.is_empty() && !state.writing)
            {
                return Ok(());
            }
            state.flush_wanted = true;
            self.shared.work.notify_one();
            state = self.shared.room.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// A handle for a signal handler.
    #[must_use]
    pub fn interrupter(&self) -> Interrupter {
        Interrupter(Arc::clone(&self.shared))
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes the rest, the ending and the index. Tells what is in the file, and the error if the
    /// writer has failed; the file is then valid up to its last complete chunk.
    #[must_use]
    pub fn finish(mut self, ending: Ending) -> (Saved, Option<TraceError>) {
        let early = {
            let mut state = self.shared.lock();
            state.closing.get_or_insert(ending);
            self.shared.work.notify_one();
            state.sealed_early
        };
        let thread = self.thread.take().expect("only `finish` takes it, and consumes the writer");
        let (saved, error) = thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        // A device or a pipe cannot be rewritten.
        let regular = std::fs::metadata(&self.path).is_ok_and(|m| m.is_file());
        if error.is_none() && self.options.canonical && early && regular {
            return match make_canonical(&self.path) {
                Ok(saved) => (saved, None),
                Err(error) => (saved, Some(error)),
            };
        }
        (saved, error)
    }
}

impl Drop for TraceWriter {
    /// A writer that is dropped without [`TraceWriter::finish`] leaves an incomplete, valid trace.
    fn drop(&mut self) {
        if self.thread.is_some() {
            let _ = self.flush();
        }
    }
}

/// The writer's thread: until closed, takes batches and writes them.
fn write_batches(
    shared: &Shared,
    file: &mut ChunkFile,
    options: WriterOptions,
) -> Result<(), TraceError> {
    let mut stamps = Vec::new();
    let mut stamps_written = Instant::now();
    let mut last_seal = Instant::now();
    loop {
        let mut state = shared.lock();
        state.writing = false;
        if state.queue.is_empty() {
            let due = last_seal.elapsed() >= FLUSH_INTERVAL;
            let closing = state.closing.is_some();
            if (due || state.flush_wanted || closing) && !state.encoder.is_empty() {
                state.sealed_early |= !closing;
                shared.seal(&mut state);
                last_seal = Instant::now();
            }
        }
        let Some(batch) = state.queue.pop_front() else {
            state.flush_wanted = false;
            shared.room.notify_all();
            if let Some(ending) = state.closing.clone() {
                drop(state);
                if !options.canonical {
                    file.write_stamps(&mut stamps)?;
                }
                return file.write_tail(&ending);
            }
            // While nothing comes in, this wakes 40 times a second; measured below 0.1 % of a core.
            let wait =
                FLUSH_INTERVAL.saturating_sub(last_seal.elapsed()).max(Duration::from_millis(1));
            let wait = if state.encoder.is_empty() { FLUSH_INTERVAL } else { wait };
            drop(shared.work.wait_timeout(state, wait).unwrap_or_else(PoisonError::into_inner));
            continue;
        };
        state.writing = true;
        drop(state);
        file.write_events(&batch)?;
        shared.room.notify_all();
        stamps.push(TimeStamp {
            event: batch.next,
            elapsed_ns: u64::try_from(batch.elapsed.as_nanos()).unwrap_or(u64::MAX),
        });
        if !options.canonical && stamps_written.elapsed() >= STAMP_INTERVAL {
            file.write_stamps(&mut stamps)?;
            stamps_written = Instant::now();
        }
    }
}

/// Chunks in a file, and the index that grows with them.
struct ChunkFile {
    path: PathBuf,
    file: File,
    /// Where the last complete chunk ends.
    end: u64,
    /// Events in complete chunks.
    events: u64,
    index: Vec<IndexEntry>,
    compressor: Compressor,
}

type Compressor = zstd::bulk::Compressor<'static>;
/// A chunk's header, and its payload if that is not stored as it is.
type EncodedChunk = (ChunkHeader, Option<Vec<u8>>);

/// Chunks are compressed while the guest runs, so speed counts.
const COMPRESSION_LEVEL: i32 = 1;

fn compressor(path: &Path) -> Result<Compressor, TraceError> {
    zstd::bulk::Compressor::new(COMPRESSION_LEVEL)
        .map_err(TraceError::io(path, "start the compressor for"))
}

impl ChunkFile {
    /// Creates the file with its header and its manifest, in one write: a file that is not empty says
    /// what it is a recording of.
    fn create(path: &Path, manifest: &[u8]) -> Result<ChunkFile, TraceError> {
        if manifest.len() as u64 > ChunkKind::MANIFEST.bytes_max() {
            return Err(TraceError::ManifestTooLong { len_bytes: manifest.len() });
        }
        let mut compressor = compressor(path)?;
        let (header, compressed) = chunk::encode(ChunkKind::MANIFEST, manifest, &mut compressor)
            .map_err(TraceError::io(path, "compress"))?;
        let mut head = MAGIC.to_vec();
        head.extend(FORMAT_VERSION.to_le_bytes());
        head.resize(FILE_HEADER_BYTES, 0);
        head.extend(header.to_bytes());
        head.extend(compressed.as_deref().unwrap_or(manifest));
        let mut file = open_alone(path)?;
        file.write_all(&head).map_err(TraceError::io(path, "write the trace"))?;
        let offset = FILE_HEADER_BYTES as u64;
        Ok(ChunkFile {
            path: path.to_owned(),
            file,
            end: head.len() as u64,
            events: 0,
            index: vec![IndexEntry { kind: header.kind.0, offset, first_event: 0, events: 0 }],
            compressor,
        })
    }

    fn write_chunk(
        &mut self,
        kind: ChunkKind,
        raw: &[u8],
        first_event: u64,
        events: u64,
    ) -> Result<(), TraceError> {
        let encoded = chunk::encode(kind, raw, &mut self.compressor)
            .map_err(TraceError::io(&self.path, "compress"))?;
        self.write_encoded(&encoded, raw, first_event, events)
    }

    fn write_encoded(
        &mut self,
        (header, compressed): &EncodedChunk,
        raw: &[u8],
        first_event: u64,
        events: u64,
    ) -> Result<(), TraceError> {
        let payload = compressed.as_deref().unwrap_or(raw);
        self.file
            .write_all(&header.to_bytes())
            .and_then(|()| self.file.write_all(payload))
            .map_err(TraceError::io(&self.path, "write the trace"))?;
        self.index.push(IndexEntry { kind: header.kind.0, offset: self.end, first_event, events });
        self.end += (CHUNK_HEADER_BYTES + payload.len()) as u64;
        self.events += events;
        Ok(())
    }

    fn write_head(&mut self, note: Option<&HostNote>, module: &[u8]) -> Result<(), TraceError> {
        if let Some(note) = note {
            self.write_chunk(ChunkKind::HOST, &to_bytes(note), 0, 0)?;
        }
        // Events can only follow the module, so it is compressed on all cores; it comes out the same on any number.
        let pieces: Vec<&[u8]> = module.chunks(MODULE_PIECE_BYTES).collect();
        let encoded: Vec<_> = pieces
            .par_iter()
            .map(|piece| {
                let mut compressor = zstd::bulk::Compressor::new(COMPRESSION_LEVEL)?;
                chunk::encode(ChunkKind::MODULE, piece, &mut compressor)
            })
            .collect();
        for (piece, encoded) in pieces.into_iter().zip(encoded) {
            let encoded = encoded.map_err(TraceError::io(&self.path, "compress"))?;
            self.write_encoded(&encoded, piece, 0, 0)?;
        }
        Ok(())
    }

    fn write_events(&mut self, batch: &Batch) -> Result<(), TraceError> {
        let count = batch.next.0 - batch.first.0;
        match &batch.chunk {
            Some(chunk) => self.write_encoded(chunk, &batch.payload, batch.first.0, count),
            None => self.write_chunk(ChunkKind::EVENTS, &batch.payload, batch.first.0, count),
        }
    }

    /// Writes and clears the stamps: pairs of differences, as varints (postcard's).
    fn write_stamps(&mut self, stamps: &mut Vec<TimeStamp>) -> Result<(), TraceError> {
        if stamps.is_empty() {
            return Ok(());
        }
        let pairs: Vec<(u64, u64)> = stamps.drain(..).map(|s| (s.event.0, s.elapsed_ns)).collect();
        self.write_chunk(ChunkKind::TIMES, &to_bytes(&pairs), 0, 0)
    }

    fn write_tail(&mut self, ending: &Ending) -> Result<(), TraceError> {
        self.write_chunk(ChunkKind::ENDING, &to_bytes(ending), 0, 0)?;
        let index_at = self.end;
        let index = to_bytes(&self.index);
        self.write_chunk(ChunkKind::INDEX, &index, 0, 0)?;
        self.write_chunk(ChunkKind::FOOTER, &index_at.to_le_bytes(), 0, 0)
    }

    /// After a failed write: leaves no half a chunk behind. If even that fails, a reader passes over it.
    fn cut_back(&mut self) {
        let _ = self.file.set_len(self.end);
        let _ = self.file.seek(std::io::SeekFrom::Start(self.end));
    }
}

fn to_bytes<T: serde::Serialize>(value: &T) -> Vec<u8> {
    postcard::to_stdvec(value).expect("plain data into a growing vector cannot fail")
}

fn host_note() -> HostNote {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    HostNote {
        os: std::env::consts::OS.to_owned(),
        arch: std::env::consts::ARCH.to_owned(),
        started_unix_ns: since.map_or(0, |d| u64::try_from(d.as_nanos()).unwrap_or(0)),
    }
}

/// An existing regular file is only overwritten if it is empty or a trace.
fn refuse_to_overwrite(path: &Path) -> Result<(), TraceError> {
    // Asked before it is opened: opening a pipe would wait for its other end.
    if !std::fs::metadata(path).is_ok_and(|m| m.is_file()) {
        return Ok(());
    }
    let Ok(mut file) = File::open(path) else { return Ok(()) };
    let mut magic = Vec::new();
    let _ = (&mut file).take(MAGIC.len() as u64).read_to_end(&mut magic);
    if magic.is_empty() || magic == MAGIC {
        return Ok(());
    }
    Err(TraceError::WouldOverwrite { path: path.to_owned() })
}

/// Opens an empty file that no other recorder writes to. The lock goes with the file.
fn open_alone(path: &Path) -> Result<File, TraceError> {
    let file = File::options()
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)
        .map_err(TraceError::io(path, "create the trace"))?;
    if file.metadata().is_ok_and(|m| m.is_file()) {
        if let Err(std::fs::TryLockError::WouldBlock) = file.try_lock() {
            return Err(TraceError::BeingWritten { path: path.to_owned() });
        }
        file.set_len(0).map_err(TraceError::io(path, "empty the old trace"))?;
    }
    Ok(file)
}

/// Rewrites a finished trace so that its batches do not depend on when they were flushed.
fn make_canonical(path: &Path) -> Result<Saved, TraceError> {
    // The file behind a link is the one to be replaced.
    let path = &std::fs::canonicalize(path).map_err(TraceError::io(path, "find the trace"))?;
    let metadata = std::fs::metadata(path).map_err(TraceError::io(path, "find the trace"))?;
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(format!(".{}.tmp", std::process::id()));
    let temporary = PathBuf::from(temporary);
    if temporary.exists() {
        return Err(TraceError::WouldOverwrite { path: temporary });
    }
    let result = rewrite(path, &temporary).and_then(|saved| {
        std::fs::set_permissions(&temporary, metadata.permissions())
            .and_then(|()| std::fs::rename(&temporary, path))
            .map_err(TraceError::io(path, "replace the trace"))?;
        Ok(saved)
    });
    if result.is_err() {
        let _ = std::fs::remove_file(&temporary);
    }
    result
}

fn rewrite(from: &Path, to: &Path) -> Result<Saved, TraceError> {
    let reader = TraceReader::open(from)?;
    let ending = reader.ending().cloned().expect("only finished traces are rewritten");
    let mut file = ChunkFile::create(to, &to_bytes(reader.manifest()))?;
    file.write_head(None, &reader.module()?)?;
    let mut encoder = BatchEncoder::new(EventIndex(0), Tick(0));
    for event in reader.events()? {
        let event = event?;
        encoder.push(event.tick, &event.call, &event.outcome);
        if encoder.len_bytes() >= BATCH_BYTES {
            file.write_events(&Batch::seal(&mut encoder, Duration::ZERO))?;
        }
    }
    if !encoder.is_empty() {
        file.write_events(&Batch::seal(&mut encoder, Duration::ZERO))?;
    }
    file.write_tail(&ending)?;
    Ok(Saved { events: file.events, file_bytes: file.end })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::preview1::Function;
    use crate::{Errno, Input, Iovec, Reply};

    fn call(i: u64) -> (Call, Outcome) {
        let input = Input::Buffers(vec![Iovec { addr: 64, len: 320 }]);
        let call = Call { function: Function::FdRead, args: [i, 8, 1, 4, 0, 0, 0, 0, 0], input };
        let data = i.to_le_bytes().repeat(40);
        (call, Outcome { errno: Errno::success, reply: Reply::Nothing, data })
    }

    fn record(path: &Path, canonical: bool, flush_every: u64) -> Saved {
        let module: Arc<[u8]> = b"\0asm\x01\0\0\0".repeat(50_000).into();
        let manifest = Manifest::for_module(&module);
        let writer =
            TraceWriter::create(path, &manifest, module, WriterOptions { canonical }).unwrap();
        for i in 0..10_000 {
            let (call, outcome) = call(i);
            writer.append(Tick(i / 3), &call, &outcome).unwrap();
            if i % flush_every == 1 {
                writer.flush().unwrap();
            }
        }
        let (saved, error) = writer.finish(Ending::Exited { code: 3 });
        assert!(error.is_none(), "{error:?}");
        saved
    }

    #[test]
    fn a_canonical_trace_does_not_depend_on_when_it_was_flushed() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str| folder.path().join(name);
        for (name, flush_every) in [("never", 1 << 40), ("seldom", 3000), ("often", 7)] {
            let saved = record(&file(name), true, flush_every);
            assert_eq!(saved.events, 10_000);
            let bytes = std::fs::read(file(name)).unwrap();
            assert_eq!(saved.file_bytes, bytes.len() as u64);
            assert!(bytes == std::fs::read(file("never")).unwrap(), "{name}");
        }
        assert_eq!(
            std::fs::read_dir(folder.path()).unwrap().count(),
            3,
            "no temporary file is left"
        );
    }

    #[test]
    fn what_was_flushed_can_be_read_while_the_recording_goes_on() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.wrr");
        let module: Arc<[u8]> = Arc::from(&b"\0asm\x01\0\0\0"[..]);
        let manifest = Manifest::for_module(&module);
        let writer =
            TraceWriter::create(&path, &manifest, module, WriterOptions::default()).unwrap();
        for i in 0..5 {
            let (call, outcome) = call(i);
            writer.append(Tick(0), &call, &outcome).unwrap();
            writer.flush().unwrap();
            let reader = TraceReader::open(&path).unwrap();
            assert_eq!(reader.events().unwrap().count() as u64, i + 1);
            assert_eq!(reader.ending(), None);
        }
    }

    #[test]
    fn events_can_be_read_from_any_number_on() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.wrr");
        record(&path, false, 1000);
        let reader = TraceReader::open(&path).unwrap();
        for from in [0, 1, 999, 1002, 5000, 9999, 10_000, 20_000] {
            let mut events = reader.events_from(EventIndex(from)).unwrap();
            let first = events.next().map(|e| e.unwrap().index.0);
            assert_eq!(first, (from < 10_000).then_some(from));
        }
    }
}
