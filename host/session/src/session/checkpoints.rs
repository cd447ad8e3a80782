//! Checkpoints of a session: taking them, going back to them, giving them up, forking from them.

use super::{CheckpointId, ForkOptions, HostPoint, Point, Session, World, cloned};
use crate::recording::Recording;
use crate::{CheckpointError, Error};
use std::sync::Arc;
use wrr_engine::Guest;
use wrr_wasi::{Host, Live, LiveConfig, NotTakenBack};

impl Session {
    /// Keeps the state of the program, with what its host knows and holds open.
    ///
    /// # Errors
    /// [`wrr_engine::Refusal::Ended`] after its end; the host has no room for it; the recording cannot be written.
    pub fn checkpoint(&mut self) -> Result<CheckpointId, Error> {
        let kept = self.guest()?.keep();
        let kept = kept.map_err(|refusal| self.refused(refusal))?;
        let is_replay = matches!(self.world, World::Replay { .. });
        let host = self.guest()?.host();
        let mark = host.writer().map(|writer| writer.mark()).transpose()?;
        let mark = mark.zip(self.recording.as_ref().map(Recording::save));
        let host = self.guest()?.host();
        let host = match host.live() {
            Some(live) if !is_replay => HostPoint::Live(Box::new(live.save())),
            _ => HostPoint::Replay(host.state()),
        };
        let number = self.taken;
        self.taken += 1;
        self.points.insert(number, Point { kept, host, mark });
        Ok(self.id_of(number))
    }

    pub(super) fn id_of(&self, number: u64) -> CheckpointId {
        CheckpointId { module: self.manifest.module, session: self.id, number }
    }

