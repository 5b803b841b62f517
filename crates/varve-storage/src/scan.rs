//! What recovery decides: where a file's frames end, and whether what lies there was torn by a crash or damaged since.
//!
//! Frames are read one after another until one is not sound or not the next. Writes that were never synced reach the disk in
//! any order, so sound frames may lie behind that place after a crash. They tell what happened: each says below which index
//! everything was durable when it was written. If that covers the entry that is missing, it was durable once: *damage*. If
//! nothing behind says so, the tail is *torn*: it was never acknowledged and is cut.

use crate::frame::{FRAME_ALIGN, FRAME_HEADER_BYTES, FRAME_MAGIC, FrameFault, FrameHeader, FrameKind, Salt};
use crate::window::Window;
use bytes::Bytes;
use std::io;
use varve_record::{Index, Offset, Term};

/// What the next frame must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Expected {
    pub(crate) index: Index,
    /// Terms never fall.
    pub(crate) term: Term,
    pub(crate) base_offset: Offset,
}

impl Expected {
    fn admits(&self, header: &FrameHeader) -> bool {
        let kind = matches!(header.kind, FrameKind::Entry(_) | FrameKind::Votes);
        kind && header.index == self.index
            && header.term >= self.term
            && header.base_offset == self.base_offset
    }

    fn after(header: &FrameHeader) -> Self {
        // `FrameHeader::decode` refuses the last index and offsets that would pass the greatest.
        Self { index: header.index.next(), term: header.term, base_offset: header.next_offset() }
    }
}

/// A place where entries that were durable cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Gap {
    pub(crate) position: u64,
    pub(crate) first_index: Index,
    pub(crate) last_index: Option<Index>,
    pub(crate) reason: &'static str,
}

/// What was found in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Scanned {
    /// Behind the last sound frame.
    pub(crate) end: u64,
    /// Places with damage, in order. Where there is one, nothing may be cut or appended.
    pub(crate) gaps: Vec<Gap>,
    /// Sound frames that were never durable lie behind the end. New frames before them would let them come back to life, so
    /// the log must go on in another file.
    pub(crate) leftovers: bool,
}

/// Why a file could not be scanned.
#[derive(Debug)]
pub(crate) enum ScanError {
    Io(io::Error),
    /// A sound frame of a kind that this version does not know.
    Newer(u8),
}

impl From<io::Error> for ScanError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Reads the frames of a file from `position` to their end and shows each to `visit`.
pub(crate) fn scan(
    window: &mut Window<'_>,
    salt: Salt,
    position: u64,
    mut expected: Expected,
    visit: &mut dyn FnMut(&FrameHeader, u64, &Bytes),
) -> Result<Scanned, ScanError> {
    let mut scanned = Scanned { end: position, gaps: Vec::new(), leftovers: false };
    loop {
        let fault = match read_frame(window, salt, scanned.end)? {
            Ok((header, body)) if expected.admits(&header) => {
                visit(&header, scanned.end, &body);
                expected = Expected::after(&header);
                scanned.end += header.frame_len();
                continue;
            }
            Ok((header, _)) if header.kind == FrameKind::Marker && header.index <= expected.index => None,
            Ok(_) => Some(FrameFault::OutOfPlace),
            Err(FrameFault::UnknownKind(kind)) => return Err(ScanError::Newer(kind)),
            Err(fault) => Some(fault),
        };
        let behind = search(window, salt, scanned.end, expected.index)?;
        let was_durable = behind.durable_below > expected.index;
        if !was_durable && fault != Some(FrameFault::OutOfPlace) {
            scanned.leftovers = behind.leftovers;
            return Ok(scanned);
        }
        let next = behind.next_entry;
        scanned.gaps.push(Gap {
            position: scanned.end,
            first_index: expected.index,
            last_index: next.and_then(|(_, header)| header.index.prev()),
            reason: fault.unwrap_or(FrameFault::OutOfPlace).reason(),
        });
        let Some((at, header)) = next else { return Ok(scanned) };
        expected = Expected { index: header.index, term: header.term, base_offset: header.base_offset };
        scanned.end = at;
    }
}

/// The frame at a position, header and body checked.
pub(crate) fn read_frame(
    window: &mut Window<'_>,
    salt: Salt,
    position: u64,
) -> io::Result<Result<(FrameHeader, Bytes), FrameFault>> {
    let header = match read_header(window, salt, position)? {
        Ok(header) => header,
        Err(fault) => return Ok(Err(fault)),
    };
    let frame_len = header.frame_len() as usize;
    let Some(frame) = window.get(position, frame_len)? else { return Ok(Err(FrameFault::CutShort)) };
    let body = frame.slice(FRAME_HEADER_BYTES..FRAME_HEADER_BYTES + header.body_len as usize);
    let padded = frame[FRAME_HEADER_BYTES + body.len()..].iter().all(|byte| *byte == 0);
    if padded && header.matches(&body, salt) {
        Ok(Ok((header, body)))
    } else {
        Ok(Err(FrameFault::BodyChecksum))
    }
}

