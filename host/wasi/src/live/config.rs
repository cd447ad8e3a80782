//! What a live guest may see of the world, and opening it.

use super::fs::{Directory, OpenFile, Opened, View};
use super::overlay_fs::OverlayDirectory;
use super::sched::Scheduler;
#[cfg(windows)]
use super::streams;
use crate::overlay::{Lower, Overlay, OverlayOptions};
use cap_std::ambient_authority;
use std::collections::BTreeMap;
use std::io::Write;
use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
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
    /// What comes next, whatever was read before, and then the end.
    Rest(Vec<u8>),
    /// What somebody puts in meanwhile. A guest that reads when there is nothing is stopped in that call.
    Injected(Injected),
}

/// Standard input that is put in bit by bit. A clone is the same input. What was put in stays, so that a guest that goes
/// back reads it again.
#[derive(Clone, Debug, Default)]
pub struct Injected(Arc<Mutex<Fed>>);

#[derive(Debug, Default)]
struct Fed {
    /// How much there was before, which nobody knows any more.
    before_bytes: u64,
    bytes: Vec<u8>,
    closed: bool,
}

impl Injected {
    /// No input yet.
    #[must_use]
    pub fn new() -> Injected {
        Injected::default()
    }

    /// All of the input.
    #[must_use]
    pub fn all(bytes: Vec<u8>) -> Injected {
        Injected::rest(0, bytes)
    }

    /// All that comes behind a position.
    pub(crate) fn rest(before_bytes: u64, bytes: Vec<u8>) -> Injected {
        Injected(Arc::new(Mutex::new(Fed { before_bytes, bytes, closed: true })))
    }

    fn fed(&self) -> std::sync::MutexGuard<'_, Fed> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts more input in. Nothing happens after [`Injected::close`].
    pub fn push(&self, bytes: &[u8]) {
        let mut fed = self.fed();
        if !fed.closed {
            fed.bytes.extend_from_slice(bytes);
        }
    }

    /// Takes back what was put in behind so many bytes, for a guest that went back to before it read them. There can be more
    /// again, also after [`Injected::close`].
    pub fn truncate(&self, len_bytes: u64) {
        let mut fed = self.fed();
        let keep = usize::try_from(len_bytes.saturating_sub(fed.before_bytes));
        fed.bytes.truncate(keep.unwrap_or(usize::MAX));
        fed.closed = false;
    }

    /// There will be no more input.
    pub fn close(&self) {
        self.fed().closed = true;
    }

    /// How much was put in, in bytes.
    #[must_use]
    pub fn len_bytes(&self) -> u64 {
        let fed = self.fed();
        fed.before_bytes + fed.bytes.len() as u64
    }

    /// The same input so far, for somebody else: what is put into one from now on is not in the other.
    #[must_use]
    pub fn fork(&self) -> Injected {
        let fed = self.fed();
        let (bytes, closed) = (fed.bytes.clone(), fed.closed);
        let before_bytes = fed.before_bytes;
        Injected(Arc::new(Mutex::new(Fed { before_bytes, bytes, closed })))
    }

    /// At most `len` bytes from a position on; none at the end, `None` if there may come some.
    pub(crate) fn read(&self, position: u64, len: u64) -> Option<Vec<u8>> {
        let fed = self.fed();
        let from = position.saturating_sub(fed.before_bytes);
        let from = usize::try_from(from).unwrap_or(usize::MAX).min(fed.bytes.len());
        let rest = &fed.bytes[from..];
        if rest.is_empty() && !fed.closed && len > 0 {
            return None;
        }
        Some(rest[..rest.len().min(usize::try_from(len).unwrap_or(usize::MAX))].to_vec())
    }
}

/// Where a guest's output goes.
#[derive(Default)]
pub enum Output {
    /// The process's own stream.
    #[default]
    Inherit,
    /// A writer.
    Writer(Box<dyn Write + Send + Sync>),
    /// Where another guest's output goes.
    Shared(SharedOutput),
}

