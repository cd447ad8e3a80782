//! Checkpoints and pages that no recorder wrote.

use super::*;
use wrr_trace::chunk::Encoding;
use wrr_trace::{EXCEPTION_DEPTH_MAX, TableState};

/// A trace in which the first checkpoint has this payload; the others follow it.
fn with_payload(folder: &Path, payload: Vec<u8>) -> TraceReader {
    let mut parts = parts(folder);
    let first = parts.iter_mut().find(|(kind, _)| *kind == ChunkKind::CHECKPOINT).unwrap();
    first.1 = payload;
    let path = folder.join("forged.wrr");
    forge(&path, &parts);
    TraceReader::open(&path).unwrap()
}

/// The front of a checkpoint before event 1: tick, event, no name, main, at a tick.
const FRONT: [u8; 5] = [0, 1, 0, 2, 0];
const HUGE: [u8; 5] = [0xff, 0xff, 0xff, 0xff, 0x0f];

fn expect_bad_checkpoint(folder: &Path, payload: &[u8], part: &str) {
    let reader = with_payload(folder, payload.to_vec());
    let bad = reader.checkpoints().iter().position(|entry| entry.event.0 == 1);
    if let Some(i) = bad {
        expect_damage(reader.checkpoint(i), part);
    }
    expect_damage(reader.check_all(), part);
    // The rest is as good as it was.
    let good = reader.checkpoints().iter().position(|entry| entry.event.0 == 12).unwrap();
    assert_eq!(reader.checkpoint(good).unwrap(), {
        let mut expected = checkpoint(12, 40);
        expected.name = Some("before the bug".to_owned());
        expected
    });
    assert_eq!(reader.events().unwrap().filter(|e| e.is_ok()).count(), 20);
    assert_eq!(read(&reader, &[1]).unwrap(), page(1));
}

#[test]
fn hostile_counts_are_refused_before_memory_is_reserved() {
    let folder = tempfile::tempdir().unwrap();
    let front = |rest: &[u8]| [&FRONT[..], rest].concat();
    let lists = ["frames", "values", "memories", "tables", "data segments", "element segments"];
    for (i, list) in lists.into_iter().enumerate() {
        let empty = vec![0; i];
        let payload = front(&[&empty[..], &HUGE].concat());
        expect_bad_checkpoint(folder.path(), &payload, &format!("4294967295 {list} claimed"));
    }
    let runs = front(&[&[0, 0, 1, 0][..], &HUGE].concat());
    expect_bad_checkpoint(folder.path(), &runs, "4294967295 page runs claimed");
    let elements = front(&[&[0, 0, 0, 1][..], &HUGE].concat());
    expect_bad_checkpoint(folder.path(), &elements, "4294967295 table elements claimed");
    let name = [&[0, 1, 1][..], &HUGE].concat();
    expect_bad_checkpoint(folder.path(), &name, "");
    let long = [&[0, 1, 1, 0xac, 2][..], &[b'a'; 400]].concat();
    expect_bad_checkpoint(folder.path(), &long, "a name of 300 bytes");
    expect_bad_checkpoint(folder.path(), b"", "");
}

#[test]
fn many_values_out_of_few_bytes_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    // 2^25 null references compress to a few KiB and would take a GiB.
    let mut payload = [&FRONT[..], &[0, 0x80, 0x80, 0x80, 0x10]].concat();
    payload.resize(payload.len() + (1 << 25), 5);
    expect_bad_checkpoint(folder.path(), &payload, "more than 16777216 values");
}

#[test]
fn kinds_and_numbers_that_do_not_exist_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let expect = |payload: &[u8], part| expect_bad_checkpoint(folder.path(), payload, part);
    expect(&[0, 1, 2, 2, 0], "");
    expect(&[0, 1, 0, 3, 0], "phase 3 does not exist");
    expect(&[0, 1, 0, 2, 2], "pause 2 does not exist");
    expect(&[0, 1, 0, 2, 1, 46, 0], "function number 46 does not exist");
    expect(&[&FRONT[..], &[0, 1, 8]].concat(), "a value of kind 8 does not exist");
    // `sched_yield` has no parameters, `fd_close` has one of 32 bits.
    let host = postcard::to_stdvec(&HostState::default()).unwrap();
    let call = |call: &[u8]| [&[0, 1, 0, 2, 1][..], call, &[0; 6], &host].concat();
    expect(&call(&[40, 1, 0]), "SchedYield has 0 parameters, not 1");
    expect(&call(&[8, 1, 0x80, 0x80, 0x80, 0x80, 0x10]), "too large for an i32");
    expect(&[&call(&[40, 0])[..], &[0]].concat(), "1 bytes too many");
}

