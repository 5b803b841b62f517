//! A disk whose syncs do nothing: the negative control.

use std::io::{self, IoSlice};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use varve_env::disk::{DirEntry, Disk, DiskFile, DiskLock, DiskSpace, OpenMode};

/// A disk that says that it synced a segment and did not; other files it syncs. A simulation on it must find that acknowledged
/// records are lost; one that does not proves nothing.
#[derive(Debug)]
pub struct NoSyncDisk<D>(pub D);

#[derive(Debug)]
struct NoSyncFile {
    file: Arc<dyn DiskFile>,
    /// A segment is synced once when it is made: to lose that as well would be noticed at the next start.
    honest_syncs: AtomicU32,
}

impl<D: Disk> Disk for NoSyncDisk<D> {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>> {
        let file = self.0.open(path, mode)?;
        let is_segment = path.extension().is_some_and(|extension| extension == "log" || extension == "tmp");
        let honest_syncs = AtomicU32::new(u32::from(mode == OpenMode::CreateNew));
        Ok(if is_segment { Arc::new(NoSyncFile { file, honest_syncs }) } else { file })
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
        self.file.read_at(buf, position)
    }

    fn write_at(&self, bufs: &[IoSlice<'_>], position: u64) -> io::Result<usize> {
        self.file.write_at(bufs, position)
    }

    fn sync_data(&self) -> io::Result<()> {
        match self.honest_syncs.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)) {
            Ok(_) => self.file.sync_data(),
            Err(_) => Ok(()),
        }
    }

    fn set_len(&self, len_bytes: u64) -> io::Result<()> {
        self.file.set_len(len_bytes)
    }

    fn len_bytes(&self) -> io::Result<u64> {
        self.file.len_bytes()
    }
}
