//! The Python that is inside of wrr, read from outside: `wit/debug.wit` describes what it publishes.

use crate::interpreter::{
    Address, Code, Evaluated, Frame, Interpreter, Place, Raising, Request, Scope,
};
use crate::memory::Memory;
use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use wrr::{Diversion, Diverted, Error, Test, View};

/// The most frames that are followed.
const FRAMES_MAX: usize = 100_000;
/// The most instructions of a code, and the most names.
const LIST_MAX: u32 = 1 << 20;
/// The size of an instruction.
const UNIT_BYTES: u32 = 2;
/// The longest name, in bytes.
const NAME_BYTES_MAX: u32 = 1 << 16;

/// Offsets, as the guest tells them: see `wit/debug.wit`.
#[derive(Clone, Copy, Debug, Default)]
struct Layout {
    current_frame: u32,
    frame_code: u32,
    frame_globals: u32,
    frame_slots: u32,
    frame_locals: u32,
    frame_lasti: u32,
    frame_previous: u32,
    object_type: u32,
    code_path: u32,
    code_name: u32,
    code_qualname: u32,
    code_locations: u32,
    code_names: u32,
    code_cells: u32,
    code_free: u32,
    location_size: u32,
    location_line: u32,
    str_data: u32,
    str_len: u32,
    cell_contents: u32,
    code_units: u32,
    op_handler: u32,
    op_reraise: u32,
    code_flags: u32,
    border: u32,
}

const LAYOUT_VERSION: u32 = 4;
const LAYOUT_WORDS: usize = 26;

/// The exports of the guest.
const LAYOUT: &str = "wrr_debug_layout";
const ROOM: &str = "wrr_debug_room";
const FLUSH: &str = "wrr_debug_flush";
const EVALUATE: &str = "wrr_debug_evaluate";

/// In the word of an object that counts its references: it is being destroyed; it is never; how many there are.
const DESTROYED: u32 = 1 << 31;
const IMMORTAL: u32 = 1 << 28;
const COUNT: u32 = IMMORTAL - 1;
/// Flags that say nothing about that.
const OTHER_FLAGS: [u32; 4] = [0, 1 << 29, 1 << 30, 3 << 29];

/// In a code's flags: it makes a generator, a coroutine, an asynchronous generator.
const GENERATORS: u32 = 0x20 | 0x80 | 0x100 | 0x200;

/// Types whose values are numbers, texts and the like.
const PLAIN: [&str; 9] =
    ["int", "str", "float", "bool", "NoneType", "bytes", "complex", "ellipsis", "range"];

/// Names of a mapping, in the order in which they were given: those that a person has given.
const NAMES: &str = "' '.join(n for n, v in _wrr_names.items() if isinstance(n, str) and n.isidentifier() and not n.startswith('__') and type(v).__name__ not in ('module', 'function', 'type', 'builtin_function_or_method'))";

/// An address and what [`Interpreter::code_id`] gives.
type CodeKey = (Address, [Address; 2]);

/// RustPython, as `wrr py` runs it.
pub struct Python {
    layout: Layout,
    /// The program stands in no file: it was given as an argument, or is typed.
    text_is_the_program: bool,
    codes: Mutex<HashMap<CodeKey, Arc<Code>>>,
}

impl Python {
    /// Asks the guest where things are. `text_is_the_program`: the program stands in no file.
    ///
    /// # Errors
    /// The guest says that it does not know, or nothing that can be understood.
    pub fn find(diversion: &mut Diversion<'_>, text_is_the_program: bool) -> Result<Python, Error> {
        let failed = |what: &str| Error::Host(format!("the guest's Python cannot be read: {what}"));
        let answer = match diversion.call(LAYOUT, &[])? {
            Diverted::Returned(values) => answer(diversion, &values),
            Diverted::Failed(what) => return Err(failed(&what)),
            Diverted::Interrupted => return Err(failed("interrupted")),
        };
        let answer = answer.ok_or_else(|| failed("its answer is not where it says"))?;
        let words: Vec<u32> = answer
            .chunks_exact(4)
            .map(|bytes| u32::from_le_bytes(bytes.try_into().expect("4 bytes")))
            .collect();
        match words.first() {
            Some(0) => return Err(failed(&String::from_utf8_lossy(&answer[4..]))),
            Some(&LAYOUT_VERSION) if words.len() == LAYOUT_WORDS => {}
            _ => return Err(failed("it has another layout than this wrr knows")),
        }
        let mut words = words.into_iter().skip(1);
        let mut next = || words.next().expect("they were counted");
        let layout = Layout {
            current_frame: next(),
            frame_code: next(),
            frame_globals: next(),
            frame_slots: next(),
            frame_locals: next(),
            frame_lasti: next(),
            frame_previous: next(),
            object_type: next(),
            code_path: next(),
            code_name: next(),
            code_qualname: next(),
            code_locations: next(),
            code_names: next(),
            code_cells: next(),
            code_free: next(),
            location_size: next(),
            location_line: next(),
            str_data: next(),
            str_len: next(),
            cell_contents: next(),
            code_units: next(),
            op_handler: next(),
            op_reraise: next(),
            code_flags: next(),
            border: next(),
        };
        Ok(Python { layout, text_is_the_program, codes: Mutex::new(HashMap::new()) })
    }

