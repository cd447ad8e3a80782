//! Writes an outcome into guest memory. Recording and replaying share it, so they cannot differ.
//!
//! Order: delivered bytes first, then the results behind the out pointers, first to last. A guest whose
//! buffers overlap its out pointers can see the order, so it must never change.

use crate::decode::{out_layout, outs};
use crate::memory::{check_place, put};
use wrr_trace::{Call, Errno, Function, Input, Iovec, Outcome, Reply, ReplyKind};

/// Whether the outcome can be applied: every place lies in memory and is large enough.
///
/// # Errors
/// `fault` or `inval` as for a bad pointer, `overflow` if the outcome holds more than was asked for.
pub fn fits(call: &Call, outcome: &Outcome, memory: &[u8]) -> Result<(), Errno> {
    if outcome.errno != Errno::success {
        return Ok(());
    }
    let signature = call.function.signature();
    for (addr, (len, align)) in outs(call).zip(out_layout(signature.reply)) {
        check_place(memory, addr, len, align)?;
    }
    let len = u32::try_from(outcome.data.len()).map_err(|_| Errno::overflow)?;
    let arg = |i: usize| call.args[i] as u32;
    let (addr, room) = match (call.function, &call.input) {
        (Function::ArgsGet | Function::EnvironGet, _) => {
            let count = outcome.data.iter().filter(|&&b| b == 0).count();
            let pointers = u32::try_from(count * 4).map_err(|_| Errno::overflow)?;
            check_place(memory, arg(0), pointers, 4)?;
            (arg(1), len)
        }
        (Function::FdReaddir, _) => (arg(1), arg(2)),
        (Function::PathReadlink, _) => (arg(3), arg(4)),
        (Function::FdPrestatDirName, _) => (arg(1), arg(2)),
        (Function::RandomGet, _) => (arg(0), arg(1)),
        (Function::PollOneoff, _) => {
            if let Reply::Polled(events) = &outcome.reply {
                if events.len() as u64 > call.args[2] {
                    return Err(Errno::overflow);
                }
                check_place(memory, arg(1), events.len() as u32 * 32, 8)?;
            }
            (0, 0)
        }
        (_, Input::Buffers(iovs)) => {
            for iov in iovs {
                check_place(memory, iov.addr, iov.len, 1)?;
            }
            let room: u64 = iovs.iter().map(|v| u64::from(v.len)).sum();
            (0, u32::try_from(room).unwrap_or(u32::MAX))
        }
        // Its room is made when it is known how much there is.
        (Function::ControlBranch, _) => (0, len),
        _ => (0, 0),
    };
    if len > room {
        return Err(Errno::overflow);
    }
    let elsewhere =
        matches!(call.input, Input::Buffers(_)) || call.function == Function::ControlBranch;
    check_place(memory, addr, if elsewhere { 0 } else { len }, 1)
}

/// Writes the outcome. A failed call writes nothing.
///
/// Requires: [`fits`] said so.
pub fn apply(call: &Call, outcome: &Outcome, memory: &mut [u8]) {
    if outcome.errno != Errno::success {
        return;
    }
    let arg = |i: usize| call.args[i] as u32;
    let data = &outcome.data[..];
    match (call.function, &call.input) {
        (Function::ArgsGet | Function::EnvironGet, _) => put_strings(memory, arg(0), arg(1), data),
        (Function::FdReaddir | Function::FdPrestatDirName, _) => put(memory, arg(1), data),
        (Function::PathReadlink, _) => put(memory, arg(3), data),
        (Function::RandomGet, _) => put(memory, arg(0), data),
        (_, Input::Buffers(iovs)) => scatter(memory, iovs, data),
        _ => {}
    }
    let len = data.len() as u32;
    let mut outs = outs(call);
    let mut put_out = |memory: &mut [u8], bytes: &[u8]| {
        if let Some(addr) = outs.next() {
            put(memory, addr, bytes);
        }
    };
    match &outcome.reply {
        // The functions without an out pointer for the count ignore it.
        Reply::Nothing => {
            if call.function.signature().reply == ReplyKind::Bytes {
                put_out(memory, &len.to_le_bytes());
            }
        }
        Reply::Number(n) => put_out(memory, &n.to_le_bytes()),
        Reply::Wide(n) => put_out(memory, &n.to_le_bytes()),
        Reply::Sizes(count, bytes) => {
            put_out(memory, &count.to_le_bytes());
            put_out(memory, &bytes.to_le_bytes());
        }
        Reply::Received(flags) => {
            put_out(memory, &len.to_le_bytes());
            put_out(memory, &flags.to_le_bytes());
        }
        Reply::Fdstat(s) => {
            let mut bytes = [0; 24];
            bytes[0] = s.filetype;
            bytes[2..4].copy_from_slice(&s.flags.to_le_bytes());
            bytes[8..16].copy_from_slice(&s.rights.to_le_bytes());
            bytes[16..24].copy_from_slice(&s.inheriting.to_le_bytes());
            put_out(memory, &bytes);
        }
        Reply::Filestat(s) => {
            let mut bytes = [0; 64];
            let fields =
                [s.dev, s.ino, u64::from(s.filetype), s.nlink, s.size, s.atim, s.mtim, s.ctim];
            for (place, field) in bytes.chunks_exact_mut(8).zip(fields) {
                place.copy_from_slice(&field.to_le_bytes());
            }
            put_out(memory, &bytes);
        }
        Reply::Prestat(name_len) => {
            // Tag 0 (a directory) in the first byte, the length in the second word.
            let mut bytes = [0; 8];
            bytes[4..8].copy_from_slice(&name_len.to_le_bytes());
            put_out(memory, &bytes);
        }
        Reply::Polled(events) => {
            for (i, e) in events.iter().enumerate() {
                let mut bytes = [0; 32];
                bytes[0..8].copy_from_slice(&e.userdata.to_le_bytes());
                bytes[8..10].copy_from_slice(&e.errno.number().to_le_bytes());
                bytes[10] = e.kind;
                bytes[16..24].copy_from_slice(&e.nbytes.to_le_bytes());
                bytes[24..26].copy_from_slice(&e.flags.to_le_bytes());
                put(memory, arg(1) + i as u32 * 32, &bytes);
            }
            put_out(memory, &(events.len() as u32).to_le_bytes());
        }
    }
}

/// Strings into `buf`, and their addresses into the array at `pointers`.
fn put_strings(memory: &mut [u8], pointers: u32, buf: u32, data: &[u8]) {
    put(memory, buf, data);
    let mut start = 0;
    for (i, string) in data.split_inclusive(|&b| b == 0).enumerate() {
        // A hostile trace may leave the last string without its end; it gets no pointer then.
        if string.last() == Some(&0) {
            put(memory, pointers + i as u32 * 4, &(buf + start).to_le_bytes());
        }
        start += string.len() as u32;
    }
}

fn scatter(memory: &mut [u8], iovs: &[Iovec], mut data: &[u8]) {
    for iov in iovs {
        let (piece, rest) = data.split_at(data.len().min(iov.len as usize));
        put(memory, iov.addr, piece);
        data = rest;
    }
}
