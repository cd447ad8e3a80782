//! `--fs overlay`, `--commit-fs` and `wrr fs`: what a program does to files is private, goes back, goes on, and can be applied.

use crate::support::*;
use std::path::{Path, PathBuf};
use std::process::Output;
use wrr::format::TraceReader;

/// A folder with a program's folder in it.
struct World {
    folder: tempfile::TempDir,
    module: String,
}

impl World {
    fn new() -> World {
        let folder = scratch();
        let work = folder.path().join("work");
        std::fs::create_dir(&work).unwrap();
        std::fs::write(work.join("a"), "below").unwrap();
        std::fs::create_dir(work.join("d")).unwrap();
        std::fs::write(work.join("d/b"), "0123456789".repeat(2000)).unwrap();
        World { folder, module: guest("file_shell").module.display().to_string() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn wrr(&self, arguments: &[&str], stdin: &str, code: i32) -> Output {
        let output = finish(wrr(self.folder.path()).args(arguments), stdin.as_bytes());
        expect_code(&output, code);
        output
    }

    fn out(&self, arguments: &[&str]) -> String {
        text(&self.wrr(arguments, "", 0).stdout)
    }

    fn error(&self, arguments: &[&str]) -> String {
        let error = text(&self.wrr(arguments, "", 2).stderr);
        assert!(error.starts_with("error: "), "{error}");
        error
    }

    /// Runs these commands with more options.
    fn shell(&self, how: &[&str], commands: &str, code: i32) -> Output {
        let program = ["--dir", "work::/work", self.module.as_str()];
        self.wrr(&[how, &program].concat(), commands, code)
    }

    fn record(&self, commands: &str) -> Output {
        self.shell(&["record", "--fs", "overlay", "-o", "t.wrr"], commands, 0)
    }

    fn tree(&self) -> Vec<(String, String)> {
        tree(&self.path("work")).into_iter().collect()
    }
}

/// The number of the event that deals with a path in this way, counted from the last one.
fn event(trace: &Path, function: &str, path: &str) -> u64 {
    let reader = TraceReader::open(trace).unwrap();
    let events = reader.events().unwrap().map(Result::unwrap);
    let found = events.filter(|event| {
        let names = format!("{:?}", event.call.input);
        let bytes = format!("{:?}", path.as_bytes());
        event.call.function.name() == function && names.contains(bytes.trim_matches(['[', ']']))
    });
    found.last().unwrap_or_else(|| panic!("no {function} of {path}")).index.0
}

const COMMANDS: &str = "write new text\nappend a  and above\nmv d e\nappend e/b !\nwrite e/c x\n\
                        mkdir f\nrm e/c\ncat a\nls e\n";

#[test]
fn changes_are_listed_at_every_moment_and_applied_when_that_is_asked_for() {
    let world = World::new();
    let before = world.tree();
    let recorded = world.record(COMMANDS);
    assert_eq!(text(&recorded.stdout), "below and above\nb\n");
    assert_eq!(world.tree(), before, "the folder stays as it was");
    let said = text(&recorded.stderr);
    assert!(said.contains("wrr fs diff t.wrr") && said.contains("--dir work::/work"), "{said}");

    let whole = "M /work/a  5 B -> 15 B\nR /work/e/  from /work/d/\nM /work/e/b  20,000 B -> 20,001 B\n\
                 A /work/f/\nA /work/new  4 B\n";
    let diff = world.out(&["fs", "diff", "t.wrr"]);
    assert_eq!(diff, whole);
    let renamed = event(&world.path("t.wrr"), "path_rename", "d");
    let at = |event: u64| world.out(&["fs", "diff", "t.wrr", "--at", &format!("#{event}")]);
    assert_eq!(at(0), "");
    assert_eq!(at(renamed), "M /work/a  5 B -> 15 B\nA /work/new  4 B\n");
    assert_eq!(
        at(renamed + 1),
        "M /work/a  5 B -> 15 B\nR /work/e/  from /work/d/\nA /work/new  4 B\n"
    );
    let json = world.out(&["fs", "diff", "t.wrr", "--json"]);
    let rows: Vec<serde_json::Value> =
        json.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((rows.len(), &rows[0]["change"], &rows[0]["old_size"]), (5, &"M".into(), &5.into()));
    assert_eq!(rows[1]["from"], "/work/d");

    // A moment in the middle can be applied, and the end after that is a conflict.
    let here = world.path("work");
    let copy = world.path("copy");
    copy_tree(&here, &copy);
    let applied = world.out(&["fs", "commit", "t.wrr", "--dir", "work::/work"]);
    assert_eq!(applied, "applied: 3 written, 1 made, 1 moved\n");
    let then = world.tree();
    let names: Vec<&str> = then.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["a", "e", "e/b", "f", "new"]);
    assert_eq!((then[0].1.as_str(), then[4].1.as_str()), ("below and above", "text"));
    assert_eq!(then[2].1, "0123456789".repeat(2000) + "!");
    let conflict = world.error(&["fs", "commit", "t.wrr", "--dir", "work::/work"]);
    assert!(
        conflict.contains("nothing was applied") && conflict.contains("- /work/d/b\n"),
        "{conflict}"
    );
    assert_eq!(world.tree(), then);

    std::fs::remove_dir_all(&here).unwrap();
    copy_tree(&copy, &here);
    let stat = ["fs", "commit", "t.wrr", "--at", &format!("#{renamed}"), "--dir", "work::/work"];
    let conflict = world.error(&stat);
    assert!(conflict.contains("/work/a"), "a copy has other times: {conflict}");
}

#[test]
fn a_clean_exit_applies_and_another_one_does_not() {
    for (exit, code) in [("", 0), ("exit 0\n", 0), ("exit 3\n", 3)] {
        for what in ["run", "record"] {
            let world = World::new();
            let before = world.tree();
            let commands = format!("{COMMANDS}{exit}");
            let output = world.shell(&[what, "--fs", "overlay", "--commit-fs"], &commands, code);
            let said = text(&output.stderr);
            if code == 0 {
                assert_eq!(world.tree().len(), 5);
                assert_eq!(said, "wrr: applied to the folders: 3 written, 1 made, 1 moved\n");
            } else {
                assert_eq!(world.tree(), before);
                assert!(said.contains("5 changes to files"), "{said}");
            }
            let left = std::fs::read_dir(world.path("work")).unwrap();
            assert!(
                !left.into_iter().any(|entry| {
                    entry.unwrap().file_name().to_string_lossy().starts_with(".wrr")
                })
            );
        }
    }
    let world = World::new();
    let refused = world.shell(&["run", "--commit-fs"], "", 2);
    assert!(text(&refused.stderr).contains("give --fs overlay as well"));
}

#[test]
fn what_others_change_meanwhile_is_a_conflict_and_what_they_change_elsewhere_is_not() {
    let world = World::new();
    world.record(COMMANDS);
    std::fs::write(world.path("work/other"), "other").unwrap();
    std::fs::write(world.path("work/d/another"), "another").unwrap();
    std::fs::write(world.path("work/new"), "somebody's").unwrap();
    let before = world.tree();
    let conflict = world.error(&["fs", "commit", "t.wrr", "--dir", "work::/work"]);
    assert!(conflict.ends_with("nothing was applied:\n  - /work/new\n"), "{conflict}");
    assert_eq!(world.tree(), before);
    std::fs::remove_file(world.path("work/new")).unwrap();
    world.out(&["fs", "commit", "t.wrr", "--dir", "work::/work"]);
    let names: Vec<String> = world.tree().into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["a", "e", "e/another", "e/b", "f", "new", "other"]);
}

