//! Applies a layer to the directories below it.
//!
//! In four steps, so that what can fail fails before anything has changed:
//! 1. what the layer was made above must still be there as it was, and nothing where the layer has something new;
//! 2. the contents of all files are written into a folder of their own in the directory that they belong to;
//! 3. from the deepest place up, what has another place now is moved into such a folder, and what was removed is removed;
//! 4. from the top down, everything is put where it belongs.
//!
//! Steps 3 and 4 only rename, remove and make names. The layer itself is not touched.

use super::Overlay;
use super::below::Lowers;
use super::layer::{Body, Entry, Layer, Node};
use super::walk::World;
use cap_fs_ext::{DirExt as _, SystemTimeSpec};
use cap_std::fs::Dir;
use std::collections::BTreeMap;
use std::io::{Seek as _, SeekFrom, Write as _};
use std::time::{Duration, SystemTime};
use wrr_trace::{Below, BelowKind, Place};

/// Contents are copied in pieces of this many bytes.
const PIECE_BYTES: usize = 1 << 20;

/// What was applied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Committed {
    /// Files that were written, as new or with new contents.
    pub files: u64,
    /// Directories and links that were made, and further names of files.
    pub made: u64,
    /// What was moved.
    pub moved: u64,
    /// What was removed.
    pub removed: u64,
}

/// Why a layer could not be applied. Paths are the guest's.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CommitError {
    /// Somebody else has changed what is below.
    #[error(
        "somebody else has changed what the program has changed as well, so nothing was applied:{}",
        .paths.iter().map(|path| format!("\n  - {path}")).collect::<String>()
    )]
    Conflict {
        /// Where.
        paths: Vec<String>,
    },
    /// A directory that the program has changed was not given.
    #[error("the directory {name} was not given, so nothing was applied; add --dir HOST::{name}")]
    NotGiven {
        /// What the guest calls it.
        name: String,
    },
    /// The system refused before anything had changed.
    #[error("cannot {action} {path}: {source}; nothing was applied")]
    Prepare {
        /// What was tried.
        action: &'static str,
        /// Where.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// The system refused in the middle.
    #[error(
        "cannot {action} {path}: {source}; what stood before it is applied, what was to follow is in the folders {folder}* beside it"
    )]
    Apply {
        /// What was tried.
        action: &'static str,
        /// Where.
        path: String,
        /// Why.
        source: std::io::Error,
        /// How the names of the folders begin.
        folder: &'static str,
    },
}

/// How the names of the folders begin in which a commit prepares what it will put in place.
const FOLDER: &str = ".wrr-commit-";

/// What keeps one step from being done.
struct Refused {
    action: &'static str,
    place: Place,
    source: std::io::Error,
}

fn refused<'a>(
    action: &'static str,
    place: &'a Place,
) -> impl FnOnce(std::io::Error) -> Refused + 'a {
    move |source| Refused { action, place: place.clone(), source }
}

impl Overlay {
    /// Makes the directories what they look like through the layer.
    ///
    /// # Errors
    /// [`CommitError`]; only after [`CommitError::Apply`] something has changed.
    pub fn commit(&self) -> Result<Committed, CommitError> {
        let world = &*self.world();
        let plan = Plan::of(&world.layer);
        for preopen in plan.preopens() {
            if world.lowers.dir(preopen).is_err() {
                let name = self.shown(&Place { preopen, path: String::new() });
                return Err(CommitError::NotGiven { name });
            }
        }
        let conflicts = plan.conflicts(world);
        if !conflicts.is_empty() {
            let paths = conflicts.iter().map(|place| self.shown(place)).collect();
            return Err(CommitError::Conflict { paths });
        }
        let mut work =
            Work { world, plan: &plan, folders: BTreeMap::new(), done: Committed::default() };
        if let Err(Refused { action, place, source }) = work.prepare() {
            work.clean_up();
            return Err(CommitError::Prepare { action, path: self.shown(&place), source });
        }
        world.lowers.close_files();
        if let Err(Refused { action, place, source }) = work.apply() {
            let (path, folder) = (self.shown(&place), FOLDER);
            return Err(CommitError::Apply { action, path, source, folder });
        }
        work.clean_up();
        Ok(work.done)
    }
}

/// What is to be done.
struct Plan<'a> {
    layer: &'a Layer,
    /// The directories of the layer that can be reached, each after the one that it is in, with their places.
    directories: Vec<(u64, Place)>,
    /// The names of each node that can be reached.
    names: BTreeMap<u64, Vec<Place>>,
    /// What is moved out of the way or removed, the deepest first.
    leaving: Vec<(Place, Leaving)>,
    /// In which preopened directory what is moved waits.
    moved: BTreeMap<u64, u32>,
}

