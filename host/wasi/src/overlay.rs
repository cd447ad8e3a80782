//! A private layer of files above the preopened directories: the guest's writes go there, and nowhere else.
//!
//! To the guest it looks as if it wrote to the directories themselves. What it did can be looked at
//! ([`Overlay::changes`]), taken back ([`Overlay::restore`] to a [`Overlay::snapshot`]), gone on with in two ways
//! ([`Overlay::fork`]) and, in the end, applied to the directories ([`Overlay::commit`]). A trace has the layer of every
//! moment as a list of edits ([`Overlay::take_edits`], [`Overlay::apply`]).
//!
//! - A file from below that is written to is not copied: the layer has the pages that were written, the rest is read from below.
//! - Pages are in memory up to a budget that a layer shares with all that came from it, then in a file; see [`pages`].
//! - A snapshot shares everything with the layer and costs nothing, but that the next change of a directory copies the
//!   names that differ in it.
//! - A layer is a function of the edits alone: neither snapshots nor open files change what it is.
//! - Permissions are those of below for reading; everything can be written to.
//! - Preopened directories that are the same below, or lie in each other, are different ones here: each has what was written to it.
//!   A file can be renamed from one to another.
//! - A directory is 0 bytes long and has one name. A file with two names below is two files, once one of them was written to.
//! - Pipes, sockets and devices are no files: they are opened as they are.
//! - Names that differ in nothing but case are different names, also above a directory that takes them for the same.
//! - What others change below is seen where the guest has not changed it itself.
//!
//! Does not name `wasi-common`: `live::overlay_fs` shows this to it.

mod below;
mod changes;
mod commit;
mod content;
mod layer;
mod operations;
mod pages;
mod trie;
mod walk;

pub use changes::{Change, ChangeKind};
pub use commit::{CommitError, Committed};
pub use operations::{Listed, NewTime, OpenHow};

use crate::guest_path;
use below::{Beneath, Lowers};
use cap_std::fs::Dir;
use layer::{Body, Layer};
use pages::PageStore;
use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use walk::{FileRef, World};
use wrr_trace::{BelowKind, Edit, Errno, Place};

/// So many bytes of pages are in memory, if nobody says otherwise.
const MEMORY_BYTES_MAX: usize = 256 << 20;

/// How a layer keeps what was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OverlayOptions {
    /// So much is kept in memory, in bytes; the rest in a file without a name.
    pub memory_bytes_max: usize,
    /// That file's greatest length in bytes: a guest that writes more is told that there is no space.
    pub spill_bytes_max: u64,
    /// Where it is; where the system keeps temporary files, if nobody says otherwise.
    pub spill_dir: Option<PathBuf>,
    /// Whoever runs the program applies the layer to the directories when it ends with exit code 0.
    pub commit: bool,
}

impl Default for OverlayOptions {
    fn default() -> OverlayOptions {
        OverlayOptions {
            memory_bytes_max: MEMORY_BYTES_MAX,
            spill_bytes_max: u64::MAX,
            spill_dir: None,
            commit: false,
        }
    }
}

/// What keeps something from being done in a layer.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// The guest is told this.
    #[error("{}", .0.name())]
    Errno(Errno),
    /// The system's reason.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// An edit that no layer has made.
    #[error("the layer's edits do not fit each other: {0}")]
    Edit(String),
}

/// Under which key it is counted how often a file is open.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Holder {
    Place(Place),
    Token(u64),
}

/// What a file's metadata says. Times are nanoseconds since 1970; 0 if there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat {
    /// A number that tells it apart from other files, the same on every host.
    pub inode: u64,
    /// The number of the file's type.
    pub kind: u8,
    /// How many names it has.
    pub links: u64,
    /// Its length in bytes.
    pub size: u64,
    /// When it was read last, or set.
    pub accessed_ns: u64,
    /// When it was changed last.
    pub modified_ns: u64,
    /// When it was made.
    pub created_ns: u64,
}

/// What was opened.
pub enum Opened<T> {
    /// A file.
    File(T),
    /// A directory.
    Directory(T),
    /// Something of the host's that is neither.
    Other(cap_std::fs::File),
}

/// A directory below a layer.
pub struct Lower {
    /// What the guest calls it.
    pub name: String,
    /// Itself, if it was given.
    pub dir: Option<Dir>,
}

/// A private layer of files. Clones are the same layer.
#[derive(Clone)]
pub struct Overlay {
    world: Arc<Mutex<World>>,
    names: Arc<[String]>,
    options: OverlayOptions,
}

/// A layer as it was at a moment.
#[derive(Clone)]
pub struct OverlaySnapshot(Layer);

/// A file of the layer, or of below, that is open.
pub struct Handle {
    overlay: Overlay,
    file: FileRef,
}

