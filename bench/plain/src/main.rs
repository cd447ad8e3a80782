//! Runs a preview1 module under the plain engine: the baseline that the benchmarks compare `wrr` with.
//!
//! Default engine settings but for the wasm stack, which is as large as `wrr`'s. No wrr code is linked in.
//! Passes the guest's exit code on; 134 after a trap or an uncaught exception, 2 after an error of its own.

mod preview1;

use preview1::Host;
use std::path::{Path, PathBuf};
use wasi_common::sync::{Dir, TcpListener, WasiCtxBuilder, ambient_authority};
use wasi_common::{I32Exit, WasiCtx};
use wasmtime::error::{Context, Result, bail};
use wasmtime::{Config, Engine, Linker, Module, Store, ThrownException, Trap, Val, ValType};

const USAGE: &str =
    "usage: wrr-bench-plain [--dir HOST[::GUEST]]... [--env K=V]... [--tcplisten ADDR:PORT]
                       [--invoke EXPORT] [--canonical-nans] [--cwasm FILE] PROG.wasm [ARGS...]

  --dir        preopen a directory, under the same path if no guest path is given
  --env        set an environment variable of the guest
  --tcplisten  pass a listening socket as file descriptor 3, before the directories
  --invoke     call this export, with ARGS as its integer parameters, instead of _start
  --canonical-nans  let Cranelift make every NaN canonical
  --cwasm      load the compiled module from FILE if that exists, otherwise compile and write it";

const WASM_STACK_BYTES: usize = 16 << 20;
/// Beyond the wasm stack, so that host functions have room at its very end.
const THREAD_STACK_BYTES: usize = WASM_STACK_BYTES + (16 << 20);
const EXIT_TRAP: i32 = 134;
const EXIT_ERROR: i32 = 2;

#[derive(Default)]
struct Options {
    dirs: Vec<(String, String)>,
    env: Vec<(String, String)>,
    tcplisten: Option<String>,
    invoke: Option<String>,
    canonical_nans: bool,
    cwasm: Option<PathBuf>,
    program: PathBuf,
    args: Vec<String>,
}

fn main() {
    let guest = std::thread::Builder::new()
        .stack_size(THREAD_STACK_BYTES)
        .spawn(|| parse_args().and_then(run));
    let code = match guest.expect("a thread can be started").join() {
        Ok(Ok(code)) => code,
        Ok(Err(error)) => {
            eprintln!("error: {error:#}");
            if error.is::<Trap>() || error.is::<ThrownException>() { EXIT_TRAP } else { EXIT_ERROR }
        }
        Err(_) => EXIT_ERROR,
    };
    std::process::exit(code);
}

fn parse_args() -> Result<Options> {
    let mut options = Options::default();
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        let mut value = || args.next().with_context(|| format!("{arg} needs a value\n{USAGE}"));
        match arg.as_str() {
            "--dir" => {
                let dir = value()?;
                let (host, guest) = dir.split_once("::").unwrap_or((&dir, &dir));
                options.dirs.push((host.into(), guest.into()));
            }
            "--env" => {
                let env = value()?;
                let (key, value) =
                    env.split_once('=').with_context(|| format!("--env {env}: expected K=V"))?;
                options.env.push((key.into(), value.into()));
            }
            "--tcplisten" => options.tcplisten = Some(value()?),
            "--invoke" => options.invoke = Some(value()?),
            "--canonical-nans" => options.canonical_nans = true,
            "--cwasm" => options.cwasm = Some(value()?.into()),
            "--help" => {
                println!("{USAGE}");
                std::process::exit(0);
            }
            flag if flag.starts_with("--") => bail!("unknown option {flag}\n{USAGE}"),
            _ => {
                options.program = arg.into();
                options.args = args.collect();
                return Ok(options);
            }
        }
    }
    bail!("{USAGE}");
}