enum Leaving {
    /// A node that has another place now.
    Moved(u64),
    /// What has none any more.
    Removed(Below),
}

/// What is in a directory's place below, and what it is.
fn hidden(node: &Node) -> impl Iterator<Item = (Place, &Entry, &Below)> {
    let entries = node.place().zip(node.directory()).into_iter();
    entries.flat_map(|(place, directory)| {
        directory
            .entries
            .iter()
            .filter_map(move |(name, entry)| Some((place.at(name), entry, entry.hides.as_ref()?)))
    })
}

impl<'a> Plan<'a> {
    fn of(layer: &'a Layer) -> Plan<'a> {
        let mut plan = Plan {
            layer,
            directories: Vec::new(),
            names: BTreeMap::new(),
            leaving: Vec::new(),
            moved: BTreeMap::new(),
        };
        for number in layer.numbers() {
            let root = layer.node(number).and_then(Node::place);
            if let Some(root) = root.filter(|place| place.path.is_empty()) {
                plan.directories.push((number, root.clone()));
            }
        }
        let mut next = 0;
        while let Some((number, place)) = plan.directories.get(next).cloned() {
            next += 1;
            let Some(dir) = layer.node(number) else { continue };
            let Some(directory) = dir.directory() else { continue };
            for (name, entry) in &*directory.entries {
                let Some(child) = entry.node else { continue };
                let below = dir.place().map(|below| below.at(name));
                let stays =
                    below.is_some() && layer.node(child).and_then(Node::place) == below.as_ref();
                let place = place.at(name);
                if layer.node(child).is_some_and(|node| node.directory().is_some()) {
                    plan.directories.push((child, place.clone()));
                }
                // Its first name is the one that it has below, also if the directory with it has another place now.
                let names = plan.names.entry(child).or_default();
                names.insert(if stays { 0 } else { names.len() }, place);
            }
        }
        for number in layer.numbers() {
            let Some(node) = layer.node(number) else { continue };
            for (place, entry, below) in hidden(node) {
                let there = entry.node.and_then(|number| layer.node(number)).and_then(Node::place);
                if there == Some(&place) {
                    continue;
                }
                let moved = layer.at_place(&place).filter(|number| plan.names.contains_key(number));
                let leaving = match moved {
                    Some(number) if !plan.is_copied(number) => {
                        plan.moved.insert(number, place.preopen);
                        Leaving::Moved(number)
                    }
                    _ => Leaving::Removed(below.clone()),
                };
                plan.leaving.push((place, leaving));
            }
        }
        let depth = |place: &Place| place.path.split('/').count();
        plan.leaving.sort_by(|(a, _), (b, _)| depth(b).cmp(&depth(a)).then_with(|| a.cmp(b)));
        plan
    }

    /// The directories that something is done in.
    fn preopens(&self) -> impl Iterator<Item = u32> {
        let touched = self.directories.iter().filter(|(number, _)| {
            let node = self.layer.node(*number).and_then(Node::directory);
            node.is_some_and(|directory| !directory.entries.is_empty())
        });
        touched.map(|(_, place)| place.preopen)
    }

    /// Whether it is made anew where it belongs: it is from another directory, which may be on another file system.
    fn is_copied(&self, number: u64) -> bool {
        let (Some(node), Some(names)) = (self.layer.node(number), self.names.get(&number)) else {
            return false;
        };
        let other = node
            .place()
            .is_some_and(|origin| names.first().is_some_and(|name| name.preopen != origin.preopen));
        other && node.directory().is_none()
    }

    /// Whether it is a file whose contents are written.
    fn is_written(&self, number: u64, node: &Node) -> bool {
        let Body::File(content) = &node.body else { return false };
        content.touched || node.origin.is_none() || self.is_copied(number)
    }

    /// Where others have been, sorted.
    fn conflicts(&self, world: &World) -> Vec<Place> {
        let mut conflicts = Vec::new();
        for number in self.layer.numbers() {
            let Some(node) = self.layer.node(number) else { continue };
            for (place, _, below) in hidden(node) {
                if !is_as_before(&world.lowers, &place, below) {
                    conflicts.push(place);
                }
            }
            let (Some(place), Some(directory)) = (node.place(), node.directory()) else { continue };
            // What is new must not be there, and nothing else in what was removed.
            for (name, entry) in &*directory.entries {
                let place = place.at(name);
                if entry.hides.is_none() && !matches!(world.lowers.look(&place), Ok(None)) {
                    conflicts.push(place);
                }
            }
            if node.links == 0 {
                let there = world.lowers.list(place).unwrap_or_default();
                let unknown =
                    there.iter().filter(|(name, _)| !directory.entries.contains_key(name));
                conflicts.extend(unknown.map(|(name, _)| place.at(name)));
            }
        }
        conflicts.sort();
        conflicts.dedup();
        conflicts
    }
}

/// Whether what is at a place is what was there when the guest first changed it. Reading changes nothing.
fn is_as_before(lowers: &Lowers, place: &Place, was: &Below) -> bool {
    match lowers.look(place) {
        Ok(Some(now)) => {
            let same = (now.size, now.modified_ns) == (was.size, was.modified_ns);
            now.kind == was.kind && (same || was.kind != BelowKind::File)
        }
        Ok(None) | Err(_) => false,
    }
}

/// The work in progress.
struct Work<'a> {
    world: &'a World,
    plan: &'a Plan<'a>,
    /// The folders in which things wait, by preopened directory.
    folders: BTreeMap<u32, (String, Dir)>,
    done: Committed,
}

