//! What a guest can do with files: each call becomes the edits that it needs, or an errno.
//!
//! The errnos, and which of several possible ones it is, are those of `cap-std` on Linux for the same call on the same files; a
//! random test compares the two.

use super::below::{Beneath as _, DIRECTORY, FILE, LINK, nanoseconds};
use super::layer::FILE_BYTES_MAX;
use super::walk::{FileRef, Found, Last, World};
use super::{Fault, Opened, Stat};
use std::time::SystemTime;
use wrr_trace::{Below, BelowKind, EDIT_DATA_BYTES_MAX, Edit, Errno, Made};

/// How a file is opened.
#[derive(Clone, Copy, Default)]
pub struct OpenHow {
    /// A link at the end of the path is followed.
    pub follow: bool,
    /// It is made if it is not there.
    pub create: bool,
    /// It must not be there.
    pub exclusive: bool,
    /// Its contents go.
    pub truncate: bool,
    /// Only a directory will do.
    pub directory: bool,
    pub read: bool,
    pub write: bool,
    pub append: bool,
}

/// A time to be set.
#[derive(Clone, Copy)]
pub enum NewTime {
    Now,
    At(SystemTime),
}

/// A name in a listing.
pub struct Listed {
    pub name: String,
    pub inode: u64,
    pub kind: u8,
}

/// What [`World::open`] found or made.
pub type OpenedRef = Opened<FileRef>;

fn errno<T>(errno: Errno) -> Result<T, Fault> {
    Err(Fault::Errno(errno))
}

impl World {
    fn now_ns(&self) -> u64 {
        if self.timeless { 0 } else { nanoseconds(SystemTime::now()) }
    }

    fn edit(&mut self, edit: Edit) -> Result<(), Fault> {
        self.layer.apply(&edit, &self.lowers)?;
        if let Some(journal) = &mut self.journal {
            journal.push(edit);
        }
        Ok(())
    }

    /// The number of a file in the layer, which it is taken into if it is not there yet.
    fn adopt(&mut self, file: &FileRef) -> Result<u64, Fault> {
        if let Some(number) = self.node_of(file)? {
            return Ok(number);
        }
        let FileRef::Below(place) = file else { return errno(Errno::stale) };
        // The directories that it is in, from the first that is not in the layer either.
        let mut missing = vec![place.clone()];
        let mut parent = loop {
            let Some(last) = missing.last() else { return errno(Errno::stale) };
            let (above, _) = last.path.rsplit_once('/').unwrap_or(("", &last.path));
            let above = wrr_trace::Place { preopen: last.preopen, path: above.to_owned() };
            match self.layer.at_place(&above) {
                Some(number) => break number,
                None => missing.push(above),
            }
        };
        while let Some(place) = missing.pop() {
            let below = self.lowers.look(&place)?.ok_or(Fault::Errno(Errno::noent))?;
            let name = place.path.rsplit_once('/').map_or(place.path.as_str(), |(_, name)| name);
            let number = self.layer.next_number();
            self.edit(Edit::Adopt { parent, name: name.to_owned(), below })?;
            parent = number;
        }
        Ok(parent)
    }

    /// A directory in which a name can be made.
    fn adopt_directory(&mut self, dir: &FileRef) -> Result<u64, Fault> {
        let number = self.adopt(dir)?;
        match self.layer.node(number) {
            Some(node) if node.links > 0 => Ok(number),
            _ => errno(Errno::noent),
        }
    }

    fn is_held(&self, file: &FileRef) -> bool {
        self.holders.contains_key(&World::holder(file))
    }

    /// Takes a node out that has no name and that nobody has open.
    fn forget_if_unused(&mut self, file: &FileRef) {
        // A file that a rollback has undone is nobody's any more.
        if let Ok(Some(node)) = self.node_of(file)
            && !self.is_held(file)
        {
            self.layer.forget(node);
        }
    }

    /// A file is opened once more.
    pub fn hold(&mut self, file: &FileRef) {
        *self.holders.entry(World::holder(file)).or_default() += 1;
    }

    /// A file is closed.
    pub fn release(&mut self, file: &FileRef) {
        let holder = World::holder(file);
        match self.holders.get_mut(&holder) {
            Some(count) if *count > 1 => *count -= 1,
            _ => {
                self.holders.remove(&holder);
                self.forget_if_unused(file);
            }
        }
    }

