//! Segments, frames, indexes, checkpoints and recovery of a partition's log.
