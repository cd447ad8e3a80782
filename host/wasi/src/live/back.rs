//! Going back: what a live host knew and held open at one moment, and putting it back.
//!
//! Open files are held by whoever saved the moment, so they are there again also after the guest has closed, replaced or
//! unlinked them; only their positions and flags are set. What cannot be held is a connection: its other side would wait for
//! an end that does not come. What the guest did to files goes back with an overlay, and is otherwise listed.
//!
//! Input from a terminal or a pipe does not come again, as output is not taken back.
//!
//! Invariant: two descriptors with one id stand for the same open file.

use super::config::{self, FileSystem, LiveConfig, Output, Standard, Stdin};
use super::fs::{Directory, Listing, OpenFile, Opened, Slot};
use super::resume::{GoneConnection, ResumeError, flags};
use super::virtual_world::Numbers;
use super::{Live, wait};
use crate::descriptors::{Changes, Descriptors};
use crate::guest_path;
use crate::overlay::{Overlay, OverlaySnapshot};
use std::any::Any;
use std::collections::{BTreeMap, BTreeSet};
use std::io::SeekFrom;
use std::net::TcpListener;
use std::path::PathBuf;
use wasi_common::dir::OpenResult;
use wasi_common::file::{FdFlags, FileAccessMode, OFlags};
use wasi_common::snapshots::preview_1::types;
use wasi_common::snapshots::preview_1::wasi_snapshot_preview1::WasiSnapshotPreview1 as _;
use wasi_common::{Error, WasiDir, WasiFile};
use wiggle::{GuestMemory, GuestPtr};
use wrr_trace::{Call, Function, HostState, Manifest, OpenDescriptor, Outcome, Reply, Target};

/// What a live host knew and held open at one moment. Cheap to clone.
#[derive(Clone)]
pub struct LiveState {
    descriptors: Descriptors,
    entries: BTreeMap<u32, Entry>,
    listings: BTreeMap<u32, Listing>,
    waiting: BTreeSet<u32>,
    numbers: Option<Numbers>,
    overlay: Option<OverlaySnapshot>,
    changes: u64,
}

impl LiveState {
    /// What was known.
    #[must_use]
    pub fn host_state(&self) -> HostState {
        self.descriptors.state()
    }
}

/// What going back could not put back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NotTakenBack {
    /// Files and directories, as the guest calls them, that it has changed since then.
    pub files: Vec<String>,
    /// There were more of them.
    pub more_files: bool,
    /// Descriptors that are not what they were, each with the reason.
    pub descriptors: Vec<(u32, String)>,
}

impl std::fmt::Display for NotTakenBack {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("what could not be taken back:")?;
        for file in &self.files {
            write!(f, "\n  - {file} was changed")?;
        }
        if self.more_files {
            f.write_str("\n  - and more files")?;
        }
        for (fd, why) in &self.descriptors {
            write!(f, "\n  - descriptor {fd}: {why}")?;
        }
        Ok(())
    }
}

impl NotTakenBack {
    /// Whether everything is as it was.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == NotTakenBack::default()
    }
}

/// What a descriptor stands for.
#[derive(Clone)]
struct Entry {
    id: u64,
    /// None if it is not a file or directory, or cannot be held.
    opened: Option<Opened>,
}

/// The things behind the open descriptors.
pub(super) struct Handles {
    slot: Slot,
    entries: BTreeMap<u32, Entry>,
    next_id: u64,
    standard: Standard,
    /// The listening sockets, until the guest closes them.
    sockets: Vec<Option<TcpListener>>,
    /// What the guest calls the preopened directories.
    names: Vec<String>,
    /// The layer that the guest writes to.
    pub(super) overlay: Option<Overlay>,
    /// Somebody may want to go back.
    saved: bool,
    pub(super) changes: Changes,
}

impl Handles {
    pub fn new(
        slot: Slot,
        opened: BTreeMap<u32, Opened>,
        standard: Standard,
        sockets: Vec<TcpListener>,
        names: Vec<String>,
        overlay: Option<Overlay>,
    ) -> Handles {
        let entries = opened.into_iter().zip(0..);
        let entries: BTreeMap<u32, Entry> =
            entries.map(|((fd, opened), id)| (fd, Entry { id, opened: Some(opened) })).collect();
        // What was opened meanwhile is in `opened` already.
        slot.take();
        Handles {
            slot,
            next_id: entries.len() as u64,
            entries,
            standard,
            sockets: sockets.into_iter().map(Some).collect(),
            names,
            overlay,
            saved: false,
            changes: Changes::default(),
        }
    }

