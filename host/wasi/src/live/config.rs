//! What a live guest may see of the world, and opening it.

use super::fs::{Directory, OpenFile, View};
use super::sched::Scheduler;
#[cfg(windows)]
use super::streams;
use cap_std::ambient_authority;
use std::io::Write;
use std::path::PathBuf;
use wasi_common::file::FileAccessMode;
use wasi_common::pipe::{ReadPipe, WritePipe};
use wasi_common::sync::dir::Dir;
#[cfg(unix)]
use wasi_common::sync::stdio::{stderr, stdin, stdout};
use wasi_common::sync::{clocks_ctx, random_ctx};
use wasi_common::{Table, WasiCtx, WasiFile};

/// Standard input of a guest.
#[derive(Debug, Default)]
pub enum Stdin {
    /// The process's own.
    #[default]
    Inherit,
    /// A file.
    File(PathBuf),
    /// These bytes.
    Bytes(Vec<u8>),
}

/// Where a guest's output goes.
#[derive(Default)]
pub enum Output {
    /// The process's own stream.
    #[default]
    Inherit,
    /// A writer.
    Writer(Box<dyn Write + Send + Sync>),
}

/// A directory of the host that the guest may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Preopen {
    /// Where it is.
    pub host: PathBuf,
    /// What the guest calls it.
    pub guest: String,
}

/// What a live guest may see of the world. Nothing, by default, but the standard streams.
#[derive(Default)]
pub struct LiveConfig {
    /// Arguments, the program's name first.
    pub args: Vec<String>,
    /// Environment, in order.
    pub env: Vec<(String, String)>,
    /// Directories, in the order of their descriptors.
    pub preopens: Vec<Preopen>,
    /// Listening sockets, from descriptor 3 on, before the directories.
    pub sockets: Vec<std::net::TcpListener>,
    /// Standard input.
    pub stdin: Stdin,
    /// Standard output.
    pub stdout: Output,
    /// Standard error.
    pub stderr: Output,
    /// Virtual time, randomness and file metadata.
    pub deterministic: bool,
}

/// What keeps a guest from being started.
#[derive(Debug, thiserror::Error)]
pub enum LiveError {
    /// A directory cannot be opened.
    #[error("cannot open the directory {} for the guest's {guest}: {source}", host.display())]
    Directory {
        /// Where it should be.
        host: PathBuf,
        /// What the guest would call it.
        guest: String,
        /// Why.
        source: std::io::Error,
    },
    /// Standard input cannot be opened.
    #[error("cannot open {} for standard input: {source}", path.display())]
    Stdin {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// An argument or a variable cannot be passed to a guest.
    #[error(
        "the argument or variable {0:?} contains a NUL character, which a guest cannot receive"
    )]
    Nul(String),
    /// Arguments or variables pass 4 GiB.
    #[error("arguments or variables take {0} bytes, a guest can receive 4294967295")]
    TooLong(usize),
    /// `wasi-common` refused.
    #[error("cannot set up the guest's world: {0}")]
    Context(String),
}

/// Strings as the guest gets them.
pub fn nul_terminated(
    strings: impl IntoIterator<Item = impl AsRef<str>>,
) -> Result<Vec<u8>, LiveError> {
    let mut bytes = Vec::new();
    for string in strings {
        let string = string.as_ref();
        if string.contains('\0') {
            return Err(LiveError::Nul(string.to_owned()));
        }
        bytes.extend_from_slice(string.as_bytes());
        bytes.push(0);
    }
    if u32::try_from(bytes.len()).is_err() {
        return Err(LiveError::TooLong(bytes.len()));
    }
    Ok(bytes)
}

/// A context without descriptors but those of the standard streams, which lead nowhere yet.
pub fn empty_context() -> WasiCtx {
    WasiCtx::new(random_ctx(), clocks_ctx(), Box::new(Scheduler), Table::new())
}

/// Opens what the configuration names. Arguments and environment are served by [`super::Live`] itself.
pub fn context(config: LiveConfig, view: &View) -> Result<WasiCtx, LiveError> {
    let ctx = empty_context();
    ctx.set_stdin(open_stdin(config.stdin, view)?);
    ctx.set_stdout(standard_output(config.stdout));
    ctx.set_stderr(standard_error(config.stderr));
    let refused = |e: wasi_common::Error| LiveError::Context(e.to_string());
    for socket in config.sockets {
        ctx.push_file(listening(socket), FileAccessMode::all()).map_err(refused)?;
    }
    for preopen in config.preopens {
        let dir = Box::new(Dir::from_cap_std(open_directory(&preopen)?));
        let dir = Box::new(Directory::new(dir, view.clone()));
        ctx.push_preopened_dir(dir, preopen.guest).map_err(refused)?;
    }
    Ok(ctx)
}

/// Opens standard input.
pub fn open_stdin(stdin: Stdin, view: &View) -> Result<Box<dyn WasiFile>, LiveError> {
    let inner: Box<dyn WasiFile> = match stdin {
        Stdin::Inherit => inherited_stdin(),
        Stdin::Bytes(bytes) => Box::new(ReadPipe::new(std::io::Cursor::new(bytes))),
        Stdin::File(path) => match cap_std::fs::File::open_ambient(&path, ambient_authority()) {
            Ok(file) => Box::new(wasi_common::sync::file::File::from_cap_std(file)),
            Err(source) => return Err(LiveError::Stdin { path, source }),
        },
    };
    Ok(Box::new(OpenFile { inner, view: view.clone(), fdflags: None }))
}

/// Standard output.
pub fn standard_output(to: Output) -> Box<dyn WasiFile> {
    #[cfg(unix)]
    return output(to, || Box::new(stdout()));
    #[cfg(windows)]
    return output(to, streams::stdout);
}

/// Standard error.
pub fn standard_error(to: Output) -> Box<dyn WasiFile> {
    #[cfg(unix)]
    return output(to, || Box::new(stderr()));
    #[cfg(windows)]
    return output(to, streams::stderr);
}

/// An output stream. It has no metadata to be shown differently: a layer less on every write.
fn output(output: Output, inherited: impl FnOnce() -> Box<dyn WasiFile>) -> Box<dyn WasiFile> {
    match output {
        Output::Inherit => inherited(),
        Output::Writer(writer) => Box::new(WritePipe::new(writer)),
    }
}

/// A listening socket.
pub fn listening(socket: std::net::TcpListener) -> Box<dyn WasiFile> {
    wasi_common::sync::net::Socket::from(cap_std::net::TcpListener::from_std(socket)).into()
}

/// Opens a directory of the host.
pub fn open_directory(preopen: &Preopen) -> Result<cap_std::fs::Dir, LiveError> {
    let Preopen { host, guest } = preopen;
    cap_std::fs::Dir::open_ambient_dir(host, ambient_authority())
        .map_err(|source| LiveError::Directory { host: host.clone(), guest: guest.clone(), source })
}

/// The process's standard input, unbuffered: a buffer of ours would hide from `poll_oneoff` what was
/// read ahead.
#[cfg(unix)]
fn inherited_stdin() -> Box<dyn WasiFile> {
    use std::os::fd::AsFd as _;
    if let Ok(fd) = std::io::stdin().as_fd().try_clone_to_owned() {
        let file = cap_std::fs::File::from_std(std::fs::File::from(fd));
        return Box::new(wasi_common::sync::file::File::from_cap_std(file));
    }
    Box::new(stdin())
}

#[cfg(windows)]
fn inherited_stdin() -> Box<dyn WasiFile> {
    streams::stdin()
}
