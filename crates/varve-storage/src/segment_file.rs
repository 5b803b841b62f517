//! How a segment's file is made, deleted, and found again.

use crate::atomic_file::{AtomicKind, create_over, read_atomic, sync_parent, temporary_path, write_atomic};
use crate::checkpoint;
use crate::frame::{FRAME_ALIGN, FrameHeader, FrameKind, Salt, frame_len, padding};
use crate::scan::{ScanError, find_header, read_frame, read_header};
use crate::segment::{Segment, Slot};
use crate::segment_header::{SEGMENT_HEADER_BYTES, SegmentHeader};
use crate::shared::Shared;
use crate::sparse_index::{IndexPoint, SparseIndex};
use crate::window::Window;
use crate::{EndState, FileError, LogId};
use bytes::{Buf, BufMut, Bytes};
use std::io::{self, IoSlice};
use std::path::Path;
use std::sync::Arc;
use varve_env::disk::{DiskFile, OpenMode};
use varve_record::Index;

/// A pooled file may be so many times as long as the segment it is taken for.
const POOLED_LENGTHS_MAX: u64 = 2;

/// Where a segment's first entry begins whose checkpoint holds `state`.
pub(crate) fn first_position(state: &EndState) -> u64 {
    SEGMENT_HEADER_BYTES as u64 + frame_len(checkpoint::encoded_len(state))
}

/// Makes a segment's file, durably, with the state before its first entry. It gets its name when all is synced: half of one
/// never passes for a segment. Gives the file and its length.
pub(crate) fn create_segment(
    shared: &Shared,
    path: &Path,
    header: &SegmentHeader,
    state: &EndState,
    segment_bytes: u64,
) -> Result<(Arc<dyn DiskFile>, u64), FileError> {
    let temporary = temporary_path(path);
    let failed = |action, error| FileError::new(action, &temporary, error);
    let pooled = shared.pool.take(&temporary, segment_bytes.saturating_mul(POOLED_LENGTHS_MAX));
    let file = match pooled {
        Some(_) => shared.disk.open(&temporary, OpenMode::Write),
        None => create_over(&*shared.disk, &temporary),
    };
    let file = file.map_err(|e| failed("create", e))?;
    let head = encode_head(header, state);
    file.write_all_at(&mut [IoSlice::new(&head)], 0).map_err(|e| failed("write", e))?;
    file.sync_data().map_err(|e| failed("sync", e))?;
    shared.disk.rename(&temporary, path).map_err(|e| failed("rename into place", e))?;
    sync_parent(&*shared.disk, path)?;
    Ok((file, pooled.unwrap_or(0).max(head.len() as u64)))
}

/// The header block and the checkpoint's frame.
fn encode_head(header: &SegmentHeader, state: &EndState) -> Vec<u8> {
    let mut body = Vec::new();
    checkpoint::encode(state, &mut body);
    let salt = Salt::new(header.incarnation);
    let last = state.last.unwrap_or_default();
    let frame = FrameHeader {
        kind: FrameKind::Checkpoint,
        body_len: u32::try_from(body.len()).expect("a table of producers is bounded far below 4 GiB"),
        body_crc: salt.body_crc(&body),
        record_count: 0,
        term: last.term,
        index: header.first_index,
        append_time: state.last_append_time,
        base_offset: state.next_offset,
        durable_below: header.first_index,
    };
    let mut head = Vec::with_capacity(SEGMENT_HEADER_BYTES + body.len() + 128);
    head.extend_from_slice(&header.encode());
    head.extend_from_slice(&frame.encode(salt));
    head.extend_from_slice(&body);
    head.extend_from_slice(padding(body.len()));
    head
}

/// The state before a segment's first entry; the reason where it cannot be read.
pub(crate) fn read_checkpoint(
    file: &dyn DiskFile,
    header: &SegmentHeader,
) -> io::Result<Result<EndState, &'static str>> {
    let salt = Salt::new(header.incarnation);
    let mut window = Window::new(file, header.first_position).with_read_ahead(0);
    let (frame, body) = match read_frame(&mut window, salt, SEGMENT_HEADER_BYTES as u64)? {
        Ok(frame) => frame,
        Err(fault) => return Ok(Err(fault.reason())),
    };
    if frame.kind != FrameKind::Checkpoint || frame.index != header.first_index {
        return Ok(Err("the segment's checkpoint is missing"));
    }
    Ok(checkpoint::decode(body).ok_or("the segment's checkpoint is malformed"))
}

/// An open file of a segment, for reading.
pub(crate) fn open_for_reading(shared: &Shared, segment: &Segment) -> Result<Arc<dyn DiskFile>, FileError> {
    if let Some(file) = shared.files.get(segment.key()) {
        return Ok(file);
    }
    let file = shared.disk.open(&segment.path, OpenMode::Read);
    let file = file.map_err(|e| FileError::new("open", &segment.path, e))?;
    shared.files.insert(segment.key(), Arc::clone(&file));
    Ok(file)
}

