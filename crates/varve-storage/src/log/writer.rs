//! The writing side of one log: the only code that changes its files.

use super::LogInner;
use super::state::Op;
use crate::atomic_file::{AtomicKind, write_atomic};
use crate::chain::TAIL_FILE;
use crate::completion::{Completion, refuse};
use crate::frame::{FRAME_HEADER_BYTES, FrameHeader, FrameKind, Salt, frame_len};
use crate::segment::Segment;
use crate::segment_file::{Tail, create_segment, delete_segment, write_index};
use crate::shared::is_no_space;
use crate::sparse_index::SparseIndex;
use crate::tail_cache::cost;
use crate::write_buffer::WriteBuffer;
use crate::{AppendDone, AppendError, EndState, Entry, FileError, LogDone, LogError, StopReason};
use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::sync::Arc;
use std::time::Instant;
use varve_env::disk::{DiskFile, OpenMode};
use varve_record::Index;

/// Groups below this write zeros ahead where they pass the written blocks: a later sync of a small append then finds blocks
/// that exist and commits no metadata. Larger groups gain nothing from it.
const SMALL_GROUP_BYTES: u64 = 64 * 1024;
/// Zeros written ahead at first, and at most; doubled each time.
const GROW_BYTES_MIN: u64 = 16 * 1024;
const GROW_BYTES_MAX: u64 = 1024 * 1024;
/// Files end at multiples of this where zeros are written.
const BLOCK_BYTES: u64 = 4096;

/// Why a log does not go on.
pub(super) enum Halt {
    /// The disk is full; what was to be done is kept and tried again.
    Full,
    /// A write failed: nothing is known of the disk until the log is opened again.
    Failed(FileError),
}

impl Halt {
    pub(super) fn of(error: FileError) -> Self {
        if is_no_space(error.kind()) { Self::Full } else { Self::Failed(error) }
    }

    fn into_error(self, segment: &Segment) -> FileError {
        match self {
            Self::Failed(error) => error,
            Self::Full => FileError::new("write", &segment.path, io::ErrorKind::StorageFull.into()),
        }
    }
}

/// An append on its way to the disk.
struct Pending {
    arrival: u64,
    entries: usize,
    bytes: usize,
    done: Option<AppendDone>,
}

/// Work that no acknowledgement waits for.
enum Tidy {
    SaveIndex(Arc<Segment>, Arc<SparseIndex>),
    Delete(Vec<Arc<Segment>>),
}

/// What the writer knows of one log.
pub(crate) struct LogWriter {
    pub(super) segment: Arc<Segment>,
    /// Let go of while the log is idle.
    file: Option<Arc<dyn DiskFile>>,
    /// Where the next frame goes.
    pub(super) position: u64,
    /// Blocks up to here have been written, with frames, zeros, or what the file held in an earlier life.
    allocated: u64,
    grow_bytes: u64,
    waiting: VecDeque<(u64, Op)>,
    /// Entries for the next write.
    run: Vec<(Pending, Vec<Entry>)>,
    /// Written, not synced.
    unsynced: Vec<Pending>,
    unsynced_below: Index,
    stalled: bool,
    marked: bool,
    tidy: Vec<Tidy>,
    /// To be deleted, oldest first: those of which an earlier try failed before all others, so that no hole comes about.
    doomed: VecDeque<Arc<Segment>>,
    buffer: WriteBuffer,
    close_error: Option<FileError>,
}

impl LogWriter {
    pub(crate) fn new(
        segment: Arc<Segment>,
        file: Option<Arc<dyn DiskFile>>,
        position: u64,
        allocated: u64,
    ) -> Self {
        Self {
            segment,
            file,
            position,
            allocated,
            grow_bytes: GROW_BYTES_MIN,
            waiting: VecDeque::new(),
            run: Vec::new(),
            unsynced: Vec::new(),
            unsynced_below: Index::new(0),
            stalled: false,
            marked: false,
            tidy: Vec::new(),
            doomed: VecDeque::new(),
            buffer: WriteBuffer::default(),
            close_error: None,
        }
    }

    pub(crate) fn take_close_error(&mut self) -> Option<FileError> {
        self.close_error.take()
    }

