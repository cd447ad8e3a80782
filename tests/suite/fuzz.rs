//! Fuzzing with the real binary: what is found, that it is found again, what is said to bad input.

use crate::support::*;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Output;

/// `wrr` with arguments, in a folder.
fn run(folder: &Path, arguments: &[&str]) -> Output {
    finish(wrr(folder).args(arguments), b"")
}

#[track_caller]
fn out(folder: &Path, arguments: &[&str], code: i32) -> String {
    let output = run(folder, arguments);
    expect_code(&output, code);
    text(&output.stdout)
}

#[track_caller]
fn err(folder: &Path, arguments: &[&str], code: i32) -> String {
    let output = run(folder, arguments);
    expect_code(&output, code);
    text(&output.stderr)
}

fn library(name: &str) -> String {
    fuzz_targets().join("examples").join(format!("{name}.wasm")).display().to_string()
}

fn command(name: &str) -> String {
    fuzz_targets().join(format!("{name}.wasm")).display().to_string()
}

fn seeds(name: &str, folder: &Path) {
    copy_tree(&root().join("examples/fuzz/rust/seeds").join(name), &folder.join("corpus"));
}

/// The files of a folder with an extension, sorted.
fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut found: Vec<PathBuf> =
        entries.filter(|path| path.extension().is_some_and(|e| e == extension)).collect();
    found.sort();
    found
}

/// The only finding of a campaign.
#[track_caller]
fn only_finding(folder: &Path) -> String {
    let found = files(&folder.join("crashes"), "wrr");
    assert_eq!(found.len(), 1, "{found:?}");
    format!("crashes/{}", found[0].file_name().unwrap().to_str().unwrap())
}

/// A library in text form whose function gets the input's address and length as `$p` and `$n`.
fn text_library(body: &str) -> String {
    format!(
        r#"(module (memory (export "memory") 1)
          (func $bad unreachable)
          (func (export "LLVMFuzzerTestOneInput") (param $p i32) (param $n i32) (result i32)
            {body}
            (i32.const 0)))"#
    )
}

/// Traps if the input starts with an A.
const FAILS_ON_A: &str = r#"
    (if (local.get $n) (then
      (if (i32.eq (i32.load8_u (local.get $p)) (i32.const 65)) (then (call $bad)))))"#;

fn write(folder: &Path, name: &str, contents: impl AsRef<[u8]>) {
    std::fs::write(folder.join(name), contents).unwrap();
}

const FUZZ: [&str; 4] = ["--corpus", "corpus", "--crashes", "crashes"];

#[test]
fn every_seeded_bug_has_an_input_that_shows_it_and_no_seed_does() {
    let folder = scratch();
    let rust = root().join("examples/fuzz/rust");
    let mut shown = 0;
    for solution in std::fs::read_dir(rust.join("solutions")).unwrap() {
        let solution = solution.unwrap().path();
        let name = solution.file_name().unwrap().to_str().unwrap().to_owned();
        let (target, bug) = name.split_once('.').unwrap();
        let is_command = ["sums", "table"].contains(&target);
        let module = if is_command { command(target) } else { library(target) };
        let mut arguments = vec!["repro", solution.to_str().unwrap(), "--target", &module];
        // One of them allocates as much as the input says.
        arguments.extend(["--memory-limit", "256M"]);
        if target == "table" {
            arguments.extend(["--", "@@"]);
        }
        let verdict = out(folder.path(), &arguments, 0);
        assert!(verdict.starts_with("fails: ") && verdict.contains(bug), "{name}: {verdict}");
        assert_eq!(verdict.lines().count(), 1);
        shown += 1;
    }
    assert_eq!(shown, 16);
    for target in std::fs::read_dir(rust.join("seeds")).unwrap() {
        let target = target.unwrap().path();
        let name = target.file_name().unwrap().to_str().unwrap().to_owned();
        let is_command = ["sums", "table"].contains(&&name[..]);
        let module = if is_command { command(&name) } else { library(&name) };
        for seed in std::fs::read_dir(&target).unwrap() {
            let seed = seed.unwrap().path();
            let mut arguments = vec!["repro", seed.to_str().unwrap(), "--target", &module];
            if name == "table" {
                arguments.extend(["--", "@@"]);
            }
            let verdict = out(folder.path(), &arguments, 1);
            assert!(
                verdict.starts_with("does not fail: exit code"),
                "{}: {verdict}",
                seed.display()
            );
        }
    }
}