    fn text(&self, memory: Memory<'_>, string: Address) -> Option<String> {
        let data = memory.word(string.checked_add(self.layout.str_data)?)?;
        let len = memory.word(string.checked_add(self.layout.str_len)?)?;
        if len > NAME_BYTES_MAX {
            return None;
        }
        Some(String::from_utf8_lossy(memory.bytes(data, len)?).into_owned())
    }

    /// The names in a list.
    fn names(&self, memory: Memory<'_>, list: Address) -> Option<Vec<String>> {
        let (data, len) = list_at(memory, list)?;
        (0..len).map(|i| self.text(memory, memory.word(data.checked_add(4 * i)?)?)).collect()
    }

    fn read_code(&self, memory: Memory<'_>, address: Address) -> Option<Code> {
        let layout = &self.layout;
        let text = |offset: u32| {
            let string = memory.word(address.checked_add(offset)?)?;
            self.text(memory, string)
        };
        let (data, len) = list_at(memory, address.checked_add(layout.code_locations)?)?;
        let lines = (0..len).map(|index| {
            let location = data.checked_add(index.checked_mul(layout.location_size)?)?;
            memory.word(location.checked_add(layout.location_line)?)
        });
        let mut lines = lines.collect::<Option<Vec<u32>>>()?;
        // The first instruction of a handler has the line of whatever was compiled before it.
        for index in (0..lines.len().saturating_sub(1)).rev() {
            if self.raising(memory, address, index as u32) == Raising::Handler {
                lines[index] = lines[index + 1];
            }
        }
        let path = text(layout.code_path)?;
        // What is frozen into the interpreter is called by its module's name.
        let is_text = self.text_is_the_program && path.starts_with('<');
        let is_file = path.ends_with(".py") || path.contains(['/', '\\']);
        Some(Code {
            address,
            is_of_the_program: is_text || is_file,
            is_generator: self.word_of(memory, address, layout.code_flags) & GENERATORS != 0,
            path,
            name: text(layout.code_name)?,
            qualified_name: text(layout.code_qualname)?,
            lines,
        })
    }

    fn frame_at(&self, memory: Memory<'_>, address: Address, index: Option<u32>) -> Option<Frame> {
        let code = memory.word(address.checked_add(self.layout.frame_code)?)?;
        let code = self.code(memory, code)?;
        // One more than the number of the instruction.
        let last = memory.word(address.checked_add(self.layout.frame_lasti)?)?;
        Some(Frame { address, code, index: index.unwrap_or(last.saturating_sub(1)) })
    }

    /// The words that change with every instruction: how far each frame has come.
    fn progress(&self, memory: Memory<'_>) -> Vec<Range<u64>> {
        let mut words = Vec::new();
        let mut frame = memory.word(self.layout.current_frame).unwrap_or(0);
        while frame != 0 && words.len() < FRAMES_MAX {
            let word = u64::from(frame) + u64::from(self.layout.frame_lasti);
            words.push(word..word + 4);
            frame = self.word_of(memory, frame, self.layout.frame_previous);
        }
        words
    }

    /// The names of a frame's slots, and whether a slot holds a cell with the object in it.
    fn slots(&self, memory: Memory<'_>, frame: Address) -> Vec<(String, bool)> {
        let layout = &self.layout;
        let code = self.word_of(memory, frame, layout.frame_code);
        let names = |offset: u32| {
            let list = code.checked_add(offset);
            list.and_then(|list| self.names(memory, list)).unwrap_or_default()
        };
        let plain = names(layout.code_names);
        let cells = names(layout.code_cells);
        let mut all: Vec<(String, bool)> =
            plain.iter().map(|name| (name.clone(), cells.contains(name))).collect();
        let others = cells.into_iter().filter(|name| !plain.contains(name));
        all.extend(others.chain(names(layout.code_free)).map(|name| (name, true)));
        all
    }

