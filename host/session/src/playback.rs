//! A recorded run at one of its moments.

use crate::job::entry;
use crate::moment::Last;
use crate::{End, Error, Moment, Trace};
use std::time::{Duration, Instant};
use wrr_engine::{Ended, Guest, How, Program, Purpose, StackFrame, Until, Variant};
use wrr_timeline::{Machine, Position, Target, Timeline};
use wrr_trace::{Checkpoint, Ending, EventIndex, HostState, PageId, Pause, Tick};
use wrr_wasi::{Feed, Host, LookAhead, Replay, ReplayOutput, Stop, ends_by_memory};

/// How to get to a moment.
#[derive(Clone, Copy, Debug)]
pub struct SeekOptions {
    /// Start from the nearest checkpoint; otherwise from the start of the run.
    pub checkpoints: bool,
}

impl Default for SeekOptions {
    fn default() -> SeekOptions {
        SeekOptions { checkpoints: true }
    }
}

/// How a seek went.
#[derive(Clone, Copy, Debug, Default)]
pub struct Seek {
    /// The tick of the checkpoint that it started from; `None` if it started from the start.
    pub checkpoint_tick: Option<Tick>,
    /// How many ticks were replayed.
    pub replayed_ticks: u64,
    /// How long it took to restore the checkpoint.
    pub restore: Duration,
    /// How long all of it took, the program's loading included.
    pub total: Duration,
}

/// A recorded run that stands at a moment.
pub struct Playback<'a> {
    trace: &'a Trace<'a>,
    program: Program,
    variant: Variant,
    guest: Option<Guest>,
    restore: Duration,
    seek: Seek,
}

impl<'a> Trace<'a> {
    /// Goes to a moment, silently. At a tick the state is exact, wherever that is in the program.
    ///
    /// # Errors
    /// [`Error::Moment`] if there is no such moment, otherwise as [`Trace::replay`].
    pub fn seek(&'a self, moment: &Moment, options: SeekOptions) -> Result<Playback<'a>, Error> {
        let target = self.target(moment)?;
        let variant = match target {
            // The run has stops at every host call, but not at every tick.
            Target::Event(_) => self.replaying_variant()?,
            Target::Tick(_) => Variant::Inspect,
        };
        self.seek_in(variant, target, options)
    }

    /// Goes to a moment, silently, in the faster variant: if the program cannot be stopped at that very tick, then to the first
    /// possible stop behind it. Nothing that it asks of the world lies between the two.
    ///
    /// # Errors
    /// As [`Trace::seek`].
    pub fn seek_roughly(
        &'a self,
        moment: &Moment,
        options: SeekOptions,
    ) -> Result<Playback<'a>, Error> {
        self.seek_target_roughly(self.replaying_variant()?, self.target(moment)?, options)
    }

    pub(crate) fn seek_target_roughly(
        &'a self,
        variant: Variant,
        target: Target,
        options: SeekOptions,
    ) -> Result<Playback<'a>, Error> {
        match self.seek_in(variant, target, options) {
            // There was no possible stop any more before the end.
            Err(Error::Moment(_)) => self.seek_in(Variant::Inspect, target, options),
            sought => sought,
        }
    }

    /// Goes to a target in a variant; to the first possible stop behind it if the variant has none there.
    pub(crate) fn seek_in(
        &'a self,
        variant: Variant,
        target: Target,
        options: SeekOptions,
    ) -> Result<Playback<'a>, Error> {
        let started = Instant::now();
        let begun = self.begin_program(Purpose::Replay, variant)?;
        let mut session = Playback {
            trace: self,
            program: begun.program().clone(),
            variant,
            guest: None,
            restore: Duration::ZERO,
            seek: Seek::default(),
        };
        let timeline = match options.checkpoints {
            true => Timeline::new(self.checkpoint_positions()),
            false => Timeline::default(),
        };
        let lost = |number: usize, error: Error| {
            tracing::warn!("checkpoint {number} cannot be used, an earlier one is: {error}");
        };
        let sought = timeline.seek(&mut session, target, lost);
        // Before anything that another module has done is taken for a result.
        begun.checked()?;
        let sought = sought?;
        let here = session.guest().tick();
        if !sought.arrived {
            return Err(Error::Moment(format!(
                "the replay ends at tick {}, before it gets there",
                here.0
            )));
        }
        session.seek = Seek {
            checkpoint_tick: sought.checkpoint.map(|_| sought.from.tick),
            replayed_ticks: here.0 - sought.from.tick.0,
            restore: session.restore,
            total: started.elapsed(),
        };
        Ok(session)
    }
}

