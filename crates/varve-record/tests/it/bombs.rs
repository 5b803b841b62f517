//! Few bytes that become many. `tests/memory.rs` holds that they are refused in little memory.

use varve_record::{Batch, BatchBuilder, BatchError, Compression, Limits, Timestamp};

use crate::forge::Forge;

const ONE_MIB: usize = 1024 * 1024;

#[track_caller]
fn assert_over(compression: Compression, payload: &[u8], limits: &Limits, limit: usize) {
    let batch = Batch::decode(Forge::new(compression as u16, 1, payload).encode().into()).unwrap();
    let over = |result: Result<(), BatchError>| match result {
        Err(BatchError::OverLimit { field: "decompressed size in bytes", found, limit: held }) => {
            found > held && held == limit as u64
        }
        _ => false,
    };
    assert!(over(batch.validate(limits)), "{compression}: {:?}", batch.validate(limits));
    assert!(over(batch.records(limits).map(drop)), "{compression}");
}

/// One record of `bytes` zeros in a batch of `compression`, without its header.
fn zeros(compression: Compression, bytes: usize) -> Vec<u8> {
    let huge = Limits { record_bytes_max: bytes, ratio_max: usize::MAX, ..Limits::default() };
    let mut builder = BatchBuilder::with_limits(compression, huge);
    builder.push(Timestamp::new(1_000), None, Some(&vec![0; bytes]), &[]).unwrap();
    let batch = builder.build().unwrap();
    assert_eq!(batch.compression(), compression);
    batch.as_bytes()[61..].to_vec()
}

#[test]
fn the_size_is_held_for_every_codec() {
    for compression in Compression::ALL.into_iter().skip(1) {
        let payload = zeros(compression, 2 * ONE_MIB);
        for limit in [1, 1_000, ONE_MIB, 2 * ONE_MIB] {
            let limits = Limits { decompressed_bytes_max: limit, ratio_max: usize::MAX, ..Limits::default() };
            assert_over(compression, &payload, &limits, limit);
        }
    }
}

#[test]
fn the_ratio_is_held_for_every_codec_beyond_what_is_exempt() {
    for compression in Compression::ALL.into_iter().skip(1) {
        let payload = zeros(compression, 2 * ONE_MIB);
        let limits = Limits { ratio_max: 3, ratio_exempt_bytes: 100, ..Limits::default() };
        assert_over(compression, &payload, &limits, 3 * payload.len());
        let exempt = Limits { ratio_exempt_bytes: 3 * ONE_MIB, record_bytes_max: 3 * ONE_MIB, ..limits };
        let batch = Batch::decode(Forge::new(compression as u16, 1, &payload).encode().into()).unwrap();
        assert_eq!(batch.validate(&exempt), Ok(()), "{compression}");
    }
}

#[test]
fn a_batch_of_exactly_the_limit_is_taken() {
    for compression in Compression::ALL {
        let payload = zeros(compression, 300_000);
        let plain = zeros(Compression::None, 300_000).len();
        let batch = Batch::decode(Forge::new(compression as u16, 1, &payload).encode().into()).unwrap();
        let limits = Limits { decompressed_bytes_max: plain, ..Limits::default() };
        assert_eq!(batch.validate(&limits), Ok(()), "{compression}");
    }
}

#[test]
fn a_snappy_block_that_claims_4_gib_is_refused() {
    // Raw and framed; the claim is a varint of 2^32 - 1.
    let raw = [0xff, 0xff, 0xff, 0xff, 0x0f];
    let framed = [b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01\0\0\0\x05", &raw[..]].concat();
    for payload in [&raw[..], &framed] {
        assert_over(Compression::Snappy, payload, &Limits::default(), ONE_MIB);
    }
}

#[test]
fn a_snappy_block_that_claims_more_than_it_can_hold_is_refused() {
    // 5 bytes that claim 1 MiB, which the limits would allow.
    let batch = Batch::decode(Forge::new(2, 1, &[0x80, 0x80, 0x40, 0, 0]).encode().into()).unwrap();
    assert_eq!(
        batch.validate(&Limits::default()),
        Err(BatchError::Decompress { compression: Compression::Snappy })
    );
}

#[test]
fn raw_snappy_without_framing_is_read() {
    let record = [12, 0, 0, 0, 1, 1, 0];
    let raw = snap::raw::Encoder::new().compress_vec(&record).unwrap();
    let batch = Batch::decode(Forge::new(2, 1, &raw).encode().into()).unwrap();
    assert_eq!(batch.validate(&Limits::default()), Ok(()));
}

#[test]
fn a_zstd_window_beyond_64_mib_is_refused() {
    // A frame whose header says: no content size, window of 2^27 bytes; then one empty last block.
    let frame = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 17 << 3, 0x01, 0, 0];
    let batch = Batch::decode(Forge::new(4, 1, &frame).encode().into()).unwrap();
    assert_eq!(
        batch.validate(&Limits::default()),
        Err(BatchError::Decompress { compression: Compression::Zstd })
    );
}