/// The header of the frame at a position; its body may be anything.
pub(crate) fn read_header(
    window: &mut Window<'_>,
    salt: Salt,
    position: u64,
) -> io::Result<Result<FrameHeader, FrameFault>> {
    let Some(bytes) = window.get(position, FRAME_HEADER_BYTES)? else { return Ok(Err(FrameFault::CutShort)) };
    Ok(FrameHeader::decode(as_header(&bytes), salt))
}

/// The next sound header at or behind a position.
pub(crate) fn find_header(
    window: &mut Window<'_>,
    salt: Salt,
    mut position: u64,
) -> Result<Option<(u64, FrameHeader)>, ScanError> {
    while window.get(position, FRAME_HEADER_BYTES)?.is_some() {
        let piece = window.rest(position)?;
        let last = piece.len() - FRAME_HEADER_BYTES;
        for at in (0..=last).step_by(FRAME_ALIGN as usize) {
            if piece[at..at + 4] != FRAME_MAGIC.to_le_bytes() {
                continue;
            }
            match FrameHeader::decode(as_header(&piece[at..at + FRAME_HEADER_BYTES]), salt) {
                Ok(header) => return Ok(Some((position + at as u64, header))),
                Err(FrameFault::UnknownKind(kind)) => return Err(ScanError::Newer(kind)),
                Err(_) => {}
            }
        }
        position += (last as u64 / FRAME_ALIGN + 1) * FRAME_ALIGN;
    }
    Ok(None)
}

/// What lies behind a place where the next frame is not.
struct Behind {
    /// The greatest index below which any frame says that all was durable.
    durable_below: Index,
    /// The first whole entry that is further on.
    next_entry: Option<(u64, FrameHeader)>,
    /// There are sound headers strictly behind the place.
    leftovers: bool,
}

fn search(window: &mut Window<'_>, salt: Salt, position: u64, missing: Index) -> Result<Behind, ScanError> {
    let mut behind = Behind { durable_below: Index::new(0), next_entry: None, leftovers: false };
    let mut from = position;
    while let Some((at, header)) = find_header(window, salt, from)? {
        behind.durable_below = behind.durable_below.max(header.durable_below);
        behind.leftovers |= at > position;
        let entry = matches!(header.kind, FrameKind::Entry(_) | FrameKind::Votes) && header.index > missing;
        if entry && behind.next_entry.is_none() && read_frame(window, salt, at)?.is_ok() {
            behind.next_entry = Some((at, header));
        }
        from = at + FRAME_ALIGN;
    }
    Ok(behind)
}

