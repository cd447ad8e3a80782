//! The layer itself: files and directories that differ from what is below, and the edits that make it.
//!
//! A *node* is a file or directory that is in the layer: one that the guest made, or one from below that was *adopted*
//! because it was to be changed. Nodes have numbers, in the order in which they came. A directory that was adopted lists only
//! the names that differ: everything else in it is what is below.
//!
//! Invariants: the only way to change a layer is [`Layer::apply`], so that whoever applies the same edits gets the same layer; an
//! edit that is refused has changed nothing. A copy shares what it has in common with the original.

use super::Fault;
use super::below::{Beneath, DIRECTORY, FILE, LINK};
use super::content::Content;
use super::pages::PageStore;
use super::trie::Trie;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use wrr_trace::{Below, BelowKind, Edit, Errno, Made, Place};

/// The longest file, in bytes: what a signed offset can express.
pub const FILE_BYTES_MAX: u64 = i64::MAX as u64;
/// Directories in directories beyond this depth cannot be made. No path reaches as deep.
const DEPTH_MAX: usize = 4096;

/// Tokens tell nodes apart that had the same number in two histories of a layer.
static TOKEN_LAST: AtomicU64 = AtomicU64::new(0);

/// Everything that the guest changed.
#[derive(Clone)]
pub struct Layer {
    nodes: Trie<Arc<Node>>,
    /// The nodes that were adopted, by a hash of the place that they are from.
    adopted: Trie<Arc<[u64]>>,
    next: u64,
    /// Where the bytes of files are kept; without it they are not.
    store: Option<PageStore>,
}

/// A file or a directory in the layer.
#[derive(Clone)]
pub struct Node {
    /// Not part of the state: see [`TOKEN_LAST`].
    pub token: u64,
    pub links: u64,
    /// Where its last name was, once it has none. Not part of the state: who has it open knows it by this.
    pub last: Option<Arc<Place>>,
    pub accessed_ns: u64,
    pub modified_ns: u64,
    pub created_ns: u64,
    /// Where it is from, and what was there, if it was adopted.
    pub origin: Option<Arc<(Place, Below)>>,
    pub body: Body,
}

/// What a node is.
#[derive(Clone)]
pub enum Body {
    File(Content),
    Directory(Directory),
    Link(String),
    Other(u8),
}

/// The names in a directory that differ from those below.
#[derive(Clone, Default)]
pub struct Directory {
    /// The directory that it is in; a preopened one is in none.
    pub parent: Option<u64>,
    pub entries: Arc<BTreeMap<String, Entry>>,
}

/// A name.
#[derive(Clone, PartialEq, Eq)]
pub struct Entry {
    /// What it is the name of; of nothing, if what is below was taken away.
    pub node: Option<u64>,
    /// What is below under this name.
    pub hides: Option<Below>,
}

impl Node {
    pub fn place(&self) -> Option<&Place> {
        self.origin.as_deref().map(|(place, _)| place)
    }

    pub fn kind(&self) -> u8 {
        match &self.body {
            Body::File(_) => FILE,
            Body::Directory(_) => DIRECTORY,
            Body::Link(_) => LINK,
            Body::Other(kind) => *kind,
        }
    }

    pub fn size(&self) -> u64 {
        match &self.body {
            Body::File(content) => content.size,
            Body::Link(target) => target.len() as u64,
            Body::Directory(_) | Body::Other(_) => 0,
        }
    }

    pub fn directory(&self) -> Option<&Directory> {
        match &self.body {
            Body::Directory(directory) => Some(directory),
            _ => None,
        }
    }

    fn new(body: Body, links: u64, time_ns: u64) -> Node {
        let token = TOKEN_LAST.fetch_add(1, Ordering::Relaxed) + 1;
        let (accessed_ns, modified_ns, created_ns) = (time_ns, time_ns, time_ns);
        let (last, origin) = (None, None);
        Node { token, links, last, accessed_ns, modified_ns, created_ns, origin, body }
    }