#[test]
fn exceptions_may_not_nest_too_deep() {
    let folder = tempfile::tempdir().unwrap();
    for (depth, extra) in [(EXCEPTION_DEPTH_MAX, 0), (EXCEPTION_DEPTH_MAX, 1), (100_000, 0)] {
        let mut payload = [&FRONT[..], &[0, 1]].concat();
        for _ in 0..depth + extra {
            payload.extend([7, 0, 1]);
        }
        payload.push(5);
        payload.extend([0; 4]);
        payload.extend(postcard::to_stdvec(&HostState::default()).unwrap());
        let refused = depth + extra > EXCEPTION_DEPTH_MAX;
        if refused {
            expect_bad_checkpoint(folder.path(), &payload, "nest more than 64 deep");
        } else {
            with_payload(folder.path(), payload).check_all().unwrap();
        }
    }
}

#[test]
fn a_writer_stores_nothing_that_a_reader_refuses() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.wrr");
    let writer = start(&path, false);
    let sink = writer.checkpoint_sink();
    let run = |page, id, count| PageRun { page, id: PageId(id), count };
    let runs = |runs: Vec<PageRun>| {
        let mut bad = checkpoint(0, 0);
        bad.memories[0].runs = runs;
        bad
    };
    let mut deep = Datum::Null;
    for _ in 0..=EXCEPTION_DEPTH_MAX {
        deep = Datum::Exn { tag: 0, fields: vec![deep] };
    }
    let change = |change: &dyn Fn(&mut Checkpoint)| {
        let mut bad = checkpoint(0, 2);
        change(&mut bad);
        bad
    };
    let bad = [
        (runs(vec![run(0, 0, 1)]), "it names page 0"),
        (runs(vec![run(0, 1, 3)]), "it names page 3, stored are 1 to 2"),
        (runs(vec![run(0, 3, 1)]), "it names page 3, stored are 1 to 2"),
        (runs(vec![run(0, u32::MAX, u32::MAX)]), "a run ends with page"),
        (runs(vec![run(1023, 1, 2)]), "a run ends with page 1025, but there are 1024"),
        (runs(vec![run(u32::MAX, 1, 2)]), "a run ends with page 4294967297"),
        (runs(vec![run(4, 1, 1), run(4, 2, 1)]), "not ascending at page 4"),
        (runs(vec![run(4, 1, 1), run(3, 2, 1)]), "not ascending at page 3"),
        (runs(vec![run(4, 1, 0)]), "not ascending at page 4"),
        (change(&|c| c.memories[0].bytes += 4096), "no size of a memory"),
        (change(&|c| c.memories[0].bytes = 1 << 49), "no size of a memory"),
        (change(&|c| c.name = Some("a".repeat(257))), "a name of 257 bytes"),
        (change(&|c| c.dropped_data = vec![2, 2]), "not ascending"),
        (change(&|c| c.dropped_elements = vec![2, 1]), "not ascending"),
        (change(&|c| c.event.0 = 1), "after 0 events"),
        (change(&|c| c.globals.push(deep.clone())), "nest more than"),
        (
            change(&|c| c.tables.push(TableState { elements: vec![(Datum::Null, 0)] })),
            "repeats an element 0 times",
        ),
        (
            change(&|c| {
                let elements = vec![(Datum::Null, u32::MAX), (Datum::Func(1), 1)];
                c.tables.push(TableState { elements });
            }),
            "table 0 repeats",
        ),
    ];
    for (checkpoint, part) in bad {
        match sink.put(pages(1..3), checkpoint) {
            Err(TraceError::BadCheckpoint { what, .. }) => assert!(what.contains(part), "{what}"),
            other => panic!("{other:?}, expected: {part}"),
        }
    }
    let odd = sink.put(vec![1; PAGE_BYTES + 1], checkpoint(0, 0)).unwrap_err().to_string();
    assert!(odd.contains("4097 bytes are not whole pages"), "{odd}");
    assert_eq!(sink.page_count(), 0);
    sink.put(pages(1..3), checkpoint(0, 2)).unwrap();
    assert!(writer.finish(Ending::Exited { code: 0 }, Tick(0)).1.is_none());
    assert!(matches!(
        sink.put(Vec::new(), checkpoint(0, 0)),
        Err(TraceError::RecordingEnded { .. })
    ));
    let reader = TraceReader::open(&path).unwrap();
    reader.check_all().unwrap();
    assert_eq!((reader.checkpoints().len(), reader.page_count()), (1, 2));
}

