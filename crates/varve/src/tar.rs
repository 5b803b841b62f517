//! Archives, as `tar` reads them (POSIX ustar): files with short names, and nothing else.

use std::io::{self, Write};

const BLOCK_BYTES: usize = 512;
/// Bytes of a name. Longer ones are refused.
const NAME_BYTES_MAX: usize = 100;

/// Writes an archive.
#[derive(Debug)]
pub(crate) struct Writer<W> {
    out: W,
    time_unix: u64,
}

impl<W: Write> Writer<W> {
    /// An archive whose files were all made at this time, in seconds since 1970.
    pub(crate) fn new(out: W, time_unix: u64) -> Self {
        Self { out, time_unix }
    }

    /// Adds a file, readable by its owner.
    ///
    /// # Errors
    /// Where it cannot be written, or its name is too long.
    pub(crate) fn add(&mut self, name: &str, data: &[u8]) -> io::Result<()> {
        if name.len() > NAME_BYTES_MAX {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("{name}: the name is too long")));
        }
        self.out.write_all(&header(name, data.len() as u64, self.time_unix))?;
        self.out.write_all(data)?;
        let padding = data.len().next_multiple_of(BLOCK_BYTES) - data.len();
        self.out.write_all(&[0; BLOCK_BYTES][..padding])
    }

    /// Ends the archive.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub(crate) fn finish(mut self) -> io::Result<W> {
        self.out.write_all(&[0; 2 * BLOCK_BYTES])?;
        Ok(self.out)
    }
}

fn header(name: &str, size: u64, time_unix: u64) -> [u8; BLOCK_BYTES] {
    let mut block = [0; BLOCK_BYTES];
    let mut put = |at: usize, bytes: &[u8]| block[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, name.as_bytes());
    put(100, b"0000600\0");
    put(108, b"0000000\0");
    put(116, b"0000000\0");
    put(124, format!("{size:011o}\0").as_bytes());
    put(136, format!("{time_unix:011o}\0").as_bytes());
    // The sum is made as if it stood there in blanks.
    put(148, b"        ");
    put(156, b"0");
    put(257, b"ustar\x0000");
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tar_reads_what_was_written() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut archive = Writer::new(Vec::new(), 1_700_000_000);
        archive.add("a/one.txt", b"one\n").expect("it is written");
        archive.add("a/two.bin", &[7; 1000]).expect("it is written");
        archive.add("empty", b"").expect("it is written");
        assert!(archive.add(&"x".repeat(101), b"").is_err());
        let bytes = archive.finish().expect("it is written");
        assert_eq!(bytes.len(), 3 * 512 + 512 + 1024 + 1024);
        let path = dir.path().join("a.tar");
        std::fs::write(&path, bytes).expect("it is written");
        let Ok(listed) = std::process::Command::new("tar").arg("tf").arg(&path).output() else {
            eprintln!("there is no tar here to read it with");
            return;
        };
        assert_eq!(String::from_utf8_lossy(&listed.stdout), "a/one.txt\na/two.bin\nempty\n");
    }
}
