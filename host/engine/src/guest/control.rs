//! The calls with which a guest controls its checkpoints, and lists that the host gives it.

use super::{Parts, State, stop};
use wasmtime::{Caller, Trap, Val};
use wrr_trace::{Errno, Function, Pause, Reply, Tick};

/// Serves a call with which the guest controls its checkpoints.
pub(crate) fn serve_control(
    mut caller: Caller<'_, State>,
    function: Function,
    args: &[u64],
) -> wasmtime::Result<i32> {
    let parts = caller.data().parts.expect("a guest runs");
    let left = parts.left.get(&mut caller).unwrap_i64();
    let state = caller.data_mut();
    if state.is_giving {
        return Err(Trap::UnreachableCodeReached.into());
    }
    let tick = state.armed.wrapping_sub(left as u64);
    let pause = || Pause::Call { function, args: args.to_vec() };
    if tick >= state.stop_tick || state.stop_event == Some(state.host.events()) {
        stop(&mut caller, pause())?;
        return Ok(0);
    }
    let (memory, state): (&mut [u8], &mut State) = match parts.memory {
        Some(memory) => memory.data_and_store_mut(&mut caller),
        None => (&mut [], caller.data_mut()),
    };
    let outcome = match state.host.control(function, args, memory, Tick(tick)) {
        Ok(Ok(outcome)) => outcome,
        // The canonical ABI traps where a pointer or a string is wrong.
        Ok(Err(Errno::fault)) => return Err(Trap::MemoryOutOfBounds.into()),
        Ok(Err(Errno::inval)) => return Err(Trap::HeapMisaligned.into()),
        Ok(Err(_)) => return Err(Trap::UnreachableCodeReached.into()),
        Err(wait) if wait.is_waiting() => {
            caller.data_mut().waits = true;
            stop(&mut caller, pause())?;
            return Ok(0);
        }
        Err(stop) => return Err(stop.into()),
    };
    match (outcome.reply, function) {
        (Reply::Number(number), _) => Ok(number as i32),
        (Reply::Received(some), Function::ControlBranch) => {
            let given = (some != 0).then_some(&outcome.data[..]);
            give(&mut caller, parts, args[2] as u32, given).map(|()| 0)
        }
        _ => Ok(0),
    }
}

/// Puts an `option<list<u8>>` at an address, as the canonical ABI has it: the guest's `cabi_realloc` makes room for the list.
/// The guest cannot be stopped in there, and traps if it asks the host for anything.
fn give(
    caller: &mut Caller<'_, State>,
    parts: Parts,
    at: u32,
    data: Option<&[u8]>,
) -> wasmtime::Result<()> {
    let memory = parts.memory.ok_or(Trap::MemoryOutOfBounds)?;
    let mut result = [0; 12];
    if let Some(data) = data {
        let realloc = parts.realloc.ok_or(Trap::UnreachableCodeReached)?;
        let len = u32::try_from(data.len()).map_err(|_| Trap::MemoryOutOfBounds)?;
        let args = [Val::I32(0), Val::I32(0), Val::I32(1), Val::I32(len as i32)];
        let mut address = [Val::I32(0)];
        // Its ticks are not counted: there could be no stop at them.
        let left = parts.left.get(&mut *caller);
        parts.left.set(&mut *caller, Val::I64(i64::MAX))?;
        // Nor is it looked at.
        let looking = parts.looking.get(&mut *caller);
        parts.looking.set(&mut *caller, Val::I32(0))?;
        caller.data_mut().is_giving = true;
        let called = realloc.call(&mut *caller, &args, &mut address);
        caller.data_mut().is_giving = false;
        parts.looking.set(&mut *caller, looking)?;
        parts.left.set(&mut *caller, left)?;
        called?;
        let address = address[0].unwrap_i32() as u32;
        memory
            .data_mut(&mut *caller)
            .get_mut(address as usize..)
            .and_then(|room| room.get_mut(..data.len()))
            .ok_or(Trap::MemoryOutOfBounds)?
            .copy_from_slice(data);
        result[0] = 1;
        result[4..8].copy_from_slice(&address.to_le_bytes());
        result[8..12].copy_from_slice(&len.to_le_bytes());
    }
    memory
        .data_mut(&mut *caller)
        .get_mut(at as usize..)
        .and_then(|room| room.get_mut(..result.len()))
        .ok_or(Trap::MemoryOutOfBounds)?
        .copy_from_slice(&result);
    Ok(())
}