    pub fn stat(&self, file: &FileRef) -> Result<Stat, Fault> {
        let inode = World::inode(file);
        if let Some((_, node)) = self.node(file)? {
            return Ok(Stat {
                inode,
                kind: node.kind(),
                links: node.links,
                size: node.size(),
                accessed_ns: node.accessed_ns,
                modified_ns: node.modified_ns,
                created_ns: node.created_ns,
            });
        }
        let FileRef::Below(place) = file else { return errno(Errno::stale) };
        let below = self.lowers.look(place)?.ok_or(Fault::Errno(Errno::noent))?;
        let (kind, size) = match &below.kind {
            BelowKind::File => (FILE, below.size),
            BelowKind::Directory => (DIRECTORY, 0),
            BelowKind::Link(target) => (LINK, target.len() as u64),
            BelowKind::Other(kind) => (*kind, 0),
        };
        let Below { links, accessed_ns, modified_ns, created_ns, .. } = below;
        Ok(Stat { inode, kind, links, size, accessed_ns, modified_ns, created_ns })
    }

    pub fn stat_at(&self, dir: &FileRef, path: &str, follow: bool) -> Result<Stat, Fault> {
        let mut names = path.split('/').filter(|name| !matches!(*name, "" | "."));
        let first = path.split('/').next().unwrap_or_default();
        if !follow
            && !matches!(first, "" | "." | "..")
            && let (Some(name), None) = (names.next(), names.next())
        {
            // The system's fast way: a slash behind the name is not looked at.
            if name.contains('\0') {
                return errno(Errno::inval);
            }
            let found = self.lookup(dir, name)?.ok_or(Fault::Errno(Errno::noent))?;
            return self.stat(&found.file);
        }
        self.stat(&self.find(dir, path, follow)?.file)
    }

    /// The names in a directory, sorted.
    pub fn list(&self, dir: &FileRef) -> Result<Vec<Listed>, Fault> {
        let (place, entries) = match (self.node(dir)?, dir) {
            (Some((_, node)), _) => {
                let Some(directory) = node.directory() else { return errno(Errno::notdir) };
                if node.links == 0 {
                    return Ok(Vec::new());
                }
                (node.place(), Some(&directory.entries))
            }
            (None, FileRef::Below(place)) => (Some(place), None),
            (None, FileRef::Node { .. }) => return errno(Errno::stale),
        };
        let mut listed = Vec::new();
        for (name, entry) in entries.iter().flat_map(|entries| entries.iter()) {
            if let Some(number) = entry.node
                && let Some(node) = self.layer.node(number)
            {
                let inode = match node.place() {
                    Some(place) => World::inode(&FileRef::Below(place.clone())),
                    None => number,
                };
                listed.push(Listed { name: name.clone(), inode, kind: node.kind() });
            }
        }
        if let Some(place) = place {
            for (name, kind) in self.lowers.list(place)? {
                if entries.is_none_or(|entries| !entries.contains_key(&name)) {
                    let inode = World::inode(&FileRef::Below(place.at(&name)));
                    listed.push(Listed { name, inode, kind });
                }
            }
        }
        listed.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(listed)
    }

    pub fn open(&mut self, dir: &FileRef, path: &str, how: OpenHow) -> Result<OpenedRef, Fault> {
        let create_new = how.create && how.exclusive;
        let write = how.write || how.create;
        let truncate = how.truncate && !create_new;
        if truncate && (how.append || !write) {
            return errno(Errno::inval);
        }
        let changes = write || how.append;
        let walked = self.walk(dir, path, how.follow && !create_new, how.create)?;
        let Some(found) = walked.found else {
            let Last::Name(name) = walked.last else { return errno(Errno::noent) };
            return match how.create {
                true => self.make(&walked.dir, &name, Made::File).map(Opened::File),
                false => errno(Errno::noent),
            };
        };
        match found.kind {
            _ if create_new => errno(Errno::exist),
            DIRECTORY if changes => errno(Errno::isdir),
            DIRECTORY => Ok(Opened::Directory(found.file)),
            _ if walked.slash => errno(Errno::notdir),
            LINK => errno(Errno::loop_),
            FILE => self.open_file(found.file, truncate, how.directory),
            _ if how.directory => errno(Errno::notdir),
            _ => self.open_other(&found.file, how),
        }
    }

