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
    layout_archive: OnceLock<Option<(String, Archive)>>,
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
        let cache = self.shared.cache.as_ref()?;
        let archive = self.shared.stored.layout_archive.get_or_init(|| {
            // They are the same in all variants.
            let key = self.cache_key(self.loaded_variant());
            Some((key.clone(), cache.layouts(&key)?))
        });
        let (key, archive) = archive.as_ref()?;
        let bytes = archive.get([function, 0, 0]);
        bytes
            .inspect_err(|why| cache.report_damaged_layouts(key, why))
            .ok()
            .flatten()
            .and_then(|bytes| FrameLayout::from_bytes(&bytes))
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
