//! Small parts of messages, from what is inside and back.

use tonic::Status;
use varve_api::error::ApiError;
use varve_api::prost_types;
use varve_api::time::{ms_from_timestamp, timestamp_from_ms};
use varve_api::v1;
use varve_record::Timestamp;
use varve_replica::{Acks, Consistency, Produced};

use crate::error::invalid;

/// A time on the wire.
pub(crate) fn to_wire_time(time: Timestamp) -> prost_types::Timestamp {
    timestamp_from_ms(time.get())
}

/// A time from the wire.
pub(crate) fn from_wire_time(field: &str, time: &prost_types::Timestamp) -> Result<Timestamp, ApiError> {
    let ms = ms_from_timestamp(time).ok_or_else(|| invalid(field, "it is no time that can be kept"))?;
    Ok(Timestamp::new(ms))
}

/// When a produce is answered.
pub(crate) fn acks(acks: i32) -> Result<Acks, ApiError> {
    match v1::Acks::try_from(acks) {
        Ok(v1::Acks::Unspecified | v1::Acks::Quorum) => Ok(Acks::Quorum),
        Ok(v1::Acks::Leader) => Ok(Acks::Leader),
        Ok(v1::Acks::None) => Ok(Acks::None),
        Err(_) => Err(invalid("acks", format!("{acks} is none that this server knows"))),
    }
}

/// When a produce is answered, on the wire.
pub(crate) fn wire_acks(acks: Acks) -> v1::Acks {
    match acks {
        Acks::Quorum => v1::Acks::Quorum,
        Acks::Leader => v1::Acks::Leader,
        Acks::None => v1::Acks::None,
    }
}

/// How fresh a read is.
pub(crate) fn consistency(consistency: i32) -> Result<Consistency, ApiError> {
    match v1::ReadConsistency::try_from(consistency) {
        Ok(v1::ReadConsistency::Unspecified | v1::ReadConsistency::Committed) => Ok(Consistency::Committed),
        Ok(v1::ReadConsistency::Linearizable) => Ok(Consistency::Linearizable),
        Err(_) => Err(invalid("consistency", format!("{consistency} is none that this server knows"))),
    }
}

/// The answer to a batch that was appended.
pub(crate) fn produce_response(partition: u32, produced: Produced) -> v1::ProduceResponse {
    v1::ProduceResponse {
        partition,
        first_offset: produced.first_offset.map(u64::from),
        next_offset: produced.next_offset.map(u64::from),
        append_time: produced.append_time.map(to_wire_time),
        duplicate: produced.duplicate,
    }
}

/// A status, which is large, made where it is sent and not before.
pub(crate) fn status(error: ApiError) -> Status {
    error.into()
}
