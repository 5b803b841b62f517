//! Small files that are replaced as a whole: either the old content stands or the new one.

use crate::FileError;
use bytes::{Buf, BufMut, Bytes};
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use varve_env::disk::{Disk, OpenMode};

/// Bytes before the content.
pub(crate) const ATOMIC_HEADER_BYTES: usize = 32;
/// The most bytes of content: more is taken for damage.
pub(crate) const ATOMIC_FILE_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// What the name of a file that is not finished ends with.
pub(crate) const TEMPORARY_SUFFIX: &str = ".tmp";

const MAGIC: &[u8; 8] = b"VARVEATM";
const VERSION: u32 = 1;
const CRC_AT: usize = 12;
const CHECKED_FROM: usize = 16;

/// What an atomic file is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum AtomicKind {
    Node = 1,
    Tail = 2,
    Index = 3,
    Snapshot = 4,
}

/// Why an atomic file cannot be used.
#[derive(Clone, Debug)]
pub(crate) enum AtomicError {
    Damaged(&'static str),
    Newer(u32),
    File(FileError),
}

/// Puts `content` in place of the file, durably.
pub(crate) fn write_atomic(
    disk: &dyn Disk,
    path: &Path,
    kind: AtomicKind,
    content: &[u8],
) -> Result<(), FileError> {
    let temporary = temporary_path(path);
    let file = create_over(disk, &temporary).map_err(|e| FileError::new("create", &temporary, e))?;
    let header = header(kind, content);
    file.write_all_at(&mut [IoSlice::new(&header), IoSlice::new(content)], 0)
        .and_then(|()| file.sync_data())
        .map_err(|e| FileError::new("write", &temporary, e))?;
    disk.rename(&temporary, path).map_err(|e| FileError::new("rename into place", path, e))?;
    sync_parent(disk, path)
}

/// The file's content; `None` where there is no file.
pub(crate) fn read_atomic(
    disk: &dyn Disk,
    path: &Path,
    kind: AtomicKind,
) -> Result<Option<Bytes>, AtomicError> {
    let failed = |e| AtomicError::File(FileError::new("read", path, e));
    let file = match disk.open(path, OpenMode::Read) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(failed(e)),
    };
    let len_bytes = file.len_bytes().map_err(failed)?;
    if len_bytes < ATOMIC_HEADER_BYTES as u64 {
        return Err(AtomicError::Damaged("cut short"));
    }
    if len_bytes > ATOMIC_FILE_BYTES_MAX {
        return Err(AtomicError::Damaged("too long"));
    }
    let mut bytes = vec![0; usize::try_from(len_bytes).expect("bounded above")];
    file.read_exact_at(&mut bytes, 0).map_err(failed)?;
    check(Bytes::from(bytes), kind).map(Some)
}

/// Where a file is made before it gets its name.
pub(crate) fn temporary_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(TEMPORARY_SUFFIX);
    PathBuf::from(name)
}

/// Makes the names in a file's directory durable.
pub(crate) fn sync_parent(disk: &dyn Disk, path: &Path) -> Result<(), FileError> {
    let parent = path.parent().unwrap_or(Path::new(""));
    disk.sync_dir(parent).map_err(|e| FileError::new("sync", parent, e))
}

/// Makes an empty file, in place of what an earlier try left.
pub(crate) fn create_over(
    disk: &dyn Disk,
    path: &Path,
) -> io::Result<std::sync::Arc<dyn varve_env::disk::DiskFile>> {
    match disk.open(path, OpenMode::CreateNew) {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
            disk.remove_file(path)?;
            disk.open(path, OpenMode::CreateNew)
        }
        result => result,
    }
}

fn header(kind: AtomicKind, content: &[u8]) -> [u8; ATOMIC_HEADER_BYTES] {
    let mut bytes = [0; ATOMIC_HEADER_BYTES];
    let mut out = &mut bytes[..];
    out.put_slice(MAGIC);
    out.put_u32_le(VERSION);
    out.put_u32_le(0);
    out.put_u64_le(content.len() as u64);
    out.put_u32_le(kind as u32);
    let crc = checksum(&bytes, content);
    bytes[CRC_AT..CHECKED_FROM].copy_from_slice(&crc.to_le_bytes());
    bytes
}

fn check(mut bytes: Bytes, kind: AtomicKind) -> Result<Bytes, AtomicError> {
    let header = bytes.split_to(ATOMIC_HEADER_BYTES);
    let mut fields = &header[MAGIC.len()..];
    let (version, crc, len) = (fields.get_u32_le(), fields.get_u32_le(), fields.get_u64_le());
    if &header[..MAGIC.len()] != MAGIC || crc != checksum(&header, &bytes) || len != bytes.len() as u64 {
        return Err(AtomicError::Damaged("damaged: its checksum is wrong"));
    }
    if version != VERSION {
        return Err(AtomicError::Newer(version));
    }
    if fields.get_u32_le() != kind as u32 {
        return Err(AtomicError::Damaged("not the kind of file that belongs there"));
    }
    Ok(bytes)
}

fn checksum(header: &[u8], content: &[u8]) -> u32 {
    let crc = crc32c::crc32c_append(crc32c::crc32c(&header[..CRC_AT]), &header[CHECKED_FROM..]);
    crc32c::crc32c_append(crc, content)
}

#[cfg(test)]
mod tests {
    use super::*;
    use varve_env::disk::{CrashMode, FaultyDisk};

    fn read(disk: &FaultyDisk) -> Result<Option<Bytes>, AtomicError> {
        read_atomic(disk, Path::new("d/f"), AtomicKind::Node)
    }

    fn write(disk: &FaultyDisk, content: &[u8]) -> Result<(), FileError> {
        write_atomic(disk, Path::new("d/f"), AtomicKind::Node, content)
    }

    fn disk_with(content: &[u8]) -> FaultyDisk {
        let disk = FaultyDisk::new(1);
        disk.create_dir_all(Path::new("d")).unwrap();
        disk.sync_dir(Path::new("")).unwrap();
        write(&disk, content).unwrap();
        disk
    }

    #[test]
    fn a_crash_leaves_the_old_content_or_the_new() {
        for steps in 0..8 {
            for mode in [CrashMode::SyncedOnly, CrashMode::Torn, CrashMode::ProcessOnly] {
                let disk = disk_with(b"old");
                disk.halt_after(steps);
                let result = write(&disk, b"the new content");
                let found = read(&disk.crash(mode)).unwrap().unwrap();
                assert!(found == "old" || found == "the new content", "after {steps} steps, {mode:?}");
                assert!(result.is_err() || found == "the new content", "after {steps} steps, {mode:?}");
            }
        }
    }

    #[test]
    fn every_flipped_byte_is_found() {
        let len = ATOMIC_HEADER_BYTES as u64 + 3;
        for place in 0..len {
            let disk = disk_with(b"abc");
            disk.flip(Path::new("d/f"), place, 0x04).unwrap();
            assert!(matches!(read(&disk), Err(AtomicError::Damaged(_))), "byte {place}");
        }
        let disk = disk_with(b"abc");
        let other = read_atomic(&disk, Path::new("d/f"), AtomicKind::Tail);
        assert!(matches!(other, Err(AtomicError::Damaged(_))));
    }

    #[test]
    fn a_file_left_unfinished_is_no_obstacle() {
        let disk = disk_with(b"old");
        disk.open(Path::new("d/f.tmp"), OpenMode::CreateNew).unwrap();
        write(&disk, b"new").unwrap();
        assert_eq!(read(&disk).unwrap().unwrap(), "new");
    }
}
