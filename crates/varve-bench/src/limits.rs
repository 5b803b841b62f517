//! What the machine can do without Varve.

use crate::Failure;
use crate::statistics::rate;
use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
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

/// Times until a piece is on two of three files, each with a thread of its own, and whoever sent it knows: what replication costs
/// without consensus, a protocol, streams, encryption, or anything else that a server does. The first thread is sent the piece, sends it
/// on to the other two, writes and syncs it as they do, and answers once one of them has.
pub(crate) fn bare_replication(dir: &Path, bytes: usize, count: usize) -> Result<Vec<Duration>, Failure> {
    let (caller, leader) = (loopback_socket()?, loopback_socket()?);
    let followers = [loopback_socket()?, loopback_socket()?];
    let follower_addrs = [followers[0].local_addr()?, followers[1].local_addr()?];
    let leader_addr = leader.local_addr()?;
    let mut files = Vec::new();
    for n in 0..3 {
        let path = dir.join(format!("limit-replication-{n}"));
        let file = File::create(&path)?;
        file.write_all_at(&vec![1_u8; bytes * count], 0)?;
        file.sync_all()?;
        std::fs::remove_file(path)?;
        files.push(file);
    }
    let leader_file = files.remove(0);
    std::thread::scope(|scope| {
        let mut threads =
            vec![scope.spawn(move || lead(&leader, &leader_file, follower_addrs, bytes, count))];
        for (socket, file) in followers.into_iter().zip(files) {
            threads.push(scope.spawn(move || follow(&socket, &file, leader_addr, bytes, count)));
        }
        let mut piece = vec![7_u8; bytes];
        let mut samples = Vec::with_capacity(count);
        for turn in 0..count as u64 {
            let started = Instant::now();
            piece[..8].copy_from_slice(&turn.to_be_bytes());
            caller.send_to(&piece, leader_addr)?;
            caller.recv_from(&mut piece)?;
            samples.push(started.elapsed());
        }
        threads.into_iter().try_for_each(|thread| thread.join().unwrap_or(Err("it has panicked".into())))?;
        Ok(samples)
    })
}

fn loopback_socket() -> Result<UdpSocket, Failure> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    socket.set_read_timeout(Some(SYNC_TIMEOUT))?;
    Ok(socket)
}

fn lead(
    socket: &UdpSocket,
    file: &File,
    followers: [SocketAddr; 2],
    bytes: usize,
    count: usize,
) -> Result<(), Failure> {
    let mut piece = vec![0_u8; bytes];
    let (mut done, mut waits) = (0, None);
    while done < count as u64 {
        let (len, from) = socket.recv_from(&mut piece)?;
        let turn = u64::from_be_bytes(piece[..8].try_into()?);
        if len == bytes {
            for follower in followers {
                socket.send_to(&piece, follower)?;
            }
            file.write_all_at(&piece, turn * bytes as u64)?;
            file.sync_data()?;
            waits = Some(from);
        } else if turn == done
            && let Some(caller) = waits.take()
        {
            // Of the two that answer the first counts; what the other says is of a turn that is done.
            done += 1;
            socket.send_to(&piece[..8], caller)?;
        }
    }
    Ok(())
}

fn follow(
    socket: &UdpSocket,
    file: &File,
    leader: SocketAddr,
    bytes: usize,
    count: usize,
) -> Result<(), Failure> {
    let mut piece = vec![0_u8; bytes];
    for turn in 0..count {
        socket.recv_from(&mut piece)?;
        file.write_all_at(&piece, (turn * bytes) as u64)?;
        file.sync_data()?;
        socket.send_to(&piece[..8], leader)?;
    }
    Ok(())
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
