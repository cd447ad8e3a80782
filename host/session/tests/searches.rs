//! What a search comes to is what reading the whole run from its start says: the last place before,
//! or the next one after, whatever way the walker takes to it.

use proptest::prelude::*;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use wrr::format::Tick;
use wrr::{
    Backward, Checkpoints, Error, Job, Judged, LookAt, Looked, Looker, Moment, Position, Quest,
    RecordOptions, Searched, Spacing, Target, Test, Trace, View, Walker, record,
};

/// Stores small numbers into 16 words on pages of their own, into the last ones seldom, and asks the
/// host something now and then.
const PROGRAM: &str = r#"(module
    (import "wasi_snapshot_preview1" "sched_yield" (func $yield (result i32)))
    (memory (export "memory") 4)
    (func $other (param i32) (result i32) (i32.add (local.get 0) (i32.const 1)))
    (func (export "_start") (local $x i32) (local $n i32)
      (local.set $x (i32.const 12345))
      (local.set $n (i32.const 3000))
      loop $l
        (local.set $x (i32.add (i32.mul (local.get $x) (i32.const 1103515245)) (i32.const 12345)))
        (i32.store
          (i32.mul
            (i32.and
              (i32.and (i32.shr_u (local.get $x) (i32.const 8)) (i32.const 0xf))
              (i32.shr_u (local.get $x) (i32.const 20)))
            (i32.const 4100))
          (i32.shr_u (local.get $x) (i32.const 30)))
        (if (i32.eqz (i32.and (local.get $x) (i32.const 0x70000)))
          (then (local.set $x (call $other (local.get $x)))))
        (if (i32.eqz (i32.and (local.get $x) (i32.const 0xf800000)))
          (then (drop (call $yield))))
        (br_if $l (local.tee $n (i32.sub (local.get $n) (i32.const 1))))
      end))"#;

/// The address of one of the words.
fn address(number: u32) -> u32 {
    4100 * (number % 16)
}

fn recorded(folder: &Path, every_ticks: Option<u64>) -> Trace<'static> {
    let path = folder.join("t.wrr");
    let job = Job::new(PROGRAM.as_bytes().to_vec(), "searched.wat");
    let checkpoints =
        every_ticks.map(|ticks| Checkpoints { spacing: Spacing::Ticks(ticks), tracker: None });
    record(job, &path, RecordOptions { checkpoints, ..RecordOptions::default() }).unwrap();
    let trace = Trace::open(&path).unwrap();
    assert_eq!(trace.reader().checkpoints().is_empty(), every_ticks.is_none());
    trace
}

/// A test, and how it is searched for.
#[derive(Clone, Debug)]
struct Wanted {
    test: Test,
    way: Way,
    /// Of the places where the test passes it is the ones at ticks that this divides.
    divisor: u64,
    words: Option<Vec<u32>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// The looker remembers the last place.
    Noted,
    /// The looker is asked, and its last place is judged.
    Asked,
    /// Each window is looked at from its beginning.
    Forward,
    /// Each place is confirmed.
    Confirmed,
    /// As noted, but some places cannot be judged.
    Unclear,
}

impl Wanted {
    fn is_it(&self, tick: Tick) -> bool {
        tick.0.is_multiple_of(self.divisor)
    }
}

impl Quest for Wanted {
    fn test(&mut self) -> (LookAt, Test) {
        (LookAt::Ticks, self.test.clone())
    }

