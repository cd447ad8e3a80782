//! Many runs from one moment of a recording, each with other data: set up once, test many.

use crate::job::{RecordOptions, Recorded};
use crate::resume::ResumeTo;
use crate::session::{ForkOptions, Reached, Session};
use crate::{CheckpointId, End, Error, Moment, Trace};
use std::io::Write;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use wrr_engine::Until;
use wrr_wasi::{FileSystem, LiveConfig, Output, Overlay, OverlaySnapshot, Preopen, Stdin};

/// What is kept of each output of a fork, in bytes.
pub const CAPTURED_BYTES_MAX: usize = 1 << 20;

/// Where a fork finds its data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DataTo {
    /// What the program's next call of `branch` gives: the one that it is in, or the first one behind the moment.
    Branch,
    /// What it reads next from standard input, as a line; then that ends.
    Stdin,
}

/// What to make forks of, and how.
pub struct Branching<'a> {
    /// The moment.
    pub at: Moment,
    /// One fork for each.
    pub data: Vec<Vec<u8>>,
    /// Where they go; otherwise to `branch` if the program imports it, and to standard input if not.
    pub to: Option<DataTo>,
    /// The directories that the program had.
    pub preopens: Vec<Preopen>,
    /// Where the forks' writes to them go: each to a layer of its own, or all to the directories.
    pub fs: FileSystem,
    /// How many run at the same time, at least 1.
    pub jobs: usize,
    /// A folder for a recording of each.
    pub record_dir: Option<PathBuf>,
    /// Is told of each that has ended, as it ends.
    pub on_end: &'a (dyn Fn(&Branch) + Sync),
}

/// A fork that has ended.
#[derive(Debug)]
pub struct Branch {
    /// Its place among the data, from 0.
    pub number: usize,
    /// What it was given.
    pub data: Vec<u8>,
    /// How it ended, or what kept it from running.
    pub end: Result<End, Error>,
    /// What it wrote to standard output.
    pub stdout: Captured,
    /// What it wrote to standard error.
    pub stderr: Captured,
    /// How long it took from the moment on.
    pub elapsed: Duration,
    /// Its recording.
    pub recording: Option<PathBuf>,
}

impl Branch {
    /// The exit code that a process would have; `None` if it has not run to its end.
    #[must_use]
    pub fn exit_code(&self) -> Option<i32> {
        self.end.as_ref().ok().and_then(End::exit_code)
    }
}

/// The beginning of an output.
#[derive(Clone, Debug, Default)]
pub struct Captured {
    /// At most [`CAPTURED_BYTES_MAX`].
    pub bytes: Vec<u8>,
    /// How many bytes followed.
    pub dropped_bytes: u64,
}

#[derive(Clone, Default)]
struct Capture(Arc<Mutex<Captured>>);

impl Capture {
    fn output(&self) -> Output {
        Output::Writer(Box::new(self.clone()))
    }

    fn take(&self) -> Captured {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Write for Capture {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let mut captured = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let room = CAPTURED_BYTES_MAX.saturating_sub(captured.bytes.len()).min(bytes.len());
        captured.bytes.extend_from_slice(&bytes[..room]);
        captured.dropped_bytes += (bytes.len() - room) as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Runs one fork for each of the data from a moment of a recording to its end. Gives them in the order of the data.
///
/// # Errors
/// [`Error::Moment`]; as [`Trace::seek`]; [`Error::Resume`] if what the program had open at the moment cannot be opened again.
pub fn branch(trace: Trace<'static>, options: &Branching<'_>) -> Result<Vec<Branch>, Error> {
    let trace = Arc::new(trace);
    let mut session = Session::replay_at(Arc::clone(&trace), &options.at)?;
    let to = options.to.unwrap_or(match session.is_controlling() {
        true => DataTo::Branch,
        false => DataTo::Stdin,
    });
    let here = session.checkpoint()?;
    // What one of them lacks they all lack: better to know before the first one runs.
    let events = session.guest()?.events();
    let layer = trace.layer_at(events, &options.preopens, &options.fs)?;
    let work = Work { options, layer, here, to };
    session.fork(here)?.go_live(work.live(&[], &Capture::default(), &Capture::default()))?;
    if let Some(dir) = &options.record_dir {
        std::fs::create_dir_all(dir)
            .map_err(|error| Error::Host(format!("cannot create {}: {error}", dir.display())))?;
    }
    let session = Mutex::new(session);
    let ended: Mutex<Vec<Branch>> = Mutex::default();
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..options.jobs.clamp(1, options.data.len().max(1)) {
            scope.spawn(|| {
                while let number = next.fetch_add(1, Ordering::Relaxed)
                    && let Some(data) = options.data.get(number)
                {
                    let branch = work.run(&session, (number, data));
                    (options.on_end)(&branch);
                    ended.lock().unwrap_or_else(PoisonError::into_inner).push(branch);
                }
            });
        }
    });
    let mut ended = ended.into_inner().unwrap_or_else(PoisonError::into_inner);
    ended.sort_by_key(|branch| branch.number);
    Ok(ended)
}

/// What all forks have in common.
struct Work<'a, 'b> {
    options: &'a Branching<'b>,
    /// What the program had changed at the moment, if it has a layer.
    layer: Option<(Overlay, OverlaySnapshot)>,
    here: CheckpointId,
    to: DataTo,
}

impl Work<'_, '_> {
    fn live(&self, data: &[u8], stdout: &Capture, stderr: &Capture) -> LiveConfig {
        let mut line = Vec::new();
        if self.to == DataTo::Stdin {
            line.extend_from_slice(data);
            if !line.ends_with(b"\n") {
                line.push(b'\n');
            }
        }
        LiveConfig {
            preopens: self.options.preopens.clone(),
            fs: match &self.layer {
                Some((layer, then)) => FileSystem::Layer(layer.fork(then)),
                None => FileSystem::Host,
            },
            stdin: Stdin::Rest(line),
            stdout: stdout.output(),
            stderr: stderr.output(),
            ..LiveConfig::default()
        }
    }

    fn run(&self, session: &Mutex<Session>, (number, data): (usize, &Vec<u8>)) -> Branch {
        let (stdout, stderr) = (Capture::default(), Capture::default());
        let recording =
            self.options.record_dir.as_ref().map(|dir| dir.join(format!("{:04}.wrr", number + 1)));
        let started = Instant::now();
        let run = || -> Result<Recorded, Error> {
            let given = (self.to == DataTo::Branch).then(|| data.clone());
            let fork = ForkOptions { branch: given, ..ForkOptions::default() };
            let mut fork = {
                let mut session = session.lock().unwrap_or_else(PoisonError::into_inner);
                session.fork_with(self.here, fork)?
            };
            let live = self.live(data, &stdout, &stderr);
            match &recording {
                None => fork.go_live(live)?,
                Some(path) => {
                    let options = RecordOptions::default();
                    fork.go_live_recorded(live, ResumeTo { path, options })?;
                }
            }
            match fork.run_until(Until::End)? {
                Reached::Ended(_) => fork.finish(),
                other => Err(Error::Host(format!("the run stopped before its end: {other:?}"))),
            }
        };
        let end = run().and_then(|recorded| match recorded.not_saved {
            Some((saved, error)) => Err(Error::NotSaved { saved, error }),
            None => Ok(recorded.end),
        });
        Branch {
            number,
            data: data.clone(),
            end,
            stdout: stdout.take(),
            stderr: stderr.take(),
            elapsed: started.elapsed(),
            recording,
        }
    }
}
