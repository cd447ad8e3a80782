//! Records: asks a live host, and writes down what it said.

use crate::live::Live;
use crate::overlay::Overlay;
use crate::{ControlAnswer, Source, Stop};
use wrr_trace::{Call, EditBy, Ending, Errno, HostState, Outcome, Tick, TraceError, TraceWriter};

/// What to do when the trace cannot be written any further (a full disk, mostly).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnTraceError {
    /// Stop the guest: what it does from here on could not be replayed.
    #[default]
    Stop,
    /// Let the guest go on, unrecorded.
    Continue,
}

/// A live host whose outcomes are recorded.
pub struct Recorder {
    live: Live,
    /// Taken when the recording is finished.
    writer: Option<TraceWriter>,
    on_error: OnTraceError,
    /// The writer failed and the guest goes on.
    blind: bool,
}

impl Recorder {
    /// Records what `live` says with `writer`.
    #[must_use]
    pub fn new(live: Live, writer: TraceWriter, on_error: OnTraceError) -> Recorder {
        if let Some(overlay) = live.overlay() {
            overlay.keep_edits();
        }
        Recorder { live, writer: Some(writer), on_error, blind: false }
    }

    /// Does something with the writer, unless it has failed before.
    fn write(
        &mut self,
        action: impl FnOnce(&TraceWriter) -> Result<(), TraceError>,
    ) -> Result<(), Stop> {
        let Some(writer) = self.writer.as_ref().filter(|_| !self.blind) else { return Ok(()) };
        match (action(writer), self.on_error) {
            (Ok(()), _) => Ok(()),
            (Err(error), OnTraceError::Stop) => Err(Stop::Trace(error)),
            (Err(error), OnTraceError::Continue) => {
                tracing::warn!("{error}; the program goes on, but is not recorded any more");
                self.blind = true;
                Ok(())
            }
        }
    }
}

impl Recorder {
    /// Writes down what was done to the layer.
    fn write_edits(&mut self, by: EditBy) -> Result<(), Stop> {
        let edits = self.live.overlay().map(Overlay::take_edits).unwrap_or_default();
        self.write(|writer| writer.append_edits(&edits, by))
    }
}

impl Source for Recorder {
    fn outcome(
        &mut self,
        tick: Tick,
        call: &Call,
        refused: Option<Errno>,
        memory: &mut [u8],
    ) -> Result<Outcome, Stop> {
        // Whoever kills a waiting program must find everything up to the wait.
        if refused.is_none() && self.live.may_block(call) {
            self.write(TraceWriter::flush)?;
        }
        let outcome = self.live.outcome(tick, call, refused, memory)?;
        if self.live.lost_terminal(call, &outcome) {
            // So that the run goes on from before it.
            return Err(Stop::TerminalClosed);
        }
        self.write_edits(EditBy::NextEvent)?;
        self.write(|writer| writer.append(tick, call, &outcome))?;
        Ok(outcome)
    }

    fn layer_changed(&mut self) -> Result<(), Stop> {
        self.write_edits(EditBy::Host)
    }

    fn recycle(&mut self, data: Vec<u8>) {
        self.live.recycle(data);
    }

    fn stamp(&mut self, tick: Tick) {
        if let Some(writer) = self.writer.as_ref().filter(|_| !self.blind) {
            writer.stamp(tick);
        }
    }

    fn state(&self) -> HostState {
        self.live.state()
    }

    fn writer(&mut self) -> Option<&mut TraceWriter> {
        self.writer.as_mut()
    }

    fn answer(&mut self, answer: ControlAnswer) {
        self.live.answer(answer);
    }

    fn live(&mut self) -> Option<&mut Live> {
        Some(&mut self.live)
    }

    fn finish(&mut self, ending: &Ending, tick: Tick) -> Result<(), Stop> {
        let Some(writer) = self.writer.take() else { return Ok(()) };
        match writer.finish(ending.clone(), tick) {
            (_, None) => Ok(()),
            (saved, Some(error)) => Err(Stop::NotSaved { saved, error }),
        }
    }
}
