//! Makes a wasm module repeatable and capturable: counts its progress in ticks, lets its stack be taken apart into
//! portable frames, and writes the code that goes on from such frames.
//!
//! See `ARCHITECTURE.md` for the scheme. Knows no wasm engine: bytes in, bytes out.

mod coverage;
mod emit;
mod helper;
mod imports;
mod layout;
mod live;
mod module;
mod names;
mod nan;
mod pc;
mod piece;
mod plan;
mod reach;
mod reactor;
mod whole;

pub use imports::{
    ACCESS, COMPARE, COMPARE_I32, COMPARE_I64, HOST_FUNCTIONS, LOOK, LOOK_PASSAGES, LOOK_TICKS,
    POLL, TRAP,
};
pub use layout::{FrameLayout, Place, Saved};
pub use module::Module;
pub use module::{PASSAGES, has_passages};
pub use names::function_names;
pub use pc::{OffsetMap, OrigPc, XformPc};
pub use piece::{LOOP, MAIN, Piece, RUN};
pub use reach::Capturable;
pub use reactor::{
    FUZZER_INITIALIZE, FUZZER_RESULT, ReactorError, TEST_ONE_INPUT, command_of, exports_function,
    is_reactor,
};

/// Changes whenever transformed modules or pieces do, so that compiled ones are not taken for them.
pub const VERSION: u32 = 21;

/// Why transformed code asks the host to trap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostTrap {
    /// The counted stack has no room for another frame.
    StackExhausted,
    /// An atomic instruction's address is not aligned.
    Misaligned,
    /// A wait on a memory that is not shared, which could never end.
    WaitOnUnsharedMemory,
}

impl HostTrap {
    const ALL: [HostTrap; 3] =
        [HostTrap::StackExhausted, HostTrap::Misaligned, HostTrap::WaitOnUnsharedMemory];

    pub(crate) fn code(self) -> i32 {
        self as i32
    }

    /// The reason that a guest gave.
    #[must_use]
    pub fn of_code(code: i32) -> Option<HostTrap> {
        HostTrap::ALL.into_iter().find(|why| why.code() == code)
    }
}

/// Why a module cannot be transformed.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum TransformError {
    /// It does not validate.
    #[error("the module is invalid: {what} (at offset {offset:#x})")]
    Invalid {
        /// The validator's reason.
        what: String,
        /// Where in the module, in bytes.
        offset: usize,
    },
    /// Something valid that wrr does not run.
    #[error("{what} cannot be transformed")]
    Unsupported {
        /// What.
        what: &'static str,
    },
    /// No defined function has this index.
    #[error("the module has no function {function} with a body")]
    NoSuchFunction {
        /// The index.
        function: u32,
    },
    /// The function has no such site or loop.
    #[error("function {function} has no site {site}")]
    NoSuchSite {
        /// The function.
        function: u32,
        /// The site.
        site: u32,
    },
    /// A function with too many live values at too many calls.
    #[error("function {function} keeps more than {saved_max} values across its calls; split it")]
    TooComplex {
        /// The function.
        function: u32,
        /// The limit.
        saved_max: usize,
    },
}

impl From<wasmparser::BinaryReaderError> for TransformError {
    fn from(error: wasmparser::BinaryReaderError) -> TransformError {
        TransformError::Invalid { what: error.message().to_owned(), offset: error.offset() }
    }
}

/// Which functions can be captured, and where a run can stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Variant {
    /// For recording and replaying: only functions that may reach an import can be captured.
    Run,
    /// As [`Variant::Run`], and frames count what they take of the stack: for recordings that are the same on every host.
    Counted,
    /// For exact positions: every function can be captured, every tick is a possible stop.
    Inspect,
    /// As [`Variant::Run`], and the run can be looked at at its passages: see [`PASSAGES`].
    Search,
    /// For finding out what memory a call uses: the host is told of every access, see [`ACCESS`]. Never stops.
    Accesses,
    /// As [`Variant::Counted`], and every outcome of every decision is counted, in a memory of its own: for fuzzing. Every tick can be
    /// the last one, by a trap.
    Covered,
    /// As [`Variant::Counted`], and the host is told of every comparison, see [`COMPARE`]. Every tick can be the last one, by a trap.
    Compares,
}

impl Variant {
    /// All of them, in their order.
    pub const ALL: [Variant; 7] = [
        Variant::Run,
        Variant::Counted,
        Variant::Inspect,
        Variant::Search,
        Variant::Accesses,
        Variant::Covered,
        Variant::Compares,
    ];

    /// How many there are.
    pub const COUNT: usize = Variant::ALL.len();
}

/// What a site is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SiteKind {
    /// The function's entry.
    Entry,
    /// The header of a loop.
    Header,
    /// A call of a function.
    Call {
        /// Its index.
        function: u32,
    },
    /// A call through a table.
    CallIndirect {
        /// The type's index.
        ty: u32,
    },
    /// A call of a reference.
    CallRef {
        /// The type's index.
        ty: u32,
    },
}

/// A transformed module.
#[derive(Debug)]
pub struct Transformed {
    /// The module.
    pub wasm: Vec<u8>,
    /// Which functions can be captured in it.
    pub capturable: Capturable,
    /// Whether any instruction changes a table.
    pub tables_change: bool,
    /// The layouts of each function with a body, in the order of their indices: see
    /// [`FrameLayout::from_bytes`].
    pub layouts: Vec<Vec<u8>>,
}
