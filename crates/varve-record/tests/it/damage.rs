//! Bytes that were changed, cut, or never were a batch.

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;
use varve_record::{Batch, BatchError, Compression, Limits, Offset};

use crate::forge::Forge;
use crate::sample;

/// Small enough that a lie in arbitrary bytes never takes long.
const LIMITS: Limits = Limits {
    batch_bytes_max: 1 << 20,
    records_max: 10_000,
    record_bytes_max: 1 << 16,
    decompressed_bytes_max: 1 << 20,
    ratio_max: 100,
    ratio_exempt_bytes: 1 << 16,
};

/// A batch of the sample's first records, compressed however little that gains.
fn small(compression: Compression) -> Batch {
    let records: Vec<_> = sample::records().into_iter().cycle().take(30).collect();
    let mut builder = varve_record::BatchBuilder::new(compression);
    sample::push_all(&mut builder, &records);
    let batch = builder.build().unwrap().with_base_offset(Offset::new(1));
    assert_eq!(batch.compression(), compression);
    batch
}

/// Reads all there is, and asks only that nothing panics and that a valid batch reads without an error.
fn read_all(batch: &Batch) {
    let valid = batch.validate(&LIMITS).is_ok();
    let Ok(records) = batch.records(&LIMITS) else { return assert!(!valid) };
    let mut headers = 0;
    for record in records.owned() {
        headers += record.map_or_else(
            |_| {
                assert!(!valid);
                0
            },
            |record| record.headers.len(),
        );
    }
    assert!(headers <= records.size_bytes());
}

#[test]
fn every_changed_byte_is_found_or_is_one_that_the_checksum_leaves_out() {
    for compression in Compression::ALL {
        let original = small(compression);
        let bytes = original.as_bytes();
        for place in 0..bytes.len() {
            for flip in [0x01, 0x10, 0x80, 0xff] {
                let mut changed = bytes.to_vec();
                changed[place] ^= flip;
                let decoded = Batch::decode(changed.into());
                assert!(
                    is_found_or_harmless(place, &original, decoded),
                    "{compression}: byte {place} ^ {flip:#x}"
                );
            }
        }
    }
}

/// Only the base offset (0 to 8) and the partition leader epoch (12 to 16) may differ unnoticed.
fn is_found_or_harmless(place: usize, original: &Batch, decoded: Result<Batch, BatchError>) -> bool {
    match (decoded, place) {
        (Err(_), _) => true,
        (Ok(batch), 0..8) => batch.as_bytes()[8..] == original.as_bytes()[8..],
        (Ok(batch), 12..16) => batch.as_bytes()[16..] == original.as_bytes()[16..],
        (Ok(_), _) => false,
    }
}

#[test]
fn every_cut_and_every_byte_too_many_is_refused() {
    for compression in Compression::ALL {
        let bytes = small(compression).into_bytes();
        for len in 0..bytes.len() {
            Batch::decode(bytes.slice(..len)).unwrap_err();
            let mut cut = bytes.slice(..len);
            assert_eq!(Batch::split_first(&mut cut).is_ok(), len == 0);
            assert_eq!(cut, bytes[..len]);
        }
        let longer: Bytes = bytes.iter().copied().chain([0]).collect();
        assert!(matches!(Batch::decode(longer), Err(BatchError::Length { .. })));
    }
}

/// What `validate` says of the records of `batch`, replaced by `payload`, under a right checksum.
fn validate_with_payload(batch: &Batch, payload: &[u8]) -> Result<(), BatchError> {
    Batch::decode(Forge::around(batch, payload).encode().into()).unwrap().validate(&LIMITS)
}

#[test]
fn every_cut_of_the_records_is_refused() {
    for compression in Compression::ALL {
        let batch = small(compression);
        let payload = &batch.as_bytes()[61..];
        for len in 0..payload.len() {
            assert!(validate_with_payload(&batch, &payload[..len]).is_err(), "{compression}: {len} bytes");
        }
        assert_eq!(validate_with_payload(&batch, payload), Ok(()), "{compression}: whole");
    }
}

#[test]
fn bytes_behind_the_records_are_refused() {
    for compression in Compression::ALL {
        let batch = small(compression);
        let payload = &batch.as_bytes()[61..];
        // A stray byte, the same stream again, and a stream that holds nothing.
        let empty: &[u8] = match compression {
            Compression::Gzip => b"\x1f\x8b\x08\0\0\0\0\0\0\xff\x03\0\0\0\0\0\0\0\0\0",
            Compression::Zstd => b"\x28\xb5\x2f\xfd\x20\0\x01\0\0",
            _ => b"\0\0\0\0",
        };
        for tail in [&[0][..], payload, empty] {
            let result = validate_with_payload(&batch, &[payload, tail].concat());
            assert!(result.is_err(), "{compression} with {} bytes more", tail.len());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_bytes_never_panic(bytes in vec(any::<u8>(), 0..300)) {
        let bytes = Bytes::from(bytes);
        prop_assert!(Batch::decode(bytes.clone()).is_err());
        let _ = Batch::peek_len(&bytes);
        if let Ok(batch) = Batch::from_trusted(bytes) {
            read_all(&batch);
        }
    }

    #[test]
    fn arbitrary_records_under_a_right_checksum_never_panic(
        attributes in 0u16..16,
        count in 1i32..20,
        payload in vec(any::<u8>(), 0..300),
    ) {
        if let Ok(batch) = Batch::decode(Forge::new(attributes, count, &payload).encode().into()) {
            read_all(&batch);
        }
    }

    #[test]
    fn records_damaged_under_a_right_checksum_never_panic(
        codec in 0usize..5,
        flips in vec((any::<proptest::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let batch = small(Compression::ALL[codec]);
        let mut payload = batch.as_bytes()[61..].to_vec();
        for (place, flip) in flips {
            let place = place.index(payload.len());
            payload[place] ^= flip;
        }
        read_all(&Batch::decode(Forge::around(&batch, &payload).encode().into()).unwrap());
    }
}
