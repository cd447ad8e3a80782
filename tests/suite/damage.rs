//! Damaged, cut off and hostile traces: found, named, never a panic, never a wrong result.

use crate::support::*;
use std::path::{Path, PathBuf};
use wrr::format::chunk::{ChunkHeader, ChunkKind, Encoding, FILE_HEADER_BYTES, MAGIC};
use wrr::format::{
    Call, Ending, Errno, Function, Input, Iovec, Manifest, Outcome, PARAMS_MAX, Reply, Tail, Tick,
    TraceError, TraceReader, TraceWriter, WriterOptions, hash_output,
};
use wrr::{Error, ReplayOutput, Trace};

/// Asks for its first argument's sizes and a random number, and exits with 7.
const PROGRAM: &str = r#"(module
    (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
    (memory (export "memory") 1)
    (data (i32.const 16) "\40\00\00\00\08\00\00\00")
    (func (export "_start")
        (drop (call $random (i32.const 128) (i32.const 4)))
        (drop (call $read (i32.const 0) (i32.const 16) (i32.const 1) (i32.const 32)))
        (call $exit (i32.const 7))))"#;

/// Records the program above into `folder/t.wrr`.
fn small_trace(folder: &Path) -> PathBuf {
    std::fs::write(folder.join("p.wat"), PROGRAM).unwrap();
    let output = finish(wrr(folder).args(["record", "-o", "t.wrr", "p.wat"]), b"12345");
    expect_code(&output, 7);
    folder.join("t.wrr")
}

/// Everything that reads a trace, on this file.
fn read_all(path: &Path) -> Result<TraceReader, TraceError> {
    let reader = TraceReader::open(path)?;
    reader.check_all()?;
    Ok(reader)
}

#[test]
fn every_truncation_opens_up_to_the_last_complete_chunk_or_says_why_not() {
    let folder = scratch();
    let whole = std::fs::read(small_trace(folder.path())).unwrap();
    let path = folder.path().join("cut.wrr");
    let (mut replayable, mut last_events) = (0, 0);
    for len in 0..whole.len() {
        std::fs::write(&path, &whole[..len]).unwrap();
        match read_all(&path) {
            Ok(reader) => {
                assert!(matches!(reader.tail(), Tail::CutOff { .. }), "{len} bytes");
                let events = reader.events().unwrap().count();
                assert!(events >= last_events, "{len} bytes: {events} events");
                last_events = events;
                replayable += 1;
                let replayed = Trace::open(&path).unwrap().replay(ReplayOutput::discard()).unwrap();
                assert_eq!(replayed.events as usize, events);
                assert_eq!(replayed.end.is_some(), reader.ending().is_some());
            }
            Err(TraceError::NotATrace { .. }) => assert_eq!(len, 0),
            Err(TraceError::NothingRecorded { len_bytes, .. }) => assert_eq!(len_bytes, len as u64),
            Err(other) => panic!("{len} bytes: {other}"),
        }
    }
    assert!(replayable > 100, "{replayable} of {} lengths", whole.len());
    assert_eq!(last_events, 3);
}

#[test]
fn every_flipped_bit_is_found() {
    let folder = scratch();
    let whole = std::fs::read(small_trace(folder.path())).unwrap();
    let path = folder.path().join("flipped.wrr");
    for at in 0..whole.len() {
        for bit in 0..8 {
            let mut bytes = whole.clone();
            bytes[at] ^= 1 << bit;
            std::fs::write(&path, &bytes).unwrap();
            let found = read_all(&path);
            assert!(found.is_err(), "bit {bit} of byte {at} went unseen");
            // Looking at it all the same must not panic either.
            if let Ok(reader) = TraceReader::open_damaged(&path) {
                let _ = reader.events().unwrap().count();
                let _ = reader.time_stamps();
            }
        }
    }
}

#[test]
fn what_is_not_a_trace_is_named() {
    let folder = scratch();
    let file = |name: &str, bytes: &[u8]| {
        std::fs::write(folder.path().join(name), bytes).unwrap();
        name.to_owned()
    };
    let mut version = MAGIC.to_vec();
    version.extend([99, 0, 0, 0, 0, 0, 0, 0]);
    std::fs::create_dir(folder.path().join("folder")).unwrap();
    for (name, words) in [
        (file("empty", b""), "the file is empty"),
        (file("text", b"hello there, world"), "it starts with \"hello th\""),
        (file("module", b"\0asm\x01\0\0\0"), "it is a WebAssembly module"),
        (file("future", &version), "trace format 99, this wrr reads those up to 2"),
        ("folder".to_owned(), "it is a directory"),
        ("missing".to_owned(), "cannot open: No such file"),
    ] {
        for command in ["replay", "info", "events", "verify"] {
            let output = finish(wrr(folder.path()).args([command, &name]), b"");
            expect_code(&output, 2);
            let message = text(&output.stderr);
            assert!(message.starts_with(&format!("error: {name}: ")), "{message}");
            assert!(message.contains(words), "{command} {name}: {message}");
        }
    }
}

