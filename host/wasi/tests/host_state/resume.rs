//! Going on in the real world: one rule each.

use crate::guest::{APPEND, CREAT, DIRECTORY, Guest, INPUT, READ, SET, TRUNC, WRITE, config};
use std::fs;
use std::path::Path;
use wrr_trace::{Errno, Function, HostState, Reply};
use wrr_wasi::{LiveConfig, Preopen, Problem, ResumeError, Stdin};

fn problems(config: LiveConfig, state: &HostState) -> Vec<Problem> {
    match Guest::resumed(config, state) {
        Err(ResumeError::World { problems }) => problems,
        Err(other) => panic!("{other}"),
        Ok(_) => Vec::new(),
    }
}

fn folder() -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    fs::write(root.path().join("a"), b"0123456789").unwrap();
    fs::create_dir(root.path().join("d")).unwrap();
    fs::write(root.path().join("d/b"), b"abcdefghij").unwrap();
    root
}

fn number(outcome: &wrr_trace::Outcome) -> u64 {
    match outcome.reply {
        Reply::Wide(n) => n,
        _ => panic!("{outcome:?}"),
    }
}

#[test]
fn reads_writes_and_seeks_go_on_where_they_were() {
    let root = folder();
    let mut guest = Guest::live(config(root.path()));
    let read = guest.opened("a", 0, READ, 0);
    let written = guest.opened("new", CREAT | TRUNC, WRITE, 0);
    let sought = guest.opened("d/b", 0, READ | WRITE, 0);
    guest.read(read, 3);
    guest.write(written, b"one ");
    guest.seek(sought, -2, 2);
    let mut resumed = Guest::resumed(config(root.path()), &guest.state()).unwrap();
    assert_eq!(resumed.read(read, 3).data, b"345");
    resumed.write(written, b"two");
    assert_eq!(fs::read(root.path().join("new")).unwrap(), b"one two", "not truncated again");
    assert_eq!(resumed.read(sought, 9).data, b"ij");
    assert_eq!(resumed.write(read, b"x").errno, Errno::badf, "it was opened for reading");
    assert_eq!(resumed.read(written, 1).errno, Errno::badf, "it was opened for writing");
}

#[test]
fn an_appending_descriptor_goes_on_at_the_end() {
    let root = folder();
    let mut guest = Guest::live(config(root.path()));
    let fd = guest.opened("a", 0, READ | WRITE, APPEND);
    guest.write(fd, b"+");
    let state = guest.state();
    let mut resumed = Guest::resumed(config(root.path()), &state).unwrap();
    assert_eq!(number(&resumed.tell(fd)), 11);
    assert_eq!(resumed.fdstat(fd), guest.fdstat(fd));
    resumed.write(fd, b"+");
    assert_eq!(fs::read(root.path().join("a")).unwrap(), b"0123456789++");
}

#[test]
fn flags_set_after_opening_are_set_again() {
    let root = folder();
    let mut guest = Guest::live(config(root.path()));
    let fd = guest.opened("a", 0, WRITE, 0);
    guest.call(Function::FdFdstatSetFlags, &[fd.into(), APPEND]);
    let mut resumed = Guest::resumed(config(root.path()), &guest.state()).unwrap();
    assert_eq!(resumed.fdstat(fd), guest.fdstat(fd));
    resumed.write(fd, b"+");
    assert_eq!(fs::read(root.path().join("a")).unwrap(), b"0123456789+");
}

#[test]
#[cfg_attr(windows, ignore = "a folder that is open cannot be renamed there")]
fn a_file_is_found_where_the_program_has_moved_it_or_its_folder() {
    let root = folder();
    let mut guest = Guest::live(config(root.path()));
    let file = guest.opened("d/b", 0, READ, 0);
    let dir = guest.opened("d", DIRECTORY, READ, 0);
    guest.read(file, 1);
    guest.rename(dir, "b", dir, "./c");
    guest.rename(3, "d", 3, "e");
    guest.rename(3, "e/c", 3, "f");
    let mut resumed = Guest::resumed(config(root.path()), &guest.state()).unwrap();
    assert_eq!(resumed.read(file, 1).data, b"b");
    let opened = resumed.open(dir, "../f", 0, READ, 0);
    assert_ne!(opened.errno, Errno::success, "a directory does not let the guest out");
    resumed.rename(3, "f", dir, "g");
    assert!(root.path().join("e/g").exists(), "descriptor {dir} is the folder that is e now");
}

