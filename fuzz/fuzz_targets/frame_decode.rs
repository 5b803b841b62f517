//! The bytes of a data directory from anybody: frames, checkpoints, indexes, segment headers.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    varve_storage::fuzzing::frames(data);
    varve_storage::fuzzing::checkpoints(data);
});
