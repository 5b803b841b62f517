//! What tells a partition that this node gave up on purpose from one that was lost: an empty file beside where its directory
//! was. Its vote stays, so that without that file a replica that comes back could not be told from one whose disk was emptied.

use crate::FileError;
use crate::atomic_file::{create_over, sync_parent};
use crate::shared::is_no_space;
use std::path::{Path, PathBuf};
use varve_env::disk::Disk;
use varve_record::PartitionId;

const LEFT_SUFFIX: &str = ".left";
const QUARANTINED: &str = ".quarantined-";

/// The file that says so, for the partition in this directory.
pub(crate) fn note_path(dir: &Path) -> PathBuf {
    let mut name = dir.as_os_str().to_owned();
    name.push(LEFT_SUFFIX);
    name.into()
}

/// The directory that a damaged partition is moved to.
pub(crate) fn quarantine_path(dir: &Path, number: u32) -> PathBuf {
    let mut name = dir.as_os_str().to_owned();
    name.push(format!("{QUARANTINED}{number}"));
    name.into()
}

/// The numbers of a partition's directories that were set aside, the oldest first.
pub(crate) fn quarantines(disk: &dyn Disk, dir: &Path) -> Result<Vec<u32>, FileError> {
    let (Some(parent), Some(name)) = (dir.parent(), dir.file_name().and_then(|name| name.to_str())) else {
        return Ok(Vec::new());
    };
    let entries = disk.list(parent).map_err(|e| FileError::new("list", parent, e))?;
    let number = |entry: &str| entry.strip_prefix(name)?.strip_prefix(QUARANTINED)?.parse().ok();
    let mut numbers: Vec<u32> = entries.iter().filter_map(|entry| number(&entry.name)).collect();
    numbers.sort_unstable();
    Ok(numbers)
}

/// The partition that a note's name says; `None` for any other name.
pub(crate) fn parse_note(name: &str) -> Option<PartitionId> {
    crate::storage::parse_partition(name.strip_suffix(LEFT_SUFFIX)?)
}

/// Whether a directory's name is that of a quarantined partition.
pub(crate) fn is_quarantined(name: &str) -> bool {
    quarantined_id(name).is_some()
}

/// The partition that was quarantined in a directory of this name.
pub(crate) fn quarantined_id(name: &str) -> Option<PartitionId> {
    let (id, number) = name.split_once(QUARANTINED)?;
    number.parse::<u32>().ok()?;
    crate::storage::parse_partition(id)
}

/// Notes that the partition is given up, before it is. Where there is no room for a note none is made: a full disk is left by
/// giving partitions up.
pub(crate) fn note(disk: &dyn Disk, dir: &Path) -> Result<(), FileError> {
    let path = note_path(dir);
    match create_over(disk, &path) {
        Ok(_) => sync_parent(disk, &path),
        Err(error) if is_no_space(error.kind()) => {
            tracing::warn!(path = %path.display(), "no room to note that a partition is given up");
            Ok(())
        }
        Err(error) => Err(FileError::new("create", &path, error)),
    }
}

/// Whether the partition was given up.
pub(crate) fn is_noted(disk: &dyn Disk, dir: &Path) -> Result<bool, FileError> {
    let path = note_path(dir);
    disk.exists(&path).map_err(|e| FileError::new("look for", &path, e))
}

/// Forgets that the partition was given up: it is here.
pub(crate) fn forget(disk: &dyn Disk, dir: &Path) -> Result<(), FileError> {
    if !is_noted(disk, dir)? {
        return Ok(());
    }
    let path = note_path(dir);
    disk.remove_file(&path).map_err(|e| FileError::new("remove", &path, e))?;
    sync_parent(disk, &path)
}
