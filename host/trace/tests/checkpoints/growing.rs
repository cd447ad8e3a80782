//! Recordings that are given checkpoints while they are made.

use super::*;
use std::ops::Range;
use std::time::{Duration, Instant};
use wrr_trace::{Rewritten, Tail, WrittenSince};

#[test]
fn checkpoints_are_put_while_events_are_recorded() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.wrr");
    let writer = start(&path, false);
    let sink = writer.checkpoint_sink();
    for i in 0..1000 {
        append(&writer, i);
        if i < 900 && i % 100 == 0 {
            let stored = sink.page_count();
            let fresh = pages(stored + 1..stored + 41);
            sink.put(fresh, checkpoint(i + 1, stored + 40)).unwrap();
        }
    }
    assert!(writer.finish(Ending::Exited { code: 0 }, Tick(20_000)).1.is_none());
    let reader = TraceReader::open(&path).unwrap();
    reader.check_all().unwrap();
    assert_eq!(reader.tail(), &Tail::Complete);
    assert_eq!((reader.checkpoints().len(), reader.page_count()), (9, 360));
    assert_eq!(reader.checkpoint(4).unwrap(), checkpoint(401, 200));
    assert!(read(&reader, &[1, 199, 360]).unwrap() == [page(1), page(199), page(360)].concat());
}

#[test]
fn pages_can_be_put_in_parts_before_the_checkpoint_that_names_them() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.wrr");
    let writer = start(&path, false);
    let sink = writer.checkpoint_sink();
    // More than the writer lets wait: the last ones only fit when the first ones are in the file.
    let all = 20_000;
    for first in (1..=all).step_by(4_000) {
        sink.put_pages(pages(first..first + 4_000)).unwrap();
    }
    sink.put(Vec::new(), checkpoint_of(&[(0, 1, all)])).unwrap();
    assert!(writer.finish(Ending::Exited { code: 0 }, Tick(20_000)).1.is_none());
    let reader = TraceReader::open(&path).unwrap();
    reader.check_all().unwrap();
    assert_eq!(reader.checkpoint(0).unwrap(), checkpoint_of(&[(0, 1, all)]));
    assert!(read(&reader, &[1, all]).unwrap() == [page(1), page(all)].concat());
}

#[test]
fn a_checkpoint_takes_as_much_room_as_what_changed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.wrr");
    let writer = start(&path, false);
    let sink = writer.checkpoint_sink();
    // Every other page of 32 MiB is there, so no two of them are one run.
    let mut runs: Vec<(u32, u32, u32)> = (0..4096).map(|i| (2 * i, i + 1, 1)).collect();
    sink.put(pages(1..4097), checkpoint_of(&runs)).unwrap();
    let mut written = vec![checkpoint_of(&runs)];
    for round in 0..200 {
        let id = 4097 + round;
        runs[(round as usize * 37) % 4096].1 = id;
        sink.put(page(id), checkpoint_of(&runs)).unwrap();
        written.push(checkpoint_of(&runs));
    }
    assert!(writer.finish(Ending::Exited { code: 0 }, Tick(20_000)).1.is_none());
    let reader = TraceReader::open(&path).unwrap();
    reader.check_all().unwrap();
    let kinds = reader.chunk_totals();
    let of = |kind| kinds.iter().find(|total| total.0 == kind).unwrap();
    // One is whole, then at most 64 are stored as changes.
    assert_eq!((of(ChunkKind::CHECKPOINT).1, of(ChunkKind::CHANGES).1), (4, 197));
    let changes = of(ChunkKind::CHANGES);
    assert!(changes.3 / changes.1 < 100, "{} bytes for each", changes.3 / changes.1);
    // In any order.
    for i in (0..written.len()).rev().chain(0..written.len()) {
        assert_eq!(reader.checkpoint(i).unwrap(), written[i], "{i}");
    }
}

