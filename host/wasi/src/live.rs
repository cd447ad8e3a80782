//! Preview1 on the real machine, through `wasi-common` over `cap-std`.
//!
//! The only module (with its children) that names `wasi-common`: upstream has retired it, so it must be
//! replaceable. Every call is carried out on a scratch memory of our own, so that what the guest sees
//! is decided by [`crate::apply`] alone.
//!
//! With [`LiveConfig::deterministic`] time, randomness and file metadata are virtual; see [`virtual_world`].

mod back;
mod config;
mod errno;
mod fs;
mod names;
mod overlay_fs;
mod resume;
mod sched;
#[cfg(windows)]
mod streams;
mod terminals;
mod virtual_world;

pub use back::{LiveState, NotTakenBack};
pub use config::{
    FileSystem, Injected, LiveConfig, LiveError, Output, Preopen, SharedOutput, Stdin,
};
pub use resume::{Problem, ResumeError};

use crate::apply::fits;
use crate::descriptors::{Descriptors, Stream};
use crate::overlay::Overlay;
use crate::{ControlAnswer, Source, Stop};
use back::Handles;
use config::Standard;
use fs::View;
use std::collections::BTreeSet;
use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use terminals::Terminals;
use virtual_world::VirtualWorld;
use wasi_common::WasiCtx;
use wasi_common::snapshots::preview_1::types;
use wasi_common::snapshots::preview_1::wasi_snapshot_preview1::WasiSnapshotPreview1 as _;
use wiggle::{GuestMemory, GuestPtr};
use wrr_trace::{
    Call, EVENT_DATA_BYTES_MAX, Errno, Fdstat, Filestat, Function, HostState, Input, Outcome,
    PollEvent, Reply, Tick, WorldState,
};

/// Waits up to this long are not announced by a flush; see [`Live::may_block`].
const SHORT_WAIT_NS: u64 = 1_000_000;

/// Piped input is gathered in pieces of at most this size.
const PIECE_BYTES: u64 = 1 << 18;

/// The number of the file type `regular_file`.
const REGULAR_FILE: u8 = 4;
/// The number of the file type `character_device`.
const CHARACTER_DEVICE: u8 = 2;

/// A host that asks the operating system.
pub struct Live {
    ctx: WasiCtx,
    args: Vec<u8>,
    env: Vec<u8>,
    world: Option<VirtualWorld>,
    descriptors: Descriptors,
    handles: Handles,
    /// What the next call gets with which the guest controls its checkpoints.
    answer: Option<ControlAnswer>,
    /// Open descriptors from which a read may wait: terminals, pipes, sockets.
    waiting: BTreeSet<u32>,
    terminals: Terminals,
    /// A buffer to use again.
    spare: Vec<u8>,
}

/// The outcome, or the errno, of a call; and what neither can express.
type Answer = Result<Outcome, types::Error>;

impl Live {
    /// Opens what the configuration names.
    ///
    /// # Errors
    /// The directory, file or socket that cannot be opened.
    pub fn new(config: LiveConfig) -> Result<Live, LiveError> {
        let state = HostState::for_world(
            config.sockets.len() as u32,
            config.preopens.len() as u32,
            config.deterministic,
        );
        let world = config.deterministic.then(|| VirtualWorld::new(WorldState::default()));
        let args = config::nul_terminated(config.args.iter())?;
        let env = config::nul_terminated(config.env.iter().map(|(k, v)| format!("{k}={v}")))?;
        let view = View::new(world.as_ref().map(VirtualWorld::inodes));
        let terminals = Terminals::of(&config);
        let names: Vec<String> =
            config.preopens.iter().map(|preopen| preopen.guest.clone()).collect();
        let mut standard = Standard {
            stdin: config.stdin,
            stdout: config.stdout.into(),
            stderr: config.stderr.into(),
        };
        let overlay = config.fs.overlay(&names, &config.preopens, config.deterministic)?;
        let (ctx, opened) = config::context(
            config.preopens,
            overlay.as_ref(),
            &config.sockets,
            &mut standard,
            &view,
        )?;
        let handles = Handles::new(view.slot(), opened, standard, config.sockets, names, overlay);
        let descriptors = Descriptors::from_state(&state)
            .map_err(|error| LiveError::Context(error.to_string()))?;
        Ok(Live::over(ctx, (args, env), world, descriptors, handles, terminals))
    }

