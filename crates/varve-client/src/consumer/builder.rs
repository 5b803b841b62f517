use std::sync::Arc;
use std::time::Duration;

use varve_api::TopicName;
use varve_api::error::Reason;
use varve_api::limits::{HEARTBEAT_MS_MAX, HEARTBEAT_MS_MIN};
use varve_api::v1::{GetTailResponse, ReadConsistency};
use varve_record::{Limits, Offset, Timestamp};

use super::Consumer;
use super::reader::{Position, Session};
use crate::client::partition_not_found;
use crate::{Client, ClientError, Picker};

/// Pieces of the partitions (each about 1 MiB) that a consumer holds before it lets the server wait, unless set otherwise.
pub const PREFETCH_PIECES: usize = 4;
/// How long a consumer goes on trying without hearing anything, unless set otherwise.
const RETRY_TIMEOUT: Duration = Duration::from_secs(120);
/// How often a server is to say that it is there while there is nothing to read, unless set otherwise.
pub const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(10);

/// Where reading starts in each partition.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ReadFrom {
    /// At the first record that is kept.
    #[default]
    Start,
    /// After the last record there is: only what comes.
    End,
    /// At this offset.
    Offset(Offset),
    /// At the first record appended at this time or later.
    Time(Timestamp),
    /// So many records before the end of each partition, or at the first that is kept.
    Last(u64),
}

/// Options for a consumer. Made by [`Client::consumer`].
#[derive(Debug, Clone)]
pub struct ConsumerBuilder {
    client: Client,
    topic: String,
    partitions: Option<Vec<u32>>,
    from: ReadFrom,
    until_end: bool,
    until_offset: Option<Offset>,
    until_time: Option<Timestamp>,
    pub(crate) max_records: Option<u64>,
    consistency: ReadConsistency,
    clamp: bool,
    pub(crate) prefetch_pieces: usize,
    retry_timeout: Duration,
    heartbeat_interval: Duration,
    read_picker: Option<Arc<dyn Picker>>,
    pub(crate) limits: Limits,
}

impl ConsumerBuilder {
    pub(crate) fn new(client: Client, topic: &str) -> Self {
        Self {
            client,
            topic: topic.into(),
            partitions: None,
            from: ReadFrom::Start,
            until_end: false,
            until_offset: None,
            until_time: None,
            max_records: None,
            consistency: ReadConsistency::Committed,
            clamp: false,
            prefetch_pieces: PREFETCH_PIECES,
            retry_timeout: RETRY_TIMEOUT,
            heartbeat_interval: HEARTBEAT_INTERVAL,
            read_picker: None,
            limits: Limits::default(),
        }
    }

    /// Which partitions to read (all there are when the consumer is made).
    #[must_use]
    pub fn partitions(mut self, partitions: impl IntoIterator<Item = u32>) -> Self {
        self.partitions = Some(partitions.into_iter().collect());
        self
    }

    /// Where to start in each partition ([`ReadFrom::Start`]).
    #[must_use]
    pub fn from(mut self, from: ReadFrom) -> Self {
        self.from = from;
        self
    }

    /// Stop at what is the end of each partition when the consumer is made, rather than wait for more.
    #[must_use]
    pub fn until_end(mut self) -> Self {
        self.until_end = true;
        self
    }

    /// Stop in each partition before this offset.
    #[must_use]
    pub fn until_offset(mut self, offset: Offset) -> Self {
        self.until_offset = Some(offset);
        self
    }

    /// Stop in each partition before the first record appended at this time or later.
    #[must_use]
    pub fn until_time(mut self, time: Timestamp) -> Self {
        self.until_time = Some(time);
        self
    }

    /// Stop after so many records of all partitions together.
    #[must_use]
    pub fn max_records(mut self, records: u64) -> Self {
        self.max_records = Some(records);
        self
    }

    /// How fresh the start must be ([`ReadConsistency::Committed`]).
    #[must_use]
    pub fn consistency(mut self, consistency: ReadConsistency) -> Self {
        self.consistency = consistency;
        self
    }

    /// Go on at the nearer end of the log where an offset lies outside of it, rather than fail: skip records that were
    /// trimmed before they were read.
    #[must_use]
    pub fn clamp(mut self, clamp: bool) -> Self {
        self.clamp = clamp;
        self
    }

