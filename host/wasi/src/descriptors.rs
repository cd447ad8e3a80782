//! What the host of a guest knows, computed from its calls and their outcomes.
//!
//! [`Descriptors`] follows every call that opens, closes, moves or renames something, so that a replay on
//! any machine can say which descriptors are open, where, at which position. It asks the operating
//! system nothing; opening the descriptors again is [`crate::Live::resume`]'s work.
//!
//! What events do not tell is not known here: files that others than the guest move, a file reached
//! through a symbolic or hard link when its other name changes, one host directory that is
//! preopened twice.
//!
//! Invariant: the state is a function of the state at the start and the calls with their outcomes.

use crate::virtual_clock::{STEP_NS, VirtualClock};
use std::collections::BTreeMap;
use wrr_trace::{
    Call, Errno, Function, HostState, Input, OpenDescriptor, OpenedFile, Outcome, Place, Reply,
    Shape, Target, WorldState,
};

/// The number of the file type `directory`.
const DIRECTORY: u8 = 3;
/// The oflag that only directories satisfy.
pub(crate) const OFLAGS_DIRECTORY: u16 = 1 << 1;
const OFLAGS_CREAT: u16 = 1;
const OFLAGS_TRUNC: u16 = 1 << 3;
const FDFLAGS_APPEND: u16 = 1;
const WHENCE_END: u64 = 2;

/// What all descriptors may take together in a checkpoint: their paths and this much for each. A
/// hostile trace could open more than fits into memory.
const ROOM_BYTES: usize = 48 << 20;
const DESCRIPTOR_BYTES: usize = 64;

/// A standard stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stream {
    /// Standard input.
    In,
    /// Standard output.
    Out,
    /// Standard error.
    Err,
}

/// A [`HostState`] that cannot have come from a recording.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the checkpoint's descriptors are damaged: {what}; start from another checkpoint")]
pub struct StateError {
    /// What is wrong.
    pub what: String,
}

/// The open descriptors, and what else the host knows. Follows the calls that change that.
#[derive(Clone, Debug)]
pub struct Descriptors {
    open: BTreeMap<u32, OpenDescriptor>,
    next_fd: u32,
    stdin_bytes: u64,
    world: Option<WorldState>,
    /// What the open descriptors take; see [`ROOM_BYTES`].
    used_bytes: usize,
    overflowed: bool,
}

impl Descriptors {
    /// Goes on from a state.
    ///
    /// # Errors
    /// What makes the state impossible.
    pub fn from_state(state: &HostState) -> Result<Descriptors, StateError> {
        check(state)?;
        let open: BTreeMap<_, _> = state.descriptors.iter().map(|d| (d.fd, d.clone())).collect();
        Ok(Descriptors {
            used_bytes: open.values().map(room_bytes).sum(),
            open,
            next_fd: state.next_fd,
            stdin_bytes: state.stdin_bytes,
            world: state.world,
            overflowed: state.overflowed,
        })
    }

    /// What is known now.
    #[must_use]
    pub fn state(&self) -> HostState {
        HostState {
            descriptors: self.open.values().cloned().collect(),
            next_fd: self.next_fd,
            stdin_bytes: self.stdin_bytes,
            world: self.world,
            overflowed: self.overflowed,
        }
    }

    /// The open descriptors, ascending.
    pub(crate) fn descriptors(&self) -> impl Iterator<Item = &OpenDescriptor> {
        self.open.values()
    }