fn run(options: Options) -> Result<i32> {
    let mut config = Config::new();
    config.max_wasm_stack(WASM_STACK_BYTES);
    // Unused here, but the engine insists that it is no smaller.
    config.async_stack_size(WASM_STACK_BYTES);
    config.cranelift_nan_canonicalization(options.canonical_nans);
    let engine = Engine::new(&config)?;
    let module = load(&engine, &options.program, options.cwasm.as_deref())?;
    let mut linker = Linker::new(&engine);
    preview1::add_to_linker(&mut linker)?;
    let mut store = Store::new(&engine, Host { wasi: wasi_context(&options)?, memory: None });

    let outcome = call_entry(&linker, &mut store, &module, &options);
    match outcome {
        Ok(()) => Ok(0),
        Err(error) => match error.downcast_ref::<I32Exit>() {
            Some(exit) => Ok(exit.0),
            None => Err(error),
        },
    }
}

fn call_entry(
    linker: &Linker<Host>,
    store: &mut Store<Host>,
    module: &Module,
    options: &Options,
) -> Result<()> {
    let instance = linker.instantiate(&mut *store, module)?;
    let memory = instance.get_memory(&mut *store, "memory");
    store.data_mut().memory = memory;
    let Some(export) = &options.invoke else {
        instance.get_typed_func::<(), ()>(&mut *store, "_start")?.call(&mut *store, ())?;
        return Ok(());
    };
    if let Ok(initialize) = instance.get_typed_func::<(), ()>(&mut *store, "_initialize") {
        initialize.call(&mut *store, ())?;
    }
    let func = instance
        .get_func(&mut *store, export)
        .with_context(|| format!("no function is exported as {export}"))?;
    let ty = func.ty(&*store);
    let params = ty
        .params()
        .zip(&options.args)
        .map(|(ty, arg)| integer(&ty, arg))
        .collect::<Result<Vec<_>>>()?;
    let mut results = vec![Val::I32(0); ty.results().len()];
    func.call(&mut *store, &params, &mut results)?;
    for result in results {
        println!(
            "{}",
            result
                .i64()
                .or(result.i32().map(i64::from))
                .context("only integer results can be printed")?
        );
    }
    Ok(())
}

fn integer(ty: &ValType, arg: &str) -> Result<Val> {
    match ty {
        ValType::I32 => Ok(Val::I32(arg.parse()?)),
        ValType::I64 => Ok(Val::I64(arg.parse()?)),
        other => bail!("a parameter of type {other} cannot be given on the command line"),
    }
}

fn load(engine: &Engine, program: &Path, cwasm: Option<&Path>) -> Result<Module> {
    if let Some(file) = cwasm.filter(|file| file.exists()) {
        // SAFETY: the file was written below by this program; the benchmarks keep it in a directory of their own.
        let module = unsafe { Module::deserialize_file(engine, file) };
        return module.with_context(|| format!("{}: delete it to compile again", file.display()));
    }
    let module =
        Module::from_file(engine, program).with_context(|| program.display().to_string())?;
    if let Some(file) = cwasm {
        std::fs::write(file, module.serialize()?).with_context(|| file.display().to_string())?;
    }
    Ok(module)
}

fn wasi_context(options: &Options) -> Result<WasiCtx> {
    let mut builder = WasiCtxBuilder::new();
    builder.inherit_stdio();
    let name = options
        .program
        .file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default();
    builder.arg(&name)?.args(&options.args)?.envs(&options.env)?;
    // Directories take the lowest free descriptors, so the socket must be in place before them.
    if let Some(address) = &options.tcplisten {
        let listener = std::net::TcpListener::bind(address)
            .with_context(|| format!("--tcplisten {address}"))?;
        builder.preopened_socket(3, TcpListener::from_std(listener))?;
    }
    for (host, guest) in &options.dirs {
        let dir = Dir::open_ambient_dir(host, ambient_authority())
            .with_context(|| format!("--dir {host}"))?;
        builder.preopened_dir(dir, guest)?;
    }
    Ok(builder.build())
}
