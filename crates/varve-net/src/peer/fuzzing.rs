//! What the fuzz targets call: every decoder of what a peer sends before its bytes are looked at, with the checksums made right
//! that no fuzzer can guess.

use super::frame::{HEADER_BYTES, Payload, read_frame, write_frame};
use super::hello::{HELLO_BYTES, Hello};
use futures::FutureExt;

/// Reads `data` as a greeting and as frames, as they are and with right checksums.
///
/// # Panics
/// Where a decoder takes what it would not have written: that is what the fuzzer looks for.
pub fn peer_frames(data: &[u8]) {
    read_frames(data);
    read_frames(&with_checksums(data));
    read_hello(data);
}

fn read_frames(mut data: &[u8]) {
    loop {
        let before = data;
        // Bytes in memory are there at once.
        let Some(Ok(Some(frame))) = read_frame(&mut data).now_or_never() else { return };
        let mut written = Vec::new();
        let again = write_frame(&mut written, frame.kind, frame.id, Payload::from(frame.payload));
        let again = again.now_or_never();
        assert!(matches!(again, Some(Ok(()))), "what was read can be written");
        let read = &before[..before.len() - data.len()];
        assert_eq!(written.len(), read.len());
    }
}

/// `data` with the checksums of its first frame made right.
fn with_checksums(data: &[u8]) -> Vec<u8> {
    let mut bytes = data.to_vec();
    if bytes.len() < HEADER_BYTES {
        return bytes;
    }
    let payload_bytes = u32::try_from(bytes.len() - HEADER_BYTES).unwrap_or(u32::MAX);
    bytes[..4].copy_from_slice(&payload_bytes.to_le_bytes());
    let crc = crc32c::crc32c(&bytes[HEADER_BYTES..]);
    bytes[16..20].copy_from_slice(&crc.to_le_bytes());
    let crc = crc32c::crc32c(&bytes[..20]);
    bytes[20..24].copy_from_slice(&crc.to_le_bytes());
    bytes
}

fn read_hello(data: &[u8]) {
    let mut bytes = [0; HELLO_BYTES];
    let len = data.len().min(HELLO_BYTES);
    bytes[..len].copy_from_slice(&data[..len]);
    let _damaged = Hello::decode(&bytes);
    let crc = crc32c::crc32c(&bytes[..HELLO_BYTES - 4]);
    bytes[HELLO_BYTES - 4..].copy_from_slice(&crc.to_le_bytes());
    if let Some(hello) = Hello::decode(&bytes) {
        let mut written = [0; HELLO_BYTES];
        written.copy_from_slice(&hello.encode());
        assert_eq!(Hello::decode(&written), Some(hello));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peer::PeerLane;
    use crate::peer::frame::FrameKind;
    use bytes::Bytes;

    #[test]
    fn sound_and_damaged_bytes_pass() {
        let mut frame = Vec::new();
        let payload = Payload::from(Bytes::from_static(b"a payload"));
        write_frame(&mut frame, FrameKind::Request, 7, payload).now_or_never().unwrap().unwrap();
        let hello = Hello { version: 1, lane: PeerLane::Data, cluster: [1; 16], from: 2, to: 3 }.encode();
        for sound in [frame, hello, Vec::new()] {
            peer_frames(&sound);
            for at in 0..sound.len() {
                let mut damaged = sound.clone();
                damaged[at] ^= 0xff;
                peer_frames(&damaged);
                peer_frames(&sound[..at]);
            }
        }
    }
}