    /// The numbers of the open descriptors, ascending.
    pub(crate) fn open_fds(&self) -> impl Iterator<Item = u32> + '_ {
        self.open.keys().copied()
    }

    /// What is known of a descriptor.
    pub(crate) fn descriptor(&self, fd: u32) -> Option<&OpenDescriptor> {
        self.open.get(&fd)
    }

    /// What a descriptor refers to.
    pub(crate) fn target(&self, fd: u32) -> Option<&Target> {
        self.open.get(&fd).map(|descriptor| &descriptor.target)
    }

    /// The descriptor is not open any more, for another reason than a call.
    pub(crate) fn forget(&mut self, fd: u32) {
        self.open.remove(&fd);
    }

    /// The position in standard input.
    pub(crate) fn stdin(&self) -> u64 {
        self.stdin_bytes
    }

    /// The virtual world, if there is one.
    pub(crate) fn world(&self) -> Option<WorldState> {
        self.world
    }

    /// The standard stream that this descriptor is.
    pub(crate) fn stream(&self, fd: u32) -> Option<Stream> {
        match self.open.get(&fd)?.target {
            Target::Stdin => Some(Stream::In),
            Target::Stdout => Some(Stream::Out),
            Target::Stderr => Some(Stream::Err),
            _ => None,
        }
    }

    /// The descriptors from which a read may wait.
    pub(crate) fn may_wait(&self) -> Vec<u32> {
        let waits = |d: &&OpenDescriptor| match d.target {
            Target::Stdin | Target::Socket(_) | Target::Connection | Target::Opened(_) => true,
            Target::Stdout | Target::Stderr | Target::Preopen(_) => false,
        };
        self.open.values().filter(waits).map(|d| d.fd).collect()
    }

    /// The number of the next descriptor that is opened.
    pub(crate) fn next_free_fd(&self) -> u32 {
        let mut fd = self.next_fd;
        while self.open.contains_key(&fd) {
            fd = fd.wrapping_add(1);
        }
        fd
    }

    /// Notes what a call did.
    pub fn observe(&mut self, call: &Call, outcome: &Outcome) {
        if outcome.errno != Errno::success {
            // Asking for a clock that there is not takes its time, too; a refused call takes none.
            if call.function == Function::ClockTimeGet && outcome.errno == Errno::badf {
                self.pass(STEP_NS);
            }
            return;
        }
        let a = &call.args;
        let fd = a[0] as u32;
        match call.function {
            Function::ClockTimeGet => self.pass(STEP_NS),
            Function::RandomGet => {
                if let Some(world) = &mut self.world {
                    let taken = outcome.data.len() as u64;
                    world.random_bytes = world.random_bytes.saturating_add(taken);
                }
            }
            Function::PollOneoff => self.observe_poll(call, outcome),
            Function::FdRead => self.observe_read(fd, outcome.data.len() as u64),
            Function::FdPread => {
                let len = outcome.data.len() as u64;
                self.with_file(fd, |file, _| reaches(file, a[3], len));
            }
            Function::FdWrite => {
                if let Reply::Number(count) = outcome.reply {
                    self.with_file(fd, |file, append| wrote(file, append, u64::from(count)));
                }
            }
            Function::FdPwrite => {
                if let Reply::Number(count) = outcome.reply {
                    // With `append` it is up to the system whether the offset counts.
                    self.with_file(fd, |file, append| {
                        reaches(file, if append { 0 } else { a[3] }, u64::from(count));
                    });
                }
            }
            Function::FdSeek | Function::FdTell => {
                if let Reply::Wide(position) = outcome.reply {
                    self.observe_position(call, position);
                }
            }
            Function::FdClose => {
                if let Some(closed) = self.open.remove(&fd) {
                    self.used_bytes = self.used_bytes.saturating_sub(room_bytes(&closed));
                }
            }
            Function::FdRenumber => self.renumber(fd, a[1] as u32),
            Function::PathOpen => {
                if let Reply::Number(new) = outcome.reply {
                    self.observe_open(call, new);
                }
            }
            Function::SockAccept => {
                if let Reply::Number(new) = outcome.reply {
                    self.insert(OpenDescriptor {
                        fd: new,
                        target: Target::Connection,
                        fdflags: Some(a[1] as u16),
                        inode: None,
                    });
                }
            }
            Function::FdFdstatSetFlags => {
                if let Some(descriptor) = self.open.get_mut(&fd) {
                    descriptor.fdflags = Some(a[1] as u16);
                }
            }
            Function::FdFdstatGet => {
                if let Reply::Fdstat(stat) = &outcome.reply {
                    self.with_file(fd, |file, _| file.shape = Shape::Told(stat.filetype));
                }
            }
            Function::FdFilestatGet => {
                if let Reply::Filestat(stat) = &outcome.reply {
                    self.with_file(fd, |file, _| {
                        file.shape = Shape::Told(stat.filetype);
                        file.size = stat.size;
                    });
                    self.saw_inode(stat.ino);
                    let numbered = self.world.is_some() && self.stream(fd).is_none();
                    if let Some(descriptor) = self.open.get_mut(&fd).filter(|_| numbered) {
                        descriptor.inode = Some(stat.ino);
                    }
                }
            }
            Function::FdFilestatSetSize => {
                self.with_file(fd, |file, _| file.shape = file.shape.or_not_directory());
                if let Some(place) = self.place(fd).cloned() {
                    self.resized(&place, a[1]);
                }
                self.with_file(fd, |file, _| file.size = a[1]);
            }
            Function::FdAllocate => {
                let end = a[1].saturating_add(a[2]);
                self.with_file(fd, |file, _| file.size = file.size.max(end));
            }
            Function::FdReaddir => {
                self.is_directory(fd);
                if self.world.is_some() {
                    listed_inodes(&outcome.data).for_each(|inode| self.saw_inode(inode));
                }
            }
            Function::PathFilestatGet => {
                self.is_directory(fd);
                if let Reply::Filestat(stat) = &outcome.reply {
                    self.saw_inode(stat.ino);
                }
            }
            Function::PathUnlinkFile | Function::PathRemoveDirectory => {
                self.is_directory(fd);
                if let Input::Path(path) = &call.input
                    && let Some(place) = self.place_at(fd, path)
                {
                    self.unlinked(&place);
                }
            }
            Function::PathRename => {
                if let Input::TwoPaths(from, to) = &call.input
                    && let Some(from) = self.place_at(fd, from)
                    && let Some(to) = self.place_at(a[3] as u32, to)
                {
                    self.renamed(&from, &to);
                }
            }
            _ => {}
        }
    }

    fn pass(&mut self, ns: u64) {
        if let Some(world) = &mut self.world {
            world.elapsed_ns = world.elapsed_ns.saturating_add(ns);
        }
    }

    fn observe_poll(&mut self, call: &Call, outcome: &Outcome) {
        let Some(world) = &mut self.world else { return };
        let (Input::Subscriptions(subscriptions), Reply::Polled(ready)) =
            (&call.input, &outcome.reply)
        else {
            return;
        };
        // A descriptor is ready at once; time passes only if there is none.
        if ready.iter().all(|event| event.kind == 0) {
            let mut clock = VirtualClock { elapsed_ns: world.elapsed_ns };
            let subscriptions = subscriptions.chunks_exact(48);
            let slept = subscriptions.filter_map(|sub| clock.left_ns(sub)).min();
            clock.advance(slept.unwrap_or(0));
            world.elapsed_ns = clock.elapsed_ns;
        }
    }

    fn observe_read(&mut self, fd: u32, len: u64) {
        match self.open.get_mut(&fd).map(|d| &mut d.target) {
            Some(Target::Opened(file)) => {
                file.shape = file.shape.or_not_directory();
                if let Some(position) = file.position.as_mut().filter(|_| len > 0) {
                    *position = position.saturating_add(len);
                    file.size = file.size.max(*position);
                }
            }
            Some(Target::Stdin) => self.stdin_bytes = self.stdin_bytes.saturating_add(len),
            _ => {}
        }
    }

    fn observe_position(&mut self, call: &Call, position: u64) {
        match self.open.get_mut(&(call.args[0] as u32)).map(|d| &mut d.target) {
            Some(Target::Opened(file)) => {
                file.position = Some(position);
                file.shape = file.shape.or_not_directory();
                if call.function == Function::FdSeek && call.args[2] == WHENCE_END {
                    let end = i128::from(position) - i128::from(call.args[1] as i64);
                    file.size = u64::try_from(end).unwrap_or(file.size);
                }
            }
            Some(Target::Stdin) => self.stdin_bytes = position,
            _ => {}
        }
    }

    fn observe_open(&mut self, call: &Call, new: u32) {
        let a = &call.args;
        let dir = a[0] as u32;
        self.is_directory(dir);
        let Input::Path(path) = &call.input else { return };
        let oflags = a[4] as u16;
        // Below a directory that is gone, or that nobody opened, nothing can be found again.
        let place = self.place_at(dir, path);
        let unlinked = place.is_none();
        let place = place.unwrap_or_default();
        if oflags & OFLAGS_TRUNC != 0 && !unlinked {
            self.resized(&place, 0);
        }
        self.insert(OpenDescriptor {
            fd: new,
            target: Target::Opened(OpenedFile {
                place,
                unlinked,
                oflags,
                open_fdflags: a[7] as u16,
                rights: a[5],
                inheriting: a[6],
                follow: a[1] & 1 == 1,
                shape: if oflags & OFLAGS_DIRECTORY == 0 {
                    Shape::Unknown
                } else {
                    Shape::Told(DIRECTORY)
                },
                position: Some(0),
                size: 0,
            }),
            fdflags: Some(a[7] as u16),
            inode: None,
        });
    }

    fn insert(&mut self, descriptor: OpenDescriptor) {
        self.next_fd = descriptor.fd.wrapping_add(1);
        let needed = room_bytes(&descriptor);
        if self.used_bytes.saturating_add(needed) > ROOM_BYTES {
            self.overflowed = true;
            return;
        }
        self.used_bytes += needed;
        if let Some(replaced) = self.open.insert(descriptor.fd, descriptor) {
            self.used_bytes = self.used_bytes.saturating_sub(room_bytes(&replaced));
        }
    }

    fn renumber(&mut self, from: u32, to: u32) {
        if from == to {
            return;
        }
        let replaced = self.open.remove(&to);
        self.used_bytes = self.used_bytes.saturating_sub(replaced.as_ref().map_or(0, room_bytes));
        if let Some(moved) = self.open.remove(&from) {
            self.open.insert(to, OpenDescriptor { fd: to, ..moved });
        }
    }

    /// Does something with an opened file, which is told whether it is in append mode.
    fn with_file(&mut self, fd: u32, action: impl FnOnce(&mut OpenedFile, bool)) {
        if let Some(OpenDescriptor { target: Target::Opened(file), fdflags, .. }) =
            self.open.get_mut(&fd)
        {
            action(file, fdflags.is_some_and(|flags| flags & FDFLAGS_APPEND != 0));
        }
    }

    fn is_directory(&mut self, fd: u32) {
        self.with_file(fd, |file, _| file.shape = Shape::Told(DIRECTORY));
    }

    fn saw_inode(&mut self, inode: u64) {
        if let Some(world) = &mut self.world {
            world.inode_last = world.inode_last.max(inode);
        }
    }

    /// Where an opened file is, if it is anywhere.
    fn place(&self, fd: u32) -> Option<&Place> {
        match &self.open.get(&fd)?.target {
            Target::Opened(file) if !file.unlinked => Some(&file.place),
            _ => None,
        }
    }

    /// The place that a path names, seen from an open directory.
    fn place_at(&self, dir: u32, path: &[u8]) -> Option<Place> {
        let (preopen, base) = match &self.open.get(&dir)?.target {
            Target::Preopen(preopen) => (*preopen, ""),
            Target::Opened(file) if !file.unlinked => (file.place.preopen, &file.place.path[..]),
            _ => return None,
        };
        Some(Place { preopen, path: joined(base, std::str::from_utf8(path).ok()?) })
    }

    fn files(&mut self) -> impl Iterator<Item = &mut OpenedFile> {
        self.open.values_mut().filter_map(|descriptor| match &mut descriptor.target {
            Target::Opened(file) if !file.unlinked => Some(file),
            _ => None,
        })
    }

    /// A file was given a length through another descriptor.
    fn resized(&mut self, place: &Place, size: u64) {
        self.files().filter(|f| f.place == *place).for_each(|f| f.size = f.size.min(size));
    }

    fn unlinked(&mut self, place: &Place) {
        self.files().filter(|f| f.place == *place).for_each(|f| f.unlinked = true);
    }

    fn renamed(&mut self, from: &Place, to: &Place) {
        if from == to {
            return;
        }
        // What was there before has lost its name.
        self.unlinked(to);
        for file in self.files() {
            let Some(rest) = below(&file.place, from) else { continue };
            file.place = Place { preopen: to.preopen, path: joined(&to.path, rest) };
        }
        self.used_bytes = self.open.values().map(room_bytes).sum();
        if self.used_bytes > ROOM_BYTES {
            self.forget_places();
        }
    }

    /// Renaming has made the paths longer than what a checkpoint holds.
    fn forget_places(&mut self) {
        self.overflowed = true;
        for file in self.files() {
            file.unlinked = true;
            file.place = Place::default();
        }
        self.used_bytes = self.open.values().map(room_bytes).sum();
    }
}

