//! One of a campaign's workers: LibAFL with a program that goes back in place.

use crate::campaign::{Order, Shared};
use crate::correspondence::candidates;
use crate::{FuzzError, Runner};
use libafl::HasMetadata as _;
use libafl::corpus::HasCurrentCorpusId as _;
use libafl::corpus::{Corpus, CorpusId, InMemoryCorpus, Testcase};
use libafl::events::NopEventManager;
use libafl::executors::{Executor, ExitKind, HasObservers};
use libafl::feedback_and_fast;
use libafl::feedbacks::{ConstFeedback, Feedback, MaxMapFeedback, StateInitializer};
use libafl::fuzzer::{Evaluator, Fuzzer, StdFuzzer};
use libafl::inputs::{BytesInput, HasTargetBytes as _};
use libafl::mutators::token_mutations::{I2SRandReplace, Tokens};
use libafl::mutators::{HavocScheduledMutator, havoc_mutations, tokens_mutations};
use libafl::observers::cmp::{CmpValues, CmpValuesMetadata, CmplogBytes};
use libafl::observers::{CanTrack as _, ExplicitTracking, StdMapObserver};
use libafl::schedulers::WeightedScheduler;
use libafl::schedulers::powersched::{PowerSchedule, SchedulerMetadata};
use libafl::schedulers::testcase_score::TestcaseScore;
use libafl::stages::{
    CalibrationStage, Restartable, Stage, StdMutationalStage, StdPowerMutationalStage,
};
use libafl::state::{HasCorpus, HasCurrentTestcase as _, HasMaxSize as _, StdState};
use libafl_bolts::rands::StdRand;
use libafl_bolts::tuples::{Merge as _, RefIndexable, tuple_list};
use libafl_bolts::{Error, Named, ToSlice as _};
use std::borrow::Cow;
use std::collections::HashSet;
use std::num::NonZeroUsize;
use wrr::{Comparison, Operands, Variant};

type Map = ExplicitTracking<StdMapObserver<'static, u8, false>, true, false>;
type Observers = (Map, ());
type State = StdState<InMemoryCorpus<BytesInput>, BytesInput, StdRand, InMemoryCorpus<BytesInput>>;

/// So many mutations of what was compared are tried on each input that is chosen.
const COMPARED_MUTATIONS: usize = 48;
/// So many values are offered to them.
const COMPARED_VALUES_MAX: usize = 4096;

/// Runs inputs for LibAFL.
struct Program<'a> {
    runner: Runner,
    observers: Observers,
    shared: &'a Shared<'a>,
    /// The counters that were ever counted.
    seen: Vec<bool>,
    covered: usize,
    /// What has ended the worker, which LibAFL has no words for.
    failed: Option<FuzzError>,
}

impl HasObservers for Program<'_> {
    type Observers = Observers;

    fn observers(&self) -> RefIndexable<&Observers, Observers> {
        RefIndexable::from(&self.observers)
    }

    fn observers_mut(&mut self) -> RefIndexable<&mut Observers, Observers> {
        RefIndexable::from(&mut self.observers)
    }
}

impl<EM, S, Z> Executor<EM, BytesInput, S, Z> for Program<'_>
where
    S: libafl::state::HasExecutions,
{
    fn run_target(
        &mut self,
        _fuzzer: &mut Z,
        state: &mut S,
        _manager: &mut EM,
        input: &BytesInput,
    ) -> Result<ExitKind, Error> {
        if !self.shared.take_run() {
            return Err(Error::shutting_down());
        }
        *state.executions_mut() += 1;
        let bytes = input.target_bytes();
        self.run(bytes.to_slice()).map_err(|error| {
            if matches!(error, FuzzError::Interrupted) {
                return Error::shutting_down();
            }
            let told = Error::unknown(error.to_string());
            self.failed = Some(error);
            told
        })
    }
}

impl Program<'_> {
    fn run(&mut self, input: &[u8]) -> Result<ExitKind, FuzzError> {
        let run = self.runner.run(input)?;
        if run.interrupted {
            self.shared.give_run_back();
            return Err(FuzzError::Interrupted);
        }
        let counts = self.runner.counts()?;
        let map: &mut [u8] = self.observers.0.as_mut();
        // An input that decides nothing shows that it was run.
        if let Some(last) = map.last_mut() {
            *last = 1;
        }
        for ((count, class), seen) in counts.iter_mut().zip(map).zip(&mut self.seen) {
            if *count != 0 {
                *class = CLASSES[usize::from(*count)];
                *count = 0;
                self.covered += usize::from(!std::mem::replace(seen, true));
            }
        }
        let Some(mut failure) = run.failure else {
            return Ok(if run.rejected { ExitKind::Crash } else { ExitKind::Ok });
        };
        self.shared.failed();
        self.runner.locate(input, &mut failure)?;
        self.runner.counts()?.fill(0);
        let start = self.runner.starts_at();
        self.shared.found(self.runner.target(), input, (failure, start))?;
        Ok(ExitKind::Crash)
    }
}

