//! Runs a program to its end.

use crate::admit::{PREVIEW1, Refusal};
use crate::program::{Program, stack_bytes};
use wasmtime::{Caller, Linker, Memory, Store, Trap, Val, ValType, WasmBacktrace};
use wrr_trace::{Ending, Function, Limits, TrapKind, Value};
use wrr_wasi::{Host, Stop};

/// Native stack for the host's side of a call, on top of the guest's.
const HOST_STACK_BYTES: usize = 2 << 20;

/// What to call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// `_start`.
    Command,
    /// `_initialize` if there is one, then this export with these arguments, which are parsed as the
    /// numbers that its type asks for.
    Export {
        /// The export's name.
        name: String,
        /// Its arguments.
        args: Vec<String>,
    },
}

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
    /// Where a trap happened, and what the engine says about it.
    pub trap: Option<(String, Backtrace)>,
}

struct State {
    host: Host,
    /// Memory 0 as exported; known as soon as the instance is.
    memory: Option<Memory>,
    limiter: Limiter,
}

/// Holds the guest to the limits of the manifest, so that `memory.grow` gives the same on every host.
struct Limiter(Limits);

impl wasmtime::ResourceLimiter for Limiter {
    fn memory_growing(
        &mut self,
        _current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let declared = maximum.is_none_or(|maximum| desired <= maximum);
        Ok(declared && desired as u64 <= self.0.memory_bytes_max)
    }

    fn memory_grow_failed(&mut self, error: wasmtime::Error) -> wasmtime::Result<()> {
        // The limits allow it, so a replay would grow: the guest must not see that this host cannot.
        Err(error.context("the host has no memory left for the guest"))
    }

    fn table_growing(
        &mut self,
        _current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let declared = maximum.is_none_or(|maximum| desired <= maximum);
        Ok(declared && desired as u64 <= self.0.table_elements_max)
    }

    fn table_grow_failed(&mut self, error: wasmtime::Error) -> wasmtime::Result<()> {
        Err(error.context("the host has no memory left for a table of the guest"))
    }
}

impl Program {
    /// Checks that there is something to call, and that the arguments fit.
    ///
    /// # Errors
    /// [`Refusal::Entry`].
    pub fn check_entry(&self, entry: &Entry) -> Result<(), Refusal> {
        self.arguments(entry).map(drop)
    }

    fn arguments(&self, entry: &Entry) -> Result<Vec<Val>, Refusal> {
        let function = |name: &str| self.module.get_export(name).and_then(|e| e.func().cloned());
        let callable = || {
            let exports = self.module.exports().filter(|e| e.ty().func().is_some());
            let names: Vec<&str> = exports.map(|e| e.name()).take(20).collect();
            match names.is_empty() {
                true => "it exports no function".to_owned(),
                false => format!("it exports {}", names.join(", ")),
            }
        };
        match entry {
            Entry::Command => match function("_start") {
                None => Err(Refusal::Entry(format!(
                    "the module exports no function _start, so it is not a command; call one of its \
                     functions with --invoke NAME ({})",
                    callable()
                ))),
                Some(ty) if ty.params().len() + ty.results().len() > 0 => Err(Refusal::Entry(
                    format!("_start has type {ty}, a command's takes and gives nothing"),
                )),
                Some(_) => Ok(Vec::new()),
            },
            Entry::Export { name, args } => {
                let ty = function(name).ok_or_else(|| {
                    Refusal::Entry(format!("the module exports no function {name}; {}", callable()))
                })?;
                if ty.params().len() != args.len() {
                    return Err(Refusal::Entry(format!(
                        "{name} takes {} arguments, {} are given",
                        ty.params().len(),
                        args.len()
                    )));
                }
                if let Some(other) = ty.results().find(|ty| !is_number(ty)) {
                    return Err(Refusal::Entry(format!(
                        "{name} returns {other}; only functions that return numbers can be invoked"
                    )));
                }
                ty.params().zip(args).map(|(ty, text)| parse(name, &ty, text)).collect()
            }
        }
    }