/// Which files the guest has changed, by the calls that can.
#[derive(Clone, Debug, Default)]
pub(crate) struct Changes {
    /// The number of the last change of each place.
    last: BTreeMap<Place, u64>,
    count: u64,
    /// The number of the last change that found no room.
    lost: u64,
}

/// More places are not remembered.
const CHANGES_MAX: usize = 10_000;

impl Changes {
    /// Follows a call that succeeded. `known` is what was known before it.
    pub(crate) fn observe(&mut self, known: &Descriptors, call: &Call, outcome: &Outcome) {
        let a = &call.args;
        let fd = a[0] as u32;
        let named = |dir: u32, path: &[u8]| known.place_at(dir, path);
        match (call.function, &call.input) {
            (Function::PathOpen, Input::Path(path))
                if a[4] as u16 & (OFLAGS_CREAT | OFLAGS_TRUNC) != 0 =>
            {
                self.add(named(fd, path));
            }
            (Function::FdWrite | Function::FdPwrite, _) if outcome.reply != Reply::Number(0) => {
                self.add(known.place(fd).cloned());
            }
            (
                Function::FdAllocate | Function::FdFilestatSetSize | Function::FdFilestatSetTimes,
                _,
            ) => self.add(known.place(fd).cloned()),
            (
                Function::PathCreateDirectory
                | Function::PathRemoveDirectory
                | Function::PathUnlinkFile
                | Function::PathFilestatSetTimes,
                Input::Path(path),
            ) => self.add(named(fd, path)),
            (Function::PathRename, Input::TwoPaths(from, to)) => {
                self.add(named(fd, from));
                self.add(named(a[3] as u32, to));
            }
            (Function::PathLink, Input::TwoPaths(_, new)) => self.add(named(a[4] as u32, new)),
            (Function::PathSymlink, Input::TwoPaths(_, new)) => self.add(named(a[2] as u32, new)),
            _ => {}
        }
    }

