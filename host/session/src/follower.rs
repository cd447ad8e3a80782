//! Takes checkpoints of a recording while it is being made: replays it on a thread of its own, a little behind, so
//! that the recorded guest never waits for a checkpoint.
//!
//! Invariant: what the follower does cannot be seen in the recorded run. If it fails, there are fewer checkpoints.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use wrr_engine::{
    Beat, Entry, Guest, Heart, Images, Program, Reached, TrackerKind, Until, Variant,
};
use wrr_trace::{
    CancelHandle, CheckpointSink, EventIndex, Follow, HostState, Tick, TraceError, TraceWriter,
};
use wrr_wasi::{Feed, Host, LookAhead, Replay, ReplayOutput};

/// How often a computing guest is looked at.
const BEAT: Duration = Duration::from_millis(20);
/// A follower begins this late: most runs are over by then.
const DELAY: Duration = Duration::from_millis(200);

/// At the end a follower may take this share of the run's time to finish what is due, and a little more.
const PATIENCE: u32 = 25;
const PATIENCE_LEAST: Duration = Duration::from_millis(50);

/// When checkpoints are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spacing {
    /// By the clock.
    Every(Duration),
    /// Whenever so many ticks have passed: the same in every recording of a run.
    Ticks(u64),
}

/// How checkpoints are taken while recording.
#[derive(Clone, Copy, Debug)]
pub struct Checkpoints {
    /// When.
    pub spacing: Spacing,
    /// How written pages are found, if not in the best way there is.
    pub tracker: Option<TrackerKind>,
}

/// Ticks that take about as long as [`BEAT`], found by measuring.
pub(crate) struct Pace {
    last: Instant,
    ticks: u64,
}

impl Pace {
    pub fn new() -> Pace {
        Pace { last: Instant::now(), ticks: 100_000 }
    }

    /// How many ticks until the next beat.
    pub fn next(&mut self, now: Instant) -> u64 {
        let took = now.duration_since(self.last).as_nanos().max(1) as f64;
        self.last = now;
        let factor = (BEAT.as_nanos() as f64 / took).clamp(0.1, 4.0);
        self.ticks = (self.ticks as f64 * factor).clamp(1_000.0, 1e10) as u64;
        self.ticks
    }
}

/// Notes the time of ticks, for conversions between the two.
pub(crate) struct Stamper {
    pace: Pace,
    /// For the follower: when its next checkpoint is due, how far apart they are, and where it finds their ticks.
    due: Option<(Instant, Duration, Wanted)>,
}

/// The ticks at which the recorded guest was when a checkpoint was due, ascending: the clock decides when, the tick says where.
#[derive(Clone, Default)]
pub(crate) struct Wanted(Arc<Mutex<VecDeque<Tick>>>);

impl Wanted {
    fn ticks(&self) -> MutexGuard<'_, VecDeque<Tick>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Stamper {
    /// For a recording with this follower.
    pub fn new(follower: Option<&Follower>) -> Stamper {
        let due = follower.and_then(|follower| {
            let every = follower.every?;
            Some((Instant::now() + every, every, follower.wanted.clone()))
        });
        Stamper { pace: Pace::new(), due }
    }
}

impl Heart for Stamper {
    fn beat(&mut self, host: &mut Host, tick: Tick) -> Beat {
        host.stamp(tick);
        let now = Instant::now();
        if let Some((due, every, wanted)) = &mut self.due
            && now >= *due
        {
            *due = now + *every;
            wanted.ticks().push_back(tick);
        }
        Beat::After(self.pace.next(now))
    }
}

struct FollowerHeart {
    pace: Pace,
    wanted: Wanted,
    stop: Arc<AtomicBool>,
    watch: Arc<Mutex<Watch>>,
}

/// When the parts of a checkpoint happened, for `WRR_DEBUG`.
#[derive(Default)]
struct Watch {
    wanted: Option<Instant>,
    resumed: Option<Instant>,
    /// Tick, and how long capturing it and collecting its pages took.
    last: Option<(Tick, Duration, Duration)>,
}

