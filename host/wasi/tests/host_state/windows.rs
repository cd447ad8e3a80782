//! What is different on Windows, and what must not be.

use crate::guest::{APPEND, CREAT, Guest, READ, SET, WRITE, config};
use std::fs;
use wrr_trace::{Errno, Function, Reply};

fn folder() -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    fs::write(root.path().join("a"), b"0123456789").unwrap();
    fs::create_dir(root.path().join("d")).unwrap();
    root
}

#[test]
fn names_with_a_meaning_of_their_own_lead_nowhere() {
    let root = folder();
    let mut guest = Guest::live(config(root.path()));
    let names = [
        "NUL",
        "nul.txt",
        "d/CON",
        "aux",
        "COM1",
        "d\\x",
        "..\\x",
        "C:\\x",
        "C:x",
        "a:stream",
        "a::$DATA",
        "a.",
        "a ",
        "a?",
        "\\\\?\\C:\\x",
    ];
    for name in names {
        assert_eq!(guest.open(3, name, 0, READ, 0).errno, Errno::noent, "{name}");
        assert_eq!(guest.open(3, name, CREAT, WRITE, 0).errno, Errno::inval, "{name}");
        let made = guest.on_path(Function::PathCreateDirectory, 3, name);
        assert_eq!(made.errno, Errno::inval, "{name}");
        for function in [Function::PathUnlinkFile, Function::PathRemoveDirectory] {
            assert_eq!(guest.on_path(function, 3, name).errno, Errno::noent, "{name}");
        }
        assert_eq!(guest.rename(3, name, 3, "b").errno, Errno::noent, "{name}");
        assert_eq!(guest.rename(3, "a", 3, name).errno, Errno::inval, "{name}");
    }
    let mut left: Vec<_> =
        fs::read_dir(root.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["a", "d"]);
}

#[test]
fn reading_and_writing_at_an_offset_leaves_the_position_alone() {
    let root = folder();
    let mut guest = Guest::live(config(root.path()));
    let fd = guest.opened("a", 0, READ | WRITE, 0);
    guest.seek(fd, 4, SET);
    assert_eq!(guest.pread(fd, 3, 7).data, b"789");
    assert_eq!(guest.pread(fd, 3, 100).data, b"");
    guest.pwrite(fd, b"xy", 8);
    assert_eq!(guest.read(fd, 10).data, b"4567xy");
}

#[test]
fn appending_can_be_switched_off_and_on_and_keeps_the_position() {
    let root = folder();
    let mut guest = Guest::live(config(root.path()));
    let fd = guest.opened("a", 0, READ | WRITE, APPEND);
    guest.write(fd, b"+");
    guest.call(Function::FdFdstatSetFlags, &[fd.into(), 0]);
    assert!(matches!(guest.tell(fd).reply, Reply::Wide(11)));
    guest.seek(fd, 1, SET);
    guest.write(fd, b"-");
    guest.call(Function::FdFdstatSetFlags, &[fd.into(), APPEND]);
    guest.write(fd, b"!");
    assert_eq!(fs::read(root.path().join("a")).unwrap(), b"0-23456789+!");
}

#[test]
fn what_is_refused_gets_the_errno_of_other_systems() {
    let root = folder();
    let mut guest = Guest::live(config(root.path()));
    assert_eq!(guest.on_path(Function::PathUnlinkFile, 3, "d").errno, Errno::isdir);
    assert_eq!(guest.on_path(Function::PathRemoveDirectory, 3, "a").errno, Errno::notdir);
    assert_eq!(guest.open(3, "a\0", 0, READ, 0).errno, Errno::inval);
    assert_eq!(guest.rename(3, "a\0", 3, "b").errno, Errno::inval);
}

#[test]
fn a_file_that_is_open_can_be_renamed_and_unlinked() {
    let root = folder();
    let mut guest = Guest::live(config(root.path()));
    let fd = guest.opened("a", 0, READ | WRITE, 0);
    assert_eq!(guest.rename(3, "a", 3, "b").errno, Errno::success);
    assert_eq!(guest.read(fd, 4).data, b"0123");
    assert_eq!(guest.on_path(Function::PathUnlinkFile, 3, "b").errno, Errno::success);
    assert_eq!(guest.read(fd, 4).data, b"4567");
    assert_eq!(guest.pread(fd, 2, 0).data, b"01");
    guest.write(fd, b"x");
    guest.close(fd);
    assert!(!root.path().join("b").exists());
}

#[test]
fn what_is_open_for_reading_can_be_synced_and_get_new_times() {
    let root = folder();
    let mut guest = Guest::live(config(root.path()));
    let fd = guest.opened("a", 0, READ, 0);
    assert_eq!(guest.call(Function::FdSync, &[fd.into()]).errno, Errno::success);
    assert_eq!(guest.call(Function::FdDatasync, &[fd.into()]).errno, Errno::success);
    const MTIM: u64 = 4;
    // Windows counts in 100 nanoseconds.
    let set = guest.call(Function::FdFilestatSetTimes, &[fd.into(), 0, 1_000_000_000_150, MTIM]);
    assert_eq!(set.errno, Errno::success);
    let stat = guest.filestat(fd);
    assert!(matches!(stat.reply, Reply::Filestat(s) if s.mtim == 1_000_000_000_100), "{stat:?}");
}

#[test]
fn a_path_may_be_longer_than_260_characters() {
    let root = folder();
    let mut guest = Guest::live(config(root.path()));
    let mut path = String::new();
    // The folders alone stay below: Wine cannot tell the path of an open folder that is longer.
    for _ in 0..3 {
        path += &"n".repeat(60);
        let made = guest.on_path(Function::PathCreateDirectory, 3, &path);
        assert_eq!(made.errno, Errno::success, "{path}");
        path += "/";
    }
    path += &"f".repeat(120);
    let fd = guest.opened(&path, CREAT, WRITE, 0);
    guest.write(fd, b"deep");
    guest.close(fd);
    let fd = guest.opened(&path, 0, READ, 0);
    assert_eq!(guest.read(fd, 10).data, b"deep");
    guest.close(fd);
    assert_eq!(guest.on_path(Function::PathUnlinkFile, 3, &path).errno, Errno::success);
}
