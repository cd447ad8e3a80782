//! `wrr` at a terminal, and somebody who types and watches.

use super::wrr;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(120);
/// What the keys send.
pub const CTRL_C: &str = "\x03";
pub const CTRL_D: &str = "\x04";

pub struct Terminal {
    keyboard: File,
    /// Everything that was shown, and how much of it has been waited for.
    shown: String,
    seen_bytes: usize,
    child: Child,
}

impl Terminal {
    /// Starts `wrr` on a new terminal.
    pub fn start(folder: &Path, arguments: &[&str]) -> Terminal {
        Terminal::shell(folder, "exec \"$0\" \"$@\"", arguments)
    }

    /// Starts a shell line, which must end as `wrr`, on a new terminal. `wrr` is its `$0`.
    pub fn shell(folder: &Path, line: &str, arguments: &[&str]) -> Terminal {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let keyboard = openpt(flags).expect("this system has terminals");
        grantpt(&keyboard).unwrap();
        unlockpt(&keyboard).unwrap();
        let name = ptsname(&keyboard, Vec::new()).unwrap().into_string().unwrap();
        let mut options = File::options();
        options.read(true).write(true).custom_flags(OpenptFlags::NOCTTY.bits().cast_signed());
        let screen = options.open(name).unwrap();
        let wrr = wrr(folder);
        // Only in a session of its own Ctrl-C and the closing of the terminal are signals.
        let mut command = Command::new("setsid");
        command.args(["--ctty", "sh", "-c", line]).arg(wrr.get_program()).args(arguments);
        command.current_dir(folder);
        for (key, value) in wrr.get_envs() {
            match value {
                Some(value) => command.env(key, value),
                None => command.env_remove(key),
            };
        }
        command.stdin(screen.try_clone().unwrap()).stdout(screen.try_clone().unwrap());
        let child = command.stderr(screen).spawn().expect("setsid is there");
        Terminal { keyboard: keyboard.into(), shown: String::new(), seen_bytes: 0, child }
    }

    pub fn type_in(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).unwrap();
    }

    /// Reads what is shown until it is enough, or nobody can show more.
    #[track_caller]
    fn watch(&mut self, enough: impl Fn(&str) -> bool) {
        let until = Instant::now() + PATIENCE;
        while !enough(&self.shown[self.seen_bytes..]) {
            let left = until.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "too late; shown was {:?}", self.shown);
            let mut waiting = [PollFd::new(&self.keyboard, PollFlags::IN)];
            poll(&mut waiting, Some(&Timespec::try_from(left).unwrap())).unwrap();
            let mut bytes = [0; 4096];
            let Ok(count @ 1..) = self.keyboard.read(&mut bytes) else { return };
            self.shown += &String::from_utf8_lossy(&bytes[..count]);
        }
    }

    /// Waits until this is shown, behind what was waited for before.
    #[track_caller]
    pub fn expect(&mut self, text: &str) {
        self.watch(|new| new.contains(text));
        let found = self.shown[self.seen_bytes..].find(text);
        let found = found.unwrap_or_else(|| panic!("{text:?} is not in {:?}", self.shown));
        self.seen_bytes += found + text.len();
    }

    /// Types a line and waits until it and this answer are shown.
    #[track_caller]
    pub fn ask(&mut self, line: &str, answer: &str) {
        self.type_in(&format!("{line}\r"));
        self.expect(&format!("{line}\r\n{answer}"));
    }

    /// Waits for the end; gives the exit code and everything that was shown.
    #[track_caller]
    pub fn end(mut self) -> (Option<i32>, String) {
        self.watch(|_| false);
        (self.wait(), std::mem::take(&mut self.shown))
    }

    /// Closes the terminal; gives the exit code.
    #[track_caller]
    pub fn close(mut self) -> Option<i32> {
        self.keyboard = File::open("/dev/null").unwrap();
        self.wait()
    }

    /// Kills `wrr` in a way that it does not notice.
    #[track_caller]
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.wait();
    }

    #[track_caller]
    fn wait(&mut self) -> Option<i32> {
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            assert!(Instant::now() < until, "it does not end; shown was {:?}", self.shown);
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
