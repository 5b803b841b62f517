//! How much the consume streams of a server may have read ahead of their readers.
//!
//! A reader that is slow holds what was read for it: in our hands, and in those of its connection. Large pieces are fast, and
//! a thousand slow readers of large pieces are gigabytes. So there is room for so many large pieces and no more, and whoever
//! finds none reads small ones. Nobody waits for room: a reader that never takes anything never gives any back.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::limits::{
    READ_AHEAD_BYTES_MAX, STREAM_PIECE_BYTES_MAX, STREAM_PIECE_BYTES_SMALL, STREAM_PIECES_AHEAD_MAX,
};

/// Pieces of a stream that are in memory: those ahead, and one that the connection has.
const PIECES_HELD_MAX: usize = STREAM_PIECES_AHEAD_MAX + 1;

/// Room for large pieces, of all streams of a server. A clone is another handle.
#[derive(Clone, Debug)]
pub(crate) struct ReadAhead(Arc<Semaphore>);

/// What one stream holds of it.
#[derive(Debug)]
pub(crate) struct Held {
    room: ReadAhead,
    /// A large piece or a small one each, the oldest first.
    pieces: VecDeque<Option<OwnedSemaphorePermit>>,
}

impl Default for ReadAhead {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(READ_AHEAD_BYTES_MAX / STREAM_PIECE_BYTES_MAX)))
    }
}

impl ReadAhead {
    /// For a stream that has read nothing yet.
    pub(crate) fn begin(&self) -> Held {
        Held { room: self.clone(), pieces: VecDeque::with_capacity(PIECES_HELD_MAX) }
    }
}

impl Held {
    /// How large the next piece may be. To be asked once there is a place for it, which is when the one before the last has
    /// left the connection.
    pub(crate) fn next_bytes_max(&mut self) -> usize {
        while self.pieces.len() >= PIECES_HELD_MAX {
            self.pieces.pop_front();
        }
        let large = Arc::clone(&self.room.0).try_acquire_owned().ok();
        let bytes_max = if large.is_some() { STREAM_PIECE_BYTES_MAX } else { STREAM_PIECE_BYTES_SMALL };
        self.pieces.push_back(large);
        bytes_max
    }

    /// The newest piece has nothing in it: its reader has taken all that there is.
    pub(crate) fn is_idle(&mut self) {
        self.pieces.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_large_while_there_is_room_and_small_then() {
        let room = ReadAhead::default();
        let large = READ_AHEAD_BYTES_MAX / STREAM_PIECE_BYTES_MAX;
        let mut slow: Vec<Held> = (0..large / PIECES_HELD_MAX).map(|_| room.begin()).collect();
        for held in &mut slow {
            for _ in 0..PIECES_HELD_MAX {
                assert_eq!(held.next_bytes_max(), STREAM_PIECE_BYTES_MAX);
            }
        }
        let mut another = room.begin();
        assert_eq!(another.next_bytes_max(), STREAM_PIECE_BYTES_SMALL);
        slow.pop();
        assert_eq!(another.next_bytes_max(), STREAM_PIECE_BYTES_MAX);
        another.is_idle();
        let quick = (0..10 * large).map(|_| another.next_bytes_max());
        assert!(
            quick.eq(std::iter::repeat_n(STREAM_PIECE_BYTES_MAX, 10 * large)),
            "what is taken is given back"
        );
    }
}
