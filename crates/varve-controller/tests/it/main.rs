//! The controller from outside: a cluster of which only the metadata is real.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails, in its helpers too")]

mod checks;
mod model;
mod nodes;
mod old_states;
mod placing;
mod planning;
mod voting;
mod world;