impl Playback<'_> {
    pub(crate) fn guest(&mut self) -> &mut Guest {
        self.guest.as_mut().expect("a seek restores before anything else")
    }

    /// How it got there.
    #[must_use]
    pub fn seek(&self) -> Seek {
        self.seek
    }

    /// Where it stands.
    pub fn position(&mut self) -> Position {
        Machine::position(self)
    }

    /// The variant that runs.
    #[must_use]
    pub fn variant(&self) -> Variant {
        self.variant
    }

    /// The guest's stack, innermost frame first.
    ///
    /// # Errors
    /// [`Error::Refused`] if a checkpoint does not fit the module.
    pub fn stack(&mut self) -> Result<Vec<StackFrame>, Error> {
        let stack = self.guest().stack();
        stack.map_err(|refusal| self.trace.refused(refusal))
    }

    /// BLAKE3 of the state: frames, globals, tables, memories. Depends on the moment, not on the way there, nor on the host.
    ///
    /// # Errors
    /// The guest holds something that has no portable form.
    pub fn state_hash(&mut self) -> Result<[u8; 32], Error> {
        let hash = self.guest().state_hash();
        hash.map_err(|refusal| self.trace.refused(refusal))
    }

    /// A memory's bytes.
    pub fn memory(&mut self, index: u32) -> Option<&[u8]> {
        self.guest().memory_bytes(index)
    }

    /// The sizes of all memories together, in bytes.
    pub fn memory_bytes(&mut self) -> u64 {
        let memories = self.guest().memory_count().unwrap_or(0);
        (0..memories).map(|i| self.memory(i).map_or(0, |bytes| bytes.len() as u64)).sum()
    }

    /// Replays on, showing what the guest writes, until a target or the end.
    ///
    /// # Errors
    /// As [`Trace::replay`].
    pub fn play(&mut self, output: ReplayOutput, until: Option<Target>) -> Result<Played, Error> {
        let here = self.position();
        if until.is_some_and(|target| !target.is_at_or_after(here)) {
            return Err(Error::Moment(format!(
                "it is at tick {} already, behind event {}: the end lies before the beginning",
                here.tick.0, here.event.0
            )));
        }
        self.guest().host().set_output(output);
        match self.play_on(until)? {
            Played::Passed => Ok(Played::Stopped),
            played => Ok(played),
        }
    }

    pub(crate) fn play_on(&mut self, until: Option<Target>) -> Result<Played, Error> {
        let guest = self.guest.as_mut().expect("a seek restores before anything else");
        self.trace.play(&self.program, guest, until)
    }

    /// Takes the guest out of the recording.
    pub(crate) fn into_guest(self) -> (Program, Guest) {
        let guest = self.guest.expect("a seek restores before anything else");
        (self.program, guest)
    }
}

/// What [`Playback::play`] came to.
#[derive(Debug)]
pub enum Played {
    /// The target.
    Stopped,
    /// The target was passed where the program cannot be stopped, and it ended without asking anything of the world.
    Passed,
    /// The end of the run.
    Ended(End),
    /// The end of a recording that was cut off.
    CutOff,
}

pub(crate) fn until_of(target: Target) -> Until {
    match target {
        Target::Tick(tick) => Until::Tick(tick),
        Target::Event(event) => Until::Event(event),
    }
}

