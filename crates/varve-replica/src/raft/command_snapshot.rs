//! The state of a command log as of one of its entries, as it lies in the file `snapshot` and travels to other members.
//! `docs/raft.md` describes the bytes.

use super::types::{RaftLogId, from_raft};
use bytes::{Buf, BufMut, Bytes};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::oneshot;
use varve_env::Blocking;
use varve_record::Index;
use varve_storage::{EndState, LogId, OpenError, PartitionLog};

const VERSION: u32 = 1;
const REPLACES_LOG: u32 = 1;
/// The log is looked at so often until an entry is durable.
const LOOK_INTERVAL: Duration = Duration::from_millis(10);
const HEAD_BYTES: usize = 4 + 4 + 4 + 4;

/// A command log as of one of its entries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CommandSnapshot {
    /// The log up to the entry.
    pub(crate) log: EndState,
    /// What the commands up to the entry have made.
    pub(crate) state: Bytes,
    /// It comes from another member, and the log begins anew behind it: where it does not yet, that is still to be done.
    pub(crate) replaces_log: bool,
}

impl CommandSnapshot {
    pub(crate) fn encode(&self) -> Bytes {
        let log = self.log.encode();
        let mut bytes = Vec::with_capacity(HEAD_BYTES + log.len() + self.state.len());
        bytes.put_u32_le(VERSION);
        bytes.put_u32_le(if self.replaces_log { REPLACES_LOG } else { 0 });
        bytes.put_u32_le(u32::try_from(log.len()).expect("a log of commands has no producers"));
        bytes.put_u32_le(0);
        bytes.put_slice(&log);
        bytes.put_slice(&self.state);
        bytes.into()
    }

    /// Reads a snapshot; `None` where the bytes are none that this version knows, or of an empty log.
    pub(crate) fn decode(mut bytes: Bytes) -> Option<Self> {
        if bytes.len() < HEAD_BYTES || bytes.get_u32_le() != VERSION {
            return None;
        }
        let flags = bytes.get_u32_le();
        let len = bytes.get_u32_le() as usize;
        let zero = bytes.get_u32_le();
        if flags > REPLACES_LOG || zero != 0 || bytes.len() < len {
            return None;
        }
        let log = EndState::decode(bytes.split_to(len)).filter(|log| log.last.is_some())?;
        Some(Self { log, state: bytes, replaces_log: flags == REPLACES_LOG })
    }

    /// The entry that it is of.
    pub(crate) fn last(&self) -> LogId {
        self.log.last.expect("one of an empty log is neither made nor read")
    }

    /// Whether it is of this entry.
    pub(crate) fn is_of(&self, log_id: Option<&RaftLogId>) -> bool {
        self.log.last == log_id.map(from_raft)
    }
}

/// A command log's file `snapshot`. One is never replaced by an older one: the log no longer has what lies between.
#[derive(Clone, Debug)]
pub(crate) struct SnapshotFile {
    log: PartitionLog,
    blocking: Blocking,
    writing: Arc<Mutex<()>>,
}

impl SnapshotFile {
    pub(crate) fn new(log: PartitionLog, blocking: Blocking) -> Self {
        Self { log, blocking, writing: Arc::default() }
    }

    /// What lies there. A damaged one counts for none where the log has all commands from the first. Blocks.
    pub(crate) fn read(&self) -> io::Result<Option<CommandSnapshot>> {
        let bytes = match self.log.read_snapshot() {
            Ok(Some(bytes)) => bytes,
            Ok(None) => return Ok(None),
            Err(error @ OpenError::Untrusted { .. }) if self.log.first_index() == Index::new(0) => {
                tracing::warn!(%error, "the snapshot of the commands is made anew from all of them");
                return Ok(None);
            }
            Err(error @ OpenError::Untrusted { .. }) => {
                return Err(io::Error::new(io::ErrorKind::InvalidData, error));
            }
            Err(error) => return Err(io::Error::other(error)),
        };
        CommandSnapshot::decode(bytes)
            .map(Some)
            .ok_or_else(|| io::Error::other("the file `snapshot` was written by a newer version"))
    }

