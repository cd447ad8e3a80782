//! A map from numbers to values whose copies share what they have in common.
//!
//! A copy costs as much as a counted reference. A change copies the way from the root to the value, and only as far
//! as it is shared. Keys are consumed from their lowest bits up, five at a time; a branch holds what exists
//! and nothing else, so neither dense nor sparse keys waste room.

use std::sync::Arc;

/// Bits of a key that one branch consumes.
const BITS: u32 = 5;

/// A persistent map from `u64`.
pub struct Trie<V> {
    root: Arc<Branch<V>>,
    len: usize,
}

struct Branch<V> {
    /// Which of the 32 places are taken; the slots are those, in order.
    taken: u32,
    slots: Vec<Slot<V>>,
}

enum Slot<V> {
    Leaf(u64, V),
    Branch(Arc<Branch<V>>),
}

impl<V> Clone for Trie<V> {
    fn clone(&self) -> Trie<V> {
        Trie { root: Arc::clone(&self.root), len: self.len }
    }
}

impl<V> Default for Trie<V> {
    fn default() -> Trie<V> {
        Trie { root: Arc::new(Branch::empty()), len: 0 }
    }
}

impl<V: Clone> Clone for Branch<V> {
    fn clone(&self) -> Branch<V> {
        Branch { taken: self.taken, slots: self.slots.clone() }
    }
}

impl<V: Clone> Clone for Slot<V> {
    fn clone(&self) -> Slot<V> {
        match self {
            Slot::Leaf(key, value) => Slot::Leaf(*key, value.clone()),
            Slot::Branch(branch) => Slot::Branch(Arc::clone(branch)),
        }
    }
}

impl<V> Branch<V> {
    fn empty() -> Branch<V> {
        Branch { taken: 0, slots: Vec::new() }
    }

    /// Where the slot for these bits is, or would be.
    fn place(&self, bits: u32) -> (bool, usize) {
        let bit = 1_u32 << bits;
        (self.taken & bit != 0, (self.taken & (bit - 1)).count_ones() as usize)
    }
}

/// The bits of a key that a branch at this depth looks at.
fn bits(key: u64, depth: u32) -> u32 {
    // A key has 64 bits, so that depth 12 is the last.
    (key >> (depth * BITS)) as u32 & 31
}

impl<V: Clone> Trie<V> {
    /// How many values there are.
    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.len
    }

    /// The value at a key.
    pub fn get(&self, key: u64) -> Option<&V> {
        let mut branch = &self.root;
        for depth in 0.. {
            let (taken, place) = branch.place(bits(key, depth));
            if !taken {
                return None;
            }
            match &branch.slots[place] {
                Slot::Leaf(found, value) => return (*found == key).then_some(value),
                Slot::Branch(next) => branch = next,
            }
        }
        None
    }

    /// The value at a key, to be changed; what it shares with copies is copied first.
    pub fn get_mut(&mut self, key: u64) -> Option<&mut V> {
        // Asked before, so that nothing is copied for a key that is not there.
        self.get(key)?;
        let mut branch = Arc::make_mut(&mut self.root);
        for depth in 0.. {
            let (_, place) = branch.place(bits(key, depth));
            match &mut branch.slots[place] {
                Slot::Leaf(_, value) => return Some(value),
                Slot::Branch(next) => branch = Arc::make_mut(next),
            }
        }
        None
    }

    /// The value at a key, if no copy shares the way to it.
    pub fn get_unshared(&mut self, key: u64) -> Option<&mut V> {
        let mut branch = Arc::get_mut(&mut self.root)?;
        for depth in 0.. {
            let (taken, place) = branch.place(bits(key, depth));
            if !taken {
                return None;
            }
            match &mut branch.slots[place] {
                Slot::Leaf(found, value) => return (*found == key).then_some(value),
                Slot::Branch(next) => branch = Arc::get_mut(next)?,
            }
        }
        None
    }

    /// Puts a value at a key.
    pub fn insert(&mut self, key: u64, value: V) {
        let mut branch = Arc::make_mut(&mut self.root);
        let mut depth = 0;
        loop {
            let here = bits(key, depth);
            let (taken, place) = branch.place(here);
            if !taken {
                branch.taken |= 1 << here;
                branch.slots.insert(place, Slot::Leaf(key, value));
                self.len += 1;
                return;
            }
            let slot = &mut branch.slots[place];
            if let Slot::Leaf(found, old) = slot {
                if *found == key {
                    *old = value;
                    return;
                }
                // Two keys agree so far: what was here goes a level down.
                let below = bits(*found, depth + 1);
                let leaf = Slot::Leaf(*found, old.clone());
                *slot = Slot::Branch(Arc::new(Branch { taken: 1 << below, slots: vec![leaf] }));
            }
            let Slot::Branch(next) = slot else { unreachable!("a leaf was replaced above") };
            branch = Arc::make_mut(next);
            depth += 1;
        }
    }

    /// Takes a value out.
    pub fn remove(&mut self, key: u64) -> Option<V> {
        self.get(key)?;
        let removed = remove(Arc::make_mut(&mut self.root), key, 0);
        self.len -= usize::from(removed.is_some());
        removed
    }

    /// All keys with their values, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (u64, &V)> {
        let mut waiting = vec![self.root.slots.iter()];
        std::iter::from_fn(move || {
            loop {
                match waiting.last_mut()?.next() {
                    None => {
                        waiting.pop();
                    }
                    Some(Slot::Leaf(key, value)) => return Some((*key, value)),
                    Some(Slot::Branch(branch)) => waiting.push(branch.slots.iter()),
                }
            }
        })
    }

    /// All keys, ascending.
    pub fn keys(&self) -> Vec<u64> {
        let mut keys: Vec<u64> = self.iter().map(|(key, _)| key).collect();
        keys.sort_unstable();
        keys
    }
}

