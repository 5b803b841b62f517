//! What the machine can do without Varve.

use crate::Failure;
use crate::statistics::rate;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::mpsc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// A disk that takes longer for one small write is none to measure.
const SYNC_TIMEOUT: Duration = Duration::from_secs(30);

/// Times to write `bytes` at the end of a growing file and sync it.
pub(crate) fn append_and_sync(dir: &Path, bytes: usize, count: usize) -> Result<Vec<Duration>, Failure> {
    let path = dir.join("limit-append");
    write_and_sync(&path, &File::create(&path)?, bytes, count)
}

/// Times to write `bytes` over blocks that were written before, and sync them: what a log does that reuses its files.
pub(crate) fn overwrite_and_sync(dir: &Path, bytes: usize, count: usize) -> Result<Vec<Duration>, Failure> {
    let path = dir.join("limit-overwrite");
    let file = File::create(&path)?;
    file.write_all_at(&vec![1_u8; bytes * count], 0)?;
    file.sync_all()?;
    write_and_sync(&path, &file, bytes, count)
}

/// Writes one piece after another, each synced, and removes the file.
fn write_and_sync(path: &Path, file: &File, bytes: usize, count: usize) -> Result<Vec<Duration>, Failure> {
    let data = vec![7_u8; bytes];
    let mut samples = Vec::with_capacity(count);
    for n in 0..count {
        let started = Instant::now();
        file.write_all_at(&data, (n * bytes) as u64)?;
        file.sync_data()?;
        samples.push(started.elapsed());
    }
    std::fs::remove_file(path)?;
    Ok(samples)
}

/// Times until two of three files are synced, each written to by a thread of its own at the same time: what a quorum of three
/// nodes costs that share a disk.
pub(crate) fn two_of_three_synced(dir: &Path, bytes: usize, count: usize) -> Result<Vec<Duration>, Failure> {
    std::thread::scope(|scope| {
        let (done, synced) = mpsc::channel();
        let mut begin = Vec::new();
        for file in 0..3 {
            let (sender, turns) = mpsc::channel::<u64>();
            begin.push(sender);
            let (path, done) = (dir.join(format!("limit-quorum-{file}")), done.clone());
            scope.spawn(move || {
                let written = sync_at_each(&path, bytes, count, &turns, &done);
                // Whoever waits learns of a failure by the end of all threads.
                drop(written);
            });
        }
        drop(done);
        // Each says once that its file is ready.
        (0..3).try_for_each(|_| synced.recv_timeout(SYNC_TIMEOUT).map(drop))?;
        let mut samples = Vec::with_capacity(count);
        for turn in 0..count as u64 {
            let started = Instant::now();
            begin.iter().try_for_each(|thread| thread.send(turn))?;
            (0..2).try_for_each(|_| synced.recv_timeout(SYNC_TIMEOUT))?;
            samples.push(started.elapsed());
            synced.recv_timeout(SYNC_TIMEOUT)?;
        }
        Ok(samples)
    })
}

/// Overwrites a piece of a file and syncs it, at each turn.
fn sync_at_each(
    path: &Path,
    bytes: usize,
    count: usize,
    turns: &mpsc::Receiver<u64>,
    done: &mpsc::Sender<()>,
) -> Result<(), Failure> {
    let file = File::create(path)?;
    let data = vec![1_u8; bytes];
    file.write_all_at(&vec![1_u8; bytes * count], 0)?;
    file.sync_all()?;
    done.send(())?;
    for turn in turns {
        file.write_all_at(&data, turn * bytes as u64)?;
        file.sync_data()?;
        done.send(())?;
    }
    Ok(std::fs::remove_file(path)?)
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

/// Times of a small message to another task over loopback TCP and back.
pub(crate) async fn round_trip(count: usize) -> Result<Vec<Duration>, Failure> {
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
    Ok(samples)
}
