//! Shows on a terminal that something takes long.

use indicatif::{ProgressBar, ProgressStyle};
use std::io::IsTerminal as _;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use wrr::Observer;

/// What is over sooner is not shown.
const DELAY: Duration = Duration::from_millis(500);
const TICK: Duration = Duration::from_millis(100);

/// A line with a share and the time that is left, which appears if the work takes longer than half
/// a second.
pub struct Share {
    stop: Sender<()>,
    thread: JoinHandle<()>,
}

impl Share {
    /// Starts to wait. Without a terminal nothing is ever shown.
    pub fn start(progress: Arc<wrr::Progress>) -> Option<Share> {
        if !std::io::stderr().is_terminal() {
            return None;
        }
        let (stop, stopped) = channel();
        let thread = std::thread::spawn(move || {
            let mut shown: Option<ProgressBar> = None;
            let mut estimate = Estimate::default();
            let started = Instant::now();
            while stopped.recv_timeout(TICK) == Err(RecvTimeoutError::Timeout) {
                let text = estimate.text(progress.share(), started.elapsed());
                match (&shown, text) {
                    (_, Some(text)) => {
                        let bar = shown.get_or_insert_with(|| {
                            let bar = ProgressBar::new_spinner();
                            bar.with_style(
                                ProgressStyle::with_template("{spinner} {msg}, Ctrl-C cancels")
                                    .expect("the template is a constant"),
                            )
                        });
                        bar.set_message(text);
                        bar.tick();
                    }
                    (Some(bar), None) => bar.tick(),
                    (None, None) => {}
                }
            }
            if let Some(bar) = shown {
                bar.finish_and_clear();
            }
        });
        Some(Share { stop, thread })
    }

    /// Removes the line.
    pub fn stop(self) {
        drop(self.stop);
        let _ = self.thread.join();
    }
}

/// Guesses how long something still takes from how long it took so far.
#[derive(Default)]
struct Estimate {
    /// When what is being done was seen first, and which share was done then.
    began: Option<(Duration, f64)>,
}

impl Estimate {
    /// What is shown; nothing if nothing is being done, or not for long yet.
    fn text(&mut self, share: Option<f64>, now: Duration) -> Option<String> {
        let Some(share) = share else {
            self.began = None;
            return None;
        };
        let (since, first) = match self.began {
            Some((since, first)) if share >= first => (since, first),
            // Something else has begun.
            _ => *self.began.insert((now, share)),
        };
        if now < DELAY {
            return None;
        }
        let percent = (100.0 * share).floor();
        let (took, gained) = ((now - since).as_secs_f64(), share - first);
        if gained <= 0.0 || took <= 0.0 {
            return Some(format!("{percent:.0} %"));
        }
        let left_seconds = (took * (1.0 - share) / gained).ceil() as u64;
        Some(match left_seconds {
            0..=99 => format!("{percent:.0} %, {left_seconds} s left"),
            _ => format!("{percent:.0} %, {} min left", left_seconds.div_ceil(60)),
        })
    }
}

/// A line with a spinner that appears if the work takes longer than half a second.
pub struct Spinner {
    message: Arc<Mutex<String>>,
    stop: Sender<()>,
    thread: JoinHandle<()>,
}

impl Spinner {
    /// Starts to wait. Without a terminal nothing is ever shown.
    pub fn start(message: String) -> Option<Spinner> {
        if !std::io::stderr().is_terminal() {
            return None;
        }
        let (stop, stopped) = channel();
        let message = Arc::new(Mutex::new(message));
        let shown = Arc::clone(&message);
        let thread = std::thread::spawn(move || {
            if stopped.recv_timeout(DELAY) != Err(RecvTimeoutError::Timeout) {
                return;
            }
            let message = || shown.lock().map(|text| text.clone()).unwrap_or_default();
            let bar = ProgressBar::new_spinner().with_message(message());
            let style = ProgressStyle::with_template("{spinner} {msg} {elapsed}");
            bar.set_style(style.expect("the template is a constant"));
            while stopped.recv_timeout(TICK) == Err(RecvTimeoutError::Timeout) {
                bar.set_message(message());
                bar.tick();
            }
            bar.finish_and_clear();
        });
        Some(Spinner { message, stop, thread })
    }

    /// Changes the message.
    pub fn say(&self, message: String) {
        if let Ok(mut shown) = self.message.lock() {
            *shown = message;
        }
    }

    /// Removes the line.
    pub fn stop(self) {
        drop(self.stop);
        let _ = self.thread.join();
    }
}

/// Shows compilations, and how far indexing has come.
#[derive(Default)]
pub struct Progress(Mutex<Option<Spinner>>);

impl Observer for Progress {
    fn compiling(&self, module_bytes: usize) {
        let mib = module_bytes as f64 / f64::from(1 << 20);
        let spinner = Spinner::start(format!("compiling {mib:.1} MiB of wasm (once)"));
        if let Ok(mut shown) = self.0.lock() {
            *shown = spinner;
        }
    }

    fn compiled(&self) {
        self.stop();
    }

    fn indexing(&self, ticks: u64, of: u64) {
        let percent = ticks as f64 * 100.0 / of.max(1) as f64;
        let message = format!("indexing: {percent:.0} % of {of} ticks");
        if let Ok(mut shown) = self.0.lock() {
            match &*shown {
                Some(spinner) => spinner.say(message),
                None => *shown = Spinner::start(message),
            }
        }
    }
}

impl Progress {
    /// Removes the line, if there is one.
    pub fn stop(&self) {
        let spinner = self.0.lock().ok().and_then(|mut shown| shown.take());
        if let Some(spinner) = spinner {
            spinner.stop();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_left_follows_from_what_was_done() {
        let mut estimate = Estimate::default();
        let mut text = |share, ms| estimate.text(share, Duration::from_millis(ms));
        assert_eq!(text(None, 100), None);
        assert_eq!(text(Some(0.0), 200), None);
        assert_eq!(text(Some(0.0), 600).as_deref(), Some("0 %"));
        assert_eq!(text(Some(0.25), 1200).as_deref(), Some("25 %, 3 s left"));
        assert_eq!(text(Some(0.5), 2200).as_deref(), Some("50 %, 2 s left"));
        assert_eq!(text(None, 2300), None);
        // The next thing.
        assert_eq!(text(Some(0.1), 2400).as_deref(), Some("10 %"));
        assert_eq!(text(Some(0.101), 3400).as_deref(), Some("10 %, 15 min left"));
    }
}
