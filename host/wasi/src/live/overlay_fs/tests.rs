//! The layer against the host: the same calls on the same files have the same results, errnos included.
//!
//! The host is `wasi-common`'s own directory over a folder; the layer stands above another folder that began the same. What
//! is not compared: times of their own, sizes and link counts of directories, the order of listings.

use super::super::wait;
use super::*;
use crate::overlay::{Lower, OverlayOptions, OverlaySnapshot};
use proptest::prelude::*;
use std::path::Path;
use wasi_common::sync::dir::Dir;
use wrr_trace::Errno;

/// What a call came to, as far as it can be compared.
type Outcome = Result<String, Errno>;

#[derive(Clone, Debug)]
enum Call {
    Open {
        dir: usize,
        path: String,
        oflags: u32,
        fdflags: u32,
        read: bool,
        write: bool,
        follow: bool,
    },
    Close {
        file: usize,
    },
    MakeDir {
        dir: usize,
        path: String,
    },
    RemoveDir {
        dir: usize,
        path: String,
    },
    Unlink {
        dir: usize,
        path: String,
    },
    Symlink {
        dir: usize,
        target: String,
        path: String,
    },
    ReadLink {
        dir: usize,
        path: String,
    },
    Rename {
        dir: usize,
        path: String,
        to: usize,
        to_path: String,
    },
    Link {
        dir: usize,
        path: String,
        to: usize,
        to_path: String,
    },
    Stat {
        dir: usize,
        path: String,
        follow: bool,
    },
    SetTimes {
        dir: usize,
        path: String,
        follow: bool,
        ns: u64,
    },
    List {
        dir: usize,
    },
    Read {
        file: usize,
        len: usize,
    },
    ReadAt {
        file: usize,
        len: usize,
        at: u64,
    },
    Write {
        file: usize,
        data: Vec<u8>,
    },
    WriteAt {
        file: usize,
        data: Vec<u8>,
        at: u64,
    },
    Seek {
        file: usize,
        to: i64,
        whence: u8,
    },
    Resize {
        file: usize,
        size: u64,
    },
    StatFile {
        file: usize,
    },
    SetFlags {
        file: usize,
        fdflags: u32,
    },
}

/// One side: the directories and files that are open.
struct Side {
    dirs: Vec<Box<dyn WasiDir>>,
    files: Vec<Option<Box<dyn WasiFile>>>,
}

fn outcome(result: Result<String, Error>) -> Outcome {
    result.map_err(|error| super::super::errno::of(error).unwrap_or_else(|what| panic!("{what}")))
}

fn shown(stat: &Filestat) -> String {
    let own = match stat.filetype {
        FileType::Directory => (0, 0),
        _ => (stat.nlink, stat.size),
    };
    // Times that a test has set are long ago.
    let set = |time: Option<SystemTime>| {
        let ns = time.map_or(0, crate::overlay::nanoseconds_for_tests);
        if ns < 1 << 50 { ns } else { 0 }
    };
    let modified = if stat.filetype == FileType::Directory { 0 } else { set(stat.mtim) };
    format!("{:?} {own:?} {modified}", stat.filetype)
}

impl Side {
    fn new(root: Box<dyn WasiDir>) -> Side {
        Side { dirs: vec![root], files: Vec::new() }
    }

    fn dir(&self, dir: usize) -> &dyn WasiDir {
        &*self.dirs[dir % self.dirs.len()]
    }

    fn file(&self, file: usize) -> Result<&dyn WasiFile, Error> {
        let count = self.files.len().max(1);
        self.files.get(file % count).and_then(Option::as_deref).ok_or_else(Error::badf)
    }

