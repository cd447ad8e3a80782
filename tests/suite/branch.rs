//! Programs that control their own checkpoints, and `wrr branch`: the real binary on small programs.

use crate::support::*;
use std::path::Path;
use std::process::Output;
use wrr::format::TraceReader;

fn said(folder: &Path, arguments: &[&str], code: i32) -> Output {
    let output = finish(wrr(folder).args(arguments), b"");
    expect_code(&output, code);
    output
}

fn out(folder: &Path, arguments: &[&str], code: i32) -> String {
    text(&said(folder, arguments, code).stdout)
}

fn record(folder: &Path, name: &str) {
    let module = guest(name).module;
    said(folder, &["record", "-o", "t.wrr", module.to_str().unwrap()], 0);
}

fn rows(json: &str) -> Vec<serde_json::Value> {
    json.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn each_datum_is_given_to_a_run_of_its_own() {
    let folder = scratch();
    let folder = folder.path();
    record(folder, "control_branch");
    let with = ["branch", "t.wrr", "--at", "@here", "--with", "a", "bb", "", "panic"];
    let json =
        out(folder, &[&with[..], &["--json", "-j", "3", "--record-dir", "runs"]].concat(), 1);
    let rows = rows(&json);
    let seen: Vec<_> = rows
        .iter()
        .map(|row| (row["exit_code"].as_i64().unwrap(), row["stdout"].as_str().unwrap()))
        .collect();
    assert_eq!(seen, [(1, "a: 1\n"), (2, "bb: 4\n"), (0, ": 0\n"), (134, "panic: 25\n")]);
    assert!(rows[3]["stderr"].as_str().unwrap().contains("as it was told"));

    let table = out(folder, &with, 1);
    assert!(table.contains("panic") && table.contains("trap: unreachable"), "{table}");
    assert!(table.contains("4 runs, 3 of them with another exit code than 0"), "{table}");

    // What was recorded is the whole run, and each of them can branch again.
    for (number, code) in [("0001", 1), ("0002", 2), ("0003", 0), ("0004", 134)] {
        let trace = format!("runs/{number}.wrr");
        said(folder, &["verify", &trace], 0);
        let replayed = out(folder, &["replay", &trace], code);
        assert!(replayed.starts_with("prepared\n"), "{replayed}");
    }
    let again = ["branch", "runs/0004.wrr", "--at", "@prepared", "--with", "", "--json"];
    assert!(out(folder, &again, 0).contains("\": 0\\n\""));
}

#[test]
fn without_data_of_its_own_a_program_reads_them_from_standard_input() {
    let folder = scratch();
    let folder = folder.path();
    let module = guest("stdin_lines").module;
    let mut record = wrr(folder);
    record.args(["record", "-o", "t.wrr"]).arg(module);
    expect_code(&finish(&mut record, b"first\n"), 0);
    std::fs::write(folder.join("list"), "one\r\ntwo\n\nthree").unwrap();
    let events = out(folder, &["events", "t.wrr"], 0);
    let second = events.lines().filter(|line| line.contains("fd_read")).nth(1).unwrap();
    let at = second.split(' ').next().unwrap();
    let json = out(folder, &["branch", "t.wrr", "--at", at, "--each", "list", "--json"], 0);
    let seen: Vec<_> = rows(&json).iter().map(|row| row["stdout"].clone()).collect();
    assert_eq!(seen, ["2: one\n", "2: two\n", "2: three\n"]);
    let from_pipe = finish(
        wrr(folder).args(["branch", "t.wrr", "--at", at, "--each", "-", "--json"]),
        b"x\ny\n",
    );
    expect_code(&from_pipe, 0);
    assert_eq!(text(&from_pipe.stdout).lines().count(), 2);
}

#[test]
fn what_cannot_be_branched_is_refused_before_anything_runs() {
    let folder = scratch();
    let folder = folder.path();
    record(folder, "control_branch");
    let refused = |arguments: &[&str], what: &str| {
        let output = finish(wrr(folder).args(arguments), b"");
        expect_code(&output, 2);
        let message = text(&output.stderr);
        assert!(message.contains(what), "{message}");
        assert!(output.stdout.is_empty());
    };
    refused(&["branch", "t.wrr", "--at", "@elsewhere", "--with", "a"], "here, prepared");
    refused(&["branch", "t.wrr", "--at", "#99", "--with", "a"], "#99");
    refused(&["branch", "t.wrr", "--at", "@here"], "--with");
    refused(&["branch", "t.wrr", "--at", "@here", "--each", "nothing"], "nothing");
    refused(&["branch", "gone.wrr", "--at", "@here", "--with", "a"], "gone.wrr");
    std::fs::write(folder.join("empty"), "\n").unwrap();
    refused(&["branch", "t.wrr", "--at", "@here", "--each", "empty"], "empty");
    std::fs::write(folder.join("file"), "").unwrap();
    let dir = ["--record-dir", "file/below"];
    let with = ["branch", "t.wrr", "--at", "@here", "--with", "a"];
    refused(&[&with[..], &dir].concat(), "file/below");

    let files = guest("file_steps");
    let files = run_guest(&["record", "-o", "files.wrr"], &files, folder);
    expect_code(&files, 0);
    let needs_folder =
        finish(wrr(folder).args(["branch", "files.wrr", "--at", "50%", "--with", "a", "b"]), b"");
    expect_code(&needs_folder, 2);
    assert!(text(&needs_folder.stderr).contains("--dir"), "{}", text(&needs_folder.stderr));
}

#[test]
fn what_a_program_takes_back_is_not_in_its_recording() {
    let folder = scratch();
    let folder = folder.path();
    record(folder, "control_rollback");
    let reader = TraceReader::open(&folder.join("t.wrr")).unwrap();
    let events: Vec<String> =
        reader.events().unwrap().map(|event| event.unwrap().to_string()).collect();
    assert!(events[0].contains("checkpoint \"start\" -> 2"), "{events:?}");
    assert!(!events.iter().any(|event| event.contains("rollback \"start\"")), "{events:?}");
    assert_eq!(reader.version(), 2);
    // The recording goes on, with checkpoints, also if the program goes back often while they are taken.
    let module = guest("control_rollback").module;
    let module = module.to_str().unwrap();
    for options in [["--checkpoint-every", "1ms"], ["--checkpoint-every", "100ticks"]] {
        let record = [&["record", "-o", "c.wrr"], &options[..], &[module]].concat();
        assert_eq!(out(folder, &record, 0), "attempt 2, 3 in memory\nunknown\n");
        said(folder, &["verify", "c.wrr"], 0);
        let state = |options: &[&str]| {
            out(folder, &[&["replay", "c.wrr", "--goto", "90%", "--json"], options].concat(), 0)
        };
        let hash = |json: String| -> serde_json::Value {
            serde_json::from_str::<serde_json::Value>(&json).unwrap()["state_hash"]
                .as_str()
                .unwrap()
                .to_owned()
                .into()
        };
        assert_eq!(hash(state(&[])), hash(state(&["--no-checkpoints"])));
    }
}

#[test]
fn names_that_a_program_gives_are_moments() {
    let folder = scratch();
    let folder = folder.path();
    record(folder, "control_branch");
    let goto = |moment: &str| out(folder, &["replay", "t.wrr", "--goto", moment], 0);
    assert!(goto("@prepared").contains("mark \"prepared\""));
    assert!(goto("@here").contains("branch \"here\""));
    let resumed = out(folder, &["resume", "t.wrr", "--at", "@here"], 0);
    assert_eq!(resumed, "no data\n");
}

#[test]
fn the_clients_have_a_fallback_for_other_runtimes() {
    assert_eq!(wrr_guest::checkpoint("here"), 0);
    assert_eq!(wrr_guest::rollback("here"), wrr_guest::Failure::Unknown);
    wrr_guest::mark("here");
    assert_eq!(wrr_guest::branch("here"), None);
}

#[test]
#[cfg(unix)]
fn the_c_header_has_a_fallback_for_other_targets() {
    let folder = scratch();
    let source = r#"
        #include "wrr.h"
        #include <stdio.h>
        int main(void) {
            wrr_mark("here");
            struct wrr_branch_data data = wrr_branch("here");
            printf("%u %d %d\n", wrr_checkpoint("here"), wrr_rollback("here") == WRR_UNKNOWN, data.some);
            return 0;
        }"#;
    std::fs::write(folder.path().join("main.c"), source).unwrap();
    let compiled = std::process::Command::new("cc")
        .current_dir(folder.path())
        .args(["-std=c99", "-Wall", "-Wextra", "-Werror", "-o", "main", "main.c"])
        .arg(format!("-I{}", root().join("examples/clients/c").display()))
        .output()
        .expect("a C compiler, which building wrr needs as well");
    expect_code(&compiled, 0);
    let ran = std::process::Command::new(folder.path().join("main")).output().unwrap();
    assert_eq!(text(&ran.stdout), "0 1 0\n");
}