    fn word_of(&self, memory: Memory<'_>, frame: Address, offset: u32) -> Address {
        frame.checked_add(offset).and_then(|at| memory.word(at)).unwrap_or(0)
    }
}

/// A list's data and length, if that can be one.
fn list_at(memory: Memory<'_>, list: Address) -> Option<(Address, u32)> {
    let len = memory.word(list.checked_add(4)?)?;
    (len <= LIST_MAX).then_some((memory.word(list)?, len))
}

/// The bytes that an export has answered with.
fn answer(diversion: &mut Diversion<'_>, values: &[u64]) -> Option<Vec<u8>> {
    let at = u32::try_from(*values.first()?).ok()?;
    let memory = Memory(diversion.memory(0)?);
    let len = memory.word(at)?;
    memory.bytes(at.checked_add(4)?, len).map(<[u8]>::to_vec)
}

impl Interpreter for Python {
    fn place(&self, view: &View<'_>) -> Option<Place> {
        let memory = Memory(view.memory);
        let frame = memory.word(self.layout.current_frame)?;
        let code = memory.word(frame.checked_add(self.layout.frame_code)?)?;
        let last = memory.word(frame.checked_add(self.layout.frame_lasti)?)?;
        Some(Place { frame, code, index: view.shown, before: last.checked_sub(1) })
    }

    fn code(&self, memory: Memory<'_>, address: Address) -> Option<Arc<Code>> {
        let key = (address, self.code_id(memory, address)?);
        let codes = || self.codes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(code) = codes().get(&key) {
            // Another code with the same names may have been at this address.
            let (data, len) = list_at(memory, address.checked_add(self.layout.code_locations)?)?;
            let line = data.checked_add(self.layout.location_line);
            let first = line.and_then(|line| memory.word(line));
            if len as usize == code.lines.len() && first == code.lines.first().copied() {
                return Some(Arc::clone(code));
            }
        }
        let code = Arc::new(self.read_code(memory, address)?);
        codes().insert(key, Arc::clone(&code));
        Some(code)
    }

    fn code_id(&self, memory: Memory<'_>, address: Address) -> Option<[Address; 2]> {
        // Strings that name things are never given up.
        Some([
            memory.word(address.checked_add(self.layout.code_qualname)?)?,
            memory.word(address.checked_add(self.layout.code_path)?)?,
        ])
    }

    fn frames(&self, memory: Memory<'_>, mut index: Option<u32>) -> Vec<Frame> {
        let mut frames = Vec::new();
        let mut next = memory.word(self.layout.current_frame).unwrap_or(0);
        while next != 0 && frames.len() < FRAMES_MAX {
            let Some(frame) = self.frame_at(memory, next, index.take()) else { break };
            frames.push(frame);
            next = self.word_of(memory, next, self.layout.frame_previous);
        }
        frames
    }

    fn in_frames(&self, frames: &[Address]) -> Test {
        let path = vec![self.layout.current_frame];
        Test::Word { path, among: frames.iter().map(|&frame| (frame, frame)).collect() }
    }

    fn in_new_code(&self) -> Test {
        let Layout { current_frame, frame_code, code_qualname, code_path, .. } = self.layout;
        let path = |name: u32| vec![current_frame, frame_code, name];
        Test::News { paths: [path(code_qualname), path(code_path)] }
    }

    fn in_activation(&self, frame: Address, code: Address) -> Test {
        let Layout { current_frame, frame_code, .. } = self.layout;
        let code = Test::Word { path: vec![current_frame, frame_code], among: vec![(code, code)] };
        Test::All(vec![self.in_frames(&[frame]), code])
    }

    fn frame_words(&self, frame: Address) -> Vec<Address> {
        vec![frame.wrapping_add(self.layout.frame_code)]
    }

    fn at_handler(&self) -> Test {
        let Layout { current_frame, frame_code, code_units, op_handler, .. } = self.layout;
        let path = vec![current_frame, frame_code, code_units];
        Test::Element { path, bytes: UNIT_BYTES, among: vec![(op_handler, op_handler)] }
    }

    fn at_beginning(&self, frame: Address, code: Address) -> Test {
        Test::All(vec![Test::Shown { among: vec![(0, 0)] }, self.in_activation(frame, code)])
    }

