//! A guest without wasm: makes host calls on a memory of its own, and keeps what came of them.

use std::path::Path;
use std::sync::{Arc, Mutex};
use wrr_trace::{
    Call, Ending, Errno, Event, EventIndex, Filestat, Function, HostState, Manifest, Outcome,
    Reply, Tick,
};
use wrr_wasi::{
    Descriptors, Host, Live, LiveConfig, LiveState, NotTakenBack, Output, Preopen, ResumeError,
    Source, Stdin, Stop,
};

pub const CREAT: u64 = 1;
pub const DIRECTORY: u64 = 2;
pub const TRUNC: u64 = 8;
pub const APPEND: u64 = 1;
pub const READ: u64 = 1 << 1;
pub const WRITE: u64 = 1 << 6;
pub const SET: u64 = 0;

/// Where the guest puts paths, output and lists; and where results go.
const PATH: u32 = 0;
const SECOND_PATH: u32 = 1000;
const LIST: u32 = 2000;
const OUT: u32 = 2048;
const DATA: u32 = 4096;

pub const INPUT: &[u8] = b"What the program reads from standard input, byte by byte.";

pub fn config(root: &Path) -> LiveConfig {
    LiveConfig {
        preopens: vec![Preopen { host: root.to_owned(), guest: "/data".to_owned() }],
        stdin: Stdin::Bytes(INPUT.to_vec()),
        stdout: Output::Writer(Box::new(std::io::sink())),
        stderr: Output::Writer(Box::new(std::io::sink())),
        ..LiveConfig::default()
    }
}

pub fn manifest(config: &LiveConfig) -> Manifest {
    Manifest {
        preopens: config.preopens.iter().map(|p| p.guest.clone()).collect(),
        sockets: config.sockets.len() as u32,
        deterministic: config.deterministic,
        ..Manifest::for_module(b"")
    }
}

#[derive(Default)]
struct Seen {
    events: Vec<Event>,
    descriptors: Option<Descriptors>,
}

/// A source that is followed from outside.
struct Watched<S>(S, Arc<Mutex<Seen>>);

impl<S: Source> Source for Watched<S> {
    fn outcome(
        &mut self,
        tick: Tick,
        call: &Call,
        refused: Option<Errno>,
        memory: &mut [u8],
    ) -> Result<Outcome, Stop> {
        let outcome = self.0.outcome(tick, call, refused, memory)?;
        let mut seen = self.1.lock().unwrap();
        if let Some(descriptors) = &mut seen.descriptors {
            descriptors.observe(call, &outcome);
        }
        let index = EventIndex(seen.events.len() as u64);
        seen.events.push(Event { index, tick, call: call.clone(), outcome: outcome.clone() });
        Ok(outcome)
    }

    fn state(&self) -> HostState {
        self.0.state()
    }

    fn live(&mut self) -> Option<&mut Live> {
        self.0.live()
    }

    fn set_output(&mut self, output: wrr_wasi::ReplayOutput) {
        self.0.set_output(output);
    }

    fn finish(&mut self, ending: &Ending, tick: Tick) -> Result<(), Stop> {
        self.0.finish(ending, tick)
    }
}

pub struct Guest {
    pub host: Host,
    pub memory: Vec<u8>,
    pub manifest: Manifest,
    seen: Arc<Mutex<Seen>>,
}

impl Guest {
    pub fn live(config: LiveConfig) -> Guest {
        let manifest = manifest(&config);
        Guest::over(Live::new(config).unwrap(), &HostState::at_start(&manifest), manifest)
    }

    pub fn resumed(config: LiveConfig, state: &HostState) -> Result<Guest, ResumeError> {
        let manifest = manifest(&config);
        Ok(Guest::over(Live::resume(config, &manifest, state)?, state, manifest))
    }

    pub fn over(source: impl Source + 'static, state: &HostState, manifest: Manifest) -> Guest {
        let descriptors = Some(Descriptors::from_state(state).unwrap());
        let seen = Arc::new(Mutex::new(Seen { descriptors, events: Vec::new() }));
        let host = Host::new(Watched(source, Arc::clone(&seen)));
        Guest { host, memory: vec![0; 1 << 16], manifest, seen }
    }

    /// Goes back to a moment, as a session does.
    pub fn back_to(&mut self, then: &LiveState) -> NotTakenBack {
        let report = self.host.live().unwrap().restore(then);
        let descriptors = Descriptors::from_state(&then.host_state()).unwrap();
        self.seen.lock().unwrap().descriptors = Some(descriptors);
        report
    }

    /// What was computed from the events alone.
    pub fn state(&self) -> HostState {
        let state = self.seen.lock().unwrap().descriptors.as_ref().unwrap().state();
        assert_eq!(state, self.host.state());
        state
    }

    pub fn events(&self) -> Vec<Event> {
        self.seen.lock().unwrap().events.clone()
    }

