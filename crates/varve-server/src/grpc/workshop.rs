//! Where batches are checked, built and unpacked.

use std::sync::Arc;

use tokio::sync::Semaphore;
use varve_env::Blocking;
use varve_record::{Batch, Compression};

use crate::limits::{INLINE_BYTES_MAX, INLINE_COMPRESSED_BYTES_MAX, WORKSHOP_PLACES};

/// Does what takes time beside the threads that serve, so much at once and no more: each piece of work may hold what a batch
/// decompresses to. A clone is another door to the same places.
#[derive(Clone, Debug)]
pub(crate) struct Workshop {
    blocking: Blocking,
    places: Arc<Semaphore>,
}

/// How much work a batch is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effort {
    /// As much as its bytes.
    Plain(usize),
    /// As much as its bytes may decompress to.
    Compressed(usize),
}

impl Effort {
    /// To check bytes that claim to be a batch.
    pub(crate) fn to_check(encoded: &[u8]) -> Self {
        match Batch::peek_compression(encoded) {
            // What is no batch is refused at once.
            None | Some(Compression::None) => Self::Plain(encoded.len()),
            Some(_) => Self::Compressed(encoded.len()),
        }
    }

    /// To read the records of a batch.
    pub(crate) fn to_unpack(batch: &Batch) -> Self {
        match batch.compression() {
            Compression::None => Self::Plain(0),
            _ => Self::Compressed(batch.size_bytes()),
        }
    }

    fn is_small(self) -> bool {
        match self {
            Self::Plain(bytes) => bytes <= INLINE_BYTES_MAX,
            Self::Compressed(bytes) => bytes <= INLINE_COMPRESSED_BYTES_MAX,
        }
    }
}

impl Workshop {
    pub(crate) fn new(blocking: Blocking) -> Self {
        Self { blocking, places: Arc::new(Semaphore::new(WORKSHOP_PLACES)) }
    }

    /// Small work is done on the spot; larger waits for a place, and would keep others waiting where calls are served.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        effort: Effort,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> T {
        if effort.is_small() {
            return work();
        }
        // The places are never closed; without one the work is done all the same.
        let place = Arc::clone(&self.places).acquire_owned().await;
        self.blocking
            .run(move || {
                let done = work();
                drop(place);
                done
            })
            .await
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn no_more_is_done_at_once_than_there_are_places() {
        let workshop = Workshop::new(Blocking::Pool);
        let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let work = (0..WORKSHOP_PLACES * 8).map(|_| {
            let (workshop, now, most) = (workshop.clone(), Arc::clone(&now), Arc::clone(&most));
            tokio::spawn(async move {
                let work = move || {
                    most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    std::thread::yield_now();
                    now.fetch_sub(1, Ordering::SeqCst);
                };
                workshop.run(Effort::Compressed(usize::MAX), work).await;
            })
        });
        for done in futures::future::join_all(work).await {
            done.unwrap();
        }
        assert!((1..=WORKSHOP_PLACES).contains(&most.load(Ordering::SeqCst)));
    }

    #[test]
    fn compressed_batches_are_small_only_where_what_they_hold_is() {
        assert!(Effort::Plain(INLINE_BYTES_MAX).is_small());
        assert!(!Effort::Compressed(INLINE_BYTES_MAX).is_small());
        assert!(Effort::Compressed(INLINE_COMPRESSED_BYTES_MAX).is_small());
        assert_eq!(Effort::to_check(b"no batch"), Effort::Plain(8));
    }
}
