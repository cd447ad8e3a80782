//! A module that is ready to run.

mod bytes;
mod stored;

pub use bytes::ModuleBytes;

use crate::admit::{Refusal, check_features, check_imports, features};
use crate::cache::CodeCache;
use crate::mappings::{Mappings, RESERVED_BYTES};
use crate::snapshot::{DROPPED_DATA, DROPPED_ELEMENTS};
use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use stored::Stored;
use wrr_trace::{Limits, ModuleId};
use wrr_transform::{Capturable, Module, OffsetMap, Piece, Variant};

/// How many times the guest's stack the native one is where the host must not be what ends it: in replays of what another
/// host recorded, and where the transform counts what frames take on an imagined machine. On s390x a frame takes 160 bytes at
/// least.
const NATIVE_STACK_FACTOR: u64 = if cfg!(target_arch = "s390x") { 12 } else { 4 };

/// How many frames of the native stack are looked at. A deeper stack is a recursion, whose frames
/// wait in the same few places.
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
    /// So many ticks of a recording are replayed, of so many, while it is indexed.
    fn indexing(&self, _ticks: u64, _of: u64) {}
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
    /// What restoring must know of the original.
    pub parts: OriginalParts,
    /// The data and the element segments that can be dropped, ascending.
    pub segments: [Vec<u32>; 2],
    capturable: Vec<u8>,
    parsed_capturable: OnceLock<Capturable>,
}

/// What of an original module is known without parsing it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct OriginalParts {
    pub memories: u32,
    pub tables: u32,
    /// The mutable globals, ascending.
    pub mutable_globals: Vec<u32>,
    /// Functions that a reference can be made to, ascending.
    pub referenceable: Vec<u32>,
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
    bytes: ModuleBytes,
    id: ModuleId,
    cache: Option<CodeCache>,
    original: OnceLock<Module>,
    /// By variant.
    variants: [OnceLock<Compiled>; Variant::COUNT],
    /// The cache's keys, by variant.
    keys: [OnceLock<String>; Variant::COUNT],
    stored: Stored,
    names: OnceLock<HashMap<u32, String>>,
    trampoline: OnceLock<wasmtime::Module>,
    lookers: Mutex<HashMap<Vec<u8>, wasmtime::Module>>,
}

