//! Files, as the storage engine sees them.
//!
//! [`Disk`] is a directory tree and [`DiskFile`] an open file in it: no more than a log needs, so that a double can model
//! exactly what a disk promises and what it does not. [`RealDisk`] is the operating system's; [`FaultyDisk`] lives in
//! memory, loses at a crash what was not synced, and fails on demand.

mod faulty;
mod real;

pub use faulty::{CrashMode, FaultyDisk, Op, OpKind};
pub use real::RealDisk;

use std::fmt::Debug;
use std::io;
use std::io::IoSlice;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// How [`Disk::open`] treats a file that exists, or does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenMode {
    /// The file must exist; it is opened for reading only.
    Read,
    /// The file must exist; it is opened for reading and writing.
    Write,
    /// The file must not exist; it is made empty, readable and writable by its owner alone (mode 0600).
    CreateNew,
}

/// One name in a directory.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DirEntry {
    /// The last component of the path.
    pub name: String,
    /// Whether it is a directory.
    pub is_dir: bool,
    /// The file's length in bytes; 0 for a directory.
    pub len_bytes: u64,
}

/// Space on the disk that holds a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiskSpace {
    /// Bytes that an unprivileged process may still write.
    pub available_bytes: u64,
    /// The file system's size in bytes.
    pub total_bytes: u64,
}

/// A held lock on a file; dropping it lets go.
pub trait DiskLock: Send + Sync + Debug {}

/// A directory tree. Every call blocks: it is made on a writer's thread or through [`crate::Blocking`].
pub trait Disk: Send + Sync + Debug + 'static {
    /// Opens a file.
    ///
    /// # Errors
    /// `NotFound` and `AlreadyExists` as [`OpenMode`] says; else what the system reports.
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>>;
    /// Makes a directory (mode 0700) and those above it; one that exists is no error. Durable once the directories above
    /// are synced by [`Disk::sync_dir`].
    fn create_dir_all(&self, path: &Path) -> io::Result<()>;
    /// Names in a directory, sorted.
    fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>>;
    /// Renames a file or directory, replacing a file at `to`. Durable once both directories are synced.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file. Durable once the directory is synced.
    fn remove_file(&self, path: &Path) -> io::Result<()>;
    /// Removes a directory and all that is in it.
    fn remove_dir_all(&self, path: &Path) -> io::Result<()>;
    /// Makes the names in a directory durable.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;
    /// Takes the lock on `path` (made if missing) without waiting.
    ///
    /// # Errors
    /// `WouldBlock` where another process, or another holder in this one, has it.
    fn try_lock(&self, path: &Path) -> io::Result<Box<dyn DiskLock>>;
    /// Room on the disk that holds `path`.
    fn space(&self, path: &Path) -> io::Result<DiskSpace>;

    /// Whether a file or directory stands at `path`.
    fn exists(&self, path: &Path) -> io::Result<bool> {
        let parent = path.parent().map_or_else(PathBuf::new, Path::to_path_buf);
        let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
        match self.list(&parent) {
            Ok(entries) => Ok(entries.iter().any(|e| e.name == name)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(e) => Err(e),
        }
    }
}

/// An open file. Reads and writes name their position, so that one handle serves readers and a writer at once.
pub trait DiskFile: Send + Sync + Debug {
    /// Reads at a position; may read less than asked, 0 at the end of the file.
    fn read_at(&self, buf: &mut [u8], position: u64) -> io::Result<usize>;
    /// Writes at a position, the slices one after another; may write less than given. Not durable before
    /// [`DiskFile::sync_data`].
    fn write_at(&self, bufs: &[IoSlice<'_>], position: u64) -> io::Result<usize>;
    /// Makes what was written durable (`fdatasync`), the file's length included. After an error nothing is known of any
    /// earlier unsynced write: it must never be retried as if nothing had happened.
    fn sync_data(&self) -> io::Result<()>;
    /// Cuts or extends (with zeros) the file.
    fn set_len(&self, len_bytes: u64) -> io::Result<()>;
    /// The file's length in bytes.
    fn len_bytes(&self) -> io::Result<u64>;

    /// Reads until `buf` is full.
    ///
    /// # Errors
    /// `UnexpectedEof` where the file ends first.
    fn read_exact_at(&self, mut buf: &mut [u8], mut position: u64) -> io::Result<()> {
        while !buf.is_empty() {
            match self.read_at(buf, position) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(n) => {
                    buf = &mut buf[n..];
                    position += n as u64;
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    /// Writes all of the slices.
    ///
    /// # Errors
    /// What [`DiskFile::write_at`] reports; some of the bytes may then have been written.
    fn write_all_at(&self, bufs: &mut [IoSlice<'_>], mut position: u64) -> io::Result<()> {
        let mut rest = bufs;
        IoSlice::advance_slices(&mut rest, 0);
        while !rest.is_empty() {
            match self.write_at(rest, position) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => {
                    IoSlice::advance_slices(&mut rest, n);
                    position += n as u64;
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }
}