#[test]
fn a_program_goes_back_with_its_files() {
    let commands = "append a  one\nmkdir x\nhold d/b\ncheckpoint here\nput ABC\nmv d/b x/y\nrm a\nrmdir d\n\
                    write z z\nrollback here\nls .\ncat a\nheld\nls x\n";
    let world = World::new();
    let recorded = world.record(commands);
    // Everything behind the checkpoint is done twice, and works twice; the second time it is not taken back.
    let rest = &"0123456789".repeat(2000)[3..];
    let expected = format!("attempt 1\nx z\nno such file\n{rest}\ny\n");
    assert_eq!(text(&recorded.stdout), expected);
    assert!(!text(&recorded.stderr).contains("taken back"), "{}", text(&recorded.stderr));
    assert_eq!(text(&world.wrr(&["replay", "t.wrr"], "", 0).stdout), expected);

    // Nothing is done to files between the checkpoint and going back but what is undone.
    let world = World::new();
    let commands = "append a  one\ncheckpoint here\ncat a\nappend a  two\nrollback here\n";
    let recorded = world.record(commands);
    assert_eq!(
        text(&recorded.stdout),
        "below one\nbelow one\nattempt 1\n",
        "the second time the file is as it was at the checkpoint"
    );
    assert_eq!(
        world.out(&["fs", "diff", "t.wrr"]),
        "M /work/a  5 B -> 13 B\n",
        "one, and two once"
    );
    // Without an overlay it is not.
    let world = World::new();
    let recorded = world.shell(&["record", "-o", "t.wrr"], commands, 0);
    assert_eq!(text(&recorded.stdout), "below one\nbelow one two\nattempt 1\n");
    assert!(text(&recorded.stderr).contains("/work/a was changed"), "{}", text(&recorded.stderr));
}

