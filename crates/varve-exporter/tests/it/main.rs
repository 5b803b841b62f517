//! Scenarios: what is told, as those see it to whom it goes.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod files;
mod otlp;
mod text;
