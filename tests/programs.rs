//! Every small guest, in every mode. Dropping a program into `tests/programs` adds its tests.

mod support;

use libtest_mimic::{Arguments, Failed, Trial};
use std::collections::BTreeSet;
use std::path::Path;
use std::process::Output;
use support::*;
use wrr::format::{Ending, Function, TraceReader};

fn main() {
    let arguments = Arguments::from_args();
    let mut trials = Vec::new();
    for guest in all_guests() {
        let mut add = |what: &str, test: fn(&Guest)| {
            let guest = guest.clone();
            trials.push(Trial::test(format!("{}::{what}", guest.name), move || {
                test(&guest);
                Ok::<(), Failed>(())
            }));
        };
        add("runs_as_it_says", runs_as_it_says);
        add("replays_without_its_world", replays_without_its_world);
        add("seeks_and_resumes", seeks_and_resumes);
        if guest.dir.is_some() {
            add("does_the_same_in_an_overlay", does_the_same_in_an_overlay);
        }
        if !guest.nondeterministic {
            add(
                "deterministic_recordings_are_the_same_file",
                deterministic_recordings_are_the_same_file,
            );
        }
    }
    for guest in refused_guests() {
        trials.push(Trial::test(format!("refused::{}", guest.name), move || {
            is_refused_with_a_reason(&guest);
            Ok(())
        }));
    }
    trials.push(Trial::test("every_function_of_preview1_is_exercised", || {
        every_function_of_preview1_is_exercised();
        Ok(())
    }));
    libtest_mimic::run(&arguments, trials).exit();
}

#[track_caller]
fn check(guest: &Guest, output: &Output) {
    expect_code(output, guest.expected_code());
    if let Some(stdout) = &guest.stdout {
        assert_eq!(text(&output.stdout), text(stdout));
    }
}

fn runs_as_it_says(guest: &Guest) {
    let folder = scratch();
    check(guest, &run_guest(&["run"], guest, folder.path()));
    let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().collect();
    assert!(left.is_empty(), "`run` leaves nothing behind: {left:?}");
}

/// Record; then, with the guest's files gone and no input: replay, verify and look at it.
fn replays_without_its_world(guest: &Guest) {
    let folder = scratch();
    let recorded = run_guest(&["record", "-o", "t.wrr"], guest, folder.path());
    check(guest, &recorded);

    let empty = scratch();
    std::fs::rename(folder.path().join("t.wrr"), empty.path().join("t.wrr")).unwrap();
    drop(folder);
    let replayed = finish(wrr(empty.path()).args(["replay", "t.wrr"]), b"");
    expect_code(&replayed, guest.expected_code());
    assert_eq!(text(&replayed.stdout), text(&recorded.stdout));
    assert_eq!(text(&replayed.stderr), text(&recorded.stderr));

    expect_code(&finish(wrr(empty.path()).args(["verify", "t.wrr"]), b""), 0);
    let reader = TraceReader::open(&empty.path().join("t.wrr")).unwrap();
    match (&guest.trap, reader.ending()) {
        (Some(kind), Some(Ending::Trapped { kind: found })) => assert_eq!(found.name(), kind),
        (Some(kind), other) => panic!("expected the trap {kind}, the trace says {other:?}"),
        (None, Some(Ending::Exited { code })) => assert_eq!(*code as i32, guest.exit),
        (None, Some(Ending::Returned { .. })) => assert!(guest.invoke.is_some()),
        (None, other) => panic!("expected an exit, the trace says {other:?}"),
    }

    let lines = finish(wrr(empty.path()).args(["events", "t.wrr"]), b"");
    expect_code(&lines, 0);
    let json = finish(wrr(empty.path()).args(["events", "--json", "t.wrr"]), b"");
    expect_code(&json, 0);
    let count = reader.events().unwrap().count();
    assert_eq!(text(&lines.stdout).lines().count(), count);
    for (i, line) in text(&json.stdout).lines().enumerate() {
        let event: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!(event["event"], i);
    }
    let left: Vec<_> = std::fs::read_dir(empty.path()).unwrap().collect();
    assert_eq!(left.len(), 1, "a replay touches nothing: {left:?}");
}

