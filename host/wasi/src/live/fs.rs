//! Files and directories: `wasi-common`'s over `cap-std`, with what they lack.
//!
//! - A listing is taken once, when a guest reads a directory from its start, and read on from memory:
//!   upstream lists the whole directory again for every `fd_readdir`, and shifts when it changes.
//! - Times before 1970 or after 2554 are shown as 0; upstream panics or wraps.
//! - With [`Inodes`], metadata is virtual and listings are sorted.
//! - On Windows: names that cannot be there do not reach the system (see [`names`]); a file that is open can be renamed
//!   and unlinked (a directory cannot, which upstream's safety rests on); several buffers are written at once; reading and writing at an offset does not open the file again, which fails when its name is gone.

use super::overlay_fs::{OverlayDirectory, OverlayFile};
use super::virtual_world::Inodes;
use super::{names, wait};
use crate::overlay::{Handle, Overlay};
use std::any::Any;
use std::future::Future;
use std::io::{IoSlice, IoSliceMut, SeekFrom};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;
use wasi_common::dir::{OpenResult, ReaddirCursor, ReaddirEntity};
use wasi_common::file::{
    Advice, FdFlags, FileType, Filestat, OFlags, RiFlags, RoFlags, SdFlags, SiFlags,
};
use wasi_common::snapshots::preview_1::types::Errno;
use wasi_common::{Error, ErrorExt as _, SystemTimeSpec, WasiDir, WasiFile};

type Entities = Box<dyn Iterator<Item = Result<ReaddirEntity, Error>> + Send>;

/// How metadata is shown, and where what is opened is left.
#[derive(Clone, Default)]
pub struct View {
    /// The numbering of files, if metadata is virtual.
    inodes: Option<Inodes>,
    /// The number of this very file. It got it when it was opened: once its last name is gone, the host
    /// may give its inode to another file.
    number: Option<u64>,
    slot: Slot,
}

/// What was opened, or got other flags, last: upstream's table does not give it out again.
#[derive(Clone, Default)]
pub struct Slot(Arc<Mutex<Option<Opened>>>);

impl Slot {
    fn put(&self, opened: Opened) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(opened);
    }

    pub fn take(&self) -> Option<Opened> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Something that a descriptor stands for, which another descriptor can stand for as well.
#[derive(Clone)]
pub enum Opened {
    File(OpenFile),
    Directory(Directory),
}

impl Opened {
    /// The file in its layer, if it is in one.
    pub fn in_a_layer(&self) -> Option<&Handle> {
        match self {
            Opened::File(file) => {
                file.inner.as_any().downcast_ref::<OverlayFile>().map(OverlayFile::handle)
            }
            Opened::Directory(dir) => {
                dir.inner.as_any().downcast_ref::<OverlayDirectory>().map(OverlayDirectory::handle)
            }
        }
    }

    /// What has no name any more, as it was opened; its virtual number is `inode`.
    pub fn without_name(
        handle: Handle,
        view: &View,
        inode: Option<u64>,
        (read, write): (bool, bool),
        fdflags: FdFlags,
    ) -> Result<Opened, Error> {
        let view = View { number: inode, ..view.clone() };
        if handle.is_directory() {
            let dir = Box::new(OverlayDirectory::again(handle));
            return Ok(Opened::Directory(Directory::new(dir, view)));
        }
        let inner = Arc::new(OverlayFile::again(handle, read, write, fdflags)?);
        Ok(Opened::File(OpenFile { inner, view, fdflags: Some(fdflags) }))
    }

    /// The same in a layer that came from its own, with a position of its own; `None` if it is in none.
    pub fn in_layer(&self, overlay: &Overlay, view: &View) -> Option<Opened> {
        let own = |opened: &View| View { number: opened.number, ..view.clone() };
        Some(match self {
            Opened::File(file) => {
                let inner = file.inner.as_any().downcast_ref::<OverlayFile>()?.of(overlay);
                let view = own(&file.view);
                Opened::File(OpenFile { inner: Arc::new(inner), view, fdflags: file.fdflags })
            }
            Opened::Directory(dir) => {
                let inner = dir.inner.as_any().downcast_ref::<OverlayDirectory>()?.of(overlay);
                Opened::Directory(Directory::new(Box::new(inner), own(&dir.view)))
            }
        })
    }
}

