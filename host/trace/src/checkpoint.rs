//! Checkpoints: the state of a guest at one moment, as plain data, and how it becomes bytes and comes back.
//!
//! Encoded with postcard like the manifest. Decoded by hand, because a chunk of 64 MiB may come out of a
//! few KiB of hostile file: every count is checked against what is left of the payload and against
//! [`VALUES_MAX`] before memory is reserved, and exceptions nest at most [`EXCEPTION_DEPTH_MAX`] deep.
//! `docs/trace-format.md` gives the layout.
//!
//! Invariant: what [`Checkpoint::check`] accepts is what the decoder accepts.

use crate::chunk::{ChunkKind, PAGE_BYTES};
use crate::cursor::{Cursor, unzigzag};
use crate::event::{EventIndex, Tick};
use crate::host_state::HostState;
use crate::preview1::Function;
use serde::{Deserialize, Serialize, Serializer};

/// The most items that all lists of a checkpoint hold together. An item takes up to 40 bytes of memory.
pub const VALUES_MAX: usize = 1 << 24;
/// How deep exceptions may hold exceptions.
pub const EXCEPTION_DEPTH_MAX: usize = 64;
/// The longest name of a checkpoint, in bytes.
pub const NAME_BYTES_MAX: usize = 256;
/// The most bytes that the encoded [`HostState`] takes. Its values take many times the room of their bytes.
pub const HOST_STATE_BYTES_MAX: usize = 8 << 20;
/// The largest memory, in bytes.
const MEMORY_BYTES_MAX: u64 = 1 << 48;
const WASM_PAGE_BYTES: u64 = 1 << 16;

/// The number of a page in a trace: 0 is the all-zero page, which is never stored; stored pages count
/// from 1 in the order in which they stand in the file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct PageId(pub u32);

/// Pages that follow each other both in a memory and in the trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct PageRun {
    /// The first page's number in the memory.
    pub page: u32,
    /// The first page's id; the ids go up by one with the pages.
    pub id: PageId,
    /// How many pages.
    pub count: u32,
}

/// A linear memory.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct MemoryState {
    /// Its size in bytes.
    pub bytes: u64,
    /// Its pages, ascending; those in no run are zero.
    pub runs: Vec<PageRun>,
}

/// A value of the guest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum Datum {
    /// `i32`.
    I32(i32),
    /// `i64`.
    I64(i64),
    /// `f32`, its bits.
    F32(u32),
    /// `f64`, its bits.
    F64(u64),
    /// `v128`, its bytes in the order of memory.
    V128([u8; 16]),
    /// A null reference.
    Null,
    /// A reference to the function with this index in the original module.
    Func(u32),
    /// An exception.
    Exn {
        /// The index of its tag in the original module.
        tag: u32,
        /// What it carries.
        fields: Vec<Datum>,
    },
}

/// A table.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct TableState {
    /// Its elements, each with how often it is repeated (at least once).
    pub elements: Vec<(Datum, u32)>,
}

/// A frame of the guest's call stack.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FrameState {
    /// The function's index in the original module.
    pub function: u32,
    /// The call or stop in it, as the transform numbers them.
    pub site: u32,
    /// The live locals, then the waiting operands.
    pub values: Vec<Datum>,
}

/// Which of the guest's entries is running.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Phase {
    /// The start function.
    Start,
    /// `_initialize`.
    Initialize,
    /// `_start` or the export that is invoked.
    Main,
}

/// Where the guest stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum Pause {
    /// At a tick.
    Tick,
    /// Inside a host call that has not been answered: the one that becomes event number `event`.
    Call {
        /// The function.
        #[serde(serialize_with = "function_number")]
        function: Function,
        /// Its arguments, as many as it has parameters; an `i32` is zero-extended.
        args: Vec<u64>,
    },
}

fn function_number<S: Serializer>(function: &Function, out: S) -> Result<S::Ok, S::Error> {
    out.serialize_u8(*function as u8)
}

/// The state of a guest at one moment.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Checkpoint {
    /// The guest's time.
    pub tick: Tick,
    /// How many events were before it.
    pub event: EventIndex,
    /// A name that a person gave it; at most [`NAME_BYTES_MAX`].
    pub name: Option<String>,
    /// Which entry is running.
    pub phase: Phase,
    /// Where the guest stands.
    pub pause: Pause,
    /// The call stack, the outermost frame first.
    pub frames: Vec<FrameState>,
    /// The mutable globals, in order.
    pub globals: Vec<Datum>,
    /// The memories, in order.
    pub memories: Vec<MemoryState>,
    /// The tables, in order.
    pub tables: Vec<TableState>,
    /// The data segments that were dropped, ascending.
    pub dropped_data: Vec<u32>,
    /// The element segments that were dropped, ascending.
    pub dropped_elements: Vec<u32>,
    /// What the host holds for the guest.
    pub host: HostState,
}

