//! A campaign: workers that share what they find, a corpus and findings in folders, figures for whoever looks on.

use crate::failure::{FailureKey, key};
use crate::finding::Written;
use crate::worker::work;
use crate::{FuzzError, Runner, Target, corpus, write_finding};
use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use wrr::format::{Failure, Tick, TraceReader};
use wrr::{Observer, Variant};

/// How a campaign is run.
pub struct CampaignOptions<'a> {
    /// The folder of the inputs: those there are tried first, and new ones are put there.
    pub corpus: PathBuf,
    /// The folder of the findings.
    pub crashes: PathBuf,
    /// How many inputs are tried at most.
    pub runs: Option<u64>,
    /// How many workers there are, at least 1.
    pub jobs: usize,
    /// What the mutations depend on. With one worker a campaign is the same wherever it is run, if it begins with the same corpus.
    pub seed: u64,
    /// Words of the input's language.
    pub tokens: Vec<Vec<u8>>,
    /// Ends the campaign when it is set.
    pub stop: Arc<AtomicBool>,
    /// Is told of each finding when it has been written.
    pub on_found: &'a (dyn Fn(&Found) + Sync),
    /// Is told when something is compiled.
    pub observer: &'a dyn Observer,
}

/// A finding that was written.
#[derive(Clone, Debug)]
pub struct Found {
    /// Its files.
    pub written: Written,
    /// How many inputs had been tried.
    pub runs: u64,
}

/// Figures of a campaign.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// How many inputs were tried.
    pub runs: u64,
    /// How many inputs the corpus has.
    pub corpus: u64,
    /// How many counters were counted.
    pub covered: u64,
    /// How many counters there are.
    pub counters: u64,
    /// How many failures were written, those of earlier campaigns included.
    pub findings: u64,
    /// How many inputs failed, again or for the first time.
    pub failures: u64,
    /// How many inputs had been tried when something new was last seen.
    pub last_new: u64,
    /// Whether the corpus has been read.
    pub is_loaded: bool,
}

/// What a campaign came to.
#[derive(Clone, Debug)]
pub struct CampaignEnd {
    /// Its figures.
    pub stats: Stats,
    /// What was found, in this order.
    pub found: Vec<Found>,
}

#[derive(Default)]
struct Figures {
    runs: AtomicU64,
    corpus: AtomicU64,
    covered: AtomicU64,
    counters: AtomicU64,
    findings: AtomicU64,
    failures: AtomicU64,
    last_new: AtomicU64,
    loaded: AtomicU64,
}

/// A campaign that can be run. Its figures can be read meanwhile.
pub struct Campaign {
    target: Target,
    figures: Arc<Figures>,
}

/// What the workers have in common.
pub(crate) struct Shared<'a> {
    options: &'a CampaignOptions<'a>,
    figures: &'a Figures,
    pub seed: u64,
    pub tokens: &'a [Vec<u8>],
    pub observer: &'a dyn Observer,
    /// A worker has failed.
    broken: AtomicBool,
    /// All runs were made. Others finish theirs.
    exhausted: AtomicBool,
    known: Mutex<HashSet<FailureKey>>,
    found: Mutex<Vec<Found>>,
    /// New inputs, with the workers that made them.
    news: Mutex<Vec<(usize, Arc<[u8]>)>>,
}

/// What a worker begins with.
pub(crate) struct Order {
    pub worker: usize,
    pub runner: Runner,
    pub inputs: Arc<Vec<(PathBuf, Vec<u8>)>>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Campaign {
    /// A campaign for a target.
    #[must_use]
    pub fn new(target: Target) -> Campaign {
        Campaign { target, figures: Arc::default() }
    }

    /// Something that reads the campaign's figures, from any thread.
    pub fn figures(&self) -> impl Fn() -> Stats + Send + Sync + 'static {
        let figures = Arc::clone(&self.figures);
        move || figures.read()
    }

    /// Runs it to its end. What it has found by then is in the folders, also if it is killed.
    ///
    /// # Errors
    /// The target cannot be fuzzed ([`Runner::start`]); a folder cannot be read or written; a failure does not come again
    /// ([`FuzzError::Unstable`]).
    pub fn run(&self, options: &CampaignOptions<'_>) -> Result<CampaignEnd, FuzzError> {
        for dir in [&options.corpus, &options.crashes] {
            std::fs::create_dir_all(dir).map_err(FuzzError::file("create", dir))?;
        }
        for dir in [&options.corpus, &options.crashes] {
            corpus::check_writable(dir)?;
        }
        let most = self.target.options().input_bytes_max;
        let inputs = Arc::new(corpus::inputs_in(&options.corpus, u64::from(most))?);
        let start =
            || Runner::start_until(&self.target, Variant::Covered, &options.stop, options.observer);
        let runner = start()?;
        let known = known_failures(&options.crashes)?;
        self.figures.findings.store(known.len() as u64, Ordering::Relaxed);
        let shared = Shared {
            options,
            figures: &self.figures,
            seed: options.seed,
            tokens: &options.tokens,
            observer: options.observer,
            broken: AtomicBool::new(false),
            exhausted: AtomicBool::new(false),
            known: Mutex::new(known),
            found: Mutex::default(),
            news: Mutex::default(),
        };
        let stack_bytes = runner.stack_bytes();
        let jobs = options.jobs.max(1);
        let mut orders = vec![Order { worker: 0, runner, inputs: Arc::clone(&inputs) }];
        for worker in 1..jobs {
            let runner = start()?;
            orders.push(Order { worker, runner, inputs: Arc::clone(&inputs) });
        }
        let outcome = std::thread::scope(|scope| {
            let threads: Vec<_> = orders
                .into_iter()
                .map(|order| {
                    let thread = std::thread::Builder::new()
                        .name(format!("wrr fuzz {}", order.worker))
                        .stack_size(stack_bytes);
                    let shared = &shared;
                    thread.spawn_scoped(scope, move || {
                        let outcome = work(shared, order);
                        if outcome.is_err() {
                            shared.broken.store(true, Ordering::Relaxed);
                        }
                        outcome
                    })
                })
                .collect();
            threads
                .into_iter()
                .map(|thread| match thread {
                    Ok(thread) => {
                        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
                    }
                    Err(error) => {
                        shared.broken.store(true, Ordering::Relaxed);
                        Err(wrr::Error::Host(format!("no thread for a worker: {error}")).into())
                    }
                })
                .fold(Ok(()), Result::and)
        });
        outcome?;
        let found = std::mem::take(&mut *locked(&shared.found));
        Ok(CampaignEnd { stats: self.figures.read(), found })
    }
}

