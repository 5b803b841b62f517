//! What is pushed is what is read, whatever the codec.

use bytes::Bytes;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use varve_record::{
    BATCH_BYTES_MAX, Batch, BatchBuilder, BatchError, BuildError, Compression, Decompressor, Header, Limits,
    Offset, ProducerEpoch, ProducerId, PushError, Record, Sequence, Timestamp,
};

use crate::sample;

fn compression() -> impl Strategy<Value = Compression> {
    proptest::sample::select(Compression::ALL.to_vec())
}

fn bytes() -> impl Strategy<Value = Bytes> {
    prop_oneof![vec(any::<u8>(), 0..200), vec(Just(7u8), 0..9_000)].prop_map(Bytes::from)
}

fn record() -> impl Strategy<Value = Record> {
    let header = (".{0,12}", option::of(bytes())).prop_map(|(name, value)| Header { name, value });
    let timestamp = prop_oneof![any::<i32>().prop_map(i64::from), -(1i64 << 61)..1 << 61];
    (timestamp, option::of(bytes()), option::of(bytes()), vec(header, 0..4)).prop_map(
        |(timestamp, key, value, headers)| Record {
            offset: Offset::default(),
            timestamp: Timestamp::new(timestamp),
            key,
            value,
            headers,
        },
    )
}

/// Records with the offsets that they will have from `base` on.
fn records(base: Offset) -> impl Strategy<Value = Vec<Record>> {
    vec(record(), 1..20).prop_map(move |mut records| {
        for (place, record) in records.iter_mut().enumerate() {
            record.offset = base + place as u64;
        }
        records
    })
}

fn owned(batch: &Batch) -> Vec<Record> {
    batch.records(&Limits::default()).unwrap().owned().collect::<Result<_, _>>().unwrap()
}

proptest! {
    #[test]
    fn records_survive(compression in compression(), records in records(Offset::new(9_000))) {
        let mut builder = BatchBuilder::new(compression);
        sample::push_all(&mut builder, &records);
        let batch = builder.build().unwrap().with_base_offset(Offset::new(9_000));
        let received = Batch::decode(batch.clone().into_bytes()).unwrap();
        received.validate(&Limits::default()).unwrap();
        prop_assert_eq!(received.record_count() as usize, records.len());
        prop_assert_eq!(received.max_timestamp(), records.iter().map(|record| record.timestamp).max().unwrap());
        prop_assert_eq!(owned(&received), records);
    }

    #[test]
    fn a_builder_used_again_makes_the_bytes_of_a_new_one(
        compression in compression(),
        first in records(Offset::default()),
        second in records(Offset::default()),
    ) {
        let mut used = BatchBuilder::new(compression);
        sample::push_all(&mut used, &first);
        used.build().unwrap();
        sample::push_all(&mut used, &first);
        used.clear();
        sample::push_all(&mut used, &second);
        let mut new = BatchBuilder::new(compression);
        sample::push_all(&mut new, &second);
        prop_assert_eq!(used.build().unwrap(), new.build().unwrap());
    }

    #[test]
    fn a_concatenation_splits(counts in vec(1usize..4, 0..6)) {
        let batches: Vec<_> = counts.iter().map(|&count| numbered(count)).collect();
        let mut joined: Bytes = batches.iter().flat_map(|batch| batch.as_bytes().to_vec()).collect();
        for batch in batches {
            prop_assert_eq!(Batch::split_first(&mut joined), Ok(Some(batch)));
        }
        prop_assert_eq!(Batch::split_first(&mut joined), Ok(None));
    }
}

fn numbered(count: usize) -> Batch {
    let mut builder = BatchBuilder::new(Compression::None);
    for number in 0..count {
        builder.push(Timestamp::new(number as i64), None, Some(&[number as u8]), &[]).unwrap();
    }
    builder.build().unwrap()
}

#[test]
fn a_decompressor_serves_batch_after_batch() {
    let mut decompressor = Decompressor::new();
    for compression in Compression::ALL.into_iter().cycle().take(15) {
        let batch = sample::batch(compression);
        batch.validate_with(&Limits::default(), &mut decompressor).unwrap();
        let records = batch.records_with(&Limits::default(), &mut decompressor).unwrap();
        assert_eq!(records.owned().collect::<Result<Vec<_>, _>>().unwrap(), sample::records());
        assert_eq!(records.into_owned().collect::<Result<Vec<_>, _>>().unwrap(), sample::records());
        // One that fails half-way leaves nothing behind for the next.
        let small = Limits { decompressed_bytes_max: 60_000, ..Limits::default() };
        assert_eq!(
            batch.validate_with(&small, &mut decompressor).is_err(),
            compression != Compression::None,
            "{compression}"
        );
    }
}

#[test]
fn every_codec_makes_the_sample_smaller() {
    let plain = sample::batch(Compression::None).size_bytes();
    for compression in Compression::ALL.into_iter().skip(1) {
        let batch = sample::batch(compression);
        assert_eq!(batch.compression(), compression);
        assert!(batch.size_bytes() * 10 < plain, "{compression}: {} of {plain} bytes", batch.size_bytes());
    }
}

