//! What operators are given (`deploy/`, `docs/operations.md`) rests on metrics that there are.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod dashboard;
mod files;
mod known;
mod promql;
mod rules;
mod yaml;
