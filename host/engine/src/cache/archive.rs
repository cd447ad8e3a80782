//! A file that holds many values, each found by a key and checked on its own.
//!
//! ```text
//! 0    "wrr-arch"
//! 8    XXH3-64 of the rest of the header and of the directory
//! 16   offset of the directory, how many entries it has
//! 32   values
//! ...  directory: for each value, ascending, its key (3 × u32), 0 (u32), offset, length, XXH3-64
//! ```
//!
//! Numbers are little-endian, of 8 bytes where nothing else is said. An archive is written under
//! another name and renamed into place; to add to it is to write a new one.
//!
//! Invariant: a value is only handed out if its checksum is right; every length is bounded by the
//! file's before memory is reserved.

use std::fs::File;
use std::io::{BufWriter, Error, ErrorKind, Read as _, Result, Seek as _, SeekFrom, Write as _};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

const MAGIC: &[u8; 8] = b"wrr-arch";
const HEADER_BYTES: u64 = 32;
const RECORD_BYTES: u64 = 40;

/// What a value is found by.
pub(crate) type Key = [u32; 3];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Record {
    key: Key,
    offset: u64,
    len: u64,
    sum: u64,
}

/// An open archive.
pub(crate) struct Archive {
    file: Mutex<File>,
    /// Ascending by key.
    directory: Vec<Record>,
}

fn damaged(what: &str) -> Error {
    Error::new(ErrorKind::InvalidData, what)
}

fn number(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("8 bytes"))
}

impl Record {
    fn to_bytes(self) -> [u8; RECORD_BYTES as usize] {
        let mut bytes = [0; RECORD_BYTES as usize];
        for (at, number) in self.key.into_iter().enumerate() {
            bytes[at * 4..at * 4 + 4].copy_from_slice(&number.to_le_bytes());
        }
        for (at, number) in [self.offset, self.len, self.sum].into_iter().enumerate() {
            bytes[16 + at * 8..24 + at * 8].copy_from_slice(&number.to_le_bytes());
        }
        bytes
    }

    fn from_bytes(bytes: &[u8]) -> Record {
        let key = [0, 4, 8].map(|at| number(bytes, at) as u32);
        Record { key, offset: number(bytes, 16), len: number(bytes, 24), sum: number(bytes, 32) }
    }
}

impl Archive {
    /// Opens an archive and reads its directory.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidData`] if it is damaged.
    pub fn open(path: &Path) -> Result<Archive> {
        let mut file = File::open(path)?;
        let file_bytes = file.metadata()?.len();
        let mut header = [0; HEADER_BYTES as usize];
        file.read_exact(&mut header)?;
        let (offset, count) = (number(&header, 16), number(&header, 24));
        let directory_bytes = count.checked_mul(RECORD_BYTES);
        let end = directory_bytes.and_then(|bytes| bytes.checked_add(offset));
        if &header[..8] != MAGIC || offset < HEADER_BYTES || end != Some(file_bytes) {
            return Err(damaged("its header is wrong"));
        }
        file.seek(SeekFrom::Start(offset))?;
        // Bounded by the file's length, as was just checked.
        let mut directory = vec![0; (file_bytes - offset) as usize];
        file.read_exact(&mut directory)?;
        if sum_of(&header[16..], &directory) != number(&header, 8) {
            return Err(damaged("the checksum of its directory is wrong"));
        }
        let records = directory.chunks_exact(RECORD_BYTES as usize);
        let directory: Vec<Record> = records.map(Record::from_bytes).collect();
        let fits = |r: &Record| {
            r.offset >= HEADER_BYTES && r.offset.checked_add(r.len).is_some_and(|end| end <= offset)
        };
        if !directory.is_sorted_by(|a, b| a.key < b.key) || !directory.iter().all(fits) {
            return Err(damaged("its directory is impossible"));
        }
        Ok(Archive { file: Mutex::new(file), directory })
    }

    /// The keys, ascending.
    pub fn keys(&self) -> impl Iterator<Item = Key> + '_ {
        self.directory.iter().map(|record| record.key)
    }

    /// A value; `None` if it has none with this key.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidData`] if the value is damaged.
    pub fn get(&self, key: Key) -> Result<Option<Vec<u8>>> {
        let Ok(found) = self.directory.binary_search_by_key(&key, |record| record.key) else {
            return Ok(None);
        };
        let record = self.directory[found];
        let mut value = vec![0; record.len as usize];
        {
            let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
            file.seek(SeekFrom::Start(record.offset))?;
            file.read_exact(&mut value)?;
        }
        match xxh3_64(&value) == record.sum {
            true => Ok(Some(value)),
            false => Err(damaged("the checksum of a value is wrong")),
        }
    }

    /// Writes an archive of values and of those of another archive that have other keys, and puts
    /// it in the place of what `path` names. Damaged ones are left out.
    ///
    /// # Errors
    /// The file cannot be written; then what `path` names is as it was.
    pub fn write(path: &Path, values: &[(Key, &[u8])], others: Option<&Archive>) -> Result<()> {
        // One process may write several at the same time.
        static MADE: AtomicU64 = AtomicU64::new(0);
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let mut making = path.as_os_str().to_owned();
        making.push(format!(".{}.{number}", std::process::id()));
        let made = write_new(Path::new(&making), values, others)
            .and_then(|()| std::fs::rename(&making, path));
        if made.is_err() {
            let _ = std::fs::remove_file(&making);
        }
        made
    }
}

