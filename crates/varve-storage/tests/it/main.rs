//! Scenarios of the storage engine, through its public interface, on a disk in memory that fails on demand.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod basics;
mod directory;
mod faults;
mod fixtures;
mod harness;
mod model;
mod threads;
mod trouble;
mod verifying;
