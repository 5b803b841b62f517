//! Chores of the Varve workspace.

fn main() {}
