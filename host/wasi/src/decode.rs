//! From core wasm arguments to a [`Call`]: reads what they point to, and checks all that can be checked
//! without asking the host.
//!
//! The specification lets a host trap on bad pointers and unknown flags; as preview1 has errnos for
//! them, the guest gets `inval` (misaligned, unknown flag or enum value) or `fault` (outside of memory)
//! and nothing is carried out.

use crate::memory::{check_place, iovecs, slice};
use wrr_trace::{
    Call, EVENT_DATA_BYTES_MAX, Errno, Function, Input, InputKind, PARAMS_MAX, ParamKind,
    ReplyKind, hash_output,
};

/// Rights that the witx defines: bits 0 (`fd_datasync`) to 29 (`sock_accept`).
pub const RIGHTS: u64 = (1 << 30) - 1;
/// Longer paths fail with `nametoolong`. Above every file system's own limit.
const PATH_BYTES_MAX: u32 = 64 << 10;
/// The longest name of a checkpoint.
const NAME_BYTES_MAX: usize = 1024;
/// More subscriptions fail with `inval`.
const SUBSCRIPTIONS_MAX: u32 = 1 << 16;

/// Decodes a call. If something is wrong with it, says which errno the guest gets; the input is then
/// what could be read.
///
/// Requires: as many arguments as the function has parameters.
pub fn decode(function: Function, args: &[u64], memory: &[u8]) -> (Call, Option<Errno>) {
    let mut call = Call { function, args: [0; PARAMS_MAX], input: Input::None };
    call.args[..args.len()].copy_from_slice(args);
    let refused = check_values(&call)
        .and_then(|()| check_places(&call, memory))
        .and_then(|()| {
            call.input = input(&call, memory)?;
            Ok(())
        })
        .err();
    (call, refused)
}

fn check_values(call: &Call) -> Result<(), Errno> {
    for (param, &value) in call.function.signature().params.iter().zip(&call.args) {
        let known = match param.kind {
            ParamKind::Enum(names) => value < names.len() as u64,
            ParamKind::Flags(names) => value >> names.len() == 0,
            ParamKind::Rights => value & !RIGHTS == 0,
            _ => true,
        };
        if !known {
            return Err(Errno::inval);
        }
    }
    Ok(())
}

/// Length and alignment of what is written to each out pointer.
pub fn out_layout(reply: ReplyKind) -> [(u32, u32); 2] {
    match reply {
        ReplyKind::Nothing | ReplyKind::Strings => [(0, 1), (0, 1)],
        ReplyKind::Number | ReplyKind::Bytes | ReplyKind::Polled => [(4, 4), (0, 1)],
        ReplyKind::Sizes => [(4, 4), (4, 4)],
        ReplyKind::Wide | ReplyKind::Time => [(8, 8), (0, 1)],
        ReplyKind::Received => [(4, 4), (2, 2)],
        ReplyKind::Fdstat => [(24, 8), (0, 1)],
        ReplyKind::Filestat => [(64, 8), (0, 1)],
        ReplyKind::Prestat => [(8, 4), (0, 1)],
    }
}

/// The call's out pointers, in order.
pub fn outs(call: &Call) -> impl Iterator<Item = u32> + '_ {
    let params = call.function.signature().params.iter().zip(&call.args);
    params.filter(|(p, _)| p.kind == ParamKind::Out).map(|(_, &value)| value as u32)
}

fn check_places(call: &Call, memory: &[u8]) -> Result<(), Errno> {
    for (addr, (len, align)) in outs(call).zip(out_layout(call.function.signature().reply)) {
        check_place(memory, addr, len, align)?;
    }
    let arg = |i: usize| call.args[i] as u32;
    match call.function {
        Function::RandomGet => {
            check_place(memory, arg(0), arg(1), 1)?;
            // It must be filled completely, so it cannot be shortened to what one event may hold.
            if arg(1) as usize > EVENT_DATA_BYTES_MAX { Err(Errno::inval) } else { Ok(()) }
        }
        Function::FdReaddir => check_place(memory, arg(1), arg(2), 1),
        Function::PathReadlink => check_place(memory, arg(3), arg(4), 1),
        Function::FdPrestatDirName => check_place(memory, arg(1), arg(2), 1),
        Function::PollOneoff => {
            // `events` has room for as many events (32 bytes, aligned to 8) as there are subscriptions.
            let bytes = |each: u32| arg(2).checked_mul(each).ok_or(Errno::fault);
            check_place(memory, arg(1), bytes(32)?, 8)?;
            check_place(memory, arg(0), bytes(48)?, 8)?;
            if arg(2) > SUBSCRIPTIONS_MAX { Err(Errno::inval) } else { Ok(()) }
        }
        Function::ArgsGet | Function::EnvironGet => check_place(memory, arg(0), 0, 4),
        Function::ControlBranch => check_place(memory, arg(2), 12, 4),
        _ => Ok(()),
    }
}