    /// Takes on work and does what can be done without a sync.
    pub(crate) fn write(&mut self, log: &LogInner, ops: Vec<(u64, Op)>, completed: &mut Vec<Completion>) {
        let mut retry = !self.stalled;
        for (arrival, op) in ops {
            match op {
                Op::Retry => retry = true,
                Op::Idle if self.stalled => {}
                Op::Close | Op::Abandon if self.stalled => {
                    // What waits for room will not be written: its owner was told nothing yet.
                    self.refuse_all(log, &StopReason::Closed, completed);
                }
                op => self.waiting.push_back((arrival, op)),
            }
        }
        if retry {
            self.advance(log, completed);
        }
        if self.stalled {
            self.drop_while_stalled();
        }
    }

    /// Makes durable what was written.
    pub(crate) fn sync(&mut self, log: &LogInner, completed: &mut Vec<Completion>) {
        if let Err(halt) = self.sync_now(log, completed) {
            self.halt(log, halt, completed);
        }
    }

    /// Does what no acknowledgement waits for.
    pub(crate) fn tidy(&mut self, log: &LogInner) {
        for tidy in std::mem::take(&mut self.tidy) {
            let result = match tidy {
                Tidy::SaveIndex(segment, index) => save_index(log, &segment, &index),
                Tidy::Delete(segments) => {
                    self.doomed.extend(segments);
                    self.delete_doomed(log)
                }
            };
            if let Err(error) = result {
                tracing::warn!(%error, "cannot tidy up; it is tried again later");
            }
        }
    }

    /// Deletes one after another, so that neither a crash nor a failure leaves a hole.
    fn delete_doomed(&mut self, log: &LogInner) -> Result<(), FileError> {
        while let Some(segment) = self.doomed.front_mut() {
            delete_segment(&log.shared, segment)?;
            self.doomed.pop_front();
        }
        Ok(())
    }

    /// A trim must not wait for the room that it makes: deletes what lies before the segment that is written to. That one, and
    /// what is planned behind it, waits until its successor is made: without either the log's end would be gone.
    fn drop_while_stalled(&mut self) {
        let sequence = self.segment.sequence;
        let mut gone = Vec::new();
        for (_, op) in &mut self.waiting {
            if let Op::Drop { segments } = op {
                let before = segments.iter().take_while(|segment| segment.sequence < sequence).count();
                gone.extend(segments.drain(..before));
            }
        }
        self.tidy_delete(gone);
    }

    /// Works off what waits, until nothing does or the disk stops it.
    fn advance(&mut self, log: &LogInner, completed: &mut Vec<Completion>) {
        while let Some((arrival, op)) = self.waiting.pop_front() {
            if let Some(reason) = self.refuses(log, &op) {
                refuse(arrival, op, &reason, completed);
                continue;
            }
            if let Err(halt) = self.step(log, arrival, op, completed) {
                return self.halt(log, halt, completed);
            }
        }
        if let Err(halt) = self.flush(log) {
            return self.halt(log, halt, completed);
        }
        if std::mem::take(&mut self.stalled) {
            tracing::info!(partition = %log.id, "the disk has room again: appends go on");
            log.lock().full = false;
        }
    }

    /// After a failure nothing is done any more; after a close only what closes.
    fn refuses(&self, log: &LogInner, op: &Op) -> Option<StopReason> {
        match log.lock().stopped.clone() {
            Some(reason @ StopReason::Failed(_)) => Some(reason),
            _ => None,
        }
        .filter(|_| !matches!(op, Op::Close | Op::Abandon))
    }

    /// Does one thing, or puts it back where it was and says why it cannot be done now.
    fn step(
        &mut self,
        log: &LogInner,
        arrival: u64,
        op: Op,
        completed: &mut Vec<Completion>,
    ) -> Result<(), Halt> {
        match op {
            Op::Append { entries, position, done } => {
                debug_assert_eq!(position, self.planned_position(), "entries go where they were planned");
                let bytes = entries.iter().map(cost).sum();
                self.run.push((Pending { arrival, entries: entries.len(), bytes, done }, entries));
            }
            Op::Roll { segment, state, done } => match self.roll(log, &segment, &state, completed) {
                Ok(()) => completed.extend(done.map(|done| Completion::log(arrival, done, Ok(())))),
                Err(halt) => return self.put_back(arrival, Op::Roll { segment, state, done }, halt),
            },
            Op::Truncate { last_kept, done } => {
                let result = self.flush_and_sync(log, completed).and_then(|()| self.truncate(log, last_kept));
                match result {
                    Ok(result) => answer_change(log, arrival, done, result, completed),
                    Err(halt) => return self.put_back(arrival, Op::Truncate { last_kept, done }, halt),
                }
            }
            Op::Reset { state, done } => {
                let result = self.flush_and_sync(log, completed).and_then(|()| self.reset(log, &state));
                match result {
                    Ok(()) => answer_change(log, arrival, done, Ok(()), completed),
                    Err(halt) => return self.put_back(arrival, Op::Reset { state, done }, halt),
                }
            }
            Op::Drop { segments } => self.tidy.push(Tidy::Delete(segments)),
            Op::SaveIndex { segment, index } => self.tidy.push(Tidy::SaveIndex(segment, index)),
            Op::Idle => self.go_idle(log, completed)?,
            Op::Retry => {}
            Op::Close => self.close_error = self.close(log, completed).err(),
            Op::Abandon => self.file = None,
        }
        Ok(())
    }

