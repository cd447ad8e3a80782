//! A program that is no interpreter, as what it is: functions of a module, and memory.

use wrr::format::Datum;
use wrr::{Error, Place, Walker};

/// A frame of the module's own stack.
#[derive(Clone, Debug, PartialEq)]
pub struct MachineFrame {
    /// The function's name, or its number.
    pub function: String,
    /// Where its instruction is, in bytes from the start of the module.
    pub offset: u32,
    /// Its live locals, by their numbers, and the operands that wait for its instruction.
    pub values: Vec<(String, String)>,
}

/// The stack where the walker stands, innermost frame first.
pub(super) fn frames(walker: &mut Walker<'_>) -> Result<Vec<MachineFrame>, Error> {
    let stack = walker.stack()?;
    Ok(stack
        .into_iter()
        .map(|frame| MachineFrame {
            function: match &frame.name {
                Some(name) => format!("{:#}", rustc_demangle::demangle(name)),
                None => format!("function {}", frame.function),
            },
            offset: frame.offset,
            values: frame.values.iter().map(|(place, datum)| (name(place), text(datum))).collect(),
        })
        .collect())
}

fn name(place: &Place) -> String {
    match place {
        Place::Local(local) => format!("local {local}"),
        other => format!("{other:?}").to_lowercase(),
    }
}

fn text(datum: &Datum) -> String {
    match datum {
        Datum::I32(value) => format!("{value} ({:#x})", *value as u32),
        Datum::I64(value) => format!("{value} ({:#x})", *value as u64),
        Datum::F32(bits) => f32::from_bits(*bits).to_string(),
        Datum::F64(bits) => f64::from_bits(*bits).to_string(),
        Datum::V128(bytes) => crate::watch::hex(bytes),
        Datum::Null => "null".to_owned(),
        Datum::Func(function) => format!("function {function}"),
        Datum::Exn { tag, .. } => format!("exception with tag {tag}"),
    }
}
