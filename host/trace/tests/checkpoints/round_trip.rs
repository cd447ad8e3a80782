//! What is written is what is read.

use super::*;
use proptest::prelude::*;
use wrr_trace::{TableState, Tail};

fn datum() -> impl Strategy<Value = Datum> {
    let leaf = prop_oneof![
        any::<i32>().prop_map(Datum::I32),
        any::<i64>().prop_map(Datum::I64),
        any::<u32>().prop_map(Datum::F32),
        any::<u64>().prop_map(Datum::F64),
        any::<[u8; 16]>().prop_map(Datum::V128),
        Just(Datum::Null),
        any::<u32>().prop_map(Datum::Func),
    ];
    leaf.prop_recursive(4, 20, 4, |inner| {
        (any::<u32>(), proptest::collection::vec(inner, 0..4))
            .prop_map(|(tag, fields)| Datum::Exn { tag, fields })
    })
}

fn data() -> impl Strategy<Value = Vec<Datum>> {
    proptest::collection::vec(datum(), 0..6)
}

fn pause() -> impl Strategy<Value = Pause> {
    let call = (0..Function::ALL.len(), any::<u32>()).prop_map(|(i, arg)| {
        let function = Function::ALL[i];
        let args =
            function.signature().params.iter().map(|param| {
                if param.kind.is_i64() { u64::from(arg) << 30 } else { u64::from(arg) }
            });
        Pause::Call { function, args: args.collect() }
    });
    prop_oneof![Just(Pause::Tick), call]
}

/// Memories of pages `1..=pages`.
fn memory(pages: u32) -> impl Strategy<Value = MemoryState> {
    proptest::collection::vec((0u32..5, 1..=pages, 1u32..4), 0..6).prop_map(move |runs| {
        let mut end = 0;
        let runs = runs.into_iter().map(|(gap, id, count)| {
            let count = count.min(pages - id + 1);
            let page = end + gap;
            end = page + count;
            PageRun { page, id: PageId(id), count }
        });
        MemoryState { runs: runs.collect(), bytes: 4 << 16 }
    })
}

