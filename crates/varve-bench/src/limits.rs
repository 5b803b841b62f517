//! What the machine can do without Varve.

use crate::Failure;
use crate::statistics::{median, rate};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// The median time to write `bytes` at the end of a growing file and sync it.
pub(crate) fn append_and_sync(dir: &Path, bytes: usize, count: usize) -> Result<Duration, Failure> {
    let path = dir.join("limit-append");
    write_and_sync(&path, &File::create(&path)?, bytes, count)
}

/// The median time to write `bytes` over blocks that were written before, and sync them.
pub(crate) fn overwrite_and_sync(dir: &Path, bytes: usize, count: usize) -> Result<Duration, Failure> {
    let path = dir.join("limit-overwrite");
    let file = File::create(&path)?;
    file.write_all_at(&vec![1_u8; bytes * count], 0)?;
    file.sync_all()?;
    write_and_sync(&path, &file, bytes, count)
}

/// Writes one piece after another, each synced, and removes the file.
fn write_and_sync(path: &Path, file: &File, bytes: usize, count: usize) -> Result<Duration, Failure> {
    let data = vec![7_u8; bytes];
    let mut samples = Vec::with_capacity(count);
    for n in 0..count {
        let started = Instant::now();
        file.write_all_at(&data, (n * bytes) as u64)?;
        file.sync_data()?;
        samples.push(started.elapsed());
    }
    std::fs::remove_file(path)?;
    Ok(median(&mut samples))
}

/// Bytes a second, written in pieces of 1 MiB and synced every eight.
pub(crate) fn stream_and_sync(dir: &Path, mebibytes: usize) -> Result<f64, Failure> {
    let path = dir.join("limit-stream");
    let file = File::create(&path)?;
    let data = vec![7_u8; 1 << 20];
    let started = Instant::now();
    for n in 0..mebibytes {
        file.write_all_at(&data, (n as u64) << 20)?;
        if n % 8 == 7 {
            file.sync_data()?;
        }
    }
    file.sync_data()?;
    let took = started.elapsed();
    std::fs::remove_file(path)?;
    Ok(rate((mebibytes as u64) << 20, took))
}

/// The median time of a small message to another task over loopback TCP and back.
pub(crate) async fn round_trip(count: usize) -> Result<Duration, Failure> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let echo = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let mut buffer = [0_u8; 64];
        while stream.read_exact(&mut buffer).await.is_ok() {
            stream.write_all(&buffer).await?;
        }
        Ok::<(), std::io::Error>(())
    });
    let mut stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let mut buffer = [0_u8; 64];
    let mut samples = Vec::with_capacity(count);
    for _ in 0..count {
        let started = Instant::now();
        stream.write_all(&buffer).await?;
        stream.read_exact(&mut buffer).await?;
        samples.push(started.elapsed());
    }
    drop(stream);
    echo.await??;
    Ok(median(&mut samples))
}
