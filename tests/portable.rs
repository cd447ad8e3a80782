//! The same traces on every platform (`make portable`, which builds `wrr` for them with `scripts/portable.sh`).
//!
//! `WRR_PLATFORMS` names the platforms to be compared, those of [`PLATFORMS`]. `WRR_PORTABLE_FULL=1` asks for more moments,
//! more guests, and CPython.
//!
//! Everything that a run needs is in its folder and named relative to it: so the platforms get the same commands, and
//! traces name no place of this machine. Runs on Linux on x86-64 alone, which is the platform that the others are compared to.

mod support;

use libtest_mimic::{Arguments, Failed, Trial};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{LazyLock, Mutex};
use support::*;
use wrr::format::TraceReader;
use wrr_test_generator::{control, floats};

/// A way to run `wrr`.
struct Platform {
    name: &'static str,
    /// The target of Rust.
    triple: &'static str,
    /// What stands before the path of its `wrr`.
    runner: &'static [&'static str],
    env: &'static [(&'static str, &'static str)],
    windows: bool,
}

/// This machine: what the others are compared to.
const HERE: Platform = Platform {
    name: "x86_64",
    triple: "x86_64-unknown-linux-gnu",
    runner: &[],
    env: &[],
    windows: false,
};

const PLATFORMS: [Platform; 6] = [
    HERE,
    Platform {
        name: "i686",
        triple: "i686-unknown-linux-gnu",
        // Run by this processor; Debian has its C library where the cross compiler looks for it.
        runner: &[
            "/usr/i686-linux-gnu/lib/ld-linux.so.2",
            "--library-path",
            "/usr/i686-linux-gnu/lib",
        ],
        ..HERE
    },
    Platform {
        name: "aarch64",
        triple: "aarch64-unknown-linux-gnu",
        runner: &["qemu-aarch64-static", "-L", "/usr/aarch64-linux-gnu"],
        ..HERE
    },
    Platform {
        name: "s390x",
        triple: "s390x-unknown-linux-gnu",
        runner: &["qemu-s390x-static", "-L", "/usr/s390x-linux-gnu"],
        ..HERE
    },
    Platform {
        name: "riscv64",
        triple: "riscv64gc-unknown-linux-gnu",
        runner: &["qemu-riscv64-static", "-L", "/usr/riscv64-linux-gnu"],
        // Without vectors wasmtime cannot compile SIMD.
        env: &[("QEMU_CPU", "rv64,v=true,vext_spec=v1.0")],
        ..HERE
    },
    Platform {
        name: "windows",
        triple: "x86_64-pc-windows-gnu",
        runner: &["scripts/wine.sh"],
        windows: true,
        ..HERE
    },
];

impl Platform {
    fn wrr(&self) -> PathBuf {
        match self.name {
            name if name == HERE.name => PathBuf::from(env!("CARGO_BIN_EXE_wrr")),
            _ => {
                let file = if self.windows { "wrr.exe" } else { "wrr" };
                target().join(self.triple).join("release").join(file)
            }
        }
    }

    /// `wrr` of this platform, in this folder, with a code cache of its own.
    fn command(&self, folder: &Path) -> Command {
        let wrr = self.wrr();
        let mut command = match self.runner.split_first() {
            None => Command::new(&wrr),
            Some((runner, arguments)) => {
                // A script of this repository, or a program on the path.
                let ours = root().join(runner);
                let mut command = Command::new(if ours.exists() { ours } else { runner.into() });
                command.args(arguments).arg(&wrr);
                command
            }
        };
        let cache = target().join("portable-cache").join(self.name);
        let cache = cache.display().to_string();
        let cache = if self.windows { format!("Z:{}", cache.replace('/', "\\")) } else { cache };
        command.current_dir(folder).env_remove("WRR_DEBUG").env("WRR_CACHE", cache);
        command.envs(self.env.iter().copied());
        command
    }