    fn open_file(
        &mut self,
        file: FileRef,
        truncate: bool,
        directory: bool,
    ) -> Result<OpenedRef, Fault> {
        if !truncate {
            // Whether it can be read is told now, not when it is read.
            let below = match (self.node(&file)?, &file) {
                (Some((_, node)), _) => match &node.body {
                    super::layer::Body::File(content) if content.needs_below() => node.place(),
                    _ => None,
                },
                (None, FileRef::Below(place)) => Some(place),
                (None, FileRef::Node { .. }) => None,
            };
            if let Some(place) = below {
                self.lowers.open(place)?;
            }
        }
        if directory {
            return errno(Errno::notdir);
        }
        if truncate {
            let node = self.adopt(&file)?;
            let time_ns = self.now_ns();
            self.edit(Edit::Resize { node, size: 0, time_ns })?;
        }
        Ok(Opened::File(file))
    }

    fn open_other(&self, file: &FileRef, how: OpenHow) -> Result<OpenedRef, Fault> {
        let place = match (self.node(file)?, file) {
            (Some((_, node)), _) => node.place(),
            (None, FileRef::Below(place)) => Some(place),
            (None, FileRef::Node { .. }) => None,
        };
        let Some(place) = place else { return errno(Errno::stale) };
        let write = how.write || how.create;
        Ok(Opened::Other(self.lowers.open_other(place, how.read || !write, write)?))
    }

    /// Makes something under a name that is free.
    fn make(&mut self, dir: &FileRef, name: &str, what: Made) -> Result<FileRef, Fault> {
        let parent = self.adopt_directory(dir)?;
        let (number, time_ns) = (self.layer.next_number(), self.now_ns());
        self.edit(Edit::Make { parent, name: name.to_owned(), what, time_ns })?;
        match self.layer.node(number) {
            Some(node) => Ok(FileRef::Node { number, token: node.token }),
            None => errno(Errno::io),
        }
    }

    /// Makes something at the end of a path, where nothing may be.
    fn make_at(&mut self, dir: &FileRef, path: &str, what: Made) -> Result<(), Fault> {
        let (dir, last) = self.parent(dir, path)?;
        let Last::Name(name) = last else { return errno(Errno::exist) };
        match self.lookup(&dir, &name)? {
            Some(_) => errno(Errno::exist),
            None => self.make(&dir, &name, what).map(|_| ()),
        }
    }

    pub fn make_directory(&mut self, dir: &FileRef, path: &str) -> Result<(), Fault> {
        self.make_at(dir, without_slashes(path), Made::Directory)
    }

    pub fn make_link(&mut self, dir: &FileRef, target: &str, path: &str) -> Result<(), Fault> {
        if target.starts_with('/') {
            return errno(Errno::perm);
        }
        let (found_dir, last) = self.parent(dir, path)?;
        if target.contains('\0') {
            return errno(Errno::inval);
        }
        if target.is_empty() {
            return errno(Errno::noent);
        }
        if target.len() > 4095 {
            return errno(Errno::nametoolong);
        }
        let Last::Name(name) = last else { return errno(Errno::exist) };
        match self.lookup(&found_dir, &name)? {
            Some(_) => errno(Errno::exist),
            None => self.make(&found_dir, &name, Made::Link(target.to_owned())).map(|_| ()),
        }
    }

    pub fn read_link(&self, dir: &FileRef, path: &str) -> Result<String, Fault> {
        let (dir, last) = self.parent(dir, path)?;
        let Last::Name(name) = last else { return errno(Errno::inval) };
        match self.lookup(&dir, &name)? {
            None => errno(Errno::noent),
            // Nobody is told what is outside.
            Some(Found { target: Some(target), .. }) if target.starts_with('/') => {
                errno(Errno::perm)
            }
            Some(Found { target: Some(target), .. }) => Ok(target),
            Some(Found { kind: LINK, .. }) => errno(Errno::ilseq),
            Some(_) => errno(Errno::inval),
        }
    }

