//! The chunks around the events: what was run, how it ended, where and when.
//!
//! Serialised with postcard (its wire format is specified; see `docs/trace-format.md`).
//! Invariant: nothing in a [`Manifest`] or an [`Ending`] depends on the host, unless the guest saw it.

use crate::event::{EventIndex, Tick};
use serde::{Deserialize, Serialize};

/// BLAKE3 of a module's bytes, as they were given (binary form).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ModuleId(pub [u8; 32]);

impl ModuleId {
    /// The id of these bytes.
    #[must_use]
    pub fn of(module: &[u8]) -> ModuleId {
        ModuleId(*blake3::Hasher::new().update_rayon(module).finalize().as_bytes())
    }
}

impl std::fmt::Display for ModuleId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl std::fmt::Debug for ModuleId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ModuleId({self})")
    }
}

/// Limits that the guest can run into, so that a replay must have the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Limits {
    /// The most that one memory may grow to, in bytes.
    pub memory_bytes_max: u64,
    /// The most elements that one table may grow to.
    pub table_elements_max: u64,
    /// Native stack for the guest, in bytes.
    pub stack_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { memory_bytes_max: 4 << 30, table_elements_max: 10_000_000, stack_bytes: 16 << 20 }
    }
}

/// What was run, with what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The version of wrr that recorded.
    pub recorder: String,
    /// The module's name for people: its file name without folders.
    pub name: String,
    /// The module's id.
    pub module: ModuleId,
    /// The module's length in bytes.
    pub module_bytes: u64,
    /// The arguments, the program's name first.
    pub args: Vec<String>,
    /// The environment, in order.
    pub env: Vec<(String, String)>,
    /// The guest paths of the preopened directories, in order.
    pub preopens: Vec<String>,
    /// How many sockets stand before the directories, from descriptor 3 on.
    pub sockets: u32,
    /// The export to call instead of `_start`.
    pub invoke: Option<String>,
    /// Whether time, randomness and file metadata were virtual.
    pub deterministic: bool,
    /// The limits in force.
    pub limits: Limits,
    /// Where a resumed run goes on from. What was before is in this trace as well.
    pub origin: Option<Origin>,
}

/// The position in another recording from which a run went on live.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// The other trace's file name, without folders.
    pub trace: String,
    /// The tick.
    pub tick: Tick,
    /// How many events were before.
    pub event: EventIndex,
}

impl Manifest {
    /// A manifest for a module that is run without arguments.
    #[must_use]
    pub fn for_module(module: &[u8]) -> Manifest {
        Manifest {
            recorder: env!("CARGO_PKG_VERSION").to_owned(),
            name: String::new(),
            module: ModuleId::of(module),
            module_bytes: module.len() as u64,
            args: Vec::new(),
            env: Vec::new(),
            preopens: Vec::new(),
            sockets: 0,
            invoke: None,
            deterministic: false,
            limits: Limits::default(),
            origin: None,
        }
    }
}

/// Why a guest trapped (WebAssembly core specification, section 4.4: the rules that trap).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum TrapKind {
    /// `unreachable` was executed.
    Unreachable,
    /// A load, store or bulk operation outside of a memory.
    MemoryOutOfBounds,
    /// An access outside of a table.
    TableOutOfBounds,
    /// An indirect call through a null element.
    IndirectCallToNull,
    /// An indirect call to a function of another type.
    BadSignature,
    /// Integer overflow (`i32.div_s` of the smallest number by -1).
    IntegerOverflow,
    /// Integer division by zero.
    DivideByZero,
    /// A float that no integer of the type can hold was truncated.
    BadConversion,
    /// The call stack is exhausted.
    StackOverflow,
    /// An atomic access to a misaligned address.
    AtomicMisaligned,
    /// A null reference was used.
    NullReference,
    /// An exception that nothing caught.
    UncaughtException,
    /// Something else that the engine calls a trap.
    Other,
}

