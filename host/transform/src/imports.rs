//! The functions that transformed code calls, which the host provides.

use crate::module::Signature;
use wasm_encoder::ValType;

/// The import module and name of the host function that is called at a stop.
pub const POLL: (&str, &str) = ("wrr", "poll");

/// The import module and name of the host function that traps, for a reason that it is given: see [`HostTrap`](crate::HostTrap).
pub const TRAP: (&str, &str) = ("wrr", "trap");

/// The import module and name of the function that is called instead of [`POLL`] where a run can be looked at. It takes which site it is (the
/// function below, the site above 32 bits), the counter, which of [`LOOK_PASSAGES`] and [`LOOK_TICKS`] ask for this site, and the passage's local; if the counter is not above zero, it
/// polls.
pub const LOOK: (&str, &str) = ("wrr", "look");

/// A value of the global `looking`: the sites that the module calls passages are looked at.
pub const LOOK_PASSAGES: i32 = 1;
/// A value of the global `looking`: every tick is looked at.
pub const LOOK_TICKS: i32 = 2;

/// The import module and name of the function that is told of every access to memory 0 that is about to be made, in [`Variant::Accesses`](crate::Variant::Accesses): the
/// address, then how many bytes, with the highest bit set if they are written.
pub const ACCESS: (&str, &str) = ("wrr", "access");

/// The import module and name of the function that is told of comparisons that are about to be made, in [`Variant::Compares`](crate::Variant::Compares): where the
/// comparison is (an offset in the original module), what is compared ([`COMPARE_I32`], [`COMPARE_I64`], or the length of what lies at
/// two addresses of memory 0), and the operands, widened without their sign.
pub const COMPARE: (&str, &str) = ("wrr", "compare");

/// Two numbers of 32 bits are compared.
pub const COMPARE_I32: i32 = -4;
/// Two numbers of 64 bits are compared.
pub const COMPARE_I64: i32 = -8;

/// The imports that are added behind the original's, in their order.
pub const HOST_FUNCTIONS: [(&str, &str); 5] = [POLL, TRAP, LOOK, ACCESS, COMPARE];

/// The signature of [`TRAP`].
pub(crate) fn trap_signature() -> Signature {
    Signature { params: vec![ValType::I32], results: Vec::new() }
}

/// The signature of [`LOOK`].
pub(crate) fn look_signature() -> Signature {
    Signature {
        params: vec![ValType::I64, ValType::I64, ValType::I32, ValType::I32],
        results: Vec::new(),
    }
}

/// The signature of [`ACCESS`].
pub(crate) fn access_signature() -> Signature {
    Signature { params: vec![ValType::I64, ValType::I64], results: Vec::new() }
}

/// The signature of [`COMPARE`].
pub(crate) fn compare_signature() -> Signature {
    Signature {
        params: vec![ValType::I32, ValType::I32, ValType::I64, ValType::I64],
        results: Vec::new(),
    }
}