#[test]
#[cfg_attr(windows, ignore = "Wine keeps the name of a deleted file until it is closed")]
fn files_that_the_program_deleted_or_replaced_while_open_are_an_error_that_says_so() {
    let root = folder();
    let mut guest = Guest::live(config(root.path()));
    let deleted = guest.opened("a", 0, READ, 0);
    let replaced = guest.opened("d/b", 0, READ, 0);
    guest.on_path(Function::PathUnlinkFile, 3, "a");
    guest.opened("a", CREAT, WRITE, 0);
    guest.rename(3, "a", 3, "d/b");
    guest.opened("a", CREAT, WRITE, 0);
    let problems = problems(config(root.path()), &guest.state());
    assert!(matches!(&problems[..], [
        Problem::Unlinked { fd: one, path },
        Problem::Unlinked { fd: two, .. },
    ] if *one == deleted && *two == replaced && path == "/data/a"));
    assert!(problems[0].to_string().contains("the program had deleted or replaced it"));
}

#[test]
#[cfg_attr(windows, ignore = "a folder that is open cannot be removed there")]
fn all_that_is_not_as_it_was_is_listed_in_one_error() {
    let root = folder();
    fs::write(root.path().join("gone"), b"x").unwrap();
    fs::write(root.path().join("short"), b"0123456789").unwrap();
    let mut guest = Guest::live(config(root.path()));
    for (path, read) in [("a", 0), ("gone", 0), ("short", 8), ("d/b", 3)] {
        let fd = guest.opened(path, 0, READ, 0);
        guest.read(fd, read);
    }
    guest.opened("d", DIRECTORY, READ, 0);
    fs::remove_file(root.path().join("gone")).unwrap();
    fs::write(root.path().join("short"), b"0123").unwrap();
    fs::remove_dir_all(root.path().join("d")).unwrap();
    fs::write(root.path().join("d"), b"not a folder").unwrap();
    let error = Guest::resumed(config(root.path()), &guest.state()).err().unwrap().to_string();
    let lines: Vec<&str> = error.lines().collect();
    assert_eq!(lines.len(), 5, "{error}");
    assert!(lines[1].contains("/data/gone (descriptor 5) does not exist"), "{error}");
    assert!(lines[2].contains("/data/short (descriptor 6) has 4 bytes"), "{error}");
    assert!(lines[2].contains("at byte 8"), "{error}");
    assert!(lines[3].contains("/data/d/b (descriptor 7)"), "{error}");
    assert!(lines[4].contains("is of type regular_file now, it was directory"), "{error}");
    assert_eq!(fs::read(root.path().join("short")).unwrap(), b"0123", "nothing was changed");
}

#[test]
fn seeking_past_the_end_does_not_make_a_file_too_short() {
    let root = folder();
    let mut guest = Guest::live(config(root.path()));
    let fd = guest.opened("a", 0, READ | WRITE, 0);
    guest.seek(fd, 100, SET);
    let mut resumed = Guest::resumed(config(root.path()), &guest.state()).unwrap();
    assert_eq!(number(&resumed.tell(fd)), 100);
}

#[test]
fn directories_that_were_not_given_are_named_as_the_program_knows_them() {
    let root = folder();
    let with_two = || {
        let mut config = config(root.path());
        config.preopens.push(Preopen { host: root.path().join("d"), guest: "/more".to_owned() });
        config
    };
    let mut guest = Guest::live(with_two());
    let manifest = guest.manifest.clone();
    guest.close(3);
    guest.open(4, "b", 0, READ, 0);
    let state = guest.state();
    // The order on the command line does not matter, and what was closed is not needed.
    let mut other_order = with_two();
    other_order.preopens.reverse();
    let resume = |config: LiveConfig| wrr_wasi::Live::resume(config, &manifest, &state);
    resume(other_order).map(drop).unwrap();
    let mut one = with_two();
    one.preopens.remove(0);
    resume(one).map(drop).unwrap();
    let error = resume(config(root.path())).map(drop).unwrap_err().to_string();
    assert!(error.contains("the directory /more was not given; add --dir HOST::/more"), "{error}");
}

