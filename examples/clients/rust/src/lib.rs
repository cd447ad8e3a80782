//! Control of one's own checkpoints, for a program that runs under wrr: the interface of `wit/control.wit`.
//!
//! ```no_run
//! let attempt = wrr_guest::checkpoint("before the guess");
//! let guess = 7 * attempt;
//! if guess < 21 {
//!     // Goes back to the first line, with another attempt.
//!     wrr_guest::rollback("before the guess");
//! }
//! ```
//!
//! Without the feature `host`, and on other targets than WebAssembly, nothing is imported, and the functions do what they
//! would under a runtime without checkpoints: nobody goes back and nobody forks.

#![no_std]

extern crate alloc;

use alloc::vec::Vec;

/// Why a rollback did not happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// There is no checkpoint of this name.
    Unknown,
    /// There was one, which whoever runs the program has dropped.
    Gone,
}

/// Keeps the program's state under a name. A later checkpoint of the same name takes its place.
///
/// Gives 0 at first, and n after the n-th rollback to it.
pub fn checkpoint(name: &str) -> u32 {
    provider::checkpoint(name)
}

/// Goes back to where the checkpoint of this name was taken. Returns only if that cannot be done.
pub fn rollback(name: &str) -> Failure {
    match provider::rollback(name) {
        1 => Failure::Gone,
        _ => Failure::Unknown,
    }
}

/// Gives this moment a name, which stands for it on the command line: `wrr replay run.wrr --goto @name`.
pub fn mark(name: &str) {
    provider::mark(name);
}

/// A place at which runs fork. Returns once in this run, with nothing, and again, with data, in every fork that `wrr branch`
/// makes.
pub fn branch(name: &str) -> Option<Vec<u8>> {
    provider::branch(name)
}

#[cfg(all(feature = "host", target_family = "wasm"))]
mod provider {
    use alloc::alloc::{Layout, alloc, handle_alloc_error, realloc};
    use alloc::vec::Vec;

    #[link(wasm_import_module = "wrr:guest/control@0.1.0")]
    unsafe extern "C" {
        #[link_name = "checkpoint"]
        fn import_checkpoint(name: *const u8, len: usize) -> u32;
        #[link_name = "rollback"]
        fn import_rollback(name: *const u8, len: usize) -> u32;
        #[link_name = "mark"]
        fn import_mark(name: *const u8, len: usize);
        #[link_name = "branch"]
        fn import_branch(name: *const u8, len: usize, data: *mut BranchData);
    }

    /// `option<list<u8>>` as it lies in memory.
    #[repr(C)]
    struct BranchData {
        some: u8,
        address: *mut u8,
        len: usize,
    }

    pub fn checkpoint(name: &str) -> u32 {
        // SAFETY: the name is readable for its length.
        unsafe { import_checkpoint(name.as_ptr(), name.len()) }
    }

    pub fn rollback(name: &str) -> u32 {
        // SAFETY: as above.
        unsafe { import_rollback(name.as_ptr(), name.len()) }
    }

    pub fn mark(name: &str) {
        // SAFETY: as above.
        unsafe { import_mark(name.as_ptr(), name.len()) }
    }

    pub fn branch(name: &str) -> Option<Vec<u8>> {
        let mut data = BranchData { some: 0, address: core::ptr::null_mut(), len: 0 };
        // SAFETY: as above, and `data` is writable.
        unsafe { import_branch(name.as_ptr(), name.len(), &mut data) };
        match (data.some, data.len) {
            (0, _) => None,
            (_, 0) => Some(Vec::new()),
            // SAFETY: `cabi_realloc` below has made room for `len` bytes at this address, and they are filled.
            (_, len) => Some(unsafe { Vec::from_raw_parts(data.address, len, len) }),
        }
    }

    /// Makes room for what the runtime gives: the function of this name of the canonical ABI.
    ///
    /// # Safety
    /// `old` is null or comes from here, with `old_len` bytes of this alignment.
    #[unsafe(no_mangle)]
    pub unsafe extern "C" fn cabi_realloc(
        old: *mut u8,
        old_len: usize,
        align: usize,
        len: usize,
    ) -> *mut u8 {
        let Ok(layout) = Layout::from_size_align(len, align) else { return core::ptr::null_mut() };
        if len == 0 {
            return core::ptr::without_provenance_mut(align);
        }
        // SAFETY: the size is not 0, and the caller vouches for `old`.
        let new = unsafe {
            match (old_len, Layout::from_size_align(old_len, align)) {
                (0, _) | (_, Err(_)) => alloc(layout),
                (_, Ok(before)) => realloc(old, before, len),
            }
        };
        if new.is_null() {
            handle_alloc_error(layout);
        }
        new
    }
}

#[cfg(not(all(feature = "host", target_family = "wasm")))]
mod provider {
    use alloc::vec::Vec;

    pub fn checkpoint(_name: &str) -> u32 {
        0
    }

    pub fn rollback(_name: &str) -> u32 {
        0
    }

    pub fn mark(_name: &str) {}

    pub fn branch(_name: &str) -> Option<Vec<u8>> {
        None
    }
}