impl Trace<'_> {
    /// Checks the end of a replay against the recorded one.
    pub(crate) fn replayed_end(&self, guest: &mut Guest, ended: Ended) -> Result<Played, Error> {
        let Ended { how, tick, trap } = ended;
        let as_recorded = matches!(self.reader().ending(), Some(Ending::HostFailed { .. }));
        match how {
            // It says nothing about the recording: another host may have what this one lacks.
            How::Ended(Ending::HostFailed { what }) if !as_recorded => Err(Error::Unable(what)),
            How::Ended(ending) => {
                guest.host().finish(&ending, tick)?;
                Ok(Played::Ended(End { ending, trap }))
            }
            How::Stopped(Stop::EndOfTrace) => match self.reader().ending() {
                Some(ending) => Ok(Played::Ended(End { ending: ending.clone(), trap: None })),
                None => Ok(Played::CutOff),
            },
            How::Stopped(stop) => Err(stop.into()),
        }
    }

    /// A host that answers from the recording from an event on.
    fn host_at(&self, event: EventIndex, state: HostState) -> Result<Host, Error> {
        Ok(Host::at(self.source_at(event, state)?, event))
    }

    /// What answers from the recording from an event on.
    pub(crate) fn source_at(&self, event: EventIndex, state: HostState) -> Result<Replay, Error> {
        let feed = Feed {
            events: Box::new(self.reader().events_from(event)?),
            next: event,
            state,
            ending: self.reader().ending().cloned(),
            ending_tick: self.reader().end_tick(),
            goes_on: ends_by_memory(self.reader()),
            look_ahead: LookAhead::No,
        };
        Ok(Replay::at(feed, ReplayOutput::discard())?)
    }

    /// A guest in the state of a checkpoint, or at the start.
    pub(crate) fn guest_at(
        &self,
        program: &Program,
        variant: Variant,
        checkpoint: Option<&Checkpoint>,
    ) -> Result<Guest, Error> {
        let manifest = self.reader().manifest();
        let (event, state) = match checkpoint {
            Some(checkpoint) => (checkpoint.event, checkpoint.host.clone()),
            None => (EventIndex(0), HostState::at_start(manifest)),
        };
        let host = self.host_at(event, state)?;
        let entry = entry(manifest.invoke.as_deref(), &manifest.args);
        let refused = |refusal| self.refused(refusal);
        let make = if checkpoint.is_some() { Guest::to_restore } else { Guest::new };
        let mut guest = make(program, variant, &entry, host).map_err(refused)?;
        guest.set_bounds(None, ends_by_memory(self.reader()));
        if let Some(checkpoint) = checkpoint {
            let fill = |memories: Vec<&mut [u8]>| self.fill(checkpoint, memories);
            guest.restore::<Restoring>(checkpoint, fill).map_err(|error| match error {
                Restoring::Refused(refusal) => self.refused(refusal),
                Restoring::Failed(error) => error,
            })?;
        }
        Ok(guest)
    }

    /// Puts a checkpoint's pages into memories that are zero.
    fn fill(&self, checkpoint: &Checkpoint, memories: Vec<&mut [u8]>) -> Result<(), Restoring> {
        const PAGE: usize = wrr_trace::PAGE_BYTES;
        let mut wanted: Vec<(PageId, &mut [u8])> = Vec::new();
        for (state, memory) in checkpoint.memories.iter().zip(memories) {
            let mut pages = memory.chunks_mut(PAGE).enumerate();
            for run in &state.runs {
                for offset in 0..run.count {
                    let page = (run.page + offset) as usize;
                    let (_, destination) =
                        pages.by_ref().find(|(number, _)| *number == page).expect(
                            "a checkpoint that was decoded has ascending runs within its memory",
                        );
                    wanted.push((PageId(run.id.0 + offset), destination));
                }
            }
        }
        self.reader().read_pages(wanted).map_err(|error| Restoring::Failed(error.into()))
    }
}

/// Why a checkpoint cannot be restored.
enum Restoring {
    Refused(wrr_engine::Refusal),
    Failed(Error),
}

impl From<wrr_engine::Refusal> for Restoring {
    fn from(refusal: wrr_engine::Refusal) -> Restoring {
        Restoring::Refused(refusal)
    }
}

impl Machine for Playback<'_> {
    type Error = Error;

    fn position(&mut self) -> Position {
        let guest = self.guest();
        Position {
            tick: guest.tick(),
            event: guest.events(),
            in_call: matches!(guest.pause(), Pause::Call { .. }),
        }
    }

    fn restore(&mut self, checkpoint: Option<usize>) -> Result<(), Error> {
        let started = Instant::now();
        let checkpoint = checkpoint.map(|i| self.trace.reader().checkpoint(i)).transpose()?;
        let guest = self.trace.guest_at(&self.program, self.variant, checkpoint.as_ref())?;
        self.guest = Some(guest);
        self.restore = started.elapsed();
        Ok(())
    }

    fn replay_to(&mut self, target: Target) -> Result<bool, Error> {
        Ok(matches!(self.play_on(Some(target))?, Played::Stopped))
    }
}

impl Trace<'_> {
    /// The moment behind everything that was recorded: from there on nothing is known.
    pub(crate) fn frontier(&self) -> Result<Target, Error> {
        let last = Last::of(self.reader())?;
        Ok(match last.target {
            // In the call that has no answer yet.
            Target::Event(_) => Target::Event(last.events),
            tick => tick,
        })
    }
}
