//! Scenarios of the storage engine, through its public interface, on a disk in memory that fails on demand.

mod basics;
mod harness;
