//! Random programs that are all about control flow: nested blocks, loops, handlers and calls with operands that wait.
//!
//! wasm-smith's modules are valid but do little; these run to their end and mostly through what they hold.

use crate::Random;
use std::fmt::Write as _;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ty {
    I32,
    I64,
    F32,
    F64,
    V128,
    Func,
    /// A function of type `$t`, never null.
    Strict,
    Exn,
}

use Ty::{Exn, F32, F64, Func, I32, I64, Strict, V128};

const ALL: [Ty; 14] = [I32, I32, I32, I32, I32, I64, I64, F32, F64, F64, V128, Func, Strict, Exn];

impl Ty {
    fn text(self) -> &'static str {
        match self {
            I32 => "i32",
            I64 => "i64",
            F32 => "f32",
            F64 => "f64",
            V128 => "v128",
            Func => "funcref",
            Strict => "(ref $t)",
            Exn => "exnref",
        }
    }
}

fn list(kind: &str, types: &[Ty]) -> String {
    types.iter().map(|ty| format!("({kind} {}) ", ty.text())).collect()
}

#[derive(Clone, Debug)]
struct Signature {
    params: Vec<Ty>,
    results: Vec<Ty>,
}

struct Label {
    name: String,
    types: Vec<Ty>,
    is_loop: bool,
}

/// The payloads of tags `$e0`, `$e1`, ...
const TAGS: [&[Ty]; 3] = [&[], &[I32], &[I64, F64]];

struct Generator {
    random: Random,
    out: String,
    functions: Vec<Signature>,
    locals: Vec<Ty>,
    labels: Vec<Label>,
    names: usize,
    results: Vec<Ty>,
    budget: usize,
}

/// The functions that a module exports, each from `i32` to `i32`. The second one runs the first with new fuel on what is there.
pub const EXPORTS: [&str; 2] = ["f0", "again"];

/// A module with [`EXPORTS`].
#[must_use]
pub fn module(seed: u64) -> String {
    program(seed, "", "")
}

/// A command that calls [`EXPORTS`] and writes the results, the globals and the beginning of its memory.
#[must_use]
pub fn command(seed: u64) -> String {
    program(seed, crate::FD_WRITE, START)
}

/// What is shown comes from the first page's beginning and its end, which the generated code leaves alone.
const START: &str = r#"(func (export "_start")
    (i32.store (i32.const 65000) (call $f0 (i32.const 3)))
    (i32.store (i32.const 65004) (call $again (i32.const 4)))
    (i32.store (i32.const 65008) (global.get $i32))
    (i64.store (i32.const 65016) (global.get $i64))
    (f64.store (i32.const 65024) (global.get $f64))
    (i32.store (i32.const 65104) (i32.const 4096))
    (i32.store (i32.const 65108) (i32.const 65000))
    (i32.store (i32.const 65112) (i32.const 32))
    (drop (call $fd_write (i32.const 1) (i32.const 65100) (i32.const 2) (i32.const 65200))))"#;

fn program(seed: u64, import: &str, start: &str) -> String {
    let mut random = Random::new(seed);
    let count = 2 + random.below(5);
    let mut functions = Vec::new();
    for index in 0..count {
        let types = |random: &mut Random, most: usize, from: &[Ty]| {
            (0..random.below(most + 1)).map(|_| *random.pick(from)).collect::<Vec<Ty>>()
        };
        functions.push(match index {
            0 => Signature { params: vec![I32], results: vec![I32] },
            1 if random.one_in(2) => Signature { params: vec![I32], results: vec![I32] },
            _ => Signature {
                params: types(&mut random, 3, &ALL),
                results: types(&mut random, 3, &ALL),
            },
        });
    }
    let fuel = 8 + random.below(40);
    let mut generator = Generator {
        random,
        out: String::new(),
        functions,
        locals: Vec::new(),
        labels: Vec::new(),
        names: 0,
        results: Vec::new(),
        budget: 0,
    };
    generator.module(fuel, import, start)
}