#[test]
fn a_recording_goes_on_with_its_files_and_needs_them() {
    let world = World::new();
    world.record(COMMANDS);
    let moment = format!("#{}", event(&world.path("t.wrr"), "path_rename", "d"));
    let on = ["resume", "t.wrr", "--at", &moment, "--dir", "work::/work", "-o", "on.wrr"];
    let resumed = world.wrr(&on, "", 0);
    assert_eq!(text(&resumed.stdout), "below and above\nb\n");
    let diff = world.out(&["fs", "diff", "t.wrr"]);
    assert_eq!(world.out(&["fs", "diff", "on.wrr"]), diff);
    world.wrr(&["verify", "on.wrr"], "", 0);
    // From there once more, and applied this time.
    let again = ["resume", "on.wrr", "--at", &moment, "--dir", "work::/work", "--commit-fs"];
    let applied = text(&world.wrr(&again, "", 0).stderr);
    assert_eq!(applied, "wrr: applied to the folders: 3 written, 1 made, 1 moved\n");
    assert_eq!(world.tree().len(), 5);

    let world = World::new();
    world.record(COMMANDS);
    let on = ["resume", "t.wrr", "--at", &moment, "--dir", "work::/work"];
    let refused = world.error(&[&on[..], &["--fs", "host"]].concat());
    assert!(refused.contains("--fs overlay") && refused.contains("wrr fs commit"), "{refused}");
    let missing = world.error(&["fs", "commit", "t.wrr"]);
    assert!(missing.contains("add --dir HOST::/work"), "{missing}");
    // A file is gone of which the program has changed a part.
    let late = format!("#{}", event(&world.path("t.wrr"), "path_create_directory", "f"));
    std::fs::write(world.path("work/d/b"), "short").unwrap();
    let on = ["resume", "t.wrr", "--at", &late, "--dir", "work::/work"];
    let changed = world.error(&on);
    assert!(changed.contains("/work/d/b is not what it was"), "{changed}");
    // A trace that has no overlay, or is none.
    world.shell(&["record", "-o", "host.wrr"], "ls .\n", 0);
    assert!(world.error(&["fs", "diff", "host.wrr"]).contains("has no overlay"));
    assert!(world.error(&["fs", "diff", "work/a"]).contains("not a wrr trace"));
    let on = [
        "resume",
        "host.wrr",
        "--at",
        "0%",
        "--dir",
        "work::/work",
        "--fs",
        "overlay",
        "-o",
        "o.wrr",
    ];
    world.wrr(&on, "", 0);
    assert_eq!(world.out(&["fs", "diff", "o.wrr"]), "");
}

