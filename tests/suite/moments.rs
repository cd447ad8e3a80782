//! Going to moments of a recording with the real binary: seeks, shown state, indexing, resuming, recovery after a crash.

use crate::support::*;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};
use wrr::format::TraceReader;

fn said(folder: &Path, arguments: &[&str], code: i32) -> Output {
    let output = finish(wrr(folder).args(arguments), b"");
    expect_code(&output, code);
    output
}

fn out(folder: &Path, arguments: &[&str]) -> String {
    text(&said(folder, arguments, 0).stdout)
}

fn state(folder: &Path, trace: &str, moment: &str, options: &[&str]) -> serde_json::Value {
    let arguments = [&["replay", trace, "--goto", moment, "--json"], options].concat();
    serde_json::from_slice(&said(folder, &arguments, 0).stdout).unwrap()
}

/// A recording of a guest that computes for a while. Gives its output.
fn record_collatz(folder: &Path, trace: &str, options: &[&str], rounds: &str) -> String {
    let module = guest("collatz").module;
    let program = [module.to_str().unwrap(), rounds];
    let arguments = [&["record", "-o", trace], options, &program].concat();
    out(folder, &arguments)
}

fn checkpoints(folder: &Path, trace: &str) -> usize {
    TraceReader::open(&folder.join(trace)).unwrap().checkpoints().len()
}

#[test]
fn checkpoints_are_taken_by_the_clock_by_ticks_or_not_at_all() {
    let folder = scratch();
    let folder = folder.path();
    let plain = record_collatz(folder, "off.wrr", &["--checkpoint-every", "off"], "400");
    assert_eq!(checkpoints(folder, "off.wrr"), 0);
    let end = TraceReader::open(&folder.join("off.wrr")).unwrap().end_tick().unwrap().0;
    let every = format!("{}ticks", end / 9);
    let ticks = record_collatz(folder, "ticks.wrr", &["--checkpoint-every", &every], "400");
    assert!((8..=9).contains(&checkpoints(folder, "ticks.wrr")));
    let clock = record_collatz(folder, "clock.wrr", &["--checkpoint-every", "30ms"], "20000");
    assert!(checkpoints(folder, "clock.wrr") > 0);
    assert!(plain == ticks && clock.starts_with(&plain));
    // What they cost is listed.
    let info = out(folder, &["info", "ticks.wrr"]);
    assert!(info.contains("checkpoints") && info.contains("of new pages"), "{info}");
}

#[test]
fn the_state_at_a_moment_does_not_depend_on_the_way_there_nor_on_the_tracker() {
    let folder = scratch();
    let folder = folder.path();
    record_collatz(folder, "off.wrr", &["--checkpoint-every", "off"], "400");
    let end = TraceReader::open(&folder.join("off.wrr")).unwrap().end_tick().unwrap().0;
    let every = format!("{}ticks", end / 5);
    let mut compared = 0;
    for tracker in ["compare", "userfaultfd", "mprotect"] {
        let options = ["--deterministic", "--checkpoint-every", &every, "--tracker", tracker];
        let module = guest("collatz").module;
        let program = [module.to_str().unwrap(), "400"];
        let trace = format!("{tracker}.wrr");
        let arguments = [&["record", "-o", &trace], &options[..], &program].concat();
        let recorded = finish(wrr(folder).args(arguments), b"");
        if tracker != "compare" && recorded.status.code() == Some(2) {
            // Refused on this machine: then it says so, and which ones there are.
            let message = text(&recorded.stderr);
            assert!(message.contains(tracker) && message.contains("compare"), "{message}");
            continue;
        }
        expect_code(&recorded, 0);
        for i in 1..8 {
            let tick = (end * i / 8).to_string();
            let near = state(folder, &trace, &tick, &[]);
            let far = state(folder, "off.wrr", &tick, &["--no-checkpoints"]);
            assert_eq!(near["tick"].to_string(), tick);
            assert_eq!(near["state_hash"], far["state_hash"], "{tracker} at {tick}");
            assert_eq!(near["frames"], far["frames"]);
            assert_eq!(far["seek"]["checkpoint_tick"], serde_json::Value::Null);
            if i > 2 {
                assert!(near["seek"]["checkpoint_tick"].is_u64(), "{near}");
            }
        }
        compared += 1;
    }
    assert!(compared > 0);
    // Checkpoints are part of what a deterministic recording makes the same.
    let traces =
        ["compare", "mprotect"].map(|name| std::fs::read(folder.join(format!("{name}.wrr"))));
    if let [Ok(first), Ok(second)] = traces {
        assert!(first == second);
    }
}

