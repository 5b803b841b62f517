//! What is refused, and by which name.

use varve_record::{
    BATCH_BYTES_MAX, Batch, BatchBuilder, BatchError, Compression, Limits, RecordFault, Timestamp,
};

use crate::forge::Forge;

fn decode(forge: &Forge) -> Result<Batch, BatchError> {
    Batch::decode(forge.encode().into())
}

fn validate(forge: &Forge) -> Result<(), BatchError> {
    decode(forge).expect("the header is sound").validate(&Limits::default())
}

#[track_caller]
fn assert_field(result: Result<Batch, BatchError>, name: &str, value: i64) {
    let Err(BatchError::Field { field, found, .. }) = result else { panic!("{result:?}") };
    assert_eq!((field, found), (name, value));
}

#[test]
fn a_sound_batch_is_not_refused() {
    assert_eq!(validate(&Forge::one()), Ok(()));
}

#[test]
fn another_magic() {
    for magic in [0, 1, 3, -1] {
        assert_eq!(decode(&Forge { magic, ..Forge::one() }), Err(BatchError::Magic { found: magic }));
    }
}

#[test]
fn an_unknown_codec() {
    for code in 5..8 {
        assert_field(decode(&Forge { attributes: code, ..Forge::one() }), "compression", code.into());
    }
}

#[test]
fn counts_that_cannot_be() {
    let counts = |count, last_offset_delta| decode(&Forge { count, last_offset_delta, ..Forge::one() });
    assert_field(counts(0, -1), "record count", 0);
    assert_field(counts(-1, -2), "record count", -1);
    assert_field(counts(i32::MIN, i32::MAX), "record count", i32::MIN.into());
    assert_field(counts(1, 1), "last offset delta", 1);
    assert_field(counts(2, 0), "last offset delta", 0);
    assert_eq!(
        counts(1_000_001, 1_000_000),
        Err(BatchError::OverLimit { field: "record count", found: 1_000_001, limit: 1_000_000 })
    );
}

#[test]
fn offsets_that_cannot_be() {
    assert_field(decode(&Forge { base_offset: -1, ..Forge::one() }), "base offset", -1);
    assert!(decode(&Forge { base_offset: i64::MAX, ..Forge::one() }).is_ok());
    let beyond = Forge { base_offset: i64::MAX, count: 2, last_offset_delta: 1, ..Forge::one() };
    assert_field(decode(&beyond), "base offset", i64::MAX);
}

#[test]
fn half_a_producer() {
    let producer = |producer_id, producer_epoch, base_sequence| {
        decode(&Forge { producer_id, producer_epoch, base_sequence, ..Forge::one() })
    };
    assert!(producer(0, 0, 0).unwrap().producer().is_some());
    assert!(producer(-1, 5, 5).unwrap().producer().is_none());
    assert_field(producer(-2, 0, 0), "producer id", -2);
    assert_field(producer(1, -1, 0), "producer epoch", -1);
    assert_field(producer(1, 0, -1), "base sequence", -1);
}

#[test]
fn lengths_that_cannot_be() {
    let peek = |len: i32| Batch::peek_len(&[&[0; 8][..], &len.to_be_bytes()].concat());
    assert_eq!(peek(49), Ok(Some(61)));
    assert_eq!(peek(48), Err(BatchError::Length { found: 12, claimed: 60 }));
    assert_eq!(peek(-1), Err(BatchError::Length { found: 12, claimed: 11 }));
    assert_eq!(peek(i32::MIN), Err(BatchError::Length { found: 12, claimed: i64::from(i32::MIN) + 12 }));
    assert_eq!(peek(BATCH_BYTES_MAX as i32 - 12), Ok(Some(BATCH_BYTES_MAX)));
    assert!(matches!(peek(BATCH_BYTES_MAX as i32 - 11), Err(BatchError::OverLimit { .. })));
    assert!(matches!(peek(i32::MAX), Err(BatchError::OverLimit { .. })));
    assert_eq!(Batch::peek_len(&[0; 11]), Ok(None));
}