    pub fn try_call(&mut self, function: Function, args: &[u64]) -> Result<Outcome, Stop> {
        let tick = Tick(self.host.events() * 10);
        self.host.call(function, args, &mut self.memory, tick)?;
        Ok(self.seen.lock().unwrap().events.last().unwrap().outcome.clone())
    }

    pub fn call(&mut self, function: Function, args: &[u64]) -> Outcome {
        self.try_call(function, args).unwrap()
    }

    fn put(&mut self, addr: u32, bytes: &[u8]) -> (u64, u64) {
        self.memory[addr as usize..][..bytes.len()].copy_from_slice(bytes);
        (u64::from(addr), bytes.len() as u64)
    }

    /// A list of one buffer of this length, for a call of one's own.
    pub fn prepared_list(&mut self, len: usize) -> u64 {
        self.list(len).0
    }

    fn list(&mut self, len: usize) -> (u64, u64) {
        let list = [DATA.to_le_bytes(), (len as u32).to_le_bytes()].concat();
        (self.put(LIST, &list).0, 1)
    }

    pub fn open(
        &mut self,
        dir: u32,
        path: &str,
        oflags: u64,
        rights: u64,
        fdflags: u64,
    ) -> Outcome {
        let (path, len) = self.put(PATH, path.as_bytes());
        let args = [dir.into(), 1, path, len, oflags, rights, 0, fdflags, OUT.into()];
        self.call(Function::PathOpen, &args)
    }

    /// Opens something that is there or can be made.
    pub fn opened(&mut self, path: &str, oflags: u64, rights: u64, fdflags: u64) -> u32 {
        let outcome = self.open(3, path, oflags, rights, fdflags);
        let Reply::Number(fd) = outcome.reply else { panic!("{path}: {outcome:?}") };
        fd
    }

    pub fn on_path(&mut self, function: Function, dir: u32, path: &str) -> Outcome {
        let (path, len) = self.put(PATH, path.as_bytes());
        self.call(function, &[dir.into(), path, len])
    }

    pub fn rename(&mut self, dir: u32, from: &str, to_dir: u32, to: &str) -> Outcome {
        let (from, from_len) = self.put(PATH, from.as_bytes());
        let (to, to_len) = self.put(SECOND_PATH, to.as_bytes());
        self.call(Function::PathRename, &[dir.into(), from, from_len, to_dir.into(), to, to_len])
    }

    pub fn read(&mut self, fd: u32, len: usize) -> Outcome {
        let (list, count) = self.list(len);
        self.call(Function::FdRead, &[fd.into(), list, count, OUT.into()])
    }

    pub fn pread(&mut self, fd: u32, len: usize, offset: u64) -> Outcome {
        let (list, count) = self.list(len);
        self.call(Function::FdPread, &[fd.into(), list, count, offset, OUT.into()])
    }

    pub fn write(&mut self, fd: u32, bytes: &[u8]) -> Outcome {
        self.put(DATA, bytes);
        let (list, count) = self.list(bytes.len());
        self.call(Function::FdWrite, &[fd.into(), list, count, OUT.into()])
    }

    pub fn pwrite(&mut self, fd: u32, bytes: &[u8], offset: u64) -> Outcome {
        self.put(DATA, bytes);
        let (list, count) = self.list(bytes.len());
        self.call(Function::FdPwrite, &[fd.into(), list, count, offset, OUT.into()])
    }

    pub fn seek(&mut self, fd: u32, offset: i64, whence: u64) -> Outcome {
        self.call(Function::FdSeek, &[fd.into(), offset as u64, whence, OUT.into()])
    }

    pub fn tell(&mut self, fd: u32) -> Outcome {
        self.call(Function::FdTell, &[fd.into(), OUT.into()])
    }

    pub fn close(&mut self, fd: u32) -> Outcome {
        self.call(Function::FdClose, &[fd.into()])
    }

    pub fn renumber(&mut self, from: u32, to: u32) -> Outcome {
        self.call(Function::FdRenumber, &[from.into(), to.into()])
    }

    pub fn fdstat(&mut self, fd: u32) -> Outcome {
        self.call(Function::FdFdstatGet, &[fd.into(), OUT.into()])
    }

    pub fn readdir(&mut self, fd: u32, cookie: u64) -> Outcome {
        let args = [fd.into(), DATA.into(), 4096, cookie, OUT.into()];
        self.call(Function::FdReaddir, &args)
    }

    /// Attributes without the time of the last read, which looking changes.
    pub fn filestat(&mut self, fd: u32) -> Outcome {
        let mut outcome = self.call(Function::FdFilestatGet, &[fd.into(), OUT.into()]);
        if let Reply::Filestat(stat) = &mut outcome.reply {
            *stat = Filestat { atim: 0, ..*stat };
        }
        outcome
    }

    pub fn now_and_random(&mut self) -> [Outcome; 2] {
        [
            self.call(Function::ClockTimeGet, &[1, 0, OUT.into()]),
            self.call(Function::RandomGet, &[DATA.into(), 100]),
        ]
    }
}