#[test]
fn pages_behind_a_checkpoint_do_not_count_for_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut parts = parts(folder.path());
    let place = |parts: &[(ChunkKind, Vec<u8>)], kind| parts.iter().position(|p| p.0 == kind);
    let first_page = place(&parts, ChunkKind::PAGES).unwrap();
    let pages = parts.remove(first_page);
    parts.insert(place(&parts, ChunkKind::CHECKPOINT).unwrap() + 1, pages);
    let path = folder.path().join("forged.wrr");
    forge(&path, &parts);
    let reader = TraceReader::open(&path).unwrap();
    expect_damage(reader.checkpoint(0), "it names page 20, stored are 1 to 4");
    assert!(reader.checkpoint(2).is_ok());
    expect_damage(reader.check_all(), "it names page 20");
}

#[test]
fn a_checkpoint_before_its_events_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let mut parts = parts(folder.path());
    let at = parts.iter().position(|p| p.0 == ChunkKind::CHECKPOINT).unwrap();
    let checkpoint = parts.remove(at);
    let first_events = parts.iter().position(|p| p.0 == ChunkKind::EVENTS).unwrap();
    let pages: Vec<_> = (0..2)
        .map(|_| parts.remove(parts.iter().position(|p| p.0 == ChunkKind::PAGES).unwrap()))
        .collect();
    let place = first_events.min(3);
    parts.splice(place..place, pages.into_iter().chain([checkpoint]));
    let path = folder.path().join("forged.wrr");
    forge(&path, &parts);
    let reader = TraceReader::open(&path).unwrap();
    expect_damage(reader.check_all(), "it stands at event #5, behind 0 events");
}

#[test]
fn pages_that_are_not_whole_are_refused_with_their_header() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("forged.wrr");
    let parts = parts(folder.path());
    let at = parts.iter().position(|p| p.0 == ChunkKind::PAGES).unwrap();
    let sizes = [
        (0, "not whole pages"),
        (4095, "not whole pages"),
        (4097, "not whole pages"),
        (17 * 4096, "the most is 65536"),
    ];
    for (bytes, part) in sizes {
        let mut forged = parts.clone();
        forged[at].1.resize(bytes, 1);
        forge(&path, &forged);
        expect_damage(TraceReader::open(&path), part);
    }
    // The largest checkpoint is bounded, too.
    let header = ChunkHeader {
        kind: ChunkKind::CHECKPOINT,
        encoding: Encoding::Zstd,
        stored_bytes: 10,
        raw_bytes: (64 << 20) + 1,
        payload_sum: 0,
    };
    assert!(ChunkHeader::from_bytes(&header.to_bytes()).is_err());
}

#[test]
fn a_damaged_page_is_an_error_of_those_who_need_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.wrr");
    recording(&path);
    let mut bytes = std::fs::read(&path).unwrap();
    let at = bytes.windows(4).position(|w| w == b"page").unwrap();
    bytes[at + CHUNK_HEADER_BYTES + 100] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let reader = TraceReader::open(&path).unwrap();
    expect_damage(read(&reader, &[40, 3]), "checksum of chunk page");
    expect_damage(reader.check_all(), "checksum of chunk page");
    assert_eq!(read(&reader, &[17, 40]).unwrap(), [page(17), page(40)].concat());
    assert!(reader.checkpoint(0).is_ok());
}

