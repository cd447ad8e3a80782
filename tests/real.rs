//! The real programs that `make real` fetches: CPython, ripgrep and an SMT solver, unmodified.

mod support;

use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::Duration;
use support::*;
use wrr::format::{Function, TraceReader};

fn program(path: &str) -> PathBuf {
    let path = root().join("real").join(path);
    assert!(path.exists(), "{} is missing; `make real` fetches it", path.display());
    path
}

fn python() -> PathBuf {
    program("python/python.wasm")
}

/// Records in `world`, then replays and verifies in an empty directory after `world` is gone.
#[track_caller]
fn record_and_replay(
    world: tempfile::TempDir,
    arguments: &[&str],
    stdin: &[u8],
    code: i32,
) -> (Output, TraceReader, tempfile::TempDir) {
    let empty = scratch();
    let trace = empty.path().join("t.wrr");
    let mut record = wrr(world.path());
    record.arg("record").arg("-o").arg(&trace).args(arguments);
    let recorded = finish(&mut record, stdin);
    expect_code(&recorded, code);
    drop(world);
    let replayed = finish(wrr(empty.path()).args(["replay", "t.wrr"]), b"");
    expect_code(&replayed, code);
    assert!(replayed.stdout == recorded.stdout, "{}", text(&replayed.stdout));
    assert!(replayed.stderr == recorded.stderr, "{}", text(&replayed.stderr));
    expect_code(&finish(wrr(empty.path()).args(["verify", "t.wrr"]), b""), 0);
    let reader = TraceReader::open(&trace).unwrap();
    (recorded, reader, empty)
}

/// A folder with the fixture as `work` and the scripts as `scripts`.
fn world() -> tempfile::TempDir {
    let world = scratch();
    copy_tree(&root().join("tests/programs/fixture"), &world.path().join("work"));
    copy_tree(&root().join("tests/programs/python"), &world.path().join("scripts"));
    world
}

/// The example runs tests of SymPy in CPython from one state.
#[test]
#[cfg(unix)]
fn the_example_of_branching_runs() {
    let example = root().join("examples/branch/run.sh");
    let output = std::process::Command::new(example)
        .arg("12")
        .env("WRR", env!("CARGO_BIN_EXE_wrr"))
        .output();
    let output = output.unwrap();
    expect_code(&output, 0);
    let said = text(&output.stdout);
    assert!(said.contains("12 runs, 0 of them with another exit code than 0"), "{said}");
    assert!(said.contains("test_bug1 passed"), "{said}");
}

const EVERYTHING: &[&str] =
    &["--dir", "work::/work", "--dir", "scripts::/scripts", "--env", "GREETING=hello"];

fn everything(options: &[&str]) -> Vec<String> {
    let python = python();
    let program = [python.to_str().unwrap(), "/scripts/everything.py", "one", "two"];
    [options, EVERYTHING, &program].concat().into_iter().map(str::to_owned).collect()
}

fn borrowed(strings: &[String]) -> Vec<&str> {
    strings.iter().map(String::as_str).collect()
}

#[test]
fn cpython_with_files_environment_clock_randomness_and_input() {
    let arguments = everything(&[]);
    let (recorded, reader, _empty) =
        record_and_replay(world(), &borrowed(&arguments), b"one line\nanother line\n", 7);
    let out = text(&recorded.stdout);
    for word in ["'GREETING': 'hello'", "/work/hello.txt", "another line", "urandom:", "uuid:"] {
        assert!(out.contains(word), "{word} should be in: {out}");
    }
    let mut called: Vec<Function> =
        reader.events().unwrap().map(|e| e.unwrap().call.function).collect();
    called.sort();
    called.dedup();
    for function in
        [Function::RandomGet, Function::ClockTimeGet, Function::PathOpen, Function::FdReaddir]
    {
        assert!(called.contains(&function), "{function:?}");
    }
}

#[test]
fn cpython_recorded_twice_deterministically_is_the_same_file() {
    let arguments = everything(&["--deterministic"]);
    let traces = [(), ()].map(|()| {
        let world = world();
        let mut record = wrr(world.path());
        record.args(["record", "-o", "t.wrr"]).args(&arguments);
        expect_code(&finish(&mut record, b"one line\nanother line\n"), 7);
        std::fs::read(world.path().join("t.wrr")).unwrap()
    });
    assert!(traces[0] == traces[1]);
}

#[test]
fn cpython_that_computes_and_fails() {
    let script = "import json, re, random, decimal\n\
        data = {str(i): [random.random() for _ in range(20)] for i in range(300)}\n\
        assert json.loads(json.dumps(data)) == data\n\
        print(len(re.findall(r'\\d+', json.dumps(data))), decimal.Decimal(2).sqrt())\n\
        raise ValueError(random.randrange(10**12))\n";
    let python = python();
    let arguments = [python.to_str().unwrap(), "-c", script];
    let (recorded, ..) = record_and_replay(scratch(), &arguments, b"", 1);
    assert!(text(&recorded.stderr).contains("ValueError"));
}

