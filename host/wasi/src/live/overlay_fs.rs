//! The files of an [`Overlay`] for `wasi-common`: what a [`super::fs::Directory`] wraps in place of the host's.

use crate::overlay::{Fault, Handle, NewTime, OpenHow, Opened, Overlay, Stat};
use std::any::Any;
use std::io::{IoSlice, IoSliceMut, SeekFrom};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};
use wasi_common::dir::{OpenResult, ReaddirCursor, ReaddirEntity};
use wasi_common::file::{Advice, FdFlags, FileType, Filestat, OFlags};
use wasi_common::snapshots::preview_1::types;
use wasi_common::{Error, ErrorExt as _, SystemTimeSpec, WasiDir, WasiFile};

type Entities = Box<dyn Iterator<Item = Result<ReaddirEntity, Error>> + Send>;

/// The number of the device that files of a layer are on: "ovly". No host's, so that none of its files is taken for one of these.
const DEVICE: u64 = 0x6f76_6c79 << 32;

impl From<Fault> for Error {
    fn from(fault: Fault) -> Error {
        match fault {
            Fault::Errno(errno) => match types::Errno::try_from(errno.number()) {
                Ok(errno) => errno.into(),
                Err(_) => Error::io(),
            },
            Fault::Io(error) if error.kind() == std::io::ErrorKind::StorageFull => {
                types::Errno::Nospc.into()
            }
            // Upstream knows no errno for what is not the system's.
            Fault::Io(error) if error.raw_os_error().is_none() => Error::io(),
            Fault::Io(error) => error.into(),
            // Edits of a guest's calls are made to fit.
            Fault::Edit(_) => Error::io(),
        }
    }
}

fn filetype(kind: u8) -> FileType {
    match kind {
        1 => FileType::BlockDevice,
        2 => FileType::CharacterDevice,
        3 => FileType::Directory,
        4 => FileType::RegularFile,
        5 => FileType::SocketDgram,
        6 => FileType::SocketStream,
        7 => FileType::SymbolicLink,
        _ => FileType::Unknown,
    }
}

fn filestat(stat: Stat) -> Filestat {
    let time = |ns| match ns {
        0 => None,
        ns => SystemTime::UNIX_EPOCH.checked_add(Duration::from_nanos(ns)),
    };
    Filestat {
        device_id: DEVICE,
        inode: stat.inode,
        filetype: filetype(stat.kind),
        nlink: stat.links,
        size: stat.size,
        atim: time(stat.accessed_ns),
        mtim: time(stat.modified_ns),
        ctim: time(stat.created_ns),
    }
}

fn new_time(time: Option<SystemTimeSpec>) -> Option<NewTime> {
    time.map(|time| match time {
        SystemTimeSpec::SymbolicNow => NewTime::Now,
        SystemTimeSpec::Absolute(time) => NewTime::At(time.into_std()),
    })
}

/// A directory of a layer.
pub struct OverlayDirectory(Handle);

impl OverlayDirectory {
    /// A preopened one.
    pub fn preopened(overlay: &Overlay, preopen: u32) -> OverlayDirectory {
        OverlayDirectory(overlay.root(preopen))
    }

    /// A directory that is open already, opened again.
    pub fn again(handle: Handle) -> OverlayDirectory {
        OverlayDirectory(handle)
    }

    pub fn handle(&self) -> &Handle {
        &self.0
    }

    /// The same directory in a layer that came from its own.
    pub fn of(&self, overlay: &Overlay) -> OverlayDirectory {
        OverlayDirectory(self.0.of(overlay))
    }
}

/// Our own directory behind the trait.
fn ours(dir: &dyn WasiDir) -> Result<&Handle, Error> {
    dir.as_any().downcast_ref::<OverlayDirectory>().map(|dir| &dir.0).ok_or_else(Error::badf)
}

#[async_trait::async_trait]
impl WasiDir for OverlayDirectory {
    fn as_any(&self) -> &dyn Any {
        self
    }

    async fn open_file(
        &self,
        symlink_follow: bool,
        path: &str,
        oflags: OFlags,
        read: bool,
        write: bool,
        fdflags: FdFlags,
    ) -> Result<OpenResult, Error> {
        if fdflags.intersects(FdFlags::DSYNC | FdFlags::SYNC | FdFlags::RSYNC) {
            return Err(Error::not_supported());
        }
        let not_directory = OFlags::CREATE | OFlags::EXCLUSIVE | OFlags::TRUNCATE;
        if oflags.contains(OFlags::DIRECTORY) && oflags.intersects(not_directory) {
            return Err(Error::invalid_argument());
        }
        let how = OpenHow {
            follow: symlink_follow,
            create: oflags.contains(OFlags::CREATE),
            exclusive: oflags.contains(OFlags::EXCLUSIVE),
            truncate: oflags.contains(OFlags::TRUNCATE),
            directory: oflags.contains(OFlags::DIRECTORY),
            read,
            write,
            append: fdflags.contains(FdFlags::APPEND),
        };
        Ok(match self.0.open(path, how)? {
            Opened::File(handle) => OpenResult::File(Box::new(OverlayFile {
                handle,
                position: Arc::default(),
                fdflags,
                // As with the host's files, something that may be made is open for writing, whatever the rights say.
                writable: how.write || how.create || how.append,
                readable: how.read || !how.write,
                #[cfg(unix)]
                ready: Readiness::new()?,
            })),
            Opened::Directory(handle) => OpenResult::Dir(Box::new(OverlayDirectory(handle))),
            Opened::Other(file) => {
                let mut file = wasi_common::sync::file::File::from_cap_std(file);
                if fdflags.intersects(FdFlags::NONBLOCK | FdFlags::APPEND) {
                    file.set_fdflags(fdflags).await?;
                }
                OpenResult::File(Box::new(file))
            }
        })
    }

