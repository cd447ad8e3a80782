//! Sessions by themselves: small programs that are kept, go back, fork, and are recorded meanwhile.

use std::io::Write;
use std::path::Path;
use std::sync::{Arc, Mutex};
use wrr::{
    ChangedFile, CheckpointError, CommitError, Engine, Error, FileSystem, ForkOptions, Injected,
    Job, LiveConfig, Moment, Output, OverlayOptions, Preopen, Reached, RecordOptions, ReplayOutput,
    Session, Stdin, Trace, Until,
};

/// Counts the lines of its input in memory, and writes the number behind each.
const COUNTER: &str = r#"(module
    (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
    (memory (export "memory") 5)
    (data (i32.const 0) "\40\00\00\00\01\00\00\00\50\00\00\00\02\00\00\00")
    (data (i32.const 80) "0\n")
    (func (export "_start")
      (loop $again
        (drop (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 32)))
        (if (i32.load (i32.const 32)) (then
          (if (i32.eq (i32.load8_u (i32.const 64)) (i32.const 10)) (then
            (i32.store8 (i32.const 80) (i32.add (i32.load8_u (i32.const 80)) (i32.const 1)))
            (drop (call $random (i32.const 200000) (i32.const 16)))
            (drop (call $write (i32.const 1) (i32.const 8) (i32.const 1) (i32.const 32)))))
          (br $again))))))"#;

/// Collects what is written.
#[derive(Clone, Default)]
struct Sink(Arc<Mutex<Vec<u8>>>);

impl Sink {
    fn output(&self) -> Output {
        Output::Writer(Box::new(self.clone()))
    }

    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn counter(stdin: Stdin, stdout: &Sink, deterministic: bool) -> Job<'static> {
    let live = LiveConfig {
        args: vec!["counter".to_owned()],
        stdin,
        stdout: stdout.output(),
        deterministic,
        ..LiveConfig::default()
    };
    Job { live, ..Job::new(COUNTER.as_bytes().to_vec(), "counter.wat") }
}

fn until_input(session: &mut Session) {
    assert_eq!(session.run_until(Until::End).unwrap(), Reached::Input);
}