impl View {
    pub fn new(inodes: Option<Inodes>) -> View {
        View { inodes, ..View::default() }
    }

    pub fn slot(&self) -> Slot {
        self.slot.clone()
    }

    /// The view of something that was just opened.
    async fn opened(
        &self,
        stat: impl Future<Output = Result<Filestat, Error>>,
    ) -> Result<View, Error> {
        let number = match &self.inodes {
            Some(inodes) => {
                let stat = stat.await?;
                Some(inodes.number(stat.device_id, stat.inode))
            }
            None => None,
        };
        Ok(View { inodes: self.inodes.clone(), number, slot: self.slot.clone() })
    }

    /// The metadata of a file found by its name.
    fn of_named(&self, stat: Filestat) -> Filestat {
        View::new(self.inodes.clone()).of_own(stat)
    }

    /// The metadata of what was opened.
    fn of_own(&self, mut stat: Filestat) -> Filestat {
        for time in [&mut stat.atim, &mut stat.mtim, &mut stat.ctim] {
            // What 64 bits of nanoseconds can hold: 1970 to 2554. Upstream panics or wraps.
            *time = time.filter(|t| {
                let since = t.duration_since(SystemTime::UNIX_EPOCH);
                since.is_ok_and(|since| u64::try_from(since.as_nanos()).is_ok())
            });
        }
        if let Some(inodes) = &self.inodes {
            inodes.normalise(&mut stat, self.number);
        }
        stat
    }
}

/// What a directory listed last, if anything.
pub type Listing = Option<Arc<[ReaddirEntity]>>;

/// A directory. A clone is the same open directory.
#[derive(Clone)]
pub struct Directory {
    inner: Arc<dyn WasiDir>,
    view: View,
    listing: Arc<Mutex<Listing>>,
}

impl Directory {
    pub fn new(inner: Box<dyn WasiDir>, view: View) -> Directory {
        Directory { inner: Arc::from(inner), view, listing: Arc::default() }
    }

    pub fn listing(&self) -> Listing {
        self.listing.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn set_listing(&self, listing: Listing) {
        *self.listing.lock().unwrap_or_else(PoisonError::into_inner) = listing;
    }

    async fn list(&self) -> Result<Arc<[ReaddirEntity]>, Error> {
        let entities = self.inner.readdir(ReaddirCursor::from(0)).await?;
        let mut entities = entities.collect::<Result<Vec<_>, Error>>()?;
        if let Some(inodes) = &self.view.inodes {
            let device = self.inner.get_filestat().await?.device_id;
            // "." and ".." stand first, and sort first only by chance.
            let own = entities.len().min(2);
            entities[own..].sort_by(|a, b| a.name.cmp(&b.name));
            for (i, entity) in entities.iter_mut().enumerate() {
                entity.inode = inodes.number(device, entity.inode);
                entity.next = ReaddirCursor::from(i as u64 + 1);
            }
        }
        Ok(Arc::from(entities))
    }

    /// The metadata of a file as the host has it.
    pub async fn host_filestat(&self, path: &str, follow: bool) -> Result<Filestat, Error> {
        self.inner.get_path_filestat(path, follow).await
    }

    /// Opens a file that is there, as it is.
    pub async fn reopen(
        &self,
        path: &str,
        follow: bool,
        read: bool,
        write: bool,
        fdflags: FdFlags,
    ) -> Result<Box<dyn WasiFile>, Error> {
        match self.open_file(follow, path, OFlags::empty(), read, write, fdflags).await? {
            OpenResult::File(file) => Ok(file),
            OpenResult::Dir(_) => Err(is_a_directory()),
        }
    }

    /// Whether targets of links are written as Windows has them.
    fn has_windows_links(&self) -> bool {
        cfg!(windows) && !self.inner.as_any().is::<OverlayDirectory>()
    }

    /// What is about to lose a name, if that may be its last one.
    async fn doomed(&self, path: &str) -> Option<(Inodes, u64, u64)> {
        let inodes = self.view.inodes.clone()?;
        let stat = self.inner.get_path_filestat(path, false).await.ok()?;
        let last = stat.nlink <= 1 || stat.filetype == FileType::Directory;
        last.then_some((inodes, stat.device_id, stat.inode))
    }
}

/// What a path is used for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Use {
    /// Something is looked for.
    Find,
    /// Something may be made.
    Make,
}

