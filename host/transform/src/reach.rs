//! Which functions may reach an import: a look at every call of the module, and a fixed point over them.
//!
//! Also notes which instructions occur that need helpers. Does not validate: that is done when bodies are planned.

use crate::emit::{Checks, Feedback, Helper};
use crate::module::Module;
use crate::{SiteKind, TransformError};
use rayon::prelude::*;
use std::collections::BTreeSet;
use wasmparser::Operator;

/// What one function calls.
#[derive(Debug, Default)]
struct Calls {
    direct: Vec<u32>,
    /// Canonical types of indirect calls.
    indirect: Vec<u32>,
}

/// What was found in all bodies.
pub(crate) struct Scan {
    calls: Vec<Calls>,
    pub helpers: BTreeSet<Helper>,
    pub tables_change: bool,
}

/// The functions of which frames can be captured, whether frames count what they take of the stack, and whether a run can be looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capturable {
    functions: Vec<bool>,
    /// By canonical type: whether a function that can be captured may be called with it.
    types: Vec<bool>,
    counts_stack: bool,
    is_looked_at: bool,
    /// Only passages are.
    only_passages: bool,
    tells_accesses: bool,
    feedback: Option<Feedback>,
    canonical_types: Vec<u32>,
}

impl Capturable {
    /// Every function.
    #[must_use]
    pub fn all(module: &Module) -> Capturable {
        Capturable {
            functions: vec![true; module.functions.len()],
            types: vec![true; module.types.len()],
            counts_stack: false,
            is_looked_at: false,
            only_passages: false,
            tells_accesses: false,
            feedback: None,
            canonical_types: module.canonical_types.clone(),
        }
    }

    /// The same functions, where a run can be looked at at every tick.
    pub(crate) fn looked_at(self) -> Capturable {
        Capturable { is_looked_at: true, ..self }
    }

    /// The same functions, where a run can be looked at at its passages.
    pub(crate) fn looked_at_passages(self) -> Capturable {
        Capturable { is_looked_at: true, only_passages: true, ..self }
    }

    /// No functions; accesses to memory are told.
    pub(crate) fn telling_accesses(module: &Module) -> Capturable {
        Capturable {
            functions: vec![false; module.functions.len()],
            types: vec![false; module.types.len()],
            tells_accesses: true,
            ..Capturable::all(module)
        }
    }

    /// The same functions, where frames count what they take of the stack.
    pub(crate) fn counting_stack(self) -> Capturable {
        Capturable { counts_stack: true, ..self }
    }

    /// The same functions, in code that tells a fuzzer what it does.
    pub(crate) fn with_feedback(self, feedback: Feedback) -> Capturable {
        Capturable { feedback: Some(feedback), ..self }
    }

    /// Whether frames of this function can be captured.
    #[must_use]
    pub fn contains(&self, function: u32) -> bool {
        self.functions.get(function as usize).copied().unwrap_or(false)
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.functions.iter().filter(|&&yes| yes).count()
    }
}

impl Checks for Capturable {
    fn function(&self, function: u32) -> bool {
        self.contains(function)
    }

    fn stack(&self) -> bool {
        self.counts_stack
    }

    fn looks(&self, is_passage: bool) -> bool {
        self.is_looked_at && (is_passage || !self.only_passages)
    }

    fn tells_accesses(&self) -> bool {
        self.tells_accesses
    }

    fn feedback(&self) -> Option<Feedback> {
        self.feedback
    }

    fn site(&self, kind: SiteKind) -> bool {
        match kind {
            SiteKind::Entry | SiteKind::Header => true,
            SiteKind::Call { function } => self.contains(function),
            SiteKind::CallIndirect { ty } | SiteKind::CallRef { ty } => {
                self.types[self.canonical_types[ty as usize] as usize]
            }
        }
    }
}

impl Module {
    /// Looks at every instruction.
    pub(crate) fn scan(&self) -> Result<Scan, TransformError> {
        let found: Vec<(Calls, BTreeSet<Helper>, bool)> = (0..self.bodies.len() as u32)
            .into_par_iter()
            .map(|defined| self.scan_body(self.imported_functions + defined))
            .collect::<Result<_, _>>()?;
        let mut scan = Scan { calls: Vec::new(), helpers: BTreeSet::new(), tables_change: false };
        scan.calls.resize_with(self.imported_functions as usize, Calls::default);
        for (calls, helpers, tables_change) in found {
            scan.calls.push(calls);
            scan.helpers.extend(helpers);
            scan.tables_change |= tables_change;
        }
        Ok(scan)
    }