    fn put_back(&mut self, arrival: u64, op: Op, halt: Halt) -> Result<(), Halt> {
        self.waiting.push_front((arrival, op));
        Err(halt)
    }

    /// Where the next append was planned to go.
    fn planned_position(&self) -> u64 {
        let frames = self.run.iter().flat_map(|(_, entries)| entries);
        self.position + frames.map(|entry| frame_len(entry.body.len())).sum::<u64>()
    }

    pub(super) fn flush_and_sync(
        &mut self,
        log: &LogInner,
        completed: &mut Vec<Completion>,
    ) -> Result<(), Halt> {
        self.flush(log)?;
        self.sync_now(log, completed)
    }

    /// Writes the run with one call.
    fn flush(&mut self, log: &LogInner) -> Result<(), Halt> {
        let Some(last) = self.run.iter().rev().find_map(|(_, entries)| entries.last()) else {
            self.unsynced.extend(self.run.drain(..).map(|(pending, _)| pending));
            return Ok(());
        };
        let unsynced_below = last.log_id.index.next();
        let file = self.file(log)?;
        let salt = self.segment.salt().expect("a damaged segment is not written to");
        let durable_below = log.lock().durable_below;
        self.buffer.clear();
        for entry in self.run.iter().flat_map(|(_, entries)| entries) {
            self.buffer.push(entry, durable_below, salt);
        }
        let len_bytes = self.buffer.len_bytes();
        // The last room is not for zeros.
        let zeros = self.zeros_ahead(len_bytes, log.segment_bytes());
        let zeros = if log.shared.has_room(zeros as u64) { zeros } else { 0 };
        let written = file.write_all_at(&mut self.buffer.slices(zeros), self.position);
        self.buffer.clear();
        written.map_err(|e| Halt::of(FileError::new("write", &self.segment.path, e)))?;
        if zeros > 0 {
            log.shared.use_room(zeros as u64);
            self.grow_bytes = (self.grow_bytes * 2).min(GROW_BYTES_MAX);
        }
        self.position += len_bytes;
        self.allocated = self.allocated.max(self.position + zeros as u64);
        self.unsynced_below = unsynced_below;
        self.marked = false;
        self.unsynced.extend(self.run.drain(..).map(|(pending, _)| pending));
        Ok(())
    }

    /// How many zeros to write behind a group.
    fn zeros_ahead(&self, len_bytes: u64, segment_bytes: u64) -> usize {
        let end = self.position + len_bytes;
        if len_bytes >= SMALL_GROUP_BYTES || end <= self.allocated {
            return 0;
        }
        let until = (end + self.grow_bytes).next_multiple_of(BLOCK_BYTES).min(segment_bytes.max(end));
        usize::try_from(until - end).expect("growth is bounded")
    }

    /// One sync; then what it made durable is answered.
    fn sync_now(&mut self, log: &LogInner, completed: &mut Vec<Completion>) -> Result<(), Halt> {
        if self.unsynced.is_empty() {
            return Ok(());
        }
        let entries: usize = self.unsynced.iter().map(|pending| pending.entries).sum();
        if entries > 0 {
            let file = self.file(log)?;
            let since = Instant::now();
            // A sync is never tried again, whatever it says: a full disk here is a failure too.
            let synced = file.sync_data();
            synced.map_err(|e| Halt::Failed(FileError::new("sync", &self.segment.path, e)))?;
            log.shared.sync_duration.record(since.elapsed().as_secs_f64(), &[]);
            log.shared.sync_entries.record(entries as f64, &[]);
        }
        let mut state = log.lock();
        state.durable_below = state.durable_below.max(self.unsynced_below);
        for pending in &self.unsynced {
            state.queued_entries -= pending.entries;
            state.queued_bytes -= pending.bytes;
        }
        let durable_below = state.durable_below;
        state.cache.evict(durable_below);
        drop(state);
        let answers =
            self.unsynced.drain(..).filter_map(|p| Some(Completion::append(p.arrival, p.done?, Ok(()))));
        completed.extend(answers);
        Ok(())
    }

