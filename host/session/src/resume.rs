//! A live run that goes on from a moment of a recorded one.

use crate::job::{RecordOptions, Recorded, live_variant, to_end};
use crate::recording::Recording;
use crate::session::Session;
use crate::{Error, Interrupt, Moment, Trace};
use std::path::Path;
use wrr_engine::{Guest, PageStore};
use wrr_trace::{
    EditBy, EventIndex, Manifest, Origin, PAGE_BYTES, PageId, TraceWriter, WriterOptions,
};
use wrr_wasi::{LiveConfig, Recorder};

/// Where the new recording goes, and how it is made.
pub struct ResumeTo<'a, 'b> {
    /// The new trace.
    pub path: &'a Path,
    /// As for a recording from the start.
    pub options: RecordOptions<'b>,
}

/// Is given a line.
pub type OnLine<'a> = &'a mut dyn FnMut(&[u8]);

/// How to go on.
#[derive(Default)]
pub struct ResumeOptions<'a, 'b> {
    /// Where the new run is recorded, with the old one's history; nowhere by default.
    pub to: Option<ResumeTo<'a, 'b>>,
    /// Called before the guest runs, with the line that it had begun to write: to a user at a terminal it is the prompt that
    /// stood there.
    pub on_start: Option<OnLine<'a>>,
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
        mut live: LiveConfig,
        options: ResumeOptions<'_, '_>,
    ) -> Result<Recorded, Error> {
        let target = match moment {
            Some(moment) => self.target(moment)?,
            None => self.frontier()?,
        };
        // Between the target and the first possible stop behind it the guest asks nothing of the world, so it does not matter
        // that this variant cannot stop at every tick.
        let variant = live_variant(self.reader().manifest().deterministic);
        let (playback, line) = self.seek_with_line(variant, target)?;
        let variant = playback.variant();
        let (program, guest) = playback.into_guest();
        self.put_layer(&mut live, guest.events())?;
        let manifest = self.reader().manifest();
        let mut session = Session::resumed(manifest.clone(), program, variant, guest);
        match options.to {
            None => session.go_live(live)?,
            Some(to) => self.record_on(&mut session, live, to)?,
        }
        if let Some(on_start) = options.on_start {
            on_start(&line);
        }
        to_end(session)
    }

    /// A session at a moment of this recording goes on live, recorded.
    pub(crate) fn record_on(
        &self,
        session: &mut Session,
        mut live: LiveConfig,
        ResumeTo { path, mut options }: ResumeTo<'_, '_>,
    ) -> Result<(), Error> {
        self.put_layer(&mut live, session.guest()?.events())?;
        let (live, world) = session.opened(live)?;
        let (program, _) = session.program();
        let guest = session.guest()?;
        let origin = Origin {
            trace: self.reader().path().file_name().unwrap_or_default().to_string_lossy().into(),
            tick: guest.tick(),
            event: guest.events(),
        };
        let manifest = Manifest {
            recorder: env!("CARGO_PKG_VERSION").to_owned(),
            origin: Some(origin),
            ..self.reader().manifest().clone()
        };
        let elapsed_ns = match self.reader().elapsed_ns_at_tick(guest.tick())? {
            Some(elapsed_ns) => elapsed_ns,
            // Behind the last stamp that a killed recorder wrote.
            None => self.reader().time_stamps()?.last().map_or(0, |stamp| stamp.elapsed_ns),
        };
        let writer_options = WriterOptions {
            canonical: manifest.deterministic,
            control: program.is_controlling(),
            overlay: live.overlay().is_some(),
            elapsed_ns,
        };
        let module = self.reader().module()?.into();
        let writer = TraceWriter::create(path, &manifest, module, writer_options)?;
        self.copy_history(guest, &writer)?;
        // Not earlier: a history that was interrupted would pass for all of it.
        if let Some(on_start) = options.on_start.take() {
            on_start(Interrupt::new(&writer));
        }
        let sink = writer.checkpoint_sink();
        // The pages that the copied checkpoints brought along.
        let mut pages = PageStore::new();
        self.seed(&mut pages, sink.page_count())?;
        let has_clock = !manifest.deterministic;
        session.live_in(Recorder::new(live, writer, options.on_trace_error), world)?;
        let guest = session.guest()?;
        let recording = Recording::start(guest, sink, options.checkpoints, pages, has_clock);
        session.recorded(recording);
        Ok(())
    }

    /// Everything that was recorded before the guest's moment, with the checkpoints.
    fn copy_history(&self, guest: &Guest, writer: &TraceWriter) -> Result<(), Error> {
        let reader = self.reader();
        let until = guest.events();
        let mut stamps = reader.time_stamps()?.into_iter().peekable();
        let mut edits = reader.layer_edits(until).peekable();
        let mut edits_of = |event: EventIndex| -> Result<(), Error> {
            let until = EventIndex(event.0 + 1);
            while let Some(edit) = edits.next_if(|edit| !matches!(edit, Ok((at, _)) if *at > until))
            {
                let (at, edit) = edit?;
                let by = if at > event { EditBy::NextEvent } else { EditBy::Host };
                writer.append_edits(&[edit], by)?;
            }
            Ok(())
        };
        writer.set_history(true);
        for event in reader.events()? {
            let event = event?;
            if event.index >= until {
                break;
            }
            while let Some(stamp) = stamps.next_if(|stamp| stamp.event <= event.index) {
                writer.stamp_at(stamp);
            }
            edits_of(event.index)?;
            writer.append(event.tick, &event.call, &event.outcome)?;
        }
        edits_of(until)?;
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
}
