//! Random programs that are all about floats and their bits: NaNs of any kind go through every kind of instruction.

use crate::Random;
use std::fmt::Write as _;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ty {
    I32,
    I64,
    F32,
    F64,
    V128,
}

use Ty::{F32, F64, I32, I64, V128};

const FLOATS: [Ty; 3] = [F32, F64, V128];
const LOCALS: [Ty; 12] = [I32, F32, F64, V128, F32, F32, F64, F64, V128, V128, V128, I32];
/// The first ones are parameters.
const PARAMS: usize = 4;

impl Ty {
    fn text(self) -> &'static str {
        match self {
            I32 => "i32",
            I64 => "i64",
            F32 => "f32",
            F64 => "f64",
            V128 => "v128",
        }
    }
}

const F32_CONSTS: [&str; 8] =
    ["0", "-0", "1.5", "-3e30", "inf", "-inf", "nan:0x12345", "-nan:0x400001"];
const F64_CONSTS: [&str; 8] =
    ["0", "-0", "2.5", "-1e300", "inf", "-inf", "nan:0x123456789", "-nan:0x8000000000001"];
const V128_CONSTS: [&str; 5] = [
    "i64x2 0 0",
    "f32x4 1 -inf nan:0x1234 0",
    "f64x2 -nan:0x123456789 inf",
    "i32x4 0x7fc00001 0xffc00000 0x7ff80000 0xfff00001",
    "f32x4 1e30 inf -1e30 2",
];

struct Generator {
    random: Random,
    functions: usize,
    labels: usize,
    budget: usize,
}

