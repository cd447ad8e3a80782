//! Diversions: doing something to a copy of the program that is thrown away.

use super::Walker;
use crate::{Error, Trace};
use std::io::Write;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use wrr_engine::{Aside, Guest, How, Kept, Program, Variant};
use wrr_trace::EventIndex;
use wrr_wasi::{Host, Live, LiveConfig, Output, Stdin};

/// How much of what a diversion prints is kept, in bytes.
const PRINTED_BYTES_MAX: usize = 1 << 20;

impl Walker<'_> {
    /// A host with an empty, virtual world, and what is printed there.
    fn sandbox(&self, at: EventIndex) -> Result<(Host, Printed), Error> {
        let printed = Printed::default();
        let world = LiveConfig {
            args: self.trace.reader().manifest().args.clone(),
            stdin: Stdin::Bytes(Vec::new()),
            stdout: Output::Writer(Box::new(printed.clone())),
            stderr: Output::Writer(Box::new(printed.clone())),
            deterministic: true,
            ..LiveConfig::default()
        };
        Ok((Host::at(Live::new(world)?, at), printed))
    }

    /// Does something to a copy of the program, of which nothing stays: neither what it does to memory, nor what it prints. Files, clocks and randomness are those of
    /// an empty, virtual world.
    ///
    /// # Errors
    /// What `action` gives; the copy cannot be made.
    pub fn divert<R>(
        &mut self,
        action: impl FnOnce(&mut Diversion<'_>) -> Result<R, Error>,
    ) -> Result<R, Error> {
        let kept = self.guest.keep().map_err(|refusal| self.trace.refused(refusal))?;
        let events = self.guest.events();
        let state = self.guest.host().state();
        let (sandbox, printed) = self.sandbox(events)?;
        let host = std::mem::replace(self.guest.host(), sandbox);
        let memory_bytes = 0;
        let mut diversion = Diversion {
            program: &self.program,
            guest: &mut self.guest,
            printed,
            accesses: Vec::new(),
            memory_bytes,
            trace: self.trace,
        };
        let result = action(&mut diversion);
        *self.guest.host() = host;
        if !self.guest.roll_back(&kept).map_err(|refusal| self.trace.refused(refusal))? {
            let source = self.trace.source_at(events, state)?;
            self.guest = Guest::fork(
                &self.program,
                self.variant,
                &self.entry,
                &kept,
                Host::at(source, events),
            )
            .map_err(|refusal| self.trace.refused(refusal))?;
            self.set_heart();
        }
        result
    }

    /// As [`Walker::divert`], in a slower copy that can note what memory is read: see [`Diversion::call_noting`]. It is not interrupted. At the first time
    /// the program is compiled once more for it.
    ///
    /// # Errors
    /// As [`Walker::divert`].
    pub fn divert_noting<R>(
        &mut self,
        action: impl FnOnce(&mut Diversion<'_>) -> Result<R, Error>,
    ) -> Result<R, Error> {
        let kept = self.guest.keep().map_err(|refusal| self.trace.refused(refusal))?;
        let (host, printed) = self.sandbox(kept.events())?;
        let memory_bytes = self.guest.memory_bytes(0).map_or(0, |bytes| bytes.len() as u64);
        let mut guest = self.noting_guest(&kept, host)?;
        let mut diversion = Diversion {
            program: &self.program,
            guest: &mut guest,
            printed,
            accesses: Vec::new(),
            memory_bytes,
            trace: self.trace,
        };
        let result = action(&mut diversion);
        self.noting = Some(guest);
        result
    }

    fn noting_guest(&mut self, kept: &Kept, host: Host) -> Result<Guest, Error> {
        let refused = |refusal| self.trace.refused(refusal);
        let host = match self.noting.take() {
            Some(mut guest) => {
                *guest.host() = host;
                if guest.roll_back(kept).map_err(refused)? {
                    return Ok(guest);
                }
                guest.into_host()
            }
            None => {
                let observer = self.trace.observer();
                self.program.prepare(Variant::Accesses, observer).map_err(refused)?;
                host
            }
        };
        let guest = Guest::fork(&self.program, Variant::Accesses, &self.entry, kept, host);
        let mut guest = guest.map_err(refused)?;
        guest.set_heart(Some(Box::new(self.pulse())));
        Ok(guest)
    }
}

/// What a diversion has printed.
#[derive(Clone, Default)]
struct Printed(Arc<Mutex<Vec<u8>>>);

impl Write for Printed {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let mut printed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let room = PRINTED_BYTES_MAX.saturating_sub(printed.len());
        printed.extend_from_slice(&bytes[..bytes.len().min(room)]);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// A copy of the program that is thrown away.
pub struct Diversion<'a> {
    program: &'a Program,
    guest: &'a mut Guest,
    printed: Printed,
    accesses: Vec<Range<u64>>,
    /// How large memory 0 was.
    memory_bytes: u64,
    trace: &'a Trace<'a>,
}

/// What a call in a diversion came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Diverted {
    /// What the export gave.
    Returned(Vec<u64>),
    /// It trapped, exited, or asked the host for what there is not: this is what is known.
    Failed(String),
    /// The interrupt was set.
    Interrupted,
}