    fn adopted(place: Place, below: &Below, parent: Option<u64>) -> Node {
        let body = match &below.kind {
            BelowKind::File => Body::File(Content::below(below.size.min(FILE_BYTES_MAX))),
            BelowKind::Directory => Body::Directory(Directory { parent, ..Directory::default() }),
            BelowKind::Link(target) => Body::Link(target.clone()),
            BelowKind::Other(kind) => Body::Other(*kind),
        };
        Node {
            accessed_ns: below.accessed_ns,
            modified_ns: below.modified_ns,
            created_ns: below.created_ns,
            origin: Some(Arc::new((place, below.clone()))),
            ..Node::new(body, below.links.max(1), 0)
        }
    }
}

/// The number of a place, for telling files apart: the same on every host.
pub fn place_hash(place: &Place) -> u64 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&place.preopen.to_le_bytes());
    hasher.update(place.path.as_bytes());
    let hash = hasher.finalize();
    hash.as_bytes().iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte))
}

fn impossible<T>(what: &str) -> Result<T, Fault> {
    Err(Fault::Edit(what.to_owned()))
}

impl Layer {
    /// A layer above so many directories, in which nothing differs from them. Without a store the bytes of files are
    /// not kept, only what changed.
    pub fn new(preopens: u32, store: Option<PageStore>) -> Layer {
        let mut layer = Layer { nodes: Trie::default(), adopted: Trie::default(), next: 0, store };
        for preopen in 0..preopens {
            let below = Below {
                kind: BelowKind::Directory,
                size: 0,
                links: 1,
                accessed_ns: 0,
                modified_ns: 0,
                created_ns: 0,
            };
            let place = Place { preopen, path: String::new() };
            let node = Node { token: 0, ..Node::adopted(place, &below, None) };
            layer.add(node);
        }
        layer
    }

    pub fn store(&self) -> Option<&PageStore> {
        self.store.as_ref()
    }

    pub fn node(&self, number: u64) -> Option<&Node> {
        self.nodes.get(number).map(|node| &**node)
    }

    /// The number of the node that was adopted from a place.
    pub fn at_place(&self, place: &Place) -> Option<u64> {
        let numbers = self.adopted.get(place_hash(place))?;
        let here = |number: &&u64| self.node(**number).and_then(Node::place) == Some(place);
        numbers.iter().find(here).copied()
    }

    /// The numbers of all nodes, ascending.
    pub fn numbers(&self) -> Vec<u64> {
        self.nodes.keys()
    }

    fn add(&mut self, node: Node) -> u64 {
        let number = self.next;
        if let Some(place) = node.place() {
            let hash = place_hash(place);
            let mut numbers = self.adopted.get(hash).map_or_else(Vec::new, |same| same.to_vec());
            numbers.push(number);
            self.adopted.insert(hash, numbers.into());
        }
        self.nodes.insert(number, Arc::new(node));
        self.next += 1;
        number
    }

    /// The node that the next edit to bring one will bring.
    pub fn next_number(&self) -> u64 {
        self.next
    }

    fn change(&mut self, number: u64) -> Result<&mut Node, Fault> {
        match self.nodes.get_mut(number) {
            Some(node) => Ok(Arc::make_mut(node)),
            None => impossible("there is no such node"),
        }
    }

    /// A directory that has a name, or is preopened.
    fn directory(&self, number: u64) -> Result<(&Node, &Directory), Fault> {
        let Some(node) = self.node(number) else { return impossible("there is no such directory") };
        match node.directory() {
            Some(directory) if node.links > 0 => Ok((node, directory)),
            Some(_) => impossible("the directory has been removed"),
            None => impossible("the node is no directory"),
        }
    }

    fn entries_mut(&mut self, number: u64) -> Result<&mut BTreeMap<String, Entry>, Fault> {
        match &mut self.change(number)?.body {
            Body::Directory(directory) => Ok(Arc::make_mut(&mut directory.entries)),
            _ => impossible("the node is no directory"),
        }
    }

    /// What a name in the layer is the name of.
    fn named(&self, parent: u64, name: &str) -> Result<(u64, &Node), Fault> {
        let (_, directory) = self.directory(parent)?;
        let number = directory.entries.get(name).and_then(|entry| entry.node);
        match number.and_then(|number| Some((number, self.node(number)?))) {
            Some(named) => Ok(named),
            None => impossible("there is no such name in the layer"),
        }
    }

