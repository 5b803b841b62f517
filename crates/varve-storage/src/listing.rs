//! What lies in a data directory, for whoever looks into it.

use crate::FileError;
use std::path::Path;
use varve_env::disk::Disk;

/// Every file below a directory with its size in bytes, by its path there, in order; at most `files_max` of them. Blocks.
///
/// # Errors
/// Where a directory cannot be read.
pub fn list_files(disk: &dyn Disk, root: &Path, files_max: usize) -> Result<Vec<(String, u64)>, FileError> {
    let mut files = Vec::new();
    let mut dirs = vec![String::new()];
    while let Some(dir) = dirs.pop() {
        let path = root.join(&dir);
        for entry in disk.list(&path).map_err(|e| FileError::new("list", &path, e))? {
            let below = if dir.is_empty() { entry.name } else { format!("{dir}/{}", entry.name) };
            if entry.is_dir {
                dirs.push(below);
            } else if files.len() < files_max {
                files.push((below, entry.len_bytes));
            }
        }
    }
    files.sort();
    Ok(files)
}
