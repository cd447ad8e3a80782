//! What a debugger asks of the interpreter: `wit/debug.wit` is the description.
//!
//! Nothing here runs while a program is recorded. A debugger reads the interpreter's structures in memory, with the help of the layout that is found
//! here; and it evaluates in a diversion, a copy of the program that is thrown away afterwards.
//!
//! Invariant: every offset is taken from the compiler or found in live structures, and tried on these before it is told.

use rustpython_vm::builtins::{PyBaseExceptionRef, PyCode, PyDict, PyDictRef, PyStr};
use rustpython_vm::bytecode::{Arg, Instruction};
use rustpython_vm::compiler::Mode;
use rustpython_vm::frame::InterpreterFrame;
use rustpython_vm::function::{ArgMapping, FuncArgs};
use rustpython_vm::scope::Scope;
use rustpython_vm::vm::thread::{get_current_frame, with_current_vm};
use rustpython_vm::{AsObject, Py, PyObject, PyObjectRef, PyRef, PyResult, VirtualMachine};
use std::cell::{Cell, RefCell};
use std::mem::{offset_of, size_of};
use std::ptr::NonNull;

const WORD: usize = size_of::<usize>();

/// Where things are, in bytes. The order is that of `wit/debug.wit`.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Layout {
    version: u32,
    /// The address of the word that points to the innermost frame.
    current_frame: u32,
    frame_code: u32,
    frame_globals: u32,
    /// The pointer to the slots of local variables.
    frame_slots: u32,
    /// The pointer to the mapping of local names, where there is one.
    frame_locals: u32,
    frame_lasti: u32,
    frame_previous: u32,
    object_type: u32,
    code_path: u32,
    code_name: u32,
    code_qualname: u32,
    /// Lists: a pointer, then the length in a word.
    code_locations: u32,
    code_names: u32,
    code_cells: u32,
    code_free: u32,
    /// Between two locations, and of the line in one.
    location_size: u32,
    location_line: u32,
    /// A pointer, then the length in bytes, somewhere: two offsets.
    str_data: u32,
    str_len: u32,
    cell_contents: u32,
    /// A list of instructions, each its number in a byte and its argument in another.
    code_units: u32,
    /// The number of the instruction with which a handler of exceptions begins, and of the one that raises again.
    op_handler: u32,
    op_reraise: u32,
    /// Flags as in CPython's `co_flags`.
    code_flags: u32,
    /// The address of the word that is written whenever the allocator is entered and left during an evaluation.
    border: u32,
}

const VERSION: u32 = 4;