/// What a finding promises: it is seen again, in every way, at once.
#[track_caller]
fn is_a_good_finding(folder: &Path, trace: &str, code: i32) {
    let verdict = out(folder, &["repro", trace], 0);
    assert!(verdict.starts_with("reproduced: "), "{verdict}");
    expect_code(&run(folder, &["replay", trace]), code);
    out(folder, &["verify", trace], 0);
    let state = out(folder, &["replay", trace, "--goto", "crash"], 0);
    assert!(state.contains("stack"), "{state}");
    let debugged = finish(wrr(folder).args(["debug", trace]), b"go crash\nbt\n");
    expect_code(&debugged, 0);
    assert!(text(&debugged.stdout).contains(">  0 "), "{}", text(&debugged.stdout));
    let report = std::fs::read_to_string(folder.join(trace.replace(".wrr", ".md"))).unwrap();
    assert!(report.starts_with("# ") && report.contains("wrr repro "), "{report}");
    assert!(folder.join(trace.replace(".wrr", ".input")).exists());
}

#[test]
fn a_campaign_finds_the_seeded_bugs_and_its_findings_are_seen_again() {
    let folder = scratch();
    let folder = folder.path();
    seeds("chunks", folder);
    let target = library("chunks");
    let mut arguments = vec!["fuzz", &target, "--runs", "150000", "--seed", "1"];
    arguments.extend(FUZZ);
    let said = err(folder, &arguments, 1);
    assert!(said.contains("done: 150,000 runs"), "{said}");
    for bug in ["bug_01_average", "bug_06_nested_chunk", "bug_07_row"] {
        assert!(said.contains(bug), "{bug} was not found: {said}");
    }
    let found = files(&folder.join("crashes"), "wrr");
    assert!(found.len() >= 3 && said.matches("found: ").count() == found.len(), "{said}");
    for trace in &found {
        is_a_good_finding(folder, trace.to_str().unwrap(), 134);
    }
    // The message of the panic is in the report.
    let report = std::fs::read_to_string(&files(&folder.join("crashes"), "md")[0]).unwrap();
    assert!(report.contains("panicked at"), "{report}");
    // What is known is not found again, and the corpus is what it was and more.
    let before = tree(&folder.join("corpus")).len();
    arguments[3] = "3000";
    let again = err(folder, &arguments, 0);
    assert!(again.contains("nothing new found"), "{again}");
    assert!(tree(&folder.join("corpus")).len() >= before);
}

#[test]
fn one_seed_makes_one_campaign() {
    let folders = [scratch(), scratch()];
    let trees = folders.each_ref().map(|folder| {
        let folder = folder.path();
        seeds("crackme", folder);
        let target = library("crackme");
        let mut arguments = vec!["fuzz", &target, "--runs", "25000", "--seed", "7"];
        arguments.extend(FUZZ);
        let code = run(folder, &arguments).status.code();
        assert!(matches!(code, Some(0 | 1)), "{code:?}");
        (tree(&folder.join("corpus")), tree(&folder.join("crashes")))
    });
    assert!(trees[0].0.len() > 3, "{:?}", trees[0].0.keys());
    assert_eq!(trees[0], trees[1]);
}

#[test]
fn workers_share_what_they_find() {
    let folder = scratch();
    let folder = folder.path();
    seeds("chunks", folder);
    let target = library("chunks");
    let mut arguments =
        vec!["fuzz", &target, "--runs", "60000", "--seed", "3", "-j", "3", "--json"];
    arguments.extend(FUZZ);
    let said = out(folder, &arguments, 1);
    let objects: Vec<Value> =
        said.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let end = objects.last().unwrap();
    assert_eq!((&end["event"], &end["runs"]), (&"end".into(), &60_000.into()), "{end}");
    let found: Vec<&Value> = objects.iter().filter(|object| object["event"] == "finding").collect();
    assert_eq!(found.len(), files(&folder.join("crashes"), "wrr").len());
    for finding in found {
        assert!(folder.join(finding["trace"].as_str().unwrap()).exists(), "{finding}");
        assert!(finding["tick"].as_u64().is_some() && finding["function"].is_string());
    }
}

#[test]
fn a_command_reads_standard_input_or_a_file() {
    let folder = scratch();
    let folder = folder.path();
    seeds("sums", folder);
    let target = command("sums");
    let mut arguments = vec!["fuzz", &target, "--runs", "20000", "--seed", "1"];
    arguments.extend(FUZZ);
    let said = err(folder, &arguments, 1);
    assert!(said.contains("bug_16_mean"), "{said}");
    is_a_good_finding(folder, &only_finding(folder), 134);

    let folder = scratch();
    let folder = folder.path();
    seeds("table", folder);
    let target = command("table");
    let mut arguments =
        vec!["fuzz", &target, "--runs", "20000", "--seed", "1", "--crash-exit", "3"];
    arguments.extend(FUZZ);
    arguments.extend(["--", "@@"]);
    let said = err(folder, &arguments, 1);
    assert!(said.contains("bug_17_measure") && said.contains("exit code 3"), "{said}");
    for trace in files(&folder.join("crashes"), "wrr") {
        let is_exit = trace.to_str().unwrap().contains("exit-3");
        is_a_good_finding(folder, trace.to_str().unwrap(), if is_exit { 3 } else { 134 });
    }
}