    fn scan_body(&self, function: u32) -> Result<(Calls, BTreeSet<Helper>, bool), TransformError> {
        let mut calls = Calls::default();
        let mut helpers = BTreeSet::new();
        let mut tables_change = false;
        let mut indirect = |ty: u32| {
            let ty = self.canonical_types.get(ty as usize).copied();
            calls.indirect.push(ty.ok_or(TransformError::Unsupported { what: "a type index" })?);
            Ok::<_, TransformError>(())
        };
        for op in self.body(function)?.get_operators_reader()? {
            match op? {
                Operator::Call { function_index } | Operator::ReturnCall { function_index } => {
                    if function_index as usize >= self.functions.len() {
                        return Err(TransformError::NoSuchFunction { function: function_index });
                    }
                    calls.direct.push(function_index);
                }
                Operator::CallIndirect { type_index, .. }
                | Operator::ReturnCallIndirect { type_index, .. }
                | Operator::CallRef { type_index }
                | Operator::ReturnCallRef { type_index } => indirect(type_index)?,
                Operator::DataDrop { data_index } => {
                    helpers.insert(Helper::DropData(data_index));
                }
                Operator::ElemDrop { elem_index } => {
                    helpers.insert(Helper::DropElements(elem_index));
                }
                Operator::MemoryInit { data_index, mem } => {
                    helpers.insert(Helper::InitMemory { segment: data_index, memory: mem });
                }
                Operator::TableInit { elem_index, table } => {
                    helpers.insert(Helper::InitTable { segment: elem_index, table });
                    tables_change = true;
                }
                Operator::RefFunc { function_index } => {
                    helpers.insert(Helper::Reference(function_index));
                }
                Operator::TableSet { .. }
                | Operator::TableGrow { .. }
                | Operator::TableFill { .. }
                | Operator::TableCopy { .. } => tables_change = true,
                _ => {}
            }
        }
        calls.direct.sort_unstable();
        calls.direct.dedup();
        calls.indirect.sort_unstable();
        calls.indirect.dedup();
        Ok((calls, helpers, tables_change))
    }

    /// The functions that may reach an import.
    pub(crate) fn reaching(&self, scan: &Scan) -> Capturable {
        let mut callers: Vec<Vec<u32>> = vec![Vec::new(); self.functions.len()];
        let mut type_callers: Vec<Vec<u32>> = vec![Vec::new(); self.types.len()];
        for (caller, calls) in scan.calls.iter().enumerate() {
            for &callee in &calls.direct {
                callers[callee as usize].push(caller as u32);
            }
            for &ty in &calls.indirect {
                type_callers[ty as usize].push(caller as u32);
            }
        }
        let mut referenced = vec![false; self.functions.len()];
        for &function in &self.referenceable {
            referenced[function as usize] = true;
        }
        let mut reach = Capturable {
            functions: vec![false; self.functions.len()],
            types: vec![false; self.types.len()],
            counts_stack: false,
            is_looked_at: false,
            only_passages: false,
            tells_accesses: false,
            feedback: None,
            canonical_types: self.canonical_types.clone(),
        };
        let mut work: Vec<u32> = (0..self.imported_functions).collect();
        for &function in &work {
            reach.functions[function as usize] = true;
        }
        while let Some(function) = work.pop() {
            let mut found = |caller: u32, work: &mut Vec<u32>| {
                if !std::mem::replace(&mut reach.functions[caller as usize], true) {
                    work.push(caller);
                }
            };
            for &caller in &callers[function as usize] {
                found(caller, &mut work);
            }
            let ty = self.canonical_types[self.functions[function as usize] as usize] as usize;
            if referenced[function as usize] && !reach.types[ty] {
                reach.types[ty] = true;
                for &caller in &type_callers[ty] {
                    if !std::mem::replace(&mut reach.functions[caller as usize], true) {
                        work.push(caller);
                    }
                }
            }
        }
        reach
    }
}

impl Capturable {
    /// As bytes, for a cache: [`Capturable::from_bytes`] reads them.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let bits = |flags: &[bool]| {
            flags
                .chunks(8)
                .map(|chunk| {
                    chunk
                        .iter()
                        .enumerate()
                        .fold(0, |byte, (bit, &set)| byte | u8::from(set) << bit)
                })
                .collect::<Vec<u8>>()
        };
        let settings = [
            self.counts_stack,
            self.is_looked_at,
            self.tells_accesses,
            self.only_passages,
            self.feedback == Some(Feedback::Outcomes),
            self.feedback == Some(Feedback::Compares),
        ];
        let settings = (0u8..).zip(settings).map(|(bit, is_set)| u8::from(is_set) << bit).sum();
        [vec![settings], bits(&self.functions), bits(&self.types)].concat()
    }

    /// Reads [`Capturable::to_bytes`] of the same module; `None` if it cannot be.
    #[must_use]
    pub fn from_bytes(module: &Module, bytes: &[u8]) -> Option<Capturable> {
        let (functions, types) = (module.functions.len(), module.types.len());
        let (settings, bytes) = bytes.split_first()?;
        let (first, second) = bytes.split_at_checked(functions.div_ceil(8))?;
        let flags = |bytes: &[u8], count: usize| {
            (0..count).map(|index| bytes[index / 8] >> (index % 8) & 1 == 1).collect::<Vec<bool>>()
        };
        (second.len() == types.div_ceil(8)).then(|| Capturable {
            functions: flags(first, functions),
            types: flags(second, types),
            counts_stack: settings & 1 != 0,
            is_looked_at: settings & 2 != 0,
            tells_accesses: settings & 4 != 0,
            only_passages: settings & 8 != 0,
            feedback: match settings & 48 {
                16 => Some(Feedback::Outcomes),
                32 => Some(Feedback::Compares),
                _ => None,
            },
            canonical_types: module.canonical_types.clone(),
        })
    }
}