/// Lets a path through that the system can have. Who looks for a file with another name gets `noent`, as for any other
/// that does not exist: programs ask for names that may not be there. Who wants to make it gets `inval`, as POSIX has it for
/// names that a file system cannot hold.
fn check(path: &str, to: Use) -> Result<(), Error> {
    if !cfg!(windows) || names::is_fit(path) {
        return Ok(());
    }
    Err(match to {
        // A path of no system can hold this.
        _ if path.contains('\0') => Error::invalid_argument(),
        Use::Find => Error::not_found(),
        Use::Make => Error::invalid_argument(),
    })
}

fn is_a_directory() -> Error {
    std::io::Error::from(std::io::ErrorKind::IsADirectory).into()
}

fn forget(doomed: Option<(Inodes, u64, u64)>) {
    if let Some((inodes, device, inode)) = doomed {
        inodes.forget(device, inode);
    }
}

/// Our own directory behind the trait.
fn ours(dir: &dyn WasiDir) -> Result<&Directory, Error> {
    dir.as_any().downcast_ref().ok_or_else(Error::badf)
}

#[async_trait::async_trait]
impl WasiDir for Directory {
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
        check(path, if oflags.contains(OFlags::CREATE) { Use::Make } else { Use::Find })?;
        let opened =
            self.inner.open_file(symlink_follow, path, oflags, read, write, fdflags).await?;
        Ok(match opened {
            OpenResult::File(mut inner) => {
                if cfg!(windows) {
                    // Upstream opens it so that nobody can rename or remove it while it is open. Setting its flags opens it
                    // once more, without that. Where this is not allowed it stays as it is.
                    let _ = inner.set_fdflags(fdflags).await;
                }
                let view = self.view.opened(inner.get_filestat()).await?;
                let fdflags = Some(fdflags);
                let file = OpenFile { inner: Arc::from(inner), view, fdflags };
                self.view.slot.put(Opened::File(file.clone()));
                OpenResult::File(Box::new(file))
            }
            OpenResult::Dir(inner) => {
                let view = self.view.opened(inner.get_filestat()).await?;
                let directory = Directory::new(inner, view);
                self.view.slot.put(Opened::Directory(directory.clone()));
                OpenResult::Dir(Box::new(directory))
            }
        })
    }

    async fn create_dir(&self, path: &str) -> Result<(), Error> {
        check(path, Use::Make)?;
        self.inner.create_dir(path).await
    }

    async fn readdir(&self, cursor: ReaddirCursor) -> Result<Entities, Error> {
        let start = usize::try_from(u64::from(cursor)).unwrap_or(usize::MAX);
        let kept = self.listing();
        let listing = match kept.filter(|_| start > 0) {
            Some(kept) => kept,
            // A resumed guest may be in the middle of a listing that was taken before.
            None => {
                let fresh = self.list().await?;
                self.set_listing(Some(Arc::clone(&fresh)));
                fresh
            }
        };
        Ok(Box::new((start..listing.len()).map(move |i| Ok(listing[i].clone()))))
    }

    async fn symlink(&self, old_path: &str, new_path: &str) -> Result<(), Error> {
        check(new_path, Use::Make)?;
        check(old_path, Use::Make)?;
        if self.has_windows_links() {
            return self.inner.symlink(&names::target_for_host(old_path), new_path).await;
        }
        self.inner.symlink(old_path, new_path).await
    }

    async fn remove_dir(&self, path: &str) -> Result<(), Error> {
        check(path, Use::Find)?;
        let doomed = self.doomed(path).await;
        self.inner.remove_dir(path).await?;
        forget(doomed);
        Ok(())
    }

    async fn unlink_file(&self, path: &str) -> Result<(), Error> {
        check(path, Use::Find)?;
        let doomed = self.doomed(path).await;
        if let Err(error) = self.inner.unlink_file(path).await {
            // Windows and macOS say that it is not allowed.
            let stat = self.inner.get_path_filestat(path, false).await;
            let is_dir = stat.is_ok_and(|stat| stat.filetype == FileType::Directory);
            return Err(if is_dir { is_a_directory() } else { error });
        }
        forget(doomed);
        Ok(())
    }

    async fn read_link(&self, path: &str) -> Result<PathBuf, Error> {
        check(path, Use::Find)?;
        let target = self.inner.read_link(path).await?;
        match target.to_str() {
            Some(text) if self.has_windows_links() => {
                Ok(PathBuf::from(names::target_for_guest(text)))
            }
            _ => Ok(target),
        }
    }

    async fn get_filestat(&self) -> Result<Filestat, Error> {
        Ok(self.view.of_own(self.inner.get_filestat().await?))
    }

    async fn get_path_filestat(&self, path: &str, follow: bool) -> Result<Filestat, Error> {
        check(path, Use::Find)?;
        Ok(self.view.of_named(self.inner.get_path_filestat(path, follow).await?))
    }

    async fn rename(&self, path: &str, to: &dyn WasiDir, to_path: &str) -> Result<(), Error> {
        check(path, Use::Find)?;
        check(to_path, Use::Make)?;
        let to = ours(to)?;
        let doomed = to.doomed(to_path).await;
        let moved = self.doomed(path).await;
        self.inner.rename(path, &*to.inner, to_path).await?;
        // Renaming a file to itself takes nothing away.
        let same = doomed.as_ref().zip(moved).is_some_and(|(d, m)| (d.1, d.2) == (m.1, m.2));
        if !same {
            forget(doomed);
        }
        Ok(())
    }

    async fn hard_link(&self, path: &str, to: &dyn WasiDir, to_path: &str) -> Result<(), Error> {
        check(path, Use::Find)?;
        check(to_path, Use::Make)?;
        self.inner.hard_link(path, &*ours(to)?.inner, to_path).await
    }

    async fn set_times(
        &self,
        path: &str,
        atime: Option<SystemTimeSpec>,
        mtime: Option<SystemTimeSpec>,
        follow_symlinks: bool,
    ) -> Result<(), Error> {
        check(path, Use::Find)?;
        self.inner.set_times(path, atime, mtime, follow_symlinks).await
    }
}

