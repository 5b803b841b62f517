//! A partition's replica: the proposer, commit, and reading what is committed.
