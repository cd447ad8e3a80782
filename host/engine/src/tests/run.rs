//! A sequence of calls of a guest's exports that can be interrupted anywhere.

use crate::ending::How;
use crate::guest::{Guest, Reached, Until};
use crate::program::{Program, Purpose};
use crate::{Entry, Kept, Refusal};
use std::collections::BTreeSet;
use wasmtime::Val;
use wrr_trace::{
    Call, Checkpoint, Errno, EventIndex, Function, HostState, Limits, ModuleId, Outcome, Pause,
    Reply, Tick,
};
use wrr_transform::Variant;
use wrr_wasi::{Host, Source, Stop};

/// A host whose answers depend on nothing but the number of the event.
pub struct Fake {
    events: u64,
}

impl Fake {
    /// A host that has answered so many calls.
    pub fn at(events: EventIndex) -> Host {
        Host::at(Fake::source(events), events)
    }

    /// What answers in such a host.
    pub fn source(events: EventIndex) -> Fake {
        Fake { events: events.0 }
    }
}

impl Source for Fake {
    fn outcome(
        &mut self,
        _tick: Tick,
        call: &Call,
        refused: Option<Errno>,
        _memory: &mut [u8],
    ) -> Result<Outcome, Stop> {
        self.events += 1;
        let number = self.events.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        if let Some(errno) = refused {
            return Ok(Outcome::failed(errno));
        }
        Ok(match call.function {
            Function::RandomGet => {
                let len = call.args[1] as usize;
                let data = number.to_le_bytes().iter().cycle().take(len).copied().collect();
                Outcome { data, ..Outcome::default() }
            }
            Function::ControlCheckpoint | Function::ControlRollback => {
                Outcome { reply: Reply::Number(number as u32), ..Outcome::default() }
            }
            Function::ControlBranch => {
                let len = (number % 100_000) as usize;
                let data = number.to_le_bytes().iter().cycle().take(len).copied().collect();
                let reply = Reply::Received(u16::from(!self.events.is_multiple_of(3)));
                Outcome { reply, data, ..Outcome::default() }
            }
            Function::ClockTimeGet => {
                Outcome { reply: Reply::Wide(number >> 8), ..Outcome::default() }
            }
            Function::SchedYield => {
                let errno = Errno::from_number((number >> 60) as u16);
                Outcome::failed(errno.unwrap_or(Errno::success))
            }
            _ => Outcome::default(),
        })
    }

    fn state(&self) -> HostState {
        HostState::default()
    }
}

/// One call of an export.
pub type Invocation = (String, Vec<Val>);

/// Everything about a stopped run.
#[derive(Clone, Debug, PartialEq)]
pub struct Saved {
    pub checkpoint: Checkpoint,
    pub memories: Vec<Vec<u8>>,
    call: usize,
    log: Vec<String>,
}

/// What a run came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcomes {
    /// What each call gave, and at which tick.
    pub log: Vec<String>,
    pub tick: u64,
    pub events: u64,
    pub hash: [u8; 32],
}

pub struct Run<'a> {
    pub guest: Guest,
    program: &'a Program,
    calls: &'a [Invocation],
    call: usize,
    log: Vec<String>,
}

