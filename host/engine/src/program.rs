//! A module that is ready to run.

use crate::admit::{Refusal, check_features, check_imports, features};
use crate::cache::CodeCache;
use crate::mappings::{Mappings, RESERVED_BYTES};
use crate::snapshot::{DROPPED_DATA, DROPPED_ELEMENTS};
use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use wrr_trace::{Limits, ModuleId};
use wrr_transform::{Capturable, FrameLayout, Module, OffsetMap, Piece, Variant};

/// How many times the guest's stack the native one is where the host must not be what ends it: in replays of what another
/// host recorded, and where the transform counts what frames take on an imagined machine. On s390x a frame takes 160 bytes at
/// least.
const NATIVE_STACK_FACTOR: u64 = if cfg!(target_arch = "s390x") { 12 } else { 4 };

/// How many frames of the native stack are looked at. A deeper stack is a recursion, whose frames wait in the same few
/// places.
const NATIVE_FRAMES_MAX: usize = 1024;

/// wasmtime's interpreter on this host.
const PULLEY: &str = match (cfg!(target_pointer_width = "32"), cfg!(target_endian = "big")) {
    (true, false) => "pulley32",
    (true, true) => "pulley32be",
    (false, false) => "pulley64",
    (false, true) => "pulley64be",
};

/// Is told when something takes long.
pub trait Observer: Sync {
    /// A module of this many bytes is being compiled.
    fn compiling(&self, _module_bytes: usize) {}
    /// It is compiled.
    fn compiled(&self) {}
}

impl Observer for () {}

/// What a program is loaded for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// To run live.
    Live,
    /// To repeat a recording.
    Replay,
    /// To repeat a recording in the engine's interpreter, Pulley, also where there is a compiler: another way to come to the same.
    Interpret,
}

/// One variant of the module, compiled.
pub(crate) struct Compiled {
    pub module: wasmtime::Module,
    /// What the names of everything that the transform added start with.
    pub prefix: String,
    /// Whether any instruction changes a table.
    pub tables_change: bool,
    /// The start function, which is an export of the variant.
    pub start: Option<u32>,
    capturable: Vec<u8>,
    parsed_capturable: OnceLock<Capturable>,
    segments: OnceLock<[Vec<u32>; 2]>,
}

/// A checked module, compiled when it is needed, with the limits it will run under.
#[derive(Clone)]
pub struct Program {
    pub(crate) engine: wasmtime::Engine,
    /// Its memories.
    pub(crate) mappings: Arc<Mappings>,
    pub(crate) limits: Limits,
    /// The native stack.
    pub(crate) stack_bytes: usize,
    purpose: Purpose,
    shared: Arc<Shared>,
}

struct Shared {
    bytes: Arc<[u8]>,
    id: ModuleId,
    cache: Option<CodeCache>,
    original: OnceLock<Module>,
    /// By variant.
    variants: [OnceLock<Compiled>; Variant::COUNT],
    pieces: Mutex<HashMap<(Variant, Piece), wasmtime::Module>>,
    layouts: Mutex<HashMap<u32, Arc<Vec<FrameLayout>>>>,
    names: OnceLock<HashMap<u32, String>>,
    trampoline: OnceLock<wasmtime::Module>,
    lookers: Mutex<HashMap<Vec<u8>, wasmtime::Module>>,
}

impl Program {
    /// Checks a module in binary form, and compiles it or takes it from the cache.
    ///
    /// Requires: `id` is the module's.
    ///
    /// # Errors
    /// The reason why wrr does not run it.
    pub fn load(
        module: Arc<[u8]>,
        id: ModuleId,
        limits: &Limits,
        cache: Option<&CodeCache>,
        (purpose, variant): (Purpose, Variant),
        observer: &dyn Observer,
    ) -> Result<Program, Refusal> {
        let factor = match (purpose, variant) {
            (
                Purpose::Live,
                Variant::Run | Variant::Inspect | Variant::Search | Variant::Accesses,
            ) => 1,
            _ => NATIVE_STACK_FACTOR,
        };
        let stack_bytes = stack_bytes(limits, factor)?;
        let mappings = Arc::new(Mappings::default());
        let mut config = config_with(stack_bytes, Arc::clone(&mappings));
        if purpose == Purpose::Interpret {
            config.target(PULLEY).map_err(refused)?;
        }
        let engine = wasmtime::Engine::new(&config).map_err(refused)?;
        let shared = Shared {
            bytes: module,
            id,
            cache: cache.cloned(),
            original: OnceLock::new(),
            variants: Default::default(),
            pieces: Mutex::new(HashMap::new()),
            layouts: Mutex::new(HashMap::new()),
            names: OnceLock::new(),
            trampoline: OnceLock::new(),
            lookers: Mutex::new(HashMap::new()),
        };
        let limits = *limits;
        let program =
            Program { engine, mappings, limits, stack_bytes, purpose, shared: Arc::new(shared) };
        let compiled = program.compile(variant, observer)?;
        check_imports(&compiled.module)?;
        check_size(&compiled.module, &limits)?;
        Ok(program)
    }