#[test]
fn moments_are_named_in_many_ways_and_wrong_ones_are_explained() {
    let folder = scratch();
    let folder = folder.path();
    record_collatz(folder, "t.wrr", &["--checkpoint-every", "100000ticks"], "300");
    let reader = TraceReader::open(&folder.join("t.wrr")).unwrap();
    let (end, events) = (reader.end_tick().unwrap().0, reader.events().unwrap().count());
    assert_eq!(state(folder, "t.wrr", "start", &[])["tick"], 0);
    assert_eq!(state(folder, "t.wrr", "start", &[])["frames"].as_array().unwrap().len(), 0);
    assert_eq!(state(folder, "t.wrr", "50%", &[])["tick"], end / 2);
    let last = state(folder, "t.wrr", "end", &[]);
    assert!(last["tick"].as_u64().unwrap() <= end);
    let call = state(folder, "t.wrr", "#3", &[]);
    assert_eq!((call["event"].clone(), call["in_call"].clone()), (3.into(), true.into()));
    let timed = state(folder, "t.wrr", "0.001s", &[]);
    assert!(timed["wall_seconds"].as_f64().unwrap() <= 0.01, "{timed}");
    for (moment, words) in [
        ((end + 1).to_string(), vec!["tick", "the run ends at tick"]),
        (format!("#{events}"), vec!["events, from #0 on"]),
        ("999999s".to_owned(), vec!["the recording ends after"]),
        ("@nowhere".to_owned(), vec!["nothing in the recording has a name"]),
        ("yesterday".to_owned(), vec!["is no moment", "2.5s", "#17"]),
        ("101%".to_owned(), vec!["is no moment"]),
        ("-1".to_owned(), vec![]),
    ] {
        let message = text(&said(folder, &["replay", "t.wrr", "--goto", &moment], 2).stderr);
        for word in words {
            assert!(message.contains(word), "{moment}: {message}");
        }
    }
    let backwards = ["replay", "t.wrr", "--from", "50%", "--until", "#1"];
    let message = text(&said(folder, &backwards, 2).stderr);
    assert!(message.contains("the end lies before the beginning"), "{message}");
    let deterministic = record_collatz(folder, "d.wrr", &["--deterministic"], "100");
    assert!(!deterministic.is_empty());
    let message = text(&said(folder, &["replay", "d.wrr", "--goto", "0.1s"], 2).stderr);
    assert!(message.contains("no wall clock"), "{message}");
}