    fn roll(
        &mut self,
        log: &LogInner,
        segment: &Arc<Segment>,
        state: &EndState,
        completed: &mut Vec<Completion>,
    ) -> Result<(), Halt> {
        // A segment that is not the last is durable as a whole: recovery counts on it.
        self.flush_and_sync(log, completed)?;
        let sealed = Arc::clone(&self.segment);
        self.go_on_in(log, segment, state)?;
        let index = log.lock().slots.find_mut(sealed.sequence).and_then(|slot| slot.index.clone());
        self.tidy.extend(index.map(|index| Tidy::SaveIndex(sealed, index)));
        Ok(())
    }

    /// Makes a segment and writes to it from now on.
    pub(super) fn go_on_in(
        &mut self,
        log: &LogInner,
        segment: &Arc<Segment>,
        state: &EndState,
    ) -> Result<(), Halt> {
        let header = segment.header.as_ref().expect("a planned segment has a header");
        let created = create_segment(&log.shared, &segment.path, header, state, log.segment_bytes());
        let (file, allocated) = created.map_err(Halt::of)?;
        log.shared.files.insert(segment.key(), Arc::clone(&file));
        self.segment = Arc::clone(segment);
        self.file = Some(file);
        self.position = header.first_position;
        self.allocated = allocated;
        self.grow_bytes = GROW_BYTES_MIN;
        // What was written before may have been taken back.
        self.unsynced_below = Index::new(0);
        self.marked = false;
        Ok(())
    }

    pub(super) fn tidy_delete(&mut self, segments: Vec<Arc<Segment>>) {
        if !segments.is_empty() {
            self.tidy.push(Tidy::Delete(segments));
        }
    }

    pub(super) fn tidy_index(&mut self, segment: Arc<Segment>, index: Arc<SparseIndex>) {
        self.tidy.push(Tidy::SaveIndex(segment, index));
    }

    /// Notes that all is durable, so that a later flaw in the last frames is known for what it is, and lets go of the file.
    fn go_idle(&mut self, log: &LogInner, completed: &mut Vec<Completion>) -> Result<(), Halt> {
        self.flush_and_sync(log, completed)?;
        self.write_marker(log)?;
        self.file = None;
        self.retry_deletes();
        Ok(())
    }

    fn retry_deletes(&mut self) {
        if !self.doomed.is_empty() {
            self.tidy.push(Tidy::Delete(Vec::new()));
        }
    }

    /// Writes a marker at the tail, unsynced; the next entry overwrites it.
    fn write_marker(&mut self, log: &LogInner) -> Result<(), Halt> {
        let Ok(header) = &self.segment.header else { return Ok(()) };
        if self.marked || self.position == header.first_position {
            return Ok(());
        }
        let (next_index, last) = {
            let state = log.lock();
            (state.durable_below, state.end.clone())
        };
        let salt = Salt::new(header.incarnation);
        let frame = FrameHeader {
            kind: FrameKind::Marker,
            body_len: 0,
            body_crc: salt.body_crc(&[]),
            record_count: 0,
            term: last.last.unwrap_or_default().term,
            index: next_index,
            append_time: last.last_append_time,
            base_offset: last.next_offset,
            durable_below: next_index,
        };
        let file = self.file(log)?;
        match file.write_all_at(&mut [IoSlice::new(&frame.encode(salt))], self.position) {
            Ok(()) => {
                self.marked = true;
                self.allocated = self.allocated.max(self.position + FRAME_HEADER_BYTES as u64);
                Ok(())
            }
            // The marker is a help, not a promise.
            Err(e) if is_no_space(e.kind()) => Ok(()),
            Err(e) => Err(Halt::Failed(FileError::new("write", &self.segment.path, e))),
        }
    }

