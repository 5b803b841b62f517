use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::future::Shared;
use tokio::sync::oneshot;
use varve_record::{Offset, Timestamp};

use super::promise::LeftOut;
use crate::ClientError;

/// What became of a batch; shared by its records.
#[derive(Debug, Clone)]
pub(crate) struct Outcome {
    pub(crate) result: Result<BatchAck, ClientError>,
    /// The records that it went on without.
    pub(crate) left_out: Option<Arc<LeftOut>>,
}

pub(crate) type OutcomeReceiver = Shared<oneshot::Receiver<Outcome>>;

/// Where a batch went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BatchAck {
    pub(crate) partition: u32,
    pub(crate) first_offset: Option<Offset>,
    pub(crate) append_time: Option<Timestamp>,
    pub(crate) duplicate: bool,
}

/// Where a record went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delivered {
    /// The partition.
    pub partition: u32,
    /// The offset; `None` if the producer asked for no acknowledgement.
    pub offset: Option<Offset>,
    /// When the leader appended it; `None` if the producer asked for no acknowledgement.
    pub append_time: Option<Timestamp>,
    /// Whether an earlier attempt, whose answer was lost, had appended it.
    pub duplicate: bool,
}

/// A record on its way: await it to know where the record went, or why it did not.
///
/// The record is sent whether this is awaited or dropped.
#[derive(Debug)]
#[must_use = "await it to know whether the record was appended, or drop it with `drop`"]
pub struct Delivery {
    pub(crate) outcome: OutcomeReceiver,
    /// The place of the record in its batch.
    pub(crate) place: u32,
}

impl Future for Delivery {
    type Output = Result<Delivered, ClientError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let place = self.place;
        Pin::new(&mut self.outcome).poll(cx).map(|outcome| {
            // A worker that ends without an answer has lost its runtime.
            let outcome = outcome.map_err(|_| ClientError::Closed)?;
            let index = outcome.left_out.map_or(Ok(place), |left_out| left_out.index_of(place))?;
            let ack = outcome.result?;
            Ok(Delivered {
                partition: ack.partition,
                offset: ack.first_offset.and_then(|first| first.checked_add(index.into())),
                append_time: ack.append_time,
                duplicate: ack.duplicate,
            })
        })
    }
}