#[test]
fn cpython_killed_at_any_moment_replays_a_beginning_of_its_output() {
    let script = "import time, sys\n\
        for i in range(10**9):\n    print(i, time.time(), flush=True)\n";
    let python = python();
    let mut longest = 0;
    // So that the moments below are moments of the run, not of the compilation.
    expect_code(&finish(wrr(scratch().path()).arg("run").arg(&python).arg("--version"), b""), 0);
    for ms in [30, 120, 250, 500] {
        let folder = scratch();
        let mut record = wrr(folder.path());
        record.args(["record", "-o", "t.wrr"]).arg(&python).args(["-c", script]);
        record.stdout(std::fs::File::create(folder.path().join("out")).unwrap());
        let mut child = record.spawn().unwrap();
        std::thread::sleep(Duration::from_millis(ms));
        child.kill().unwrap();
        child.wait().unwrap();
        let seen = std::fs::read(folder.path().join("out")).unwrap();
        if !folder.path().join("t.wrr").exists() {
            assert!(seen.is_empty(), "{ms} ms");
            continue;
        }
        let replayed = finish(wrr(folder.path()).args(["replay", "t.wrr"]), b"");
        match replayed.status.code() {
            Some(0) => assert!(text(&replayed.stderr).contains("incomplete")),
            Some(2) => {
                let message = text(&replayed.stderr);
                assert!(
                    message.contains("nothing to replay") || message.contains("is empty"),
                    "{ms} ms: {message}"
                );
            }
            other => panic!("{other:?}: {}", text(&replayed.stderr)),
        }
        assert!(seen.starts_with(&replayed.stdout), "{ms} ms");
        longest = longest.max(replayed.stdout.len());
    }
    assert!(longest > 1000, "{longest}");
}

#[test]
fn ripgrep_searches_a_folder() {
    let world = scratch();
    copy_tree(&root().join("host"), &world.path().join("host"));
    let rg = program("rg/bin/rg.wasm");
    let rg = rg.to_str().unwrap();
    let arguments = ["--dir", ".", rg, "--sort", "path", "-n", "fn main|pub struct", "host"];
    let (recorded, ..) = record_and_replay(world, &arguments, b"", 0);
    assert!(text(&recorded.stdout).contains("host/cli/src/main.rs"));
    // Nothing found is exit code 1, which is the program's own.
    let world = scratch();
    std::fs::write(world.path().join("file"), "text").unwrap();
    record_and_replay(world, &["--dir", ".", rg, "absent", "file"], b"", 1);
}

#[test]
fn boolector_solves() {
    let world = scratch();
    let problem = "(set-logic QF_BV)\n(set-option :produce-models true)\n\
        (declare-fun a () (_ BitVec 24))\n(declare-fun b () (_ BitVec 24))\n\
        (assert (= (bvmul a b) #x0fffff))\n(assert (bvugt a #x000001))\n(assert (bvugt b #x000001))\n\
        (assert (bvult a b))\n(check-sat)\n(get-value (a b))\n";
    std::fs::write(world.path().join("problem.smt2"), problem).unwrap();
    let boolector = program("boolector/boolector.wasm");
    let arguments = ["--dir", ".", boolector.to_str().unwrap(), "problem.smt2"];
    let folder: &Path = world.path();
    let plain = finish(wrr(folder).arg("run").args(arguments), b"");
    let code = plain.status.code().unwrap();
    let (recorded, ..) = record_and_replay(world, &arguments, b"", code);
    assert_eq!(text(&recorded.stdout), text(&plain.stdout));
    assert!(text(&recorded.stdout).starts_with("sat"), "{}", text(&recorded.stdout));
}

/// A script that computes, allocates and recurses, and says how far it is.
const COMPUTES: &str = "import json\n\
    def fib(n): return n if n < 2 else fib(n - 1) + fib(n - 2)\n\
    data = {}\n\
    for step in range(24):\n\
    \x20   data[step] = [fib(14) + i for i in range(300)]\n\
    \x20   text = json.dumps(data)\n\
    \x20   print(step, len(text), sum(map(ord, text)) % 9973, fib(17), flush=True)\n";