impl Generator {
    fn pick<'a>(&mut self, list: &[&'a str]) -> &'a str {
        list[self.random.below(list.len())]
    }

    fn local(&mut self, ty: Ty) -> usize {
        loop {
            let local = self.random.below(LOCALS.len());
            if LOCALS[local] == ty {
                return local;
            }
        }
    }

    fn address(&mut self) -> String {
        format!("(i32.const {})", self.random.below(16) * 4)
    }

    /// An expression of a type.
    fn value(&mut self, ty: Ty) -> String {
        if self.budget == 0 {
            return match ty {
                I64 => "(i64.const 7)".to_owned(),
                _ => format!("(local.get {})", self.local(ty)),
            };
        }
        self.budget -= 1;
        match self.random.below(12) {
            0 if ty != I64 => return format!("(local.get {})", self.local(ty)),
            1 if ty != I64 => {
                let value = self.value(ty);
                return format!("(local.tee {} {value})", self.local(ty));
            }
            2 => {
                let (one, other, which) = (self.value(ty), self.value(ty), self.value(I32));
                return format!("(select (result {}) {one} {other} {which})", ty.text());
            }
            3 => {
                let (one, other, which) = (self.value(ty), self.value(ty), self.value(I32));
                let (ty, statement) = (ty.text(), self.statement());
                return format!(
                    "(if (result {ty}) {which} (then {statement} {one}) (else {other}))"
                );
            }
            4 => {
                self.labels += 1;
                let label = self.labels;
                let (one, other, which) = (self.value(ty), self.value(ty), self.value(I32));
                let (ty, statement) = (ty.text(), self.statement());
                return format!(
                    "(block $b{label} (result {ty}) (br_if $b{label} {one} {which}) drop {statement} {other})"
                );
            }
            5 if ty != I64 && ty != I32 => {
                let address = self.address();
                return format!("({}.load {address})", ty.text());
            }
            _ => {}
        }
        match ty {
            I32 => match self.random.below(6) {
                0 => format!("(i32.reinterpret_f32 {})", self.value(F32)),
                1 => format!("(i32.trunc_sat_f64_s {})", self.value(F64)),
                2 => {
                    let op = self.pick(&["lt", "eq", "ne", "ge"]);
                    format!("(f64.{op} {} {})", self.value(F64), self.value(F64))
                }
                3 => format!("(i32x4.extract_lane 1 {})", self.value(V128)),
                4 => format!("(i32.wrap_i64 {})", self.value(I64)),
                _ => format!("(i32.const {})", self.random.below(3)),
            },
            I64 => format!("(i64.reinterpret_f64 {})", self.value(F64)),
            F32 => self.scalar(F32),
            F64 => self.scalar(F64),
            V128 => self.vector(),
        }
    }

    fn scalar(&mut self, ty: Ty) -> String {
        let name = ty.text();
        match self.random.below(16) {
            0 | 1 => {
                let consts = if ty == F32 { F32_CONSTS } else { F64_CONSTS };
                format!("({name}.const {})", self.pick(&consts))
            }
            2..=6 => {
                let op = self.pick(&["add", "sub", "mul", "div", "min", "max"]);
                format!("({name}.{op} {} {})", self.value(ty), self.value(ty))
            }
            7 | 8 => {
                let op = self.pick(&["sqrt", "ceil", "floor", "trunc", "nearest"]);
                format!("({name}.{op} {})", self.value(ty))
            }
            9 | 10 => {
                let op = self.pick(&["neg", "abs"]);
                format!("({name}.{op} {})", self.value(ty))
            }
            11 => format!("({name}.copysign {} {})", self.value(ty), self.value(ty)),
            12 if ty == F32 => format!("(f32.demote_f64 {})", self.value(F64)),
            12 => format!("(f64.promote_f32 {})", self.value(F32)),
            13 if ty == F32 => format!("(f32x4.extract_lane 2 {})", self.value(V128)),
            13 => format!("(f64x2.extract_lane 1 {})", self.value(V128)),
            14 => format!("(global.get ${name})"),
            _ if ty == F64 && self.functions > 0 => self.call(),
            _ => format!("({name}.convert_i32_s {})", self.value(I32)),
        }
    }

    fn vector(&mut self) -> String {
        let lanes = self.pick(&["f32x4", "f64x2"]);
        match self.random.below(14) {
            0 => format!("(v128.const {})", self.pick(&V128_CONSTS)),
            1..=3 => {
                let op = self.pick(&["add", "mul", "div", "min", "max", "pmin", "pmax"]);
                format!("({lanes}.{op} {} {})", self.value(V128), self.value(V128))
            }
            4 => {
                let op = self.pick(&["sqrt", "ceil", "nearest", "neg", "abs"]);
                format!("({lanes}.{op} {})", self.value(V128))
            }
            5 => {
                let op = self.pick(&["relaxed_madd", "relaxed_nmadd"]);
                let (a, b, c) = (self.value(V128), self.value(V128), self.value(V128));
                format!("({lanes}.{op} {a} {b} {c})")
            }
            6 => {
                let op = self.pick(&["relaxed_min", "relaxed_max", "eq", "lt"]);
                format!("({lanes}.{op} {} {})", self.value(V128), self.value(V128))
            }
            7 => format!("(f32x4.splat {})", self.value(F32)),
            8 => format!("(f64x2.replace_lane 0 {} {})", self.value(V128), self.value(F64)),
            9 => format!("(f32x4.replace_lane 3 {} {})", self.value(V128), self.value(F32)),
            10 => {
                let (a, b, c) = (self.value(V128), self.value(V128), self.value(V128));
                format!("(v128.bitselect {a} {b} {c})")
            }
            11 => {
                let op = self.pick(&["i32x4.add", "v128.xor", "i64x2.sub", "i8x16.swizzle"]);
                format!("({op} {} {})", self.value(V128), self.value(V128))
            }
            12 => {
                let op = self.pick(&[
                    "f32x4.demote_f64x2_zero",
                    "f64x2.promote_low_f32x4",
                    "f64x2.convert_low_i32x4_s",
                    "i32x4.trunc_sat_f32x4_s",
                ]);
                format!("({op} {})", self.value(V128))
            }
            _ => "(global.get $v128)".to_owned(),
        }
    }

    fn call(&mut self) -> String {
        let function = self.random.below(self.functions);
        let args: Vec<String> = LOCALS[..PARAMS].iter().map(|&ty| self.value(ty)).collect();
        format!("(call $f{function} {})", args.join(" "))
    }

    fn statement(&mut self) -> String {
        if self.budget == 0 {
            return String::new();
        }
        self.budget -= 1;
        let ty = FLOATS[self.random.below(FLOATS.len())];
        match self.random.below(9) {
            0..=3 => {
                let value = self.value(ty);
                format!("(local.set {} {value})", self.local(ty))
            }
            4 => {
                let address = self.address();
                format!("({}.store {address} {})", ty.text(), self.value(ty))
            }
            5 => format!("(global.set ${} {})", ty.text(), self.value(ty)),
            6 => "(drop (call $yield))".to_owned(),
            7 => {
                let which = self.value(I32);
                let (one, other) = (self.statement(), self.statement());
                format!("(if {which} (then {one}) (else {other}))")
            }
            _ => {
                self.labels += 1;
                let label = self.labels;
                let body: String = (0..3).map(|_| self.statement()).collect();
                format!(
                    "(local.set $n{label} (i32.const 3)) (loop $l{label} {body} \
                     (br_if $l{label} (local.tee $n{label} (i32.sub (local.get $n{label}) (i32.const 1)))))"
                )
            }
        }
    }
}