    /// Puts a newer snapshot in its place, durably. Gives what lies there afterwards. Blocks.
    pub(crate) fn replace(&self, snapshot: CommandSnapshot) -> io::Result<CommandSnapshot> {
        let _writing: MutexGuard<'_, ()> = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        match self.read()? {
            Some(found) if found.last() >= snapshot.last() => Ok(found),
            _ => {
                self.log.save_snapshot(snapshot.encode()).map_err(io::Error::other)?;
                Ok(snapshot)
            }
        }
    }

    /// Takes a snapshot of another member over: afterwards the log holds its last entry, or begins behind it. A crash in
    /// between is made good by [`SnapshotFile::finish_install`].
    pub(crate) async fn install(&self, mut snapshot: CommandSnapshot) -> io::Result<()> {
        snapshot.replaces_log = !self.holds(snapshot.last()).await?;
        if !snapshot.replaces_log {
            durable(&self.log, snapshot.last()).await?;
        }
        let (file, saved) = (self.clone(), snapshot.clone());
        if self.blocking.run(move || file.replace(saved)).await?.last() > snapshot.last() {
            return Err(io::Error::other("a newer snapshot has been made here"));
        }
        if snapshot.replaces_log { self.reset(snapshot.log).await } else { Ok(()) }
    }

    /// Does what a crash kept an install from doing.
    pub(crate) async fn finish_install(&self) -> io::Result<()> {
        let file = self.clone();
        match self.blocking.run(move || file.read()).await? {
            Some(found) if found.replaces_log && !self.begins_behind(found.last()) => {
                if self.holds(found.last()).await? { Ok(()) } else { self.reset(found.log).await }
            }
            _ => Ok(()),
        }
    }

    /// Whether the log has this entry, or begins right behind it.
    async fn holds(&self, entry: LogId) -> io::Result<bool> {
        let log = self.log.clone();
        let found = self.blocking.run(move || log.log_id_at(entry.index)).await;
        Ok(found.map_err(io::Error::other)? == Some(entry))
    }

    fn begins_behind(&self, entry: LogId) -> bool {
        self.log.first_index() > entry.index.next()
    }

    /// Has the log begin anew behind a state.
    pub(crate) async fn reset(&self, state: EndState) -> io::Result<()> {
        let (sender, done) = oneshot::channel();
        self.log.reset(state, Box::new(move |result| drop(sender.send(result))));
        match done.await {
            Ok(result) => result.map_err(io::Error::other),
            Err(_) => Err(io::Error::other("the log was not reset")),
        }
    }
}

/// Returns once an entry that was appended is durable here.
pub(crate) async fn durable(log: &PartitionLog, entry: LogId) -> io::Result<()> {
    while log.durable_index().is_none_or(|durable| durable < entry.index) {
        if let Some(reason) = log.stopped() {
            return Err(io::Error::other(reason));
        }
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use varve_record::{Term, Timestamp};

    fn sample() -> CommandSnapshot {
        let last = Some(LogId::new(Term::new(2), Index::new(9)));
        let log = EndState { last, last_append_time: Timestamp::new(5), ..EndState::default() };
        CommandSnapshot { log, state: Bytes::from_static(b"state"), replaces_log: true }
    }

    #[test]
    fn reads_what_it_writes_and_nothing_that_is_cut_short_or_newer() {
        for snapshot in [sample(), CommandSnapshot { replaces_log: false, ..sample() }] {
            let bytes = snapshot.encode();
            assert_eq!(CommandSnapshot::decode(bytes.clone()), Some(snapshot));
            // The state reaches to the end.
            for len in 0..bytes.len() - "state".len() {
                assert_eq!(CommandSnapshot::decode(bytes.slice(..len)), None, "cut at {len}");
            }
        }
        let mut newer = sample().encode().to_vec();
        newer[0] = 2;
        assert_eq!(CommandSnapshot::decode(newer.into()), None);
        let empty = CommandSnapshot { log: EndState::default(), ..sample() };
        assert_eq!(CommandSnapshot::decode(empty.encode()), None);
    }

    #[test]
    fn bytes_stay_as_documented() {
        let mut expected = vec![1, 0, 0, 0, 1, 0, 0, 0, 80, 0, 0, 0, 0, 0, 0, 0];
        expected.extend([0; 16]); // next offset, log start offset
        expected.extend([1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0]);
        expected.extend([5, 0, 0, 0, 0, 0, 0, 0]);
        expected.extend([0; 24 + 4 + 4]); // no membership, no producers
        expected.extend(b"state");
        assert_eq!(sample().encode(), Bytes::from(expected));
    }
}