    /// Standard input that is put in.
    pub fn injected(&self) -> Option<&config::Injected> {
        match &self.standard.stdin {
            Stdin::Injected(injected) => Some(injected),
            _ => None,
        }
    }

    fn insert(&mut self, fd: u32, opened: Option<Opened>) {
        self.entries.insert(fd, Entry { id: self.next_id, opened });
        self.next_id += 1;
    }

    /// Follows a call that succeeded. `known` is what was known before it.
    pub fn observe(&mut self, known: &Descriptors, call: &Call, outcome: &Outcome) {
        let fd = call.args[0] as u32;
        match (call.function, &outcome.reply) {
            (Function::PathOpen, Reply::Number(new)) => {
                let opened = self.slot.take();
                self.insert(*new, opened);
            }
            (Function::SockAccept, Reply::Number(new)) => self.insert(*new, None),
            (Function::FdClose, _) => {
                self.entries.remove(&fd);
                if let (Some(Target::Socket(number)), false) = (known.target(fd), self.saved)
                    && let Some(socket) = self.sockets.get_mut(*number as usize)
                {
                    // Nobody is to connect to it any more.
                    *socket = None;
                }
            }
            (Function::FdRenumber, _) => {
                let to = call.args[1] as u32;
                if fd != to {
                    // What comes there may be a stream, of which nothing is kept here.
                    self.entries.remove(&to);
                    let moved = self.entries.remove(&fd).map(|entry| (to, entry));
                    self.entries.extend(moved);
                }
            }
            (Function::FdFdstatSetFlags, _) => {
                if let (Some(opened), Some(entry)) = (self.slot.take(), self.entries.get_mut(&fd)) {
                    entry.opened = Some(opened);
                }
            }
            _ => {}
        }
    }
}

impl Live {
    /// Where standard output and standard error go, for another guest.
    #[must_use]
    pub fn outputs(&self) -> (Output, Output) {
        let Standard { stdout, stderr, .. } = &self.handles.standard;
        (Output::Shared(stdout.clone()), Output::Shared(stderr.clone()))
    }

    /// Standard input, for another guest: what was put in so far, or the same file or stream.
    #[must_use]
    pub fn stdin(&self) -> Stdin {
        match &self.handles.standard.stdin {
            Stdin::Injected(injected) => Stdin::Injected(injected.fork()),
            Stdin::File(path) => Stdin::File(path.clone()),
            Stdin::Bytes(_) | Stdin::Rest(_) | Stdin::Inherit => Stdin::Inherit,
        }
    }

    /// Where another guest's writes go that goes on from a moment.
    #[must_use]
    pub fn files(&self, then: &LiveState) -> FileSystem {
        match (&self.handles.overlay, &then.overlay) {
            (Some(overlay), Some(snapshot)) => FileSystem::Layer(overlay.fork(snapshot)),
            _ => FileSystem::Host,
        }
    }

    /// BLAKE3 of what the guest has changed in its layer; `None` if it has none.
    ///
    /// # Errors
    /// What was spilled cannot be read.
    pub fn files_hash(&self) -> std::io::Result<Option<[u8; 32]>> {
        let Some(overlay) = &self.handles.overlay else { return Ok(None) };
        let open = self.handles.entries.values().filter_map(|entry| entry.opened.as_ref());
        overlay.hash(open.filter_map(Opened::in_a_layer)).map(Some)
    }

    /// Remembers this moment.
    pub fn save(&mut self) -> LiveState {
        self.handles.saved = true;
        let directories =
            self.handles.entries.iter().filter_map(|(fd, entry)| match &entry.opened {
                Some(Opened::Directory(directory)) => Some((*fd, directory.listing())),
                _ => None,
            });
        LiveState {
            descriptors: self.descriptors.clone(),
            listings: directories.collect(),
            entries: self.handles.entries.clone(),
            waiting: self.waiting.clone(),
            numbers: self.world.as_ref().map(|world| world.inodes().numbers()),
            overlay: self.handles.overlay.as_ref().map(Overlay::snapshot),
            changes: self.handles.changes.count(),
        }
    }

    /// Another host that goes on from a moment which this process has saved: as [`Live::resume`], with what only the process knows, the
    /// numbers of files and the listings that were begun.
    ///
    /// # Errors
    /// As [`Live::resume`].
    pub fn fork(
        config: LiveConfig,
        manifest: &Manifest,
        then: &LiveState,
    ) -> Result<Live, ResumeError> {
        let held = then.entries.iter().filter_map(|(fd, entry)| Some((*fd, entry.opened.clone()?)));
        let held = held.collect();
        let mut live = Live::open_again(config, manifest, &then.host_state(), &held)?;
        if let (Some(world), Some(state)) = (&mut live.world, then.descriptors.world()) {
            world.restore(state, then.numbers.clone().unwrap_or_default());
        }
        for (fd, listing) in &then.listings {
            if let Some(Entry { opened: Some(Opened::Directory(directory)), .. }) =
                live.handles.entries.get(fd)
            {
                directory.set_listing(listing.clone());
            }
        }
        Ok(live)
    }

