//! The continuations that a guest has needed so far, as instances.
//!
//! Invariant: there is one instance for each piece, which any stack may use: what differs between stacks is in
//! their records.

use crate::admit::Refusal;
use crate::guest::{Guest, State, export, serve_pending};
use crate::program::Program;
use rayon::prelude::*;
use std::collections::HashMap;
use wasmtime::{Caller, Extern, Func, Instance, Ref, Table};
use wrr_transform::{HOST_FUNCTIONS, LOOP, MAIN, Piece, RUN, Variant};

/// The continuations of a guest.
pub(crate) struct Pieces {
    /// What [`HOST_FUNCTIONS`] names.
    host: [Func; HOST_FUNCTIONS.len()],
    known: HashMap<Piece, Func>,
    slots: HashMap<Slot, u32>,
}

/// What the table of continuations holds.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Slot {
    Tail(Piece),
    /// A host call that has not been answered, with and without a result.
    Call,
    CallWithoutResult,
}

impl Pieces {
    pub fn new(host: [Func; HOST_FUNCTIONS.len()]) -> Pieces {
        Pieces { host, known: HashMap::new(), slots: HashMap::new() }
    }
}

fn failed(error: wasmtime::Error) -> Refusal {
    Refusal::Engine(format!("{error:#}"))
}

impl Guest {
    /// Makes sure that these pieces, and the loop entries that they go on with, are instances.
    pub(crate) fn load_pieces(&mut self, wanted: &[Piece]) -> Result<(), Refusal> {
        let known = &self.pieces.known;
        let is_known = |piece: &Piece| known.contains_key(piece);
        let mut compiled = self.program.pieces_with_loops(self.variant, wanted, is_known)?;
        self.program.store_pieces();
        // A loop entry goes on with those of loops around it, which begin before it.
        compiled.sort_unstable_by_key(|(piece, _)| {
            (matches!(piece, Piece::Tail { .. }), piece.function(), piece.site())
        });
        for (piece, module) in compiled {
            let imports = self.piece_imports(&module)?;
            let instance = Instance::new(&mut self.store, &module, &imports).map_err(failed)?;
            let run = instance.get_func(&mut self.store, RUN);
            let run = run.ok_or_else(|| Refusal::Engine("a piece without its code".to_owned()))?;
            self.pieces.known.insert(piece, run);
            self.store.data_mut().ready.add_module(module, piece);
        }
        Ok(())
    }

    fn piece_imports(&mut self, module: &wasmtime::Module) -> Result<Vec<Extern>, Refusal> {
        let mut imports = Vec::with_capacity(module.imports().len());
        for import in module.imports() {
            let found = match import.module() {
                MAIN => export(self, import.name()),
                LOOP => loop_named(import.name())
                    .and_then(|piece| self.pieces.known.get(&piece))
                    .map(|&function| Extern::Func(function)),
                _ => HOST_FUNCTIONS
                    .iter()
                    .position(|(_, name)| import.name().ends_with(name))
                    .map(|index| Extern::Func(self.pieces.host[index])),
            };
            imports.push(found.ok_or_else(|| {
                Refusal::Engine(format!(
                    "a continuation needs {}, which is not there",
                    import.name()
                ))
            })?);
        }
        Ok(imports)
    }

    /// The function of a piece that was loaded.
    pub(crate) fn piece_function(&self, piece: Piece) -> Option<Func> {
        self.pieces.known.get(&piece).copied()
    }

    /// The place of something in the table of continuations.
    pub(crate) fn slot(&mut self, slot: Slot) -> Result<u32, Refusal> {
        if let Some(&index) = self.pieces.slots.get(&slot) {
            return Ok(index);
        }
        let function = match slot {
            Slot::Tail(piece) => self
                .piece_function(piece)
                .ok_or_else(|| Refusal::Engine("a continuation was not loaded".to_owned()))?,
            Slot::Call => Func::wrap(&mut self.store, serve_pending),
            Slot::CallWithoutResult => Func::wrap(&mut self.store, |caller: Caller<'_, State>| {
                serve_pending(caller).map(drop)
            }),
        };
        let table: Table = self.parts.continuations;
        self.store.data_mut().limiter.own = true;
        let grown = table.grow(&mut self.store, 1, Ref::Func(Some(function)));
        self.store.data_mut().limiter.own = false;
        let index = u32::try_from(grown.map_err(failed)?)
            .map_err(|_| Refusal::Engine("too many continuations".to_owned()))?;
        self.pieces.slots.insert(slot, index);
        Ok(index)
    }
}

impl Program {
    /// These pieces and the loop entries that they go on with, compiled if they have not been;
    /// without those that are known.
    ///
    /// # Errors
    /// One cannot be compiled.
    pub(crate) fn pieces_with_loops(
        &self,
        variant: Variant,
        wanted: &[Piece],
        is_known: impl Fn(&Piece) -> bool,
    ) -> Result<Vec<(Piece, wasmtime::Module)>, Refusal> {
        let mut missing: Vec<Piece> = wanted.to_vec();
        let mut compiled: Vec<(Piece, wasmtime::Module)> = Vec::new();
        loop {
            missing.sort_unstable();
            missing.dedup();
            missing.retain(|piece| !is_known(piece) && compiled.iter().all(|(p, _)| p != piece));
            if missing.is_empty() {
                return Ok(compiled);
            }
            let modules: Vec<(Piece, wasmtime::Module)> = missing
                .par_iter()
                .map(|&piece| Ok((piece, self.piece(variant, piece)?)))
                .collect::<Result<_, Refusal>>()?;
            missing.clear();
            for (_, module) in &modules {
                let loops = module.imports().filter(|import| import.module() == LOOP);
                missing.extend(loops.filter_map(|import| loop_named(import.name())));
            }
            compiled.extend(modules);
        }
    }
}

/// The loop entry with this import name.
fn loop_named(name: &str) -> Option<Piece> {
    let (function, site) = name.split_once('.')?;
    Some(Piece::LoopEntry { function: function.parse().ok()?, site: site.parse().ok()? })
}