    /// A host whose descriptors are open already.
    fn over(
        ctx: WasiCtx,
        (args, env): (Vec<u8>, Vec<u8>),
        world: Option<VirtualWorld>,
        descriptors: Descriptors,
        handles: Handles,
        terminals: Terminals,
    ) -> Live {
        let (waiting, spare) = (BTreeSet::new(), Vec::new());
        let answer = None;
        let mut live =
            Live { ctx, args, env, world, descriptors, handles, terminals, answer, waiting, spare };
        for fd in live.descriptors.may_wait() {
            live.note_kind(fd);
        }
        live
    }

    /// The layer that the guest writes to, if it does not write to the directories.
    #[must_use]
    pub fn overlay(&self) -> Option<&Overlay> {
        self.handles.overlay.as_ref()
    }

    /// Whether the call may wait for the world for longer than a moment.
    pub fn may_block(&mut self, call: &Call) -> bool {
        let fd = call.args[0] as u32;
        match (call.function, &call.input) {
            (Function::PollOneoff, Input::Subscriptions(bytes)) => {
                self.world.is_none()
                    && bytes.chunks_exact(48).all(|sub| {
                        let word = |at| u64::from_le_bytes(sub[at..at + 8].try_into().expect("8"));
                        // Not a clock, or one with an absolute or a long timeout.
                        sub[8] != 0 || sub[40] & 1 == 1 || word(24) > SHORT_WAIT_NS
                    })
            }
            (Function::FdRead | Function::SockRecv | Function::SockAccept, _) => {
                self.waiting.contains(&fd) && !self.is_readable(fd)
            }
            _ => false,
        }
    }

    /// Whether the call had this outcome because the terminal was closed that it uses.
    pub fn lost_terminal(&self, call: &Call, outcome: &Outcome) -> bool {
        let closed = |fd: u32| {
            self.descriptors.stream(fd).is_some_and(|stream| self.terminals.is_closed(stream))
        };
        match (call.function, &call.input) {
            // Its input seems to be over.
            (Function::FdRead, _) => outcome.data.is_empty() && closed(call.args[0] as u32),
            (Function::FdWrite, _) => {
                outcome.errno != Errno::success && closed(call.args[0] as u32)
            }
            (Function::PollOneoff, Input::Subscriptions(bytes)) => {
                bytes.chunks_exact(48).any(|sub| {
                    let fd = u32::from_le_bytes(sub[16..20].try_into().expect("4"));
                    sub[8] != 0 && closed(fd)
                })
            }
            _ => false,
        }
    }

    /// Polls without waiting. What cannot be polled does not wait either.
    fn is_readable(&mut self, fd: u32) -> bool {
        // Two subscriptions: `fd_read` of the descriptor, and a monotonic clock that has run out.
        let mut bytes = [0; 96];
        bytes[8] = 1;
        bytes[16..20].copy_from_slice(&fd.to_le_bytes());
        bytes[48 + 16] = 1;
        match poll(&mut self.ctx, &bytes) {
            Ok(Outcome { reply: Reply::Polled(events), .. }) => events.iter().any(|e| e.kind == 1),
            _ => true,
        }
    }

    fn note_kind(&mut self, fd: u32) {
        let regular = matches!(
            self.fdstat(fd),
            Ok(Outcome { reply: Reply::Fdstat(Fdstat { filetype: REGULAR_FILE, .. }), .. })
        );
        if regular {
            self.waiting.remove(&fd);
        } else {
            self.waiting.insert(fd);
        }
    }

