//! A debugger that goes both ways, without a face: plain data in and out.
//!
//! ```text
//!            step, next, finish, continue      a Quest: a test that the guest makes itself, and who is asked where it passes
//! Debugger ────────────────────────────────▶ Walker (session): replays, goes back, looks
//!     │  evaluate                               │
//!     └──────────────▶ Interpreter ◀────────────┘  frames, lines and local variables, read from memory
//!                      (one adapter for each kind)
//! ```
//!
//! A guest that is an interpreter is shown as the program that it runs; any other one as wasm.
//!
//! Invariant: nothing that is done here changes the recorded run.

mod breakpoint;
mod debugger;
mod interpreter;
mod memory;
mod notes;
mod objects;
mod python;
mod quest;
mod sources;
mod stops;
mod watch;

pub use breakpoint::{Breakpoint, BreakpointId, Location, Stopper};
pub use debugger::{Arrived, Debugger, Direction, MachineFrame, Value, Why};
pub use interpreter::{
    Address, Code, Evaluated, Frame, Interpreter, Place, Raising, Request, Scope,
};
pub use memory::Memory;
pub use objects::{Object, Presence};
pub use python::Python;
pub use sources::Sources;
pub use watch::{Change, Seen, Watched, Watchpoint};
