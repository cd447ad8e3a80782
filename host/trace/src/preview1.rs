//! The functions of `wasi_snapshot_preview1`, as a table: names, parameters, what they read and give; and behind
//! them those with which a guest controls its own checkpoints.
//!
//! Source: `wasi_snapshot_preview1.witx` and `typenames.witx` of WASI preview 1; the order is the
//! witx's, and a function's place in it is its number in traces. Lowering to core wasm follows the
//! witx ABI: a string or list is a pointer and a length, each result but the errno is an out pointer.

/// The import module of preview1.
pub const PREVIEW1: &str = "wasi_snapshot_preview1";

/// The import module of the functions with which a guest controls its own checkpoints: the interface of `wit/control.wit` by its
/// canonical name. Strings are a pointer and a length; `branch` writes `{some: u8, address: u32, len: u32}` to its last argument.
pub const CONTROL: &str = "wrr:guest/control@0.1.0";

/// The most parameters a function has (`path_open`).
pub const PARAMS_MAX: usize = 9;

/// How a parameter is to be read and shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParamKind {
    /// `i32`: a file descriptor.
    Fd,
    /// `i32`: an unsigned number.
    U32,
    /// `i64`: an unsigned number.
    U64,
    /// `i64`: a signed number.
    S64,
    /// `i32`: the address of something that the call reads, or of a buffer that it fills.
    Pointer,
    /// `i32`: where a result is written.
    Out,
    /// `i32`: one of these names.
    Enum(&'static [&'static str]),
    /// `i32`: a set of these bits, lowest first.
    Flags(&'static [&'static str]),
    /// `i64`: the rights bits.
    Rights,
}

impl ParamKind {
    /// Whether the core wasm parameter is an `i64` (otherwise it is an `i32`).
    #[must_use]
    pub fn is_i64(self) -> bool {
        matches!(self, ParamKind::U64 | ParamKind::S64 | ParamKind::Rights)
    }
}

/// One core wasm parameter of a function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Param {
    /// The witx name; `out`, `out2` for result pointers.
    pub name: &'static str,
    /// How to read it.
    pub kind: ParamKind,
}

/// What a call reads from guest memory. Numbers are positions of pointer parameters; lengths follow them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InputKind {
    /// Nothing.
    None,
    /// A path.
    Path(usize),
    /// Two paths.
    TwoPaths(usize, usize),
    /// A list of buffers to be filled.
    Buffers(usize),
    /// A list of buffers to be written out.
    Data(usize),
    /// A list of subscriptions.
    Subscriptions(usize),
}

/// What a successful call gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplyKind {
    /// Nothing but success.
    Nothing,
    /// A `u32`: a count or a descriptor.
    Number,
    /// A `u64`: a file offset or a resolution in nanoseconds.
    Wide,
    /// A clock's time in nanoseconds.
    Time,
    /// Two `u32`: how many strings, and their bytes.
    Sizes,
    /// NUL-terminated strings, one after the other.
    Strings,
    /// Bytes.
    Bytes,
    /// Bytes from a socket, and flags.
    Received,
    /// Attributes of a descriptor.
    Fdstat,
    /// Attributes of a file.
    Filestat,
    /// The length of a preopened directory's name.
    Prestat,
    /// What happened to the subscriptions.
    Polled,
}

/// All that is known about a function.
#[derive(Clone, Copy, Debug)]
pub struct Signature {
    /// The import's name.
    pub name: &'static str,
    /// Its core wasm parameters.
    pub params: &'static [Param],
    /// What it reads from memory.
    pub input: InputKind,
    /// What it gives.
    pub reply: ReplyKind,
}

const CLOCK: ParamKind =
    ParamKind::Enum(&["realtime", "monotonic", "process_cputime", "thread_cputime"]);
const ADVICE: ParamKind =
    ParamKind::Enum(&["normal", "sequential", "random", "willneed", "dontneed", "noreuse"]);