fn as_header(bytes: &[u8]) -> &[u8; FRAME_HEADER_BYTES] {
    bytes.try_into().expect("the slice was cut to a header's length")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::EntryKind;
    use crate::frame::{frame_len, padding};
    use std::io::IoSlice;
    use std::path::Path;
    use std::sync::Arc;
    use varve_env::disk::{Disk, DiskFile, FaultyDisk, OpenMode};
    use varve_record::Timestamp;

    const SALT: u64 = 77;

    /// Builds a file of frames; `durable_below` is what each says when it is written.
    struct Tape {
        bytes: Vec<u8>,
        starts: Vec<usize>,
    }

    impl Tape {
        fn new() -> Self {
            Self { bytes: Vec::new(), starts: Vec::new() }
        }

        fn push(&mut self, index: u64, durable_below: u64, kind: FrameKind) -> &mut Self {
            let body = vec![index as u8; if kind == FrameKind::Marker { 0 } else { 100 + index as usize }];
            let salt = Salt::new(SALT);
            let header = FrameHeader {
                kind,
                body_len: body.len() as u32,
                body_crc: salt.body_crc(&body),
                record_count: 0,
                term: Term::new(1),
                index: Index::new(index),
                append_time: Timestamp::new(0),
                base_offset: Offset::new(0),
                durable_below: Index::new(durable_below),
            };
            self.starts.push(self.bytes.len());
            self.bytes.extend_from_slice(&header.encode(salt));
            self.bytes.extend_from_slice(&body);
            self.bytes.extend_from_slice(padding(body.len()));
            self
        }

        fn entry(&mut self, index: u64, durable_below: u64) -> &mut Self {
            self.push(index, durable_below, FrameKind::Entry(EntryKind::Command))
        }

        fn scan(&self) -> (Vec<u64>, Scanned) {
            let disk = FaultyDisk::new(1);
            let file: Arc<dyn DiskFile> = disk.open(Path::new("f"), OpenMode::CreateNew).unwrap();
            file.write_all_at(&mut [IoSlice::new(&self.bytes)], 0).unwrap();
            let mut seen = Vec::new();
            let expected = Expected { index: Index::new(1), term: Term::new(1), base_offset: Offset::new(0) };
            let mut window = Window::new(&*file, self.bytes.len() as u64).with_read_ahead(128);
            let mut visit = |header: &FrameHeader, _: u64, _: &Bytes| seen.push(header.index.get());
            let scanned = scan(&mut window, Salt::new(SALT), 0, expected, &mut visit).unwrap();
            (seen, scanned)
        }
    }

    fn clean(end: usize) -> Scanned {
        Scanned { end: end as u64, gaps: Vec::new(), leftovers: false }
    }

    #[test]
    fn an_end_in_zeros_or_nothing_is_clean() {
        let mut tape = Tape::new();
        tape.entry(1, 1).entry(2, 1);
        let end = tape.bytes.len();
        assert_eq!(tape.scan(), (vec![1, 2], clean(end)));
        tape.bytes.extend_from_slice(&[0; 1000]);
        assert_eq!(tape.scan(), (vec![1, 2], clean(end)));
    }

    #[test]
    fn a_tail_cut_or_garbled_anywhere_is_torn_and_nothing_before_it_is_lost() {
        let mut tape = Tape::new();
        tape.entry(1, 1).entry(2, 1).entry(3, 1);
        for at in 0..tape.bytes.len() {
            let sound = tape.starts.iter().filter(|start| **start + 164 < at + 1).count().min(2);
            let whole: Vec<usize> = (1..=3)
                .scan(0, |end, n| {
                    *end += frame_len(100 + n) as usize;
                    Some(*end)
                })
                .collect();
            let kept = whole.iter().filter(|end| **end <= at).count();
            let cut = Tape { bytes: tape.bytes[..at].to_vec(), starts: Vec::new() };
            let (seen, scanned) = cut.scan();
            assert!(sound <= kept + 1);
            assert_eq!((seen.len(), scanned.gaps.len()), (kept, 0), "cut at {at}");
            let mut garbled = Tape { bytes: tape.bytes.clone(), starts: Vec::new() };
            garbled.bytes[at] ^= 0x40;
            let (seen, scanned) = garbled.scan();
            assert_eq!((seen.len(), scanned.gaps.len()), (kept, 0), "garbled at {at}");
            assert_eq!(scanned.leftovers, kept < 2, "garbled at {at}");
        }
    }

    #[test]
    fn a_bad_frame_that_was_durable_is_damage_and_the_rest_is_read() {
        for (behind, last_index) in [(4, 2), (3, 2)] {
            let mut tape = Tape::new();
            tape.entry(1, 1).entry(2, 1).entry(3, behind).entry(4, behind);
            let second = tape.starts[1];
            let end = tape.bytes.len() as u64;
            tape.bytes[second + 80] ^= 1;
            let (seen, scanned) = tape.scan();
            assert_eq!(seen, [1, 3, 4]);
            assert_eq!(scanned.end, end);
            assert_eq!(scanned.gaps.len(), 1);
            let gap = scanned.gaps[0];
            assert_eq!((gap.position, gap.first_index.get()), (second as u64, 2));
            assert_eq!(gap.last_index, Some(Index::new(last_index)));
        }
    }

    #[test]
    fn a_marker_ends_the_log_and_vouches_for_what_is_before_it() {
        let mut tape = Tape::new();
        tape.entry(1, 1).entry(2, 1);
        let end = tape.bytes.len();
        tape.push(3, 3, FrameKind::Marker);
        assert_eq!(tape.scan(), (vec![1, 2], clean(end)));
        // A flipped bit in the last entry is no torn tail then.
        tape.bytes[end - 20] ^= 1;
        let (seen, scanned) = tape.scan();
        assert_eq!((seen, scanned.gaps.len()), (vec![1], 1));
        assert_eq!(scanned.gaps[0].last_index, None);
    }

    #[test]
    fn entries_left_behind_a_marker_keep_the_file_from_being_used() {
        let mut tape = Tape::new();
        tape.entry(1, 1).push(2, 2, FrameKind::Marker);
        tape.entry(3, 2);
        let (seen, scanned) = tape.scan();
        assert_eq!((seen, scanned.leftovers, scanned.gaps.len()), (vec![1], true, 0));
    }

    #[test]
    fn a_sound_frame_out_of_place_is_damage() {
        let mut tape = Tape::new();
        tape.entry(1, 1).entry(3, 1);
        let (_, scanned) = tape.scan();
        assert_eq!(scanned.gaps.len(), 1);
    }

    #[test]
    fn an_unknown_kind_is_not_taken_for_the_end() {
        let mut tape = Tape::new();
        tape.entry(1, 1);
        let salt = Salt::new(SALT);
        let mut header = FrameHeader::decode(as_header(&tape.bytes[..64]), salt).unwrap().encode(salt);
        header[16] = 99;
        let crc = crc32c::crc32c_append(crc32c::crc32c(&SALT.to_le_bytes()), &header[8..]);
        header[4..8].copy_from_slice(&crc.to_le_bytes());
        tape.bytes.extend_from_slice(&header);
        let disk = FaultyDisk::new(1);
        let file = disk.open(Path::new("f"), OpenMode::CreateNew).unwrap();
        file.write_all_at(&mut [IoSlice::new(&tape.bytes)], 0).unwrap();
        let expected = Expected { index: Index::new(1), term: Term::new(1), base_offset: Offset::new(0) };
        let mut window = Window::new(&*file, tape.bytes.len() as u64);
        let result = scan(&mut window, salt, 0, expected, &mut |_, _, _| {});
        assert!(matches!(result, Err(ScanError::Newer(99))));
    }
}
