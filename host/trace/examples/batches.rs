//! Writes the decoded event batches of a trace to files `OUT.0`, `OUT.1`, …: seeds for the fuzzer.
//!
//!     cargo run -p wrr-trace --example batches -- TRACE OUT

use wrr_trace::{BatchEncoder, EventIndex, Tick, TraceReader};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(trace), Some(out)) = (arguments.next(), arguments.next()) else {
        return Err("usage: batches TRACE OUT".into());
    };
    let reader = TraceReader::open(trace.as_ref())?;
    let events = reader.events()?.collect::<Result<Vec<_>, _>>()?;
    for (i, chunk) in events.chunks(50).enumerate() {
        let mut encoder = BatchEncoder::new(EventIndex(0), Tick(0));
        for event in chunk {
            encoder.push(event.tick, &event.call, &event.outcome);
        }
        std::fs::write(format!("{out}.{i}"), encoder.seal().0)?;
    }
    Ok(())
}
