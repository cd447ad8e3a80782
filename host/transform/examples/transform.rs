//! Transforms a module: `cargo run --release -p wrr-transform --example transform -- IN.wasm OUT.wasm [inspect|search|accesses]`.
//! Prints how long it takes and how much the module grows.

use std::sync::Arc;
use std::time::Instant;
use wasmparser::{Validator, WasmFeatures};
use wrr_transform::{Module, Variant};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(from), Some(to)) = (arguments.next(), arguments.next()) else {
        return Err("usage: transform IN.wasm OUT.wasm [inspect|search|accesses]".into());
    };
    let variant = match arguments.next().as_deref() {
        Some("inspect") => Variant::Inspect,
        Some("accesses") => Variant::Accesses,
        Some("search") => Variant::Search,
        _ => Variant::Run,
    };
    let original: Arc<[u8]> = std::fs::read(from)?.into();
    let started = Instant::now();
    let module = Module::parse(Arc::clone(&original), WasmFeatures::all())?;
    let parsed = started.elapsed();
    let transformed = module.transform(variant)?;
    let done = started.elapsed();
    println!(
        "{} functions, {} of them capturable; parsed in {parsed:.2?}, transformed in {done:.2?}; {} bytes, {:.3} of the original's {}",
        module.function_count(),
        transformed.capturable.count(),
        transformed.wasm.len(),
        transformed.wasm.len() as f64 / original.len() as f64,
        original.len()
    );
    std::fs::write(to, &transformed.wasm)?;
    Validator::new_with_features(WasmFeatures::all()).validate_all(&transformed.wasm)?;
    Ok(())
}