#[test]
fn a_run_that_does_not_end_or_takes_too_much_memory_is_a_finding() {
    let folder = scratch();
    let folder = folder.path();
    let spin = r#"(if (i32.gt_u (local.get $n) (i32.const 1)) (then (loop $again (br $again))))"#;
    write(folder, "spin.wat", text_library(spin));
    let mut arguments =
        vec!["fuzz", "spin.wat", "--runs", "500", "--seed", "1", "--timeout-ticks", "5000"];
    arguments.extend(FUZZ);
    let said = err(folder, &arguments, 1);
    assert!(said.contains("found: timeout in function 2 at tick 500"), "{said}");
    let trace = only_finding(folder);
    is_a_good_finding(folder, &trace, 130);
    let replayed = err(folder, &["replay", &trace], 130);
    assert!(replayed.contains("wrr: timeout in function 2 at tick 500"), "{replayed}");

    let folder = scratch();
    let folder = folder.path();
    let grow = r#"(if (i32.gt_u (local.get $n) (i32.const 1)) (then
        (drop (memory.grow (i32.const 64)))
        (if (i32.gt_u (local.get $n) (i32.const 2)) (then (call $bad)))))"#;
    write(folder, "grow.wat", text_library(grow));
    let mut arguments =
        vec!["fuzz", "grow.wat", "--runs", "500", "--seed", "1", "--memory-limit", "1M"];
    arguments.extend(FUZZ);
    let said = err(folder, &arguments, 1);
    assert!(said.contains("found: memory limit in function 2"), "{said}");
    is_a_good_finding(folder, &only_finding(folder), 130);
    // Also where nothing has ticked since a function that it called.
    let folder = scratch();
    let folder = folder.path();
    let late = r#"(if (i32.gt_u (local.get $n) (i32.const 1)) (then
        (call $nothing) (drop (memory.grow (i32.const 64)))))"#;
    let late = text_library(late).replace("(func $bad", "(func $nothing) (func $bad");
    write(folder, "late.wat", late);
    let late = ["fuzz", "late.wat", "--runs", "500", "--seed", "1", "--memory-limit", "1M"];
    let said = err(folder, &[&late[..], &FUZZ].concat(), 1);
    assert!(said.contains("found: memory limit in function 3"), "{said}");
    is_a_good_finding(folder, &only_finding(folder), 130);
}

#[test]
fn a_memory_limit_is_the_users() {
    let folder = scratch();
    let folder = folder.path();
    let grow = r#"(if (i32.gt_u (local.get $n) (i32.const 1)) (then
        (drop (memory.grow (i32.const 64)))
        (if (i32.gt_u (local.get $n) (i32.const 2)) (then (call $bad)))))"#;
    write(folder, "grow.wat", text_library(grow));
    let mut arguments =
        vec!["fuzz", "grow.wat", "--runs", "500", "--seed", "1", "--memory-limit", "1M"];
    arguments.extend(FUZZ);
    err(folder, &arguments, 1);
    // With more room it goes on, and fails where it would otherwise.
    arguments[7] = "16M";
    let said = err(folder, &arguments, 1);
    assert!(said.contains("unreachable") && !said.contains("memory limit"), "{said}");
}

#[test]
fn a_stack_that_overflows_does_so_at_one_tick() {
    let folder = scratch();
    let folder = folder.path();
    let module = r#"(module (memory (export "memory") 1)
      (func $down (param i32) (result i32) (i32.add (i32.const 1) (call $down (local.get 0))))
      (func (export "LLVMFuzzerTestOneInput") (param $p i32) (param $n i32) (result i32)
        (if (i32.gt_u (local.get $n) (i32.const 1)) (then (drop (call $down (i32.const 0)))))
        (i32.const 0)))"#;
    write(folder, "down.wat", module);
    let mut arguments = vec!["fuzz", "down.wat", "--runs", "400", "--seed", "1"];
    arguments.extend(FUZZ);
    let said = err(folder, &arguments, 1);
    assert!(said.contains("call stack exhausted"), "{said}");
    is_a_good_finding(folder, &only_finding(folder), 134);
}