fn deterministic_recordings_are_the_same_file(guest: &Guest) {
    let traces = [scratch(), scratch()].map(|folder| {
        let record = ["record", "--deterministic", "-o", "t.wrr"];
        let output = run_guest(&record, guest, folder.path());
        check(guest, &output);
        let replayed = finish(wrr(folder.path()).args(["replay", "t.wrr"]), b"");
        expect_code(&replayed, guest.expected_code());
        assert_eq!(text(&replayed.stdout), text(&output.stdout));
        std::fs::read(folder.path().join("t.wrr")).unwrap()
    });
    assert!(traces[0] == traces[1], "{} and {} bytes", traces[0].len(), traces[1].len());
    // To be compared with what other machines record. Compilers may make other modules there.
    if let Some(folder) = std::env::var_os("WRR_KEEP_RECORDINGS")
        && guest.module.extension().is_some_and(|extension| extension == "wat")
    {
        let trace = std::path::PathBuf::from(folder).join(format!("{}.wrr", guest.name));
        std::fs::write(trace, &traces[0]).unwrap();
    }
}

/// Every so often a checkpoint; then the state at many moments, by way of the checkpoints and from the start; the output
/// in two parts; and the run resumed live, which in its deterministic world does the same.
fn seeks_and_resumes(guest: &Guest) {
    let folder = scratch();
    let mode: &[&str] = if guest.nondeterministic { &[] } else { &["--deterministic"] };
    let record = |every: &str, trace: &str| {
        let options = ["record", "--checkpoint-every", every, "-o", trace];
        let output = run_guest(&[&options[..], mode].concat(), guest, folder.path());
        check(guest, &output);
        output
    };
    record("off", "off.wrr");
    let end = TraceReader::open(&folder.path().join("off.wrr")).unwrap().end_tick().unwrap().0;
    let recorded = record(&format!("{}ticks", end / 6 + 1), "t.wrr");
    let said = |arguments: &[&str], code: i32| {
        let output = finish(wrr(folder.path()).args(arguments), b"");
        expect_code(&output, code);
        output
    };
    said(&["verify", "t.wrr"], 0);
    let reader = TraceReader::open(&folder.path().join("t.wrr")).unwrap();
    let events = reader.events().unwrap().count() as u64;
    let end = reader.end_tick().unwrap().0;
    let mut moments = vec!["start".to_owned(), "end".to_owned(), "50%".to_owned()];
    moments.extend((0..3).map(|i| spread(i, end).to_string()));
    moments.extend((0..2).filter(|_| events > 0).map(|i| format!("#{}", spread(i, events - 1))));
    for moment in &moments {
        let state = |options: &[&str]| -> serde_json::Value {
            let arguments = [&["replay", "t.wrr", "--goto", moment, "--json"], options].concat();
            serde_json::from_slice(&said(&arguments, 0).stdout).unwrap()
        };
        let (mut near, mut far) = (state(&[]), state(&["--no-checkpoints"]));
        for state in [&mut near, &mut far] {
            state.as_object_mut().unwrap().remove("seek");
        }
        assert_eq!(near, far, "{moment}");
    }
    let middle = spread(1, end).to_string();
    let first = said(&["replay", "t.wrr", "--until", &middle], 0);
    let second = said(&["replay", "t.wrr", "--from", &middle], guest.expected_code());
    let both = [text(&first.stdout), text(&second.stdout)].concat();
    assert_eq!(both, text(&recorded.stdout));
    // With files of its own a resumed guest would find what it left behind itself.
    if !guest.nondeterministic && guest.dir.is_none() && guest.stdin.is_empty() {
        let resume = ["resume", "t.wrr", "--at", &middle, "-o", "resumed.wrr"];
        let resumed = said(&resume, guest.expected_code());
        assert_eq!(text(&resumed.stdout), text(&second.stdout));
        said(&["verify", "resumed.wrr"], 0);
        let again = said(&["replay", "resumed.wrr"], guest.expected_code());
        assert_eq!(text(&again.stdout), text(&recorded.stdout));
    }
}

