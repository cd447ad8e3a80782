//! Checkpoints that the recorded guest takes of itself, with the real binary: under load, with deep
//! stacks, killed, on a full disk, and compared with a replay.

use crate::support::*;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use wrr::format::{Datum, TraceAppender, TraceReader};

/// Writes to a page more in each round, and computes; the rounds are the argument of `f`.
const PAGES: &str = r#"(module
    (import "wasi_snapshot_preview1" "sched_yield" (func $yield (result i32)))
    (memory (export "memory") 64)
    (func (export "f") (param $rounds i32) (result i32) (local $i i32) (local $j i32)
      (loop $round
        (i32.store (i32.and (i32.mul (local.get $i) (i32.const 4096)) (i32.const 0x3fffff)) (local.get $i))
        (local.set $j (i32.const 0))
        (loop $compute
          (local.set $j (i32.add (local.get $j) (i32.const 1)))
          (br_if $compute (i32.lt_u (local.get $j) (i32.const 20000))))
        (drop (call $yield))
        (br_if $round (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (local.get $rounds))))
      (local.get $i)))"#;

fn record(folder: &Path, name: &str, module: &str, options: &[&str], invoke: &[&str]) {
    std::fs::write(folder.join(format!("{name}.wat")), module).unwrap();
    let (trace, program) = (format!("{name}.wrr"), format!("{name}.wat"));
    let arguments =
        [&["record", "-o", &trace], options, &["--invoke", "f", &program], invoke].concat();
    expect_code(&finish(wrr(folder).args(arguments), b""), 0);
}

fn open(folder: &Path, name: &str) -> TraceReader {
    TraceReader::open(&folder.join(name)).unwrap()
}

fn verify(folder: &Path, name: &str, code: i32) -> String {
    let output = finish(wrr(folder).args(["verify", name]), b"");
    expect_code(&output, code);
    text(&output.stdout) + &text(&output.stderr)
}

