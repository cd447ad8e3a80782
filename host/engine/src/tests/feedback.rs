//! What a fuzzer is told: counters of decisions, comparisons, the last tick, the last byte of memory.

use crate::{
    Bound, Comparison, Ended, Entry, Guest, How, Operands, Program, Purpose, Reached, Until,
};
use wrr_trace::{Ending, Limits, ModuleId, Tick, TrapKind};
use wrr_transform::Variant;
use wrr_wasi::{Host, Live, LiveConfig};

fn program(text: &str, variant: Variant, memory_bytes_max: u64) -> Program {
    let bytes = wat::parse_str(text).unwrap();
    let limits = Limits { memory_bytes_max, stack_bytes: 1 << 20, ..Limits::default() };
    let id = ModuleId::of(&bytes);
    Program::load(bytes, id, &limits, None, (Purpose::Live, variant), &()).unwrap()
}

fn guest(text: &str, variant: Variant, args: &[&str]) -> (Program, Guest) {
    let program = program(text, variant, 1 << 20);
    let args = args.iter().map(|arg| (*arg).to_owned()).collect();
    let entry = Entry::Export { name: "run".to_owned(), args };
    let host = Host::new(Live::new(LiveConfig::default()).unwrap());
    let guest = Guest::new(&program, variant, &entry, host).unwrap();
    (program, guest)
}

fn ended(program: &Program, guest: &mut Guest) -> Ended {
    match program.on_guest_stack(|| guest.go(Until::End)).unwrap().unwrap() {
        Reached::Ended(ended) => ended,
        Reached::Stopped => panic!("it stopped"),
    }
}

/// An `if`, a table, a loop, a selection, a number to be guessed.
const DECISIONS: &str = r#"(module
  (func (export "run") (param $n i32) (result i32) (local $i i32)
    (if (i32.gt_s (local.get $n) (i32.const 5)) (then (nop)))
    (block $two (block $one (block $zero
      (br_table $zero $one $two (local.get $n)))))
    (loop $again
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br_if $again (i32.ne (local.get $i) (local.get $n))))
    (drop (i32.eq (local.get $n) (i32.const 0x11223344)))
    (drop (i32.eq (local.get $n) (i32.const 7)))
    (select (i32.const 10) (i32.const 20) (local.get $n))))"#;

#[test]
fn every_outcome_of_a_decision_has_a_counter() {
    let counts = |n: &str| {
        let (program, mut guest) = guest(DECISIONS, Variant::Covered, &[n]);
        assert!(guest.counts().iter().all(|&count| count == 0));
        ended(&program, &mut guest);
        guest.counts().to_vec()
    };
    // Entry; if: taken, not; table: 0, 1, others; back edge: taken, not; agreement in 0 to 4 bytes; select: first, second.
    assert_eq!(counts("1"), [1, 0, 1, 0, 1, 0, 0, 1, 1, 0, 0, 0, 0, 1, 0]);
    assert_eq!(counts("9"), [1, 1, 0, 0, 0, 1, 8, 1, 1, 0, 0, 0, 0, 1, 0]);
    // 0x1122_0000 agrees in two bytes; the loop's counter has gone from 255 to 1 instead of to 0 again and again.
    let many = counts(&0x1122_0000.to_string());
    assert_eq!(many[8..13], [0, 0, 1, 0, 0]);
    assert!(many[6] > 0);
    let (program, mut other) = guest(DECISIONS, Variant::Counted, &["1"]);
    ended(&program, &mut other);
    assert!(other.counts().is_empty());
}

#[test]
fn counters_go_from_the_last_one_to_one() {
    for (rounds, expected) in [(256, 255), (257, 1), (258, 2), (512, 1)] {
        let (program, mut guest) = guest(DECISIONS, Variant::Covered, &[&rounds.to_string()]);
        ended(&program, &mut guest);
        assert_eq!(guest.counts()[6], expected, "{rounds} rounds, the last of which leaves");
    }
}

const COMPARISONS: &str = r#"(module
  (memory (export "memory") 1)
  (data (i32.const 16) "magic text\00magic tent\00")
  (func $memcmp (param i32 i32 i32) (result i32) (i32.const 0))
  (func $strcmp (param i32 i32) (result i32) (i32.const 0))
  ;; Not the one of C.
  (func $bcmp (param i32 i64) (result i32) (i32.const 0))
  (func (export "run") (param $n i32)
    (drop (i32.eq (local.get $n) (i32.const 0xcafe)))
    ;; As compilers compare texts of nine bytes.
    (drop (i64.eqz (i64.or
      (i64.xor (i64.extend_i32_s (local.get $n)) (i64.const 0x6867666564636261))
      (i64.xor (i64.extend_i32_s (local.get $n)) (i64.const 0x69)))))
    (drop (i32.xor (local.get $n) (i32.const 0x20)))
    (drop (i64.lt_u (i64.extend_i32_s (local.get $n)) (i64.const -1)))
    (drop (call $memcmp (i32.const 16) (i32.const 27) (i32.const 10)))
    (drop (call $strcmp (i32.const 65530) (i32.const 16)))
    (drop (call $memcmp (i32.const 0x7fffffff) (i32.const 27) (i32.const 10)))
    (drop (call $bcmp (i32.const 16) (i64.const 27)))))"#;

