//! Takes the checkpoints of a run while it is recorded: where one is due the guest stops itself,
//! its state is taken, and it goes on. Compressing and writing are the business of the trace
//! writer's thread.
//!
//! ```text
//!          a beat: due?       are all continuations compiled?     are so many pages affordable?
//!   guest ───────────▶ Ticker ─────────────────────────────▶ stop ──────────────────────────▶ take ──▶ trace
//!                        │ no: at a later beat                        │ no: when they are
//! ```
//!
//! Invariant: the run does not depend on whether checkpoints are taken. If one cannot be taken,
//! there are fewer of them.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use wrr_engine::{Beat, Guest, Heart, PageStore, Refusal, TrackerKind};
use wrr_trace::{CheckpointPlan, CheckpointSink, Pause, Tick, TraceError};
use wrr_wasi::Host;

/// How often the time is noted while the guest computes.
const BEAT: Duration = Duration::from_millis(20);

/// After so many intervals without a checkpoint one is taken, even if the guest has to wait for the
/// compiler.
const INTERVALS_MAX: u32 = 5;

/// The share of a run's time that its checkpoints may cost.
const SHARE: f64 = 0.03;

/// What checkpoints may cost before the run has lasted long enough to pay for them, in seconds. The
/// first one takes all that the program has written since it began.
const ALLOWANCE_S: f64 = 0.15;

/// What a written page costs outside of the guest's pause, in seconds: the fault by which the write
/// is noticed, compressing and writing it.
const PAGE_S: f64 = 10e-6;

/// What a page costs within the pause, in seconds, before that was measured.
const PAGE_PAUSE_S: f64 = 4e-6;

/// When checkpoints are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spacing {
    /// By the clock, and less often where they would cost more than 3 % of the run's time.
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

/// When the next checkpoint is due; known to the recording and to what beats in its guest.
enum Due {
    Never,
    At {
        due: Instant,
        every: Duration,
        /// The processor time of the guest's thread when it was asked to stop.
        asked: Option<Duration>,
    },
    AtTick {
        due: u64,
        every: u64,
    },
}

#[derive(Clone)]
struct Schedule(Arc<Mutex<Due>>);

impl Schedule {
    fn due(&self) -> MutexGuard<'_, Due> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Beats in a guest that is recorded.
struct Ticker {
    schedule: Schedule,
    /// `None` in a recording that knows no clock.
    pace: Option<Pace>,
}

impl Heart for Ticker {
    fn beat(&mut self, host: &mut Host, tick: Tick) -> Beat {
        let next = match &mut self.pace {
            Some(pace) => {
                host.stamp(tick);
                Some((Instant::now(), pace))
            }
            None => None,
        };
        let next = next.map(|(now, pace)| (now, pace.next(now)));
        match (&mut *self.schedule.due(), next) {
            (Due::At { due, every, asked }, Some((now, ticks))) if now >= *due => {
                *asked = Some(processor_time());
                match now.duration_since(*due) >= *every * INTERVALS_MAX {
                    true => Beat::StopIfPossible(ticks),
                    false => Beat::StopIfReady(ticks),
                }
            }
            (Due::AtTick { due, every }, next) => {
                let ticks = next.map_or(u64::MAX, |(_, ticks)| ticks);
                match tick.0 >= *due {
                    true => Beat::StopIfPossible(ticks.min(*every)),
                    false => Beat::After(ticks.min(*due - tick.0)),
                }
            }
            (_, Some((_, ticks))) => Beat::After(ticks),
            (_, None) => Beat::After(u64::MAX),
        }
    }
}

/// What checkpoints may cost: an account into which the run pays a share of its time.
struct Budget {
    balance_s: f64,
    /// More is not saved up.
    most_s: f64,
    paid: Instant,
    page_pause_s: f64,
}

impl Budget {
    fn new(now: Instant) -> Budget {
        let page_pause_s = PAGE_PAUSE_S;
        Budget { balance_s: ALLOWANCE_S, most_s: ALLOWANCE_S, paid: now, page_pause_s }
    }

    /// Whether a checkpoint of so many written pages can be paid for now; otherwise, when it can.
    fn affords(&mut self, pages: usize, now: Instant) -> Result<(), Duration> {
        let estimate_s = pages as f64 * (PAGE_S + self.page_pause_s);
        self.most_s = estimate_s.max(ALLOWANCE_S);
        let earned_s = now.duration_since(self.paid).as_secs_f64() * SHARE;
        self.balance_s = (self.balance_s + earned_s).min(self.most_s);
        self.paid = now;
        let missing_s = estimate_s - self.balance_s;
        if missing_s <= 0.0 {
            return Ok(());
        }
        Err(Duration::try_from_secs_f64(missing_s / SHARE).unwrap_or(Duration::MAX))
    }

