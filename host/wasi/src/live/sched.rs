//! Waiting for descriptors.
//!
//! Our own, because upstream's reports every descriptor as ready as soon as one of them is; on Windows it looks but once
//! at what may take long, and takes every socket for ready.

use wasi_common::{Error, Poll, WasiSched};

/// The scheduler for `poll_oneoff`, `sched_yield` and sleeping.
pub struct Scheduler;

#[async_trait::async_trait]
impl WasiSched for Scheduler {
    async fn poll_oneoff<'a>(&self, poll: &mut Poll<'a>) -> Result<(), Error> {
        #[cfg(unix)]
        return unix::poll(poll);
        #[cfg(windows)]
        return windows::poll(poll);
    }

    async fn sched_yield(&self) -> Result<(), Error> {
        std::thread::yield_now();
        Ok(())
    }

    async fn sleep(&self, duration: std::time::Duration) -> Result<(), Error> {
        std::thread::sleep(duration);
        Ok(())
    }
}

#[cfg(unix)]
mod unix {
    use rustix::event::{PollFd, PollFlags, Timespec};
    use std::time::Duration;
    use wasi_common::sched::{RwEventFlags, Subscription};
    use wasi_common::{Error, ErrorExt as _, Poll};

    pub fn poll(poll: &mut Poll<'_>) -> Result<(), Error> {
        if poll.is_empty() {
            return Ok(());
        }
        let mut fds = Vec::new();
        for subscription in poll.rw_subscriptions() {
            let (file, flags) = match subscription {
                Subscription::Read(s) => (s.file, PollFlags::IN),
                Subscription::Write(s) => (s.file, PollFlags::OUT),
                Subscription::MonotonicClock(_) => continue,
            };
            let fd = file.pollable().ok_or_else(Error::invalid_argument)?;
            fds.push(PollFd::from_borrowed_fd(fd, flags));
        }
        loop {
            let timeout = match poll.earliest_clock_deadline() {
                None => None,
                Some(clock) => {
                    let left = clock.duration_until().unwrap_or(Duration::ZERO);
                    Some(Timespec::try_from(left).map_err(|_| Error::overflow())?)
                }
            };
            match rustix::event::poll(&mut fds, timeout.as_ref()) {
                // A clock's result is asked for by its deadline, which may be a moment away still.
                Ok(0) if timeout.is_some_and(|t| t.tv_sec > 0 || t.tv_nsec > 0) => continue,
                Ok(_) => break,
                Err(rustix::io::Errno::INTR) => continue,
                Err(error) => return Err(std::io::Error::from(error).into()),
            }
        }
        for (subscription, fd) in poll.rw_subscriptions().zip(&fds) {
            let seen = fd.revents();
            if seen.is_empty() {
                continue;
            }
            let (nbytes, subscription) = match subscription {
                Subscription::Read(s) => (s.file.num_ready_bytes().unwrap_or(0).max(1), s),
                Subscription::Write(s) => (0, s),
                Subscription::MonotonicClock(_) => continue,
            };
            if seen.contains(PollFlags::NVAL) {
                subscription.error(Error::badf());
            } else if seen.contains(PollFlags::ERR) {
                subscription.error(Error::io());
            } else if seen.contains(PollFlags::HUP) {
                subscription.complete(nbytes, RwEventFlags::HANGUP);
            } else {
                subscription.complete(nbytes, RwEventFlags::empty());
            }
        }
        Ok(())
    }
}

#[cfg(windows)]
mod windows {
    use crate::live::fs::OpenFile;
    use crate::live::overlay_fs::OverlayFile;
    use crate::live::resume::GoneConnection;
    use crate::live::streams::{Readiness, StandardInput, StandardOutput};
    use rustix::event::{PollFd, PollFlags, Timespec};
    use std::os::windows::io::{AsSocket as _, BorrowedSocket};
    use std::time::Duration;
    use wasi_common::sched::{RwEventFlags, Subscription};
    use wasi_common::sync::{file, net};
    use wasi_common::{Error, ErrorExt as _, Poll, WasiFile};

    /// Windows cannot wait for sockets, pipes and consoles at once, so they are looked at in turns. A wait begins with
    /// the short interval and comes to the long one.
    const LOOK_MIN: Duration = Duration::from_millis(1);
    const LOOK_MAX: Duration = Duration::from_millis(10);

