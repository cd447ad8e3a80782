//! Decides before anything starts whether wrr can run a module, and if not, says why.

use std::sync::Arc;
use wasmparser::{Parser, Payload, Validator, WasmFeatures};
use wrr_trace::{CONTROL, Function, PREVIEW1, ParamKind};
use wrr_transform::ReactorError;

/// Why a module is not run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// Bytes that the guest does not have.
    #[error("the program has no {len} bytes at {at:#x} in memory {memory}")]
    NoSuchBytes {
        /// The memory's index.
        memory: u32,
        /// The first byte's address.
        at: u64,
        /// How many.
        len: usize,
    },
    /// The guest has come to its end.
    #[error(
        "the program has ended: it has no state to go on from; go back to one of its checkpoints"
    )]
    Ended,
    /// Neither a binary module nor text.
    #[error("not a WebAssembly module: it starts with {found}; give a .wasm file, or .wat text")]
    NotAModule {
        /// The first bytes, quoted and escaped.
        found: String,
    },
    /// Text that does not parse.
    #[error("the text does not parse: {0}")]
    Text(String),
    /// A component.
    #[error(
        "this is a component (WASI 0.2 or later); wrr runs core modules for WASI preview1: build for the \
         target wasm32-wasip1, without an adapter"
    )]
    Component,
    /// It does not validate, and no feature would make it valid.
    #[error("the module is invalid: {what} (at offset {offset:#x})")]
    Invalid {
        /// The validator's reason.
        what: String,
        /// Where in the module, in bytes.
        offset: usize,
    },
    /// It needs a feature that wrr cannot record.
    #[error("the module uses {feature}, which wrr cannot record{advice}")]
    Feature {
        /// The feature.
        feature: &'static str,
        /// What to do.
        advice: &'static str,
    },
    /// Imports that nobody provides.
    #[error("the module imports what wrr does not provide:{}", list(.0))]
    Imports(Vec<String>),
    /// Nothing to start.
    #[error("{0}")]
    Entry(String),
    /// The transform refused what the checks let through.
    #[error("the module cannot be made repeatable: {0}")]
    Transform(wrr_transform::TransformError),
    /// wasmtime refused what the checks let through.
    #[error("the engine refused the module: {0}")]
    Engine(String),
    /// The module needs more than the limits allow, or the host has.
    #[error("the module cannot be instantiated: {0}")]
    Instantiate(String),
}

fn list(lines: &[String]) -> String {
    lines.iter().map(|line| format!("\n  {line}")).collect()
}

/// The features that wrr runs: everything deterministic that wasmtime has for core modules.
pub(crate) fn features() -> WasmFeatures {
    WasmFeatures::MUTABLE_GLOBAL
        | WasmFeatures::SATURATING_FLOAT_TO_INT
        | WasmFeatures::SIGN_EXTENSION
        | WasmFeatures::REFERENCE_TYPES
        | WasmFeatures::CALL_INDIRECT_OVERLONG
        | WasmFeatures::MULTI_VALUE
        | WasmFeatures::BULK_MEMORY
        | WasmFeatures::BULK_MEMORY_OPT
        | WasmFeatures::SIMD
        | WasmFeatures::RELAXED_SIMD
        | WasmFeatures::THREADS
        | WasmFeatures::TAIL_CALL
        | WasmFeatures::FLOATS
        | WasmFeatures::MULTI_MEMORY
        | WasmFeatures::EXCEPTIONS
        | WasmFeatures::MEMORY64
        | WasmFeatures::EXTENDED_CONST
        | WasmFeatures::FUNCTION_REFERENCES
        | WasmFeatures::GC_TYPES
}

/// Features that are known and not run, with the advice to the user.
const REFUSED: &[(WasmFeatures, &str, &str)] = &[
    (
        WasmFeatures::LEGACY_EXCEPTIONS,
        "legacy exceptions (the instructions try, catch and rethrow)",
        "; rebuild it with the final exception instructions (clang: -mllvm -wasm-use-legacy-eh=false)",
    ),
    (
        WasmFeatures::GC,
        "GC types (structs, arrays, recursive types)",
        "; rebuild it for linear memory, without the garbage collection proposal",
    ),
    (
        WasmFeatures::STACK_SWITCHING,
        "stack switching",
        "; rebuild it without the stack switching proposal",
    ),
    (
        WasmFeatures::SHARED_EVERYTHING_THREADS,
        "shared-everything threads",
        "; rebuild it without threads",
    ),
    (WasmFeatures::CUSTOM_PAGE_SIZES, "custom page sizes", "; rebuild it with 64 KiB wasm pages"),
    (
        WasmFeatures::WIDE_ARITHMETIC,
        "wide arithmetic",
        "; rebuild it without the wide arithmetic proposal",
    ),
];

/// The binary form of a module that is given in either form.
///
/// # Errors
/// [`Refusal::NotAModule`] or [`Refusal::Text`].
pub fn module_bytes(given: Vec<u8>) -> Result<Vec<u8>, Refusal> {
    if given.starts_with(b"\0asm") {
        return Ok(given);
    }
    let text = std::str::from_utf8(&given).ok().map(str::trim_start);
    match text {
        Some(text) if text.starts_with(['(', ';']) => {
            wat::parse_str(text).map_err(|e| Refusal::Text(e.to_string()))
        }
        _ => Err(Refusal::NotAModule {
            found: match &given[..given.len().min(8)] {
                [] => "nothing: it is empty".to_owned(),
                start => format!("\"{}\"", start.escape_ascii()),
            },
        }),
    }
}

