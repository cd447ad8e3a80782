//! Which NaNs are made canonical, and where.
//!
//! What NaN an arithmetic instruction gives is left open by the specification (section 4.3.3, *NaN propagation*), and
//! processors differ. Here all of them stand for the canonical one (positive, quiet, no payload), but a NaN is only replaced
//! where its bits can be seen: when it is stored, passed on, reinterpreted, given another sign. Arithmetic and comparisons
//! take any NaN for any other, so a loop that only computes has nothing to pay.
//!
//! Each operand that can hold floats is a *node*; nodes refer to older nodes only. A *class* says what the bits of a value mean:
//!
//! ```text
//!            Exact           they are what they are: loaded, passed, negated, …
//!          /   |   \
//!   Raw(F32) … Raw(F64x2)    a NaN in it stands for the canonical one
//!          \   |   /
//!           Neutral          there is no NaN in it
//! ```
//!
//! Where an exact value and a raw one become one (a `select`, two assignments to a local), the raw one is replaced before.
//! Not so in a local, which compilers use for one value after another, if its bits are never seen: what NaN it holds does not
//! matter then.
//! Invariant: replacing a raw value's NaN earlier than necessary changes nothing that can be seen.

use std::collections::BTreeMap;
use wasm_encoder::ValType;
use wasmparser::Operator;

/// How bits are read as floats.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Shape {
    F32,
    F64,
    F32x4,
    F64x2,
}

impl Shape {
    /// The type of values of this shape.
    pub fn ty(self) -> ValType {
        match self {
            Shape::F32 => ValType::F32,
            Shape::F64 => ValType::F64,
            Shape::F32x4 | Shape::F64x2 => ValType::V128,
        }
    }

    fn has_lanes_of(self, other: Shape) -> bool {
        let wide = |shape| matches!(shape, Shape::F64 | Shape::F64x2);
        wide(self) == wide(other)
    }
}

/// What the bits of a value mean; see the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    Neutral,
    Raw(Shape),
    Exact,
}

impl Class {
    fn join(self, other: Class) -> Class {
        match (self, other) {
            (Class::Neutral, class) | (class, Class::Neutral) => class,
            (one, other) if one == other => one,
            _ => Class::Exact,
        }
    }
}

/// Where a value comes from.
#[derive(Clone, Copy, Debug)]
enum Node {
    Exact,
    Neutral,
    /// The result of arithmetic at this offset.
    Arithmetic {
        at: u32,
        shape: Shape,
    },
    /// What a local holds.
    Get {
        at: u32,
        local: u32,
        weight: u32,
    },
    /// Lanes of these, as they are. Without a shape: one of the two as a whole.
    Mix {
        at: u32,
        shape: Option<Shape>,
        of: [NodeId; 2],
    },
    /// It with another sign.
    Signed {
        shape: Shape,
        of: NodeId,
    },
}

/// The number of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NodeId(u32);

impl NodeId {
    /// A value whose bits are what they are; also everything that holds no floats.
    pub const EXACT: NodeId = NodeId(0);
    /// A value without NaNs.
    const NEUTRAL: NodeId = NodeId(1);
}

/// What an instruction does with floats.
enum Effect {
    /// Computes: how it reads its operands, what it gives.
    Arithmetic(Shape, Shape),
    /// Reads its operands as numbers and gives none.
    Reads(Shape),
    /// Its result has no NaN.
    Makes,
    /// Passes lanes on: how it reads its operands, what it gives.
    Passes(Shape, Shape),
    /// Changes the sign.
    Negates(Shape),
    /// Gives its first operand the second one's sign.
    CopiesSign(Shape),
    /// Gives one of two.
    Selects,
    /// Forgets its operand.
    Drops,
    /// Can see the bits of its operands.
    Looks,
}

/// What is known of one function's floats while its code is walked through.
pub(crate) struct Floats {
    nodes: Vec<Node>,
    /// Assignments: the local, what it gets, how often that is thought to happen.
    sets: Vec<(u32, NodeId, u32)>,
    /// Values whose bits are seen.
    seen: Vec<NodeId>,
    /// Values that are read as floats of a shape; only vectors could be of another one.
    read: Vec<(NodeId, Shape)>,
    /// By local: what it is before the first assignment.
    initial: Vec<Class>,
    /// By local: the form of the float that it holds, if it holds one.
    scalars: Vec<Option<Shape>>,
    /// By local: raw values are replaced before they are assigned to it.
    exact: Vec<bool>,
}