const WHENCE: ParamKind = ParamKind::Enum(&["set", "cur", "end"]);
const FDFLAGS: ParamKind = ParamKind::Flags(&["append", "dsync", "nonblock", "rsync", "sync"]);
const FSTFLAGS: ParamKind = ParamKind::Flags(&["atim", "atim_now", "mtim", "mtim_now"]);
const LOOKUP: ParamKind = ParamKind::Flags(&["symlink_follow"]);
const OFLAGS: ParamKind = ParamKind::Flags(&["creat", "directory", "excl", "trunc"]);
const RIFLAGS: ParamKind = ParamKind::Flags(&["recv_peek", "recv_waitall"]);
const SDFLAGS: ParamKind = ParamKind::Flags(&["rd", "wr"]);

use ParamKind::{Fd, Out, Pointer, Rights, S64, U32, U64};

macro_rules! functions {
    ($($variant:ident $name:literal ($($param:ident: $kind:expr),*) $input:expr => $reply:ident;)*) => {
        /// A function of preview1, or of [`CONTROL`]. The discriminant is its number in traces.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum Function {
            $(#[doc = concat!("`", $name, "`")] $variant,)*
        }

        impl Function {
            /// All functions, in the order of their numbers.
            pub const ALL: &'static [Function] = &[$(Function::$variant,)*];

            const SIGNATURES: &'static [Signature] = &[$(Signature {
                name: $name,
                params: &[$(Param { name: stringify!($param), kind: $kind },)*],
                input: { use InputKind::*; $input },
                reply: ReplyKind::$reply,
            },)*];
        }
    };
}

