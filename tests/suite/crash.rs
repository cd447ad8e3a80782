//! What is left when something dies: the recorder, the disk, the reader of the output.

use crate::support::*;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use wrr::Ending;
use wrr::format::{Tail, TraceReader};

/// Asks for the time again and again, and writes a dot every 1000 times.
const CHATTY: &str = r#"(module
    (import "wasi_snapshot_preview1" "clock_time_get" (func $time (param i32 i64 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
    (memory (export "memory") 1)
    (data (i32.const 16) "\20\00\00\00\01\00\00\00")
    (data (i32.const 32) ".")
    (func (export "_start") (local $i i32)
        (loop $forever
            (drop (call $time (i32.const 1) (i64.const 1) (i32.const 64)))
            (local.set $i (i32.add (local.get $i) (i32.const 1)))
            (if (i32.eqz (i32.rem_u (local.get $i) (i32.const 1000)))
                (then (drop (call $write (i32.const 1) (i32.const 16) (i32.const 1) (i32.const 128)))))
            (br $forever))))"#;

fn spawn(command: &mut Command) -> Child {
    let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().expect("wrr starts")
}

fn signal(child: &Child, name: &str) {
    let status = Command::new("kill").args([name, &child.id().to_string()]).status().unwrap();
    assert!(status.success());
}

#[test]
fn a_killed_recording_replays_what_was_seen_before_the_wait() {
    let folder = scratch();
    let guest = guest("stdin_lines");
    let mut child = spawn(wrr(folder.path()).args(["record", "-o", "t.wrr"]).arg(&guest.module));
    let mut stdin = child.stdin.take().unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut seen = String::new();
    stdin.write_all(b"first\n").unwrap();
    stdout.read_line(&mut seen).unwrap();
    stdin.write_all(b"second\n").unwrap();
    stdout.read_line(&mut seen).unwrap();
    // It goes back to wait for input; then everything must be in the file.
    let path = folder.path().join("t.wrr");
    let waiting = |path: &Path| -> Option<usize> {
        let reader = TraceReader::open(path).ok()?;
        let lines = reader
            .events()
            .ok()?
            .filter(|e| e.as_ref().is_ok_and(|e| e.outcome.data == b"second\n"));
        Some(lines.count())
    };
    while waiting(&path) != Some(1) {
        std::thread::sleep(Duration::from_millis(1));
    }
    child.kill().unwrap();
    child.wait().unwrap();

    let info = finish(wrr(folder.path()).args(["info", "t.wrr"]), b"");
    expect_code(&info, 0);
    assert!(text(&info.stdout).contains("ended        incomplete"), "{}", text(&info.stdout));
    let replayed = finish(wrr(folder.path()).args(["replay", "t.wrr"]), b"");
    expect_code(&replayed, 0);
    assert_eq!(text(&replayed.stdout), seen);
    assert!(text(&replayed.stderr).contains("the recording is incomplete"));
    let verified = finish(wrr(folder.path()).args(["verify", "t.wrr"]), b"");
    expect_code(&verified, 1);
    assert!(text(&verified.stdout).contains("incomplete"));
}

#[test]
fn killed_at_any_moment_the_trace_is_valid() {
    let folder = scratch();
    std::fs::write(folder.path().join("chatty.wat"), CHATTY).unwrap();
    // So that the moments below are moments of the run, not of the compilation.
    let mut warm = spawn(wrr(folder.path()).args(["run", "chatty.wat"]));
    warm.stdout.take().unwrap().read_exact(&mut [0]).unwrap();
    warm.kill().unwrap();
    warm.wait().unwrap();
    let mut most = 0;
    for ms in [0, 3, 8, 20, 50, 90, 140, 200, 300] {
        let mut child = spawn(wrr(folder.path()).args(["record", "-o", "t.wrr", "chatty.wat"]));
        std::thread::sleep(Duration::from_millis(ms));
        child.kill().unwrap();
        child.wait().unwrap();
        let path = folder.path().join("t.wrr");
        if !path.exists() {
            continue;
        }
        let output = finish(wrr(folder.path()).args(["replay", "t.wrr"]), b"");
        let message = text(&output.stderr);
        match output.status.code() {
            Some(0) => assert!(message.contains("the recording is incomplete"), "{message}"),
            // Too early: nothing but a beginning.
            Some(2) => assert!(
                message.contains("there is nothing to replay") || message.contains("is empty"),
                "{message}"
            ),
            other => panic!("{other:?}: {message}"),
        }
        if let Ok(reader) = TraceReader::open(&path) {
            assert!(matches!(reader.tail(), Tail::CutOff { .. }));
            let events = reader.events().unwrap().inspect(|e| assert!(e.is_ok())).count();
            assert_eq!(output.stdout.len(), events / 1001, "dots of {events} events");
            most = most.max(events);
        }
    }
    assert!(most > 1000, "{most}");
}

#[test]
fn an_interrupted_recording_is_complete_and_says_so() {
    for (name, code) in [("-INT", 130), ("-TERM", 143), ("-HUP", 129)] {
        if ignored_here(code - 128) {
            // `nohup make test`, a job in the background: then wrr ignores it, too.
            continue;
        }
        let folder = scratch();
        std::fs::write(folder.path().join("chatty.wat"), CHATTY).unwrap();
        let mut child = spawn(wrr(folder.path()).args(["record", "-o", "t.wrr", "chatty.wat"]));
        let mut stdout = child.stdout.take().unwrap();
        stdout.read_exact(&mut [0; 3]).unwrap();
        let reader = std::thread::spawn(move || stdout.read_to_end(&mut Vec::new()));
        signal(&child, name);
        assert_eq!(child.wait().unwrap().code(), Some(code), "{name}");
        reader.join().unwrap().unwrap();
        let reader = TraceReader::open(&folder.path().join("t.wrr")).unwrap();
        assert_eq!(reader.ending(), Some(&Ending::Interrupted));
        assert_eq!(reader.tail(), &Tail::Complete);
        let replayed = finish(wrr(folder.path()).args(["replay", "t.wrr"]), b"");
        expect_code(&replayed, 130);
        // The third dot may have been seen before its event was recorded.
        assert!(replayed.stdout.len() >= 2);
        assert!(text(&replayed.stderr).contains("interrupted"));
        expect_code(&finish(wrr(folder.path()).args(["verify", "t.wrr"]), b""), 0);
    }
}

/// Runs a shell line with `wrr` as `$0`.
fn shell(folder: &Path, line: &str) -> std::process::Output {
    let command = wrr(folder);
    let program = command.get_program().to_owned();
    let mut shell = Command::new("sh");
    shell.args(["-c", line]).arg(program).current_dir(folder);
    for (key, value) in command.get_envs() {
        shell.env(key, value.unwrap_or_default());
    }
    finish(&mut shell, b"")
}

#[test]
fn a_full_disk_stops_the_program_or_not_and_says_what_was_saved() {
    let folder = scratch();
    let big = guest("random").module;
    // A limit of 512 KiB a file stands for the full disk.
    let limited = |policy: &str| {
        let program = big.display();
        shell(
            folder.path(),
            &format!(
                "trap '' XFSZ; ulimit -f 512; exec \"$0\" record -o t.wrr --on-trace-error {policy} {program}"
            ),
        )
    };
    let plain = finish(wrr(folder.path()).arg("run").arg(&big), b"");
    expect_code(&plain, 0);

    let stopped = limited("stop");
    let message = text(&stopped.stderr);
    assert!(message.contains("cannot write the trace: File too large"), "{message}");
    assert!(message.contains("saved"), "{message}");

    let went_on = limited("continue");
    expect_code(&went_on, 0);
    assert_eq!(text(&went_on.stdout).lines().count(), text(&plain.stdout).lines().count());
    assert!(text(&went_on.stderr).contains("cannot write the trace: File too large"));
    let left = TraceReader::open_damaged(&folder.path().join("t.wrr")).unwrap();
    assert!(matches!(left.tail(), Tail::CutOff { ignored_bytes: 0 }), "{:?}", left.tail());

    if Path::new("/dev/full").exists() {
        let output = shell(folder.path(), &format!("\"$0\" record -o /dev/full {}", big.display()));
        assert!(
            text(&output.stderr).contains("No space left on device"),
            "{}",
            text(&output.stderr)
        );
    }
}

#[test]
fn a_closed_pipe_is_quiet() {
    let folder = scratch();
    let big = guest("big_output");
    expect_code(&run_guest(&["record", "-o", "t.wrr"], &big, folder.path()), 0);
    for command in ["replay t.wrr", "events t.wrr", "info t.wrr", "events --json t.wrr"] {
        let output = shell(folder.path(), &format!("\"$0\" {command} 2>err | head -c 10; cat err"));
        expect_code(&output, 0);
        // Standard error of the replayed program is its own; wrr adds nothing.
        let said = text(&output.stdout);
        assert!(!said.contains("error") && !said.contains("panicked"), "{command}: {said}");
    }
}

#[test]
fn output_streams_through_as_it_happens() {
    let folder = scratch();
    let guest = guest("stdin_lines");
    for command in [&["run"][..], &["record", "-o", "t.wrr"]] {
        let mut child = spawn(wrr(folder.path()).args(command).arg(&guest.module));
        let mut stdin = child.stdin.take().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        for word in ["one\n", "two\n"] {
            stdin.write_all(word.as_bytes()).unwrap();
            let mut line = String::new();
            stdout.read_line(&mut line).unwrap();
            assert!(line.ends_with(word), "{line:?}");
        }
        drop(stdin);
        assert!(child.wait().unwrap().success());
    }
}

#[test]
fn processes_that_race_for_the_cache_all_run_and_damage_is_repaired() {
    let folder = scratch();
    let cache = folder.path().join("cache");
    let hello = guest("hello").module;
    let run = || {
        let mut command = wrr(folder.path());
        command.env("WRR_CACHE", &cache).arg("run").arg(&hello);
        command
    };
    let racers: Vec<Child> = (0..6).map(|_| spawn(&mut run())).collect();
    for racer in racers {
        expect_code(&racer.wait_with_output().unwrap(), 0);
    }
    let entries = || -> Vec<_> {
        let dir = std::fs::read_dir(cache.join("v3")).unwrap();
        dir.map(|entry| entry.unwrap().path()).collect()
    };
    let [entry] = &entries()[..] else { panic!("one entry, nothing left over: {:?}", entries()) };
    let code = entry.join("module.cwasm");
    let whole = std::fs::read(&code).unwrap();
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 1;
    for damaged in [&flipped[..], &whole[..whole.len() / 2], b""] {
        std::fs::write(&code, damaged).unwrap();
        expect_code(&finish(&mut run(), b""), 0);
        assert!(std::fs::read(&code).unwrap() == whole, "the entry was built again");
    }
    std::fs::remove_file(entry.join("sum")).unwrap();
    expect_code(&finish(&mut run(), b""), 0);
    assert!(entry.join("sum").exists(), "the entry was built again");
    // Without a cache, and with one that cannot be written.
    expect_code(&finish(run().env("WRR_CACHE", "off"), b""), 0);
    std::fs::write(folder.path().join("file"), b"").unwrap();
    expect_code(&finish(run().env("WRR_CACHE", folder.path().join("file")), b""), 0);
}

#[test]
fn damaged_archives_of_continuations_and_functions_are_built_again() {
    let folder = scratch();
    let cache = folder.path().join("cache");
    let run = |arguments: &[&str]| {
        let mut command = wrr(folder.path());
        command.env("WRR_CACHE", &cache).args(arguments);
        finish(&mut command, b"")
    };
    let module = guest("collatz").module;
    let record = ["record", "-o", "t.wrr", "--checkpoint-every", "100000ticks"];
    expect_code(&run(&[&record[..], &[module.to_str().unwrap(), "300"]].concat()), 0);
    let goto = || {
        let output = run(&["replay", "t.wrr", "--goto", "70%", "--json"]);
        expect_code(&output, 0);
        let state: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert!(state["seek"]["checkpoint_tick"].is_u64(), "{state}");
        (state["state_hash"].clone(), state["frames"].clone())
    };
    let expected = goto();
    let archives = |name: &str| -> Vec<_> {
        let entries = std::fs::read_dir(cache.join("v3")).unwrap();
        let paths = entries.map(|entry| entry.unwrap().path().join(name));
        paths.filter(|path| path.exists()).collect()
    };
    assert!(!archives("pieces").is_empty(), "the seek has needed continuations");
    for name in ["pieces", "functions"] {
        let wholes: Vec<_> =
            archives(name).into_iter().map(|path| (std::fs::read(&path).unwrap(), path)).collect();
        type Damage = fn(&[u8]) -> Vec<u8>;
        let flip = |bytes: &[u8], at: usize| {
            let mut bytes = bytes.to_vec();
            bytes[at] ^= 1;
            bytes
        };
        let damages: [Damage; 5] = [
            |_| Vec::new(),
            |bytes| bytes[..bytes.len() / 2].to_vec(),
            |bytes| [bytes, b"more"].concat(),
            |_| vec![0xff; 1000],
            |bytes| bytes.iter().map(|byte| byte ^ 0x55).collect(),
        ];
        let flips = [0, 9, 20, 28, 40].map(|at| move |bytes: &[u8]| flip(bytes, at % bytes.len()));
        let damages = damages.iter().map(|damage| damage as &dyn Fn(&[u8]) -> Vec<u8>);
        for damage in damages.chain(flips.iter().map(|flip| flip as &dyn Fn(&[u8]) -> Vec<u8>)) {
            for (whole, path) in &wholes {
                std::fs::write(path, damage(whole)).unwrap();
            }
            assert_eq!(goto(), expected);
            // Once for the functions to be missed, once for the entry to be built again.
            assert_eq!(goto(), expected);
            let sound = |(_, path): &&(Vec<u8>, PathBuf)| {
                std::fs::read(path).is_ok_and(|bytes| bytes.starts_with(b"wrr-arch"))
            };
            assert!(wholes.iter().any(|whole| sound(&whole)), "{name} was built again");
        }
    }
}

#[test]
fn an_interrupted_endless_loop_replays_up_to_its_last_event() {
    let folder = scratch();
    let source = r#"(module
        (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
        (memory (export "memory") 1)
        (data (i32.const 16) "\20\00\00\00\01\00\00\00")
        (data (i32.const 32) "x")
        (func (export "_start")
            (drop (call $write (i32.const 1) (i32.const 16) (i32.const 1) (i32.const 128)))
            (loop $forever (br $forever))))"#;
    std::fs::write(folder.path().join("loop.wat"), source).unwrap();
    for (name, code) in [("-TERM", 130), ("-KILL", 0)] {
        let mut child = spawn(wrr(folder.path()).args(["record", "-o", "t.wrr", "loop.wat"]));
        child.stdout.take().unwrap().read_exact(&mut [0]).unwrap();
        // The event is in the file within 50 ms; here as soon as it can be read.
        let path = folder.path().join("t.wrr");
        let seen = || TraceReader::open(&path).is_ok_and(|r| r.events().unwrap().count() == 1);
        while !seen() {
            std::thread::sleep(Duration::from_millis(1));
        }
        signal(&child, name);
        child.wait().unwrap();
        let replayed = finish(wrr(folder.path()).args(["replay", "t.wrr"]), b"");
        expect_code(&replayed, code);
        assert_eq!(text(&replayed.stdout), "x");
    }
}

#[test]
fn an_unwritable_standard_error_changes_no_exit_code() {
    let folder = scratch();
    let trapping = root().join("tests/programs/wat/unreachable.wat");
    for (command, code) in [
        (format!("run {}", trapping.display()), 134),
        (format!("record -o t.wrr {}", trapping.display()), 134),
        ("replay t.wrr".to_owned(), 134),
        ("info nothing".to_owned(), 2),
    ] {
        for place in ["2>/dev/full", "2>&-"] {
            let output = shell(folder.path(), &format!("\"$0\" {command} {place}"));
            expect_code(&output, code);
        }
    }
}

#[test]
fn signals_that_were_ignored_stay_ignored() {
    let folder = scratch();
    let guest = guest("stdin_lines").module;
    let line = format!("trap '' HUP; exec \"$0\" record -o t.wrr {}", guest.display());
    let template = wrr(folder.path());
    let mut command = Command::new("sh");
    command.args(["-c", &line]).arg(template.get_program()).current_dir(folder.path());
    for (key, value) in template.get_envs() {
        command.env(key, value.unwrap_or_default());
    }
    let mut child = spawn(&mut command);
    let mut stdin = child.stdin.take().unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    stdin.write_all(b"one\n").unwrap();
    stdout.read_line(&mut String::new()).unwrap();
    signal(&child, "-HUP");
    std::thread::sleep(Duration::from_millis(50));
    stdin.write_all(b"two\n").unwrap();
    drop(stdin);
    let mut rest = String::new();
    stdout.read_to_string(&mut rest).unwrap();
    assert!(rest.contains("two"), "{rest}");
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn a_file_that_is_being_recorded_into_is_left_alone() {
    let folder = scratch();
    let guest = guest("stdin_lines").module;
    let record = || {
        let mut command = wrr(folder.path());
        command.args(["record", "-o", "t.wrr"]).arg(&guest);
        command
    };
    let mut first = spawn(&mut record());
    let mut stdin = first.stdin.take().unwrap();
    let mut stdout = BufReader::new(first.stdout.take().unwrap());
    stdin.write_all(b"one\n").unwrap();
    stdout.read_line(&mut String::new()).unwrap();
    let second = finish(&mut record(), b"");
    expect_code(&second, 2);
    assert!(text(&second.stderr).contains("being written by another wrr"));
    drop(stdin);
    assert!(first.wait().unwrap().success());
    expect_code(&finish(wrr(folder.path()).args(["verify", "t.wrr"]), b""), 0);
}
