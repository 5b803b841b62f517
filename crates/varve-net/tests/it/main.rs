//! The listener, met by peers of every kind, and connections between nodes.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod accept;
mod peer;
mod support;
mod telling;