impl Overlay {
    /// A layer above these directories, in which nothing differs from them; in the order of the preopened directories. Without
    /// times, if a run of it shall be the same as the next.
    #[must_use]
    pub fn new(lowers: Vec<Lower>, timeless: bool, options: OverlayOptions) -> Overlay {
        let (names, dirs): (Vec<_>, Vec<_>) =
            lowers.into_iter().map(|lower| (lower.name, lower.dir)).unzip();
        let spill_dir = options.spill_dir.clone();
        let store = PageStore::new(options.memory_bytes_max, options.spill_bytes_max, spill_dir);
        let layer = Layer::new(dirs.len() as u32, Some(store));
        let lowers = Lowers::new(dirs, timeless);
        let world = World { layer, lowers, holders: HashMap::new(), journal: None, timeless };
        Overlay { world: Arc::new(Mutex::new(world)), names: names.into(), options }
    }

    /// How it was made.
    #[must_use]
    pub fn options(&self) -> &OverlayOptions {
        &self.options
    }

    /// What the guest calls a place.
    #[must_use]
    pub fn shown(&self, place: &Place) -> String {
        guest_path::shown(&self.names, place)
    }

    fn world(&self) -> MutexGuard<'_, World> {
        // A panic while it is locked is a bug of ours; an edit is carried out as a whole, so going on is safe.
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The layer as it is now. Costs next to nothing.
    #[must_use]
    pub fn snapshot(&self) -> OverlaySnapshot {
        OverlaySnapshot(self.world().layer.clone())
    }

    /// Makes the layer what it was. Files that are open and were there then stay open; to the others every call is answered with
    /// `stale`. Edits that nobody has taken are forgotten.
    pub fn restore(&self, snapshot: &OverlaySnapshot) {
        let mut world = self.world();
        world.layer = snapshot.0.clone();
        if let Some(journal) = &mut world.journal {
            journal.clear();
        }
    }

    /// A layer of its own above the same directories, which begins as this one was. Nothing is open in it.
    #[must_use]
    pub fn fork(&self, snapshot: &OverlaySnapshot) -> Overlay {
        let world = self.world();
        let world = World {
            layer: snapshot.0.clone(),
            lowers: world.lowers.clone(),
            holders: HashMap::new(),
            journal: None,
            timeless: world.timeless,
        };
        Overlay { world: Arc::new(Mutex::new(world)), ..self.clone() }
    }