#[test]
fn a_file_that_is_open_without_a_name_goes_on_as_well() {
    let world = World::new();
    let recorded = world.record("write t temporary\nhold t\nput TEM\nrm t\nmkdir x\nput P\nheld\n");
    assert_eq!(text(&recorded.stdout), "orary\n");
    let moment = format!("#{}", event(&world.path("t.wrr"), "path_create_directory", "x"));
    let on = ["resume", "t.wrr", "--at", &moment, "--dir", "work::/work", "-o", "on.wrr"];
    assert_eq!(text(&world.wrr(&on, "", 0).stdout), "orary\n");
    world.wrr(&["verify", "on.wrr"], "", 0);
    let world = World::new();
    world.shell(&["record", "-o", "t.wrr"], "write t temporary\nhold t\nrm t\nmkdir x\nheld\n", 0);
    let moment = format!("#{}", event(&world.path("t.wrr"), "path_create_directory", "x"));
    let refused = world.error(&["resume", "t.wrr", "--at", &moment, "--dir", "work::/work"]);
    assert!(refused.contains("the program had deleted or replaced it"), "{refused}");
}

#[test]
fn each_branch_has_files_of_its_own() {
    let world = World::new();
    let before = world.tree();
    world.record("append a  set up\nmkdir x\n");
    let moment = format!("#{}", event(&world.path("t.wrr"), "path_create_directory", "x") + 1);
    let branch = ["branch", "t.wrr", "--at", &moment, "--dir", "work::/work", "--to", "stdin"];
    let data =
        ["--with", "append a  one", "append a  two", "rm a", "--json", "--record-dir", "runs"];
    world.wrr(&[&branch[..], &data].concat(), "", 0);
    for (number, expected) in [
        ("0001", "M /work/a  5 B -> 16 B\nA /work/x/\n"),
        ("0002", "M /work/a  5 B -> 16 B\nA /work/x/\n"),
        ("0003", "D /work/a  5 B\nA /work/x/\n"),
    ] {
        let trace = format!("runs/{number}.wrr");
        world.wrr(&["verify", &trace], "", 0);
        assert_eq!(world.out(&["fs", "diff", &trace]), expected, "{number}");
    }
    assert_eq!(world.tree(), before);
    let output = world.wrr(&[&branch[..], &["--json", "--with", "cat a"]].concat(), "", 0);
    assert!(text(&output.stdout).contains("below set up\\n"), "{}", text(&output.stdout));
}

#[test]
fn two_deterministic_recordings_are_the_same_file() {
    let bytes = [World::new(), World::new()].map(|world| {
        let record = ["record", "--deterministic", "--fs", "overlay", "-o", "t.wrr"];
        world.shell(&record, COMMANDS, 0);
        std::fs::read(world.path("t.wrr")).unwrap()
    });
    assert!(bytes[0] == bytes[1]);
}

#[test]
fn a_trace_that_is_cut_off_has_the_files_of_its_events_and_a_damaged_one_is_refused() {
    let world = World::new();
    world.record(&COMMANDS.replace("cat a", "fill g 100000\ncat a"));
    let whole = std::fs::read(world.path("t.wrr")).unwrap();
    let head = whole.len() - 3000;
    let mut listed = 0;
    for len in (head..whole.len()).step_by(37) {
        std::fs::write(world.path("t.wrr"), &whole[..len]).unwrap();
        let output = finish(wrr(world.folder.path()).args(["fs", "diff", "t.wrr"]), b"");
        match output.status.code() {
            Some(0) => listed += text(&output.stdout).lines().count(),
            _ => expect_code(&output, 2),
        }
    }
    assert!(listed > 0);
    std::fs::write(world.path("t.wrr"), &whole).unwrap();
    let diff = world.out(&["fs", "diff", "t.wrr"]);
    let mut damaged = 0;
    for at in (head..whole.len()).step_by(13) {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x10;
        std::fs::write(world.path("t.wrr"), &bytes).unwrap();
        let output = finish(wrr(world.folder.path()).args(["fs", "diff", "t.wrr"]), b"");
        if output.status.code() == Some(0) {
            // It was in something that is not needed for this.
            assert_eq!(text(&output.stdout), diff);
        } else {
            expect_code(&output, 2);
            assert!(text(&output.stderr).contains("damaged"), "{}", text(&output.stderr));
            damaged += 1;
        }
    }
    assert!(damaged > 30, "{damaged}");
}
