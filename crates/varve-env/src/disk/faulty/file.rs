//! One file: its bytes in the cache, its bytes on the medium, and the writes between them.

use super::names::below;
use super::{CrashMode, OpKind, Shared, State};
use crate::Entropy;
use crate::disk::DiskFile;
use std::io::{self, IoSlice};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A write is torn at this many bytes, as a disk's sectors are.
const SECTOR_BYTES: usize = 512;

#[derive(Clone, Debug)]
enum Pending {
    Write(u64, Vec<u8>),
    SetLen(u64),
}

#[derive(Clone, Debug, Default)]
struct Bytes {
    cached: Vec<u8>,
    medium: Vec<u8>,
    pending: Vec<Pending>,
}

/// The file itself, whatever its names are.
#[derive(Debug, Default)]
pub(super) struct Inode(Mutex<Bytes>);

impl Inode {
    fn lock(&self) -> MutexGuard<'_, Bytes> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn fork(&self) -> Self {
        Self(Mutex::new(self.lock().clone()))
    }

    pub(super) fn len_bytes(&self) -> u64 {
        self.lock().cached.len() as u64
    }

    pub(super) fn contents(&self) -> Vec<u8> {
        self.lock().cached.clone()
    }

    pub(super) fn flip(&self, position: u64, mask: u8) -> io::Result<()> {
        let mut bytes = self.lock();
        let at = index(position)?;
        let Bytes { cached, medium, pending } = &mut *bytes;
        *cached.get_mut(at).ok_or(io::ErrorKind::UnexpectedEof)? ^= mask;
        if let Some(byte) = medium.get_mut(at) {
            *byte ^= mask;
        }
        for change in pending {
            if let Pending::Write(start, data) = change
                && let Some(byte) =
                    position.checked_sub(*start).and_then(|off| data.get_mut(usize::try_from(off).ok()?))
            {
                *byte ^= mask;
            }
        }
        Ok(())
    }

    pub(super) fn crash(&self, mode: CrashMode, entropy: &dyn Entropy) {
        let mut bytes = self.lock();
        let pending = match mode {
            // The cache outlives the process, and what it holds is still to be synced.
            CrashMode::ProcessOnly => return,
            CrashMode::SyncedOnly => Vec::new(),
            CrashMode::Torn => std::mem::take(&mut bytes.pending),
        };
        for change in pending {
            tear(&mut bytes.medium, change, entropy);
        }
        bytes.pending.clear();
        bytes.cached = bytes.medium.clone();
    }

    fn sync(&self) {
        let mut bytes = self.lock();
        for change in std::mem::take(&mut bytes.pending) {
            apply(&mut bytes.medium, &change);
        }
    }

    fn change(&self, change: Pending) {
        let mut bytes = self.lock();
        apply(&mut bytes.cached, &change);
        bytes.pending.push(change);
    }
}

fn apply(bytes: &mut Vec<u8>, change: &Pending) {
    match change {
        Pending::Write(position, data) => {
            let start = usize::try_from(*position).unwrap_or(usize::MAX);
            let end = start.saturating_add(data.len());
            if bytes.len() < end {
                bytes.resize(end, 0);
            }
            bytes[start..end].copy_from_slice(data);
        }
        Pending::SetLen(len) => bytes.resize(usize::try_from(*len).unwrap_or(usize::MAX), 0),
    }
}

/// Lets an arbitrary subset of a write's sectors through.
fn tear(medium: &mut Vec<u8>, change: Pending, entropy: &dyn Entropy) {
    let Pending::Write(position, data) = change else {
        if entropy.below(2) == 1 {
            apply(medium, &change);
        }
        return;
    };
    let mut start = 0;
    while start < data.len() {
        let at = position + start as u64;
        let to_boundary = SECTOR_BYTES - usize::try_from(at % SECTOR_BYTES as u64).unwrap_or(0);
        let end = data.len().min(start + to_boundary);
        if entropy.below(2) == 1 {
            apply(medium, &Pending::Write(at, data[start..end].to_vec()));
        }
        start = end;
    }
}

fn index(position: u64) -> io::Result<usize> {
    usize::try_from(position).map_err(|_| io::ErrorKind::InvalidInput.into())
}

/// An open file.
#[derive(Debug)]
pub(super) struct Handle {
    pub(super) shared: Arc<Shared>,
    pub(super) generation: u64,
    pub(super) path: PathBuf,
    pub(super) inode: Arc<Inode>,
    pub(super) writable: bool,
}

impl Handle {
    fn begin(&self, kind: OpKind) -> io::Result<MutexGuard<'_, State>> {
        self.shared.begin(self.generation, kind, &self.path)
    }

    fn begin_write(&self, kind: OpKind) -> io::Result<MutexGuard<'_, State>> {
        if !self.writable {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        self.begin(kind)
    }

    fn moved(&self, state: &State, wanted: usize) -> usize {
        if state.short_io && wanted > 1 { 1 + below(&self.shared.entropy, wanted) } else { wanted }
    }
}

impl DiskFile for Handle {
    fn read_at(&self, buf: &mut [u8], position: u64) -> io::Result<usize> {
        let state = self.begin(OpKind::Read)?;
        let bytes = self.inode.lock();
        let start = index(position)?.min(bytes.cached.len());
        let available = buf.len().min(bytes.cached.len() - start);
        let n = self.moved(&state, available);
        buf[..n].copy_from_slice(&bytes.cached[start..start + n]);
        Ok(n)
    }

    fn write_at(&self, bufs: &[IoSlice<'_>], position: u64) -> io::Result<usize> {
        let state = self.begin_write(OpKind::Write)?;
        let mut data = bufs.iter().flat_map(|buf| buf.iter().copied()).collect::<Vec<u8>>();
        data.truncate(self.moved(&state, data.len()));
        let end = position.saturating_add(data.len() as u64);
        state.room_for(end.saturating_sub(self.inode.len_bytes()))?;
        let n = data.len();
        self.inode.change(Pending::Write(position, data));
        Ok(n)
    }

    fn sync_data(&self) -> io::Result<()> {
        match self.begin_write(OpKind::Sync) {
            Ok(_state) => {
                self.inode.sync();
                Ok(())
            }
            Err(e) => {
                let state = self.shared.lock();
                // What was to be made durable never will be, although the cache still shows it. Where it is the power
                // that went, the crash decides what got through.
                if self.writable && state.generation == self.generation && !state.power_is_cut() {
                    self.inode.lock().pending.clear();
                }
                Err(e)
            }
        }
    }

    fn set_len(&self, len_bytes: u64) -> io::Result<()> {
        let state = self.begin_write(OpKind::SetLen)?;
        state.room_for(len_bytes.saturating_sub(self.inode.len_bytes()))?;
        self.inode.change(Pending::SetLen(len_bytes));
        Ok(())
    }

    fn len_bytes(&self) -> io::Result<u64> {
        Ok(self.inode.len_bytes())
    }
}
