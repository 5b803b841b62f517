//! The durable vote of every group.
//!
//! The file is a log of its own: the header block of a segment, one frame with the votes of all groups, then a frame for each
//! group of votes saved at the same time. What was said of torn tails and damage holds here too. It is written anew when it
//! has grown, and at a start that finds votes in it of which nothing says that they are durable. Where the disk has no room
//! for that, the old file is made sound in its place, which needs none.

use crate::atomic_file::{create_over, sync_parent, temporary_path};
use crate::frame::{FrameHeader, FrameKind, Salt, padding};
use crate::scan::{Expected, ScanError, read_frame, scan};
use crate::segment_header::{SEGMENT_HEADER_BYTES, SegmentHeader, SegmentHeaderFault};
use crate::shared::{Shared, is_no_space};
use crate::window::Window;
use crate::{AppendError, FileError, OpenError, StopReason};
use bytes::{Buf, BufMut, Bytes};
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};
use std::thread::{self, ThreadId};
use varve_env::disk::{Disk, DiskFile, OpenMode};
use varve_record::{Index, NodeId, Offset, PartitionId, Term, Timestamp};

/// The file is written anew when it passes this size and is mostly old votes.
const COMPACT_BYTES: u64 = 1024 * 1024;
/// Zeros at the end of a new file: votes are written over blocks that exist.
const SPARE_BYTES: usize = 64 * 1024;
/// Votes that may wait for a sync: more than one for each group that a node can hold.
const WAITING_MAX: usize = 64 * 1024;
const VOTE_BYTES: usize = 8 + 8 + 8 + 8;
const HAS_CANDIDATE: u64 = 1;
const COMMITTED: u64 = 2;

/// What a node promised in a Raft group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Vote {
    /// The highest term seen.
    pub term: Term,
    /// Who got this node's vote in it.
    pub voted_for: Option<NodeId>,
    /// Whether that candidate won: its leadership is known.
    pub committed: bool,
}

/// Called when a vote is durable, or it is not known whether it ever will be.
pub type VoteDone = Box<dyn FnOnce(Result<(), AppendError>) + Send>;

/// The votes of all groups of a data directory, in one file. Cheap to clone.
#[derive(Clone)]
pub struct VoteStore(Arc<Inner>);

struct Inner {
    shared: Arc<Shared>,
    path: PathBuf,
    queue: Mutex<Queue>,
    durable: Mutex<BTreeMap<PartitionId, Vote>>,
    writer: Mutex<VoteFile>,
}

/// A vote to be saved, or with `None` to be forgotten.
type Waiting = (PartitionId, Option<Vote>, VoteDone);

#[derive(Default)]
struct Queue {
    waiting: Vec<Waiting>,
    waker: Option<Waker>,
    stopped: Option<StopReason>,
    thread: Option<ThreadId>,
}

struct VoteFile {
    file: Arc<dyn DiskFile>,
    salt: Salt,
    position: u64,
    next_index: Index,
    compact_at: u64,
}

impl VoteStore {
    /// A group's durable vote; `None` where it never saved one.
    #[must_use]
    pub fn get(&self, group: PartitionId) -> Option<Vote> {
        lock(&self.0.durable).get(&group).copied()
    }

    /// Makes a vote durable, then calls `done`. Votes saved at the same time share a sync. Does not block.
    pub fn save(&self, group: PartitionId, vote: Vote, done: VoteDone) {
        self.push(group, Some(vote), done);
    }

    /// Forgets a group's vote, durably, then calls `done`. Only for a group that this node will never take part in again.
    pub fn forget(&self, group: PartitionId, done: VoteDone) {
        self.push(group, None, done);
    }

    /// Makes the file of a new data directory.
    pub(crate) fn create(shared: &Shared, path: &Path) -> Result<(), OpenError> {
        write_file(shared, path, &BTreeMap::new()).map_err(Unwritten::into_error)?;
        Ok(())
    }