fn exit_code(reached: Reached) -> Option<i32> {
    match reached {
        Reached::Ended(end) => end.exit_code(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_session_goes_back_with_its_input_and_its_memory() {
    let (input, output) = (Injected::new(), Sink::default());
    let mut session =
        Session::start(counter(Stdin::Injected(input.clone()), &output, false)).unwrap();
    let start = session.checkpoint().unwrap();
    until_input(&mut session);
    input.push(b"a\n");
    until_input(&mut session);
    let one = session.checkpoint().unwrap();
    let (hash, host) = (session.state_hash().unwrap(), session.host_state().unwrap());
    input.push(b"b\nc\n");
    until_input(&mut session);
    assert_eq!(output.text(), "1\n2\n3\n");
    for _ in 0..3 {
        assert!(session.rollback(one).unwrap().is_empty());
        assert_eq!(
            (session.state_hash().unwrap(), session.host_state().unwrap()),
            (hash, host.clone())
        );
        until_input(&mut session);
    }
    assert_eq!(output.text(), "1\n2\n3\n2\n3\n2\n3\n2\n3\n", "what was put in comes again");
    input.close();
    assert_eq!(exit_code(session.run_until(Until::End).unwrap()), Some(0));
    assert!(matches!(session.checkpoint(), Err(Error::Refused { .. })), "it has ended");
    session.rollback(start).unwrap();
    assert_eq!(exit_code(session.run_until(Until::End).unwrap()), Some(0));
    assert!(output.text().ends_with("1\n2\n3\n"));
}

#[test]
fn checkpoints_that_a_session_does_not_have_are_refused_and_nothing_happens() {
    let output = Sink::default();
    let lines = || Stdin::Bytes(b"a\nb\n".to_vec());
    let mut session = Session::start(counter(lines(), &output, false)).unwrap();
    let mut other = Session::start(counter(lines(), &output, false)).unwrap();
    let mut another =
        Session::start(Job::new(b"(module (func (export \"_start\")))".to_vec(), "x")).unwrap();
    let ids: Vec<_> = (0..4).map(|_| session.checkpoint().unwrap()).collect();
    session.commit(ids[1]).unwrap();
    session.rollback(ids[2]).unwrap();
    let kinds = [
        (ids[0], CheckpointError::Committed),
        (ids[1], CheckpointError::Committed),
        (ids[3], CheckpointError::TakenBack),
        (other.checkpoint().unwrap(), CheckpointError::OtherSession),
        (another.checkpoint().unwrap(), CheckpointError::OtherProgram),
    ];
    let before = session.state_hash().unwrap();
    for (id, kind) in kinds {
        for refused in
            [session.rollback(id).map(drop), session.commit(id), session.fork(id).map(drop)]
        {
            match refused {
                Err(Error::Checkpoint(found)) => assert_eq!(found, kind),
                other => panic!("{other:?}"),
            }
        }
    }
    assert_eq!(session.state_hash().unwrap(), before);
    assert_eq!(session.checkpoints().collect::<Vec<_>>(), [ids[2]]);
    assert_eq!(exit_code(session.run_until(Until::End).unwrap()), Some(0));
    session.rollback(ids[2]).unwrap();
    assert_eq!(
        session.fork(ids[2]).unwrap().run_until(Until::End).unwrap(),
        session.run_until(Until::End).unwrap()
    );
}

#[test]
fn forks_run_in_parallel_and_see_nothing_of_each_other() {
    let (input, output) = (Injected::new(), Sink::default());
    let mut session =
        Session::start(counter(Stdin::Injected(input.clone()), &output, false)).unwrap();
    input.push(b"x\n");
    until_input(&mut session);
    // The program is in a call that is not answered: each fork makes it again.
    let here = session.checkpoint().unwrap();
    let outputs: Vec<Sink> = (0..8).map(|_| Sink::default()).collect();
    let forks: Vec<Session> = outputs
        .iter()
        .enumerate()
        .map(|(lines, sink)| {
            let options = ForkOptions {
                stdin: Some(Stdin::Bytes([&b"x\n"[..], &b"y\n".repeat(lines)].concat())),
                stdout: Some(sink.output()),
                ..ForkOptions::default()
            };
            session.fork_with(here, options).unwrap()
        })
        .collect();
    std::thread::scope(|scope| {
        for mut fork in forks {
            scope.spawn(move || {
                assert_eq!(exit_code(fork.run_until(Until::End).unwrap()), Some(0));
            });
        }
    });
    for (lines, sink) in outputs.iter().enumerate() {
        let expected: String = (2..2 + lines).map(|n| format!("{n}\n")).collect();
        assert_eq!(sink.text(), expected);
    }
    input.push(b"z\n");
    until_input(&mut session);
    assert_eq!(output.text(), "1\n2\n");
}

fn replayed(path: &Path) -> String {
    let sink = Sink::default();
    let output = ReplayOutput { stdout: Box::new(sink.clone()), stderr: Box::new(std::io::sink()) };
    let trace = Trace::open(path).unwrap();
    trace.verify().unwrap();
    let replayed = trace.replay(output).unwrap();
    assert_eq!(replayed.end.unwrap().exit_code(), Some(0));
    sink.text()
}

#[test]
fn a_recording_holds_what_was_not_taken_back() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    for deterministic in [false, true] {
        let (input, output) = (Injected::new(), Sink::default());
        let job = counter(Stdin::Injected(input.clone()), &output, deterministic);
        let mut session =
            Session::record(job, &path("back.wrr"), RecordOptions::default()).unwrap();
        input.push(b"a\nb");
        until_input(&mut session);
        let here = session.checkpoint().unwrap();
        for _ in 0..3 {
            input.push(b"\nc\n");
            until_input(&mut session);
            session.rollback(here).unwrap();
        }
        input.close();
        assert_eq!(exit_code(session.run_until(Until::End).unwrap()), Some(0));
        assert!(matches!(session.write_memory(0, 0, b"x"), Err(Error::Repeatable)));
        let recorded = session.finish().unwrap();
        assert!(recorded.not_saved.is_none());
        let lines: String = (1..=7).map(|n| format!("{n}\n")).collect();
        assert_eq!(replayed(&path("back.wrr")), lines);
        if deterministic {
            // The same as a run that never went back.
            let all = [&b"a\nb"[..], &b"\nc\n".repeat(3)].concat();
            let straight = counter(Stdin::Bytes(all), &Sink::default(), true);
            wrr::record(straight, &path("straight.wrr"), RecordOptions::default()).unwrap();
            assert_eq!(replayed(&path("straight.wrr")), lines);
        }
    }
}

#[test]
fn a_replay_goes_back_forks_and_goes_live() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.wrr");
    let job = counter(Stdin::Bytes(b"a\nb\nc\n".to_vec()), &Sink::default(), false);
    wrr::record(job, &path, RecordOptions::default()).unwrap();

    let trace = Arc::new(Trace::open(&path).unwrap());
    let mut session = Session::replay(Arc::clone(&trace)).unwrap();
    let start = session.checkpoint().unwrap();
    assert_eq!(
        session.run_until(Until::Event(wrr::format::EventIndex(5))).unwrap(),
        Reached::Stopped
    );
    let middle = session.checkpoint().unwrap();
    let hash = session.state_hash().unwrap();
    let ended = session.run_until(Until::End).unwrap();
    let last = session.state_hash().unwrap();
    for _ in 0..2 {
        session.rollback(middle).unwrap();
        assert_eq!(session.state_hash().unwrap(), hash);
        assert_eq!(session.run_until(Until::End).unwrap(), ended);
        assert_eq!(session.state_hash().unwrap(), last);
    }
    session.rollback(start).unwrap();
    assert_eq!(
        session.run_until(Until::Event(wrr::format::EventIndex(5))).unwrap(),
        Reached::Stopped
    );
    assert_eq!(session.state_hash().unwrap(), hash);

    let here = session.checkpoint().unwrap();
    let mut fork = session.fork(here).unwrap();
    assert_eq!(fork.state_hash().unwrap(), hash);
    let sink = Sink::default();
    let stdin = Stdin::Bytes(b"a\nb\nnow\nfor\nsomething else\n".to_vec());
    let live = LiveConfig { stdin, stdout: sink.output(), ..LiveConfig::default() };
    fork.go_live(live).unwrap();
    assert!(matches!(fork.go_live(LiveConfig::default()), Err(Error::NoReplay)));
    assert_eq!(exit_code(fork.run_until(Until::End).unwrap()), Some(0));
    assert!(sink.text().ends_with("4\n5\n"), "{}", sink.text());
    assert_eq!(session.run_until(Until::End).unwrap(), ended, "the replay knows nothing of it");

    let mut at = Session::replay_at(Arc::clone(&trace), &"#5".parse::<Moment>().unwrap()).unwrap();
    assert_eq!(at.state_hash().unwrap(), hash);
    assert_eq!(at.run_until(Until::End).unwrap(), ended);
    Session::open(&path).unwrap();
}

#[test]
fn memory_that_has_grown_meanwhile_is_small_again() {
    let module = r#"(module
        (import "wasi_snapshot_preview1" "sched_yield" (func $yield (result i32)))
        (memory (export "memory") 1)
        (global $n (mut i32) (i32.const 0))
        (func (export "run") (result i32)
          (drop (call $yield))
          (drop (memory.grow (i32.const 3)))
          (i32.store (i32.const 100000) (i32.const 7))
          (drop (call $yield))
          (global.set $n (i32.add (global.get $n) (i32.const 1)))
          (i32.add (memory.size) (global.get $n))))"#;
    let job = || {
        let job = Job::new(module.as_bytes().to_vec(), "grow.wat");
        Job { invoke: Some("run".to_owned()), ..job }
    };
    let mut session = Session::start(job()).unwrap();
    let start = session.checkpoint().unwrap();
    let at = |event| Until::Event(wrr::format::EventIndex(event));
    session.run_until(at(1)).unwrap();
    let grown = session.checkpoint().unwrap();
    assert_eq!(session.memory(0).unwrap().unwrap().len(), 4 << 16);
    let ended = session.run_until(Until::End).unwrap();
    for _ in 0..2 {
        session.rollback(grown).unwrap();
        assert_eq!(session.run_until(Until::End).unwrap(), ended);
    }
    session.rollback(start).unwrap();
    assert_eq!(session.memory(0).unwrap().unwrap().len(), 1 << 16);
    assert_eq!(session.run_until(Until::End).unwrap(), ended);
    session.rollback(start).unwrap();
    session.write_memory(0, 65_530, b"abcdef").unwrap();
    assert!(session.write_memory(0, 65_531, b"abcdef").is_err());
    assert!(session.write_memory(1, 0, b"").is_err());
    let fork = session.checkpoint().unwrap();
    let mut fork = session.fork(fork).unwrap();
    assert_eq!(&fork.memory(0).unwrap().unwrap()[65_530..], b"abcdef");
    session.rollback(start).unwrap();
    assert_eq!(&session.memory(0).unwrap().unwrap()[65_530..], [0; 6]);
}

