//! Names and signatures of the functions that a variant has besides the original's.

use crate::emit::Helper;
use crate::module::{Module, Signature};
use wasm_encoder::{HeapType, RefType, ValType};

/// The name of a helper, behind the module's prefix.
pub(crate) fn helper_name(helper: Helper) -> String {
    match helper {
        Helper::DropData(segment) => format!("drop_data.{segment}"),
        Helper::DropElements(segment) => format!("drop_elements.{segment}"),
        Helper::InitMemory { segment, memory } => format!("init_memory.{segment}.{memory}"),
        Helper::InitTable { segment, table } => format!("init_table.{segment}.{table}"),
        Helper::Reference(function) => format!("ref.{function}"),
        Helper::Save(ty) => format!("save.{}", type_name(ty)),
        Helper::Header => "header".to_owned(),
        Helper::Numbers(ty, count) => format!("save.{count}.{ty:?}").to_lowercase(),
        Helper::Load(ty) => format!("load.{}", type_name(ty)),
        Helper::Zero(ty) => format!("zero.{}", type_name(ty)),
        Helper::Data => "data".to_owned(),
    }
}

/// A reference type's name in the names of helpers.
pub(crate) fn type_name(ty: RefType) -> String {
    match ty.heap_type {
        HeapType::Concrete(index) => index.to_string(),
        HeapType::Abstract { ty, .. } => format!("{ty:?}").to_lowercase(),
        HeapType::Exact(index) => format!("exact{index}"),
    }
}

/// The signature of a helper.
pub(crate) fn helper_signature(module: &Module, helper: Helper) -> Signature {
    let address = |is_64: bool| if is_64 { ValType::I64 } else { ValType::I32 };
    match helper {
        Helper::DropData(_) | Helper::DropElements(_) => Signature::default(),
        Helper::Data => Signature { params: vec![ValType::I32], results: Vec::new() },
        Helper::InitMemory { memory, .. } => Signature {
            params: vec![address(module.memory_is_64[memory as usize]), ValType::I32, ValType::I32],
            results: Vec::new(),
        },
        Helper::InitTable { table, .. } => Signature {
            params: vec![address(module.table_is_64[table as usize]), ValType::I32, ValType::I32],
            results: Vec::new(),
        },
        Helper::Reference(function) => {
            let heap_type = HeapType::Concrete(module.functions[function as usize]);
            let ty = RefType { nullable: false, heap_type };
            Signature { params: Vec::new(), results: vec![ValType::Ref(ty)] }
        }
        Helper::Header => Signature { params: vec![ValType::I32; 2], results: Vec::new() },
        Helper::Numbers(ty, count) => {
            Signature { params: vec![ty; count as usize], results: Vec::new() }
        }
        Helper::Save(ty) => Signature { params: vec![ValType::Ref(ty)], results: Vec::new() },
        Helper::Load(ty) | Helper::Zero(ty) => {
            Signature { params: Vec::new(), results: vec![ValType::Ref(ty)] }
        }
    }
}