#[test]
fn nothing_is_left_for_the_next_input() {
    let folder = scratch();
    let folder = folder.path();
    // Fails if it sees anything of an earlier run: a global, memory, the size of memory, a table, a file.
    let module = r#"(module
      (import "wasi_snapshot_preview1" "path_open"
        (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
      (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
      (memory (export "memory") 1)
      (table 4 funcref)
      (global $seen (mut i32) (i32.const 0))
      (data (i32.const 100) "left")
      (func $leaked unreachable)
      (func (export "LLVMFuzzerInitialize") (param i32 i32) (result i32) (local $i i32)
        (i32.store (i32.const 3000) (i32.const 7))
        (drop (call $random (i32.const 200) (i32.const 8)))
        (i32.const 0))
      (func (export "LLVMFuzzerTestOneInput") (param $p i32) (param $n i32) (result i32)
        (if (i32.ne (i32.load (i32.const 3000)) (i32.const 7)) (then (call $leaked)))
        (if (global.get $seen) (then (call $leaked)))
        (if (i32.load (i32.const 60000)) (then (call $leaked)))
        (if (i32.eqz (ref.is_null (table.get (i32.const 1)))) (then (call $leaked)))
        (global.set $seen (i32.const 1))
        (i32.store (i32.const 3000) (i32.const 1))
        (i32.store (i32.const 60000) (i32.const 1))
        (table.set (i32.const 1) (ref.func $leaked))
        (if (i32.and (local.get $n) (i32.const 1)) (then (drop (memory.grow (i32.const 3)))))
        ;; The same chance each time.
        (drop (call $random (i32.const 208) (i32.const 8)))
        (if (i64.eqz (i64.load (i32.const 216))) (then (i64.store (i32.const 216) (i64.load (i32.const 208)))))
        ;; A new file, which must not be there.
        (if (call $open (i32.const 3) (i32.const 0) (i32.const 100) (i32.const 4)
              (i32.const 5) (i64.const 64) (i64.const 0) (i32.const 0) (i32.const 300))
          (then (call $leaked)))
        (i32.const 0))
      (elem declare func $leaked))"#;
    write(folder, "leak.wat", module);
    std::fs::create_dir(folder.join("data")).unwrap();
    let mut arguments = vec!["fuzz", "leak.wat", "--runs", "3000", "--seed", "1", "--dir", "data"];
    arguments.extend(FUZZ);
    let said = err(folder, &arguments, 0);
    assert!(said.contains("nothing new found"), "{said}");
    assert!(tree(&folder.join("data")).is_empty(), "the folder is as it was");
}

#[test]
fn a_finding_of_a_program_with_folders_is_minimized_with_them() {
    let folder = scratch();
    let folder = folder.path();
    // Fails if the file is there and the input has three bytes.
    let module = r#"(module
      (import "wasi_snapshot_preview1" "path_open"
        (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
      (memory (export "memory") 1)
      (data (i32.const 100) "data")
      (func $bad unreachable)
      (func (export "LLVMFuzzerTestOneInput") (param $p i32) (param $n i32) (result i32)
        (if (i32.gt_u (local.get $n) (i32.const 2)) (then
          (if (i32.eqz (call $open (i32.const 3) (i32.const 0) (i32.const 100) (i32.const 4)
                (i32.const 0) (i64.const 2) (i64.const 0) (i32.const 0) (i32.const 300)))
            (then (call $bad)))))
        (i32.const 0)))"#;
    write(folder, "t.wat", module);
    for name in ["world", "corpus"] {
        std::fs::create_dir(folder.join(name)).unwrap();
    }
    write(folder, "world/data", "here");
    write(folder, "corpus/long", "long enough");
    let mut arguments = vec!["fuzz", "t.wat", "--runs", "1", "--seed", "1", "--dir", "world"];
    arguments.extend(FUZZ);
    err(folder, &arguments, 1);
    let trace = only_finding(folder);
    out(folder, &["repro", &trace, "--against", "t.wat", "--dir", "world"], 0);
    let said = err(folder, &["minimize", &trace], 2);
    assert!(said.contains("--dir"), "{said}");
    let said = out(folder, &["minimize", &trace, "--dir", "world"], 0);
    assert!(said.starts_with("11 bytes to 3, in "), "{said}");
}

#[test]
fn what_a_target_rejects_is_not_kept() {
    let folder = scratch();
    let folder = folder.path();
    let module = r#"(module (memory (export "memory") 1)
      (func (export "LLVMFuzzerTestOneInput") (param $p i32) (param $n i32) (result i32)
        (if (i32.eqz (local.get $n)) (then (return (i32.const -1))))
        (if (i32.gt_u (i32.load8_u (local.get $p)) (i32.const 127)) (then (return (i32.const -1))))
        (i32.const 0)))"#;
    write(folder, "reject.wat", module);
    let mut arguments = vec!["fuzz", "reject.wat", "--runs", "2000", "--seed", "1"];
    arguments.extend(FUZZ);
    err(folder, &arguments, 0);
    for entry in std::fs::read_dir(folder.join("corpus")).unwrap() {
        let input = std::fs::read(entry.unwrap().path()).unwrap();
        assert!(input.first().is_some_and(|byte| *byte < 128), "{input:?}");
    }
}

#[test]
fn another_build_is_asked_whether_it_still_fails() {
    let folder = scratch();
    let folder = folder.path();
    write(folder, "old.wat", text_library(FAILS_ON_A));
    write(folder, "moved.wat", text_library(&format!("(drop (i32.const 9)) (loop) {FAILS_ON_A}")));
    write(folder, "fixed.wat", text_library(""));
    let other = FAILS_ON_A.replace("(call $bad)", "(drop (i32.div_u (i32.const 1) (i32.const 0)))");
    write(folder, "other.wat", text_library(&other));
    write(folder, "none.wat", "(module)");
    write(folder, "a", "A");
    let said = out(folder, &["repro", "a", "--target", "old.wat"], 0);
    assert_eq!(said, "fails: wasm `unreachable` instruction executed in bad at tick 5\n");
    std::fs::create_dir(folder.join("corpus")).unwrap();
    write(folder, "corpus/a", "Axx");
    let mut arguments = vec!["fuzz", "old.wat", "--runs", "10", "--seed", "1"];
    arguments.extend(FUZZ);
    err(folder, &arguments, 1);
    let trace = only_finding(folder);
    let against =
        |build: &str, code: i32| out(folder, &["repro", &trace, "--against", build], code);
    assert!(against("old.wat", 0).starts_with("still there: "));
    assert!(against("moved.wat", 0).starts_with("still there: "));
    assert!(against("fixed.wat", 1).starts_with("gone: exit code 0 (was "));
    assert!(against("other.wat", 1).starts_with("fails otherwise: integer divide by zero"));
    let said = err(folder, &["repro", &trace, "--against", "none.wat"], 2);
    assert!(said.contains("none.wat"), "{said}");
}

#[test]
fn the_smallest_input_is_found_and_is_a_finding() {
    let folder = scratch();
    let folder = folder.path();
    // Fails if an A stands somewhere before a B.
    let body = r#"(local $i i32) (local $a i32) (local $c i32)
        (block $end (loop $next
          (br_if $end (i32.ge_u (local.get $i) (local.get $n)))
          (local.set $c (i32.load8_u (i32.add (local.get $p) (local.get $i))))
          (if (i32.eq (local.get $c) (i32.const 65)) (then (local.set $a (i32.const 1))))
          (if (i32.and (local.get $a) (i32.eq (local.get $c) (i32.const 66))) (then (call $bad)))
          (local.set $i (i32.add (local.get $i) (i32.const 1)))
          (br $next)))"#;
    write(folder, "order.wat", text_library(body));
    std::fs::create_dir(folder.join("corpus")).unwrap();
    write(
        folder,
        "corpus/long",
        "some text A and more text, then BB and the rest of it\n".repeat(9),
    );
    let mut arguments = vec!["fuzz", "order.wat", "--runs", "1", "--seed", "1"];
    arguments.extend(FUZZ);
    err(folder, &arguments, 1);
    let trace = only_finding(folder);
    let said = out(folder, &["minimize", &trace], 0);
    assert!(said.starts_with("486 bytes to 2, in "), "{said}");
    let small = said.lines().last().unwrap();
    assert_eq!(std::fs::read(folder.join(small.replace(".wrr", ".input"))).unwrap(), b"AB");
    is_a_good_finding(folder, small, 134);
    let again = out(folder, &["minimize", small], 0);
    assert!(again.starts_with("2 bytes: it cannot be made smaller"), "{again}");
}

#[test]
fn a_corpus_is_freed_of_what_shows_nothing_new() {
    let folder = scratch();
    let folder = folder.path();
    write(folder, "a.wat", text_library(FAILS_ON_A));
    std::fs::create_dir(folder.join("corpus")).unwrap();
    for (name, input) in [("1", "b"), ("2", "bb"), ("3", "ccc"), ("4", ""), ("5", "A")] {
        write(folder, &format!("corpus/{name}"), input);
    }
    let arguments = ["fuzz", "a.wat", "--corpus", "corpus", "--minimize-corpus"];
    let said = out(folder, &arguments, 0);
    assert!(said.starts_with("kept 2 of 5 inputs"), "{said}");
    assert!(said.contains("the other 3 (1 of them fail) are in corpus.redundant"), "{said}");
    assert_eq!(tree(&folder.join("corpus")).keys().collect::<Vec<_>>(), ["1", "4"]);
    assert_eq!(tree(&folder.join("corpus.redundant")).len(), 3);
    assert!(out(folder, &arguments, 0).starts_with("kept 2 of 2 inputs"));
}

#[test]
fn words_of_a_dictionary_are_used() {
    let folder = scratch();
    let folder = folder.path();
    // A comparison that is not told, and of which no part agrees before all of it does.
    let body = r#"(if (i32.ge_u (local.get $n) (i32.const 8)) (then
        (if (i64.eqz (i64.rem_u (i64.sub (i64.load (local.get $p)) (i64.const 0x656c706d61786521)) (i64.const 0x7fffffffffffff1b)))
          (then (call $bad)))))"#;
    write(folder, "word.wat", text_library(body));
    write(folder, "words", "# one\nword=\"!example\"\n");
    let mut arguments =
        vec!["fuzz", "word.wat", "--runs", "20000", "--seed", "1", "--dict", "words"];
    arguments.extend(FUZZ);
    let said = err(folder, &arguments, 1);
    assert!(said.contains("found: "), "{said}");
    write(folder, "words", "word=\"a\"\nword=b\n");
    let said = err(folder, &arguments, 2);
    assert!(said.contains("words: line 2: no quote"), "{said}");
}

