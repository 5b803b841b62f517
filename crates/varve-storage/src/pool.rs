//! Files of deleted segments, kept for reuse.
//!
//! Writing over blocks that were written before halves the cost of a sync: nothing but data has to reach the disk. What is
//! left in such a file never passes for the new segment's: its checksums are salted with another incarnation.

use crate::atomic_file::sync_parent;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use varve_env::disk::Disk;

const SUFFIX: &str = ".free";

/// The files, shared by all partitions of a data directory.
#[derive(Debug)]
pub(crate) struct Pool {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    bytes_max: u64,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Length of each file, by number.
    files: BTreeMap<u64, u64>,
    bytes: u64,
    next_number: u64,
}

impl Pool {
    /// The pool in an existing directory.
    pub(crate) fn open(disk: Arc<dyn Disk>, dir: PathBuf, bytes_max: u64) -> io::Result<Self> {
        let mut state = State::default();
        for entry in disk.list(&dir)? {
            match entry.name.strip_suffix(SUFFIX).and_then(|n| n.parse().ok()) {
                Some(number) if !entry.is_dir => {
                    state.files.insert(number, entry.len_bytes);
                    state.bytes += entry.len_bytes;
                    state.next_number = state.next_number.max(number + 1);
                }
                _ => tracing::warn!(name = entry.name, "unknown file in the pool is left alone"),
            }
        }
        let pool = Self { disk, dir, bytes_max, state: Mutex::new(state) };
        pool.shrink(bytes_max);
        Ok(pool)
    }

    /// Moves a deleted segment's file into the pool, or removes it where it is not to be kept or there is no room; durable
    /// when this returns. The file is given out again only afterwards, so no crash leaves one file under two names.
    pub(crate) fn put(&self, path: &Path, len_bytes: u64, keep: bool) -> io::Result<()> {
        let number = if keep { self.room_for(len_bytes) } else { None };
        match number {
            Some(number) => self.disk.rename(path, &self.path(number))?,
            None => self.disk.remove_file(path)?,
        }
        sync_parent(&*self.disk, path).map_err(|e| io::Error::new(e.kind(), e))?;
        if let Some(number) = number {
            let mut state = self.lock();
            state.files.insert(number, len_bytes);
            state.bytes += len_bytes;
        }
        Ok(())
    }

    /// Renames the largest file of at most `len_bytes_max` to `to`; gives its length, or `None` where there is none.
    pub(crate) fn take(&self, to: &Path, len_bytes_max: u64) -> Option<u64> {
        let (number, len_bytes) = {
            let mut state = self.lock();
            let fits = state.files.iter().filter(|(_, len)| **len <= len_bytes_max);
            let (number, len_bytes) = fits.max_by_key(|(_, len)| **len).map(|(n, len)| (*n, *len))?;
            state.files.remove(&number);
            state.bytes -= len_bytes;
            (number, len_bytes)
        };
        match self.disk.rename(&self.path(number), to) {
            Ok(()) => Some(len_bytes),
            Err(error) => {
                tracing::warn!(%error, number, "cannot take a file out of the pool");
                None
            }
        }
    }

    /// Removes files until at most `bytes_max` are left: all of them where the disk is full. Gives whether any went.
    pub(crate) fn shrink(&self, bytes_max: u64) -> bool {
        let mut any = false;
        loop {
            let number = {
                let mut state = self.lock();
                if state.bytes <= bytes_max {
                    return any;
                }
                let Some((number, len_bytes)) = state.files.pop_last() else { return any };
                state.bytes -= len_bytes;
                number
            };
            match self.disk.remove_file(&self.path(number)) {
                Ok(()) => any = true,
                Err(error) => tracing::warn!(%error, number, "cannot remove a file of the pool"),
            }
        }
    }

    fn room_for(&self, len_bytes: u64) -> Option<u64> {
        let mut state = self.lock();
        if state.bytes + len_bytes > self.bytes_max {
            return None;
        }
        state.next_number += 1;
        Some(state.next_number - 1)
    }

    fn path(&self, number: u64) -> PathBuf {
        self.dir.join(format!("{number:016}{SUFFIX}"))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use varve_env::disk::{FaultyDisk, OpenMode};

    fn file(disk: &FaultyDisk, name: &str, len: u64) -> PathBuf {
        let path = Path::new("d").join(name);
        disk.open(&path, OpenMode::CreateNew).unwrap().set_len(len).unwrap();
        path
    }

    fn pool(disk: &FaultyDisk) -> Pool {
        disk.create_dir_all(Path::new("d/pool")).unwrap();
        Pool::open(Arc::new(disk.clone()), "d/pool".into(), 100).unwrap()
    }

    #[test]
    fn keeps_as_much_as_it_may_and_gives_the_largest_that_fits() {
        let disk = FaultyDisk::new(1);
        let held = pool(&disk);
        for (name, len) in [("a", 40), ("b", 50), ("c", 20)] {
            held.put(&file(&disk, name, len), len, true).unwrap();
        }
        assert_eq!(disk.files().len(), 2);
        // Another start finds the same files.
        let held = pool(&disk);
        let to = Path::new("d/new");
        assert_eq!(held.take(to, 45), Some(40));
        assert_eq!(disk.contents(to).unwrap().len(), 40);
        assert_eq!(held.take(to, 45), None);
        assert!(held.shrink(0));
        assert_eq!(disk.files(), [to]);
    }
}