    /// Runs `wrr` and gives its standard output.
    #[track_caller]
    fn says(&self, folder: &Path, arguments: &[&str], code: i32) -> Vec<u8> {
        let output = finish(self.command(folder).args(arguments), b"");
        let found = output.status.code();
        assert!(
            found == Some(code),
            "{} {}: exit code {found:?}, not {code}\nstdout:\n{}\nstderr:\n{}",
            self.name,
            arguments.join(" "),
            text(&output.stdout),
            text(&output.stderr)
        );
        output.stdout
    }
}

fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// Guests that a platform cannot run as the others do, and why; README's table of platforms tells users.
const LEFT_OUT: [(&str, &str, &str); 6] = [
    ("windows", "dirs_open", "an open folder cannot be removed or renamed there"),
    (
        "windows",
        "file_shell",
        "a file that is deleted while it is open keeps its name under Wine 8",
    ),
    ("windows", "sandbox_links", "a link that leads out cannot be made there"),
    ("windows", "links", "Wine 8 makes no symbolic links"),
    ("windows", "link_times", "Wine 8 makes no symbolic links"),
    ("riscv64", "nan_lanes", "QEMU 7.2 fails an assertion of its own (decode_save_opc)"),
];

/// Why a guest is not compared on a platform.
fn left_out(guest: &Guest, platform: &Platform) -> Option<&'static str> {
    let known = |&&(on, name, _): &&(&str, &str, &str)| on == platform.name && name == guest.name;
    LEFT_OUT.iter().find(known).map(|&(.., why)| why)
}

static CHOSEN: LazyLock<Vec<&'static Platform>> = LazyLock::new(|| {
    let names = std::env::var("WRR_PLATFORMS").unwrap_or_default();
    let mut chosen: Vec<&Platform> = Vec::new();
    for name in names.split_whitespace() {
        let platform = PLATFORMS.iter().find(|platform| platform.name == name);
        let platform = platform.unwrap_or_else(|| panic!("WRR_PLATFORMS: {name} is no platform"));
        let wrr = platform.wrr();
        assert!(wrr.exists(), "{} is missing; scripts/portable.sh builds it", wrr.display());
        chosen.push(platform);
    }
    // One platform would agree with itself.
    assert!(chosen.len() > 1, "WRR_PLATFORMS: name at least two; `make portable` does");
    chosen
});

fn full() -> bool {
    std::env::var("WRR_PORTABLE_FULL").is_ok_and(|value| value == "1")
}

/// What the tables at the end show: by table, row and column.
static TABLES: Mutex<BTreeMap<(String, String, String), String>> = Mutex::new(BTreeMap::new());

fn show(table: &str, row: &str, column: &str, cell: impl Into<String>) {
    let key = (table.to_owned(), row.to_owned(), column.to_owned());
    TABLES.lock().unwrap().insert(key, cell.into());
}

fn print_tables() {
    let cells = TABLES.lock().unwrap();
    let mut tables: BTreeMap<&str, BTreeMap<&str, BTreeMap<&str, &str>>> = BTreeMap::new();
    for ((table, row, column), cell) in cells.iter() {
        tables.entry(table).or_default().entry(row).or_default().insert(column, cell);
    }
    for (table, rows) in tables {
        let width = rows.keys().map(|row| row.chars().count()).max().unwrap_or(0) + 2;
        let mut out = format!("\n{table}\n{:<width$}", "");
        for platform in CHOSEN.iter() {
            write!(out, "{:<10}", platform.name).unwrap();
        }
        let mut equal = 0;
        for (row, cells) in &rows {
            write!(out, "\n{row:<width$}").unwrap();
            for platform in CHOSEN.iter() {
                let cell = cells.get(platform.name).copied().unwrap_or("-");
                write!(out, "{cell:<10}").unwrap();
            }
            let mut values = cells.values();
            let first = values.next();
            equal += usize::from(values.all(|value| Some(value) == first));
        }
        let all = if equal == rows.len() { ": all equal" } else { "" };
        println!("{out}\n{equal} of {} rows have equal cells{all}", rows.len());
    }
}