    fn call(&mut self, call: &Call) -> Outcome {
        let done = |()| String::new();
        outcome(match call {
            Call::Open { dir, path, oflags, fdflags, read, write, follow } => {
                let oflags = OFlags::from_bits_truncate(*oflags);
                let fdflags = FdFlags::from_bits_truncate(*fdflags);
                let opened =
                    self.dir(*dir).open_file(*follow, path, oflags, *read, *write, fdflags);
                wait(opened).map(|opened| match opened {
                    OpenResult::File(file) => {
                        self.files.push(Some(file));
                        "file".to_owned()
                    }
                    OpenResult::Dir(dir) => {
                        self.dirs.push(dir);
                        "directory".to_owned()
                    }
                })
            }
            Call::Close { file } => {
                let count = self.files.len().max(1);
                if let Some(file) = self.files.get_mut(file % count) {
                    *file = None;
                }
                Ok(String::new())
            }
            Call::MakeDir { dir, path } => wait(self.dir(*dir).create_dir(path)).map(done),
            Call::RemoveDir { dir, path } => wait(self.dir(*dir).remove_dir(path)).map(done),
            Call::Unlink { dir, path } => wait(self.dir(*dir).unlink_file(path)).map(done),
            Call::Symlink { dir, target, path } => {
                wait(self.dir(*dir).symlink(target, path)).map(done)
            }
            Call::ReadLink { dir, path } => {
                wait(self.dir(*dir).read_link(path)).map(|path| path.display().to_string())
            }
            Call::Rename { dir, path, to, to_path } => {
                wait(self.dir(*dir).rename(path, self.dir(*to), to_path)).map(done)
            }
            Call::Link { dir, path, to, to_path } => {
                wait(self.dir(*dir).hard_link(path, self.dir(*to), to_path)).map(done)
            }
            Call::Stat { dir, path, follow } => {
                wait(self.dir(*dir).get_path_filestat(path, *follow)).map(|stat| shown(&stat))
            }
            Call::SetTimes { dir, path, follow, ns } => {
                let time = SystemTime::UNIX_EPOCH + Duration::from_nanos(*ns);
                let time = cap_std::time::SystemTime::from_std(time);
                let [atime, mtime] = [0, 1].map(|_| Some(SystemTimeSpec::Absolute(time)));
                wait(self.dir(*dir).set_times(path, atime, mtime, *follow)).map(done)
            }
            Call::List { dir } => list(self.dir(*dir)).map(|names| format!("{names:?}")),
            Call::Read { file, len } => self.file(*file).and_then(|file| {
                let mut data = vec![0; *len];
                let count = wait(file.read_vectored(&mut [IoSliceMut::new(&mut data)]))?;
                Ok(format!("{:?}", &data[..count as usize]))
            }),
            Call::ReadAt { file, len, at } => self.file(*file).and_then(|file| {
                let mut data = vec![0; *len];
                let count = wait(file.read_vectored_at(&mut [IoSliceMut::new(&mut data)], *at))?;
                Ok(format!("{:?}", &data[..count as usize]))
            }),
            Call::Write { file, data } => self.file(*file).and_then(|file| {
                wait(file.write_vectored(&[IoSlice::new(data)])).map(|count| count.to_string())
            }),
            Call::WriteAt { file, data, at } => self.file(*file).and_then(|file| {
                let bufs = [IoSlice::new(data)];
                wait(file.write_vectored_at(&bufs, *at)).map(|count| count.to_string())
            }),
            Call::Seek { file, to, whence } => self.file(*file).and_then(|file| {
                let to = match whence {
                    0 => SeekFrom::Start(to.unsigned_abs()),
                    1 => SeekFrom::Current(*to),
                    _ => SeekFrom::End(*to),
                };
                wait(file.seek(to)).map(|at| at.to_string())
            }),
            Call::Resize { file, size } => {
                self.file(*file).and_then(|file| wait(file.set_filestat_size(*size)).map(done))
            }
            Call::StatFile { file } => self
                .file(*file)
                .and_then(|file| Ok((wait(file.get_filestat())?, wait(file.get_fdflags())?)))
                .map(|(stat, flags)| format!("{} {flags:?}", shown(&stat))),
            Call::SetFlags { file, fdflags } => {
                let count = self.files.len().max(1);
                match self.files.get_mut(file % count) {
                    Some(Some(file)) => {
                        let flags = FdFlags::from_bits_truncate(*fdflags);
                        wait(file.set_fdflags(flags)).map(done)
                    }
                    _ => Err(Error::badf()),
                }
            }
        })
    }
}

