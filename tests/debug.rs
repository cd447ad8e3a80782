//! The debugger, as somebody uses it. Dropping a program and `NAME.dbg` with commands into `examples/debug` adds a test:
//! what comes is compared with `NAME.golden`, which `BLESS=1` writes.

#[cfg(target_os = "linux")]
#[path = "debug/at_terminal.rs"]
mod at_terminal;
#[path = "debug/recording.rs"]
mod recording;
#[path = "debug/scrubber.rs"]
mod scrubber;
#[path = "debug/searches.rs"]
mod searches;
mod support;

use libtest_mimic::{Arguments, Failed, Trial};
use scrubber::scrubbed;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::sync::OnceLock;
use support::*;
use wrr::{CodeCache, Moment, SeekOptions, Trace};
use wrr_debug::{Debugger, Direction, Evaluated, Why};

/// The plain tests.
const TESTS: &[(&str, fn())] = &[
    ("evaluating_leaves_the_run_as_it_was", evaluating_leaves_the_run_as_it_was),
    (
        "evaluating_that_never_ends_can_be_interrupted",
        evaluating_that_never_ends_can_be_interrupted,
    ),
    (
        "numbers_and_names_are_kept_for_other_sessions",
        numbers_and_names_are_kept_for_other_sessions,
    ),
    (
        "a_numbered_object_is_refused_where_it_does_not_live",
        a_numbered_object_is_refused_where_it_does_not_live,
    ),
    (
        "damaged_notes_are_named_and_the_debugger_goes_on",
        damaged_notes_are_named_and_the_debugger_goes_on,
    ),
    ("notes_about_another_run_are_none", notes_about_another_run_are_none),
    ("notes_that_cannot_be_written_are_no_obstacle", notes_that_cannot_be_written_are_no_obstacle),
    (
        "py_runs_a_text_a_module_or_a_script_and_replays_it",
        recording::py_runs_a_text_a_module_or_a_script_and_replays_it,
    ),
    (
        "py_talks_with_somebody_at_standard_input",
        recording::py_talks_with_somebody_at_standard_input,
    ),
    ("py_says_what_is_wrong_with_a_script", recording::py_says_what_is_wrong_with_a_script),
    (
        "until_failure_stops_at_the_first_run_that_fails",
        recording::until_failure_stops_at_the_first_run_that_fails,
    ),
    ("a_text_on_one_line_is_debugged_like_a_script", a_text_on_one_line_is_debugged_like_a_script),
    ("the_first_line_of_a_script_can_be_stopped_at", the_first_line_of_a_script_can_be_stopped_at),
    (
        "a_breakpoint_is_named_also_when_it_is_reached_backwards",
        a_breakpoint_is_named_also_when_it_is_reached_backwards,
    ),
    ("what_is_watched_begins_once", what_is_watched_begins_once),
    ("a_handler_begins_at_its_own_line", a_handler_begins_at_its_own_line),
    (
        "a_script_of_commands_ends_with_the_code_of_its_last_one",
        a_script_of_commands_ends_with_the_code_of_its_last_one,
    ),
    ("mistakes_in_commands_are_answered", mistakes_in_commands_are_answered),
    ("what_is_no_trace_is_refused", what_is_no_trace_is_refused),
    (
        "a_recording_that_was_cut_off_is_debugged_up_to_there",
        a_recording_that_was_cut_off_is_debugged_up_to_there,
    ),
    ("a_closed_pipe_is_quiet", a_closed_pipe_is_quiet),
    (
        "real_work_is_replayed_without_a_divergence",
        recording::real_work_is_replayed_without_a_divergence,
    ),
    (
        "states_of_python_are_the_same_by_seek_and_from_the_start",
        recording::states_of_python_are_the_same_by_seek_and_from_the_start,
    ),
    (
        "every_change_of_a_value_is_found_in_both_directions",
        searches::every_change_of_a_value_is_found_in_both_directions,
    ),
    (
        "every_change_in_memory_is_found_in_both_directions",
        searches::every_change_in_memory_is_found_in_both_directions,
    ),
    ("what_is_interrupted_changes_nothing", searches::what_is_interrupted_changes_nothing),
    (
        "an_interrupt_takes_a_search_back_to_where_it_began",
        an_interrupt_takes_a_search_back_to_where_it_began,
    ),
];