impl Watch {
    /// The guest runs again.
    fn runs(&mut self, now: Instant) {
        if let (Some(resumed), Some((tick, captured, pages))) =
            (self.resumed.take(), self.last.take())
        {
            tracing::debug!(
                "checkpoint at tick {}: captured in {:.2} ms, pages in {:.2} ms, went on after {:.2} ms",
                tick.0,
                captured.as_secs_f64() * 1e3,
                pages.as_secs_f64() * 1e3,
                now.duration_since(resumed).as_secs_f64() * 1e3
            );
        }
    }
}

impl Heart for FollowerHeart {
    fn beat(&mut self, _host: &mut Host, tick: Tick) -> Beat {
        let now = Instant::now();
        let mut watch = self.watch.lock().unwrap_or_else(PoisonError::into_inner);
        watch.runs(now);
        if self.stop.load(Ordering::Relaxed) {
            return Beat::Stop;
        }
        let passed = self.wanted.ticks().iter().take_while(|wanted| **wanted <= tick).count();
        if passed > 0 {
            watch.wanted = Some(now);
            return Beat::Stop;
        }
        Beat::After(self.pace.next(now))
    }
}

/// Lets the recorded guest have the processor if there are not enough: only there a priority belongs to a thread.
#[cfg(target_os = "linux")]
fn yield_to_others() {
    if let Err(why) = rustix::process::setpriority_process(None, 10) {
        tracing::debug!("the follower keeps its priority: {why}");
    }
}

#[cfg(not(target_os = "linux"))]
fn yield_to_others() {}

/// A follower at work.
pub(crate) struct Follower {
    thread: Option<JoinHandle<()>>,
    stop: Arc<AtomicBool>,
    cancel: CancelHandle,
    complete: bool,
    every: Option<Duration>,
    wanted: Wanted,
    started: Instant,
}

/// What a follower replays, and from where.
pub(crate) struct Followed {
    pub program: Program,
    pub variant: Variant,
    pub entry: Entry,
    pub state: HostState,
    pub event: EventIndex,
    /// A guest in that state; a new one is made if there is none.
    pub guest: Option<(wrr_trace::Checkpoint, Vec<Vec<u8>>)>,
    pub images: Images,
}

impl Follower {
    /// Follows what `writer` records.
    pub fn start(
        writer: &TraceWriter,
        followed: Followed,
        checkpoints: Checkpoints,
    ) -> Result<Option<Follower>, TraceError> {
        let follow = match writer.follow() {
            Ok(follow) => follow,
            Err(error) => {
                // A trace that goes into a pipe cannot be read back.
                tracing::warn!("no checkpoints are taken: {error}");
                return Ok(None);
            }
        };
        let sink = writer.checkpoint_sink();
        let cancel = follow.cancel_handle();
        let stop = Arc::new(AtomicBool::new(false));
        let complete = matches!(checkpoints.spacing, Spacing::Ticks(_));
        let stopped = Arc::clone(&stop);
        let every = match checkpoints.spacing {
            Spacing::Every(every) => Some(every),
            Spacing::Ticks(_) => None,
        };
        let wanted = Wanted::default();
        let ticks = wanted.clone();
        let started = Instant::now();
        let thread = std::thread::Builder::new().name("wrr follower".to_owned()).spawn(move || {
            yield_to_others();
            if !complete {
                let begin = Instant::now() + DELAY;
                // Woken early by `finish`.
                while let Some(left) = begin.checked_duration_since(Instant::now()) {
                    if stopped.load(Ordering::Relaxed) {
                        return;
                    }
                    std::thread::park_timeout(left);
                }
            }
            if let Err(why) = run(follow, &sink, followed, checkpoints.spacing, &stopped, &ticks) {
                // At the end of a recording nothing more can be put into it.
                if !stopped.load(Ordering::Relaxed) {
                    tracing::warn!("no more checkpoints are taken: {why}");
                }
            }
        });
        match thread {
            Ok(thread) => {
                let thread = Some(thread);
                Ok(Some(Follower { thread, stop, cancel, complete, every, wanted, started }))
            }
            Err(error) => {
                tracing::warn!("no checkpoints are taken: no thread for them: {error}");
                Ok(None)
            }
        }
    }