/// The functions that a module exports. They take an `i32`, an `f32`, an `f64` and a `v128`, and give an `f64`.
pub const EXPORTS: [&str; 3] = ["f0", "f1", "f2"];

/// A module with [`EXPORTS`], which keeps floats in its memory's beginning and in globals.
#[must_use]
pub fn module(seed: u64) -> String {
    program(seed, "", "")
}

/// A command that calls [`EXPORTS`] in turns and writes results, globals and memory.
#[must_use]
pub fn command(seed: u64) -> String {
    program(seed, crate::FD_WRITE, START)
}

const START: &str = r#"(func (export "_start") (local $i i32)
    (i32.store (i32.const 2004) (i32.const 1100))
    (loop $again
        (f64.store (i32.const 1024) (call $f0
            (i32.const 1) (f32.const nan:0x77) (f64.const 1.5) (v128.const f32x4 nan:0x3 1 -nan:0x55 inf)))
        (f64.store (i32.const 1032) (call $f1
            (i32.const 0) (f32.const 2.5) (f64.const -nan:0x77) (v128.const f32x4 -3 1 -nan inf)))
        (f64.store (i32.const 1040) (call $f2
            (local.get $i) (f32.const -0) (f64.const 1e30) (v128.const f64x2 nan:0x3 -inf)))
        (f32.store (i32.const 1048) (global.get $f32))
        (f64.store (i32.const 1056) (global.get $f64))
        (v128.store (i32.const 1064) (global.get $v128))
        (drop (call $fd_write (i32.const 1) (i32.const 2000) (i32.const 1) (i32.const 2008)))
        (br_if $again (i32.lt_s (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 3)))))"#;

fn program(seed: u64, import: &str, start: &str) -> String {
    let mut generator =
        Generator { random: Random::new(seed ^ 0xf10a7), functions: 0, labels: 0, budget: 0 };
    let mut out = format!(
        r#"(module (import "wasi_snapshot_preview1" "sched_yield" (func $yield (result i32))) {import}
        (memory (export "memory") 1)
        (global $f32 (export "f32") (mut f32) (f32.const nan:0x1))
        (global $f64 (export "f64") (mut f64) (f64.const -nan:0x1))
        (global $v128 (export "v128") (mut v128) (v128.const i32x4 1 2 0x7f800001 0xffc12345))"#,
    );
    for (function, name) in EXPORTS.into_iter().enumerate() {
        generator.functions = function;
        generator.budget = 60;
        let first_label = generator.labels;
        let body: String = (0..8).map(|_| generator.statement()).collect();
        let result = generator.value(F64);
        let params: String =
            LOCALS[..PARAMS].iter().map(|ty| format!("(param {})", ty.text())).collect();
        let locals: String =
            LOCALS[PARAMS..].iter().map(|ty| format!("(local {})", ty.text())).collect();
        let counters: String = (first_label + 1..=generator.labels)
            .map(|label| format!("(local $n{label} i32)"))
            .collect();
        write!(
            out,
            "(func ${name} (export \"{name}\") {params} (result f64) {locals} {counters} {body} {result})"
        )
        .expect("to a string");
    }
    out + start + ")"
}
