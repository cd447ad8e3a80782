//! What a fuzzer is told of a run: which way decisions went, and what was compared with what.
//!
//! A *counter* is a byte. Every function has one for its calls, every decision (`if`, `br_if`, `br_table`, `select`) one for each of its
//! outcomes: so every edge of the control flow that another one does not imply is counted. An equality of numbers has one for each
//! number of leading bytes that agree, so that a guess that comes closer is seen; not where it is compared with a small constant, or to go on
//! with a loop. An `xor` with a large constant, or whose result only matters by whether it is zero, is an equality as well: compilers compare longer texts like that. Counters go from 255 to 1, so that one that was counted is never zero.
//!
//! Invariant: a counter's number depends on the original module alone.

use crate::TransformError;
use crate::module::Module;
use crate::names::function_names;
use rayon::prelude::*;
use std::collections::BTreeMap;
use wasm_encoder::ValType;
use wasmparser::Operator;

/// The counters of one function.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    /// The function's own.
    pub entry: u32,
    /// By offset in the module: the first one of an instruction.
    pub at: BTreeMap<u32, Counter>,
    /// How many there are.
    count: u32,
}

/// The first counter of an instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Counter {
    pub first: u32,
    pub of: Counted,
}

/// What is counted at an instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Counted {
    /// Whether the topmost operand is zero.
    Condition,
    /// Which of so many targets, and the default one behind them, the topmost operand chooses.
    Table { targets: u32 },
    /// How many leading bytes of the two topmost operands agree.
    Agreement(ValType),
}

impl Counted {
    fn counters(self) -> u32 {
        match self {
            Counted::Condition => 2,
            Counted::Table { targets } => targets + 1,
            Counted::Agreement(ValType::I64) => 9,
            Counted::Agreement(_) => 5,
        }
    }

    fn of(op: &Operator<'_>) -> Option<Counted> {
        match op {
            Operator::If { .. }
            | Operator::BrIf { .. }
            | Operator::Select
            | Operator::TypedSelect { .. } => Some(Counted::Condition),
            Operator::BrTable { targets } => Some(Counted::Table { targets: targets.len() }),
            Operator::I32Eq | Operator::I32Ne => Some(Counted::Agreement(ValType::I32)),
            Operator::I64Eq | Operator::I64Ne => Some(Counted::Agreement(ValType::I64)),
            _ => None,
        }
    }
}

impl Counters {
    fn add(&mut self, at: u32, of: Counted, start: u32) {
        self.at.insert(at, Counter { first: start + self.count, of });
        self.count += of.counters();
    }
}

/// Constants up to this are guessed quickly enough: their outcomes are all that is counted.
const GUESSED_MAX: u64 = 0xff;

/// The size of a constant.
fn constant(op: &Operator<'_>) -> Option<u64> {
    match *op {
        Operator::I32Const { value } => Some(u64::from(value.unsigned_abs())),
        Operator::I64Const { value } => Some(value.unsigned_abs()),
        _ => None,
    }
}

/// The operands' type of an `xor`.
fn xor(op: &Operator<'_>) -> Option<ValType> {
    match op {
        Operator::I32Xor => Some(ValType::I32),
        Operator::I64Xor => Some(ValType::I64),
        _ => None,
    }
}

/// A function of the program that compares what lies in memory, known by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Comparer {
    /// Two addresses and a length.
    Bounded,
    /// Two addresses of texts that end with a zero.
    Text,
}

impl Comparer {
    /// The functions of ISO C, section 7.24.4, and of POSIX.
    fn of(name: &str) -> Option<Comparer> {
        match name {
            "memcmp" | "bcmp" | "__memcmp" | "strncmp" | "strncasecmp" => Some(Comparer::Bounded),
            "strcmp" | "strcasecmp" => Some(Comparer::Text),
            _ => None,
        }
    }

    fn params(self) -> usize {
        match self {
            Comparer::Bounded => 3,
            Comparer::Text => 2,
        }
    }
}