    fn add(&mut self, place: Option<Place>) {
        let Some(place) = place else { return };
        self.count += 1;
        if self.last.len() < CHANGES_MAX || self.last.contains_key(&place) {
            self.last.insert(place, self.count);
        } else {
            self.lost = self.count;
        }
    }

    /// How many changes there were.
    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// The places that were changed behind so many changes, and whether there are more of them.
    pub(crate) fn since(&self, count: u64, show: impl Fn(&Place) -> String) -> (Vec<String>, bool) {
        if self.count == count {
            return (Vec::new(), false);
        }
        let changed = self.last.iter().filter(|(_, last)| **last > count);
        (changed.map(|(place, _)| show(place)).collect(), self.lost > count)
    }
}

fn room_bytes(descriptor: &OpenDescriptor) -> usize {
    DESCRIPTOR_BYTES
        + match &descriptor.target {
            Target::Opened(file) => file.place.path.len(),
            _ => 0,
        }
}

/// The file has had bytes at a place.
fn reaches(file: &mut OpenedFile, offset: u64, len: u64) {
    file.shape = file.shape.or_not_directory();
    if len > 0 {
        file.size = file.size.max(offset.saturating_add(len));
    }
}

fn wrote(file: &mut OpenedFile, append: bool, count: u64) {
    file.shape = file.shape.or_not_directory();
    if count == 0 {
        return;
    }
    if append {
        // Others may append as well, so nobody but the system knows where this ended.
        file.position = None;
        file.size = file.size.saturating_add(count);
    } else if let Some(position) = &mut file.position {
        *position = position.saturating_add(count);
        file.size = file.size.max(*position);
    }
}

