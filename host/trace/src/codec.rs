//! Batches of events: how they become bytes and come back.
//!
//! ```text
//! batch  := first_event:varint first_tick:varint count:varint event*
//! event  := head:u8 tick_delta:varint [args input] (errno:varint | reply)
//! head   := bits 0-5 function number, bit 6 "repeat", bit 7 "failed"
//! args   := varint per parameter
//! ```
//!
//! *Repeat* means that arguments and input equal those of the previous event of the same function in
//! this batch; loops of equal calls then cost three or four bytes an event. *Failed* means that an
//! errno other than 0 stands in the place of the reply. Times are signed differences (zigzag) to the
//! previous time of the same clock in this batch. A batch decodes on its own.
//!
//! `docs/trace-format.md` gives the inputs and replies of each kind.

use crate::cursor::{Cursor, unzigzag};
use crate::event::{
    Call, Event, EventIndex, Fdstat, Filestat, Input, Iovec, Outcome, PollEvent, Reply, Tick,
};
use crate::preview1::{Errno, Function, InputKind, PARAMS_MAX, ReplyKind};
use crate::{EVENT_DATA_BYTES_MAX, chunk::CHUNK_BYTES_MAX};

const REPEAT: u8 = 0x40;
const FAILED: u8 = 0x80;
const FUNCTION_MASK: u8 = 0x3f;
const SUBSCRIPTION_BYTES: usize = 48;

fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn zigzag(delta: u64) -> u64 {
    let delta = delta as i64;
    ((delta << 1) ^ (delta >> 63)) as u64
}

/// What encoder and decoder remember from earlier events of the batch.
struct Memory {
    /// The previous call of each function.
    calls: Vec<Option<Call>>,
    /// The previous time of each clock.
    times: [u64; 4],
}

impl Memory {
    fn new() -> Memory {
        Memory { calls: vec![None; Function::ALL.len()], times: [0; 4] }
    }

    /// The time that the next time of this call's clock is a difference to.
    fn time(&mut self, call: &Call) -> &mut u64 {
        // An invalid clock has no time, but a hostile trace may give it one.
        &mut self.times[(call.args[0] & 3) as usize]
    }
}

/// Encodes consecutive events into one batch.
pub struct BatchEncoder {
    first_event: EventIndex,
    first_tick: Tick,
    last_tick: Tick,
    count: u64,
    body: Vec<u8>,
    memory: Memory,
}

impl BatchEncoder {
    /// An empty batch that starts at this event and tick.
    #[must_use]
    pub fn new(first_event: EventIndex, first_tick: Tick) -> BatchEncoder {
        BatchEncoder {
            first_event,
            first_tick,
            last_tick: first_tick,
            count: 0,
            body: Vec::new(),
            memory: Memory::new(),
        }
    }

    /// How many bytes its events take so far.
    #[must_use]
    pub fn len_bytes(&self) -> usize {
        self.body.len()
    }

    /// Whether no event was pushed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The number of its first event.
    #[must_use]
    pub fn first_event(&self) -> EventIndex {
        self.first_event
    }

    /// The tick of its last event; of an empty batch the one that it starts with.
    #[must_use]
    pub fn last_tick(&self) -> Tick {
        self.last_tick
    }

    /// The tick that it starts with.
    #[must_use]
    pub fn first_tick(&self) -> Tick {
        self.first_tick
    }

    /// The number of the next event.
    #[must_use]
    pub fn next_event(&self) -> EventIndex {
        EventIndex(self.first_event.0 + self.count)
    }

    /// Adds the next event.
    ///
    /// Requires: `tick` is not before the last event's; the outcome's reply is of the function's kind;
    /// data is at most [`EVENT_DATA_BYTES_MAX`].
    pub fn push(&mut self, tick: Tick, call: &Call, outcome: &Outcome) {
        assert!(tick >= self.last_tick, "events are recorded in order");
        assert!(
            outcome.data.len() <= EVENT_DATA_BYTES_MAX,
            "the live host bounds what it delivers"
        );
        let last = &mut self.memory.calls[call.function as usize];
        let repeat = last.as_ref() == Some(call);
        let failed = outcome.errno != Errno::success;
        let head =
            call.function as u8 | if repeat { REPEAT } else { 0 } | if failed { FAILED } else { 0 };
        self.body.push(head);
        put_varint(&mut self.body, tick.0 - self.last_tick.0);
        if !repeat {
            for &arg in call.args() {
                put_varint(&mut self.body, arg);
            }
            put_input(&mut self.body, call);
            *last = Some(call.clone());
        }
        if failed {
            put_varint(&mut self.body, u64::from(outcome.errno.number()));
        } else {
            self.put_reply(call, outcome);
        }
        self.last_tick = tick;
        self.count += 1;
    }