    /// Goes back to a moment that this host has saved. Says what could not be put back.
    pub fn restore(&mut self, then: &LiveState) -> NotTakenBack {
        let mut report = NotTakenBack::default();
        match (&self.handles.overlay, &then.overlay) {
            (Some(overlay), Some(snapshot)) => overlay.restore(snapshot),
            _ => {
                (report.files, report.more_files) = self
                    .handles
                    .changes
                    .since(then.changes, |place| guest_path::shown(&self.handles.names, place));
            }
        }
        if let (Some(world), Some(state)) = (&mut self.world, then.descriptors.world()) {
            world.restore(state, then.numbers.clone().unwrap_or_default());
        }
        let same = |handles: &Handles, fd: u32, entry: &Entry| {
            handles.entries.get(&fd).is_some_and(|now| now.id == entry.id)
        };
        let open: Vec<u32> = self.descriptors.open_fds().collect();
        for fd in open {
            let stays = match then.entries.get(&fd) {
                Some(entry) => same(&self.handles, fd, entry),
                // A standard stream, or a socket.
                None => {
                    !self.handles.entries.contains_key(&fd)
                        && then.descriptors.target(fd) == self.descriptors.target(fd)
                }
            };
            if !stays {
                let none = &mut GuestMemory::Unshared(&mut []);
                // It may be gone already, which is what is wanted.
                let _ = wait(self.ctx.fd_close(none, fd.into()));
                self.handles.entries.remove(&fd);
                self.descriptors.forget(fd);
            }
        }
        for descriptor in then.descriptors.descriptors() {
            let fd = descriptor.fd;
            let put = match self.descriptors.descriptor(fd) {
                Some(now) => {
                    let now = now.clone();
                    self.adjust(descriptor, &now, then)
                }
                None => self.reinsert(descriptor, then),
            };
            if let Err(why) = put {
                report.descriptors.push((fd, why));
            }
        }
        self.descriptors = then.descriptors.clone();
        self.waiting.clone_from(&then.waiting);
        report
    }

    /// The descriptor is open and stands for what it stood for.
    fn adjust(
        &mut self,
        then: &OpenDescriptor,
        now: &OpenDescriptor,
        state: &LiveState,
    ) -> Result<(), String> {
        let fd = then.fd;
        match self.handles.entries.get(&fd).and_then(|entry| entry.opened.clone()) {
            Some(Opened::File(file)) => {
                if then.fdflags != now.fdflags
                    && let Some(bits) = then.fdflags
                {
                    let none = &mut GuestMemory::Unshared(&mut []);
                    let bits = types::Fdflags::from_bits_truncate(bits);
                    wait(self.ctx.fd_fdstat_set_flags(none, fd.into(), bits)).map_err(in_words)?;
                    if let (Some(opened), Some(entry)) =
                        (self.handles.slot.take(), self.handles.entries.get_mut(&fd))
                    {
                        entry.opened = Some(opened);
                    }
                }
                let stdin_moved = then.target == Target::Stdin
                    && self.descriptors.stdin() != state.descriptors.stdin();
                if then.target != now.target || stdin_moved {
                    position(&file, then, state)?;
                }
            }
            Some(Opened::Directory(directory)) => {
                directory.set_listing(state.listings.get(&fd).cloned().flatten());
            }
            None => {}
        }
        Ok(())
    }

