//! Recording Python.

use super::*;

#[track_caller]
pub fn expect_replay(folder: &Path, trace: &str, recorded: &Output) {
    let replayed = finish(wrr(folder).args(["replay", trace]), b"");
    assert_eq!(replayed.status.code(), recorded.status.code());
    assert_eq!(text(&replayed.stdout), text(&recorded.stdout));
    assert_eq!(text(&replayed.stderr), text(&recorded.stderr));
}

pub fn py_runs_a_text_a_module_or_a_script_and_replays_it() {
    let folder = scratch();
    let folder = folder.path();
    let sub = folder.join("app");
    std::fs::create_dir(&sub).unwrap();
    std::fs::write(sub.join("helper.py"), "def twice(x):\n    return 2 * x\n").unwrap();
    std::fs::write(
        sub.join("main.py"),
        "import sys\nfrom helper import twice\nprint(twice(21), sys.argv[1:])\nsys.exit(len(sys.argv))\n",
    )
    .unwrap();
    let run = |place: &Path, arguments: &[&str], code: i32, shown: &str, trace: &str| {
        let output = finish(wrr(place).arg("py").args(arguments), b"");
        expect_code(&output, code);
        assert_eq!(text(&output.stdout), shown);
        expect_replay(place, trace, &output);
    };
    let text = "import sys; print(sys.argv); sys.exit(3)";
    run(folder, &["-c", text, "a", "b"], 3, "['-c', 'a', 'b']\n", "python.wrr");
    run(folder, &["app/main.py", "a", "--b", "-c"], 4, "42 ['a', '--b', '-c']\n", "main.wrr");
    run(&sub, &["-m", "main", "x"], 2, "42 ['x']\n", "main.wrr");
    run(folder, &["-o", "named.wrr", "./app/main.py"], 1, "42 []\n", "named.wrr");
}

pub fn py_talks_with_somebody_at_standard_input() {
    let folder = scratch();
    let folder = folder.path();
    let output =
        finish(wrr(folder).arg("py"), b"x = 20\nprint(x + 1)\nx + 2\nimport sys\nsys.exit(4)\n");
    expect_code(&output, 4);
    assert_eq!(text(&output.stdout).replace(">>> ", ""), "21\n22\n");
    expect_replay(folder, "python.wrr", &output);
}

pub fn py_says_what_is_wrong_with_a_script() {
    let folder = scratch();
    let folder = folder.path();
    let output = finish(wrr(folder).args(["py", "nothing.py"]), b"");
    expect_code(&output, 2);
    let message = text(&output.stderr);
    assert!(message.starts_with("error: cannot read the script nothing.py: "), "{message}");
    assert!(!folder.join("nothing.wrr").exists());
    std::fs::write(folder.join("bad.py"), "def f(:\n").unwrap();
    let output = finish(wrr(folder).args(["py", "bad.py"]), b"");
    expect_code(&output, 1);
    let message = text(&output.stderr);
    assert!(
        message.contains("File \"/bad.py\", line 1") && message.contains("SyntaxError"),
        "{message}"
    );
    expect_replay(folder, "bad.wrr", &output);
    // There is nothing of the program to be seen, and nothing to be afraid of.
    let output = debugged(folder, "bad.wrr", "go crash\nbacktrace\nlocals\nstep\n");
    assert!(text(&output.stdout).contains("the program has not begun\n"));
}

pub fn until_failure_stops_at_the_first_run_that_fails() {
    let folder = scratch();
    let folder = folder.path();
    let run = |count: &str, program: &str| {
        finish(wrr(folder).args(["py", "--until-failure", count, "-c", program]), b"")
    };
    let output = run("3", "print('fine')");
    expect_code(&output, 0);
    assert_eq!(text(&output.stdout), "fine\n".repeat(3));
    assert_eq!(text(&output.stderr), "no run of 3 failed; the last one is in python.wrr\n");
    // Even nanoseconds fail, in every second run or so.
    let output = run("200", "import random, sys; sys.exit(random.random() < 0.5 and 5)");
    expect_code(&output, 5);
    let said = text(&output.stderr);
    let number = said.strip_prefix("run ").and_then(|rest| rest.split_once(' '));
    let (number, rest) = number.unwrap_or_else(|| panic!("{said}"));
    assert!((1..=200).contains(&number.parse::<u32>().unwrap()), "{said}");
    assert_eq!(rest, "of at most 200 failed, with exit code 5; it is in python.wrr\n");
    expect_code(&finish(wrr(folder).args(["replay", "python.wrr"]), b""), 5);
}

/// Workloads of the size of Python's own tests of dictionaries, strings, JSON and regular expressions.
pub fn real_work_is_replayed_without_a_divergence() {
    let folder = scratch();
    let folder = folder.path();
    for (script, rounds) in
        [("dicts", "2"), ("strings", "10"), ("json_work", "20"), ("re_work", "8")]
    {
        let path = root().join("bench/python").join(format!("{script}.py"));
        let name = format!("{script}.py");
        std::fs::copy(path, folder.join(&name)).unwrap();
        let recorded = finish(wrr(folder).args(["py", &name, rounds]), b"");
        expect_code(&recorded, 0);
        let trace = format!("{script}.wrr");
        expect_replay(folder, &trace, &recorded);
        expect_code(&finish(wrr(folder).args(["verify", &trace]), b""), 0);
    }
}

pub fn states_of_python_are_the_same_by_seek_and_from_the_start() {
    let folder = scratch();
    let folder = folder.path();
    let program = "import json\n\
        data = {}\n\
        for step in range(12):\n\
        \x20   data[step] = [(i * 7919 + step) % 1009 for i in range(150)]\n\
        \x20   assert json.loads(json.dumps(data)) == {str(key): data[key] for key in data}\n";
    let spaced = ["py", "-o", "t.wrr", "--checkpoint-every", "1000000ticks", "-c", program];
    expect_code(&finish(wrr(folder).args(spaced), b""), 0);
    let cache = CodeCache::in_dir(&root().join("target/test-cache"));
    let trace = Trace::open(&folder.join("t.wrr")).unwrap().with(Some(cache), &());
    let end = trace.reader().end_tick().unwrap().0;
    let state = |moment: &Moment, checkpoints: bool| {
        let mut playback = trace.seek(moment, SeekOptions { checkpoints }).unwrap();
        let seek = playback.seek();
        (playback.state_hash().unwrap(), playback.position(), seek.checkpoint_tick.is_some())
    };
    let mut near_ones = 0;
    for i in 0..50 {
        let moment = Moment::Tick(spread(i, end));
        let (near, far) = (state(&moment, true), state(&moment, false));
        assert_eq!((near.0, near.1), (far.0, far.1), "{moment:?}");
        assert!(!far.2);
        near_ones += u32::from(near.2);
    }
    assert!(near_ones > 20, "{near_ones} of 50");
}