fn main() {
    let arguments = Arguments::from_args();
    let mut trials = Vec::new();
    let mut add = |name: String, test: Box<dyn Fn() + Send>| {
        trials.push(Trial::test(name, move || {
            test();
            Ok::<(), Failed>(())
        }));
    };
    for guest in all_guests().into_iter().filter(|guest| !guest.nondeterministic) {
        let name = format!("identical_files::{}", guest.name);
        let with_files = guest.dir.is_some().then(|| guest.clone());
        add(name, Box::new(move || recordings_are_identical_files(&guest, Writes::ToTheFolder)));
        if let Some(guest) = with_files {
            let name = format!("overlays::{}", guest.name);
            add(
                name,
                Box::new(move || recordings_are_identical_files(&guest, Writes::ToAnOverlay)),
            );
        }
    }
    for (kind, program) in RANDOM {
        for seed in 0..if full() { 100 } else { 10 } {
            let name = format!("random_programs::{kind}::{seed}");
            add(name, Box::new(move || random_programs_are_the_same(kind, program, seed)));
        }
    }
    let used = USED.iter().filter(|used| full() || used.always);
    for (used, platform) in used.flat_map(|used| CHOSEN.iter().map(move |on| (used, *on))) {
        if left_out(&guest(used.guest), platform).is_some() {
            continue;
        }
        let name = format!("portable_use::{}::recorded_on_{}", used.guest, platform.name);
        add(name, Box::new(move || a_trace_is_of_use_everywhere(used, platform)));
    }
    add("findings".to_owned(), Box::new(findings_have_the_same_verdict_everywhere));
    // A campaign with its recordings has five guests, for which 32 bits are no room.
    for platform in CHOSEN.iter().filter(|platform| platform.name != "i686") {
        let name = format!("findings::made_on_{}", platform.name);
        add(name, Box::new(|| a_finding_is_the_same_file_wherever_it_is_made(platform)));
    }
    if let Some(platform) = CHOSEN.iter().find(|platform| platform.name == "i686") {
        let name = "says_what_a_32_bit_host_lacks".to_owned();
        add(name, Box::new(|| a_32_bit_host_says_what_it_lacks(platform)));
    }
    for platform in CHOSEN.iter().filter(|platform| full() && platform.name != HERE.name) {
        let name = format!("debugger::{}", platform.name);
        add(name, Box::new(|| the_debugger_says_the_same(platform, &MEMORY)));
        // Those that this processor runs itself: the others would compile the Python inside for hours.
        if ["i686", "windows"].contains(&platform.name) {
            let name = format!("debugger::python::{}", platform.name);
            add(name, Box::new(|| the_debugger_says_the_same(platform, &OBJECTS)));
        }
    }
    if full() {
        add(
            "cpython::identical_files".to_owned(),
            Box::new(cpython_recordings_are_identical_files),
        );
        for platform in CHOSEN.iter() {
            let name = format!("cpython::recorded_on_{}", platform.name);
            add(name, Box::new(|| cpython_goes_on_everywhere(platform)));
        }
    }
    let conclusion = libtest_mimic::run(&arguments, trials);
    print_tables();
    conclusion.exit();
}

/// Inputs that fail in every way that there is: traps, an exit code, too many ticks, too much memory, too deep a stack.
const FAILURES: &str = r#"(module
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (memory (export "memory") 1)
  (table 2 funcref)
  (func $down (param i32) (result i32) (i32.add (i32.const 1) (call $down (local.get 0))))
  (func $spin (loop $again (br $again)))
  (func $grow (drop (memory.grow (i32.const 1000))))
  (func $far (drop (i32.load (i32.const -4))))
  (func $none (call_indirect (i32.const 1)))
  (func $divide (drop (i32.rem_u (i32.const 1) (i32.const 0))))
  (func $convert (drop (i32.trunc_f64_s (f64.const 1e30))))
  (func $bad unreachable)
  (func $leave (call $exit (i32.const 3)))
  (func (export "LLVMFuzzerTestOneInput") (param $p i32) (param $n i32) (result i32)
    (if (i32.eqz (local.get $n)) (then (return (i32.const 0))))
    (block $9 (block $8 (block $7 (block $6 (block $5 (block $4 (block $3 (block $2 (block $1
      (br_table $1 $2 $3 $4 $5 $6 $7 $8 $9
        (i32.sub (i32.load8_u (local.get $p)) (i32.const 49))))
      (drop (call $down (i32.const 0)))) (call $spin)) (call $grow)) (call $far)) (call $none))
      (call $divide)) (call $convert)) (call $bad))
    (if (i32.eq (i32.load8_u (local.get $p)) (i32.const 57)) (then (call $leave)))
    (i32.const 0)))"#;