    /// The descriptor was closed, or stands for something else now.
    fn reinsert(&mut self, then: &OpenDescriptor, state: &LiveState) -> Result<(), String> {
        let fd = then.fd;
        let entry = state.entries.get(&fd).cloned();
        match (&then.target, entry.as_ref().and_then(|entry| entry.opened.clone())) {
            (Target::Stdout, _) => {
                let out = config::standard_output(&self.handles.standard.stdout);
                self.ctx.insert_file(fd, out, FileAccessMode::WRITE);
            }
            (Target::Stderr, _) => {
                let out = config::standard_error(&self.handles.standard.stderr);
                self.ctx.insert_file(fd, out, FileAccessMode::WRITE);
            }
            (Target::Socket(number), _) => {
                let socket = self.handles.sockets.get(*number as usize).and_then(Option::as_ref);
                let socket = socket.ok_or("the program had closed this listening socket")?;
                let mut file = config::listening(socket).map_err(|e| e.to_string())?;
                if let Some(bits) = then.fdflags {
                    wait(file.set_fdflags(flags(bits))).map_err(in_words)?;
                }
                self.ctx.insert_file(fd, file, FileAccessMode::all());
            }
            (Target::Preopen(number), Some(Opened::Directory(directory))) => {
                directory.set_listing(state.listings.get(&fd).cloned().flatten());
                let name = self.handles.names.get(*number as usize).cloned().unwrap_or_default();
                self.ctx.insert_dir(fd, Box::new(directory), PathBuf::from(name));
            }
            (Target::Opened(_), Some(Opened::Directory(directory))) => {
                directory.set_listing(state.listings.get(&fd).cloned().flatten());
                self.insert_directory(fd, directory).map_err(in_words)?;
            }
            (Target::Opened(opened), Some(Opened::File(mut file))) => {
                if let Some(bits) = then.fdflags {
                    wait(file.set_fdflags(flags(bits))).map_err(in_words)?;
                    self.handles.slot.take();
                }
                position(&file, then, state)?;
                let rights = types::Rights::from_bits_truncate(opened.rights);
                let mut mode = FileAccessMode::empty();
                mode.set(FileAccessMode::READ, rights.contains(types::Rights::FD_READ));
                mode.set(FileAccessMode::WRITE, rights.contains(types::Rights::FD_WRITE));
                self.ctx.insert_file(fd, Box::new(file), mode);
            }
            (Target::Stdin, Some(Opened::File(file))) => {
                position(&file, then, state)?;
                self.ctx.insert_file(fd, Box::new(file), FileAccessMode::READ);
            }
            (Target::Connection, _) => {
                tracing::warn!(
                    "the connection of descriptor {fd} is gone; to the program it looks as if the other side had reset it"
                );
                let gone = Box::new(GoneConnection::new());
                self.ctx.insert_file(fd, gone, FileAccessMode::all());
            }
            (_, _) => return Err("nothing is known that it could stand for".to_owned()),
        }
        if let Some(entry) = entry {
            self.handles.entries.insert(fd, entry);
        }
        Ok(())
    }

    /// Upstream's entry for a directory that is not preopened can only be made by opening one.
    fn insert_directory(&mut self, fd: u32, directory: Directory) -> Result<(), Error> {
        let table = self.ctx.table();
        let scratch = (0..).find(|fd| !table.contains_key(*fd)).unwrap_or(u32::MAX);
        self.ctx.insert_dir(scratch, Box::new(Again(directory)), PathBuf::new());
        let memory = &mut GuestMemory::Unshared(&mut [b'.']);
        let (lookup, flags) = (types::Lookupflags::empty(), types::Fdflags::empty());
        let (oflags, rights) = (types::Oflags::DIRECTORY, types::Rights::FD_READ);
        let (name, at) = (GuestPtr::<str>::new((0, 1)), types::Fd::from(scratch));
        let opened =
            wait(self.ctx.path_open(memory, at, lookup, name, oflags, rights, rights, flags));
        wait(self.ctx.fd_close(&mut GuestMemory::Unshared(&mut []), at))?;
        self.ctx.table().renumber(opened?.into(), fd)
    }
}

/// Opens as a directory that is open already.
pub(super) struct Again(pub Directory);

#[async_trait::async_trait]
impl WasiDir for Again {
    fn as_any(&self) -> &dyn Any {
        self
    }

    async fn open_file(
        &self,
        _symlink_follow: bool,
        _path: &str,
        _oflags: OFlags,
        _read: bool,
        _write: bool,
        _fdflags: FdFlags,
    ) -> Result<OpenResult, Error> {
        Ok(OpenResult::Dir(Box::new(self.0.clone())))
    }
}

/// Sets the position in a file to what it was. What has no positions has none to be set.
fn position(file: &OpenFile, then: &OpenDescriptor, state: &LiveState) -> Result<(), String> {
    let to = match &then.target {
        Target::Opened(opened) => opened.position.map_or(SeekFrom::End(0), SeekFrom::Start),
        Target::Stdin => SeekFrom::Start(state.descriptors.stdin()),
        _ => return Ok(()),
    };
    match wait(file.get_filetype()) {
        Ok(wasi_common::file::FileType::RegularFile) => {
            wait(file.seek(to)).map(drop).map_err(in_words)
        }
        _ => Ok(()),
    }
}

fn in_words(error: Error) -> String {
    super::errno::of(error).map_or_else(|what| what, |errno| errno.name().to_owned())
}