/// Deletes a segment, durably: its index, then its file, which goes to the pool unless someone still reads it. May be tried
/// again where it fails.
pub(crate) fn delete_segment(shared: &Shared, segment: &mut Arc<Segment>) -> Result<(), FileError> {
    segment.mark_dropped();
    shared.indexes.remove(segment.key());
    let file = shared.files.remove(segment.key());
    let index_path = segment.index_path();
    match shared.disk.remove_file(&index_path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => {
            return Err(FileError::new("remove", &index_path, e));
        }
        _ => {}
    }
    let path = segment.path.clone();
    let failed = |e| FileError::new("remove", &path, e);
    let unread = Arc::get_mut(segment).is_some() && file.as_ref().is_none_or(|f| Arc::strong_count(f) == 1);
    let opened = match file {
        Some(file) => Ok(file),
        None => shared.disk.open(&path, OpenMode::Read),
    };
    let file = match opened {
        Ok(file) => file,
        // An earlier try got so far.
        Err(e) if e.kind() == io::ErrorKind::NotFound => return sync_parent(&*shared.disk, &path),
        Err(e) => return Err(failed(e)),
    };
    if !unread {
        shared.disk.remove_file(&path).map_err(failed)?;
        return sync_parent(&*shared.disk, &path);
    }
    let len_bytes = file.len_bytes().map_err(failed)?;
    drop(file);
    shared.pool.put(&path, len_bytes, !shared.is_low_on_space()).map_err(failed)
}

/// Writes the sparse index of a segment that is written to no more.
pub(crate) fn write_index(shared: &Shared, segment: &Segment, index: &SparseIndex) -> Result<(), FileError> {
    let Ok(header) = &segment.header else { return Ok(()) };
    let mut content = Vec::new();
    content.put_u64_le(header.incarnation);
    index.encode(&mut content);
    write_atomic(&*shared.disk, &segment.index_path(), AtomicKind::Index, &content)
}

/// The sparse index of a segment that is written to no more: from memory, from its file, or made anew. Gives also whether it
/// was made anew without a fault and should be written.
pub(crate) fn load_index(shared: &Shared, slot: &Slot) -> Result<(Arc<SparseIndex>, bool), FileError> {
    let segment = &*slot.segment;
    if let Some(index) = slot.index.clone().or_else(|| shared.indexes.get(segment.key())) {
        return Ok((index, false));
    }
    let Ok(header) = &segment.header else { return Ok((Arc::default(), false)) };
    let (index, fresh) = match read_index(shared, segment, header, slot.end) {
        Some(index) => (index, false),
        None => rebuild_index(shared, slot, header)?,
    };
    let index = Arc::new(index);
    shared.indexes.insert(segment.key(), Arc::clone(&index));
    Ok((index, fresh))
}

fn read_index(shared: &Shared, segment: &Segment, header: &SegmentHeader, end: u64) -> Option<SparseIndex> {
    // Whatever is wrong with the file, the index is made anew from the segment.
    let mut content = read_atomic(&*shared.disk, &segment.index_path(), AtomicKind::Index).ok()??;
    if content.try_get_u64_le().ok()? != header.incarnation {
        return None;
    }
    let mut index = SparseIndex::decode(&mut content)?;
    let sound = content.is_empty()
        && index
            .points()
            .first()
            .is_some_and(|p| p.index == header.first_index && p.position == header.first_position);
    index.cut(end);
    sound.then_some(index)
}

fn rebuild_index(
    shared: &Shared,
    slot: &Slot,
    header: &SegmentHeader,
) -> Result<(SparseIndex, bool), FileError> {
    let segment = &*slot.segment;
    let failed = |e| FileError::new("read", &segment.path, e);
    let file = open_for_reading(shared, segment)?;
    let salt = Salt::new(header.incarnation);
    let mut window = Window::new(&*file, slot.end);
    let (mut index, mut sound) = (SparseIndex::default(), true);
    let (mut position, mut time_before) = (header.first_position, header.last_append_time);
    let mut next_index = header.first_index;
    while next_index < slot.next_index && position < slot.end {
        let frame = match read_header(&mut window, salt, position).map_err(failed)? {
            Ok(frame) if frame.index >= next_index => frame,
            _ => {
                sound = false;
                match find_header(&mut window, salt, position + FRAME_ALIGN) {
                    Ok(Some((at, _))) => position = at,
                    Ok(None) | Err(ScanError::Newer(_)) => break,
                    Err(ScanError::Io(e)) => return Err(failed(e)),
                }
                continue;
            }
        };
        index.note(IndexPoint { index: frame.index, base_offset: frame.base_offset, time_before, position });
        time_before = time_before.max(frame.append_time);
        next_index = frame.index.next();
        position += frame.frame_len();
    }
    Ok((index, sound))
}

/// The checkpoint of a clean stop: the state at a segment's end, so that a start need not read the segment.
pub(crate) struct Tail {
    pub(crate) sequence: u64,
    pub(crate) incarnation: u64,
    pub(crate) position: u64,
    pub(crate) index: SparseIndex,
    pub(crate) state: EndState,
}

impl Tail {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut content = Vec::new();
        content.put_u64_le(self.sequence);
        content.put_u64_le(self.incarnation);
        content.put_u64_le(self.position);
        self.index.encode(&mut content);
        checkpoint::encode(&self.state, &mut content);
        content
    }

    pub(crate) fn decode(mut content: Bytes) -> Option<Self> {
        Some(Self {
            sequence: content.try_get_u64_le().ok()?,
            incarnation: content.try_get_u64_le().ok()?,
            position: content.try_get_u64_le().ok()?,
            index: SparseIndex::decode(&mut content)?,
            state: checkpoint::decode(content)?,
        })
    }

    /// Whether it speaks of this segment.
    pub(crate) fn speaks_of(&self, header: &SegmentHeader) -> bool {
        self.sequence == header.sequence && self.incarnation == header.incarnation
    }

    /// Whether a segment that it speaks of, whose file has this length, can be read on from there.
    pub(crate) fn fits(&self, header: &SegmentHeader, len_bytes: u64) -> bool {
        (header.first_position..=len_bytes).contains(&self.position)
            && self.state.last.map_or(Index::new(0), |last: LogId| last.index.next()) >= header.first_index
    }
}
