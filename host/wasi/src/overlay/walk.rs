//! From paths to files, through the layer and what is below it.
//!
//! Follows links itself, of both kinds alike, and never leaves the directory that a path starts from: neither by `..`, nor by a
//! link, nor by an absolute path. The errnos are those that `cap-std` gives on Linux for the same path.

use super::below::{DIRECTORY, LINK, Lowers};
use super::layer::{Body, Layer, Node, place_hash};
use super::{Fault, Holder};
use std::collections::HashMap;
use wrr_trace::{BelowKind, Edit, Errno, Place};

/// So many links may be followed for one path, as on Linux.
const LINKS_MAX: usize = 40;
/// The longest name, in bytes, as on Linux.
const NAME_BYTES_MAX: usize = 255;
/// The longest path, in bytes, as on Linux.
const PATH_BYTES_MAX: usize = 4095;

/// The layer with what is around it.
pub struct World {
    pub layer: Layer,
    pub lowers: Lowers,
    /// How often each file is open.
    pub holders: HashMap<Holder, usize>,
    /// The edits since they were asked for last, if anybody wants them.
    pub journal: Option<Vec<Edit>>,
    /// There is no time: everything happens at 0.
    pub timeless: bool,
}

/// A file, as one refers to it for longer than a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileRef {
    /// One that the guest made.
    Node { number: u64, token: u64 },
    /// One from below; it may have been adopted since.
    Below(Place),
}

/// Something that was looked up.
pub struct Found {
    pub file: FileRef,
    pub kind: u8,
    /// The target, if it is a link.
    pub target: Option<String>,
}

/// The last name of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Last {
    /// A name.
    Name(String),
    /// The directory itself: the path ends in `.`, `..` or, where that means the same, `/`.
    Dot,
}

/// Where a path leads.
pub struct Walked {
    /// The directory in which the last name is looked up.
    pub dir: FileRef,
    pub last: Last,
    pub found: Option<Found>,
    /// The path ends in a slash, so that only a directory will do.
    pub slash: bool,
}

fn errno<T>(errno: Errno) -> Result<T, Fault> {
    Err(Fault::Errno(errno))
}

/// Refuses a name that is too long.
pub fn check_name(name: &str) -> Result<(), Fault> {
    if name.len() > NAME_BYTES_MAX { errno(Errno::nametoolong) } else { Ok(()) }
}

impl World {
    /// The node that this is, if it is in the layer.
    pub fn node_of(&self, file: &FileRef) -> Result<Option<u64>, Fault> {
        match file {
            FileRef::Below(place) => Ok(self.layer.at_place(place)),
            FileRef::Node { number, token } => match self.layer.node(*number) {
                Some(node) if node.token == *token => Ok(Some(*number)),
                // It was made in a future that a rollback has undone.
                _ => errno(Errno::stale),
            },
        }
    }

    /// The number and the node itself.
    pub fn node(&self, file: &FileRef) -> Result<Option<(u64, &Node)>, Fault> {
        let number = self.node_of(file)?;
        Ok(number.and_then(|number| Some((number, self.layer.node(number)?))))
    }

    /// How a node is referred to.
    pub fn reference(&self, number: u64) -> Option<FileRef> {
        let node = self.layer.node(number)?;
        Some(match node.place() {
            Some(place) => FileRef::Below(place.clone()),
            None => FileRef::Node { number, token: node.token },
        })
    }

    /// Under which key it is counted how often a file is open.
    pub fn holder(file: &FileRef) -> Holder {
        match file {
            FileRef::Below(place) => Holder::Place(place.clone()),
            FileRef::Node { token, .. } => Holder::Token(*token),
        }
    }

    /// The number that a guest sees: that of a file from below is high, and the same before and after it is adopted.
    pub fn inode(file: &FileRef) -> u64 {
        match file {
            FileRef::Below(place) => place_hash(place) | 1 << 63,
            FileRef::Node { number, .. } => *number,
        }
    }

    fn found_node(&self, number: u64) -> Option<Found> {
        let file = self.reference(number)?;
        let node = self.layer.node(number)?;
        let target = match &node.body {
            Body::Link(target) => Some(target.clone()),
            _ => None,
        };
        Some(Found { file, kind: node.kind(), target })
    }

    fn found_below(&self, place: Place) -> Result<Option<Found>, Fault> {
        let Some(below) = self.lowers.look(&place)? else { return Ok(None) };
        let (kind, target) = match &below.kind {
            BelowKind::File => (super::below::FILE, None),
            BelowKind::Directory => (DIRECTORY, None),
            BelowKind::Link(target) => (LINK, Some(target.clone())),
            BelowKind::Other(kind) => (*kind, None),
        };
        Ok(Some(Found { file: FileRef::Below(place), kind, target }))
    }

