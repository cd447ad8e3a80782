//! Shows on a terminal that something takes long.

use indicatif::{ProgressBar, ProgressStyle};
use std::io::IsTerminal as _;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;
use wrr::Observer;

/// What is over sooner is not shown.
const DELAY: Duration = Duration::from_millis(500);
const TICK: Duration = Duration::from_millis(100);

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
