//! What a connection speaks, by its first bytes.

/// What HTTP/2 begins with (RFC 9113, section 3.4).
pub const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What a Raft peer begins with. No protocol that people type begins with it.
pub const PEER_BYTE: u8 = 0x01;

/// The most bytes that are looked at.
pub const PREFACE_BYTES_MAX: usize = HTTP2_PREFACE.len();

/// The methods of HTTP/1 (RFC 9110, section 9; RFC 5789), each with the space that ends it.
const HTTP1_METHODS: [&[u8]; 9] =
    [b"GET ", b"HEAD ", b"POST ", b"PUT ", b"DELETE ", b"CONNECT ", b"OPTIONS ", b"TRACE ", b"PATCH "];

/// What a connection speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// HTTP/2: gRPC, and HTTP for those who speak it.
    Http2,
    /// HTTP/1.
    Http1,
    /// A Raft peer.
    Peer,
}

/// What a handshake of TLS begins with (RFC 8446, section 5.1).
pub(crate) const TLS_BYTE: u8 = 0x16;

/// What the bytes so far tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// They begin more than one protocol, or are not yet enough of one.
    Undecided,
    /// They are of this one.
    Known(Protocol),
    /// They begin nothing that is spoken here.
    Unknown,
}

/// Judges the first bytes of a connection. With [`PREFACE_BYTES_MAX`] bytes it is never undecided.
pub(crate) fn judge(bytes: &[u8]) -> Verdict {
    if bytes.first() == Some(&PEER_BYTE) {
        return Verdict::Known(Protocol::Peer);
    }
    if bytes.starts_with(HTTP2_PREFACE) {
        return Verdict::Known(Protocol::Http2);
    }
    if HTTP1_METHODS.iter().any(|method| bytes.starts_with(method)) {
        return Verdict::Known(Protocol::Http1);
    }
    let may_become = |whole: &[u8]| whole.starts_with(bytes);
    if may_become(HTTP2_PREFACE) || HTTP1_METHODS.iter().any(|method| may_become(method)) {
        return Verdict::Undecided;
    }
    Verdict::Unknown
}

/// What the fuzz targets call.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing {
    use super::*;

    /// Judges the bytes as they come in, one by one: a verdict is not taken back, and there is one in the end.
    pub fn first_bytes(bytes: &[u8]) {
        let mut before = Verdict::Undecided;
        for len in 0..=bytes.len().min(2 * PREFACE_BYTES_MAX) {
            let now = judge(&bytes[..len]);
            assert!(before == Verdict::Undecided || before == now, "{before:?}, then {now:?}");
            assert!(now != Verdict::Undecided || len < PREFACE_BYTES_MAX, "undecided by {len} bytes");
            before = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verdict_is_not_taken_back() {
        for begins in [
            HTTP2_PREFACE,
            b"GET / HTTP/1.1\r\n\r\n",
            b"PATCH / HTTP/1.0\r\n\r\n",
            b"\x01VARVE",
            b"\x16\x03\x01",
        ] {
            for cut in 0..=begins.len() {
                let mut bytes = begins[..cut].to_vec();
                bytes.extend_from_slice(&[0xff; 2 * PREFACE_BYTES_MAX]);
                fuzzing::first_bytes(&bytes);
            }
        }
    }

    #[test]
    fn tells_by_the_first_bytes() {
        assert_eq!(judge(&[PEER_BYTE]), Verdict::Known(Protocol::Peer));
        assert_eq!(judge(HTTP2_PREFACE), Verdict::Known(Protocol::Http2));
        assert_eq!(judge(b"GET / HTTP/1.1\r\n"), Verdict::Known(Protocol::Http1));
        assert_eq!(judge(b"PATCH /"), Verdict::Known(Protocol::Http1));
        for unknown in
            [&b"\x16\x03\x01"[..], b"SSH-2.0", b"get / ", b"PRI * HTTP/2.0\r\n\r\nXX", b"\0", b"GETS "]
        {
            assert_eq!(judge(unknown), Verdict::Unknown, "{unknown:?}");
        }
    }

    #[test]
    fn waits_while_more_than_one_is_possible() {
        for len in 0..HTTP2_PREFACE.len() {
            assert_eq!(judge(&HTTP2_PREFACE[..len]), Verdict::Undecided, "{len}");
        }
        for part in [&b"P"[..], b"PU", b"PUT", b"GET", b"OPTIONS"] {
            assert_eq!(judge(part), Verdict::Undecided, "{part:?}");
        }
    }

    #[test]
    fn is_decided_once_as_many_bytes_are_there_as_are_looked_at() {
        for first in 0..=u8::MAX {
            let mut bytes = HTTP2_PREFACE.to_vec();
            bytes[0] = first;
            assert_ne!(judge(&bytes), Verdict::Undecided, "{first}");
        }
    }
}