#[test]
fn what_is_no_target_is_refused_with_a_reason() {
    let folder = scratch();
    let folder = folder.path();
    let refused = |module: &str, expected: &str| {
        write(folder, "t.wat", module);
        let mut arguments = vec!["fuzz", "t.wat", "--runs", "10"];
        arguments.extend(FUZZ);
        let said = err(folder, &arguments, 2);
        assert!(said.contains(expected), "{said}");
    };
    let export =
        r#"(func (export "LLVMFuzzerTestOneInput") (param i32 i32) (result i32) (i32.const 0))"#;
    refused(
        "(module)",
        "it exports neither a function _start nor a function LLVMFuzzerTestOneInput",
    );
    refused("nothing", "not a WebAssembly module");
    refused(&format!("(module {export})"), "it has no memory");
    refused(
        r#"(module (memory 1) (func (export "LLVMFuzzerTestOneInput") (param i64) (result i32) (i32.const 0)))"#,
        "its export LLVMFuzzerTestOneInput is not a function that takes two numbers of 32 bits and gives one",
    );
    refused(
        &format!(r#"(module (memory 1) (func (export "_initialize") unreachable) {export})"#),
        "fails while it starts, before it reads any input: wasm `unreachable` instruction executed",
    );
    refused(
        &format!("(module (memory 1 2) {export})"),
        "its memory may have 2 wasm pages at most, of which it starts with 1, and an input needs 2 more",
    );
    refused(
        &format!(
            r#"(module (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
            (memory 1) (func (export "_initialize") (call $exit (i32.const 1))) {export})"#
        ),
        "its initialisation must not exit",
    );
    refused(
        r#"(module (memory (export "memory") 1) (func (export "_start")))"#,
        "ends (exit code 0) before it reads any input; if it reads a file",
    );
    refused(
        r#"(module (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
          (memory (export "memory") 1) (func (export "_start") (call $exit (i32.const 4))))"#,
        "ends (exit code 4) before it reads any input",
    );
    // A file that is never opened.
    write(folder, "t.wat", r#"(module (memory (export "memory") 1) (func (export "_start")))"#);
    let mut arguments = vec!["fuzz", "t.wat", "--runs", "10"];
    arguments.extend(FUZZ);
    arguments.extend(["--", "@@"]);
    let said = err(folder, &arguments, 2);
    assert!(said.contains("it does not open the file that @@ stands for"), "{said}");
    let said =
        err(folder, &["fuzz", "absent.wasm", "--corpus", "corpus", "--crashes", "crashes"], 2);
    assert!(said.contains("cannot read absent.wasm"), "{said}");
}