    /// How many pieces of the partitions (each about 1 MiB) to hold before the server has to wait
    /// ([`PREFETCH_PIECES`]). What HTTP/2 has on its way comes on top.
    #[must_use]
    pub fn prefetch_pieces(mut self, pieces: usize) -> Self {
        self.prefetch_pieces = pieces.clamp(1, 1024);
        self
    }

    /// How long to go on trying without hearing anything (two minutes).
    #[must_use]
    pub fn retry_timeout(mut self, timeout: Duration) -> Self {
        self.retry_timeout = timeout;
        self
    }

    /// How often a server is to say that it is there while there is nothing to read ([`HEARTBEAT_INTERVAL`]; 100 ms to
    /// one minute). One that is silent for three times as long is left; so is a follower that has nothing to give for as
    /// long although the leader had more before.
    #[must_use]
    pub fn heartbeat_interval(mut self, interval: Duration) -> Self {
        let (min, max) = (Duration::from_millis(HEARTBEAT_MS_MIN), Duration::from_millis(HEARTBEAT_MS_MAX));
        self.heartbeat_interval = interval.clamp(min, max);
        self
    }

    /// Which replica is read, each time that a stream is opened (as the client does:
    /// [`ClientBuilder::read_picker`](crate::ClientBuilder::read_picker)).
    #[must_use]
    pub fn read_picker(mut self, picker: Arc<dyn Picker>) -> Self {
        self.read_picker = Some(picker);
        self
    }

    /// Makes the consumer, and starts to read.
    ///
    /// # Errors
    /// `INVALID_TOPIC_NAME`, `TOPIC_NOT_FOUND`, `PARTITION_NOT_FOUND`, or as any call.
    pub async fn build(self) -> Result<Consumer, ClientError> {
        let topic = TopicName::new(&self.topic)?;
        let count = self.client.topic_map(&topic, false).await?.partitions.len();
        let partitions = match &self.partitions {
            Some(partitions) => partitions.clone(),
            None => (0..u32::try_from(count).unwrap_or(u32::MAX)).collect(),
        };
        let mut sessions = Vec::with_capacity(partitions.len());
        for partition in partitions {
            if partition as usize >= count {
                return Err(partition_not_found(&topic, partition, count).into());
            }
            sessions.push(self.session(topic.clone(), partition).await?);
        }
        Ok(Consumer::start(&self, sessions))
    }

    /// Where the partition ends. A follower may lag behind what was acknowledged, so the leader is asked; where there is none,
    /// what a follower knows has to do.
    async fn tail(&self, topic: &TopicName, partition: u32) -> Result<GetTailResponse, ClientError> {
        let fresh = ReadConsistency::Linearizable;
        match self.client.get_tail(topic.as_str(), partition, fresh).await {
            Err(error) if error.reason() == Some(Reason::NoLeader) => {
                self.client.get_tail(topic.as_str(), partition, self.consistency).await
            }
            tail => tail,
        }
    }

    /// What to read of one partition, with what is relative to its end made fixed, so that a read that is taken up again
    /// goes on where it was.
    async fn session(&self, topic: TopicName, partition: u32) -> Result<Session, ClientError> {
        let needs_tail = self.until_end || matches!(self.from, ReadFrom::End | ReadFrom::Last(_));
        let tail = match needs_tail {
            true => self.tail(&topic, partition).await?,
            false => Default::default(),
        };
        let end = Offset::new(tail.high_watermark);
        let position = match self.from {
            ReadFrom::Start => Position::Start,
            ReadFrom::Offset(offset) => Position::At(offset),
            ReadFrom::Time(time) => Position::Since(time),
            ReadFrom::End => Position::At(end),
            ReadFrom::Last(records) => {
                let start = tail.high_watermark.saturating_sub(records).max(tail.log_start_offset);
                Position::At(Offset::new(start))
            }
        };
        let until_end = self.until_end.then_some(end);
        Ok(Session {
            client: self.client.clone(),
            topic,
            partition,
            position,
            until: [until_end, self.until_offset].into_iter().flatten().min(),
            until_time: self.until_time,
            max_records: self.max_records,
            consistency: self.consistency,
            clamp: self.clamp,
            retry_timeout: self.retry_timeout,
            picker: self.read_picker.as_ref().unwrap_or(self.client.read_picker()).clone(),
            heartbeat_interval: self.heartbeat_interval,
            committed: end,
            asks_leader: false,
            since: if let ReadFrom::Time(time) = self.from { Some(time) } else { None },
            damaged_on: Vec::new(),
        })
    }
}