prop_compose! {
    fn any_checkpoint()(
        (tick, name) in (any::<u64>(), proptest::option::of(".{0,20}")),
        phase in prop_oneof![Just(Phase::Start), Just(Phase::Initialize), Just(Phase::Main)],
        pause in pause(),
        frames in proptest::collection::vec((any::<u32>(), any::<u32>(), data()), 0..5),
        globals in data(),
        memories in proptest::collection::vec(memory(9), 0..3),
        tables in proptest::collection::vec(proptest::collection::vec((datum(), 1u32..1000), 0..4), 0..3),
        dropped in proptest::collection::btree_set(any::<u32>(), 0..5),
        (sockets, preopens, world) in (0u32..3, 0u32..3, any::<bool>()),
    ) -> Checkpoint {
        let frames = frames.into_iter().map(|(function, site, values)| FrameState { function, site, values });
        Checkpoint {
            tick: Tick(tick),
            event: EventIndex(0),
            name,
            phase,
            pause,
            frames: frames.collect(),
            globals,
            memories,
            tables: tables.into_iter().map(|elements| TableState { elements }).collect(),
            dropped_data: dropped.iter().copied().collect(),
            dropped_elements: dropped.iter().rev().take(1).copied().collect(),
            host: HostState::for_world(sockets, preopens, world),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn a_checkpoint_comes_back_as_it_was(written in any_checkpoint()) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.wrr");
        let control = matches!(&written.pause, Pause::Call { function, .. } if function.is_control());
        let writer = start_with(&path, WriterOptions { control, ..WriterOptions::default() });
        writer.checkpoint_sink().put(pages(1..10), written.clone()).unwrap();
        let (_, error) = writer.finish(Ending::Interrupted, written.tick);
        prop_assert!(error.is_none());
        let reader = TraceReader::open(&path).unwrap();
        reader.check_all().unwrap();
        prop_assert_eq!(reader.checkpoint(0).unwrap(), written);
    }

    #[test]
    fn arbitrary_bytes_in_a_checkpoint_never_panic_the_reader(
        written in any_checkpoint(), at in any::<prop::sample::Index>(), byte in any::<u8>(),
        noise in proptest::collection::vec(any::<u8>(), 0..100),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.wrr");
        let writer = start(&path, false);
        writer.checkpoint_sink().put(pages(1..10), written).unwrap();
        drop(writer);
        let mut parts = chunks(&std::fs::read(&path).unwrap());
        let last = parts.len() - 1;
        let at = at.index(parts[last].1.len());
        parts[last].1[at] = byte;
        parts.push((ChunkKind::CHECKPOINT, noise));
        forge(&path, &parts);
        let reader = TraceReader::open(&path).unwrap();
        for i in 0..reader.checkpoints().len() {
            let _ = reader.checkpoint(i);
        }
        prop_assert!(reader.check_all().is_err() || reader.checkpoints().len() == 2);
    }
}

#[test]
fn checkpoints_and_pages_are_found_with_and_without_an_index() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.wrr");
    let written = recording(&path);
    let no_index = folder.path().join("no-index.wrr");
    let mut parts = chunks(&std::fs::read(&path).unwrap());
    parts.truncate(parts.len() - 2);
    forge(&no_index, &parts);
    for path in [path, no_index] {
        let reader = TraceReader::open(&path).unwrap();
        reader.check_all().unwrap();
        assert_eq!(reader.ending(), Some(&Ending::Exited { code: 3 }));
        assert_eq!(reader.end_tick(), Some(Tick(777)));
        assert_eq!(reader.page_count(), 40);
        assert_eq!(reader.checkpoints().len(), 3);
        for (i, (entry, written)) in reader.checkpoints().iter().zip(&written).enumerate() {
            assert_eq!((entry.tick, entry.event), (written.tick, written.event));
            assert_eq!(entry.name, written.name);
            assert!(entry.stored_bytes > 40);
            assert_eq!(entry.page_bytes_stored > 1000, i < 2);
            assert_eq!(&reader.checkpoint(i).unwrap(), written);
        }
        let ids = [17, 0, 40, 1, 16, 17, 2];
        let expected: Vec<u8> = ids
            .iter()
            .flat_map(|id| if *id == 0 { vec![0; PAGE_BYTES] } else { page(*id) })
            .collect();
        assert!(read(&reader, &ids).unwrap() == expected);
        expect_damage(read(&reader, &[1, 41]), "page 41 is not in it");
        let kinds: Vec<_> = reader.chunk_totals().into_iter().map(|t| (t.0, t.1)).collect();
        // The last one has the pages of the one before.
        assert!(kinds.contains(&(ChunkKind::CHECKPOINT, 2)), "{kinds:?}");
        assert!(kinds.contains(&(ChunkKind::CHANGES, 1)), "{kinds:?}");
        assert!(kinds.contains(&(ChunkKind::PAGES, 4)), "{kinds:?}");
    }
}

#[test]
fn all_events_before_a_checkpoint_stand_before_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.wrr");
    recording(&path);
    // `check_all` holds it for each checkpoint; every cut in front of an ending has such a file, too.
    let bytes = std::fs::read(&path).unwrap();
    let cut = folder.path().join("cut.wrr");
    let mut opened = 0;
    for len in 0..bytes.len() {
        std::fs::write(&cut, &bytes[..len]).unwrap();
        match TraceReader::open(&cut) {
            Ok(reader) if reader.module().is_ok() => {
                reader.check_all().unwrap_or_else(|e| panic!("{len}: {e}"));
                assert!(matches!(reader.tail(), Tail::CutOff { .. }));
                for i in 0..reader.checkpoints().len() {
                    let found = reader.checkpoint(i).unwrap();
                    let last = found.memories[0].runs.last().unwrap();
                    assert!(last.id.0 + last.count - 1 <= reader.page_count());
                    let ahead = reader.events_from(found.event).unwrap().next();
                    assert!(ahead.is_none_or(|e| e.unwrap().index == found.event));
                    opened += 1;
                }
            }
            Ok(_) => {}
            Err(TraceError::NotATrace { .. } | TraceError::NothingRecorded { .. }) => {}
            Err(other) => panic!("{len}: {other}"),
        }
    }
    assert!(opened > 100, "{opened}");
}