    /// Keeps the descriptor sets up to date.
    fn observe(&mut self, call: &Call, outcome: &Outcome) {
        if outcome.errno == Errno::success {
            self.handles.changes.observe(&self.descriptors, call, outcome);
            self.handles.observe(&self.descriptors, call, outcome);
        }
        self.descriptors.observe(call, outcome);
        if outcome.errno != Errno::success {
            return;
        }
        let fd = call.args[0] as u32;
        match (call.function, &outcome.reply) {
            (Function::PathOpen | Function::SockAccept, Reply::Number(new)) => self.note_kind(*new),
            (Function::FdClose, _) => {
                self.waiting.remove(&fd);
            }
            (Function::FdRenumber, _) => {
                let to = call.args[1] as u32;
                self.waiting.remove(&to);
                if self.waiting.remove(&fd) {
                    self.waiting.insert(to);
                }
            }
            _ => {}
        }
    }

    /// Gives a new descriptor the number that it would have got in a run without a checkpoint: upstream
    /// counts its own openings only.
    fn number_opened(&mut self, got: u32) -> Answer {
        let wanted = self.descriptors.next_free_fd();
        if got != wanted {
            self.ctx.table().renumber(got, wanted)?;
        }
        Ok(number(wanted))
    }

    fn fdstat(&mut self, fd: u32) -> Answer {
        let stat = wait(self.ctx.fd_fdstat_get(&mut GuestMemory::Unshared(&mut []), fd.into()))?;
        Ok(reply(Reply::Fdstat(Fdstat {
            filetype: stat.fs_filetype as u8,
            flags: stat.fs_flags.bits(),
            rights: stat.fs_rights_base.bits(),
            inheriting: stat.fs_rights_inheriting.bits(),
        })))
    }

    /// Fills `len` bytes of a scratch memory; `read` gets the memory and the list of its one buffer.
    fn fill(
        &mut self,
        len: u64,
        read: impl FnOnce(
            &mut WasiCtx,
            &mut GuestMemory<'_>,
            types::IovecArray,
        ) -> Result<(u32, Reply), types::Error>,
    ) -> Answer {
        let len = len.min(EVENT_DATA_BYTES_MAX as u64) as u32;
        // The list stands behind the buffer, aligned.
        let list = len.next_multiple_of(8) as usize;
        let mut scratch = std::mem::take(&mut self.spare);
        if scratch.len() < list + 8 {
            scratch.resize(list + 8, 0);
        }
        scratch[list..list + 4].fill(0);
        scratch[list + 4..list + 8].copy_from_slice(&len.to_le_bytes());
        let result = read(
            &mut self.ctx,
            &mut GuestMemory::Unshared(&mut scratch),
            GuestPtr::new((list as u32, 1)),
        );
        let (count, reply) = match result {
            Ok(result) => result,
            Err(error) => {
                self.spare = scratch;
                return Err(error);
            }
        };
        let count = count as usize;
        let data = if count >= scratch.len() / 2 {
            scratch.truncate(count);
            scratch
        } else {
            // Growing the buffer again for every short read would cost more than this copy.
            let data = scratch[..count].to_vec();
            self.spare = scratch;
            data
        };
        Ok(Outcome { errno: Errno::success, reply, data })
    }