#[test]
fn files_that_cannot_be_taken_back_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let module = r#"(module
        (import "wasi_snapshot_preview1" "path_create_directory" (func $make (param i32 i32 i32) (result i32)))
        (memory (export "memory") 1)
        (data (i32.const 0) "made")
        (func (export "_start") (drop (call $make (i32.const 3) (i32.const 0) (i32.const 4)))))"#;
    let preopens = vec![Preopen { host: folder.path().to_owned(), guest: "/data".to_owned() }];
    let live = LiveConfig { preopens, ..LiveConfig::default() };
    let mut session =
        Session::start(Job { live, ..Job::new(module.as_bytes().to_vec(), "make.wat") }).unwrap();
    let start = session.checkpoint().unwrap();
    session.run_until(Until::End).unwrap();
    assert_eq!(session.rollback(start).unwrap().files, ["/data/made"]);
    assert!(session.rollback(start).unwrap().is_empty() || folder.path().join("made").exists());
}

#[test]
fn many_sessions_run_on_one_engine() {
    fn is_send<T: Send + 'static>(_: &T) {}
    let engine = Engine::new();
    let sessions: Vec<(Session, Sink)> = (0..6)
        .map(|_| {
            let sink = Sink::default();
            let job = counter(Stdin::Bytes(b"a\nb\n".to_vec()), &sink, false);
            (Session::start(Job { engine: Some(engine.clone()), ..job }).unwrap(), sink)
        })
        .collect();
    is_send(&sessions);
    let threads = sessions.into_iter().map(|(mut session, sink)| {
        std::thread::spawn(move || {
            session.run_until(Until::End).unwrap();
            sink.text()
        })
    });
    for thread in threads.collect::<Vec<_>>() {
        assert_eq!(thread.join().unwrap(), "1\n2\n");
    }
}