/// What is done about a function's NaNs.
#[derive(Clone, Debug, Default)]
pub(crate) struct Canonical {
    /// Instructions whose result is made canonical, by offset.
    pub after: BTreeMap<u32, Shape>,
    /// By local: whether what it holds still has to be, before it is saved.
    pub locals: Vec<Option<Shape>>,
}

impl Floats {
    /// Nothing is known of a function with these locals, the first ones of which are its parameters.
    pub fn new(locals: &[ValType], params: usize) -> Floats {
        let floats = |ty: &ValType| matches!(ty, ValType::F32 | ValType::F64 | ValType::V128);
        let class = |(local, ty)| match local >= params && floats(ty) {
            true => Class::Neutral,
            false => Class::Exact,
        };
        let initial = locals.iter().enumerate().map(class).collect();
        let scalar = |ty: &ValType| match ty {
            ValType::F32 => Some(Shape::F32),
            ValType::F64 => Some(Shape::F64),
            _ => None,
        };
        Floats {
            nodes: vec![Node::Exact, Node::Neutral],
            sets: Vec::new(),
            seen: Vec::new(),
            read: Vec::new(),
            initial,
            scalars: locals.iter().map(scalar).collect(),
            exact: vec![false; locals.len()],
        }
    }

    fn add(&mut self, node: Node) -> NodeId {
        self.nodes.push(node);
        NodeId(self.nodes.len() as u32 - 1)
    }

    /// The bits of a value can be seen.
    pub fn seen(&mut self, node: NodeId) {
        if node != NodeId::EXACT && node != NodeId::NEUTRAL {
            self.seen.push(node);
        }
    }

    fn read(&mut self, node: NodeId, shape: Shape) {
        if shape.ty() == ValType::V128 && node != NodeId::EXACT && node != NodeId::NEUTRAL {
            self.read.push((node, shape));
        }
    }

    /// A local is read in so many loops.
    pub fn get(&mut self, at: u32, local: u32, ty: ValType, loops: u32) -> NodeId {
        match ty {
            ValType::F32 | ValType::F64 | ValType::V128 => {
                self.add(Node::Get { at, local, weight: weight(loops) })
            }
            _ => NodeId::EXACT,
        }
    }

    /// A local is assigned to in so many loops.
    pub fn set(&mut self, local: u32, value: NodeId, loops: u32) {
        // Nothing is to be decided about integers.
        if value != NodeId::EXACT || self.initial[local as usize] != Class::Exact {
            self.sets.push((local, value, weight(loops)));
        }
    }

    /// An instruction at this offset takes these and gives what is returned.
    pub fn instruction(&mut self, op: &Operator<'_>, at: u32, operands: &[NodeId]) -> NodeId {
        match effect(op) {
            Effect::Arithmetic(reads, gives) => {
                operands.iter().for_each(|&operand| self.read(operand, reads));
                self.add(Node::Arithmetic { at, shape: gives })
            }
            Effect::Reads(shape) => {
                operands.iter().for_each(|&operand| self.read(operand, shape));
                NodeId::EXACT
            }
            Effect::Makes => NodeId::NEUTRAL,
            Effect::Passes(reads, gives) => {
                for &operand in operands {
                    // Of the operands of `replace_lane` one is a vector and one is not.
                    self.read(operand, if gives.ty() == ValType::V128 { gives } else { reads });
                }
                match *operands {
                    [of] => self.mix(at, Some(gives), [of, NodeId::NEUTRAL]),
                    [one, other] => self.mix(at, Some(gives), [one, other]),
                    _ => NodeId::EXACT,
                }
            }
            Effect::Negates(shape) => {
                let of = operands[0];
                self.read(of, shape);
                self.signed(shape, of)
            }
            Effect::CopiesSign(shape) => {
                self.seen(operands[1]);
                self.signed(shape, operands[0])
            }
            Effect::Selects => self.mix(at, None, [operands[0], operands[1]]),
            Effect::Drops => NodeId::EXACT,
            Effect::Looks => {
                operands.iter().for_each(|&operand| self.seen(operand));
                NodeId::EXACT
            }
        }
    }

