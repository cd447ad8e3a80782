//! Compiled modules on disk.
//!
//! ```text
//! DIR/v3/KEY/module.cwasm    what wasmtime compiled
//! DIR/v3/KEY/facts           what else was found out about the module
//! DIR/v3/KEY/functions       an archive: the layouts of each function's frames, and its name
//! DIR/v3/KEY/sum             two XXH3-64: of module.cwasm (see `sum_of_file`) and of facts
//! DIR/v3/KEY/pieces          an archive: the continuations that were compiled for it so far
//! ```
//!
//! wasmtime's own cache stores compressed entries and reads them back in 0.2 s for CPython; these
//! are mapped into memory in a few milliseconds. An entry is made in a folder of its own and
//! renamed into place, so that two processes that race leave one whole entry. Only `pieces` comes
//! later, and is replaced when there are more of them. Two processes that replace it at the same
//! moment leave one whole archive, and what is missing in it is compiled once more.
//!
//! Invariant: what is loaded has the right checksum. Loading trusts whoever can write to the user's
//! cache folder, as every compiler cache does.

mod archive;

pub(crate) use archive::{Archive, Key};

use rayon::prelude::*;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

/// When the cache holds more, the entries that were unused for longest are dropped.
const CACHE_BYTES_MAX: u64 = 2 << 30;

/// After how many entries that a process makes it looks whether that is so.
const EVICT_EVERY: u64 = 64;

/// Code is hashed in parts of this size, on all cores.
const PART_BYTES: u64 = 4 << 20;

/// An archive of continuations with more bytes is begun anew.
const PIECES_BYTES_MAX: u64 = 256 << 20;

/// A folder of compiled modules.
#[derive(Clone, Debug)]
pub struct CodeCache {
    dir: PathBuf,
}

