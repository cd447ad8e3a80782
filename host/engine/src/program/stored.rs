//! What is taken from the cache when it is needed: continuations, and the layouts of frames.
//!
//! Continuations that had to be compiled are put into the archive from time to time and when the
//! program is not needed any more: to add to an archive is to write it anew.

use super::{Program, Shared, refused};
use crate::admit::Refusal;
use crate::cache::{Archive, Key};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};
use wrr_transform::{FrameLayout, Piece, Variant};

/// New continuations are stored when the last ones were stored this long ago.
const STORE_EVERY: Duration = Duration::from_secs(1);

/// What a program has taken from the cache so far, and what it will put there.
#[derive(Default)]
pub(super) struct Stored {
    pieces: Mutex<HashMap<(Variant, Piece), wasmtime::Module>>,
    layouts: Mutex<HashMap<u32, Arc<Vec<FrameLayout>>>>,
    /// By variant.
    piece_archives: [OnceLock<Option<Archive>>; Variant::COUNT],
    function_archive: OnceLock<Option<(String, Archive)>>,
    new_pieces: Mutex<NewPieces>,
}

#[derive(Default)]
struct NewPieces {
    /// By the cache's key of the variant.
    pieces: HashMap<String, Vec<(Key, Vec<u8>)>>,
    stored: Option<Instant>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn piece_key(piece: Piece) -> Key {
    let kind = match piece {
        Piece::Tail { .. } => 0,
        Piece::LoopEntry { .. } => 1,
    };
    [kind, piece.function(), piece.site()]
}

fn layouts_key(function: u32) -> Key {
    [function, 0, 0]
}

fn name_key(function: u32) -> Key {
    [function, 1, 0]
}

impl Program {
    /// A continuation, compiled now if it is not in the cache.
    pub(crate) fn piece(
        &self,
        variant: Variant,
        piece: Piece,
    ) -> Result<wasmtime::Module, Refusal> {
        let stored = &self.shared.stored;
        if let Some(module) = locked(&stored.pieces).get(&(variant, piece)) {
            return Ok(module.clone());
        }
        let module = match self.cached_piece(variant, piece) {
            Some(module) => module,
            None => self.compile_piece(variant, piece)?,
        };
        locked(&stored.pieces).insert((variant, piece), module.clone());
        Ok(module)
    }

    fn cached_piece(&self, variant: Variant, piece: Piece) -> Option<wasmtime::Module> {
        let cache = self.shared.cache.as_ref()?;
        let archive = &self.shared.stored.piece_archives[variant as usize];
        let archive = archive.get_or_init(|| cache.pieces(&self.cache_key(variant)));
        cache.piece(&self.engine, archive.as_ref()?, piece_key(piece))
    }

    fn compile_piece(&self, variant: Variant, piece: Piece) -> Result<wasmtime::Module, Refusal> {
        let capturable = self.capturable(variant)?;
        let wasm = self.original()?.piece(piece, capturable).map_err(Refusal::Transform)?;
        let module = wasmtime::Module::from_binary(&self.engine, &wasm).map_err(refused)?;
        if self.shared.cache.is_some()
            && let Ok(code) = module.serialize()
        {
            let mut new = locked(&self.shared.stored.new_pieces);
            let pieces = new.pieces.entry(self.cache_key(variant)).or_default();
            pieces.push((piece_key(piece), code));
        }
        Ok(module)
    }

    /// Puts continuations that were compiled into the cache, unless that was done a moment ago.
    pub(crate) fn store_pieces(&self) {
        let last = locked(&self.shared.stored.new_pieces).stored;
        if last.is_none_or(|last| last.elapsed() >= STORE_EVERY) {
            self.shared.store_new_pieces();
        }
    }

    /// The layouts of a function's frames.
    pub(crate) fn layouts(&self, function: u32) -> Result<Arc<Vec<FrameLayout>>, Refusal> {
        let layouts = &self.shared.stored.layouts;
        if let Some(known) = locked(layouts).get(&function) {
            return Ok(Arc::clone(known));
        }
        let found = match self.cached_layouts(function) {
            Some(found) => found,
            None => self.original()?.layouts(function).map_err(Refusal::Transform)?,
        };
        let found = Arc::new(found);
        locked(layouts).insert(function, Arc::clone(&found));
        Ok(found)
    }

    fn cached_layouts(&self, function: u32) -> Option<Vec<FrameLayout>> {
        FrameLayout::from_bytes(&self.cached_fact(layouts_key(function))??)
    }

    /// A function's name, if it has one; `None` if the cache does not know.
    pub(super) fn cached_name(&self, function: u32) -> Option<Option<String>> {
        let name = self.cached_fact(name_key(function))?;
        Some(name.and_then(|name| String::from_utf8(name).ok()))
    }

    /// What the archive of functions has; `None` if there is none that is sound.
    fn cached_fact(&self, key: Key) -> Option<Option<Vec<u8>>> {
        let cache = self.shared.cache.as_ref()?;
        let archive = self.shared.stored.function_archive.get_or_init(|| {
            // It is the same in all variants.
            let key = self.cache_key(self.loaded_variant());
            Some((key.clone(), cache.functions(&key)?))
        });
        let (entry, archive) = archive.as_ref()?;
        archive.get(key).inspect_err(|why| cache.drop_functions(entry, why)).ok()
    }

    /// What [`Program::cached_fact`] finds later.
    pub(super) fn functions_to_store(
        &self,
        layouts: &[Vec<u8>],
    ) -> Result<Vec<(Key, Vec<u8>)>, Refusal> {
        let first = self.original()?.imported_function_count();
        let layouts = (first..).zip(layouts).map(|(f, bytes)| (layouts_key(f), bytes.clone()));
        let names = self.names().iter();
        let names = names.map(|(f, name)| (name_key(*f), name.clone().into_bytes()));
        Ok(layouts.chain(names).collect())
    }
}

impl Shared {
    fn store_new_pieces(&self) {
        let Some(cache) = &self.cache else { return };
        let new = {
            let mut new = locked(&self.stored.new_pieces);
            if new.pieces.is_empty() {
                return;
            }
            new.stored = Some(Instant::now());
            std::mem::take(&mut new.pieces)
        };
        for (key, pieces) in new {
            cache.add_pieces(&key, &pieces);
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.store_new_pieces();
    }
}