    /// A name that nothing has.
    fn is_free(&self, parent: u64, name: &str) -> Result<(), Fault> {
        let ordinary =
            !name.is_empty() && name != "." && name != ".." && !name.contains(['/', '\0']);
        let (_, directory) = self.directory(parent)?;
        match directory.entries.get(name) {
            _ if !ordinary => impossible("a name that no file can have"),
            Some(entry) if entry.node.is_some() => impossible("the name is taken"),
            _ => Ok(()),
        }
    }

    /// A name of what is below, about which nothing is known here yet.
    fn is_unknown(&self, parent: u64, name: &str) -> Result<Place, Fault> {
        self.is_free(parent, name)?;
        let (node, directory) = self.directory(parent)?;
        match node.place() {
            Some(place) if !directory.entries.contains_key(name) => Ok(place.at(name)),
            Some(_) => impossible("the name was taken out of what is below before"),
            None => impossible("there is nothing below the directory"),
        }
    }

    /// How many directories a directory is in; `None` if `through` is one of them, or it itself.
    fn depth(&self, mut number: u64, through: Option<u64>) -> Result<Option<usize>, Fault> {
        let mut depth = 0;
        loop {
            if through == Some(number) {
                return Ok(None);
            }
            match self.directory(number)?.1.parent {
                Some(parent) => number = parent,
                None => return Ok(Some(depth)),
            }
            depth += 1;
        }
    }

    /// Whether a directory is, or lies in, another one.
    pub fn lies_in(&self, number: u64, other: u64) -> bool {
        matches!(self.depth(number, Some(other)), Ok(None))
    }

    fn put(&mut self, parent: u64, name: &str, number: u64) -> Result<(), Fault> {
        let entries = self.entries_mut(parent)?;
        match entries.get_mut(name) {
            Some(entry) => entry.node = Some(number),
            None => {
                let entry = Entry { node: Some(number), hides: None };
                entries.insert(name.to_owned(), entry);
            }
        }
        Ok(())
    }

    /// Takes the node from a name, which is there.
    fn take(&mut self, parent: u64, name: &str) -> Result<(), Fault> {
        let entries = self.entries_mut(parent)?;
        match entries.get_mut(name) {
            Some(entry) if entry.hides.is_some() => entry.node = None,
            _ => {
                entries.remove(name);
            }
        }
        Ok(())
    }

    /// The place of a directory.
    fn place_of(&self, mut number: u64) -> Result<Place, Fault> {
        let mut names: Vec<&str> = Vec::new();
        while let (_, Directory { parent: Some(parent), .. }) = self.directory(number)? {
            let (_, above) = self.directory(*parent)?;
            let name = above.entries.iter().find(|(_, entry)| entry.node == Some(number));
            names.push(name.map_or("", |(name, _)| name));
            number = *parent;
        }
        names.reverse();
        let preopen = u32::try_from(number).unwrap_or(u32::MAX);
        Ok(Place { preopen, path: names.join("/") })
    }

    /// A node has lost this name.
    fn unlinked(&mut self, number: u64, parent: u64, name: &str) -> Result<(), Fault> {
        let place = self.place_of(parent)?.at(name);
        let node = self.change(number)?;
        node.last = Some(Arc::new(place));
        match &mut node.body {
            Body::Directory(directory) => {
                directory.parent = None;
                node.links = 0;
            }
            _ => node.links = node.links.saturating_sub(1),
        }
        Ok(())
    }

    fn touch(&mut self, number: u64, time_ns: u64) -> Result<(), Fault> {
        self.change(number)?.modified_ns = time_ns;
        Ok(())
    }