#[test]
fn comparisons_are_told_with_what_is_compared() {
    let (program, mut guest) = guest(COMPARISONS, Variant::Compares, &["7"]);
    guest.note_compares();
    ended(&program, &mut guest);
    let told: Vec<Operands> =
        guest.take_compares().into_iter().map(|Comparison { operands, .. }| operands).collect();
    let expected = [
        Operands::I32(7, 0xcafe),
        Operands::I64(7, 0x6867_6665_6463_6261),
        Operands::I64(7, 0x69),
        Operands::I64(7, u64::MAX),
        Operands::Bytes(b"magic text".to_vec(), b"magic tent".to_vec()),
        Operands::Bytes(vec![0; 6], b"magic ".to_vec()),
    ];
    assert_eq!(told, expected);
    assert!(guest.take_compares().is_empty());
}

/// Runs for ever, in a function from which nothing of the host can be reached.
const ENDLESS: &str = r#"(module
  (memory 1)
  (func $spin (loop $again (br $again)))
  (func (export "run") (call $spin)))"#;

#[test]
fn a_run_ends_at_its_last_tick() {
    for variant in [Variant::Covered, Variant::Compares] {
        let (program, mut guest) = guest(ENDLESS, variant, &[]);
        guest.set_bounds(Some(Tick(1234)), false);
        let ended = ended(&program, &mut guest);
        assert!(matches!(ended.how, How::Ended(Ending::Interrupted)), "{ended:?}");
        assert_eq!((ended.tick, guest.bound()), (Tick(1234), Some(Bound::Ticks)));
        let frames = ended.trap.unwrap().1.frames;
        assert_eq!(frames.iter().map(|frame| frame.function).collect::<Vec<_>>(), [0, 1]);
    }
}

#[test]
fn a_memory_that_would_grow_beyond_its_limit_ends_the_run_if_that_is_asked_for() {
    let text = r#"(module
      (memory 1)
      (func $grow (result i32) (memory.grow (i32.const 100)))
      (func (export "run") (result i32) (call $grow)))"#;
    let (program, mut strict) = guest(text, Variant::Covered, &[]);
    strict.set_bounds(None, true);
    let end = ended(&program, &mut strict);
    assert!(matches!(end.how, How::Ended(Ending::Interrupted)), "{end:?}");
    assert_eq!(strict.bound(), Some(Bound::Memory));
    let (message, backtrace) = end.trap.unwrap();
    assert_eq!(message, "a memory would grow to 6619136 bytes, the most is 1048576");
    assert_eq!(backtrace.frames[0].function, 0);
    let (program, mut lenient) = guest(text, Variant::Covered, &[]);
    let end = ended(&program, &mut lenient);
    assert!(matches!(end.how, How::Ended(Ending::Returned { .. })), "{end:?}");
    assert_eq!(lenient.bound(), None);
}

#[test]
fn the_interpreter_of_the_engine_comes_to_the_same() {
    let text = r#"(module (memory 1)
      (func $f (param i32) (result i32) (i32.load (local.get 0)))
      (func (export "run") (param i32) (result i32) (call $f (local.get 0))))"#;
    let bytes = wat::parse_str(text).unwrap();
    let (limits, id) = (Limits::default(), ModuleId::of(&bytes));
    let ends = [Purpose::Replay, Purpose::Interpret].map(|purpose| {
        let module = bytes.clone();
        let program =
            Program::load(module, id, &limits, None, (purpose, Variant::Run), &()).unwrap();
        let entry = Entry::Export { name: "run".to_owned(), args: vec!["65533".to_owned()] };
        let host = Host::new(Live::new(LiveConfig::default()).unwrap());
        let mut guest = Guest::new(&program, Variant::Run, &entry, host).unwrap();
        let ended = ended(&program, &mut guest);
        let How::Ended(Ending::Trapped { kind: TrapKind::MemoryOutOfBounds }) = ended.how else {
            panic!("{ended:?}")
        };
        (ended.tick, ended.trap)
    });
    assert_eq!(ends[0], ends[1]);
}
