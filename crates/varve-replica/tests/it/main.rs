//! A partition and a command log, on a disk in memory: as the only member of their groups, and as groups over links in memory.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod cluster;
mod command_group;
mod command_log;
mod command_snapshots;
mod damage;
mod faults;
mod fixture;
mod group;
mod many_groups;
mod producers;
mod reading;
mod retention;
mod wire;
mod writing;
