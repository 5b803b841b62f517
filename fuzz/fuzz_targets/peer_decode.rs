//! The bytes of a connection between nodes from anybody: greetings, frames, requests, answers, snapshots.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    varve_net::fuzzing::peer_frames(data);
    varve_replica::fuzzing::peer_messages(data);
});
