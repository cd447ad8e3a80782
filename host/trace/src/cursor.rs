//! Takes primitives off the front of a decoded payload; every error is a sentence.
//!
//! Invariant: a count is checked against the bytes that are left before anybody reserves memory for it.

/// A payload and how far it was read.
pub(crate) struct Cursor {
    payload: Vec<u8>,
    at: usize,
}

/// The opposite of zigzag: 0, 1, 2, 3 become 0, -1, 1, -2 (as the bits of an `i64`).
pub(crate) fn unzigzag(value: u64) -> u64 {
    (value >> 1) ^ (value & 1).wrapping_neg()
}

impl Cursor {
    pub(crate) fn new(payload: Vec<u8>) -> Cursor {
        Cursor { payload, at: 0 }
    }

    pub(crate) fn left(&self) -> usize {
        self.payload.len() - self.at
    }

    /// All that is left, which stays there.
    pub(crate) fn rest(&self) -> &[u8] {
        &self.payload[self.at..]
    }

    pub(crate) fn take(&mut self, len: usize) -> Result<&[u8], String> {
        let left = self.left();
        if len > left {
            return Err(format!("{len} bytes wanted, {left} left"));
        }
        let start = self.at;
        self.at += len;
        Ok(&self.payload[start..self.at])
    }

    pub(crate) fn byte(&mut self) -> Result<u8, String> {
        Ok(self.take(1)?[0])
    }

    pub(crate) fn varint(&mut self) -> Result<u64, String> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                return Err("a number does not fit 64 bits".to_owned());
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err("a number does not end".to_owned())
    }

    pub(crate) fn number<T: TryFrom<u64>>(&mut self, what: &str) -> Result<T, String> {
        let value = self.varint()?;
        T::try_from(value).map_err(|_| format!("{what} is {value}, too large for its type"))
    }

    /// A count of items of at least `item_bytes` each: never more than the rest can hold.
    pub(crate) fn count(&mut self, item_bytes: usize, what: &str) -> Result<usize, String> {
        let count = self.number::<usize>("a count")?;
        if count > self.left() / item_bytes {
            return Err(format!("{count} {what} claimed, {} bytes left", self.left()));
        }
        Ok(count)
    }
}
