//! What a fuzzer found, as a part of a trace.

use std::path::Path;
use wrr_trace::{
    Ending, Failure, FailureFrame, FailureKind, Finding, Given, Manifest, Tick, TraceReader,
    TraceWriter, TrapKind, WriterOptions,
};

fn finding(kind: FailureKind, given: Given) -> Finding {
    let frame = |function, name: Option<&str>, offset| FailureFrame {
        function,
        name: name.map(str::to_owned),
        offset,
    };
    Finding {
        failure: Failure {
            kind,
            message: "out of bounds".to_owned(),
            tick: Tick(u64::MAX >> 1),
            frames: vec![frame(7, Some("parse"), Some(0x1234)), frame(u32::MAX, None, None)],
        },
        input: (0..=255).collect(),
        given,
        crash_exits: vec![0, 3, u32::MAX],
        timeout_ticks: 20_000_000,
    }
}

fn write(path: &Path, options: WriterOptions, finding: Option<Finding>) {
    let module: std::sync::Arc<[u8]> = b"\0asm\x01\0\0\0"[..].into();
    let manifest = Manifest { deterministic: options.canonical, ..Manifest::for_module(&module) };
    let writer = TraceWriter::create_with(path, &manifest, module, options, finding).unwrap();
    let (_, error) = writer.finish(Ending::Interrupted, Tick(5));
    assert!(error.is_none());
}

#[test]
fn it_is_read_as_it_was_written_also_from_a_canonical_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.wrr");
    for canonical in [false, true] {
        for kind in [
            FailureKind::Trap(TrapKind::BadConversion),
            FailureKind::Exit(3),
            FailureKind::Timeout,
            FailureKind::Memory,
        ] {
            for given in [Given::Stdin, Given::File("/fuzz/input".to_owned()), Given::Function] {
                let expected = finding(kind, given);
                let options = WriterOptions { canonical, ..WriterOptions::default() };
                let _ = std::fs::remove_file(&path);
                write(&path, options, Some(expected.clone()));
                let reader = TraceReader::open(&path).unwrap();
                reader.check_all().unwrap();
                assert_eq!(reader.finding(), Some(&expected));
                assert_eq!(reader.version(), 1, "readers that do not know it pass over it");
            }
        }
    }
    let plain = folder.path().join("plain.wrr");
    write(&plain, WriterOptions::default(), None);
    assert_eq!(TraceReader::open(&plain).unwrap().finding(), None);
}

#[test]
fn no_byte_of_it_can_be_changed_unseen() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.wrr");
    let options = WriterOptions { canonical: true, ..WriterOptions::default() };
    let expected = finding(FailureKind::Timeout, Given::Stdin);
    write(&path, options, Some(expected));
    let whole = std::fs::read(&path).unwrap();
    for at in 0..whole.len() {
        let mut damaged = whole.clone();
        damaged[at] ^= 1;
        std::fs::write(&path, &damaged).unwrap();
        let seen = TraceReader::open(&path).and_then(|reader| reader.check_all());
        assert!(seen.is_err(), "byte {at}");
    }
}