thread_local! {
    static LAYOUT: Cell<Layout> = const { Cell::new(Layout {
        version: 0, current_frame: 0, frame_code: 0, frame_globals: 0, frame_slots: 0, frame_locals: 0, frame_lasti: 0,
        frame_previous: 0, object_type: 0, code_path: 0, code_name: 0, code_qualname: 0,
        code_locations: 0, code_names: 0, code_cells: 0, code_free: 0, location_size: 0, location_line: 0,
        str_data: 0, str_len: 0, cell_contents: 0, code_units: 0, op_handler: 0, op_reraise: 0, code_flags: 0, border: 0,
    }) };
    static PROBES: RefCell<Vec<Probe>> = const { RefCell::new(Vec::new()) };
    static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

unsafe extern "C" {
    static __global_base: u8;
    static __heap_base: u8;
}

/// What was seen from inside a Python function. Its frame is gone afterwards.
struct Probe {
    frame: usize,
    /// The words of the frame, each with the first ones of what it points to.
    words: Vec<(usize, [usize; SEEN])>,
    args: Vec<usize>,
}

/// How many words are looked at behind a pointer.
const SEEN: usize = 3;

impl Probe {
    /// The offset of a word of the frame, from an offset on.
    fn find(&self, from: usize, holds: impl Fn(usize, &[usize; SEEN]) -> bool) -> Option<usize> {
        let words = self.words.iter().enumerate().skip(from / WORD);
        let mut found = words.filter(|(_, (word, behind))| holds(*word, behind));
        found.next().map(|(number, _)| number * WORD)
    }
}

/// A word of memory.
fn word(address: usize) -> usize {
    // SAFETY: all callers name words of live structures, or of the static data.
    unsafe { std::ptr::read_volatile(address as *const usize) }
}

fn address<T: ?Sized>(object: &T) -> usize {
    std::ptr::from_ref(object).cast::<u8>() as usize
}

/// The first offset of a word in a structure for which something holds.
fn find(start: usize, bytes: usize, holds: impl Fn(usize) -> bool) -> Option<usize> {
    (0..bytes).step_by(WORD).find(|offset| holds(word(start + offset)))
}

const PROBE: &str = "\
def outer(probe, first, second):
    def inner(third, fourth, fifth):
        probe(third, fourth, fifth, inner.__code__, globals())
        return first
    probe(probe, first, second, outer.__code__, globals())
    inner(second, first, [first])
    return inner.__closure__
";

fn probe(args: FuncArgs, _vm: &VirtualMachine) -> PyResult<()> {
    let args = args.args.iter().map(|arg| address::<PyObject>(arg.as_object())).collect();
    let frame = get_current_frame() as usize;
    let end = core::arch::wasm32::memory_size(0) << 16;
    let words = (0..size_of::<InterpreterFrame>()).step_by(WORD).map(|offset| {
        let found = word(frame + offset);
        let is_pointer = found % WORD == 0 && found != 0 && found + SEEN * WORD <= end;
        let behind = std::array::from_fn(|i| if is_pointer { word(found + i * WORD) } else { 0 });
        (found, behind)
    });
    let words = words.collect();
    PROBES.with_borrow_mut(|probes| probes.push(Probe { frame, words, args }));
    Ok(())
}

/// Finds the layout, and tries it.
fn find_layout(vm: &VirtualMachine) -> Result<Layout, &'static str> {
    PROBES.with_borrow_mut(Vec::clear);
    let failed = |_| "the probe failed";
    let globals = vm.ctx.new_dict();
    let scope = Scope::with_builtins(None, globals.clone(), vm);
    vm.run_string(scope, PROBE, "<probe>").map_err(failed)?;
    let outer = globals.get_item("outer", vm).map_err(failed)?;
    let native: PyObjectRef = vm.new_function("probe", probe).into();
    let [first, second] = [(); 2].map(|()| PyObjectRef::from(vm.ctx.new_list(Vec::new())));
    let args: Vec<PyObjectRef> = vec![native.clone(), first.clone(), second.clone()];
    let closure = outer.call(args, vm).map_err(failed)?;
    // A frame with names in a mapping.
    let names = vm.ctx.new_dict();
    names.set_item("probe", native, vm).map_err(failed)?;
    names.set_item("first", first.clone(), vm).map_err(failed)?;
    let code = vm.compile("probe(first)", Mode::Exec, "<probe>").map_err(|_| "no compiler")?;
    let scope = Scope::new(Some(ArgMapping::from_dict_exact(names.clone())), globals.clone());
    vm.run_code_obj(code, scope).map_err(failed)?;

    PROBES.with_borrow(|probes| {
        let [one, two, three] = &probes[..] else { return Err("a call was not seen") };
        let mut layout = Layout { version: VERSION, ..Layout::default() };
        let put = |offset: Option<usize>, what: &'static str| offset.map(|o| o as u32).ok_or(what);

        // SAFETY: the linker defines both.
        let (data, heap) = unsafe { (address(&__global_base), address(&__heap_base)) };
        let now = get_current_frame() as usize;
        let holds_now: Vec<usize> =
            (data..heap).step_by(WORD).filter(|&at| word(at) == now).collect();
        layout.current_frame = put(watched(vm, &holds_now), "no word points to the frame")?;

        layout.border = crate::ALLOCATOR.border() as usize as u32;
        layout.frame_code = 0;
        for probe in [one, two] {
            if probe.words[0].0 != probe.args[3] {
                return Err("no code in the frame");
            }
        }
        let globals = one.find(WORD, |word, _| word == one.args[4]);
        layout.frame_globals = put(globals, "no globals in the frame")?;
        // In the frame of a call its arguments are the first slots.
        let slots = two.find(layout.frame_globals as usize, |_, behind| {
            (0..SEEN).all(|i| behind[i] & !1 == two.args[i])
        });
        layout.frame_slots = put(slots, "no slots in the frame")?;
        let names = address::<PyObject>(names.as_object());
        let locals = three.find(offset_of!(InterpreterFrame, locals), |word, _| word == names);
        layout.frame_locals = put(locals, "no names in the frame")?;
        layout.frame_lasti = offset_of!(InterpreterFrame, lasti) as u32;
        let behind = offset_of!(InterpreterFrame, generator);
        let previous = two.find(behind, |word, _| word == one.frame);
        layout.frame_previous = put(previous, "no caller in the frame")?;

        layout.object_type = put(
            find(address::<PyObject>(&first), 16 * WORD, |found| {
                found == address(vm.ctx.types.list_type)
            }),
            "no type in an object",
        )?;
        // SAFETY: it is the function's code, which lives as long as the function.
        let code: &Py<PyCode> = unsafe { &*(two.args[3] as *const Py<PyCode>) };
        let own = &code.code;
        let field = |field: usize| (field - address(code)) as u32;
        layout.code_path = field(address(&own.source_path));
        layout.code_name = field(address(&own.obj_name));
        layout.code_qualname = field(address(&own.qualname));
        layout.code_flags = field(address(&own.flags));
        layout.code_locations = field(address(&own.locations));
        layout.code_names = field(address(&own.varnames));
        layout.code_cells = field(address(&own.cellvars));
        layout.code_free = field(address(&own.freevars));
        let units = own.instructions.as_ptr() as usize;
        let found = find(address(code), size_of::<Py<PyCode>>(), |found| found == units);
        layout.code_units = put(found, "no instructions in a code")?;
        if word(address(code) + layout.code_units as usize + WORD) != own.instructions.len() {
            return Err("instructions are not a pointer and a length");
        }
        layout.op_handler = u8::from(Instruction::PushExcInfo).into();
        layout.op_reraise = u8::from(Instruction::Reraise { depth: Arg::marker() }).into();
        let (start, _) = code.code.locations.first().ok_or("a function without instructions")?;
        layout.location_size = size_of_val(&code.code.locations[0]) as u32;
        layout.location_line = (address(&start.line) - address(&code.code.locations[0])) as u32;
        if word(address(code) + layout.code_locations as usize + WORD) != code.code.locations.len()
        {
            return Err("lists are not a pointer and a length");
        }
        let name: &Py<PyStr> = code.code.qualname;
        if word(address(code) + layout.code_qualname as usize) != address(name) {
            return Err("names are not pointers to strings");
        }
        let text = name.as_wtf8();
        let str_bytes = size_of::<PyStr>() + 16 * WORD;
        let found = find(address(name), str_bytes, |found| found == text.as_bytes().as_ptr() as usize);
        layout.str_data = put(found, "no text in a string")?;
        let found = find(address(name) + layout.str_data as usize, 2 * WORD, |f| f == text.len());
        layout.str_len = put(found, "no length in a string")? + layout.str_data;
        let closure: PyRef<rustpython_vm::builtins::PyTuple> =
            closure.downcast().map_err(|_| "a closure is no tuple")?;
        let held = closure
            .iter()
            .find_map(|cell| {
                find(address::<PyObject>(cell), 16 * WORD, |found| {
                    found == address::<PyObject>(&first)
                })
            });
        layout.cell_contents = put(held, "no contents in a cell")?;
        Ok(layout)
    })
}