    /// A checkpoint of so many written pages took this much of the guest's thread.
    fn spend(&mut self, pages: usize, pause: Duration) {
        self.balance_s -= pages as f64 * PAGE_S + pause.as_secs_f64();
        if pages >= 64 {
            let measured_s = pause.as_secs_f64() / pages as f64;
            self.page_pause_s = (self.page_pause_s + measured_s) / 2.0;
        }
    }
}

/// A recording under way.
pub(crate) struct Recording {
    schedule: Schedule,
    spacing: Option<Spacing>,
    sink: CheckpointSink,
    budget: Budget,
    /// Whether time is noted.
    has_clock: bool,
    /// What the trace says about how checkpoints are taken.
    plan: Option<CheckpointPlan>,
    /// A failure was reported.
    has_warned: bool,
}

/// Where a recording stands, to go back to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RecordingThen {
    due_tick: Option<u64>,
}

/// Why there is no checkpoint.
enum Failed {
    Refused(Refusal),
    Trace(TraceError),
}

impl From<Refusal> for Failed {
    fn from(refusal: Refusal) -> Failed {
        Failed::Refused(refusal)
    }
}

impl Recording {
    /// A recording of `guest` with checkpoints as wanted; `pages` are those that its trace has
    /// already.
    pub fn start(
        guest: &mut Guest,
        sink: CheckpointSink,
        checkpoints: Option<Checkpoints>,
        pages: PageStore,
        has_clock: bool,
    ) -> Recording {
        let now = Instant::now();
        let tracked = checkpoints.map(|checkpoints| guest.track(pages, checkpoints.tracker));
        let spacing = match tracked {
            Some(Err(error)) => {
                tracing::warn!("no checkpoints are taken: {error}");
                None
            }
            _ => checkpoints.map(|checkpoints| checkpoints.spacing),
        };
        let due = match spacing {
            None => Due::Never,
            Some(Spacing::Every(every)) => Due::At { due: now + every, every, asked: None },
            Some(Spacing::Ticks(every)) => {
                let every = every.max(1);
                Due::AtTick { due: next_multiple(guest.tick().0, every), every }
            }
        };
        let mut recording = Recording {
            schedule: Schedule(Arc::new(Mutex::new(due))),
            spacing,
            sink,
            budget: Budget::new(now),
            has_clock,
            plan: None,
            has_warned: false,
        };
        recording.set_heart(guest);
        recording
    }

    /// The guest is a new one, or has lost its heart.
    pub fn set_heart(&mut self, guest: &mut Guest) {
        if self.has_clock || self.spacing.is_some() {
            let pace = self.has_clock.then(Pace::new);
            let ticker = Ticker { schedule: self.schedule.clone(), pace };
            guest.set_heart(Some(Box::new(ticker)));
        }
    }

    /// Where it stands.
    pub fn save(&self) -> RecordingThen {
        let due_tick = match &*self.schedule.due() {
            Due::AtTick { due, .. } => Some(*due),
            Due::Never | Due::At { .. } => None,
        };
        RecordingThen { due_tick }
    }

    /// The guest went back to where the recording stood so.
    pub fn restore(&mut self, then: &RecordingThen) {
        if let (Due::AtTick { due, .. }, Some(due_tick)) =
            (&mut *self.schedule.due(), then.due_tick)
        {
            *due = due_tick;
        }
    }

    /// The guest was stopped: takes a checkpoint if one is due.
    pub fn take_if_due(&mut self, guest: &mut Guest) {
        if *guest.pause() != Pause::Tick || guest.is_waiting() || guest.has_ended() {
            return;
        }
        let now = Instant::now();
        let asked = match &mut *self.schedule.due() {
            Due::Never => return,
            Due::At { due, .. } if now < *due => return,
            Due::AtTick { due, .. } if guest.tick().0 < *due => return,
            Due::At { asked, .. } => asked.take(),
            Due::AtTick { .. } => None,
        };
        let started = processor_time();
        let taken = self.take(guest, now);
        let mut wait = Duration::ZERO;
        match taken {
            Ok(Ok(pages)) => {
                let ended = processor_time();
                // The stack is put back in about the time that it took to take it apart.
                let stack = asked.map_or(Duration::ZERO, |asked| started.saturating_sub(asked));
                let pause = ended.saturating_sub(started) + 2 * stack;
                tracing::debug!(
                    "checkpoint at tick {}: {pages} pages written, {:.2} ms of the guest's time",
                    guest.tick().0,
                    pause.as_secs_f64() * 1e3
                );
                self.budget.spend(pages, pause);
            }
            Ok(Err(until)) => wait = until,
            Err(Failed::Trace(error)) => {
                // Interrupted, or the disk is full: whoever records is told by the next event.
                tracing::debug!("no more checkpoints are taken: {error}");
                *self.schedule.due() = Due::Never;
                return;
            }
            Err(Failed::Refused(refusal)) => {
                let tick = guest.tick().0;
                if !std::mem::replace(&mut self.has_warned, true) {
                    tracing::warn!("no checkpoint at tick {tick}: {refusal}; tried again later");
                }
            }
        }
        match &mut *self.schedule.due() {
            Due::Never => {}
            Due::At { due, every, .. } => *due = now + (*every).max(wait),
            Due::AtTick { due, every } => *due = next_multiple(guest.tick().0, *every),
        }
    }