fn input(call: &Call, memory: &[u8]) -> Result<Input, Errno> {
    let arg = |i: usize| call.args[i] as u32;
    let path = |i: usize| {
        let (addr, len) = (arg(i), arg(i + 1));
        let path = slice(memory, addr, len)?;
        if len > PATH_BYTES_MAX { Err(Errno::nametoolong) } else { Ok(path.to_vec()) }
    };
    Ok(match call.function.signature().input {
        InputKind::None => Input::None,
        InputKind::Path(i) if call.function.is_control() => {
            let name = path(i)?;
            if name.len() > NAME_BYTES_MAX {
                return Err(Errno::nametoolong);
            }
            Input::Path(String::from_utf8(name).map_err(|_| Errno::ilseq)?.into_bytes())
        }
        InputKind::Path(i) => Input::Path(path(i)?),
        InputKind::TwoPaths(i, j) => Input::TwoPaths(path(i)?, path(j)?),
        InputKind::Buffers(i) => Input::Buffers(iovecs(memory, arg(i), arg(i + 1))?),
        InputKind::Data(i) => {
            let iovs = iovecs(memory, arg(i), arg(i + 1))?;
            let pieces = iovs.iter().map(|v| &memory[v.addr as usize..][..v.len as usize]);
            Input::Data { hash: hash_output(pieces), iovs }
        }
        InputKind::Subscriptions(i) => {
            Input::Subscriptions(slice(memory, arg(i), arg(2) * 48)?.to_vec())
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(function: Function, args: &[u64], memory: &[u8]) -> Option<Errno> {
        decode(function, args, memory).1
    }

    #[test]
    fn misaligned_places_are_inval_and_places_outside_are_fault() {
        let memory = [0; 64];
        assert_eq!(refused(Function::FdTell, &[3, 8], &memory), None);
        assert_eq!(refused(Function::FdTell, &[3, 4], &memory), Some(Errno::inval));
        assert_eq!(refused(Function::FdTell, &[3, 64], &memory), Some(Errno::fault));
        assert_eq!(refused(Function::FdTell, &[3, 0xffff_fff8], &memory), Some(Errno::fault));
        assert_eq!(refused(Function::FdRead, &[3, 2, 1, 0], &memory), Some(Errno::inval));
        assert_eq!(refused(Function::FdRead, &[3, 60, 1, 0], &memory), Some(Errno::fault));
    }

    #[test]
    fn unknown_rights_flags_and_enum_values_are_inval() {
        let memory = [0; 64];
        let open = |rights, oflags| [3, 0, 0, 1, oflags, rights, 0, 0, 0];
        assert_eq!(refused(Function::PathOpen, &open(RIGHTS, 0xf), &memory), None);
        assert_eq!(refused(Function::PathOpen, &open(1 << 30, 0), &memory), Some(Errno::inval));
        assert_eq!(refused(Function::PathOpen, &open(0, 0x10), &memory), Some(Errno::inval));
        assert_eq!(refused(Function::ClockTimeGet, &[4, 0, 0], &memory), Some(Errno::inval));
    }

    #[test]
    fn a_buffer_that_reaches_outside_of_memory_is_a_fault_even_behind_a_good_one() {
        let mut memory = [0; 64];
        memory[4] = 8;
        memory[8..12].copy_from_slice(&60u32.to_le_bytes());
        memory[12] = 5;
        assert_eq!(refused(Function::FdWrite, &[1, 0, 1, 20], &memory), None);
        assert_eq!(refused(Function::FdWrite, &[1, 0, 2, 20], &memory), Some(Errno::fault));
    }
}
