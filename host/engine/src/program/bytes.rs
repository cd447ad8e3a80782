//! A module's bytes, at hand or still being read by another thread.

use std::sync::{Arc, Condvar, Mutex, PoisonError};

/// A module in binary form.
#[derive(Clone)]
pub struct ModuleBytes(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

enum State {
    Pending,
    Ready(Arc<[u8]>),
    Failed,
}

/// The promise of a module: whoever holds it provides the bytes, or drops it if that is impossible.
pub struct ModulePromise(Arc<Shared>);

impl ModuleBytes {
    fn new(state: State) -> ModuleBytes {
        ModuleBytes(Arc::new(Shared { state: Mutex::new(state), changed: Condvar::new() }))
    }

    /// Bytes that come later. A [`Program`](crate::Program) that is in the cache can be loaded and run
    /// without them.
    #[must_use]
    pub fn pending() -> (ModuleBytes, ModulePromise) {
        let bytes = ModuleBytes::new(State::Pending);
        let promise = ModulePromise(Arc::clone(&bytes.0));
        (bytes, promise)
    }

    /// Waits for the bytes; `None` if they do not come.
    pub(crate) fn get(&self) -> Option<Arc<[u8]>> {
        let state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
        let pending = |state: &mut State| matches!(state, State::Pending);
        let state = self.0.changed.wait_while(state, pending);
        match &*state.unwrap_or_else(PoisonError::into_inner) {
            State::Ready(bytes) => Some(Arc::clone(bytes)),
            State::Pending | State::Failed => None,
        }
    }
}

impl From<Arc<[u8]>> for ModuleBytes {
    fn from(bytes: Arc<[u8]>) -> ModuleBytes {
        ModuleBytes::new(State::Ready(bytes))
    }
}

impl From<Vec<u8>> for ModuleBytes {
    fn from(bytes: Vec<u8>) -> ModuleBytes {
        Arc::<[u8]>::from(bytes).into()
    }
}

impl ModulePromise {
    /// The bytes are there.
    pub fn provide(self, bytes: Arc<[u8]>) {
        self.set(State::Ready(bytes));
    }

    fn set(&self, new: State) {
        let mut state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
        if matches!(*state, State::Pending) {
            *state = new;
        }
        self.0.changed.notify_all();
    }
}

impl Drop for ModulePromise {
    fn drop(&mut self) {
        self.set(State::Failed);
    }
}
