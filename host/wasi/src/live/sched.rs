//! Waiting for descriptors.
//!
//! On Unix our own, because upstream's reports every descriptor as ready as soon as one of them is.

use wasi_common::{Error, Poll, WasiSched};

/// The scheduler for `poll_oneoff`, `sched_yield` and sleeping.
pub struct Scheduler;

#[async_trait::async_trait]
impl WasiSched for Scheduler {
    async fn poll_oneoff<'a>(&self, poll: &mut Poll<'a>) -> Result<(), Error> {
        #[cfg(unix)]
        return unix::poll(poll);
        #[cfg(not(unix))]
        return wasi_common::sync::sched::poll_oneoff(poll).await;
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