/// The front of a checkpoint: what an index needs of it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct CheckpointHead {
    pub tick: Tick,
    pub event: EventIndex,
    pub name: Option<String>,
}

impl CheckpointHead {
    pub(crate) fn decode(payload: &[u8]) -> Result<CheckpointHead, String> {
        let (head, _): (CheckpointHead, _) = postcard::take_from_bytes(payload)
            .map_err(|e| format!("the front of a checkpoint: {e}"))?;
        check_name(head.name.as_deref())?;
        Ok(head)
    }
}

pub(crate) fn check_name(name: Option<&str>) -> Result<(), String> {
    let len = name.map_or(0, str::len);
    if len > NAME_BYTES_MAX {
        return Err(format!("a name of {len} bytes, the most is {NAME_BYTES_MAX}"));
    }
    Ok(())
}

impl Checkpoint {
    /// Its payload in a trace. Requires: [`Checkpoint::check`] accepts it.
    ///
    /// # Errors
    /// A sentence, if it takes more room than a chunk of its kind has.
    pub(crate) fn to_payload(&self) -> Result<Vec<u8>, String> {
        let encode = |result: postcard::Result<Vec<u8>>| {
            result.expect("plain data into a growing vector cannot fail")
        };
        check_host_bytes(size_of_encoded(&self.host))?;
        let payload = encode(postcard::to_stdvec(self));
        check_payload_bytes(payload.len())?;
        Ok(payload)
    }

    /// One form for one state, for hashing: the same encoding as in a trace.
    #[must_use]
    pub fn to_canonical_bytes(&self) -> Vec<u8> {
        postcard::to_stdvec(self).expect("plain data into a growing vector cannot fail")
    }

    /// Whether it makes sense in a trace with so many stored pages.
    ///
    /// # Errors
    /// A sentence that says what does not.
    pub fn check(&self, pages: u32) -> Result<(), String> {
        self.check_runs(pages, 1)
    }

    /// As [`Checkpoint::check`]; the pages of a run have ids from `id_min` on.
    fn check_runs(&self, pages: u32, id_min: u32) -> Result<(), String> {
        check_name(self.name.as_deref())?;
        let mut count = Count { values_left: VALUES_MAX };
        count.take(self.frames.len())?;
        for (i, frame) in self.frames.iter().enumerate() {
            count.data(&frame.values, 0).map_err(|what| format!("frame {i}: {what}"))?;
        }
        count.data(&self.globals, 0)?;
        count.take(self.memories.len())?;
        for (i, memory) in self.memories.iter().enumerate() {
            count.take(memory.runs.len())?;
            check_memory(memory, pages, id_min).map_err(|what| format!("memory {i}: {what}"))?;
        }
        count.take(self.tables.len())?;
        for (i, table) in self.tables.iter().enumerate() {
            count.take(table.elements.len())?;
            let mut elements = 0u32;
            for (datum, repeat) in &table.elements {
                count.nested(datum, 0)?;
                elements = elements
                    .checked_add(*repeat)
                    .filter(|_| *repeat > 0)
                    .ok_or_else(|| format!("table {i} repeats an element {repeat} times"))?;
            }
        }
        for (what, dropped) in [("data", &self.dropped_data), ("element", &self.dropped_elements)] {
            count.take(dropped.len())?;
            if !dropped.is_sorted_by(|a, b| a < b) {
                return Err(format!("the dropped {what} segments are not ascending"));
            }
        }
        match &self.pause {
            Pause::Tick => Ok(()),
            Pause::Call { function, args } => {
                count.take(args.len())?;
                check_args(*function, args)
            }
        }
    }

    /// As [`Checkpoint::check`], and it fits into a chunk.
    pub(crate) fn check_to_store(&self, pages: u32) -> Result<(), String> {
        self.check(pages)?;
        check_host_bytes(size_of_encoded(&self.host))?;
        check_payload_bytes(size_of_encoded(self))
    }

    /// Decodes a payload, in a file of this version, and checks it.
    ///
    /// # Errors
    /// A sentence that says what is wrong with the bytes.
    pub(crate) fn from_payload(
        payload: Vec<u8>,
        pages: u32,
        version: u32,
    ) -> Result<Checkpoint, String> {
        let count = Count { values_left: VALUES_MAX };
        let checkpoint = Decoder { cursor: Cursor::new(payload), count, version }.checkpoint()?;
        checkpoint.check(pages)?;
        Ok(checkpoint)
    }

