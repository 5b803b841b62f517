//! A batch written down byte by byte from Kafka's documentation, independent of the encoder.

use bytes::Bytes;
use varve_record::{
    Batch, BatchBuilder, Compression, HeaderRef, Limits, Offset, ProducerEpoch, ProducerId, Sequence,
    Timestamp,
};

use crate::forge::crc32c_bitwise;

#[rustfmt::skip]
const GOLDEN: [u8; 93] = [
    // Base offset 258, length 81 (what follows it), partition leader epoch -1, magic 2.
    0, 0, 0, 0, 0, 0, 1, 2,   0, 0, 0, 81,   0xff, 0xff, 0xff, 0xff,   2,
    // CRC-32C of all that follows.
    0x65, 0x7b, 0x57, 0x20,
    // Attributes 0, last offset delta 1.
    0, 0,   0, 0, 0, 1,
    // Base timestamp 0x18bcfe56800 (1,700,000,000,000), max timestamp 70 ms later.
    0, 0, 1, 0x8b, 0xcf, 0xe5, 0x68, 0,   0, 0, 1, 0x8b, 0xcf, 0xe5, 0x68, 70,
    // Producer id 9, epoch 1, base sequence 515, two records.
    0, 0, 0, 0, 0, 0, 0, 9,   0, 1,   0, 0, 2, 3,   0, 0, 0, 2,
    // Length 8, attributes, timestamp delta 0, offset delta 0, key "k", value "v", no headers.
    16,   0,   0,   0,   2, b'k',   2, b'v',   0,
    // Length 22, attributes, timestamp delta 70 (two bytes), offset delta 1, no key, value "long", two headers:
    // "a" with value "bcdef", "g" without one.
    44,   0,   0x8c, 0x01,   2,   1,   8, b'l', b'o', b'n', b'g',   4,
    2, b'a',   10, b'b', b'c', b'd', b'e', b'f',   2, b'g',   1,
];

const HEADERS: [HeaderRef<'static>; 2] =
    [HeaderRef { name: "a", value: Some(b"bcdef") }, HeaderRef { name: "g", value: None }];

const FIRST: Timestamp = Timestamp::new(1_700_000_000_000);
const LAST: Timestamp = Timestamp::new(1_700_000_000_070);
const PRODUCER: (ProducerId, ProducerEpoch, Sequence) =
    (ProducerId::new(9), ProducerEpoch::new(1), Sequence::new(515));

#[test]
fn its_checksum_is_right_by_another_algorithm() {
    assert_eq!(GOLDEN[17..21], crc32c_bitwise(&GOLDEN[21..]).to_be_bytes());
}

#[test]
fn its_header_reads() {
    let batch = Batch::decode(Bytes::from_static(&GOLDEN)).unwrap();
    batch.validate(&Limits::default()).unwrap();
    assert_eq!(batch.base_offset(), Offset::new(258));
    assert_eq!((batch.last_offset_delta(), batch.last_offset()), (1, Offset::new(259)));
    assert_eq!(batch.record_count(), 2);
    assert_eq!((batch.base_timestamp(), batch.max_timestamp()), (FIRST, LAST));
    assert_eq!(batch.compression(), Compression::None);
    assert_eq!(batch.producer(), Some(PRODUCER));
    assert_eq!(batch.checksum(), 0x657b_5720);
    assert_eq!(batch.size_bytes(), GOLDEN.len());
    assert_eq!(Batch::peek_len(&GOLDEN[..12]), Ok(Some(GOLDEN.len())));
    assert_eq!(Batch::peek_compression(&GOLDEN), Some(batch.compression()));
    assert_eq!(Batch::peek_compression(&GOLDEN[..22]), None);
}

#[test]
fn its_records_read() {
    let batch = Batch::decode(Bytes::from_static(&GOLDEN)).unwrap();
    let records = batch.records(&Limits::default()).unwrap();
    let records: Vec<_> = records.iter().collect::<Result<_, _>>().unwrap();
    let [first, second] = &records[..] else { panic!("{} records", records.len()) };

    assert_eq!((first.offset, first.timestamp), (Offset::new(258), FIRST));
    assert_eq!((first.key, first.value), (Some(&b"k"[..]), Some(&b"v"[..])));
    assert!(first.headers.is_empty());

    assert_eq!((second.offset, second.timestamp), (Offset::new(259), LAST));
    assert_eq!((second.key, second.value), (None, Some(&b"long"[..])));
    assert_eq!(second.headers.iter().collect::<Vec<_>>(), HEADERS);
}

#[test]
fn the_builder_makes_the_same_bytes() {
    let mut builder = BatchBuilder::new(Compression::None);
    builder.producer(PRODUCER.0, PRODUCER.1, PRODUCER.2);
    builder.push(FIRST, Some(b"k"), Some(b"v"), &[]).unwrap();
    builder.push(LAST, None, Some(b"long"), &HEADERS).unwrap();
    assert_eq!(builder.size_bytes(), GOLDEN.len());
    let batch = builder.build().unwrap().with_base_offset(Offset::new(258));
    assert_eq!(batch.as_bytes()[..], GOLDEN);
}