    fn mix(&mut self, at: u32, shape: Option<Shape>, of: [NodeId; 2]) -> NodeId {
        if of.iter().any(|&of| of != NodeId::EXACT && of != NodeId::NEUTRAL) {
            return self.add(Node::Mix { at, shape, of });
        }
        if of.contains(&NodeId::EXACT) { NodeId::EXACT } else { NodeId::NEUTRAL }
    }

    fn signed(&mut self, shape: Shape, of: NodeId) -> NodeId {
        match self.nodes[of.0 as usize] {
            Node::Exact | Node::Neutral => NodeId::EXACT,
            _ => self.add(Node::Signed { shape, of }),
        }
    }

    /// Decides.
    pub fn finish(mut self) -> Canonical {
        if self.nodes.len() == 2 {
            return Canonical::default();
        }
        let users = self.users();
        let mut solved = self.solve(&users);
        for round in 1.. {
            let seen = solved.demanded.iter().filter_map(|id| match self.nodes[id.0 as usize] {
                Node::Get { local, .. } if solved.mixed[local as usize] => Some(local),
                _ => None,
            });
            let seen: Vec<u32> = seen.collect();
            if seen.is_empty() {
                break;
            }
            match round {
                ROUNDS_MAX => {
                    let all = self.exact.iter_mut().zip(&solved.mixed);
                    all.for_each(|(exact, mixed)| *exact |= mixed);
                }
                _ => seen.iter().for_each(|&local| self.exact[local as usize] = true),
            }
            solved = self.solve(&users);
        }
        // A local may be cheaper to make canonical when it gets its value than whenever its bits are seen.
        let locals = self.initial.len();
        let (mut at_gets, mut at_sets) = (vec![0u64; locals], vec![0u64; locals]);
        for node in solved.demanded.iter().filter_map(|id| self.nodes.get(id.0 as usize)) {
            if let Node::Get { local, weight, .. } = *node {
                at_gets[local as usize] += u64::from(weight);
            }
        }
        for &(local, value, weight) in &self.sets {
            if matches!(solved.nodes[value.0 as usize], Class::Raw(_)) {
                at_sets[local as usize] += u64::from(weight);
            }
        }
        let mut changed = false;
        for local in 0..locals {
            if matches!(solved.locals[local], Class::Raw(_)) && at_gets[local] > at_sets[local] {
                self.exact[local] = true;
                changed = true;
            }
        }
        if changed {
            solved = self.solve(&users);
        }
        let raw = |class: &Class| match *class {
            Class::Raw(shape) => Some(shape),
            Class::Neutral | Class::Exact => None,
        };
        Canonical { after: solved.after, locals: solved.locals.iter().map(raw).collect() }
    }

    /// Which mixes, gets and assignments a node or local goes into.
    fn users(&self) -> Users {
        let mut users = Users {
            of_node: Lists::new(self.nodes.len()),
            sets_of_node: Lists::new(self.nodes.len()),
            of_local: Lists::new(self.initial.len()),
        };
        for (index, node) in self.nodes.iter().enumerate() {
            match *node {
                Node::Get { local, .. } => users.of_local.add(local, index as u32),
                Node::Mix { of, .. } => {
                    of.iter().for_each(|of| users.of_node.add(of.0, index as u32))
                }
                _ => {}
            }
        }
        for &(local, value, _) in &self.sets {
            users.sets_of_node.add(value.0, local);
        }
        users
    }

    fn solve(&self, users: &Users) -> Solved {
        let mut locals: Vec<Held> = self.initial.iter().map(|&class| Held::of(class)).collect();
        let class_of = |local: u32, held: Held| {
            let local = local as usize;
            held.class(self.scalars[local].filter(|_| !self.exact[local]), self.exact[local])
        };
        let mut nodes = vec![Class::Neutral; self.nodes.len()];
        // Classes only ever rise, two steps at most.
        let mut work: Vec<u32> = (0..self.nodes.len() as u32).rev().collect();
        while let Some(index) = work.pop() {
            let class = self.class(index, &nodes, |local| class_of(local, locals[local as usize]));
            if class == nodes[index as usize] {
                continue;
            }
            nodes[index as usize] = class;
            work.extend(users.of_node.of(index));
            for local in users.sets_of_node.of(index) {
                let known = locals[local as usize];
                let joined = known.join(Held::of(class));
                if known != joined {
                    locals[local as usize] = joined;
                    work.extend(users.of_local.of(local));
                }
            }
        }
        let held = |(local, &held): (usize, &Held)| class_of(local as u32, held);
        let mixed = |(local, held): (usize, &Held)| {
            !self.exact[local] && self.scalars[local].is_some() && held.is_mixed()
        };
        let mut solved = Solved {
            mixed: locals.iter().enumerate().map(mixed).collect(),
            locals: locals.iter().enumerate().map(held).collect(),
            nodes,
            after: BTreeMap::new(),
            demanded: Vec::new(),
        };
        self.demand(&mut solved);
        solved
    }

