//! Traces as JSON, for other programs. The field names are part of the interface.

use serde_json::{Map, Value, json};
use wrr::format::{
    Datum, Errno, Event, HostNote, Input, Manifest, ParamKind, Reply, Tail, TraceReader,
    filetype_name,
};
use wrr::{Place, StackFrame};

/// An event as one object.
pub fn event(event: &Event) -> Value {
    let call = &event.call;
    let params = call.function.signature().params;
    let args: Map<String, Value> = params
        .iter()
        .zip(&call.args)
        .map(|(p, &value)| {
            let value = if p.kind == ParamKind::S64 { json!(value as i64) } else { json!(value) };
            (p.name.to_owned(), value)
        })
        .collect();
    let mut object = json!({
        "event": event.index.0,
        "tick": event.tick.0,
        "call": call.function.name(),
        "args": args,
    });
    let buffers = |iovs: &[wrr::format::Iovec]| -> Value {
        iovs.iter().map(|v| json!({"addr": v.addr, "len": v.len})).collect()
    };
    match &call.input {
        Input::None => {}
        Input::Path(path) => object["path"] = text(path),
        Input::TwoPaths(first, second) => object["paths"] = json!([text(first), text(second)]),
        Input::Buffers(iovs) => object["buffers"] = buffers(iovs),
        Input::Data { iovs, hash } => {
            object["buffers"] = buffers(iovs);
            object["hash"] = json!(format!("{hash:016x}"));
        }
        Input::Subscriptions(bytes) => object["subscriptions"] = json!(hex(bytes)),
    }
    object["errno"] = json!(event.outcome.errno.name());
    if event.outcome.errno == Errno::success {
        if let Some(result) = reply(&event.outcome.reply) {
            object["result"] = result;
        }
        if !event.outcome.data.is_empty() {
            match std::str::from_utf8(&event.outcome.data) {
                Ok(text) => object["text"] = json!(text),
                Err(_) => object["hex"] = json!(hex(&event.outcome.data)),
            }
        }
    }
    object
}

fn reply(reply: &Reply) -> Option<Value> {
    Some(match reply {
        Reply::Nothing => return None,
        Reply::Number(n) | Reply::Prestat(n) => json!(n),
        Reply::Wide(n) => json!(n),
        Reply::Sizes(count, bytes) => json!({"count": count, "bytes": bytes}),
        Reply::Received(flags) => json!({"flags": flags}),
        Reply::Fdstat(s) => json!({
            "filetype": filetype_name(s.filetype), "flags": s.flags,
            "rights": s.rights, "inheriting": s.inheriting,
        }),
        Reply::Filestat(s) => json!({
            "dev": s.dev, "ino": s.ino, "filetype": filetype_name(s.filetype), "nlink": s.nlink,
            "size": s.size, "atim": s.atim, "mtim": s.mtim, "ctim": s.ctim,
        }),
        Reply::Polled(events) => events
            .iter()
            .map(|e| {
                json!({
                    "userdata": e.userdata, "errno": e.errno.name(), "kind": e.kind,
                    "nbytes": e.nbytes, "flags": e.flags,
                })
            })
            .collect(),
    })
}