    /// The recorded guest has ended by itself or not. Waits for the follower if the recording must have all its checkpoints;
    /// otherwise not for long, in relation to the run, and only while one is due.
    pub fn finish(mut self, ended_by_itself: bool, events: EventIndex) {
        // If it computes something else it must not wait for what never comes.
        self.cancel.expect(events.0);
        let patience = self.started.elapsed() / PATIENCE + PATIENCE_LEAST;
        let until = Instant::now() + patience;
        let works =
            |thread: &Option<JoinHandle<()>>| thread.as_ref().is_some_and(|t| !t.is_finished());
        while ended_by_itself
            && !self.complete
            && !self.wanted.ticks().is_empty()
            && works(&self.thread)
            && Instant::now() < until
        {
            std::thread::sleep(Duration::from_millis(2));
        }
        if !(self.complete && ended_by_itself) {
            self.stop.store(true, Ordering::Relaxed);
            self.cancel.cancel();
            if let Some(thread) = &self.thread {
                thread.thread().unpark();
            }
        }
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::warn!("the thread that takes checkpoints failed; some are missing");
        }
    }
}

fn run(
    follow: Follow,
    sink: &CheckpointSink,
    followed: Followed,
    spacing: Spacing,
    stop: &Arc<AtomicBool>,
    wanted: &Wanted,
) -> Result<(), String> {
    let Followed { program, variant, entry, state, event, guest: start, images } = followed;
    let text = |e: &dyn std::fmt::Display| e.to_string();
    let skipped = follow.skip_while(move |e| e.as_ref().is_ok_and(|e| e.index < event));
    let feed = Feed {
        events: Box::new(skipped),
        next: event,
        state,
        ending: None,
        ending_tick: None,
        goes_on: false,
        look_ahead: LookAhead::No,
    };
    let replay = Replay::at(feed, ReplayOutput::discard()).map_err(|e| text(&e))?;
    let host = Host::at(replay, event);
    let mut guest = Guest::new(&program, variant, &entry, host).map_err(|e| text(&e))?;
    if let Some((checkpoint, contents)) = start {
        let fill = |memories: Vec<&mut [u8]>| {
            for (memory, content) in memories.into_iter().zip(contents) {
                memory.copy_from_slice(&content);
            }
            Ok::<(), wrr_engine::Refusal>(())
        };
        guest.restore(&checkpoint, fill).map_err(|e| text(&e))?;
    }
    guest.limit_stack();
    guest.track(images);
    let mut next_tick = None;
    let spacing = match spacing {
        Spacing::Ticks(ticks) => Spacing::Ticks(ticks.max(1)),
        every => every,
    };
    let watch = Arc::new(Mutex::new(Watch::default()));
    if let Spacing::Ticks(ticks) = spacing {
        next_tick = Some((guest.tick().0 / ticks + 1) * ticks);
    }
    guest.set_heart(Some(Box::new(FollowerHeart {
        pace: Pace::new(),
        wanted: wanted.clone(),
        stop: Arc::clone(stop),
        watch: Arc::clone(&watch),
    })));
    loop {
        let until = next_tick.map_or(Until::End, |tick| Until::Tick(Tick(tick)));
        let reached =
            program.on_guest_stack(|| guest.go(until)).and_then(|r| r).map_err(|e| text(&e))?;
        if stop.load(Ordering::Relaxed) || matches!(reached, Reached::Ended(_)) {
            return Ok(());
        }
        let stopped = Instant::now();
        let checkpoint = guest.snapshot().map_err(|e| text(&e))?;
        if let (Some(next), Spacing::Ticks(ticks)) = (&mut next_tick, spacing) {
            *next = (checkpoint.tick.0 / ticks + 1) * ticks;
        }
        let tick = checkpoint.tick;
        sink.put(guest.take_new_pages(), checkpoint).map_err(|e| text(&e))?;
        wanted.ticks().retain(|wanted| *wanted > tick);
        let mut watch = watch.lock().unwrap_or_else(PoisonError::into_inner);
        let since = watch.wanted.take().unwrap_or(stopped);
        watch.last = Some((tick, stopped.duration_since(since), stopped.elapsed()));
        watch.resumed = Some(Instant::now());
    }
}