impl TrapKind {
    /// The kind in words, as the debugger and the tests name it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            TrapKind::Unreachable => "unreachable",
            TrapKind::MemoryOutOfBounds => "memory-out-of-bounds",
            TrapKind::TableOutOfBounds => "table-out-of-bounds",
            TrapKind::IndirectCallToNull => "indirect-call-to-null",
            TrapKind::BadSignature => "bad-signature",
            TrapKind::IntegerOverflow => "integer-overflow",
            TrapKind::DivideByZero => "divide-by-zero",
            TrapKind::BadConversion => "bad-conversion",
            TrapKind::StackOverflow => "stack-overflow",
            TrapKind::AtomicMisaligned => "atomic-misaligned",
            TrapKind::NullReference => "null-reference",
            TrapKind::UncaughtException => "uncaught-exception",
            TrapKind::Other => "trap",
        }
    }
}

impl std::fmt::Display for TrapKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// A number that an invoked export returned; floats as their bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Value {
    /// `i32`.
    I32(i32),
    /// `i64`.
    I64(i64),
    /// `f32`, its bits.
    F32(u32),
    /// `f64`, its bits.
    F64(u64),
}

impl std::fmt::Display for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match *self {
            Value::I32(v) => write!(f, "{v}"),
            Value::I64(v) => write!(f, "{v}"),
            // A NaN's payload is part of the result.
            Value::F32(bits) if f32::from_bits(bits).is_nan() => write!(f, "NaN({bits:#010x})"),
            Value::F64(bits) if f64::from_bits(bits).is_nan() => write!(f, "NaN({bits:#018x})"),
            Value::F32(bits) => write!(f, "{:?}", f32::from_bits(bits)),
            Value::F64(bits) => write!(f, "{:?}", f64::from_bits(bits)),
        }
    }
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ending {
    /// The guest called `proc_exit`, or returned from `_start` (code 0).
    Exited {
        /// The exit code, as the guest gave it.
        code: u32,
    },
    /// The export that was invoked returned.
    Returned {
        /// Its results.
        values: Vec<Value>,
    },
    /// The guest trapped.
    Trapped {
        /// Why.
        kind: TrapKind,
    },
    /// The user stopped the recording (Ctrl-C).
    Interrupted,
    /// The host could not go on (out of memory, for example); a sentence.
    HostFailed {
        /// What went wrong.
        what: String,
    },
}

impl std::fmt::Display for Ending {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Ending::Exited { code } => write!(f, "exit code {code}"),
            Ending::Returned { values } => {
                f.write_str("returned")?;
                values.iter().try_for_each(|v| write!(f, " {v}"))
            }
            Ending::Trapped { kind } => write!(f, "trap: {kind}"),
            Ending::Interrupted => f.write_str("interrupted by the user"),
            Ending::HostFailed { what } => write!(f, "stopped by the host: {what}"),
        }
    }
}

/// On what and when a recording was made; for people, never for replay.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostNote {
    /// The operating system.
    pub os: String,
    /// The processor's architecture.
    pub arch: String,
    /// The start, in nanoseconds since 1970 UTC.
    pub started_unix_ns: u64,
}

/// How checkpoints are taken while the run is recorded; for people, never for replay.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckpointPlan {
    /// The least time between two checkpoints, in nanoseconds.
    pub every_ns: u64,
    /// How written pages are found: the name of a tracker.
    pub tracker: String,
}

/// How a run ended, and when: the payload of the ending's chunk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct EndNote {
    pub ending: Ending,
    pub tick: Tick,
}

/// A chunk's place in the file, as the index has it. What does not apply is 0.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct IndexEntry {
    pub kind: [u8; 4],
    pub offset: u64,
    /// Of an event batch its first event, of a checkpoint the number of events before it.
    pub event: u64,
    /// Of an event batch, how many it holds.
    pub events: u64,
    /// Of an event batch the tick that it starts with, of a checkpoint its tick.
    pub tick: u64,
    /// Of a checkpoint its name.
    pub name: Option<String>,
}
