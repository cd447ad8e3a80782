//! Events: one host call each, with what the guest passed in and what it got.

use crate::preview1::{Errno, Function, PARAMS_MAX, Param, ParamKind, ReplyKind, filetype_name};
use serde::{Deserialize, Serialize};
use std::fmt::{self, Write as _};

/// The number of an event in its trace, from 0.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
)]
pub struct EventIndex(pub u64);

impl fmt::Display for EventIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.0)
    }
}

/// The deterministic progress counter of the guest: one more at every entry of a function and at every
/// arrival at a loop header. Never time.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
)]
pub struct Tick(pub u64);

/// XXH3-64 of what a guest wrote: the way a trace remembers output.
#[must_use]
pub fn hash_output<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> u64 {
    let mut pieces = pieces.into_iter();
    let Some(first) = pieces.next() else {
        return xxhash_rust::xxh3::xxh3_64(&[]);
    };
    let Some(second) = pieces.next() else {
        // By far the most common case, and the streaming state is 576 bytes to set up.
        return xxhash_rust::xxh3::xxh3_64(first);
    };
    let mut state = xxhash_rust::xxh3::Xxh3::new();
    state.update(first);
    state.update(second);
    for piece in pieces {
        state.update(piece);
    }
    state.digest()
}

/// A buffer in guest memory, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Iovec {
    /// Its address.
    pub addr: u32,
    /// Its length.
    pub len: u32,
}

/// What a call read from guest memory.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub enum Input {
    /// Nothing (or what was there could not be read, and the call failed for that reason).
    #[default]
    None,
    /// A path, as the guest gave it: not always UTF-8.
    Path(Vec<u8>),
    /// Two paths, in the order of the parameters.
    TwoPaths(Vec<u8>, Vec<u8>),
    /// Buffers that the call may fill.
    Buffers(Vec<Iovec>),
    /// Output: where it was, how much, and its hash.
    Data {
        /// The buffers it came from.
        iovs: Vec<Iovec>,
        /// [`hash_output`] of their contents.
        hash: u64,
    },
    /// `nsubscriptions` subscriptions of 48 bytes, as they were in memory.
    Subscriptions(Vec<u8>),
}

/// A host call as the guest made it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// Which function.
    pub function: Function,
    /// Its arguments; an `i32` is zero-extended; unused places are 0.
    pub args: [u64; PARAMS_MAX],
    /// What the arguments point to.
    pub input: Input,
}

/// Attributes of a descriptor, preview1's `fdstat`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fdstat {
    /// The file type's number.
    pub filetype: u8,
    /// The fdflags bits.
    pub flags: u16,
    /// Rights of the descriptor.
    pub rights: u64,
    /// Rights of what is opened through it.
    pub inheriting: u64,
}

/// Attributes of a file, preview1's `filestat`. Times are in nanoseconds since 1970.
#[allow(missing_docs, reason = "the fields are those of the witx")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Filestat {
    pub dev: u64,
    pub ino: u64,
    pub filetype: u8,
    pub nlink: u64,
    pub size: u64,
    pub atim: u64,
    pub mtim: u64,
    pub ctim: u64,
}

/// What happened to one subscription, preview1's `event`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PollEvent {
    /// The number that the guest gave its subscription.
    pub userdata: u64,
    /// What went wrong, if anything.
    pub errno: Errno,
    /// 0 clock, 1 readable, 2 writable.
    pub kind: u8,
    /// How many bytes can be read at least.
    pub nbytes: u64,
    /// Bit 0: the peer hung up.
    pub flags: u16,
}