#[test]
fn closed_and_renumbered_standard_streams_stay_so() {
    let root = folder();
    let mut guest = Guest::live(config(root.path()));
    let fd = guest.opened("a", 0, READ, 0);
    guest.renumber(fd, 0);
    guest.close(2);
    guest.renumber(1, 3);
    let mut resumed = Guest::resumed(config(root.path()), &guest.state()).unwrap();
    assert_eq!(resumed.read(0, 4).data, b"0123");
    for closed in [1, 2, fd] {
        assert_eq!(resumed.fdstat(closed).errno, Errno::badf, "{closed}");
    }
    assert_eq!(resumed.write(3, b"out").reply, Reply::Number(3));
    assert_eq!(resumed.open(3, "a", 0, READ, 0).errno, Errno::notdir);
}

#[test]
fn new_descriptors_get_the_numbers_they_would_have_got() {
    let root = folder();
    let mut guest = Guest::live(config(root.path()));
    for _ in 0..5 {
        let fd = guest.opened("a", 0, READ, 0);
        guest.close(fd);
    }
    let kept = guest.opened("a", 0, READ, 0);
    let top = guest.opened("a", 0, READ, 0);
    guest.renumber(kept, top);
    let mut resumed = Guest::resumed(config(root.path()), &guest.state()).unwrap();
    for _ in 0..3 {
        assert_eq!(resumed.opened("a", 0, READ, 0), guest.opened("a", 0, READ, 0));
    }
}

#[test]
fn standard_input_from_a_file_goes_on_and_must_be_long_enough() {
    let root = folder();
    let input = root.path().join("a");
    let from = |path: &Path| LiveConfig { stdin: Stdin::File(path.into()), ..config(root.path()) };
    let mut guest = Guest::live(from(&input));
    guest.read(0, 6);
    let state = guest.state();
    assert_eq!(state.stdin_bytes, 6);
    let mut resumed = Guest::resumed(from(&input), &state).unwrap();
    assert_eq!(resumed.read(0, 2).data, b"67");
    let bytes = LiveConfig { stdin: Stdin::Bytes(INPUT.to_vec()), ..config(root.path()) };
    assert_eq!(Guest::resumed(bytes, &state).unwrap().read(0, 2).data, INPUT[6..8]);
    fs::write(&input, b"012").unwrap();
    assert!(matches!(
        &problems(from(&input), &state)[..],
        [Problem::StdinShorter { position: 6, size_bytes: 3 }]
    ));
}

#[test]
fn a_listing_can_be_read_on_after_resuming() {
    let root = folder();
    let config = || LiveConfig { deterministic: true, ..config(root.path()) };
    let mut guest = Guest::live(config());
    let whole = guest.readdir(3, 0).data;
    let mut resumed = Guest::resumed(config(), &guest.state()).unwrap();
    let rest = resumed.readdir(3, 2).data;
    assert!(!rest.is_empty() && rest.len() < whole.len());
}

#[test]
fn the_virtual_world_goes_on() {
    let root = folder();
    let config = || LiveConfig { deterministic: true, ..config(root.path()) };
    let mut guest = Guest::live(config());
    let fd = guest.opened("a", 0, READ, 0);
    guest.filestat(fd);
    guest.now_and_random();
    // A sleep of one second: one clock subscription, relative.
    let mut sleep = [0; 48];
    sleep[16] = 1;
    sleep[24..32].copy_from_slice(&1_000_000_000_u64.to_le_bytes());
    guest.memory[8192..8240].copy_from_slice(&sleep);
    guest.call(Function::PollOneoff, &[8192, 16384, 1, 2048]);
    guest.call(Function::ClockTimeGet, &[2, 0, 2048]);
    let mut resumed = Guest::resumed(config(), &guest.state()).unwrap();
    let file = guest.opened("d/b", 0, READ, 0);
    assert_eq!(resumed.opened("d/b", 0, READ, 0), file);
    assert_eq!(resumed.filestat(fd), guest.filestat(fd));
    assert_eq!(resumed.filestat(file), guest.filestat(file));
    let [now, random] = guest.now_and_random();
    assert!(number(&now) > 1_000_000_000);
    assert_eq!(resumed.now_and_random(), [now, random]);
}