    /// The call itself. `memory` is the guest's, for output.
    fn perform(&mut self, call: &Call, memory: &mut [u8]) -> Answer {
        let a = call.args;
        let arg = |i: usize| a[i] as u32;
        let fd = |i: usize| types::Fd::from(arg(i));
        let bits = |i: usize| arg(i);
        let ctx = &mut self.ctx;
        let none = &mut GuestMemory::Unshared(&mut []);
        match (call.function, &call.input) {
            (Function::ArgsGet, _) => Ok(delivered(self.args.clone())),
            (Function::ArgsSizesGet, _) => Ok(string_sizes(&self.args)),
            (Function::EnvironGet, _) => Ok(delivered(self.env.clone())),
            (Function::EnvironSizesGet, _) => Ok(string_sizes(&self.env)),
            (Function::ClockResGet, _) => {
                if let Some(world) = &mut self.world {
                    return world.resolution(arg(0));
                }
                wait(ctx.clock_res_get(none, clock(arg(0)))).map(wide)
            }
            (Function::ClockTimeGet, _) => {
                if let Some(world) = &mut self.world {
                    return world.time(arg(0));
                }
                wait(ctx.clock_time_get(none, clock(arg(0)), a[1])).map(wide)
            }
            (Function::FdAdvise, _) => {
                wait(ctx.fd_advise(none, fd(0), a[1], a[2], advice(arg(3)))).map(nothing)
            }
            (Function::FdAllocate, _) => {
                wait(ctx.fd_allocate(none, fd(0), a[1], a[2])).map(nothing)
            }
            (Function::FdClose, _) => wait(ctx.fd_close(none, fd(0))).map(nothing),
            (Function::FdDatasync, _) => wait(ctx.fd_datasync(none, fd(0))).map(nothing),
            (Function::FdFdstatGet, _) => {
                let mut answer = self.fdstat(arg(0))?;
                if let Reply::Fdstat(stat) = &mut answer.reply {
                    self.normalise_stream(arg(0), &mut stat.filetype);
                }
                Ok(answer)
            }
            (Function::FdFdstatSetFlags, _) => {
                // The flags belong to an open file that is shared with whoever started us.
                if self.descriptors.stream(arg(0)).is_some() {
                    return Err(types::Errno::Notsup.into());
                }
                wait(ctx.fd_fdstat_set_flags(none, fd(0), fdflags(bits(1)))).map(nothing)
            }
            (Function::FdFdstatSetRights, _) => {
                let rights = types::Rights::empty();
                wait(ctx.fd_fdstat_set_rights(none, fd(0), rights, rights)).map(nothing)
            }
            (Function::FdFilestatGet, _) => {
                let stat = wait(ctx.fd_filestat_get(none, fd(0)))?;
                let mut stat = filestat(&stat);
                if self.world.is_some() && self.descriptors.stream(arg(0)).is_some() {
                    stat = Filestat { filetype: stat.filetype, nlink: 1, ..Filestat::default() };
                }
                self.normalise_stream(arg(0), &mut stat.filetype);
                Ok(reply(Reply::Filestat(stat)))
            }
            (Function::FdFilestatSetSize, _) => {
                wait(ctx.fd_filestat_set_size(none, fd(0), a[1])).map(nothing)
            }
            (Function::FdFilestatSetTimes, _) => {
                let flags = types::Fstflags::from_bits_truncate(bits(3) as u16);
                wait(ctx.fd_filestat_set_times(none, fd(0), a[1], a[2], flags)).map(nothing)
            }
            (Function::FdRead, Input::Buffers(iovs)) => {
                let len: u64 = iovs.iter().map(|v| u64::from(v.len)).sum();
                let whole = self.world.is_some() && self.is_piped_input(arg(0));
                let first = if whole { len.min(PIECE_BYTES) } else { len };
                let answer = self.fill(first, |ctx, memory, list| {
                    Ok((wait(ctx.fd_read(memory, fd(0), list))?, Reply::Nothing))
                })?;
                if whole { self.read_on(answer, len, fd(0)) } else { Ok(answer) }
            }
            (Function::FdPread, Input::Buffers(iovs)) => {
                self.fill(iovs.iter().map(|v| u64::from(v.len)).sum(), |ctx, memory, list| {
                    Ok((wait(ctx.fd_pread(memory, fd(0), list, a[3]))?, Reply::Nothing))
                })
            }
            (Function::SockRecv, Input::Buffers(iovs)) => {
                let flags = types::Riflags::from_bits_truncate(bits(3) as u16);
                self.fill(iovs.iter().map(|v| u64::from(v.len)).sum(), |ctx, memory, list| {
                    let (count, flags) = wait(ctx.sock_recv(memory, fd(0), list, flags))?;
                    Ok((count, Reply::Received(flags.bits())))
                })
            }
            (Function::FdPrestatGet, _) => wait(ctx.fd_prestat_get(none, fd(0))).map(|prestat| {
                let types::Prestat::Dir(dir) = prestat;
                reply(Reply::Prestat(dir.pr_name_len))
            }),
            (Function::FdPrestatDirName, _) => {
                let room = arg(2).min(crate::memory::IOVECS_MAX * 64);
                let mut name = vec![0; room as usize];
                let memory = &mut GuestMemory::Unshared(&mut name);
                wait(ctx.fd_prestat_dir_name(memory, fd(0), GuestPtr::new(0), room))?;
                let types::Prestat::Dir(dir) = wait(ctx.fd_prestat_get(none, fd(0)))?;
                name.truncate(dir.pr_name_len as usize);
                Ok(delivered(name))
            }
            (Function::FdWrite, Input::Data { iovs, .. }) => {
                let list = GuestPtr::new((arg(1), iovs.len() as u32));
                let memory = &mut GuestMemory::Unshared(memory);
                wait(ctx.fd_write(memory, fd(0), list)).map(number)
            }
            (Function::FdPwrite, Input::Data { iovs, .. }) => {
                let list = GuestPtr::new((arg(1), iovs.len() as u32));
                let memory = &mut GuestMemory::Unshared(memory);
                wait(ctx.fd_pwrite(memory, fd(0), list, a[3])).map(number)
            }
            (Function::SockSend, Input::Data { iovs, .. }) => {
                let list = GuestPtr::new((arg(1), iovs.len() as u32));
                let memory = &mut GuestMemory::Unshared(memory);
                wait(ctx.sock_send(memory, fd(0), list, bits(3) as types::Siflags)).map(number)
            }
            (Function::FdReaddir, _) => {
                let len = arg(2).min(EVENT_DATA_BYTES_MAX as u32);
                let mut buffer = vec![0; len as usize];
                let memory = &mut GuestMemory::Unshared(&mut buffer);
                let used = wait(ctx.fd_readdir(memory, fd(0), GuestPtr::new(0), len, a[3]))?;
                buffer.truncate(used as usize);
                clear_padding(&mut buffer);
                Ok(delivered(buffer))
            }
            (Function::FdRenumber, _) => wait(ctx.fd_renumber(none, fd(0), fd(1))).map(nothing),
            (Function::FdSeek | Function::FdTell, _)
                if self.world.is_some() && self.descriptors.stream(arg(0)).is_some() =>
            {
                // Whether a stream is a file is the host's business.
                Err(types::Errno::Spipe.into())
            }
            (Function::FdSeek, _) => {
                let whence = match arg(2) {
                    0 => types::Whence::Set,
                    1 => types::Whence::Cur,
                    _ => types::Whence::End,
                };
                wait(ctx.fd_seek(none, fd(0), a[1] as i64, whence)).map(wide)
            }
            (Function::FdSync, _) => wait(ctx.fd_sync(none, fd(0))).map(nothing),
            (Function::FdTell, _) => wait(ctx.fd_tell(none, fd(0))).map(wide),
            (Function::PollOneoff, Input::Subscriptions(bytes)) => match &mut self.world {
                Some(world) => world.poll(ctx, bytes),
                None => poll(ctx, bytes),
            },
            (Function::ProcExit, _) => Ok(Outcome::default()),
            (Function::ProcRaise, _) => Err(types::Errno::Notsup.into()),
            (Function::SchedYield, _) => wait(ctx.sched_yield(none)).map(nothing),
            (Function::RandomGet, _) => {
                let mut buffer = vec![0; arg(1) as usize];
                match &mut self.world {
                    Some(world) => world.random(&mut buffer),
                    None => {
                        let memory = &mut GuestMemory::Unshared(&mut buffer);
                        wait(ctx.random_get(memory, GuestPtr::new(0), arg(1)))?;
                    }
                }
                Ok(delivered(buffer))
            }
            (Function::SockAccept, _) => {
                let new = wait(ctx.sock_accept(none, fd(0), fdflags(bits(1))))?;
                self.number_opened(new.into())
            }
            (Function::SockShutdown, _) => {
                let how = types::Sdflags::from_bits_truncate(bits(1) as u8);
                wait(ctx.sock_shutdown(none, fd(0), how)).map(nothing)
            }
            (_, Input::Path(_) | Input::TwoPaths(..)) => self.perform_on_path(call),
            // `decode` reads an input for each of these functions, or refuses the call.
            (function, input) => unreachable!("{} with input {input:?}", function.name()),
        }
    }

