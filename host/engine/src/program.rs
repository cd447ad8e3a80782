//! A module that is ready to run.

use crate::admit::{Refusal, check_features, check_imports};
use crate::cache::CodeCache;
use std::hash::{Hash, Hasher};
use wrr_trace::{Limits, ModuleId};

/// Is told when something takes long.
pub trait Observer: Sync {
    /// A module of this many bytes is being compiled.
    fn compiling(&self, _module_bytes: usize) {}
    /// It is compiled.
    fn compiled(&self) {}
}

impl Observer for () {}

/// A checked and compiled module, with the limits it will run under.
#[derive(Clone)]
pub struct Program {
    pub(crate) engine: wasmtime::Engine,
    pub(crate) module: wasmtime::Module,
    pub(crate) limits: Limits,
}

impl Program {
    /// Checks and compiles a module in binary form, or takes it from the cache.
    ///
    /// Requires: `id` is the module's.
    ///
    /// # Errors
    /// The reason why wrr does not run it.
    pub fn load(
        module: &[u8],
        id: ModuleId,
        limits: &Limits,
        cache: Option<&CodeCache>,
        observer: &dyn Observer,
    ) -> Result<Program, Refusal> {
        let refused = |e: wasmtime::Error| Refusal::Engine(format!("{e:#}"));
        let engine = wasmtime::Engine::new(&config(limits)?).map_err(refused)?;
        let key = cache_key(&engine, id);
        let cached = cache.and_then(|cache| cache.load(&engine, &key));
        let module = match cached {
            // It was checked before it was put there, by this very version.
            Some(module) => module,
            None => {
                check_features(module)?;
                observer.compiling(module.len());
                let compiled = wasmtime::Module::from_binary(&engine, module);
                observer.compiled();
                let module = compiled.map_err(refused)?;
                if let Some(cache) = cache {
                    cache.store(&module, &key);
                }
                module
            }
        };
        check_imports(&module)?;
        check_size(&module, limits)?;
        Ok(Program { engine, module, limits: *limits })
    }
}

/// What the module starts with must be within its limits: better to know before a trace is begun.
fn check_size(module: &wasmtime::Module, limits: &Limits) -> Result<(), Refusal> {
    let needs = module.resources_required();
    // In wasm pages; wrr takes no others than those of 64 KiB.
    let memory_bytes =
        needs.max_initial_memory_size.map_or(0, |pages| pages.saturating_mul(1 << 16));
    if memory_bytes > limits.memory_bytes_max {
        return Err(Refusal::Instantiate(format!(
            "it starts with a memory of {memory_bytes} bytes, the most is {}",
            limits.memory_bytes_max
        )));
    }
    let elements = needs.max_initial_table_size.unwrap_or(0);
    if elements > limits.table_elements_max {
        return Err(Refusal::Instantiate(format!(
            "it starts with a table of {elements} elements, the most is {}",
            limits.table_elements_max
        )));
    }
    Ok(())
}

/// Everything that compiled code depends on.
fn cache_key(engine: &wasmtime::Engine, module: ModuleId) -> String {
    struct Blake(blake3::Hasher);
    impl Hasher for Blake {
        fn write(&mut self, bytes: &[u8]) {
            self.0.update(bytes);
        }
        fn finish(&self) -> u64 {
            unreachable!("the whole hash is taken instead")
        }
    }
    let mut hasher = Blake(blake3::Hasher::new());
    (env!("CARGO_PKG_VERSION"), module.0).hash(&mut hasher);
    // wasmtime's version, its settings, the target and the processor's features.
    engine.precompile_compatibility_hash().hash(&mut hasher);
    hasher.0.finalize().to_hex().to_string()
}

fn config(limits: &Limits) -> Result<wasmtime::Config, Refusal> {
    let mut config = wasmtime::Config::new();
    config
        .cranelift_nan_canonicalization(true)
        .relaxed_simd_deterministic(true)
        .wasm_relaxed_simd(true)
        .wasm_simd(true)
        .wasm_tail_call(true)
        .wasm_multi_memory(true)
        .wasm_memory64(true)
        .wasm_threads(true)
        .wasm_extended_const(true)
        .wasm_function_references(true)
        .wasm_exceptions(true)
        // Nothing here is asynchronous, but wasmtime compares the two.
        .async_stack_size(stack_bytes(limits)?)
        .max_wasm_stack(stack_bytes(limits)?);
    Ok(config)
}

/// The guest's native stack, if this host can have one of that size.
pub(crate) fn stack_bytes(limits: &Limits) -> Result<usize, Refusal> {
    const STACK_BYTES_MAX: u64 = 1 << 30;
    usize::try_from(limits.stack_bytes)
        .ok()
        .filter(|bytes| (1..=STACK_BYTES_MAX).contains(&(*bytes as u64)))
        .ok_or_else(|| {
            let asked = limits.stack_bytes;
            Refusal::Instantiate(format!(
                "it asks for a stack of {asked} bytes, the most is {STACK_BYTES_MAX}"
            ))
        })
}