impl Diversion<'_> {
    /// Calls an export; see [`Guest::call_aside`].
    ///
    /// # Errors
    /// There is no such export.
    pub fn call(&mut self, name: &str, args: &[u32]) -> Result<Diverted, Error> {
        let guest = &mut *self.guest;
        let called = self.program.on_guest_stack(|| guest.call_aside(name, args));
        let called = called.and_then(|called| called);
        Ok(match called.map_err(|refusal| self.trace.refused(refusal))? {
            Aside::Returned(values) => Diverted::Returned(values),
            Aside::Stopped => Diverted::Interrupted,
            Aside::Ended(ended) => Diverted::Failed(match (ended.how, ended.trap) {
                (_, Some((what, _))) => what,
                (How::Ended(ending), None) => format!("{ending:?}"),
                (How::Stopped(stop), None) => stop.to_string(),
            }),
        })
    }

    /// As [`Diversion::call`]; in a diversion that can, it is noted what the call reads, but not between one write to the word `border` and the next one.
    ///
    /// # Errors
    /// As [`Diversion::call`].
    pub fn call_noting(
        &mut self,
        name: &str,
        args: &[u32],
        border: u32,
    ) -> Result<Diverted, Error> {
        self.guest.note_accesses(u64::from(border));
        let called = self.call(name, args);
        self.accesses = self.guest.take_accesses();
        // What lies behind the program's own memory came with the call.
        let end = self.memory_bytes;
        self.accesses.retain(|range| range.end <= end);
        called
    }

    /// What the last noted call has read of memory 0 and has not written, as addresses, ascending.
    pub fn take_accesses(&mut self) -> Vec<Range<u64>> {
        std::mem::take(&mut self.accesses)
    }

    /// What was noted there does not count: memory that was allocated for the call.
    pub fn leave_out(&mut self, ranges: &[Range<u64>]) {
        let mut sorted: Vec<&Range<u64>> = ranges.iter().collect();
        sorted.sort_unstable_by_key(|range| range.start);
        let mut left = Vec::with_capacity(self.accesses.len());
        for access in self.accesses.drain(..) {
            let mut start = access.start;
            // Pieces that were given back and used again overlap.
            for piece in sorted.iter().filter(|p| p.start < access.end && p.end > access.start) {
                if piece.start > start {
                    left.push(start..piece.start & !3);
                }
                start = start.max(piece.end.next_multiple_of(4));
            }
            if start < access.end {
                left.push(start..access.end);
            }
        }
        self.accesses = left;
    }

    /// A memory's bytes.
    pub fn memory(&mut self, index: u32) -> Option<&[u8]> {
        self.guest.memory_bytes(index)
    }

    /// Writes into a memory.
    ///
    /// # Errors
    /// It has no such bytes.
    pub fn write_memory(&mut self, index: u32, at: u64, bytes: &[u8]) -> Result<(), Error> {
        let written = self.guest.write_memory(index, at, bytes);
        written.map_err(|refusal| self.trace.refused(refusal))
    }

    /// What was printed since the last time.
    pub fn take_printed(&mut self) -> Vec<u8> {
        std::mem::take(&mut *self.printed.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
