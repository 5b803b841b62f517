//! Batches that Kafka's own client wrote.

use bytes::Bytes;
use varve_record::{Batch, BatchError, Compression, Decompressor, Limits, Record};

use crate::sample;

fn fixture(compression: Compression) -> Batch {
    let path = format!("{}/tests/fixtures/kafka-{compression}.batch", env!("CARGO_MANIFEST_DIR"));
    Batch::decode(std::fs::read(path).unwrap().into()).unwrap()
}

fn owned(batch: &Batch) -> Vec<Record> {
    batch.records(&Limits::default()).unwrap().owned().collect::<Result<_, _>>().unwrap()
}

#[test]
fn every_codec_reads_as_it_was_written() {
    for compression in Compression::ALL {
        let batch = fixture(compression);
        batch.validate(&Limits::default()).unwrap();
        assert_eq!(batch.compression(), compression);
        assert_eq!(batch.producer(), Some(sample::PRODUCER));
        assert_eq!(batch.base_offset(), sample::BASE_OFFSET);
        assert_eq!(owned(&batch), sample::records(), "{compression}");
    }
}

#[test]
fn ours_has_the_same_records_bytes() {
    // The encoding of records leaves no freedom, so that without a codec ours equals theirs but for the leader epoch,
    // which the checksum does not cover.
    let (theirs, ours) = (fixture(Compression::None), sample::batch(Compression::None));
    assert_eq!(theirs.as_bytes()[..12], ours.as_bytes()[..12]);
    assert_eq!(theirs.as_bytes()[16..], ours.as_bytes()[16..]);
}

#[test]
fn records_of_an_uncompressed_batch_share_its_memory() {
    let batch = fixture(Compression::None);
    let within = |part: &Bytes| batch.as_bytes().as_ptr_range().contains(&part.as_ptr());
    let records = owned(&batch);
    let values: Vec<_> = records.iter().filter_map(|record| record.value.as_ref()).collect();
    assert!(values.iter().all(|value| value.is_empty() || within(value)));
    assert!(values.iter().any(|value| !value.is_empty()));
}

#[test]
fn one_decompressor_reads_on_after_a_batch_that_passed_the_limit() {
    // Java's zstd does not say how much it holds, so that this limit is found in the middle of the stream.
    let tight = Limits { decompressed_bytes_max: 60_000, ..Limits::default() };
    for compression in Compression::ALL.into_iter().skip(1) {
        let (batch, mut decompressor) = (fixture(compression), Decompressor::new());
        for _ in 0..2 {
            let refused = batch.validate_with(&tight, &mut decompressor);
            assert!(
                matches!(refused, Err(BatchError::OverLimit { limit: 60_000, .. })),
                "{compression}: {refused:?}"
            );
            assert_eq!(batch.validate_with(&Limits::default(), &mut decompressor), Ok(()), "{compression}");
        }
    }
}