#[test]
fn arguments_and_environment_are_those_of_the_recording() {
    let root = folder();
    let guest = Guest::live(config(root.path()));
    let mut manifest = guest.manifest.clone();
    manifest.args = vec!["program".to_owned(), "argument".to_owned()];
    manifest.env = vec![("NAME".to_owned(), "value".to_owned())];
    let live = wrr_wasi::Live::resume(config(root.path()), &manifest, &guest.state()).unwrap();
    let mut resumed = Guest::over(live, &guest.state(), manifest);
    assert_eq!(resumed.call(Function::ArgsGet, &[0, 100]).data, b"program\0argument\0");
    assert_eq!(resumed.call(Function::EnvironGet, &[0, 100]).data, b"NAME=value\0");
}

#[test]
fn connections_look_reset_and_listening_sockets_must_be_given_again() {
    use std::net::{TcpListener, TcpStream};
    let root = folder();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let with = |listener| LiveConfig { sockets: vec![listener], ..config(root.path()) };
    let mut guest = Guest::live(with(listener.try_clone().unwrap()));
    let client = TcpStream::connect(address).unwrap();
    let Reply::Number(fd) = guest.call(Function::SockAccept, &[3, 0, 2048]).reply else { panic!() };
    let state = guest.state();
    let mut resumed = Guest::resumed(with(listener), &state).unwrap();
    assert_eq!(resumed.read(fd, 10).errno, Errno::connreset);
    assert_eq!(resumed.write(fd, b"x").errno, Errno::connreset);
    assert_eq!(resumed.call(Function::SockShutdown, &[fd.into(), 1]).errno, Errno::notconn);
    drop(client);
    let _client = TcpStream::connect(address).unwrap();
    assert_eq!(resumed.call(Function::SockAccept, &[3, 0, 2048]).errno, Errno::success);
    let error = wrr_wasi::Live::resume(config(root.path()), &guest.manifest, &state);
    let Err(ResumeError::World { problems }) = error else { panic!() };
    assert!(matches!(problems[..], [Problem::SocketNotGiven { number: 0 }]));
}

#[cfg(unix)]
#[test]
fn a_file_that_may_not_be_opened_any_more_says_for_what() {
    use std::os::unix::fs::symlink;
    let root = folder();
    let mut guest = Guest::live(config(root.path()));
    guest.opened("a", 0, READ | WRITE, 0);
    // Permissions do not stop every user; a link that leads out of the directory does.
    fs::remove_file(root.path().join("a")).unwrap();
    symlink("/", root.path().join("a")).unwrap();
    let problems = problems(config(root.path()), &guest.state());
    assert!(
        matches!(&problems[..], [Problem::NotOpenable { access: "for reading and writing", .. },]),
        "{problems:?}"
    );
}

#[test]
fn more_descriptors_than_a_checkpoint_holds_are_noticed() {
    let state = HostState { overflowed: true, ..HostState::default() };
    let root = folder();
    let guest = Guest::live(config(root.path()));
    let error = wrr_wasi::Live::resume(config(root.path()), &guest.manifest, &state);
    assert!(matches!(error, Err(ResumeError::State(_))));
}

#[test]
fn flags_can_be_set_after_resuming() {
    let root = folder();
    let mut guest = Guest::live(config(root.path()));
    let fd = guest.opened("a", 0, WRITE, 0);
    let mut resumed = Guest::resumed(config(root.path()), &guest.state()).unwrap();
    let outcome = resumed.call(Function::FdFdstatSetFlags, &[fd.into(), APPEND]);
    assert_eq!(outcome.errno, Errno::success);
}