impl Generator {
    fn module(&mut self, fuel: usize, import: &str, start: &str) -> String {
        let strict: Vec<usize> = self.strict();
        let mut text = String::from("(module (type $t (func (param i32) (result i32)))\n");
        text += "(import \"wasi_snapshot_preview1\" \"sched_yield\" (func $yield (result i32)))\n";
        text += "(import \"wasi_snapshot_preview1\" \"random_get\" (func $random (param i32 i32) (result i32)))\n";
        text += import;
        for (index, types) in TAGS.iter().enumerate() {
            let _ = writeln!(text, "(tag $e{index} {})", list("param", types));
        }
        text += "(memory (export \"memory\") 1 4) (data $d \"some bytes that are copied\")\n";
        let _ = writeln!(text, "(global $fuel (mut i32) (i32.const {fuel}))");
        text += "(global $i32 (mut i32) (i32.const 7)) (global $i64 (mut i64) (i64.const -7))\n";
        text += "(global $f64 (mut f64) (f64.const 1.5)) (global $func (mut funcref) (ref.null func))\n";
        text += "(table $table 8 20 funcref)\n(elem (i32.const 1) func";
        for index in 0..self.functions.len() {
            let _ = write!(text, " $f{index}");
        }
        text += ")\n(elem declare func";
        for index in strict {
            let _ = write!(text, " $f{index}");
        }
        text += ")\n(elem $s func $f0 $f0)\n";
        for index in 0..self.functions.len() {
            self.function(index);
        }
        text += &self.out;
        // A second run, with new fuel, on what the first one left.
        let _ = writeln!(
            text,
            "(func $again (export \"again\") (param i32) (result i32) (global.set $fuel (i32.const {fuel}))
               (i32.add (i32.const 1) (call $f0 (local.get 0))))
             {start})"
        );
        text
    }

    /// Functions of type `$t`.
    fn strict(&self) -> Vec<usize> {
        let is = |f: &Signature| f.params == [I32] && f.results == [I32];
        (0..self.functions.len()).filter(|&index| is(&self.functions[index])).collect()
    }

    fn function(&mut self, index: usize) {
        let signature = self.functions[index].clone();
        self.locals.clone_from(&signature.params);
        for _ in 0..1 + self.random.below(6) {
            let ty = *self.random.pick(&ALL);
            self.locals.push(ty);
        }
        self.results.clone_from(&signature.results);
        self.labels.clear();
        self.budget = 20 + self.random.below(60);
        let export = if index == 0 { "(export \"f0\") " } else { "" };
        let _ = writeln!(
            self.out,
            "(func $f{index} {export}{}{}{}",
            list("param", &signature.params),
            list("result", &signature.results),
            list("local", &self.locals[signature.params.len()..])
        );
        for local in signature.params.len()..self.locals.len() {
            if self.locals[local] == Strict {
                self.leaf_constant(Strict);
                let _ = writeln!(self.out, "local.set {local}");
            }
        }
        self.burn();
        self.put("global.get $fuel i32.const 0 i32.le_s if");
        for ty in signature.results.clone() {
            self.leaf_constant(ty);
        }
        self.put("return end");
        for _ in 0..2 + self.random.below(4) {
            self.statement(4);
        }
        for ty in signature.results {
            self.value(ty, 4);
        }
        self.put(")");
    }

    fn put(&mut self, text: &str) {
        self.out.push_str(text);
        self.out.push('\n');
    }

    fn burn(&mut self) {
        self.put("global.get $fuel i32.const 1 i32.sub global.set $fuel");
    }

    fn name(&mut self) -> String {
        self.names += 1;
        format!("$l{}", self.names)
    }

    fn local(&mut self, ty: Ty) -> Option<usize> {
        let fitting: Vec<usize> =
            (0..self.locals.len()).filter(|&l| self.locals[l] == ty).collect();
        (!fitting.is_empty()).then(|| *self.random.pick(&fitting))
    }

    fn leaf_constant(&mut self, ty: Ty) {
        let n = self.random.below(100);
        let strict = self.strict();
        let text = match ty {
            I32 => format!("i32.const {n}"),
            I64 => format!("i64.const {}", n as i64 - 50),
            F32 => format!("f32.const {n}.25"),
            F64 => format!("f64.const {n}.5"),
            V128 => format!("v128.const i32x4 {n} 1 2 3"),
            Func if n < 50 => "ref.null func".to_owned(),
            Func => format!("ref.func $f{}", n % self.functions.len()),
            Strict => format!("ref.func $f{}", strict[n % strict.len()]),
            Exn => "ref.null exn".to_owned(),
        };
        self.put(&text);
    }

    fn leaf(&mut self, ty: Ty) {
        if self.random.below(3) > 0
            && let Some(local) = self.local(ty)
        {
            return self.put(&format!("local.get {local}"));
        }
        let global = match ty {
            I32 => "$i32",
            I64 => "$i64",
            F64 => "$f64",
            Func => "$func",
            _ => return self.leaf_constant(ty),
        };
        if self.random.one_in(3) {
            return self.put(&format!("global.get {global}"));
        }
        self.leaf_constant(ty);
    }

    /// Pushes one value.
    fn value(&mut self, ty: Ty, depth: usize) {
        if depth == 0 || self.budget == 0 || self.random.one_in(5) {
            return self.leaf(ty);
        }
        self.budget -= 1;
        let depth = depth - 1;
        match self.random.below(13) {
            0..=2 => self.operation(ty, depth),
            3 => match self.local(ty) {
                Some(local) => {
                    self.value(ty, depth);
                    self.put(&format!("local.tee {local}"));
                }
                None => self.operation(ty, depth),
            },
            4 | 5 => self.block(&[], &[ty], depth),
            6 => self.if_else(&[], &[ty], depth),
            7 => self.loop_(&[], &[ty], depth),
            8 => {
                self.value(ty, depth);
                let before = *self.random.pick(&ALL);
                self.value(before, depth);
                match self.random.below(3) {
                    0 => self.block(&[ty, before], &[ty], depth),
                    1 => self.if_else(&[ty, before], &[ty], depth),
                    _ => self.loop_(&[ty, before], &[ty], depth),
                }
            }
            9 => self.try_value(ty, depth),
            10 => {
                self.value(ty, depth);
                self.value(ty, depth);
                self.value(I32, depth);
                self.put(&format!("select (result {})", ty.text()));
            }
            _ => self.call_for(ty, depth),
        }
    }

    fn operation(&mut self, ty: Ty, depth: usize) {
        match ty {
            I32 => match self.random.below(6) {
                0 => {
                    self.value(I64, depth);
                    self.put("i32.wrap_i64");
                }
                1 => {
                    self.value(Func, depth);
                    self.put("ref.is_null");
                }
                2 => {
                    self.value(I32, depth);
                    self.put("i32.const 1023 i32.and i32.load offset=4");
                }
                3 => self.put("call $yield"),
                4 => {
                    self.value(I32, depth);
                    self.put("i32.const 255 i32.and i32.const 8 call $random");
                }
                _ => {
                    self.value(I32, depth);
                    self.value(I32, depth);
                    let op = *self.random.pick(&["add", "sub", "xor", "lt_s", "eq", "mul"]);
                    self.put(&format!("i32.{op}"));
                }
            },
            I64 | F32 | F64 => {
                self.value(ty, depth);
                self.value(ty, depth);
                let op = *self.random.pick(&["add", "sub", "mul"]);
                self.put(&format!("{}.{op}", ty.text()));
            }
            V128 => {
                self.value(V128, depth);
                self.value(I64, depth);
                self.put("i64x2.replace_lane 1");
            }
            Func => {
                self.value(I32, depth);
                self.put("i32.const 3 i32.and table.get $table");
            }
            Strict | Exn => self.leaf(ty),
        }
    }

    /// A condition.
    fn condition(&mut self, depth: usize) {
        self.value(I32, depth);
        self.put("i32.const 1 i32.and");
    }

    fn open(&mut self, kind: &str, params: &[Ty], results: &[Ty]) -> String {
        let name = self.name();
        self.put(&format!("{kind} {name} {}{}", list("param", params), list("result", results)));
        let is_loop = kind == "loop";
        let types = if is_loop { params } else { results }.to_vec();
        self.labels.push(Label { name: name.clone(), types, is_loop });
        name
    }

    fn close(&mut self) {
        self.labels.pop();
        self.put("end");
    }

    /// What a block does with its parameters, and its results.
    fn body(&mut self, params: &[Ty], results: &[Ty], depth: usize) {
        if self.random.one_in(2) {
            self.statement(depth);
        }
        for &param in params.iter().rev() {
            match self.local(param) {
                Some(local) if self.random.below(3) > 0 => self.put(&format!("local.set {local}")),
                _ => self.put("drop"),
            }
            if self.random.one_in(3) {
                self.statement(depth);
            }
        }
        for _ in 0..self.random.below(3) {
            self.statement(depth);
        }
        for &result in results {
            self.value(result, depth);
        }
    }

    fn block(&mut self, params: &[Ty], results: &[Ty], depth: usize) {
        self.open("block", params, results);
        self.body(params, results, depth);
        self.close();
    }

    fn if_else(&mut self, params: &[Ty], results: &[Ty], depth: usize) {
        self.condition(depth);
        self.open("if", params, results);
        self.body(params, results, depth);
        self.put("else");
        self.body(params, results, depth);
        self.close();
    }

    fn loop_(&mut self, params: &[Ty], results: &[Ty], depth: usize) {
        let name = self.open("loop", params, results);
        self.burn();
        self.body(params, &[], depth);
        // Once more, as long as there is fuel.
        for &param in params {
            self.value(param, depth);
        }
        self.condition(depth);
        self.put(&format!("global.get $fuel i32.const 0 i32.gt_s i32.and br_if {name}"));
        for _ in params {
            self.put("drop");
        }
        for &result in results {
            self.value(result, depth);
        }
        self.close();
    }

    /// A value from a block that may be left by a handler, which gives it.
    fn try_value(&mut self, ty: Ty, depth: usize) {
        let outer = self.open("block", &[], &[ty]);
        let tag = self.random.below(TAGS.len());
        let (mut caught, with_ref) = (TAGS[tag].to_vec(), self.random.one_in(2));
        let all = self.random.one_in(3);
        if all {
            caught.clear();
        }
        if with_ref {
            caught.push(Exn);
        }
        // Sometimes the handler goes back to the start.
        let kind = if self.random.one_in(4) { "loop" } else { "block" };
        let params = if kind == "loop" { caught.clone() } else { Vec::new() };
        let results = if kind == "loop" { Vec::new() } else { caught.clone() };
        for &param in &params {
            self.leaf(param);
        }
        let handler = self.open(kind, &params, &results);
        if kind == "loop" {
            self.burn();
            for &param in params.iter().rev() {
                match self.local(param) {
                    Some(local) => self.put(&format!("local.set {local}")),
                    None => self.put("drop"),
                }
            }
        }
        let clause = match (all, with_ref) {
            (true, true) => format!("(catch_all_ref {handler})"),
            (true, false) => format!("(catch_all {handler})"),
            (false, true) => format!("(catch_ref $e{tag} {handler})"),
            (false, false) => format!("(catch $e{tag} {handler})"),
        };
        let name = self.name();
        self.put(&format!("try_table {name} (result {}) {clause}", ty.text()));
        self.labels.push(Label { name, types: vec![ty], is_loop: false });
        for _ in 0..1 + self.random.below(2) {
            self.statement(depth);
        }
        self.value(ty, depth);
        self.close();
        self.put(&format!("br {outer}"));
        self.close();
        for &result in results.iter().rev() {
            match self.local(result) {
                Some(local) => self.put(&format!("local.set {local}")),
                None => self.put("drop"),
            }
        }
        self.value(ty, depth);
        self.close();
    }

    /// Some call that gives this among its results.
    fn call_for(&mut self, ty: Ty, depth: usize) {
        if ty == I32 {
            match self.random.below(4) {
                0 => {
                    self.value(I32, depth);
                    self.value(Strict, depth);
                    return self.put("call_ref $t");
                }
                1 => {
                    self.value(I32, depth);
                    self.value(I32, depth);
                    // Element 1 is $f0.
                    self.put("drop i32.const 1 call_indirect $table (type $t)");
                    return;
                }
                _ => {}
            }
        }
        let fitting: Vec<usize> = (0..self.functions.len())
            .filter(|&f| self.functions[f].results.contains(&ty))
            .collect();
        if fitting.is_empty() {
            return self.leaf(ty);
        }
        let function = *self.random.pick(&fitting);
        let Signature { params, results } = self.functions[function].clone();
        for param in params {
            self.value(param, depth);
        }
        self.put(&format!("call $f{function}"));
        let wanted = results.iter().position(|&result| result == ty).expect("it is fitting");
        for &result in results[wanted + 1..].iter().rev() {
            match self.local(result) {
                Some(local) => self.put(&format!("local.set {local}")),
                None => self.put("drop"),
            }
        }
        // What is below is dropped behind the value that is wanted.
        for &below in results[..wanted].iter().rev() {
            let types = format!("{}{}", list("param", &[below, ty]), list("result", &[ty]));
            let name = self.name();
            match self.local(ty) {
                Some(local) => {
                    self.put(&format!(
                        "block {name} {types} local.set {local} drop local.get {local} end"
                    ));
                }
                None => {
                    self.put(&format!("block {name} {types} drop drop"));
                    self.leaf_constant(ty);
                    self.put("end");
                }
            }
        }
    }

    fn statement(&mut self, depth: usize) {
        if depth == 0 || self.budget == 0 {
            return;
        }
        self.budget -= 1;
        let depth = depth - 1;
        match self.random.below(20) {
            0..=3 => {
                let local = self.random.below(self.locals.len());
                let ty = self.locals[local];
                self.value(ty, depth);
                self.put(&format!("local.set {local}"));
            }
            4 => {
                let (ty, global) = *self.random.pick(&[
                    (I32, "$i32"),
                    (I64, "$i64"),
                    (F64, "$f64"),
                    (Func, "$func"),
                ]);
                self.value(ty, depth);
                self.put(&format!("global.set {global}"));
            }
            5 => {
                self.value(I32, depth);
                self.put("i32.const 1023 i32.and");
                self.value(I64, depth);
                self.put("i64.store offset=8");
            }
            6 | 7 => {
                let ty = *self.random.pick(&ALL);
                self.value(ty, depth);
                self.put("drop");
            }
            8 | 9 => self.branch_if(depth),
            10 => self.leave(depth),
            11 => self.block(&[], &[], depth),
            12 => self.if_else(&[], &[], depth),
            13 => self.loop_(&[], &[], depth),
            14 => {
                // An `if` without an `else`.
                self.condition(depth);
                self.open("if", &[], &[]);
                self.body(&[], &[], depth);
                self.close();
            }
            15 | 16 => self.throw(depth),
            17 => {
                let function = self.random.below(self.functions.len());
                let Signature { params, results } = self.functions[function].clone();
                for param in params {
                    self.value(param, depth);
                }
                self.put(&format!("call $f{function}"));
                for _ in results {
                    self.put("drop");
                }
            }
            18 => {
                let text = *self.random.pick(&[
                    "i32.const 1 memory.grow drop",
                    "i32.const 100 i32.const 0 i32.const 4 memory.init $d",
                    "data.drop $d",
                    "elem.drop $s",
                    "i32.const 4 i32.const 0 i32.const 1 table.init $table $s",
                    "ref.func $f0 i32.const 1 table.grow $table drop",
                    "i32.const 4 ref.func $f0 table.set $table",
                    "i32.const 0 global.get $i32 i32.const 16 memory.fill",
                ]);
                let risky = text.contains("init") && self.random.below(4) > 0;
                if !risky {
                    self.put(text);
                }
            }
            _ => {
                // Several values at once.
                let types: Vec<Ty> = (0..3).map(|_| *self.random.pick(&ALL)).collect();
                self.block(&[], &types, depth);
                for _ in types {
                    self.put("drop");
                }
            }
        }
    }

    fn fuelled(&mut self) {
        self.put("global.get $fuel i32.const 0 i32.gt_s i32.and");
    }

    fn branch_if(&mut self, depth: usize) {
        if self.labels.is_empty() {
            return;
        }
        let index = self.random.below(self.labels.len());
        let label = &self.labels[index];
        let (name, types, is_loop) = (label.name.clone(), label.types.clone(), label.is_loop);
        for &ty in &types {
            self.value(ty, depth);
        }
        self.condition(depth);
        if is_loop {
            self.fuelled();
        }
        self.put(&format!("br_if {name}"));
        for _ in types {
            self.put("drop");
        }
    }

    /// An `if` that does not come back.
    fn leave(&mut self, depth: usize) {
        self.condition(depth);
        self.fuelled();
        self.put("if");
        // The unnamed `if` counts as a label, too.
        let choice = self.random.below(4);
        match choice {
            0 if !self.labels.is_empty() => {
                let index = self.random.below(self.labels.len());
                let types = self.labels[index].types.clone();
                let fitting: Vec<String> = self
                    .labels
                    .iter()
                    .filter(|label| label.types == types)
                    .map(|label| label.name.clone())
                    .collect();
                for &ty in &types {
                    self.value(ty, depth);
                }
                self.value(I32, depth);
                let mut targets = String::new();
                for _ in 0..1 + self.random.below(4) {
                    targets.push_str(self.random.pick::<String>(&fitting));
                    targets += " ";
                }
                self.put(&format!("i32.const 3 i32.and br_table {targets}"));
            }
            1 => {
                let fitting: Vec<usize> = (0..self.functions.len())
                    .filter(|&f| self.functions[f].results == self.results)
                    .collect();
                let function = *self.random.pick(&fitting);
                for param in self.functions[function].params.clone() {
                    self.value(param, depth);
                }
                self.put(&format!("return_call $f{function}"));
            }
            2 if !self.labels.is_empty() => {
                let index = self.random.below(self.labels.len());
                for ty in self.labels[index].types.clone() {
                    self.value(ty, depth);
                }
                let name = self.labels[index].name.clone();
                self.put(&format!("br {name}"));
            }
            _ => {
                for ty in self.results.clone() {
                    self.value(ty, depth);
                }
                self.put("return");
            }
        }
        if self.random.one_in(3) {
            // What follows cannot be reached.
            self.put("block call $yield drop loop call $yield br_if 0 end end");
        }
        self.put("end");
    }

    fn throw(&mut self, depth: usize) {
        if self.random.one_in(4)
            && let Some(local) = self.local(Exn)
        {
            self.put(&format!("local.get {local} ref.is_null i32.eqz"));
            self.fuelled();
            return self.put(&format!("if local.get {local} throw_ref end"));
        }
        self.condition(depth);
        self.fuelled();
        self.put("if");
        let tag = self.random.below(TAGS.len());
        for &ty in TAGS[tag] {
            self.value(ty, depth);
        }
        self.put(&format!("throw $e{tag} end"));
    }
}
