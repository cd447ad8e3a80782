//! What the example targets share: the entry points a fuzzer calls, and a bounded reader.
//!
//! A target is a `cdylib` for `wasm32-wasip1` that invokes [`fuzz_target!`] once. The module then
//! exports `LLVMFuzzerTestOneInput` as libFuzzer defines it, and `LLVMFuzzerInitialize` if the
//! target has something to set up. The targets have seeded bugs, each in a function of its own
//! called `bug_NN_what`; everything else rejects what it cannot read.

/// Defines the entry points of a fuzz target, in the shape that cargo-fuzz uses.
///
/// ```ignore
/// fuzz_target!(|data: &[u8]| {
///     parse(data);
/// });
///
/// fuzz_target!(init: { build_tables() }, |data: &[u8]| {
///     parse(data);
/// });
/// ```
#[macro_export]
macro_rules! fuzz_target {
    (|$data:ident: &[u8]| $body:expr) => {
        /// Runs the target on one input.
        ///
        /// # Safety
        /// `ptr` points to `len` readable bytes, or `len` is 0.
        #[unsafe(no_mangle)]
        #[allow(non_snake_case)]
        pub unsafe extern "C" fn LLVMFuzzerTestOneInput(ptr: *const u8, len: usize) -> i32 {
            // SAFETY: the caller's promise, passed on.
            let $data: &[u8] = unsafe { $crate::input(ptr, len) };
            $body;
            0
        }
    };
    (init: $init:expr, |$data:ident: &[u8]| $body:expr) => {
        /// Runs once, before the first input.
        #[unsafe(no_mangle)]
        #[allow(non_snake_case)]
        pub extern "C" fn LLVMFuzzerInitialize(_: *mut i32, _: *mut *mut *mut u8) -> i32 {
            $init;
            0
        }
        $crate::fuzz_target!(|$data: &[u8]| $body);
    };
}

/// The input of a target as a slice. A fuzzer may pass null for an empty one.
///
/// # Safety
/// `ptr` points to `len` bytes that stay as they are for `'a`, or `len` is 0.
#[doc(hidden)]
pub unsafe fn input<'a>(ptr: *const u8, len: usize) -> &'a [u8] {
    if len == 0 {
        return &[];
    }
    // SAFETY: the caller's promise.
    unsafe { std::slice::from_raw_parts(ptr, len) }
}

/// Reads from the front of a slice; every method answers `None` when the slice is too short.
#[derive(Clone, Copy)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// A reader at the start of `bytes`.
    #[inline]
    pub fn new(bytes: &'a [u8]) -> Self {
        Reader { rest: bytes }
    }

    /// Whether everything has been read.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// What has not been read yet.
    #[inline]
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// The next `len_bytes` bytes.
    #[inline]
    pub fn bytes(&mut self, len_bytes: usize) -> Option<&'a [u8]> {
        let (bytes, rest) = self.rest.split_at_checked(len_bytes)?;
        self.rest = rest;
        Some(bytes)
    }

    /// The next byte.
    #[inline]
    pub fn u8(&mut self) -> Option<u8> {
        self.bytes(1).map(|bytes| bytes[0])
    }

    /// The next two bytes, little-endian.
    #[inline]
    pub fn u16(&mut self) -> Option<u16> {
        let bytes = self.bytes(2)?.try_into().ok()?;
        Some(u16::from_le_bytes(bytes))
    }

    /// The next four bytes, little-endian.
    #[inline]
    pub fn u32(&mut self) -> Option<u32> {
        let bytes = self.bytes(4)?.try_into().ok()?;
        Some(u32::from_le_bytes(bytes))
    }
}
