//! Compares two traces.

use crate::Error;
use wrr_trace::{Event, TraceReader};

/// Something in which two traces differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// What differs: `arguments`, `event #17`, `ending`, …
    pub what: String,
    /// What the first trace has.
    pub first: String,
    /// What the second trace has.
    pub second: String,
}

/// All differences in what was run, then the first event that differs, then the endings.
/// The recording's time and host do not count. Empty if the traces are of the same run.
///
/// # Errors
/// [`Error::Trace`] if one of them is damaged before the first difference.
pub fn diff(first: &TraceReader, second: &TraceReader) -> Result<Vec<Difference>, Error> {
    let mut found = Vec::new();
    let mut note = |what: &str, first: String, second: String| {
        if first != second {
            found.push(Difference { what: what.to_owned(), first, second });
        }
    };
    let (a, b) = (first.manifest(), second.manifest());
    note("module", a.module.to_string(), b.module.to_string());
    note("arguments", format!("{:?}", a.args), format!("{:?}", b.args));
    note("environment", format!("{:?}", a.env), format!("{:?}", b.env));
    note("directories", format!("{:?}", a.preopens), format!("{:?}", b.preopens));
    note("sockets", a.sockets.to_string(), b.sockets.to_string());
    note("invoked export", format!("{:?}", a.invoke), format!("{:?}", b.invoke));
    note("deterministic", a.deterministic.to_string(), b.deterministic.to_string());
    note("limits", format!("{:?}", a.limits), format!("{:?}", b.limits));
    let (mut events_a, mut events_b) = (first.events()?, second.events()?);
    loop {
        match (events_a.next().transpose()?, events_b.next().transpose()?) {
            (None, None) => break,
            (Some(a), Some(b)) if a == b => {}
            (a, b) => {
                let index = a.as_ref().or(b.as_ref()).map_or(0, |e| e.index.0);
                let (a, b) = describe(a.as_ref(), b.as_ref());
                note(&format!("event #{index}"), a, b);
                break;
            }
        }
    }
    let ending = |reader: &TraceReader| match reader.ending() {
        Some(ending) => ending.to_string(),
        None => "incomplete".to_owned(),
    };
    note("ending", ending(first), ending(second));
    Ok(found)
}

/// Two events so that it can be seen in what they differ.
fn describe(a: Option<&Event>, b: Option<&Event>) -> (String, String) {
    let line = |event: Option<&Event>| match event {
        Some(event) => format!("{} -> {}", event.call, event.outcome_text()),
        None => "no more events".to_owned(),
    };
    let (mut first, mut second) = (line(a), line(b));
    if let (Some(a), Some(b), true) = (a, b, first == second) {
        if a.outcome.data != b.outcome.data {
            let at = a.outcome.data.iter().zip(&b.outcome.data).position(|(x, y)| x != y);
            let at = at.unwrap_or(a.outcome.data.len().min(b.outcome.data.len()));
            let shown = |data: &[u8]| {
                let rest = &data[at.min(data.len())..];
                format!("; byte {at}: \"{}\"", rest[..rest.len().min(16)].escape_ascii())
            };
            first += &shown(&a.outcome.data);
            second += &shown(&b.outcome.data);
        } else {
            // Addresses, results that the line leaves out.
            first += &format!(
                "; args {:x?} input {:?} {:?}",
                a.call.args(),
                a.call.input,
                a.outcome.reply
            );
            second += &format!(
                "; args {:x?} input {:?} {:?}",
                b.call.args(),
                b.call.input,
                b.outcome.reply
            );
        }
    }
    (first, second)
}