/// The options of a campaign of which every input fails, or nearly.
const FAILING: [&str; 12] = [
    "fuzz",
    "t.wat",
    "--corpus",
    "corpus",
    "--crashes",
    "crashes",
    "--seed",
    "1",
    "--memory-limit",
    "1M",
    "--crash-exit",
    "3",
];

/// A folder with a target and an input for each failure.
fn failing_target() -> tempfile::TempDir {
    let folder = scratch();
    std::fs::write(folder.path().join("t.wat"), FAILURES).unwrap();
    std::fs::create_dir(folder.path().join("corpus")).unwrap();
    for input in '1'..='9' {
        std::fs::write(folder.path().join(format!("corpus/{input}")), input.to_string()).unwrap();
    }
    folder
}

/// The names of the findings of a folder, sorted.
fn findings(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder.join("crashes")).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.filter(|name| name.ends_with(".wrr")).collect();
    names.sort();
    names
}

/// A corpus of findings: every platform says the same of each, and of its input.
fn findings_have_the_same_verdict_everywhere() {
    let folder = failing_target();
    let folder = folder.path();
    HERE.says(folder, &[&FAILING[..], &["--runs", "9", "--timeout-ticks", "400000"]].concat(), 1);
    let found = findings(folder);
    assert_eq!(found.len(), 9, "{found:?}");
    for name in &found {
        let trace = format!("crashes/{name}");
        let input = trace.replace(".wrr", ".input");
        let rules = ["--memory-limit", "1M", "--crash-exit", "3", "--timeout-ticks", "400000"];
        let raw = [&["repro", &input, "--target", "t.wat"][..], &rules].concat();
        let says = |platform: &Platform, arguments: &[&str]| {
            text(&platform.says(folder, arguments, 0)).replace("\r\n", "\n")
        };
        let here = [says(&HERE, &["repro", &trace]), says(&HERE, &raw)];
        assert!(here[0].starts_with("reproduced: ") && here[1].starts_with("fails: "), "{here:?}");
        for platform in CHOSEN.iter() {
            let there = [says(platform, &["repro", &trace]), says(platform, &raw)];
            assert_eq!(there, here, "{name} on {}", platform.name);
            let (kind, _) = name.rsplit_once('-').unwrap();
            show("Verdicts about findings", kind, platform.name, "same");
        }
    }
}

/// The campaign of a platform writes the files that this machine's does.
fn a_finding_is_the_same_file_wherever_it_is_made(platform: &Platform) {
    let made = |platform: &Platform| {
        let folder = failing_target();
        let options = ["--runs", "9", "--timeout-ticks", "400000"];
        platform.says(folder.path(), &[&FAILING[..], &options].concat(), 1);
        let read = |name: &String| std::fs::read(folder.path().join("crashes").join(name)).unwrap();
        let found = findings(folder.path());
        found.iter().map(|name| (name.clone(), sha256(&read(name)))).collect::<Vec<_>>()
    };
    assert_eq!(made(platform), made(&HERE), "{}", platform.name);
}

/// A program of `examples/debug` and how it is recorded.
struct Debugged {
    program: &'static str,
    script: &'static str,
    command: &'static str,
    code: i32,
}

const MEMORY: Debugged =
    Debugged { program: "memory.wat", script: "memory.dbg", command: "record", code: 1 };
const OBJECTS: Debugged =
    Debugged { program: "objects.py", script: "objects.dbg", command: "py", code: 1 };