    fn perform_on_path(&mut self, call: &Call) -> Answer {
        let a = call.args;
        let arg = |i: usize| a[i] as u32;
        let fd = |i: usize| types::Fd::from(arg(i));
        let follow = |i: usize| types::Lookupflags::from_bits_truncate(arg(i));
        let ctx = &mut self.ctx;
        let (mut scratch, split) = match &call.input {
            Input::Path(path) => (path.clone(), path.len()),
            Input::TwoPaths(first, second) => ([&first[..], &second[..]].concat(), first.len()),
            _ => unreachable!("the caller matched a path"),
        };
        let (split, end) = (split as u32, scratch.len() as u32);
        let path = GuestPtr::<str>::new((0, split));
        let second = GuestPtr::<str>::new((split, end - split));
        if call.function == Function::PathReadlink {
            let room = arg(4).min(EVENT_DATA_BYTES_MAX as u32);
            scratch.resize((end + room) as usize, 0);
            let memory = &mut GuestMemory::Unshared(&mut scratch);
            let len = wait(ctx.path_readlink(memory, fd(0), path, GuestPtr::new(end), room))?;
            scratch.truncate((end + len) as usize);
            return Ok(delivered(scratch.split_off(end as usize)));
        }
        let memory = &mut GuestMemory::Unshared(&mut scratch);
        match call.function {
            Function::PathCreateDirectory => {
                wait(ctx.path_create_directory(memory, fd(0), path)).map(nothing)
            }
            Function::PathFilestatGet => {
                let stat = wait(ctx.path_filestat_get(memory, fd(0), follow(1), path))?;
                Ok(reply(Reply::Filestat(filestat(&stat))))
            }
            Function::PathFilestatSetTimes => {
                let flags = types::Fstflags::from_bits_truncate(arg(6) as u16);
                let (atim, mtim) = (a[4], a[5]);
                wait(ctx.path_filestat_set_times(memory, fd(0), follow(1), path, atim, mtim, flags))
                    .map(nothing)
            }
            Function::PathLink => {
                wait(ctx.path_link(memory, fd(0), follow(1), path, fd(4), second)).map(nothing)
            }
            Function::PathOpen => {
                let oflags = types::Oflags::from_bits_truncate(arg(4) as u16);
                let base = types::Rights::from_bits_truncate(a[5]);
                let inheriting = types::Rights::from_bits_truncate(a[6]);
                let flags = fdflags(arg(7));
                let open =
                    ctx.path_open(memory, fd(0), follow(1), path, oflags, base, inheriting, flags);
                let new = wait(open)?;
                self.number_opened(new.into())
            }
            Function::PathRemoveDirectory => {
                wait(ctx.path_remove_directory(memory, fd(0), path)).map(nothing)
            }
            Function::PathRename => {
                wait(ctx.path_rename(memory, fd(0), path, fd(3), second)).map(nothing)
            }
            Function::PathSymlink => {
                wait(ctx.path_symlink(memory, path, fd(2), second)).map(nothing)
            }
            Function::PathUnlinkFile => {
                wait(ctx.path_unlink_file(memory, fd(0), path)).map(nothing)
            }
            other => unreachable!("{} has no path", other.name()),
        }
    }