    /// Takes a checkpoint, and gives how many pages it looked at; or says how long to wait until
    /// they can be paid for.
    fn take(&mut self, guest: &mut Guest, now: Instant) -> Result<Result<usize, Duration>, Failed> {
        let pages = guest.unseen_pages()?;
        if let Some(Spacing::Every(_)) = self.spacing
            && let Err(wait) = self.budget.affords(pages, now)
        {
            return Ok(Err(wait));
        }
        let sink = self.sink.clone();
        let put = |part| sink.put_pages(part).map_err(Failed::Trace);
        let (checkpoint, rewritten) = guest.snapshot_into(put)?;
        self.note_plan(guest).map_err(Failed::Trace)?;
        self.sink.put_with(Vec::new(), checkpoint, rewritten).map_err(Failed::Trace)?;
        Ok(Ok(pages))
    }

    /// Writes down how checkpoints are taken, if that is not in the trace.
    fn note_plan(&mut self, guest: &Guest) -> Result<(), TraceError> {
        let Some(Spacing::Every(every)) = self.spacing else { return Ok(()) };
        let tracker = guest.trackers().last().map_or(String::new(), ToString::to_string);
        let every_ns = u64::try_from(every.as_nanos()).unwrap_or(u64::MAX);
        let plan = CheckpointPlan { every_ns, tracker };
        if self.plan.as_ref() != Some(&plan) {
            self.sink.put_plan(plan.clone())?;
            self.plan = Some(plan);
        }
        Ok(())
    }
}

/// The first multiple of `every` after a tick.
fn next_multiple(tick: u64, every: u64) -> u64 {
    (tick / every + 1).saturating_mul(every)
}

/// The processor time that this thread has taken: what it did not get, because others ran, is not
/// the recording's cost.
#[cfg(unix)]
fn processor_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs() as u32)
}

/// The time.
#[cfg(not(unix))]
fn processor_time() -> Duration {
    use std::sync::OnceLock;
    static START: OnceLock<Instant> = OnceLock::new();
    START.get_or_init(Instant::now).elapsed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checkpoints_cost_no_more_than_their_share_after_the_first() {
        let start = Instant::now();
        let at = |ms: u64| start + Duration::from_millis(ms);
        let mut budget = Budget::new(start);
        // A gigabyte, each second: far more than can be paid for.
        let pages = 262_144;
        let pause = Duration::from_millis(1000);
        let (mut spent_s, mut now, mut taken) = (0.0, 0, 0);
        while now < 600_000 {
            match budget.affords(pages, at(now)) {
                Ok(()) => {
                    budget.spend(pages, pause);
                    spent_s += pages as f64 * PAGE_S + pause.as_secs_f64();
                    taken += 1;
                    now += 1000;
                }
                Err(wait) => now += wait.as_millis() as u64 + 1,
            }
        }
        assert!(taken >= 2, "{taken}");
        assert!(spent_s <= 600.0 * SHARE + ALLOWANCE_S, "{spent_s}");
    }

    #[test]
    fn what_is_cheap_is_taken_whenever_it_is_due() {
        let start = Instant::now();
        let mut budget = Budget::new(start);
        for second in 1..3600 {
            let now = start + Duration::from_secs(second);
            assert_eq!(budget.affords(600, now), Ok(()), "{second}");
            budget.spend(600, Duration::from_millis(3));
        }
    }

    #[test]
    fn the_first_checkpoint_of_an_interpreter_is_not_put_off() {
        let start = Instant::now();
        let mut budget = Budget::new(start);
        assert_eq!(budget.affords(5_000, start + Duration::from_secs(1)), Ok(()));
    }
}
