//! One frame between peers. `docs/peer-protocol.md` describes the bytes.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use std::io::{self, IoSlice};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// The most bytes of one frame's payload: an entry of the greatest size, with room for those that travel with it.
pub const PEER_PAYLOAD_BYTES_MAX: usize = 24 * 1024 * 1024;

pub(super) const HEADER_BYTES: usize = 24;
/// Slices that are given to the system at once.
const SLICES_MAX: usize = 64;

/// What a frame is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum FrameKind {
    Request = 1,
    Response = 2,
    /// The other side does not go on, and says why.
    Refusal = 3,
}

/// A frame that has come in.
#[derive(Debug)]
pub(super) struct Frame {
    pub(super) kind: FrameKind,
    pub(super) id: u64,
    pub(super) payload: Bytes,
}

/// What a frame carries: pieces that are sent one behind the other, without a copy.
#[derive(Clone, Debug, Default)]
pub struct Payload(Vec<Bytes>);

impl Payload {
    /// These pieces, in this order.
    #[must_use]
    pub fn new(pieces: Vec<Bytes>) -> Self {
        Self(pieces.into_iter().filter(|piece| !piece.is_empty()).collect())
    }

    /// Bytes of all pieces.
    #[must_use]
    pub fn len_bytes(&self) -> usize {
        self.0.iter().map(Bytes::len).sum()
    }
}

impl From<Bytes> for Payload {
    fn from(bytes: Bytes) -> Self {
        Self::new(vec![bytes])
    }
}

/// Writes one frame. The caller flushes.
pub(super) async fn write_frame(
    stream: &mut (impl AsyncWrite + Unpin),
    kind: FrameKind,
    id: u64,
    payload: Payload,
) -> io::Result<()> {
    let len_bytes = payload.len_bytes();
    if len_bytes > PEER_PAYLOAD_BYTES_MAX {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "a frame would be larger than any may be"));
    }
    let crc = payload.0.iter().fold(0, |crc, piece| crc32c::crc32c_append(crc, piece));
    let mut header = BytesMut::with_capacity(HEADER_BYTES);
    header.put_u32_le(u32::try_from(len_bytes).expect("the limit is below 4 GiB"));
    header.put_u8(kind as u8);
    header.put_bytes(0, 3);
    header.put_u64_le(id);
    header.put_u32_le(crc);
    header.put_u32_le(crc32c::crc32c(&header));
    let mut pieces = vec![header.freeze()];
    pieces.extend(payload.0);
    write_pieces(stream, pieces).await
}

/// Reads one frame; `None` where the peer has closed between two.
pub(super) async fn read_frame(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<Frame>> {
    let mut header = [0; HEADER_BYTES];
    if stream.read(&mut header[..1]).await? == 0 {
        return Ok(None);
    }
    stream.read_exact(&mut header[1..]).await?;
    let checked = crc32c::crc32c(&header[..HEADER_BYTES - 4]);
    let mut fields = &header[..];
    let len_bytes = fields.get_u32_le() as usize;
    let kind = match fields.get_u8() {
        1 => FrameKind::Request,
        2 => FrameKind::Response,
        3 => FrameKind::Refusal,
        _ => return Err(malformed("a frame of an unknown kind")),
    };
    fields.advance(3);
    let (id, crc, header_crc) = (fields.get_u64_le(), fields.get_u32_le(), fields.get_u32_le());
    if header_crc != checked {
        return Err(malformed("a frame's header is damaged"));
    }
    // Before anything is allocated for it.
    if len_bytes > PEER_PAYLOAD_BYTES_MAX {
        return Err(malformed("a frame is larger than any may be"));
    }
    let mut payload = BytesMut::zeroed(len_bytes);
    stream.read_exact(&mut payload).await?;
    if crc32c::crc32c(&payload) != crc {
        return Err(malformed("a frame's payload is damaged"));
    }
    Ok(Some(Frame { kind, id, payload: payload.freeze() }))
}

async fn write_pieces(stream: &mut (impl AsyncWrite + Unpin), mut pieces: Vec<Bytes>) -> io::Result<()> {
    let mut first = 0;
    while first < pieces.len() {
        let slices: Vec<IoSlice<'_>> =
            pieces[first..].iter().take(SLICES_MAX).map(|piece| IoSlice::new(piece)).collect();
        let mut written = stream.write_vectored(&slices).await?;
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        while written > 0 {
            let step = written.min(pieces[first].len());
            pieces[first].advance(step);
            written -= step;
            if pieces[first].is_empty() {
                first += 1;
            }
        }
    }
    Ok(())
}

fn malformed(reason: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn written(payload: Payload) -> Vec<u8> {
        let mut bytes = Vec::new();
        write_frame(&mut bytes, FrameKind::Request, 7, payload).await.unwrap();
        bytes
    }

    #[tokio::test]
    async fn reads_what_it_writes() {
        let pieces = (0..200_u8).map(|n| Bytes::from(vec![n; usize::from(n)])).collect();
        let bytes = written(Payload::new(pieces)).await;
        let frame = read_frame(&mut &bytes[..]).await.unwrap().unwrap();
        let expected: Vec<u8> = (0..200_u8).flat_map(|n| vec![n; usize::from(n)]).collect();
        assert_eq!((frame.kind, frame.id, frame.payload), (FrameKind::Request, 7, Bytes::from(expected)));
        assert!(read_frame(&mut &[][..]).await.unwrap().is_none());
    }

    #[tokio::test]
    async fn every_flipped_bit_is_found() {
        let bytes = written(Bytes::from_static(b"payload").into()).await;
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(read_frame(&mut &damaged[..]).await.is_err(), "bit {bit}");
        }
        for len in 1..bytes.len() {
            assert!(read_frame(&mut &bytes[..len]).await.is_err(), "cut at {len}");
        }
    }
}