    pub fn remove_directory(&mut self, dir: &FileRef, path: &str) -> Result<(), Fault> {
        let (dir, last) = self.parent(dir, path)?;
        let Last::Name(name) = last else { return errno(Errno::inval) };
        match self.lookup(&dir, &name)? {
            None => errno(Errno::noent),
            Some(found) if found.kind != DIRECTORY => errno(Errno::notdir),
            Some(found) if !self.list(&found.file)?.is_empty() => errno(Errno::notempty),
            Some(found) => self.remove(&dir, &name, found),
        }
    }

    pub fn unlink(&mut self, dir: &FileRef, path: &str) -> Result<(), Fault> {
        let (dir, last) = self.parent(dir, path)?;
        let Last::Name(name) = last else { return errno(Errno::isdir) };
        match self.lookup(&dir, &name)? {
            None => errno(Errno::noent),
            Some(found) if found.kind == DIRECTORY => errno(Errno::isdir),
            Some(found) => self.remove(&dir, &name, found),
        }
    }

    /// Takes a name away.
    fn remove(&mut self, dir: &FileRef, name: &str, found: Found) -> Result<(), Fault> {
        let parent = self.adopt_directory(dir)?;
        self.remove_from(parent, name, &found)?;
        self.forget_if_unused(&found.file);
        Ok(())
    }

    fn remove_from(&mut self, parent: u64, name: &str, found: &Found) -> Result<(), Fault> {
        let (time_ns, name) = (self.now_ns(), name.to_owned());
        // Who has it open sees that it has no name any more, and what was taken away stays known.
        self.adopt(&found.file)?;
        self.edit(Edit::Remove { parent, name, time_ns })
    }

    pub fn rename(
        &mut self,
        (dir, path): (&FileRef, &str),
        (to_dir, to_path): (&FileRef, &str),
    ) -> Result<(), Fault> {
        let slash = path.ends_with('/');
        let (dir, last) = self.parent(dir, without_slashes(path))?;
        let (to_dir, to_last) = self.parent(to_dir, without_slashes(to_path))?;
        let (Last::Name(name), Last::Name(to_name)) = (last, to_last) else {
            return errno(Errno::busy);
        };
        let found = self.lookup(&dir, &name)?.ok_or(Fault::Errno(Errno::noent))?;
        let there = self.lookup(&to_dir, &to_name)?;
        if slash && found.kind != DIRECTORY {
            return errno(Errno::notdir);
        }
        let directories = [Some(&found), there.as_ref()];
        if directories.into_iter().flatten().any(|found| found.kind == DIRECTORY) {
            let (from, to) = (self.adopt_directory(&dir)?, self.adopt_directory(&to_dir)?);
            // A directory that holds one in the layer is in the layer as well.
            if let Some(moved) = self.node_of(&found.file)?
                && from != to
                && self.layer.lies_in(to, moved)
            {
                return errno(Errno::inval);
            }
            if let Some(there) = &there
                && let Some(over) = self.node_of(&there.file)?
                && from != to
                && self.layer.lies_in(from, over)
            {
                return errno(Errno::notempty);
            }
        }
        if let Some(there) = &there {
            match (found.kind == DIRECTORY, there.kind == DIRECTORY) {
                _ if there.file == found.file => return Ok(()),
                (true, false) => return errno(Errno::notdir),
                (false, true) => return errno(Errno::isdir),
                (true, true) if !self.list(&there.file)?.is_empty() => {
                    return errno(Errno::notempty);
                }
                _ => {}
            }
        }
        let (parent, to_parent) = (self.adopt_directory(&dir)?, self.adopt_directory(&to_dir)?);
        self.adopt(&found.file)?;
        if let Some(there) = &there {
            self.remove_from(to_parent, &to_name, there)?;
        }
        let time_ns = self.now_ns();
        self.edit(Edit::Rename { parent, name, to_parent, to_name, time_ns })?;
        if let Some(there) = &there {
            self.forget_if_unused(&there.file);
        }
        Ok(())
    }

    pub fn hard_link(
        &mut self,
        (dir, path): (&FileRef, &str),
        (to_dir, to_path): (&FileRef, &str),
    ) -> Result<(), Fault> {
        let (dir, last) = self.parent(dir, path)?;
        let (to_dir, to_last) = self.parent(to_dir, to_path)?;
        let found = match last {
            Last::Name(name) => Some(self.lookup(&dir, &name)?.ok_or(Fault::Errno(Errno::noent))?),
            Last::Dot => None,
        };
        let Last::Name(to_name) = to_last else { return errno(Errno::exist) };
        if self.lookup(&to_dir, &to_name)?.is_some() {
            return errno(Errno::exist);
        }
        let Some(found) = found.filter(|found| found.kind != DIRECTORY) else {
            return errno(Errno::perm);
        };
        let parent = self.adopt_directory(&to_dir)?;
        let node = self.adopt(&found.file)?;
        let time_ns = self.now_ns();
        self.edit(Edit::Link { node, parent, name: to_name, time_ns })
    }

