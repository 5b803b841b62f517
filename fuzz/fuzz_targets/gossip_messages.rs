//! What comes to the gossip port: from anybody who reaches it, and from whoever has the key.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| varve_gossip::fuzzing::gossip_messages(data));