/// Appends a path to a normalised one. `..` takes the last name away, as far as there is one: no host lets
/// a guest out of a directory.
fn joined(base: &str, path: &str) -> String {
    let mut whole = String::with_capacity(base.len() + 1 + path.len());
    whole.push_str(base);
    for name in path.split('/') {
        match name {
            "" | "." => {}
            ".." => whole.truncate(whole.rfind('/').unwrap_or(0)),
            name => {
                if !whole.is_empty() {
                    whole.push('/');
                }
                whole.push_str(name);
            }
        }
    }
    whole
}

/// The path from a place down to another: empty if they are the same.
fn below<'a>(place: &'a Place, top: &Place) -> Option<&'a str> {
    let rest = place.path.strip_prefix(&top.path).filter(|_| place.preopen == top.preopen)?;
    if rest.is_empty() || top.path.is_empty() { Some(rest) } else { rest.strip_prefix('/') }
}

/// The inode numbers in a directory's entries (24 bytes and a name each). The last one may be cut.
fn listed_inodes(mut entries: &[u8]) -> impl Iterator<Item = u64> {
    std::iter::from_fn(move || {
        let inode = u64::from_le_bytes(*entries.get(8..)?.first_chunk()?);
        let name_len = entries.get(16..).and_then(<[u8]>::first_chunk).copied();
        let name_len = u32::from_le_bytes(name_len.unwrap_or([0xff; 4])) as usize;
        entries = entries.get(24_usize.saturating_add(name_len)..).unwrap_or(&[]);
        Some(inode)
    })
}