impl<'a> Run<'a> {
    pub fn new(program: &'a Program, variant: Variant, calls: &'a [Invocation]) -> Run<'a> {
        Run::with_host(program, variant, calls, Fake::at(EventIndex(0)))
    }

    fn with_host(
        program: &'a Program,
        variant: Variant,
        calls: &'a [Invocation],
        host: Host,
    ) -> Run<'a> {
        let (name, args) = &calls[0];
        let entry = Entry::Export { name: name.clone(), args: Vec::new() };
        let guest = Guest::with_args(program, variant, &entry, args.clone(), host);
        Run { guest: guest.unwrap(), program, calls, call: 0, log: Vec::new() }
    }

    /// A new guest in a saved state.
    pub fn restored(
        program: &'a Program,
        variant: Variant,
        calls: &'a [Invocation],
        saved: &Saved,
    ) -> Run<'a> {
        let mut run = Run::with_host(program, variant, calls, Fake::at(saved.checkpoint.event));
        if saved.call > 0 {
            let (name, args) = &calls[saved.call];
            run.guest.call_next(name, args.clone());
        }
        (run.call, run.log) = (saved.call, saved.log.clone());
        run.guest
            .restore::<Refusal>(&saved.checkpoint, |memories| {
                for (memory, bytes) in memories.into_iter().zip(&saved.memories) {
                    memory.copy_from_slice(bytes);
                }
                Ok(())
            })
            .unwrap();
        run
    }

    /// Runs on. Whether it was stopped; otherwise all calls have been made.
    pub fn go(&mut self, until: Until) -> bool {
        loop {
            match self.guest.go(until).unwrap() {
                Reached::Stopped => return true,
                Reached::Ended(ended) => {
                    let what = match ended.how {
                        How::Ended(wrr_trace::Ending::Returned { .. }) => {
                            let results = std::mem::take(&mut self.guest.results);
                            let data = results.into_iter().map(|v| self.guest.datum(v));
                            // A reference that only the host can have made has no identity here.
                            format!("{:?}", data.map(Result::ok).collect::<Vec<_>>())
                        }
                        other => format!("{other:?}"),
                    };
                    self.log.push(format!("{what} at {}", ended.tick.0));
                    self.call += 1;
                    let Some((name, args)) = self.calls.get(self.call) else { return false };
                    self.guest.call_next(name, args.clone());
                }
            }
        }
    }

    pub fn save(&mut self) -> Saved {
        let checkpoint = self.guest.state().unwrap();
        let count = checkpoint.memories.len() as u32;
        let memories =
            (0..count).map(|index| self.guest.memory_bytes(index).unwrap().to_vec()).collect();
        Saved { checkpoint, memories, call: self.call, log: self.log.clone() }
    }

    pub fn finish(mut self) -> Outcomes {
        let stopped = self.go(Until::End);
        assert!(!stopped);
        self.outcomes()
    }

    pub fn outcomes(mut self) -> Outcomes {
        Outcomes {
            tick: self.guest.tick().0,
            events: self.guest.events().0,
            hash: self.guest.state_hash().unwrap(),
            log: self.log,
        }
    }

    /// Goes back to a state that was kept, in place if that can be.
    fn back_to(&mut self, kept: &Kept, saved: &Saved) {
        let host = self.guest.host();
        host.set_source(Fake { events: kept.events().0 });
        host.set_events(kept.events());
        let (name, args) = &self.calls[saved.call];
        self.guest.call_next(name, args.clone());
        if !self.guest.roll_back(kept).unwrap() {
            *self = self.forked(kept, saved);
        }
        (self.call, self.log) = (saved.call, saved.log.clone());
    }

    /// Another guest that starts from a state that was kept.
    fn forked(&self, kept: &Kept, saved: &Saved) -> Run<'a> {
        let (name, args) = &self.calls[saved.call];
        let entry = Entry::Export { name: name.clone(), args: Vec::new() };
        let mut kept = kept.clone();
        kept.warm_up().unwrap();
        let host = Fake::at(kept.events());
        let (program, variant) = (self.program, self.guest.variant);
        let guest = Guest::fork_with(program, variant, &entry, args.clone(), &kept, host).unwrap();
        let log = saved.log.clone();
        Run { guest, program, calls: self.calls, call: saved.call, log }
    }

    fn again(self, variant: Variant, saved: &Saved) -> Run<'a> {
        Run::restored(self.program, variant, self.calls, saved)
    }
}

/// Loads a module in either form.
pub fn load(module: &[u8], stack_bytes: u64) -> Result<Program, Refusal> {
    let bytes = crate::module_bytes(module.to_vec())?;
    let limits = Limits { stack_bytes, ..Limits::default() };
    let id = ModuleId::of(&bytes);
    Program::load(bytes, id, &limits, None, (Purpose::Live, Variant::Inspect), &())
}

/// Whether the module can be instantiated: its segments may not fit.
pub fn starts(program: &Program) -> bool {
    let entry = Entry::Export { name: String::new(), args: Vec::new() };
    let host = Fake::at(EventIndex(0));
    let guest = program.on_guest_stack(|| {
        Guest::with_args(program, Variant::Run, &entry, Vec::new(), host).map(drop)
    });
    !matches!(guest.unwrap(), Err(Refusal::Instantiate(_)))
}

/// How much was checked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Checked {
    pub ticks: u64,
    pub events: u64,
    pub stops: u64,
    pub frames: u64,
}

impl std::ops::AddAssign for Checked {
    fn add_assign(&mut self, more: Checked) {
        self.ticks += more.ticks;
        self.events += more.events;
        self.stops += more.stops;
        self.frames += more.frames;
    }
}

