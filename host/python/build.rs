//! Builds the guest with cargo, finds its evaluation loop, and packs it: once for all profiles and
//! targets.
//!
//! The packed guest is cached in `guest-interp/target/packed`, named by a hash of what it is made
//! from. Builds for other profiles and targets copy it from there.

use anyhow::{Context as _, Result, bail, ensure};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use wasm_encoder::{Encode as _, Section as _};
use wasmparser::{KnownCustom, Name, Operator, Parser, Payload, TypeRef};

const TARGET: &str = "wasm32-wasip1";

/// The custom section that wrr's transform reads.
const PASSAGES: &str = "wrr.passages";

/// The function with the evaluation loop: parts of its mangled name.
const EVALUATION: [&str; 2] = ["14ExecutingFrame", "3run"];

/// What stands behind the name of a function itself, and not behind that of a closure in it.
const HASH: &str = "17h";

/// How well it is packed: it is done once, and unpacking does not depend on it.
const LEVEL: i32 = 15;

/// What the guest is built from, relative to `guest-interp`.
const SOURCES: [&str; 3] = ["src", "Cargo.toml", "Cargo.lock"];

fn main() -> Result<()> {
    let here = PathBuf::from(env("CARGO_MANIFEST_DIR")?);
    let guest = here.join("../../guest-interp");
    for part in SOURCES {
        println!("cargo::rerun-if-changed={}", guest.join(part).display());
    }
    println!("cargo::rerun-if-changed=build.rs");
    let folder = guest.join("target/packed");
    let cached = folder.join(format!("python-{:016x}.wasm.zst", fingerprint(&here, &guest)?));
    if !cached.exists() {
        let packed = pack(&guest)?;
        // Concurrent builds each write their own temporary file, and rename it when it is complete.
        std::fs::create_dir_all(&folder)?;
        let temporary = folder.join(format!("{}.tmp", std::process::id()));
        std::fs::write(&temporary, packed)?;
        std::fs::rename(&temporary, &cached)?;
    }
    let output = Path::new(&env("OUT_DIR")?).join("python.wasm.zst");
    std::fs::copy(&cached, &output).with_context(|| format!("{}", cached.display()))?;
    Ok(())
}

/// Hash of what the packed guest depends on: its sources, this build script, the compiler.
fn fingerprint(here: &Path, guest: &Path) -> Result<u64> {
    let mut hasher = DefaultHasher::new();
    let mut files = vec![here.join("build.rs"), here.join("Cargo.toml")];
    for part in SOURCES {
        list(&guest.join(part), &mut files)?;
    }
    for file in files {
        // Relative, so that moving the checkout changes nothing.
        file.strip_prefix(guest).unwrap_or(Path::new("")).hash(&mut hasher);
        std::fs::read(&file).with_context(|| format!("{}", file.display()))?.hash(&mut hasher);
    }
    let compiler =
        Command::new(env("RUSTC")?).arg("-vV").output().context("rustc does not start")?;
    ensure!(compiler.status.success(), "rustc -vV failed");
    compiler.stdout.hash(&mut hasher);
    Ok(hasher.finish())
}

/// Appends a file, or all files below a folder, sorted by name.
fn list(path: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    if !path.is_dir() {
        files.push(path.to_owned());
        return Ok(());
    }
    let entries = std::fs::read_dir(path).with_context(|| format!("{}", path.display()))?;
    let mut names = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    names.sort();
    names.iter().try_for_each(|name| list(name, files))
}

/// Builds the guest, adds its passages, compresses it.
fn pack(guest: &Path) -> Result<Vec<u8>> {
    let wasm = build(guest)?;
    let mut module = std::fs::read(&wasm).with_context(|| format!("{}", wasm.display()))?;
    let passages = passages(&module).context("the evaluation loop of the guest")?;
    wasm_encoder::CustomSection { name: PASSAGES.into(), data: passages.into() }
        .append_to(&mut module);
    Ok(zstd::encode_all(&module[..], LEVEL)?)
}