fn list(dir: &dyn WasiDir) -> Result<Vec<(String, FileType)>, Error> {
    let entities = wait(dir.readdir(ReaddirCursor::from(0)))?;
    let mut names = entities
        .map(|entity| entity.map(|entity| (entity.name, entity.filetype)))
        .collect::<Result<Vec<_>, _>>()?;
    names.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(names)
}

/// Everything in a directory, with contents.
fn tree(dir: &dyn WasiDir, path: &str, lines: &mut Vec<String>) {
    for (name, filetype) in list(dir).unwrap() {
        if name == "." || name == ".." {
            continue;
        }
        let stat = wait(dir.get_path_filestat(&name, false)).unwrap();
        let mut line = format!("{path}/{name} {}", shown(&stat));
        match filetype {
            FileType::RegularFile => {
                let flags = (OFlags::empty(), FdFlags::empty());
                let opened = wait(dir.open_file(false, &name, flags.0, true, false, flags.1));
                let OpenResult::File(file) = opened.unwrap() else { panic!("{name}") };
                let mut data = vec![0; stat.size as usize + 10];
                let count = wait(file.read_vectored(&mut [IoSliceMut::new(&mut data)])).unwrap();
                let hash = blake3::hash(&data[..count as usize]);
                line.push_str(&format!(" {count} {hash}"));
            }
            FileType::SymbolicLink => {
                let target = wait(dir.read_link(&name)).map(|path| path.display().to_string());
                line.push_str(&format!(" {:?}", target.ok()));
            }
            _ => {}
        }
        lines.push(line);
        if filetype == FileType::Directory {
            let flags = (OFlags::DIRECTORY, FdFlags::empty());
            let opened = wait(dir.open_file(false, &name, flags.0, true, false, flags.1));
            let OpenResult::Dir(below) = opened.unwrap() else { panic!("{name}") };
            tree(&*below, &format!("{path}/{name}"), lines);
        }
    }
}

/// The folder that both sides begin with.
fn populate(root: &Path) {
    std::fs::create_dir_all(root.join("a/b/c")).unwrap();
    std::fs::create_dir(root.join("empty")).unwrap();
    std::fs::write(root.join("f"), b"some text that is below").unwrap();
    std::fs::write(root.join("a/f"), vec![7; 10_000]).unwrap();
    std::fs::write(root.join("a/b/g"), b"").unwrap();
    std::os::unix::fs::symlink("a", root.join("l")).unwrap();
    std::os::unix::fs::symlink("../f", root.join("a/l")).unwrap();
    std::os::unix::fs::symlink("nowhere", root.join("dangling")).unwrap();
    std::os::unix::fs::symlink("../..", root.join("a/out")).unwrap();
    std::os::unix::fs::symlink("/etc", root.join("abs")).unwrap();
    std::os::unix::fs::symlink("loop", root.join("loop")).unwrap();
    std::os::unix::fs::symlink("a/", root.join("slashed")).unwrap();
}

fn host(root: &Path) -> Box<dyn WasiDir> {
    let dir = cap_std::fs::Dir::open_ambient_dir(root, cap_std::ambient_authority()).unwrap();
    Box::new(Dir::from_cap_std(dir))
}

fn layer(root: &Path, options: OverlayOptions) -> (Overlay, Box<dyn WasiDir>) {
    let dir = cap_std::fs::Dir::open_ambient_dir(root, cap_std::ambient_authority()).unwrap();
    let lower = Lower { name: ".".to_owned(), dir: Some(dir) };
    let overlay = Overlay::new(vec![lower], false, options);
    let root = OverlayDirectory::preopened(&overlay, 0);
    (overlay, Box::new(root))
}

