//! What happens where the guest's tick counter has run out.

use super::{Bound, NEVER, State, arm, stop};
use wasmtime::{Caller, Trap};
use wrr_trace::{Pause, Tick};
use wrr_wasi::Host;

/// What a [`Heart`] wants at a beat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beat {
    /// The next beat after so many ticks.
    After(u64),
    /// Stop here.
    Stop,
    /// Stop here if that needs no compiler; otherwise what is missing is compiled in the
    /// background, and the next beat comes after so many ticks.
    StopIfReady(u64),
    /// Stop here, after compiling what is missing. If the stack cannot be captured, the next beat
    /// comes after so many ticks.
    StopIfPossible(u64),
}

/// Called periodically while the guest computes, at possible stops.
pub trait Heart: Send {
    /// The guest is at this tick.
    fn beat(&mut self, host: &mut Host, tick: Tick) -> Beat;
}

/// The guest's counter has run out.
pub(super) fn poll(mut caller: Caller<'_, State>) -> wasmtime::Result<()> {
    let parts = caller.data().parts.expect("a guest runs");
    let left = parts.left.get(&mut caller).unwrap_i64();
    let state = caller.data_mut();
    let tick = state.armed.wrapping_sub(left as u64);
    if tick >= state.deadline {
        state.bound = Some(Bound::Ticks);
        return Err(Trap::Interrupt.into());
    }
    if let Some((interrupt, at)) = &state.interrupt
        && tick >= *at
        && interrupt.load(std::sync::atomic::Ordering::Relaxed)
    {
        state.bound = Some(Bound::Asked);
        return Err(Trap::Interrupt.into());
    }
    let stops = tick >= state.stop_tick;
    let mut wanted = None;
    if let Some((heart, at)) = &mut state.heart
        && tick >= *at
    {
        let beat = heart.beat(&mut state.host, Tick(tick));
        let ticks = match beat {
            Beat::After(ticks) | Beat::StopIfReady(ticks) | Beat::StopIfPossible(ticks) => ticks,
            Beat::Stop => 1,
        };
        *at = tick.saturating_add(ticks.max(1)).min(NEVER);
        wanted = Some(beat);
    }
    let heart_stops = match wanted {
        None | Some(Beat::After(_)) => false,
        Some(Beat::Stop) => true,
        Some(Beat::StopIfReady(_)) => !stops && crate::readiness::is_ready(&mut caller),
        Some(Beat::StopIfPossible(_)) => !stops && crate::readiness::make_ready(&mut caller),
    };
    if (stops || heart_stops) && caller.data().accesses.is_some() {
        // This variant cannot be stopped.
        return Err(Trap::Interrupt.into());
    }
    if stops || heart_stops {
        match stop(&mut caller, Pause::Tick) {
            Ok(()) => {
                let state = caller.data_mut();
                state.heart_stopped = !stops;
                if let (true, Some((_, at))) = (heart_stops, &mut state.heart) {
                    *at = tick.saturating_add(1);
                }
                return Ok(());
            }
            Err(error) if stops || wanted == Some(Beat::Stop) => return Err(error),
            // The run goes on, and is asked again.
            Err(error) => tracing::debug!("the stack cannot be captured at tick {tick}: {error:#}"),
        }
    }
    arm(parts.left, &mut caller, tick);
    Ok(())
}