fn write_new(path: &Path, values: &[(Key, &[u8])], others: Option<&Archive>) -> Result<()> {
    let mut file = BufWriter::new(File::create_new(path)?);
    file.write_all(&[0; HEADER_BYTES as usize])?;
    let mut directory: Vec<Record> = Vec::new();
    let mut offset = HEADER_BYTES;
    let mut put = |file: &mut BufWriter<File>, key: Key, value: &[u8]| {
        file.write_all(value)?;
        let len = value.len() as u64;
        directory.push(Record { key, offset, len, sum: xxh3_64(value) });
        offset += len;
        Result::Ok(())
    };
    for (key, value) in values {
        put(&mut file, *key, value)?;
    }
    if let Some(others) = others {
        for key in others.keys().filter(|key| values.iter().all(|(known, _)| known != key)) {
            if let Ok(Some(value)) = others.get(key) {
                put(&mut file, key, &value)?;
            }
        }
    }
    directory.sort_unstable_by_key(|record| record.key);
    directory.dedup_by_key(|record| record.key);
    let records: Vec<u8> = directory.iter().flat_map(|record| record.to_bytes()).collect();
    file.write_all(&records)?;
    let place = [offset, directory.len() as u64].map(u64::to_le_bytes).concat();
    let sum = sum_of(&place, &records).to_le_bytes();
    file.seek(SeekFrom::Start(0))?;
    file.write_all(&[&MAGIC[..], &sum, &place].concat())?;
    file.flush()
}

/// The checksum of the directory and of what the header says about it.
fn sum_of(place: &[u8], directory: &[u8]) -> u64 {
    let mut hasher = Xxh3::new();
    hasher.update(place);
    hasher.update(directory);
    hasher.digest()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_come_back_and_are_added_to() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("archive");
        assert!(Archive::open(&path).is_err());
        Archive::write(&path, &[([1, 2, 3], b"one"), ([0, 9, 9], b"")], None).unwrap();
        let first = Archive::open(&path).unwrap();
        Archive::write(&path, &[([0, 5, 5], b"two"), ([1, 2, 3], b"new")], Some(&first)).unwrap();
        let second = Archive::open(&path).unwrap();
        assert!(second.keys().eq([[0, 5, 5], [0, 9, 9], [1, 2, 3]]));
        assert_eq!(second.get([0, 5, 5]).unwrap().unwrap(), b"two");
        assert_eq!(second.get([0, 9, 9]).unwrap().unwrap(), b"");
        assert_eq!(second.get([1, 2, 3]).unwrap().unwrap(), b"new");
        assert!(second.get([1, 2, 4]).unwrap().is_none());
        // What is open stays what it was.
        assert_eq!(first.get([1, 2, 3]).unwrap().unwrap(), b"one");
        let names = std::fs::read_dir(folder.path()).unwrap();
        assert_eq!(names.count(), 1, "nothing is left over");
    }

    #[test]
    fn every_damaged_byte_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("archive");
        let values: [(Key, &[u8]); 3] =
            [([0, 0, 1], b"first"), ([0, 1, 0], b"second"), ([2, 0, 0], b"third")];
        Archive::write(&path, &values, None).unwrap();
        let whole = std::fs::read(&path).unwrap();
        let is_sound = |bytes: &[u8]| {
            std::fs::write(&path, bytes).unwrap();
            let Ok(archive) = Archive::open(&path) else { return false };
            values.iter().all(|(key, value)| {
                archive.get(*key).is_ok_and(|found| found.as_deref() == Some(value))
            })
        };
        assert!(is_sound(&whole));
        for at in 0..whole.len() {
            assert!(!is_sound(&whole[..at]), "cut off at {at}");
            let mut flipped = whole.clone();
            flipped[at] ^= 0x10;
            assert!(!is_sound(&flipped), "flipped at {at}");
        }
        // What is sound of a damaged archive goes into the next one.
        let mut flipped = whole.clone();
        flipped[HEADER_BYTES as usize] ^= 1;
        assert!(!is_sound(&flipped));
        let others = Archive::open(&path).unwrap();
        Archive::write(&path, &[], Some(&others)).unwrap();
        assert!(Archive::open(&path).unwrap().keys().eq([[0, 1, 0], [2, 0, 0]]));
    }
}
