//! Goes on in the real world from a checkpoint: opens again what the guest had open.
//!
//! Nothing is created, truncated or moved, and nothing has run, when it turns out that something is not as
//! it was: all [`Problem`]s are reported together. What the guest cannot know is not restored: a
//! directory is listed anew, and files that are not open get new virtual inode numbers.
//!
//! Invariant: every descriptor of the state is in the table at its number, or the guest does not run.

use super::back::{Again, Handles};
use super::config::{self, LiveConfig, LiveError, Preopen, Standard, Stdin};
use super::fs::{Directory, Opened, View};
use super::terminals::Terminals;
use super::virtual_world::{Inodes, VirtualWorld};
use super::{Live, errno, wait};
use crate::descriptors::{Descriptors, OFLAGS_DIRECTORY, StateError};
use crate::guest_path;
use crate::overlay::Overlay;
use std::any::Any;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{IoSlice, IoSliceMut, SeekFrom};
use std::path::PathBuf;
use wasi_common::file::{FdFlags, FileAccessMode, FileType, RiFlags, RoFlags, SdFlags, SiFlags};
use wasi_common::snapshots::preview_1::types;
use wasi_common::snapshots::preview_1::wasi_snapshot_preview1::WasiSnapshotPreview1 as _;
use wasi_common::{Error, WasiCtx, WasiDir, WasiFile};
use wiggle::{GuestMemory, GuestPtr};
use wrr_trace::{
    Errno, HostState, Manifest, OpenDescriptor, OpenedFile, Place, Shape, Target, filetype_name,
};

/// Why a guest cannot go on from a checkpoint.
#[derive(Debug, thiserror::Error)]
pub enum ResumeError {
    /// The state is impossible.
    #[error(transparent)]
    State(#[from] StateError),
    /// The guest's arguments cannot be passed.
    #[error(transparent)]
    Live(#[from] LiveError),
    /// The world is not as the guest left it.
    #[error("the program cannot go on from here:{}", listed(.problems))]
    World {
        /// All that is wrong, by directory and by descriptor.
        problems: Vec<Problem>,
    },
}

fn listed(problems: &[Problem]) -> String {
    problems.iter().map(|problem| format!("\n  - {problem}")).collect()
}

/// Something that the guest had open and that cannot be opened again. Paths are the guest's.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// A directory that the guest uses was not given.
    #[error("the directory {guest} was not given; add --dir HOST::{guest}")]
    DirectoryNotGiven {
        /// What the guest calls it.
        guest: String,
    },
    /// A listening socket that the guest uses was not given.
    #[error("listening socket {number} (from 0) was not given; pass one again")]
    SocketNotGiven {
        /// Its place among the sockets.
        number: u32,
    },
    /// A directory or standard input that was given cannot be opened.
    #[error(transparent)]
    Given(LiveError),
    /// Standard input ends before the place that the guest had reached.
    #[error(
        "standard input has {size_bytes} bytes, but the program had read up to byte {position}; give the same input"
    )]
    StdinShorter {
        /// How far the guest had read.
        position: u64,
        /// How much there is now.
        size_bytes: u64,
    },
    /// There is no such file (any more).
    #[error("{path} (descriptor {fd}) does not exist; put it back")]
    Missing {
        /// The descriptor.
        fd: u32,
        /// Where it was.
        path: String,
    },
    /// The guest itself had taken the file's name away while it was open.
    #[error(
        "{path} (descriptor {fd}) was open although the program had deleted or replaced it; go on from a moment before that, or after it was closed"
    )]
    Unlinked {
        /// The descriptor.
        fd: u32,
        /// Where it was last.
        path: String,
    },
    /// There is something else now.
    #[error("{path} (descriptor {fd}) is of type {found} now, it was {expected}; put it back")]
    OtherType {
        /// The descriptor.
        fd: u32,
        /// Where it is.
        path: String,
        /// What it was.
        expected: &'static str,
        /// What it is.
        found: &'static str,
    },
    /// The file was longer.
    #[error(
        "{path} (descriptor {fd}) has {size_bytes} bytes, but the program was at byte {position}; put the old contents back"
    )]
    Shorter {
        /// The descriptor.
        fd: u32,
        /// Where it is.
        path: String,
        /// The guest's position in it.
        position: u64,
        /// Its length now.
        size_bytes: u64,
    },
    /// The file is there, but not for this use.
    #[error(
        "{path} (descriptor {fd}) cannot be opened {access}: {reason}; put it back as it was, with its permissions"
    )]
    NotOpenable {
        /// The descriptor.
        fd: u32,
        /// Where it is.
        path: String,
        /// For what it was open.
        access: &'static str,
        /// The errno's name, or a sentence.
        reason: String,
    },
    /// A file that the guest has written parts of in its layer has other contents below it now.
    #[error(
        "{path} is not what it was below the program's changes, which cover only a part of it; put it back"
    )]
    ChangedBelow {
        /// Where it is.
        path: String,
    },
    /// The guest's changes are in a layer, and it is to go on without one.
    #[error(
        "the program's changes to its files are in an overlay, without which they would be gone; go on with --fs overlay, or apply them first with wrr fs commit"
    )]
    NeedsOverlay,
    /// Position or flags of a descriptor cannot be set again.
    #[error("descriptor {fd} ({path}) cannot be set to its {what}: {reason}")]
    NotSet {
        /// The descriptor.
        fd: u32,
        /// What it is.
        path: String,
        /// What was to be set.
        what: &'static str,
        /// The errno's name, or a sentence.
        reason: String,
    },
}