    /// BLAKE3 of everything in the layer that has a name, or is one of the files that are `open`.
    ///
    /// # Errors
    /// What was spilled cannot be read.
    pub(crate) fn hash<'a>(
        &self,
        open: impl IntoIterator<Item = &'a Handle>,
    ) -> std::io::Result<[u8; 32]> {
        let world = self.world();
        let open = open.into_iter().filter_map(|handle| world.node_of(&handle.file).ok().flatten());
        let open: BTreeSet<u64> = open.collect();
        world.layer.hash(&open)
    }

    /// What differs from the directories, sorted by place.
    #[must_use]
    pub fn changes(&self) -> Vec<Change> {
        self.world().layer.changes()
    }

    /// From now on edits are kept for [`Overlay::take_edits`].
    pub fn keep_edits(&self) {
        self.world().journal.get_or_insert_default();
    }

    /// The edits since the last call; empty without [`Overlay::keep_edits`].
    #[must_use]
    pub fn take_edits(&self) -> Vec<Edit> {
        self.world().journal.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Carries out an edit that a trace holds. It is not given out again.
    ///
    /// # Errors
    /// The edit is impossible here; there is no room for what it writes.
    pub fn apply(&self, edit: &Edit) -> Result<(), Fault> {
        let world = &mut *self.world();
        world.layer.apply(edit, &world.lowers)
    }

    /// How many bytes of pages are in memory, and how many bytes long the file behind that is, of this layer with
    /// all snapshots and forks.
    #[must_use]
    pub fn used_bytes(&self) -> (usize, u64) {
        self.world().layer.store().map_or((0, 0), PageStore::used_bytes)
    }

    /// Files whose bytes are partly those below, where those are certainly not what they were when the guest first wrote to them:
    /// they are gone, or have another length. Of others whose times have changed the log tells.
    #[must_use]
    pub fn changed_below(&self) -> Vec<String> {
        let world = self.world();
        let mut changed = Vec::new();
        for number in world.layer.numbers() {
            let Some(node) = world.layer.node(number) else { continue };
            let (Body::File(content), Some((place, was))) = (&node.body, node.origin.as_deref())
            else {
                continue;
            };
            if node.links == 0 || !content.needs_below() {
                continue;
            }
            match world.lowers.look(place) {
                Ok(Some(now)) if now.kind == BelowKind::File && now.size == was.size => {
                    if now.modified_ns != was.modified_ns {
                        tracing::warn!(
                            "{} has another time than when the program first wrote to it; of what it did not overwrite the contents now count",
                            self.shown(place)
                        );
                    }
                }
                Ok(_) | Err(_) => changed.push(self.shown(place)),
            }
        }
        changed.sort();
        changed
    }

    /// All of a file, by the path that the guest would open.
    ///
    /// # Errors
    /// The errno that the guest would get; the system's.
    pub fn read_file(&self, path: &str) -> Result<Vec<u8>, Fault> {
        let file = self.opened(path, OpenHow { follow: true, read: true, ..OpenHow::default() })?;
        let mut bytes = Vec::new();
        let mut piece = vec![0; 1 << 16];
        loop {
            match file.read(bytes.len() as u64, &mut piece)? {
                0 => return Ok(bytes),
                count => bytes.extend_from_slice(&piece[..count]),
            }
        }
    }

    /// Gives a file these contents, and makes it if it is not there, by the path that the guest would open.
    ///
    /// # Errors
    /// As [`Overlay::read_file`]; there is no room: then the file has the beginning.
    pub fn write_file(&self, path: &str, bytes: &[u8]) -> Result<(), Fault> {
        let how = OpenHow {
            follow: true,
            create: true,
            truncate: true,
            write: true,
            ..OpenHow::default()
        };
        let file = self.opened(path, how)?;
        let mut done = 0;
        while done < bytes.len() {
            done += file.write(done as u64, &bytes[done..])?;
        }
        Ok(())
    }

    /// Takes a file away, by the path that the guest would use.
    ///
    /// # Errors
    /// As [`Overlay::read_file`].
    pub fn remove_file(&self, path: &str) -> Result<(), Fault> {
        let (root, rest) = self.top(path)?;
        root.unlink(rest)
    }

    /// The names in a directory, sorted, by the path that the guest would open.
    ///
    /// # Errors
    /// As [`Overlay::read_file`].
    pub fn list_directory(&self, path: &str) -> Result<Vec<String>, Fault> {
        let (root, rest) = self.top(path)?;
        let how = OpenHow { follow: true, read: true, directory: true, ..OpenHow::default() };
        match root.open(rest, how)? {
            Opened::Directory(dir) => Ok(dir.list()?.into_iter().map(|entry| entry.name).collect()),
            Opened::File(_) | Opened::Other(_) => Err(Fault::Errno(Errno::notdir)),
        }
    }

    /// The file that had its last name at a place and has none any more, if there is just one.
    pub(crate) fn unlinked_at(&self, place: &Place) -> Option<Handle> {
        let mut world = self.world();
        let numbers = world.layer.numbers().into_iter().filter(|number| {
            let node = world.layer.node(*number);
            node.is_some_and(|node| node.links == 0 && node.last.as_deref() == Some(place))
        });
        let numbers: Vec<u64> = numbers.collect();
        match numbers[..] {
            [number] => {
                let file = world.reference(number)?;
                Some(self.handle(&mut world, file))
            }
            _ => None,
        }
    }

    fn top<'a>(&self, path: &'a str) -> Result<(Handle, &'a str), Fault> {
        let (preopen, rest) =
            guest_path::resolve(&self.names, path).ok_or(Fault::Errno(Errno::noent))?;
        Ok((self.root(preopen), rest))
    }

    fn opened(&self, path: &str, how: OpenHow) -> Result<Handle, Fault> {
        let (root, rest) = self.top(path)?;
        match root.open(rest, how)? {
            Opened::File(file) => Ok(file),
            Opened::Directory(_) => Err(Fault::Errno(Errno::isdir)),
            Opened::Other(_) => Err(Fault::Errno(Errno::notsup)),
        }
    }

    /// A preopened directory.
    pub(crate) fn root(&self, preopen: u32) -> Handle {
        self.handle(&mut self.world(), FileRef::Below(Place { preopen, path: String::new() }))
    }

    fn handle(&self, world: &mut World, file: FileRef) -> Handle {
        world.hold(&file);
        Handle { overlay: self.clone(), file }
    }
}

/// A layer without its files' contents and without directories: for looking at what a trace says.
pub struct LayerOutline(Layer);

impl LayerOutline {
    /// A layer above so many directories, in which nothing differs from them.
    #[must_use]
    pub fn new(preopens: u32) -> LayerOutline {
        LayerOutline(Layer::new(preopens.min(1 << 16), None))
    }

    /// Carries out an edit.
    ///
    /// # Errors
    /// The edit is impossible here.
    pub fn apply(&mut self, edit: &Edit) -> Result<(), Fault> {
        self.0.apply(edit, &Nothing)
    }

