//! Modules of wasm-smith: the transformed ones do what the original does, also in another engine, and can be
//! stopped and restored everywhere.

use super::canonical;
use super::run::{Checked, check, load, starts};
use super::seeds;
use crate::admit::{check_features, features};
use crate::program::config;
use wasmtime::{Engine, Extern, ExternType, Linker, Store, ThrownException, Trap, Val, ValType};
use wrr_test_generator::Random;
use wrr_transform::{ACCESS, COMPARE, LOOK, POLL, TRAP, Variant};

const STACK_BYTES: usize = 16 << 20;
const FUEL: u32 = 3000;
const CALLS_MAX: usize = 8;
/// How often an import may have been called.
type State = i32;

/// A module, and whether wasmi runs it, too. `None` if the generator ran out of bytes.
fn generate(seed: u64, preview1: bool) -> Option<(Vec<u8>, bool)> {
    let mut random = Random::new(seed);
    let everywhere = !preview1 && random.below(2) == 0;
    let mut bytes = Vec::new();
    while bytes.len() < 4096 {
        bytes.extend(random.next().to_le_bytes());
    }
    let imports = if preview1 {
        r#"(module (import "wasi_snapshot_preview1" "sched_yield" (func (result i32)))
            (import "wasi_snapshot_preview1" "random_get" (func (param i32 i32) (result i32)))
            (import "wasi_snapshot_preview1" "clock_time_get" (func (param i32 i64 i32) (result i32))))"#
    } else {
        r#"(module (import "env" "number" (func (result i32))))"#
    };
    let config = wasm_smith::Config {
        available_imports: Some(wat::parse_str(imports).unwrap()),
        min_imports: 1,
        max_imports: 3,
        min_funcs: 2,
        max_funcs: 7,
        max_instructions: 150,
        max_memories: 2,
        max_tables: 3,
        export_everything: true,
        allow_start_export: true,
        // wasmi 2.0.0 gives 1 for `select` of 1 and 5 with the condition `i32.eqz` of 5: what wasm-smith
        // avoids divisions by zero with.
        disallow_traps: !everywhere && random.below(2) == 0,
        // Where only wasmtime runs it, its bits are those that canonical results of each instruction give.
        canonicalize_nans: everywhere,
        simd_enabled: !everywhere,
        relaxed_simd_enabled: !everywhere,
        exceptions_enabled: !everywhere,
        gc_enabled: !everywhere && random.below(8) == 0,
        threads_enabled: !everywhere && random.below(4) == 0,
        compact_imports_enabled: false,
        custom_page_sizes_enabled: false,
        wide_arithmetic_enabled: false,
        memory_max_size_required: true,
        max_memory32_bytes: 4 << 16,
        max_memory64_bytes: 4 << 16,
        table_max_size_required: true,
        max_table_elements: 100,
        ..wasm_smith::Config::default()
    };
    let mut input = arbitrary::Unstructured::new(&bytes);
    let mut module = wasm_smith::Module::new(config, &mut input).ok()?;
    module.ensure_termination(FUEL).ok()?;
    Some((module.to_bytes(), everywhere))
}

/// Arguments of a function; `None` if it takes something that cannot be made here.
fn arguments(random: &mut Random, params: impl Iterator<Item = ValType>) -> Option<Vec<Val>> {
    params
        .map(|ty| {
            let n = random.next() >> random.below(60);
            Some(match ty {
                ValType::I32 => Val::I32(n as i32),
                ValType::I64 => Val::I64(n as i64),
                ValType::F32 => Val::F32((n as f32).to_bits()),
                ValType::F64 => Val::F64((n as f64).to_bits()),
                ValType::V128 => Val::V128(u128::from(n).into()),
                ValType::Ref(ty) if ty.is_nullable() => Val::null_ref(ty.heap_type()),
                ValType::Ref(_) => return None,
            })
        })
        .collect()
}

/// Which functions to call with what.
pub(super) fn calls(
    seed: u64,
    exports: impl Iterator<Item = (String, ExternType)>,
) -> Vec<(String, Vec<Val>)> {
    let mut random = Random::new(seed ^ 0x5eed);
    exports
        .filter_map(|(name, ty)| Some((name, arguments(&mut random, ty.func()?.params())?)))
        .take(CALLS_MAX)
        .collect()
}