    /// The checkpoints that the session can go back to, oldest first.
    pub fn checkpoints(&self) -> impl Iterator<Item = CheckpointId> + '_ {
        self.points.keys().map(|number| self.id_of(*number))
    }

    fn check(&self, id: CheckpointId) -> Result<(), CheckpointError> {
        if id.module != self.manifest.module {
            return Err(CheckpointError::OtherProgram);
        }
        if id.session != self.id {
            return Err(CheckpointError::OtherSession);
        }
        match self.points.contains_key(&id.number) {
            true => Ok(()),
            false if id.number < self.committed => Err(CheckpointError::Committed),
            false => Err(CheckpointError::TakenBack),
        }
    }

    /// Goes back to a checkpoint: memory, stack, descriptors, clocks. Checkpoints that were taken later are gone. Tells what
    /// could not be put back; nothing, in a replay.
    ///
    /// # Errors
    /// [`Error::Checkpoint`], and nothing has happened; the recording cannot be cut back, and nothing has happened.
    pub fn rollback(&mut self, id: CheckpointId) -> Result<NotTakenBack, Error> {
        self.check(id)?;
        let point = &self.points[&id.number];
        let events = point.kept.events();
        let mark = point.mark;
        if let Some((mark, _)) = &mark
            && let Some(writer) = self.guest()?.host().writer()
        {
            writer.rewind(mark)?;
        }
        let point = &self.points[&id.number];
        let guest = self.guest.as_mut().ok_or(Error::Lost)?;
        let report = match (&point.host, &mut self.world) {
            (HostPoint::Live(state), _) => {
                guest.host().live().map(|live| live.restore(state)).unwrap_or_default()
            }
            (HostPoint::Replay(state), World::Replay { trace, ended }) => {
                guest.host().set_source(trace.source_at(events, state.clone())?);
                *ended = false;
                NotTakenBack::default()
            }
            (HostPoint::Replay(_), _) => return Err(Error::Lost),
        };
        guest.host().set_events(events);
        let in_place = guest.roll_back(&point.kept);
        let in_place =
            in_place.map_err(|refusal| Error::Refused { name: self.name.clone(), refusal })?;
        let mut pages_of = None;
        if !in_place {
            let mut before = self.guest.take().ok_or(Error::Lost)?;
            pages_of = mark.map(|_| before.take_pages());
            let host = before.into_host();
            let point = &self.points[&id.number];
            let guest = Guest::fork(&self.program, self.variant, &self.entry, &point.kept, host);
            self.guest = Some(guest.map_err(|refusal| self.refused(refusal))?);
            if let (Some(recording), Some(guest)) = (&mut self.recording, &mut self.guest) {
                recording.set_heart(guest);
            }
            if let (Some((last_tick, memory)), Some(guest)) = (self.bounds, &mut self.guest) {
                guest.set_bounds(last_tick, memory);
            }
            if let (Some(interrupt), Some(guest)) = (&self.interrupt, &mut self.guest) {
                guest.set_interrupt(Arc::clone(interrupt));
            }
        }
        if let (Some((mark, then)), Some(guest)) = (&mark, &mut self.guest) {
            let kept = &self.points[&id.number].kept;
            let rewound = guest.rewind_pages(kept, mark.pages(), pages_of);
            rewound.map_err(|refusal| Error::Refused { name: self.name.clone(), refusal })?;
            if let Some(recording) = &mut self.recording {
                recording.restore(then);
            }
        }
        self.points.split_off(&(id.number + 1));
        self.names.retain(|_, named| named.number <= id.number);
        self.ended = None;
        Ok(report)
    }

    /// Makes everything up to a checkpoint final: it and all earlier ones are dropped.
    ///
    /// # Errors
    /// [`Error::Checkpoint`].
    pub fn commit(&mut self, id: CheckpointId) -> Result<(), Error> {
        self.check(id)?;
        self.points = self.points.split_off(&(id.number + 1));
        self.committed = id.number + 1;
        Ok(())
    }

    /// Another session that starts from a checkpoint. It shares memory with this one until either writes to it, has its own
    /// descriptors, and is not recorded.
    ///
    /// # Errors
    /// [`Error::Checkpoint`]; [`Error::Resume`] if what was open cannot be opened a second time.
    pub fn fork(&mut self, id: CheckpointId) -> Result<Session, Error> {
        self.fork_with(id, ForkOptions::default())
    }

    /// As [`Session::fork`], with other standard streams.
    ///
    /// # Errors
    /// As [`Session::fork`].
    pub fn fork_with(&mut self, id: CheckpointId, options: ForkOptions) -> Result<Session, Error> {
        self.check(id)?;
        let point = self.points.get_mut(&id.number).ok_or(CheckpointError::TakenBack)?;
        let name = &self.name;
        let refused = |refusal| Error::Refused { name: name.clone(), refusal };
        point.kept.warm_up().map_err(refused)?;
        let events = point.kept.events();
        let (host, world) = match (&point.host, &self.world) {
            (HostPoint::Live(state), World::Live { preopens, sockets }) => {
                let guest = self.guest.as_mut().ok_or(Error::Lost)?;
                let live = guest.host().live().ok_or(Error::Lost)?;
                let (stdout, stderr) = live.outputs();
                let world = World::Live { preopens: preopens.clone(), sockets: cloned(sockets)? };
                let config = LiveConfig {
                    preopens: preopens.clone(),
                    fs: live.files(state),
                    sockets: cloned(sockets)?,
                    stdin: options.stdin.unwrap_or_else(|| live.stdin()),
                    stdout: options.stdout.unwrap_or(stdout),
                    stderr: options.stderr.unwrap_or(stderr),
                    deterministic: self.manifest.deterministic,
                    ..LiveConfig::default()
                };
                let live = Live::fork(config, &self.manifest, state)?;
                (Host::at(live, events), world)
            }
            (HostPoint::Replay(state), World::Replay { trace, .. }) => {
                let source = trace.source_at(events, state.clone())?;
                let world = World::Replay { trace: Arc::clone(trace), ended: false };
                (Host::at(source, events), world)
            }
            _ => return Err(Error::Lost),
        };
        let guest = Guest::fork(&self.program, self.variant, &self.entry, &point.kept, host)
            .map_err(refused)?;
        let manifest = self.manifest.clone();
        let mut fork = Session::with(manifest, self.program.clone(), self.variant, guest, world);
        fork.branch = options.branch;
        Ok(fork)
    }
}