/// A recording of this machine is debugged on another one: every word is the same, ticks and addresses too.
fn the_debugger_says_the_same(platform: &Platform, debugged: &Debugged) {
    let Debugged { program, script, command, code } = *debugged;
    let folder = scratch();
    let folder = folder.path();
    for file in [program, script] {
        std::fs::copy(root().join("examples/debug").join(file), folder.join(file)).unwrap();
    }
    HERE.says(folder, &[command, "--deterministic", "-o", "t.wrr", program], code);
    let says = |platform: &Platform| {
        // Numbers that were kept beside the trace would be known already.
        let _ = std::fs::remove_file(folder.join("t.wrr.notes"));
        let output = finish(platform.command(folder).args(["debug", "t.wrr", "-x", script]), b"");
        text(&output.stdout).replace("\r\n", "\n")
    };
    let here = says(&HERE);
    assert!(here.contains("watchpoint"), "{here}");
    assert_eq!(says(platform), here, "{}", platform.name);
}

/// A folder with the guest's module and its files.
fn world_of(guest: &Guest) -> (tempfile::TempDir, [String; 2]) {
    let folder = scratch();
    copy_tree(&root().join("tests/programs/fixture"), &folder.path().join("work"));
    let module = guest.module.file_name().unwrap().to_str().unwrap().to_owned();
    std::fs::copy(&guest.module, folder.path().join(&module)).unwrap();
    std::fs::write(folder.path().join("input"), &guest.stdin).unwrap();
    (folder, [module, "work".to_owned()])
}

/// The low bits of a process's exit code, which is all that an emulator may pass on.
fn low(code: Option<i32>) -> Option<i32> {
    code.map(|code| code & 0xff)
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// One column for each platform; panics, with what differs, unless all files are the same.
fn compare_files(table: &str, row: &str, traces: &[(&Platform, PathBuf)]) {
    let files: Vec<Vec<u8>> = traces.iter().map(|(_, path)| std::fs::read(path).unwrap()).collect();
    for ((platform, _), file) in traces.iter().zip(&files) {
        show(table, row, platform.name, &sha256(file)[..8]);
    }
    let mut differences = String::new();
    for ((platform, path), file) in traces.iter().zip(&files) {
        if *file == files[0] {
            continue;
        }
        let at = file.iter().zip(&files[0]).take_while(|(a, b)| a == b).count();
        let diff = finish(
            HERE.command(path.parent().unwrap()).arg("diff").args([&traces[0].1, path]),
            b"",
        );
        writeln!(
            differences,
            "{}: {} bytes, not {}; the first difference is at byte {at}; wrr diff says:\n{}{}",
            platform.name,
            file.len(),
            files[0].len(),
            text(&diff.stdout),
            text(&diff.stderr),
        )
        .unwrap();
    }
    assert!(differences.is_empty(), "{row}: not what {} recorded\n{differences}", traces[0].0.name);
}

/// Where a guest's writes go.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Writes {
    ToTheFolder,
    /// What no host keeps from it: nothing is left out.
    ToAnOverlay,
}