    fn put_reply(&mut self, call: &Call, Outcome { reply, data, .. }: &Outcome) {
        let out = &mut self.body;
        match (call.function.signature().reply, reply) {
            (ReplyKind::Nothing, Reply::Nothing) => {}
            (ReplyKind::Number, Reply::Number(n)) | (ReplyKind::Prestat, Reply::Prestat(n)) => {
                put_varint(out, u64::from(*n));
            }
            (ReplyKind::Wide, Reply::Wide(n)) => put_varint(out, *n),
            (ReplyKind::Time, Reply::Wide(time)) => {
                let last = self.memory.time(call);
                put_varint(out, zigzag(time.wrapping_sub(*last)));
                *last = *time;
            }
            (ReplyKind::Sizes, Reply::Sizes(count, bytes)) => {
                put_varint(out, u64::from(*count));
                put_varint(out, u64::from(*bytes));
            }
            (ReplyKind::Strings | ReplyKind::Bytes, Reply::Nothing) => put_bytes(out, data),
            (ReplyKind::Received, Reply::Received(flags)) => {
                put_varint(out, u64::from(*flags));
                put_bytes(out, data);
            }
            (ReplyKind::Fdstat, Reply::Fdstat(s)) => {
                out.push(s.filetype);
                for field in [u64::from(s.flags), s.rights, s.inheriting] {
                    put_varint(out, field);
                }
            }
            (ReplyKind::Filestat, Reply::Filestat(s)) => {
                out.push(s.filetype);
                for field in [s.dev, s.ino, s.nlink, s.size, s.atim, s.mtim, s.ctim] {
                    put_varint(out, field);
                }
            }
            (ReplyKind::Polled, Reply::Polled(events)) => {
                put_varint(out, events.len() as u64);
                for e in events {
                    put_varint(out, e.userdata);
                    put_varint(out, u64::from(e.errno.number()));
                    out.push(e.kind);
                    put_varint(out, e.nbytes);
                    put_varint(out, u64::from(e.flags));
                }
            }
            (kind, reply) => unreachable!("a call with {kind:?} replied {reply:?}"),
        }
    }

    /// Ends the batch: its bytes, and an empty batch that continues it.
    #[must_use]
    pub fn seal(self) -> (Vec<u8>, BatchEncoder) {
        let next = BatchEncoder::new(self.next_event(), self.last_tick);
        let mut payload = Vec::with_capacity(self.body.len() + 30);
        put_varint(&mut payload, self.first_event.0);
        put_varint(&mut payload, self.first_tick.0);
        put_varint(&mut payload, self.count);
        payload.extend_from_slice(&self.body);
        debug_assert!((payload.len() as u64) < CHUNK_BYTES_MAX);
        (payload, next)
    }
}

fn put_iovs(out: &mut Vec<u8>, iovs: &[Iovec]) {
    put_varint(out, iovs.len() as u64);
    for iov in iovs {
        put_varint(out, u64::from(iov.addr));
        put_varint(out, u64::from(iov.len));
    }
}

/// Inputs that could not be read from guest memory are marked absent by a leading 0.
fn put_input(out: &mut Vec<u8>, call: &Call) {
    if call.function.signature().input == InputKind::None {
        return;
    }
    out.push(u8::from(call.input != Input::None));
    match &call.input {
        Input::None => {}
        Input::Path(path) => put_bytes(out, path),
        Input::TwoPaths(first, second) => {
            put_bytes(out, first);
            put_bytes(out, second);
        }
        Input::Buffers(iovs) => put_iovs(out, iovs),
        Input::Data { iovs, hash } => {
            put_iovs(out, iovs);
            out.extend_from_slice(&hash.to_le_bytes());
        }
        Input::Subscriptions(bytes) => put_bytes(out, bytes),
    }
}

impl Cursor {
    fn errno(&mut self) -> Result<Errno, String> {
        let number = self.number::<u16>("an errno")?;
        Errno::from_number(number).ok_or_else(|| format!("errno {number} does not exist"))
    }

    fn bytes(&mut self) -> Result<Vec<u8>, String> {
        let len = self.number::<usize>("a length")?;
        if len > EVENT_DATA_BYTES_MAX {
            return Err(format!(
                "{len} bytes of data in one event, the most is {EVENT_DATA_BYTES_MAX}"
            ));
        }
        Ok(self.take(len)?.to_vec())
    }

