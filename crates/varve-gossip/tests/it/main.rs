//! Gossip over loopback.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod hostile;
mod membership;
#[cfg(target_os = "linux")]
mod replay;
mod support;