fn recordings_are_identical_files(guest: &Guest, writes: Writes) {
    let (options, table): (&[&str], _) = match writes {
        Writes::ToTheFolder => (&[], "SHA-256 of deterministic recordings"),
        Writes::ToAnOverlay => {
            (&["--fs", "overlay"], "SHA-256 of deterministic recordings with an overlay")
        }
    };
    let mut worlds = Vec::new();
    let mut traces = Vec::new();
    let mut first: Option<String> = None;
    let mut applied = None;
    for platform in CHOSEN.iter() {
        if let Some(why) = left_out(guest, platform).filter(|_| writes == Writes::ToTheFolder) {
            println!("{} is not compared on {}: {why}", guest.name, platform.name);
            continue;
        }
        let (folder, places) = world_of(guest);
        let mut record = platform.command(folder.path());
        record.args(["record", "--deterministic", "-o", "t.wrr"]).args(options);
        let output = run_guest_by(&mut record, guest, &places);
        let stdout = text(&output.stdout);
        assert_eq!(
            low(output.status.code()),
            low(Some(guest.expected_code())),
            "{}\nstdout:\n{stdout}\nstderr:\n{}",
            platform.name,
            text(&output.stderr)
        );
        if let Some(expected) = &guest.stdout {
            assert_eq!(stdout, text(expected), "{}", platform.name);
        }
        first.get_or_insert(stdout);
        traces.push((*platform, folder.path().join("t.wrr")));
        if writes == Writes::ToAnOverlay && left_out(guest, platform).is_none() {
            let dir = format!("work::{}", guest.dir.as_ref().expect("it has files"));
            platform.says(folder.path(), &["fs", "commit", "t.wrr", "--dir", &dir], 0);
            let (found, on) = (tree(&folder.path().join("work")), platform.name);
            let (expected, first) = applied.get_or_insert_with(|| (found.clone(), on));
            assert_eq!(found, *expected, "the files on {on}, and on {first}");
        }
        worlds.push(folder);
    }
    compare_files(table, &guest.name, &traces);
}

/// Gives the text of a program for a seed.
type RandomProgram = fn(u64) -> String;

/// What random programs are about.
const RANDOM: [(&str, RandomProgram); 2] =
    [("control", control::command), ("floats", floats::command)];

/// The recordings are the same file, and in the middle of it the state is the same.
fn random_programs_are_the_same(kind: &str, program: RandomProgram, seed: u64) {
    let mut folders = Vec::new();
    let mut traces = Vec::new();
    let mut first = None;
    for platform in CHOSEN.iter() {
        let folder = scratch();
        std::fs::write(folder.path().join("random.wat"), program(seed)).unwrap();
        let mut record = platform.command(folder.path());
        record.args(["record", "--deterministic", "-o", "t.wrr", "random.wat"]);
        let output = finish(&mut record, b"");
        // Some of them trap.
        let code = low(output.status.code());
        assert!(matches!(code, Some(0 | 134)), "{code:?}: {}", text(&output.stderr));
        let seen = (code, output.stdout);
        let first = first.get_or_insert_with(|| seen.clone());
        assert!(seen == *first, "{} shows other bytes than {}", platform.name, CHOSEN[0].name);
        traces.push((*platform, folder.path().join("t.wrr")));
        folders.push(folder);
    }
    let row = format!("{kind}, seed {seed}");
    compare_files("SHA-256 of deterministic recordings of random programs", &row, &traces);
    let end = TraceReader::open(&traces[0].1).unwrap().end_tick().unwrap();
    let middle = (end.0 / 2).to_string();
    let states = traces.iter().zip(&folders);
    let states = states.map(|((on, _), folder)| (on.name, state(on, folder.path(), &middle, &[])));
    let states: Vec<_> = states.collect();
    for (name, state) in &states {
        assert_eq!(*state, states[0].1, "{name} at {middle}");
    }
}

/// A guest whose traces are taken from platform to platform.
struct Used {
    guest: &'static str,
    /// Also in the reduced form.
    always: bool,
}

const USED: [Used; 6] = [
    Used { guest: "nan_lanes", always: false },
    Used { guest: "file_steps", always: true },
    Used { guest: "stdin_lines", always: false },
    Used { guest: "recursion", always: false },
    Used { guest: "alloc_heavy", always: true },
    Used { guest: "collatz", always: false },
];

/// What `replay --goto` says about a state, without how it was found.
#[track_caller]
fn state(platform: &Platform, folder: &Path, moment: &str, options: &[&str]) -> serde_json::Value {
    let arguments = [&["replay", "t.wrr", "--goto", moment, "--json"], options].concat();
    let out = platform.says(folder, &arguments, 0);
    let mut state: serde_json::Value = serde_json::from_slice(&out).unwrap();
    state.as_object_mut().unwrap().remove("seek");
    state
}