    fn class(&self, index: u32, nodes: &[Class], local_class: impl Fn(u32) -> Class) -> Class {
        match self.nodes[index as usize] {
            Node::Exact | Node::Signed { .. } => Class::Exact,
            Node::Neutral => Class::Neutral,
            Node::Arithmetic { shape, .. } => Class::Raw(shape),
            Node::Get { local, .. } => local_class(local),
            Node::Mix { shape, of, .. } => {
                let [one, other] = of.map(|of| match (nodes[of.0 as usize], shape) {
                    (Class::Raw(raw), Some(shape)) if raw.has_lanes_of(shape) => Class::Raw(shape),
                    (Class::Raw(_), Some(_)) => Class::Exact,
                    (class, _) => class,
                });
                one.join(other)
            }
        }
    }

    /// From what is seen back to the instructions whose results have to be canonical.
    fn demand(&self, solved: &mut Solved) {
        let mut seen_already = vec![false; self.nodes.len()];
        let mut read_already = vec![[false; 2]; self.nodes.len()];
        let mut seen = self.seen.clone();
        for &(local, value, _) in &self.sets {
            if solved.locals[local as usize] == Class::Exact {
                seen.push(value);
            }
        }
        let mut read = self.read.clone();
        loop {
            while let Some((id, shape)) = read.pop() {
                let index = id.0 as usize;
                let once = &mut read_already[index][usize::from(shape == Shape::F64x2)];
                if std::mem::replace(once, true) {
                    continue;
                }
                let as_it_is = match self.nodes[index] {
                    Node::Exact | Node::Neutral => true,
                    Node::Arithmetic { shape: raw, .. } => raw.has_lanes_of(shape),
                    Node::Get { local, .. } => match solved.locals[local as usize] {
                        Class::Raw(raw) => raw.has_lanes_of(shape),
                        Class::Neutral | Class::Exact => true,
                    },
                    Node::Mix { shape: None, of, .. } => {
                        read.extend(of.map(|of| (of, shape)));
                        true
                    }
                    Node::Mix { shape: Some(own), .. } | Node::Signed { shape: own, .. } => {
                        own.has_lanes_of(shape)
                    }
                };
                if !as_it_is {
                    seen.push(id);
                }
            }
            let Some(id) = seen.pop() else { break };
            let index = id.0 as usize;
            if std::mem::replace(&mut seen_already[index], true) {
                continue;
            }
            match (self.nodes[index], solved.nodes[index]) {
                (Node::Arithmetic { at, shape }, _) => {
                    solved.after.insert(at, shape);
                }
                (Node::Get { at, .. } | Node::Mix { at, .. }, Class::Raw(shape)) => {
                    solved.after.insert(at, shape);
                    solved.demanded.push(id);
                }
                (Node::Mix { of, .. }, Class::Exact) => seen.extend(of),
                (Node::Signed { of, .. }, _) => seen.push(of),
                _ => {}
            }
        }
    }
}

/// What has been assigned to a local.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Held {
    exact: bool,
    raw: Option<Class>,
}

impl Held {
    fn of(class: Class) -> Held {
        match class {
            Class::Neutral => Held { exact: false, raw: None },
            Class::Raw(_) => Held { exact: false, raw: Some(class) },
            Class::Exact => Held { exact: true, raw: None },
        }
    }

    fn join(self, other: Held) -> Held {
        let raw = match (self.raw, other.raw) {
            (Some(one), Some(other)) => Some(one.join(other)),
            (one, other) => one.or(other),
        };
        Held { exact: self.exact || other.exact, raw }
    }

    fn is_mixed(self) -> bool {
        self.exact && self.raw.is_some()
    }