#[test]
fn what_was_written_before_a_checkpoint_is_said_if_it_is_known_since_the_one_before() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.wrr");
    let writer = start(&path, false);
    let sink = writer.checkpoint_sink();
    let mut runs: Vec<(u32, u32, u32)> = (0..8).map(|i| (2 * i, i + 1, 1)).collect();
    let at = |tick| Checkpoint { tick: Tick(tick), ..checkpoint_of(&runs) };
    let since =
        |tick| Rewritten { since: (Tick(tick), EventIndex(0)), pages: vec![(0, 9..12), (3, 1..2)] };
    sink.put_with(pages(1..9), at(10), Some(since(0))).unwrap();
    sink.put_with(Vec::new(), at(20), Some(since(10))).unwrap();
    sink.put_with(Vec::new(), at(30), Some(since(10))).unwrap();
    sink.put_with(Vec::new(), at(40), None).unwrap();
    runs[2].1 = 9;
    let last = Checkpoint { tick: Tick(50), ..checkpoint_of(&runs) };
    sink.put_with(page(9), last, Some(since(40))).unwrap();
    assert!(writer.finish(Ending::Exited { code: 0 }, Tick(20_000)).1.is_none());
    let reader = TraceReader::open(&path).unwrap();
    reader.check_all().unwrap();
    let written = |i| reader.written_before_checkpoint(i).unwrap();
    let expected = |tick, more: &[Range<u32>]| {
        let Rewritten { since, mut pages } = since(tick);
        pages.extend(more.iter().map(|pages| (0, pages.clone())));
        Some(WrittenSince { since, pages })
    };
    let found: Vec<_> = (0..5).map(written).collect();
    // The first one is whole; the third one says nothing about the second.
    let page_4 = std::slice::from_ref(&(4..5));
    assert_eq!(found, [None, expected(10, &[]), None, None, expected(40, page_4)]);
}

#[test]
fn a_checkpoint_after_one_that_was_taken_back_does_not_need_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.wrr");
    let writer = start(&path, false);
    let sink = writer.checkpoint_sink();
    let runs = [(0, 1, 9), (20, 10, 9)];
    sink.put(pages(1..19), checkpoint_of(&runs)).unwrap();
    let mark = writer.mark().unwrap();
    sink.put(page(19), checkpoint_of(&[(0, 1, 9), (20, 19, 1), (21, 11, 8)])).unwrap();
    writer.rewind(&mark).unwrap();
    let after = checkpoint_of(&[(0, 1, 9), (20, 10, 8), (28, 19, 1)]);
    sink.put(page(77), after.clone()).unwrap();
    assert!(writer.finish(Ending::Exited { code: 0 }, Tick(20_000)).1.is_none());
    let reader = TraceReader::open(&path).unwrap();
    reader.check_all().unwrap();
    assert_eq!(reader.checkpoints().len(), 2);
    assert_eq!(reader.checkpoint(1).unwrap(), after);
    assert_eq!(read(&reader, &[19]).unwrap(), page(77));
}

#[test]
fn checkpoints_can_go_into_a_device() {
    if cfg!(unix) {
        let writer = start(Path::new("/dev/null"), false);
        writer.checkpoint_sink().put(pages(1..3), checkpoint(0, 2)).unwrap();
        assert!(writer.finish(Ending::Exited { code: 0 }, Tick(0)).1.is_none());
    }
}

#[test]
fn a_trace_that_is_written_can_be_read_by_all_and_written_by_nobody_else() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.wrr");
    let writer = start(&path, false);
    append(&writer, 0);
    writer.flush().unwrap();
    let reader = TraceReader::open(&path).unwrap();
    assert_eq!(reader.events().unwrap().count(), 1);
    let second = wrr_trace::TraceAppender::open(&path).err();
    assert!(matches!(second, Some(TraceError::BeingWritten { .. })), "{second:?}");
    assert!(writer.finish(Ending::Exited { code: 0 }, Tick(1)).1.is_none());
    assert!(wrr_trace::TraceAppender::open(&path).is_ok());
}

