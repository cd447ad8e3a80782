//! What a session shows of its program, and what of it can be changed from outside.

use super::{Session, World};
use crate::Error;
use wrr_engine::StackFrame;
use wrr_timeline::Position;
use wrr_trace::{HostState, Pause};
use wrr_wasi::ReplayOutput;

impl Session {
    /// Where the program stands.
    ///
    /// # Errors
    /// [`Error::Lost`].
    pub fn position(&mut self) -> Result<Position, Error> {
        let guest = self.guest()?;
        Ok(Position {
            tick: guest.tick(),
            event: guest.events(),
            in_call: matches!(guest.pause(), Pause::Call { .. }),
        })
    }

    /// The stack of the stopped program, innermost frame first.
    ///
    /// # Errors
    /// [`Error::Lost`].
    pub fn stack(&mut self) -> Result<Vec<StackFrame>, Error> {
        let stack = self.guest()?.stack();
        stack.map_err(|refusal| self.refused(refusal))
    }

    pub(crate) fn has_come_to_its_end(&self) -> bool {
        self.ended.is_some()
    }

    /// BLAKE3 of the program's state: frames, globals, tables, memories. As [`Playback::state_hash`](crate::Playback::state_hash).
    ///
    /// # Errors
    /// [`Error::Lost`]; it holds something that has no portable form.
    pub fn state_hash(&mut self) -> Result<[u8; 32], Error> {
        let hash = self.guest()?.state_hash();
        hash.map_err(|refusal| self.refused(refusal))
    }

    /// What the host knows of the program: its descriptors with their positions, virtual clocks and chance.
    ///
    /// # Errors
    /// [`Error::Lost`].
    pub fn host_state(&mut self) -> Result<HostState, Error> {
        Ok(self.guest()?.host().state())
    }

    /// A memory's bytes; `None` if there is no such memory.
    ///
    /// # Errors
    /// [`Error::Lost`].
    pub fn memory(&mut self, index: u32) -> Result<Option<&[u8]>, Error> {
        Ok(self.guest()?.memory_bytes(index))
    }

    /// Writes into a memory, as if the program had done so. Only where nobody has to repeat it: in a live session that is not recorded.
    ///
    /// # Errors
    /// [`Error::Repeatable`] in a replay and while it is recorded; [`wrr_engine::Refusal::NoSuchBytes`].
    pub fn write_memory(&mut self, index: u32, at: u64, bytes: &[u8]) -> Result<(), Error> {
        if self.recording.is_some() || matches!(self.world, World::Replay { .. }) {
            return Err(Error::Repeatable);
        }
        let written = self.guest()?.write_memory(index, at, bytes);
        written.map_err(|refusal| self.refused(refusal))
    }

    /// Where a replay shows what the program writes; a session shows nothing until it is told.
    ///
    /// # Errors
    /// [`Error::Lost`].
    pub fn set_output(&mut self, output: ReplayOutput) -> Result<(), Error> {
        self.guest()?.host().set_output(output);
        Ok(())
    }
}
