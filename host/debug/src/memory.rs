//! Reading a guest's memory: every address may be wrong.

/// The bytes of a memory.
#[derive(Clone, Copy, Debug)]
pub struct Memory<'a>(pub &'a [u8]);

impl<'a> Memory<'a> {
    /// A word of 32 bits; `None` if there is none at this address.
    #[must_use]
    pub fn word(self, at: u32) -> Option<u32> {
        let at = at as usize;
        let bytes = self.0.get(at..at.checked_add(4)?)?;
        Some(u32::from_le_bytes(bytes.try_into().ok()?))
    }

    /// So many bytes.
    #[must_use]
    pub fn bytes(self, at: u32, len: u32) -> Option<&'a [u8]> {
        let at = at as usize;
        self.0.get(at..at.checked_add(len as usize)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_there_is_none() {
        let memory = Memory(&[1, 0, 0, 0, 2]);
        assert_eq!(memory.word(0), Some(1));
        assert_eq!(memory.word(1), Some(0x0200_0000));
        assert_eq!(memory.word(2), None);
        assert_eq!(memory.word(u32::MAX), None);
        assert_eq!(memory.bytes(4, 1), Some(&[2][..]));
        assert_eq!(memory.bytes(4, u32::MAX), None);
    }
}
