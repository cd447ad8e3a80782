//! Recordings that are followed, and given checkpoints, while they are made.

use super::*;
use std::sync::mpsc;
use std::time::{Duration, Instant};
use wrr_trace::Tail;

#[test]
fn a_follower_gets_every_event_while_the_recording_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.wrr");
    let writer = start(&path, false);
    let mut follow = writer.follow().unwrap();
    let (taken, seen) = mpsc::channel();
    let follower = std::thread::spawn(move || {
        let mut next = 0;
        while let Some(event) = follow.next_event().unwrap() {
            assert_eq!(event.index.0, next);
            assert_eq!(event.tick.0, 10 * next + 10);
            next += 1;
            taken.send(next).unwrap();
        }
        assert!(follow.is_over() && follow.events_waiting() == 0);
        (next, follow.ending())
    });
    // One by one: without a flush an event is in the file 25 ms after it was appended.
    for i in 0..3 {
        append(&writer, i);
        assert_eq!(seen.recv_timeout(Duration::from_secs(5)), Ok(i + 1));
    }
    for i in 3..5000 {
        append(&writer, i);
    }
    assert!(writer.finish(Ending::Exited { code: 9 }, Tick(60_000)).1.is_none());
    let (events, ending) = follower.join().unwrap();
    assert_eq!(events, 5000);
    assert_eq!(ending, Some((Ending::Exited { code: 9 }, Tick(60_000))));
}

#[test]
fn a_follower_puts_checkpoints_into_the_recording_that_it_follows() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.wrr");
    let writer = start(&path, false);
    let (mut follow, sink) = (writer.follow().unwrap(), writer.checkpoint_sink());
    let follower = std::thread::spawn(move || {
        for event in follow.by_ref().take(900) {
            let event = event.unwrap();
            if event.index.0 % 100 == 0 {
                let stored = sink.page_count();
                let fresh = pages(stored + 1..stored + 41);
                sink.put(fresh, checkpoint(event.index.0 + 1, stored + 40)).unwrap();
            }
        }
    });
    for i in 0..1000 {
        append(&writer, i);
        if i % 50 == 0 {
            writer.flush().unwrap();
        }
    }
    follower.join().unwrap();
    assert!(writer.finish(Ending::Exited { code: 0 }, Tick(20_000)).1.is_none());
    let reader = TraceReader::open(&path).unwrap();
    reader.check_all().unwrap();
    assert_eq!(reader.tail(), &Tail::Complete);
    assert_eq!((reader.checkpoints().len(), reader.page_count()), (9, 360));
    assert_eq!(reader.checkpoint(4).unwrap(), checkpoint(401, 200));
    assert!(read(&reader, &[1, 199, 360]).unwrap() == [page(1), page(199), page(360)].concat());
}

#[test]
fn a_follower_that_waits_can_be_cancelled() {
    let folder = tempfile::tempdir().unwrap();
    let writer = start(&folder.path().join("t.wrr"), false);
    append(&writer, 0);
    let mut follow = writer.follow().unwrap();
    let cancel = follow.cancel_handle();
    assert!(follow.next_event().unwrap().is_some());
    let follower = std::thread::spawn(move || (follow.next_event().unwrap(), follow));
    std::thread::sleep(Duration::from_millis(20));
    cancel.cancel();
    let (event, follow) = follower.join().unwrap();
    assert_eq!(event, None);
    assert!(follow.is_cancelled() && !follow.is_over() && follow.ending().is_none());
}

#[test]
fn a_follower_ends_with_a_recording_that_is_dropped_or_interrupted() {
    let folder = tempfile::tempdir().unwrap();
    for interrupted in [false, true] {
        let path = folder.path().join("t.wrr");
        let writer = start(&path, false);
        append(&writer, 0);
        let follow = writer.follow().unwrap();
        let follower = std::thread::spawn(move || {
            let mut follow = follow;
            (follow.by_ref().map(Result::unwrap).count(), follow.ending())
        });
        if interrupted {
            assert!(writer.interrupter().interrupt());
        }
        drop(writer);
        let (events, ending) = follower.join().unwrap();
        assert_eq!(events, 1);
        // The tick of an interruption is the last event's.
        let expected = interrupted.then_some((Ending::Interrupted, Tick(10)));
        assert_eq!(ending, expected);
        let reader = TraceReader::open(&path).unwrap();
        assert_eq!(reader.end_tick(), interrupted.then_some(Tick(10)));
    }
}

#[test]
fn a_trace_that_cannot_be_read_back_cannot_be_followed() {
    if cfg!(unix) {
        let writer = start(Path::new("/dev/null"), false);
        assert!(matches!(writer.follow(), Err(TraceError::NotFollowable { .. })));
        // Checkpoints go the same way as everything else.
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
    assert_eq!(writer.follow().unwrap().next_event().unwrap().unwrap().index.0, 0);
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
        "MNFT MODL EVNT ckpt page ckpt page ckpt page ckpt page ckpt page ckpt ENDG INDX FOOT";
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
