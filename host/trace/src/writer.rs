//! Writes a trace while the guest runs: the guest's thread encodes, a second thread compresses and writes.
//!
//! States: *open* (events are accepted), then *finished* (ending, index and footer are written) or
//! *failed* (the disk refused; the file was cut back to its last complete chunk, nothing more is accepted).
//!
//! Checkpoints are put in by a [`CheckpointSink`]. Their pages are written one chunk at a time, and
//! only when no event waits.
//!
//! Invariant: at every moment the file is a valid trace up to its last complete chunk. An event is in
//! the file at most [`FLUSH_INTERVAL`] and one write after it was appended. All events before a checkpoint
//! stand before it in the file.

mod appender;
mod canonical;
mod chunk_file;
mod edits;
mod sink;

pub use appender::TraceAppender;
pub use edits::EditBy;
pub use sink::CheckpointSink;

use crate::chunk::{self, ChunkKind};
use crate::codec::BatchEncoder;
use crate::error::TraceError;
use crate::event::{Call, EventIndex, Outcome, Tick};
use crate::finding::Finding;
use crate::manifest::{EndNote, Ending, Manifest};
use crate::times::TimeStamp;
use chunk_file::{
    ChunkFile, Compressor, EncodedChunk, compressor, host_note, refuse_to_overwrite, to_bytes,
};
use sink::Pending;
use std::collections::VecDeque;
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
/// The most stamps that wait to be written. More are left out: the disk is not keeping up.
const STAMPS_MAX: usize = 4096;
/// How long an interrupted recording may take to be written out; a disk that hangs must not hang a signal.
const INTERRUPT_TIMEOUT: Duration = Duration::from_secs(5);

/// How a trace is to be written.
#[derive(Clone, Copy, Debug, Default)]
pub struct WriterOptions {
    /// Make the file a function of its content alone: no stamps, no host note, batches of fixed sizes,
    /// checkpoints behind them.
    pub canonical: bool,
    /// The module imports [`CONTROL`](crate::CONTROL), which only version 2 of the format knows.
    pub control: bool,
    /// The program writes to a private layer, whose edits the trace has.
    pub overlay: bool,
    /// How long the run had lasted before this recording of it began, in nanoseconds: it goes on from another one.
    pub elapsed_ns: u64,
}

impl WriterOptions {
    /// The oldest version of the format that has what is written.
    fn version(self) -> u32 {
        if self.control { 2 } else { 1 }
    }
}

/// What a finished recording holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Saved {
    /// Events in the file.
    pub events: u64,
    /// The file's length.
    pub file_bytes: u64,
}

/// A place in a recording to which its writer can go back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Where the file ended, in bytes.
    end: u64,
    /// How many chunks it had.
    chunks: usize,
    /// How many events.
    events: u64,
    /// How many pages.
    pages: u32,
    /// How many checkpoints.
    checkpoints: u32,
    /// The tick of the last event.
    tick: Tick,
}

impl Mark {
    /// How many pages the file had.
    #[must_use]
    pub fn pages(&self) -> u32 {
        self.pages
    }
}

/// What the guest's thread asks of the writer's.
enum Request {
    Mark,
    Rewind(Mark),
}

struct State {
    encoder: BatchEncoder,
    /// The edits of the layer, encoded, since the last batch.
    edits: Vec<u8>,
    queue: VecDeque<Batch>,
    /// The guest's thread compresses a batch, which is in no queue meanwhile.
    compressing: bool,
    /// Stamps that are not in the file yet.
    stamps: Vec<TimeStamp>,
    last_stamp: TimeStamp,
    /// What is appended happened in another recording: when is not known here.
    history: bool,
    checkpoints: VecDeque<Pending>,
    /// What the pages take that are not in the file yet.
    checkpoint_bytes: usize,
    /// How many pages were handed over.
    pages: u32,
    /// Somebody waits until all is written.
    flush_wanted: bool,
    /// The writer holds a batch that is not in the file yet.
    writing: bool,
    closing: Option<Close>,
    request: Option<Request>,
    /// The answer to the last request.
    answer: Option<Result<Mark, TraceError>>,
    /// The thread has ended.
    done: bool,
    failed: Option<TraceError>,
    /// A batch was sealed before it was full, or there are checkpoints, so the file is not canonical.
    irregular: bool,
}

/// How a recording is closed.
#[derive(Clone)]
enum Close {
    End(EndNote),
    /// Without an ending: the writer was dropped.
    Abandon,
}