/// A file that was opened through a [`Directory`], or a standard stream. A clone is the same open file: they share their
/// position.
#[derive(Clone)]
pub struct OpenFile {
    pub inner: Arc<dyn WasiFile>,
    pub view: View,
    /// The flags that it was opened with, if it was opened by the guest. On Windows the system does not know all of
    /// them.
    pub fdflags: Option<FdFlags>,
}

impl OpenFile {
    /// Changes the open file, which a checkpoint may hold as well: then by another handle of it.
    fn change(
        &mut self,
        action: impl FnOnce(&mut dyn WasiFile) -> Result<(), Error>,
    ) -> Result<(), Error> {
        if let Some(file) = Arc::get_mut(&mut self.inner) {
            return action(file);
        }
        let mut handle = duplicate(&*self.inner).ok_or_else(Error::not_supported)?;
        action(handle.as_mut())?;
        self.inner = Arc::from(handle);
        Ok(())
    }
}

/// Another handle of an open file, with the same position.
fn duplicate(file: &dyn WasiFile) -> Option<Box<dyn WasiFile>> {
    if let Some(file) = file.as_any().downcast_ref::<OverlayFile>() {
        return Some(Box::new(file.clone()));
    }
    let file = handle(file)?;
    let file = cap_std::fs::File::from_std(file);
    Some(Box::new(wasi_common::sync::file::File::from_cap_std(file)))
}

