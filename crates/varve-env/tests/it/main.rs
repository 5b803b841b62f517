//! What the disk in memory promises, and what it does not.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod faulty_disk;
