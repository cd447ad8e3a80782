//! Checkpoints that are added to a trace afterwards.

use super::*;
use wrr_trace::{Tail, TraceAppender};

/// Adds a checkpoint with 20 pages; gives its events.
fn add(path: &Path, event: u64) -> u32 {
    let mut appender = TraceAppender::open(path).unwrap();
    let stored = appender.page_count();
    appender.put(&pages(stored + 1..stored + 21), &checkpoint(event, stored + 20)).unwrap();
    let saved = appender.finish().unwrap();
    assert_eq!(saved.file_bytes, std::fs::metadata(path).unwrap().len());
    stored + 20
}

#[test]
fn checkpoints_are_added_behind_what_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.wrr");
    recording(&path);
    let before = std::fs::read(&path).unwrap();
    assert_eq!(add(&path, 3), 60);
    assert_eq!(add(&path, 20), 80);
    let after = std::fs::read(&path).unwrap();
    assert!(after.starts_with(&before), "nothing of the old file has changed");
    let reader = TraceReader::open(&path).unwrap();
    reader.check_all().unwrap();
    assert_eq!(reader.tail(), &Tail::Complete);
    let events: Vec<u64> = reader.checkpoints().iter().map(|c| c.event.0).collect();
    assert_eq!(events, [3, 5, 12, 19, 20]);
    assert_eq!(reader.checkpoint(0).unwrap(), checkpoint(3, 60));
    assert_eq!(reader.checkpoint(4).unwrap(), checkpoint(20, 80));
    assert!(read(&reader, &[1, 45, 80]).unwrap() == [page(1), page(45), page(80)].concat());
}

#[test]
fn without_anything_to_add_a_complete_trace_stays_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.wrr");
    recording(&path);
    let before = std::fs::read(&path).unwrap();
    TraceAppender::open(&path).unwrap().finish().unwrap();
    assert!(std::fs::read(&path).unwrap() == before);
}

#[test]
fn an_interruption_at_any_byte_leaves_a_valid_trace_that_can_be_added_to() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.wrr");
    recording(&path);
    let before = std::fs::metadata(&path).unwrap().len() as usize;
    add(&path, 3);
    let whole = std::fs::read(&path).unwrap();
    let cut = folder.path().join("cut.wrr");
    for len in before..=whole.len() {
        std::fs::write(&cut, &whole[..len]).unwrap();
        let reader = TraceReader::open(&cut).unwrap();
        reader.check_all().unwrap();
        assert_eq!(reader.ending(), Some(&Ending::Exited { code: 3 }));
        assert_eq!(reader.events().unwrap().count(), 20);
        let complete = len == before || len == whole.len();
        assert_eq!(reader.tail() == &Tail::Complete, complete, "{len}");
        let found = reader.checkpoints().len();
        assert!(found == 3 || (found == 4 && reader.checkpoint(0).unwrap() == checkpoint(3, 60)));
        // Each adds checkpoints, so not at every byte.
        if len % 37 == 0 || len + 60 > whole.len() {
            let stored = add(&cut, 7);
            let reader = TraceReader::open(&cut).unwrap();
            reader.check_all().unwrap();
            assert_eq!(reader.tail(), &Tail::Complete);
            assert_eq!(reader.checkpoints().len(), found + 1);
            let i = reader.checkpoints().iter().position(|c| c.event.0 == 7).unwrap();
            assert_eq!(reader.checkpoint(i).unwrap(), checkpoint(7, stored));
            assert!(read(&reader, &[stored]).unwrap() == page(stored));
        }
    }
}

#[test]
fn a_recording_cut_off_at_any_byte_can_be_added_to() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.wrr");
    recording(&path);
    let whole = std::fs::read(&path).unwrap();
    let cut = folder.path().join("cut.wrr");
    let mut added = 0;
    for len in (0..whole.len()).step_by(13) {
        std::fs::write(&cut, &whole[..len]).unwrap();
        let mut appender = match TraceAppender::open(&cut) {
            Ok(appender) => appender,
            Err(TraceError::NotATrace { .. } | TraceError::NothingRecorded { .. }) => continue,
            Err(other) => panic!("{len}: {other}"),
        };
        let old = TraceReader::open(&cut).unwrap();
        let events = old.events().unwrap().count();
        let stored = appender.page_count();
        appender.put(&page(stored + 1), &checkpoint(events as u64, stored + 1)).unwrap();
        let past = appender.put(&[], &checkpoint(events as u64 + 1, stored)).unwrap_err();
        assert!(matches!(past, TraceError::BadCheckpoint { .. }), "{past}");
        appender.finish().unwrap();
        let reader = TraceReader::open(&cut).unwrap();
        reader.check_all().unwrap();
        assert_eq!(reader.ending(), old.ending());
        assert_eq!(reader.tail() == &Tail::Complete, reader.ending().is_some());
        assert_eq!(reader.events().unwrap().count(), events);
        assert_eq!(reader.checkpoints().len(), old.checkpoints().len() + 1);
        added += 1;
    }
    assert!(added > 50, "{added}");
}

#[test]
fn what_cannot_be_added_to_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.wrr");
    let open = |path: &Path| TraceAppender::open(path).map(drop).unwrap_err();
    assert!(matches!(open(&path), TraceError::Io { .. }));
    assert!(matches!(open(folder.path()), TraceError::NotATrace { .. }));
    std::fs::write(&path, b"something else").unwrap();
    assert!(matches!(open(&path), TraceError::NotATrace { .. }));
    assert_eq!(std::fs::read(&path).unwrap(), b"something else");
    std::fs::remove_file(&path).unwrap();
    let writer = start(&path, false);
    assert!(matches!(open(&path), TraceError::BeingWritten { .. }));
    append(&writer, 0);
    assert!(writer.finish(Ending::Exited { code: 0 }, Tick(10)).1.is_none());
    let appender = TraceAppender::open(&path).unwrap();
    assert!(matches!(open(&path), TraceError::BeingWritten { .. }));
    drop(appender);
    let mut bytes = std::fs::read(&path).unwrap();
    let at = bytes.windows(4).position(|w| w == b"ENDG").unwrap();
    bytes[at + 20] ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    assert!(matches!(open(&path), TraceError::Damaged { .. }));
    assert!(std::fs::read(&path).unwrap() == bytes);
}