    fn scope(&self, memory: Memory<'_>, frame: Address) -> Scope {
        let layout = &self.layout;
        let globals = self.word_of(memory, frame, layout.frame_globals);
        let mapping = self.word_of(memory, frame, layout.frame_locals);
        let slots = self.word_of(memory, frame, layout.frame_slots);
        let mut locals = Vec::new();
        for (number, (name, is_cell)) in self.slots(memory, frame).into_iter().enumerate() {
            // The lowest bit says that the slot does not own its object.
            let mut object = self.word_of(memory, slots, 4 * number as u32) & !1;
            if is_cell && object != 0 {
                object = self.word_of(memory, object, layout.cell_contents);
            }
            if object != 0 {
                locals.push((name, object));
            }
        }
        Scope { globals, mapping: if mapping == globals { 0 } else { mapping }, locals }
    }

    fn mapping_names(
        &self,
        diversion: &mut Diversion<'_>,
        scope: &Scope,
    ) -> Result<Vec<String>, Error> {
        let mapping = if scope.mapping == 0 { scope.globals } else { scope.mapping };
        let request = Request {
            scope: Scope { globals: scope.globals, ..Scope::default() },
            names: vec![("_wrr_names".to_owned(), mapping)],
            source: NAMES.to_owned(),
            only_expression: true,
            text_bytes_max: NAME_BYTES_MAX,
        };
        Ok(match self.evaluate(diversion, &request)? {
            Evaluated::Value { text, .. } => {
                text.trim_matches('\'').split_whitespace().map(str::to_owned).collect()
            }
            _ => Vec::new(),
        })
    }

    fn local_names(&self, memory: Memory<'_>, frame: Address) -> Vec<(String, Vec<Address>)> {
        let slots = self.word_of(memory, frame, self.layout.frame_slots);
        let names = self.slots(memory, frame).into_iter().enumerate();
        names
            .map(|(number, (name, is_cell))| {
                let slot = slots.wrapping_add(4 * number as u32);
                let mut words = vec![slot];
                let cell = memory.word(slot).unwrap_or(0) & !1;
                if is_cell && cell != 0 {
                    words.push(cell.wrapping_add(self.layout.cell_contents));
                }
                (name, words)
            })
            .collect()
    }

    fn raising(&self, memory: Memory<'_>, code: Address, index: u32) -> Raising {
        let units = code.checked_add(self.layout.code_units);
        let unit = units.and_then(|units| {
            let (data, len) = list_at(memory, units)?;
            if index >= len {
                return None;
            }
            memory.bytes(data.checked_add(UNIT_BYTES * index)?, 1)
        });
        match unit {
            Some(&[op]) if u32::from(op) == self.layout.op_handler => Raising::Handler,
            Some(&[op]) if u32::from(op) == self.layout.op_reraise => Raising::Again,
            _ => Raising::Other,
        }
    }

    fn identity_words(&self, object: Address) -> Vec<Address> {
        [0, 4, self.layout.object_type].map(|offset| object.wrapping_add(offset)).to_vec()
    }

    fn is_object(&self, object: Address, identity: u64) -> Test {
        let word = |offset: u32, among: Vec<(u32, u32)>| Test::Word {
            path: vec![object.wrapping_add(offset)],
            among,
        };
        let exactly = |value: u32| vec![(value, value)];
        let counted = OTHER_FLAGS.map(|flags| (flags | 1, flags | IMMORTAL | COUNT));
        Test::All(vec![
            word(4, exactly((identity >> 32) as u32)),
            word(self.layout.object_type, exactly(identity as u32)),
            word(0, counted.to_vec()),
        ])
    }

    fn is_plain(&self, type_name: &str) -> bool {
        PLAIN.contains(&type_name)
    }

    fn identity(&self, memory: Memory<'_>, object: Address) -> Option<u64> {
        let references = memory.word(object)?;
        let is_alive =
            references & DESTROYED == 0 && (references & IMMORTAL != 0 || references & COUNT != 0);
        let table = memory.word(object.checked_add(4)?)?;
        let ty = memory.word(object.checked_add(self.layout.object_type)?)?;
        is_alive.then_some(u64::from(table) << 32 | u64::from(ty))
    }

    fn unwritten(&self, diversion: &mut Diversion<'_>) -> Result<Vec<u8>, Error> {
        diversion.take_printed();
        diversion.call(FLUSH, &[])?;
        Ok(diversion.take_printed())
    }