impl Module {
    /// The counters of a function, numbered from a start.
    fn counters_from(&self, function: u32, start: u32) -> Result<Counters, TransformError> {
        let mut counters = Counters { entry: start, at: BTreeMap::new(), count: 1 };
        let mut reader = self.body(function)?.get_operators_reader()?;
        let mut is_loop = Vec::new();
        let mut before: Option<u64> = None;
        let mut agreement: Option<u32> = None;
        let mut differs: Option<(u32, ValType)> = None;
        while !reader.eof() {
            let at = reader.original_position() as u32;
            let op = reader.read()?;
            if let (Operator::BrIf { relative_depth }, Some(at)) = (&op, agreement) {
                let target = is_loop.len().checked_sub(1 + *relative_depth as usize);
                if target.is_some_and(|target| is_loop[target]) {
                    let gone = counters.at.remove(&at).map_or(0, |counter| counter.of.counters());
                    counters.count -= gone;
                }
            }
            let only_zero_matters = matches!(
                op,
                Operator::I32Or | Operator::I64Or | Operator::I32Eqz | Operator::I64Eqz
            );
            if let (Some((at, ty)), true) = (differs.take(), only_zero_matters) {
                counters.add(at, Counted::Agreement(ty), start);
            }
            match op {
                Operator::Loop { .. } => is_loop.push(true),
                Operator::Block { .. } | Operator::If { .. } | Operator::TryTable { .. } => {
                    is_loop.push(false);
                }
                Operator::End => {
                    is_loop.pop();
                }
                _ => {}
            }
            let small = before.is_some_and(|constant| constant <= GUESSED_MAX);
            let counted = Counted::of(&op)
                .filter(|counted| !(small && matches!(counted, Counted::Agreement(_))));
            agreement = None;
            if let Some(of) = counted {
                counters.add(at, of, start);
                agreement = matches!(of, Counted::Agreement(_)).then_some(at);
            } else if let Some(ty) = xor(&op) {
                match before {
                    Some(constant) if constant > GUESSED_MAX => {
                        counters.add(at, Counted::Agreement(ty), start);
                    }
                    _ => differs = Some((at, ty)),
                }
            }
            before = constant(&op);
        }
        Ok(counters)
    }

    /// Where each function's counters begin; the last element is how many there are.
    fn counter_starts(&self) -> Result<&[u32], TransformError> {
        if let Some(starts) = self.counter_starts.get() {
            return Ok(starts);
        }
        let counts: Vec<u32> = (0..self.bodies.len() as u32)
            .into_par_iter()
            .map(|defined| Ok(self.counters_from(self.imported_functions + defined, 0)?.count))
            .collect::<Result<_, TransformError>>()?;
        let mut starts = vec![0u32];
        for count in counts {
            let last = starts.last().copied().unwrap_or(0);
            let too_many = TransformError::Unsupported { what: "a module with so many decisions" };
            starts.push(last.checked_add(count).ok_or(too_many)?);
        }
        Ok(self.counter_starts.get_or_init(|| starts))
    }

    /// How many counters [`Variant::Covered`](crate::Variant::Covered) has, one byte each.
    ///
    /// # Errors
    /// [`TransformError::Invalid`] for a body that cannot be read.
    pub fn counter_count(&self) -> Result<u32, TransformError> {
        Ok(self.counter_starts()?.last().copied().unwrap_or(0))
    }

    /// What is counted in a function.
    pub(crate) fn counters(&self, function: u32) -> Result<Counters, TransformError> {
        let starts = self.counter_starts()?;
        let defined = function.checked_sub(self.imported_functions);
        let start = defined.and_then(|defined| starts.get(defined as usize)).copied();
        self.counters_from(function, start.ok_or(TransformError::NoSuchFunction { function })?)
    }

    /// Whether a function compares what lies in memory, as far as its name says so.
    pub(crate) fn comparer(&self, function: u32) -> Option<Comparer> {
        let find = || {
            let names = function_names(&self.bytes).into_iter();
            let found = names.filter_map(|(function, name)| {
                let comparer = Comparer::of(&name)?;
                let signature =
                    self.functions.get(function as usize).map(|_| self.signature(function))?;
                let fits = signature.params == vec![ValType::I32; comparer.params()];
                fits.then_some((function, comparer))
            });
            found.collect()
        };
        self.comparers.get_or_init(find).get(&function).copied()
    }
}