impl Live {
    /// Goes on from `state`, a state of a recording with this manifest: arguments, environment and whether
    /// the world is virtual are the manifest's, and directories are found by what the guest calls them.
    /// Standard input from a file or from bytes goes on where the guest had stopped reading.
    ///
    /// # Errors
    /// All that is missing or not as the guest left it, together.
    pub fn resume(
        config: LiveConfig,
        manifest: &Manifest,
        state: &HostState,
    ) -> Result<Live, ResumeError> {
        Live::open_again(config, manifest, state, &BTreeMap::new())
    }

    /// As [`Live::resume`]. What is `held`, by descriptor, is opened again as it is, if it is of the layer that this one's came from.
    pub(super) fn open_again(
        config: LiveConfig,
        manifest: &Manifest,
        state: &HostState,
        held: &BTreeMap<u32, Opened>,
    ) -> Result<Live, ResumeError> {
        let terminals = Terminals::of(&config);
        let descriptors = Descriptors::from_state(state)?;
        check(manifest, state)?;
        let args = config::nul_terminated(manifest.args.iter())?;
        let env = config::nul_terminated(manifest.env.iter().map(|(k, v)| format!("{k}={v}")))?;
        let world = state.world.map(VirtualWorld::new);
        let inodes = world.as_ref().map(VirtualWorld::inodes);
        let overlay =
            config.fs.overlay(&manifest.preopens, &config.preopens, manifest.deterministic);
        let mut opening = Opening::new(inodes, &manifest.preopens, held);
        match overlay {
            Ok(overlay) => opening.overlay = overlay,
            Err(error) => opening.problem(Problem::Given(error)),
        }
        opening.directories(&config.preopens, state);
        let sockets = config.sockets;
        let mut standard = Standard {
            stdin: config.stdin,
            stdout: config.stdout.into(),
            stderr: config.stderr.into(),
        };
        for OpenDescriptor { fd, target, fdflags, inode } in &state.descriptors {
            let fd = *fd;
            match target {
                // `from_state` has checked that there is at most one of each.
                Target::Stdin => opening.stdin(fd, &mut standard.stdin, state.stdin_bytes),
                Target::Stdout => {
                    let out = config::standard_output(&standard.stdout);
                    opening.ctx.insert_file(fd, out, FileAccessMode::WRITE);
                }
                Target::Stderr => {
                    let out = config::standard_error(&standard.stderr);
                    opening.ctx.insert_file(fd, out, FileAccessMode::WRITE);
                }
                Target::Socket(number) => {
                    match sockets.get(*number as usize).map(config::listening) {
                        Some(Ok(socket)) => {
                            let name = format!("listening socket {number}");
                            opening.file(fd, &name, socket, FileAccessMode::all(), *fdflags);
                        }
                        Some(Err(error)) => opening.problem(Problem::Given(error)),
                        None => opening.problem(Problem::SocketNotGiven { number: *number }),
                    }
                }
                Target::Connection => {
                    tracing::warn!(
                        "the connection of descriptor {fd} is gone; to the program it looks as if the other side had reset it"
                    );
                    let gone = Box::new(GoneConnection::new());
                    opening.ctx.insert_file(fd, gone, FileAccessMode::all());
                }
                Target::Preopen(number) => opening.preopen(fd, *number, *inode),
                Target::Opened(file) => opening.opened(fd, file, *fdflags, *inode),
            }
        }
        let Opening { ctx, problems, view, opened, overlay, .. } = opening;
        if !problems.is_empty() {
            return Err(ResumeError::World { problems });
        }
        let names = manifest.preopens.clone();
        let handles = Handles::new(view.slot(), opened, standard, sockets, names, overlay);
        Ok(Live::over(ctx, (args, env), world, descriptors, handles, terminals))
    }
}