#[test]
#[cfg(unix)]
fn a_corpus_that_cannot_be_read_is_named() {
    let folder = scratch();
    let folder = folder.path();
    write(folder, "t.wat", text_library(""));
    std::fs::create_dir(folder.join("corpus")).unwrap();
    write(folder, "corpus/good", "good");
    std::os::unix::fs::symlink("nowhere", folder.join("corpus/lost")).unwrap();
    let mut arguments = vec!["fuzz", "t.wat", "--runs", "10"];
    arguments.extend(FUZZ);
    let said = err(folder, &arguments, 2);
    assert!(said.contains("cannot read the input") && said.contains("corpus/lost"), "{said}");
    write(folder, "file", "");
    let said = err(folder, &["fuzz", "t.wat", "--corpus", "file", "--crashes", "crashes"], 2);
    assert!(said.contains("file"), "{said}");
}

#[test]
#[cfg(unix)]
fn a_finding_for_which_there_is_no_room_is_not_lost() {
    let folder = scratch();
    let folder = folder.path();
    // A module that does not become small, so that its recording does not fit. What it holds never is in its memory.
    let mut random = 1u64;
    let bytes = std::iter::repeat_with(|| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        format!("\\{:02x}", random >> 56)
    });
    let large = format!("(data \"{}\"))", bytes.take(1 << 20).collect::<String>());
    let module = text_library(FAILS_ON_A);
    write(folder, "t.wat", format!("{}{large}", module.strip_suffix(')').unwrap()));
    std::fs::create_dir(folder.join("corpus")).unwrap();
    write(folder, "corpus/a", "A");
    // A limit of 512 KiB a file stands for the full disk.
    let script = "trap '' XFSZ; ulimit -f 1024; exec \"$0\" fuzz t.wat --corpus corpus --crashes crashes --runs 50";
    let mut shell = std::process::Command::new("sh");
    let wrr = wrr(folder);
    shell.current_dir(folder).env("WRR_CACHE", "off").args(["-c", script]).arg(wrr.get_program());
    let output = finish(&mut shell, b"");
    expect_code(&output, 2);
    let said = text(&output.stderr);
    assert!(said.contains("cannot write a finding to crashes"), "{said}");
    assert!(said.contains("see that the folder can be written to, and start again"), "{said}");
    assert!(files(&folder.join("crashes"), "wrr").is_empty());
    assert!(folder.join("corpus/a").exists());
    // With room it is found at once.
    let mut arguments = vec!["fuzz", "t.wat", "--runs", "50"];
    arguments.extend(FUZZ);
    err(folder, &arguments, 1);
    is_a_good_finding(folder, &only_finding(folder), 134);
}

