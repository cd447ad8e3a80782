//! Calling an export of a stopped guest on top of its stack, as a debugger does in a copy that is thrown away.

use crate::admit::Refusal;
use crate::ending::{Ended, ended_by};
use crate::guest::{Guest, Until};
use wasmtime::Val;
use wrr_trace::Pause;

/// What [`Guest::call_aside`] came to.
#[derive(Debug)]
pub enum Aside {
    /// What the export gave, as the bits of its numbers.
    Returned(Vec<u64>),
    /// It trapped or exited.
    Ended(Ended),
    /// The guest's [`Heart`](crate::Heart) stopped it.
    Stopped,
}

impl Guest {
    /// Calls an export of the stopped guest, which gets and gives numbers of 32 bits. The guest's stack is as it was afterwards, its memory is what the call
    /// made of it. To be called on a thread that [`Program::on_guest_stack`](crate::Program::on_guest_stack) made.
    ///
    /// # Errors
    /// There is no such export, or it takes something else.
    pub fn call_aside(&mut self, name: &str, args: &[u32]) -> Result<Aside, Refusal> {
        let no_such = |what: &str| Refusal::Engine(format!("the export {name} {what}"));
        let function = self.main.get_func(&mut self.store, name);
        let function = function.ok_or_else(|| no_such("is not there"))?;
        let ty = function.ty(&self.store);
        let fits = ty.params().len() == args.len()
            && ty.params().chain(ty.results()).all(|ty| matches!(ty, wasmtime::ValType::I32));
        if !fits {
            return Err(no_such("does not take and give what it should"));
        }
        let args: Vec<Val> = args.iter().map(|&arg| Val::I32(arg as i32)).collect();
        let (frames, pause) = (self.frames.take(), self.pause.clone());
        self.set_stop(Until::End);
        let called = self.call(function, &args);
        let aside = match called {
            Err(error) => Aside::Ended(ended_by(self, error, self.stopped_at)?),
            Ok(_) if self.take_pause().is_some() => {
                self.read_frames()?;
                Aside::Stopped
            }
            Ok(values) => Aside::Returned(
                values.iter().map(|value| u64::from(value.unwrap_i32() as u32)).collect(),
            ),
        };
        (self.frames, self.pause) = (frames, pause);
        Ok(aside)
    }

    fn take_pause(&mut self) -> Option<Pause> {
        self.store.data_mut().pause.take()
    }
}
