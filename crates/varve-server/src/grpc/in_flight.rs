//! What has been taken in and is not answered yet.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Room for batches that are not answered yet, of all callers together. A clone is another handle.
///
/// Those that may be handed on wait for other nodes, which may wait for this one: of what waits, they take half at most, so that
/// batches that come from another node always get through. A single append does not wait for room, and has it for a bounded time.
#[derive(Clone, Debug)]
pub(crate) struct InFlight {
    all: Arc<Semaphore>,
    to_hand_on: Arc<Semaphore>,
    bytes: usize,
}

/// What a batch holds until it is answered.
#[derive(Debug)]
pub(crate) struct Admitted {
    _of_all: OwnedSemaphorePermit,
    _to_hand_on: Option<OwnedSemaphorePermit>,
}

impl InFlight {
    /// Room for so many bytes: two of the largest batches at least.
    pub(crate) fn new(bytes: usize) -> Self {
        Self { all: Arc::new(Semaphore::new(bytes)), to_hand_on: Arc::new(Semaphore::new(bytes / 2)), bytes }
    }

    /// How many bytes there is room for.
    pub(crate) fn limit(&self) -> usize {
        self.bytes
    }

    /// How many of them are taken.
    pub(crate) fn used(&self) -> usize {
        self.bytes.saturating_sub(self.all.available_permits())
    }

    /// Takes in a batch if there is room now.
    pub(crate) fn try_admit(&self, bytes: u32) -> Option<Admitted> {
        let _of_all = Arc::clone(&self.all).try_acquire_many_owned(bytes).ok()?;
        Some(Admitted { _of_all, _to_hand_on: None })
    }

    /// Takes in a batch, which may be handed on, once there is room.
    pub(crate) async fn admit(&self, bytes: u32, may_forward: bool) -> Option<Admitted> {
        // In this order: whoever waits for the half holds nothing of the whole.
        let _to_hand_on = match may_forward {
            true => Some(Arc::clone(&self.to_hand_on).acquire_many_owned(bytes).await.ok()?),
            false => None,
        };
        let _of_all = Arc::clone(&self.all).acquire_many_owned(bytes).await.ok()?;
        Some(Admitted { _of_all, _to_hand_on })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;

    #[tokio::test]
    async fn what_may_be_handed_on_leaves_half_to_what_may_not() {
        let room = InFlight::new(100);
        let first = room.admit(30, true).await.unwrap();
        let mut second = Box::pin(room.admit(30, true));
        assert!((&mut second).now_or_never().is_none(), "it would have more than half");
        let direct = room.admit(70, false).now_or_never().expect("whoever waits holds nothing");
        assert_eq!((room.used(), room.limit()), (100, 100));
        assert!(room.try_admit(1).is_none());
        drop(first);
        assert!((&mut second).now_or_never().is_some_and(|admitted| admitted.is_some()));
        drop(direct);
        assert!(room.try_admit(100).is_some());
    }
}
