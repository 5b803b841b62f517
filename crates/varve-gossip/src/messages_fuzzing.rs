//! What the fuzz targets call: all that looks at bytes from the gossip port, before they are authenticated and after.

use std::net::SocketAddr;

use futures::FutureExt;
use memberlist_core::bytes::{BufMut, BytesMut};
use memberlist_core::proto::{
    Ack, Alive, Data, Dead, EncryptionAlgorithm, ErrorResponse, IndirectPing, MessageRef, MessagesDecoder,
    Ping, ProtoDecoder, PushPull, SecretKey, Suspect,
};
use serf::tokio::TokioRuntime;
use serf::types::{SmolStr, Tags};

use crate::foreign::KeyWatch;
use crate::guard::{self, ENCRYPTED_TAG, HEADER_BYTES};

/// The key of the node that is fuzzed.
const KEY: SecretKey = SecretKey::Aes256([7; 32]);

/// More is decrypted on another thread.
const OFFLOAD_BYTES: usize = usize::MAX;

/// Takes `data` as a datagram and as a connection, as a stranger sends it; and as what whoever has the key has encrypted.
///
/// # Panics
/// Where a decoder does, or takes for authentic what nobody has encrypted: that is what the fuzzer looks for.
pub fn gossip_messages(data: &[u8]) {
    from_stranger(data);
    let sealed = seal(data);
    from_stranger(&sealed[..sealed.len() - 1]);
    assert!(is_let_in(&sealed), "what is sealed here is let in");
    // What says that it is compressed, or has a checksum, is refused.
    if let Some(opened) = open(&sealed) {
        assert_eq!(opened, data);
    }
    // With debug assertions memberlist panics where the lengths within a message contradict each other, which only whoever has the key
    // can send: a build for use has none, and goes on.
    if !cfg!(debug_assertions) {
        read_messages(data);
    }
}

/// What nobody with the key has sent gets no further than this.
fn from_stranger(data: &[u8]) {
    let _refused = is_let_in(data);
    if let Some(encrypted) = data.get(HEADER_BYTES..) {
        let keys = KeyWatch::new(vec![KEY], None);
        keys.look(SocketAddr::from(([127, 0, 0, 1], 1)), false, encrypted);
    }
    assert!(open(data).is_none(), "nobody has sealed it");
}

/// Whether the TCP side reads on, however the header is cut.
fn is_let_in(data: &[u8]) -> bool {
    let header = &data[..data.len().min(HEADER_BYTES)];
    (0..=header.len()).all(|len| guard::check(&header[..len]).is_ok())
}

fn seal(plain: &[u8]) -> Vec<u8> {
    let nonce = [1; 12];
    let mut sealed = BytesMut::from(plain);
    let encrypted = EncryptionAlgorithm::NoPadding.encrypt(KEY, nonce, b"", &mut sealed);
    encrypted.expect("bytes in memory can be encrypted");
    let mut message = Vec::with_capacity(HEADER_BYTES + nonce.len() + sealed.len());
    message.put_u8(ENCRYPTED_TAG);
    message.put_u8(EncryptionAlgorithm::NoPadding.as_u8());
    message.put_u32(u32::try_from(plain.len()).expect("a fuzzer's input is small"));
    message.put_slice(&nonce);
    message.put_slice(&sealed);
    message
}

/// As the protocol opens a datagram.
fn open(message: &[u8]) -> Option<Vec<u8>> {
    let mut decoder = ProtoDecoder::new();
    decoder.with_encryption(vec![KEY]).with_verify_incoming(true).with_offload_size(OFFLOAD_BYTES);
    let opened = decoder.decode::<TokioRuntime>(BytesMut::from(message)).now_or_never()?;
    opened.ok().map(|plain| plain.to_vec())
}

/// Reads what was encrypted, as the protocol does: messages, and the tags of those that live.
fn read_messages(plain: &[u8]) {
    let _tags = Tags::decode(plain);
    let Ok(messages) = MessagesDecoder::<SmolStr, SocketAddr, _>::new(plain) else { return };
    for message in messages.iter().take(u8::MAX.into()) {
        let Ok(message) = message else { return };
        match message {
            MessageRef::Ping(ping) => drop(Ping::<SmolStr, SocketAddr>::from_ref(ping)),
            MessageRef::IndirectPing(ping) => drop(IndirectPing::<SmolStr, SocketAddr>::from_ref(ping)),
            MessageRef::Ack(ack) => drop(Ack::from_ref(ack)),
            MessageRef::Suspect(suspect) => drop(Suspect::<SmolStr>::from_ref(suspect)),
            MessageRef::Dead(dead) => drop(Dead::<SmolStr>::from_ref(dead)),
            MessageRef::PushPull(state) => drop(PushPull::<SmolStr, SocketAddr>::from_ref(state)),
            MessageRef::ErrorResponse(error) => drop(ErrorResponse::from_ref(error)),
            MessageRef::Alive(alive) => {
                if let Ok(alive) = Alive::<SmolStr, SocketAddr>::from_ref(alive) {
                    let _tags = Tags::decode(alive.meta());
                }
            }
            MessageRef::Nack(_) | MessageRef::UserData(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_here_opens_and_nothing_else() {
        let sealed = seal(b"\x01\x00");
        assert_eq!(open(&sealed).as_deref(), Some(&b"\x01\x00"[..]));
        for at in 0..sealed.len() {
            let mut wrong = sealed.clone();
            wrong[at] ^= 1;
            assert_eq!(open(&wrong), None, "byte {at}");
        }
    }

    #[test]
    fn whatever_comes_passes() {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        for len in [0, 1, 2, 5, 6, 7, 18, 34, 64, 300] {
            for first in 0..=u8::MAX {
                let mut data: Vec<u8> = std::iter::from_fn(|| {
                    state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    state.to_be_bytes().first().copied()
                })
                .take(len)
                .collect();
                if let Some(byte) = data.first_mut() {
                    *byte = first;
                }
                gossip_messages(&data);
            }
        }
    }
}
