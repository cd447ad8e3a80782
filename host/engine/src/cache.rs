//! Compiled modules on disk.
//!
//! ```text
//! DIR/v2/KEY/module.cwasm    what wasmtime compiled
//! DIR/v2/KEY/facts           what else was found out about the module; may be empty
//! DIR/v2/KEY/sum             XXH3-64 of module.cwasm and of facts, little-endian
//! ```
//!
//! wasmtime's own cache stores compressed entries and reads them back in 0.2 s for CPython; these are
//! mapped into memory in a few milliseconds. An entry is made in a folder of its own and renamed into
//! place, so that two processes that race leave one whole entry. Entries are never changed afterwards.
//!
//! Invariant: an entry is only loaded if its checksum is right. Loading trusts whoever can write to the
//! user's cache folder, as every compiler cache does.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

/// When the cache holds more, the entries that were unused for longest are dropped.
const CACHE_BYTES_MAX: u64 = 2 << 30;

/// After how many entries that a process makes it looks whether that is so.
const EVICT_EVERY: u64 = 64;

/// A folder of compiled modules.
#[derive(Clone, Debug)]
pub struct CodeCache {
    dir: PathBuf,
}

impl CodeCache {
    /// A cache in this folder, which is created when it is first needed.
    #[must_use]
    pub fn in_dir(dir: &Path) -> CodeCache {
        CodeCache { dir: dir.join("v2") }
    }

    /// Loads an entry. A damaged one is removed, so that it is built again.
    pub(crate) fn load(
        &self,
        engine: &wasmtime::Engine,
        key: &str,
    ) -> Option<(wasmtime::Module, Vec<u8>)> {
        let entry = self.dir.join(key);
        std::fs::symlink_metadata(&entry).ok()?;
        let module = load_entry(engine, &entry);
        if module.is_ok() {
            // So that eviction sees it as used. Failing to say so costs a compilation some day.
            let sum = std::fs::File::options().write(true).open(entry.join("sum"));
            let _ = sum.and_then(|f| f.set_modified(SystemTime::now()));
        } else {
            remove(&entry);
        }
        module
            .inspect_err(|why| {
                let entry = entry.display();
                tracing::debug!("the cache entry {entry} is damaged ({why}); it is built again");
            })
            .ok()
    }

    /// Stores an entry. A cache that cannot be written is no reason not to run.
    pub(crate) fn store(&self, module: &wasmtime::Module, facts: &[u8], key: &str) {
        let result = module.serialize().map_err(std::io::Error::other).and_then(|code| {
            // The same entry may be made twice in one process, too.
            static MADE: AtomicU64 = AtomicU64::new(0);
            let number = MADE.fetch_add(1, Ordering::Relaxed);
            let making = self.dir.join(format!("{key}.{}.{number}", std::process::id()));
            std::fs::create_dir_all(&making)?;
            let made = std::fs::write(making.join("module.cwasm"), &code)
                .and_then(|()| std::fs::write(making.join("facts"), facts))
                .and_then(|()| {
                    let sums = [xxh3_64(&code), xxh3_64(facts)].map(u64::to_le_bytes).concat();
                    std::fs::write(making.join("sum"), sums)
                })
                // Fails if another process was first; its entry is as good.
                .and_then(|()| match std::fs::rename(&making, self.dir.join(key)) {
                    Err(_) if self.dir.join(key).exists() => std::fs::remove_dir_all(&making),
                    result => result,
                });
            if made.is_err() {
                let _ = std::fs::remove_dir_all(&making);
            }
            made.map(|()| number)
        });
        match result {
            // Looking at all entries costs more than making a small one.
            Ok(number) if number % EVICT_EVERY == 0 => self.evict(),
            Ok(_) => {}
            Err(e) => tracing::debug!("cannot cache the compiled module: {e}"),
        }
    }

    /// Drops what was unused for longest, when there is too much.
    fn evict(&self) {
        let Ok(entries) = std::fs::read_dir(&self.dir) else { return };
        let mut known: Vec<(SystemTime, u64, PathBuf)> = entries
            .filter_map(|entry| {
                let path = entry.ok()?.path();
                let used = path.join("sum").metadata().ok()?.modified().ok()?;
                let len = path.join("module.cwasm").metadata().ok()?.len();
                Some((used, len, path))
            })
            .collect();
        known.sort();
        let mut total: u64 = known.iter().map(|(_, len, _)| len).sum();
        for (_, len, path) in known {
            if total <= CACHE_BYTES_MAX {
                break;
            }
            total -= len;
            remove(&path);
        }
    }
}

/// Removes an entry, whole or not at all: where files that are mapped cannot be removed (Windows), the folder cannot
/// be renamed either.
fn remove(entry: &Path) {
    let mut aside = entry.as_os_str().to_owned();
    aside.push(format!(".{}.gone", std::process::id()));
    if std::fs::rename(entry, &aside).is_ok() {
        let _ = std::fs::remove_dir_all(&aside).or_else(|_| std::fs::remove_file(&aside));
    }
}

fn load_entry(
    engine: &wasmtime::Engine,
    entry: &Path,
) -> Result<(wasmtime::Module, Vec<u8>), String> {
    let (code, sum) = (entry.join("module.cwasm"), entry.join("sum"));
    let is_file = |path: &Path| path.symlink_metadata().is_ok_and(|m| m.is_file());
    if !is_file(&code) || !is_file(&sum) {
        return Err("something is missing".to_owned());
    }
    let io = |error: std::io::Error| error.to_string();
    let facts = std::fs::read(entry.join("facts")).map_err(io)?;
    let sums = [sum_of_file(&code).map_err(io)?, xxh3_64(&facts)].map(u64::to_le_bytes).concat();
    if std::fs::read(sum).map_err(io)? != sums {
        return Err("its checksum is wrong".to_owned());
    }
    // SAFETY: `deserialize_file` requires a file that `serialize` wrote and that nobody changes while
    // it is mapped. The checksum shows the first (against accidents, not against whoever can write
    // to the user's own cache); entries are only ever created whole and removed, never written again.
    let mut module = unsafe { wasmtime::Module::deserialize_file(engine, &code) };
    if cfg!(windows) && module.is_err() {
        // Some file systems there, and Wine, cannot map a file to be executed.
        let bytes = std::fs::read(&code).map_err(io)?;
        // SAFETY: as above.
        module = unsafe { wasmtime::Module::deserialize(engine, bytes) };
    }
    Ok((module.map_err(|error| format!("{error:#}"))?, facts))
}

/// XXH3-64 of a file's content, which is not kept: a large buffer costs more page faults than the hash costs time.
fn sum_of_file(path: &Path) -> std::io::Result<u64> {
    let mut file = std::fs::File::open(path)?;
    let mut buffer = vec![0; 1 << 18];
    let mut hasher = Xxh3::new();
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hasher.digest()),
            len => hasher.update(&buffer[..len]),
        }
    }
}
