//! The Python that is inside of wrr: a WASI program, built from `guest-interp` and compressed.
//!
//! It names its passages (the header of its evaluation loop), so that a debugger can stop at every instruction of a Python program; the build fails
//! if they are not found.

use std::io;

/// What the program is called in traces.
pub const NAME: &str = "python.wasm";

/// The version of the language and the interpreter.
pub const VERSION: &str = "RustPython 0.6.0";

/// The module in binary form.
///
/// # Errors
/// It is damaged, or there is not the memory for it.
pub fn module() -> io::Result<Vec<u8>> {
    let packed: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/python.wasm.zst"));
    zstd::decode_all(packed)
}
