//! Values of `.wast` scripts and wasmtime's.

use wasmtime::{ExternRef, Store, Val};
use wast::core::{
    AbstractHeapType, HeapType, NanPattern, V128Const, V128Pattern, WastArgCore, WastRetCore,
};
use wast::token::{F32, F64};

/// An argument; `None` for kinds that wrr does not run.
pub fn argument(store: &mut Store<()>, arg: &WastArgCore<'_>) -> Option<Val> {
    Some(match arg {
        WastArgCore::I32(v) => Val::I32(*v),
        WastArgCore::I64(v) => Val::I64(*v),
        WastArgCore::F32(v) => Val::F32(v.bits),
        WastArgCore::F64(v) => Val::F64(v.bits),
        WastArgCore::V128(v) => Val::V128(u128::from_le_bytes(v.to_le_bytes()).into()),
        WastArgCore::RefNull(HeapType::Abstract { ty, .. }) => match ty {
            AbstractHeapType::Func => Val::FuncRef(None),
            AbstractHeapType::Extern => Val::ExternRef(None),
            AbstractHeapType::Exn => Val::ExnRef(None),
            _ => return None,
        },
        WastArgCore::RefExtern(v) => Val::ExternRef(Some(ExternRef::new(store, *v).ok()?)),
        _ => return None,
    })
}

/// Whether a result is one that a script asks for.
pub fn matches_result(store: &Store<()>, found: &Val, wanted: &WastRetCore<'_>) -> bool {
    match (found, wanted) {
        (_, WastRetCore::Either(any)) => any.iter().any(|one| matches_result(store, found, one)),
        (Val::I32(found), WastRetCore::I32(wanted)) => found == wanted,
        (Val::I64(found), WastRetCore::I64(wanted)) => found == wanted,
        (Val::F32(found), WastRetCore::F32(wanted)) => matches_f32(*found, wanted),
        (Val::F64(found), WastRetCore::F64(wanted)) => matches_f64(*found, wanted),
        (Val::V128(found), WastRetCore::V128(wanted)) => matches_v128(found.as_u128(), wanted),
        (
            Val::FuncRef(None) | Val::ExternRef(None) | Val::ExnRef(None),
            WastRetCore::RefNull(_),
        ) => true,
        (Val::FuncRef(found), WastRetCore::RefFunc(None)) => found.is_some(),
        (Val::ExternRef(found), WastRetCore::RefExtern(None)) => found.is_some(),
        (Val::ExternRef(Some(found)), WastRetCore::RefExtern(Some(wanted))) => {
            let data = found.data(store).ok().flatten();
            data.and_then(|data| data.downcast_ref::<u32>()) == Some(wanted)
        }
        _ => false,
    }
}

fn matches_f32(found: u32, wanted: &NanPattern<F32>) -> bool {
    match wanted {
        NanPattern::CanonicalNan => found & 0x7fff_ffff == 0x7fc0_0000,
        NanPattern::ArithmeticNan => found & 0x7fc0_0000 == 0x7fc0_0000,
        NanPattern::Value(wanted) => found == wanted.bits,
    }
}

fn matches_f64(found: u64, wanted: &NanPattern<F64>) -> bool {
    match wanted {
        NanPattern::CanonicalNan => found & (u64::MAX >> 1) == 0x7ff8 << 48,
        NanPattern::ArithmeticNan => found & (0x7ff8 << 48) == 0x7ff8 << 48,
        NanPattern::Value(wanted) => found == wanted.bits,
    }
}

fn matches_v128(found: u128, wanted: &V128Pattern) -> bool {
    let constant = match wanted {
        V128Pattern::F32x4(lanes) => {
            let mut lanes = lanes.iter().enumerate();
            return lanes.all(|(lane, wanted)| matches_f32((found >> (32 * lane)) as u32, wanted));
        }
        V128Pattern::F64x2(lanes) => {
            let mut lanes = lanes.iter().enumerate();
            return lanes.all(|(lane, wanted)| matches_f64((found >> (64 * lane)) as u64, wanted));
        }
        V128Pattern::I8x16(lanes) => V128Const::I8x16(*lanes),
        V128Pattern::I16x8(lanes) => V128Const::I16x8(*lanes),
        V128Pattern::I32x4(lanes) => V128Const::I32x4(*lanes),
        V128Pattern::I64x2(lanes) => V128Const::I64x2(*lanes),
    };
    found == u128::from_le_bytes(constant.to_le_bytes())
}