    /// Runs the program to its end, and gives the host back.
    ///
    /// # Errors
    /// The reason why it cannot start. What happens later is in [`Ended`].
    pub fn run(&self, entry: &Entry, host: Host) -> Result<(Ended, Host), Refusal> {
        let args = self.arguments(entry)?;
        let stack = stack_bytes(&self.limits)?;
        // The guest's stack is part of the host thread's, and the main thread's may be small.
        std::thread::scope(|scope| {
            std::thread::Builder::new()
                .name("wrr guest".to_owned())
                .stack_size(stack + HOST_STACK_BYTES)
                .spawn_scoped(scope, || self.run_here(entry, &args, host))
                .map_err(|e| Refusal::Instantiate(format!("no stack of {stack} bytes: {e}")))?
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    fn run_here(&self, entry: &Entry, args: &[Val], host: Host) -> Result<(Ended, Host), Refusal> {
        let limiter = Limiter(self.limits);
        let mut store = Store::new(&self.engine, State { host, memory: None, limiter });
        store.limiter(|state| &mut state.limiter);
        let mut linker = Linker::new(&self.engine);
        define_preview1(&mut linker).map_err(|e| Refusal::Engine(format!("{e:#}")))?;
        let called = linker.instantiate(&mut store, &self.module).and_then(|instance| {
            store.data_mut().memory = instance.get_memory(&mut store, "memory");
            let mut call = |name: &str, args: &[Val]| {
                let Some(function) = instance.get_func(&mut store, name) else { return Ok(None) };
                let mut results = vec![Val::I32(0); function.ty(&store).results().len()];
                function.call(&mut store, args, &mut results).map(|()| Some(results))
            };
            match entry {
                Entry::Command => {
                    call("_start", args)?;
                    Ok(Ending::Exited { code: 0 })
                }
                Entry::Export { name, .. } => {
                    call("_initialize", &[])?;
                    let results = call(name, args)?.unwrap_or_default();
                    Ok(Ending::Returned { values: results.iter().filter_map(value).collect() })
                }
            }
        });
        let ended = match called {
            Ok(ending) => Ended { how: How::Ended(ending), trap: None },
            Err(error) => ended_by(error, store.data().host.events())?,
        };
        Ok((ended, store.into_data().host))
    }
}

/// What an error of wasmtime means.
fn ended_by(error: wasmtime::Error, events: u64) -> Result<Ended, Refusal> {
    let frames = error.downcast_ref::<WasmBacktrace>().map(backtrace).unwrap_or_default();
    let error = match error.downcast::<Stop>() {
        Ok(Stop::Exit(code)) => {
            return Ok(Ended { how: How::Ended(Ending::Exited { code }), trap: None });
        }
        Ok(stop) => return Ok(Ended { how: How::Stopped(stop), trap: None }),
        Err(error) => error,
    };
    let trapped = |kind: TrapKind, message: String| {
        let how = How::Ended(Ending::Trapped { kind });
        Ok(Ended { how, trap: Some((message, frames.clone())) })
    };
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
    let what = format!("{error:#}");
    if events == 0 && frames.frames.is_empty() {
        // Nothing of the guest has run.
        return Err(Refusal::Instantiate(what));
    }
    Ok(Ended { how: How::Ended(Ending::HostFailed { what }), trap: None })
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

fn backtrace(trace: &WasmBacktrace) -> Backtrace {
    let frames = trace.frames().iter().map(|frame| Frame {
        function: frame.func_index(),
        name: frame.func_name().map(str::to_owned),
        module_offset: frame.module_offset(),
    });
    Backtrace { frames: frames.collect() }
}

fn is_number(ty: &ValType) -> bool {
    matches!(ty, ValType::I32 | ValType::I64 | ValType::F32 | ValType::F64)
}

fn parse(function: &str, ty: &ValType, text: &str) -> Result<Val, Refusal> {
    // Integers may be given signed or unsigned.
    let parsed = match ty {
        ValType::I32 => {
            text.parse().ok().or_else(|| text.parse::<u32>().ok().map(|v| v as i32)).map(Val::I32)
        }
        ValType::I64 => {
            text.parse().ok().or_else(|| text.parse::<u64>().ok().map(|v| v as i64)).map(Val::I64)
        }
        ValType::F32 => text.parse::<f32>().ok().map(|v| Val::F32(v.to_bits())),
        ValType::F64 => text.parse::<f64>().ok().map(|v| Val::F64(v.to_bits())),
        other => {
            return Err(Refusal::Entry(format!(
                "{function} takes {other}; only functions that take numbers can be invoked"
            )));
        }
    };
    parsed.ok_or_else(|| Refusal::Entry(format!("{function} takes {ty}, which {text:?} is not")))
}

fn value(val: &Val) -> Option<Value> {
    match *val {
        Val::I32(v) => Some(Value::I32(v)),
        Val::I64(v) => Some(Value::I64(v)),
        Val::F32(bits) => Some(Value::F32(bits)),
        Val::F64(bits) => Some(Value::F64(bits)),
        _ => None,
    }
}

/// Serves a host call of the guest.
#[inline]
fn serve(mut caller: Caller<'_, State>, function: Function, args: &[u64]) -> wasmtime::Result<i32> {
    let memory = match caller.data().memory {
        Some(memory) => Some(memory),
        // Before the instance is known: a start function that calls.
        None => caller.get_export("memory").and_then(wasmtime::Extern::into_memory),
    };
    let (memory, state): (&mut [u8], &mut State) = match memory {
        Some(memory) => memory.data_and_store_mut(&mut caller),
        None => (&mut [], caller.data_mut()),
    };
    match state.host.call(function, args, memory) {
        Ok(errno) => Ok(i32::from(errno.number())),
        Err(stop) => Err(stop.into()),
    }
}

/// Core wasm types of a parameter, to the `u64` that events hold: zero-extended.
trait Arg {
    fn widen(self) -> u64;
}

impl Arg for i32 {
    fn widen(self) -> u64 {
        u64::from(self as u32)
    }
}

impl Arg for i64 {
    fn widen(self) -> u64 {
        self as u64
    }
}

/// Defines all functions of preview1. The types here are checked against the table in `wrr-trace` by a test.
fn define_preview1(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    macro_rules! define {
        ($($function:ident($($param:ident: $ty:ty),*);)*) => {$(
            linker.func_wrap(
                PREVIEW1,
                Function::$function.name(),
                |caller: Caller<'_, State>, $($param: $ty),*| -> wasmtime::Result<i32> {
                    serve(caller, Function::$function, &[$($param.widen()),*])
                },
            )?;
        )*};
    }
    define! {
        ArgsGet(a: i32, b: i32);
        ArgsSizesGet(a: i32, b: i32);
        EnvironGet(a: i32, b: i32);
        EnvironSizesGet(a: i32, b: i32);
        ClockResGet(a: i32, b: i32);
        ClockTimeGet(a: i32, b: i64, c: i32);
        FdAdvise(a: i32, b: i64, c: i64, d: i32);
        FdAllocate(a: i32, b: i64, c: i64);
        FdClose(a: i32);
        FdDatasync(a: i32);
        FdFdstatGet(a: i32, b: i32);
        FdFdstatSetFlags(a: i32, b: i32);
        FdFdstatSetRights(a: i32, b: i64, c: i64);
        FdFilestatGet(a: i32, b: i32);
        FdFilestatSetSize(a: i32, b: i64);
        FdFilestatSetTimes(a: i32, b: i64, c: i64, d: i32);
        FdPread(a: i32, b: i32, c: i32, d: i64, e: i32);
        FdPrestatGet(a: i32, b: i32);
        FdPrestatDirName(a: i32, b: i32, c: i32);
        FdPwrite(a: i32, b: i32, c: i32, d: i64, e: i32);
        FdRead(a: i32, b: i32, c: i32, d: i32);
        FdReaddir(a: i32, b: i32, c: i32, d: i64, e: i32);
        FdRenumber(a: i32, b: i32);
        FdSeek(a: i32, b: i64, c: i32, d: i32);
        FdSync(a: i32);
        FdTell(a: i32, b: i32);
        FdWrite(a: i32, b: i32, c: i32, d: i32);
        PathCreateDirectory(a: i32, b: i32, c: i32);
        PathFilestatGet(a: i32, b: i32, c: i32, d: i32, e: i32);
        PathFilestatSetTimes(a: i32, b: i32, c: i32, d: i32, e: i64, f: i64, g: i32);
        PathLink(a: i32, b: i32, c: i32, d: i32, e: i32, f: i32, g: i32);
        PathOpen(a: i32, b: i32, c: i32, d: i32, e: i32, f: i64, g: i64, h: i32, i: i32);
        PathReadlink(a: i32, b: i32, c: i32, d: i32, e: i32, f: i32);
        PathRemoveDirectory(a: i32, b: i32, c: i32);
        PathRename(a: i32, b: i32, c: i32, d: i32, e: i32, f: i32);
        PathSymlink(a: i32, b: i32, c: i32, d: i32, e: i32);
        PathUnlinkFile(a: i32, b: i32, c: i32);
        PollOneoff(a: i32, b: i32, c: i32, d: i32);
        ProcRaise(a: i32);
        SchedYield();
        RandomGet(a: i32, b: i32);
        SockAccept(a: i32, b: i32, c: i32);
        SockRecv(a: i32, b: i32, c: i32, d: i32, e: i32, f: i32);
        SockSend(a: i32, b: i32, c: i32, d: i32, e: i32);
        SockShutdown(a: i32, b: i32);
    }
    // The one function without a result.
    linker.func_wrap(
        PREVIEW1,
        Function::ProcExit.name(),
        |caller: Caller<'_, State>, code: i32| -> wasmtime::Result<()> {
            serve(caller, Function::ProcExit, &[code.widen()]).map(drop)
        },
    )?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admit::check_imports;

    /// A module that imports every function with the types of the table can be instantiated.
    #[test]
    fn every_function_of_the_table_is_defined_with_its_type() {
        let mut text = String::from("(module");
        for function in Function::ALL {
            let params: String = function
                .signature()
                .params
                .iter()
                .map(|p| if p.kind.is_i64() { " i64" } else { " i32" })
                .collect();
            let result = if *function == Function::ProcExit { "" } else { "(result i32)" };
            text += &format!(
                "(import \"{PREVIEW1}\" \"{}\" (func (param{params}) {result}))",
                function.name()
            );
        }
        text += ")";
        let engine = wasmtime::Engine::default();
        let module = wasmtime::Module::new(&engine, wat::parse_str(&text).unwrap()).unwrap();
        check_imports(&module).unwrap();
        let mut linker = Linker::new(&engine);
        define_preview1(&mut linker).unwrap();
        linker.instantiate_pre(&module).unwrap();
    }
}
