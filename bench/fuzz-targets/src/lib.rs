//! What keeps one execution of a decoder short, so that the fuzzer's own cost shows.

use std::io;

/// No target puts out more than this.
pub const OUTPUT_BYTES_MAX: usize = 64 << 10;

/// Takes up to [`OUTPUT_BYTES_MAX`] bytes and fails after that.
#[derive(Default)]
pub struct BoundedOutput {
    bytes: Vec<u8>,
}

impl io::Write for BoundedOutput {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.len() > OUTPUT_BYTES_MAX - self.bytes.len() {
            return Err(io::ErrorKind::WriteZero.into());
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