/// Which of these words points to the innermost frame, also inside of another one.
fn watched(vm: &VirtualMachine, words: &[usize]) -> Option<usize> {
    thread_local! {
        static INSIDE: RefCell<(usize, Vec<usize>)> = const { RefCell::new((0, Vec::new())) };
    }
    INSIDE.with_borrow_mut(|inside| *inside = (0, words.to_vec()));
    let look = vm.new_function("look", |_args: FuncArgs, _vm: &VirtualMachine| -> PyResult<()> {
        let now = get_current_frame() as usize;
        INSIDE.with_borrow_mut(|(times, words)| {
            *times += 1;
            words.retain(|&at| word(at) == now);
        });
        Ok(())
    });
    let names = vm.ctx.new_dict();
    names.set_item("look", look.into(), vm).ok()?;
    let scope = Scope::with_builtins(None, names, vm);
    vm.run_string(scope, "def f(n):\n    look()\n    if n: f(n - 1)\nf(3)\n", "<probe>").ok()?;
    INSIDE.with_borrow(|(times, words)| match &words[..] {
        [one] if *times == 4 => Some(*one),
        _ => None,
    })
}

/// The layout, or null and the reason in the buffer. Needs a running program: it is found in a diversion.
#[unsafe(no_mangle)]
pub extern "C" fn wrr_debug_layout() -> *const u8 {
    let found = with_current_vm(find_layout);
    let bytes = match found {
        Ok(layout) => {
            LAYOUT.set(layout);
            LAYOUT.with(|layout| {
                let start = layout.as_ptr().cast::<u8>();
                // SAFETY: it is plain data without padding: words of 32 bits.
                unsafe { std::slice::from_raw_parts(start, size_of::<Layout>()) }.to_vec()
            })
        }
        Err(why) => [&0u32.to_le_bytes()[..], why.as_bytes()].concat(),
    };
    answer(bytes)
}