    /// A call with which the guest controls its checkpoints: the answer that was put, or that there is none yet.
    fn controlled(&mut self, call: &Call) -> Result<Outcome, Stop> {
        Ok(match (call.function, self.answer.take()) {
            (Function::ControlMark, kept) => {
                self.answer = kept;
                Outcome::default()
            }
            (Function::ControlCheckpoint, Some(ControlAnswer::Checkpoint(n)))
            | (Function::ControlRollback, Some(ControlAnswer::Rollback(n))) => number(n),
            (Function::ControlBranch, Some(ControlAnswer::Branch(data))) => Outcome {
                reply: Reply::Received(u16::from(data.is_some())),
                data: data.unwrap_or_default(),
                ..Outcome::default()
            },
            (function, _) => return Err(Stop::Held(function)),
        })
    }

    /// A read of standard input that is put in: what there is, or that there is nothing yet.
    fn read_injected(&self, call: &Call) -> Option<Option<Vec<u8>>> {
        let (Function::FdRead, Input::Buffers(iovs)) = (call.function, &call.input) else {
            return None;
        };
        if self.descriptors.stream(call.args[0] as u32) != Some(Stream::In) {
            return None;
        }
        let injected = self.handles.injected()?;
        let len: u64 = iovs.iter().map(|v| u64::from(v.len)).sum();
        Some(injected.read(self.descriptors.stdin(), len.min(EVENT_DATA_BYTES_MAX as u64)))
    }