/// Whether the state can belong to a recording with this manifest.
fn check(manifest: &Manifest, state: &HostState) -> Result<(), StateError> {
    let wrong = |what: &str| Err(StateError { what: what.to_owned() });
    if state.overflowed {
        return wrong("there were more of them than a checkpoint can hold");
    }
    if state.world.is_some() != manifest.deterministic {
        return wrong("the manifest disagrees on whether the world is virtual");
    }
    let preopens = manifest.preopens.len() as u64;
    for descriptor in &state.descriptors {
        let exists = match &descriptor.target {
            Target::Socket(number) => *number < manifest.sockets,
            Target::Preopen(number) => u64::from(*number) < preopens,
            Target::Opened(file) => u64::from(file.place.preopen) < preopens,
            _ => true,
        };
        if !exists {
            return wrong(&format!("descriptor {} is of nothing in the manifest", descriptor.fd));
        }
    }
    Ok(())
}

/// The work in progress.
struct Opening<'a> {
    ctx: WasiCtx,
    view: View,
    inodes: Option<Inodes>,
    /// The guest's names of the preopened directories.
    names: &'a [String],
    /// The preopened directories that are needed and given.
    given: BTreeMap<u32, cap_std::fs::Dir>,
    /// The layer above them.
    overlay: Option<Overlay>,
    /// What another guest holds open, whose layer this one's came from.
    held: &'a BTreeMap<u32, Opened>,
    /// A number that no descriptor has.
    scratch_fd: u32,
    problems: Vec<Problem>,
    /// What was opened, by descriptor.
    opened: BTreeMap<u32, Opened>,
}