trait OrNotDirectory {
    /// What is known after a call that only files allow.
    fn or_not_directory(self) -> Self;
}

impl OrNotDirectory for Shape {
    fn or_not_directory(self) -> Shape {
        if self == Shape::Unknown { Shape::NotDirectory } else { self }
    }
}

/// Whether a state can have come from [`Descriptors::state`].
fn check(state: &HostState) -> Result<(), StateError> {
    let wrong = |what: String| Err(StateError { what });
    let ascending = state.descriptors.windows(2).find(|pair| pair[0].fd >= pair[1].fd);
    if let Some([before, after]) = ascending {
        return wrong(format!("descriptor {} stands before {}", before.fd, after.fd));
    }
    if state.descriptors.iter().map(room_bytes).sum::<usize>() > ROOM_BYTES {
        return wrong("they take more room than a recording gives them".to_owned());
    }
    let mut single = std::collections::HashSet::new();
    for OpenDescriptor { fd, target, fdflags, .. } in &state.descriptors {
        let key = match target {
            Target::Stdin => Some((0, 0)),
            Target::Stdout => Some((1, 0)),
            Target::Stderr => Some((2, 0)),
            Target::Socket(n) => Some((3, *n)),
            Target::Preopen(n) => Some((4, *n)),
            Target::Connection | Target::Opened(_) => None,
        };
        if key.is_some_and(|key| !single.insert(key)) {
            return wrong(format!("descriptor {fd} refers to the same as another one"));
        }
        if fdflags.is_some_and(|flags| flags >> 5 != 0) {
            return wrong(format!("descriptor {fd} has unknown flags {fdflags:?}"));
        }
        let Target::Opened(file) = target else { continue };
        if file.oflags >> 4 != 0 || file.open_fdflags >> 5 != 0 {
            return wrong(format!("descriptor {fd} was opened with unknown flags"));
        }
        if (file.rights | file.inheriting) & !crate::decode::RIGHTS != 0 {
            return wrong(format!("descriptor {fd} has unknown rights"));
        }
        if joined("", &file.place.path) != file.place.path {
            return wrong(format!("descriptor {fd} has the path {:?}", file.place.path));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_joined_without_leaving_the_directory() {
        for (base, path, whole) in [
            ("", "a", "a"),
            ("", "./a//b/", "a/b"),
            ("a/b", "../c", "a/c"),
            ("a", "..", ""),
            ("", "../../x", "x"),
            ("a", "", "a"),
        ] {
            assert_eq!(joined(base, path), whole, "{base:?} {path:?}");
        }
    }

    #[test]
    fn a_place_is_below_another_only_at_a_name_s_end() {
        let place = |path: &str| Place { preopen: 0, path: path.to_owned() };
        assert_eq!(below(&place("a/b"), &place("a")), Some("b"));
        assert_eq!(below(&place("a"), &place("a")), Some(""));
        assert_eq!(below(&place("ab"), &place("a")), None);
        assert_eq!(below(&place("a"), &place("")), Some("a"));
        assert_eq!(below(&place("a"), &Place { preopen: 1, path: "a".to_owned() }), None);
    }

    #[test]
    fn a_hostile_trace_cannot_make_the_table_grow_without_bound() {
        let mut descriptors = Descriptors::from_state(&HostState::for_world(0, 1, false)).unwrap();
        let path = "x".repeat(64 << 10);
        for fd in 4..2000 {
            let call = Call {
                function: Function::PathOpen,
                args: [3, 0, 0, 0, 0, 0, 0, 0, 0],
                input: Input::Path(path.clone().into_bytes()),
            };
            let outcome = Outcome { reply: Reply::Number(fd), ..Outcome::default() };
            descriptors.observe(&call, &outcome);
        }
        let state = descriptors.state();
        assert!(state.overflowed && state.descriptors.len() < 1000);
        assert!(Descriptors::from_state(&state).is_ok());
    }
}