    /// With virtual metadata a standard stream is never a terminal.
    fn normalise_stream(&self, fd: u32, filetype: &mut u8) {
        if self.world.is_some() && self.descriptors.stream(fd).is_some() {
            *filetype = 0;
        }
    }

    /// Standard input that is not a terminal: how it is cut into reads is up to chance.
    fn is_piped_input(&mut self, fd: u32) -> bool {
        self.descriptors.stream(fd) == Some(Stream::In)
            && !matches!(
                self.fdstat(fd),
                Ok(Outcome { reply: Reply::Fdstat(Fdstat { filetype: CHARACTER_DEVICE, .. }), .. })
            )
    }

    /// Reads until the buffer is full or the input ends.
    fn read_on(&mut self, mut answer: Outcome, len: u64, fd: types::Fd) -> Answer {
        let len = len.min(EVENT_DATA_BYTES_MAX as u64);
        while !answer.data.is_empty() && (answer.data.len() as u64) < len {
            let room = (len - answer.data.len() as u64).min(PIECE_BYTES);
            let more = self.fill(room, |ctx, memory, list| {
                Ok((wait(ctx.fd_read(memory, fd, list))?, Reply::Nothing))
            });
            match more {
                Ok(more) if !more.data.is_empty() => {
                    answer.data.extend_from_slice(&more.data);
                    self.recycle(more.data);
                }
                // An error comes again with the next read, if it lasts.
                Ok(_) | Err(_) => break,
            }
        }
        Ok(answer)
    }
}

impl Source for Live {
    fn outcome(
        &mut self,
        _tick: Tick,
        call: &Call,
        refused: Option<Errno>,
        memory: &mut [u8],
    ) -> Result<Outcome, Stop> {
        if let Some(errno) = refused {
            return Ok(Outcome::failed(errno));
        }
        if call.function.is_control() {
            return self.controlled(call);
        }
        if let Some(read) = self.read_injected(call) {
            let data = read.ok_or(Stop::WaitsForInput)?;
            let outcome = Outcome { data, ..Outcome::default() };
            self.observe(call, &outcome);
            return Ok(outcome);
        }
        let outcome = match self.perform(call, memory) {
            Ok(outcome) => outcome,
            Err(error) => Outcome::failed(
                errno::of(error)
                    .map_err(|what| Stop::Host(format!("{}: {what}", call.function.name())))?,
            ),
        };
        // Only calls without side effects can fail to fit: the others' places were checked before.
        if let Err(errno) = fits(call, &outcome, memory) {
            return Ok(Outcome::failed(errno));
        }
        self.observe(call, &outcome);
        Ok(outcome)
    }

    fn recycle(&mut self, data: Vec<u8>) {
        if data.capacity() > self.spare.capacity() {
            self.spare = data;
        }
    }

    fn state(&self) -> HostState {
        self.descriptors.state()
    }

    fn answer(&mut self, answer: ControlAnswer) {
        self.answer = Some(answer);
    }

    fn live(&mut self) -> Option<&mut Live> {
        Some(self)
    }
}

/// Runs a call of `wasi-common`: its functions are asynchronous in form only, so one poll ends them.
/// (`wiggle` has the same, but puts every future into a box.)
fn wait<T>(call: impl Future<Output = Result<T, types::Error>>) -> Result<T, types::Error> {
    let context = &mut Context::from_waker(Waker::noop());
    match pin!(call).poll(context) {
        Poll::Ready(result) => result,
        Poll::Pending => unreachable!("the synchronous implementations never wait by yielding"),
    }
}

