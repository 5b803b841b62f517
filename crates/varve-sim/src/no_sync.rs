//! A disk whose syncs do nothing: the negative control.

use std::io::{self, IoSlice};
use std::path::Path;
use std::sync::Arc;
use varve_env::disk::{DirEntry, Disk, DiskFile, DiskLock, DiskSpace, OpenMode};

/// A disk that says that it synced a file and did not. A simulation on it must find that acknowledged records are lost; one that
/// does not proves nothing.
#[derive(Debug)]
pub struct NoSyncDisk<D>(pub D);

#[derive(Debug)]
struct NoSyncFile(Arc<dyn DiskFile>);

impl<D: Disk> Disk for NoSyncDisk<D> {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(NoSyncFile(self.0.open(path, mode)?)))
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        self.0.create_dir_all(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        self.0.list(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.0.rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.0.remove_file(path)
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        self.0.remove_dir_all(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.0.sync_dir(path)
    }

    fn try_lock(&self, path: &Path) -> io::Result<Box<dyn DiskLock>> {
        self.0.try_lock(path)
    }

    fn space(&self, path: &Path) -> io::Result<DiskSpace> {
        self.0.space(path)
    }
}

impl DiskFile for NoSyncFile {
    fn read_at(&self, buf: &mut [u8], position: u64) -> io::Result<usize> {
        self.0.read_at(buf, position)
    }

    fn write_at(&self, bufs: &[IoSlice<'_>], position: u64) -> io::Result<usize> {
        self.0.write_at(bufs, position)
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn set_len(&self, len_bytes: u64) -> io::Result<()> {
        self.0.set_len(len_bytes)
    }

    fn len_bytes(&self) -> io::Result<u64> {
        self.0.len_bytes()
    }
}