impl<'a> Opening<'a> {
    fn new(
        inodes: Option<Inodes>,
        names: &'a [String],
        held: &'a BTreeMap<u32, Opened>,
    ) -> Opening<'a> {
        let mut ctx = config::empty_context();
        for fd in 0..3_u32 {
            // A standard stream is only there if the guest has not closed it.
            let closed = wait(ctx.fd_close(&mut GuestMemory::Unshared(&mut []), fd.into()));
            debug_assert!(closed.is_ok(), "a new context has the standard streams");
        }
        let view = View::new(inodes.clone());
        let (given, problems, opened) = (BTreeMap::new(), Vec::new(), BTreeMap::new());
        let (overlay, scratch_fd) = (None, 0);
        Opening { ctx, view, inodes, names, given, overlay, held, scratch_fd, problems, opened }
    }

    fn problem(&mut self, problem: Problem) {
        self.problems.push(problem);
    }

    /// Opens the preopened directories that the state needs.
    fn directories(&mut self, preopens: &[Preopen], state: &HostState) {
        let used: BTreeSet<u32> = state.descriptors.iter().map(|d| d.fd).collect();
        self.scratch_fd = (0..).find(|fd| !used.contains(fd)).unwrap_or(u32::MAX);
        let needed: BTreeSet<u32> = state
            .descriptors
            .iter()
            .filter_map(|descriptor| match &descriptor.target {
                Target::Preopen(number) => Some(*number),
                Target::Opened(file) => Some(file.place.preopen),
                _ => None,
            })
            .collect();
        let (given, left) = config::by_name(self.names, preopens);
        for ((number, name), preopen) in (0_u32..).zip(self.names).zip(given) {
            match preopen.map(config::open_directory) {
                _ if !needed.contains(&number) => {}
                Some(Ok(dir)) => {
                    self.given.insert(number, dir);
                }
                Some(Err(error)) => self.problem(Problem::Given(error)),
                None => self.problem(Problem::DirectoryNotGiven { guest: name.clone() }),
            }
        }
        if let Some(overlay) = &self.overlay {
            let changed = overlay.changed_below().into_iter();
            self.problems.extend(changed.map(|path| Problem::ChangedBelow { path }));
        }
        for preopen in left {
            tracing::warn!(
                "the program does not know the directory {}; it was started without it",
                preopen.guest
            );
        }
    }

    /// A handle of a preopened directory, if it was given.
    fn directory(&mut self, fd: u32, number: u32) -> Option<Directory> {
        match self.given.get(&number)?.try_clone() {
            Ok(dir) => Some(config::directory(self.overlay.as_ref(), number, dir, &self.view)),
            Err(error) => {
                let path = self.names[number as usize].clone();
                let (access, reason) = ("once more", error.to_string());
                self.problem(Problem::NotOpenable { fd, path, access, reason });
                None
            }
        }
    }

    /// What the guest calls a place.
    fn shown(&self, place: &Place) -> String {
        guest_path::shown(self.names, place)
    }

    fn stdin(&mut self, fd: u32, stdin: &mut Stdin, position: u64) {
        let from_file = matches!(stdin, Stdin::File(_));
        let file = match config::open_stdin(stdin, position, &self.view) {
            Ok(file) => file,
            Err(error) => return self.problem(Problem::Given(error)),
        };
        if let Stdin::Injected(injected) = stdin {
            let size_bytes = injected.len_bytes();
            if size_bytes < position {
                self.problem(Problem::StdinShorter { position, size_bytes });
            }
        }
        // What comes from a terminal or a pipe comes anew.
        if from_file
            && let Ok(stat) = wait(file.get_filestat())
            && stat.filetype == FileType::RegularFile
        {
            if stat.size < position {
                self.problem(Problem::StdinShorter { position, size_bytes: stat.size });
            }
            self.seek(fd, "standard input", &file, SeekFrom::Start(position));
        }
        self.opened.insert(fd, Opened::File(file.clone()));
        self.ctx.insert_file(fd, Box::new(file), FileAccessMode::READ);
    }

    fn seek(&mut self, fd: u32, path: &str, file: &dyn WasiFile, to: SeekFrom) {
        if let Err(error) = wait(file.seek(to)) {
            let (path, what, reason) = (path.to_owned(), "position", reason(error));
            self.problem(Problem::NotSet { fd, path, what, reason });
        }
    }

    /// Puts an open file into the table, with the flags that it should have, if they differ from those it has.
    fn file(
        &mut self,
        fd: u32,
        path: &str,
        mut file: Box<dyn WasiFile>,
        mode: FileAccessMode,
        fdflags: Option<u16>,
    ) {
        if let Some(bits) = fdflags
            && let Err(error) = wait(file.set_fdflags(flags(bits)))
        {
            let (path, what, reason) = (path.to_owned(), "flags", reason(error));
            self.problem(Problem::NotSet { fd, path, what, reason });
        }
        self.ctx.insert_file(fd, file, mode);
    }

    fn preopen(&mut self, fd: u32, number: u32, inode: Option<u64>) {
        let Some(dir) = self.directory(fd, number) else { return };
        self.remember(&dir, ".", true, inode);
        self.opened.insert(fd, Opened::Directory(dir.clone()));
        self.ctx.insert_dir(fd, Box::new(dir), PathBuf::from(&self.names[number as usize]));
    }

    /// Tells the virtual world which file has this number.
    fn remember(&self, dir: &Directory, path: &str, follow: bool, inode: Option<u64>) {
        if let (Some(inodes), Some(inode)) = (&self.inodes, inode)
            && let Ok(stat) = wait(dir.host_filestat(path, follow))
        {
            inodes.remember(stat.device_id, stat.inode, inode);
        }
    }

    fn opened(&mut self, fd: u32, file: &OpenedFile, fdflags: Option<u16>, inode: Option<u64>) {
        let path = self.shown(&file.place);
        if let Some(overlay) = &self.overlay
            && let Some(held) = self.held.get(&fd)
            && let Some(again) = held.in_layer(overlay, &self.view)
        {
            return self.again(fd, &path, file, again, fdflags);
        }
        if file.unlinked
            && let Some(handle) = self.overlay.as_ref().and_then(|o| o.unlinked_at(&file.place))
        {
            let rights = types::Rights::from_bits_truncate(file.rights);
            let write = rights.contains(types::Rights::FD_WRITE);
            // As above: what may be made is open for writing.
            let access =
                (rights.contains(types::Rights::FD_READ) || !write, write || file.oflags & 1 != 0);
            let flags = flags(file.open_fdflags);
            match Opened::without_name(handle, &self.view, inode, access, flags) {
                Ok(again) => return self.again(fd, &path, file, again, fdflags),
                Err(error) => {
                    let (access, reason) = ("once more", reason(error));
                    return self.problem(Problem::NotOpenable { fd, path, access, reason });
                }
            }
        }
        if file.unlinked {
            return self.problem(Problem::Unlinked { fd, path });
        }
        let Some(dir) = self.directory(fd, file.place.preopen) else { return };
        let rights = types::Rights::from_bits_truncate(file.rights);
        let read = rights.contains(types::Rights::FD_READ);
        let write = rights.contains(types::Rights::FD_WRITE);
        let not_openable = |path, reason| {
            let access = match (read, write) {
                (true, true) => "for reading and writing",
                (false, true) => "for writing",
                (_, false) => "for reading",
            };
            Problem::NotOpenable { fd, path, access, reason }
        };
        let place = if file.place.path.is_empty() { "." } else { &file.place.path };
        // First by its name: opening a pipe that has taken its place might wait for ever.
        let stat = match wait(dir.host_filestat(place, file.follow)) {
            Ok(stat) => stat,
            Err(error) => {
                let problem = match errno::of(error) {
                    Ok(Errno::noent) => Problem::Missing { fd, path },
                    other => not_openable(path, in_words(other)),
                };
                return self.problem(problem);
            }
        };
        let found = types::Filetype::from(&stat.filetype) as u8;
        if let Some(expected) = unlike(file, found) {
            let found = filetype_name(found);
            return self.problem(Problem::OtherType { fd, path, expected, found });
        }
        self.remember(&dir, place, file.follow, inode);
        if stat.filetype == FileType::Directory {
            if let Err(error) = self.opened_directory(fd, Box::new(dir), place, file.follow) {
                self.problem(not_openable(path, reason(error)));
            }
            self.opened.extend(self.view.slot().take().map(|opened| (fd, opened)));
            return;
        }
        let regular = stat.filetype == FileType::RegularFile;
        // Seeking past the end is allowed; only what the guest knew to be there must be there.
        let position = file
            .position
            .filter(|position| regular && stat.size < *position && stat.size < file.size);
        if let Some(position) = position {
            let size_bytes = stat.size;
            return self.problem(Problem::Shorter { fd, path, position, size_bytes });
        }
        // `O_CREAT` has made upstream open the file for writing as well, whatever the rights: a guest may set its length then.
        let created = file.oflags & 1 != 0;
        let opened = dir.reopen(
            place,
            file.follow,
            read || (created && !write),
            write || created,
            flags(file.open_fdflags),
        );
        match wait(opened) {
            Ok(opened) => {
                let held = self.view.slot().take();
                let mut mode = FileAccessMode::empty();
                mode.set(FileAccessMode::READ, read);
                mode.set(FileAccessMode::WRITE, write);
                if regular {
                    let to = file.position.map_or(SeekFrom::End(0), SeekFrom::Start);
                    self.seek(fd, &path, &*opened, to);
                }
                let changed = fdflags.filter(|now| *now != file.open_fdflags);
                self.file(fd, &path, opened, mode, changed);
                self.opened.extend(self.view.slot().take().or(held).map(|held| (fd, held)));
            }
            Err(error) => self.problem(not_openable(path, reason(error))),
        }
    }

    /// Opens what another guest holds open, which need not have a name any more.
    fn again(
        &mut self,
        fd: u32,
        path: &str,
        file: &OpenedFile,
        again: Opened,
        fdflags: Option<u16>,
    ) {
        self.opened.insert(fd, again.clone());
        match again {
            Opened::File(opened) => {
                let rights = types::Rights::from_bits_truncate(file.rights);
                let mut mode = FileAccessMode::empty();
                mode.set(FileAccessMode::READ, rights.contains(types::Rights::FD_READ));
                mode.set(FileAccessMode::WRITE, rights.contains(types::Rights::FD_WRITE));
                let to = file.position.map_or(SeekFrom::End(0), SeekFrom::Start);
                self.seek(fd, path, &opened, to);
                self.file(fd, path, Box::new(opened), mode, fdflags);
                self.opened.extend(self.view.slot().take().map(|opened| (fd, opened)));
            }
            Opened::Directory(directory) => {
                let opened = self.opened_directory(fd, Box::new(Again(directory)), ".", false);
                if let Err(error) = opened {
                    let (path, access, reason) = (path.to_owned(), "once more", reason(error));
                    self.problem(Problem::NotOpenable { fd, path, access, reason });
                }
            }
        }
    }

    /// Opens a directory the way a guest does, because upstream's entry for one that is not preopened cannot
    /// be made from outside.
    fn opened_directory(
        &mut self,
        fd: u32,
        dir: Box<dyn WasiDir>,
        place: &str,
        follow: bool,
    ) -> Result<(), Error> {
        self.ctx.insert_dir(self.scratch_fd, dir, PathBuf::new());
        let mut path = place.as_bytes().to_vec();
        let name = GuestPtr::<str>::new((0, path.len() as u32));
        let memory = &mut GuestMemory::Unshared(&mut path);
        let mut lookup = types::Lookupflags::empty();
        lookup.set(types::Lookupflags::SYMLINK_FOLLOW, follow);
        let (oflags, rights) = (types::Oflags::DIRECTORY, types::Rights::FD_READ);
        let (scratch, flags) = (types::Fd::from(self.scratch_fd), types::Fdflags::empty());
        let opened =
            wait(self.ctx.path_open(memory, scratch, lookup, name, oflags, rights, rights, flags));
        wait(self.ctx.fd_close(&mut GuestMemory::Unshared(&mut []), scratch))?;
        // The table gives numbers that are free, but this one may be wanted by a later descriptor: it goes
        // to its own place at once.
        self.ctx.table().renumber(opened?.into(), fd)
    }
}