/// The classes of counts: a count of another class is something new.
const CLASSES: [u8; 256] = {
    let mut classes = [0; 256];
    let mut count = 0;
    while count < 256 {
        classes[count] = crate::corpus::class(count as u8);
        count += 1;
    }
    classes
};

/// Interesting is only what has not failed, and what the program wants to be kept.
struct Kept;

impl Named for Kept {
    fn name(&self) -> &Cow<'static, str> {
        const NAME: &Cow<'static, str> = &Cow::Borrowed("kept");
        NAME
    }
}

impl<S> StateInitializer<S> for Kept {}

impl<EM, I, OT, S> Feedback<EM, I, OT, S> for Kept {
    fn is_interesting(
        &mut self,
        _state: &mut S,
        _manager: &mut EM,
        _input: &I,
        _observers: &OT,
        exit_kind: &ExitKind,
    ) -> Result<bool, Error> {
        Ok(*exit_kind == ExitKind::Ok)
    }
}

/// How likely an input is chosen: more if it was chosen less often, and if it takes less than the others. (LibAFL's own weights want its
/// minimizing scheduler, whose order depends on where its tables lie in memory.)
struct Weight;

impl TestcaseScore<BytesInput, State> for Weight {
    fn compute(state: &State, entry: &mut Testcase<BytesInput>) -> Result<f64, Error> {
        let novelty = 1.0 + 10.0 / (1.0 + entry.scheduled_count() as f64);
        let seconds = entry.exec_time().map_or(0.0, |time| time.as_secs_f64());
        let schedule = state.metadata::<SchedulerMetadata>()?;
        let mean = schedule.exec_time().as_secs_f64() / schedule.cycles().max(1) as f64;
        let speed =
            if seconds > 0.0 && mean > 0.0 { (mean / seconds).clamp(0.2, 4.0) } else { 1.0 };
        Ok(novelty * speed)
    }
}

/// Finds out what the program compares the chosen input with.
struct CompareStage {
    runner: Runner,
    done: HashSet<CorpusId>,
    failed: Option<FuzzError>,
}

impl<E, EM, Z> Stage<E, EM, State, Z> for CompareStage
where
    Z: Evaluator<E, EM, BytesInput, State>,
{
    fn perform(
        &mut self,
        fuzzer: &mut Z,
        executor: &mut E,
        state: &mut State,
        manager: &mut EM,
    ) -> Result<(), Error> {
        let Some(id) = state.current_corpus_id()? else { return Ok(()) };
        let input = {
            let mut testcase = state.current_testcase_mut()?;
            let corpus = state.corpus();
            testcase.load_input(corpus)?.target_bytes().to_slice().to_vec()
        };
        let compares = self.runner.compares(&input).map_err(|error| {
            let told = Error::unknown(error.to_string());
            self.failed = Some(error);
            told
        })?;
        state.metadata_map_mut().insert(CmpValuesMetadata { list: values(&compares) });
        // Each is tried once for every input.
        if self.done.insert(id) {
            let most = state.max_size();
            for candidate in candidates(&input, &compares) {
                if candidate.len() <= most {
                    fuzzer.evaluate_filtered(state, executor, manager, &candidate.into())?;
                }
            }
        }
        Ok(())
    }
}

impl<S> Restartable<S> for CompareStage {
    fn should_restart(&mut self, _state: &mut S) -> Result<bool, Error> {
        Ok(true)
    }

    fn clear_progress(&mut self, _state: &mut S) -> Result<(), Error> {
        Ok(())
    }
}

/// What was compared, as LibAFL has it: without what is equal already, and each pair once.
fn values(compares: &[Comparison]) -> Vec<CmpValues> {
    let mut seen = HashSet::new();
    let mut list = Vec::new();
    for Comparison { at, operands } in compares {
        if list.len() >= COMPARED_VALUES_MAX {
            break;
        }
        let value = match operands {
            Operands::I32(a, b) => number(u64::from(*a), u64::from(*b), 4),
            Operands::I64(a, b) => number(*a, *b, 8),
            Operands::Bytes(a, b) if a != b => {
                let part = |bytes: &[u8]| {
                    let mut buffer = [0; 32];
                    let len = bytes.len().min(32);
                    buffer[..len].copy_from_slice(&bytes[..len]);
                    CmplogBytes::from_buf_and_len(buffer, len as u8)
                };
                Some(CmpValues::Bytes((part(a), part(b))))
            }
            Operands::Bytes(..) => None,
        };
        if let Some(value) = value
            && seen.insert((*at, operands))
        {
            list.push(value);
        }
    }
    list
}

/// Two numbers of the smallest size that holds both, sign included.
fn number(a: u64, b: u64, bytes: u32) -> Option<CmpValues> {
    let narrow = |bits: u32| {
        let fits = |value: u64| {
            let signed = if bytes == 4 { i64::from(value as i32) } else { value as i64 };
            value >> bits == 0 || (signed < 0 && signed >= -(1i64 << (bits - 1)))
        };
        fits(a) && fits(b)
    };
    if a == b {
        return None;
    }
    Some(if narrow(8) {
        CmpValues::U8((a as u8, b as u8, false))
    } else if narrow(16) {
        CmpValues::U16((a as u16, b as u16, false))
    } else if bytes == 4 || narrow(32) {
        CmpValues::U32((a as u32, b as u32, false))
    } else {
        CmpValues::U64((a, b, false))
    })
}

