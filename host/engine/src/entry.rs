//! What is called in a guest, and with what.

use crate::admit::Refusal;
use crate::program::Program;
use wasmtime::{Val, ValType};

/// What to call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// `_start`.
    Command,
    /// `_initialize` if there is one, then this export with these arguments, which are parsed as the
    /// numbers that its type asks for.
    Export {
        /// The export's name.
        name: String,
        /// Its arguments.
        args: Vec<String>,
    },
}

impl Program {
    /// Checks that there is something to call, and that the arguments fit.
    ///
    /// # Errors
    /// [`Refusal::Entry`].
    pub fn check_entry(&self, entry: &Entry) -> Result<(), Refusal> {
        self.arguments(entry).map(drop)
    }

    pub(crate) fn arguments(&self, entry: &Entry) -> Result<Vec<Val>, Refusal> {
        let compiled = self.loaded();
        let module = &compiled.module;
        // What the transform added is nobody's business.
        let own = |name: &str| !name.starts_with(&compiled.prefix);
        let function = |name: &str| {
            module.get_export(name).filter(|_| own(name)).and_then(|e| e.func().cloned())
        };
        let callable = || {
            let exports = module.exports().filter(|e| own(e.name()) && e.ty().func().is_some());
            let names: Vec<&str> = exports.map(|e| e.name()).take(20).collect();
            match names.is_empty() {
                true => "it exports no function".to_owned(),
                false => format!("it exports {}", names.join(", ")),
            }
        };
        match entry {
            Entry::Command => match function("_start") {
                None => Err(Refusal::Entry(format!(
                    "the module exports no function _start, so it is not a command; call one of its \
                     functions with --invoke NAME ({})",
                    callable()
                ))),
                Some(ty) if ty.params().len() + ty.results().len() > 0 => Err(Refusal::Entry(
                    format!("_start has type {ty}, a command's takes and gives nothing"),
                )),
                Some(_) => Ok(Vec::new()),
            },
            Entry::Export { name, args } => {
                let ty = function(name).ok_or_else(|| {
                    Refusal::Entry(format!("the module exports no function {name}; {}", callable()))
                })?;
                if ty.params().len() != args.len() {
                    return Err(Refusal::Entry(format!(
                        "{name} takes {} arguments, {} are given",
                        ty.params().len(),
                        args.len()
                    )));
                }
                if let Some(other) = ty.results().find(|ty| !is_number(ty)) {
                    return Err(Refusal::Entry(format!(
                        "{name} returns {other}; only functions that return numbers can be invoked"
                    )));
                }
                ty.params().zip(args).map(|(ty, text)| parse(name, &ty, text)).collect()
            }
        }
    }
}

fn is_number(ty: &ValType) -> bool {
    matches!(ty, ValType::I32 | ValType::I64 | ValType::F32 | ValType::F64)
}

fn parse(function: &str, ty: &ValType, text: &str) -> Result<Val, Refusal> {
    // Integers may be given signed or unsigned.
    let parsed = match ty {
        ValType::I32 => {
            text.parse().ok().or_else(|| text.parse::<u32>().ok().map(|v| v as i32)).map(Val::I32)
        }
        ValType::I64 => {
            text.parse().ok().or_else(|| text.parse::<u64>().ok().map(|v| v as i64)).map(Val::I64)
        }
        ValType::F32 => text.parse::<f32>().ok().map(|v| Val::F32(v.to_bits())),
        ValType::F64 => text.parse::<f64>().ok().map(|v| Val::F64(v.to_bits())),
        other => {
            return Err(Refusal::Entry(format!(
                "{function} takes {other}; only functions that take numbers can be invoked"
            )));
        }
    };
    parsed.ok_or_else(|| Refusal::Entry(format!("{function} takes {ty}, which {text:?} is not")))
}