/// Room for a request of so many bytes.
#[unsafe(no_mangle)]
pub extern "C" fn wrr_debug_room(len: u32) -> *mut u8 {
    BUFFER.with_borrow_mut(|buffer| {
        buffer.clear();
        buffer.resize(len as usize, 0);
        buffer.as_mut_ptr()
    })
}

/// Writes out what the program has printed but not written yet.
#[unsafe(no_mangle)]
pub extern "C" fn wrr_debug_flush() {
    with_current_vm(|vm| {
        for stream in ["stdout", "stderr"] {
            let stream = vm.sys_module.get_attr(stream, vm);
            let _ = stream.and_then(|stream| vm.call_method(&stream, "flush", ()));
        }
    });
}

/// A length in 4 bytes, then so many bytes.
fn answer(bytes: Vec<u8>) -> *const u8 {
    let len = bytes.len() as u32;
    BUFFER.with_borrow_mut(|buffer| {
        *buffer = [&len.to_le_bytes()[..], &bytes].concat();
        buffer.as_ptr()
    })
}

/// A request that is being read. The debugger writes no wrong ones.
struct Request<'a>(&'a [u8]);

impl<'a> Request<'a> {
    fn number(&mut self) -> u32 {
        let (number, rest) = self.0.split_first_chunk().expect("a request ends too early");
        self.0 = rest;
        u32::from_le_bytes(*number)
    }

    fn text(&mut self) -> &'a str {
        let len = self.number() as usize;
        let (text, rest) = self.0.split_at(len);
        self.0 = rest;
        std::str::from_utf8(text).expect("a request is not UTF-8")
    }

    /// An object by its address; `None` for 0.
    fn object(&mut self) -> Option<PyObjectRef> {
        let pointer = NonNull::new(self.number() as usize as *mut PyObject)?;
        // SAFETY: the debugger has found it in a live structure, which keeps it alive.
        Some(unsafe { pointer.as_ref() }.to_owned())
    }
}

/// What came of an evaluation, as `wit/debug.wit` numbers it.
enum Came {
    Nothing,
    Value(PyObjectRef),
    Raised(PyBaseExceptionRef),
    SyntaxError(String),
}

/// Evaluates the request that is in the buffer.
#[unsafe(no_mangle)]
pub extern "C" fn wrr_debug_evaluate() -> *const u8 {
    let here = 0;
    crate::ALLOCATOR.begin(std::hint::black_box(&raw const here));
    evaluate_request()
}

/// In a frame of its own, which lies below its caller's.
#[inline(never)]
fn evaluate_request() -> *const u8 {
    let request = BUFFER.take();
    with_current_vm(|vm| {
        vm.recursion_limit.set(vm.recursion_limit.get() + 500);
        let mut request = Request(&request);
        let text_bytes_max = request.number() as usize;
        let globals = request.object().and_then(|object| object.downcast::<PyDict>().ok());
        let locals = request.object();
        let count = request.number();
        let bindings: Vec<(&str, PyObjectRef)> = (0..count)
            .filter_map(|_| {
                let object = request.object();
                let name = request.text();
                Some((name, object?))
            })
            .collect();
        let only_expression = request.number() != 0;
        let source = request.text();
        let globals = globals.unwrap_or_else(|| vm.ctx.new_dict());
        let came = evaluate(vm, source, only_expression, (globals, locals), &bindings);
        described(vm, came, text_bytes_max)
    })
}

fn evaluate(
    vm: &VirtualMachine,
    source: &str,
    only_expression: bool,
    (globals, locals): (PyDictRef, Option<PyObjectRef>),
    bindings: &[(&str, PyObjectRef)],
) -> Came {
    let path = "<debugger>";
    let (code, is_expression) = match vm.compile(source.trim(), Mode::Eval, path) {
        Ok(code) => (code, true),
        Err(error) if only_expression => {
            return Came::SyntaxError(error.to_string());
        }
        Err(_) => match vm.compile(source, Mode::Exec, path) {
            Ok(code) => (code, false),
            Err(error) => return Came::SyntaxError(error.to_string()),
        },
    };
    let result = scope_of(vm, &code, globals, locals, bindings)
        .and_then(|scope| vm.run_code_obj(code, scope));
    match result {
        Ok(value) if is_expression => Came::Value(value),
        Ok(_) => Came::Nothing,
        Err(raised) => Came::Raised(raised),
    }
}