    fn looker(&mut self) -> Box<dyn Looker> {
        let wanted = self.clone();
        Box::new(move |view: &View<'_>| match wanted.way {
            Way::Forward | Way::Asked if !wanted.is_it(view.tick) => Looked::On,
            _ => Looked::Stop,
        })
    }

    fn is_certain(&self) -> bool {
        matches!(self.way, Way::Forward | Way::Asked)
    }

    fn fork(&self) -> Option<Box<dyn Quest + Send>> {
        Some(Box::new(self.clone()))
    }

    fn confirm(&mut self, walker: &mut Walker<'_>) -> Result<bool, Error> {
        Ok(self.is_it(walker.position().tick))
    }

    fn backward(&mut self, _walker: &mut Walker<'_>) -> Result<Option<Backward>, Error> {
        let (at, test, words) = (LookAt::Ticks, self.test.clone(), self.words.clone());
        Ok(match self.way {
            Way::Noted | Way::Unclear => Some(Backward { at, note: Some(test), ask: None, words }),
            Way::Asked => Some(Backward { at, note: None, ask: Some(test), words: None }),
            Way::Forward | Way::Confirmed => None,
        })
    }

    fn judge(&mut self, walker: &mut Walker<'_>) -> Result<Judged, Error> {
        let Position { tick, .. } = walker.position();
        Ok(match self.is_it(tick) {
            _ if self.way == Way::Unclear && tick.0.is_multiple_of(3) => Judged::Unclear,
            true => Judged::Found,
            false => Judged::Missed,
        })
    }
}

/// The ticks of all places where a test passes.
fn all_places(walker: &mut Walker<'_>, test: &Test) -> Vec<Tick> {
    struct All(Test, Arc<Mutex<Vec<Tick>>>);
    impl Quest for All {
        fn test(&mut self) -> (LookAt, Test) {
            (LookAt::Ticks, self.0.clone())
        }
        fn looker(&mut self) -> Box<dyn Looker> {
            let all = Arc::clone(&self.1);
            Box::new(move |view: &View<'_>| {
                all.lock().unwrap().push(view.tick);
                Looked::On
            })
        }
    }
    let all = Arc::default();
    let mut quest = All(test.clone(), Arc::clone(&all));
    walker.go_to(&Moment::Start).unwrap();
    assert_eq!(walker.search_on(&mut quest).unwrap(), Searched::Nothing);
    let mut all = all.lock().unwrap().clone();
    all.dedup();
    all
}

fn tests() -> impl Strategy<Value = (Test, Vec<u32>)> {
    let words = prop::collection::btree_set(0u32..16, 1..4);
    let held = prop::collection::vec(0u32..4, 4);
    (words, held, any::<bool>()).prop_map(|(words, held, is_rare)| {
        let words: Vec<u32> = words.into_iter().map(address).collect();
        let held = held[..words.len()].to_vec();
        let test = Test::Differ { words: words.clone(), held };
        match is_rare {
            true => (Test::Not(Box::new(test)), words),
            false => (test, words),
        }
    })
}

fn ways() -> impl Strategy<Value = Way> {
    prop::sample::select(vec![Way::Noted, Way::Asked, Way::Forward, Way::Confirmed, Way::Unclear])
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    #[test]
    fn a_search_comes_to_what_a_plain_scan_says(
        every in prop::sample::select(vec![None, Some(150), Some(1000)]),
        near_ticks in prop::sample::select(vec![20, 300, 100_000]),
        searches in prop::collection::vec((tests(), ways(), 1u64..30, 0.0..1.0, 0.0..1.0), 1..5),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let trace = recorded(folder.path(), every);
        let interrupt = Arc::new(AtomicBool::new(false));
        let mut walker = trace.walk(Arc::clone(&interrupt)).unwrap();
        walker.set_near_ticks(near_ticks);
        let last = walker.last_tick().0 as f64;
        for ((test, words), way, divisor, from, until) in searches {
            let (from, until) = (Tick((from * last) as u64), Tick((until * last) as u64));
            let all = all_places(&mut walker, &test);
            let words = Some(words);
            let wanted = || Wanted { test: test.clone(), way, divisor, words: words.clone() };
            let is_it = |tick: &&Tick| tick.0.is_multiple_of(divisor);
            walker.go(Target::Tick(from)).unwrap();
            let before = all.iter().filter(is_it).rfind(|tick| **tick < from && **tick >= until);
            let searched = walker.search_back_until(&mut wanted(), until).unwrap();
            let expected = if before.is_some() { Searched::Found } else { Searched::Nothing };
            prop_assert_eq!(searched, expected, "back from {:?} until {:?}", from, until);
            prop_assert_eq!(walker.position().tick, *before.unwrap_or(&from));

            walker.go(Target::Tick(from)).unwrap();
            let hash = walker.state_hash().unwrap();
            let next = all.iter().filter(is_it).find(|tick| **tick > from);
            let searched = walker.search_on(&mut wanted()).unwrap();
            let expected = if next.is_some() { Searched::Found } else { Searched::Nothing };
            prop_assert_eq!(searched, expected, "on from {:?}", from);
            prop_assert_eq!(walker.position().tick, *next.unwrap_or(&from));

            // What is interrupted has not happened.
            walker.go(Target::Tick(from)).unwrap();
            interrupt.store(true, Ordering::Relaxed);
            prop_assert_eq!(
                walker.search_back(&mut wanted()).unwrap(),
                Searched::Interrupted
            );
            prop_assert!(!interrupt.load(Ordering::Relaxed));
            prop_assert_eq!(walker.position().tick, from);
            prop_assert_eq!(walker.state_hash().unwrap(), hash);
        }
    }
}