    fn iovs(&mut self) -> Result<Vec<Iovec>, String> {
        let count = self.count(2, "buffers")?;
        (0..count)
            .map(|_| Ok(Iovec { addr: self.number("an address")?, len: self.number("a length")? }))
            .collect()
    }
}

/// Decodes a batch, event by event.
pub struct BatchDecoder {
    cursor: Cursor,
    next: EventIndex,
    tick: Tick,
    left: u64,
    memory: Memory,
}

impl BatchDecoder {
    /// Reads the head of a batch.
    ///
    /// # Errors
    /// A sentence that says what is wrong with the bytes.
    pub fn new(payload: Vec<u8>) -> Result<BatchDecoder, String> {
        let mut cursor = Cursor::new(payload);
        let (first, tick, count) = (cursor.varint()?, cursor.varint()?, cursor.varint()?);
        if first.checked_add(count).is_none() {
            return Err(format!("{count} events from number {first} on pass the largest number"));
        }
        Ok(BatchDecoder {
            cursor,
            next: EventIndex(first),
            tick: Tick(tick),
            left: count,
            memory: Memory::new(),
        })
    }

    /// The number of the next event.
    #[must_use]
    pub fn next_event(&self) -> EventIndex {
        self.next
    }

    /// The tick of the last event that was decoded; at first, the one that the batch starts with.
    #[must_use]
    pub fn tick(&self) -> Tick {
        self.tick
    }

    /// How many events are left.
    #[must_use]
    pub fn events_left(&self) -> u64 {
        self.left
    }

    /// How many bytes are left.
    #[must_use]
    pub fn bytes_left(&self) -> usize {
        self.cursor.left()
    }

    /// The next event, or `None` at the end.
    ///
    /// # Errors
    /// A sentence that says what is wrong with the bytes. The decoder must not be used any further.
    pub fn decode_next(&mut self) -> Result<Option<Event>, String> {
        if self.left == 0 {
            return match self.cursor.left() {
                0 => Ok(None),
                more => Err(format!("{more} bytes after the last event of the batch")),
            };
        }
        let event = self.event().map_err(|what| format!("event {}: {what}", self.next))?;
        self.left -= 1;
        self.next.0 += 1;
        Ok(Some(event))
    }

    fn event(&mut self) -> Result<Event, String> {
        let head = self.cursor.byte()?;
        let number = head & FUNCTION_MASK;
        let function = Function::from_number(number)
            .ok_or_else(|| format!("function number {number} does not exist"))?;
        let delta = self.cursor.varint()?;
        self.tick =
            Tick(self.tick.0.checked_add(delta).ok_or("the tick passes the largest number")?);
        let call = if head & REPEAT != 0 {
            self.memory.calls[usize::from(number)]
                .clone()
                .ok_or("repeats a call that the batch does not hold")?
        } else {
            let call = self.call(function)?;
            self.memory.calls[usize::from(number)] = Some(call.clone());
            call
        };
        if head & FAILED == 0
            && call.input == Input::None
            && function.signature().input != InputKind::None
        {
            return Err("succeeded without its input".to_owned());
        }
        let outcome = if head & FAILED != 0 {
            let errno = self.cursor.errno()?;
            if errno == Errno::success {
                return Err("failed, but with errno success".to_owned());
            }
            Outcome::failed(errno)
        } else {
            self.reply(&call)?
        };
        Ok(Event { index: self.next, tick: self.tick, call, outcome })
    }

    fn call(&mut self, function: Function) -> Result<Call, String> {
        let signature = function.signature();
        let mut args = [0; PARAMS_MAX];
        for (param, arg) in signature.params.iter().zip(&mut args) {
            *arg = self.cursor.varint()?;
            if !param.kind.is_i64() && *arg > u64::from(u32::MAX) {
                return Err(format!("argument {} is {arg}, too large for an i32", param.name));
            }
        }
        let cursor = &mut self.cursor;
        let present = match signature.input {
            InputKind::None => 0,
            _ => cursor.byte()?,
        };
        let input = match (present, signature.input) {
            (0, _) => Input::None,
            (1, InputKind::Path(_)) => Input::Path(cursor.bytes()?),
            (1, InputKind::TwoPaths(..)) => Input::TwoPaths(cursor.bytes()?, cursor.bytes()?),
            (1, InputKind::Buffers(_)) => Input::Buffers(cursor.iovs()?),
            (1, InputKind::Data(_)) => Input::Data {
                iovs: cursor.iovs()?,
                hash: u64::from_le_bytes(cursor.take(8)?.try_into().expect("8 bytes")),
            },
            (1, InputKind::Subscriptions(_)) => {
                let bytes = cursor.bytes()?;
                if bytes.len() % SUBSCRIPTION_BYTES != 0 {
                    return Err(format!("{} bytes are not whole subscriptions", bytes.len()));
                }
                Input::Subscriptions(bytes)
            }
            (other, _) => return Err(format!("an input marked {other}, known are 0 and 1")),
        };
        Ok(Call { function, args, input })
    }

