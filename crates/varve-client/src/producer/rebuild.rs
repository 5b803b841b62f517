use varve_record::{
    Batch, BatchBuilder, BatchError, BuildError, Compression, HeaderRef, ProducerEpoch, ProducerId,
    RecordRef, Sequence,
};

use super::builder::ProducerOptions;
use crate::ClientError;

/// Encodes a batch of ours anew, under this identity (the checksum covers it), with those of its records that `keep`
/// says. This is rare.
pub(crate) fn rebuilt(
    old: &Batch,
    producer: Option<(ProducerId, ProducerEpoch, Sequence)>,
    options: &ProducerOptions,
    mut keep: impl FnMut(&RecordRef<'_>) -> bool,
) -> Result<Batch, ClientError> {
    let damaged = |error: BatchError| ClientError::from(BuildError::Header(error));
    let compression =
        if old.compression() == Compression::None { Compression::None } else { options.compression };
    let mut builder = BatchBuilder::with_limits(compression, options.limits);
    if let Some((id, epoch, sequence)) = producer {
        builder.producer(id, epoch, sequence);
    }
    for record in &old.records(&options.limits).map_err(damaged)? {
        let record = record.map_err(damaged)?;
        if keep(&record) {
            let headers: Vec<HeaderRef<'_>> = record.headers.iter().collect();
            builder.push(record.timestamp, record.key, record.value, &headers)?;
        }
    }
    Ok(builder.build()?)
}
