//! What a connection begins with, from anybody who can reach the port.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| varve_net::fuzzing::first_bytes(data));
