//! What a user sees. Golden files are in `tests/golden`; `BLESS=1 cargo test` writes them anew.

use crate::support::*;
use std::path::Path;
use wrr::format::TraceReader;

/// Compares with a golden file, or writes it.
#[track_caller]
fn golden(name: &str, found: &str) {
    let path = root().join("tests/golden").join(name);
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&path, found).unwrap();
        return;
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(found == expected, "{name} differs (BLESS=1 accepts it); found:\n{found}");
}

fn said(folder: &Path, code: i32, arguments: &[&str]) -> String {
    let output = finish(wrr(folder).args(arguments), b"");
    expect_code(&output, code);
    text(&output.stdout) + &text(&output.stderr)
}

/// Touches every kind of input and reply that fits into a page of text; text, so that no compiler
/// version changes its bytes.
const TOUR: &str = r#"(module
    (import "wasi_snapshot_preview1" "args_sizes_get" (func $args_sizes (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "args_get" (func $args (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "clock_time_get" (func $time (param i32 i64 i32) (result i32)))
    (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_prestat_get" (func $prestat (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_fdstat_get" (func $fdstat (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "path_filestat_get" (func $stat (param i32 i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "path_open" (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "path_rename" (func $rename (param i32 i32 i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_seek" (func $seek (param i32 i64 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
    (memory (export "memory") 1)
    (data (i32.const 0) "hello.txt")
    (data (i32.const 16) "\00\10\00\00\40\00\00\00")
    (data (i32.const 24) "\00\00\00\00\05\00\00\00\05\00\00\00\04\00\00\00")
    ;; A relative timer of 1 ms on the monotonic clock.
    (data (i32.const 128) "\2a\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00\01\00\00\00\00\00\00\00\40\42\0f\00\00\00\00\00")
    (func $ok (param i32) (if (local.get 0) (then unreachable)))
    (func $inner (unreachable))
    (func (export "_start")
        (call $ok (call $args_sizes (i32.const 512) (i32.const 516)))
        (call $ok (call $args (i32.const 512) (i32.const 640)))
        (call $ok (call $time (i32.const 0) (i64.const 1) (i32.const 512)))
        (call $ok (call $time (i32.const 1) (i64.const 1000) (i32.const 512)))
        (call $ok (call $random (i32.const 512) (i32.const 4)))
        (call $ok (call $prestat (i32.const 3) (i32.const 512)))
        (call $ok (call $fdstat (i32.const 1) (i32.const 512)))
        (call $ok (call $stat (i32.const 3) (i32.const 1) (i32.const 0) (i32.const 9) (i32.const 512)))
        (call $ok (call $open (i32.const 3) (i32.const 1) (i32.const 0) (i32.const 9) (i32.const 0)
            (i64.const 0x6) (i64.const 0) (i32.const 0) (i32.const 512)))
        (call $ok (call $read (i32.const 4) (i32.const 16) (i32.const 1) (i32.const 512)))
        (call $ok (call $seek (i32.const 4) (i64.const -3) (i32.const 2) (i32.const 512)))
        (drop (call $open (i32.const 3) (i32.const 0) (i32.const 5) (i32.const 3) (i32.const 3)
            (i64.const 0x2) (i64.const 0) (i32.const 1) (i32.const 512)))
        (drop (call $rename (i32.const 3) (i32.const 5) (i32.const 4) (i32.const 3) (i32.const 0) (i32.const 9)))
        (drop (call $read (i32.const 99) (i32.const 16) (i32.const 1) (i32.const 512)))
        (call $ok (call $write (i32.const 1) (i32.const 24) (i32.const 2) (i32.const 512)))
        (call $ok (call $poll (i32.const 128) (i32.const 512) (i32.const 1) (i32.const 1024)))
        (call $inner)))"#;

fn tour(folder: &Path) {
    std::fs::write(folder.join("tour.wat"), TOUR).unwrap();
    copy_tree(&root().join("tests/programs/fixture"), &folder.join("fixture"));
    let arguments = [
        "record",
        "--deterministic",
        "--dir",
        "fixture::/",
        "--env",
        "A=b",
        "tour.wat",
        "x",
        "y z",
    ];
    let output = finish(wrr(folder).args(arguments), b"");
    expect_code(&output, 134);
    golden("tour.stderr", &text(&output.stderr));
}

#[test]
fn info_and_events_are_readable() {
    let folder = scratch();
    tour(folder.path());
    golden("tour.info", &said(folder.path(), 0, &["info", "tour.wrr"]));
    golden("tour.info.json", &said(folder.path(), 0, &["info", "--json", "tour.wrr"]));
    golden("tour.events", &said(folder.path(), 0, &["events", "tour.wrr"]));
    golden("tour.events.json", &said(folder.path(), 0, &["events", "--json", "tour.wrr"]));
    let all = said(folder.path(), 0, &["events", "tour.wrr"]);
    let some = said(folder.path(), 0, &["events", "tour.wrr", "--from", "3", "--to", "5"]);
    assert_eq!(some, all.lines().skip(3).take(3).map(|l| format!("{l}\n")).collect::<String>());
    assert_eq!(said(folder.path(), 0, &["events", "tour.wrr", "--from", "1000"]), "");
}

#[test]
fn everything_behind_the_program_is_the_programs() {
    let folder = scratch();
    let module = guest("hello").module;
    for arguments in [&["-o", "x"][..], &["--help"], &["--dir", "y", "-x"]] {
        let mut record = wrr(folder.path());
        record.args(["record", "-o", "t.wrr"]).arg(&module).args(arguments);
        let output = finish(&mut record, b"");
        expect_code(&output, 0);
        let reader = TraceReader::open(&folder.path().join("t.wrr")).unwrap();
        assert_eq!(reader.manifest().args[1..], *arguments);
    }
}

#[test]
fn help_says_what_there_is() {
    let folder = scratch();
    for (name, arguments) in [
        ("help", &["--help"][..]),
        ("record.help", &["record", "--help"]),
        ("replay.help", &["replay", "--help"]),
        ("index.help", &["index", "--help"]),
        ("resume.help", &["resume", "--help"]),
        ("branch.help", &["branch", "--help"]),
        ("fuzz.help", &["fuzz", "--help"]),
        ("repro.help", &["repro", "--help"]),
        ("minimize.help", &["minimize", "--help"]),
        ("fs_diff.help", &["fs", "diff", "--help"]),
        ("fs_commit.help", &["fs", "commit", "--help"]),
    ] {
        golden(name, &said(folder.path(), 0, arguments));
    }
    assert!(said(folder.path(), 0, &["--version"]).starts_with("wrr "));
}

#[test]
fn diff_shows_the_first_difference() {
    let folder = scratch();
    let at = |name: &str| folder.path().join(name);
    let guest = guest("stdin_lines");
    for (name, input) in
        [("a.wrr", "same\nother\n"), ("b.wrr", "same\notter\n"), ("c.wrr", "same\nother\n")]
    {
        let mut command = wrr(folder.path());
        command.args(["record", "-o", name]).arg(&guest.module);
        expect_code(&finish(&mut command, input.as_bytes()), 0);
    }
    assert!(at("a.wrr").exists());
    assert_eq!(
        said(folder.path(), 0, &["diff", "a.wrr", "c.wrr"]),
        "the traces are of the same run\n"
    );
    let different = said(folder.path(), 1, &["diff", "a.wrr", "b.wrr"]);
    assert!(different.starts_with("event #"), "{different}");
    assert!(
        different.contains("fd_read fd=0") && different.contains("same\\nother"),
        "{different}"
    );

    tour(folder.path());
    let programs = said(folder.path(), 1, &["diff", "a.wrr", "tour.wrr"]);
    for word in ["module:", "arguments:", "directories:", "event #0:", "ending:"] {
        assert!(programs.contains(word), "{word} should be in: {programs}");
    }
}

#[test]
fn numbers_are_passed_to_and_from_an_invoked_export() {
    let folder = scratch();
    let text = r#"(module
        (global $ready (mut i32) (i32.const 0))
        (func (export "_initialize") (global.set $ready (i32.const 1)))
        (func (export "mix") (param i32 i64 f32 f64) (result i32 i64 f32 f64)
            (i32.add (local.get 0) (global.get $ready)) (local.get 1) (local.get 2)
            (f64.add (local.get 3) (f64.const 0.5)))
        (func (export "boom") (unreachable))
        (func (export "ref") (param externref)))"#;
    std::fs::write(folder.path().join("r.wat"), text).unwrap();
    let mix = ["record", "--invoke", "mix", "r.wat", "4294967295", "-5", "0.25", "1e3"];
    let expected = "0\n-5\n0.25\n1000.5\n";
    assert_eq!(said(folder.path(), 0, &mix), expected);
    assert_eq!(said(folder.path(), 0, &["replay", "r.wrr"]), expected);
    for (arguments, words) in [
        (&["mix", "r.wat", "1"][..], "mix takes 4 arguments, 1 are given"),
        (&["mix", "r.wat", "x", "1", "1", "1"], "mix takes i32, which \"x\" is not"),
        (
            &["nothing", "r.wat"],
            "exports no function nothing; it exports _initialize, mix, boom, ref",
        ),
        (&["ref", "r.wat", "1"], "only functions that take numbers can be invoked"),
    ] {
        let message = said(folder.path(), 2, &[&["run", "--invoke"], arguments].concat());
        assert!(message.contains(words), "{message}");
    }
    let trap = said(folder.path(), 134, &["run", "--invoke", "boom", "r.wat"]);
    assert!(
        trap.starts_with("wrr: trap: wasm `unreachable`") || trap.contains("unreachable"),
        "{trap}"
    );
}

#[test]
fn mistakes_are_answered_with_what_where_and_what_to_do() {
    let folder = scratch();
    let file =
        |name: &str, content: &str| std::fs::write(folder.path().join(name), content).unwrap();
    file("notes.txt", "my notes");
    file("broken.wat", "(module (func");
    file("hello.wat", r#"(module (func (export "_start")) (memory (export "memory") 1))"#);
    for (arguments, words) in [
        (
            &["run", "missing.wasm"][..],
            &["cannot read the program missing.wasm", "No such file"][..],
        ),
        (&["run", "notes.txt"], &["notes.txt: not a WebAssembly module", "my notes"]),
        (&["run", "broken.wat"], &["broken.wat: the text does not parse"]),
        (
            &["run", "--dir", "nowhere", "hello.wat"],
            &["cannot open the directory nowhere", "No such file"],
        ),
        (&["run", "--dir", "notes.txt", "hello.wat"], &["cannot open the directory notes.txt"]),
        (&["run", "--stdin", "nowhere", "hello.wat"], &["cannot open nowhere for standard input"]),
        (&["run", "--env", "SURELY_NOT_SET", "hello.wat"], &["variable SURELY_NOT_SET"]),
        (&["record", "-o", "notes.txt", "hello.wat"], &["exists and is not a wrr trace", "-o"]),
        (&["record", "-o", "no/such/folder.wrr", "hello.wat"], &["cannot create the trace"]),
        (
            &["record", "--deterministic", "--env", "HOME", "hello.wat"],
            &["--env HOME would take its value from this machine"],
        ),
        (
            &["record", "--deterministic", "--tcplisten", "127.0.0.1:0", "hello.wat"],
            &["--tcplisten cannot be used with --deterministic"],
        ),
    ] {
        let message = said(folder.path(), 2, arguments);
        assert!(message.starts_with("error: "), "{message}");
        for word in words {
            assert!(message.contains(word), "{word:?} should be in: {message}");
        }
    }
    assert_eq!(std::fs::read_to_string(folder.path().join("notes.txt")).unwrap(), "my notes");
}

#[test]
fn a_recording_replaces_an_older_trace_of_the_same_name() {
    let folder = scratch();
    let hello = guest("hello").module;
    let hello = hello.to_str().unwrap();
    for _ in 0..2 {
        said(folder.path(), 0, &["record", hello]);
        said(folder.path(), 0, &["verify", "hello.wrr"]);
    }
}

#[test]
fn the_demo_of_the_readme_is_what_the_demo_script_does() {
    // The script itself runs in CI; here only that the README does not drift away from it.
    let readme = std::fs::read_to_string(root().join("README.md")).unwrap();
    for command in ["make demo", "make test"] {
        assert!(readme.contains(command), "{command}");
    }
}

#[test]
fn the_default_trace_keeps_the_dots_of_its_program() {
    let folder = scratch();
    let text = r#"(module (func (export "_start")) (memory (export "memory") 1))"#;
    for name in ["tool-1.2", "tool-1.3"] {
        std::fs::write(folder.path().join(format!("{name}.wat")), text).unwrap();
        said(folder.path(), 0, &["record", &format!("{name}.wat")]);
        assert!(folder.path().join(format!("{name}.wrr")).exists());
    }
}

#[test]
fn a_hostile_name_cannot_control_the_terminal() {
    let folder = scratch();
    let text =
        r#"(module (import "env" "\1b[2J\nexit code 0" (func)) (memory (export "memory") 1))"#;
    std::fs::write(folder.path().join("esc.wat"), text).unwrap();
    let message = said(folder.path(), 2, &["run", "esc.wat"]);
    assert!(!message.contains('\u{1b}') && message.contains("u{1b}[2J"), "{message:?}");
}

#[test]
fn a_program_that_cannot_start_leaves_the_old_trace_alone() {
    let folder = scratch();
    let file = |text: &str| std::fs::write(folder.path().join("p.wat"), text).unwrap();
    file(r#"(module (func (export "_start")) (memory (export "memory") 1))"#);
    said(folder.path(), 0, &["record", "p.wat"]);
    file(r#"(module (func (export "_start")) (table 20000000 funcref))"#);
    let message = said(folder.path(), 2, &["record", "p.wat"]);
    assert!(message.contains("it starts with a table of 20000000 elements"), "{message}");
    said(folder.path(), 0, &["verify", "p.wrr"]);
}