/// Another handle of a file of upstream's, with the same position.
#[cfg(unix)]
fn handle(file: &dyn WasiFile) -> Option<std::fs::File> {
    use std::os::fd::AsFd as _;
    let file = file.as_any().downcast_ref::<wasi_common::sync::file::File>()?;
    file.as_fd().try_clone_to_owned().ok().map(std::fs::File::from)
}

/// Another handle of a file of upstream's, with the same position.
#[cfg(windows)]
fn handle(file: &dyn WasiFile) -> Option<std::fs::File> {
    use std::os::windows::io::AsHandle as _;
    let file = file.as_any().downcast_ref::<wasi_common::sync::file::File>()?;
    file.as_handle().try_clone_to_owned().ok().map(std::fs::File::from)
}

#[async_trait::async_trait]
impl WasiFile for OpenFile {
    fn as_any(&self) -> &dyn Any {
        self
    }

    async fn get_filetype(&self) -> Result<FileType, Error> {
        self.inner.get_filetype().await
    }

    #[cfg(unix)]
    fn pollable(&self) -> Option<rustix::fd::BorrowedFd<'_>> {
        self.inner.pollable()
    }

    #[cfg(windows)]
    fn pollable(&self) -> Option<io_extras::os::windows::RawHandleOrSocket> {
        self.inner.pollable()
    }

    fn isatty(&self) -> bool {
        self.inner.isatty()
    }

    async fn sock_accept(&self, flags: FdFlags) -> Result<Box<dyn WasiFile>, Error> {
        self.inner.sock_accept(flags).await
    }

    async fn sock_recv<'a>(
        &self,
        data: &mut [IoSliceMut<'a>],
        flags: RiFlags,
    ) -> Result<(u64, RoFlags), Error> {
        self.inner.sock_recv(data, flags).await
    }

    async fn sock_send<'a>(&self, data: &[IoSlice<'a>], flags: SiFlags) -> Result<u64, Error> {
        self.inner.sock_send(data, flags).await
    }

    async fn sock_shutdown(&self, how: SdFlags) -> Result<(), Error> {
        self.inner.sock_shutdown(how).await
    }

    async fn datasync(&self) -> Result<(), Error> {
        flushed(self.inner.datasync().await)
    }

    async fn sync(&self) -> Result<(), Error> {
        flushed(self.inner.sync().await)
    }

    async fn get_fdflags(&self) -> Result<FdFlags, Error> {
        match self.fdflags {
            Some(fdflags) if cfg!(windows) => Ok(fdflags),
            _ => self.inner.get_fdflags().await,
        }
    }

    async fn set_fdflags(&mut self, flags: FdFlags) -> Result<(), Error> {
        if !cfg!(windows) {
            return self.change(|file| wait(file.set_fdflags(flags)));
        }
        // The file is opened again there, and would be at its start.
        let position = self.inner.seek(SeekFrom::Current(0)).await;
        self.change(|file| wait(file.set_fdflags(flags)))?;
        if let Ok(position) = position {
            self.inner.seek(SeekFrom::Start(position)).await?;
        }
        self.fdflags = self.fdflags.map(|_| flags);
        self.view.slot.put(Opened::File(self.clone()));
        Ok(())
    }

    async fn get_filestat(&self) -> Result<Filestat, Error> {
        Ok(self.view.of_own(self.inner.get_filestat().await?))
    }

    async fn set_filestat_size(&self, size: u64) -> Result<(), Error> {
        self.inner.set_filestat_size(size).await
    }

    async fn advise(&self, offset: u64, len: u64, advice: Advice) -> Result<(), Error> {
        self.inner.advise(offset, len, advice).await
    }

    async fn set_times(
        &self,
        atime: Option<SystemTimeSpec>,
        mtime: Option<SystemTimeSpec>,
    ) -> Result<(), Error> {
        self.inner.set_times(atime, mtime).await
    }

    async fn read_vectored<'a>(&self, bufs: &mut [IoSliceMut<'a>]) -> Result<u64, Error> {
        self.inner.read_vectored(bufs).await
    }

    async fn read_vectored_at<'a>(
        &self,
        bufs: &mut [IoSliceMut<'a>],
        offset: u64,
    ) -> Result<u64, Error> {
        #[cfg(windows)]
        if let Some(file) = handle(&*self.inner) {
            return Ok(windows::read_at(&file, bufs, offset)?);
        }
        self.inner.read_vectored_at(bufs, offset).await
    }

    async fn write_vectored<'a>(&self, bufs: &[IoSlice<'a>]) -> Result<u64, Error> {
        #[cfg(windows)]
        if bufs.len() > 1 {
            let all = super::streams::gathered(bufs);
            return self.inner.write_vectored(&[IoSlice::new(&all)]).await;
        }
        self.inner.write_vectored(bufs).await
    }

    async fn write_vectored_at<'a>(&self, bufs: &[IoSlice<'a>], offset: u64) -> Result<u64, Error> {
        #[cfg(windows)]
        if let Some(file) = handle(&*self.inner) {
            return Ok(windows::write_at(&file, bufs, offset)?);
        }
        self.inner.write_vectored_at(bufs, offset).await
    }

    async fn seek(&self, pos: SeekFrom) -> Result<u64, Error> {
        self.inner.seek(pos).await
    }

    async fn peek(&self, buf: &mut [u8]) -> Result<u64, Error> {
        self.inner.peek(buf).await
    }

    fn num_ready_bytes(&self) -> Result<u64, Error> {
        self.inner.num_ready_bytes()
    }

    async fn readable(&self) -> Result<(), Error> {
        self.inner.readable().await
    }

    async fn writable(&self) -> Result<(), Error> {
        self.inner.writable().await
    }
}