    /// What the local is. A scalar that also holds exact values counts as raw: see [`Solved::mixed`].
    fn class(self, scalar: Option<Shape>, exact: bool) -> Class {
        match self {
            Held { exact: false, raw: None } => Class::Neutral,
            _ if exact => Class::Exact,
            Held { exact: false, raw: Some(raw) } => raw,
            Held { raw: None, .. } => Class::Exact,
            Held { .. } => scalar.map_or(Class::Exact, Class::Raw),
        }
    }
}

/// How often the locals of [`Solved::mixed`] are looked for that are seen after all.
const ROUNDS_MAX: u32 = 8;

struct Solved {
    locals: Vec<Class>,
    /// By local: it holds raw and exact values, and is taken for one whose bits are never seen.
    mixed: Vec<bool>,
    nodes: Vec<Class>,
    after: BTreeMap<u32, Shape>,
    /// Gets and mixes among `after`.
    demanded: Vec<NodeId>,
}

struct Users {
    of_node: Lists,
    sets_of_node: Lists,
    of_local: Lists,
}

/// Many short lists in one.
struct Lists {
    first: Vec<u32>,
    entries: Vec<(u32, u32)>,
}

impl Lists {
    const NONE: u32 = u32::MAX;

    fn new(count: usize) -> Lists {
        Lists { first: vec![Lists::NONE; count], entries: Vec::new() }
    }

    fn add(&mut self, list: u32, value: u32) {
        let first = &mut self.first[list as usize];
        self.entries.push((value, *first));
        *first = self.entries.len() as u32 - 1;
    }

    fn of(&self, list: u32) -> impl Iterator<Item = u32> + '_ {
        let mut next = self.first[list as usize];
        std::iter::from_fn(move || {
            let &(value, following) = self.entries.get(next as usize)?;
            next = following;
            Some(value)
        })
    }
}

/// How often code in so many loops is thought to run.
fn weight(loops: u32) -> u32 {
    8u32.pow(loops.min(6))
}

/// Whether no lane is a NaN, however it is read.
fn has_no_nan(bytes: &[u8; 16]) -> bool {
    let narrow = bytes
        .chunks_exact(4)
        .any(|lane| f32::from_le_bytes(lane.try_into().expect("4 bytes")).is_nan());
    let wide = bytes
        .chunks_exact(8)
        .any(|lane| f64::from_le_bytes(lane.try_into().expect("8 bytes")).is_nan());
    !narrow && !wide
}