#[test]
fn an_index_that_lies_about_a_checkpoint_or_a_tick_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.wrr");
    recording(&path);
    let parts = chunks(&std::fs::read(&path).unwrap());
    let index = parts.iter().position(|p| p.0 == ChunkKind::INDEX).unwrap();
    // An entry is kind, offset, event, events, tick, name: here the offset has two or three bytes.
    for kind in [b"ckpt", b"ckpd", b"EVNT"] {
        let mut forged = parts.clone();
        let payload = &mut forged[index].1;
        let at = payload.windows(4).rposition(|w| w == kind).unwrap() + 4;
        let after = payload[at..].iter().position(|b| b & 0x80 == 0).unwrap();
        payload[at + after + 3] += 1;
        // The chunk must be as long as it was, as the footer names it.
        let forged_path = folder.path().join("forged.wrr");
        forge(&forged_path, &forged);
        let reader = TraceReader::open(&forged_path).unwrap();
        expect_damage(reader.check_all(), "the index does not fit");
        if kind == b"ckpt" {
            expect_damage(reader.checkpoint(1), "the index does not fit it");
        }
        if kind == b"ckpd" {
            expect_damage(reader.checkpoint(2), "the index does not fit it");
        }
    }
}

#[test]
fn an_ending_before_the_last_event_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let mut parts = parts(folder.path());
    let end = parts.iter_mut().find(|p| p.0 == ChunkKind::ENDING).unwrap();
    // Exited with code 3 at tick 777, as a varint.
    assert_eq!(end.1, [0, 3, 0x89, 6]);
    end.1 = vec![0, 3, 0xc7, 1];
    let path = folder.path().join("forged.wrr");
    forge(&path, &parts);
    let reader = TraceReader::open(&path).unwrap();
    expect_damage(reader.check_all(), "ends at tick 199, before its last event at tick 200");
}

#[test]
fn stamps_that_go_back_or_are_too_many_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("forged.wrr");
    let parts = parts(folder.path());
    let with = |stamps: &[&[u8]]| {
        let mut forged: Vec<_> =
            parts.iter().filter(|p| p.0 != ChunkKind::TIMES).cloned().collect();
        let place = forged.len() - 1;
        let stamps = stamps.iter().map(|s| (ChunkKind::TIMES, s.to_vec()));
        forged.splice(place..place, stamps);
        forge(&path, &forged);
        TraceReader::open(&path).unwrap().time_stamps()
    };
    assert_eq!(with(&[&[1, 5, 5, 5], &[1, 5, 5, 6]]).unwrap().len(), 2);
    expect_damage(with(&[&[1, 5, 5, 5], &[1, 5, 5, 4]]), "before those of the last chunk");
    expect_damage(with(&[&[5, 0, 0, 0]]), "5 entries, at most 4 make sense");
    let most = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1];
    let over = [&[2][..], &most, &[0, 0, 1, 0, 0]].concat();
    expect_damage(with(&[&over]), "passes the largest number");
}

#[test]
fn chunks_stand_in_their_order() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("forged.wrr");
    let whole_path = folder.path().join("t.wrr");
    recording(&whole_path);
    let whole = chunks(&std::fs::read(&whole_path).unwrap());
    let of = |kind| whole.iter().find(|p| p.0 == kind).unwrap().clone();
    let open = |order: &[ChunkKind]| {
        let chunks: Vec<_> = order.iter().map(|kind| of(*kind)).collect();
        forge(&path, &chunks);
        TraceReader::open(&path)
    };
    use ChunkKind as K;
    let start = [K::MANIFEST, K::HOST, K::MODULE];
    let ended = [K::MANIFEST, K::HOST, K::MODULE, K::EVENTS, K::PAGES, K::CHECKPOINT, K::ENDING];
    let with = |start: &[K], more: &[K]| open(&[start, more].concat());
    assert!(open(&ended).is_ok());
    assert!(with(&start, &[K::PAGES, K::CHECKPOINT, K::EVENTS, K::PAGES, K::TIMES]).is_ok());
    assert!(with(&ended, &[K::PAGES, K::PAGES, K::CHECKPOINT]).is_ok());
    expect_damage(with(&start, &[K::PAGES, K::MODULE]), "chunk MODL after chunk page");
    expect_damage(with(&start, &[K::CHECKPOINT, K::HOST]), "chunk host after chunk ckpt");
    expect_damage(with(&start, &[K::INDEX]), "chunk INDX after chunk MODL");
    expect_damage(with(&start, &[K::EVENTS, K::FOOTER]), "chunk FOOT after chunk EVNT");
    for kind in [K::MANIFEST, K::HOST, K::MODULE, K::EVENTS, K::TIMES, K::ENDING] {
        expect_damage(with(&ended, &[kind]), "after chunk ENDG");
        expect_damage(with(&ended, &[K::PAGES, kind]), "after chunk page");
    }
    expect_damage(with(&ended, &[K::FOOTER]), "chunk FOOT after chunk ENDG");
    expect_damage(with(&ended, &[K::PAGES, K::FOOTER]), "chunk FOOT after chunk page");
    // Behind a whole trace, index and footer included, the same holds.
    let behind = |more: &[K]| {
        let mut chunks = whole.clone();
        chunks.extend(more.iter().map(|kind| of(*kind)));
        forge(&path, &chunks);
        TraceReader::open(&path)
    };
    assert!(behind(&[K::PAGES, K::CHECKPOINT]).is_ok());
    expect_damage(behind(&[K::FOOTER]), "chunk FOOT after chunk FOOT");
    expect_damage(behind(&[K::EVENTS]), "chunk EVNT after chunk FOOT");
    expect_damage(behind(&[K::PAGES, K::INDEX]), "does not name the chunks before it");
}

