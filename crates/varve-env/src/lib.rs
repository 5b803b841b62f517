//! The seams that simulation replaces: time, randomness, spawning, network, files.