    /// What a name in a directory is the name of.
    pub fn lookup(&self, dir: &FileRef, name: &str) -> Result<Option<Found>, Fault> {
        check_name(name)?;
        let place = match (self.node(dir)?, dir) {
            (Some((_, node)), _) => {
                let Some(directory) = node.directory() else { return errno(Errno::notdir) };
                match directory.entries.get(name) {
                    // In a directory that was removed there is nothing any more.
                    _ if node.links == 0 => return Ok(None),
                    Some(entry) => {
                        return Ok(entry.node.and_then(|number| self.found_node(number)));
                    }
                    None => node.place(),
                }
            }
            (None, FileRef::Below(place)) => Some(place),
            (None, FileRef::Node { .. }) => None,
        };
        match place {
            Some(place) => self.found_below(place.at(name)),
            None => Ok(None),
        }
    }

    /// Follows a path from a directory. A link at its end is followed if `follow` says so. With `make` something may be made there.
    pub fn walk(
        &self,
        start: &FileRef,
        path: &str,
        follow: bool,
        make: bool,
    ) -> Result<Walked, Fault> {
        check_path(path)?;
        let mut todo = names(path);
        let mut slash = path.ends_with('/');
        let mut above: Vec<FileRef> = Vec::new();
        let mut dir = start.clone();
        let mut links = 0;
        while let Some(name) = todo.pop() {
            match name.as_str() {
                "." => continue,
                ".." => {
                    dir = above.pop().ok_or(Fault::Errno(Errno::perm))?;
                    continue;
                }
                _ => {}
            }
            let is_last = todo.is_empty();
            if is_last && slash && make {
                check_name(&name)?;
                return errno(Errno::isdir);
            }
            let found = self.lookup(&dir, &name)?;
            match found {
                Some(Found { target: Some(target), .. }) if !is_last || follow || slash => {
                    links += 1;
                    if links > LINKS_MAX {
                        return errno(Errno::loop_);
                    }
                    check_path(&target)?;
                    if is_last {
                        slash |= target.ends_with('/');
                    }
                    todo.append(&mut names(&target));
                }
                found if is_last => {
                    return Ok(Walked { dir, last: Last::Name(name), found, slash });
                }
                None => return errno(Errno::noent),
                Some(Found { file, kind: DIRECTORY, .. }) => {
                    above.push(std::mem::replace(&mut dir, file));
                }
                Some(_) => return errno(Errno::notdir),
            }
        }
        let found = Found { file: dir.clone(), kind: DIRECTORY, target: None };
        Ok(Walked { dir, last: Last::Dot, found: Some(found), slash: false })
    }

    /// The directory of a path's last name, and that name, which nobody has looked at.
    pub fn parent(&self, start: &FileRef, path: &str) -> Result<(FileRef, Last), Fault> {
        if path.contains('\0') {
            return errno(Errno::inval);
        }
        let (dirs, last) = split(path)?;
        if dirs.is_empty() {
            return Ok((start.clone(), last));
        }
        let walked = self.walk(start, dirs, true, false)?;
        match walked.found {
            None => errno(Errno::noent),
            Some(Found { file, kind: DIRECTORY, .. }) => Ok((file, last)),
            Some(_) => errno(Errno::notdir),
        }
    }

    /// What a path leads to, or the errno.
    pub fn find(&self, start: &FileRef, path: &str, follow: bool) -> Result<Found, Fault> {
        let walked = self.walk(start, path, follow, false)?;
        match walked.found {
            None => errno(Errno::noent),
            Some(found) if walked.slash && found.kind != DIRECTORY => errno(Errno::notdir),
            Some(found) => Ok(found),
        }
    }
}

/// The names in a path, the last one first.
fn names(path: &str) -> Vec<String> {
    let names = path.split('/').filter(|name| !name.is_empty()).map(str::to_owned);
    let mut names: Vec<String> = names.collect();
    names.reverse();
    names
}

fn check_path(path: &str) -> Result<(), Fault> {
    if path.contains('\0') {
        return errno(Errno::inval);
    }
    if path.is_empty() {
        return errno(Errno::noent);
    }
    if path.len() > PATH_BYTES_MAX {
        return errno(Errno::nametoolong);
    }
    if path.starts_with('/') { errno(Errno::perm) } else { Ok(()) }
}

/// Cuts the last name off. A path that can only be a directory's has none.
fn split(path: &str) -> Result<(&str, Last), Fault> {
    if path.is_empty() {
        return errno(Errno::noent);
    }
    if path.ends_with('/') || path.ends_with("/.") {
        return Ok((path, Last::Dot));
    }
    let (dirs, name) = match path.rfind('/') {
        Some(at) => path.split_at(at + 1),
        None => ("", path),
    };
    match name {
        ".." => Ok((path, Last::Dot)),
        "." => Ok((dirs, Last::Dot)),
        name => Ok((dirs, Last::Name(name.to_owned()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_cut_before_its_last_name() {
        let name = |name: &str| Last::Name(name.to_owned());
        for (path, dirs, last) in [
            ("a", "", name("a")),
            ("a/b", "a/", name("b")),
            ("a//b", "a//", name("b")),
            ("/a", "/", name("a")),
            (".", "", Last::Dot),
            ("..", "..", Last::Dot),
            ("a/", "a/", Last::Dot),
            ("a/.", "a/.", Last::Dot),
            ("a/..", "a/..", Last::Dot),
        ] {
            assert_eq!(split(path).ok(), Some((dirs, last)), "{path:?}");
        }
        assert!(split("").is_err());
    }
}