/// Those that need a terminal.
#[cfg(target_os = "linux")]
const TERMINAL_TESTS: &[(&str, fn())] = &[
    ("at_a_terminal_it_asks_and_answers", at_terminal::it_asks_and_answers),
    ("at_a_terminal_ctrl_c_ends_a_search", at_terminal::ctrl_c_ends_a_search),
];
#[cfg(not(target_os = "linux"))]
const TERMINAL_TESTS: &[(&str, fn())] = &[];

fn main() {
    let arguments = Arguments::from_args();
    let mut trials = Vec::new();
    for script in scripts() {
        let name = script.file_stem().unwrap().to_str().unwrap().to_owned();
        trials.push(Trial::test(format!("examples::{name}"), move || scenario(&script)));
    }
    for (name, test) in TESTS.iter().chain(TERMINAL_TESTS) {
        trials.push(Trial::test(*name, || {
            test();
            Ok(())
        }));
    }
    libtest_mimic::run(&arguments, trials).exit();
}

fn examples() -> PathBuf {
    root().join("examples/debug")
}

/// The scripts of commands among the examples.
fn scripts() -> Vec<PathBuf> {
    let all = std::fs::read_dir(examples()).unwrap().map(|entry| entry.unwrap().path());
    let mut scripts: Vec<PathBuf> =
        all.filter(|p| p.extension().is_some_and(|e| e == "dbg")).collect();
    scripts.sort();
    scripts
}

// The examples.

/// The command that records an example: its script says it in its first line.
fn recorded_with(script: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(script).unwrap();
    let first = text.lines().next().and_then(|line| line.strip_prefix("# Recorded with: wrr "));
    let command = first.unwrap_or_else(|| {
        panic!("{} does not begin with # Recorded with: wrr ...", script.display())
    });
    command.split(' ').map(str::to_owned).collect()
}

fn copy_example(name: &str, folder: &Path) {
    std::fs::copy(examples().join(name), folder.join(name)).unwrap();
}

fn scenario(script: &Path) -> Result<(), Failed> {
    scrubber::the_scrubber_takes_only_what_differs();
    let name = script.file_stem().unwrap().to_str().unwrap();
    let folder = scratch();
    let folder = folder.path();
    let command = recorded_with(script);
    let program = command.last().unwrap();
    copy_example(program, folder);
    copy_example(&format!("{name}.dbg"), folder);
    let recorded = finish(wrr(folder).args(&command), b"");
    let code = recorded.status.code();
    assert!(matches!(code, Some(0 | 1)), "{}", text(&recorded.stderr));
    let shown = folder.join("shown");
    // One file, so that what is said and what is wrong come in their order.
    let both = File::create(&shown).unwrap();
    let mut debug = wrr(folder);
    debug.args(["debug", &format!("{name}.wrr"), "-x", &format!("{name}.dbg")]);
    debug.stdin(Stdio::null()).stdout(both.try_clone().unwrap()).stderr(both);
    assert!(debug.status().unwrap().code().is_some());
    let shown = std::fs::read_to_string(shown).unwrap();
    // A small program has the same ticks and addresses in every run.
    let is_scrubbed = program.ends_with(".py");
    let lines = shown.lines().map(|l| if is_scrubbed { scrubbed(l) } else { l.to_owned() });
    let found: String = lines.map(|line| line + "\n").collect();
    let path = script.with_extension("golden");
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&path, found).unwrap();
        return Ok(());
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    match first_difference(&expected, &found) {
        None => Ok(()),
        Some(difference) => {
            Err(format!("{name}.golden differs (BLESS=1 accepts it): {difference}").into())
        }
    }
}