#[test]
fn ticks_lead_to_events() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.wrr");
    let writer = start(&path, false);
    for i in 0..1000 {
        append(&writer, i);
        if i % 90 == 0 {
            writer.flush().unwrap();
        }
    }
    assert!(writer.finish(Ending::Exited { code: 0 }, Tick(0)).1.is_none());
    let no_index = folder.path().join("no-index.wrr");
    let mut parts = chunks(&std::fs::read(&path).unwrap());
    parts.truncate(parts.len() - 2);
    forge(&no_index, &parts);
    for path in [path, no_index] {
        let reader = TraceReader::open(&path).unwrap();
        reader.check_all().unwrap();
        // A tick before the last event's was given.
        assert_eq!(reader.end_tick(), Some(Tick(10_000)));
        for (tick, events) in [(0, 0), (9, 0), (10, 1), (19, 1), (20, 2), (910, 91), (911, 91)] {
            assert_eq!(reader.event_before_tick(Tick(tick)).unwrap().0, events, "{tick}");
        }
        assert_eq!(reader.event_before_tick(Tick(1 << 40)).unwrap().0, 1000);
        for from in [0, 1, 90, 91, 92, 500, 999, 1000, 5000] {
            let first = reader.events_from(EventIndex(from)).unwrap().next();
            assert_eq!(first.map(|e| e.unwrap().index.0), (from < 1000).then_some(from));
        }
    }
}

#[test]
fn stamps_of_a_guest_without_host_calls_lead_from_seconds_to_ticks() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.wrr");
    let writer = start(&path, false);
    append(&writer, 0);
    for tick in [1000, 2000, 1500, 3000] {
        std::thread::sleep(std::time::Duration::from_millis(5));
        writer.stamp(Tick(tick));
    }
    assert!(writer.finish(Ending::Exited { code: 0 }, Tick(4000)).1.is_none());
    let reader = TraceReader::open(&path).unwrap();
    reader.check_all().unwrap();
    let stamps = reader.time_stamps().unwrap();
    let ticks: Vec<u64> = stamps.iter().map(|s| s.tick.0).filter(|t| *t >= 1000).collect();
    assert_eq!(ticks, [1000, 2000, 2000, 3000, 4000]);
    let last = stamps.last().unwrap();
    assert_eq!(reader.tick_at_elapsed_ns(last.elapsed_ns).unwrap(), Some(Tick(4000)));
    assert_eq!(reader.tick_at_elapsed_ns(last.elapsed_ns + 1).unwrap(), None);
    let half = reader.elapsed_ns_at_tick(Tick(3500)).unwrap().unwrap();
    assert!(half > reader.elapsed_ns_at_tick(Tick(3000)).unwrap().unwrap());
    assert!(half < last.elapsed_ns);
}

#[test]
fn stamps_stay_in_order_when_they_are_written_in_several_chunks() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.wrr");
    let writer = start(&path, false);
    append(&writer, 0);
    // Stamps are written out every second; the event's batch is closed in between.
    for round in 0..12 {
        writer.stamp(Tick(1_000_000 + round));
        std::thread::sleep(std::time::Duration::from_millis(200));
    }
    append(&writer, 200_000);
    assert!(writer.finish(Ending::Exited { code: 0 }, Tick(0)).1.is_none());
    let reader = TraceReader::open(&path).unwrap();
    reader.check_all().unwrap();
    let chunks = reader.chunk_totals().into_iter().find(|t| t.0 == ChunkKind::TIMES).unwrap().1;
    assert!(chunks > 1, "{chunks}");
}