#[test]
fn a_program_can_go_back_often_and_take_many_checkpoints() {
    // 1500 checkpoints with names of their own, then to one of them again and again.
    let module = |last: u32| {
        format!(
            r#"(module
            (import "wrr:guest/control@0.1.0" "checkpoint" (func $checkpoint (param i32 i32) (result i32)))
            (import "wrr:guest/control@0.1.0" "rollback" (func $rollback (param i32 i32) (result i32)))
            (memory (export "memory") 5)
            (func $named (param $n i32) (result i32)
              (i32.store8 (i32.const 0) (i32.add (i32.const 65) (i32.and (local.get $n) (i32.const 31))))
              (i32.store8 (i32.const 1)
                (i32.add (i32.const 65) (i32.and (i32.shr_u (local.get $n) (i32.const 5)) (i32.const 63))))
              (i32.const 0))
            (func (export "run") (result i32) (local $n i32) (local $times i32)
              (loop $again
                (i32.store (i32.add (i32.const 4096) (i32.mul (local.get $n) (i32.const 200))) (local.get $n))
                (local.set $times (call $checkpoint (call $named (local.get $n)) (i32.const 2)))
                (br_if $again (i32.and (i32.eqz (local.get $times))
                  (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 1))) (i32.const 1500)))))
              (if (i32.lt_u (local.get $times) (i32.const 500)) (then
                (return (call $rollback (call $named (i32.const {last})) (i32.const 2)))))
              (i32.add (i32.mul (local.get $times) (i32.const 10000)) (local.get $n))))"#
        )
    };
    let folder = tempfile::tempdir().unwrap();
    for (last, expected) in [(3, 0), (1490, 500 * 10_000 + 1491)] {
        let job = || {
            let job = Job::new(module(last).into_bytes(), "many.wat");
            Job { invoke: Some("run".to_owned()), ..job }
        };
        let mut session = Session::start(job()).unwrap();
        let returned = wrr::Ending::Returned { values: vec![wrr::format::Value::I32(expected)] };
        match session.run_until(Until::End).unwrap() {
            Reached::Ended(end) => assert_eq!(end.ending, returned),
            other => panic!("{other:?}"),
        }
        let path = folder.path().join("t.wrr");
        let recorded = wrr::record(job(), &path, RecordOptions::default()).unwrap();
        assert_eq!(recorded.end.ending, returned);
        Trace::open(&path).unwrap().verify().unwrap();
    }
}

