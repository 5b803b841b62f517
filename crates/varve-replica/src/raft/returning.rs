//! A replica that was given up on its node and comes back there.
//!
//! Consensus takes a member for one that never loses its log. One that comes back begins with an empty log under its old
//! number, and is sent the old entries first, with the members of their time: among them it may be a voter, or the only one,
//! and would elect itself (or another that came back) over a part of the log. So it neither stands nor votes until it has
//! all that was committed when it asked a leader, its own removal included; and it follows no leader of a term before that in
//! which it was removed, for it could complete the majority of one that does not know of it.

use super::peer::Request;
use std::sync::atomic::{AtomicBool, Ordering};
use varve_record::Term;

/// Whether a replica is coming back, and what it believes meanwhile.
#[derive(Debug)]
pub(super) struct Returning {
    is_returning: AtomicBool,
    /// The group was led in this term after the replica was removed from it.
    led_in: Term,
}

impl Returning {
    pub(super) fn new(is_returning: bool, led_in: Term) -> Self {
        Self { is_returning: AtomicBool::new(is_returning), led_in }
    }

    /// Whether a leader of this term is one to learn from.
    pub(super) fn believes(&self, term: Term) -> bool {
        term >= self.led_in
    }

    /// Whether a leader of this term is followed.
    pub(super) fn follows(&self, term: Term) -> bool {
        !self.is_returning.load(Ordering::Acquire) || self.believes(term)
    }

    /// Whether a request is taken.
    pub(super) fn hears(&self, request: &Request) -> bool {
        if !self.is_returning.load(Ordering::Acquire) {
            return true;
        }
        match request {
            Request::Append(append) => self.believes(Term::new(append.vote.leader_id.term)),
            Request::Snapshot(vote, _) => self.believes(Term::new(vote.leader_id.term)),
            Request::Vote(_) | Request::PreVote(_) | Request::Transfer(_) => false,
            Request::ReadIndex | Request::Propose(_) | Request::Heartbeats(_) => true,
        }
    }

    /// It has all that it had.
    pub(super) fn end(&self) {
        self.is_returning.store(false, Ordering::Release);
    }
}
