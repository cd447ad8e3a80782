//! Which stacks can be captured, and go on, without a wait for the compiler.
//!
//! A guest that was captured goes on in continuations, one for each place where a frame waits. The
//! native backtrace gives the function and the offset of every frame without touching the stack,
//! and the offset map turns those into sites. So it is known before a capture whether all
//! continuations are compiled; those that are not are compiled on another thread, while the guest
//! goes on.
//!
//! Invariant: a place is only called ready after its continuation, and the loop entries that that
//! one needs, were compiled.

use crate::admit::Refusal;
use crate::guest::State;
use crate::program::Program;
use rayon::prelude::*;
use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use wasmtime::{Caller, WasmBacktrace};
use wrr_transform::{Piece, Variant, XformPc};

/// A place in compiled code at which a frame waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Place {
    /// The continuation that the code is of; `None` for the main module.
    piece: Option<Piece>,
    function: u32,
    /// From the declarations of the body's locals, in bytes.
    offset: u32,
}

/// What is known of the places that were met so far.
pub(crate) struct Readiness {
    /// Those that are ready, without a lock.
    ready: HashSet<Place>,
    shared: Arc<Shared>,
    /// To tell which continuation code on the native stack belongs to.
    modules: Vec<(wasmtime::Module, Piece)>,
}

struct Shared {
    program: Program,
    variant: Variant,
    found: Mutex<Found>,
}

#[derive(Default)]
struct Found {
    ready: HashSet<Place>,
    /// Their continuations cannot be compiled.
    impossible: HashSet<Place>,
    /// For the thread that compiles.
    wanted: Vec<Place>,
    /// Those, and what the thread is at.
    known: HashSet<Place>,
    works: bool,
}

impl Readiness {
    pub fn of(program: &Program, variant: Variant) -> Readiness {
        let found = Mutex::default();
        let shared = Shared { program: program.clone(), variant, found };
        Readiness { ready: HashSet::new(), shared: Arc::new(shared), modules: Vec::new() }
    }

    /// Code of this module is that of a continuation.
    pub fn add_module(&mut self, module: wasmtime::Module, piece: Piece) {
        self.modules.push((module, piece));
    }

    /// The continuation that a module is.
    pub fn piece_of(&self, module: &wasmtime::Module) -> Option<Piece> {
        let found = self.modules.iter().find(|(known, _)| wasmtime::Module::same(known, module));
        found.map(|(_, piece)| *piece)
    }

    /// The places on a stack that are not known to be ready.
    fn missing(&mut self, trace: &WasmBacktrace) -> Vec<Place> {
        let mut missing = HashSet::new();
        for frame in trace.frames() {
            let Some(offset) = frame.func_offset() else { continue };
            let piece = self.piece_of(frame.module());
            let place = Place { piece, function: frame.func_index(), offset: offset as u32 };
            if !self.ready.contains(&place) {
                missing.insert(place);
            }
        }
        if !missing.is_empty() {
            let found = self.shared.found();
            missing.retain(|place| {
                let is_ready = found.ready.contains(place);
                if is_ready {
                    self.ready.insert(*place);
                }
                !is_ready
            });
        }
        missing.into_iter().collect()
    }
}

/// Whether the running guest can be captured here. If not, what is missing is compiled on another
/// thread.
pub(crate) fn is_ready(caller: &mut Caller<'_, State>) -> bool {
    let trace = WasmBacktrace::force_capture(&*caller);
    let ready = &mut caller.data_mut().ready;
    let missing = ready.missing(&trace);
    if missing.is_empty() {
        return true;
    }
    let mut found = ready.shared.found();
    for place in missing {
        if !found.impossible.contains(&place) && found.known.insert(place) {
            found.wanted.push(place);
        }
    }
    if !found.wanted.is_empty() && !found.works {
        let shared = Arc::clone(&ready.shared);
        let name = "wrr compiler".to_owned();
        found.works = std::thread::Builder::new().name(name).spawn(move || shared.work()).is_ok();
    }
    false
}

/// Compiles what is missing to capture the running guest here; `false` if that cannot be compiled.
pub(crate) fn make_ready(caller: &mut Caller<'_, State>) -> bool {
    let trace = WasmBacktrace::force_capture(&*caller);
    let ready = &mut caller.data_mut().ready;
    let missing = ready.missing(&trace);
    let shared = &ready.shared;
    let is_possible = |place: &Place| !shared.found().impossible.contains(place);
    missing.iter().all(is_possible)
        && missing.par_iter().map(|place| shared.prepare(*place)).all(|prepared| prepared)
}

impl Shared {
    fn found(&self) -> MutexGuard<'_, Found> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Compiles what is wanted until nothing is.
    fn work(&self) {
        loop {
            let place = {
                let mut found = self.found();
                match found.wanted.pop() {
                    Some(place) => place,
                    None => {
                        found.works = false;
                        drop(found);
                        self.program.store_pieces();
                        return;
                    }
                }
            };
            self.prepare(place);
            self.found().known.remove(&place);
        }
    }

    /// Compiles the continuations of a place; `false` if that is not possible.
    fn prepare(&self, place: Place) -> bool {
        let prepared = self.pieces_at(place).and_then(|pieces| {
            self.program.pieces_with_loops(self.variant, &pieces, |_| false).map(drop)
        });
        let mut found = self.found();
        match prepared {
            Ok(()) => found.ready.insert(place),
            Err(why) => {
                tracing::debug!("a stack with {place:?} cannot be captured: {why}");
                found.impossible.insert(place)
            }
        };
        !found.impossible.contains(&place)
    }

    /// The continuations that a frame at this place may go on in.
    fn pieces_at(&self, place: Place) -> Result<Vec<Piece>, Refusal> {
        let (function, map) = match place.piece {
            Some(piece) => (piece.function(), self.program.piece_map(self.variant, piece)),
            None => {
                // What the transform added has no frames of its own.
                let original = self.program.original()?.original_function(place.function);
                let Some(function) = original else { return Ok(Vec::new()) };
                (function, self.program.function_map(self.variant, function))
            }
        };
        let lost = || Refusal::Engine(format!("function {function} has no offset map"));
        let at = map.ok_or_else(lost)?.original(XformPc(place.offset));
        let layouts = self.program.layouts(function)?;
        let sites = layouts.iter().enumerate().filter(|(_, layout)| layout.at == at);
        Ok(sites.map(|(site, _)| Piece::Tail { function, site: site as u32 }).collect())
    }
}

#[cfg(test)]
impl Readiness {
    /// From now on it knows what `other` knows.
    pub fn share(&mut self, other: &Readiness) {
        self.shared = Arc::clone(&other.shared);
    }

    /// The continuations of the places that were found to be ready.
    pub fn ready_pieces(&self) -> HashSet<Piece> {
        let found = self.shared.found();
        let places = found.ready.iter();
        places.flat_map(|place| self.shared.pieces_at(*place).unwrap_or_default()).collect()
    }
}