/// A trace put together by hand.
struct Forged(Vec<u8>);

impl Forged {
    fn new() -> Forged {
        let mut bytes = MAGIC.to_vec();
        bytes.extend([1, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(bytes.len(), FILE_HEADER_BYTES);
        Forged(bytes)
    }

    /// A chunk whose header claims whatever it likes, with checksums that are right.
    fn claim(mut self, kind: ChunkKind, payload: &[u8], encoding: Encoding, raw: u64) -> Forged {
        let header = ChunkHeader {
            kind,
            encoding,
            stored_bytes: payload.len() as u64,
            raw_bytes: raw,
            payload_sum: hash_output([payload]),
        };
        self.0.extend(header.to_bytes());
        self.0.extend(payload);
        self
    }

    fn chunk(self, kind: ChunkKind, payload: &[u8]) -> Forged {
        self.claim(kind, payload, Encoding::Stored, payload.len() as u64)
    }

    fn open(self, folder: &Path) -> Result<TraceReader, TraceError> {
        let path = folder.join("forged.wrr");
        std::fs::write(&path, self.0).unwrap();
        read_all(&path)
    }
}

/// The payloads of the chunks of a trace.
fn chunks(bytes: &[u8]) -> Vec<(ChunkKind, ChunkHeader, Vec<u8>)> {
    let mut at = FILE_HEADER_BYTES;
    let mut found = Vec::new();
    while at < bytes.len() {
        let header = ChunkHeader::from_bytes(bytes[at..at + 40].try_into().unwrap()).unwrap();
        let end = at + 40 + header.stored_bytes as usize;
        found.push((header.kind, header, bytes[at + 40..end].to_vec()));
        at = end;
    }
    found
}

#[track_caller]
fn expect_damage(result: Result<TraceReader, TraceError>, words: &str) {
    let error = result.map(|_| ()).expect_err("it is damaged").to_string();
    assert!(error.contains(words), "{words:?} should be in: {error}");
}

#[test]
fn sizes_that_a_file_claims_are_not_believed() {
    let folder = scratch();
    let whole = std::fs::read(small_trace(folder.path())).unwrap();
    let (kind, header, manifest) = chunks(&whole).remove(0);
    assert_eq!((kind, header.encoding), (ChunkKind::MANIFEST, Encoding::Stored));
    let start = || Forged::new().chunk(ChunkKind::MANIFEST, &manifest);

    // 2^60 bytes claimed, stored and decoded.
    let mut bytes = start().0;
    let claim = ChunkHeader { stored_bytes: 1 << 60, raw_bytes: 1 << 60, ..header };
    bytes.extend(claim.to_bytes());
    expect_damage(Forged(bytes).open(folder.path()), "claims 1152921504606846976 bytes");

    // 1 GiB of zeros in a frame that claims 100 bytes, and one that claims nothing.
    let bomb = zstd::bulk::compress(&vec![0; 1 << 28], 3).unwrap();
    assert!(bomb.len() < 1 << 16);
    let forged = start().claim(ChunkKind::MODULE, &bomb, Encoding::Zstd, 100);
    expect_damage(forged.open(folder.path()), "does not decompress to 100 bytes");
    let forged = start().claim(ChunkKind(*b"what"), &bomb, Encoding::Zstd, 0);
    expect_damage(forged.open(folder.path()), "does not decompress to 0 bytes");

    // A manifest whose strings pass its end, and one with more behind it.
    let cut = Forged::new().chunk(ChunkKind::MANIFEST, &manifest[..manifest.len() - 3]);
    expect_damage(cut.open(folder.path()), "damaged at byte 16");
    let long = Forged::new().chunk(ChunkKind::MANIFEST, &[&manifest[..], b"more"].concat());
    expect_damage(long.open(folder.path()), "4 bytes too many");

    // A batch that claims 2^62 events.
    let module = chunks(&whole).into_iter().find(|c| c.0 == ChunkKind::MODULE).unwrap();
    let with_module = || start().claim(module.0, &module.2, module.1.encoding, module.1.raw_bytes);
    let batch = [0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x3f];
    expect_damage(
        with_module().chunk(ChunkKind::EVENTS, &batch).open(folder.path()),
        "1 bytes wanted, 0 left",
    );
    // A gap in the numbers.
    let gap = with_module().chunk(ChunkKind::EVENTS, &[5, 0, 0]);
    expect_damage(gap.open(folder.path()), "starts with event #5, expected was #0");
    // A kind that must not be passed over, and one that may.
    expect_damage(with_module().chunk(ChunkKind(*b"WHAT"), b"").open(folder.path()), "WHAT");
    assert!(with_module().chunk(ChunkKind(*b"what"), b"x").open(folder.path()).is_ok());
}

#[test]
fn a_trace_must_contain_the_module_that_it_names() {
    let folder = scratch();
    let whole = std::fs::read(small_trace(folder.path())).unwrap();
    let parts = chunks(&whole);
    let forge = |module: Option<&[u8]>| {
        let mut forged = Forged::new();
        for (kind, header, payload) in &parts {
            forged = match (*kind, module) {
                (ChunkKind::MODULE, None) => continue,
                (ChunkKind::MODULE, Some(other)) => forged.chunk(*kind, other),
                (ChunkKind::INDEX | ChunkKind::FOOTER, _) => continue,
                _ => forged.claim(*kind, payload, header.encoding, header.raw_bytes),
            };
        }
        forged
    };
    expect_damage(forge(None).open(folder.path()), "the trace contains none");
    let empty_module = b"\0asm\x01\0\0\0";
    expect_damage(forge(Some(empty_module)).open(folder.path()), "the trace contains ");
    // Even if the code of the named module is in the cache, nothing of its replay is shown.
    let command = |arguments: &[&str]| {
        let mut command = wrr(folder.path());
        command.env("WRR_CACHE", folder.path().join("cache")).args(arguments);
        finish(&mut command, b"")
    };
    let name = small_trace(folder.path());
    let name = name.to_str().unwrap();
    let ways = [&["replay", name][..], &["replay", name, "--goto", "end"], &["index", name]];
    for way in ways {
        assert_ne!(command(way).status.code(), Some(2), "{way:?}");
    }
    for other in [None, Some(&empty_module[..])] {
        std::fs::write(name, forge(other).0).unwrap();
        for way in ways {
            let output = command(way);
            expect_code(&output, 2);
            assert!(output.stdout.is_empty(), "{way:?}");
            let message = text(&output.stderr);
            assert!(message.contains("module"), "{way:?}: {message}");
        }
    }
}

/// A recording of the program above that answers what no host would.
fn forged_outcomes(folder: &Path, random: Outcome, read: Outcome) -> Result<u64, Error> {
    let path = folder.join("forged.wrr");
    let module: std::sync::Arc<[u8]> = wat_bytes(folder).into();
    let manifest = Manifest { args: vec!["p".into()], ..Manifest::for_module(&module) };
    let writer = TraceWriter::create(&path, &manifest, module, WriterOptions::default()).unwrap();
    let call = |function, arguments: &[u64], input| {
        let mut args = [0; PARAMS_MAX];
        args[..arguments.len()].copy_from_slice(arguments);
        Call { function, args, input }
    };
    let buffers = Input::Buffers(vec![Iovec { addr: 64, len: 8 }]);
    for (call, outcome) in [
        (call(Function::RandomGet, &[128, 4], Input::None), random),
        (call(Function::FdRead, &[0, 16, 1, 32], buffers), read),
        (call(Function::ProcExit, &[7], Input::None), Outcome::default()),
    ] {
        writer.append(Tick(1), &call, &outcome).unwrap();
    }
    assert!(writer.finish(Ending::Exited { code: 7 }, Tick(1)).1.is_none());
    Trace::open(&path).unwrap().replay(ReplayOutput::discard()).map(|r| r.events)
}

/// The program in binary form, taken out of a recording of it.
fn wat_bytes(folder: &Path) -> Vec<u8> {
    TraceReader::open(&small_trace(folder)).unwrap().module().unwrap()
}

#[test]
fn outcomes_that_do_not_fit_the_call_are_divergences() {
    let folder = scratch();
    let data = |len: usize| Outcome { data: vec![7; len], ..Outcome::default() };
    assert_eq!(forged_outcomes(folder.path(), data(4), data(8)).unwrap(), 3);
    assert_eq!(forged_outcomes(folder.path(), data(4), Outcome::failed(Errno::io)).unwrap(), 3);
    for (random, read, event) in
        [(data(5), data(8), 0), (data(1 << 17), data(8), 0), (data(4), data(9), 1)]
    {
        match forged_outcomes(folder.path(), random, read) {
            Err(Error::Diverged(divergence)) => {
                assert_eq!(divergence.event.0, event);
                assert!(divergence.replayed.contains("no room"), "{divergence}");
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_divergence_names_the_event_and_both_sides() {
    let folder = scratch();
    let path = folder.path().join("other.wrr");
    let module: std::sync::Arc<[u8]> = wat_bytes(folder.path()).into();
    let manifest = Manifest { args: vec!["p".into()], ..Manifest::for_module(&module) };
    let writer = TraceWriter::create(&path, &manifest, module, WriterOptions::default()).unwrap();
    let call = |len| Call {
        function: Function::RandomGet,
        args: [128, len, 0, 0, 0, 0, 0, 0, 0],
        input: Input::None,
    };
    let outcome = Outcome { data: vec![1; 4], reply: Reply::Nothing, ..Outcome::default() };
    writer.append(Tick(1), &call(4), &outcome).unwrap();
    writer.append(Tick(1), &call(5), &outcome).unwrap();
    assert!(writer.finish(Ending::Exited { code: 7 }, Tick(1)).1.is_none());
    let output = finish(wrr(folder.path()).args(["replay", "other.wrr"]), b"");
    expect_code(&output, 1);
    let expected = "error: the replay diverges at event #1\n  \
        the trace says: random_get buf_len=5\n  \
        the guest did:  fd_read fd=0 len=8\n";
    assert_eq!(text(&output.stderr), expected);
}

#[test]
fn many_values_out_of_few_bytes_are_refused() {
    let folder = scratch();
    let whole = std::fs::read(small_trace(folder.path())).unwrap();
    let parts = chunks(&whole);
    // 2^26 stamps or index entries of zeros compress to a few KiB.
    let mut many = vec![0x80, 0x80, 0x80, 0x10];
    many.resize((1 << 26) - 1, 0);
    let many = zstd::bulk::compress(&many, 3).unwrap();
    for kind in [ChunkKind::TIMES, ChunkKind::INDEX] {
        let mut forged = Forged::new();
        for (k, header, payload) in &parts {
            if *k == kind {
                forged = forged.claim(kind, &many, Encoding::Zstd, (1 << 26) - 1);
            } else if !matches!(*k, ChunkKind::INDEX | ChunkKind::FOOTER) {
                forged = forged.claim(*k, payload, header.encoding, header.raw_bytes);
            }
        }
        expect_damage(forged.open(folder.path()), "make sense");
    }
    let args = zstd::bulk::compress(&vec![0; 9 << 20], 3).unwrap();
    let forged = Forged::new().claim(ChunkKind::MANIFEST, &args, Encoding::Zstd, 9 << 20);
    expect_damage(forged.open(folder.path()), "the most is 8388608");
}

#[test]
fn chunks_stand_in_their_order() {
    let folder = scratch();
    let whole = std::fs::read(small_trace(folder.path())).unwrap();
    let parts: Vec<_> = chunks(&whole)
        .into_iter()
        .filter(|c| !matches!(c.0, ChunkKind::INDEX | ChunkKind::FOOTER))
        .collect();
    let forge = |order: &[usize]| {
        order.iter().fold(Forged::new(), |forged, &i| {
            let (kind, header, payload) = &parts[i];
            forged.claim(*kind, payload, header.encoding, header.raw_bytes)
        })
    };
    let place = |kind| parts.iter().position(|c| c.0 == kind).unwrap();
    let natural: Vec<usize> = (0..parts.len()).collect();
    assert!(forge(&natural).open(folder.path()).is_ok());
    for kind in [ChunkKind::MANIFEST, ChunkKind::MODULE, ChunkKind::EVENTS, ChunkKind::ENDING] {
        let twice: Vec<usize> = natural.iter().copied().chain([place(kind)]).collect();
        expect_damage(forge(&twice).open(folder.path()), "after chunk ENDG");
    }
    let swapped = [place(ChunkKind::MANIFEST), place(ChunkKind::EVENTS), place(ChunkKind::MODULE)];
    expect_damage(forge(&swapped).open(folder.path()), "chunk MODL after chunk EVNT");
}

#[test]
fn an_index_that_lies_about_its_batches_is_found() {
    let folder = scratch();
    let whole = std::fs::read(small_trace(folder.path())).unwrap();
    let parts = chunks(&whole);
    // The last two numbers of an index entry, `EVNT offset first count`, are 0 and 3.
    let index = parts.iter().find(|c| c.0 == ChunkKind::INDEX).unwrap();
    let at = index.2.windows(4).position(|w| w == b"EVNT").unwrap();
    let count_at = at + 4 + index.2[at + 4..].iter().position(|b| b & 0x80 == 0).unwrap() + 2;
    assert_eq!((index.2[count_at - 1], index.2[count_at]), (0, 3));
    for count in [0, 2, 4] {
        let mut forged = Forged::new();
        for (kind, header, payload) in &parts {
            let mut payload = payload.clone();
            if *kind == ChunkKind::INDEX {
                assert_eq!(header.encoding, Encoding::Stored);
                payload[count_at] = count;
            }
            forged = forged.claim(*kind, &payload, header.encoding, header.raw_bytes);
        }
        expect_damage(forged.open(folder.path()), "index");
    }
}
