//! What the fuzz targets call: every decoder of what a member of a group sends, and of a snapshot's bytes.

use super::command_snapshot::CommandSnapshot;
use super::membership;
use super::peer::{PeerRequest, PeerResponse};
use bytes::Bytes;
use varve_record::NodeId;

/// Reads `data` as a request, an answer, a snapshot of commands and a membership.
///
/// # Panics
/// Where a decoder takes what it would not have written: that is what the fuzzer looks for.
pub fn peer_messages(data: &[u8]) {
    let bytes = Bytes::copy_from_slice(data);
    if let Some((group, request)) = PeerRequest::decode(bytes.clone()) {
        let written = Bytes::from(request.encode(group).concat());
        let again = PeerRequest::decode(written).map(|(group, again)| (group, format!("{again:?}")));
        assert_eq!(again, Some((group, format!("{request:?}"))));
    }
    let from = NodeId::new(1);
    if let Ok(answer) = PeerResponse::decode(from, bytes.clone()) {
        // Not the same where it holds a reason: that is cut, and made text.
        let again = PeerResponse::decode(from, PeerResponse::encode(&Ok(answer)));
        assert!(again.is_ok(), "{again:?}");
    }
    if let Some(snapshot) = CommandSnapshot::decode(bytes) {
        assert_eq!(CommandSnapshot::decode(snapshot.encode()), Some(snapshot));
    }
    if let Some(members) = membership::decode(data) {
        assert_eq!(membership::decode(&membership::encode(&members)), Some(members));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A request of each kind whose fields are small numbers, and what becomes of it when any byte is another.
    #[test]
    fn sound_and_damaged_bytes_pass() {
        for kind in 0..=9 {
            for fill in [0, 1, 2, 0x7f, 0xff] {
                let mut request = vec![0; 8];
                request.push(kind);
                request.extend([fill; 80]);
                peer_messages(&request);
                peer_messages(&request[8..]);
                for at in 0..request.len() {
                    for value in [0, 1, 6, 0xff] {
                        let mut damaged = request.clone();
                        damaged[at] = value;
                        peer_messages(&damaged);
                        peer_messages(&damaged[..at]);
                        peer_messages(&damaged[8..]);
                    }
                }
            }
        }
    }
}