/// What was observed: results and traps, then globals, memories and sizes of tables.
#[derive(Debug, PartialEq)]
pub(super) struct Observed {
    pub calls: Vec<String>,
    globals: Vec<String>,
    memories: Vec<Vec<u8>>,
    tables: Vec<u64>,
}

fn shown(value: &Val) -> String {
    match value {
        Val::I32(v) => v.to_string(),
        Val::I64(v) => v.to_string(),
        Val::F32(bits) => format!("{bits:#x}"),
        Val::F64(bits) => format!("{bits:#x}"),
        Val::V128(v) => format!("{:#x}", v.as_u128()),
        Val::FuncRef(r) => format!("null: {}", r.is_none()),
        Val::ExternRef(r) => format!("null: {}", r.is_none()),
        Val::ExnRef(r) => format!("null: {}", r.is_none()),
        other => format!("{other:?}"),
    }
}

fn trap(error: &wasmtime::Error) -> String {
    match error.downcast_ref::<Trap>() {
        Some(trap) => format!("{trap:?}"),
        None if error.is::<ThrownException>() => "exception".to_owned(),
        None => panic!("{error:?}"),
    }
}

/// Runs a module in wasmtime, original or transformed, and gives what the counter says as well.
pub(super) fn in_wasmtime(
    [original_engine, engine]: &[Engine; 2],
    bytes: &[u8],
    variant: Option<Variant>,
    seed: u64,
) -> (Observed, i64) {
    let original = wasmtime::Module::from_binary(original_engine, bytes).unwrap();
    let engine = if variant.is_some() { engine } else { original_engine };
    let parsed = wrr_transform::Module::parse(bytes.into(), features()).unwrap();
    let module = match variant {
        None => original.clone(),
        Some(variant) => {
            let transformed = parsed.transform(variant).unwrap();
            wasmtime::Module::from_binary(engine, &transformed.wasm)
                .unwrap_or_else(|e| panic!("seed {seed}, {variant:?}: {e:?}"))
        }
    };
    let mut linker: Linker<State> = Linker::new(engine);
    linker.func_wrap("env", "number", next_number).unwrap();
    linker.func_wrap("wasi_snapshot_preview1", "sched_yield", || 0i32).unwrap();
    for import in module.imports().filter(|import| import.module() == POLL.0) {
        let (module, name) = (import.module(), import.name());
        let own = |host: (&str, &str)| name.ends_with(host.1);
        match () {
            () if own(TRAP) => linker.func_wrap(module, name, crate::guest::trap).unwrap(),
            () if own(LOOK) => {
                let look = |_: i64, _: i64, _: i32, _: i32| {};
                linker.func_wrap(module, name, look).unwrap()
            }
            () if own(COMPARE) => {
                linker.func_wrap(module, name, |_: i32, _: i32, _: i64, _: i64| {}).unwrap()
            }
            () if own(ACCESS) => linker.func_wrap(module, name, |_: i64, _: i64| {}).unwrap(),
            () => linker.func_wrap(module, name, || {}).unwrap(),
        };
    }
    let mut store = Store::new(engine, 0);
    let mut observed = Observed {
        calls: Vec::new(),
        globals: Vec::new(),
        memories: Vec::new(),
        tables: Vec::new(),
    };
    let instance = match linker.instantiate(&mut store, &module) {
        Ok(instance) => instance,
        Err(error) => {
            observed.calls.push(trap(&error));
            return (observed, 0);
        }
    };
    let data = instance.get_func(&mut store, &format!("{}data", parsed.prefix()));
    if let (Some(_), Some(data)) = (variant, data)
        && let Err(error) = data.call(&mut store, &[Val::I32(1)], &mut [])
    {
        observed.calls.push(trap(&error));
        return (observed, 0);
    }
    if let (Some(_), Some(start)) = (variant, parsed.start()) {
        let start = format!("{}f{start}", parsed.prefix());
        let start = instance.get_func(&mut store, &start).unwrap();
        if let Err(error) = start.call(&mut store, &[], &mut []) {
            observed.calls.push(trap(&error));
            return (observed, 0);
        }
    }
    let exports = || original.exports().map(|e| (e.name().to_owned(), e.ty()));
    for (name, args) in calls(seed, exports()) {
        let function = instance.get_func(&mut store, &name).unwrap();
        let mut results = vec![Val::I32(0); function.ty(&store).results().len()];
        observed.calls.push(match function.call(&mut store, &args, &mut results) {
            Ok(()) => results.iter().map(shown).collect::<Vec<_>>().join(" "),
            Err(error) => {
                store.take_pending_exception();
                trap(&error)
            }
        });
    }
    for (name, _) in exports() {
        match instance.get_export(&mut store, &name) {
            Some(Extern::Global(global)) => observed.globals.push(shown(&global.get(&mut store))),
            Some(Extern::Memory(memory)) => observed.memories.push(memory.data(&store).to_vec()),
            Some(Extern::Table(table)) => observed.tables.push(table.size(&store)),
            _ => {}
        }
    }
    let left = instance.get_global(&mut store, &format!("{}left", parsed.prefix()));
    let left = left.map_or(0, |left| left.get(&mut store).unwrap_i64());
    (observed, left)
}

