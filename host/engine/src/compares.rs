//! What a run compares with what: the host is told in [`Variant::Compares`](crate::Variant::Compares).

use crate::guest::{Guest, State};
use std::collections::HashMap;
use wasmtime::Caller;
use wrr_transform::{COMPARE_I32, COMPARE_I64};

/// So many comparisons of one place are noted: the last ones of a loop say no more than the first ones.
const PER_PLACE_MAX: u32 = 64;
/// So many are noted in all.
const COMPARISONS_MAX: usize = 1 << 16;
/// So much of what is compared in memory is noted, in bytes.
const BYTES_MAX: usize = 64;

/// What is compared.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Operands {
    /// Numbers of 32 bits.
    I32(u32, u32),
    /// Numbers of 64 bits.
    I64(u64, u64),
    /// What lies at two places in memory: the beginning of it, equally long.
    Bytes(Vec<u8>, Vec<u8>),
}

/// A comparison that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Comparison {
    /// Where, in bytes from the start of the module.
    pub at: u32,
    /// What was compared.
    pub operands: Operands,
}

/// What was compared so far.
#[derive(Debug, Default)]
pub(crate) struct Compares {
    found: Vec<Comparison>,
    by_place: HashMap<u32, u32>,
}

impl Guest {
    /// Notes from now on what is compared.
    pub fn note_compares(&mut self) {
        self.store.data_mut().compares = Some(Compares::default());
    }

    /// What was compared since [`Guest::note_compares`], in the order of execution.
    pub fn take_compares(&mut self) -> Vec<Comparison> {
        self.store.data_mut().compares.take().map(|compares| compares.found).unwrap_or_default()
    }
}

/// The guest is about to compare.
pub(crate) fn compare(mut caller: Caller<'_, State>, at: i32, kind: i32, a: i64, b: i64) {
    let at = at as u32;
    let Some(compares) = &mut caller.data_mut().compares else { return };
    let count = compares.by_place.entry(at).or_default();
    if *count >= PER_PLACE_MAX || compares.found.len() >= COMPARISONS_MAX {
        return;
    }
    *count += 1;
    let operands = match kind {
        COMPARE_I32 => Operands::I32(a as u32, b as u32),
        COMPARE_I64 => Operands::I64(a as u64, b as u64),
        len => {
            let memory = caller.data().parts.and_then(|parts| parts.memory);
            let Some(memory) = memory else { return };
            let memory = memory.data(&caller);
            let len = (len as usize).min(BYTES_MAX);
            let bytes =
                |at: i64| memory.get(at as usize..).map(|rest| &rest[..len.min(rest.len())]);
            let (Some(a), Some(b)) = (bytes(a), bytes(b)) else { return };
            let len = a.len().min(b.len());
            Operands::Bytes(a[..len].to_vec(), b[..len].to_vec())
        }
    };
    if let Some(compares) = &mut caller.data_mut().compares {
        compares.found.push(Comparison { at, operands });
    }
}