/// Holds all properties of stopping against a program.
///
/// Stops at every tick and event, or at `stops_max` of each that are spread evenly.
pub fn check(program: &Program, calls: &[Invocation], stops_max: u64) -> Checked {
    program.on_guest_stack(|| check_here(program, calls, stops_max)).unwrap()
}

fn check_here(program: &Program, calls: &[Invocation], stops_max: u64) -> Checked {
    let whole = Run::new(program, Variant::Inspect, calls).finish();
    for variant in [Variant::Run, Variant::Counted, Variant::Covered, Variant::Compares] {
        let other = Run::new(program, variant, calls).finish();
        assert_eq!(whole, other, "{variant:?} differs without any stop");
    }
    let spread = |count: u64| -> BTreeSet<u64> {
        (0..count.min(stops_max)).map(|n| n * count / count.min(stops_max)).collect()
    };
    let ticks: Vec<u64> = spread(whole.tick).into_iter().map(|tick| tick + 1).collect();
    // One guest that is stopped again and again. The other variant stops where it can.
    let stops = [Variant::Inspect, Variant::Run]
        .map(|variant| (variant, chain(program, variant, calls, &ticks, &whole)));
    let mut checked = Checked { ticks: whole.tick, events: whole.events, ..Checked::default() };
    for (variant, saves) in &stops {
        for (tick, saved) in saves {
            checked.stops += 1;
            checked.frames += saved.checkpoint.frames.len() as u64;
            let context = format!("at tick {tick} in {variant:?}, {:?}", saved.checkpoint.frames);
            let mut direct = Run::new(program, *variant, calls);
            assert!(direct.go(Until::Tick(Tick(*tick))));
            assert_eq!(direct.save(), *saved, "another way leads to another state {context}");
            assert_eq!(direct.finish(), whole, "after a stop it goes on differently {context}");
            check_restored(program, calls, saved, &whole, &context);
            for (other, saves) in &stops {
                let Some((next, expected)) = saves.iter().find(|(next, _)| next > tick) else {
                    continue;
                };
                let mut run = Run::restored(program, *other, calls, saved);
                assert!(run.go(Until::Tick(Tick(*next))), "no stop at {next} {context}");
                assert_eq!(run.save(), *expected, "the next stop in {other:?} {context}");
            }
        }
    }
    assert_eq!(stops[0].1.len(), ticks.len());
    for variant in [Variant::Inspect, Variant::Run] {
        check_kept(program, variant, calls, &ticks, &whole);
    }
    for variant in [Variant::Run, Variant::Counted, Variant::Inspect] {
        let mut chain = Run::new(program, variant, calls);
        for event in spread(whole.events) {
            assert!(chain.go(Until::Event(EventIndex(event))), "it ended before event {event}");
            assert_eq!(chain.guest.events(), EventIndex(event));
            assert!(matches!(chain.guest.pause, Pause::Call { .. }));
            let saved = chain.save();
            checked.stops += 1;
            let context = format!("in {variant:?} at event {event}, {:?}", saved.checkpoint.frames);
            check_restored(program, calls, &saved, &whole, &context);
        }
        assert_eq!(chain.finish(), whole, "a chain of stops in {variant:?} changes what it does");
    }
    checked
}

/// Stops one guest at these ticks, or as soon as possible after them; gives where it was then.
fn chain(
    program: &Program,
    variant: Variant,
    calls: &[Invocation],
    ticks: &[u64],
    whole: &Outcomes,
) -> Vec<(u64, Saved)> {
    let mut run = Run::new(program, variant, calls);
    let mut saves = Vec::new();
    for &tick in ticks {
        // It may have come further already.
        if run.guest.tick() >= Tick(tick) {
            continue;
        }
        if !run.go(Until::Tick(Tick(tick))) {
            assert_eq!(
                run.outcomes(),
                *whole,
                "a chain of stops in {variant:?} changes what it does"
            );
            return saves;
        }
        let now = run.guest.tick().0;
        assert!(
            now == tick || (now > tick && variant == Variant::Run),
            "at {now} instead of {tick}"
        );
        saves.push((now, run.save()));
    }
    assert_eq!(run.finish(), *whole, "a chain of stops in {variant:?} changes what it does");
    saves
}