/// If the file cannot be the one that was open: what that was.
fn unlike(file: &OpenedFile, found: u8) -> Option<&'static str> {
    let directory = types::Filetype::Directory as u8;
    match file.shape {
        Shape::Told(told) if told != found => Some(filetype_name(told)),
        Shape::NotDirectory if found == directory => Some("a file"),
        Shape::Unknown if file.oflags & OFLAGS_DIRECTORY != 0 && found != directory => {
            Some(filetype_name(directory))
        }
        _ => None,
    }
}

pub(super) fn flags(bits: u16) -> FdFlags {
    FdFlags::from(types::Fdflags::from_bits_truncate(bits))
}

/// An error in a word or a sentence.
fn reason(error: Error) -> String {
    in_words(errno::of(error))
}

fn in_words(error: Result<Errno, String>) -> String {
    error.map_or_else(|what| what, |errno| errno.name().to_owned())
}

/// A connection that did not outlive its process. To the guest it was reset by the other side.
pub struct GoneConnection {
    /// A socket whose other end is closed: always ready, as a connection that was reset is.
    #[cfg(unix)]
    closed: Option<std::os::unix::net::UnixStream>,
}

impl GoneConnection {
    pub(super) fn new() -> GoneConnection {
        GoneConnection {
            #[cfg(unix)]
            closed: std::os::unix::net::UnixStream::pair().ok().map(|(one, _)| one),
        }
    }
}