/// The command that a library with libFuzzer's interface becomes: see [`wrr_transform::command_of`].
///
/// # Errors
/// [`ReactorError`]: it does not have that interface, or cannot be read.
pub fn fuzz_command(module: Arc<[u8]>, input_bytes_max: u32) -> Result<Vec<u8>, ReactorError> {
    wrr_transform::command_of(module, features(), input_bytes_max)
}

/// Checks that the module is valid and uses only accepted features.
///
/// # Errors
/// The reason against it.
pub fn check_features(module: &[u8]) -> Result<(), Refusal> {
    if Parser::is_component(module) {
        return Err(Refusal::Component);
    }
    let validate = |features| Validator::new_with_features(features).validate_all(module);
    let Err(error) = validate(features()) else {
        return check_not_shared(module);
    };
    for &(feature, name, advice) in REFUSED {
        if validate(features() | feature).is_ok() {
            return Err(Refusal::Feature { feature: name, advice });
        }
    }
    let all = REFUSED.iter().fold(features(), |all, (feature, ..)| all | *feature);
    if validate(all).is_ok() {
        return Err(Refusal::Feature {
            feature: "several features",
            advice: " (legacy exceptions, GC types or others); rebuild it for wasm32-wasip1",
        });
    }
    Err(Refusal::Invalid { what: error.message().to_owned(), offset: error.offset() })
}

fn check_not_shared(module: &[u8]) -> Result<(), Refusal> {
    let invalid = |e: wasmparser::BinaryReaderError| Refusal::Invalid {
        what: e.message().to_owned(),
        offset: e.offset(),
    };
    let shared = Refusal::Feature {
        feature: "a shared memory (threads)",
        advice: "; build it for wasm32-wasip1 instead of wasm32-wasip1-threads",
    };
    for payload in Parser::new(0).parse_all(module) {
        match payload.map_err(invalid)? {
            Payload::MemorySection(section) => {
                for memory in section {
                    if memory.map_err(invalid)?.shared {
                        return Err(shared);
                    }
                }
            }
            Payload::ImportSection(section) => {
                for import in section.into_imports() {
                    if let wasmparser::TypeRef::Memory(memory) = import.map_err(invalid)?.ty
                        && memory.shared
                    {
                        return Err(shared);
                    }
                }
            }
            _ => {}
        }
    }
    Ok(())
}

/// Checks that every import of a transformed module but its last is a preview1 function of the right type. Names all that are not.
///
/// # Errors
/// [`Refusal::Imports`].
pub fn check_imports(module: &wasmtime::Module) -> Result<(), Refusal> {
    // The last ones are what the transform added.
    let own = module.imports().len().saturating_sub(wrr_transform::HOST_FUNCTIONS.len());
    let mut problems: Vec<String> =
        module.imports().take(own).filter_map(|i| import_problem(&i)).collect();
    let branch = Function::ControlBranch;
    let branches = module
        .imports()
        .any(|import| (import.module(), import.name()) == (branch.module(), branch.name()));
    if branches && !can_be_given_data(module) {
        problems.push(format!(
            "{}.{} (it gives data, for which the module must export `memory` and `cabi_realloc` of type \
             (param i32 i32 i32 i32) (result i32))",
            branch.module(),
            branch.name()
        ));
    }
    if problems.is_empty() { Ok(()) } else { Err(Refusal::Imports(problems)) }
}

fn can_be_given_data(module: &wasmtime::Module) -> bool {
    let memory = module.get_export("memory");
    let realloc = module.get_export("cabi_realloc");
    let is_realloc = |ty: &wasmtime::FuncType| {
        (ty.params().len(), ty.results().len()) == (4, 1)
            && ty.params().chain(ty.results()).all(|ty| ty.is_i32())
    };
    matches!(memory, Some(wasmtime::ExternType::Memory(memory)) if !memory.is_64())
        && matches!(realloc, Some(wasmtime::ExternType::Func(ty)) if is_realloc(&ty))
}

fn import_problem(import: &wasmtime::ImportType<'_>) -> Option<String> {
    let (module, name) = (import.module(), import.name());
    let wasmtime::ExternType::Func(ty) = import.ty() else {
        let what = match import.ty() {
            wasmtime::ExternType::Memory(_) => "a memory",
            wasmtime::ExternType::Table(_) => "a table",
            wasmtime::ExternType::Global(_) => "a global",
            _ => "a tag",
        };
        return Some(format!("{module}.{name} ({what}; a command brings its own)"));
    };
    if module != PREVIEW1 && module != CONTROL {
        let hint = match module {
            "wasi_unstable" => " (WASI preview0; rebuild it for preview1)",
            "wasi" => " (wasi-threads; build it for wasm32-wasip1)",
            "__wbindgen_placeholder__" => " (wasm-bindgen; build it for wasm32-wasip1)",
            _ => "",
        };
        return Some(format!("{module}.{name}{hint}"));
    }
    let interface = if module == PREVIEW1 { "preview1" } else { "this interface" };
    let Some(function) = Function::of_import(module, name) else {
        return Some(format!("{module}.{name} (no such function in {interface})"));
    };
    let is = |ty: &wasmtime::ValType, kind: ParamKind| match kind.is_i64() {
        true => ty.is_i64(),
        false => ty.is_i32(),
    };
    let params = function.signature().params;
    let params_fit = ty.params().len() == params.len()
        && ty.params().zip(params).all(|(ty, param)| is(&ty, param.kind));
    let results_fit = match function.has_result() {
        false => ty.results().len() == 0,
        true => ty.results().len() == 1 && ty.results().all(|r| r.is_i32()),
    };
    (!params_fit || !results_fit)
        .then(|| format!("{module}.{name} with type {ty}, which is not its type in {interface}"))
}