/// Writes a page of a file at each byte of its input, and the errno to standard output.
const PAGES: &str = r#"(module
    (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "path_open"
      (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
    (memory (export "memory") 1)
    (data (i32.const 0) "\40\00\00\00\01\00\00\00\00\10\00\00\00\10\00\00\50\00\00\00\01\00\00\00")
    (data (i32.const 96) "file")
    (func (export "_start")
      (drop (call $open (i32.const 3) (i32.const 0) (i32.const 96) (i32.const 4) (i32.const 1)
        (i64.const 64) (i64.const 0) (i32.const 0) (i32.const 48)))
      (loop $again
        (drop (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 32)))
        (if (i32.load (i32.const 32)) (then
          (i32.store8 (i32.const 4096) (i32.load8_u (i32.const 64)))
          (i32.store8 (i32.const 80) (i32.add (i32.const 32)
            (call $write (i32.load (i32.const 48)) (i32.const 8) (i32.const 1) (i32.const 32))))
          (drop (call $write (i32.const 1) (i32.const 16) (i32.const 1) (i32.const 32)))
          (br $again))))))"#;

fn pages(root: &Path, input: &Injected, output: &Sink, options: OverlayOptions) -> Job<'static> {
    let live = LiveConfig {
        args: vec!["pages".to_owned()],
        preopens: vec![Preopen { host: root.to_owned(), guest: "/data".to_owned() }],
        fs: FileSystem::Overlay(options),
        stdin: Stdin::Injected(input.clone()),
        stdout: output.output(),
        ..LiveConfig::default()
    };
    Job { live, ..Job::new(PAGES.as_bytes().to_vec(), "pages.wat") }
}

/// The errno `nospc`, as the program above writes it.
const NO_SPACE: char = (32 + 51) as u8 as char;

#[test]
fn an_overlay_that_is_full_is_told_to_the_program_and_the_session_goes_on() {
    let root = tempfile::tempdir().unwrap();
    let (input, output) = (Injected::new(), Sink::default());
    // Two pages in memory, two in the file behind it.
    let options = OverlayOptions {
        memory_bytes_max: 8192,
        spill_bytes_max: 8192,
        ..OverlayOptions::default()
    };
    let mut session = Session::start(pages(root.path(), &input, &output, options)).unwrap();
    until_input(&mut session);
    let empty = session.checkpoint().unwrap();
    input.push(b"abc");
    until_input(&mut session);
    let three = session.checkpoint().unwrap();
    let files = session.files_hash().unwrap();
    input.push(b"defgh");
    until_input(&mut session);
    assert_eq!(output.text(), format!("    {}", NO_SPACE.to_string().repeat(4)));
    let full = session.write_file("/data/other", &[1; 5000]);
    assert!(matches!(&full, Err(Error::File { path, .. }) if path == "/data/other"), "{full:?}");

    // Going back makes room.
    session.rollback(three).unwrap();
    assert_eq!(session.files_hash().unwrap(), files);
    session.write_file("/data/other", b"host").unwrap();
    session.rollback(three).unwrap();
    assert!(matches!(session.read_file("/data/other"), Err(Error::File { .. })));
    let mut fork = session.fork(three).unwrap();
    input.truncate(3);
    input.push(b"D");
    until_input(&mut session);
    assert!(output.text().ends_with(&format!("{NO_SPACE} ")), "{:?}", output.text());
    let content = session.read_file("/data/file").unwrap();
    let firsts: Vec<u8> = content.chunks(4096).map(|page| page[0]).collect();
    assert_eq!(firsts, b"abcD");
    assert_eq!(fork.read_file("/data/file").unwrap().len(), 3 * 4096);
    assert!(matches!(fork.commit_files(), Err(Error::Running)));
    session.rollback(empty).unwrap();
    assert_eq!(session.read_file("/data/file").unwrap(), b"");
    assert!(session.list_directory("/data").unwrap() == ["file"]);
    assert!(root.path().read_dir().unwrap().next().is_none(), "nothing went below");
}