impl<'a> Work<'a> {
    fn dir(&self, place: &Place) -> Result<&'a Dir, Refused> {
        let dir = self.world.lowers.dir(place.preopen);
        dir.map_err(|_| refused("open", place)(std::io::ErrorKind::NotFound.into()))
    }

    /// The folder in a preopened directory in which things wait.
    fn folder(&mut self, preopen: u32) -> Result<&Dir, Refused> {
        if !self.folders.contains_key(&preopen) {
            let top = Place { preopen, path: String::new() };
            let dir = self.dir(&top)?;
            let process = std::process::id();
            let mut number = 0;
            let name = loop {
                let name = format!("{FOLDER}{process}-{number}");
                match dir.create_dir(&name) {
                    Ok(()) => break name,
                    Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => number += 1,
                    Err(error) => return Err(refused("make a folder in", &top)(error)),
                }
            };
            let folder = dir.open_dir(&name).map_err(refused("open a folder in", &top))?;
            self.folders.insert(preopen, (name, folder));
        }
        Ok(&self.folders[&preopen].1)
    }

    /// Removes the folders with what still waits in them.
    fn clean_up(&mut self) {
        for (preopen, (name, folder)) in std::mem::take(&mut self.folders) {
            drop(folder);
            if let Ok(dir) = self.world.lowers.dir(preopen)
                && let Err(error) = dir.remove_dir_all(&name)
            {
                tracing::warn!("cannot remove the folder {name}: {error}");
            }
        }
    }

    /// Writes all contents.
    fn prepare(&mut self) -> Result<(), Refused> {
        for (number, names) in &self.plan.names {
            let (Some(node), Some(place)) = (self.plan.layer.node(*number), names.first()) else {
                continue;
            };
            if self.plan.is_written(*number, node) {
                self.write(*number, node, place)?;
            }
        }
        for (place, leaving) in &self.plan.leaving {
            if matches!(leaving, Leaving::Moved(_)) {
                self.folder(place.preopen)?;
            }
        }
        Ok(())
    }

    fn write(&mut self, number: u64, node: &Node, place: &Place) -> Result<(), Refused> {
        let world = self.world;
        let Body::File(content) = &node.body else { return Ok(()) };
        let folder = self.folder(place.preopen)?;
        let file = folder.create(waiting(number)).map_err(refused("write", place))?;
        let mut file = file.into_std();
        let mut piece = vec![0; PIECE_BYTES];
        for (mut offset, end) in content.data() {
            file.seek(SeekFrom::Start(offset)).map_err(refused("write", place))?;
            while offset < end {
                let len = PIECE_BYTES.min(usize::try_from(end - offset).unwrap_or(PIECE_BYTES));
                let read = content.read(node.place(), &world.lowers, offset, &mut piece[..len]);
                let count = read.map_err(refused("read", place))?;
                if count == 0 {
                    break;
                }
                file.write_all(&piece[..count]).map_err(refused("write", place))?;
                offset += count as u64;
            }
        }
        file.set_len(content.size).map_err(refused("write", place))?;
        if let Some(origin) = node.place()
            && let Ok(metadata) = self.dir(origin)?.metadata(&origin.path)
        {
            let permissions = metadata.permissions().into_std(&file);
            let set = permissions.and_then(|permissions| file.set_permissions(permissions));
            set.map_err(refused("give the old permissions to", place))?;
        }
        drop(file);
        let times = set_times(self.folder(place.preopen)?, &waiting(number), node);
        times.map_err(refused("set the times of", place))
    }

    /// Puts everything where it belongs.
    fn apply(&mut self) -> Result<(), Refused> {
        for (place, leaving) in &self.plan.leaving {
            let dir = self.dir(place)?;
            match leaving {
                Leaving::Moved(number) => {
                    let (_, folder) = &self.folders[&place.preopen];
                    let moved = dir.rename(&place.path, folder, moving(*number));
                    moved.map_err(refused("move", place))?;
                    self.done.moved += 1;
                }
                Leaving::Removed(below) => {
                    let removed = match below.kind {
                        BelowKind::Directory => dir.remove_dir(&place.path),
                        _ => dir.remove_file_or_symlink(&place.path),
                    };
                    removed.map_err(refused("remove", place))?;
                    self.done.removed += 1;
                }
            }
        }
        // A file that has several names is put under the first one before it gets the others.
        for further in [false, true] {
            for (number, at) in &self.plan.directories {
                let directory = self.plan.layer.node(*number).and_then(Node::directory);
                for (name, entry) in directory.iter().flat_map(|dir| dir.entries.iter()) {
                    let Some(child) = entry.node else { continue };
                    let place = at.at(name);
                    let first = self.plan.names.get(&child).and_then(|names| names.first());
                    match (self.plan.layer.node(child), first) {
                        (Some(node), Some(first)) if *first == place && !further => {
                            self.put(child, node, &place)?;
                        }
                        (Some(_), Some(first)) if *first != place && further => {
                            let linked = self.dir(first)?.hard_link(
                                &first.path,
                                self.dir(&place)?,
                                &place.path,
                            );
                            linked.map_err(refused("link", &place))?;
                            self.done.made += 1;
                        }
                        _ => {}
                    }
                }
            }
        }
        Ok(())
    }

    /// Puts something where it belongs. Everything before it is in its place.
    fn put(&mut self, number: u64, node: &Node, place: &Place) -> Result<(), Refused> {
        let dir = self.dir(place)?;
        let moved = self.plan.moved.get(&number);
        if let Some(from) = moved {
            let (_, folder) = &self.folders[from];
            let put = folder.rename(moving(number), dir, &place.path);
            put.map_err(refused("move to", place))?;
        }
        let is_there =
            moved.is_some() || (node.origin.is_some() && dir.symlink_metadata(&place.path).is_ok());
        match &node.body {
            Body::File(_) => {
                if self.plan.is_written(number, node)
                    && let Some((_, folder)) = self.folders.get(&place.preopen)
                {
                    let put = folder.rename(waiting(number), dir, &place.path);
                    put.map_err(refused("write", place))?;
                    self.done.files += 1;
                } else if has_other_times(node) {
                    let times = set_times(dir, &place.path, node);
                    times.map_err(refused("set the times of", place))?;
                }
                Ok(())
            }
            Body::Directory(_) if !is_there => {
                dir.create_dir(&place.path).map_err(refused("make the directory", place))?;
                self.done.made += 1;
                Ok(())
            }
            Body::Link(target) => {
                if !is_there {
                    let made = dir.symlink(as_host(target), &place.path);
                    made.map_err(refused("make the link", place))?;
                    self.done.made += 1;
                }
                if !is_there || has_other_times(node) {
                    let times = set_times(dir, &place.path, node);
                    times.map_err(refused("set the times of", place))?;
                }
                Ok(())
            }
            Body::Directory(_) | Body::Other(_) => Ok(()),
        }
    }
}