    /// As [`Checkpoint::from_payload`], of what differs from another one: runs of zero pages have
    /// the id 0.
    pub(crate) fn decode_changes(
        cursor: Cursor,
        pages: u32,
        version: u32,
    ) -> Result<Checkpoint, String> {
        let count = Count { values_left: VALUES_MAX };
        let checkpoint = Decoder { cursor, count, version }.checkpoint()?;
        checkpoint.check_runs(pages, 0)?;
        Ok(checkpoint)
    }
}

fn check_args(function: Function, args: &[u64]) -> Result<(), String> {
    let params = function.signature().params;
    if args.len() != params.len() {
        return Err(format!("{function:?} has {} parameters, not {}", params.len(), args.len()));
    }
    for (param, arg) in params.iter().zip(args) {
        if !param.kind.is_i64() && *arg > u64::from(u32::MAX) {
            return Err(format!("argument {} is {arg}, too large for an i32", param.name));
        }
    }
    Ok(())
}

fn check_memory(memory: &MemoryState, pages: u32, id_min: u32) -> Result<(), String> {
    let bytes = memory.bytes;
    if bytes > MEMORY_BYTES_MAX || !bytes.is_multiple_of(WASM_PAGE_BYTES) {
        return Err(format!("{bytes} bytes are no size of a memory"));
    }
    let memory_pages = bytes / PAGE_BYTES as u64;
    let mut end = 0;
    for &PageRun { page, id, count } in &memory.runs {
        let first = u64::from(page);
        if first < end || count == 0 {
            return Err(format!("its runs are not ascending at page {page}"));
        }
        end = first + u64::from(count);
        if end > memory_pages.min(u64::from(u32::MAX)) {
            return Err(format!("a run ends with page {end}, but there are {memory_pages}"));
        }
        if id.0 == 0 && id_min == 0 {
            continue;
        }
        let ids_end = u64::from(id.0) + u64::from(count);
        if id.0 == 0 || ids_end > u64::from(pages) + 1 {
            return Err(format!("it names page {}, stored are 1 to {pages}", ids_end - 1));
        }
    }
    Ok(())
}

/// How many more items there may be.
struct Count {
    values_left: usize,
}

impl Count {
    fn take(&mut self, items: usize) -> Result<(), String> {
        let left = self.values_left.checked_sub(items);
        self.values_left = left.ok_or(format!("it holds more than {VALUES_MAX} values"))?;
        Ok(())
    }

    fn data(&mut self, data: &[Datum], depth: usize) -> Result<(), String> {
        self.take(data.len())?;
        data.iter().try_for_each(|datum| self.nested(datum, depth))
    }

    /// Counts what a value holds, not the value.
    fn nested(&mut self, datum: &Datum, depth: usize) -> Result<(), String> {
        match datum {
            Datum::Exn { .. } if depth == EXCEPTION_DEPTH_MAX => Err(too_deep()),
            Datum::Exn { fields, .. } => self.data(fields, depth + 1),
            _ => Ok(()),
        }
    }
}

/// How many bytes a value takes when it is encoded.
fn size_of_encoded<T: Serialize>(value: &T) -> usize {
    postcard::experimental::serialized_size(value).expect("plain data has a size")
}

fn check_payload_bytes(bytes: usize) -> Result<(), String> {
    let most = ChunkKind::CHECKPOINT.bytes_max();
    match bytes as u64 > most {
        true => Err(format!("it takes {bytes} bytes, the most is {most}")),
        false => Ok(()),
    }
}

fn check_host_bytes(bytes: usize) -> Result<(), String> {
    match bytes > HOST_STATE_BYTES_MAX {
        true => {
            Err(format!("the host's state takes {bytes} bytes, the most is {HOST_STATE_BYTES_MAX}"))
        }
        false => Ok(()),
    }
}

fn too_deep() -> String {
    format!("exceptions nest more than {EXCEPTION_DEPTH_MAX} deep")
}

/// The opposite of postcard's encoding, with bounds.
struct Decoder {
    version: u32,
    cursor: Cursor,
    count: Count,
}