    /// Opens the file; writes it anew where that is due.
    pub(crate) fn open(shared: Arc<Shared>, path: PathBuf) -> Result<Self, OpenError> {
        let found = FoundVotes::read(&*shared.disk, &path)?;
        let (votes, file) = found.into_file(&shared, &path)?;
        let inner = Inner {
            shared,
            path,
            queue: Mutex::default(),
            durable: Mutex::new(votes),
            writer: Mutex::new(file),
        };
        Ok(Self(Arc::new(inner)))
    }

    /// Writes what is saved until the store is closed.
    pub(crate) async fn run(self) {
        lock(&self.0.queue).thread = Some(thread::current().id());
        while self.wait().await {
            self.write_all();
        }
    }

    /// Writes what was saved, here and now.
    pub(crate) fn write_all(&self) {
        let mut writer = lock(&self.0.writer);
        let waiting = std::mem::take(&mut lock(&self.0.queue).waiting);
        if waiting.is_empty() {
            return;
        }
        let stopped = lock(&self.0.queue).stopped.clone();
        let stopped = stopped.filter(|reason| matches!(reason, StopReason::Failed(_)));
        // What forgets needs a new file and may find no room for it; no vote is to fail with it.
        let mut waiting = VecDeque::from(waiting);
        let mut stopped = stopped;
        while let Some(forgets) = waiting.front().map(|(_, vote, _)| vote.is_none()) {
            let len = waiting.iter().take_while(|(_, vote, _)| vote.is_none() == forgets).count();
            self.write_group(&mut writer, waiting.drain(..len).collect(), &mut stopped);
        }
    }

    /// Writes votes that come one after another, and answers them.
    fn write_group(&self, writer: &mut VoteFile, group: Vec<Waiting>, stopped: &mut Option<StopReason>) {
        let result = match stopped.clone() {
            Some(reason) => Err(AppendError::StorageStopped(reason)),
            None => self.write(writer, &group).map_err(|unwritten| match unwritten {
                Unwritten::Full(error) => {
                    tracing::warn!(%error, "a vote finds no room on the disk");
                    AppendError::DiskFull
                }
                Unwritten::Failed(error) => {
                    AppendError::StorageStopped(stopped.insert(self.fail(&error)).clone())
                }
            }),
        };
        if result.is_ok() {
            let mut durable = lock(&self.0.durable);
            group.iter().for_each(|(group, vote, _)| apply(&mut durable, *group, *vote));
        }
        for (_, _, done) in group {
            done(result.clone());
        }
        // Where there was no room, half a frame may lie over the marker.
        if matches!(result, Ok(()) | Err(AppendError::DiskFull)) {
            self.vouch(writer);
        }
    }