fn next_number(mut caller: wasmtime::Caller<'_, State>) -> i32 {
    *caller.data_mut() += 7;
    *caller.data()
}

/// The same in wasmi.
fn in_wasmi(bytes: &[u8], seed: u64, original: &wasmtime::Module) -> Observed {
    let mut config = wasmi::Config::default();
    config.set_max_recursion_depth(100_000).set_max_stack_height(64 << 20).wasm_multi_memory(true);
    let engine = wasmi::Engine::new(&config);
    let module = wasmi::Module::new(&engine, bytes).unwrap();
    let mut linker: wasmi::Linker<State> = wasmi::Linker::new(&engine);
    linker
        .func_wrap("env", "number", |mut caller: wasmi::Caller<'_, State>| {
            *caller.data_mut() += 7;
            *caller.data()
        })
        .unwrap();
    let mut store = wasmi::Store::new(&engine, 0);
    let mut observed = Observed {
        calls: Vec::new(),
        globals: Vec::new(),
        memories: Vec::new(),
        tables: Vec::new(),
    };
    let instance = match linker.instantiate_and_start(&mut store, &module) {
        Ok(instance) => instance,
        Err(error) => {
            observed.calls.push(wasmi_trap(&error));
            return observed;
        }
    };
    let exports = || original.exports().map(|e| (e.name().to_owned(), e.ty()));
    for (name, args) in calls(seed, exports()) {
        let function = instance.get_func(&store, &name).unwrap();
        let args: Vec<wasmi::Val> = args.iter().map(to_wasmi).collect();
        let mut results = vec![wasmi::Val::I32(0); function.ty(&store).results().len()];
        observed.calls.push(match function.call(&mut store, &args, &mut results) {
            Ok(()) => results.iter().map(wasmi_shown).collect::<Vec<_>>().join(" "),
            Err(error) => wasmi_trap(&error),
        });
    }
    for (name, _) in exports() {
        match instance.get_export(&store, &name) {
            Some(wasmi::Extern::Global(global)) => {
                observed.globals.push(wasmi_shown(&global.get(&store)))
            }
            Some(wasmi::Extern::Memory(memory)) => {
                observed.memories.push(memory.data(&store).to_vec())
            }
            Some(wasmi::Extern::Table(table)) => observed.tables.push(table.size(&store)),
            _ => {}
        }
    }
    observed
}

fn to_wasmi(value: &Val) -> wasmi::Val {
    match value {
        Val::I32(v) => wasmi::Val::I32(*v),
        Val::I64(v) => wasmi::Val::I64(*v),
        Val::F32(bits) => wasmi::Val::F32(wasmi::F32::from_bits(*bits)),
        Val::F64(bits) => wasmi::Val::F64(wasmi::F64::from_bits(*bits)),
        Val::FuncRef(_) => wasmi::Val::FuncRef(wasmi::Nullable::Null),
        Val::ExternRef(_) => wasmi::Val::ExternRef(wasmi::Nullable::Null),
        other => unreachable!("no {other:?} without the features that wasmi lacks"),
    }
}