#[test]
#[cfg(target_os = "linux")]
fn a_campaign_that_is_interrupted_goes_on_where_it_was() {
    use rustix::process::{Pid, Signal, kill_process};
    if ignored_here(2) {
        return;
    }
    let folder = scratch();
    let folder = folder.path();
    seeds("chunks", folder);
    // Files come and go meanwhile, so they are counted and not read.
    let inputs = || std::fs::read_dir(folder.join("corpus")).unwrap().count();
    for (signal, is_said) in [(Signal::INT, true), (Signal::TERM, true), (Signal::KILL, false)] {
        let before = inputs();
        let target = library("chunks");
        let mut arguments = vec!["fuzz", &target, "--seed", "5", "--time", "1m"];
        arguments.extend(FUZZ);
        let mut command = wrr(folder);
        let (out, err) = (std::process::Stdio::null(), std::process::Stdio::piped());
        let child = command.args(&arguments).stdout(out).stderr(err).spawn().unwrap();
        // It reads the corpus first, and then finds something.
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(40);
        while inputs() < before + 2 && std::time::Instant::now() < deadline {
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        kill_process(Pid::from_child(&child), signal).unwrap();
        let output = child.wait_with_output().unwrap();
        let said = text(&output.stderr);
        if is_said {
            assert!(matches!(output.status.code(), Some(0 | 1)), "{said}");
            assert!(said.contains("interrupted: "), "{said}");
            assert!(said.contains("goes on from corpus"), "{said}");
        }
        assert!(inputs() >= before);
        // Every file is whole: what was being written when it was killed has another name.
        for trace in files(&folder.join("crashes"), "wrr") {
            out_of(folder, &["repro", trace.to_str().unwrap()]);
        }
    }
}

/// A verdict that a finding is seen again.
#[track_caller]
fn out_of(folder: &Path, arguments: &[&str]) {
    assert!(out(folder, arguments, 0).starts_with("reproduced: "));
}

#[test]
#[cfg(target_os = "linux")]
fn an_interrupt_ends_a_long_run() {
    use rustix::process::{Pid, Signal, kill_process};
    if ignored_here(2) {
        return;
    }
    let folder = scratch();
    let folder = folder.path();
    write(folder, "spin.wat", text_library("(loop $again (br $again))"));
    let mut arguments = vec!["fuzz", "spin.wat", "--timeout-ticks", "1000000000000000"];
    arguments.extend(FUZZ);
    let mut command = wrr(folder);
    let (out, err) = (std::process::Stdio::null(), std::process::Stdio::piped());
    let child = command.args(&arguments).stdout(out).stderr(err).spawn().unwrap();
    std::thread::sleep(std::time::Duration::from_secs(1));
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = text(&output.stderr);
    match output.status.code() {
        Some(0) => assert!(said.contains("interrupted: 0 runs"), "{said}"),
        // This machine was so slow that it had not begun.
        code => assert!(code == Some(130) && said.contains("interrupted before"), "{said}"),
    }
}

#[test]
fn a_program_without_decisions_can_be_fuzzed() {
    let folder = scratch();
    let folder = folder.path();
    let module = r#"(module
      (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
      (memory (export "memory") 1)
      (data (i32.const 0) "\40\00\00\00\04\00\00\00")
      (func (export "_start") (drop (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)))))"#;
    write(folder, "straight.wat", module);
    let mut arguments = vec!["fuzz", "straight.wat", "--runs", "500", "--seed", "1"];
    arguments.extend(FUZZ);
    err(folder, &arguments, 0);
}

