//! Reads a whole trace from arbitrary bytes. Checksums are put right first: behind them is where readers break.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::io::Write as _;
use wrr_trace::TraceReader;
use wrr_trace::chunk::{CHUNK_HEADER_BYTES, FILE_HEADER_BYTES};
use xxhash_rust::xxh3::xxh3_64;

/// Makes both checksums of every chunk right, as far as its lengths make sense.
fn repair(bytes: &mut [u8]) {
    let mut at = FILE_HEADER_BYTES;
    while at + CHUNK_HEADER_BYTES <= bytes.len() {
        let (header, rest) = bytes[at..].split_at_mut(CHUNK_HEADER_BYTES);
        let stored = u64::from_le_bytes(header[8..16].try_into().expect("8 bytes"));
        let len = usize::try_from(stored).unwrap_or(usize::MAX).min(rest.len());
        let payload_sum = xxh3_64(&rest[..len]);
        header[24..32].copy_from_slice(&payload_sum.to_le_bytes());
        let header_sum = xxh3_64(&header[..32]);
        header[32..40].copy_from_slice(&header_sum.to_le_bytes());
        at += CHUNK_HEADER_BYTES + len;
    }
}

fuzz_target!(|bytes: &[u8]| {
    let mut bytes = bytes.to_vec();
    repair(&mut bytes);
    let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
    file.write_all(&bytes).expect("it can be written");
    let strict = TraceReader::open(file.path()).and_then(|reader| {
        reader.check_all()?;
        Ok(reader)
    });
    if let Ok(reader) = TraceReader::open_damaged(file.path()) {
        let events = reader.events().expect("it begins").take_while(Result::is_ok).count();
        let _ = (reader.time_stamps(), reader.module(), reader.chunk_totals());
        for place in 0..reader.checkpoints().len() {
            let _ = reader.checkpoint(place);
        }
        let mut page = [0; wrr_trace::PAGE_BYTES];
        let _ = reader.read_pages(vec![(wrr_trace::PageId(reader.page_count()), &mut page)]);
        if let Ok(strict) = strict {
            assert_eq!(strict.events().expect("it begins").count(), events);
        }
    } else {
        assert!(strict.is_err(), "the lenient way opens whatever the strict way opens");
    }
});