#[test]
fn an_overlay_that_cannot_spill_is_an_input_output_error_of_the_program() {
    let root = tempfile::tempdir().unwrap();
    let (input, output) = (Injected::all(b"ab".to_vec()), Sink::default());
    let spill_dir = Some(root.path().join("nowhere"));
    let options = OverlayOptions { memory_bytes_max: 4096, spill_dir, ..OverlayOptions::default() };
    let mut session = Session::start(pages(root.path(), &input, &output, options)).unwrap();
    session.run_until(Until::End).unwrap();
    let io = (32 + 29) as u8 as char;
    assert_eq!(output.text(), format!(" {io}"));
}

#[test]
fn virtual_files_are_in_the_recording() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("t.wrr");
    let work = root.path().join("work");
    std::fs::create_dir_all(&work).unwrap();
    let (input, output) = (Injected::new(), Sink::default());
    let job = pages(&work, &input, &output, OverlayOptions::default());
    let mut session = Session::record(job, &path, RecordOptions::default()).unwrap();
    until_input(&mut session);
    let here = session.checkpoint().unwrap();
    session.write_file("/data/taken", b"back").unwrap();
    session.rollback(here).unwrap();
    session.write_file("/data/kept", b"12345").unwrap();
    session.write_file("/data/gone", b"x").unwrap();
    input.push(b"a");
    until_input(&mut session);
    session.remove_file("/data/gone").unwrap();
    input.close();
    session.run_until(Until::End).unwrap();
    let changed = |files: Vec<ChangedFile>| -> Vec<(String, u64)> {
        files.into_iter().map(|file| (file.path, file.change.size)).collect()
    };
    let expected = [("/data/file".to_owned(), 4096), ("/data/kept".to_owned(), 5)];
    assert_eq!(changed(session.changed_files().unwrap()), expected);
    session.commit_files().unwrap();
    session.finish().unwrap();
    assert_eq!(std::fs::read(work.join("kept")).unwrap(), b"12345");
    let trace = Trace::open(&path).unwrap();
    assert_eq!(changed(trace.changed_files(None).unwrap()), expected);

    // A session that goes on from there has them.
    std::fs::remove_dir_all(&work).unwrap();
    std::fs::create_dir(&work).unwrap();
    let mut session = Session::open(&path).unwrap();
    assert!(matches!(session.read_file("/data/kept"), Err(Error::NoOverlay)), "it is a replay");
    let preopens = vec![Preopen { host: work.clone(), guest: "/data".to_owned() }];
    let stdin = Stdin::Injected(Injected::all(b"a".to_vec()));
    session.go_live(LiveConfig { preopens, stdin, ..LiveConfig::default() }).unwrap();
    assert_eq!(session.read_file("/data/kept").unwrap(), b"12345");
    assert!(work.read_dir().unwrap().next().is_none());
}

/// Nothing can be made in `/proc`, not even by root.
#[cfg(target_os = "linux")]
#[test]
fn above_a_folder_that_cannot_be_written_to_everything_works_but_applying_it() {
    let (input, output) = (Injected::all(b"ab".to_vec()), Sink::default());
    let job = pages(Path::new("/proc/self"), &input, &output, OverlayOptions::default());
    let mut session = Session::start(job).unwrap();
    assert_eq!(exit_code(session.run_until(Until::End).unwrap()), Some(0));
    assert_eq!(output.text(), "  ");
    for _ in 0..2 {
        let refused = session.commit_files();
        assert!(
            matches!(&refused, Err(Error::Commit(CommitError::Prepare { path, .. })) if path == "/data"),
            "{refused:?}"
        );
    }
    assert_eq!(session.read_file("/data/file").unwrap().len(), 2 * 4096);
}
