//! How a guest came to its end.

use crate::admit::Refusal;
use crate::guest::{Bound, Guest};
use crate::limiter::MemoryBound;
use wasmtime::{Trap, Val, WasmBacktrace};
use wrr_trace::{Ending, Tick, TrapKind, Value};
use wrr_transform::XformPc;
use wrr_wasi::Stop;

/// A guest frame, innermost first in a [`Backtrace`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// The function's index in the module.
    pub function: u32,
    /// Its name in the name section.
    pub name: Option<String>,
    /// Where in the module's bytes.
    pub module_offset: Option<usize>,
}

impl From<crate::StackFrame> for Frame {
    fn from(frame: crate::StackFrame) -> Frame {
        let module_offset = Some(frame.offset as usize);
        Frame { function: frame.function, name: frame.name, module_offset }
    }
}

/// How many frames a [`Backtrace`] has at most.
pub const BACKTRACE_FRAMES_MAX: usize = 20;

/// The guest's stack at a trap.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Backtrace {
    /// The innermost frames, first.
    pub frames: Vec<Frame>,
}

/// How a guest came to its end.
#[derive(Debug)]
pub enum How {
    /// By itself.
    Ended(Ending),
    /// By a host call that did not return.
    Stopped(Stop),
}

/// The end of a run.
#[derive(Debug)]
pub struct Ended {
    /// How it came.
    pub how: How,
    /// When.
    pub tick: Tick,
    /// Where a trap happened, and what the engine says about it.
    pub trap: Option<(String, Backtrace)>,
}

/// What an error of wasmtime means.
pub(crate) fn ended_by(
    guest: &mut Guest,
    error: wasmtime::Error,
    tick: Tick,
) -> Result<Ended, Refusal> {
    let error = match error.downcast::<Stop>() {
        Ok(Stop::Exit(code)) => {
            return Ok(Ended { how: How::Ended(Ending::Exited { code }), tick, trap: None });
        }
        Ok(stop) => return Ok(Ended { how: How::Stopped(stop), tick, trap: None }),
        Err(error) => error,
    };
    let frames = error.downcast_ref::<WasmBacktrace>();
    let frames = frames.map(|trace| backtrace(guest, trace)).unwrap_or_default();
    let trapped = |kind: TrapKind, message: String| {
        let how = How::Ended(Ending::Trapped { kind });
        Ok(Ended { how, tick, trap: Some((message, frames.clone())) })
    };
    let bounded = |message: String| {
        let how = How::Ended(Ending::Interrupted);
        Ok(Ended { how, tick, trap: Some((message, frames.clone())) })
    };
    if let Some(bound) = error.downcast_ref::<MemoryBound>() {
        guest.store.data_mut().bound = Some(Bound::Memory);
        return bounded(bound.to_string());
    }
    match guest.store.data().bound {
        Some(Bound::Ticks) => return bounded(format!("it had not ended at tick {}", tick.0)),
        Some(Bound::Asked) => return bounded("it was interrupted".to_owned()),
        Some(Bound::Memory) | None => {}
    }
    if let Some(trap) = error.downcast_ref::<Trap>() {
        let message = trap.to_string();
        return trapped(kind(*trap), message.trim_start_matches("wasm trap: ").to_owned());
    }
    if error.is::<wasmtime::ThrownException>() {
        return trapped(
            TrapKind::UncaughtException,
            "an exception that nothing catches".to_owned(),
        );
    }
    // Without the backtrace, which is about the transformed code and differs between variants.
    let causes = error.chain().map(ToString::to_string);
    let causes =
        causes.filter(|cause| !cause.starts_with("error while executing at wasm backtrace"));
    let what = causes.collect::<Vec<_>>().join(": ");
    if tick == Tick(0) && frames.frames.is_empty() {
        // Nothing of the guest has run.
        return Err(Refusal::Instantiate(what));
    }
    Ok(Ended { how: How::Ended(Ending::HostFailed { what }), tick, trap: None })
}

fn kind(trap: Trap) -> TrapKind {
    match trap {
        Trap::StackOverflow => TrapKind::StackOverflow,
        Trap::MemoryOutOfBounds => TrapKind::MemoryOutOfBounds,
        Trap::HeapMisaligned => TrapKind::AtomicMisaligned,
        Trap::TableOutOfBounds => TrapKind::TableOutOfBounds,
        Trap::IndirectCallToNull => TrapKind::IndirectCallToNull,
        Trap::BadSignature => TrapKind::BadSignature,
        Trap::IntegerOverflow => TrapKind::IntegerOverflow,
        Trap::IntegerDivisionByZero => TrapKind::DivideByZero,
        Trap::BadConversionToInteger => TrapKind::BadConversion,
        Trap::UnreachableCodeReached => TrapKind::Unreachable,
        Trap::NullReference => TrapKind::NullReference,
        _ => TrapKind::Other,
    }
}

/// The frames in terms of the original module.
fn backtrace(guest: &Guest, trace: &WasmBacktrace) -> Backtrace {
    let frames = trace.frames().iter().take(BACKTRACE_FRAMES_MAX).filter_map(|frame| {
        let (function, map) = match guest.store.data().ready.piece_of(frame.module()) {
            Some(piece) => (piece.function(), guest.program.piece_map(guest.variant, piece)),
            None => {
                let original = guest.program.original().ok()?;
                let function = original.original_function(frame.func_index())?;
                (function, guest.program.function_map(guest.variant, function))
            }
        };
        let at = match frame.func_offset() {
            Some(at) => map.map(|map| map.original(XformPc(at as u32))),
            // It did not get as far as its first instruction: there was no stack for it.
            None => guest.program.layouts(function).ok().and_then(|sites| Some(sites.first()?.at)),
        };
        Some(Frame {
            function,
            name: guest.program.function_name(function),
            module_offset: at.map(|at| at.0 as usize),
        })
    });
    Backtrace { frames: frames.collect() }
}

pub(crate) fn value(val: &Val) -> Option<Value> {
    match *val {
        Val::I32(v) => Some(Value::I32(v)),
        Val::I64(v) => Some(Value::I64(v)),
        Val::F32(bits) => Some(Value::F32(bits)),
        Val::F64(bits) => Some(Value::F64(bits)),
        _ => None,
    }
}