#[test]
fn cpython_is_sought_in_and_resumed_at_random_moments_in_new_processes() {
    let folder = scratch();
    let folder = folder.path();
    let python = python();
    let python = python.to_str().unwrap();
    let record = ["record", "-o", "t.wrr", "--checkpoint-every", "300ms", python, "-c", COMPUTES];
    let recorded = finish(wrr(folder).args(record), b"");
    expect_code(&recorded, 0);
    let reader = TraceReader::open(&folder.join("t.wrr")).unwrap();
    assert!(!reader.checkpoints().is_empty());
    let end = reader.end_tick().unwrap().0;
    let state = |moment: &str, options: &[&str]| -> serde_json::Value {
        let arguments = [&["replay", "t.wrr", "--goto", moment, "--json"], options].concat();
        let output = finish(wrr(folder).args(arguments), b"");
        expect_code(&output, 0);
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let mut near_ones = 0;
    for i in 0..50 {
        let moment = spread(i, end).to_string();
        let (near, far) = (state(&moment, &[]), state(&moment, &["--no-checkpoints"]));
        assert_eq!(near["tick"].to_string(), moment);
        for part in ["state_hash", "frames", "event", "memory_bytes"] {
            assert_eq!(near[part], far[part], "{part} at {moment}");
        }
        near_ones += u32::from(near["seek"]["checkpoint_tick"].is_u64());
    }
    assert!(near_ones > 20, "{near_ones} of 50");
    let whole = text(&recorded.stdout);
    for i in 50..53 {
        let moment = spread(i, end).to_string();
        let before = finish(wrr(folder).args(["replay", "t.wrr", "--until", &moment]), b"");
        expect_code(&before, 0);
        let resume = ["resume", "t.wrr", "--at", &moment, "-o", "r.wrr"];
        let resumed = finish(wrr(folder).args(resume), b"");
        expect_code(&resumed, 0);
        assert_eq!([text(&before.stdout), text(&resumed.stdout)].concat(), whole, "{moment}");
        let again = finish(wrr(folder).args(["replay", "r.wrr"]), b"");
        expect_code(&again, 0);
        assert_eq!(text(&again.stdout), whole);
    }
}

#[cfg(target_os = "linux")]
#[test]
fn cpython_is_saved_and_loaded_at_its_prompt() {
    use support::terminal::{CTRL_C, CTRL_D, Terminal};
    let folder = scratch();
    let folder = folder.path();
    let python = python();
    let python = python.to_str().unwrap();
    // So that no terminal shows that something is being compiled.
    expect_code(&finish(wrr(folder).args(["run", python, "--version"]), b""), 0);
    let mut first = Terminal::start(folder, &["record", "-o", "t.wrr", "--dir", ".", python]);
    first.expect(">>> ");
    first.ask("x = 41", ">>> ");
    first.ask("def double(n): return 2 * n", "... ");
    first.ask("", ">>> ");
    first.ask("import math", ">>> ");
    first.ask("x += 1; x", "42\r\n>>> ");
    first.type_in("x = 9");
    first.expect("x = 9");
    assert_eq!(first.close(), Some(129));
    let resume = ["resume", "t.wrr", "--dir", ".", "-o", "t-2.wrr"];
    let mut second = Terminal::start(folder, &resume);
    second.expect(">>> ");
    second.ask("double(x)", "84\r\n>>> ");
    second.ask("file = open('notes', 'w')", ">>> ");
    second.ask("file.write('saved')", "5\r\n>>> ");
    if !ignored_here(2) {
        second.type_in(CTRL_C);
        let (code, shown) = second.end();
        assert_eq!(code, Some(130));
        let said = "wrr: saved; to go on: wrr resume t-2.wrr --dir . -o t-3.wrr";
        let expected = [
            "double(x)\r\n84",
            "file = open('notes', 'w')",
            "file.write('saved')\r\n5",
            &format!("^C\r\n{said}\r\n"),
        ];
        let expected: Vec<String> = expected.iter().map(|part| format!(">>> {part}")).collect();
        assert_eq!(shown, expected.join("\r\n"));
    } else {
        second.kill();
    }
    let mut third = Terminal::start(folder, &["resume", "t-2.wrr", "--dir", "."]);
    third.expect(">>> ");
    third.ask("file.close(); x, round(math.pi, 2)", "(42, 3.14)\r\n>>> ");
    third.type_in(CTRL_D);
    assert_eq!(third.end().0, Some(0));
    assert_eq!(std::fs::read(folder.join("notes")).unwrap(), b"saved");
}

/// clang and a libc for WASI compile the target in C, as users do.
#[test]
#[cfg(unix)]
fn a_fuzz_target_in_c_is_fuzzed() {
    let folder = scratch();
    let folder = folder.path();
    let example = root().join("examples/fuzz/c");
    let built =
        std::process::Command::new(example.join("build.sh")).arg(folder.join("c.wasm")).output();
    expect_code(&built.unwrap(), 0);
    let solution = example.join("solutions/expression.bug_13_remainder");
    let solution = solution.to_str().unwrap();
    let run = |arguments: &[&str]| finish(wrr(folder).args(arguments), b"");
    let shown = run(&["repro", solution, "--target", "c.wasm"]);
    expect_code(&shown, 0);
    assert!(text(&shown.stdout).contains("bug_13_remainder"), "{}", text(&shown.stdout));
    copy_tree(&example.join("seeds/expression"), &folder.join("corpus"));
    let limits = ["--runs", "300000", "--seed", "1", "--corpus", "corpus", "--crashes", "crashes"];
    let fuzzed = run(&[&["fuzz", "c.wasm"][..], &limits].concat());
    expect_code(&fuzzed, 1);
    assert!(text(&fuzzed.stderr).contains("bug_13_remainder"), "{}", text(&fuzzed.stderr));
    for entry in std::fs::read_dir(folder.join("crashes")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "wrr") {
            expect_code(&run(&["repro", path.to_str().unwrap()]), 0);
        }
    }
}
