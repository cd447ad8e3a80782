//! A live run that goes on from a moment of a recorded one.

use crate::follower::{Checkpoints, Followed, Follower, Stamper};
use crate::job::{Finished, RecordOptions, Recorded, entry, finish, live_variant};
use crate::{Error, Interrupt, Moment, Trace};
use std::path::Path;
use wrr_engine::{Guest, Images, Program, Reached, Until, Variant};
use wrr_trace::{Checkpoint, Manifest, Origin, PAGE_BYTES, PageId, TraceWriter, WriterOptions};
use wrr_wasi::{Live, LiveConfig, Recorder};

/// Where the new recording goes, and how it is made.
pub struct ResumeTo<'a, 'b> {
    /// The new trace.
    pub path: &'a Path,
    /// As for a recording from the start.
    pub options: RecordOptions<'b>,
}

/// How to go on.
#[derive(Default)]
pub struct ResumeOptions<'a, 'b> {
    /// Where the new run is recorded, with the old one's history; nowhere by default.
    pub to: Option<ResumeTo<'a, 'b>>,
    /// Called before the guest runs, with the line that it had begun to write: to a user at a terminal it is the prompt that
    /// stood there.
    pub on_start: Option<&'a mut dyn FnMut(&[u8])>,
}

impl Trace<'_> {
    /// Goes on live from a moment: the guest's open files are opened again, its clock and randomness are real. `None` is the
    /// moment behind everything that was recorded.
    ///
    /// # Errors
    /// [`Error::Resume`] with everything that is missing, before anything runs; otherwise as [`Trace::seek`] and
    /// [`record`](crate::record).
    pub fn resume(
        &self,
        moment: Option<&Moment>,
        live: LiveConfig,
        options: ResumeOptions<'_, '_>,
    ) -> Result<Recorded, Error> {
        let target = match moment {
            Some(moment) => self.target(moment)?,
            None => self.frontier()?,
        };
        // Between the target and the first possible stop behind it the guest asks nothing of the world, so it does not matter
        // that this variant cannot stop at every tick.
        let variant = live_variant(self.reader().manifest().deterministic);
        let (session, line) = self.seek_with_line(variant, target)?;
        let (program, mut guest) = session.into_guest();
        guest.limit_stack();
        let refused = |refusal| self.refused(refusal);
        let manifest = self.reader().manifest();
        let state = guest.host().state();
        let live = Live::resume(live, manifest, &state)?;
        let ResumeOptions { to, mut on_start } = options;
        let mut start = || on_start.take().into_iter().for_each(|on_start| on_start(&line));
        let Some(ResumeTo { path, options }) = to else {
            start();
            guest.host().set_source(live);
            let ended = run_on(&program, &mut guest).map_err(refused)?;
            return finish(guest, ended, Finished::Unrecorded);
        };
        let origin = Origin {
            trace: self.reader().path().file_name().unwrap_or_default().to_string_lossy().into(),
            tick: guest.tick(),
            event: guest.events(),
        };
        let manifest = Manifest {
            recorder: env!("CARGO_PKG_VERSION").to_owned(),
            origin: Some(origin),
            ..manifest.clone()
        };
        let elapsed_ns = match self.reader().elapsed_ns_at_tick(guest.tick())? {
            Some(elapsed_ns) => elapsed_ns,
            // Behind the last stamp that a killed recorder wrote.
            None => self.reader().time_stamps()?.last().map_or(0, |stamp| stamp.elapsed_ns),
        };
        let writer_options = WriterOptions { canonical: manifest.deterministic, elapsed_ns };
        let module = self.reader().module()?.into();
        let writer = TraceWriter::create(path, &manifest, module, writer_options)?;
        self.copy_history(&guest, &writer)?;
        // Not earlier: a history that was interrupted would pass for all of it.
        if let Some(on_start) = options.on_start {
            on_start(Interrupt::new(&writer));
        }
        let follower = match options.checkpoints {
            Some(checkpoints) => {
                self.follow_from_here((&program, variant), &mut guest, &writer, checkpoints)?
            }
            None => None,
        };
        guest.host().set_source(Recorder::new(live, writer, options.on_trace_error));
        guest.set_heart(Some(Box::new(Stamper::new(follower.as_ref()))));
        start();
        let ended = run_on(&program, &mut guest).map_err(refused)?;
        finish(guest, ended, Finished::Recorded { follower })
    }

    /// Everything that was recorded before the guest's moment, with the checkpoints.
    fn copy_history(&self, guest: &Guest, writer: &TraceWriter) -> Result<(), Error> {
        let reader = self.reader();
        let until = guest.events();
        let mut stamps = reader.time_stamps()?.into_iter().peekable();
        writer.set_history(true);
        for event in reader.events()? {
            let event = event?;
            if event.index >= until {
                break;
            }
            while let Some(stamp) = stamps.next_if(|stamp| stamp.event <= event.index) {
                writer.stamp_at(stamp);
            }
            writer.append(event.tick, &event.call, &event.outcome)?;
        }
        for stamp in stamps.take_while(|stamp| stamp.tick <= guest.stopped_tick()) {
            writer.stamp_at(stamp);
        }
        writer.set_history(false);
        let sink = writer.checkpoint_sink();
        let mut pages = 0;
        for place in 0..reader.checkpoints().len() {
            let entry = &reader.checkpoints()[place];
            if entry.event > until || entry.tick > guest.stopped_tick() {
                break;
            }
            let checkpoint = reader.checkpoint(place)?;
            let runs = checkpoint.memories.iter().flat_map(|memory| &memory.runs);
            let needed = runs.map(|run| run.id.0 + run.count - 1).max().unwrap_or(0).max(pages);
            let mut bytes = vec![0; (needed - pages) as usize * PAGE_BYTES];
            let (new, _) = bytes.as_chunks_mut::<PAGE_BYTES>();
            let wanted = (pages + 1..=needed).map(PageId).zip(new.iter_mut().map(|p| &mut p[..]));
            reader.read_pages(wanted.collect())?;
            sink.put(bytes, checkpoint)?;
            pages = needed;
        }
        Ok(())
    }

    /// A follower that starts where the guest stands; the guest's state is the first checkpoint.
    fn follow_from_here(
        &self,
        (program, variant): (&Program, Variant),
        guest: &mut Guest,
        writer: &TraceWriter,
        checkpoints: Checkpoints,
    ) -> Result<Option<Follower>, Error> {
        let refused = |refusal| self.refused(refusal);
        let manifest = self.reader().manifest();
        let checkpoint: Checkpoint = {
            let mut state = guest.state().map_err(refused)?;
            state.host = guest.host().state();
            state
        };
        let memories = guest.memory_count().map_err(refused)?;
        let contents = (0..memories)
            .map(|index| guest.memory_bytes(index).unwrap_or_default().to_vec())
            .collect();
        // The pages that the copied checkpoints brought along.
        let mut store = wrr_engine::PageStore::new();
        self.seed(&mut store, writer.checkpoint_sink().page_count())?;
        let followed = Followed {
            program: program.clone(),
            variant,
            entry: entry(manifest.invoke.as_deref(), &manifest.args),
            state: checkpoint.host.clone(),
            event: checkpoint.event,
            guest: Some((checkpoint, contents)),
            images: Images::with_store(store, checkpoints.tracker),
        };
        Ok(Follower::start(writer, followed, checkpoints)?)
    }
}

fn run_on(program: &Program, guest: &mut Guest) -> Result<wrr_engine::Ended, wrr_engine::Refusal> {
    loop {
        match program.on_guest_stack(|| guest.go(Until::End)).and_then(|reached| reached)? {
            Reached::Ended(ended) => return Ok(ended),
            Reached::Stopped => {}
        }
    }
}