/// The names that a code and those inside of it look up.
fn names_of(code: &Py<PyCode>, names: &mut Vec<&'static str>) {
    for name in &code.code.names {
        names.push(name.as_str());
    }
    for constant in code.code.constants.iter() {
        let object: &PyObject = std::borrow::Borrow::borrow(constant);
        if let Some(inner) = object.downcast_ref::<PyCode>() {
            names_of(inner, names);
        }
    }
}

/// Where the code looks its names up. With local variables that is a new mapping, in which only those that it names are put, so that nothing
/// else is read: what it depends on may be asked for.
fn scope_of(
    vm: &VirtualMachine,
    code: &Py<PyCode>,
    globals: PyDictRef,
    locals: Option<PyObjectRef>,
    bindings: &[(&str, PyObjectRef)],
) -> PyResult<Scope> {
    let locals = locals.filter(|locals| !locals.is(globals.as_object()));
    if bindings.is_empty() && locals.is_none() {
        let names = ArgMapping::from_dict_exact(globals.clone());
        return Ok(Scope::new(Some(names), globals));
    }
    let mut names = vec!["__builtins__", "__name__"];
    names_of(code, &mut names);
    let own = vm.ctx.new_dict();
    for name in names {
        let bound = bindings.iter().find(|(known, _)| *known == name);
        let value = match (bound, &locals) {
            (Some((_, object)), _) => Some(object.clone()),
            (None, Some(locals)) => match locals.get_item(name, vm) {
                Ok(value) => Some(value),
                Err(_) => globals.get_item_opt(name, vm)?,
            },
            (None, None) => globals.get_item_opt(name, vm)?,
        };
        if let Some(value) = value {
            own.set_item(name, value, vm)?;
        }
    }
    let names = ArgMapping::from_dict_exact(own.clone());
    Ok(Scope::new(Some(names), own))
}

/// The answer: a number that says what came of it, the value's address, its type's name, and a text, both with their lengths; then how many
/// pieces of memory were allocated for it, and their addresses and lengths.
fn described(vm: &VirtualMachine, came: Came, text_bytes_max: usize) -> *const u8 {
    let mut object = 0;
    let mut type_name = String::new();
    let (kind, mut text) = match came {
        Came::Nothing => (0u32, String::new()),
        Came::Value(value) => {
            object = address::<PyObject>(&value) as u32;
            type_name = value.class().name().to_string();
            let shown = value.repr(vm).map(|repr| repr.to_string_lossy().into_owned());
            // It must live until the debugger has looked at it.
            std::mem::forget(value);
            match shown {
                Ok(text) => (1, text),
                Err(raised) => (1, format!("<repr() raised {}>", short(vm, &raised))),
            }
        }
        Came::Raised(raised) => {
            type_name = raised.class().name().to_string();
            (2, short(vm, &raised))
        }
        Came::SyntaxError(what) => (3, what),
    };
    if text.len() > text_bytes_max {
        let end = text.floor_char_boundary(text_bytes_max);
        text.truncate(end);
        text.push('…');
    }
    let made = crate::ALLOCATOR.end();
    let mut bytes = kind.to_le_bytes().to_vec();
    bytes.extend_from_slice(&object.to_le_bytes());
    for text in [&type_name, &text] {
        bytes.extend_from_slice(&(text.len() as u32).to_le_bytes());
        bytes.extend_from_slice(text.as_bytes());
    }
    bytes.extend_from_slice(&(made.len() as u32).to_le_bytes());
    for number in made.into_iter().flatten() {
        bytes.extend_from_slice(&number.to_le_bytes());
    }
    answer(bytes)
}

/// An exception in a line.
fn short(vm: &VirtualMachine, raised: &PyBaseExceptionRef) -> String {
    let name = raised.class().name().to_string();
    match raised.as_object().str(vm) {
        Ok(text) if text.byte_len() > 0 => format!("{name}: {}", text.to_string_lossy()),
        _ => name,
    }
}
