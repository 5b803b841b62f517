//! A file read forwards in large pieces.

use bytes::Bytes;
use std::io;
use varve_env::disk::DiskFile;

/// Bytes read ahead where nothing else is asked for.
pub(crate) const READ_AHEAD_BYTES: usize = 1024 * 1024;

/// A piece of a file in memory, moved along as the reader goes. What it gives away shares its memory.
pub(crate) struct Window<'a> {
    file: &'a dyn DiskFile,
    /// Nothing is read at or behind this.
    end: u64,
    read_ahead_bytes: usize,
    start: u64,
    piece: Bytes,
}

impl<'a> Window<'a> {
    /// A window on a file up to `end`; what lies behind it is never looked at.
    pub(crate) fn new(file: &'a dyn DiskFile, end: u64) -> Self {
        Self { file, end, read_ahead_bytes: READ_AHEAD_BYTES, start: 0, piece: Bytes::new() }
    }

    /// Reads so much at once.
    pub(crate) fn with_read_ahead(self, bytes: usize) -> Self {
        Self { read_ahead_bytes: bytes, ..self }
    }

    /// `len` bytes at `position`; `None` where the file or the window's end comes first.
    pub(crate) fn get(&mut self, position: u64, len: usize) -> io::Result<Option<Bytes>> {
        if position.checked_add(len as u64).is_none_or(|until| until > self.end) {
            return Ok(None);
        }
        if !self.holds(position, len) {
            self.load(position, len.max(self.read_ahead_bytes))?;
        }
        if !self.holds(position, len) {
            return Ok(None);
        }
        let at = (position - self.start) as usize;
        Ok(Some(self.piece.slice(at..at + len)))
    }

    /// All that is in memory from `position` on, after a read if there was nothing; empty at the end.
    pub(crate) fn rest(&mut self, position: u64) -> io::Result<Bytes> {
        if !self.holds(position, 1) && position < self.end {
            self.load(position, self.read_ahead_bytes)?;
        }
        if !self.holds(position, 1) {
            return Ok(Bytes::new());
        }
        Ok(self.piece.slice((position - self.start) as usize..))
    }

    fn holds(&self, position: u64, len: usize) -> bool {
        position >= self.start && position + len as u64 <= self.start + self.piece.len() as u64
    }

    fn load(&mut self, position: u64, len: usize) -> io::Result<()> {
        let len = len.min(usize::try_from(self.end - position).unwrap_or(usize::MAX));
        let mut piece = vec![0; len];
        let mut filled = 0;
        while filled < len {
            match self.file.read_at(&mut piece[filled..], position + filled as u64) {
                Ok(0) => break,
                Ok(n) => filled += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        piece.truncate(filled);
        self.start = position;
        self.piece = piece.into();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::IoSlice;
    use std::path::Path;
    use varve_env::disk::{Disk, FaultyDisk, OpenMode};

    #[test]
    fn gives_what_is_there_and_no_more() {
        let disk = FaultyDisk::new(3);
        let file = disk.open(Path::new("f"), OpenMode::CreateNew).unwrap();
        let content: Vec<u8> = (0..=255).collect();
        file.write_all_at(&mut [IoSlice::new(&content)], 0).unwrap();
        disk.set_short_io(true);
        let mut window = Window::new(&*file, 1000).with_read_ahead(16);
        assert_eq!(window.get(10, 4).unwrap().unwrap(), content[10..14]);
        assert_eq!(window.get(12, 100).unwrap().unwrap(), content[12..112]);
        assert_eq!(window.get(5, 1).unwrap().unwrap(), content[5..6]);
        assert_eq!(window.get(250, 7).unwrap(), None);
        assert_eq!(window.rest(250).unwrap(), content[250..]);
        assert!(window.rest(256).unwrap().is_empty());
        assert_eq!(Window::new(&*file, 20).get(15, 6).unwrap(), None);
        assert_eq!(window.get(u64::MAX, 2).unwrap(), None);
    }
}