/// Recorded on one platform, not deterministically, with checkpoints: replayed, verified, sought in and resumed on the others.
fn a_trace_is_of_use_everywhere(used: &Used, on: &Platform) {
    let guest = guest(used.guest);
    let (recorded_in, places) = world_of(&guest);
    let folder = recorded_in.path();
    let record = |platform: &Platform, every: &str, trace: &str| {
        let mut record = platform.command(folder);
        record.args(["record", "--checkpoint-every", every, "-o", trace, "--stdin", "input"]);
        let output = run_guest_by(&mut record, &guest, &places);
        assert_eq!(
            low(output.status.code()),
            low(Some(guest.expected_code())),
            "{}",
            text(&output.stderr)
        );
        output
    };
    record(&HERE, "off", "off.wrr");
    let end = TraceReader::open(&folder.join("off.wrr")).unwrap().end_tick().unwrap().0;
    let recorded = record(on, &format!("{}ticks", end / 6 + 1), "t.wrr");
    let reader = TraceReader::open(&folder.join("t.wrr")).unwrap();
    let end = reader.end_tick().unwrap().0;
    let moments: Vec<String> =
        (0..if full() { 20 } else { 3 }).map(|i| spread(i, end).to_string()).collect();
    let states: Vec<_> = moments.iter().map(|moment| state(&HERE, folder, moment, &[])).collect();
    let middle = &moments[1];
    let rest = HERE.says(folder, &["replay", "t.wrr", "--from", middle], guest.expected_code());

    for platform in CHOSEN.iter().filter(|platform| platform.name != on.name) {
        if let Some(why) = left_out(&guest, platform) {
            println!("{} is not taken to {}: {why}", guest.name, platform.name);
            continue;
        }
        let elsewhere = scratch();
        let folder = elsewhere.path();
        // As the program left it: a resumed one finds its files there.
        copy_tree(recorded_in.path(), folder);
        let replayed = platform.says(folder, &["replay", "t.wrr"], guest.expected_code());
        assert_eq!(text(&replayed), text(&recorded.stdout), "{}", platform.name);
        platform.says(folder, &["verify", "t.wrr"], 0);
        for (index, (moment, wanted)) in moments.iter().zip(&states).enumerate() {
            let found = state(platform, folder, moment, &[]);
            assert_eq!(&found, wanted, "{} at {moment}", platform.name);
            if index < 2 {
                let found = state(platform, folder, moment, &["--no-checkpoints"]);
                assert_eq!(&found, wanted, "{} at {moment}, from the start", platform.name);
            }
        }
        let mut resume = vec!["resume", "t.wrr", "--at", middle, "-o", "r.wrr", "--stdin", "input"];
        let dir = guest.dir.as_ref().map(|dir| format!("work::{dir}"));
        if let Some(dir) = &dir {
            resume.extend(["--dir", dir]);
        }
        let resumed = platform.says(folder, &resume, guest.expected_code());
        assert_eq!(text(&resumed), text(&rest), "{} from {middle} on", platform.name);
        HERE.says(folder, &["verify", "r.wrr"], 0);
        let row = format!("{} recorded on {}", used.guest, on.name);
        show("Replayed, verified, sought in and resumed elsewhere", &row, platform.name, "good");
    }
}

/// A gigabyte, of which the guest would use nothing.
const LARGE: &str = r#"(module (memory (export "memory") 1)
    (func (export "_start") (drop (memory.grow (i32.const 16384)))))"#;

fn a_32_bit_host_says_what_it_lacks(platform: &Platform) {
    let folder = scratch();
    std::fs::write(folder.path().join("large.wat"), LARGE).unwrap();
    HERE.says(folder.path(), &["record", "-o", "here.wrr", "large.wat"], 0);
    let mut record = platform.command(folder.path());
    let output = finish(record.args(["record", "-o", "t.wrr", "large.wat"]), b"");
    expect_code(&output, 2);
    let said = text(&output.stderr);
    assert!(said.contains("the host has no memory left for the guest"), "{said}");
    for command in ["replay", "verify"] {
        let mut replay = platform.command(folder.path());
        let output = finish(replay.args([command, "here.wrr"]), b"");
        expect_code(&output, 2);
        let said = text(&output.stderr);
        assert!(
            said.contains("cannot replay it, another one may: the host has no memory"),
            "{said}"
        );
    }
}