/// What a successful call gave, but for bytes, which stand in [`Outcome::data`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Reply {
    /// Nothing more than success, or bytes only.
    #[default]
    Nothing,
    /// A count or a descriptor.
    Number(u32),
    /// An offset, a resolution or a time.
    Wide(u64),
    /// How many strings, and their bytes.
    Sizes(u32, u32),
    /// Flags that came with bytes from a socket.
    Received(u16),
    /// Attributes of a descriptor.
    Fdstat(Fdstat),
    /// Attributes of a file.
    Filestat(Filestat),
    /// The length of a preopened directory's name.
    Prestat(u32),
    /// What happened to the subscriptions.
    Polled(Vec<PollEvent>),
}

/// The results of a host call: all that it changes in the guest follows from this.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Success, or why not; then there is no reply and no data.
    pub errno: Errno,
    /// The results.
    pub reply: Reply,
    /// Bytes delivered into the guest's buffers.
    pub data: Vec<u8>,
}

impl Outcome {
    /// An outcome that only fails.
    #[must_use]
    pub fn failed(errno: Errno) -> Outcome {
        Outcome { errno, reply: Reply::Nothing, data: Vec::new() }
    }
}

impl Default for Outcome {
    fn default() -> Self {
        Outcome::failed(Errno::success)
    }
}

/// A host call and its results.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Its number in the trace.
    pub index: EventIndex,
    /// When it happened, in the guest's time.
    pub tick: Tick,
    /// What the guest asked.
    pub call: Call,
    /// What it got.
    pub outcome: Outcome,
}

impl Call {
    /// The arguments that the function has.
    #[must_use]
    pub fn args(&self) -> &[u64] {
        &self.args[..self.function.signature().params.len()]
    }
}

/// Shows at most this many bytes of data in a line.
const PREVIEW_BYTES: usize = 24;

/// Formats one argument; pointers are left out (`None`), as they tell a reader nothing.
fn argument(param: &Param, value: u64) -> Option<String> {
    Some(match param.kind {
        ParamKind::Pointer | ParamKind::Out => return None,
        ParamKind::Fd | ParamKind::U32 | ParamKind::U64 => format!("{}={value}", param.name),
        ParamKind::S64 => format!("{}={}", param.name, value as i64),
        ParamKind::Rights => format!("{}={value:#x}", param.name),
        ParamKind::Enum(names) => match usize::try_from(value).ok().and_then(|v| names.get(v)) {
            Some(name) => format!("{}={name}", param.name),
            None => format!("{}={value}(invalid)", param.name),
        },
        ParamKind::Flags(names) => {
            let mut set: Vec<String> = names
                .iter()
                .enumerate()
                .filter(|(bit, _)| value >> bit & 1 == 1)
                .map(|(_, name)| (*name).to_owned())
                .collect();
            let rest = value >> names.len() << names.len();
            if rest != 0 {
                set.push(format!("{rest:#x}"));
            }
            if set.is_empty() { return None } else { format!("{}={}", param.name, set.join("|")) }
        }
    })
}

fn quoted(bytes: &[u8]) -> String {
    let shown = &bytes[..bytes.len().min(PREVIEW_BYTES)];
    // A multi-byte character that the cut splits is left out rather than shown as garbage.
    let text = match std::str::from_utf8(shown) {
        Ok(text) => Some(text),
        Err(e) if e.error_len().is_none() && shown.len() < bytes.len() => {
            std::str::from_utf8(&shown[..e.valid_up_to()]).ok()
        }
        Err(_) => None,
    };
    let body: String = match text {
        Some(text) => text.escape_debug().collect(),
        None => shown.escape_ascii().to_string(),
    };
    format!("\"{body}{}\"", if shown.len() < bytes.len() { "…" } else { "" })
}

fn iovs_shown(iovs: &[Iovec]) -> String {
    match iovs {
        [one] => format!("len={}", one.len),
        many => format!("lens={:?}", many.iter().map(|v| v.len).collect::<Vec<_>>()),
    }
}

