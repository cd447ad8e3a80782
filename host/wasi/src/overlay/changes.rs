//! What a layer changes, as a list for people.

use super::below::{DIRECTORY, FILE, LINK};
use super::layer::{Body, Entry, Layer, Node};
use wrr_trace::{Below, BelowKind, Place, filetype_name};

/// Deeper than this no path leads, and no line would be readable.
const PATH_BYTES_MAX: usize = 64 << 10;

/// One change of a layer.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Change {
    /// Where: the preopened directory, and the path in it.
    pub place: Place,
    /// What happened there.
    pub what: ChangeKind,
    /// The number of the file's type: of what is there now, or of what was removed.
    pub filetype: u8,
    /// Its length in bytes: of what is there now, or of what was removed.
    pub size: u64,
}

/// What happened to a file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ChangeKind {
    /// It is new.
    Added,
    /// It was there and has other contents, or is something else.
    Modified {
        /// Its length before.
        old_size: u64,
    },
    /// It was there with these contents and has other times.
    Touched,
    /// It was somewhere else.
    Renamed {
        /// Where.
        from: Place,
        /// Its contents have changed as well.
        modified: bool,
    },
    /// It is gone; of a directory, with all that was in it.
    Removed,
}

impl Change {
    /// The type in a word.
    #[must_use]
    pub fn filetype_name(&self) -> &'static str {
        filetype_name(self.filetype)
    }
}

impl Layer {
    /// All changes, sorted by place.
    pub fn changes(&self) -> Vec<Change> {
        let mut changes = Vec::new();
        let mut moved = Vec::new();
        let mut todo: Vec<(u64, Place)> = Vec::new();
        for number in self.numbers() {
            let Some(place) = self.node(number).and_then(Node::place) else { continue };
            if place.path.is_empty() {
                todo.push((number, place.clone()));
            }
        }
        while let Some((number, dir)) = todo.pop() {
            let Some(directory) = self.node(number).and_then(Node::directory) else { continue };
            for (name, entry) in &*directory.entries {
                let place = dir.at(name);
                if place.path.len() > PATH_BYTES_MAX {
                    continue;
                }
                let node = entry.node.and_then(|number| Some((number, self.node(number)?)));
                if let Some((number, node)) = node
                    && node.directory().is_some()
                {
                    todo.push((number, place.clone()));
                }
                let Some(change) = self.change_at(place, entry, node.map(|(_, node)| node)) else {
                    continue;
                };
                if let ChangeKind::Renamed { from, .. } = &change.what {
                    moved.push(from.clone());
                }
                changes.push(change);
            }
        }
        moved.sort();
        // A file that was moved is not missing where it was.
        changes.retain(|change| {
            change.what != ChangeKind::Removed || moved.binary_search(&change.place).is_err()
        });
        changes.sort();
        changes
    }

    fn change_at(&self, place: Place, entry: &Entry, node: Option<&Node>) -> Option<Change> {
        let Some(node) = node else {
            let hidden = entry.hides.as_ref()?;
            let (filetype, size) = kind_and_size(hidden);
            return Some(Change { place, what: ChangeKind::Removed, filetype, size });
        };
        let modified = match (&node.body, node.origin.as_deref()) {
            (Body::File(content), Some(_)) => content.touched,
            _ => false,
        };
        let what = match (node.origin.as_deref(), &entry.hides) {
            (Some((origin, was)), _) if *origin == place => {
                let times = (node.accessed_ns, node.modified_ns);
                match node.directory() {
                    _ if modified => ChangeKind::Modified { old_size: was.size },
                    None if times != (was.accessed_ns, was.modified_ns) => ChangeKind::Touched,
                    _ => return None,
                }
            }
            // It still has its old name: this is one more.
            (Some((origin, _)), None) if self.is_at(origin, node) => ChangeKind::Added,
            (Some((origin, _)), _) if !self.is_at(origin, node) => {
                ChangeKind::Renamed { from: origin.clone(), modified }
            }
            (_, Some(hidden)) => ChangeKind::Modified { old_size: hidden.size },
            (_, None) => ChangeKind::Added,
        };
        Some(Change { place, what, filetype: node.kind(), size: node.size() })
    }

    /// Whether a node is still under the name that it was adopted from.
    fn is_at(&self, origin: &Place, node: &Node) -> bool {
        let (above, name) = origin.path.rsplit_once('/').unwrap_or(("", &origin.path));
        let above = Place { preopen: origin.preopen, path: above.to_owned() };
        let parent = self.at_place(&above).and_then(|number| self.node(number));
        let entry = parent.and_then(Node::directory).and_then(|dir| dir.entries.get(name));
        let there = entry.and_then(|entry| self.node(entry.node?));
        there.is_some_and(|there| there.token == node.token)
    }
}

fn kind_and_size(below: &Below) -> (u8, u64) {
    match &below.kind {
        BelowKind::File => (FILE, below.size),
        BelowKind::Directory => (DIRECTORY, 0),
        BelowKind::Link(target) => (LINK, target.len() as u64),
        BelowKind::Other(kind) => (*kind, 0),
    }
}