struct Batch {
    payload: Vec<u8>,
    /// The edits of the layer that its events have made, encoded. They come before it in the file: what has happened is there.
    edits: Vec<u8>,
    /// The chunk, if the guest's thread has encoded it already.
    chunk: Option<EncodedChunk>,
    first: EventIndex,
    next: EventIndex,
    first_tick: Tick,
}

impl Batch {
    /// Takes the events out of an encoder, which goes on behind them.
    fn seal(encoder: &mut BatchEncoder) -> Batch {
        let empty = BatchEncoder::new(EventIndex(0), Tick(0));
        let sealed = std::mem::replace(encoder, empty);
        let (first, first_tick) = (sealed.first_event(), sealed.first_tick());
        let (payload, next) = sealed.seal();
        *encoder = next;
        let (edits, chunk) = (Vec::new(), None);
        Batch { payload, edits, chunk, first, next: encoder.next_event(), first_tick }
    }
}

impl State {
    fn seal(&mut self, started: Instant) -> Batch {
        // A stamp that the guest made since its last event says more than that event does.
        if !self.history && self.last_stamp.event < self.encoder.next_event() {
            self.stamp(self.encoder.last_tick(), started);
        }
        let edits = std::mem::take(&mut self.edits);
        Batch { edits, ..Batch::seal(&mut self.encoder) }
    }

    /// Whether nothing waits to be handed over.
    fn is_empty(&self) -> bool {
        self.encoder.is_empty() && self.edits.is_empty()
    }

    /// Remembers how far the guest is. Stamps never go back, whatever the caller says.
    fn stamp(&mut self, tick: Tick, started: Instant) {
        if self.stamps.len() >= STAMPS_MAX {
            return;
        }
        let tick = tick.max(self.encoder.last_tick()).max(self.last_stamp.tick);
        let elapsed_ns = u64::try_from(started.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let elapsed_ns = elapsed_ns.max(self.last_stamp.elapsed_ns);
        self.last_stamp = TimeStamp { tick, event: self.encoder.next_event(), elapsed_ns };
        self.stamps.push(self.last_stamp);
    }

    /// Forgets what came behind a mark. Time goes on.
    fn rewind(&mut self, mark: &Mark) {
        self.queue.clear();
        self.edits.clear();
        self.encoder = BatchEncoder::new(EventIndex(mark.events), mark.tick);
        self.stamps.retain(|stamp| stamp.event.0 <= mark.events && stamp.tick <= mark.tick);
        let TimeStamp { tick, event, .. } = &mut self.last_stamp;
        (*tick, *event) = ((*tick).min(mark.tick), (*event).min(EventIndex(mark.events)));
        self.checkpoints.clear();
        self.checkpoint_bytes = 0;
        self.pages = mark.pages;
        self.irregular = true;
    }

    /// Nothing more is accepted from here on.
    fn close(&mut self, ending: Ending, tick: Tick, started: Instant) {
        let tick = tick.max(self.encoder.last_tick());
        self.stamp(tick, started);
        self.closing = Some(Close::End(EndNote { ending, tick }));
    }
}

struct Shared {
    state: Mutex<State>,
    /// For the writer: something is to be written.
    work: Condvar,
    /// For the guest and for sinks: something was written.
    room: Condvar,
    started: Instant,
    path: PathBuf,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic while the lock is held is a bug of ours; the state is only ever moved forward, so going on is safe.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a batch into the queue. Waits only if the disk is slower than the guest produces.
    fn hand_over<'a>(
        &self,
        mut state: MutexGuard<'a, State>,
        batch: Batch,
    ) -> MutexGuard<'a, State> {
        state.queue.push_back(batch);
        self.work.notify_one();
        while state.queue.len() > QUEUE_BATCHES_MAX && state.failed.is_none() {
            state = self.wait_for_room(state);
        }
        state
    }

    fn wait_for_room<'a>(&self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        self.room.wait(state).unwrap_or_else(PoisonError::into_inner)
    }
}

/// Records events into a new trace file.
pub struct TraceWriter {
    shared: Arc<Shared>,
    /// For the guest's thread, when the writer's cannot keep up.
    helper: Mutex<Compressor>,
    thread: Option<JoinHandle<(Saved, Option<TraceError>)>>,
    options: WriterOptions,
}

/// A handle that can end a recording from another thread, for a signal handler.
#[derive(Clone)]
pub struct Interrupter(Arc<Shared>);

impl Interrupter {
    /// Writes out what there is, with [`Ending::Interrupted`] at the tick of the last event, and waits (not
    /// forever) until it is in the file. `false` if the recording was being finished already, so that
    /// there is nothing to interrupt.
    #[must_use]
    pub fn interrupt(&self) -> bool {
        let mut state = self.0.lock();
        if state.closing.is_some() {
            return false;
        }
        let tick = state.encoder.last_tick();
        state.close(Ending::Interrupted, tick, self.0.started);
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
        TraceWriter::create_with(path, manifest, module, options, None)
    }