/// Where two texts differ first, with some lines before.
fn first_difference(expected: &str, found: &str) -> Option<String> {
    if expected == found {
        return None;
    }
    let (expected, found): (Vec<_>, Vec<_>) = (expected.lines().collect(), found.lines().collect());
    let same = expected.iter().zip(&found).take_while(|(e, f)| e == f).count();
    let part = |lines: &[&str], from: usize, to: usize| {
        lines[from.min(lines.len())..to.min(lines.len())].join("\n")
    };
    Some(format!(
        "at line {}, after\n{}\nexpected:\n{}\nfound:\n{}",
        same + 1,
        part(&expected, same.saturating_sub(8), same),
        part(&expected, same, same + 8),
        part(&found, same, same + 8),
    ))
}

// What the other tests share.

/// A finished recording of an example, or of a text; by its name, which is the same as the program's.
fn recording_of(folder: &Path, name: &str, program: &str, code: i32) -> PathBuf {
    std::fs::write(folder.join(format!("{name}.py")), program).unwrap();
    expect_code(&finish(wrr(folder).args(["py", &format!("{name}.py")]), b""), code);
    folder.join(format!("{name}.wrr"))
}

/// A folder with the recorded example of objects, made once; each test gets its own copy.
fn objects() -> tempfile::TempDir {
    static RECORDED: OnceLock<Vec<u8>> = OnceLock::new();
    let trace = RECORDED.get_or_init(|| {
        let folder = scratch();
        let program = std::fs::read_to_string(examples().join("objects.py")).unwrap();
        std::fs::read(recording_of(folder.path(), "objects", &program, 1)).unwrap()
    });
    let folder = scratch();
    std::fs::write(folder.path().join("objects.wrr"), trace).unwrap();
    folder
}

/// Carries out commands; gives what came.
fn debugged(folder: &Path, trace: &str, commands: &str) -> Output {
    finish(wrr(folder).args(["debug", trace, "-x", "-"]), commands.as_bytes())
}

/// What came of commands that all went well.
#[track_caller]
fn shown(folder: &Path, trace: &str, commands: &str) -> String {
    let output = debugged(folder, trace, commands);
    expect_code(&output, 0);
    assert_eq!(text(&output.stderr), "");
    text(&output.stdout)
}

/// The lines that name a place, a reason or a value: without the program's text, and without times.
fn essence(shown: &str) -> Vec<String> {
    let is_text = |line: &&str| {
        let rest = line.trim_start().trim_start_matches(|c: char| c.is_ascii_digit());
        line.starts_with(' ') && (rest.is_empty() || rest.starts_with("  "))
    };
    let lines = shown.lines().skip(1).filter(|line| !is_text(line));
    lines.map(scrubbed).collect()
}

#[track_caller]
fn expect_in_order(shown: &str, parts: &[&str]) {
    let mut rest = shown;
    for part in parts {
        let Some(at) = rest.find(part) else { panic!("{part:?} should come in: {shown}") };
        rest = &rest[at + part.len()..];
    }
}