    /// Leaves the log so that the next start reads nothing but its tail.
    fn close(&mut self, log: &LogInner, completed: &mut Vec<Completion>) -> Result<(), FileError> {
        if log.lock().end_in_doubt {
            // What is damaged stays as it is.
            return Ok(());
        }
        let result = self.flush_and_sync(log, completed).and_then(|()| self.write_marker(log));
        if let Err(halt) = result {
            let error = halt.into_error(&self.segment);
            let reason = log.shared.fail(&error);
            self.refuse_all(log, &reason, completed);
            return Err(error);
        }
        let (state, index, written) = {
            let log_state = log.lock();
            let last = &log_state.slots.last().segment;
            (log_state.end.clone(), log_state.index.clone(), last.sequence == self.segment.sequence)
        };
        let Ok(header) = self.segment.header else { return Ok(()) };
        if !written {
            return Ok(());
        }
        let segment = Arc::clone(&self.segment);
        let sync = |error| FileError::new("sync", &segment.path, error);
        let file = self.file(log).map_err(|halt| halt.into_error(&segment))?;
        let marker_bytes = if self.marked { FRAME_HEADER_BYTES as u64 } else { 0 };
        // What was written ahead goes: the next start has nothing to look through.
        // On a disk with no room left, those blocks are what the next start may still write to.
        if !log.shared.is_low_on_space() {
            file.set_len(self.position + marker_bytes).map_err(sync)?;
        }
        file.sync_data().map_err(sync)?;
        let tail = Tail {
            sequence: header.sequence,
            incarnation: header.incarnation,
            position: self.position,
            index,
            state,
        };
        write_atomic(&*log.shared.disk, &log.dir.join(TAIL_FILE), AtomicKind::Tail, &tail.encode())?;
        self.retry_deletes();
        self.tidy(log);
        Ok(())
    }

    fn file(&mut self, log: &LogInner) -> Result<Arc<dyn DiskFile>, Halt> {
        if let Some(file) = &self.file {
            return Ok(Arc::clone(file));
        }
        let file = log.shared.disk.open(&self.segment.path, OpenMode::Write);
        let file = file.map_err(|e| Halt::Failed(FileError::new("open", &self.segment.path, e)))?;
        self.file = Some(Arc::clone(&file));
        Ok(file)
    }

    fn halt(&mut self, log: &LogInner, halt: Halt, completed: &mut Vec<Completion>) {
        match halt {
            Halt::Full if log.shared.pool.shrink(0) => {
                // There was something to give up: that may be enough.
                self.advance(log, completed);
            }
            Halt::Full => {
                log.shared.note_full();
                if !self.stalled {
                    tracing::warn!(partition = %log.id, "the disk is full: appends wait for room");
                }
                self.stalled = true;
                log.lock().full = true;
            }
            Halt::Failed(error) => {
                let reason = log.shared.fail(&error);
                self.refuse_all(log, &reason, completed);
            }
        }
    }

    /// Answers all that is on its way with the reason why it will not be done.
    fn refuse_all(&mut self, log: &LogInner, reason: &StopReason, completed: &mut Vec<Completion>) {
        {
            let mut state = log.lock();
            state.stopped = Some(reason.clone());
            state.truncating = false;
            state.queued_bytes = 0;
            state.queued_entries = 0;
        }
        let unsynced = self.unsynced.drain(..).chain(self.run.drain(..).map(|(pending, _)| pending));
        for pending in unsynced {
            let error = AppendError::StorageStopped(reason.clone());
            completed.extend(pending.done.map(|done| Completion::append(pending.arrival, done, Err(error))));
        }
        for (arrival, op) in std::mem::take(&mut self.waiting) {
            refuse(arrival, op, reason, completed);
        }
        self.stalled = false;
        self.file = None;
    }
}

fn answer_change(
    log: &LogInner,
    arrival: u64,
    done: LogDone,
    result: Result<(), LogError>,
    completed: &mut Vec<Completion>,
) {
    log.lock().truncating = false;
    completed.push(Completion::log(arrival, done, result));
}

fn save_index(log: &LogInner, segment: &Segment, index: &Arc<SparseIndex>) -> Result<(), FileError> {
    if segment.is_dropped() {
        return Ok(());
    }
    write_index(&log.shared, segment, index)?;
    log.shared.indexes.insert(segment.key(), Arc::clone(index));
    let mut state = log.lock();
    let is_last = state.slots.last().segment.sequence == segment.sequence;
    if let Some(slot) = state.slots.find_mut(segment.sequence).filter(|_| !is_last) {
        slot.index = None;
    }
    Ok(())
}