    /// As [`TraceWriter::create`], of a run in which a fuzzer found something.
    ///
    /// # Errors
    /// As [`TraceWriter::create`].
    pub fn create_with(
        path: &Path,
        manifest: &Manifest,
        module: Arc<[u8]>,
        options: WriterOptions,
        finding: Option<Finding>,
    ) -> Result<TraceWriter, TraceError> {
        refuse_to_overwrite(path)?;
        let mut file = ChunkFile::create(path, &to_bytes(manifest), options.version())?;
        let shared = Arc::new(Shared {
            state: Mutex::new(State {
                encoder: BatchEncoder::new(EventIndex(0), Tick(0)),
                edits: Vec::new(),
                queue: VecDeque::new(),
                compressing: false,
                stamps: Vec::new(),
                last_stamp: TimeStamp::default(),
                history: false,
                checkpoints: VecDeque::new(),
                checkpoint_bytes: 0,
                pages: 0,
                flush_wanted: false,
                writing: true,
                closing: None,
                request: None,
                answer: None,
                done: false,
                failed: None,
                // What is written of a layer is put in order in the end.
                irregular: options.overlay,
            }),
            work: Condvar::new(),
            room: Condvar::new(),
            started: Instant::now()
                .checked_sub(Duration::from_nanos(options.elapsed_ns))
                .unwrap_or_else(Instant::now),
            path: path.to_owned(),
        });
        let note = (!options.canonical).then(host_note);
        let helper = Mutex::new(compressor(path)?);
        let for_thread = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("wrr trace writer".to_owned())
            .spawn(move || {
                let result = file
                    .write_head(note.as_ref(), finding.as_ref(), &module, options.overlay)
                    .and_then(|()| write_chunks(&for_thread, &mut file, options));
                drop(module);
                if result.is_err() {
                    file.cut_back();
                }
                let error = result.as_ref().err();
                let mut state = for_thread.lock();
                state.writing = false;
                state.done = true;
                state.failed = error.map(TraceError::again);
                for_thread.room.notify_all();
                (Saved { events: file.events, file_bytes: file.end }, result.err())
            })
            .map_err(TraceError::io(path, "start the writer's thread for"))?;
        Ok(TraceWriter { shared, helper, thread: Some(thread), options })
    }