/// What the guest does to files it does to a layer of its own; that goes on with it from any moment, and can be applied.
fn does_the_same_in_an_overlay(guest: &Guest) {
    let folder = scratch();
    let fixture = root().join("tests/programs/fixture");
    let world = |name: &str| {
        let work = folder.path().join(name);
        copy_tree(&fixture, &work);
        work
    };
    let run = |command: &[&str], work: &Path| {
        let places = [guest.module.display().to_string(), work.display().to_string()];
        let output = run_guest_by(wrr(folder.path()).args(command), guest, &places);
        check(guest, &output);
        output
    };
    let mode: &[&str] = if guest.nondeterministic { &[] } else { &["--deterministic"] };

    let untouched = world("untouched");
    let record = ["record", "--fs", "overlay", "--checkpoint-every", "off", "-o", "t.wrr"];
    let recorded = run(&[&record[..], mode].concat(), &untouched);
    assert_eq!(tree(&untouched), tree(&fixture), "the folder stays as it was");
    let said = |arguments: &[&str], code: i32| {
        let output = finish(wrr(folder.path()).args(arguments), b"");
        expect_code(&output, code);
        output
    };
    said(&["verify", "t.wrr"], 0);
    let replayed = said(&["replay", "t.wrr"], guest.expected_code());
    assert_eq!(text(&replayed.stdout), text(&recorded.stdout));

    let direct = world("direct");
    run(&["run"], &direct);
    let dir = |work: &Path| format!("{}::{}", work.display(), guest.dir.as_ref().unwrap());
    let applied = world("applied");
    let run_and_apply = ["run", "--fs", "overlay", "--commit-fs"];
    run(&run_and_apply, &applied);
    said(&["fs", "commit", "t.wrr", "--dir", &dir(&untouched)], 0);
    if guest.expected_code() == 0 {
        assert_eq!(tree(&applied), tree(&direct));
    }
    assert_eq!(tree(&untouched), tree(&direct));
    if guest.nondeterministic || !guest.stdin.is_empty() {
        return;
    }
    let again = world("again");
    let end = TraceReader::open(&folder.path().join("t.wrr")).unwrap().end_tick().unwrap().0;
    for i in 0..4 {
        let moment = spread(i, end).to_string();
        let second = said(&["replay", "t.wrr", "--from", &moment], guest.expected_code());
        let resume = ["resume", "t.wrr", "--at", &moment, "--dir", &dir(&again), "-o", "on.wrr"];
        let resumed = said(&resume, guest.expected_code());
        assert_eq!(text(&resumed.stdout), text(&second.stdout), "from tick {moment}");
        said(&["verify", "on.wrr"], 0);
        let diff = |trace| text(&said(&["fs", "diff", trace], 0).stdout);
        assert_eq!(diff("on.wrr"), diff("t.wrr"), "from tick {moment}");
    }
    assert_eq!(tree(&again), tree(&fixture));
}

fn is_refused_with_a_reason(guest: &Guest) {
    let folder = scratch();
    let output = run_guest(&["record"], guest, folder.path());
    expect_code(&output, 2);
    let message = text(&output.stderr);
    assert!(message.starts_with("error: "), "{message}");
    for word in &guest.refused {
        assert!(message.contains(word), "{word:?} should be in: {message}");
    }
    let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().collect();
    assert!(left.is_empty(), "nothing is recorded of a refused module: {left:?}");
}

fn every_function_of_preview1_is_exercised() {
    let mut missing: BTreeSet<Function> = Function::ALL.iter().copied().collect();
    let folder = scratch();
    for guest in all_guests() {
        run_guest(&["record", "-o", "t.wrr"], &guest, folder.path());
        let reader = TraceReader::open(&folder.path().join("t.wrr")).unwrap();
        for event in reader.events().unwrap() {
            missing.remove(&event.unwrap().call.function);
        }
    }
    assert!(missing.is_empty(), "no guest calls {missing:?}");
}
