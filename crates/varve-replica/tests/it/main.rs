//! A partition and a command log, on a disk in memory.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod command_log;
mod damage;
mod fixture;
mod producers;
mod reading;
mod retention;
mod writing;