fn wasmi_shown(value: &wasmi::Val) -> String {
    match value {
        wasmi::Val::I32(v) => v.to_string(),
        wasmi::Val::I64(v) => v.to_string(),
        wasmi::Val::F32(v) => format!("{:#x}", v.to_bits()),
        wasmi::Val::F64(v) => format!("{:#x}", v.to_bits()),
        wasmi::Val::FuncRef(r) => format!("null: {}", r.is_null()),
        wasmi::Val::ExternRef(r) => format!("null: {}", r.is_null()),
        other => format!("{other:?}"),
    }
}

fn wasmi_trap(error: &wasmi::Error) -> String {
    match error.as_trap_code() {
        Some(code) => format!("{code:?}"),
        // Segments that do not fit are errors of their own there.
        None if error.to_string().starts_with("out of bounds table") => {
            "TableOutOfBounds".to_owned()
        }
        None if error.to_string().starts_with("out of bounds memory") => {
            "MemoryOutOfBounds".to_owned()
        }
        None => error.to_string(),
    }
}

#[test]
fn transformed_modules_do_what_the_originals_do_in_two_engines() {
    let engine = [canonical(STACK_BYTES), config(STACK_BYTES)].map(|c| Engine::new(&c).unwrap());
    let (mut modules, mut in_both, mut returned) = (0, 0, 0);
    let action = || {
        for seed in seeds(250) {
            let Some((bytes, everywhere)) = generate(seed, false) else { continue };
            if check_features(&bytes).is_err() {
                continue;
            }
            modules += 1;
            let (original, _) = in_wasmtime(&engine, &bytes, None, seed);
            let (run, run_left) = in_wasmtime(&engine, &bytes, Some(Variant::Run), seed);
            let (inspect, inspect_left) =
                in_wasmtime(&engine, &bytes, Some(Variant::Inspect), seed);
            let (noted, noted_left) = in_wasmtime(&engine, &bytes, Some(Variant::Accesses), seed);
            let (counted, counted_left) =
                in_wasmtime(&engine, &bytes, Some(Variant::Counted), seed);
            assert_eq!(run, original, "seed {seed}");
            // What is told to a fuzzer changes nothing.
            for variant in [Variant::Covered, Variant::Compares] {
                let told = in_wasmtime(&engine, &bytes, Some(variant), seed);
                assert_eq!(told.0, counted, "seed {seed} in {variant:?}");
                assert_eq!(told.1, counted_left, "seed {seed} in {variant:?}");
            }
            // Where the stack ends is all that may differ.
            let overflows = |run: &Observed| run.calls.iter().any(|call| call == "StackOverflow");
            if !overflows(&counted) && !overflows(&original) {
                assert_eq!(counted, original, "seed {seed}");
                assert_eq!(counted_left, run_left, "seed {seed}");
            }
            if !overflows(&noted) && !overflows(&original) {
                assert_eq!(noted, original, "seed {seed}");
                assert_eq!(noted_left, run_left, "seed {seed}");
            }
            assert_eq!(inspect, original, "seed {seed}");
            assert_eq!(run_left, inspect_left, "seed {seed}");
            returned += original.calls.iter().filter(|call| !call.contains("Unreachable")).count();
            if everywhere && !original.calls.iter().any(|call| call == "StackOverflow") {
                in_both += 1;
                let module = wasmtime::Module::from_binary(&engine[0], &bytes).unwrap();
                assert_eq!(in_wasmi(&bytes, seed, &module), original, "seed {seed}");
            }
        }
    };
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(STACK_BYTES + (4 << 20));
        let running = thread.spawn_scoped(scope, action).unwrap();
        running.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
    println!("{modules} modules, {in_both} of them in both engines, {returned} calls returned");
    assert!(modules > 0 && in_both > 0 && returned > modules);
}

#[test]
fn random_modules_can_be_stopped_and_restored_everywhere() {
    let original = Engine::new(&canonical(STACK_BYTES)).unwrap();
    let mut checked = Checked::default();
    for seed in seeds(50) {
        let Some((bytes, _)) = generate(seed, true) else { continue };
        let Ok(program) = load(&bytes, STACK_BYTES as u64) else { continue };
        let plain = wasmtime::Module::from_binary(&original, &bytes).unwrap();
        let calls = calls(seed, plain.exports().map(|e| (e.name().to_owned(), e.ty())));
        if !calls.is_empty() && starts(&program) {
            println!("seed {seed}");
            checked += check(&program, &calls, 12);
        }
    }
    println!("{checked:?}");
    assert!(checked.stops > 0);
}
