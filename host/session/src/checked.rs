//! A recorded program that is loaded while its module is still being unpacked and hashed, by
//! another thread that keeps nothing of it: what is in the cache runs without the module's bytes.
//!
//! Invariant: whoever shows something of a replay has seen that the trace contains the module whose
//! compiled code ran; until then it is only what the manifest claims.

use crate::{Error, Trace};
use std::thread::JoinHandle;
use wrr_engine::{ModuleBytes, Program, Purpose, Refusal, Variant};
use wrr_trace::TraceError;

/// A program that may turn out not to be the trace's.
pub(crate) struct Unchecked {
    program: Program,
    checking: JoinHandle<Result<(), TraceError>>,
}

impl Trace<'_> {
    /// The program, compiled in a variant.
    pub(crate) fn program(&self, variant: Variant) -> Result<Program, Error> {
        self.begin_program(Purpose::Replay, variant)?.checked()
    }

    /// The program, compiled in a variant for a purpose, while its module is unpacked on another
    /// thread.
    ///
    /// # Errors
    /// [`Error::Refused`], or what [`Unchecked::checked`] would have given.
    pub(crate) fn begin_program(
        &self,
        purpose: Purpose,
        variant: Variant,
    ) -> Result<Unchecked, Error> {
        let manifest = self.reader().manifest();
        let stored = self.reader().stored_module();
        let module = {
            let stored = stored.clone();
            ModuleBytes::lazy(move || Some(stored.read().ok()?.into()))
        };
        let thread = std::thread::Builder::new().name("wrr module".to_owned());
        let checking = thread.spawn(move || stored.check());
        let checking =
            checking.map_err(|e| Error::Host(format!("no thread to read the module: {e}")))?;
        let loaded = Program::load(
            module,
            manifest.module,
            &manifest.limits,
            self.cache(),
            (purpose, variant),
            self.observer(),
        );
        match loaded {
            Ok(program) => Ok(Unchecked { program, checking }),
            Err(refusal) => {
                // If the module cannot be read, that is why.
                joined(checking)?;
                Err(self.refused(refusal))
            }
        }
    }

    pub(crate) fn refused(&self, refusal: Refusal) -> Error {
        Error::Refused { name: self.reader().manifest().name.clone(), refusal }
    }
}

impl Unchecked {
    /// The program, of which nothing may be shown before [`Unchecked::checked`].
    pub fn program(&self) -> &Program {
        &self.program
    }

    /// The program, when it is known to be the trace's.
    ///
    /// # Errors
    /// [`Error::Trace`] if the trace contains another module or none.
    pub fn checked(self) -> Result<Program, Error> {
        joined(self.checking)?;
        Ok(self.program)
    }
}

fn joined(checking: JoinHandle<Result<(), TraceError>>) -> Result<(), Error> {
    let failed = |_| Error::Host("the thread that read the module failed".to_owned());
    Ok(checking.join().map_err(failed)??)
}