/// An output that several guests, or one that goes back, can write to.
#[derive(Clone)]
pub struct SharedOutput(Option<Arc<RwLock<Box<dyn Write + Send + Sync>>>>);

impl From<Output> for SharedOutput {
    fn from(output: Output) -> SharedOutput {
        match output {
            Output::Inherit => SharedOutput(None),
            Output::Writer(writer) => SharedOutput(Some(Arc::new(RwLock::new(writer)))),
            Output::Shared(shared) => shared,
        }
    }
}

/// A directory of the host that the guest may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Preopen {
    /// Where it is.
    pub host: PathBuf,
    /// What the guest calls it.
    pub guest: String,
}

/// Where a guest's writes to its directories go.
#[derive(Clone, Default)]
pub enum FileSystem {
    /// Where they went before, if a recording goes on; otherwise to the directories.
    #[default]
    AsBefore,
    /// To the directories.
    Host,
    /// To a new layer above them.
    Overlay(OverlayOptions),
    /// To a layer that there is already, above the same directories.
    Layer(Overlay),
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
    /// Where writes to them go.
    pub fs: FileSystem,
    /// Listening sockets, from descriptor 3 on, before the directories.
    pub sockets: Vec<TcpListener>,
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
pub fn context(
    preopens: Vec<Preopen>,
    overlay: Option<&Overlay>,
    sockets: &[TcpListener],
    standard: &mut Standard,
    view: &View,
) -> Result<(WasiCtx, BTreeMap<u32, Opened>), LiveError> {
    let ctx = empty_context();
    let mut opened = BTreeMap::new();
    let stdin = open_stdin(&mut standard.stdin, 0, view)?;
    opened.insert(0, Opened::File(stdin.clone()));
    ctx.set_stdin(Box::new(stdin));
    ctx.set_stdout(standard_output(&standard.stdout));
    ctx.set_stderr(standard_error(&standard.stderr));
    let refused = |e: wasi_common::Error| LiveError::Context(e.to_string());
    for socket in sockets {
        ctx.push_file(listening(socket)?, FileAccessMode::all()).map_err(refused)?;
    }
    for (number, preopen) in (0_u32..).zip(preopens) {
        let fd = 3 + sockets.len() as u32 + number;
        let dir = directory(overlay, number, open_directory(&preopen)?, view);
        opened.insert(fd, Opened::Directory(dir.clone()));
        ctx.push_preopened_dir(Box::new(dir), preopen.guest).map_err(refused)?;
    }
    Ok((ctx, opened))
}

/// A preopened directory: the layer's, if there is one.
pub fn directory(
    overlay: Option<&Overlay>,
    number: u32,
    dir: cap_std::fs::Dir,
    view: &View,
) -> Directory {
    match overlay {
        Some(overlay) => {
            Directory::new(Box::new(OverlayDirectory::preopened(overlay, number)), view.clone())
        }
        None => Directory::new(Box::new(Dir::from_cap_std(dir)), view.clone()),
    }
}

impl FileSystem {
    /// The layer, if it is one, above the directories with these names.
    pub(crate) fn overlay(
        self,
        names: &[String],
        preopens: &[Preopen],
        timeless: bool,
    ) -> Result<Option<Overlay>, LiveError> {
        match self {
            FileSystem::AsBefore | FileSystem::Host => Ok(None),
            FileSystem::Layer(overlay) => Ok(Some(overlay)),
            FileSystem::Overlay(options) => {
                Overlay::above(names, preopens, timeless, options).map(Some)
            }
        }
    }
}

impl Overlay {
    /// The first directory of these names that is not among those that are given.
    #[must_use]
    pub fn not_given(names: &[String], preopens: &[Preopen]) -> Option<String> {
        let (given, _) = by_name(names, preopens);
        names.iter().zip(given).find(|(_, given)| given.is_none()).map(|(name, _)| name.clone())
    }