fn env(name: &str) -> Result<String> {
    std::env::var(name).with_context(|| format!("{name} is not set"))
}

/// Runs cargo in the guest's folder, which is a workspace of its own, without what this build has set for itself.
fn build(guest: &Path) -> Result<PathBuf> {
    let mut cargo = Command::new(env("CARGO")?);
    cargo.current_dir(guest);
    for (name, _) in std::env::vars_os() {
        let name_text = name.to_string_lossy();
        let ours = ["CARGO_", "RUST", "DEP_", "PROFILE", "OPT_LEVEL", "DEBUG", "TARGET", "HOST"];
        let keep = ["CARGO_HOME", "RUSTUP_HOME", "RUSTUP_TOOLCHAIN", "CARGO_NET_OFFLINE"];
        if ours.iter().any(|start| name_text.starts_with(start))
            && !keep.contains(&name_text.as_ref())
        {
            cargo.env_remove(&name);
        }
    }
    cargo.args(["build", "--release", "--locked", "--ignore-rust-version", "--target", TARGET]);
    cargo.arg("--target-dir").arg(guest.join("target"));
    let status = cargo.status().context("cargo does not start")?;
    ensure!(
        status.success(),
        "the guest is not built; if its target is what is missing, run: rustup target add {TARGET} \
         (or build wrr without its Python: --no-default-features)"
    );
    Ok(guest.join("target").join(TARGET).join("release/python.wasm"))
}

/// The section's payload: the loop that begins by storing the number of the instruction that comes, plus one, where the frame has it.
fn passages(module: &[u8]) -> Result<Vec<u8>> {
    let mut imported = 0;
    let mut bodies = Vec::new();
    let mut function = None;
    for payload in Parser::new(0).parse_all(module) {
        match payload? {
            Payload::ImportSection(reader) => {
                for import in reader.into_imports() {
                    imported += u32::from(matches!(import?.ty, TypeRef::Func(_)));
                }
            }
            Payload::CodeSectionEntry(body) => bodies.push(body),
            Payload::CustomSection(section) => {
                let KnownCustom::Name(names) = section.as_known() else { continue };
                for name in names {
                    let Name::Function(functions) = name? else { continue };
                    for name in functions {
                        let name = name?;
                        if is_evaluation(name.name) {
                            ensure!(function.is_none(), "two functions are called so");
                            function = Some(name.index);
                        }
                    }
                }
            }
            _ => {}
        }
    }
    let function = function.context("no function is called so")?;
    let body = &bodies[(function - imported) as usize];
    let start = body.range().start;
    let mut found = Vec::new();
    let operators = body.get_operators_reader()?.into_iter_with_offsets();
    let operators = operators.collect::<Result<Vec<_>, _>>()?;
    for window in operators.windows(7) {
        let [(first, at), rest @ ..] = window else { continue };
        let rest: Vec<&Operator<'_>> = rest.iter().map(|(operator, _)| operator).collect();
        if let (
            Operator::Loop { .. },
            [
                Operator::LocalGet { .. },
                Operator::LocalGet { local_index },
                Operator::I32Const { value: 1 },
                Operator::I32Add,
                Operator::LocalTee { .. },
                Operator::I32Store { .. },
            ],
        ) = (first, &rest[..])
        {
            found.push(((at - start) as u32, *local_index));
        }
    }
    let [(offset, local)] = found[..] else {
        bail!("{} loops look like it, in function {function}", found.len());
    };
    let mut data = Vec::new();
    for number in [1, function, offset, local] {
        number.encode(&mut data);
    }
    Ok(data)
}

/// Whether a mangled name is that of the function itself, and not of a closure in it.
fn is_evaluation(name: &str) -> bool {
    let [ty, function] = EVALUATION;
    name.split_once(ty).is_some_and(|(before, after)| {
        before.contains("5frame")
            && after.strip_prefix(function).is_some_and(|rest| rest.starts_with(HASH))
    })
}
