//! One pass over the frames of one segment.

use crate::ReadError;
use crate::frame::{FRAME_ALIGN, FRAME_HEADER_BYTES, FrameHeader, FrameKind, Salt};
use crate::scan::{ScanError, find_header, read_frame, read_header};
use crate::segment::Slot;
use crate::segment_header::SegmentHeader;
use crate::sparse_index::{INDEX_INTERVAL_BYTES, IndexPoint, SparseIndex};
use crate::window::Window;
use crate::{Damage, FileError};
use bytes::Bytes;
use std::io;
use varve_env::disk::DiskFile;
use varve_record::{Index, Offset, Timestamp};

/// The most bytes read at once, however much is asked for.
const READ_BYTES_MAX: usize = 32 * 1024 * 1024;
/// What a read looks for first.
#[derive(Clone, Copy, Debug)]
pub(super) enum Want {
    Index(Index),
    Offset(Offset),
    Time(Timestamp),
}

impl Want {
    /// Whether the frame lies wholly before what is wanted.
    fn is_behind(self, frame: &FrameHeader) -> bool {
        match self {
            Self::Index(index) => frame.index < index,
            Self::Offset(offset) => frame.next_offset() <= offset,
            Self::Time(time) => frame.append_time < time,
        }
    }

    /// Whether what is wanted may lie before this frame, so that a flaw before it matters.
    fn may_precede(self, frame: &FrameHeader) -> bool {
        match self {
            Self::Index(index) => index < frame.index,
            Self::Offset(offset) => offset < frame.base_offset,
            Self::Time(_) => true,
        }
    }

    /// The point of an index to begin at.
    pub(super) fn point(self, index: &SparseIndex) -> Option<IndexPoint> {
        match self {
            Self::Index(wanted) => index.before_index(wanted),
            Self::Offset(wanted) => index.before_offset(wanted),
            Self::Time(wanted) => index.before_time(wanted),
        }
    }
}

/// Where a read ends.
#[derive(Clone, Copy, Debug)]
pub(super) struct Until {
    pub(super) index: Index,
    pub(super) offset: Offset,
    pub(super) max_bytes: usize,
    /// The first frame is taken however large it is.
    pub(super) at_least_one: bool,
}

/// What one segment gave.
pub(super) enum Piece {
    /// The segment is read to its end, or what is wanted lies further on.
    Exhausted,
    /// All that was asked for is there.
    Done,
    /// The segment was deleted meanwhile.
    Dropped,
}

/// Reads a segment's frames from a point of its index on.
pub(super) struct SegmentReader<'a> {
    slot: &'a Slot,
    salt: Salt,
    window: Window<'a>,
    position: u64,
    next_index: Index,
    want: Want,
    until: Until,
    /// What was asked for, as far as it was read: kept where an error follows.
    frames: &'a mut Vec<(FrameHeader, Bytes)>,
    taken_bytes: usize,
}

impl<'a> SegmentReader<'a> {
    pub(super) fn new(
        slot: &'a Slot,
        header: &SegmentHeader,
        file: &'a dyn DiskFile,
        point: Option<IndexPoint>,
        want: Want,
        until: Until,
        frames: &'a mut Vec<(FrameHeader, Bytes)>,
    ) -> Self {
        // One read brings in what is asked for, from the point before it on.
        let ahead = until.max_bytes.min(READ_BYTES_MAX) + INDEX_INTERVAL_BYTES as usize + FRAME_HEADER_BYTES;
        let head = (header.first_position, header.first_index);
        let (position, next_index) = point.map_or(head, |point| (point.position, point.index));
        Self {
            slot,
            salt: Salt::new(header.incarnation),
            window: Window::new(file, slot.end).with_read_ahead(ahead),
            position,
            next_index,
            want,
            until,
            frames,
            taken_bytes: 0,
        }
    }

    /// Takes the frames that are wanted and accepted.
    pub(super) fn run(mut self, accept: &dyn Fn(&FrameHeader) -> bool) -> Result<Piece, ReadError> {
        let end_index = self.until.index.min(self.slot.next_index);
        while self.next_index < end_index {
            let Some(frame) = self.next_frame()? else { continue };
            if frame.base_offset >= self.until.offset {
                return Ok(Piece::Done);
            }
            if !self.want.is_behind(&frame) && accept(&frame) && self.take(&frame)? {
                return Ok(Piece::Done);
            }
            self.position += frame.frame_len();
            self.next_index = frame.index.next();
        }
        Ok(Piece::Exhausted)
    }

    /// The next frame's header; `None` where a flaw was passed that is none of the reader's business.
    fn next_frame(&mut self) -> Result<Option<FrameHeader>, ReadError> {
        let found = read_header(&mut self.window, self.salt, self.position).map_err(|e| self.failed(e))?;
        let reason = match found {
            Ok(frame) if frame.index == self.next_index => return Ok(Some(frame)),
            Ok(_) => "a frame is not the one that belongs here",
            Err(fault) => fault.reason(),
        };
        let behind = self.behind_flaw().map_err(|e| self.failed(e))?;
        match behind {
            // What is wanted lies behind the flaw.
            Some((at, frame)) if self.frames.is_empty() && !self.want.may_precede(&frame) => {
                (self.position, self.next_index) = (at, frame.index);
                Ok(None)
            }
            behind => {
                let mut damage = self.slot.damage(self.position, self.next_index, reason);
                damage.last_index = behind.and_then(|(_, frame)| frame.index.prev()).or(damage.last_index);
                Err(ReadError::Damaged(damage))
            }
        }
    }

    /// Takes a frame, its body checked; true where that is enough.
    fn take(&mut self, frame: &FrameHeader) -> Result<bool, ReadError> {
        let body_bytes = frame.body_len as usize;
        let free = self.frames.is_empty() && self.until.at_least_one;
        if !free && self.taken_bytes + body_bytes > self.until.max_bytes {
            return Ok(true);
        }
        let read = read_frame(&mut self.window, self.salt, self.position).map_err(|e| self.failed(e))?;
        match read {
            Ok((frame, body)) => self.frames.push((frame, body)),
            Err(fault) => {
                let damage = self.slot.damage(self.position, frame.index, fault.reason());
                return Err(ReadError::Damaged(Damage { last_index: Some(frame.index), ..damage }));
            }
        }
        self.taken_bytes += body_bytes;
        Ok(self.taken_bytes >= self.until.max_bytes)
    }

    /// The next sound entry behind a flaw.
    fn behind_flaw(&mut self) -> io::Result<Option<(u64, FrameHeader)>> {
        let mut from = self.position + FRAME_ALIGN;
        loop {
            match find_header(&mut self.window, self.salt, from) {
                Ok(Some((at, frame)))
                    if frame.index > self.next_index && matches!(frame.kind, FrameKind::Entry(_)) =>
                {
                    return Ok(Some((at, frame)));
                }
                Ok(Some((at, _))) => from = at + FRAME_ALIGN,
                Ok(None) | Err(ScanError::Newer(_)) => return Ok(None),
                Err(ScanError::Io(e)) => return Err(e),
            }
        }
    }

    fn failed(&self, error: io::Error) -> ReadError {
        ReadError::Io(FileError::new("read", &self.slot.segment.path, error))
    }
}
