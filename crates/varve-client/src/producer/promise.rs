use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::oneshot;
use varve_api::error::ApiError;

use super::delivery::{BatchAck, Outcome};
use crate::ClientError;

/// What the records of a batch wait for.
#[derive(Debug)]
pub(crate) struct Promise {
    sender: oneshot::Sender<Outcome>,
    left_out: LeftOut,
}

/// The records that were left out of a batch so that the others could go on: their places in it as it was gathered, and
/// why.
#[derive(Debug, Clone, Default)]
pub(crate) struct LeftOut {
    records: BTreeMap<u32, ApiError>,
}

impl Promise {
    pub(crate) fn new(sender: oneshot::Sender<Outcome>) -> Self {
        Self { sender, left_out: LeftOut::default() }
    }

    /// Leaves records out, by their indices among those that are left.
    pub(crate) fn leave_out(&mut self, records: Vec<(u32, ApiError)>) {
        let before = self.left_out.clone();
        self.left_out
            .records
            .extend(records.into_iter().map(|(index, error)| (before.place_of(index), error)));
    }

    /// Tells the records what became of them.
    pub(crate) fn settle(self, result: Result<BatchAck, ClientError>) {
        let left_out = (!self.left_out.records.is_empty()).then(|| Arc::new(self.left_out));
        // Nobody may be waiting for it.
        drop(self.sender.send(Outcome { result, left_out }));
    }
}

impl LeftOut {
    /// The index of the record at this place among those that are left.
    ///
    /// # Errors
    /// Why it was left out, if it was.
    pub(crate) fn index_of(&self, place: u32) -> Result<u32, ApiError> {
        match self.records.get(&place) {
            Some(error) => Err(error.clone()),
            None => Ok(place - self.records.range(..place).count() as u32),
        }
    }

    /// The place of the record at this index among those that are left.
    fn place_of(&self, index: u32) -> u32 {
        self.records.keys().fold(index, |place, left_out| place + u32::from(*left_out <= place))
    }
}

#[cfg(test)]
mod tests {
    use varve_api::error::Reason;

    use super::*;

    #[tokio::test]
    async fn places_count_what_was_left_out_before() {
        let error = |name| ApiError::new(Reason::RecordTooLarge, name);
        let (sender, outcome) = oneshot::channel();
        let mut promise = Promise::new(sender);
        promise.leave_out(vec![(0, error("a")), (2, error("c"))]);
        // Left are b d e f.
        promise.leave_out(vec![(1, error("d")), (3, error("f"))]);
        promise.settle(Err(ClientError::Closed));
        let left_out = outcome.await.expect("it is settled").left_out.expect("there are some");
        let indices: Vec<_> =
            (0..6).map(|place| left_out.index_of(place).map_err(|error| error.message)).collect();
        let failed = |name: &str| Err(name.to_owned());
        assert_eq!(indices, [failed("a"), Ok(0), failed("c"), failed("d"), Ok(1), failed("f")]);
    }
}
