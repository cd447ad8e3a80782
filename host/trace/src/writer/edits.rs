//! Puts edits of the private layer into a trace, before the events that made them.

use super::{BATCH_BYTES, TraceWriter};
use crate::error::TraceError;
use crate::layer::{Edit, LayerEdit};

/// Who changes the layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EditBy {
    /// The call that is appended next.
    NextEvent,
    /// Somebody else, behind all calls that were appended.
    Host,
}

impl TraceWriter {
    /// Adds edits of the layer. Waits only if the disk is slower than they come.
    ///
    /// # Errors
    /// As [`TraceWriter::append`].
    pub fn append_edits(&self, edits: &[Edit], by: EditBy) -> Result<(), TraceError> {
        if edits.is_empty() {
            return Ok(());
        }
        let mut state = self.shared.lock();
        for edit in edits {
            if let Some(error) = &state.failed {
                return Err(error.again());
            }
            if state.closing.is_some() {
                return Ok(());
            }
            let after = state.encoder.next_event().0 + u64::from(by == EditBy::NextEvent);
            LayerEdit::encode(after, edit, &mut state.edits);
            if state.edits.len() >= BATCH_BYTES {
                let batch = state.seal(self.shared.started);
                state = self.shared.hand_over(state, batch);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Call, Ending, Errno, EventIndex, Function, Input, Manifest, Outcome, Reply, Tick,
        TraceReader, WriterOptions,
    };
    use std::path::Path;
    use std::sync::Arc;

    fn create(path: &Path, canonical: bool) -> TraceWriter {
        let module: Arc<[u8]> = Arc::from(&b"\0asm\x01\0\0\0"[..]);
        let options = WriterOptions { canonical, overlay: true, ..WriterOptions::default() };
        TraceWriter::create(path, &Manifest::for_module(&module), module, options).unwrap()
    }

    fn write(number: u64, len: usize) -> Edit {
        // Nothing that could be compressed.
        let mut data = vec![0; len];
        blake3::Hasher::new().update(&number.to_le_bytes()).finalize_xof().fill(&mut data);
        Edit::Write { node: number, offset: 0, data, time_ns: 0 }
    }

    /// A call, and before it what it did to the layer.
    fn append(writer: &TraceWriter, number: u64, edits: &[Edit]) {
        writer.append_edits(edits, EditBy::NextEvent).unwrap();
        let call = Call { function: Function::FdSync, args: [0; 9], input: Input::None };
        let outcome = Outcome { errno: Errno::success, reply: Reply::Nothing, data: Vec::new() };
        writer.append(Tick(number), &call, &outcome).unwrap();
    }

    fn edits(path: &Path, until: u64) -> Vec<Edit> {
        let reader = TraceReader::open(path).unwrap();
        assert!(reader.has_layer());
        reader.layer_edits(EventIndex(until)).map(|edit| edit.unwrap().1).collect()
    }

    #[test]
    fn edits_come_back_up_to_an_event_and_those_that_were_taken_back_do_not() {
        let folder = tempfile::tempdir().unwrap();
        for canonical in [false, true] {
            let path = folder.path().join("t.wrr");
            let writer = create(&path, canonical);
            append(&writer, 0, &[write(0, 10), write(1, 1 << 20)]);
            append(&writer, 1, &[]);
            writer.append_edits(&[write(2, 5)], EditBy::Host).unwrap();
            let mark = writer.mark().unwrap();
            writer.append_edits(&[write(90, 5)], EditBy::Host).unwrap();
            append(&writer, 2, &[write(91, 1 << 20)]);
            writer.append_edits(&[write(92, 5)], EditBy::Host).unwrap();
            writer.rewind(&mark).unwrap();
            append(&writer, 2, &[write(3, 10)]);
            let (saved, error) = writer.finish(Ending::Exited { code: 0 }, Tick(2));
            assert!(error.is_none() && saved.events == 3, "{error:?}");
            let all = [write(0, 10), write(1, 1 << 20), write(2, 5), write(3, 10)];
            assert!(edits(&path, 0).is_empty());
            assert!(edits(&path, 1) == all[..2]);
            assert!(edits(&path, 2) == all[..3]);
            assert!(edits(&path, 3) == all);
            TraceReader::open(&path).unwrap().check_all().unwrap();
        }
    }

    #[test]
    fn wherever_the_file_is_cut_off_the_edits_of_its_events_are_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.wrr");
        let writer = create(&path, false);
        for number in 0..5 {
            append(&writer, number, &[write(number, 300)]);
            writer.flush().unwrap();
        }
        drop(writer);
        let bytes = std::fs::read(&path).unwrap();
        let cut = folder.path().join("cut.wrr");
        let mut seen = 0;
        for len in 0..=bytes.len() {
            std::fs::write(&cut, &bytes[..len]).unwrap();
            let Ok(reader) = TraceReader::open(&cut) else { continue };
            let events = reader.events().unwrap().count() as u64;
            let edits = reader.layer_edits(EventIndex(events)).map(Result::unwrap).count() as u64;
            assert_eq!(edits, events, "cut to {len} bytes");
            seen = seen.max(events);
        }
        assert_eq!(seen, 5);
    }

    #[test]
    fn a_canonical_trace_does_not_depend_on_when_edits_were_flushed() {
        let folder = tempfile::tempdir().unwrap();
        let file = |every: u64| {
            let path = folder.path().join(format!("{every}.wrr"));
            let writer = create(&path, true);
            for number in 0..200 {
                append(&writer, number, &[write(number, 9000)]);
                if number % every == 0 {
                    writer.flush().unwrap();
                }
            }
            let (_, error) = writer.finish(Ending::Exited { code: 0 }, Tick(200));
            assert!(error.is_none(), "{error:?}");
            std::fs::read(path).unwrap()
        };
        assert!(file(1 << 40) == file(7));
    }

    #[test]
    fn edits_that_no_layer_can_have_made_are_damage() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.wrr");
        for bad in [
            Edit::Write { node: 0, offset: 0, data: vec![0; 1 << 20 | 1], time_ns: 0 },
            Edit::Remove { parent: 0, name: "a".repeat(1 << 16 | 1), time_ns: 0 },
        ] {
            let writer = create(&path, false);
            append(&writer, 0, &[write(0, 1), bad]);
            drop(writer);
            let reader = TraceReader::open(&path).unwrap();
            let found: Vec<_> = reader.layer_edits(EventIndex(1)).collect();
            assert!(matches!(&found[..], [Ok(_), Err(TraceError::Damaged { .. })]), "{found:?}");
            assert!(reader.check_all().is_err());
        }
    }
}