/// One line, without the number: `fd_read fd=3 len=4096 -> 4096 bytes "import os…"`.
impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} -> {}", self.index, self.call, Shown(self.call.function, &self.outcome))
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.function.name())?;
        let params = self.function.signature().params;
        for (param, &value) in params.iter().zip(&self.args) {
            // Lengths of paths and lists are seen in what they count.
            if param.name.ends_with("path_len")
                || matches!(param.name, "iovs_len" | "ri_data_len" | "si_data_len")
            {
                continue;
            }
            if let Some(text) = argument(param, value) {
                write!(f, " {text}")?;
            }
        }
        match &self.input {
            Input::None => Ok(()),
            Input::Path(path) => write!(f, " {}", path_shown(path)),
            Input::TwoPaths(a, b) => write!(f, " {} {}", path_shown(a), path_shown(b)),
            Input::Buffers(iovs) => write!(f, " {}", iovs_shown(iovs)),
            Input::Data { iovs, hash } => write!(f, " {} hash={hash:016x}", iovs_shown(iovs)),
            Input::Subscriptions(_) => Ok(()),
        }
    }
}

/// A path is shown whole: it is what a reader looks for.
fn path_shown(path: &[u8]) -> String {
    format!("{:?}", String::from_utf8_lossy(path))
}

struct Shown<'a>(Function, &'a Outcome);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Shown(function, Outcome { errno, reply, data }) = self;
        if *errno != Errno::success {
            return f.write_str(errno.name());
        }
        match (function.signature().reply, reply) {
            (_, Reply::Received(0)) if function.is_control() => f.write_str("no data"),
            (_, Reply::Number(n)) if function.is_control() => write!(f, "{n}"),
            (ReplyKind::Bytes | ReplyKind::Strings | ReplyKind::Received, _) => {
                write!(f, "{} bytes", data.len())?;
                if data.is_empty() { Ok(()) } else { write!(f, " {}", quoted(data)) }
            }
            (ReplyKind::Number, Reply::Number(n)) => match function {
                Function::PathOpen | Function::SockAccept => write!(f, "fd={n}"),
                _ => write!(f, "{n} bytes"),
            },
            (ReplyKind::Time, Reply::Wide(ns)) => {
                write!(f, "{}.{:09} s", ns / 1_000_000_000, ns % 1_000_000_000)
            }
            (_, Reply::Wide(n)) => write!(f, "{n}"),
            (_, Reply::Sizes(count, bytes)) => write!(f, "{count} strings, {bytes} bytes"),
            (_, Reply::Fdstat(s)) => {
                write!(f, "{} flags={:#x}", filetype_name(s.filetype), s.flags)
            }
            (_, Reply::Filestat(s)) => write!(
                f,
                "{} size={} ino={} mtime={}.{:09}",
                filetype_name(s.filetype),
                s.size,
                s.ino,
                s.mtim / 1_000_000_000,
                s.mtim % 1_000_000_000
            ),
            (_, Reply::Prestat(len)) => write!(f, "directory, name of {len} bytes"),
            (_, Reply::Polled(events)) => {
                let mut text = String::new();
                for e in events {
                    let kind = ["clock", "read", "write"][usize::from(e.kind.min(2))];
                    write!(text, "{}{kind}", if text.is_empty() { "" } else { ", " })?;
                    if e.errno != Errno::success {
                        write!(text, " {}", e.errno)?;
                    }
                }
                write!(f, "{} ready: {text}", events.len())
            }
            (_, Reply::Nothing | Reply::Number(_) | Reply::Received(_)) => f.write_str("ok"),
        }
    }
}

impl Event {
    /// The bytes that the host took from the guest: what was written or sent.
    #[must_use]
    pub fn bytes_out(&self) -> u64 {
        match (&self.call.input, &self.outcome.reply) {
            (Input::Data { .. }, Reply::Number(count)) => u64::from(*count),
            _ => 0,
        }
    }

    /// The results as text, without the call.
    #[must_use]
    pub fn outcome_text(&self) -> String {
        Shown(self.call.function, &self.outcome).to_string()
    }
}
