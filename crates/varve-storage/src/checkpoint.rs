//! How an [`EndState`] lies in a checkpoint.

use crate::producers::{Producer, ProducerBatch};
use crate::{EndState, LogId, PRODUCER_BATCHES_MAX, ProducerTable, StoredMembership};
use bytes::{Buf, BufMut, Bytes};
use std::sync::Arc;
use varve_record::{Index, Offset, ProducerEpoch, ProducerId, Sequence, Term, Timestamp};

const FIXED_BYTES: usize = 8 + 8 + LOG_ID_BYTES + 8 + LOG_ID_BYTES + 4 + 4;
const LOG_ID_BYTES: usize = 8 + 8 + 8;
const PRODUCER_BYTES: usize = 8 + 2 + 2 + 4;
const PRODUCER_BATCH_BYTES: usize = 4 + 4 + 8 + 8 + 8;

/// The bytes that [`encode`] makes.
pub(crate) fn encoded_len(state: &EndState) -> usize {
    let membership = state.membership.as_ref().map_or(0, |m| m.body.len());
    let batches: usize = state.producers.iter().map(|(_, p)| p.batches().len()).sum();
    FIXED_BYTES + membership + state.producers.len() * PRODUCER_BYTES + batches * PRODUCER_BATCH_BYTES
}

/// Appends a state to `out`.
pub(crate) fn encode(state: &EndState, out: &mut Vec<u8>) {
    out.reserve(encoded_len(state));
    out.put_u64_le(state.next_offset.get());
    out.put_u64_le(state.log_start_offset.get());
    put_log_id(out, state.last);
    out.put_i64_le(state.last_append_time.get());
    let body = state.membership.as_ref().map_or(&[][..], |m| &m.body);
    put_log_id(out, state.membership.as_ref().map(|m| m.log_id));
    out.put_u32_le(len_u32(body.len()));
    out.put_u32_le(len_u32(state.producers.len()));
    out.put_slice(body);
    for (id, producer) in state.producers.iter() {
        out.put_i64_le(id.get());
        out.put_i16_le(producer.epoch.get());
        out.put_u16_le(producer.batches().len() as u16);
        out.put_u32_le(0);
        for batch in producer.batches() {
            out.put_i32_le(batch.first_sequence.get());
            out.put_u32_le(batch.record_count);
            out.put_u64_le(batch.first_offset.get());
            out.put_i64_le(batch.append_time.get());
            out.put_u64_le(batch.index.get());
        }
    }
}

/// Reads a state, all of `bytes`; `None` where they are malformed (their checksum was right, so this is no accident).
pub(crate) fn decode(mut bytes: Bytes) -> Option<EndState> {
    let fields = &mut bytes;
    if fields.len() < FIXED_BYTES {
        return None;
    }
    let next_offset = get_offset(fields)?;
    let log_start_offset = get_offset(fields)?;
    let last = get_log_id(fields);
    let last_append_time = Timestamp::new(fields.get_i64_le());
    let membership_id = get_log_id(fields);
    let membership_len = fields.get_u32_le() as usize;
    let producers_len = fields.get_u32_le();
    if fields.len() < membership_len {
        return None;
    }
    let body = fields.split_to(membership_len);
    // A copy, so that a few bytes do not hold a whole read buffer in memory.
    let membership =
        membership_id.map(|log_id| StoredMembership { log_id, body: Bytes::copy_from_slice(&body) });
    let mut producers = ProducerTable::default();
    for _ in 0..producers_len {
        let (id, producer) = get_producer(fields)?;
        if !producers.restore(id, producer) {
            return None;
        }
    }
    let producers = Arc::new(producers);
    let state = EndState { next_offset, log_start_offset, last, last_append_time, membership, producers };
    fields.is_empty().then_some(state)
}

fn get_producer(fields: &mut Bytes) -> Option<(ProducerId, Producer)> {
    if fields.len() < PRODUCER_BYTES {
        return None;
    }
    let id = ProducerId::new(fields.get_i64_le());
    let mut producer = Producer::new(ProducerEpoch::new(fields.get_i16_le()));
    let batches_len = usize::from(fields.get_u16_le());
    let _reserved = fields.get_u32_le();
    if batches_len > PRODUCER_BATCHES_MAX || fields.len() < batches_len * PRODUCER_BATCH_BYTES {
        return None;
    }
    for _ in 0..batches_len {
        let first_sequence = Sequence::new(fields.get_i32_le());
        let record_count = fields.get_u32_le();
        let first_offset = get_offset(fields)?;
        first_offset.checked_add(u64::from(record_count))?;
        let append_time = Timestamp::new(fields.get_i64_le());
        let index = Index::new(fields.get_u64_le());
        producer.push(ProducerBatch { first_sequence, record_count, first_offset, append_time, index });
    }
    Some((id, producer))
}

fn put_log_id(out: &mut Vec<u8>, log_id: Option<LogId>) {
    out.put_u64_le(u64::from(log_id.is_some()));
    let log_id = log_id.unwrap_or_default();
    out.put_u64_le(log_id.term.get());
    out.put_u64_le(log_id.index.get());
}

fn get_log_id(fields: &mut Bytes) -> Option<LogId> {
    let present = fields.get_u64_le() != 0;
    let log_id = LogId::new(Term::new(fields.get_u64_le()), Index::new(fields.get_u64_le()));
    present.then_some(log_id)
}

fn get_offset(fields: &mut Bytes) -> Option<Offset> {
    Some(Offset::new(fields.get_u64_le())).filter(|offset| *offset <= Offset::MAX)
}

fn len_u32(len: usize) -> u32 {
    u32::try_from(len).expect("bodies and tables are bounded far below 4 GiB")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state() -> EndState {
        let mut producers = ProducerTable::default();
        for n in 0..9 {
            let batch = ProducerBatch {
                first_sequence: Sequence::new(n),
                record_count: 1,
                first_offset: Offset::new(n as u64),
                append_time: Timestamp::new(3),
                index: Index::new(n as u64 + 1),
            };
            producers.record(ProducerId::new(i64::from(n % 2)), ProducerEpoch::new(0), batch, 10);
        }
        EndState {
            next_offset: Offset::new(9),
            log_start_offset: Offset::new(2),
            last: Some(LogId::new(Term::new(2), Index::new(9))),
            last_append_time: Timestamp::new(1234),
            membership: Some(StoredMembership {
                log_id: LogId::new(Term::new(1), Index::new(0)),
                body: Bytes::from_static(b"voters: 1, 2, 3"),
            }),
            producers: Arc::new(producers),
        }
    }

    fn encoded(state: &EndState) -> Bytes {
        let mut out = Vec::new();
        encode(state, &mut out);
        assert_eq!(out.len(), encoded_len(state));
        out.into()
    }

    #[test]
    fn reads_what_it_writes() {
        for state in [state(), EndState::default()] {
            assert_eq!(decode(encoded(&state)), Some(state));
        }
    }

    #[test]
    fn what_is_cut_short_or_too_long_is_refused() {
        let bytes = encoded(&state());
        for len in 0..bytes.len() {
            assert_eq!(decode(bytes.slice(..len)), None, "length {len}");
        }
        assert_eq!(decode([&bytes[..], b"x"].concat().into()), None);
    }
}
