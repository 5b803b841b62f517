//! The simulation finds what it should, and its runs are numbers.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod cluster;
mod one_node;