/// Fuzzes until the campaign ends.
pub(crate) fn work(shared: &Shared<'_>, order: Order) -> Result<(), FuzzError> {
    let library = |error: Error| FuzzError::Library(error.to_string());
    let Order { runner, worker, inputs } = order;
    let interrupt = shared.interrupt();
    let compares =
        match Runner::start_until(runner.target(), Variant::Compares, interrupt, shared.observer) {
            Err(FuzzError::Interrupted) => return Ok(()),
            compares => compares?,
        };
    let mut runner = runner;
    let counters = runner.counts()?.len();
    let max_len = runner.target().options().input_bytes_max as usize;
    let observer: Map = StdMapObserver::owned("outcomes", vec![0u8; counters + 1]).track_indices();
    let map_feedback = MaxMapFeedback::new(&observer);
    let calibration = CalibrationStage::ignore_stability(&map_feedback);
    let mut feedback = feedback_and_fast!(Kept, map_feedback);
    let mut objective = ConstFeedback::False;
    let seed = shared.seed.wrapping_add((worker as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let mut state: State = StdState::new(
        StdRand::with_seed(seed),
        InMemoryCorpus::new(),
        InMemoryCorpus::new(),
        &mut feedback,
        &mut objective,
    )
    .map_err(library)?;
    state.set_max_size(max_len.max(1));
    if !shared.tokens.is_empty() {
        let mut tokens = Tokens::new();
        for token in shared.tokens {
            tokens.add_token(token);
        }
        state.add_metadata(tokens);
    }
    let schedule = Some(PowerSchedule::explore());
    let scheduler: WeightedScheduler<Map, Weight, StdMapObserver<'static, u8, false>> =
        WeightedScheduler::with_schedule(&mut state, &observer, schedule);
    let mut fuzzer = StdFuzzer::new(scheduler, feedback, objective);
    let mut manager = NopEventManager::new();
    let mut program = Program {
        runner,
        observers: tuple_list!(observer),
        shared,
        seen: vec![false; counters],
        covered: 0,
        failed: None,
    };
    let many = NonZeroUsize::new(COMPARED_MUTATIONS).unwrap_or(NonZeroUsize::MIN);
    let compared = StdMutationalStage::with_max_iterations(I2SRandReplace::new(), many);
    let havoc = HavocScheduledMutator::new(havoc_mutations().merge(tokens_mutations()));
    let havoc: StdPowerMutationalStage<_, _, BytesInput, _, _, _> =
        StdPowerMutationalStage::new(havoc);
    let mut stages = tuple_list!(
        calibration,
        CompareStage { runner: compares, done: HashSet::new(), failed: None },
        compared,
        havoc
    );
    let mut cursor = 0;
    let mut outcome = Ok(());
    for (_, input) in inputs.iter().filter(|(_, input)| input.len() <= max_len) {
        let input = BytesInput::new(input.clone());
        outcome = fuzzer.evaluate_input(&mut state, &mut program, &mut manager, &input).map(drop);
        if outcome.is_err() {
            break;
        }
    }
    if outcome.is_ok() && state.corpus().count() == 0 {
        let input = BytesInput::new(FIRST_INPUT.to_vec());
        outcome = fuzzer.add_input(&mut state, &mut program, &mut manager, input).map(drop);
    }
    // What was there is known to all of them.
    let mut known = state.corpus().count();
    shared.seen(known, program.covered, counters);
    shared.loaded();
    while outcome.is_ok() && !shared.is_over() {
        for input in shared.news(worker, &mut cursor) {
            let input = BytesInput::new(input.to_vec());
            outcome =
                fuzzer.evaluate_input(&mut state, &mut program, &mut manager, &input).map(drop);
            if outcome.is_err() {
                break;
            }
        }
        known = known.max(state.corpus().count());
        if outcome.is_ok() {
            outcome =
                fuzzer.fuzz_one(&mut stages, &mut program, &mut state, &mut manager).map(drop);
        }
        let ids: Vec<CorpusId> = state.corpus().ids().skip(known).collect();
        for id in ids {
            let input = state.corpus().cloned_input_for_id(id).map_err(library)?;
            shared.grew(worker, input.target_bytes().to_slice())?;
            known += 1;
        }
        shared.seen(known, program.covered, counters);
    }
    let failed = program.failed.or(stages.1.0.failed);
    match (outcome, failed) {
        (Ok(()) | Err(Error::ShuttingDown), None) => Ok(()),
        (_, Some(error)) => Err(error),
        (Err(error), None) => Err(library(error)),
    }
}

/// What is tried first if there is no corpus.
const FIRST_INPUT: &[u8] = b"0";