/// Text where it is text, otherwise an object with its bytes.
fn text(bytes: &[u8]) -> Value {
    match std::str::from_utf8(bytes) {
        Ok(text) => json!(text),
        Err(_) => json!({"hex": hex(bytes)}),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// Everything that `wrr info` knows.
pub fn info(reader: &TraceReader, totals: &crate::commands::Totals) -> Value {
    let Manifest {
        recorder,
        name,
        module,
        module_bytes,
        args,
        env,
        preopens,
        sockets,
        invoke,
        deterministic,
        limits,
        origin,
    } = reader.manifest();
    let ignored_bytes = match reader.tail() {
        Tail::CutOff { ignored_bytes } => *ignored_bytes,
        Tail::Complete | Tail::Damaged { .. } => 0,
    };
    json!({
        "file_bytes": reader.file_bytes(),
        "format": reader.version(),
        "recorder": recorder,
        "program": name,
        "module": {"blake3": module.to_string(), "bytes": module_bytes},
        "args": args,
        "env": env.iter().map(|(k, v)| json!([k, v])).collect::<Value>(),
        "directories": preopens,
        "sockets": sockets,
        "invoke": invoke,
        "deterministic": deterministic,
        "limits": {
            "memory_bytes_max": limits.memory_bytes_max,
            "table_elements_max": limits.table_elements_max,
            "stack_bytes": limits.stack_bytes,
        },
        "origin": origin.as_ref().map(|origin| {
            json!({"trace": origin.trace, "tick": origin.tick.0, "event": origin.event.0})
        }),
        "checkpoints": reader.checkpoints().iter().map(|checkpoint| json!({
            "tick": checkpoint.tick.0, "event": checkpoint.event.0, "name": checkpoint.name,
            "stored_bytes": checkpoint.stored_bytes, "page_bytes_stored": checkpoint.page_bytes_stored,
        })).collect::<Value>(),
        "checkpoint_plan": reader.checkpoint_plan().map(|plan| json!({
            "every_ns": plan.every_ns,
            "tracker": plan.tracker,
            "gap_ns_max": reader.checkpoint_gap_ns_max().ok().flatten(),
        })),
        "host": reader.host_note().map(|HostNote { os, arch, started_unix_ns }| {
            json!({"os": os, "arch": arch, "started_unix_ns": started_unix_ns})
        }),
        "finding": reader.finding().map(|finding| json!({
            "failure": wrr_fuzz::describe(&finding.failure),
            "function": wrr_fuzz::failing_function(&finding.failure),
            "tick": finding.failure.tick.0,
            "input_bytes": finding.input.len(),
        })),
        "complete": *reader.tail() == Tail::Complete,
        "ignored_bytes": ignored_bytes,
        "damage": totals.damage,
        "ending": reader.ending().map(ToString::to_string),
        "end_tick": reader.end_tick().map(|tick| tick.0),
        "seconds": totals.seconds,
        "events": totals.events,
        "calls": totals.calls.iter().map(|(f, n)| (f.name().to_owned(), json!(n))).collect::<Map<_, _>>(),
        "bytes_in": totals.bytes_in,
        "bytes_out": totals.bytes_out,
        "chunks": reader.chunk_totals().iter().map(|(kind, count, stored, raw)| {
            json!({"kind": kind.to_string(), "count": count, "stored_bytes": stored, "raw_bytes": raw})
        }).collect::<Value>(),
    })
}

/// A value of the guest: numbers as numbers, floats by their bits, references by what they refer to.
fn datum(value: &Datum) -> Value {
    match value {
        Datum::I32(v) => json!({"i32": v}),
        Datum::I64(v) => json!({"i64": v}),
        Datum::F32(bits) => json!({"f32": f32::from_bits(*bits), "bits": format!("{bits:08x}")}),
        Datum::F64(bits) => json!({"f64": f64::from_bits(*bits), "bits": format!("{bits:016x}")}),
        Datum::V128(bytes) => json!({"v128": hex(bytes)}),
        Datum::Null => json!("null"),
        Datum::Func(function) => json!({"function": function}),
        Datum::Exn { tag, fields } => {
            json!({"exception": tag, "fields": fields.iter().map(datum).collect::<Value>()})
        }
    }
}

/// A frame of a stopped guest.
pub fn frame(frame: &StackFrame) -> Value {
    let of_kind = |wanted: fn(Place) -> Option<u32>| -> Map<String, Value> {
        let values = frame.values.iter();
        values
            .filter_map(|(place, value)| Some((wanted(*place)?.to_string(), datum(value))))
            .collect()
    };
    json!({
        "function": frame.function,
        "name": frame.name,
        "offset": frame.offset,
        "locals": of_kind(|place| match place {
            Place::Local(index) => Some(index),
            Place::Operand(_) => None,
        }),
        "operands": of_kind(|place| match place {
            Place::Operand(height) => Some(height),
            Place::Local(_) => None,
        }),
    })
}