    /// No more votes from here on.
    pub(crate) fn close(&self) {
        let waker = {
            let mut queue = lock(&self.0.queue);
            queue.stopped.get_or_insert(StopReason::Closed);
            queue.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    pub(crate) fn is_own_thread(&self) -> bool {
        lock(&self.0.queue).thread == Some(thread::current().id())
    }

    fn push(&self, group: PartitionId, vote: Option<Vote>, done: VoteDone) {
        let mut queue = lock(&self.0.queue);
        if let Some(reason) = queue.stopped.clone() {
            drop(queue);
            return done(Err(AppendError::StorageStopped(reason)));
        }
        if queue.waiting.len() >= WAITING_MAX {
            let queued_entries = queue.waiting.len();
            drop(queue);
            let queued_bytes = queued_entries * VOTE_BYTES;
            return done(Err(AppendError::QueueFull { queued_bytes, queued_entries }));
        }
        queue.waiting.push((group, vote, done));
        let waker = queue.waker.take();
        drop(queue);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    async fn wait(&self) -> bool {
        poll_fn(|context| {
            let mut queue = lock(&self.0.queue);
            if !queue.waiting.is_empty() {
                return Poll::Ready(true);
            }
            if queue.stopped.is_some() {
                return Poll::Ready(false);
            }
            queue.waker = Some(context.waker().clone());
            Poll::Pending
        })
        .await
    }

    fn write(&self, writer: &mut VoteFile, waiting: &[Waiting]) -> Result<(), Unwritten> {
        let mut votes = lock(&self.0.durable).clone();
        waiting.iter().for_each(|(group, vote, _)| apply(&mut votes, *group, *vote));
        let forgets = waiting.iter().any(|(_, vote, _)| vote.is_none());
        if writer.position >= writer.compact_at || forgets {
            match write_file(&self.0.shared, &self.0.path, &votes) {
                Ok(file) => {
                    *writer = file;
                    return Ok(());
                }
                // The old file does as well, as long as there is room in it.
                Err(Unwritten::Full(_)) if !forgets => {}
                Err(error) => return Err(error),
            }
        }
        let changed: BTreeMap<PartitionId, Vote> =
            waiting.iter().filter_map(|(group, vote, _)| Some((*group, (*vote)?))).collect();
        let frame =
            encode_frame(writer.salt, FrameKind::Votes, writer.next_index, writer.next_index, &changed);
        let failed = |action, error| FileError::new(action, &self.0.path, error);
        let slices = &mut [IoSlice::new(&frame)];
        let written = writer.file.write_all_at(slices, writer.position);
        // Half a frame is no vote, and the next one is written over it.
        written.map_err(|e| Unwritten::of(failed("write", e)))?;
        writer.file.sync_data().map_err(|e| Unwritten::Failed(failed("sync", e)))?;
        writer.position += frame.len() as u64;
        writer.next_index = writer.next_index.next();
        Ok(())
    }

    /// Notes behind the last vote that it is durable, so that a later flaw in it is not taken for a torn tail. Not synced; the
    /// next vote overwrites it.
    fn vouch(&self, writer: &mut VoteFile) {
        let next = writer.next_index;
        let frame = encode_frame(writer.salt, FrameKind::Marker, next, next, &BTreeMap::new());
        if let Err(error) = writer.file.write_all_at(&mut [IoSlice::new(&frame)], writer.position) {
            tracing::warn!(%error, "cannot mark the last vote as durable");
        }
    }

    fn fail(&self, error: &FileError) -> StopReason {
        let reason = self.0.shared.fail(error);
        lock(&self.0.queue).stopped = Some(reason.clone());
        reason
    }
}

impl fmt::Debug for VoteStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VoteStore").field("path", &self.0.path).finish_non_exhaustive()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn apply(votes: &mut BTreeMap<PartitionId, Vote>, group: PartitionId, vote: Option<Vote>) {
    match vote {
        Some(vote) => drop(votes.insert(group, vote)),
        None => drop(votes.remove(&group)),
    }
}

/// Writes a new file with all votes in place of the old one, durably.
fn write_file(
    shared: &Shared,
    path: &Path,
    votes: &BTreeMap<PartitionId, Vote>,
) -> Result<VoteFile, Unwritten> {
    let temporary = temporary_path(path);
    let header = header(shared.entropy.next_u64());
    let salt = Salt::new(header.incarnation);
    let next = Index::new(1);
    let mut content = header.encode().to_vec();
    content.extend(encode_frame(salt, FrameKind::Votes, Index::new(0), Index::new(0), votes));
    let position = content.len() as u64;
    // All of it is durable by the time the file has its name, and this says so.
    content.extend(encode_frame(salt, FrameKind::Marker, next, next, &BTreeMap::new()));
    content.resize(content.len() + SPARE_BYTES, 0);
    let written = create_over(&*shared.disk, &temporary).and_then(|file| {
        file.write_all_at(&mut [IoSlice::new(&content)], 0)?;
        file.sync_data().map(|()| file)
    });
    let file = match written {
        Ok(file) => file,
        Err(error) => {
            // Half a file only takes up room. It may not even exist.
            drop(shared.disk.remove_file(&temporary));
            return Err(Unwritten::of(FileError::new("write", &temporary, error)));
        }
    };
    // From here on the old file may be gone: there is no going on with it.
    let renamed = shared.disk.rename(&temporary, path);
    renamed.map_err(|e| Unwritten::Failed(FileError::new("rename into place", path, e)))?;
    sync_parent(&*shared.disk, path).map_err(Unwritten::Failed)?;
    Ok(VoteFile { file, salt, position, next_index: next, compact_at: COMPACT_BYTES.max(position * 2) })
}

/// Why votes were not written.
enum Unwritten {
    /// There was no room, and the file is as it was.
    Full(FileError),
    /// What the file holds now is not known.
    Failed(FileError),
}

impl Unwritten {
    fn of(error: FileError) -> Self {
        if is_no_space(error.kind()) { Self::Full(error) } else { Self::Failed(error) }
    }

    fn into_error(self) -> FileError {
        match self {
            Self::Full(error) | Self::Failed(error) => error,
        }
    }
}

/// The votes in a file. Changes nothing.
pub(crate) fn read_file(disk: &dyn Disk, path: &Path) -> Result<BTreeMap<PartitionId, Vote>, OpenError> {
    FoundVotes::read(disk, path).map(|found| found.votes)
}

/// What a file of votes holds.
struct FoundVotes {
    votes: BTreeMap<PartitionId, Vote>,
    salt: Salt,
    /// Behind the last vote.
    end: u64,
    next_index: Index,
    len_bytes: u64,
    /// A marker says that all votes are durable, and nothing lies behind them.
    vouched: bool,
}

impl FoundVotes {
    /// Changes nothing.
    fn read(disk: &dyn Disk, path: &Path) -> Result<Self, OpenError> {
        let untrusted = |reason| OpenError::Untrusted { path: path.to_path_buf(), reason };
        let failed = |e| FileError::new("read", path, e);
        let newer = |found| OpenError::Newer { path: path.to_path_buf(), found };
        let file = disk.open(path, OpenMode::Read).map_err(failed)?;
        let len_bytes = file.len_bytes().map_err(failed)?;
        let mut window = Window::new(&*file, len_bytes);
        let block = window.get(0, SEGMENT_HEADER_BYTES).map_err(failed)?.ok_or(untrusted("cut short"))?;
        let block = block[..].try_into().expect("the window gives what it is asked for");
        let header = match SegmentHeader::decode(block) {
            Ok(header) => header,
            Err(SegmentHeaderFault::Damaged(_)) => {
                return Err(untrusted("damaged: its header is not sound"));
            }
            Err(SegmentHeaderFault::Newer(found)) => return Err(newer(found)),
        };
        let salt = Salt::new(header.incarnation);
        let (mut votes, mut sound, mut next_index) = (BTreeMap::new(), true, Index::new(0));
        let mut visit = |frame: &FrameHeader, _: u64, body: &Bytes| {
            sound &= decode(body.clone(), &mut votes);
            next_index = frame.index.next();
        };
        let expected = Expected { index: Index::new(0), term: Term::new(0), base_offset: Offset::new(0) };
        let scanned = match scan(&mut window, salt, header.first_position, expected, &mut visit) {
            Ok(scanned) => scanned,
            Err(ScanError::Io(e)) => return Err(failed(e).into()),
            Err(ScanError::Newer(kind)) => return Err(newer(kind.into())),
        };
        // The first frame was there before the file had its name.
        if !scanned.gaps.is_empty() || !sound || scanned.end == header.first_position {
            return Err(untrusted("damaged: a vote that was durable cannot be read"));
        }
        let behind = read_frame(&mut window, salt, scanned.end).map_err(failed)?;
        let vouches =
            |frame: &FrameHeader| frame.kind == FrameKind::Marker && frame.durable_below >= next_index;
        let vouched = !scanned.leftovers && behind.is_ok_and(|(frame, _)| vouches(&frame));
        Ok(Self { votes, salt, end: scanned.end, next_index, len_bytes, vouched })
    }

    /// The file to go on with: this one where all is well with it and some room is left in it, else a new one. Where there is
    /// no room for a new one, this one again, made sound.
    fn into_file(
        self,
        shared: &Shared,
        path: &Path,
    ) -> Result<(BTreeMap<PartitionId, Vote>, VoteFile), OpenError> {
        // Nothing is lost with a file that holds no vote, and format 1 has always written it twice in a new directory.
        let due = self.votes.is_empty()
            || self.end + SPARE_BYTES as u64 / 2 > self.len_bytes
            || self.end >= COMPACT_BYTES;
        if !self.vouched || due {
            match write_file(shared, path, &self.votes) {
                Ok(file) => return Ok((self.votes, file)),
                Err(Unwritten::Full(error)) => {
                    tracing::warn!(%error, "no room to write the votes anew: the old file stays in use");
                }
                Err(Unwritten::Failed(error)) => return Err(error.into()),
            }
        }
        let file = shared.disk.open(path, OpenMode::Write).map_err(|e| FileError::new("open", path, e))?;
        if !self.vouched {
            self.make_sound(&*file).map_err(|e| FileError::new("write", path, e))?;
        }
        let (salt, position, next_index) = (self.salt, self.end, self.next_index);
        let file = VoteFile { file, salt, position, next_index, compact_at: COMPACT_BYTES.max(position * 2) };
        Ok((self.votes, file))
    }

    /// Writes the votes again where they are, since they may lie in the cache alone, and zeros behind them, so that no vote
    /// that was never durable comes back behind a new one.
    fn make_sound(&self, file: &dyn DiskFile) -> io::Result<()> {
        let len = usize::try_from(self.end).map_err(|_| io::ErrorKind::FileTooLarge)?;
        let mut content = vec![0; len];
        file.read_exact_at(&mut content, 0)?;
        content.resize(usize::try_from(self.len_bytes).map_err(|_| io::ErrorKind::FileTooLarge)?, 0);
        file.write_all_at(&mut [IoSlice::new(&content)], 0)?;
        file.sync_data()
    }
}

fn header(incarnation: u64) -> SegmentHeader {
    SegmentHeader {
        incarnation,
        partition: PartitionId::new(0),
        sequence: 1,
        previous_sequence: 0,
        previous_end: 0,
        first_index: Index::new(0),
        previous: None,
        reset: false,
        base_offset: Offset::new(0),
        last_append_time: Timestamp::new(0),
        first_position: SEGMENT_HEADER_BYTES as u64,
    }
}

fn encode_frame(
    salt: Salt,
    kind: FrameKind,
    index: Index,
    durable_below: Index,
    votes: &BTreeMap<PartitionId, Vote>,
) -> Vec<u8> {
    let mut body = Vec::with_capacity(votes.len() * VOTE_BYTES);
    for (group, vote) in votes {
        let flags = if vote.voted_for.is_some() { HAS_CANDIDATE } else { 0 }
            | if vote.committed { COMMITTED } else { 0 };
        body.put_u64_le(group.get());
        body.put_u64_le(vote.term.get());
        body.put_u64_le(vote.voted_for.map_or(0, NodeId::get));
        body.put_u64_le(flags);
    }
    let header = FrameHeader {
        kind,
        body_len: u32::try_from(body.len()).expect("there are fewer than 2^27 groups"),
        body_crc: salt.body_crc(&body),
        record_count: 0,
        term: Term::new(0),
        index,
        append_time: Timestamp::new(0),
        base_offset: Offset::new(0),
        durable_below,
    };
    let mut frame = header.encode(salt).to_vec();
    frame.extend_from_slice(&body);
    frame.extend_from_slice(padding(body.len()));
    frame
}

fn decode(mut body: Bytes, votes: &mut BTreeMap<PartitionId, Vote>) -> bool {
    while body.len() >= VOTE_BYTES {
        let group = PartitionId::new(body.get_u64_le());
        let term = Term::new(body.get_u64_le());
        let candidate = NodeId::new(body.get_u64_le());
        let flags = body.get_u64_le();
        let voted_for = (flags & HAS_CANDIDATE != 0).then_some(candidate);
        votes.insert(group, Vote { term, voted_for, committed: flags & COMMITTED != 0 });
    }
    body.is_empty()
}
