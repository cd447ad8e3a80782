//# dir: /work
//! Directories: creating, listing one that needs many `fd_readdir` calls, renaming, removing, non-ASCII names.

use std::fs;
use wrr_test_programs::{close, open_dir};

const EXIST: i32 = wasi::ERRNO_EXIST.raw() as i32;
const NOENT: i32 = wasi::ERRNO_NOENT.raw() as i32;
const NOTDIR: i32 = wasi::ERRNO_NOTDIR.raw() as i32;
const NOTEMPTY: i32 = wasi::ERRNO_NOTEMPTY.raw() as i32;
const ENTRIES: usize = 300;
/// Holds only a few entries, and cuts some of them in the middle.
const LISTING_BYTES: usize = 200;
const DIRENT_BYTES: usize = size_of::<wasi::Dirent>();

fn main() {
    fs::create_dir("/work/many").expect("can create");
    for n in 0..ENTRIES {
        fs::write(format!("/work/many/entry-{n:03}"), n.to_string()).expect("can write");
    }
    let mut names: Vec<_> = fs::read_dir("/work/many")
        .expect("can list")
        .map(|entry| entry.expect("an entry").file_name().into_string().expect("UTF-8"))
        .collect();
    names.sort();
    assert_eq!(names, (0..ENTRIES).map(|n| format!("entry-{n:03}")).collect::<Vec<_>>());

    let (raw_names, calls) = list_raw("many");
    assert_eq!(raw_names.len(), ENTRIES + 2, ". and .. are listed too");
    assert!(calls > 10);
    println!("listed {} entries in {calls} calls", raw_names.len());

    fs::create_dir_all("/work/a/b/c").expect("can create nested");
    assert_eq!(errno(fs::create_dir("/work/a")), EXIST);
    assert_eq!(errno(fs::create_dir("/work/none/x")), NOENT);
    assert_eq!(errno(fs::remove_dir("/work/a")), NOTEMPTY);
    fs::write("/work/a/b/file", "moved").expect("can write");
    fs::rename("/work/a/b", "/work/renamed").expect("can rename a directory");
    assert_eq!(fs::read_to_string("/work/renamed/file").expect("can read"), "moved");
    assert_eq!(errno(fs::metadata("/work/a/b")), NOENT);
    fs::rename("/work/renamed/file", "/work/many/entry-000").expect("can replace a file");
    assert_eq!(fs::read_to_string("/work/many/entry-000").expect("can read"), "moved");
    assert_eq!(errno(fs::remove_dir("/work/hello.txt")), NOTDIR);
    assert!(fs::remove_file("/work/renamed").is_err(), "a directory is not unlinked");
    fs::remove_dir("/work/renamed/c").expect("can remove");
    fs::remove_dir("/work/renamed").expect("can remove");
    fs::remove_dir_all("/work/many").expect("can remove with its contents");

    let unicode = "/work/größe-日本語-🦀";
    fs::create_dir(unicode).expect("can create");
    fs::write(format!("{unicode}/ファイル"), "text").expect("can write");
    let inside: Vec<_> =
        fs::read_dir(unicode).expect("can list").map(|entry| entry.expect("an entry")).collect();
    assert_eq!(inside.len(), 1);
    assert_eq!(inside[0].file_name().to_str(), Some("ファイル"));
    assert!(inside[0].file_type().expect("a type").is_file());
    // They keep the folder open.
    drop(inside);
    fs::remove_dir_all(unicode).expect("can remove");

    let mut left: Vec<_> = fs::read_dir("/work")
        .expect("can list")
        .map(|entry| entry.expect("an entry"))
        .map(|entry| {
            (
                entry.file_name().into_string().expect("UTF-8"),
                entry.file_type().expect("a type").is_dir(),
            )
        })
        .collect();
    left.sort();
    for (name, is_dir) in left {
        println!("{name}{}", if is_dir { "/" } else { "" });
    }
}

/// Lists with a small buffer, as libc would: an entry that was cut is asked for again by the previous entry's cookie.
fn list_raw(path: &str) -> (Vec<String>, usize) {
    let fd = open_dir(path).expect("can open");
    let (mut names, mut calls, mut cookie) = (Vec::new(), 0, wasi::DIRCOOKIE_START);
    loop {
        let mut buf = [0u8; LISTING_BYTES];
        // SAFETY: the buffer is live and as long as it says.
        let used = unsafe { wasi::fd_readdir(fd, buf.as_mut_ptr(), buf.len(), cookie) };
        let used = used.expect("can list");
        calls += 1;
        let mut rest = &buf[..used];
        while rest.len() >= DIRENT_BYTES {
            // SAFETY: there are enough bytes; every bit pattern is a valid `Dirent`.
            let entry: wasi::Dirent =
                unsafe { rest.as_ptr().cast::<wasi::Dirent>().read_unaligned() };
            let end = DIRENT_BYTES + entry.d_namlen as usize;
            let Some(name) = rest.get(DIRENT_BYTES..end) else {
                break;
            };
            names.push(String::from_utf8(name.to_vec()).expect("UTF-8"));
            cookie = entry.d_next;
            rest = &rest[end..];
        }
        if used < buf.len() {
            break;
        }
    }
    assert_eq!(close(fd), Ok(()));
    (names, calls)
}

#[track_caller]
fn errno<T>(result: std::io::Result<T>) -> i32 {
    match result {
        Ok(_) => panic!("this must fail"),
        Err(error) => error.raw_os_error().expect("an error of the host"),
    }
}
