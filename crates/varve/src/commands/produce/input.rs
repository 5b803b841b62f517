//! Where records come from: files one after the other, or standard input, read on a thread of their own.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use tokio::sync::mpsc;

use crate::failure::{Exit, Failure};

/// Bytes that are read at a time from a file.
const FILE_CHUNK_BYTES: usize = 1024 * 1024;
/// Bytes that are read at a time from a pipe, which does not hold more.
const PIPE_CHUNK_BYTES: usize = 64 * 1024;
/// Chunks that are read ahead.
const CHUNKS_AHEAD_MAX: usize = 4;

/// A piece of the input.
#[derive(Debug)]
pub(crate) enum Chunk {
    /// Bytes of the present source.
    Bytes(Bytes),
    /// The present source has ended.
    End,
}

/// One place that records come from.
pub(crate) struct Source {
    /// What it is called.
    pub(crate) name: String,
    reader: Box<dyn Read + Send>,
    chunk_bytes: usize,
    /// Its length, where that is known.
    len: Option<u64>,
}

/// The input as it is read.
pub(crate) struct Input {
    chunks: mpsc::Receiver<Result<Chunk, Failure>>,
    /// Names of the sources, in order.
    pub(crate) names: Vec<String>,
    /// Bytes of all sources together, where that is known.
    pub(crate) len: Option<u64>,
}

impl Input {
    /// Opens every source before the first is read, so that a file that is missing stops all before anything is sent. No
    /// paths, or `-`, mean standard input.
    ///
    /// # Errors
    /// If a file cannot be opened.
    pub(crate) fn open(paths: &[PathBuf]) -> Result<Self, Failure> {
        let stdin = [PathBuf::from("-")];
        let paths = if paths.is_empty() { &stdin[..] } else { paths };
        let sources = paths.iter().map(|path| Source::open(path)).collect::<Result<Vec<_>, _>>()?;
        let names = sources.iter().map(|source| source.name.clone()).collect();
        let len = sources.iter().map(|source| source.len).sum();
        let (sender, chunks) = mpsc::channel(CHUNKS_AHEAD_MAX);
        let read = move || read_all(sources, &sender);
        std::thread::Builder::new()
            .name("varve-input".into())
            .spawn(read)
            .map_err(|error| Failure::new(Exit::General, format!("cannot start a thread: {error}")))?;
        Ok(Self { chunks, names, len })
    }

    /// The next piece; `None` at the end of all sources.
    ///
    /// # Errors
    /// If a source cannot be read.
    pub(crate) async fn next(&mut self) -> Option<Result<Chunk, Failure>> {
        self.chunks.recv().await
    }
}

impl Source {
    fn open(path: &Path) -> Result<Self, Failure> {
        if path == Path::new("-") {
            let name = "standard input".to_owned();
            return Ok(Self {
                name,
                reader: Box::new(io::stdin()),
                chunk_bytes: PIPE_CHUNK_BYTES,
                len: None,
            });
        }
        let name = path.display().to_string();
        let failed = |error| Failure::file("read", &name, &error);
        let file = File::open(path).map_err(failed)?;
        let metadata = file.metadata().map_err(failed)?;
        if metadata.is_dir() {
            return Err(Failure::new(Exit::General, format!("cannot read {name}: it is a directory")));
        }
        // What is no regular file (a pipe, a device, /proc) says nothing true of its length.
        let is_regular = metadata.is_file() && metadata.len() > 0;
        let (chunk_bytes, len) =
            if is_regular { (FILE_CHUNK_BYTES, Some(metadata.len())) } else { (PIPE_CHUNK_BYTES, None) };
        Ok(Self { name, reader: Box::new(file), chunk_bytes, len })
    }

    /// The next bytes; empty at the end.
    fn read(&mut self) -> Result<Bytes, Failure> {
        let mut buffer = vec![0; self.chunk_bytes];
        loop {
            match self.reader.read(&mut buffer) {
                Ok(read) => {
                    buffer.truncate(read);
                    return Ok(buffer.into());
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Failure::file("read", &self.name, &error)),
            }
        }
    }
}

fn read_all(sources: Vec<Source>, chunks: &mpsc::Sender<Result<Chunk, Failure>>) {
    for mut source in sources {
        loop {
            let chunk = match source.read() {
                Ok(bytes) if bytes.is_empty() => Ok(Chunk::End),
                Ok(bytes) => Ok(Chunk::Bytes(bytes)),
                Err(failure) => Err(failure),
            };
            let (is_end, is_failure) = (matches!(chunk, Ok(Chunk::End)), chunk.is_err());
            // Nobody listens any more once the command ends.
            if chunks.blocking_send(chunk).is_err() || is_failure {
                return;
            }
            if is_end {
                break;
            }
        }
    }
}
