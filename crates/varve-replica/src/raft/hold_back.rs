//! Holds back what says only that entries were committed, where the next entries are about to say it too.
//!
//! A leader has two things to say of an entry to each follower: the entry, and later that it is committed. Where one entry
//! follows the other closely, the second message says nothing that the next entry would not bring, and costs each follower a
//! round of work as large as the entry's own. A lone entry's commit is sent at once.

use super::types::Types;
use futures::stream::{self, Fuse};
use futures::{Stream, StreamExt};
use openraft::raft::AppendEntriesRequest;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// Entries that follow each other within this are close, and a commit waits no longer for the next ones.
const HOLD_MAX: Duration = Duration::from_millis(3);

/// Gives the requests of a stream, without those that the one behind them makes superfluous.
pub(super) fn hold_back<S>(requests: S) -> impl Stream<Item = AppendEntriesRequest<Types>>
where
    S: Stream<Item = AppendEntriesRequest<Types>> + Unpin,
{
    let held = HoldBack { requests: requests.fuse(), entries_at: None, are_close: false };
    stream::unfold(held, |mut held| async move {
        let request = held.next().await?;
        Some((request, held))
    })
}

struct HoldBack<S> {
    requests: Fuse<S>,
    /// When entries were sent last.
    entries_at: Option<Instant>,
    /// Whether they came close behind those before.
    are_close: bool,
}

impl<S: Stream<Item = AppendEntriesRequest<Types>> + Unpin> HoldBack<S> {
    async fn next(&mut self) -> Option<AppendEntriesRequest<Types>> {
        let mut request = self.requests.next().await?;
        if request.entries.is_empty() && self.are_close {
            let until = Instant::now() + HOLD_MAX;
            while request.entries.is_empty() {
                match timeout_at(until, self.requests.next()).await {
                    // It was made later, so that it says all that this one does.
                    Ok(Some(later)) => request = later,
                    Ok(None) | Err(_) => break,
                }
            }
        }
        if !request.entries.is_empty() {
            let now = Instant::now();
            self.are_close = self.entries_at.is_some_and(|before| now - before <= HOLD_MAX);
            self.entries_at = Some(now);
        }
        Some(request)
    }
}

#[cfg(test)]
mod tests {
    use super::super::log_entry::LogEntry;
    use super::super::types::{RaftVote, to_raft};
    use super::*;
    use futures::FutureExt;
    use futures::channel::mpsc::{UnboundedSender, unbounded};
    use futures::stream::BoxStream;
    use openraft::impls::leader_id_std::LeaderId;
    use tokio::time::advance;
    use varve_record::{Index, Term, Timestamp};
    use varve_storage::{Entry, LogId};

    struct Held {
        sender: UnboundedSender<AppendEntriesRequest<Types>>,
        requests: BoxStream<'static, AppendEntriesRequest<Types>>,
    }

    impl Held {
        fn new() -> Self {
            let (sender, requests) = unbounded();
            Self { sender, requests: hold_back(requests).boxed() }
        }

        /// A request that says what is committed and brings so many entries.
        fn send(&self, committed: u64, entries: usize) {
            let log_id = |index| LogId::new(Term::new(1), Index::new(index));
            let vote = RaftVote { leader_id: LeaderId { term: 1, voted_for: 1 }, committed: true };
            let entry = LogEntry::stored(Entry::blank(log_id(committed + 1), Timestamp::default()));
            let entries = vec![entry; entries];
            let leader_commit = Some(to_raft(log_id(committed)));
            let request = AppendEntriesRequest { vote, prev_log_id: None, entries, leader_commit };
            self.sender.unbounded_send(request).expect("the stream is there");
        }

        /// What comes out now: what is committed, and how many entries there are.
        fn now(&mut self) -> Option<(u64, usize)> {
            let request = self.requests.next().now_or_never()?.expect("the stream goes on");
            let committed = request.leader_commit.expect("each says what is committed");
            Some((committed.index, request.entries.len()))
        }

        /// Entries that came close together.
        fn close() -> Self {
            let mut held = Self::new();
            for committed in 0..2 {
                held.send(committed, 1);
                assert_eq!(held.now(), Some((committed, 1)));
            }
            held
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_lone_entry_is_followed_at_once() {
        let mut held = Held::new();
        held.send(0, 0);
        assert_eq!(held.now(), Some((0, 0)), "what comes first may be a question");
        for committed in 1..4 {
            held.send(committed, 1);
            assert_eq!(held.now(), Some((committed, 1)));
            held.send(committed + 1, 0);
            assert_eq!(held.now(), Some((committed + 1, 0)));
            advance(HOLD_MAX * 2).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn between_close_entries_the_next_bring_it() {
        let mut held = Held::close();
        held.send(2, 0);
        assert_eq!(held.now(), None);
        held.send(3, 0);
        held.send(4, 2);
        assert_eq!(held.now(), Some((4, 2)), "the last says all that those before it did");
        assert_eq!(held.now(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn what_no_entries_bring_waits_no_longer_than_the_limit() {
        let mut held = Held::close();
        held.send(2, 0);
        assert_eq!(held.now(), None);
        advance(HOLD_MAX / 2).await;
        held.send(3, 0);
        assert_eq!(held.now(), None);
        advance(HOLD_MAX).await;
        assert_eq!(held.now(), Some((3, 0)));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_held_when_the_requests_end_is_given() {
        let mut held = Held::close();
        held.send(2, 0);
        held.sender.close_channel();
        assert_eq!(held.now(), Some((2, 0)));
        assert!(held.requests.next().await.is_none());
    }
}
