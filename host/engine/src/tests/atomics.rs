//! Atomic instructions, which the transform replaces, do what wasmtime's own do, at any address.

use super::run::{Checked, check, load};
use super::smith::{calls, in_wasmtime};
use super::{canonical, seeds};
use crate::program::config;
use std::fmt::Write as _;
use wasmtime::Engine;
use wrr_test_generator::Random;
use wrr_transform::Variant;

const STACK_BYTES: usize = 1 << 20;
const FUNCTIONS: usize = 8;

/// Accesses: the type, and what stands within and behind an instruction's name for its width.
const WIDTHS: [(&str, &str, &str); 7] = [
    ("i32", "", ""),
    ("i32", "8", "_u"),
    ("i32", "16", "_u"),
    ("i64", "", ""),
    ("i64", "8", "_u"),
    ("i64", "16", "_u"),
    ("i64", "32", "_u"),
];

/// An instruction: its name, how many operands it has above the address, their type, and that of its result.
fn instruction(random: &mut Random) -> (String, Vec<&'static str>, Option<&'static str>) {
    let (ty, width, suffix) = WIDTHS[random.below(WIDTHS.len())];
    let changes = ["add", "sub", "and", "or", "xor", "xchg"];
    match random.below(10) {
        0 => (format!("{ty}.atomic.load{width}{suffix}"), vec![], Some(ty)),
        1 => (format!("{ty}.atomic.store{width}"), vec![ty], None),
        2 | 3 => (format!("{ty}.atomic.rmw{width}.cmpxchg{suffix}"), vec![ty, ty], Some(ty)),
        4 => ("memory.atomic.notify".to_owned(), vec!["i32"], Some("i32")),
        5 if random.below(2) == 0 => {
            ("memory.atomic.wait32".to_owned(), vec!["i32", "i64"], Some("i32"))
        }
        5 => ("memory.atomic.wait64".to_owned(), vec!["i64", "i64"], Some("i32")),
        _ => {
            let change = changes[random.below(changes.len())];
            (format!("{ty}.atomic.rmw{width}.{change}{suffix}"), vec![ty], Some(ty))
        }
    }
}

fn module(seed: u64) -> String {
    let mut random = Random::new(seed ^ 0xa70);
    let is_64 = random.below(4) == 0;
    let index = if is_64 { "i64" } else { "i32" };
    let mut out = format!(
        r#"(module (import "wasi_snapshot_preview1" "sched_yield" (func $yield (result i32)))
        (memory (export "other") 1) (memory $m (export "memory") {index} 1)
        (data (memory $m) ({index}.const 0) "\00\01\02\03\ff\fe\7f\80\81\90\a0\b0\c0\d0\e0\f0\11\22\33")"#
    );
    for function in 0..FUNCTIONS {
        let (name, operands, result) = instruction(&mut random);
        // Behind the end of a page of 65,536 bytes, some of them.
        let base = [0, 0, 0, 65_520][random.below(4)];
        // Where the sum of address and offset overflows, wasmtime's wait and notify do not look at the alignment.
        let offsets = if name.starts_with("memory") { 5 } else { 6 };
        let offset = [0, 0, 1, 2, 4, 0xffff_fff8_u32][random.below(offsets)];
        let expected = operands.len() == 2 && random.below(2) == 0;
        let params: String = operands.iter().map(|ty| format!("(param {ty})")).collect();
        let values: String = (0..operands.len())
            .map(|operand| match (expected, operand, result) {
                // What is there, so that it is exchanged.
                (true, 0, Some(ty)) if ty == operands[0] && name.contains("cmpxchg") => {
                    let load = name.replace("rmw", "load").replace(".cmpxchg", "");
                    format!("({load} $m offset={offset} (local.get $at))")
                }
                _ => format!("(local.get {})", operand + 1),
            })
            .collect();
        let result = result.map_or_else(String::new, |ty| format!("(result {ty})"));
        let at = format!("(i32.add (i32.and (local.get 0) (i32.const 15)) (i32.const {base}))");
        let at = if is_64 { format!("(i64.extend_i32_u {at})") } else { at };
        write!(
            out,
            "(func (export \"f{function}\") (param i32) {params} {result} (local $at {index})
             (local.set $at {at}) (atomic.fence) (drop (call $yield))
             ({name} $m offset={offset} (local.get $at) {values}))"
        )
        .expect("to a string");
    }
    out + ")"
}

#[test]
fn plain_instructions_do_what_atomic_ones_do() {
    let engines = [canonical(STACK_BYTES), config(STACK_BYTES)].map(|c| Engine::new(&c).unwrap());
    let (mut returned, mut trapped) = (0, 0);
    for seed in seeds(300) {
        let text = module(seed);
        let bytes = wat::parse_str(&text).unwrap_or_else(|e| panic!("{e}\n{text}"));
        let (original, _) = in_wasmtime(&engines, &bytes, None, seed);
        for variant in [Variant::Run, Variant::Counted, Variant::Inspect] {
            let (transformed, _) = in_wasmtime(&engines, &bytes, Some(variant), seed);
            assert_eq!(transformed, original, "seed {seed}, {variant:?}\n{text}");
        }
        let traps = original.calls.iter().filter(|call| call.starts_with(char::is_alphabetic));
        let traps = traps.count();
        trapped += traps;
        returned += original.calls.len() - traps;
    }
    assert!(returned > 500 && trapped > 500, "{returned} returned, {trapped} trapped");
}

#[test]
fn programs_with_atomics_can_be_stopped_and_restored_everywhere() {
    let original = Engine::new(&canonical(STACK_BYTES)).unwrap();
    let mut checked = Checked::default();
    for seed in seeds(20) {
        let bytes = wat::parse_str(module(seed)).unwrap();
        let program = load(&bytes, STACK_BYTES as u64).unwrap();
        let plain = wasmtime::Module::from_binary(&original, &bytes).unwrap();
        let exports = plain.exports().map(|e| (e.name().to_owned(), e.ty()));
        checked += check(&program, &calls(seed, exports), 8);
    }
    assert!(checked.stops > 100, "{checked:?}");
}
