//! Random programs of our own generator, stopped everywhere.

use super::run::{Checked, check, load};
use super::seeds;
use wasmtime::Val;
use wrr_test_generator::control;

#[test]
fn generated_programs_can_be_stopped_and_restored_everywhere() {
    let mut checked = Checked::default();
    for seed in seeds(25) {
        let text = control::module(seed);
        let program =
            load(text.as_bytes(), 1 << 20).unwrap_or_else(|e| panic!("seed {seed}: {e}\n{text}"));
        let calls = control::EXPORTS.map(|name| (name.to_owned(), vec![Val::I32(seed as i32)]));
        println!("seed {seed}");
        checked += check(&program, &calls, 40);
    }
    println!("{checked:?}");
    assert!(checked.stops > 500 && checked.frames > 1000 && checked.events > 100, "{checked:?}");
}