/// The target of a link as the system has it.
fn as_host(target: &str) -> String {
    if cfg!(windows) { target.replace('/', "\\") } else { target.to_owned() }
}

/// The name under which contents wait.
fn waiting(number: u64) -> String {
    format!("new-{number}")
}

/// The name under which something waits that is moved.
fn moving(number: u64) -> String {
    format!("moved-{number}")
}

/// Sets the times of something that the guest has set, or set by writing, if there are any.
fn set_times(dir: &Dir, path: &str, node: &Node) -> std::io::Result<()> {
    let time = |ns| match ns {
        0 => None,
        ns => SystemTime::UNIX_EPOCH.checked_add(Duration::from_nanos(ns)),
    };
    let time =
        |ns| time(ns).map(|time| SystemTimeSpec::from(cap_std::time::SystemTime::from_std(time)));
    let (accessed, modified) = (time(node.accessed_ns), time(node.modified_ns));
    if accessed.is_none() && modified.is_none() {
        return Ok(());
    }
    dir.set_symlink_times(path, accessed, modified)
}

/// Whether the guest has given other times to something whose contents are those below.
fn has_other_times(node: &Node) -> bool {
    let was = node.origin.as_deref().map(|(_, was)| (was.accessed_ns, was.modified_ns));
    was.is_some_and(|was| was != (node.accessed_ns, node.modified_ns))
}
