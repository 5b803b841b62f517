//! The records of `tests/fixtures`, as its README describes them.

use bytes::Bytes;
use varve_record::{
    Batch, BatchBuilder, Compression, Header, HeaderRef, Offset, ProducerEpoch, ProducerId, Record, Sequence,
    Timestamp,
};

pub(crate) const BASE_OFFSET: Offset = Offset::new(1_000);
pub(crate) const PRODUCER: (ProducerId, ProducerEpoch, Sequence) =
    (ProducerId::new(77), ProducerEpoch::new(3), Sequence::new(2_147_483_600));

/// The hundred records.
pub(crate) fn records() -> Vec<Record> {
    (0..100).map(record).collect()
}

/// The hundred records in a batch of ours.
pub(crate) fn batch(compression: Compression) -> Batch {
    let mut builder = BatchBuilder::new(compression);
    builder.producer(PRODUCER.0, PRODUCER.1, PRODUCER.2);
    push_all(&mut builder, &records());
    builder.build().unwrap().with_base_offset(BASE_OFFSET)
}

/// Pushes records, whatever their offsets say.
pub(crate) fn push_all(builder: &mut BatchBuilder, records: &[Record]) {
    for record in records {
        let headers: Vec<_> = record.headers.iter().map(header_ref).collect();
        builder.push(record.timestamp, record.key.as_deref(), record.value.as_deref(), &headers).unwrap();
    }
}

fn header_ref(header: &Header) -> HeaderRef<'_> {
    HeaderRef { name: &header.name, value: header.value.as_deref() }
}

fn record(i: u64) -> Record {
    let number = i as i64;
    Record {
        offset: BASE_OFFSET + i,
        timestamp: Timestamp::new(1_700_000_000_000 + 7 * number - if i == 50 { 1_000 } else { 0 }),
        key: (!i.is_multiple_of(3)).then(|| format!("key-{i}").into()),
        value: value(i),
        headers: if i % 4 == 1 { headers(i) } else { Vec::new() },
    }
}

fn value(i: u64) -> Option<Bytes> {
    match i {
        60 => Some((0..70_000u32).map(|place| b'a' + (place % 7) as u8).collect()),
        _ if i % 10 == 9 => None,
        _ => Some(format!("value {i} ").repeat((i % 5) as usize).into()),
    }
}

fn headers(i: u64) -> Vec<Header> {
    vec![
        Header { name: "trace".to_owned(), value: Some(vec![i as u8].into()) },
        Header { name: "é".to_owned(), value: None },
    ]
}
