//! Random programs that are all about floats and their bits: transformed ones show the same bits as the original under an engine
//! that makes the result of each instruction canonical, whatever is done with a NaN in between.

use super::run::{Checked, check, load};
use super::smith::{calls, in_wasmtime};
use super::{canonical, seeds};
use crate::program::config;
use wasmtime::Engine;
use wrr_test_generator::floats::{EXPORTS, module};
use wrr_transform::Variant;

const STACK_BYTES: usize = 1 << 20;

#[test]
fn bits_of_nans_are_those_that_canonical_instructions_give() {
    let engines = [canonical(STACK_BYTES), config(STACK_BYTES)].map(|c| Engine::new(&c).unwrap());
    let raw = Engine::new(&config(STACK_BYTES)).unwrap();
    let mut matters = 0;
    for seed in seeds(150) {
        let text = module(seed);
        let bytes = wat::parse_str(&text).unwrap_or_else(|e| panic!("{e}\n{text}"));
        let (original, _) = in_wasmtime(&engines, &bytes, None, seed);
        for variant in [Variant::Run, Variant::Counted, Variant::Inspect] {
            let (transformed, _) = in_wasmtime(&engines, &bytes, Some(variant), seed);
            assert_eq!(transformed, original, "seed {seed}, {variant:?}\n{text}");
        }
        // Nothing would be tested by programs that show the same bits anyway.
        let both_raw = [raw.clone(), raw.clone()];
        matters += usize::from(in_wasmtime(&both_raw, &bytes, None, seed).0 != original);
    }
    assert!(matters > 20, "{matters}");
}

#[test]
fn programs_with_nans_can_be_stopped_and_restored_everywhere() {
    let mut checked = Checked::default();
    for seed in seeds(25) {
        let program = load(module(seed).as_bytes(), STACK_BYTES as u64).unwrap();
        let bytes = wat::parse_str(module(seed)).unwrap();
        let module = wasmtime::Module::from_binary(&program.engine, &bytes).unwrap();
        let typed = EXPORTS.map(|name| (name.to_owned(), module.get_export(name).unwrap()));
        checked += check(&program, &calls(seed, typed.into_iter()), 8);
    }
    assert!(checked.stops > 100, "{checked:?}");
}
