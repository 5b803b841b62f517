//! Deterministic simulation of Varve by seed.

fn main() {}
