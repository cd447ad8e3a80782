//! Preview1's functions as wasmtime knows them.

use crate::guest::{State, serve, serve_control};
use wasmtime::{Caller, Linker};
use wrr_trace::{Function, PREVIEW1};

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
pub(crate) fn define_preview1(linker: &mut Linker<State>) -> wasmtime::Result<()> {
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
    macro_rules! control {
        ($($function:ident($($param:ident),*) $(-> $result:ident)?;)*) => {$(
            linker.func_wrap(
                Function::$function.module(),
                Function::$function.name(),
                |caller: Caller<'_, State>, $($param: i32),*| {
                    let result = serve_control(caller, Function::$function, &[$($param.widen()),*]);
                    control!(@result result $($result)?)
                },
            )?;
        )*};
        (@result $given:ident i32) => { $given };
        (@result $given:ident) => { $given.map(drop) };
    }
    control! {
        ControlCheckpoint(a, b) -> i32;
        ControlRollback(a, b) -> i32;
        ControlMark(a, b);
        ControlBranch(a, b, c);
    }
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
            let result = if function.has_result() { "(result i32)" } else { "" };
            text += &format!(
                "(import \"{}\" \"{}\" (func (param{params}) {result}))",
                function.module(),
                function.name()
            );
        }
        text += "(memory (export \"memory\") 1)(func (export \"cabi_realloc\")";
        text += "(param i32 i32 i32 i32) (result i32) (local.get 0)))";
        let engine = wasmtime::Engine::default();
        let module = wasmtime::Module::new(&engine, wat::parse_str(&text).unwrap()).unwrap();
        check_imports(&module).unwrap();
        let mut linker = Linker::new(&engine);
        define_preview1(&mut linker).unwrap();
        linker.instantiate_pre(&module).unwrap();
    }
}