impl Program {
    /// Checks a module in binary form, and compiles it or takes it from the cache.
    ///
    /// Requires: `id` is the module's. If the bytes are not there yet, that may turn out to be
    /// wrong later; then nothing of the program's results counts.
    ///
    /// # Errors
    /// The reason why wrr does not run it.
    pub fn load(
        module: impl Into<ModuleBytes>,
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
            bytes: module.into(),
            id,
            cache: cache.cloned(),
            original: OnceLock::new(),
            variants: Default::default(),
            keys: Default::default(),
            stored: Stored::default(),
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
        let key = self.cache_key(variant);
        let cache = self.shared.cache.as_ref();
        let cached = cache.and_then(|cache| cache.load(&self.engine, &key));
        let compiled = cached.and_then(|(module, facts)| Compiled::with_facts(module, &facts));
        let compiled = match compiled {
            // It was checked before it was put there, by this very version.
            Some(compiled) => compiled,
            None => {
                let bytes = self.bytes()?;
                check_features(&bytes)?;
                observer.compiling(bytes.len());
                let compiled = self.transform_and_compile(variant);
                observer.compiled();
                let (compiled, layouts) = compiled?;
                if let Some(cache) = cache {
                    let functions = self.functions_to_store(&layouts)?;
                    cache.store(&compiled.module, &compiled.facts(), &functions, &key);
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

    /// The variant that [`Program::loaded`] gives.
    fn loaded_variant(&self) -> Variant {
        let loaded = |variant: &Variant| self.shared.variants[*variant as usize].get().is_some();
        let found = Variant::ALL.into_iter().find(loaded);
        found.expect("a program is only made with one of its variants")
    }

    /// A variant, and the layouts of all functions' frames.
    fn transform_and_compile(&self, variant: Variant) -> Result<(Compiled, Vec<Vec<u8>>), Refusal> {
        let original = self.original()?;
        let transformed = original.transform(variant).map_err(Refusal::Transform)?;
        let module =
            wasmtime::Module::from_binary(&self.engine, &transformed.wasm).map_err(refused)?;
        let (memories, tables) = original.memory_and_table_count();
        let parts = OriginalParts {
            memories,
            tables,
            mutable_globals: original.mutable_globals(),
            referenceable: original.referenceable().to_vec(),
        };
        let segments = segments_of(&module, original.prefix());
        let compiled = Compiled {
            module,
            prefix: original.prefix().to_owned(),
            tables_change: transformed.tables_change,
            start: original.start(),
            parts,
            segments,
            capturable: transformed.capturable.to_bytes(),
            parsed_capturable: OnceLock::from(transformed.capturable),
        };
        Ok((compiled, transformed.layouts))
    }

    /// The original module's bytes.
    fn bytes(&self) -> Result<Arc<[u8]>, Refusal> {
        let bytes = self.shared.bytes.get();
        bytes.ok_or_else(|| Refusal::Engine("its bytes cannot be read".to_owned()))
    }

    /// The original module, parsed when it is first needed.
    pub(crate) fn original(&self) -> Result<&Module, Refusal> {
        if let Some(module) = self.shared.original.get() {
            return Ok(module);
        }
        let module = Module::parse(self.bytes()?, features()).map_err(Refusal::Transform)?;
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
        match self.cached_name(function) {
            Some(name) => name,
            None => self.names().get(&function).cloned(),
        }
    }

    /// The functions whose name in the original's name section is accepted, ascending.
    #[must_use]
    pub fn functions_where(&self, mut accepts: impl FnMut(&str) -> bool) -> Vec<u32> {
        let mut found: Vec<u32> = self
            .names()
            .iter()
            .filter(|(_, name)| accepts(name))
            .map(|(index, _)| *index)
            .collect();
        found.sort_unstable();
        found
    }

    fn names(&self) -> &HashMap<u32, String> {
        self.shared.names.get_or_init(|| match self.shared.bytes.get() {
            Some(bytes) => wrr_transform::function_names(&bytes),
            None => HashMap::new(),
        })
    }

    /// Where the cache has a variant.
    fn cache_key(&self, variant: Variant) -> String {
        let key = &self.shared.keys[variant as usize];
        key.get_or_init(|| self.new_cache_key(variant)).clone()
    }

    /// The hash of everything that compiled code depends on.
    fn new_cache_key(&self, variant: Variant) -> String {
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
        variant.hash(&mut hasher);
        // wasmtime's version, its settings, the target and the processor's features.
        self.engine.precompile_compatibility_hash().hash(&mut hasher);
        hasher.0.finalize().to_hex().to_string()
    }
}

impl Compiled {
    /// As bytes, for a cache: `tables_change: u8`, then lists of `u32`, each behind its length: the
    /// start function if there is one; how many memories and tables; mutable globals; functions for
    /// references; segments of data and of elements that can be dropped. Then the prefix behind its
    /// length, and what can be captured.
    fn facts(&self) -> Vec<u8> {
        let mut facts = vec![u8::from(self.tables_change)];
        let start: Vec<u32> = self.start.into_iter().collect();
        let OriginalParts { memories, tables, mutable_globals, referenceable } = &self.parts;
        let [data, elements] = &self.segments;
        for list in
            [&start, &vec![*memories, *tables], mutable_globals, referenceable, data, elements]
        {
            facts.extend_from_slice(&(list.len() as u32).to_le_bytes());
            facts.extend(list.iter().flat_map(|number| number.to_le_bytes()));
        }
        facts.extend_from_slice(&(self.prefix.len() as u32).to_le_bytes());
        facts.extend_from_slice(self.prefix.as_bytes());
        facts.extend_from_slice(&self.capturable);
        facts
    }

    fn with_facts(module: wasmtime::Module, mut facts: &[u8]) -> Option<Compiled> {
        fn number(facts: &mut &[u8]) -> Option<u32> {
            Some(u32::from_le_bytes(facts.split_off(..4)?.try_into().ok()?))
        }
        fn list(facts: &mut &[u8]) -> Option<Vec<u32>> {
            let bytes = (number(facts)? as usize).checked_mul(4)?;
            let (numbers, _) = facts.split_off(..bytes)?.as_chunks::<4>();
            Some(numbers.iter().map(|number| u32::from_le_bytes(*number)).collect())
        }
        let facts = &mut facts;
        let tables_change = *facts.split_off_first()? != 0;
        let start = list(facts)?.first().copied();
        let [memories, tables] = list(facts)?[..] else { return None };
        let (mutable_globals, referenceable) = (list(facts)?, list(facts)?);
        let segments = [list(facts)?, list(facts)?];
        let prefix_len = number(facts)? as usize;
        let prefix = String::from_utf8(facts.split_off(..prefix_len)?.to_vec()).ok()?;
        Some(Compiled {
            module,
            prefix,
            tables_change,
            start,
            parts: OriginalParts { memories, tables, mutable_globals, referenceable },
            segments,
            capturable: facts.to_vec(),
            parsed_capturable: OnceLock::new(),
        })
    }
}

/// The data and the element segments that can be dropped, ascending: the variant has a flag for
/// each.
fn segments_of(module: &wasmtime::Module, prefix: &str) -> [Vec<u32>; 2] {
    [DROPPED_DATA, DROPPED_ELEMENTS].map(|kind| {
        let prefix = format!("{prefix}{kind}");
        let numbers = module.exports().filter_map(|export| {
            let number = export.name().strip_prefix(&prefix)?;
            number.parse().ok()
        });
        let mut segments: Vec<u32> = numbers.collect();
        segments.sort_unstable();
        segments
    })
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
