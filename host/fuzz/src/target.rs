//! What is fuzzed: the module, how it is given its input, what counts as a failure.

use crate::FuzzError;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use wrr::format::{Finding, Given, INPUT_BYTES_MAX, Limits};
use wrr::{
    CodeCache, Engine, FileSystem, Job, LiveConfig, Observer, Output, OverlayOptions, Preopen,
    Stdin, Variant,
};

/// The argument that stands for the file with the input.
pub const FILE_ARGUMENT: &str = "@@";

/// The directory in which the program finds it, and the file's name.
const FILE_DIR: &str = "/fuzz";
const FILE_NAME: &str = "input";

/// How a target is run.
#[derive(Clone, Debug)]
pub struct TargetOptions {
    /// The arguments behind the program's name; [`FILE_ARGUMENT`] stands for the file with the input.
    pub args: Vec<String>,
    /// The environment.
    pub env: Vec<(String, String)>,
    /// Directories that it may read; what it writes to them is gone with the input.
    pub preopens: Vec<Preopen>,
    /// The limits: memory, stack.
    pub limits: Limits,
    /// The longest input, in bytes.
    pub input_bytes_max: u32,
    /// How many ticks a run may take behind where the input is read.
    pub timeout_ticks: u64,
    /// Exit codes that count as failures.
    pub crash_exits: Vec<u32>,
}

impl Default for TargetOptions {
    fn default() -> TargetOptions {
        TargetOptions {
            args: Vec::new(),
            env: Vec::new(),
            preopens: Vec::new(),
            limits: Limits { memory_bytes_max: 1 << 30, ..Limits::default() },
            input_bytes_max: 4096,
            timeout_ticks: 20_000_000,
            crash_exits: Vec::new(),
        }
    }
}

/// A program that can be given inputs. Cheap to clone.
#[derive(Clone)]
pub struct Target {
    pub(crate) name: String,
    pub(crate) module: Arc<Vec<u8>>,
    pub(crate) given: Given,
    pub(crate) options: TargetOptions,
    pub(crate) cache: Option<CodeCache>,
    engine: Engine,
    /// A directory without a file.
    empty: Arc<tempfile::TempDir>,
}

impl Target {
    /// A target from a module, binary or text.
    ///
    /// # Errors
    /// [`FuzzError::NoTarget`], [`FuzzError::Reactor`], [`FuzzError::Run`] if it is no module.
    pub fn new(
        module: Vec<u8>,
        name: &str,
        mut options: TargetOptions,
        cache: Option<CodeCache>,
    ) -> Result<Target, FuzzError> {
        let refused = |refusal| wrr::Error::Refused { name: name.to_owned(), refusal };
        let module = wrr::module_bytes(module).map_err(refused)?;
        let names_file = options.args.iter().any(|arg| arg.contains(FILE_ARGUMENT));
        let no_target =
            |why: &str| FuzzError::NoTarget { name: name.to_owned(), why: why.to_owned() };
        let (module, given) = if wrr::is_reactor(&module) {
            if !options.args.is_empty() {
                return Err(no_target("it is a library, which takes no arguments"));
            }
            let command = wrr::fuzz_command(module.into(), options.input_bytes_max);
            let command =
                command.map_err(|error| FuzzError::Reactor { name: name.to_owned(), error })?;
            (command, Given::Function)
        } else if !wrr::exports_function(&module, "_start") {
            return Err(no_target(
                "it exports neither a function _start nor a function LLVMFuzzerTestOneInput",
            ));
        } else if names_file {
            let path = format!("{FILE_DIR}/{FILE_NAME}");
            for arg in &mut options.args {
                *arg = arg.replace(FILE_ARGUMENT, &path);
            }
            (module, Given::File(path))
        } else {
            (module, Given::Stdin)
        };
        Target::of(module, name, given, options, cache)
    }

    /// The target that a finding is of, from its recording: the module is a command already. The directories that it had are those of the caller.
    ///
    /// # Errors
    /// The recording cannot be read; there is no room for a temporary directory.
    pub fn of_finding(
        trace: &wrr::Trace<'_>,
        finding: &Finding,
        preopens: Vec<Preopen>,
        cache: Option<CodeCache>,
    ) -> Result<Target, FuzzError> {
        let manifest = trace.reader().manifest();
        let options = Target::options_of(trace, finding, preopens);
        let module = trace.reader().module()?;
        Target::of(module, &manifest.name, finding.given.clone(), options, cache)
    }

    /// How the target of a finding was run.
    pub(crate) fn options_of(
        trace: &wrr::Trace<'_>,
        finding: &Finding,
        preopens: Vec<Preopen>,
    ) -> TargetOptions {
        let manifest = trace.reader().manifest();
        TargetOptions {
            args: manifest.args.iter().skip(1).cloned().collect(),
            env: manifest.env.clone(),
            preopens,
            limits: manifest.limits,
            input_bytes_max: u32::try_from(finding.input.len().max(4096)).unwrap_or(u32::MAX),
            timeout_ticks: finding.timeout_ticks,
            crash_exits: finding.crash_exits.clone(),
        }
    }

    pub(crate) fn of(
        module: Vec<u8>,
        name: &str,
        given: Given,
        options: TargetOptions,
        cache: Option<CodeCache>,
    ) -> Result<Target, FuzzError> {
        debug_assert!(options.input_bytes_max as usize <= INPUT_BYTES_MAX);
        let empty = tempfile::tempdir()
            .map_err(FuzzError::file("make a folder in", std::env::temp_dir()))?;
        Ok(Target {
            name: name.to_owned(),
            module: Arc::new(module),
            given,
            options,
            cache,
            engine: Engine::new(),
            empty: Arc::new(empty),
        })
    }

    /// Its name for people.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How it is given its input.
    #[must_use]
    pub fn given(&self) -> &Given {
        &self.given
    }

    /// How it is run.
    #[must_use]
    pub fn options(&self) -> &TargetOptions {
        &self.options
    }

    /// The directories as the program sees them: those of the user, and one for the file with the input.
    fn preopens(&self) -> Vec<Preopen> {
        let mut preopens = self.options.preopens.clone();
        if matches!(self.given, Given::File(_)) {
            let host: PathBuf = Path::new(self.empty.path()).to_owned();
            preopens.push(Preopen { host, guest: FILE_DIR.to_owned() });
        }
        preopens
    }

    /// A job that runs it.
    pub(crate) fn job<'a>(
        &self,
        variant: Variant,
        (stdin, stderr): (Stdin, Output),
        observer: &'a dyn Observer,
    ) -> Job<'a> {
        let preopens = self.preopens();
        let fs = match preopens.is_empty() {
            true => FileSystem::Host,
            false => FileSystem::Overlay(OverlayOptions::default()),
        };
        let live = LiveConfig {
            args: std::iter::once(self.name.clone()).chain(self.options.args.clone()).collect(),
            env: self.options.env.clone(),
            preopens,
            fs,
            stdin,
            stdout: Output::Writer(Box::new(std::io::sink())),
            stderr,
            deterministic: true,
            ..LiveConfig::default()
        };
        Job {
            live,
            limits: self.options.limits,
            variant: Some(variant),
            cache: self.cache.clone(),
            engine: Some(self.engine.clone()),
            observer,
            ..Job::new(Vec::clone(&self.module), &self.name)
        }
    }
}