    /// Carries out an edit. What it writes partly over is read from `beneath`.
    ///
    /// # Errors
    /// [`Fault::Edit`] if it is impossible here, [`Fault::Io`] if the store is full or something cannot be read; nothing has
    /// changed then.
    pub fn apply(&mut self, edit: &Edit, beneath: &dyn Beneath) -> Result<(), Fault> {
        match edit {
            Edit::Adopt { parent, name, below } => {
                let place = self.is_unknown(*parent, name)?;
                let number = self.add(Node::adopted(place, below, Some(*parent)));
                let entry = Entry { node: Some(number), hides: Some(below.clone()) };
                self.entries_mut(*parent)?.insert(name.clone(), entry);
                Ok(())
            }
            Edit::Make { parent, name, what, time_ns } => {
                self.is_free(*parent, name)?;
                let body = match what {
                    Made::File => Body::File(Content::default()),
                    Made::Directory => {
                        if self.depth(*parent, None)?.is_none_or(|depth| depth >= DEPTH_MAX) {
                            return Err(Fault::Errno(Errno::nametoolong));
                        }
                        let parent = Some(*parent);
                        Body::Directory(Directory { parent, ..Directory::default() })
                    }
                    Made::Link(target) => Body::Link(target.clone()),
                };
                let number = self.add(Node::new(body, 1, *time_ns));
                self.put(*parent, name, number)?;
                self.touch(*parent, *time_ns)
            }
            Edit::Write { node, offset, data, time_ns } => {
                let end = offset.checked_add(data.len() as u64);
                let Some(end) = end.filter(|end| *end <= FILE_BYTES_MAX) else {
                    return Err(Fault::Errno(Errno::fbig));
                };
                self.change_content(*node, *time_ns, |content, place, store| match store {
                    Some(store) => content.write(place, beneath, store, *offset, data),
                    None => {
                        content.size = content.size.max(end);
                        content.touched = true;
                        Ok(())
                    }
                })
            }
            Edit::Resize { node, size, time_ns } => {
                if *size > FILE_BYTES_MAX {
                    return Err(Fault::Errno(Errno::fbig));
                }
                self.change_content(*node, *time_ns, |content, place, store| match store {
                    Some(store) => content.resize(place, beneath, store, *size),
                    None => {
                        content.below_bytes = content.below_bytes.min(*size);
                        content.size = *size;
                        content.touched = true;
                        Ok(())
                    }
                })
            }
            Edit::Link { node, parent, name, time_ns } => {
                self.is_free(*parent, name)?;
                match self.node(*node) {
                    None => return impossible("there is no such node"),
                    Some(node) if node.directory().is_some() || node.links == 0 => {
                        return impossible("the node can have no other name");
                    }
                    Some(_) => {}
                }
                self.put(*parent, name, *node)?;
                self.touch(*parent, *time_ns)?;
                let node = self.change(*node)?;
                node.links = node.links.saturating_add(1);
                Ok(())
            }
            Edit::Remove { parent, name, time_ns } => {
                let (number, _) = self.named(*parent, name)?;
                self.take(*parent, name)?;
                self.unlinked(number, *parent, name)?;
                self.touch(*parent, *time_ns)
            }
            Edit::Rename { parent, name, to_parent, to_name, time_ns } => {
                self.rename((*parent, name), (*to_parent, to_name), *time_ns)
            }
            Edit::Times { node, accessed_ns, modified_ns } => {
                let node = self.change(*node)?;
                node.accessed_ns = accessed_ns.unwrap_or(node.accessed_ns);
                node.modified_ns = modified_ns.unwrap_or(node.modified_ns);
                Ok(())
            }
        }
    }

    /// Takes a node out that nobody can reach any more. It counts for nothing that can be seen, so this is no edit. Of a directory from
    /// below it stays known what was in it.
    pub fn forget(&mut self, number: u64) {
        let Some(node) = self.node(number) else { return };
        let place = node.place().cloned();
        if node.links > 0 || (node.directory().is_some() && place.is_some()) {
            return;
        }
        self.nodes.remove(number);
        let Some(place) = place else { return };
        let hash = place_hash(&place);
        let others = self.adopted.get(hash).map_or_else(Vec::new, |same| same.to_vec());
        let others: Vec<u64> = others.into_iter().filter(|other| *other != number).collect();
        match others.is_empty() {
            true => {
                self.adopted.remove(hash);
            }
            false => self.adopted.insert(hash, others.into()),
        }
    }

