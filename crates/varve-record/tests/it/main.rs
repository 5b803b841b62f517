//! The record batch, from outside: golden bytes, Kafka's own bytes, and bytes that lie.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails, in its helpers too")]

mod bombs;
mod damage;
mod forge;
mod golden;
mod kafka;
mod refusals;
mod round_trip;
mod sample;