impl CodeCache {
    /// A cache in this folder, which is created when it is first needed.
    #[must_use]
    pub fn in_dir(dir: &Path) -> CodeCache {
        CodeCache { dir: dir.join("v3") }
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

    /// The archive of functions of an entry. If it is damaged the whole entry is built again by the
    /// next process.
    pub(crate) fn functions(&self, key: &str) -> Option<Archive> {
        let opened = Archive::open(&self.dir.join(key).join("functions"));
        opened.inspect_err(|why| self.drop_functions(key, why)).ok()
    }

    /// Removes an archive of functions that is damaged.
    pub(crate) fn drop_functions(&self, key: &str, why: &std::io::Error) {
        let path = self.dir.join(key).join("functions");
        tracing::debug!("{} is damaged ({why}); the entry is built again", path.display());
        let _ = std::fs::remove_file(path);
    }

    /// The archive of continuations of an entry, if it has a sound one.
    pub(crate) fn pieces(&self, key: &str) -> Option<Archive> {
        let path = self.dir.join(key).join("pieces");
        match Archive::open(&path) {
            Ok(archive) => Some(archive),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => {
                tracing::debug!("{} is damaged ({error}); it is built again", path.display());
                None
            }
        }
    }

    /// A continuation out of the archive; `None` if it is not there, or damaged.
    pub(crate) fn piece(
        &self,
        engine: &wasmtime::Engine,
        archive: &Archive,
        key: Key,
    ) -> Option<wasmtime::Module> {
        let code = archive.get(key).unwrap_or_else(|why| {
            tracing::debug!("a cached continuation is damaged ({why}); it is built again");
            None
        })?;
        // SAFETY: `deserialize` requires what `serialize` gave. The archive was written with
        // nothing else, and the checksum shows that it was not changed by accident; see the
        // module's invariant for what is done on purpose. The bytes are copied.
        let module = unsafe { wasmtime::Module::deserialize(engine, code) };
        module.inspect_err(|why| tracing::debug!("a cached continuation: {why:#}")).ok()
    }

    /// Puts continuations into the archive of an entry, beside those that are there by now.
    pub(crate) fn add_pieces(&self, key: &str, pieces: &[(Key, Vec<u8>)]) {
        let entry = self.dir.join(key);
        let path = entry.join("pieces");
        let there = path.metadata().is_ok_and(|m| m.len() <= PIECES_BYTES_MAX);
        let others = if there { self.pieces(key) } else { None };
        let values: Vec<_> = pieces.iter().map(|(key, code)| (*key, &code[..])).collect();
        if let Err(error) = Archive::write(&path, &values, others.as_ref()) {
            tracing::debug!("cannot cache continuations in {}: {error}", entry.display());
        }
    }

    /// Stores an entry. A cache that cannot be written is no reason not to run.
    pub(crate) fn store(
        &self,
        module: &wasmtime::Module,
        facts: &[u8],
        functions: &[(Key, Vec<u8>)],
        key: &str,
    ) {
        let result = module.serialize().map_err(std::io::Error::other).and_then(|code| {
            // The same entry may be made twice in one process, too.
            static MADE: AtomicU64 = AtomicU64::new(0);
            let number = MADE.fetch_add(1, Ordering::Relaxed);
            let making = self.dir.join(format!("{key}.{}.{number}", std::process::id()));
            std::fs::create_dir_all(&making)?;
            let functions: Vec<_> =
                functions.iter().map(|(key, value)| (*key, &value[..])).collect();
            let made = std::fs::write(making.join("module.cwasm"), &code)
                .and_then(|()| std::fs::write(making.join("facts"), facts))
                .and_then(|()| Archive::write(&making.join("functions"), &functions, None))
                .and_then(|()| {
                    let sums = [sum_of(&code), xxh3_64(facts)].map(u64::to_le_bytes).concat();
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
                let len = |name: &str| path.join(name).metadata().map_or(0, |m| m.len());
                let len = ["module.cwasm", "functions", "pieces"].map(len).iter().sum();
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

/// Removes an entry, whole or not at all: where files that are mapped cannot be removed (Windows),
/// the folder cannot be renamed either.
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
    if !is_file(&code) || !is_file(&sum) || !is_file(&entry.join("functions")) {
        return Err("something is missing".to_owned());
    }
    let io = |error: std::io::Error| error.to_string();
    let facts = std::fs::read(entry.join("facts")).map_err(io)?;
    let sums = [sum_of_file(&code).map_err(io)?, xxh3_64(&facts)].map(u64::to_le_bytes).concat();
    if std::fs::read(sum).map_err(io)? != sums {
        return Err("its checksum is wrong".to_owned());
    }
    // SAFETY: `deserialize_file` requires a file that `serialize` wrote and that nobody changes
    // while it is mapped. The checksum shows the first (against accidents, not against whoever can
    // write to the user's own cache); entries are only ever created whole and removed, never
    // written again.
    let mut module = unsafe { wasmtime::Module::deserialize_file(engine, &code) };
    if cfg!(windows) && module.is_err() {
        // Some file systems there, and Wine, cannot map a file to be executed.
        let bytes = std::fs::read(&code).map_err(io)?;
        // SAFETY: as above.
        module = unsafe { wasmtime::Module::deserialize(engine, bytes) };
    }
    Ok((module.map_err(|error| format!("{error:#}"))?, facts))
}

/// XXH3-64 of the XXH3-64s of the parts of some bytes.
fn sum_of(bytes: &[u8]) -> u64 {
    let parts: Vec<u64> = bytes.par_chunks(PART_BYTES as usize).map(xxh3_64).collect();
    sum_of_parts(parts)
}

fn sum_of_parts(parts: Vec<u64>) -> u64 {
    xxh3_64(&parts.into_iter().flat_map(u64::to_le_bytes).collect::<Vec<u8>>())
}

/// As [`sum_of`], of a file's content, which is not kept: a large buffer costs more page faults
/// than the hash costs time.
fn sum_of_file(path: &Path) -> std::io::Result<u64> {
    let parts = path.metadata()?.len().div_ceil(PART_BYTES);
    let parts = (0..parts).into_par_iter().map(|part| {
        let mut file = std::fs::File::open(path)?;
        file.seek(SeekFrom::Start(part * PART_BYTES))?;
        let mut part = file.take(PART_BYTES);
        let mut buffer = vec![0; 1 << 18];
        let mut hasher = Xxh3::new();
        loop {
            match part.read(&mut buffer)? {
                0 => return Ok(hasher.digest()),
                len => hasher.update(&buffer[..len]),
            }
        }
    });
    Ok(sum_of_parts(parts.collect::<std::io::Result<_>>()?))
}
