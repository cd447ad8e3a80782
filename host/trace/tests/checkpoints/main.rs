//! Checkpoints, pages and ticks in traces, through the crate's public interface.

mod appending;
mod growing;
mod hostile;
mod round_trip;

use std::path::Path;
use std::sync::Arc;
use wrr_trace::chunk::{
    self, CHUNK_HEADER_BYTES, ChunkHeader, ChunkKind, FILE_HEADER_BYTES, MAGIC,
};
use wrr_trace::{
    Call, Checkpoint, Datum, Ending, EventIndex, FrameState, Function, HostState, Input, Iovec,
    Manifest, MemoryState, Outcome, PAGE_BYTES, PageId, PageRun, Pause, Phase, Tick, TraceError,
    TraceReader, TraceWriter, WriterOptions,
};

fn module() -> Arc<[u8]> {
    b"\0asm\x01\0\0\0".repeat(50).into()
}

fn start(path: &Path, canonical: bool) -> TraceWriter {
    start_with(path, WriterOptions { canonical, ..WriterOptions::default() })
}

fn start_with(path: &Path, options: WriterOptions) -> TraceWriter {
    let manifest = Manifest::for_module(&module());
    TraceWriter::create(path, &manifest, module(), options).unwrap()
}

/// Event number `i`, which happens at tick `10 * i + 10`.
fn append(writer: &TraceWriter, i: u64) {
    let input = Input::Buffers(vec![Iovec { addr: 64, len: 320 }]);
    let call = Call { function: Function::FdRead, args: [i, 8, 1, 4, 0, 0, 0, 0, 0], input };
    let data = i.to_le_bytes().repeat(40);
    writer.append(Tick(10 * i + 10), &call, &Outcome { data, ..Outcome::default() }).unwrap();
}

/// A page that is like no other.
fn page(number: u32) -> Vec<u8> {
    page_of(number, 64)
}

/// A page of which so many bytes do not compress.
fn page_of(number: u32, noise_bytes: usize) -> Vec<u8> {
    let mut state = u64::from(number) + 1;
    let mut page: Vec<u8> = (0..noise_bytes / 8)
        .flat_map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            state.rotate_left(32).to_le_bytes()
        })
        .collect();
    page.resize(PAGE_BYTES, 0);
    page
}

fn pages(numbers: std::ops::Range<u32>) -> Vec<u8> {
    numbers.flat_map(page).collect()
}

/// A checkpoint before event number `event`, with a memory that holds pages `1..=pages` from place 2 on.
fn checkpoint(event: u64, pages: u32) -> Checkpoint {
    let run = PageRun { page: 2, id: PageId(1), count: pages };
    Checkpoint {
        tick: Tick(10 * event + 5),
        event: EventIndex(event),
        name: None,
        phase: Phase::Main,
        pause: Pause::Tick,
        frames: vec![FrameState {
            function: 7,
            site: 3,
            values: vec![Datum::I32(-5), Datum::Null],
        }],
        globals: vec![Datum::I64(1 << 40)],
        memories: vec![MemoryState {
            bytes: 64 << 16,
            runs: if pages == 0 { Vec::new() } else { vec![run] },
        }],
        tables: Vec::new(),
        dropped_data: vec![1, 4],
        dropped_elements: Vec::new(),
        host: HostState::for_world(1, 2, false),
    }
}

/// A checkpoint at the start, with a memory of 128 MiB that has these runs: page, id, count.
fn checkpoint_of(runs: &[(u32, u32, u32)]) -> Checkpoint {
    let runs = runs.iter().map(|&(page, id, count)| PageRun { page, id: PageId(id), count });
    let memory = MemoryState { bytes: 2048 << 16, runs: runs.collect() };
    Checkpoint { memories: vec![memory], ..checkpoint(0, 0) }
}

/// Contents of pages of a trace.
fn read(reader: &TraceReader, ids: &[u32]) -> Result<Vec<u8>, TraceError> {
    let mut out = vec![0xaa; ids.len() * PAGE_BYTES];
    let wanted = ids.iter().map(|id| PageId(*id)).zip(out.chunks_exact_mut(PAGE_BYTES));
    reader.read_pages(wanted.collect())?;
    Ok(out)
}

/// 20 events and 3 checkpoints with 40 pages.
fn recording(path: &Path) -> Vec<Checkpoint> {
    let writer = start(path, false);
    let sink = writer.checkpoint_sink();
    let mut checkpoints = Vec::new();
    for i in 0..20 {
        if i % 7 == 5 {
            let stored = sink.page_count();
            let mut added = checkpoint(i, stored + 20);
            added.name = (i == 12).then(|| "before the bug".to_owned());
            if i == 19 {
                added = checkpoint(i, stored);
            }
            let fresh = if i == 19 { Vec::new() } else { pages(stored + 1..stored + 21) };
            sink.put(fresh, added.clone()).unwrap();
            checkpoints.push(added);
        }
        append(&writer, i);
    }
    let (saved, error) = writer.finish(Ending::Exited { code: 3 }, Tick(777));
    assert!(error.is_none() && saved.events == 20, "{error:?}");
    checkpoints
}

/// The chunks of a file: kind, payload, decoded payload.
fn chunks(bytes: &[u8]) -> Vec<(ChunkKind, Vec<u8>)> {
    let mut at = FILE_HEADER_BYTES;
    let mut found = Vec::new();
    while at < bytes.len() {
        let header = bytes[at..at + CHUNK_HEADER_BYTES].try_into().unwrap();
        let header = ChunkHeader::from_bytes(header).unwrap();
        at += CHUNK_HEADER_BYTES;
        let stored = bytes[at..at + header.stored_bytes as usize].to_vec();
        at += stored.len();
        found.push((header.kind, chunk::decode(&header, stored).unwrap()));
    }
    found
}

/// A file of these chunks, with checksums that are right.
fn forge<'a>(path: &Path, chunks: impl IntoIterator<Item = &'a (ChunkKind, Vec<u8>)>) {
    let mut bytes = MAGIC.to_vec();
    bytes.extend([1, 0, 0, 0, 0, 0, 0, 0]);
    let mut compressor = zstd::bulk::Compressor::new(1).unwrap();
    for (kind, raw) in chunks {
        let (header, compressed) = chunk::encode(*kind, raw, &mut compressor).unwrap();
        bytes.extend(header.to_bytes());
        bytes.extend(compressed.as_deref().unwrap_or(raw));
    }
    std::fs::write(path, bytes).unwrap();
}

/// The chunks of a recording without its index.
fn parts(folder: &Path) -> Vec<(ChunkKind, Vec<u8>)> {
    let path = folder.join("parts.wrr");
    recording(&path);
    let mut parts = chunks(&std::fs::read(path).unwrap());
    parts.retain(|(kind, _)| !matches!(*kind, ChunkKind::INDEX | ChunkKind::FOOTER));
    parts
}

fn expect_damage<T: std::fmt::Debug>(result: Result<T, TraceError>, part: &str) {
    match result {
        Err(TraceError::Damaged { what, .. }) => assert!(what.contains(part), "{what} / {part}"),
        other => panic!("{other:?}, expected: {part}"),
    }
}