    fn evaluate(
        &self,
        diversion: &mut Diversion<'_>,
        request: &Request,
    ) -> Result<Evaluated, Error> {
        let Scope { globals, mapping, locals } = &request.scope;
        let names: Vec<_> = locals.iter().chain(&request.names).collect();
        let mut bytes = Vec::new();
        let number = |bytes: &mut Vec<u8>, number: u32| bytes.extend(number.to_le_bytes());
        let text = |bytes: &mut Vec<u8>, text: &str| {
            number(bytes, text.len() as u32);
            bytes.extend_from_slice(text.as_bytes());
        };
        number(&mut bytes, request.text_bytes_max);
        number(&mut bytes, *globals);
        number(&mut bytes, *mapping);
        number(&mut bytes, names.len() as u32);
        for (name, object) in names {
            number(&mut bytes, *object);
            text(&mut bytes, name);
        }
        number(&mut bytes, u32::from(request.only_expression));
        text(&mut bytes, &request.source);
        // Memory that has to do with the evaluation alone, and where the frames around it stand: an exception reads that.
        let mut own = self.progress(Memory(diversion.memory(0).unwrap_or_default()));
        for step in [FLUSH, ROOM, EVALUATE] {
            let len = [bytes.len() as u32];
            let args = if step == ROOM { &len[..] } else { &[] };
            let called = match step {
                EVALUATE => diversion.call_noting(step, args, self.layout.border)?,
                _ => diversion.call(step, args)?,
            };
            let values = match called {
                Diverted::Returned(values) => values,
                Diverted::Failed(what) => {
                    // What the interpreter has to say about it.
                    let printed = diversion.take_printed();
                    let said = String::from_utf8_lossy(&printed);
                    let last = said
                        .lines()
                        .rfind(|line| !line.trim().is_empty() && !line.starts_with("note:"));
                    let said = last.map_or(String::new(), |line| format!(": {}", line.trim()));
                    return Ok(Evaluated::Failed(format!("{what}{said}")));
                }
                Diverted::Interrupted => {
                    return Ok(Evaluated::Failed("interrupted".to_owned()));
                }
            };
            match step {
                // It was the program that has printed it.
                FLUSH => drop(diversion.take_printed()),
                ROOM => {
                    let at = values.first().copied().unwrap_or(0);
                    diversion.write_memory(0, at, &bytes)?;
                    own.push(at..at + bytes.len() as u64);
                }
                _ => {
                    let answer = answer(diversion, &values).unwrap_or_default();
                    let read = evaluated(&answer);
                    if let Some((_, made)) = &read {
                        own.extend_from_slice(made);
                    }
                    diversion.leave_out(&own);
                    diversion.call(FLUSH, &[])?;
                    let unclear = || Evaluated::Failed("its answer is none".to_owned());
                    return Ok(read.map_or_else(unclear, |(evaluated, _)| evaluated));
                }
            }
        }
        unreachable!("the last step returns")
    }
}

/// Reads an answer: what it came to, and the memory that was allocated for it.
fn evaluated(bytes: &[u8]) -> Option<(Evaluated, Vec<Range<u64>>)> {
    let memory = Memory(bytes);
    let (kind, object) = (memory.word(0)?, memory.word(4)?);
    let type_len = memory.word(8)?;
    let text =
        |at: u32, len: u32| Some(String::from_utf8_lossy(memory.bytes(at, len)?).into_owned());
    let type_name = text(12, type_len)?;
    let at = 12u32.checked_add(type_len)?;
    let text_len = memory.word(at)?;
    let text = text(at.checked_add(4)?, text_len)?;
    let at = at.checked_add(4)?.checked_add(text_len)?;
    let made = (0..memory.word(at)?).map(|number| {
        let piece = at.checked_add(4)?.checked_add(number.checked_mul(8)?)?;
        let (start, len) = (memory.word(piece)?, memory.word(piece.checked_add(4)?)?);
        Some(u64::from(start)..u64::from(start) + u64::from(len))
    });
    let made = made.collect::<Option<Vec<_>>>()?;
    let evaluated = match kind {
        0 => Evaluated::Nothing,
        1 => Evaluated::Value { object, type_name, text },
        2 => Evaluated::Raised { type_name, text },
        3 => Evaluated::SyntaxError(text),
        _ => return None,
    };
    Some((evaluated, made))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_that_are_cut_off_are_none() {
        let mut bytes = vec![1, 0, 0, 0, 0, 1, 0, 0, 3, 0, 0, 0];
        bytes.extend_from_slice(b"int\x02\0\0\0");
        bytes.extend_from_slice(b"42");
        // Two pieces of memory.
        for number in [2u32, 8, 4, 32, 16] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        let value =
            Evaluated::Value { object: 256, type_name: "int".to_owned(), text: "42".to_owned() };
        assert_eq!(evaluated(&bytes), Some((value, vec![8..12, 32..48])));
        for len in 0..bytes.len() {
            assert_eq!(evaluated(&bytes[..len]), None, "{len} bytes");
        }
    }
}