/// The failures that a folder has findings of.
fn known_failures(dir: &Path) -> Result<HashSet<FailureKey>, FuzzError> {
    let mut known = HashSet::new();
    for entry in std::fs::read_dir(dir).map_err(FuzzError::file("read", dir))? {
        let path = entry.map_err(FuzzError::file("read", dir))?.path();
        if path.extension().is_none_or(|extension| extension != "wrr") {
            continue;
        }
        match TraceReader::open(&path) {
            Ok(reader) if reader.ending().is_some() => {
                known.extend(reader.finding().map(|finding| key(&finding.failure)));
            }
            Ok(_) => tracing::warn!("{}: the recording is cut off; it is left out", path.display()),
            Err(error) => tracing::warn!("{error}; it is left out"),
        }
    }
    Ok(known)
}

impl Figures {
    fn read(&self) -> Stats {
        let get = |figure: &AtomicU64| figure.load(Ordering::Relaxed);
        Stats {
            runs: get(&self.runs),
            corpus: get(&self.corpus),
            covered: get(&self.covered),
            counters: get(&self.counters),
            findings: get(&self.findings),
            failures: get(&self.failures),
            last_new: get(&self.last_new),
            is_loaded: get(&self.loaded) > 0,
        }
    }

    fn is_new(&self) {
        self.last_new.store(self.runs.load(Ordering::Relaxed), Ordering::Relaxed);
    }
}

impl Shared<'_> {
    /// Whether the campaign is to end.
    pub fn is_over(&self) -> bool {
        [&*self.options.stop, &self.broken, &self.exhausted]
            .iter()
            .any(|flag| flag.load(Ordering::Relaxed))
    }

    /// Whether one more input may be tried, which counts as tried then.
    pub fn take_run(&self) -> bool {
        if self.is_over() {
            return false;
        }
        let before = self.figures.runs.fetch_add(1, Ordering::Relaxed);
        if self.options.runs.is_some_and(|most| before >= most) {
            self.figures.runs.fetch_sub(1, Ordering::Relaxed);
            self.exhausted.store(true, Ordering::Relaxed);
            return false;
        }
        true
    }

    /// What ends runs that take long.
    pub fn interrupt(&self) -> &Arc<AtomicBool> {
        &self.options.stop
    }

    /// A run was not finished.
    pub fn give_run_back(&self) {
        self.figures.runs.fetch_sub(1, Ordering::Relaxed);
    }

    /// An input has failed.
    pub fn failed(&self) {
        self.figures.failures.fetch_add(1, Ordering::Relaxed);
    }

    /// Writes a failure, if it is new.
    pub fn found(
        &self,
        target: &Target,
        input: &[u8],
        (failure, start): (Failure, Tick),
    ) -> Result<(), FuzzError> {
        if !locked(&self.known).insert(key(&failure)) {
            return Ok(());
        }
        let runs = self.figures.runs.load(Ordering::Relaxed);
        let dir = &self.options.crashes;
        let written = write_finding(target, input, (&failure, start), dir, self.observer)?;
        self.figures.findings.fetch_add(1, Ordering::Relaxed);
        self.figures.is_new();
        let found = Found { written, runs };
        (self.options.on_found)(&found);
        locked(&self.found).push(found);
        Ok(())
    }

    /// A worker has an input that shows something new.
    pub fn grew(&self, worker: usize, input: &[u8]) -> Result<(), FuzzError> {
        corpus::keep(&self.options.corpus, input)?;
        self.figures.is_new();
        if self.options.jobs > 1 {
            locked(&self.news).push((worker, input.into()));
        }
        Ok(())
    }

    /// What other workers have found since the last time.
    pub fn news(&self, worker: usize, cursor: &mut usize) -> Vec<Arc<[u8]>> {
        let news = locked(&self.news);
        let new = news.iter().skip(*cursor).filter(|(from, _)| *from != worker);
        let new = new.map(|(_, input)| Arc::clone(input)).collect();
        *cursor = news.len();
        new
    }

    /// A worker has read the corpus.
    pub fn loaded(&self) {
        self.figures.loaded.fetch_add(1, Ordering::Relaxed);
    }

    /// What a worker has come to.
    pub fn seen(&self, corpus: usize, covered: usize, counters: usize) {
        self.figures.corpus.fetch_max(corpus as u64, Ordering::Relaxed);
        self.figures.covered.fetch_max(covered as u64, Ordering::Relaxed);
        self.figures.counters.store(counters as u64, Ordering::Relaxed);
    }
}