/// Interrupts the search at the first place that it comes to.
struct Interrupting(Arc<AtomicBool>);

impl Quest for Interrupting {
    fn test(&mut self) -> (LookAt, Test) {
        (LookAt::Ticks, Test::Always)
    }

    fn looker(&mut self) -> Box<dyn Looker> {
        let interrupt = Arc::clone(&self.0);
        Box::new(move |_: &View<'_>| {
            interrupt.store(true, Ordering::Relaxed);
            Looked::Stop
        })
    }

    fn is_certain(&self) -> bool {
        false
    }
}

#[test]
fn a_search_that_is_interrupted_while_it_runs_leaves_the_position() {
    let folder = tempfile::tempdir().unwrap();
    let trace = recorded(folder.path(), Some(200));
    let interrupt = Arc::new(AtomicBool::new(false));
    let mut walker = trace.walk(Arc::clone(&interrupt)).unwrap();
    walker.set_near_ticks(50);
    walker.go_to(&Moment::Percent(50.0)).unwrap();
    let (position, hash) = (walker.position(), walker.state_hash().unwrap());
    for direction in [Walker::search_back, Walker::search_on] {
        let searched = direction(&mut walker, &mut Interrupting(Arc::clone(&interrupt))).unwrap();
        assert_eq!(searched, Searched::Interrupted);
        assert_eq!((walker.position(), walker.state_hash().unwrap()), (position, hash));
        assert_eq!(walker.progress().share(), None, "nothing is being done");
    }
}

#[test]
fn stretches_in_which_nothing_was_written_that_matters_are_passed_over() {
    let folder = tempfile::tempdir().unwrap();
    let trace = recorded(folder.path(), Some(50));
    let mut walker = trace.walk(Arc::default()).unwrap();
    walker.set_near_ticks(10);
    let words = vec![address(15)];
    // It is never that.
    let test = Test::Not(Box::new(Test::Differ { words: words.clone(), held: vec![99] }));
    for (words, is_passed) in [(Some(words), true), (Some(vec![address(0)]), false), (None, false)]
    {
        walker.go_to(&Moment::Percent(95.0)).unwrap();
        let before = walker.stats().skipped;
        let mut wanted = Wanted { test: test.clone(), way: Way::Noted, divisor: 1, words };
        assert_eq!(walker.search_back(&mut wanted).unwrap(), Searched::Nothing);
        assert_eq!(walker.stats().skipped - before > 20, is_passed);
    }
}

#[test]
fn lookers_of_many_searches_share_a_few_modules() {
    let folder = tempfile::tempdir().unwrap();
    let trace = recorded(folder.path(), None);
    let mut walker = trace.walk(Arc::default()).unwrap();
    walker.go_to(&Moment::Percent(90.0)).unwrap();
    for number in 0..40 {
        let words = vec![address(number), address(number + 3)];
        let test = Test::Differ { words: words.clone(), held: vec![number, 2 * number] };
        let mut wanted = Wanted { test, way: Way::Noted, divisor: 7, words: Some(words) };
        walker.search_back(&mut wanted).unwrap();
        walker.go_to(&Moment::Percent(f64::from(60 + number))).unwrap();
    }
    assert!(walker.looker_modules() <= 4, "{}", walker.looker_modules());
}