    /// A layer above the directories that a guest knows by these names, of which some may not be given.
    ///
    /// # Errors
    /// [`LiveError::Directory`].
    pub fn above(
        names: &[String],
        preopens: &[Preopen],
        timeless: bool,
        options: OverlayOptions,
    ) -> Result<Overlay, LiveError> {
        let (given, _) = by_name(names, preopens);
        let lowers = names.iter().zip(given).map(|(name, preopen)| {
            let dir = preopen.map(open_directory).transpose()?;
            Ok(Lower { name: name.clone(), dir })
        });
        Ok(Overlay::new(lowers.collect::<Result<_, LiveError>>()?, timeless, options))
    }
}

/// Which directory has which name, and those that nobody asks for. A guest may know several by the same name: the first is the
/// first, and so on.
pub fn by_name<'a>(
    names: &[String],
    preopens: &'a [Preopen],
) -> (Vec<Option<&'a Preopen>>, Vec<&'a Preopen>) {
    let mut left: Vec<&Preopen> = preopens.iter().collect();
    let given = names.iter().map(|name| {
        let at = left.iter().position(|preopen| preopen.guest == *name)?;
        Some(left.remove(at))
    });
    (given.collect(), left)
}

/// The standard streams.
pub struct Standard {
    pub stdin: Stdin,
    pub stdout: SharedOutput,
    pub stderr: SharedOutput,
}

/// Opens standard input, of which so many bytes were read before. Bytes become what was put in.
pub fn open_stdin(stdin: &mut Stdin, position: u64, view: &View) -> Result<OpenFile, LiveError> {
    match stdin {
        Stdin::Bytes(bytes) => {
            *stdin = Stdin::Injected(Injected::all(std::mem::take(bytes)));
        }
        Stdin::Rest(bytes) => {
            *stdin = Stdin::Injected(Injected::rest(position, std::mem::take(bytes)));
        }
        _ => {}
    }
    let inner: Arc<dyn WasiFile> = match stdin {
        Stdin::Inherit => Arc::from(inherited_stdin()),
        // Reading is served before it comes to this.
        Stdin::Bytes(_) | Stdin::Rest(_) | Stdin::Injected(_) => {
            Arc::new(ReadPipe::new(std::io::Cursor::new(Vec::new())))
        }
        Stdin::File(path) => match cap_std::fs::File::open_ambient(&path, ambient_authority()) {
            Ok(file) => Arc::new(wasi_common::sync::file::File::from_cap_std(file)),
            Err(source) => return Err(LiveError::Stdin { path: path.clone(), source }),
        },
    };
    Ok(OpenFile { inner, view: view.clone(), fdflags: None })
}

/// Standard output.
pub fn standard_output(to: &SharedOutput) -> Box<dyn WasiFile> {
    #[cfg(unix)]
    return output(to, || Box::new(stdout()));
    #[cfg(windows)]
    return output(to, streams::stdout);
}

/// Standard error.
pub fn standard_error(to: &SharedOutput) -> Box<dyn WasiFile> {
    #[cfg(unix)]
    return output(to, || Box::new(stderr()));
    #[cfg(windows)]
    return output(to, streams::stderr);
}

/// An output stream. It has no metadata to be shown differently: a layer less on every write.
fn output(
    output: &SharedOutput,
    inherited: impl FnOnce() -> Box<dyn WasiFile>,
) -> Box<dyn WasiFile> {
    match &output.0 {
        None => inherited(),
        Some(writer) => Box::new(WritePipe::from_shared(Arc::clone(writer))),
    }
}

/// A listening socket.
pub fn listening(socket: &TcpListener) -> Result<Box<dyn WasiFile>, LiveError> {
    let socket = socket.try_clone().map_err(|e| LiveError::Context(format!("a socket: {e}")))?;
    Ok(wasi_common::sync::net::Socket::from(cap_std::net::TcpListener::from_std(socket)).into())
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
