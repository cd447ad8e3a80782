//! The world of `--deterministic`: time, randomness and file metadata that are the same on every run.
//!
//! - Clocks start in 2020 (real time) and at 0 (monotonic) and advance by [`STEP_NS`] with every
//!   reading, and by its timeout with every sleep, which takes no real time.
//! - Randomness is BLAKE3's extendable output for a fixed key.
//! - Inode numbers count up in the order in which files are first seen; devices and times are 0, as are
//!   the sizes of directories; a directory has one link. (Listings are sorted by [`super::fs`].)
//! - Descriptors are always ready: a read then waits by itself.

use super::{Answer, reply, wait};
use crate::virtual_clock::{STEP_NS, VirtualClock};
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use wasi_common::WasiCtx;
use wasi_common::file::{FileType, Filestat};
use wasi_common::snapshots::preview_1::types;
use wasi_common::snapshots::preview_1::wasi_snapshot_preview1::WasiSnapshotPreview1 as _;
use wiggle::GuestMemory;
use wrr_trace::{Errno, PollEvent, Reply, WorldState};

/// Virtual time and randomness, and the numbers of the files seen.
pub struct VirtualWorld {
    clock: VirtualClock,
    random: blake3::OutputReader,
    inodes: Inodes,
}

impl VirtualWorld {
    /// Goes on from a state; from the default, if the world is new.
    pub fn new(state: WorldState) -> VirtualWorld {
        let mut random = blake3::Hasher::new_derive_key("wrr deterministic randomness, version 1")
            .finalize_xof();
        random.set_position(state.random_bytes);
        VirtualWorld {
            clock: VirtualClock { elapsed_ns: state.elapsed_ns },
            random,
            inodes: Inodes::after(state.inode_last),
        }
    }

    /// Goes back to a state of this world.
    pub fn restore(&mut self, state: WorldState, numbers: Numbers) {
        self.clock = VirtualClock { elapsed_ns: state.elapsed_ns };
        self.random.set_position(state.random_bytes);
        *self.inodes.0.lock().unwrap_or_else(PoisonError::into_inner) = numbers;
    }

    pub fn inodes(&self) -> Inodes {
        self.inodes.clone()
    }

    pub fn resolution(&self, clock: u32) -> Answer {
        match self.clock.now(clock) {
            Some(_) => Ok(reply(Reply::Wide(STEP_NS))),
            None => Err(types::Errno::Badf.into()),
        }
    }

    pub fn time(&mut self, clock: u32) -> Answer {
        self.clock.advance(STEP_NS);
        let now = self.clock.now(clock).ok_or(types::Errno::Badf)?;
        Ok(reply(Reply::Wide(now)))
    }

    pub fn random(&mut self, buffer: &mut [u8]) {
        self.random.fill(buffer);
    }

    /// `poll_oneoff`: descriptors are ready at once; without any, time jumps to the first deadline.
    pub fn poll(&mut self, ctx: &mut WasiCtx, subscriptions: &[u8]) -> Answer {
        if subscriptions.is_empty() {
            return Err(types::Errno::Inval.into());
        }
        let mut ready = Vec::new();
        let mut deadlines = Vec::new();
        for sub in subscriptions.chunks_exact(48) {
            let word = |at: usize| u64::from_le_bytes(sub[at..at + 8].try_into().expect("8 bytes"));
            let half = |at: usize| u32::from_le_bytes(sub[at..at + 4].try_into().expect("4 bytes"));
            let (userdata, kind) = (word(0), sub[8]);
            match kind {
                0 => {
                    let left = self.clock.left_ns(sub).ok_or(types::Errno::Inval)?;
                    deadlines.push((left, userdata));
                }
                1 | 2 => {
                    let none = &mut GuestMemory::Unshared(&mut []);
                    wait(ctx.fd_fdstat_get(none, half(16).into()))?;
                    let nbytes = u64::from(kind == 1);
                    ready.push(PollEvent {
                        userdata,
                        errno: Errno::success,
                        kind,
                        nbytes,
                        flags: 0,
                    });
                }
                _ => return Err(types::Errno::Inval.into()),
            }
        }
        if ready.is_empty() {
            let wait_ns = deadlines.iter().map(|(left, _)| *left).min().unwrap_or(0);
            self.clock.advance(wait_ns);
            for (left, userdata) in deadlines {
                if left <= wait_ns {
                    let errno = Errno::success;
                    ready.push(PollEvent { userdata, errno, kind: 0, nbytes: 0, flags: 0 });
                }
            }
        }
        Ok(reply(Reply::Polled(ready)))
    }
}

/// Numbers for the files of the host, in the order in which the guest sees them. Shared by all
/// directories and files.
#[derive(Clone, Default)]
pub struct Inodes(Arc<Mutex<Numbers>>);

/// Which numbers were given.
#[derive(Clone, Default)]
pub struct Numbers {
    /// By device and inode of the host.
    known: HashMap<(u64, u64), u64>,
    last: u64,
    /// The numbers of files without a name. Windows counts the last name for as long as the file is open.
    nameless: HashSet<u64>,
}

impl Inodes {
    /// The numbers given so far.
    pub fn numbers(&self) -> Numbers {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Numbers that come after this one.
    fn after(last: u64) -> Inodes {
        Inodes(Arc::new(Mutex::new(Numbers { last, ..Numbers::default() })))
    }

    /// A file of the host that has its number already.
    pub fn remember(&self, device: u64, inode: u64, number: u64) {
        let mut numbers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        numbers.known.insert((device, inode), number);
    }

    /// The number of a file of the host.
    pub fn number(&self, device: u64, inode: u64) -> u64 {
        let mut numbers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Numbers { known, last, .. } = &mut *numbers;
        *known.entry((device, inode)).or_insert_with(|| {
            *last = last.saturating_add(1);
            *last
        })
    }

    /// The file is gone: if the host uses its inode again, that is another file.
    pub fn forget(&self, device: u64, inode: u64) {
        let mut numbers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(number) = numbers.known.remove(&(device, inode)) {
            numbers.nameless.insert(number);
        }
    }

    /// Replaces everything that is the host's by what every host gives.
    pub fn normalise(&self, stat: &mut Filestat, number: Option<u64>) {
        stat.inode = number.unwrap_or_else(|| self.number(stat.device_id, stat.inode));
        if self.0.lock().unwrap_or_else(PoisonError::into_inner).nameless.contains(&stat.inode) {
            stat.nlink = 0;
        }
        stat.device_id = 0;
        stat.atim = None;
        stat.mtim = None;
        stat.ctim = None;
        if stat.filetype == FileType::Directory {
            stat.size = 0;
            stat.nlink = 1;
        }
    }
}