    /// Compiles a variant if that has not been done.
    ///
    /// # Errors
    /// It cannot be compiled.
    pub fn prepare(&self, variant: Variant, observer: &dyn Observer) -> Result<(), Refusal> {
        self.compile(variant, observer).map(|_| ())
    }

    /// The variant, compiled now if it has not been.
    pub(crate) fn compile(
        &self,
        variant: Variant,
        observer: &dyn Observer,
    ) -> Result<&Compiled, Refusal> {
        let cell = &self.shared.variants[variant as usize];
        if let Some(compiled) = cell.get() {
            return Ok(compiled);
        }
        let key = self.cache_key(&variant);
        let cache = self.shared.cache.as_ref();
        let cached = cache.and_then(|cache| cache.load(&self.engine, &key));
        let compiled = cached.and_then(|(module, facts)| Compiled::with_facts(module, &facts));
        let compiled = match compiled {
            // It was checked before it was put there, by this very version.
            Some(compiled) => compiled,
            None => {
                check_features(&self.shared.bytes)?;
                observer.compiling(self.shared.bytes.len());
                let compiled = self.transform_and_compile(variant);
                observer.compiled();
                let compiled = compiled?;
                if let Some(cache) = cache {
                    cache.store(&compiled.module, &compiled.facts(), &key);
                }
                compiled
            }
        };
        Ok(cell.get_or_init(|| compiled))
    }

    /// Whether it controls its own checkpoints.
    #[must_use]
    pub fn is_controlling(&self) -> bool {
        self.loaded().module.imports().any(|import| import.module() == wrr_trace::CONTROL)
    }

    /// What frames may take together where they count it.
    pub(crate) fn stack_room(&self) -> i32 {
        match self.purpose {
            Purpose::Live => Program::live_stack_room(&self.limits),
            // A replay ends at the recorded tick, also if an older wrr counted in another way.
            Purpose::Replay | Purpose::Interpret => i32::MAX,
        }
    }

    pub(crate) fn live_stack_room(limits: &Limits) -> i32 {
        i32::try_from(limits.stack_bytes).unwrap_or(i32::MAX)
    }

    /// A variant that is compiled already: loading compiled one.
    pub(crate) fn loaded(&self) -> &Compiled {
        let found = self.shared.variants.iter().find_map(OnceLock::get);
        found.expect("a program is only made with one of its variants")
    }

    fn transform_and_compile(&self, variant: Variant) -> Result<Compiled, Refusal> {
        let original = self.original()?;
        let transformed = original.transform(variant).map_err(Refusal::Transform)?;
        let module =
            wasmtime::Module::from_binary(&self.engine, &transformed.wasm).map_err(refused)?;
        Ok(Compiled {
            module,
            prefix: original.prefix().to_owned(),
            tables_change: transformed.tables_change,
            start: original.start(),
            capturable: transformed.capturable.to_bytes(),
            parsed_capturable: OnceLock::from(transformed.capturable),
            segments: OnceLock::new(),
        })
    }

    /// The original module, parsed when it is first needed.
    pub(crate) fn original(&self) -> Result<&Module, Refusal> {
        if let Some(module) = self.shared.original.get() {
            return Ok(module);
        }
        let module = Module::parse(Arc::clone(&self.shared.bytes), features())
            .map_err(Refusal::Transform)?;
        Ok(self.shared.original.get_or_init(|| module))
    }

    /// What can be captured in a variant.
    pub(crate) fn capturable(&self, variant: Variant) -> Result<&Capturable, Refusal> {
        let compiled = self.compile(variant, &())?;
        if let Some(known) = compiled.parsed_capturable.get() {
            return Ok(known);
        }
        let original = self.original()?;
        let parsed = Capturable::from_bytes(original, &compiled.capturable);
        let parsed = parsed.ok_or_else(|| Refusal::Engine("a damaged cache entry".to_owned()))?;
        Ok(compiled.parsed_capturable.get_or_init(|| parsed))
    }

