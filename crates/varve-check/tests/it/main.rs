//! The checker finds every planted anomaly, and none where there is none.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod generated;
mod planted;