fn reset<T>() -> Result<T, Error> {
    Err(std::io::Error::from(std::io::ErrorKind::ConnectionReset).into())
}

#[async_trait::async_trait]
impl WasiFile for GoneConnection {
    fn as_any(&self) -> &dyn Any {
        self
    }

    async fn get_filetype(&self) -> Result<FileType, Error> {
        Ok(FileType::SocketStream)
    }

    #[cfg(unix)]
    fn pollable(&self) -> Option<rustix::fd::BorrowedFd<'_>> {
        use std::os::fd::AsFd as _;
        self.closed.as_ref().map(|socket| socket.as_fd())
    }

    async fn set_fdflags(&mut self, _flags: FdFlags) -> Result<(), Error> {
        Ok(())
    }

    async fn sock_recv<'a>(
        &self,
        _data: &mut [IoSliceMut<'a>],
        _flags: RiFlags,
    ) -> Result<(u64, RoFlags), Error> {
        reset()
    }

    async fn sock_send<'a>(&self, _data: &[IoSlice<'a>], _flags: SiFlags) -> Result<u64, Error> {
        reset()
    }

    async fn sock_shutdown(&self, _how: SdFlags) -> Result<(), Error> {
        Err(std::io::Error::from(std::io::ErrorKind::NotConnected).into())
    }

    async fn read_vectored<'a>(&self, _bufs: &mut [IoSliceMut<'a>]) -> Result<u64, Error> {
        reset()
    }

    async fn write_vectored<'a>(&self, _bufs: &[IoSlice<'a>]) -> Result<u64, Error> {
        reset()
    }

    async fn readable(&self) -> Result<(), Error> {
        Ok(())
    }

    async fn writable(&self) -> Result<(), Error> {
        Ok(())
    }
}