    pub fn set_times(
        &mut self,
        file: &FileRef,
        accessed: Option<NewTime>,
        modified: Option<NewTime>,
    ) -> Result<(), Fault> {
        if accessed.is_none() && modified.is_none() {
            return Ok(());
        }
        let node = self.adopt(file)?;
        let now_ns = self.now_ns();
        let ns = |time| match time {
            NewTime::Now => now_ns,
            NewTime::At(_) if self.timeless => 0,
            NewTime::At(time) => nanoseconds(time),
        };
        let (accessed_ns, modified_ns) = (accessed.map(ns), modified.map(ns));
        self.edit(Edit::Times { node, accessed_ns, modified_ns })
    }

    pub fn set_times_at(
        &mut self,
        dir: &FileRef,
        path: &str,
        follow: bool,
        accessed: Option<NewTime>,
        modified: Option<NewTime>,
    ) -> Result<(), Fault> {
        let file = if follow {
            self.find(dir, path, true)?.file
        } else {
            let (dir, last) = self.parent(dir, path)?;
            match last {
                Last::Dot => dir,
                Last::Name(name) => {
                    self.lookup(&dir, &name)?.ok_or(Fault::Errno(Errno::noent))?.file
                }
            }
        };
        self.set_times(&file, accessed, modified)
    }

    pub fn read(&self, file: &FileRef, offset: u64, out: &mut [u8]) -> Result<usize, Fault> {
        if offset > FILE_BYTES_MAX {
            return errno(Errno::inval);
        }
        match (self.node(file)?, file) {
            (Some((_, node)), _) => match &node.body {
                super::layer::Body::File(content) => {
                    Ok(content.read(node.place(), &self.lowers, offset, out)?)
                }
                _ => errno(Errno::isdir),
            },
            (None, FileRef::Below(place)) => Ok(self.lowers.read(place, offset, out)?),
            (None, FileRef::Node { .. }) => errno(Errno::stale),
        }
    }

    /// Writes, and gives how many bytes: fewer than all if there is no room for more.
    pub fn write(&mut self, file: &FileRef, offset: u64, data: &[u8]) -> Result<usize, Fault> {
        if data.is_empty() {
            return Ok(0);
        }
        if offset > FILE_BYTES_MAX {
            return errno(Errno::inval);
        }
        let node = self.adopt(file)?;
        let mut done = 0;
        while done < data.len() {
            let at = offset + done as u64;
            // Up to the end of a page, so that the next piece starts with one.
            let room = EDIT_DATA_BYTES_MAX - (at as usize % EDIT_DATA_BYTES_MAX);
            let piece = &data[done..][..room.min(data.len() - done)];
            let time_ns = self.now_ns();
            let edit = Edit::Write { node, offset: at, data: piece.to_vec(), time_ns };
            match self.edit(edit) {
                Ok(()) => done += piece.len(),
                Err(error) if done == 0 => return Err(error),
                Err(_) => break,
            }
        }
        Ok(done)
    }

    /// Writes at the end, and gives where that was.
    pub fn append(&mut self, file: &FileRef, data: &[u8]) -> Result<(usize, u64), Fault> {
        let end = self.stat(file)?.size;
        Ok((self.write(file, end, data)?, end))
    }

    pub fn resize(&mut self, file: &FileRef, size: u64) -> Result<(), Fault> {
        if size > FILE_BYTES_MAX {
            return errno(Errno::inval);
        }
        let node = self.adopt(file)?;
        let time_ns = self.now_ns();
        self.edit(Edit::Resize { node, size, time_ns })
    }
}

/// A path without the slashes at its end, which some calls do not look at.
fn without_slashes(path: &str) -> &str {
    match path.trim_end_matches('/') {
        "" if !path.is_empty() => "/",
        trimmed => trimmed,
    }
}