    fn change_content(
        &mut self,
        number: u64,
        time_ns: u64,
        action: impl FnOnce(&mut Content, Option<&Place>, Option<&PageStore>) -> std::io::Result<()>,
    ) -> Result<(), Fault> {
        // Taken out, as the store belongs to the same layer.
        let store = self.store.clone();
        let node = self.change(number)?;
        let place = node.origin.as_deref().map(|(place, _)| place);
        let Body::File(content) = &mut node.body else {
            return impossible("only a file has bytes");
        };
        action(content, place, store.as_ref())?;
        node.modified_ns = time_ns;
        Ok(())
    }

    fn rename(
        &mut self,
        (parent, name): (u64, &str),
        (to_parent, to_name): (u64, &str),
        time_ns: u64,
    ) -> Result<(), Fault> {
        let (number, node) = self.named(parent, name)?;
        let is_directory = node.directory().is_some();
        if is_directory && self.depth(to_parent, Some(number))?.is_none() {
            return impossible("a directory cannot be moved into itself");
        }
        match self.named(to_parent, to_name) {
            Ok((over, _)) if over == number => return impossible("both names are the same file's"),
            Ok((over, there)) => {
                if is_directory != there.directory().is_some() || self.lies_in(parent, over) {
                    return impossible("the names cannot take each other's place");
                }
                self.take(to_parent, to_name)?;
                self.unlinked(over, to_parent, to_name)?;
            }
            Err(_) => self.is_free(to_parent, to_name)?,
        }
        self.take(parent, name)?;
        self.put(to_parent, to_name, number)?;
        if let Body::Directory(directory) = &mut self.change(number)?.body {
            directory.parent = Some(to_parent);
        }
        self.touch(parent, time_ns)?;
        self.touch(to_parent, time_ns)
    }

    /// BLAKE3 of everything in it that has a name, or is one of `open`.
    ///
    /// # Errors
    /// A page that spilled cannot be read.
    pub fn hash(&self, open: &BTreeSet<u64>) -> std::io::Result<[u8; 32]> {
        let mut hasher = blake3::Hasher::new();
        let text = |hasher: &mut blake3::Hasher, text: &str| {
            hasher.update(&(text.len() as u64).to_le_bytes());
            hasher.update(text.as_bytes());
        };
        let below = |hasher: &mut blake3::Hasher, below: &Below| {
            let (kind, target) = match &below.kind {
                BelowKind::File => (FILE, ""),
                BelowKind::Directory => (DIRECTORY, ""),
                BelowKind::Link(target) => (LINK, target.as_str()),
                BelowKind::Other(kind) => (*kind, ""),
            };
            hasher.update(&[kind]);
            text(hasher, target);
            let Below { size, links, accessed_ns, modified_ns, created_ns, .. } = below;
            for number in [size, links, accessed_ns, modified_ns, created_ns] {
                hasher.update(&number.to_le_bytes());
            }
        };
        for number in self.numbers() {
            let Some(node) = self.node(number) else { continue };
            if node.links == 0 && !open.contains(&number) {
                continue;
            }
            let times = [node.accessed_ns, node.modified_ns, node.created_ns];
            for number in [number, node.links].into_iter().chain(times) {
                hasher.update(&number.to_le_bytes());
            }
            hasher.update(&[node.kind(), u8::from(node.origin.is_some())]);
            if let Some((place, was)) = node.origin.as_deref() {
                hasher.update(&place.preopen.to_le_bytes());
                text(&mut hasher, &place.path);
                below(&mut hasher, was);
            }
            match &node.body {
                Body::File(content) => content.hash(&mut hasher)?,
                Body::Link(target) => text(&mut hasher, target),
                Body::Other(_) => {}
                Body::Directory(directory) => {
                    hasher.update(&directory.parent.unwrap_or(u64::MAX).to_le_bytes());
                    hasher.update(&(directory.entries.len() as u64).to_le_bytes());
                    for (name, entry) in &*directory.entries {
                        text(&mut hasher, name);
                        hasher.update(&entry.node.unwrap_or(u64::MAX).to_le_bytes());
                        hasher.update(&[u8::from(entry.hides.is_some())]);
                        if let Some(hidden) = &entry.hides {
                            below(&mut hasher, hidden);
                        }
                    }
                }
            }
        }
        hasher.update(&self.next.to_le_bytes());
        Ok(*hasher.finalize().as_bytes())
    }
}
