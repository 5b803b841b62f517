//! The listener, met by peers of every kind.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod accept;
mod support;
mod telling;
