//! Holds the guest to the limits of the manifest, so that `memory.grow` gives the same on every host.

use wrr_trace::Limits;

pub(crate) struct Limiter {
    limits: Limits,
    /// The host grows something of its own.
    pub own: bool,
    /// A memory that would grow beyond its limit ends the run.
    pub is_strict: bool,
}

/// A memory would have grown beyond its limit.
#[derive(Debug, thiserror::Error)]
#[error("a memory would grow to {wanted_bytes} bytes, the most is {bytes_max}")]
pub(crate) struct MemoryBound {
    wanted_bytes: u64,
    bytes_max: u64,
}

impl Limiter {
    pub fn new(limits: Limits) -> Limiter {
        Limiter { limits, own: false, is_strict: false }
    }
}

/// Whether something grows beyond what its type can ever have: the same on every host, and decided by wasmtime before it
/// asks. It has no other sign than these words, which tests hold it to.
fn is_impossible(error: &wasmtime::Error) -> bool {
    let what = error.to_string();
    what == "memory growth exceeds memory type's limits"
        || what == "overflow calculating new table size"
}

/// What wasmtime says a memory should grow to, if that is the whole address space or more. A 64-bit host's is beyond all
/// limits. A 32-bit host's is below the limit of 4 GiB by one wasm page: a guest that asks for just these two sizes is
/// told no there; anything less that the host cannot do ends the run.
const ADDRESS_SPACE_BYTES: usize = 0usize.wrapping_sub(1 << 16);

impl wasmtime::ResourceLimiter for Limiter {
    fn memory_growing(
        &mut self,
        _current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let possible = desired < ADDRESS_SPACE_BYTES;
        let declared = maximum.is_none_or(|maximum| desired <= maximum);
        let allowed = self.own || desired as u64 <= self.limits.memory_bytes_max;
        if !allowed && self.is_strict {
            let bytes_max = self.limits.memory_bytes_max;
            return Err(MemoryBound { wanted_bytes: desired as u64, bytes_max }.into());
        }
        Ok(possible && declared && allowed)
    }

    fn memory_grow_failed(&mut self, error: wasmtime::Error) -> wasmtime::Result<()> {
        if is_impossible(&error) {
            return Ok(());
        }
        // The limits allow it, so a replay would grow: the guest must not see that this host cannot.
        Err(error.context("the host has no memory left for the guest"))
    }

    fn table_growing(
        &mut self,
        _current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let declared = maximum.is_none_or(|maximum| desired <= maximum);
        Ok(declared && (self.own || desired as u64 <= self.limits.table_elements_max))
    }

    fn table_grow_failed(&mut self, error: wasmtime::Error) -> wasmtime::Result<()> {
        if is_impossible(&error) {
            return Ok(());
        }
        Err(error.context("the host has no memory left for a table of the guest"))
    }

    fn instances(&self) -> usize {
        // Continuations are instances; there are at most as many as sites.
        usize::MAX
    }

    fn memories(&self) -> usize {
        usize::MAX
    }

    fn tables(&self) -> usize {
        usize::MAX
    }
}
