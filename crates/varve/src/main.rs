//! Varve: a durable commit log served over gRPC.

fn main() {}
