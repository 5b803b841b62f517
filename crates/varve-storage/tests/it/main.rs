//! Scenarios of the storage engine, through its public interface, on a disk in memory that fails on demand.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod basics;
mod deletions;
mod directory;
mod fixtures;
mod full_disks;
mod harness;
mod model;
mod power_cuts;
mod rot;
mod threads;
mod trouble;
mod verifying;
