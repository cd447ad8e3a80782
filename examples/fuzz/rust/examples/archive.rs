//! An archive of named entries, which may be packed and may carry a checksum.
//!
//! ```text
//! file  := "ARC1" entry*
//! entry := method:u8 flags:u8 name_length:u8 name packed:u16 unpacked:u32 payload:packed crc?
//! crc   := u32, the CRC-32 of the payload, if bit 0 of the flags is set
//! ```
//!
//! Method 0 stores, method 1 packs runs as pairs of length and byte.
//!
//! Bugs 3 (what follows a matching checksum) and 12 (memory for a size that a header claims).

use std::hint::black_box;
use std::sync::OnceLock;
use wrr_fuzz_targets::{Reader, fuzz_target};

const FLAG_CHECKSUM: u8 = 1;
const FLAGS_KNOWN: u8 = FLAG_CHECKSUM;
const OWNERS: [&str; 8] = ["root", "daemon", "bin", "sys", "sync", "mail", "news", "user"];

static CRC_TABLE: OnceLock<[u32; 256]> = OnceLock::new();

#[derive(Default)]
struct Listing<'a> {
    names: Vec<&'a [u8]>,
    unpacked_bytes: usize,
    owner: &'static str,
}

fuzz_target!(
    init: CRC_TABLE.get_or_init(crc_table),
    |data: &[u8]| {
        black_box(list(data));
    }
);

fn list(data: &[u8]) -> Option<Listing<'_>> {
    let mut listing = Listing::default();
    let mut reader = Reader::new(data);
    if reader.bytes(4)? != b"ARC1" {
        return None;
    }
    while !reader.is_empty() {
        let method = reader.u8()?;
        let flags = reader.u8()?;
        let name_length = reader.u8()?;
        let name = reader.bytes(name_length.into())?;
        let packed = reader.u16()?;
        let unpacked = reader.u32()?;
        let payload = reader.bytes(packed.into())?;
        if flags & !FLAGS_KNOWN != 0 || !is_sound(name) {
            return None;
        }
        if flags & FLAG_CHECKSUM != 0 {
            if reader.u32()? != crc32(payload) {
                return None;
            }
            listing.owner = bug_03_owner(payload);
        }
        listing.unpacked_bytes += match method {
            0 if payload.len() == unpacked as usize => payload.len(),
            1 => bug_12_unpack(payload, unpacked)?.len(),
            _ => return None,
        };
        listing.names.push(name);
    }
    Some(listing)
}

/// Whether a name stays inside the folder that is unpacked to.
fn is_sound(name: &[u8]) -> bool {
    !name.is_empty() && name.split(|&b| b == b'/').all(|part| !part.is_empty() && part != b"..")
}

/// Bug: the first byte of a payload with a checksum names its owner, and there are only so many.
#[inline(never)]
fn bug_03_owner(payload: &[u8]) -> &'static str {
    match payload.first() {
        Some(&owner) => OWNERS[usize::from(owner)],
        None => "",
    }
}

/// Bug: the size is believed before a byte has been unpacked.
#[inline(never)]
fn bug_12_unpack(payload: &[u8], unpacked: u32) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(unpacked as usize);
    for run in payload.chunks(2) {
        let &[length, byte] = run else { return None };
        out.extend(std::iter::repeat_n(byte, length.into()));
        if out.len() > unpacked as usize {
            return None;
        }
    }
    (out.len() == unpacked as usize).then_some(out)
}

fn crc_table() -> [u32; 256] {
    let mut table = [0; 256];
    for (value, entry) in (0..).zip(&mut table) {
        let mut crc: u32 = value;
        for _ in 0..8 {
            crc = (crc >> 1) ^ if crc & 1 != 0 { 0xedb8_8320 } else { 0 };
        }
        *entry = crc;
    }
    table
}

/// Requires: `LLVMFuzzerInitialize` has run.
fn crc32(bytes: &[u8]) -> u32 {
    let table = CRC_TABLE.get().expect("LLVMFuzzerInitialize has not run");
    !bytes.iter().fold(!0, |crc, &byte| (crc >> 8) ^ table[usize::from(crc as u8 ^ byte)])
}
