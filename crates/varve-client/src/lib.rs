//! The Rust client of Varve.