/// Windows flushes only what is open for writing. Nothing was written through anything else.
fn flushed(result: Result<(), Error>) -> Result<(), Error> {
    if !cfg!(windows) {
        return result;
    }
    result.or_else(|error| match error.downcast() {
        Ok(Errno::Acces) => Ok(()),
        Ok(errno) => Err(errno.into()),
        Err(trap) => Err(Error::trap(trap)),
    })
}

#[cfg(windows)]
mod windows {
    use std::fs::File;
    use std::io::{IoSlice, IoSliceMut, Seek as _, SeekFrom};
    use std::os::windows::fs::FileExt as _;

    /// Does something at an offset. The system would leave the file's position behind it.
    fn at<T>(
        mut file: &File,
        action: impl FnOnce(&File) -> std::io::Result<T>,
    ) -> std::io::Result<T> {
        let position = file.stream_position()?;
        let result = action(file);
        file.seek(SeekFrom::Start(position))?;
        result
    }

    pub fn read_at(file: &File, bufs: &mut [IoSliceMut<'_>], offset: u64) -> std::io::Result<u64> {
        match bufs.iter_mut().find(|buf| !buf.is_empty()) {
            Some(buf) => Ok(at(file, |file| file.seek_read(buf, offset))? as u64),
            None => Ok(0),
        }
    }

    pub fn write_at(file: &File, bufs: &[IoSlice<'_>], offset: u64) -> std::io::Result<u64> {
        let all = crate::live::streams::gathered(bufs);
        match all.is_empty() {
            true => Ok(0),
            false => Ok(at(file, |file| file.seek_write(&all, offset))? as u64),
        }
    }
}
