//! What a record costs to encode, to decode and to validate, on one core: 1,000 records of 100 bytes a batch.
//!
//! `cargo bench -p varve-record` gives medians in time a batch and records a second.

use bytes::Bytes;
use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use varve_record::{Batch, BatchBuilder, Compression, Decompressor, HeaderRef, Limits, Offset, Timestamp};

const RECORDS: usize = 1_000;
const VALUE_BYTES: usize = 100;
const CODECS: [Compression; 5] = Compression::ALL;

fn main() {
    divan::main();
}

/// Values that compress about as well as log lines do: words of a small vocabulary in no order.
fn values() -> Vec<Vec<u8>> {
    const WORDS: [&str; 8] =
        ["GET ", "POST ", "/orders/", "/users/", "200 ", "503 ", "upstream ", "timeout "];
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut word = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (WORDS[state as usize % WORDS.len()], state >> 40)
    };
    let value = |_| {
        let mut value = String::new();
        while value.len() < VALUE_BYTES {
            let (text, number) = word();
            value.push_str(text);
            value.push_str(&number.to_string());
        }
        value.truncate(VALUE_BYTES);
        value.into_bytes()
    };
    (0..RECORDS).map(value).collect()
}

fn push_all(builder: &mut BatchBuilder, values: &[Vec<u8>], headers: &[HeaderRef<'_>]) {
    for (number, value) in (0i64..).zip(values) {
        let timestamp = Timestamp::new(1_700_000_000_000 + number / 10);
        builder.push(timestamp, None, Some(black_box(value)), headers).expect("the batch has room");
    }
}

fn encoded(compression: Compression) -> Bytes {
    let mut builder = BatchBuilder::new(compression);
    push_all(&mut builder, &values(), &[]);
    builder.build().expect("there are records").into_bytes()
}

#[divan::bench(args = CODECS)]
fn encode(bencher: Bencher, compression: Compression) {
    let values = values();
    let mut builder = BatchBuilder::new(compression);
    bencher.counter(ItemsCount::new(RECORDS)).bench_local(|| {
        push_all(&mut builder, &values, &[]);
        builder.build()
    });
}

#[divan::bench]
fn encode_with_two_headers(bencher: Bencher) {
    let values = values();
    let headers = [
        HeaderRef { name: "traceparent", value: Some(&[7; 55]) },
        HeaderRef { name: "kind", value: Some(b"order") },
    ];
    let mut builder = BatchBuilder::new(Compression::None);
    bencher.counter(ItemsCount::new(RECORDS)).bench_local(|| {
        push_all(&mut builder, &values, &headers);
        builder.build()
    });
}

/// What a consumer does: checksum, decompress, look at every record.
#[divan::bench(args = CODECS)]
fn decode(bencher: Bencher, compression: Compression) {
    let (bytes, limits) = (encoded(compression), Limits::default());
    bencher.counter(ItemsCount::new(RECORDS)).bench_local(|| {
        let batch = Batch::decode(black_box(bytes.clone())).expect("the batch is sound");
        let records = batch.records(&limits).expect("the records decompress");
        let mut value_bytes = 0;
        for record in &records {
            let record = record.expect("the record is sound");
            value_bytes += black_box(record).value.map_or(0, <[u8]>::len);
        }
        assert_eq!(value_bytes, RECORDS * VALUE_BYTES);
    });
}

/// As `decode`, into records that own their share of the memory.
#[divan::bench]
fn decode_owned(bencher: Bencher) {
    let (bytes, limits) = (encoded(Compression::None), Limits::default());
    bencher.counter(ItemsCount::new(RECORDS)).bench_local(|| {
        let batch = Batch::decode(black_box(bytes.clone())).expect("the batch is sound");
        let records = batch.records(&limits).expect("there is nothing to decompress");
        for record in records.owned() {
            black_box(record).expect("the record is sound");
        }
    });
}

/// What the server does with a batch that a client encoded: checksum, then the deep check.
#[divan::bench(args = CODECS)]
fn validate(bencher: Bencher, compression: Compression) {
    let (bytes, limits) = (encoded(compression), Limits::default());
    let mut decompressor = Decompressor::new();
    bencher.counter(ItemsCount::new(RECORDS)).bench_local(|| {
        let batch = Batch::decode(black_box(bytes.clone())).expect("the batch is sound");
        batch.validate_with(&limits, &mut decompressor)
    });
}

/// What the server does with a batch before it is stored: the true offset, in place.
#[divan::bench]
fn stamp(bencher: Bencher) {
    let mut batch = Some(Batch::decode(encoded(Compression::None)).expect("the batch is sound"));
    let mut offset = Offset::new(0);
    bencher.bench_local(|| {
        offset = offset.next();
        batch = batch.take().map(|batch| batch.with_base_offset(offset));
    });
}