/// A layer at a moment, with all that can be seen of it.
#[derive(Clone)]
struct Kept {
    snapshot: OverlaySnapshot,
    hash: [u8; 32],
    lines: Vec<String>,
}

impl Kept {
    fn of(overlay: &Overlay) -> Kept {
        let mut lines = Vec::new();
        tree(&OverlayDirectory::preopened(overlay, 0), "", &mut lines);
        Kept { snapshot: overlay.snapshot(), hash: overlay.hash([]).unwrap(), lines }
    }
}

impl PartialEq for Kept {
    fn eq(&self, other: &Kept) -> bool {
        (&self.hash, &self.lines) == (&other.hash, &other.lines)
    }
}

impl std::fmt::Debug for Kept {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(&self.lines).finish()
    }
}

fn name() -> impl Strategy<Value = String> {
    let names = [
        "a", "b", "c", "f", "g", "l", "x", "y", "z", "empty", "dangling", "out", "abs", "loop",
        "slashed", ".", "..", ".hidden",
    ];
    prop_oneof![
        30 => prop::sample::select(names.to_vec()).prop_map(str::to_owned),
        1 => Just("n".repeat(256)),
    ]
}

fn path() -> BoxedStrategy<String> {
    let joined = (
        prop::collection::vec(name(), 1..4),
        prop::sample::select(vec!["", "", "", "/", "/.", "//"]),
    );
    let joined = joined.prop_map(|(names, end)| names.join("/") + end);
    prop_oneof![
        40 => joined,
        1 => Just(String::new()),
        1 => Just("/".to_owned()),
        1 => Just("/a".to_owned()),
        1 => Just("a//b".to_owned()),
        1 => Just("a\0b".to_owned()),
        1 => Just("a/".repeat(2100)),
    ]
    .boxed()
}

fn data() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..20),
        (any::<u8>(), 4000..13_000_usize).prop_map(|(byte, len)| vec![byte; len]),
    ]
}

fn offset() -> impl Strategy<Value = u64> {
    prop_oneof![0..50_u64, 3000..20_000_u64, Just(i64::MAX as u64 + 1)]
}

fn call() -> impl Strategy<Value = Call> {
    let at = 0..6_usize;
    let flags = (0..16_u32, prop::sample::select(vec![0, 0, 0, 1, 4, 2, 16]));
    let opening = (at.clone(), path(), flags, any::<bool>(), any::<bool>(), any::<bool>());
    let opened = opening.prop_map(|(dir, path, (oflags, fdflags), read, write, follow)| {
        Call::Open { dir, path, oflags, fdflags, read, write, follow }
    });
    // Most of what is opened shall be a file that can be used.
    let usual = (at.clone(), path(), any::<bool>()).prop_map(|(dir, path, create)| {
        let (fdflags, oflags) = (0, u32::from(create));
        Call::Open { dir, path, oflags, fdflags, read: true, write: true, follow: true }
    });
    let subdir = (at.clone(), path()).prop_map(|(dir, path)| Call::Open {
        dir,
        path,
        oflags: 2,
        fdflags: 0,
        read: true,
        write: false,
        follow: true,
    });
    let one = (at.clone(), path());
    let two = (at.clone(), path(), at.clone(), path());
    prop_oneof![
        4 => opened,
        4 => usual,
        2 => subdir,
        1 => at.clone().prop_map(|file| Call::Close { file }),
        2 => one.clone().prop_map(|(dir, path)| Call::MakeDir { dir, path }),
        2 => one.clone().prop_map(|(dir, path)| Call::RemoveDir { dir, path }),
        2 => one.clone().prop_map(|(dir, path)| Call::Unlink { dir, path }),
        2 => (at.clone(), path(), path())
            .prop_map(|(dir, target, path)| Call::Symlink { dir, target, path }),
        1 => one.clone().prop_map(|(dir, path)| Call::ReadLink { dir, path }),
        4 => two.clone().prop_map(|(dir, path, to, to_path)| Call::Rename { dir, path, to, to_path }),
        2 => two.prop_map(|(dir, path, to, to_path)| Call::Link { dir, path, to, to_path }),
        2 => (one.clone(), any::<bool>())
            .prop_map(|((dir, path), follow)| Call::Stat { dir, path, follow }),
        1 => (one, any::<bool>(), 1..1_u64 << 40)
            .prop_map(|((dir, path), follow, ns)| Call::SetTimes { dir, path, follow, ns }),
        1 => at.clone().prop_map(|dir| Call::List { dir }),
        2 => (at.clone(), 0..9000_usize).prop_map(|(file, len)| Call::Read { file, len }),
        2 => (at.clone(), 0..9000_usize, offset())
            .prop_map(|(file, len, at)| Call::ReadAt { file, len, at }),
        3 => (at.clone(), data()).prop_map(|(file, data)| Call::Write { file, data }),
        3 => (at.clone(), data(), offset())
            .prop_map(|(file, data, at)| Call::WriteAt { file, data, at }),
        2 => (at.clone(), -100..20_000_i64, 0..3_u8)
            .prop_map(|(file, to, whence)| Call::Seek { file, to, whence }),
        2 => (at.clone(), 0..30_000_u64).prop_map(|(file, size)| Call::Resize { file, size }),
        2 => at.clone().prop_map(|file| Call::StatFile { file }),
        1 => (at, prop::sample::select(vec![0, 1, 2, 4, 5]))
            .prop_map(|(file, fdflags)| Call::SetFlags { file, fdflags }),
    ]
}

