//! A module's bytes, at hand or read when something needs them.

use std::sync::{Arc, OnceLock};

/// A module in binary form.
#[derive(Clone)]
pub struct ModuleBytes(Arc<Lazy>);

struct Lazy {
    bytes: OnceLock<Option<Arc<[u8]>>>,
    read: Box<dyn Fn() -> Option<Arc<[u8]>> + Send + Sync>,
}

impl ModuleBytes {
    /// Bytes that are read when they are needed: a [`Program`](crate::Program) that is in the cache
    /// can be loaded and run without them. `read` gives `None` if they cannot be read. It must not
    /// wait for threads of rayon's pool, which may wait for it.
    #[must_use]
    pub fn lazy(read: impl Fn() -> Option<Arc<[u8]>> + Send + Sync + 'static) -> ModuleBytes {
        ModuleBytes(Arc::new(Lazy { bytes: OnceLock::new(), read: Box::new(read) }))
    }

    /// The bytes; `None` if they cannot be read.
    pub(crate) fn get(&self) -> Option<Arc<[u8]>> {
        self.0.bytes.get_or_init(|| (self.0.read)()).clone()
    }
}

impl From<Arc<[u8]>> for ModuleBytes {
    fn from(bytes: Arc<[u8]>) -> ModuleBytes {
        ModuleBytes(Arc::new(Lazy { bytes: OnceLock::from(Some(bytes)), read: Box::new(|| None) }))
    }
}

impl From<Vec<u8>> for ModuleBytes {
    fn from(bytes: Vec<u8>) -> ModuleBytes {
        Arc::<[u8]>::from(bytes).into()
    }
}