/// One guest goes forwards and back between states that were kept in memory, and forks of it do the same as it does.
fn check_kept(
    program: &Program,
    variant: Variant,
    calls: &[Invocation],
    ticks: &[u64],
    whole: &Outcomes,
) {
    let mut run = Run::new(program, variant, calls);
    let mut kept: Vec<(Kept, Saved)> = vec![(run.guest.keep().unwrap(), run.save())];
    let mut random = 0x2545_f491_4f6c_dd1d_u64 ^ whole.tick;
    for &tick in ticks.iter().take(KEPT_STOPS_MAX) {
        if run.guest.tick() < Tick(tick) && run.go(Until::Tick(Tick(tick))) {
            kept.push((run.guest.keep().unwrap(), run.save()));
        }
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let (state, saved) = &kept[(random >> 33) as usize % kept.len()];
        run.back_to(state, saved);
        assert_eq!(run.save(), *saved, "gone back in {variant:?} to tick {}", state.tick().0);
    }
    // Also after the end, from a fork of a fork.
    let (state, saved) = kept.last().expect("the first one is there");
    let mut fork = run.forked(state, saved);
    let again = fork.guest.keep().unwrap();
    assert!(!fork.go(Until::End));
    fork.back_to(&again, saved);
    assert_eq!(fork.save(), *saved, "a fork has gone back in {variant:?}");
    assert_eq!(fork.forked(&again, saved).finish(), *whole, "a fork of a fork in {variant:?}");
    assert_eq!(fork.finish(), *whole, "a fork in {variant:?}");
    for (state, saved) in &kept {
        run.back_to(state, saved);
        assert!(!run.go(Until::End));
        assert!(matches!(run.guest.keep(), Err(Refusal::Ended)));
    }
    assert_eq!(run.outcomes(), *whole, "it has gone back in {variant:?}");
}

/// How many states [`check_kept`] keeps.
const KEPT_STOPS_MAX: usize = 30;

/// A saved state goes on in a new guest, in all variants, as if nothing had happened.
fn check_restored(
    program: &Program,
    calls: &[Invocation],
    saved: &Saved,
    whole: &Outcomes,
    context: &str,
) {
    for variant in [Variant::Inspect, Variant::Run, Variant::Counted, Variant::Covered] {
        let mut run = Run::restored(program, variant, calls, saved);
        assert_eq!(run.save(), *saved, "restored in {variant:?} {context}");
        // Where one variant stops the other one may be unable to.
        let innermost = saved.checkpoint.frames.last();
        let capturable = program.capturable(variant).unwrap();
        if innermost.is_none_or(|frame| capturable.contains(frame.function)) {
            run.guest.capture_again().unwrap_or_else(|e| panic!("{e} in {variant:?} {context}"));
            assert_eq!(run.save(), *saved, "captured again in {variant:?} {context}");
        }
        let other = run.save();
        assert_eq!(run.finish(), *whole, "restored in {variant:?} {context}");
        // What was captured by continuations is as good.
        let run = Run::restored(program, variant, calls, saved);
        assert_eq!(run.again(variant, &other).finish(), *whole, "restored twice {context}");
    }
}

/// Holds all properties against a module in text form, and gives the results of its calls and how much was checked.
pub fn everywhere(text: &str, calls: &[(&str, &[Val])]) -> (Vec<String>, Checked) {
    everywhere_with(text, calls, 1 << 20, 200)
}

/// As [`everywhere`], with a stack of this size and at most so many stops of each kind.
pub fn everywhere_with(
    text: &str,
    calls: &[(&str, &[Val])],
    stack_bytes: u64,
    stops_max: u64,
) -> (Vec<String>, Checked) {
    let program = load(text.as_bytes(), stack_bytes).unwrap_or_else(|e| panic!("{e}\n{text}"));
    let calls: Vec<Invocation> =
        calls.iter().map(|(name, args)| ((*name).to_owned(), args.to_vec())).collect();
    let checked = check(&program, &calls, stops_max);
    let whole = program.on_guest_stack(|| Run::new(&program, Variant::Run, &calls).finish());
    let results = whole.unwrap().log.into_iter();
    let results = results.map(|line| line.split(" at ").next().unwrap_or_default().to_owned());
    (results.collect(), checked)
}

/// What a call logs that returns an i32.
pub fn i32(value: i32) -> String {
    format!("{:?}", [Some(wrr_trace::Datum::I32(value))])
}

/// What a call logs that returns an i64.
pub fn i64(value: i64) -> String {
    format!("{:?}", [Some(wrr_trace::Datum::I64(value))])
}
