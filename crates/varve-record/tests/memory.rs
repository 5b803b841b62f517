//! Bombs are refused in little memory. A test binary of its own, because it watches the memory of its whole process.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails, in its helpers too")]

use std::io::{self, Read, Write};

use varve_record::{Batch, BatchBuilder, BatchError, Compression, Limits, Timestamp};

const MIB: usize = 1024 * 1024;

/// What the bombs become if nobody stops them.
const BOMB_BYTES: u64 = 160 * MIB as u64;

/// What refusing them may take: the limit for what is decompressed, the half of that while it grew, and the codecs.
const GROWTH_MAX_BYTES: usize = 32 * MIB;

#[test]
fn bombs_are_refused_in_little_memory() {
    let limits = Limits { decompressed_bytes_max: 10 * MIB, ..Limits::default() };
    let bombs = [
        (Compression::Gzip, gzip()),
        (Compression::Snappy, snappy()),
        (Compression::Lz4, lz4()),
        (Compression::Zstd, zstd(None)),
        (Compression::Zstd, zstd(Some(10 << 30))),
    ];
    let batches = bombs.map(|(compression, payload)| (compression, wrap(compression, &payload)));
    let before = peak_bytes();
    for (compression, batch) in &batches {
        let result = batch.validate(&limits);
        assert!(
            matches!(result, Err(BatchError::OverLimit { limit, .. }) if limit <= 10 * MIB as u64),
            "{compression}"
        );
        assert!(batch.records(&limits).is_err());
    }
    let liar = wrap(Compression::Snappy, &snappy_liar());
    assert!(matches!(liar.validate(&Limits::default()), Err(BatchError::Decompress { .. })));
    let growth = peak_bytes() - before;
    assert!(growth < GROWTH_MAX_BYTES, "refusing the bombs took {growth} bytes");
}

/// A batch of one record, with `payload` in place of that record. The checksum is not computed.
fn wrap(compression: Compression, payload: &[u8]) -> Batch {
    let mut builder = BatchBuilder::new(Compression::None);
    builder.push(Timestamp::new(0), None, None, &[]).unwrap();
    let mut bytes = builder.build().unwrap().as_bytes()[..61].to_vec();
    bytes[8..12].copy_from_slice(&(payload.len() as u32 + 49).to_be_bytes());
    bytes[22] = compression as u8;
    bytes.extend_from_slice(payload);
    Batch::from_trusted(bytes.into()).unwrap()
}

/// The most memory that this process ever had resident.
fn peak_bytes() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 1024
}

fn zeros() -> impl Read {
    io::repeat(0).take(BOMB_BYTES)
}

fn gzip() -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    io::copy(&mut zeros(), &mut encoder).unwrap();
    encoder.finish().unwrap()
}

fn lz4() -> Vec<u8> {
    let mut encoder = lz4_flex::frame::FrameEncoder::new(Vec::new());
    io::copy(&mut zeros(), &mut encoder).unwrap();
    encoder.finish().unwrap()
}

fn snappy() -> Vec<u8> {
    // As many as fit a batch: a snappy block of 64 KiB of zeros takes 3 KiB.
    let block = snap::raw::Encoder::new().compress_vec(&[0; 64 * 1024]).unwrap();
    let mut bomb = b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01".to_vec();
    while bomb.len() + block.len() < 7 * MIB {
        bomb.write_all(&(block.len() as u32).to_be_bytes()).unwrap();
        bomb.write_all(&block).unwrap();
    }
    bomb
}

/// 64 KiB that claim to be 60 MiB, which the default limits would allow and so few bytes cannot become.
fn snappy_liar() -> Vec<u8> {
    let mut bytes = vec![0x80, 0x80, 0x80, 0x1e];
    bytes.resize(64 * 1024, 0);
    bytes
}

/// About 5 KiB by hand (RFC 8878): run-length blocks of 128 KiB, each of four bytes, in a frame with a window of 8 MiB
/// that claims to hold `content_bytes`, or makes no claim.
fn zstd(content_bytes: Option<u64>) -> Vec<u8> {
    let mut bomb = vec![0x28, 0xb5, 0x2f, 0xfd];
    bomb.extend([if content_bytes.is_some() { 0xc0 } else { 0 }, 13 << 3]);
    bomb.extend(content_bytes.iter().flat_map(|claim| claim.to_le_bytes()));
    for block in (0..BOMB_BYTES / (128 * 1024)).rev() {
        let header = (128 * 1024) << 3 | 1 << 1 | u32::from(block == 0);
        bomb.extend(&header.to_le_bytes()[..3]);
        bomb.push(0);
    }
    bomb
}
