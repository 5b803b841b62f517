//! The history format and the checker of Varve's promises.
