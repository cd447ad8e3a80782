//! Random calls against the real machine: what [`wrr_wasi::Descriptors`] made of them must be enough to go
//! on with the same descriptors. Only on Unix: elsewhere `fd_pread` moves the position.

use crate::guest::{CREAT, Guest, INPUT, READ, TRUNC, WRITE, config};
use proptest::prelude::*;
use wrr_trace::{Errno, Function, HostState, Reply, Target};
use wrr_wasi::{Descriptors, Problem, ResumeError};

#[derive(Clone, Debug)]
pub enum Step {
    Open(u32, &'static str, u64, u64, u64),
    Close(u32),
    Renumber(u32, u32),
    Read(u32, usize),
    Write(u32, usize),
    Pread(u32, usize, u64),
    Pwrite(u32, usize, u64),
    Seek(u32, i64, u64),
    Stat(u32),
    SetFlags(u32, u64),
    SetSize(u32, u64),
    Rename(u32, &'static str, u32, &'static str),
    Unlink(u32, &'static str),
    RemoveDirectory(u32, &'static str),
    CreateDirectory(u32, &'static str),
    NowAndRandom,
}

fn path() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "a", "b", "d", "d/a", "d//./b", "e", "e/a", "d/../a", "d/f", ".", "e/f/g",
    ])
}

/// Mostly the directory given at the start and what is opened in it.
fn fd() -> impl Strategy<Value = u32> {
    prop_oneof![4 => 4_u32..10, 1 => 0_u32..16]
}

fn dir() -> impl Strategy<Value = u32> {
    prop_oneof![4 => Just(3_u32), 1 => 3_u32..10]
}

pub fn step() -> impl Strategy<Value = Step> {
    let oflags = prop::sample::select(vec![0, CREAT, CREAT | TRUNC, TRUNC, CREAT | 4, 2]);
    let rights = prop::sample::select(vec![READ, WRITE, READ | WRITE, 0]);
    let fdflags = || prop::sample::select(vec![0_u64, 0, 1, 4, 5]);
    prop_oneof![
        8 => (dir(), path(), oflags, rights, fdflags())
            .prop_map(|(d, p, o, r, f)| Step::Open(d, p, o, r, f)),
        1 => fd().prop_map(Step::Close),
        1 => (fd(), fd()).prop_map(|(a, b)| Step::Renumber(a, b)),
        3 => (fd(), 0_usize..40).prop_map(|(f, n)| Step::Read(f, n)),
        4 => (fd(), 0_usize..40).prop_map(|(f, n)| Step::Write(f, n)),
        1 => (fd(), 0_usize..40, 0_u64..60).prop_map(|(f, n, o)| Step::Pread(f, n, o)),
        1 => (fd(), 0_usize..40, 0_u64..60).prop_map(|(f, n, o)| Step::Pwrite(f, n, o)),
        2 => (fd(), -20_i64..60, 0_u64..3).prop_map(|(f, o, w)| Step::Seek(f, o, w)),
        1 => fd().prop_map(Step::Stat),
        1 => (fd(), fdflags()).prop_map(|(f, flags)| Step::SetFlags(f, flags)),
        1 => (fd(), 0_u64..80).prop_map(|(f, n)| Step::SetSize(f, n)),
        2 => (dir(), path(), dir(), path()).prop_map(|(d, p, e, q)| Step::Rename(d, p, e, q)),
        1 => (dir(), path()).prop_map(|(d, p)| Step::Unlink(d, p)),
        1 => (dir(), path()).prop_map(|(d, p)| Step::RemoveDirectory(d, p)),
        2 => (dir(), path()).prop_map(|(d, p)| Step::CreateDirectory(d, p)),
        1 => Just(Step::NowAndRandom),
    ]
}

pub fn take(guest: &mut Guest, step: &Step) {
    match *step {
        Step::Open(dir, path, oflags, rights, fdflags) => {
            guest.open(dir, path, oflags, rights, fdflags);
        }
        Step::Close(fd) => drop(guest.close(fd)),
        Step::Renumber(from, to) => drop(guest.renumber(from, to)),
        Step::Read(fd, len) => drop(guest.read(fd, len)),
        Step::Write(fd, len) => drop(guest.write(fd, &vec![b'w'; len])),
        Step::Pread(fd, len, offset) => drop(guest.pread(fd, len, offset)),
        Step::Pwrite(fd, len, offset) => drop(guest.pwrite(fd, &vec![b'p'; len], offset)),
        Step::Seek(fd, offset, whence) => drop(guest.seek(fd, offset, whence)),
        Step::Stat(fd) => drop((guest.filestat(fd), guest.fdstat(fd))),
        Step::SetFlags(fd, flags) => {
            guest.call(Function::FdFdstatSetFlags, &[fd.into(), flags]);
        }
        Step::SetSize(fd, size) => {
            guest.call(Function::FdFilestatSetSize, &[fd.into(), size]);
        }
        Step::Rename(dir, from, to_dir, to) => drop(guest.rename(dir, from, to_dir, to)),
        Step::Unlink(dir, path) => drop(guest.on_path(Function::PathUnlinkFile, dir, path)),
        Step::RemoveDirectory(dir, path) => {
            guest.on_path(Function::PathRemoveDirectory, dir, path);
        }
        Step::CreateDirectory(dir, path) => {
            guest.on_path(Function::PathCreateDirectory, dir, path);
        }
        Step::NowAndRandom => drop(guest.now_and_random()),
    }
}

/// What a guest can find out about its descriptors.
fn view(guest: &mut Guest, state: &HostState) -> Vec<String> {
    let mut seen = Vec::new();
    for fd in 0..18 {
        let known = state.descriptors.iter().find(|d| d.fd == fd);
        // After an append the position is where the file ended then; others may have written since.
        let appended = known
            .is_some_and(|d| matches!(&d.target, Target::Opened(file) if file.position.is_none()));
        let mut stat = guest.filestat(fd);
        if let Reply::Filestat(stat) = &mut stat.reply
            && state.world.is_some()
            && known.is_none_or(|d| d.inode.is_none())
        {
            // A virtual number that the guest has not seen.
            stat.ino = 0;
        }
        seen.push(format!("{fd} stat {stat:?}"));
        seen.push(format!("{fd} fdstat {:?}", guest.fdstat(fd)));
        if !appended {
            seen.push(format!("{fd} tell {:?}", guest.tell(fd)));
            seen.push(format!("{fd} read {:?}", guest.read(fd, 16)));
            seen.push(format!("{fd} tell {:?}", guest.tell(fd)));
        }
        seen.push(format!("{fd} pread {:?}", guest.pread(fd, 100, 3)));
        seen.push(format!("{fd} list {:?}", guest.readdir(fd, 0).errno));
        seen.push(format!("{fd} open {:?}", guest.open(fd, "a", 0, READ, 0)));
    }
    seen
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn after_any_calls_a_resumed_guest_sees_what_it_would_have_seen(
        steps in prop::collection::vec(step(), 0..60),
        deterministic in any::<bool>(),
    ) {
        let root = tempfile::tempdir().unwrap();
        std::fs::write(root.path().join("a"), INPUT).unwrap();
        std::fs::create_dir(root.path().join("d")).unwrap();
        std::fs::write(root.path().join("d/b"), INPUT).unwrap();
        let config = || wrr_wasi::LiveConfig { deterministic, ..config(root.path()) };
        let mut guest = Guest::live(config());
        for step in &steps {
            take(&mut guest, step);
        }
        // What has no name any more cannot be opened again, and nothing else must be in the way.
        let mut state = guest.state();
        if let Err(error) = Guest::resumed(config(), &state) {
            let ResumeError::World { problems } = error else { panic!("{error}") };
            for problem in problems {
                let Problem::Unlinked { fd, .. } = problem else { panic!("{problem}") };
                prop_assert_eq!(guest.close(fd).errno, Errno::success);
            }
            state = guest.state();
        }
        prop_assert_eq!(&Descriptors::from_state(&state).unwrap().state(), &state);
        let mut resumed = Guest::resumed(config(), &state).unwrap();
        if deterministic {
            prop_assert_eq!(guest.now_and_random(), resumed.now_and_random());
        }
        let (then, now) = (view(&mut guest, &state), view(&mut resumed, &state));
        for (then, now) in then.iter().zip(&now) {
            prop_assert_eq!(then, now);
        }
    }
}