    /// A continuation, compiled now if it has not been.
    pub(crate) fn piece(
        &self,
        variant: Variant,
        piece: Piece,
    ) -> Result<wasmtime::Module, Refusal> {
        let pieces = || self.shared.pieces.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(module) = pieces().get(&(variant, piece)) {
            return Ok(module.clone());
        }
        let key = self.cache_key(&(variant, piece));
        let cache = self.shared.cache.as_ref();
        let cached = cache.and_then(|cache| cache.load(&self.engine, &key));
        let module = match cached {
            Some((module, _)) => module,
            None => {
                let capturable = self.capturable(variant)?;
                let wasm = self.original()?.piece(piece, capturable).map_err(Refusal::Transform)?;
                let module = wasmtime::Module::from_binary(&self.engine, &wasm).map_err(refused)?;
                if let Some(cache) = cache {
                    cache.store(&module, &[], &key);
                }
                module
            }
        };
        pieces().insert((variant, piece), module.clone());
        Ok(module)
    }

    /// What `wrr.look` calls.
    pub(crate) fn trampoline(&self) -> Result<wasmtime::Module, Refusal> {
        if let Some(module) = self.shared.trampoline.get() {
            return Ok(module.clone());
        }
        let wasm = crate::look::trampoline();
        let module = wasmtime::Module::from_binary(&self.engine, &wasm).map_err(refused)?;
        Ok(self.shared.trampoline.get_or_init(|| module).clone())
    }

    /// A looker's module, compiled.
    pub(crate) fn looker(&self, wasm: &[u8]) -> Result<wasmtime::Module, Refusal> {
        let lookers = || self.shared.lookers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(module) = lookers().get(wasm) {
            return Ok(module.clone());
        }
        let module = wasmtime::Module::from_binary(&self.engine, wasm).map_err(refused)?;
        lookers().insert(wasm.to_vec(), module.clone());
        Ok(module)
    }

    /// How many modules of lookers were compiled.
    pub(crate) fn looker_count(&self) -> usize {
        self.shared.lookers.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// The layouts of a function's frames.
    pub(crate) fn layouts(&self, function: u32) -> Result<Arc<Vec<FrameLayout>>, Refusal> {
        let layouts = || self.shared.layouts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = layouts().get(&function) {
            return Ok(Arc::clone(known));
        }
        let found = Arc::new(self.original()?.layouts(function).map_err(Refusal::Transform)?);
        layouts().insert(function, Arc::clone(&found));
        Ok(found)
    }

    /// Where the code of a function of the main module comes from.
    pub(crate) fn function_map(&self, variant: Variant, function: u32) -> Option<OffsetMap> {
        let capturable = self.capturable(variant).ok()?;
        self.original().ok()?.function_map(function, capturable).ok()
    }

    /// Where the code of a piece comes from.
    pub(crate) fn piece_map(&self, variant: Variant, piece: Piece) -> Option<OffsetMap> {
        let capturable = self.capturable(variant).ok()?;
        self.original().ok()?.piece_map(piece, capturable).ok()
    }

    /// How many counters [`Variant::Covered`] has.
    ///
    /// # Errors
    /// The module cannot be read.
    pub fn counter_count(&self) -> Result<u32, Refusal> {
        self.original()?.counter_count().map_err(Refusal::Transform)
    }

    /// The name of a function in the original's name section.
    #[must_use]
    pub fn function_name(&self, function: u32) -> Option<String> {
        let names =
            self.shared.names.get_or_init(|| wrr_transform::function_names(&self.shared.bytes));
        names.get(&function).cloned()
    }

    /// The functions whose name in the original's name section is accepted, ascending.
    #[must_use]
    pub fn functions_where(&self, mut accepts: impl FnMut(&str) -> bool) -> Vec<u32> {
        let names =
            self.shared.names.get_or_init(|| wrr_transform::function_names(&self.shared.bytes));
        let mut found: Vec<u32> =
            names.iter().filter(|(_, name)| accepts(name)).map(|(index, _)| *index).collect();
        found.sort_unstable();
        found
    }

    /// Everything that compiled code depends on.
    fn cache_key(&self, what: &impl Hash) -> String {
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
        (env!("CARGO_PKG_VERSION"), wrr_transform::VERSION, self.shared.id.0).hash(&mut hasher);
        what.hash(&mut hasher);
        // wasmtime's version, its settings, the target and the processor's features.
        self.engine.precompile_compatibility_hash().hash(&mut hasher);
        hasher.0.finalize().to_hex().to_string()
    }
}

impl Compiled {
    /// The data and the element segments that can be dropped, ascending.
    pub(crate) fn segments(&self) -> &[Vec<u32>; 2] {
        self.segments.get_or_init(|| {
            [DROPPED_DATA, DROPPED_ELEMENTS].map(|kind| {
                let prefix = format!("{}{kind}", self.prefix);
                let names = self.module.exports().filter_map(|export| {
                    let number = export.name().strip_prefix(&prefix)?;
                    number.parse().ok()
                });
                let mut segments: Vec<u32> = names.collect();
                segments.sort_unstable();
                segments
            })
        })
    }