    async fn create_dir(&self, path: &str) -> Result<(), Error> {
        Ok(self.0.make_directory(path)?)
    }

    async fn readdir(&self, cursor: ReaddirCursor) -> Result<Entities, Error> {
        let own = self.0.stat()?.inode;
        let listed = self.0.list()?;
        let own = [".", ".."].map(|name| (own, FileType::Directory, name.to_owned()));
        let names = listed.into_iter().map(|l| (l.inode, filetype(l.kind), l.name));
        let entities = own.into_iter().chain(names).zip(1_u64..).map(|(entry, next)| {
            let (inode, filetype, name) = entry;
            Ok(ReaddirEntity { next: ReaddirCursor::from(next), inode, filetype, name })
        });
        let start = usize::try_from(u64::from(cursor)).unwrap_or(usize::MAX);
        Ok(Box::new(entities.skip(start).collect::<Vec<_>>().into_iter()))
    }

    async fn symlink(&self, old_path: &str, new_path: &str) -> Result<(), Error> {
        Ok(self.0.make_link(old_path, new_path)?)
    }

    async fn remove_dir(&self, path: &str) -> Result<(), Error> {
        Ok(self.0.remove_directory(path)?)
    }

    async fn unlink_file(&self, path: &str) -> Result<(), Error> {
        Ok(self.0.unlink(path)?)
    }

    async fn read_link(&self, path: &str) -> Result<PathBuf, Error> {
        Ok(PathBuf::from(self.0.read_link(path)?))
    }

    async fn get_filestat(&self) -> Result<Filestat, Error> {
        Ok(filestat(self.0.stat()?))
    }

    async fn get_path_filestat(&self, path: &str, follow: bool) -> Result<Filestat, Error> {
        Ok(filestat(self.0.stat_at(path, follow)?))
    }

    async fn rename(&self, path: &str, to: &dyn WasiDir, to_path: &str) -> Result<(), Error> {
        Ok(self.0.rename(path, ours(to)?, to_path)?)
    }

    async fn hard_link(&self, path: &str, to: &dyn WasiDir, to_path: &str) -> Result<(), Error> {
        Ok(self.0.hard_link(path, ours(to)?, to_path)?)
    }

    async fn set_times(
        &self,
        path: &str,
        atime: Option<SystemTimeSpec>,
        mtime: Option<SystemTimeSpec>,
        follow: bool,
    ) -> Result<(), Error> {
        Ok(self.0.set_times_at(path, follow, new_time(atime), new_time(mtime))?)
    }
}

/// An open file of a layer. A clone shares its position.
#[derive(Clone)]
pub struct OverlayFile {
    handle: Handle,
    position: Arc<Mutex<u64>>,
    fdflags: FdFlags,
    readable: bool,
    writable: bool,
    #[cfg(unix)]
    ready: Arc<Readiness>,
}

impl OverlayFile {
    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    /// A file that is open already, opened again.
    pub fn again(handle: Handle, read: bool, write: bool, fdflags: FdFlags) -> Result<Self, Error> {
        Ok(OverlayFile {
            handle,
            position: Arc::default(),
            fdflags,
            readable: read,
            writable: write,
            #[cfg(unix)]
            ready: Readiness::new()?,
        })
    }

    /// As the system, for whoever has not asked the table before.
    fn allow(&self, allowed: bool) -> Result<(), Error> {
        if allowed { Ok(()) } else { Err(Error::badf()) }
    }

    /// The same file in a layer that came from its own, at its start.
    pub fn of(&self, overlay: &Overlay) -> OverlayFile {
        let handle = self.handle.of(overlay);
        OverlayFile { handle, position: Arc::default(), ..self.clone() }
    }