impl Decoder {
    fn checkpoint(mut self) -> Result<Checkpoint, String> {
        let (tick, event) = (Tick(self.cursor.varint()?), EventIndex(self.cursor.varint()?));
        let name = match self.cursor.byte()? {
            0 => None,
            1 => Some(self.name()?),
            other => return Err(format!("a name marked {other}, known are 0 and 1")),
        };
        let phase = match self.cursor.varint()? {
            0 => Phase::Start,
            1 => Phase::Initialize,
            2 => Phase::Main,
            other => return Err(format!("phase {other} does not exist")),
        };
        let pause = self.pause()?;
        let frames = self.list(3, "frames", Self::frame)?;
        let globals = self.data(0)?;
        let memories = self.list(2, "memories", |d| {
            let bytes = d.cursor.varint()?;
            Ok(MemoryState { bytes, runs: d.list(3, "page runs", Self::run)? })
        })?;
        let tables = self.list(1, "tables", |d| {
            let elements = d.list(2, "table elements", |d| {
                Ok((d.datum(0)?, d.cursor.number("a repetition")?))
            })?;
            Ok(TableState { elements })
        })?;
        let dropped_data = self.list(1, "data segments", |d| d.cursor.number("a segment"))?;
        let dropped_elements =
            self.list(1, "element segments", |d| d.cursor.number("a segment"))?;
        let host = self.host()?;
        Ok(Checkpoint {
            tick,
            event,
            name,
            phase,
            pause,
            frames,
            globals,
            memories,
            tables,
            dropped_data,
            dropped_elements,
            host,
        })
    }

    fn name(&mut self) -> Result<String, String> {
        let len = self.cursor.count(1, "bytes of a name")?;
        if len > NAME_BYTES_MAX {
            return Err(format!("a name of {len} bytes, the most is {NAME_BYTES_MAX}"));
        }
        let bytes = self.cursor.take(len)?.to_vec();
        String::from_utf8(bytes).map_err(|e| format!("a name that is not text: {e}"))
    }

    fn pause(&mut self) -> Result<Pause, String> {
        match self.cursor.varint()? {
            0 => Ok(Pause::Tick),
            1 => {
                let number = self.cursor.byte()?;
                let function = Function::from_number(number)
                    .filter(|function| self.version >= 2 || !function.is_control())
                    .ok_or_else(|| format!("function number {number} does not exist"))?;
                let args = self.list(1, "arguments", |d| d.cursor.varint())?;
                Ok(Pause::Call { function, args })
            }
            other => Err(format!("pause {other} does not exist")),
        }
    }

    /// A list of items of at least `item_bytes` each.
    fn list<T>(
        &mut self,
        item_bytes: usize,
        what: &str,
        mut item: impl FnMut(&mut Self) -> Result<T, String>,
    ) -> Result<Vec<T>, String> {
        let count = self.cursor.count(item_bytes, what)?;
        self.count.take(count)?;
        let mut items = Vec::with_capacity(count);
        for _ in 0..count {
            items.push(item(self)?);
        }
        Ok(items)
    }

    fn frame(&mut self) -> Result<FrameState, String> {
        Ok(FrameState {
            function: self.cursor.number("a function")?,
            site: self.cursor.number("a site")?,
            values: self.data(0)?,
        })
    }

    fn run(&mut self) -> Result<PageRun, String> {
        Ok(PageRun {
            page: self.cursor.number("a page")?,
            id: PageId(self.cursor.number("a page's id")?),
            count: self.cursor.number("a count of pages")?,
        })
    }

    fn data(&mut self, depth: usize) -> Result<Vec<Datum>, String> {
        self.list(1, "values", |d| d.datum(depth))
    }

    fn datum(&mut self, depth: usize) -> Result<Datum, String> {
        let cursor = &mut self.cursor;
        Ok(match cursor.varint()? {
            0 => Datum::I32(unzigzag(u64::from(cursor.number::<u32>("an i32")?)) as i32),
            1 => Datum::I64(unzigzag(cursor.varint()?) as i64),
            2 => Datum::F32(cursor.number("an f32")?),
            3 => Datum::F64(cursor.varint()?),
            4 => Datum::V128(cursor.take(16)?.try_into().expect("16 bytes")),
            5 => Datum::Null,
            6 => Datum::Func(cursor.number("a function")?),
            7 if depth == EXCEPTION_DEPTH_MAX => return Err(too_deep()),
            7 => Datum::Exn { tag: cursor.number("a tag")?, fields: self.data(depth + 1)? },
            other => return Err(format!("a value of kind {other} does not exist")),
        })
    }

    /// The last field: it takes the rest.
    fn host(&self) -> Result<HostState, String> {
        let rest = self.cursor.rest();
        check_host_bytes(rest.len())?;
        match postcard::take_from_bytes(rest) {
            Ok((host, [])) => Ok(host),
            Ok((_, more)) => Err(format!("{} bytes too many", more.len())),
            Err(e) => Err(format!("the host's state: {e}")),
        }
    }
}