    /// What can be waited for.
    enum Kind<'a> {
        Input(&'a StandardInput),
        Socket(BorrowedSocket<'a>),
        /// A file, or an output stream.
        Always,
    }

    fn kind(file: &dyn WasiFile) -> Option<Kind<'_>> {
        let any = file.as_any();
        if let Some(open) = any.downcast_ref::<OpenFile>() {
            return kind(&*open.inner);
        }
        if let Some(input) = any.downcast_ref::<StandardInput>() {
            return Some(Kind::Input(input));
        }
        if let Some(listener) = any.downcast_ref::<net::TcpListener>() {
            return Some(Kind::Socket(listener.as_socket()));
        }
        if let Some(stream) = any.downcast_ref::<net::TcpStream>() {
            return Some(Kind::Socket(stream.as_socket()));
        }
        let always =
            any.is::<file::File>() || any.is::<OverlayFile>() || any.is::<StandardOutput>();
        (always || any.is::<GoneConnection>()).then_some(Kind::Always)
    }

    pub fn poll(poll: &mut Poll<'_>) -> Result<(), Error> {
        if poll.is_empty() {
            return Ok(());
        }
        let mut look = Duration::ZERO;
        loop {
            let left = poll
                .earliest_clock_deadline()
                .map(|clock| clock.duration_until().unwrap_or(Duration::ZERO));
            let wait = left.map_or(look, |left| left.min(look));
            if look_once(poll, wait)? || left.is_some_and(|left| left.is_zero()) {
                return Ok(());
            }
            look = (look * 2).clamp(LOOK_MIN, LOOK_MAX);
        }
    }

    /// Marks what is ready. Waits for that, but not for longer than `wait`.
    fn look_once(poll: &mut Poll<'_>, wait: Duration) -> Result<bool, Error> {
        let mut subscriptions: Vec<_> = poll.rw_subscriptions().collect();
        let mut ready = false;
        let mut waited = false;
        let mut sockets = Vec::new();
        for subscription in &mut subscriptions {
            let (subscription, reads) = match subscription {
                Subscription::Read(s) => (s, true),
                Subscription::Write(s) => (s, false),
                Subscription::MonotonicClock(_) => continue,
            };
            let file = subscription.file;
            match kind(file).ok_or_else(Error::invalid_argument)? {
                Kind::Socket(socket) => {
                    let flags = if reads { PollFlags::IN } else { PollFlags::OUT };
                    sockets.push((PollFd::from_borrowed_fd(socket, flags), reads, subscription));
                }
                Kind::Input(input) if reads => {
                    let wait = if waited || ready { Duration::ZERO } else { wait };
                    waited = true;
                    let (nbytes, flags) = match input.wait(wait) {
                        Some(Readiness::Bytes(nbytes)) => (nbytes, RwEventFlags::empty()),
                        Some(Readiness::Over) => (1, RwEventFlags::HANGUP),
                        None => continue,
                    };
                    subscription.complete(nbytes, flags);
                    ready = true;
                }
                Kind::Input(_) | Kind::Always => {
                    let nbytes = if reads { file.num_ready_bytes().unwrap_or(0).max(1) } else { 0 };
                    subscription.complete(nbytes, RwEventFlags::empty());
                    ready = true;
                }
            }
        }
        let wait = if waited || ready { Duration::ZERO } else { wait };
        if sockets.is_empty() {
            std::thread::sleep(wait);
            return Ok(ready);
        }
        let timeout = Timespec::try_from(wait).map_err(|_| Error::overflow())?;
        let mut fds: Vec<_> = sockets.iter().map(|(fd, ..)| fd.clone()).collect();
        rustix::event::poll(&mut fds, Some(&timeout)).map_err(std::io::Error::from)?;
        for (fd, (_, reads, subscription)) in fds.iter().zip(&mut sockets) {
            let seen = fd.revents();
            if seen.is_empty() {
                continue;
            }
            ready = true;
            let file = subscription.file;
            let nbytes = if *reads { file.num_ready_bytes().unwrap_or(0).max(1) } else { 0 };
            if seen.contains(PollFlags::NVAL) {
                subscription.error(Error::badf());
            } else if seen.contains(PollFlags::ERR) {
                subscription.error(Error::io());
            } else if seen.contains(PollFlags::HUP) {
                subscription.complete(nbytes, RwEventFlags::HANGUP);
            } else {
                subscription.complete(nbytes, RwEventFlags::empty());
            }
        }
        Ok(ready)
    }
}