    fn position(&self) -> MutexGuard<'_, u64> {
        self.position.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The buffer that is filled: upstream hands over one.
fn first<'a>(bufs: &'a mut [IoSliceMut<'_>]) -> &'a mut [u8] {
    bufs.iter_mut().find(|buf| !buf.is_empty()).map_or(&mut [], |buf| &mut **buf)
}

/// All that is to be written.
fn gathered(bufs: &[IoSlice<'_>]) -> Vec<u8> {
    let mut all = Vec::with_capacity(bufs.iter().map(|buf| buf.len()).sum());
    bufs.iter().for_each(|buf| all.extend_from_slice(buf));
    all
}

#[async_trait::async_trait]
impl WasiFile for OverlayFile {
    fn as_any(&self) -> &dyn Any {
        self
    }

    async fn get_filetype(&self) -> Result<FileType, Error> {
        Ok(FileType::RegularFile)
    }

    #[cfg(unix)]
    fn pollable(&self) -> Option<rustix::fd::BorrowedFd<'_>> {
        self.ready.pollable()
    }

    async fn get_fdflags(&self) -> Result<FdFlags, Error> {
        Ok(self.fdflags)
    }

    async fn set_fdflags(&mut self, flags: FdFlags) -> Result<(), Error> {
        if flags.intersects(FdFlags::DSYNC | FdFlags::SYNC | FdFlags::RSYNC) {
            return Err(Error::invalid_argument());
        }
        self.fdflags = flags;
        Ok(())
    }

    async fn get_filestat(&self) -> Result<Filestat, Error> {
        Ok(filestat(self.handle.stat()?))
    }

    async fn set_filestat_size(&self, size: u64) -> Result<(), Error> {
        if !self.writable {
            return Err(Error::invalid_argument());
        }
        Ok(self.handle.resize(size)?)
    }

    async fn advise(&self, _offset: u64, _len: u64, _advice: Advice) -> Result<(), Error> {
        Ok(())
    }

    async fn set_times(
        &self,
        atime: Option<SystemTimeSpec>,
        mtime: Option<SystemTimeSpec>,
    ) -> Result<(), Error> {
        Ok(self.handle.set_times(new_time(atime), new_time(mtime))?)
    }

    async fn read_vectored<'a>(&self, bufs: &mut [IoSliceMut<'a>]) -> Result<u64, Error> {
        self.allow(self.readable)?;
        let mut position = self.position();
        let count = self.handle.read(*position, first(bufs))? as u64;
        *position += count;
        Ok(count)
    }

    async fn read_vectored_at<'a>(
        &self,
        bufs: &mut [IoSliceMut<'a>],
        offset: u64,
    ) -> Result<u64, Error> {
        if i64::try_from(offset).is_err() {
            return Err(Error::invalid_argument());
        }
        self.allow(self.readable)?;
        Ok(self.handle.read(offset, first(bufs))? as u64)
    }

    async fn write_vectored<'a>(&self, bufs: &[IoSlice<'a>]) -> Result<u64, Error> {
        self.allow(self.writable)?;
        let data = gathered(bufs);
        let mut position = self.position();
        let count = if self.fdflags.contains(FdFlags::APPEND) {
            let (count, at) = self.handle.append(&data)?;
            if count > 0 {
                *position = at + count as u64;
            }
            count
        } else {
            let count = self.handle.write(*position, &data)?;
            *position += count as u64;
            count
        };
        Ok(count as u64)
    }

    async fn write_vectored_at<'a>(&self, bufs: &[IoSlice<'a>], offset: u64) -> Result<u64, Error> {
        let data = gathered(bufs);
        if i64::try_from(offset).is_err() && !data.is_empty() {
            return Err(Error::invalid_argument());
        }
        self.allow(self.writable)?;
        // Linux appends whatever the offset is.
        let count = match self.fdflags.contains(FdFlags::APPEND) {
            true => self.handle.append(&data)?.0,
            false => self.handle.write(offset, &data)?,
        };
        Ok(count as u64)
    }

    async fn seek(&self, pos: SeekFrom) -> Result<u64, Error> {
        let mut position = self.position();
        let (from, by) = match pos {
            SeekFrom::Start(to) => (to, 0),
            SeekFrom::Current(by) => (*position, by),
            SeekFrom::End(by) => (self.handle.stat()?.size, by),
        };
        let to = from.checked_add_signed(by).filter(|to| i64::try_from(*to).is_ok());
        *position = to.ok_or_else(Error::invalid_argument)?;
        Ok(*position)
    }

    async fn peek(&self, buf: &mut [u8]) -> Result<u64, Error> {
        Ok(self.handle.read(*self.position(), buf)? as u64)
    }

    fn num_ready_bytes(&self) -> Result<u64, Error> {
        Ok(self.handle.stat()?.size.saturating_sub(*self.position()))
    }

    async fn readable(&self) -> Result<(), Error> {
        Ok(())
    }

    async fn writable(&self) -> Result<(), Error> {
        Ok(())
    }
}

/// Something that `poll` says is ready for reading and writing, as a file always is.
#[cfg(unix)]
struct Readiness(std::os::fd::OwnedFd);

#[cfg(unix)]
impl Readiness {
    /// There is one for all files.
    fn new() -> Result<Arc<Readiness>, Error> {
        static READY: Mutex<Option<Arc<Readiness>>> = Mutex::new(None);
        let mut ready = READY.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(ready) = &*ready {
            return Ok(Arc::clone(ready));
        }
        let null = std::fs::File::options().read(true).write(true).open("/dev/null")?;
        Ok(Arc::clone(ready.insert(Arc::new(Readiness(null.into())))))
    }

    fn pollable(&self) -> Option<rustix::fd::BorrowedFd<'_>> {
        use std::os::fd::AsFd as _;
        Some(self.0.as_fd())
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests;