/// Does on one side what a call says, and gives what came of it.
fn both(host: &mut Side, layer: &mut Side, call: &Call) -> (Outcome, Outcome) {
    let (mut expected, mut found) = (host.call(call), layer.call(call));
    // Which of two errors it is depends on when the system's string is made, and on the order in which the system looks.
    let two_errors = match call {
        Call::Rename { path, to_path, .. } | Call::Link { path, to_path, .. } => {
            path.contains('\0') || to_path.contains('\0')
        }
        Call::Open { path, .. } => path.contains("nnn") && path.ends_with('/'),
        _ => false,
    };
    if two_errors && expected.is_err() && found.is_err() {
        (expected, found) = (Err(Errno::inval), Err(Errno::inval));
    }
    (expected, found)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn the_layer_does_what_the_host_does(
        calls in prop::collection::vec(call(), 1..60), spill in any::<bool>(), step in 1..20_usize,
    ) {
        let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        folders.iter().for_each(|folder| populate(folder.path()));
        let mut lines = [Vec::new(), Vec::new()];
        let before = {
            let mut before = Vec::new();
            tree(&*host(folders[1].path()), "", &mut before);
            before
        };
        let memory_bytes_max = if spill { 8192 } else { 1 << 20 };
        let options = OverlayOptions { memory_bytes_max, ..OverlayOptions::default() };
        let (overlay, dir) = layer(folders[1].path(), options);
        overlay.keep_edits();
        let mut sides = [Side::new(host(folders[0].path())), Side::new(dir)];
        let [one, other] = &mut sides;
        let mut kept = Vec::new();
        for (i, call) in calls.iter().enumerate() {
            let (expected, found) = both(one, other, call);
            prop_assert_eq!(&found, &expected, "call {}: {:?}", i, call);
            if i % step == 0 {
                kept.push(Kept::of(&overlay));
            }
        }
        for (side, lines) in sides.iter().zip(&mut lines) {
            tree(&*side.dirs[0], "", lines);
        }
        prop_assert_eq!(&lines[1], &lines[0]);
        let mut after = Vec::new();
        tree(&*host(folders[1].path()), "", &mut after);
        prop_assert_eq!(after, before, "nothing is written below");
        // Whoever carries out the edits has the same layer.
        let (again, _dir) = layer(folders[1].path(), OverlayOptions::default());
        for edit in overlay.take_edits() {
            again.apply(&edit).unwrap();
        }
        let end = Kept::of(&overlay);
        prop_assert_eq!(&Kept::of(&again), &end);
        prop_assert_eq!(again.changes(), overlay.changes());
        // It goes back to whatever it was, and so does what is forked from it.
        kept.push(Kept::of(&overlay));
        for kept in kept.iter().rev().chain(&kept) {
            overlay.restore(&kept.snapshot);
            prop_assert_eq!(&Kept::of(&overlay), kept);
            prop_assert_eq!(&Kept::of(&overlay.fork(&kept.snapshot)), kept);
        }
        // What is applied is what the host came to.
        drop(sides);
        let committed = overlay.commit();
        prop_assert!(committed.is_ok(), "{:?}", committed);
        let mut after = Vec::new();
        tree(&*host(folders[1].path()), "", &mut after);
        prop_assert_eq!(&after, &lines[0]);
    }
}

