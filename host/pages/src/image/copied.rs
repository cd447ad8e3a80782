//! Bytes that every memory gets a copy of.

use std::io;

/// Bytes that do not change any more.
#[derive(Debug)]
pub(super) struct Bytes(crate::Mapping);

impl Bytes {
    /// So many bytes, which are zero where `fill` writes nothing.
    pub fn filled(len: usize, fill: impl FnOnce(&mut [u8])) -> io::Result<Bytes> {
        let mut mapping = crate::Mapping::reserve(len, len, 0)?;
        fill(mapping.bytes_mut());
        Ok(Bytes(mapping))
    }

    pub fn as_slice(&self) -> &[u8] {
        self.0.bytes()
    }

    /// Tells that it cannot show them at an address.
    ///
    /// # Safety
    /// None here; see the other implementation.
    #[allow(clippy::unnecessary_wraps, reason = "the other implementation can fail")]
    pub unsafe fn show(&self, _at: *mut u8, _len: usize) -> io::Result<bool> {
        Ok(false)
    }
}
