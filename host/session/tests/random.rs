//! Random interleavings of what a program does, checkpoints, rollbacks, forks and commits, against a model: what a session is in
//! follows from the commands that it has read and is still to have read, and from nothing else.

use proptest::prelude::*;
use proptest::sample::Index;
use std::collections::{HashMap, HashSet};
use std::path::Path;
use wrr::format::HostState;
use wrr::{
    CheckpointError, CheckpointId, Engine, Error, FileSystem, ForkOptions, Injected, Job,
    LiveConfig, Output, OverlayOptions, Preopen, Reached, Session, Stdin, Until,
};

/// Does what each byte of its input says.
const PROGRAM: &str = r#"(module
    (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_seek" (func $seek (param i32 i64 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_filestat_set_size" (func $resize (param i32 i64) (result i32)))
    (import "wasi_snapshot_preview1" "path_unlink_file" (func $unlink (param i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "path_create_directory" (func $mkdir (param i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "path_remove_directory" (func $rmdir (param i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "path_rename" (func $rename (param i32 i32 i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_close" (func $close (param i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_renumber" (func $renumber (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_readdir" (func $list (param i32 i32 i32 i64 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_fdstat_set_flags" (func $flags (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "path_open"
      (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "clock_time_get" (func $time (param i32 i64 i32) (result i32)))
    (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
    (memory (export "memory") 12 40)
    (table $functions 2 20 funcref)
    (data (i32.const 0) "\20\00\00\00\01\00\00\00\80\00\00\00\04\00\00\00")
    (data (i32.const 64) "a")
    (data (i32.const 66) "d/b")
    (data (i32.const 72) "n")
    (data (i32.const 74) "e")
    (data $dropped "xyz")
    (global $n (mut i32) (i32.const 0))
    (global $fd (mut i32) (i32.const 3))
    (func $is (param i32) (result i32) (i32.eq (i32.load8_u (i32.const 32)) (local.get 0)))
    (func $opened (param $path i32) (param $len i32) (param $oflags i32) (param $rights i64)
      (if (i32.eqz (call $open (i32.const 3) (i32.const 1) (local.get $path) (local.get $len) (local.get $oflags)
            (local.get $rights) (i64.const 0) (i32.const 0) (i32.const 48)))
        (then (global.set $fd (i32.load (i32.const 48))))))
    (func $deeper (param $left i32) (result i32)
      (if (result i32) (local.get $left)
        (then (i32.add (call $deeper (i32.sub (local.get $left) (i32.const 1))) (global.get $n)))
        (else (call $next))))
    (func $next (result i32)
      (loop $again
        (drop (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 40)))
        (if (i32.eqz (i32.load (i32.const 40))) (then (return (i32.const 0))))
        (global.set $n (i32.add (global.get $n) (i32.const 1)))
        (if (call $is (i32.const 109)) (then
          (i32.store (i32.rem_u (i32.mul (global.get $n) (i32.const 52341)) (i32.const 700000)) (global.get $n))))
        (if (call $is (i32.const 103)) (then (drop (memory.grow (i32.const 1)))))
        (if (call $is (i32.const 120)) (then (drop (table.grow $functions (ref.null func) (i32.const 1)))))
        (if (call $is (i32.const 121)) (then (data.drop $dropped)))
        (if (call $is (i32.const 116)) (then (drop (call $time (i32.const 0) (i64.const 1) (i32.const 208)))))
        (if (call $is (i32.const 114)) (then (drop (call $random (i32.const 4000) (i32.const 200)))))
        (if (call $is (i32.const 97)) (then (call $opened (i32.const 64) (i32.const 1) (i32.const 0) (i64.const 0x400046))))
        (if (call $is (i32.const 98)) (then (call $opened (i32.const 66) (i32.const 3) (i32.const 0) (i64.const 6))))
        (if (call $is (i32.const 100)) (then (call $opened (i32.const 66) (i32.const 1) (i32.const 0) (i64.const 6))))
        (if (call $is (i32.const 110)) (then (call $opened (i32.const 72) (i32.const 1) (i32.const 1) (i64.const 0x400046))))
        (if (call $is (i32.const 119)) (then
          (drop (call $write (global.get $fd) (i32.const 0) (i32.const 1) (i32.const 40)))))
        (if (call $is (i32.const 122)) (then
          (drop (call $resize (global.get $fd) (i64.extend_i32_u (i32.rem_u (global.get $n) (i32.const 9)))))))
        (if (call $is (i32.const 117)) (then (drop (call $unlink (i32.const 3) (i32.const 64) (i32.const 1)))))
        (if (call $is (i32.const 118)) (then
          (drop (call $rename (i32.const 3) (i32.const 66) (i32.const 3) (i32.const 3) (i32.const 72) (i32.const 1)))))
        (if (call $is (i32.const 86)) (then
          (drop (call $rename (i32.const 3) (i32.const 72) (i32.const 1) (i32.const 3) (i32.const 64) (i32.const 1)))))
        (if (call $is (i32.const 101)) (then (drop (call $mkdir (i32.const 3) (i32.const 74) (i32.const 1)))))
        (if (call $is (i32.const 69)) (then
          (drop (call $rmdir (i32.const 3) (i32.const 74) (i32.const 1)))
          (drop (call $rename (i32.const 3) (i32.const 66) (i32.const 1) (i32.const 3) (i32.const 74) (i32.const 1)))))
        (if (call $is (i32.const 108)) (then
          (drop (call $list (global.get $fd) (i32.const 6000) (i32.const 300) (i64.const 0) (i32.const 48)))))
        (if (call $is (i32.const 102)) (then
          (drop (call $read (global.get $fd) (i32.const 8) (i32.const 1) (i32.const 40)))))
        (if (call $is (i32.const 115)) (then
          (drop (call $seek (global.get $fd) (i64.extend_i32_u (global.get $n)) (i32.const 0) (i32.const 216)))))
        (if (call $is (i32.const 70)) (then
          (drop (call $flags (global.get $fd) (i32.and (global.get $n) (i32.const 5))))))
        (if (call $is (i32.const 99)) (then (drop (call $close (global.get $fd)))))
        (if (call $is (i32.const 107)) (then (drop (call $renumber (global.get $fd) (i32.const 5)))))
        (if (call $is (i32.const 111)) (then (drop (call $close (i32.const 1)))))
        (if (call $is (i32.const 62)) (then (return (call $deeper (i32.const 3)))))
        (br $again))
      unreachable)
    (func (export "_start") (drop (call $next))))"#;

const COMMANDS: &[u8] = b"mmmgxytrabdlffsFck>onwwzuvVeE";

/// The program's, its host's, and that of the files that it has changed.
type State = ([u8; 32], HostState, [u8; 32]);

fn state(session: &mut Session) -> State {
    let files = session.files_hash().unwrap().expect("it has an overlay");
    (session.state_hash().unwrap(), session.host_state().unwrap(), files)
}

fn job(root: &Path, engine: &Engine, input: &Injected) -> Job<'static> {
    let live = LiveConfig {
        args: vec!["random".to_owned()],
        preopens: vec![Preopen { host: root.to_owned(), guest: "/data".to_owned() }],
        fs: FileSystem::Overlay(OverlayOptions::default()),
        stdin: Stdin::Injected(input.clone()),
        stdout: Output::Writer(Box::new(std::io::sink())),
        stderr: Output::Writer(Box::new(std::io::sink())),
        deterministic: true,
        ..LiveConfig::default()
    };
    let job = Job::new(PROGRAM.as_bytes().to_vec(), "random.wat");
    Job { live, engine: Some(engine.clone()), ..job }
}

fn until_input(session: &mut Session) {
    assert_eq!(session.run_until(Until::End).unwrap(), Reached::Input);
}

/// What a session is in that has read these commands and has come there straight.
struct Model {
    root: tempfile::TempDir,
    engine: Engine,
    known: HashMap<Vec<u8>, State>,
}

impl Model {
    fn new() -> Model {
        let root = tempfile::tempdir().unwrap();
        std::fs::write(root.path().join("a"), b"0123456789".repeat(5)).unwrap();
        std::fs::create_dir(root.path().join("d")).unwrap();
        std::fs::write(root.path().join("d/b"), b"abc").unwrap();
        Model { root, engine: Engine::new(), known: HashMap::new() }
    }

    fn session(&self, input: &Injected) -> Session {
        Session::start(job(self.root.path(), &self.engine, input)).unwrap()
    }

    fn state(&mut self, commands: &[u8]) -> State {
        if let Some(known) = self.known.get(commands) {
            return known.clone();
        }
        let input = Injected::new();
        input.push(commands);
        let mut session = self.session(&input);
        until_input(&mut session);
        let found = state(&mut session);
        self.known.insert(commands.to_vec(), found.clone());
        found
    }
}

struct Tried {
    session: Session,
    input: Injected,
    commands: Vec<u8>,
    /// With what was read before each.
    checkpoints: Vec<(CheckpointId, usize)>,
}

#[derive(Clone, Debug)]
enum Step {
    Feed(Index, Vec<u8>),
    Checkpoint(Index),
    Rollback(Index, Index),
    /// What was put in behind the checkpoint comes again.
    RollbackAndRepeat(Index, Index),
    Fork(Index, Index),
    Commit(Index, Index),
}

fn step() -> impl Strategy<Value = Step> {
    let index = any::<Index>;
    let commands = || prop::collection::vec(prop::sample::select(COMMANDS), 1..8);
    prop_oneof![
        6 => (index(), commands()).prop_map(|(which, commands)| Step::Feed(which, commands)),
        4 => index().prop_map(Step::Checkpoint),
        3 => (index(), index()).prop_map(|(which, to)| Step::Rollback(which, to)),
        1 => (index(), index()).prop_map(|(which, to)| Step::RollbackAndRepeat(which, to)),
        2 => (index(), index()).prop_map(|(which, from)| Step::Fork(which, from)),
        1 => (index(), index()).prop_map(|(which, to)| Step::Commit(which, to)),
    ]
}

/// More sessions are not forked.
const SESSIONS_MAX: usize = 5;

fn take(model: &mut Model, all: &mut Vec<Tried>, step: Step) -> Result<(), TestCaseError> {
    let which = match &step {
        Step::Feed(which, _) | Step::Checkpoint(which) => which,
        Step::Rollback(which, _)
        | Step::RollbackAndRepeat(which, _)
        | Step::Fork(which, _)
        | Step::Commit(which, _) => which,
    };
    let number = which.index(all.len());
    let tried = &mut all[number];
    match step {
        Step::Feed(_, commands) => {
            tried.input.push(&commands);
            tried.commands.extend(commands);
            until_input(&mut tried.session);
        }
        Step::Checkpoint(_) => {
            let id = tried.session.checkpoint().unwrap();
            tried.checkpoints.push((id, tried.commands.len()));
        }
        _ if tried.checkpoints.is_empty() => {}
        Step::Rollback(_, to) => {
            let place = to.index(tried.checkpoints.len());
            let (id, read) = tried.checkpoints[place];
            prop_assert!(tried.session.rollback(id).unwrap().is_empty());
            tried.commands.truncate(read);
            tried.input.truncate(read as u64);
            for (gone, _) in tried.checkpoints.drain(place + 1..) {
                let refused = tried.session.rollback(gone);
                prop_assert!(
                    matches!(refused, Err(Error::Checkpoint(CheckpointError::TakenBack))),
                    "{refused:?}"
                );
            }
        }
        Step::RollbackAndRepeat(_, to) => {
            let place = to.index(tried.checkpoints.len());
            let (id, read) = tried.checkpoints[place];
            tried.session.rollback(id).unwrap();
            let then = state(&mut tried.session);
            prop_assert_eq!(then, model.state(&tried.commands[..read]));
            tried.checkpoints.truncate(place + 1);
            until_input(&mut tried.session);
        }
        Step::Fork(_, from) => {
            let (id, read) = *from.get(&tried.checkpoints);
            let input = tried.input.fork();
            input.truncate(read as u64);
            let stdin = Some(Stdin::Injected(input.clone()));
            let session =
                tried.session.fork_with(id, ForkOptions { stdin, ..ForkOptions::default() });
            let commands = tried.commands[..read].to_vec();
            let fork =
                Tried { session: session.unwrap(), input, commands, checkpoints: Vec::new() };
            if all.len() < SESSIONS_MAX {
                all.push(fork);
            } else {
                all[(number + 1) % SESSIONS_MAX] = fork;
            }
        }
        Step::Commit(_, to) => {
            let place = to.index(tried.checkpoints.len());
            tried.session.commit(tried.checkpoints[place].0).unwrap();
            for (gone, _) in tried.checkpoints.drain(..=place) {
                let refused = tried.session.fork(gone).map(drop);
                prop_assert!(
                    matches!(refused, Err(Error::Checkpoint(CheckpointError::Committed))),
                    "{refused:?}"
                );
            }
        }
    }
    for tried in all {
        let commands = String::from_utf8_lossy(&tried.commands).into_owned();
        let (found, expected) = (state(&mut tried.session), model.state(&tried.commands));
        prop_assert_eq!(found.1, expected.1, "the host's state after {:?}", commands);
        prop_assert_eq!(found.2, expected.2, "the files after {:?}", commands);
        prop_assert_eq!(found.0, expected.0, "the program's state after {:?}", commands);
    }
    Ok(())
}

#[test]
fn a_rollback_never_leaks() {
    let mut model = Model::new();
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
        failure_persistence: None,
        max_shrink_iters: 3000,
        ..ProptestConfig::with_cases(300)
    });
    // The model is kept from one case to the next.
    let model = std::cell::RefCell::new(&mut model);
    let tested = runner.run(&prop::collection::vec(step(), 1..40), |steps| {
        let model = &mut *model.borrow_mut();
        let input = Injected::new();
        let mut session = model.session(&input);
        until_input(&mut session);
        let mut all = vec![Tried { session, input, commands: Vec::new(), checkpoints: Vec::new() }];
        for step in steps {
            take(model, &mut all, step)?;
        }
        Ok(())
    });
    tested.unwrap();
    let known = model.borrow().known.values().map(|(_, _, files)| *files).collect::<HashSet<_>>();
    assert!(known.len() > 200, "the programs have changed files: {}", known.len());
}