/// Keeps all processors busy while something is done, twice over.
fn under_load<R>(action: impl FnOnce() -> R) -> R {
    struct Load(Arc<AtomicBool>);
    impl Drop for Load {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    let over = Load(Arc::default());
    for _ in 0..2 * std::thread::available_parallelism().map_or(1, usize::from) {
        let over = Arc::clone(&over.0);
        std::thread::spawn(move || {
            while !over.load(Ordering::Relaxed) {
                std::hint::spin_loop();
            }
        });
    }
    action()
}

#[test]
fn under_load_every_tenth_of_a_recording_has_a_checkpoint_nearby() {
    let folder = scratch();
    let folder = folder.path();
    // A tenth of the run takes longer than the spacing even where it has a processor for itself.
    let module = PAGES.replace("20000", "500000");
    // Compiles what the guest goes on in after a checkpoint: on a busy machine that takes longer than a
    // tenth of this short run.
    record(folder, "warm", &module, &["--checkpoint-every", "3000000ticks"], &["100"]);
    let options = ["--checkpoint-every", "10ms"];
    under_load(|| record(folder, "busy", &module, &options, &["1500"]));
    let reader = open(folder, "busy.wrr");
    let end = reader.end_tick().unwrap().0;
    for tenth in 0..10 {
        let range = end * tenth / 10..end * (tenth + 1) / 10;
        let found = reader.checkpoints().iter().any(|entry| range.contains(&entry.tick.0));
        let all: Vec<u64> = reader.checkpoints().iter().map(|entry| entry.tick.0).collect();
        assert!(found, "none in tenth {tenth} of {end} ticks: {all:?}");
    }
    assert!(verify(folder, "busy.wrr", 0).contains("good"));
}

#[test]
fn checkpoints_are_small_where_little_changes() {
    let folder = scratch();
    let folder = folder.path();
    // Every other page of 4 MiB is written first, so the list of all pages is long.
    let options = ["--checkpoint-every", "400000ticks"];
    record(folder, "small", PAGES, &options, &["3000"]);
    let reader = open(folder, "small.wrr");
    let sizes: Vec<u64> = reader.checkpoints().iter().map(|entry| entry.stored_bytes).collect();
    assert!(sizes.len() > 100, "{sizes:?}");
    // One in 65 is whole.
    let small = sizes.iter().filter(|size| **size < 400).count();
    assert!(small * 10 > sizes.len() * 9, "{sizes:?}");
    assert!(verify(folder, "small.wrr", 0).contains("good"));
}

#[test]
fn the_trace_says_how_its_checkpoints_were_taken() {
    let folder = scratch();
    let folder = folder.path();
    for tracker in ["compare", "mprotect"] {
        let options = ["--checkpoint-every", "20ms", "--tracker", tracker];
        record(folder, tracker, PAGES, &options, &["2000"]);
        let name = format!("{tracker}.wrr");
        let info = text(&finish(wrr(folder).args(["info", &name]), b"").stdout);
        assert!(info.contains("a checkpoint every 20ms, at most "), "{info}");
        assert!(info.contains(&format!("written pages found by {tracker}")), "{info}");
        let json = finish(wrr(folder).args(["info", &name, "--json"]), b"").stdout;
        let json: serde_json::Value = serde_json::from_slice(&json).unwrap();
        assert_eq!(json["checkpoint_plan"]["tracker"], tracker);
        assert_eq!(json["checkpoint_plan"]["every_ns"], 20_000_000);
    }
    // A deterministic recording does not depend on the tracker.
    record(folder, "same", PAGES, &["--deterministic"], &["10"]);
    assert_eq!(open(folder, "same.wrr").checkpoint_plan(), None);
}

#[test]
fn a_stack_of_a_hundred_thousand_frames_is_captured() {
    let folder = scratch();
    let folder = folder.path();
    let module = r#"(module
        (import "wasi_snapshot_preview1" "sched_yield" (func $yield (result i32)))
        (memory (export "memory") 1)
        (func $down (param $depth i32) (result i32) (local $i i32)
          (if (local.get $depth)
            (then (return (i32.add (i32.const 1) (call $down (i32.sub (local.get $depth) (i32.const 1)))))))
          (loop $compute
            (br_if $compute (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 100000000))))
          (call $yield))
        (func (export "f") (param $depth i32) (result i32) (call $down (local.get $depth))))"#;
    record(folder, "deep", module, &["--checkpoint-every", "30ms"], &["100000"]);
    let reader = open(folder, "deep.wrr");
    let last = reader.checkpoints().len().checked_sub(1).expect("it has a checkpoint");
    let checkpoint = reader.checkpoint(last).unwrap();
    assert_eq!(checkpoint.frames.len(), 100_002);
    assert!(verify(folder, "deep.wrr", 0).contains("good"));
}

#[test]
fn references_to_host_functions_are_captured() {
    let folder = scratch();
    let folder = folder.path();
    let module = r#"(module
        (import "wasi_snapshot_preview1" "sched_yield" (func $yield (result i32)))
        (table $t 2 funcref) (elem (i32.const 0) func $yield)
        (elem declare func $yield)
        (type $call (func (result i32)))
        (memory (export "memory") 1)
        (func (export "f") (param $rounds i32) (result i32) (local $host funcref) (local $i i32) (local $j i32)
          (local.set $host (ref.func $yield))
          (loop $round
            (local.set $j (i32.const 0))
            (loop $compute
              (br_if $compute (i32.lt_u (local.tee $j (i32.add (local.get $j) (i32.const 1))) (i32.const 100000))))
            (drop (call_indirect $t (type $call) (i32.const 0)))
            (br_if $round (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (local.get $rounds))))
          (table.set $t (i32.const 1) (local.get $host))
          (call_indirect $t (type $call) (i32.const 1))))"#;
    record(folder, "host", module, &["--checkpoint-every", "1000000ticks"], &["200"]);
    assert!(open(folder, "host.wrr").checkpoints().len() > 5);
    assert!(verify(folder, "host.wrr", 0).contains("good"));
}

