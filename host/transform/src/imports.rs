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

/// The imports that are added behind the original's, in their order.
pub const HOST_FUNCTIONS: [(&str, &str); 4] = [POLL, TRAP, LOOK, ACCESS];

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