functions! {
    ArgsGet "args_get" (argv: Pointer, argv_buf: Pointer) None => Strings;
    ArgsSizesGet "args_sizes_get" (out: Out, out2: Out) None => Sizes;
    EnvironGet "environ_get" (environ: Pointer, environ_buf: Pointer) None => Strings;
    EnvironSizesGet "environ_sizes_get" (out: Out, out2: Out) None => Sizes;
    ClockResGet "clock_res_get" (id: CLOCK, out: Out) None => Wide;
    ClockTimeGet "clock_time_get" (id: CLOCK, precision: U64, out: Out) None => Time;
    FdAdvise "fd_advise" (fd: Fd, offset: U64, len: U64, advice: ADVICE) None => Nothing;
    FdAllocate "fd_allocate" (fd: Fd, offset: U64, len: U64) None => Nothing;
    FdClose "fd_close" (fd: Fd) None => Nothing;
    FdDatasync "fd_datasync" (fd: Fd) None => Nothing;
    FdFdstatGet "fd_fdstat_get" (fd: Fd, out: Out) None => Fdstat;
    FdFdstatSetFlags "fd_fdstat_set_flags" (fd: Fd, flags: FDFLAGS) None => Nothing;
    FdFdstatSetRights "fd_fdstat_set_rights" (fd: Fd, base: Rights, inheriting: Rights) None => Nothing;
    FdFilestatGet "fd_filestat_get" (fd: Fd, out: Out) None => Filestat;
    FdFilestatSetSize "fd_filestat_set_size" (fd: Fd, size: U64) None => Nothing;
    FdFilestatSetTimes "fd_filestat_set_times" (fd: Fd, atim: U64, mtim: U64, fst_flags: FSTFLAGS) None => Nothing;
    FdPread "fd_pread" (fd: Fd, iovs: Pointer, iovs_len: U32, offset: U64, out: Out) Buffers(1) => Bytes;
    FdPrestatGet "fd_prestat_get" (fd: Fd, out: Out) None => Prestat;
    FdPrestatDirName "fd_prestat_dir_name" (fd: Fd, path: Pointer, path_len: U32) None => Bytes;
    FdPwrite "fd_pwrite" (fd: Fd, iovs: Pointer, iovs_len: U32, offset: U64, out: Out) Data(1) => Number;
    FdRead "fd_read" (fd: Fd, iovs: Pointer, iovs_len: U32, out: Out) Buffers(1) => Bytes;
    FdReaddir "fd_readdir" (fd: Fd, buf: Pointer, buf_len: U32, cookie: U64, out: Out) None => Bytes;
    FdRenumber "fd_renumber" (fd: Fd, to: Fd) None => Nothing;
    FdSeek "fd_seek" (fd: Fd, offset: S64, whence: WHENCE, out: Out) None => Wide;
    FdSync "fd_sync" (fd: Fd) None => Nothing;
    FdTell "fd_tell" (fd: Fd, out: Out) None => Wide;
    FdWrite "fd_write" (fd: Fd, iovs: Pointer, iovs_len: U32, out: Out) Data(1) => Number;
    PathCreateDirectory "path_create_directory" (fd: Fd, path: Pointer, path_len: U32) Path(1) => Nothing;
    PathFilestatGet "path_filestat_get" (fd: Fd, flags: LOOKUP, path: Pointer, path_len: U32, out: Out) Path(2) => Filestat;
    PathFilestatSetTimes "path_filestat_set_times" (fd: Fd, flags: LOOKUP, path: Pointer, path_len: U32, atim: U64, mtim: U64, fst_flags: FSTFLAGS) Path(2) => Nothing;
    PathLink "path_link" (old_fd: Fd, old_flags: LOOKUP, old_path: Pointer, old_path_len: U32, new_fd: Fd, new_path: Pointer, new_path_len: U32) TwoPaths(2, 5) => Nothing;
    PathOpen "path_open" (fd: Fd, dirflags: LOOKUP, path: Pointer, path_len: U32, oflags: OFLAGS, rights: Rights, inheriting: Rights, fdflags: FDFLAGS, out: Out) Path(2) => Number;
    PathReadlink "path_readlink" (fd: Fd, path: Pointer, path_len: U32, buf: Pointer, buf_len: U32, out: Out) Path(1) => Bytes;
    PathRemoveDirectory "path_remove_directory" (fd: Fd, path: Pointer, path_len: U32) Path(1) => Nothing;
    PathRename "path_rename" (fd: Fd, old_path: Pointer, old_path_len: U32, new_fd: Fd, new_path: Pointer, new_path_len: U32) TwoPaths(1, 4) => Nothing;
    PathSymlink "path_symlink" (old_path: Pointer, old_path_len: U32, fd: Fd, new_path: Pointer, new_path_len: U32) TwoPaths(0, 3) => Nothing;
    PathUnlinkFile "path_unlink_file" (fd: Fd, path: Pointer, path_len: U32) Path(1) => Nothing;
    PollOneoff "poll_oneoff" (subscriptions: Pointer, events: Pointer, nsubscriptions: U32, out: Out) Subscriptions(0) => Polled;
    ProcExit "proc_exit" (rval: U32) None => Nothing;
    ProcRaise "proc_raise" (sig: U32) None => Nothing;
    SchedYield "sched_yield" () None => Nothing;
    RandomGet "random_get" (buf: Pointer, buf_len: U32) None => Bytes;
    SockAccept "sock_accept" (fd: Fd, flags: FDFLAGS, out: Out) None => Number;
    SockRecv "sock_recv" (fd: Fd, ri_data: Pointer, ri_data_len: U32, ri_flags: RIFLAGS, out: Out, out2: Out) Buffers(1) => Received;
    SockSend "sock_send" (fd: Fd, si_data: Pointer, si_data_len: U32, si_flags: U32, out: Out) Data(1) => Number;
    SockShutdown "sock_shutdown" (fd: Fd, how: SDFLAGS) None => Nothing;
    ControlCheckpoint "checkpoint" (path: Pointer, path_len: U32) Path(0) => Number;
    ControlRollback "rollback" (path: Pointer, path_len: U32) Path(0) => Number;
    ControlMark "mark" (path: Pointer, path_len: U32) Path(0) => Nothing;
    ControlBranch "branch" (path: Pointer, path_len: U32, data: Pointer) Path(0) => Received;
}

impl Function {
    /// The function with this number in traces.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Function> {
        Self::ALL.get(usize::from(number)).copied()
    }

    /// The function with this import name, of preview1 or of [`CONTROL`].
    #[must_use]
    pub fn of_import(module: &str, name: &str) -> Option<Function> {
        Self::ALL.iter().copied().find(|f| f.module() == module && f.name() == name)
    }

    /// Whether it is of [`CONTROL`].
    #[must_use]
    pub fn is_control(self) -> bool {
        self >= Function::ControlCheckpoint
    }

    /// The module that it is imported from.
    #[must_use]
    pub fn module(self) -> &'static str {
        if self.is_control() { CONTROL } else { PREVIEW1 }
    }

    /// Whether the core wasm function has a result, which is an `i32`.
    #[must_use]
    pub fn has_result(self) -> bool {
        !matches!(self, Function::ProcExit | Function::ControlMark | Function::ControlBranch)
    }

    /// What is known about it.
    #[must_use]
    pub fn signature(self) -> &'static Signature {
        &Self::SIGNATURES[self as usize]
    }

    /// The import's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.signature().name
    }
}