/// Takes a key out that is there. The depth is at most 12.
fn remove<V: Clone>(branch: &mut Branch<V>, key: u64, depth: u32) -> Option<V> {
    let here = bits(key, depth);
    let (_, place) = branch.place(here);
    if let Slot::Branch(next) = &mut branch.slots[place] {
        let next = Arc::make_mut(next);
        let removed = remove(next, key, depth + 1);
        if !next.slots.is_empty() {
            return removed;
        }
        branch.slots.remove(place);
        branch.taken &= !(1 << here);
        return removed;
    }
    branch.taken &= !(1 << here);
    match branch.slots.remove(place) {
        Slot::Leaf(_, value) => Some(value),
        Slot::Branch(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    #[derive(Clone, Debug)]
    enum Action {
        Insert(u64, u32),
        Remove(u64),
        Change(u64, u32),
        Keep,
    }

    fn key() -> impl Strategy<Value = u64> {
        // Small keys, large ones, and such as differ only at the top.
        prop_oneof![0..40_u64, any::<u64>(), (0..4_u64).prop_map(|top| top << 62 | 7)]
    }

    fn action() -> impl Strategy<Value = Action> {
        prop_oneof![
            (key(), any::<u32>()).prop_map(|(k, v)| Action::Insert(k, v)),
            key().prop_map(Action::Remove),
            (key(), any::<u32>()).prop_map(|(k, v)| Action::Change(k, v)),
            Just(Action::Keep),
        ]
    }

    fn contents(trie: &Trie<u32>) -> BTreeMap<u64, u32> {
        trie.iter().map(|(key, value)| (key, *value)).collect()
    }

    proptest! {
        #[test]
        fn it_is_a_map_and_copies_keep_what_they_had(actions in prop::collection::vec(action(), 0..200)) {
            let (mut trie, mut model) = (Trie::default(), BTreeMap::new());
            let mut kept = Vec::new();
            for action in actions {
                match action {
                    Action::Insert(key, value) => {
                        trie.insert(key, value);
                        model.insert(key, value);
                    }
                    Action::Remove(key) => prop_assert_eq!(trie.remove(key), model.remove(&key)),
                    Action::Change(key, value) => {
                        let unshared = trie.get_unshared(key).copied();
                        prop_assert!(unshared.is_none() || unshared == model.get(&key).copied());
                        let (found, expected) = (trie.get_mut(key), model.get_mut(&key));
                        prop_assert_eq!(found.is_some(), expected.is_some());
                        if let (Some(found), Some(expected)) = (found, expected) {
                            (*found, *expected) = (value, value);
                        }
                    }
                    Action::Keep => kept.push((trie.clone(), model.clone())),
                }
                prop_assert_eq!(trie.len(), model.len());
            }
            kept.push((trie, model));
            for (trie, model) in &kept {
                prop_assert_eq!(&contents(trie), model);
                prop_assert_eq!(trie.keys(), model.keys().copied().collect::<Vec<_>>());
                prop_assert!(model.iter().all(|(key, value)| trie.get(*key) == Some(value)));
            }
        }
    }
}
