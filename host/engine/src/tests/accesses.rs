//! What the host is told of accesses to memory.

use crate::admit::features;
use crate::program::config;
use wasmtime::{Caller, Engine, Linker, Module, Store};
use wrr_transform::{ACCESS, POLL, Variant};

/// Reads, writes, both, none.
const PROGRAM: &str = r#"(module
  (memory 1)
  (memory $other 1)
  (data $segment "0123456789")
  (func (export "run") (param $at i32)
    (drop (i32.load offset=4 (local.get $at)))
    (drop (i64.load8_s (i32.const 3)))
    (drop (f64.load (i32.const 16)))
    (drop (v128.load32_lane 1 (i32.const 32) (v128.const i64x2 0 0)))
    (i32.store16 offset=2 (i32.const 40) (i32.const 7))
    (f32.store (i32.const 44) (f32.const 1.5))
    (v128.store8_lane offset=1 3 (i32.const 48) (v128.const i64x2 1 2))
    (drop (i32.atomic.load (i32.const 52)))
    (drop (i32.atomic.rmw.add (i32.const 56) (i32.const 1)))
    (drop (i64.atomic.rmw.cmpxchg (i32.const 64) (i64.const 0) (i64.const 5)))
    (memory.copy (i32.const 80) (i32.const 100) (i32.const 9))
    (memory.copy $other 0 (i32.const 0) (i32.const 110) (i32.const 3))
    (memory.copy 0 $other (i32.const 120) (i32.const 0) (i32.const 2))
    (memory.fill (i32.const 130) (i32.const 255) (i32.const 6))
    (memory.init $segment (i32.const 140) (i32.const 1) (i32.const 5))
    (drop (i32.load $other (i32.const 0)))
    (i32.store $other (i32.const 0) (i32.const 1))
    (drop (memory.size))))"#;

/// An address and a length, and whether it is written to.
type Told = Vec<(i64, i64, bool)>;

#[test]
fn every_access_to_the_first_memory_is_told_once_with_its_length() {
    let bytes = wat::parse_str(PROGRAM).unwrap();
    let original = wrr_transform::Module::parse(bytes.into(), features()).unwrap();
    let transformed = original.transform(Variant::Accesses).unwrap();
    let engine = Engine::new(&config(1 << 20)).unwrap();
    let module = Module::from_binary(&engine, &transformed.wasm).unwrap();
    let mut linker: Linker<Told> = Linker::new(&engine);
    for import in module.imports().filter(|import| import.module() == POLL.0) {
        if import.name().ends_with(ACCESS.1) {
            let access = |mut caller: Caller<'_, Told>, at: i64, len: i64| {
                caller.data_mut().push((at, len & i64::MAX, len < 0));
            };
            linker.func_wrap(import.module(), import.name(), access).unwrap();
        }
    }
    let mut store = Store::new(&engine, Vec::new());
    linker.define_unknown_imports_as_traps(&module).unwrap();
    let instance = linker.instantiate(&mut store, &module).unwrap();
    let run = instance.get_typed_func::<i32, ()>(&mut store, "run").unwrap();
    run.call(&mut store, 4).unwrap();
    let told: Told = vec![
        (8, 4, false),
        (3, 1, false),
        (16, 8, false),
        (32, 4, false),
        (42, 2, true),
        (44, 4, true),
        (49, 1, true),
        (52, 4, false),
        (56, 4, true),
        (64, 8, true),
        (80, 9, true),
        (100, 9, false),
        (110, 3, false),
        (120, 2, true),
        (130, 6, true),
        (140, 5, true),
    ];
    assert_eq!(*store.data(), told);
}
