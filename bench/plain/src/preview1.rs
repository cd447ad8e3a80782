//! Binds every preview1 function of `wasi-common` to a wasmtime linker.
//!
//! `wasi-common` is built without its own wasmtime integration, because that one is tied to another wasmtime release.
//! Invariant: a call does no lookup by name; the exported memory is found once and kept in the store.

use wasi_common::snapshots::preview_1::wasi_snapshot_preview1 as functions;
use wasi_common::{I32Exit, WasiCtx};
use wasmtime::{Caller, Error, Extern, Linker, Memory, Result};
use wiggle::GuestMemory;

/// What the store of a plain run holds.
pub struct Host {
    pub wasi: WasiCtx,
    /// The guest's exported memory; `None` until the module is instantiated, or until a start function makes a call.
    pub memory: Option<Memory>,
}

macro_rules! define {
    ($linker:ident; $($name:ident($($arg:ident: $ty:ty),*) -> i32;)*) => {
        $(
            $linker.func_wrap(
                "wasi_snapshot_preview1",
                stringify!($name),
                |mut caller: Caller<'_, Host>, $($arg: $ty),*| -> Result<i32> {
                    let memory = exported_memory(&mut caller)?;
                    let (bytes, host) = memory.data_and_store_mut(&mut caller);
                    let mut guest = GuestMemory::Unshared(bytes);
                    wiggle::run_in_dummy_executor(functions::$name(&mut host.wasi, &mut guest, $($arg),*))
                        .and_then(|result| result)
                        .map_err(engine_error)
                },
            )?;
        )*
    };
}

/// Adds all of preview1 to `linker`.
///
/// # Errors
/// Only if `linker` already has a function of that name.
pub fn add_to_linker(linker: &mut Linker<Host>) -> Result<()> {
    define! { linker;
        args_get(argv: i32, argv_buf: i32) -> i32;
        args_sizes_get(argc: i32, argv_buf_size: i32) -> i32;
        clock_res_get(id: i32, resolution: i32) -> i32;
        clock_time_get(id: i32, precision: i64, time: i32) -> i32;
        environ_get(environ: i32, environ_buf: i32) -> i32;
        environ_sizes_get(count: i32, environ_buf_size: i32) -> i32;
        fd_advise(fd: i32, offset: i64, len: i64, advice: i32) -> i32;
        fd_allocate(fd: i32, offset: i64, len: i64) -> i32;
        fd_close(fd: i32) -> i32;
        fd_datasync(fd: i32) -> i32;
        fd_fdstat_get(fd: i32, stat: i32) -> i32;
        fd_fdstat_set_flags(fd: i32, flags: i32) -> i32;
        fd_fdstat_set_rights(fd: i32, base: i64, inheriting: i64) -> i32;
        fd_filestat_get(fd: i32, stat: i32) -> i32;
        fd_filestat_set_size(fd: i32, size: i64) -> i32;
        fd_filestat_set_times(fd: i32, atim: i64, mtim: i64, flags: i32) -> i32;
        fd_pread(fd: i32, iovs: i32, iovs_len: i32, offset: i64, nread: i32) -> i32;
        fd_prestat_dir_name(fd: i32, path: i32, path_len: i32) -> i32;
        fd_prestat_get(fd: i32, prestat: i32) -> i32;
        fd_pwrite(fd: i32, iovs: i32, iovs_len: i32, offset: i64, nwritten: i32) -> i32;
        fd_read(fd: i32, iovs: i32, iovs_len: i32, nread: i32) -> i32;
        fd_readdir(fd: i32, buf: i32, buf_len: i32, cookie: i64, used: i32) -> i32;
        fd_renumber(fd: i32, to: i32) -> i32;
        fd_seek(fd: i32, offset: i64, whence: i32, position: i32) -> i32;
        fd_sync(fd: i32) -> i32;
        fd_tell(fd: i32, position: i32) -> i32;
        fd_write(fd: i32, iovs: i32, iovs_len: i32, nwritten: i32) -> i32;
        path_create_directory(fd: i32, path: i32, path_len: i32) -> i32;
        path_filestat_get(fd: i32, flags: i32, path: i32, path_len: i32, stat: i32) -> i32;
        path_filestat_set_times(
            fd: i32, flags: i32, path: i32, path_len: i32, atim: i64, mtim: i64, fst_flags: i32
        ) -> i32;
        path_link(
            old_fd: i32, flags: i32, old_path: i32, old_len: i32, new_fd: i32, new_path: i32, new_len: i32
        ) -> i32;
        path_open(
            fd: i32, flags: i32, path: i32, path_len: i32, oflags: i32, base: i64, inheriting: i64, fdflags: i32,
            opened: i32
        ) -> i32;
        path_readlink(fd: i32, path: i32, path_len: i32, buf: i32, buf_len: i32, used: i32) -> i32;
        path_remove_directory(fd: i32, path: i32, path_len: i32) -> i32;
        path_rename(old_fd: i32, old_path: i32, old_len: i32, new_fd: i32, new_path: i32, new_len: i32) -> i32;
        path_symlink(old_path: i32, old_len: i32, fd: i32, new_path: i32, new_len: i32) -> i32;
        path_unlink_file(fd: i32, path: i32, path_len: i32) -> i32;
        poll_oneoff(subscriptions: i32, events: i32, count: i32, ready: i32) -> i32;
        proc_raise(signal: i32) -> i32;
        random_get(buf: i32, buf_len: i32) -> i32;
        sched_yield() -> i32;
        sock_accept(fd: i32, flags: i32, accepted: i32) -> i32;
        sock_recv(fd: i32, iovs: i32, iovs_len: i32, flags: i32, nread: i32, out_flags: i32) -> i32;
        sock_send(fd: i32, iovs: i32, iovs_len: i32, flags: i32, nwritten: i32) -> i32;
        sock_shutdown(fd: i32, how: i32) -> i32;
    }
    // By hand: `wasi-common` turns a code of 126 or more into a trap.
    linker.func_wrap("wasi_snapshot_preview1", "proc_exit", |code: i32| -> Result<()> {
        Err(Error::new(I32Exit(code)))
    })?;
    Ok(())
}

fn exported_memory(caller: &mut Caller<'_, Host>) -> Result<Memory> {
    if let Some(memory) = caller.data().memory {
        return Ok(memory);
    }
    match caller.get_export("memory") {
        Some(Extern::Memory(memory)) => {
            caller.data_mut().memory = Some(memory);
            Ok(memory)
        }
        _ => Err(Error::msg("the module exports no memory called \"memory\"")),
    }
}

/// Carries an error across the two releases' error types.
fn engine_error(error: wiggle::error::Error) -> Error {
    Error::msg(format!("{error:#}"))
}