macro_rules! errnos {
    ($($name:ident)*) => {
        const ERRNO_NAMES: &[&str] = &[$(stringify!($name),)*];

        #[allow(missing_docs, reason = "the names are those of the witx")]
        #[allow(non_upper_case_globals, reason = "likewise")]
        mod errno_numbers {
            #[allow(non_camel_case_types, clippy::upper_case_acronyms, reason = "a list that counts")]
            enum Number { $($name,)* }
            impl super::Errno { $(pub const $name: super::Errno = super::Errno(Number::$name as u16);)* }
        }
    };
}

/// An error number of preview1, always one that the witx defines. 0 is success.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Errno(u16);

errnos! {
    success toobig acces addrinuse addrnotavail afnosupport again already badf badmsg busy canceled
    child connaborted connrefused connreset deadlk destaddrreq dom dquot exist fault fbig
    hostunreach idrm ilseq inprogress intr inval io isconn isdir loop_ mfile mlink msgsize multihop
    nametoolong netdown netreset netunreach nfile nobufs nodev noent noexec nolck nolink nomem nomsg
    noprotoopt nospc nosys notconn notdir notempty notrecoverable notsock notsup notty nxio overflow
    ownerdead perm pipe proto protonosupport prototype range rofs spipe srch stale timedout txtbsy
    xdev notcapable
}

impl Errno {
    /// The errno with this number, if the witx defines one.
    #[must_use]
    pub fn from_number(number: u16) -> Option<Errno> {
        (usize::from(number) < ERRNO_NAMES.len()).then_some(Errno(number))
    }

    /// Its number.
    #[must_use]
    pub fn number(self) -> u16 {
        self.0
    }

    /// Its name in the witx.
    #[must_use]
    pub fn name(self) -> &'static str {
        match ERRNO_NAMES[usize::from(self.0)] {
            "toobig" => "2big",
            "loop_" => "loop",
            name => name,
        }
    }
}

impl std::fmt::Display for Errno {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// The witx name of a file type's number.
#[must_use]
pub fn filetype_name(filetype: u8) -> &'static str {
    const NAMES: [&str; 8] = [
        "unknown",
        "block_device",
        "character_device",
        "directory",
        "regular_file",
        "socket_dgram",
        "socket_stream",
        "symbolic_link",
    ];
    NAMES.get(usize::from(filetype)).copied().unwrap_or("invalid")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_names_lead_back_to_the_function() {
        for (i, &f) in Function::ALL.iter().enumerate() {
            assert_eq!(Function::from_number(i as u8), Some(f));
            assert_eq!(Function::of_import(f.module(), f.name()), Some(f));
            assert!(f.signature().params.len() <= PARAMS_MAX);
        }
        assert_eq!(Function::ALL.iter().filter(|f| !f.is_control()).count(), 46);
        assert_eq!(Function::from_number(45).map(Function::module), Some(PREVIEW1));
        assert_eq!(Function::from_number(46), Some(Function::ControlCheckpoint));
        assert_eq!(Function::from_number(50), None);
    }

    #[test]
    fn errno_numbers_are_those_of_the_witx() {
        for (number, errno, name) in [
            (0, Errno::success, "success"),
            (1, Errno::toobig, "2big"),
            (8, Errno::badf, "badf"),
            (28, Errno::inval, "inval"),
            (32, Errno::loop_, "loop"),
            (44, Errno::noent, "noent"),
            (58, Errno::notsup, "notsup"),
            (76, Errno::notcapable, "notcapable"),
        ] {
            assert_eq!((errno.number(), errno.name()), (number, name));
        }
        assert_eq!(Errno::from_number(77), None);
    }
}
