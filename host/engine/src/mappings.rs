//! Guest memories, which are [`Mapping`]s of ours, so that every kind of tracker works on them.

use crate::admit::Refusal;
use crate::guest::State;
use std::collections::HashMap;
use std::ptr::NonNull;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use wasmtime::{LinearMemory, Memory, MemoryCreator, MemoryType, Store};
use wrr_pages::{Mapping, Region};

/// The address space that is reserved for a memory, in which it grows. A 32-bit host has room for
/// few gigabytes in all; there a memory that grows further ends the run.
pub(crate) const RESERVED_BYTES: u64 =
    if cfg!(target_pointer_width = "32") { 512 << 20 } else { 4 << 30 };

/// Makes the memories of guests, and finds them again.
#[derive(Default)]
pub(crate) struct Mappings {
    /// By address.
    made: Mutex<HashMap<usize, Weak<Mutex<Mapping>>>>,
}

struct GuestMemory(Arc<Mutex<Mapping>>);

impl GuestMemory {
    fn mapping(&self) -> MutexGuard<'_, Mapping> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Mappings {
    /// Makes a memory smaller. The engine learns of it when the memory grows, if only by nothing.
    ///
    /// # Safety
    /// Nothing of the guest runs, and nobody has the memory's bytes; the engine is told before either is the case again.
    unsafe fn shrink(&self, base: usize, bytes: usize) -> std::io::Result<()> {
        let made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        let mapping = made.get(&base).and_then(Weak::upgrade);
        let mapping = mapping.ok_or_else(|| std::io::Error::other("no such memory"))?;
        mapping.lock().unwrap_or_else(PoisonError::into_inner).shrink_to(bytes)
    }
}

/// Makes a memory of a stopped guest smaller: what was behind the new end is gone.
pub(crate) fn shrink(
    store: &mut Store<State>,
    memory: Memory,
    mappings: &Mappings,
    bytes: usize,
) -> Result<(), Refusal> {
    let failed = |error: &dyn std::fmt::Display| Refusal::Engine(error.to_string());
    let base = memory.data_ptr(&*store) as usize;
    // SAFETY: the store is borrowed exclusively, so nothing of it runs and nobody has the bytes; the next line tells the engine.
    unsafe { mappings.shrink(base, bytes) }.map_err(|e| failed(&e))?;
    // Whenever a memory grows the engine takes its size from the mapping.
    memory.grow(&mut *store, 0).map_err(|e| failed(&e))?;
    match memory.data_size(&*store) == bytes {
        true => Ok(()),
        false => Err(failed(&"the engine does not see that a memory has become smaller")),
    }
}

// SAFETY: `new_memory` must give memory that is zero, accessible for `minimum` bytes, reserved for as many bytes as
// asked, and followed by an inaccessible guard: that is what `Mapping::reserve` promises.
unsafe impl MemoryCreator for Mappings {
    fn new_memory(
        &self,
        _ty: MemoryType,
        minimum: usize,
        maximum: Option<usize>,
        reserved_size_in_bytes: Option<usize>,
        guard_size_in_bytes: usize,
    ) -> Result<Box<dyn LinearMemory>, String> {
        let reserved = reserved_size_in_bytes.or(maximum).unwrap_or(minimum);
        // Compiled code for 64-bit hosts counts on the whole reservation; Pulley checks every
        // access.
        let needed = if cfg!(target_pointer_width = "32") { maximum } else { None };
        let reserve = reserved.min(needed.unwrap_or(usize::MAX)).max(minimum);
        let mapping = Mapping::reserve(minimum, reserve, guard_size_in_bytes)
            .map_err(|e| format!("no memory of {reserve} bytes: {e}"))?;
        let address = mapping.base() as usize;
        let mapping = Arc::new(Mutex::new(mapping));
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        made.retain(|_, mapping| mapping.strong_count() > 0);
        made.insert(address, Arc::downgrade(&mapping));
        Ok(Box::new(GuestMemory(mapping)))
    }
}

// SAFETY: the base of a `Mapping` never moves, its bytes below `len` stay accessible until it is dropped or `shrink` is called,
// which tells the engine, and growing keeps what is there; see its documentation.
unsafe impl LinearMemory for GuestMemory {
    fn byte_size(&self) -> usize {
        self.mapping().len()
    }
    fn byte_capacity(&self) -> usize {
        self.mapping().capacity()
    }
    fn grow_to(&mut self, new_size: usize) -> wasmtime::Result<()> {
        self.mapping().grow_to(new_size).map_err(wasmtime::Error::from)
    }
    fn as_ptr(&self) -> *mut u8 {
        self.mapping().base()
    }
}

/// Where a memory lies.
pub(crate) fn region_of(store: &Store<State>, memory: &Memory) -> Result<Region, Refusal> {
    let base = NonNull::new(memory.data_ptr(store))
        .ok_or_else(|| Refusal::Engine("a memory has no place".to_owned()))?;
    Region::new(base, memory.data_size(store), capacity(store, memory))
        .map_err(|e| Refusal::Engine(e.to_string()))
}

/// How far a memory can grow in place.
fn capacity(store: &Store<State>, memory: &Memory) -> usize {
    let ty = memory.ty(store);
    let most = ty.maximum().map_or(u64::MAX, |pages| pages.saturating_mul(1 << 16));
    usize::try_from(most.min(RESERVED_BYTES)).unwrap_or(usize::MAX).max(memory.data_size(store))
}

/// A memory's bytes. Several memories are borrowed at once, which wasmtime's interface cannot
/// express.
///
/// # Safety
/// While the slice is used nothing of the guest runs, no memory grows, the store lives, and this memory is not taken again.
pub(crate) unsafe fn bytes_of<'a>(store: &mut Store<State>, memory: Memory) -> &'a mut [u8] {
    let (base, len) = (memory.data_ptr(&*store), memory.data_size(&*store));
    // SAFETY: `base..base + len` is accessible and stays where it is until the memory grows, which
    // the caller rules out for as long as the slice is used.
    unsafe { std::slice::from_raw_parts_mut(base, len) }
}
