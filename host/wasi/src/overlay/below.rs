//! The directories below the layer: looked at, listed and read; written to by [`super::commit`] alone.
//!
//! Every path that gets here was resolved by [`super::walk`], name by name, so there is no symbolic link in it; should somebody
//! have put one there since, `cap-std` keeps it inside the directory.

use super::Fault;
use cap_std::fs::{Dir, Metadata, OpenOptions};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;
use wrr_trace::{Below, BelowKind, Errno, Place};

/// So many files below are kept open for reading.
const FILES_OPEN_MAX: usize = 32;

/// Where bytes come from that the guest has not written.
pub trait Beneath {
    /// Reads from an offset on, and gives how many bytes there were: fewer only at the end of the file.
    ///
    /// # Errors
    /// What the system says.
    fn read(&self, place: &Place, offset: u64, out: &mut [u8]) -> std::io::Result<usize>;
}

/// The directories below the layer, by the number of the preopened directory; those that were not given are missing.
#[derive(Clone)]
pub struct Lowers(Arc<Shared>);

struct Shared {
    dirs: Vec<Option<Dir>>,
    files: Mutex<HashMap<Place, Arc<std::fs::File>>>,
    /// No times are shown, as they are not the same on every host.
    timeless: bool,
}

impl Lowers {
    pub fn new(dirs: Vec<Option<Dir>>, timeless: bool) -> Lowers {
        Lowers(Arc::new(Shared { dirs, files: Mutex::default(), timeless }))
    }

    /// The directory itself.
    pub fn dir(&self, preopen: u32) -> Result<&Dir, Fault> {
        let dir = self.0.dirs.get(preopen as usize).and_then(Option::as_ref);
        dir.ok_or(Fault::Errno(Errno::noent))
    }

    /// What is at a place, without following a link there; `None` if there is nothing.
    pub fn look(&self, place: &Place) -> Result<Option<Below>, Fault> {
        let dir = self.dir(place.preopen)?;
        let metadata = match place.path.as_str() {
            "" => dir.dir_metadata(),
            path => dir.symlink_metadata(path),
        };
        let metadata = match metadata {
            Ok(metadata) => metadata,
            Err(error) if is_absent(&error) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        self.described(place, dir, &metadata).map(Some)
    }

    fn described(&self, place: &Place, dir: &Dir, metadata: &Metadata) -> Result<Below, Fault> {
        let kind = kind_of(&metadata.file_type());
        let (kind, size, links) = match kind {
            FILE => (BelowKind::File, metadata.len(), links(metadata)),
            DIRECTORY => (BelowKind::Directory, 0, 1),
            LINK => {
                let kind = match dir.read_link_contents(&place.path)?.to_str() {
                    Some(target) => BelowKind::Link(as_guest(target)),
                    // A target that no guest can be told leads nowhere.
                    None => BelowKind::Other(LINK),
                };
                (kind, 0, links(metadata))
            }
            other => (BelowKind::Other(other), 0, links(metadata)),
        };
        let time = |time: std::io::Result<cap_std::time::SystemTime>| match time {
            Ok(time) if !self.0.timeless => nanoseconds(time.into_std()),
            _ => 0,
        };
        Ok(Below {
            kind,
            size,
            links,
            accessed_ns: time(metadata.accessed()),
            modified_ns: time(metadata.modified()),
            created_ns: time(metadata.created()),
        })
    }

    /// The names in a directory with the numbers of their types, in no order.
    pub fn list(&self, place: &Place) -> Result<Vec<(String, u8)>, Fault> {
        let dir = self.dir(place.preopen)?;
        let entries = match place.path.as_str() {
            "" => dir.entries()?,
            path => dir.read_dir(path)?,
        };
        let mut names = Vec::new();
        for entry in entries {
            let entry = entry?;
            let name = entry.file_name().into_string().map_err(|_| Fault::Errno(Errno::ilseq))?;
            names.push((name, kind_of(&entry.file_type()?)));
        }
        Ok(names)
    }

    /// The file at a place, open for reading.
    pub fn open(&self, place: &Place) -> std::io::Result<Arc<std::fs::File>> {
        let mut files = self.0.files.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(file) = files.get(place) {
            return Ok(Arc::clone(file));
        }
        let Ok(dir) = self.dir(place.preopen) else {
            return Err(std::io::ErrorKind::NotFound.into());
        };
        let file = dir.open_with(&place.path, OpenOptions::new().read(true))?;
        let file = Arc::new(file.into_std());
        if files.len() >= FILES_OPEN_MAX {
            files.clear();
        }
        files.insert(place.clone(), Arc::clone(&file));
        Ok(file)
    }

    /// Closes what is open for reading, until it is read again: Windows replaces no file that is open.
    pub fn close_files(&self) {
        self.0.files.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Opens something that is neither a file nor a directory, as it is.
    pub fn open_other(
        &self,
        place: &Place,
        read: bool,
        write: bool,
    ) -> std::io::Result<cap_std::fs::File> {
        let Ok(dir) = self.dir(place.preopen) else {
            return Err(std::io::ErrorKind::NotFound.into());
        };
        dir.open_with(&place.path, OpenOptions::new().read(read).write(write))
    }
}

impl Beneath for Lowers {
    fn read(&self, place: &Place, offset: u64, out: &mut [u8]) -> std::io::Result<usize> {
        let file = self.open(place)?;
        let mut done = 0;
        while done < out.len() {
            match read_at(&file, &mut out[done..], offset + done as u64) {
                Ok(0) => break,
                Ok(count) => done += count,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(done)
    }
}

#[cfg(unix)]
fn read_at(file: &std::fs::File, out: &mut [u8], offset: u64) -> std::io::Result<usize> {
    std::os::unix::fs::FileExt::read_at(file, out, offset)
}

#[cfg(windows)]
fn read_at(file: &std::fs::File, out: &mut [u8], offset: u64) -> std::io::Result<usize> {
    std::os::windows::fs::FileExt::seek_read(file, out, offset)
}

/// The number of the file type `directory`.
pub const DIRECTORY: u8 = 3;
/// The number of the file type `regular_file`.
pub const FILE: u8 = 4;
/// The number of the file type `symbolic_link`.
pub const LINK: u8 = 7;

fn kind_of(kind: &cap_std::fs::FileType) -> u8 {
    if kind.is_dir() {
        return DIRECTORY;
    }
    if kind.is_symlink() {
        return LINK;
    }
    if kind.is_file() {
        return FILE;
    }
    #[cfg(unix)]
    {
        use cap_std::fs::FileTypeExt as _;
        if kind.is_block_device() {
            return 1;
        }
        if kind.is_char_device() {
            return 2;
        }
        if kind.is_socket() {
            return 6;
        }
    }
    0
}

#[cfg(unix)]
fn links(metadata: &Metadata) -> u64 {
    cap_std::fs::MetadataExt::nlink(metadata)
}

#[cfg(windows)]
fn links(_metadata: &Metadata) -> u64 {
    1
}

/// The target of a link as a guest reads it.
fn as_guest(target: &str) -> String {
    if cfg!(windows) { target.replace('\\', "/") } else { target.to_owned() }
}

/// Whether there is nothing at the place, or nothing can be.
fn is_absent(error: &std::io::Error) -> bool {
    use std::io::ErrorKind as Kind;
    matches!(error.kind(), Kind::NotFound | Kind::NotADirectory)
}

/// Nanoseconds since 1970; 0 for what 64 bits cannot hold.
pub fn nanoseconds(time: SystemTime) -> u64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH);
    since.ok().and_then(|since| u64::try_from(since.as_nanos()).ok()).unwrap_or(0)
}