/// A campaign that finds one failure: its arguments, and the recording.
#[track_caller]
fn one_finding(folder: &Path) -> (Vec<&'static str>, String) {
    write(folder, "t.wat", text_library(FAILS_ON_A));
    std::fs::create_dir(folder.join("corpus")).unwrap();
    write(folder, "corpus/a", "A");
    let mut arguments = vec!["fuzz", "t.wat", "--runs", "2", "--seed", "1"];
    arguments.extend(FUZZ);
    err(folder, &arguments, 1);
    (arguments, only_finding(folder))
}

#[test]
fn a_finding_that_was_cut_off_is_found_again() {
    let folder = scratch();
    let folder = folder.path();
    let (arguments, trace) = one_finding(folder);
    let whole = std::fs::read(folder.join(&trace)).unwrap();
    write(folder, &trace, &whole[..whole.len() / 2]);
    let said = err(folder, &arguments, 1);
    assert!(said.contains("found: "), "{said}");
    assert_eq!(std::fs::read(folder.join(&trace)).unwrap(), whole);
    err(folder, &["fuzz", "t.wat", "--corpus", "c", "--crashes", "x", "--timeout-ticks", "0"], 2);
}

#[test]
fn a_damaged_finding_is_an_error_not_a_verdict() {
    let folder = scratch();
    let folder = folder.path();
    let (_, trace) = one_finding(folder);
    let whole = std::fs::read(folder.join(&trace)).unwrap();
    // Every byte is checked, and so is that the file ends where it should.
    for at in (0..whole.len()).step_by(7) {
        let mut damaged = whole.clone();
        damaged[at] ^= 0x10;
        write(folder, "damaged.wrr", &damaged);
        for command in ["repro", "minimize"] {
            let output = run(folder, &[command, "damaged.wrr"]);
            let said = text(&output.stderr);
            assert!(!said.contains("panicked"), "byte {at}: {said}");
            if command == "repro" {
                assert_ne!(output.status.code(), Some(0), "byte {at} of {}", whole.len());
            }
        }
        write(folder, "damaged.wrr", &whole[..at]);
        let output = run(folder, &["repro", "damaged.wrr"]);
        // Behind the ending stands an index only: the recording is whole without it.
        let is_whole =
            text(&output.stdout).starts_with("reproduced: ") && at * 10 > whole.len() * 7;
        assert!(is_whole || output.status.code() != Some(0), "cut at {at} of {}", whole.len());
    }
    // A recording of another kind.
    expect_code(&run(folder, &["record", "-o", "r.wrr", &command("sums")]), 0);
    let said = err(folder, &["repro", "r.wrr"], 2);
    assert!(said.contains("this is no finding of a fuzzer"), "{said}");
}

#[test]
fn a_finding_says_what_it_is() {
    let folder = scratch();
    let folder = folder.path();
    // The name of a function is the module's to choose.
    let module = text_library(FAILS_ON_A).replace("$bad", r#"$"a\u{1b}[31m`\0a|b""#);
    write(folder, "t.wat", module);
    std::fs::create_dir(folder.join("corpus")).unwrap();
    write(folder, "corpus/a", b"A\x1b```\n");
    let mut arguments = vec!["fuzz", "t.wat", "--runs", "2", "--seed", "1"];
    arguments.extend(FUZZ);
    let said = err(folder, &arguments, 1);
    assert!(!said.contains('\u{1b}'), "{said}");
    let trace = only_finding(folder);
    let report = std::fs::read_to_string(folder.join(trace.replace(".wrr", ".md"))).unwrap();
    assert!(!report.contains('\u{1b}') && report.matches("```").count() == 6, "{report}");
    assert!(report.contains("00000000  41 1b 60 60 60 0a"), "{report}");
    let info = out(folder, &["info", &trace], 0);
    assert!(info.contains("finding") && !info.contains('\u{1b}'), "{info}");
    let json: Value = serde_json::from_str(&out(folder, &["info", "--json", &trace], 0)).unwrap();
    assert_eq!(json["finding"]["input_bytes"], 6);
}