fn effect(op: &Operator<'_>) -> Effect {
    use Operator as O;
    use Shape::{F32, F32x4, F64, F64x2};
    match op {
        O::F32Ceil
        | O::F32Floor
        | O::F32Trunc
        | O::F32Nearest
        | O::F32Sqrt
        | O::F32Add
        | O::F32Sub
        | O::F32Mul
        | O::F32Div
        | O::F32Min
        | O::F32Max => Effect::Arithmetic(F32, F32),
        O::F64Ceil
        | O::F64Floor
        | O::F64Trunc
        | O::F64Nearest
        | O::F64Sqrt
        | O::F64Add
        | O::F64Sub
        | O::F64Mul
        | O::F64Div
        | O::F64Min
        | O::F64Max => Effect::Arithmetic(F64, F64),
        O::F32DemoteF64 => Effect::Arithmetic(F64, F32),
        O::F64PromoteF32 => Effect::Arithmetic(F32, F64),
        O::F32x4Ceil
        | O::F32x4Floor
        | O::F32x4Trunc
        | O::F32x4Nearest
        | O::F32x4Sqrt
        | O::F32x4Add
        | O::F32x4Sub
        | O::F32x4Mul
        | O::F32x4Div
        | O::F32x4Min
        | O::F32x4Max
        | O::F32x4RelaxedMadd
        | O::F32x4RelaxedNmadd
        | O::F32x4RelaxedMin
        | O::F32x4RelaxedMax => Effect::Arithmetic(F32x4, F32x4),
        O::F64x2Ceil
        | O::F64x2Floor
        | O::F64x2Trunc
        | O::F64x2Nearest
        | O::F64x2Sqrt
        | O::F64x2Add
        | O::F64x2Sub
        | O::F64x2Mul
        | O::F64x2Div
        | O::F64x2Min
        | O::F64x2Max
        | O::F64x2RelaxedMadd
        | O::F64x2RelaxedNmadd
        | O::F64x2RelaxedMin
        | O::F64x2RelaxedMax => Effect::Arithmetic(F64x2, F64x2),
        O::F32x4DemoteF64x2Zero => Effect::Arithmetic(F64x2, F32x4),
        O::F64x2PromoteLowF32x4 => Effect::Arithmetic(F32x4, F64x2),

        O::F32Eq
        | O::F32Ne
        | O::F32Lt
        | O::F32Gt
        | O::F32Le
        | O::F32Ge
        | O::I32TruncF32S
        | O::I32TruncF32U
        | O::I64TruncF32S
        | O::I64TruncF32U
        | O::I32TruncSatF32S
        | O::I32TruncSatF32U
        | O::I64TruncSatF32S
        | O::I64TruncSatF32U => Effect::Reads(F32),
        O::F64Eq
        | O::F64Ne
        | O::F64Lt
        | O::F64Gt
        | O::F64Le
        | O::F64Ge
        | O::I32TruncF64S
        | O::I32TruncF64U
        | O::I64TruncF64S
        | O::I64TruncF64U
        | O::I32TruncSatF64S
        | O::I32TruncSatF64U
        | O::I64TruncSatF64S
        | O::I64TruncSatF64U => Effect::Reads(F64),
        O::F32x4Eq
        | O::F32x4Ne
        | O::F32x4Lt
        | O::F32x4Gt
        | O::F32x4Le
        | O::F32x4Ge
        | O::I32x4TruncSatF32x4S
        | O::I32x4TruncSatF32x4U
        | O::I32x4RelaxedTruncF32x4S
        | O::I32x4RelaxedTruncF32x4U => Effect::Reads(F32x4),
        O::F64x2Eq
        | O::F64x2Ne
        | O::F64x2Lt
        | O::F64x2Gt
        | O::F64x2Le
        | O::F64x2Ge
        | O::I32x4TruncSatF64x2SZero
        | O::I32x4TruncSatF64x2UZero
        | O::I32x4RelaxedTruncF64x2SZero
        | O::I32x4RelaxedTruncF64x2UZero => Effect::Reads(F64x2),

        O::F32ConvertI32S
        | O::F32ConvertI32U
        | O::F32ConvertI64S
        | O::F32ConvertI64U
        | O::F64ConvertI32S
        | O::F64ConvertI32U
        | O::F64ConvertI64S
        | O::F64ConvertI64U => Effect::Makes,
        O::F32Const { value } if !f32::from_bits(value.bits()).is_nan() => Effect::Makes,
        O::F64Const { value } if !f64::from_bits(value.bits()).is_nan() => Effect::Makes,
        O::V128Const { value } if has_no_nan(value.bytes()) => Effect::Makes,

        O::F32Abs => Effect::Passes(F32, F32),
        O::F64Abs => Effect::Passes(F64, F64),
        // `pmin` and `pmax` give one of their operands (section 4.3.3, *fpmin*).
        O::F32x4Abs | O::F32x4PMin | O::F32x4PMax => Effect::Passes(F32x4, F32x4),
        O::F64x2Abs | O::F64x2PMin | O::F64x2PMax => Effect::Passes(F64x2, F64x2),
        O::F32x4Splat => Effect::Passes(F32, F32x4),
        O::F64x2Splat => Effect::Passes(F64, F64x2),
        O::F32x4ReplaceLane { .. } => Effect::Passes(F32x4, F32x4),
        O::F64x2ReplaceLane { .. } => Effect::Passes(F64x2, F64x2),
        O::F32x4ExtractLane { .. } => Effect::Passes(F32x4, F32),
        O::F64x2ExtractLane { .. } => Effect::Passes(F64x2, F64),

        O::F32Neg => Effect::Negates(F32),
        O::F64Neg => Effect::Negates(F64),
        O::F32x4Neg => Effect::Negates(F32x4),
        O::F64x2Neg => Effect::Negates(F64x2),
        O::F32Copysign => Effect::CopiesSign(F32),
        O::F64Copysign => Effect::CopiesSign(F64),
        O::Select | O::TypedSelect { .. } => Effect::Selects,
        O::Drop => Effect::Drops,
        _ => Effect::Looks,
    }
}