    fn reply(&mut self, call: &Call) -> Result<Outcome, String> {
        let cursor = &mut self.cursor;
        let mut data = Vec::new();
        let reply = match call.function.signature().reply {
            ReplyKind::Nothing => Reply::Nothing,
            ReplyKind::Number => Reply::Number(cursor.number("a result")?),
            ReplyKind::Prestat => Reply::Prestat(cursor.number("a length")?),
            ReplyKind::Wide => Reply::Wide(cursor.varint()?),
            ReplyKind::Time => {
                let delta = unzigzag(cursor.varint()?);
                let last = self.memory.time(call);
                *last = last.wrapping_add(delta);
                Reply::Wide(*last)
            }
            ReplyKind::Sizes => Reply::Sizes(cursor.number("a count")?, cursor.number("a size")?),
            ReplyKind::Strings | ReplyKind::Bytes => {
                data = cursor.bytes()?;
                Reply::Nothing
            }
            ReplyKind::Received => {
                let flags = cursor.number("flags")?;
                data = cursor.bytes()?;
                Reply::Received(flags)
            }
            ReplyKind::Fdstat => Reply::Fdstat(Fdstat {
                filetype: cursor.byte()?,
                flags: cursor.number("flags")?,
                rights: cursor.varint()?,
                inheriting: cursor.varint()?,
            }),
            ReplyKind::Filestat => Reply::Filestat(Filestat {
                filetype: cursor.byte()?,
                dev: cursor.varint()?,
                ino: cursor.varint()?,
                nlink: cursor.varint()?,
                size: cursor.varint()?,
                atim: cursor.varint()?,
                mtim: cursor.varint()?,
                ctim: cursor.varint()?,
            }),
            ReplyKind::Polled => {
                let count = cursor.count(5, "poll events")?;
                let events = (0..count).map(|_| {
                    Ok(PollEvent {
                        userdata: cursor.varint()?,
                        errno: cursor.errno()?,
                        kind: cursor.byte()?,
                        nbytes: cursor.varint()?,
                        flags: cursor.number("flags")?,
                    })
                });
                Reply::Polled(events.collect::<Result<_, String>>()?)
            }
        };
        Ok(Outcome { errno: Errno::success, reply, data })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bytes(max: usize) -> impl Strategy<Value = Vec<u8>> {
        proptest::collection::vec(any::<u8>(), 0..max)
    }

    fn iovs() -> impl Strategy<Value = Vec<Iovec>> {
        proptest::collection::vec(
            (any::<u32>(), any::<u32>()).prop_map(|(addr, len)| Iovec { addr, len }),
            0..5,
        )
    }

    fn input(kind: InputKind) -> BoxedStrategy<Input> {
        let present = match kind {
            InputKind::None => return Just(Input::None).boxed(),
            InputKind::Path(_) => bytes(30).prop_map(Input::Path).boxed(),
            InputKind::TwoPaths(..) => {
                (bytes(30), bytes(30)).prop_map(|(a, b)| Input::TwoPaths(a, b)).boxed()
            }
            InputKind::Buffers(_) => iovs().prop_map(Input::Buffers).boxed(),
            InputKind::Data(_) => {
                (iovs(), any::<u64>()).prop_map(|(iovs, hash)| Input::Data { iovs, hash }).boxed()
            }
            InputKind::Subscriptions(_) => {
                (0usize..4).prop_map(|n| Input::Subscriptions(vec![7; n * 48])).boxed()
            }
        };
        prop_oneof![1 => Just(Input::None), 9 => present].boxed()
    }

    fn outcome(kind: ReplyKind) -> BoxedStrategy<Outcome> {
        let reply = match kind {
            ReplyKind::Nothing | ReplyKind::Strings | ReplyKind::Bytes => {
                Just(Reply::Nothing).boxed()
            }
            ReplyKind::Number => any::<u32>().prop_map(Reply::Number).boxed(),
            ReplyKind::Prestat => any::<u32>().prop_map(Reply::Prestat).boxed(),
            ReplyKind::Wide | ReplyKind::Time => any::<u64>().prop_map(Reply::Wide).boxed(),
            ReplyKind::Sizes => any::<(u32, u32)>().prop_map(|(a, b)| Reply::Sizes(a, b)).boxed(),
            ReplyKind::Received => any::<u16>().prop_map(Reply::Received).boxed(),
            ReplyKind::Fdstat => any::<(u8, u16, u64, u64)>()
                .prop_map(|(filetype, flags, rights, inheriting)| {
                    Reply::Fdstat(Fdstat { filetype, flags, rights, inheriting })
                })
                .boxed(),
            ReplyKind::Filestat => any::<(u8, u64, u64, u64, u64, u64, u64, u64)>()
                .prop_map(|(filetype, dev, ino, nlink, size, atim, mtim, ctim)| {
                    Reply::Filestat(Filestat { dev, ino, filetype, nlink, size, atim, mtim, ctim })
                })
                .boxed(),
            ReplyKind::Polled => proptest::collection::vec(
                (any::<u64>(), 0u16..77, any::<u8>(), any::<u64>(), any::<u16>()).prop_map(
                    |(userdata, errno, kind, nbytes, flags)| PollEvent {
                        userdata,
                        errno: Errno::from_number(errno).unwrap(),
                        kind,
                        nbytes,
                        flags,
                    },
                ),
                0..4,
            )
            .prop_map(Reply::Polled)
            .boxed(),
        };
        let has_data = matches!(kind, ReplyKind::Strings | ReplyKind::Bytes | ReplyKind::Received);
        let data = bytes(if has_data { 100 } else { 1 });
        prop_oneof![
            4 => (reply, data).prop_map(|(reply, data)| {
                Outcome { errno: Errno::success, reply, data }
            }),
            1 => (1u16..77).prop_map(|n| Outcome::failed(Errno::from_number(n).unwrap())),
        ]
        .boxed()
    }

    fn call_and_outcome() -> impl Strategy<Value = (Call, Outcome)> {
        (0..Function::ALL.len()).prop_flat_map(|i| {
            let function = Function::ALL[i];
            let signature = function.signature();
            let args = proptest::array::uniform9(any::<u64>()).prop_map(move |mut args| {
                for (i, arg) in args.iter_mut().enumerate() {
                    match signature.params.get(i) {
                        None => *arg = 0,
                        Some(param) if !param.kind.is_i64() => *arg &= u64::from(u32::MAX),
                        Some(_) => {}
                    }
                }
                args
            });
            (args, input(signature.input), outcome(signature.reply)).prop_map(
                move |(args, input, outcome)| {
                    // Without its input a call can only fail.
                    let absent = input == Input::None && signature.input != InputKind::None;
                    let outcome = if absent { Outcome::failed(Errno::fault) } else { outcome };
                    (Call { function, args, input }, outcome)
                },
            )
        })
    }

    proptest! {
        #[test]
        fn decoding_an_encoded_batch_gives_the_same_events(
            first in 0u64..1 << 60,
            items in proptest::collection::vec((call_and_outcome(), 0u64..1000, 1usize..3), 0..40),
        ) {
            let mut encoder = BatchEncoder::new(EventIndex(first), Tick(5));
            let mut expected = Vec::new();
            let mut tick = Tick(5);
            for ((call, outcome), delta, times) in items {
                for _ in 0..times {
                    tick.0 += delta;
                    let index = encoder.next_event();
                    encoder.push(tick, &call, &outcome);
                    expected.push(Event { index, tick, call: call.clone(), outcome: outcome.clone() });
                }
            }
            let (payload, next) = encoder.seal();
            prop_assert_eq!(next.next_event().0, first + expected.len() as u64);
            let mut decoder = BatchDecoder::new(payload).unwrap();
            let mut found = Vec::new();
            while let Some(event) = decoder.decode_next().unwrap() {
                found.push(event);
            }
            prop_assert_eq!(found, expected);
        }

        #[test]
        fn arbitrary_bytes_never_panic_the_decoder(payload in bytes(400)) {
            if let Ok(mut decoder) = BatchDecoder::new(payload) {
                while let Ok(Some(event)) = decoder.decode_next() {
                    prop_assert!(!event.to_string().is_empty());
                }
            }
        }
    }

    #[test]
    fn a_repeated_clock_call_takes_four_bytes() {
        let call = Call {
            function: Function::ClockTimeGet,
            args: [1, 1, 70_000, 0, 0, 0, 0, 0, 0],
            input: Input::None,
        };
        let mut encoder = BatchEncoder::new(EventIndex(0), Tick(0));
        let at = |ns| Outcome { reply: Reply::Wide(ns), ..Outcome::default() };
        encoder.push(Tick(0), &call, &at(1_700_000_000_000_000_000));
        let before = encoder.len_bytes();
        encoder.push(Tick(0), &call, &at(1_700_000_000_000_000_100));
        assert_eq!(encoder.len_bytes() - before, 4);
    }
}