#[test]
fn memory_at_a_moment_is_shown_and_dumped() {
    let folder = scratch();
    let folder = folder.path();
    let module = "(module
        (import \"wasi_snapshot_preview1\" \"sched_yield\" (func $yield (result i32)))
        (memory (export \"memory\") 2)
        (data (i32.const 16) \"before\")
        (func (export \"_start\")
            (drop (call $yield))
            (i64.store (i32.const 16) (i64.const 0x7265746661))
            (i32.store (i32.const 131068) (i32.const -1))
            (drop (call $yield))))";
    std::fs::write(folder.join("m.wat"), module).unwrap();
    said(folder, &["record", "m.wat"], 0);
    let shown = out(folder, &["replay", "m.wrr", "--goto", "#0", "--read", "16", "8"]);
    assert!(shown.contains("62 65 66 6f 72 65 00 00"), "{shown}");
    assert!(shown.contains("before.."), "{shown}");
    let shown = out(folder, &["replay", "m.wrr", "--goto", "#1", "--read", "0x10", "8"]);
    assert!(shown.contains("after..."), "{shown}");
    let json = state(folder, "m.wrr", "#1", &["--read", "131068", "4"]);
    assert_eq!(json["read"], "ffffffff");
    said(folder, &["replay", "m.wrr", "--goto", "#1", "--dump-memory", "dump"], 0);
    let dump = std::fs::read(folder.join("dump")).unwrap();
    assert_eq!((dump.len(), &dump[16..21]), (2 << 16, &b"after"[..]));
    let beyond = ["replay", "m.wrr", "--goto", "#1", "--read", "131070", "4"];
    let message = text(&said(folder, &beyond, 2).stderr);
    assert!(message.contains("not all in memory"), "{message}");
    said(folder, &["replay", "m.wrr", "--goto", "#1", "--dump-memory", "no/such/folder"], 2);
}

#[test]
fn an_index_brings_checkpoints_and_can_be_interrupted_at_any_byte() {
    let folder = scratch();
    let folder = folder.path();
    let output = record_collatz(folder, "t.wrr", &["--checkpoint-every", "off"], "1500");
    let before = std::fs::read(folder.join("t.wrr")).unwrap();
    let half = state(folder, "t.wrr", "50%", &[]);
    let said_it = out(folder, &["index", "t.wrr", "--max-seek", "2ms"]);
    assert!(said_it.contains("checkpoints added"), "{said_it}");
    assert!(checkpoints(folder, "t.wrr") > 2);
    said(folder, &["verify", "t.wrr"], 0);
    let indexed = state(folder, "t.wrr", "50%", &[]);
    assert_eq!(indexed["state_hash"], half["state_hash"]);
    assert!(indexed["seek"]["checkpoint_tick"].is_u64());
    let after = std::fs::read(folder.join("t.wrr")).unwrap();
    assert!(after.starts_with(&before), "an index only appends");
    for cut in (0..8).map(|i| before.len() + (after.len() - before.len()) * i / 8) {
        std::fs::write(folder.join("cut.wrr"), &after[..cut]).unwrap();
        assert_eq!(out(folder, &["replay", "cut.wrr"]), output, "{cut}");
        assert_eq!(state(folder, "cut.wrr", "50%", &[])["state_hash"], half["state_hash"]);
    }
    // What an interrupted one has left is used by the next.
    said(folder, &["index", "cut.wrr", "--max-seek", "2ms"], 0);
    said(folder, &["verify", "cut.wrr"], 0);
    // Nothing can be added to a file that cannot be written.
    if std::fs::read_dir("/proc/self").is_ok() && !is_root() {
        let mut permissions = std::fs::metadata(folder.join("t.wrr")).unwrap().permissions();
        permissions.set_readonly(true);
        std::fs::set_permissions(folder.join("t.wrr"), permissions).unwrap();
        said(folder, &["index", "t.wrr"], 2);
    }
}

/// The states at all checkpoints of a trace are those that a replay from the start comes to.
fn checkpoints_are_right(folder: &Path, trace: &str) {
    let reader = TraceReader::open(&folder.join(trace)).unwrap();
    for (number, checkpoint) in reader.checkpoints().iter().enumerate() {
        // A checkpoint is not used for the very tick that it stands at.
        let tick = (checkpoint.tick.0 + 1).to_string();
        let near = state(folder, trace, &tick, &[]);
        assert_eq!(near["seek"]["checkpoint_tick"], checkpoint.tick.0, "{number}");
        let far = state(folder, trace, &tick, &["--no-checkpoints"]);
        assert_eq!(near["state_hash"], far["state_hash"], "checkpoint {number} at {tick}");
    }
    said(folder, &["verify", trace], 0);
}

#[test]
fn stretches_that_are_indexed_at_the_same_time_have_the_states_of_one_replay() {
    let folder = scratch();
    let folder = folder.path();
    record_collatz(folder, "off.wrr", &["--checkpoint-every", "off"], "800");
    let end = TraceReader::open(&folder.join("off.wrr")).unwrap().end_tick().unwrap().0;
    for stretches in [1, 6] {
        let every = format!("{}ticks", end / stretches + 1);
        record_collatz(folder, "t.wrr", &["--checkpoint-every", &every], "800");
        let before = checkpoints(folder, "t.wrr");
        assert_eq!(before as u64, stretches - 1);
        said(folder, &["index", "t.wrr", "--max-seek", "10ms"], 0);
        assert!(checkpoints(folder, "t.wrr") > before);
        checkpoints_are_right(folder, "t.wrr");
        // The last event of the run is one of the places.
        let reader = TraceReader::open(&folder.join("t.wrr")).unwrap();
        let last_event = reader.events().unwrap().last().unwrap().unwrap().tick.0;
        let last = state(folder, "t.wrr", "end", &[]);
        let from = last["seek"]["checkpoint_tick"].as_u64().unwrap();
        assert!(from >= last_event, "{last_event}: {last}");
        // Whoever does it once more has nothing to add there, and stores no page twice.
        let pages = TraceReader::open(&folder.join("t.wrr")).unwrap().page_count();
        said(folder, &["index", "t.wrr", "--max-seek", "3600s"], 0);
        assert_eq!(TraceReader::open(&folder.join("t.wrr")).unwrap().page_count(), pages);
    }
}

#[test]
fn two_indexes_at_once_store_what_one_replay_has() {
    let folder = scratch();
    let folder = folder.path();
    record_collatz(folder, "t.wrr", &["--checkpoint-every", "2000000ticks"], "1500");
    let before = checkpoints(folder, "t.wrr");
    let index = || {
        let mut command = wrr(folder);
        command.args(["index", "t.wrr", "--max-seek", "20ms"]);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let both = [index(), index()].map(|child| child.wait_with_output().unwrap());
    let codes = both.each_ref().map(|output| output.status.code());
    assert!(codes.contains(&Some(0)), "{both:?}");
    for refused in both.iter().filter(|output| output.status.code() != Some(0)) {
        expect_code(refused, 2);
        let message = text(&refused.stderr);
        assert!(message.contains("t.wrr: being written by another wrr"), "{message}");
        assert!(message.contains("try again when it has finished"), "{message}");
    }
    assert!(checkpoints(folder, "t.wrr") > before);
    checkpoints_are_right(folder, "t.wrr");
}

#[test]
fn a_recording_that_goes_on_is_not_indexed() {
    let folder = scratch();
    let folder = folder.path();
    let mut record = wrr(folder);
    record.args(["record", "-o", "t.wrr", "--checkpoint-every", "off"]);
    record.arg(guest("stdin_lines").module).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut recorder = record.spawn().unwrap();
    let mut stdin = recorder.stdin.take().unwrap();
    let mut line = [0; 8];
    stdin.write_all(b"first\n").unwrap();
    recorder.stdout.as_mut().unwrap().read_exact(&mut line[..5]).unwrap();
    let message = text(&said(folder, &["index", "t.wrr"], 2).stderr);
    assert!(message.contains("t.wrr: being written by another wrr"), "{message}");
    drop(stdin);
    expect_code(&recorder.wait_with_output().unwrap(), 0);
    said(folder, &["verify", "t.wrr"], 0);
    said(folder, &["index", "t.wrr"], 0);
    said(folder, &["verify", "t.wrr"], 0);
}

#[test]
fn a_killed_index_leaves_a_trace_that_is_whole_and_what_it_had_added() {
    let folder = scratch();
    let folder = folder.path();
    let output = record_collatz(folder, "t.wrr", &["--checkpoint-every", "4000000ticks"], "6000");
    let before = checkpoints(folder, "t.wrr");
    let mut index = wrr(folder);
    index.args(["index", "t.wrr", "--max-seek", "2ms"]).stdout(Stdio::null());
    let mut index = index.spawn().unwrap();
    let until = Instant::now() + Duration::from_secs(60);
    while checkpoints(folder, "t.wrr") < before + 3 && Instant::now() < until {
        assert!(index.try_wait().unwrap().is_none(), "it ended before it was killed");
    }
    index.kill().unwrap();
    index.wait().unwrap();
    assert!(checkpoints(folder, "t.wrr") >= before + 3);
    assert_eq!(out(folder, &["replay", "t.wrr"]), output);
    // Its index is not complete, and nothing else is wrong.
    let verified = text(&said(folder, &["verify", "t.wrr"], 1).stdout);
    assert!(
        verified.contains("all") && verified.contains("and the ending are there"),
        "{verified}"
    );
    for percent in ["20%", "70%"] {
        let near = state(folder, "t.wrr", percent, &[]);
        let far = state(folder, "t.wrr", percent, &["--no-checkpoints"]);
        assert_eq!(near["state_hash"], far["state_hash"]);
    }
    said(folder, &["index", "t.wrr", "--max-seek", "100ms"], 0);
    said(folder, &["verify", "t.wrr"], 0);
}

fn is_root() -> bool {
    std::fs::File::create("/proc/self/wrr-probe").is_ok()
        || std::fs::read_to_string("/proc/self/status")
            .is_ok_and(|status| status.lines().any(|l| l.starts_with("Uid:\t0\t")))
}

#[test]
fn a_resumed_guest_finds_its_files_where_it_left_them() {
    let folder = scratch();
    let folder = folder.path();
    let module = guest("file_steps").module;
    let module = module.to_str().unwrap();
    std::fs::create_dir(folder.join("data")).unwrap();
    let record = ["record", "-o", "t.wrr", "--dir", "data", module, "data"];
    let whole = out(folder, &record);
    let lines: Vec<&str> = whole.lines().collect();
    let written = std::fs::read(folder.join("data/log.txt")).unwrap();
    let reader = TraceReader::open(&folder.join("t.wrr")).unwrap();
    let events: Vec<_> = reader.events().unwrap().map(Result::unwrap).collect();
    // In the middle of its steps: before a line is printed.
    let prints =
        events.iter().filter(|e| e.call.function.name() == "fd_write" && e.call.args[0] == 1);
    let at = format!("#{}", prints.map(|e| e.index.0).nth(lines.len() / 2).unwrap());
    // The file goes back to what it was then, as a user would have to see to.
    let resumed =
        said(folder, &["resume", "t.wrr", "--at", &at, "--dir", "data", "-o", "r.wrr"], 0);
    let expected: String = lines[lines.len() / 2..].iter().map(|l| format!("{l}\n")).collect();
    assert_eq!(text(&resumed.stdout), expected);
    assert_eq!(std::fs::read(folder.join("data/log.txt")).unwrap(), written);
    // The new trace stands on its own, and says where it comes from.
    assert_eq!(out(folder, &["replay", "r.wrr"]), whole);
    let info = out(folder, &["info", "r.wrr"]);
    assert!(info.contains("resumed") && info.contains("t.wrr"), "{info}");
    // Everything that is missing is listed, and nothing has run.
    std::fs::write(folder.join("data/log.txt"), "").unwrap();
    let short = said(folder, &["resume", "t.wrr", "--at", &at, "--dir", "data"], 2);
    assert!(short.stdout.is_empty());
    assert!(text(&short.stderr).contains("log.txt"), "{}", text(&short.stderr));
    std::fs::remove_file(folder.join("data/log.txt")).unwrap();
    std::fs::remove_file(folder.join("data/input.txt")).unwrap();
    let gone = text(&said(folder, &["resume", "t.wrr", "--at", &at, "--dir", "data"], 2).stderr);
    assert!(gone.contains("log.txt") && gone.contains("input.txt"), "{gone}");
    let nothing = text(&said(folder, &["resume", "t.wrr", "--at", &at], 2).stderr);
    assert!(nothing.contains("--dir") && nothing.contains("data"), "{nothing}");
    let onto_itself = ["resume", "t.wrr", "--at", &at, "--dir", "data", "-o", "t.wrr"];
    assert!(text(&said(folder, &onto_itself, 2).stderr).contains("overwrite"));
}

#[test]
fn a_killed_recording_goes_on_where_it_was() {
    let folder = scratch();
    let folder = folder.path();
    let module = guest("collatz").module;
    let whole = out(folder, &["run", module.to_str().unwrap(), "15000"]);
    let mut record = wrr(folder);
    record.args(["record", "-o", "t.wrr", "--checkpoint-every", "50ms"]).arg(&module).arg("15000");
    let mut child = record.stdout(Stdio::null()).spawn().unwrap();
    let until = Instant::now() + Duration::from_secs(60);
    let found = |trace: &PathBuf| TraceReader::open(trace).is_ok_and(|r| r.checkpoints().len() > 1);
    while !found(&folder.join("t.wrr")) && Instant::now() < until {
        assert!(child.try_wait().unwrap().is_none(), "it ended before it was killed");
        std::thread::sleep(Duration::from_millis(20));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let replayed = text(&said(folder, &["replay", "t.wrr"], 0).stdout);
    assert!(whole.starts_with(&replayed) && replayed != whole);
    let resumed = text(&said(folder, &["resume", "t.wrr", "-o", "r.wrr"], 0).stdout);
    assert!(whole.ends_with(&resumed) && !resumed.is_empty());
    assert_eq!(replayed.len() + resumed.len(), whole.len());
    assert_eq!(out(folder, &["replay", "r.wrr"]), whole);
    // A killed recording can be indexed as well.
    said(folder, &["index", "t.wrr", "--max-seek", "50ms"], 0);
    assert_eq!(text(&said(folder, &["replay", "t.wrr"], 0).stdout), replayed);
}

#[test]
fn damaged_checkpoints_cost_time_and_nothing_else() {
    let folder = scratch();
    let folder = folder.path();
    record_collatz(folder, "t.wrr", &["--checkpoint-every", "100000ticks"], "300");
    let good = state(folder, "t.wrr", "90%", &[]);
    let bytes = std::fs::read(folder.join("t.wrr")).unwrap();
    let mut flipped = 0;
    for (i, window) in bytes.windows(4).enumerate() {
        if window != b"ckpt" && window != b"page" {
            continue;
        }
        let mut damaged = bytes.clone();
        // In the payload, behind the header.
        let place = i + 40 + 5;
        if place >= damaged.len() {
            continue;
        }
        damaged[place] ^= 0x10;
        std::fs::write(folder.join("d.wrr"), &damaged).unwrap();
        let output = finish(wrr(folder).args(["replay", "d.wrr", "--goto", "90%", "--json"]), b"");
        expect_code(&output, 0);
        let state: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(state["state_hash"], good["state_hash"]);
        said(folder, &["verify", "d.wrr"], 2);
        flipped += 1;
        if flipped > 12 {
            break;
        }
    }
    assert!(flipped > 3);
}

/// A trace of this version of the format, checkpoints included. It is replayed and sought in from now on; whoever changes
/// the format needs a new version number and a new file.
#[test]
fn the_frozen_trace_of_format_1_is_replayed_and_sought_in() {
    let folder = scratch();
    let near = is_replayed_and_sought_in(1, folder.path());
    assert!(near > 2, "some of its moments are near checkpoints");
}

/// It is of a program that went back and wrote to an overlay.
#[test]
fn the_frozen_trace_of_format_2_is_replayed_and_sought_in_and_goes_on() {
    let folder = scratch();
    let folder = folder.path();
    is_replayed_and_sought_in(2, folder);
    let diff = std::fs::read_to_string(root().join("tests/traces/format-2.diff")).unwrap();
    assert_eq!(out(folder, &["fs", "diff", "t.wrr"]), diff);
    std::fs::create_dir_all(folder.join("work/d")).unwrap();
    std::fs::write(folder.join("work/a"), "below").unwrap();
    std::fs::write(folder.join("work/d/b"), "0123456789".repeat(2000)).unwrap();
    let on = ["resume", "t.wrr", "--at", "@here", "--dir", "work::/work", "--commit-fs"];
    assert_eq!(out(folder, &on), "attempt 1\nbelow and above\nb\n");
    let names: Vec<String> = tree(&folder.join("work")).into_keys().collect();
    assert_eq!(names, ["a", "e", "e/b", "f", "new"]);
}

/// Gives how many of its moments are near checkpoints.
fn is_replayed_and_sought_in(format: u32, folder: &Path) -> u32 {
    let file = |what: &str| root().join(format!("tests/traces/format-{format}.{what}"));
    let frozen = file("wrr");
    std::fs::copy(&frozen, folder.join("t.wrr")).unwrap();
    let expected = std::fs::read_to_string(file("stdout")).unwrap();
    assert_eq!(out(folder, &["replay", "t.wrr"]), expected);
    said(folder, &["verify", "t.wrr"], 0);
    assert_eq!(TraceReader::open(&frozen).unwrap().version(), format);
    let states = std::fs::read_to_string(file("states")).unwrap();
    let mut near = 0;
    for line in states.lines() {
        let (moment, hash) = line.split_once(' ').unwrap();
        for options in [&[][..], &["--no-checkpoints"]] {
            let state = state(folder, "t.wrr", moment, options);
            assert_eq!(state["state_hash"], hash, "{moment}");
            near += u32::from(state["seek"]["checkpoint_tick"].is_u64());
        }
    }
    near
}
