//! What a campaign shows: one line that changes on a terminal, a line now and then elsewhere, or JSON.

use crate::args::FuzzArgs;
use crate::report::{plain, say};
use anyhow::Context as _;
use indicatif::{HumanCount, ProgressBar, ProgressStyle};
use serde_json::json;
use std::io::{IsTerminal as _, Write as _};
use std::path::Path;
use std::sync::Mutex;
use std::time::{Duration, Instant};
use wrr_fuzz::{CampaignEnd, Found, Stats, Target, where_it_failed};

/// Between two lines where there is no terminal.
const EVERY: Duration = Duration::from_secs(10);
/// Between two objects of `--json`.
const EVERY_JSON: Duration = Duration::from_secs(1);

pub struct Status {
    figures: Box<dyn Fn() -> Stats + Send + Sync>,
    started: Instant,
    json: bool,
    bar: Option<ProgressBar>,
    last: Mutex<Last>,
    corpus: String,
    /// Why JSON could not be printed.
    unprinted: Mutex<Option<std::io::Error>>,
}

struct Last {
    shown: Instant,
    at: Instant,
    stats: Stats,
    per_second: f64,
    /// When something new was last seen.
    new: Instant,
}

impl Status {
    pub fn start(
        arguments: &FuzzArgs,
        target: &Target,
        figures: impl Fn() -> Stats + Send + Sync + 'static,
    ) -> Status {
        let now = Instant::now();
        let bar = (!arguments.json && std::io::stderr().is_terminal()).then(|| {
            let bar = ProgressBar::new_spinner();
            bar.set_style(ProgressStyle::with_template("{spinner} {msg}").expect("a constant"));
            bar.enable_steady_tick(Duration::from_millis(200));
            bar
        });
        if !arguments.json {
            say(&format!("fuzzing {} with {}", target.name(), arguments.corpus.display()));
        }
        let last = Last { shown: now, at: now, stats: Stats::default(), per_second: 0.0, new: now };
        Status {
            figures: Box::new(figures),
            started: now,
            json: arguments.json,
            bar,
            last: Mutex::new(last),
            corpus: arguments.corpus.display().to_string(),
            unprinted: Mutex::default(),
        }
    }

    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// Shows the figures, if it is time to.
    pub fn show(&self) {
        let stats = (self.figures)();
        let Ok(mut last) = self.last.lock() else { return };
        if stats.last_new != last.stats.last_new || !stats.is_loaded {
            last.new = Instant::now();
        }
        let since = last.at.elapsed().as_secs_f64();
        if since > 0.5 {
            last.per_second = (stats.runs - last.stats.runs) as f64 / since;
            last.at = Instant::now();
            last.stats = stats;
        }
        let line = || self.line(&stats, last.per_second, last.new.elapsed());
        match &self.bar {
            Some(bar) => bar.set_message(line()),
            None if self.json => {
                if last.shown.elapsed() >= EVERY_JSON {
                    self.print_json(&self.status_json(&stats, last.per_second));
                    last.shown = Instant::now();
                }
            }
            None => {
                if last.shown.elapsed() >= EVERY {
                    say(&line());
                    last.shown = Instant::now();
                }
            }
        }
    }

    fn line(&self, stats: &Stats, per_second: f64, since_new: Duration) -> String {
        if !stats.is_loaded {
            return format!("{}  reading the corpus, {} inputs", clock(self.elapsed()), stats.runs);
        }
        let findings = counted(stats.findings, "finding");
        format!(
            "{}  {} runs, {}/s  {}  {} of {} outcomes  {findings}  last new {} ago",
            clock(self.elapsed()),
            HumanCount(stats.runs),
            HumanCount(per_second as u64),
            counted(stats.corpus, "input"),
            HumanCount(stats.covered),
            HumanCount(stats.counters),
            clock(since_new),
        )
    }

    fn status_json(&self, stats: &Stats, per_second: f64) -> serde_json::Value {
        json!({
            "event": "status",
            "seconds": (self.elapsed().as_secs_f64() * 1e3).round() / 1e3,
            "runs": stats.runs,
            "runs_per_second": per_second.round(),
            "inputs": stats.corpus,
            "outcomes": stats.covered,
            "outcomes_max": stats.counters,
            "findings": stats.findings,
            "failing_runs": stats.failures,
        })
    }

    /// A finding was written.
    pub fn found(&self, found: &Found) {
        let failure = &found.written.failure;
        if self.json {
            self.print_json(&json!({
                "event": "finding",
                "seconds": (self.elapsed().as_secs_f64() * 1e3).round() / 1e3,
                "runs": found.runs,
                "failure": wrr_fuzz::describe(failure),
                "function": wrr_fuzz::failing_function(failure),
                "tick": failure.tick.0,
                "trace": shown(&found.written.trace),
                "input": shown(&found.written.input),
                "report": shown(&found.written.report),
            }));
            return;
        }
        let line =
            format!("found: {}\n       {}", where_it_failed(failure), shown(&found.written.trace));
        match &self.bar {
            Some(bar) => bar.suspend(|| say(&line)),
            None => say(&line),
        }
    }

    /// Takes the line away.
    pub fn clear(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }

    /// Shows what the campaign came to.
    pub fn end(&self, end: &CampaignEnd, interrupted: bool) -> anyhow::Result<()> {
        self.clear();
        let stats = &end.stats;
        let seconds = self.elapsed().as_secs_f64();
        let per_second = stats.runs as f64 / seconds.max(1e-9);
        if self.json {
            let mut object = self.status_json(stats, per_second);
            object["event"] = "end".into();
            object["interrupted"] = interrupted.into();
            self.print_json(&object);
            let unprinted = self.unprinted.lock().ok().and_then(|mut unprinted| unprinted.take());
            return match unprinted {
                Some(error) => Err(error).context("cannot print"),
                None => Ok(()),
            };
        }
        let new = match end.found.len() {
            0 => "nothing new found".to_owned(),
            1 => "1 new finding".to_owned(),
            many => format!("{many} new findings"),
        };
        say(&format!(
            "{}: {} runs in {}, {} a second; {new}; {}, {} of {} outcomes",
            if interrupted { "interrupted" } else { "done" },
            HumanCount(stats.runs),
            clock(self.elapsed()),
            HumanCount(per_second as u64),
            counted(stats.corpus, "input"),
            stats.covered,
            stats.counters,
        ));
        if interrupted {
            say(&format!("the same command goes on from {}", self.corpus));
        }
        Ok(())
    }

    /// Nobody need read it: a closed pipe is no reason to end a campaign.
    fn print_json(&self, value: &serde_json::Value) {
        let mut out = std::io::stdout().lock();
        let printed = writeln!(out, "{value}").and_then(|()| out.flush());
        if let (Err(error), Ok(mut unprinted)) = (printed, self.unprinted.lock())
            && error.kind() != std::io::ErrorKind::BrokenPipe
        {
            unprinted.get_or_insert(error);
        }
    }
}

/// A number of things.
fn counted(number: u64, what: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{} {what}{plural}", HumanCount(number))
}

fn shown(path: &Path) -> String {
    plain(&path.display().to_string())
}

fn clock(time: Duration) -> String {
    let seconds = time.as_secs();
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, minutes, seconds) => format!("{minutes}:{seconds:02}"),
        (hours, minutes, seconds) => format!("{hours}:{minutes:02}:{seconds:02}"),
    }
}