#[test]
fn a_batch_that_would_grow_goes_out_uncompressed() {
    let mut builder = BatchBuilder::new(Compression::Zstd);
    builder.push(Timestamp::new(0), None, Some(b"!"), &[]).unwrap();
    assert_eq!(builder.build().unwrap().compression(), Compression::None);
}

#[test]
fn a_batch_whose_ratio_would_be_refused_goes_out_uncompressed() {
    let mut builder = BatchBuilder::new(Compression::Zstd);
    let zeros = vec![0; 1024 * 1024];
    for _ in 0..7 {
        builder.push(Timestamp::new(0), None, Some(&zeros), &[]).unwrap();
    }
    let batch = builder.build().unwrap();
    assert_eq!(batch.compression(), Compression::None);
    batch.validate(&Limits::default()).unwrap();
}

#[test]
fn a_stamp_changes_the_offset_alone_and_copies_only_what_is_shared() {
    let batch = numbered(3);
    let address = batch.as_bytes().as_ptr();
    let alone = batch.with_base_offset(Offset::new(5));
    assert_eq!(alone.as_bytes().as_ptr(), address);

    let shared = alone.clone();
    let stamped = alone.with_base_offset(Offset::new(8));
    assert_ne!(stamped.as_bytes().as_ptr(), address);
    assert_eq!(shared.base_offset(), Offset::new(5));
    assert_eq!(stamped.last_offset(), Offset::new(10));
    assert_eq!(stamped.checksum(), shared.checksum());
    assert_eq!(Batch::decode(stamped.clone().into_bytes()), Ok(stamped.clone()));

    let address = stamped.as_bytes().as_ptr();
    let same = stamped.clone().with_base_offset(Offset::new(8));
    assert_eq!(same.as_bytes().as_ptr(), address);
}

#[test]
fn the_builder_holds_its_limits_and_loses_nothing() {
    let limits = Limits { record_bytes_max: 10, batch_bytes_max: 100, records_max: 3, ..Limits::default() };
    let mut builder = BatchBuilder::with_limits(Compression::None, limits);
    let mut push = |bytes: usize| builder.push(Timestamp::new(0), None, Some(&vec![0; bytes]), &[]);
    assert_eq!(push(11), Err(PushError::RecordTooLarge { found: 11, limit: 10 }));
    // The header takes 61 bytes, and each record 7 more than its value: 78, then 95.
    assert_eq!((push(10), push(10), push(10)), (Ok(()), Ok(()), Err(PushError::Full)));
    let batch = builder.build().unwrap();
    assert_eq!((batch.record_count(), batch.size_bytes()), (2, 95));
    batch.validate(&limits).unwrap();

    let mut push = |bytes: usize| builder.push(Timestamp::new(0), None, Some(&vec![0; bytes]), &[]);
    assert_eq!((push(1), push(1), push(1), push(1)), (Ok(()), Ok(()), Ok(()), Err(PushError::Full)));
    builder.build().unwrap().validate(&limits).unwrap();
}

#[test]
fn the_builder_keeps_what_no_limits_raise() {
    let limits = Limits {
        batch_bytes_max: usize::MAX,
        records_max: u32::MAX,
        record_bytes_max: usize::MAX,
        ..Limits::default()
    };
    let mut builder = BatchBuilder::with_limits(Compression::None, limits);
    let half = vec![0; BATCH_BYTES_MAX / 2];
    builder.push(Timestamp::new(0), None, Some(&half), &[]).unwrap();
    assert_eq!(builder.push(Timestamp::new(0), None, Some(&half), &[]), Err(PushError::Full));
    builder.push(Timestamp::new(0), None, Some(&half[100..]), &[]).unwrap();
    let batch = builder.build().unwrap();
    assert_eq!(Batch::decode(batch.clone().into_bytes()), Ok(batch));
}

#[test]
fn the_builder_refuses_what_cannot_be_sent() {
    let mut builder = BatchBuilder::new(Compression::None);
    assert!(matches!(builder.build(), Err(BuildError::Empty)));
    builder.push(Timestamp::new(i64::MAX), None, None, &[]).unwrap();
    assert_eq!(builder.push(Timestamp::new(-2), None, None, &[]), Err(PushError::Timestamp));
    builder.producer(ProducerId::new(1), ProducerEpoch::new(0), Sequence::new(-1));
    let wrong = BatchError::Field {
        field: "base sequence",
        found: -1,
        expected: "0 or more, as it has a producer id",
    };
    assert!(matches!(builder.build(), Err(BuildError::Header(error)) if error == wrong));
    builder.producer(ProducerId::new(1), ProducerEpoch::new(0), Sequence::new(0));
    assert_eq!(builder.build().unwrap().record_count(), 1);
}