    /// `tables_change: u8, prefix length: u8, start: u32 (its index plus one, or 0), prefix, capturable`.
    fn facts(&self) -> Vec<u8> {
        let mut facts = vec![u8::from(self.tables_change), self.prefix.len() as u8];
        facts.extend_from_slice(&self.start.map_or(0, |start| start + 1).to_le_bytes());
        facts.extend_from_slice(self.prefix.as_bytes());
        facts.extend_from_slice(&self.capturable);
        facts
    }

    fn with_facts(module: wasmtime::Module, facts: &[u8]) -> Option<Compiled> {
        let (&[tables_change, prefix_len, start @ ..], rest) = facts.split_first_chunk::<6>()?;
        let (prefix, capturable) = rest.split_at_checked(usize::from(prefix_len))?;
        Some(Compiled {
            module,
            prefix: String::from_utf8(prefix.to_vec()).ok()?,
            tables_change: tables_change != 0,
            start: u32::from_le_bytes(start).checked_sub(1),
            capturable: capturable.to_vec(),
            parsed_capturable: OnceLock::new(),
            segments: OnceLock::new(),
        })
    }
}

fn refused(error: wasmtime::Error) -> Refusal {
    Refusal::Engine(format!("{error:#}"))
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

#[cfg(test)]
pub(crate) fn config(stack_bytes: usize) -> wasmtime::Config {
    config_with(stack_bytes, Arc::default())
}

fn config_with(stack_bytes: usize, mappings: Arc<Mappings>) -> wasmtime::Config {
    let mut config = wasmtime::Config::new();
    config
        // The transform does it, where a NaN's bits can be seen.
        .cranelift_nan_canonicalization(false)
        .relaxed_simd_deterministic(true)
        .wasm_relaxed_simd(true)
        .wasm_simd(true)
        .wasm_tail_call(true)
        .wasm_multi_memory(true)
        .wasm_memory64(true)
        // The transform leaves none of their instructions.
        .wasm_threads(false)
        .wasm_extended_const(true)
        .wasm_function_references(true)
        .wasm_exceptions(true)
        .wasm_branch_hinting(true)
        .with_host_memory(mappings)
        .wasm_backtrace_max_frames(NonZeroUsize::new(NATIVE_FRAMES_MAX))
        .memory_reservation(RESERVED_BYTES)
        // Only for memories of its own.
        .memory_init_cow(false)
        // Nothing here is asynchronous, but wasmtime compares the two.
        .async_stack_size(stack_bytes)
        .max_wasm_stack(stack_bytes);
    // A tracker's fault handler cannot come before a Mach port.
    #[cfg(target_os = "macos")]
    config.macos_use_mach_ports(false);
    config
}

/// The native stack for a guest's, if this host can have one of that size.
fn stack_bytes(limits: &Limits, factor: u64) -> Result<usize, Refusal> {
    const STACK_BYTES_MAX: u64 = 1 << 28;
    if !(1..=STACK_BYTES_MAX).contains(&limits.stack_bytes) {
        let asked = limits.stack_bytes;
        return Err(Refusal::Instantiate(format!(
            "it asks for a stack of {asked} bytes, the most is {STACK_BYTES_MAX}"
        )));
    }
    let bytes = limits.stack_bytes * factor;
    usize::try_from(bytes)
        .map_err(|_| Refusal::Instantiate(format!("no stack of {bytes} bytes on this host")))
}
