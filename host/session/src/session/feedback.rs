//! What a fuzzer needs of a session: an end from outside, and what was executed. See [`Variant::Covered`](crate::Variant::Covered).

use super::Session;
use crate::Error;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use wrr_engine::{Bound, Comparison};
use wrr_trace::{EventIndex, Tick};

impl Session {
    /// From now on the program ends at this tick at the latest, and, if that is asked for, when a memory would grow beyond its limit. It ends
    /// as interrupted then, and [`Session::bound`] tells why. In the variants that are made for fuzzing, and in no other.
    ///
    /// # Errors
    /// [`Error::Lost`].
    pub fn set_bounds(&mut self, last_tick: Option<Tick>, memory: bool) -> Result<(), Error> {
        self.guest()?.set_bounds(last_tick, memory);
        self.bounds = Some((last_tick, memory));
        Ok(())
    }

    /// From now on the program ends soon after this is set, as interrupted. In the variants that are made for fuzzing.
    ///
    /// # Errors
    /// [`Error::Lost`].
    pub fn set_interrupt(&mut self, interrupt: Arc<AtomicBool>) -> Result<(), Error> {
        self.guest()?.set_interrupt(Arc::clone(&interrupt));
        self.interrupt = Some(interrupt);
        Ok(())
    }

    /// What has ended the program, if it did not end by itself.
    #[must_use]
    pub fn bound(&self) -> Option<Bound> {
        self.guest.as_ref()?.bound()
    }

    /// Where the program is.
    ///
    /// # Errors
    /// [`Error::Lost`].
    pub fn tick(&mut self) -> Result<Tick, Error> {
        Ok(self.guest()?.tick())
    }

    /// How many host calls there were.
    ///
    /// # Errors
    /// [`Error::Lost`].
    pub fn events(&mut self) -> Result<EventIndex, Error> {
        Ok(self.guest()?.events())
    }

    /// The value of an exported global of 32 bits.
    ///
    /// # Errors
    /// [`Error::Lost`].
    pub fn exported_number(&mut self, name: &str) -> Result<Option<i32>, Error> {
        Ok(self.guest()?.exported_number(name))
    }

    /// The counters of what was executed, which whoever reads them sets to zero again. None in variants without any.
    ///
    /// # Errors
    /// [`Error::Lost`].
    pub fn counts(&mut self) -> Result<&mut [u8], Error> {
        Ok(self.guest()?.counts())
    }

    /// Notes from now on what is compared.
    ///
    /// # Errors
    /// [`Error::Lost`].
    pub fn note_compares(&mut self) -> Result<(), Error> {
        self.guest()?.note_compares();
        Ok(())
    }

    /// What was compared since [`Session::note_compares`].
    ///
    /// # Errors
    /// [`Error::Lost`].
    pub fn take_compares(&mut self) -> Result<Vec<Comparison>, Error> {
        Ok(self.guest()?.take_compares())
    }

    /// How much stack a thread needs to run the program without making one for each run, in bytes.
    #[must_use]
    pub fn stack_bytes(&self) -> usize {
        self.program.thread_stack_bytes()
    }
}