#[test]
fn a_file_that_is_mostly_a_hole_is_applied_as_one() {
    use std::os::unix::fs::MetadataExt as _;
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("f"), vec![1; 5000]).unwrap();
    let (overlay, dir) = layer(folder.path(), OverlayOptions::default());
    let mut side = Side::new(dir);
    let open = |path: &str| Call::Open {
        dir: 0,
        path: path.to_owned(),
        oflags: 1,
        fdflags: 0,
        read: true,
        write: true,
        follow: true,
    };
    const TEBIBYTE: u64 = 1 << 40;
    for (file, path) in ["f", "new"].into_iter().enumerate() {
        side.call(&open(path)).unwrap();
        side.call(&Call::WriteAt { file, data: vec![7; 10], at: TEBIBYTE - 5 }).unwrap();
        side.call(&Call::Resize { file, size: 2 * TEBIBYTE }).unwrap();
    }
    overlay.commit().unwrap();
    for (path, before) in [("f", 1), ("new", 0)] {
        let file = std::fs::File::open(folder.path().join(path)).unwrap();
        let metadata = file.metadata().unwrap();
        assert_eq!(metadata.len(), 2 * TEBIBYTE);
        assert!(metadata.blocks() * 512 < 1 << 20, "{} blocks", metadata.blocks());
        for (at, expected) in
            [(0, before), (4999, before), (5000, 0), (TEBIBYTE - 5, 7), (TEBIBYTE + 5, 0)]
        {
            let mut byte = [9];
            std::os::unix::fs::FileExt::read_exact_at(&file, &mut byte, at).unwrap();
            assert_eq!(byte, [expected], "{path} at {at}");
        }
    }
}

/// The name that it has below goes along with its directory, so the other one is made from it.
#[test]
fn a_second_name_of_a_file_in_a_directory_that_was_moved_is_applied() {
    for changed in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        populate(folder.path());
        let (overlay, dir) = layer(folder.path(), OverlayOptions::default());
        let mut side = Side::new(dir);
        let path = |path: &str| path.to_owned();
        side.call(&Call::Link { dir: 0, path: path("a/f"), to: 0, to_path: path("b") }).unwrap();
        side.call(&Call::Rename { dir: 0, path: path("a"), to: 0, to_path: path("z") }).unwrap();
        if changed {
            let (oflags, fdflags, read, write, follow) = (0, 0, true, true, true);
            let open = Call::Open { dir: 0, path: path("b"), oflags, fdflags, read, write, follow };
            side.call(&open).unwrap();
            side.call(&Call::WriteAt { file: 0, data: vec![8; 10], at: 5 }).unwrap();
        }
        let expected = Kept::of(&overlay).lines;
        overlay.commit().unwrap();
        let mut found = Vec::new();
        tree(&*host(folder.path()), "", &mut found);
        assert_eq!(found, expected);
    }
}