    /// Adds an event that happened at `tick`. Waits only if the disk is slower than the guest produces.
    ///
    /// Requires: `tick` is not before that of the last event.
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
            let mut batch = state.seal(self.shared.started);
            if state.queue.len() >= QUEUE_BATCHES_LONG {
                // Better than to wait. Nobody else appends, so the order stays.
                state.compressing = true;
                drop(state);
                let mut helper = self.helper.lock().unwrap_or_else(PoisonError::into_inner);
                batch.chunk = chunk::encode(ChunkKind::EVENTS, &batch.payload, &mut helper).ok();
                state = self.shared.lock();
                state.compressing = false;
            }
            drop(self.shared.hand_over(state, batch));
        }
        Ok(())
    }

    /// Notes that the guest has reached this tick by now, for conversions between ticks and seconds. To be
    /// called now and then (every 20 to 100 ms) by a guest that computes without host calls. Costs no more
    /// than a lock. A canonical trace has no stamps, so it does nothing there.
    pub fn stamp(&self, tick: Tick) {
        if self.options.canonical {
            return;
        }
        let mut state = self.shared.lock();
        if state.closing.is_none() && !state.done {
            state.stamp(tick, self.shared.started);
        }
    }

    /// What is appended from now on (until this is called again with `false`) is copied from another recording, whose stamps
    /// come by [`TraceWriter::stamp_at`].
    pub fn set_history(&self, history: bool) {
        self.shared.lock().history = history;
    }

    /// Copies a stamp of another recording, between the events that it stands between there.
    pub fn stamp_at(&self, stamp: TimeStamp) {
        let mut state = self.shared.lock();
        if self.options.canonical || stamp.elapsed_ns < state.last_stamp.elapsed_ns {
            return;
        }
        let tick = stamp.tick.max(state.encoder.last_tick()).max(state.last_stamp.tick);
        let event = state.encoder.next_event();
        state.last_stamp = TimeStamp { tick, event, elapsed_ns: stamp.elapsed_ns };
        let stamp = state.last_stamp;
        state.stamps.push(stamp);
    }

    /// A handle that puts checkpoints into the trace, from any thread.
    #[must_use]
    pub fn checkpoint_sink(&self) -> CheckpointSink {
        CheckpointSink::new(Arc::clone(&self.shared))
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
            if state.done || (state.is_empty() && state.queue.is_empty() && !state.writing) {
                return Ok(());
            }
            state.flush_wanted = true;
            self.shared.work.notify_one();
            state = self.shared.wait_for_room(state);
        }
    }

    /// Remembers this place, with everything that was appended in the file.
    ///
    /// # Errors
    /// The writer's error; [`TraceError::RecordingEnded`] once the recording is being finished.
    pub fn mark(&self) -> Result<Mark, TraceError> {
        self.flush()?;
        self.ask(self.shared.lock(), Request::Mark)
    }

    /// Goes back: what was written after the mark has not happened, checkpoints included. Ids of
    /// pages go on after the mark's.
    ///
    /// # Errors
    /// As [`TraceWriter::mark`]; [`TraceError::Io`] if the file cannot be cut off, as that of a pipe: then nothing has changed.
    pub fn rewind(&self, mark: &Mark) -> Result<(), TraceError> {
        self.ask(self.shared.lock(), Request::Rewind(*mark)).map(drop)
    }

    fn ask(&self, mut state: MutexGuard<'_, State>, request: Request) -> Result<Mark, TraceError> {
        state.request = Some(request);
        self.shared.work.notify_one();
        loop {
            if let Some(error) = &state.failed {
                return Err(error.again());
            }
            if let Some(answer) = state.answer.take() {
                return answer;
            }
            if state.closing.is_some() || state.done {
                return Err(TraceError::RecordingEnded { path: self.shared.path.clone() });
            }
            state = self.shared.wait_for_room(state);
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
        &self.shared.path
    }

    /// Writes the rest, the ending with its tick, and the index. Tells what is in the file, and the error
    /// if the writer has failed; the file is then valid up to its last complete chunk.
    ///
    /// A tick before the last event's (of a host that failed and does not know) is taken as that one.
    #[must_use]
    pub fn finish(mut self, ending: Ending, tick: Tick) -> (Saved, Option<TraceError>) {
        {
            let mut state = self.shared.lock();
            if state.closing.is_none() {
                state.close(ending, tick, self.shared.started);
            }
            self.shared.work.notify_one();
        }
        let thread = self.thread.take().expect("only `finish` takes it, and consumes the writer");
        let (saved, error) = thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        let irregular = self.shared.lock().irregular;
        let path = &self.shared.path;
        // A device or a pipe cannot be rewritten.
        let regular = std::fs::metadata(path).is_ok_and(|m| m.is_file());
        if error.is_none() && self.options.canonical && irregular && regular {
            return match canonical::make_canonical(path) {
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
        if let Some(thread) = self.thread.take() {
            let _ = self.flush();
            self.shared.lock().closing.get_or_insert(Close::Abandon);
            self.shared.work.notify_one();
            let _ = thread.join();
        }
    }
}

/// The writer's thread: until closed, takes batches, stamps and checkpoints and writes them.
fn write_chunks(
    shared: &Shared,
    file: &mut ChunkFile,
    options: WriterOptions,
) -> Result<(), TraceError> {
    let mut stamps_written = Instant::now();
    let mut last_seal = Instant::now();
    let mut checkpoint: Option<Pending> = None;
    loop {
        let mut state = shared.lock();
        state.writing = false;
        if let Some(Request::Rewind(mark)) = state.request {
            state.request = None;
            let rewound = file.rewind(&mark);
            if rewound.is_ok() {
                state.rewind(&mark);
                checkpoint = None;
            }
            state.answer = Some(rewound.map(|()| mark));
            shared.room.notify_all();
        }
        if state.queue.is_empty() {
            let due = last_seal.elapsed() >= FLUSH_INTERVAL;
            let closing = state.closing.is_some();
            let needed = checkpoint.as_ref().is_some_and(|c| c.waits_for(file.events));
            if (due || state.flush_wanted || closing || needed) && !state.is_empty() {
                state.irregular |= !closing;
                let batch = state.seal(shared.started);
                state.queue.push_back(batch);
                last_seal = Instant::now();
            }
        }
        if let Some(batch) = state.queue.pop_front() {
            state.writing = true;
            drop(state);
            file.write_events(&batch)?;
            shared.room.notify_all();
            continue;
        }
        state.flush_wanted = false;
        shared.room.notify_all();
        // What was put before the mark stays when the recording goes back to it.
        if matches!(state.request, Some(Request::Mark))
            && checkpoint.is_none()
            && state.checkpoints.is_empty()
        {
            state.request = None;
            let tick = state.encoder.last_tick();
            state.answer = Some(Ok(file.mark(tick)));
            shared.room.notify_all();
        }
        // All events are in the file, but for a batch that the guest's thread compresses.
        let over = state.closing.is_some() && !state.compressing;
        if options.canonical {
            state.stamps.clear();
        } else if !state.stamps.is_empty() && (over || stamps_written.elapsed() >= STAMP_INTERVAL) {
            let written = state.stamps.partition_point(|s| s.event.0 <= file.events);
            let stamps: Vec<TimeStamp> = state.stamps.drain(..written).collect();
            drop(state);
            file.write_stamps(&stamps)?;
            stamps_written = Instant::now();
            continue;
        }
        if checkpoint.is_none() {
            checkpoint = state.checkpoints.pop_front();
            state.irregular |= checkpoint.is_some();
        }
        if let Some(mut pending) = checkpoint.take() {
            if !pending.waits_for(file.events) {
                drop(state);
                let (bytes, is_over) = pending.write_part(file)?;
                if !is_over {
                    checkpoint = Some(pending);
                }
                // Not below zero: it may have been taken back meanwhile.
                let mut state = shared.lock();
                state.checkpoint_bytes = state.checkpoint_bytes.saturating_sub(bytes);
                continue;
            }
            checkpoint = Some(pending);
        } else if let Some(closing) = state.closing.clone().filter(|_| over) {
            drop(state);
            return match closing {
                Close::Abandon => Ok(()),
                Close::End(end) => file.write_tail(&end),
            };
        }
        // While nothing comes in, this wakes 40 times a second; measured below 0.1 % of a core.
        let wait = FLUSH_INTERVAL.saturating_sub(last_seal.elapsed()).max(Duration::from_millis(1));
        let wait = if state.is_empty() { FLUSH_INTERVAL } else { wait };
        drop(shared.work.wait_timeout(state, wait).unwrap_or_else(PoisonError::into_inner));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TraceReader;
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
        let writer = TraceWriter::create(
            path,
            &manifest,
            module,
            WriterOptions { canonical, ..WriterOptions::default() },
        )
        .unwrap();
        for i in 0..10_000 {
            let (call, outcome) = call(i);
            writer.append(Tick(i / 3), &call, &outcome).unwrap();
            if i % flush_every == 1 {
                writer.flush().unwrap();
            }
        }
        let (saved, error) = writer.finish(Ending::Exited { code: 3 }, Tick(3333));
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
    fn what_was_taken_back_has_not_happened() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str| folder.path().join(name);
        for canonical in [true, false] {
            let module: Arc<[u8]> = b"\0asm\x01\0\0\0".repeat(500).into();
            let manifest = Manifest::for_module(&module);
            let options = WriterOptions { canonical, ..WriterOptions::default() };
            let create = |path: &Path| {
                TraceWriter::create(path, &manifest, Arc::clone(&module), options).unwrap()
            };
            let append = |writer: &TraceWriter, events: std::ops::Range<u64>, seed: u64| {
                for i in events {
                    let (call, outcome) = call(i ^ seed);
                    writer.append(Tick(i * 10), &call, &outcome).unwrap();
                }
            };
            let (straight, back) = (create(&file("straight")), create(&file("back")));
            append(&straight, 0..7000, 0);
            append(&back, 0..3000, 0);
            let early = back.mark().unwrap();
            append(&back, 3000..5000, 0xffff);
            let late = back.mark().unwrap();
            append(&back, 5000..6000, 0xffff);
            back.stamp(Tick(1_000_000));
            back.rewind(&late).unwrap();
            append(&back, 5000..9000, 0xffff);
            back.rewind(&early).unwrap();
            assert_eq!(back.mark().unwrap(), early, "nothing is left of it");
            append(&back, 3000..7000, 0);
            for writer in [straight, back] {
                let (saved, error) = writer.finish(Ending::Exited { code: 0 }, Tick(70_000));
                assert!(error.is_none() && saved.events == 7000, "{error:?} {saved:?}");
            }
            let events = |name| TraceReader::open(&file(name)).unwrap().events().unwrap();
            assert!(events("straight").map(Result::unwrap).eq(events("back").map(Result::unwrap)));
            TraceReader::open(&file("back")).unwrap().check_all().unwrap();
            if canonical {
                let bytes = |name| std::fs::read(file(name)).unwrap();
                assert!(bytes("straight") == bytes("back"));
            }
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
