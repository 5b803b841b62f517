//! A disk whose syncs wait until the test lets them go on.

use std::io;
use std::io::IoSlice;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex};

use varve_env::Env;
use varve_env::disk::{DirEntry, Disk, DiskFile, DiskLock, DiskSpace, FaultyDisk, OpenMode};

/// Shut, it holds up every sync of a file.
#[derive(Clone, Debug, Default)]
pub(crate) struct Gate(Arc<(Mutex<bool>, Condvar)>);

impl Gate {
    /// Shuts it until what this gives is dropped: before the node is, which waits for its writers, in a test that fails too.
    #[must_use]
    pub(crate) fn shut(&self) -> Shut {
        *self.0.0.lock().unwrap() = true;
        Shut(self.clone())
    }

    fn open(&self) {
        *self.0.0.lock().unwrap() = false;
        self.0.1.notify_all();
    }

    /// The real world, with a disk in memory behind this gate.
    pub(crate) fn env(&self) -> Env {
        Env { disk: Arc::new(GatedDisk { disk: FaultyDisk::new(1), gate: self.clone() }), ..Env::real() }
    }

    fn pass(&self) {
        let mut shut = self.0.0.lock().unwrap();
        while *shut {
            shut = self.0.1.wait(shut).unwrap();
        }
    }
}

/// Opens a gate when it is dropped.
pub(crate) struct Shut(Gate);

impl Drop for Shut {
    fn drop(&mut self) {
        self.0.open();
    }
}

#[derive(Debug)]
struct GatedDisk {
    disk: FaultyDisk,
    gate: Gate,
}

impl Disk for GatedDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>> {
        let file = self.disk.open(path, mode)?;
        Ok(Arc::new(GatedFile { file, gate: self.gate.clone() }))
    }
    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        self.disk.create_dir_all(path)
    }
    fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        self.disk.list(path)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.disk.rename(from, to)
    }
    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.disk.remove_file(path)
    }
    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        self.disk.remove_dir_all(path)
    }
    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.disk.sync_dir(path)
    }
    fn try_lock(&self, path: &Path) -> io::Result<Box<dyn DiskLock>> {
        self.disk.try_lock(path)
    }
    fn space(&self, path: &Path) -> io::Result<DiskSpace> {
        self.disk.space(path)
    }
}

#[derive(Debug)]
struct GatedFile {
    file: Arc<dyn DiskFile>,
    gate: Gate,
}

impl DiskFile for GatedFile {
    fn read_at(&self, buf: &mut [u8], position: u64) -> io::Result<usize> {
        self.file.read_at(buf, position)
    }
    fn write_at(&self, bufs: &[IoSlice<'_>], position: u64) -> io::Result<usize> {
        self.file.write_at(bufs, position)
    }
    fn sync_data(&self) -> io::Result<()> {
        self.gate.pass();
        self.file.sync_data()
    }
    fn set_len(&self, len_bytes: u64) -> io::Result<()> {
        self.file.set_len(len_bytes)
    }
    fn len_bytes(&self) -> io::Result<u64> {
        self.file.len_bytes()
    }
}