#[test]
fn killed_in_the_middle_of_checkpoints_the_trace_is_valid() {
    let folder = scratch();
    let folder = folder.path();
    std::fs::write(folder.join("t.wat"), PAGES).unwrap();
    let mut most = 0;
    for round in 0..12 {
        let mut command = wrr(folder);
        command.args(["record", "-o", "t.wrr", "--checkpoint-every", "1ms", "--invoke", "f"]);
        let child = command.args(["t.wat", "10000000"]).stdout(Stdio::null()).spawn();
        let mut child = child.unwrap();
        // Until pages are in the file, so that the recorder is killed while it writes more of them.
        let len = || std::fs::metadata(folder.join("t.wrr")).map_or(0, |metadata| metadata.len());
        while len() < 20_000 + 3_000 * round {
            std::thread::sleep(Duration::from_millis(1));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        let reader = open(folder, "t.wrr");
        reader.check_all().unwrap();
        for i in 0..reader.checkpoints().len() {
            reader.checkpoint(i).unwrap();
        }
        most = most.max(reader.checkpoints().len());
        if round % 5 == 0 {
            assert!(verify(folder, "t.wrr", 1).contains("incomplete"));
        }
        std::fs::remove_file(folder.join("t.wrr")).unwrap();
    }
    assert!(most > 3, "{most}");
}

#[test]
#[cfg(unix)]
fn a_disk_that_is_full_while_a_checkpoint_is_written_stops_the_program() {
    let folder = scratch();
    let folder = folder.path();
    // Pages that do not compress: a checkpoint fills the disk, not an event.
    let module = r#"(module
        (import "wasi_snapshot_preview1" "sched_yield" (func $yield (result i32)))
        (memory (export "memory") 64)
        (func (export "f") (param $rounds i32) (result i32) (local $i i32) (local $x i64)
          (local.set $x (i64.const 88172645463325252))
          (loop $round
            (local.set $x (i64.xor (local.get $x) (i64.shl (local.get $x) (i64.const 13))))
            (local.set $x (i64.xor (local.get $x) (i64.shr_u (local.get $x) (i64.const 7))))
            (local.set $x (i64.xor (local.get $x) (i64.shl (local.get $x) (i64.const 17))))
            (i64.store (i32.and (i32.mul (local.get $i) (i32.const 8)) (i32.const 0x3ffff8)) (local.get $x))
            (if (i32.eqz (i32.and (local.get $i) (i32.const 0xfffff))) (then (drop (call $yield))))
            (br_if $round (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (local.get $rounds))))
          (local.get $i)))"#;
    std::fs::write(folder.join("t.wat"), module).unwrap();
    let command = wrr(folder);
    let line = "trap '' XFSZ; ulimit -f 2048; \
                exec \"$0\" record -o t.wrr --checkpoint-every 20ms --invoke f t.wat 2000000000";
    let mut shell = Command::new("sh");
    shell.args(["-c", line]).arg(command.get_program()).current_dir(folder);
    for (key, value) in command.get_envs() {
        shell.env(key, value.unwrap_or_default());
    }
    let output = finish(&mut shell, b"");
    expect_code(&output, 2);
    let message = text(&output.stderr);
    assert!(message.contains("t.wrr"), "{message}");
    let reader = open(folder, "t.wrr");
    reader.check_all().unwrap();
    let replayed = finish(wrr(folder).args(["replay", "t.wrr"]), b"");
    expect_code(&replayed, 0);
    assert!(text(&replayed.stderr).contains("incomplete"), "{}", text(&replayed.stderr));
}

#[test]
fn verify_compares_checkpoints_with_a_replay() {
    let folder = scratch();
    let folder = folder.path();
    record(folder, "good", PAGES, &["--checkpoint-every", "1000000ticks"], &["500"]);
    assert!(verify(folder, "good.wrr", 0).contains("good"));
    type Lie = fn(&mut wrr::format::Checkpoint);
    let lies: [(&str, Lie); 3] = [
        ("the call stack", |checkpoint| checkpoint.frames[0].values[0] = Datum::I32(-1)),
        ("what the host knows", |checkpoint| checkpoint.host.next_fd += 1),
        ("the page at address 0x", |checkpoint| {
            checkpoint.memories[0].runs.pop();
        }),
    ];
    for (what, lie) in lies {
        let path = folder.join("bad.wrr");
        std::fs::copy(folder.join("good.wrr"), &path).unwrap();
        let mut checkpoint = open(folder, "bad.wrr").checkpoint(3).unwrap();
        lie(&mut checkpoint);
        // Before the true one of that moment.
        let mut appender = TraceAppender::open(&path).unwrap();
        appender.put(&[], &checkpoint).unwrap();
        appender.finish().unwrap();
        let message = verify(folder, "bad.wrr", 1);
        assert!(message.contains("differs from a replay in"), "{message}");
        assert!(message.contains(what), "{message}");
    }
}