/// A short run with a loop, floats and a dictionary, that says how far it is.
const SCRIPT: &str = "x = 1.1\nd = {}\n\
    for i in range(40):\n\
    \x20   x = x * 1.0001 + i / 3\n\
    \x20   d[str(i % 7)] = d.get(str(i % 7), 0) + x\n\
    \x20   print(i, x, sum(d.values()), flush=True)\n";

fn cpython() -> (tempfile::TempDir, [&'static str; 6]) {
    let python = root().join("real/python/python.wasm");
    assert!(
        python.exists(),
        "{} is missing; scripts/fetch-real-programs.sh gets it",
        python.display()
    );
    let folder = scratch();
    std::fs::copy(python, folder.path().join("python.wasm")).unwrap();
    (folder, ["python.wasm", "-S", "-E", "-B", "-c", SCRIPT])
}

fn cpython_recordings_are_identical_files() {
    let mut worlds = Vec::new();
    let mut traces = Vec::new();
    for platform in CHOSEN.iter() {
        let (folder, python) = cpython();
        let record = [&["record", "--deterministic", "-o", "t.wrr"], &python[..]].concat();
        platform.says(folder.path(), &record, 0);
        traces.push((*platform, folder.path().join("t.wrr")));
        worlds.push(folder);
    }
    compare_files("SHA-256 of deterministic recordings of CPython", "python -S -c …", &traces);
}

/// The function of its module that evaluates bytecode, `_PyEval_EvalFrameDefault`: the module has no names, and this is the
/// largest one.
const CPYTHON_EVALUATES: u32 = 3283;

/// Stopped in the middle of the evaluation loop, and resumed on every platform.
fn cpython_goes_on_everywhere(on: &Platform) {
    let (world, python) = cpython();
    let record = [&["record", "--checkpoint-every", "1000000ticks", "-o", "t.wrr"], &python[..]];
    let whole = text(&on.says(world.path(), &record.concat(), 0));
    // Where it has come to when about half of the lines are out.
    let reader = TraceReader::open(&world.path().join("t.wrr")).unwrap();
    let events = reader.events().unwrap().count();
    let line = events.saturating_sub(20);
    let tick = |moment: &str| state(&HERE, world.path(), moment, &[])["tick"].as_u64().unwrap();
    let between = (tick(&format!("#{line}")) + tick(&format!("#{}", line + 1))) / 2;
    let at = between.to_string();
    let here = state(&HERE, world.path(), &at, &[]);
    let evaluates = |frame: &serde_json::Value| frame["function"] == CPYTHON_EVALUATES;
    assert!(here["frames"].as_array().unwrap().iter().any(evaluates), "{at}: {here}");
    let rest = HERE.says(world.path(), &["replay", "t.wrr", "--from", &at], 0);
    assert!(!rest.is_empty() && whole.ends_with(&text(&rest)));
    for platform in CHOSEN.iter().filter(|platform| platform.name != on.name) {
        let folder = scratch();
        std::fs::copy(world.path().join("t.wrr"), folder.path().join("t.wrr")).unwrap();
        let replayed = platform.says(folder.path(), &["replay", "t.wrr"], 0);
        assert_eq!(text(&replayed), whole, "{}", platform.name);
        assert_eq!(state(platform, folder.path(), &at, &[]), here, "{} at {at}", platform.name);
        let resume = ["resume", "t.wrr", "--at", &at, "-o", "r.wrr"];
        let resumed = platform.says(folder.path(), &resume, 0);
        assert_eq!(text(&resumed), text(&rest), "{} from {at} on", platform.name);
        HERE.says(folder.path(), &["verify", "r.wrr"], 0);
        let row = format!("recorded on {}", on.name);
        show("CPython, resumed in its evaluation loop", &row, platform.name, "good");
    }
}
