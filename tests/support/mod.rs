//! What the end-to-end tests share: the guests, the real binary, folders to run it in.

#![allow(dead_code, reason = "each test binary uses a part of it")]

#[cfg(target_os = "linux")]
pub mod terminal;

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// The repository.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The folder with the compiled guests; compiles them at the first call.
pub fn guests() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| compiled("tests/programs", "guests", &[]))
}

/// The folder with the compiled targets of `examples/fuzz/rust`: libraries are in `examples`. Compiles them at the first call.
pub fn fuzz_targets() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| compiled("examples/fuzz/rust", "fuzz-targets", &["--examples", "--bins"]))
}

/// Compiles a package of guests into a folder below `target`.
fn compiled(package: &str, folder: &str, what: &[&str]) -> PathBuf {
    let target = root().join("target").join(folder);
    let status = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--locked", "--release", "--target", "wasm32-wasip1"])
        .args(what)
        .arg("--manifest-path")
        .arg(root().join(package).join("Cargo.toml"))
        .arg("--target-dir")
        .arg(&target)
        // Flags for the host are not for the guests.
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .env_remove("RUSTFLAGS")
        .status()
        .expect("cargo runs");
    assert!(status.success(), "{package} does not compile; is the target there? (make setup)");
    target.join("wasm32-wasip1/release")
}

/// What a guest's source says about how to run it: lines `//# key: value` at its top.
#[derive(Clone, Debug, Default)]
pub struct Guest {
    /// The source's file name without extension.
    pub name: String,
    /// The module.
    pub module: PathBuf,
    pub args: Vec<String>,
    pub env: Vec<String>,
    pub dir: Option<String>,
    pub stdin: Vec<u8>,
    pub tcplisten: Option<Vec<u8>>,
    pub exit: i32,
    pub trap: Option<String>,
    pub invoke: Option<String>,
    pub stdout: Option<Vec<u8>>,
    pub nondeterministic: bool,
    pub refused: Vec<String>,
}

impl Guest {
    fn parse(name: &str, module: PathBuf, source: &str, marker: &str) -> Guest {
        let mut guest = Guest { name: name.to_owned(), module, ..Guest::default() };
        for line in source.lines() {
            let Some(directive) = line.strip_prefix(marker) else { break };
            let (key, value) = directive.split_once(':').expect("a directive is `key: value`");
            let value = value.trim();
            match key.trim() {
                "args" => guest.args = value.split(' ').map(str::to_owned).collect(),
                "env" => guest.env.push(value.to_owned()),
                "dir" => guest.dir = Some(value.to_owned()),
                "stdin" => guest.stdin = unescape(value),
                "tcplisten" => guest.tcplisten = Some(unescape(value)),
                "exit" => guest.exit = value.parse().expect("a number"),
                "trap" => guest.trap = Some(value.to_owned()),
                "invoke" => guest.invoke = Some(value.to_owned()),
                "stdout" => guest.stdout = Some(unescape(value)),
                "nondeterministic" => guest.nondeterministic = true,
                "refused" => guest.refused.push(value.to_owned()),
                other => panic!("{name}: unknown directive {other}"),
            }
        }
        guest
    }

    /// The exit code that wrr should end with.
    pub fn expected_code(&self) -> i32 {
        if self.trap.is_some() { 134 } else { self.exit }
    }
}

fn unescape(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'\\' => match bytes.next() {
                Some(b'n') => b'\n',
                Some(b't') => b'\t',
                Some(b'\\') => b'\\',
                other => panic!("unknown escape {other:?} in {text:?}"),
            },
            byte => byte,
        });
    }
    out
}

fn sources(folder: &str, extension: &str) -> Vec<(String, PathBuf)> {
    let mut found: Vec<_> = std::fs::read_dir(root().join(folder))
        .expect("the folder is part of the repository")
        .map(|entry| entry.expect("it can be listed").path())
        .filter(|path| path.extension().is_some_and(|e| e == extension))
        .map(|path| (path.file_stem().unwrap().to_str().unwrap().to_owned(), path))
        .collect();
    found.sort();
    found
}

/// All small guests: dropping a source into `tests/programs/src/bin` or `tests/programs/wat` adds one.
pub fn all_guests() -> Vec<Guest> {
    let rust = sources("tests/programs/src/bin", "rs").into_iter().map(|(name, path)| {
        let source = std::fs::read_to_string(path).unwrap();
        Guest::parse(&name, guests().join(format!("{name}.wasm")), &source, "//#")
    });
    let text = sources("tests/programs/wat", "wat").into_iter().map(|(name, path)| {
        let source = std::fs::read_to_string(&path).unwrap();
        Guest::parse(&name, path, &source, ";;#")
    });
    rust.chain(text).collect()
}

/// Modules that must not be run.
pub fn refused_guests() -> Vec<Guest> {
    let sources = sources("tests/programs/refused", "wat").into_iter();
    sources
        .map(|(name, path)| {
            let source = std::fs::read_to_string(&path).unwrap();
            Guest::parse(&name, path, &source, ";;#")
        })
        .collect()
}