/// Records 3000 events, with flushes and checkpoints at different moments of the recorder.
fn canonical(path: &Path, flush_every: u64, put_late: bool, wasteful: bool) -> Vec<u8> {
    let writer = start(path, true);
    let sink = writer.checkpoint_sink();
    // Checkpoints of events 500, 1000, 1500, ... share pages; every other one has a new page.
    let mut ids: Vec<u32> = Vec::new();
    let mut put = |event: u64| {
        let mut added = checkpoint(event, 0);
        let mut fresh = Vec::new();
        let mut runs = Vec::new();
        for number in 0..(event / 500) as u32 * 7 {
            let known = ids.get(number as usize).copied().filter(|_| !wasteful || number % 5 == 0);
            let id = known.unwrap_or_else(|| {
                fresh.extend(page(number));
                sink.page_count() + (fresh.len() / PAGE_BYTES) as u32
            });
            if (number as usize) < ids.len() {
                ids[number as usize] = id;
            } else {
                ids.push(id);
            }
            runs.push(PageRun { page: number * 2 % 300 + number / 150, id: PageId(id), count: 1 });
        }
        if wasteful {
            // A zero page, and one that nobody names.
            let id = sink.page_count() + (fresh.len() / PAGE_BYTES) as u32 + 1;
            fresh.extend([0; 2 * PAGE_BYTES]);
            runs.push(PageRun { page: 1000, id: PageId(id), count: 1 });
        }
        runs.sort_by_key(|run| run.page);
        added.memories[0].runs = runs;
        sink.put(fresh, added).unwrap();
    };
    for i in 0..3000 {
        if i % 500 == 0 && !put_late {
            put(i);
        }
        append(&writer, i);
        writer.stamp(Tick(10 * i + 11));
        if i % flush_every == 1 {
            writer.flush().unwrap();
        }
    }
    if put_late {
        (0..6).for_each(|i| put(i * 500));
    }
    assert!(writer.finish(Ending::Exited { code: 0 }, Tick(40_000)).1.is_none());
    std::fs::read(path).unwrap()
}

#[test]
fn a_canonical_trace_does_not_depend_on_when_its_checkpoints_were_put() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.wrr");
    let first = canonical(&path, 1 << 40, false, false);
    let reader = TraceReader::open(&path).unwrap();
    reader.check_all().unwrap();
    assert_eq!((reader.checkpoints().len(), reader.page_count()), (6, 35));
    let last = reader.checkpoint(5).unwrap();
    for run in &last.memories[0].runs {
        for i in 0..run.count {
            let number = (run.page + i) / 2;
            assert!(read(&reader, &[run.id.0 + i]).unwrap() == page(number), "{run:?}");
        }
    }
    // Windows may refuse to replace a file that somebody reads.
    drop(reader);
    // In the order in which they are named, with long runs; behind the events, pages just before.
    let kinds: Vec<_> = chunks(&first).into_iter().map(|c| c.0.to_string()).collect();
    let expected =
        "MNFT MODL EVNT ckpt page ckpt page ckpd page ckpd page ckpd page ckpd ENDG INDX FOOT";
    assert_eq!(kinds.join(" "), expected);
    for (i, (flush_every, put_late, wasteful)) in
        [(7, false, false), (1 << 40, true, false), (500, true, true), (9, false, true)]
            .into_iter()
            .enumerate()
    {
        assert!(canonical(&path, flush_every, put_late, wasteful) == first, "{i}");
    }
}

#[test]
fn restoring_16_mib_of_pages_is_quick() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.wrr");
    let writer = start(&path, false);
    let mut large = checkpoint(0, 4096);
    large.memories[0].bytes = 32 << 20;
    // A memory as programs have it compresses to a third or so.
    let contents: Vec<u8> = (1..4097).flat_map(|number| page_of(number, 1400)).collect();
    writer.checkpoint_sink().put(contents.clone(), large).unwrap();
    assert!(writer.finish(Ending::Exited { code: 0 }, Tick(0)).1.is_none());
    let reader = TraceReader::open(&path).unwrap();
    let ids: Vec<u32> = (1..4097).collect();
    let mut best = Duration::MAX;
    let mut out = vec![0xaa; ids.len() * PAGE_BYTES];
    for _ in 0..5 {
        let wanted = ids.iter().map(|id| PageId(*id)).zip(out.chunks_exact_mut(PAGE_BYTES));
        let wanted: Vec<_> = wanted.collect();
        let before = Instant::now();
        reader.read_pages(wanted).unwrap();
        best = best.min(before.elapsed());
    }
    assert!(out == contents);
    println!("16 MiB in {best:?}");
    // 8 ms here; a debug build on a busy machine must pass, too.
    assert!(best < Duration::from_millis(500), "{best:?}");
}
