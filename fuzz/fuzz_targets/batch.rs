//! Decodes an event batch from arbitrary bytes; what decodes must encode to something that decodes the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wrr_trace::{BatchDecoder, BatchEncoder, Event, Tick};

fn decode(bytes: &[u8]) -> Option<(BatchEncoder, Vec<Event>)> {
    let mut decoder = BatchDecoder::new(bytes.to_vec()).ok()?;
    let encoder = BatchEncoder::new(decoder.next_event(), Tick(0));
    let mut events = Vec::new();
    while let Some(event) = decoder.decode_next().ok()? {
        events.push(event);
    }
    Some((encoder, events))
}

fuzz_target!(|bytes: &[u8]| {
    let Some((mut encoder, events)) = decode(bytes) else { return };
    for event in &events {
        assert!(!event.to_string().is_empty());
        encoder.push(event.tick, &event.call, &event.outcome);
    }
    let (payload, _) = encoder.seal();
    let (_, again) = decode(&payload).expect("what was encoded decodes");
    assert!(again == events);
});