#[test]
fn features_that_varve_does_not_have() {
    for (bit, name) in [
        (3, "append times set by the producer"),
        (4, "transactions"),
        (5, "control records"),
        (6, "a delete horizon"),
        (7, "an unknown attribute bit"),
        (15, "an unknown attribute bit"),
    ] {
        let attributes = 1 << bit;
        let expected = Err(BatchError::Unsupported { feature: name, attributes });
        assert_eq!(validate(&Forge { attributes, ..Forge::one() }), expected, "bit {bit}");
    }
}

#[test]
fn records_that_are_not_what_the_header_says() {
    let record = [12, 0, 0, 0, 1, 1, 0];
    assert_eq!(
        validate(&Forge::new(0, 1, &[record, record].concat())),
        Err(BatchError::Trailing { found: 7 })
    );
    let repeated = BatchError::Record { record: 1, fault: RecordFault::OffsetDelta };
    assert_eq!(validate(&Forge::new(0, 2, &[record, record].concat())), Err(repeated));
    let missing = BatchError::Record { record: 1, fault: RecordFault::Length };
    assert_eq!(validate(&Forge::new(0, 2, &record)), Err(missing));
}

#[test]
fn a_max_timestamp_that_is_not_the_greatest() {
    for max_timestamp in [999, 1_001, i64::MAX, i64::MIN] {
        let result = validate(&Forge { max_timestamp, ..Forge::one() });
        let Err(BatchError::Field { field: "max timestamp", found, .. }) = result else {
            panic!("{result:?}")
        };
        assert_eq!(found, max_timestamp);
    }
}

#[test]
fn append_times_are_read_though_no_producer_may_set_them() {
    let batch = decode(&Forge { attributes: 1 << 3, max_timestamp: 5_000, ..Forge::one() }).unwrap();
    let records = batch.records(&Limits::default()).unwrap();
    let times: Vec<_> = records.iter().map(|record| record.unwrap().timestamp).collect();
    assert_eq!(times, [Timestamp::new(5_000)]);
}

#[test]
fn damage_is_called_damage_whatever_the_bytes_now_say() {
    // The codec, the last offset delta and the count, each made one that cannot be.
    for place in [22, 23, 57] {
        let mut bytes = Forge::one().encode();
        bytes[place] = 0xff;
        assert!(matches!(Batch::decode(bytes.into()), Err(BatchError::Checksum { .. })), "byte {place}");
    }
}

#[test]
fn what_passes_the_limits() {
    let mut builder = BatchBuilder::new(Compression::Lz4);
    for _ in 0..100 {
        builder.push(Timestamp::new(0), Some(b"key"), Some(&[7; 97]), &[]).unwrap();
    }
    let batch = builder.build().unwrap();
    assert_eq!(batch.compression(), Compression::Lz4);
    let size = batch.size_bytes();
    let raw = batch.records(&Limits::default()).unwrap().size_bytes();
    let with = |limits: Limits| batch.validate(&limits);
    let over = |field, found: usize, limit: usize| {
        Err(BatchError::OverLimit { field, found: found as u64, limit: limit as u64 })
    };
    let all = Limits::default();

    assert_eq!(with(Limits { batch_bytes_max: size, ..all }), Ok(()));
    assert_eq!(with(Limits { batch_bytes_max: size - 1, ..all }), over("size in bytes", size, size - 1));
    assert_eq!(with(Limits { records_max: 100, ..all }), Ok(()));
    assert_eq!(with(Limits { records_max: 99, ..all }), over("record count", 100, 99));
    assert_eq!(with(Limits { record_bytes_max: 100, ..all }), Ok(()));
    assert_eq!(with(Limits { record_bytes_max: 99, ..all }), over("record size in bytes", 100, 99));
    assert_eq!(with(Limits { decompressed_bytes_max: raw, ..all }), Ok(()));
    assert_eq!(
        with(Limits { decompressed_bytes_max: raw - 1, ..all }),
        over("decompressed size in bytes", raw, raw - 1)
    );
}
