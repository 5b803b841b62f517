//! A record batch from anybody: decode, validate and read it, with and without its checksum checked.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use varve_record::{Batch, Limits};

/// Small, so that no input takes long; the ratio is loose, so that compressed inputs get as far as their records.
const LIMITS: Limits = Limits {
    batch_bytes_max: 64 * 1024,
    records_max: 10_000,
    record_bytes_max: 16 * 1024,
    decompressed_bytes_max: 1024 * 1024,
    ratio_max: 1_000,
    ratio_exempt_bytes: 64 * 1024,
};

fuzz_target!(|data: &[u8]| {
    let bytes = Bytes::copy_from_slice(data);
    split_all(bytes.clone());
    // The fuzzer cannot guess a checksum, so what lies behind it is reached without.
    if let Ok(batch) = Batch::from_trusted(bytes) {
        read(&batch);
    }
});

fn split_all(mut bytes: Bytes) {
    while let Ok(Some(batch)) = Batch::split_first(&mut bytes) {
        read(&batch);
    }
}

/// A valid batch reads without an error, as many records as it claims, and rightly stamped.
fn read(batch: &Batch) {
    let valid = batch.validate(&LIMITS).is_ok();
    let Ok(records) = batch.records(&LIMITS) else {
        assert!(!valid, "a valid batch decompresses");
        return;
    };
    let mut count = 0;
    for record in records.owned() {
        match record {
            Ok(record) => assert_eq!(record.offset, batch.base_offset() + count),
            Err(error) => return assert!(!valid, "a valid batch has a bad record: {error}"),
        }
        count += 1;
    }
    assert_eq!(count, u64::from(batch.record_count()));
}