/// One small guest by name.
pub fn guest(name: &str) -> Guest {
    all_guests().into_iter().find(|g| g.name == name).unwrap_or_else(|| panic!("no guest {name}"))
}

/// A folder that is removed at the end of a test.
pub fn scratch() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

/// Compiled modules are shared between all tests of a run, as a user's are.
fn cache() -> PathBuf {
    root().join("target/test-cache")
}

/// `wrr`, in this folder, with nothing of the test's environment that could matter.
pub fn wrr(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wrr"));
    command.current_dir(folder).env("WRR_CACHE", cache()).env_remove("WRR_DEBUG");
    command
}

/// Runs a command to its end, feeding standard input.
pub fn finish(command: &mut Command, stdin: &[u8]) -> Output {
    let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = child.expect("wrr starts");
    let mut pipe = child.stdin.take().expect("it is piped");
    std::thread::scope(|scope| {
        scope.spawn(move || {
            // A program need not read its input.
            let _ = pipe.write_all(stdin);
        });
        child.wait_with_output().expect("wrr ends")
    })
}

/// Whether this process, and so what it starts, ignores a signal.
pub fn ignored_here(signal: i32) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    mask >> (signal - 1) & 1 == 1
}

/// Output as text, for messages and comparisons.
pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Panics with everything that was said, unless the command ended with this code.
#[track_caller]
pub fn expect_code(output: &Output, code: i32) {
    assert_eq!(
        output.status.code(),
        Some(code),
        "stdout:\n{}\nstderr:\n{}",
        text(&output.stdout),
        text(&output.stderr)
    );
}

/// Copies a tree of files.
pub fn copy_tree(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy_tree(&path, &target);
        } else {
            std::fs::copy(&path, &target).unwrap();
        }
    }
}

/// Everything below a folder: directories, the targets of links, the contents of files.
pub fn tree(root: &Path) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut todo = vec![root.to_owned()];
    while let Some(folder) = todo.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let entry = entry.unwrap();
            let (path, kind) = (entry.path(), entry.file_type().unwrap());
            let what = if kind.is_symlink() {
                format!("link to {}", std::fs::read_link(&path).unwrap().display())
            } else if kind.is_dir() {
                todo.push(path.clone());
                "directory".to_owned()
            } else {
                text(&std::fs::read(&path).unwrap())
            };
            let name = path.strip_prefix(root).unwrap().display().to_string();
            found.insert(name, what);
        }
    }
    found
}

/// The arguments of `wrr run` or `wrr record` for a guest that is the file `module` and whose folder is `work`.
fn program_arguments(guest: &Guest, module: &str, work: &str, port: Option<u16>) -> Vec<String> {
    let mut arguments = Vec::new();
    let mut option = |name: &str, value: String| arguments.extend([name.to_owned(), value]);
    if let Some(dir) = &guest.dir {
        option("--dir", format!("{work}::{dir}"));
    }
    for env in &guest.env {
        option("--env", env.clone());
    }
    if let Some(export) = &guest.invoke {
        option("--invoke", export.clone());
    }
    if let Some(port) = port {
        option("--tcplisten", format!("127.0.0.1:{port}"));
    }
    arguments.push(module.to_owned());
    arguments.extend(guest.args.iter().cloned());
    arguments
}

/// Runs `wrr COMMAND` on a guest in `folder`, in a fresh copy of the fixture that is removed afterwards.
pub fn run_guest(command: &[&str], guest: &Guest, folder: &Path) -> Output {
    let work = scratch();
    copy_tree(&root().join("tests/programs/fixture"), work.path());
    let places = [guest.module.display().to_string(), work.path().display().to_string()];
    run_guest_by(wrr(folder).args(command), guest, &places)
}

/// Runs this `wrr COMMAND` on a guest. Its places are the module and its folder, as the command is to name them.
pub fn run_guest_by(wrr: &mut Command, guest: &Guest, [module, work]: &[String; 2]) -> Output {
    let port = guest.tcplisten.is_some().then(free_port);
    wrr.args(program_arguments(guest, module, work, port));
    std::thread::scope(|scope| {
        if let (Some(port), Some(message)) = (port, &guest.tcplisten) {
            scope.spawn(move || talk(port, message));
        }
        finish(wrr, &guest.stdin)
    })
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// The peer of a listening guest: sends a message and reads to the end.
fn talk(port: u16, message: &[u8]) {
    let until = Instant::now() + Duration::from_secs(60);
    let mut stream = loop {
        match TcpStream::connect(("127.0.0.1", port)) {
            Ok(stream) => break stream,
            Err(e) if Instant::now() > until => panic!("the guest does not listen: {e}"),
            Err(_) => std::thread::sleep(Duration::from_millis(5)),
        }
    };
    stream.write_all(message).unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let _ = stream.read_to_end(&mut Vec::new());
}

/// Numbers up to `most` that look random and are the same every time.
pub fn spread(i: u64, most: u64) -> u64 {
    (i + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) % (most + 1)
}