fn poll(ctx: &mut WasiCtx, subscriptions: &[u8]) -> Answer {
    let count = (subscriptions.len() / 48) as u32;
    let events_at = subscriptions.len();
    let mut scratch = subscriptions.to_vec();
    scratch.resize(events_at + count as usize * 32, 0);
    let memory = &mut GuestMemory::Unshared(&mut scratch);
    let ready =
        wait(ctx.poll_oneoff(memory, GuestPtr::new(0), GuestPtr::new(events_at as u32), count))?;
    let events = scratch[events_at..].chunks_exact(32).take(ready as usize).map(|event| {
        let word = |at: usize| u64::from_le_bytes(event[at..at + 8].try_into().expect("8 bytes"));
        let half = |at: usize| u16::from_le_bytes(event[at..at + 2].try_into().expect("2 bytes"));
        PollEvent {
            userdata: word(0),
            errno: Errno::from_number(half(8)).unwrap_or(Errno::io),
            kind: event[10],
            nbytes: word(16),
            flags: half(24),
        }
    });
    Ok(reply(Reply::Polled(events.collect())))
}

/// Clears the three bytes behind the type in each `dirent` (24 bytes and a name): upstream leaves whatever
/// stood on its stack there, which the guest could see and no two recordings would share.
fn clear_padding(entries: &mut [u8]) {
    let mut at = 0;
    while at < entries.len() {
        let dirent = &mut entries[at..];
        // The last one may be cut anywhere.
        let end = dirent.len().min(24);
        if let Some(padding) = dirent.get_mut(21..end) {
            padding.fill(0);
        }
        let Some(name_len) = dirent.get(16..20) else { return };
        let name_len = u32::from_le_bytes(name_len.try_into().expect("4 bytes"));
        at = at.saturating_add(24).saturating_add(name_len as usize);
    }
}

fn reply(reply: Reply) -> Outcome {
    Outcome { reply, ..Outcome::default() }
}

fn nothing((): ()) -> Outcome {
    Outcome::default()
}

fn number(n: u32) -> Outcome {
    reply(Reply::Number(n))
}

fn wide(n: u64) -> Outcome {
    reply(Reply::Wide(n))
}

fn delivered(data: Vec<u8>) -> Outcome {
    Outcome { data, ..Outcome::default() }
}

fn string_sizes(strings: &[u8]) -> Outcome {
    let count = strings.iter().filter(|&&b| b == 0).count();
    reply(Reply::Sizes(count as u32, strings.len() as u32))
}

fn filestat(stat: &types::Filestat) -> Filestat {
    Filestat {
        dev: stat.dev,
        ino: stat.ino,
        filetype: stat.filetype as u8,
        nlink: stat.nlink,
        size: stat.size,
        atim: stat.atim,
        mtim: stat.mtim,
        ctim: stat.ctim,
    }
}

fn fdflags(bits: u32) -> types::Fdflags {
    types::Fdflags::from_bits_truncate(bits as u16)
}

fn clock(id: u32) -> types::Clockid {
    match id {
        0 => types::Clockid::Realtime,
        1 => types::Clockid::Monotonic,
        2 => types::Clockid::ProcessCputimeId,
        _ => types::Clockid::ThreadCputimeId,
    }
}

fn advice(number: u32) -> types::Advice {
    match number {
        0 => types::Advice::Normal,
        1 => types::Advice::Sequential,
        2 => types::Advice::Random,
        3 => types::Advice::Willneed,
        4 => types::Advice::Dontneed,
        _ => types::Advice::Noreuse,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padding_is_cleared_in_whole_and_in_cut_entries() {
        let mut entry = vec![0xff; 24];
        entry[16..20].copy_from_slice(&2u32.to_le_bytes());
        entry.extend(b"ab");
        let two = entry.repeat(2);
        for len in 0..=two.len() {
            let mut cut = two[..len].to_vec();
            clear_padding(&mut cut);
            for (i, (was, is)) in two.iter().zip(&cut).enumerate() {
                let padding = matches!(i, 21..24 | 47..50);
                assert_eq!(*is, if padding { 0 } else { *was }, "byte {i} of {len}");
            }
        }
    }
}
