//! Ends a recording properly when the user or the system wants it to end.

use crate::saved::Saved;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use wrr::Interrupt;

/// Completes a trace when the process is to end.
#[derive(Clone, Default)]
pub struct Signals(Arc<Mutex<Option<(Interrupt, Saved)>>>);

impl Signals {
    /// From now on Ctrl-C, a closed terminal and `kill` complete this trace, instead of an earlier one, and end the process with the code
    /// that a shell expects, after it was said how to go on. Signals that were ignored when wrr was started stay ignored (`nohup`).
    pub fn finish(&self, interrupt: Interrupt, saved: Saved) {
        let before = self.recording().replace((interrupt, saved));
        if before.is_none()
            && let Err(e) = install(self.clone())
        {
            tracing::debug!("signals end the recording without an ending: {e}");
        }
    }

    fn recording(&self) -> MutexGuard<'_, Option<(Interrupt, Saved)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `false` if the trace was being finished already.
    fn finish_now(&self) -> bool {
        let recording = self.recording();
        let Some((interrupt, saved)) = &*recording else { return true };
        let finished = interrupt.finish_trace();
        if finished {
            saved.tell();
        }
        finished
    }
}

#[cfg(unix)]
fn install(signals_of: Signals) -> std::io::Result<()> {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
    let ignored = ignored_signals();
    let wanted = [SIGINT, SIGTERM, SIGHUP].into_iter().filter(|s| ignored >> (s - 1) & 1 == 0);
    let mut signals = signal_hook::iterator::Signals::new(wanted)?;
    std::thread::Builder::new().name("wrr signals".to_owned()).spawn(move || {
        let mut insisting = false;
        for signal in signals.forever() {
            // A recording that is being finished already is let finish, unless the user insists.
            let finished = signals_of.finish_now();
            if finished || insisting {
                std::process::exit(128 + signal);
            }
            insisting = true;
        }
    })?;
    Ok(())
}

/// The signals that are ignored, as bits from signal 1 on. Only Linux tells without unsafe code.
#[cfg(unix)]
fn ignored_signals() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    line.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}

#[cfg(windows)]
fn install(signals_of: Signals) -> Result<(), ctrlc::Error> {
    let mut insisting = false;
    ctrlc::set_handler(move || {
        // A recording that is being finished already is let finish, unless the user insists.
        let finished = signals_of.finish_now();
        if finished || insisting {
            std::process::exit(130);
        }
        insisting = true;
    })
}