#[test]
fn changes_without_a_base_that_stands_before_them_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let host = postcard::to_stdvec(&HostState::for_world(1, 2, false)).unwrap();
    // One memory of 64 KiB in which page 3 is page 1 of the file; nothing else.
    let rest = [&[0, 0, 1, 0x80, 0x80, 4, 1, 3, 1, 1, 0, 0, 0][..], &host].concat();
    let after = |front: &[u8]| [front, &FRONT, &rest].concat();
    let changes = |base: u8| after(&[base, 0]);
    let with_changes = |payloads: &[Vec<u8>]| {
        let mut parts = parts(folder.path());
        let at = parts.iter().rposition(|(kind, _)| *kind == ChunkKind::CHECKPOINT).unwrap() + 1;
        for (i, payload) in payloads.iter().enumerate() {
            parts.insert(at + i, (ChunkKind::CHANGES, payload.clone()));
        }
        let path = folder.path().join("forged.wrr");
        forge(&path, &parts);
        TraceReader::open(&path).unwrap()
    };
    let whole = place_count(folder.path());
    let expect = |payloads: &[Vec<u8>], part: &str| {
        let reader = with_changes(payloads);
        expect_damage(reader.check_all(), part);
        for i in 0..reader.checkpoints().len() {
            let _ = reader.checkpoint(i);
        }
    };
    let good = with_changes(&[changes(whole - 1)]);
    good.check_all().unwrap();
    let found = good.checkpoints().iter().position(|entry| entry.event.0 == 1).unwrap();
    let memory = &good.checkpoint(found).unwrap().memories[0];
    assert!(memory.runs.contains(&PageRun { page: 3, id: PageId(1), count: 1 }), "{memory:?}");
    assert_eq!(memory.bytes, 1 << 16);

    expect(&[changes(whole)], "which is not before it");
    expect(&[changes(100)], "which is not before it");
    expect(&[vec![]], "the base of a checkpoint");
    expect(&[changes(whole - 1)[..9].to_vec()], "");
    expect(&[after(&[whole - 1, 2])], "2 where 0 or 1 says whether pages follow");
    expect(&[after(&[whole - 1, 1, 0xff, 0xff, 3])], "65535 ranges of pages claimed");
    let endless = [&[whole - 1, 1, 1, 0][..], &[0xff, 0xff, 0xff, 0xff, 0xf], &[1]].concat();
    expect(&[after(&endless)], "a range of pages from 4294967295 has no end");
    // A chain that is too long.
    let chain: Vec<Vec<u8>> = (0..65).map(|i| changes(whole - 1 + i)).collect();
    expect(&chain, "more than 64 checkpoints");
    with_changes(&chain[..64]).check_all().unwrap();
    // Another number of memories than its base has.
    let none = [&[whole - 1, 0][..], &FRONT, &[0, 0, 0, 0, 0, 0], &host].concat();
    expect(&[none], "it changes 0 memories");
}

/// How many whole checkpoints the trace of [`parts`] has.
fn place_count(folder: &Path) -> u8 {
    parts(folder).iter().filter(|(kind, _)| *kind == ChunkKind::CHECKPOINT).count() as u8
}