/// A debugger on the recorded example of objects.
fn with_objects(test: impl Fn(&mut dyn FnMut() -> Debugger<'static>)) {
    let folder = objects();
    let cache = CodeCache::in_dir(&root().join("target/test-cache"));
    let trace = Trace::open(&folder.path().join("objects.wrr")).unwrap().with(Some(cache), &());
    // It lives as long as the test binary, which makes lifetimes simple.
    let trace: &'static Trace<'static> = Box::leak(Box::new(trace));
    test(&mut || Debugger::new(trace.walk(std::sync::Arc::default()).unwrap()).unwrap());
}

// Evaluating.

/// What a curious person might type.
const EVALUATIONS: &[&str] = &[
    "1 + 1",
    "shop.boxes[3]",
    "len(shop.boxes)",
    "shop.boxes.clear()",
    "shop.boxes[0].value = 17",
    "global LEFT; LEFT = [1] * 10000",
    "import random, json; json.dumps(random.random())",
    "import time; time.sleep(0); time.time_ns()",
    "print('printed', flush=True)",
    "1 / 0",
    "open('/nothing/there')",
    "open('/objects.py').read()",
    "sum(i * i for i in range(20000))",
    "raise SystemExit(3)",
    ")(",
    "def f(n): return f(n + 1)\nf(0)",
    "main.__code__ = (lambda: None).__code__",
    "import sys; sys.setrecursionlimit(50); sys.modules.clear()",
    "[].__class__.__name__",
    "'x' * 100000",
];

fn evaluating_leaves_the_run_as_it_was() {
    with_objects(|debugger| {
        let (mut curious, mut quiet) = (debugger(), debugger());
        for moment in ["31%", "end"] {
            let moment: Moment = moment.parse().unwrap();
            for debugger in [&mut curious, &mut quiet] {
                debugger.go(&moment).unwrap();
            }
            for source in EVALUATIONS {
                let before = (curious.walker().position(), curious.walker().state_hash().unwrap());
                let came = curious.evaluate(source);
                let after = (curious.walker().position(), curious.walker().state_hash().unwrap());
                assert_eq!(before, after, "{source} at {moment:?}: {came:?}");
                curious.locals().unwrap();
            }
            for direction in [Direction::Backward, Direction::Forward] {
                let [one, other] = [&mut curious, &mut quiet].map(|debugger| {
                    debugger.step(direction).unwrap();
                    debugger.step(direction).unwrap();
                    (debugger.walker().position(), debugger.walker().state_hash().unwrap())
                });
                assert_eq!(one, other, "{direction:?} from {moment:?}");
            }
        }
    });
}

fn evaluating_that_never_ends_can_be_interrupted() {
    let folder = objects();
    let cache = CodeCache::in_dir(&root().join("target/test-cache"));
    let trace = Trace::open(&folder.path().join("objects.wrr")).unwrap().with(Some(cache), &());
    let interrupt = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let mut debugger =
        Debugger::new(trace.walk(std::sync::Arc::clone(&interrupt)).unwrap()).unwrap();
    let before = (debugger.walker().position(), debugger.walker().state_hash().unwrap());
    interrupt.store(true, std::sync::atomic::Ordering::Relaxed);
    let came = debugger.evaluate("while True: pass").map(|value| value.came);
    assert!(
        matches!(came, Ok(Evaluated::Failed(_) | Evaluated::Raised { .. }) | Err(_)),
        "{came:?}"
    );
    interrupt.store(false, std::sync::atomic::Ordering::Relaxed);
    debugger.walker().clear_interrupt();
    let after = (debugger.walker().position(), debugger.walker().state_hash().unwrap());
    assert_eq!(before, after);
    let arrived = debugger.step(Direction::Forward).unwrap();
    assert_eq!((arrived.why, arrived.has_moved), (Why::Asked, true));
}

// Notes.

fn numbers_and_names_are_kept_for_other_sessions() {
    let folder = objects();
    let folder = folder.path();
    shown(
        folder,
        "objects.wrr",
        "go crash\nprint wrong[0]\nmark bad\nbstep\nmark before\nprint shop\n",
    );
    assert!(folder.join("objects.wrr.notes").exists());
    let second = shown(
        folder,
        "objects.wrr",
        "info marks\ninfo objects\ngo @bad\nprint $1.value\nprint $2.boxes.index($1)\nprint wrong[0]\n",
    );
    expect_in_order(
        &second,
        &[
            "@bad\n",
            "@before\n",
            "$1 Box,",
            "$2 Shop,",
            "/objects.py:36 in main\n",
            "print $1.value\n85\n",
            "index($1)\n42\n",
            "wrong[0]\n$1 = <",
        ],
    );
    let json = finish(wrr(folder).args(["verify", "objects.wrr"]), b"");
    expect_code(&json, 0);
}

fn a_numbered_object_is_refused_where_it_does_not_live() {
    let program = "import gc\n\n\nclass Box:\n    pass\n\n\ndef use():\n    box = Box()\n    box.size = 3\n    return box.size\n\n\nuse()\nprint('used')\nlater = [Box() for _ in range(50)]\nprint('end')\n";
    let folder = scratch();
    let folder = folder.path();
    recording_of(folder, "life", program, 0);
    let lines = "tbreak life.py:11\ncontinue\nprint box\nprint $1.size\ngo start\nprint $1\ngo end\nprint $1\nprint $7\nwatch $1\n";
    let output = debugged(folder, "life.wrr", lines);
    expect_code(&output, 2);
    expect_in_order(
        &text(&output.stdout),
        &["print box\n", "$1 = <__main__.Box object", "print $1.size\n", "3\n"],
    );
    let errors = text(&output.stderr);
    let errors: Vec<&str> = errors.lines().collect();
    assert_eq!(errors.len(), 4, "{errors:?}");
    assert!(errors[0].starts_with("error: $1 does not exist yet: "), "{errors:?}");
    assert!(errors[1].starts_with("error: $1 does not exist any more: "), "{errors:?}");
    assert_eq!(errors[2], "error: there is no $7: print gives numbers to objects");
    assert!(errors[3].starts_with("error: $1 does not exist any more: "), "{errors:?}");
}

fn damaged_notes_are_named_and_the_debugger_goes_on() {
    let folder = objects();
    let folder = folder.path();
    shown(folder, "objects.wrr", "mark here\n");
    let path = folder.join("objects.wrr.notes");
    let good = std::fs::read(&path).unwrap();
    let flipped = |at: usize| {
        let mut bytes = good.clone();
        bytes[at] ^= 0x10;
        bytes
    };
    let mut cases = vec![Vec::new(), good[..10].to_vec(), good[..good.len() - 1].to_vec()];
    cases.extend([0, 8, 20, 50, good.len() - 1].map(flipped));
    cases.push([&good[..], b"more"].concat());
    for bytes in cases {
        std::fs::write(&path, &bytes).unwrap();
        let output = debugged(folder, "objects.wrr", "info marks\ngo crash\n");
        expect_code(&output, 0);
        let warning = text(&output.stderr);
        assert!(warning.starts_with("warning: objects.wrr.notes: "), "{warning:?} of {bytes:?}");
        assert_eq!(warning.lines().count(), 1, "{warning}");
        expect_in_order(&text(&output.stdout), &["no marks\n", "/objects.py:36 in main\n"]);
        // Looking is no reason to write over what somebody may want to save.
        assert_eq!(std::fs::read(&path).unwrap(), bytes);
    }
    std::fs::write(&path, &good).unwrap();
    assert!(shown(folder, "objects.wrr", "info marks\n").contains("@here\n"));
}

fn notes_about_another_run_are_none() {
    let folder = objects();
    let folder = folder.path();
    shown(folder, "objects.wrr", "mark here\n");
    recording_of(folder, "other", "x = 1\nprint(x)\n", 0);
    std::fs::rename(folder.join("objects.wrr.notes"), folder.join("other.wrr.notes")).unwrap();
    assert!(shown(folder, "other.wrr", "info marks\n").contains("no marks\n"));
}

/// A folder at the place of the file, which not even the superuser can write to.
fn notes_that_cannot_be_written_are_no_obstacle() {
    let folder = objects();
    let folder = folder.path();
    std::fs::create_dir(folder.join("objects.wrr.notes")).unwrap();
    let output = debugged(folder, "objects.wrr", "mark here\ngo end\ngo @here\ninfo marks\n");
    expect_code(&output, 0);
    expect_in_order(
        &text(&output.stdout),
        &["go @here\n", "/objects.py:4 in <module>\n", "@here\n"],
    );
    let warnings = text(&output.stderr);
    assert!(warnings.lines().all(|line| line.starts_with("warning: ")), "{warnings}");
    assert!(warnings.contains("names and numbers of this session are not kept"), "{warnings}");
    let left: Vec<_> = tree(folder).into_keys().collect();
    assert_eq!(left, ["objects.wrr", "objects.wrr.notes"], "nothing half-written is left");
}

// Small programs, where every place can be named.

fn a_text_on_one_line_is_debugged_like_a_script() {
    let folder = scratch();
    let folder = folder.path();
    expect_code(&finish(wrr(folder).args(["py", "-c", "x = 1; print(x)"]), b""), 0);
    let shown = shown(folder, "python.wrr", "print 6 * 7\ngo end\nprint x\n");
    expect_in_order(
        &shown,
        &[
            "<string>:1 in <module>\n",
            "    1 > x = 1; print(x)\n",
            "\n42\n",
            "<string>:1 in <module>\n",
            "\n1\n",
        ],
    );
}

fn the_first_line_of_a_script_can_be_stopped_at() {
    let folder = scratch();
    let folder = folder.path();
    recording_of(folder, "first", "x = 1\nx = 2\nprint(x)\n", 0);
    let found =
        shown(folder, "first.wrr", "go end\nbreak first.py:1\nbcontinue\nstep\nbstep\nbstep\n");
    assert_eq!(
        essence(&found),
        [
            "/first.py:1 in <module>",
            "    1 > x = 1",
            "(T) go end",
            "/first.py:3 in <module>",
            "    3 > print(x)",
            "(T) break first.py:1",
            "breakpoint 1 at first.py:1",
            "(T) bcontinue",
            "breakpoint 1",
            "/first.py:1 in <module>",
            "    1 > x = 1",
            "(T) step",
            "/first.py:2 in <module>",
            "    2 > x = 2",
            "(T) bstep",
            "/first.py:1 in <module>",
            "    1 > x = 1",
            "(T) bstep",
            "nothing found; position unchanged",
            "/first.py:1 in <module>",
            "    1 > x = 1",
        ]
    );
}

fn a_breakpoint_is_named_also_when_it_is_reached_backwards() {
    let folder = scratch();
    let folder = folder.path();
    let program = "\ndef f(n):\n    return n\n\n\nf(1)\nf(2)\nfor i in range(1000):\n    i += 1\n";
    recording_of(folder, "calls", program, 0);
    let found = shown(
        folder,
        "calls.wrr",
        "go end\nbreak f\nbcontinue\nprint n\nbcontinue\nprint n\ninfo breakpoints\nbcontinue\n",
    );
    expect_in_order(
        &found,
        &[
            "bcontinue\nbreakpoint 1\n/calls.py:3 in f\n",
            "print n\n2\n",
            "bcontinue\nbreakpoint 1\n/calls.py:3 in f\n",
            "print n\n1\n",
            "1 f: 2 hits\n",
            "bcontinue\nthe start of the run\n",
        ],
    );
}

fn what_is_watched_begins_once() {
    let folder = scratch();
    let folder = folder.path();
    let program = "\nitems = []\nfor i in range(3):\n    items.append(i)\nprint(items)\n";
    recording_of(folder, "items", program, 0);
    let found = shown(folder, "items.wrr", "go end\nwatch len(items)\nbc\nbc\nbc\nbc\nbc\nbc\n");
    let reasons: Vec<&str> = found
        .lines()
        .filter(|line| line.starts_with("watchpoint 1: ") || line.starts_with("the start"))
        .collect();
    // Before the program's variables there is nothing of it, also where others stood at their place.
    assert_eq!(
        reasons[..5],
        [
            "watchpoint 1: len(items): 3",
            "watchpoint 1: len(items): 2 -> 3",
            "watchpoint 1: len(items): 1 -> 2",
            "watchpoint 1: len(items): 0 -> 1",
            "watchpoint 1: len(items): <NameError: name 'items' is not defined> -> 0",
        ]
    );
    let others: Vec<&str> =
        found.lines().filter(|line| line.contains("_frozen_importlib")).collect();
    assert_eq!(others, Vec::<&str>::new(), "{found}");
    assert_eq!(reasons.last(), Some(&"the start of the run"), "{found}");
}

fn a_handler_begins_at_its_own_line() {
    let folder = scratch();
    let folder = folder.path();
    let program = "\ndef f(x):\n    try:\n        y = 1 / x\n    except ZeroDivisionError:\n        y = 0\n    return y\n\n\nf(0)\n";
    recording_of(folder, "caught", program, 0);
    let found = shown(
        folder,
        "caught.wrr",
        "tbreak f\ncontinue\nstep\nstep\nstep\nstep\nbstep\nbstep\nbstep\n",
    );
    let found = essence(&found);
    let places: Vec<&str> =
        found.iter().filter_map(|line| line.strip_prefix("/caught.py:")).collect();
    let expected = ["2", "3", "4", "5", "6", "7", "6", "5", "4"].map(|line| match line {
        "2" => "2 in <module>".to_owned(),
        line => format!("{line} in f"),
    });
    assert_eq!(places, expected);
}

// Mistakes.

fn a_script_of_commands_ends_with_the_code_of_its_last_one() {
    let folder = objects();
    for (commands, code) in [
        ("", 0),
        ("foo\ngo end\n", 0),
        ("go end\nfoo\n", 2),
        ("foo\nquit\n", 2),
        ("quit\nfoo\n", 0),
    ] {
        let output = debugged(folder.path(), "objects.wrr", commands);
        assert_eq!(output.status.code(), Some(code), "{commands:?}");
    }
}

fn mistakes_in_commands_are_answered() {
    let folder = objects();
    for (command, answer) in [
        ("foo", "there is no command \"foo\"; help lists them"),
        ("print )(", "unmatched ')'"),
        ("print", "what? print EXPRESSION"),
        ("break 1000", "/objects.py has 39 lines"),
        ("break objects.py:0", "\"0\" is no line number"),
        ("go nowhere", "\"nowhere\" is no moment"),
        ("go @nowhere", "@nowhere: nothing in the recording has a name"),
        ("go 99999999999", "99999999999"),
        ("step x", "\"x\" is no number"),
        ("frame 7", "there is no such frame; backtrace lists them"),
        ("delete 7", "there is no breakpoint 7"),
        ("ignore 7 1", "there is no breakpoint 7"),
        ("info everything", "info about what?"),
        ("x/4xw 4294967295", "the memory has"),
        ("x hello", "that is no address"),
        ("watch *1:0", "between 1 and"),
        ("mark two words", "a name has no spaces in it"),
        ("help foo", "there is no command \"foo\""),
    ] {
        let output = debugged(folder.path(), "objects.wrr", &format!("{command}\n"));
        expect_code(&output, 2);
        let said = text(&output.stderr);
        assert!(said.starts_with("error: ") && said.contains(answer), "{command}: {said}");
        assert_eq!(said.lines().count(), 1, "{command}: {said}");
    }
}

fn what_is_no_trace_is_refused() {
    let folder = scratch();
    let folder = folder.path();
    std::fs::write(folder.join("notes.txt"), "my notes").unwrap();
    for (arguments, words) in [
        (&["debug", "none.wrr"][..], "error: none.wrr: cannot open: "),
        (&["debug", "notes.txt"], "error: notes.txt: not a wrr trace"),
    ] {
        let output = finish(wrr(folder).args(arguments), b"go end\n");
        expect_code(&output, 2);
        assert!(text(&output.stderr).starts_with(words), "{}", text(&output.stderr));
        assert_eq!(text(&output.stdout), "");
    }
    let objects = objects();
    for (arguments, words) in [
        (&["debug", "objects.wrr", "-x", "none.dbg"][..], "error: cannot read none.dbg: "),
        (&["debug", "objects.wrr", "--goto", "nowhere"], "error: \"nowhere\" is no moment"),
    ] {
        let output = finish(wrr(objects.path()).args(arguments), b"");
        expect_code(&output, 2);
        assert!(text(&output.stderr).starts_with(words), "{}", text(&output.stderr));
    }
}

fn a_recording_that_was_cut_off_is_debugged_up_to_there() {
    let folder = scratch();
    let folder = folder.path();
    let program = "\nimport sys\ntotal = 0\nfor i in range(2000):\n    total += i\n    print('line', i, flush=True)\nprint(total)\n";
    let path = recording_of(folder, "long", program, 0);
    let whole = std::fs::read(&path).unwrap();
    // Its last chunks are gone, as after `kill -9`: all up to its ending.
    let ends = |cut: &usize| {
        std::fs::write(&path, &whole[..whole.len() - cut]).unwrap();
        Trace::open(&path).unwrap().reader().ending().is_none()
    };
    assert!((0..2000).step_by(8).any(|cut| ends(&cut)), "its ending is at its end");
    let found = shown(
        folder,
        "long.wrr",
        "go end\nprint i > 0, total == sum(range(i)) or total == sum(range(i + 1))\noutput 1\nbstep\nbstep\n",
    );
    expect_in_order(
        &found,
        &[
            "the recording was cut off\n",
            "go end\n/long.py:",
            "(True, True)\n",
            "output 1\n",
            "bstep\n/long.py:",
            "bstep\n/long.py:",
        ],
    );
    for length in [0, 7, 100, 1 << 20] {
        std::fs::write(&path, &whole[..length]).unwrap();
        let output = debugged(folder, "long.wrr", "go end\n");
        expect_code(&output, 2);
        assert!(
            text(&output.stderr).starts_with("error: long.wrr: "),
            "{length} bytes: {}",
            text(&output.stderr)
        );
    }
}

fn a_closed_pipe_is_quiet() {
    let folder = objects();
    let mut command = wrr(folder.path());
    command.args(["debug", "objects.wrr"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut first = String::new();
    BufReader::with_capacity(16, child.stdout.take().unwrap()).read_line(&mut first).unwrap();
    assert!(first.starts_with("python.wasm "), "{first}");
    // Nobody reads any more.
    let mut stdin = child.stdin.take().unwrap();
    let _ = stdin.write_all("help\ngo end\nbacktrace\n".repeat(20).as_bytes());
    drop(stdin);
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!(said, "");
    child.wait().unwrap();
}

// Interrupts.

/// A program in which a search with a condition takes very long: every call has to be asked about.
const SLOW_SEARCH: &str =
    "\ndef f(n):\n    return n\n\n\nfor i in range(30000):\n    f(i)\nprint('end')\n";
const SLOW_COMMANDS: &str = "break f if n < 0\ngo end\nwhen\nbcontinue\n";

#[cfg(unix)]
fn an_interrupt_takes_a_search_back_to_where_it_began() {
    if ignored_here(2) {
        return;
    }
    let folder = scratch();
    let folder = folder.path();
    recording_of(folder, "slow", SLOW_SEARCH, 0);
    let mut command = wrr(folder);
    command.args(["debug", "slow.wrr"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    stdin.write_all(SLOW_COMMANDS.as_bytes()).unwrap();
    let mut shown = String::new();
    // It is shown before it is carried out.
    while !shown.ends_with(") bcontinue\n") {
        assert!(stdout.read_line(&mut shown).unwrap() > 0, "it ended with: {shown}");
    }
    let killed =
        std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status();
    assert!(killed.unwrap().success());
    stdin.write_all(b"when\nprint i\n").unwrap();
    drop(stdin);
    stdout.read_to_string(&mut shown).unwrap();
    expect_in_order(&shown, &[") bcontinue\n", "interrupted; nothing has changed\n", "29999\n"]);
    let times: Vec<&str> = shown.lines().filter(|line| line.starts_with("tick ")).collect();
    assert_eq!(times.len(), 2, "{shown}");
    assert_eq!(times[0], times[1]);
    expect_code(&child.wait_with_output().unwrap(), 0);
}

#[cfg(not(unix))]
fn an_interrupt_takes_a_search_back_to_where_it_began() {}