    /// What differs from the directories, sorted by place.
    #[must_use]
    pub fn changes(&self) -> Vec<Change> {
        self.0.changes()
    }
}

/// No directory.
struct Nothing;

impl Beneath for Nothing {
    fn read(&self, _: &Place, _: u64, _: &mut [u8]) -> std::io::Result<usize> {
        Ok(0)
    }
}

impl Clone for Handle {
    fn clone(&self) -> Handle {
        self.overlay.handle(&mut self.overlay.world(), self.file.clone())
    }
}

impl Handle {
    /// Whether it is of this layer.
    fn is_of(&self, overlay: &Overlay) -> bool {
        Arc::ptr_eq(&self.overlay.world, &overlay.world)
    }

    /// The same file in a layer that came from this one.
    pub(crate) fn of(&self, overlay: &Overlay) -> Handle {
        overlay.handle(&mut overlay.world(), self.file.clone())
    }

    pub(crate) fn open(&self, path: &str, how: OpenHow) -> Result<Opened<Handle>, Fault> {
        let mut world = self.overlay.world();
        Ok(match world.open(&self.file, path, how)? {
            Opened::File(file) => Opened::File(self.overlay.handle(&mut world, file)),
            Opened::Directory(file) => Opened::Directory(self.overlay.handle(&mut world, file)),
            Opened::Other(file) => Opened::Other(file),
        })
    }

    pub(crate) fn is_directory(&self) -> bool {
        self.stat().is_ok_and(|stat| stat.kind == below::DIRECTORY)
    }

    pub(crate) fn stat(&self) -> Result<Stat, Fault> {
        self.overlay.world().stat(&self.file)
    }

    pub(crate) fn stat_at(&self, path: &str, follow: bool) -> Result<Stat, Fault> {
        self.overlay.world().stat_at(&self.file, path, follow)
    }

    pub(crate) fn list(&self) -> Result<Vec<Listed>, Fault> {
        self.overlay.world().list(&self.file)
    }

    pub(crate) fn make_directory(&self, path: &str) -> Result<(), Fault> {
        self.overlay.world().make_directory(&self.file, path)
    }

    pub(crate) fn make_link(&self, target: &str, path: &str) -> Result<(), Fault> {
        self.overlay.world().make_link(&self.file, target, path)
    }

    pub(crate) fn read_link(&self, path: &str) -> Result<String, Fault> {
        self.overlay.world().read_link(&self.file, path)
    }

    pub(crate) fn remove_directory(&self, path: &str) -> Result<(), Fault> {
        self.overlay.world().remove_directory(&self.file, path)
    }

    pub(crate) fn unlink(&self, path: &str) -> Result<(), Fault> {
        self.overlay.world().unlink(&self.file, path)
    }

    pub(crate) fn rename(&self, path: &str, to: &Handle, to_path: &str) -> Result<(), Fault> {
        if !to.is_of(&self.overlay) {
            return Err(Fault::Errno(Errno::xdev));
        }
        self.overlay.world().rename((&self.file, path), (&to.file, to_path))
    }

    pub(crate) fn hard_link(&self, path: &str, to: &Handle, to_path: &str) -> Result<(), Fault> {
        if !to.is_of(&self.overlay) {
            return Err(Fault::Errno(Errno::xdev));
        }
        self.overlay.world().hard_link((&self.file, path), (&to.file, to_path))
    }

    pub(crate) fn set_times(
        &self,
        accessed: Option<NewTime>,
        modified: Option<NewTime>,
    ) -> Result<(), Fault> {
        self.overlay.world().set_times(&self.file, accessed, modified)
    }

    pub(crate) fn set_times_at(
        &self,
        path: &str,
        follow: bool,
        accessed: Option<NewTime>,
        modified: Option<NewTime>,
    ) -> Result<(), Fault> {
        self.overlay.world().set_times_at(&self.file, path, follow, accessed, modified)
    }

    pub(crate) fn read(&self, offset: u64, out: &mut [u8]) -> Result<usize, Fault> {
        self.overlay.world().read(&self.file, offset, out)
    }

    pub(crate) fn write(&self, offset: u64, data: &[u8]) -> Result<usize, Fault> {
        self.overlay.world().write(&self.file, offset, data)
    }

    /// Writes at the end, and gives how much and where.
    pub(crate) fn append(&self, data: &[u8]) -> Result<(usize, u64), Fault> {
        self.overlay.world().append(&self.file, data)
    }

    pub(crate) fn resize(&self, size: u64) -> Result<(), Fault> {
        self.overlay.world().resize(&self.file, size)
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.overlay.world().release(&self.file);
    }
}

#[cfg(test)]
pub(crate) use below::nanoseconds as nanoseconds_for_tests;
