//! What is shown of a topic.

use std::time::Duration;

use serde::Serialize;
use varve_api::time::ms_from_timestamp;
use varve_api::v1::{Partition, Server, ServerState, Topic, TopicSettings, TopicSummary};

use super::partitions;
use crate::failure::Failure;
use crate::output::Output;
use crate::table::Table;
use crate::time::format_time;
use crate::units::{human_bytes, human_count, human_duration};

/// A topic in a list.
#[derive(Debug, Serialize)]
pub(crate) struct ListRow<'a> {
    name: &'a str,
    partitions: u32,
    replication_factor: u32,
}

impl<'a> ListRow<'a> {
    /// From what the server said.
    pub(crate) fn new(topic: &'a TopicSummary) -> Self {
        Self { name: &topic.name, partitions: topic.partitions, replication_factor: topic.replication_factor }
    }
}

/// A topic with its partitions.
#[derive(Debug, Serialize)]
pub(crate) struct Description {
    name: String,
    create_time: Option<String>,
    replication_factor: u32,
    /// Absent settings follow the server's.
    settings: Settings,
    /// The settings in force.
    effective_settings: Settings,
    partitions: Vec<PartitionRow>,
}

#[derive(Debug, Serialize)]
struct Settings {
    retention_bytes: Option<u64>,
    retention_ms: Option<u64>,
    segment_bytes: Option<u64>,
    record_bytes_max: Option<u64>,
}

#[derive(Debug, Serialize)]
struct PartitionRow {
    partition: u32,
    leader: Option<u64>,
    replicas: Vec<u64>,
    /// Replicas that have to be given up still.
    leaving: Vec<u64>,
    /// Whether fewer replicas are alive than there could be.
    under_replicated: bool,
    #[serde(skip)]
    state: String,
    log_start_offset: Option<u64>,
    high_watermark: Option<u64>,
    size_bytes: Option<u64>,
    /// Whose view offsets and size are: the leader's, unless it did not answer.
    seen_by: Option<u64>,
    term: Option<u64>,
}

impl Description {
    /// From what the server said of the topic, and of the servers that hold it.
    pub(crate) fn new(topic: &Topic, servers: &[Server]) -> Self {
        let servers = Servers::new(servers, topic.replication_factor);
        let settings = topic.settings.unwrap_or_default();
        let effective = topic.effective_settings.unwrap_or(settings);
        Self {
            name: topic.name.clone(),
            create_time: topic.create_time.as_ref().and_then(ms_from_timestamp).map(format_time),
            replication_factor: topic.replication_factor,
            settings: Settings::new(&settings),
            effective_settings: Settings::new(&effective),
            partitions: topic
                .partitions
                .iter()
                .map(|partition| PartitionRow::new(partition, &servers))
                .collect(),
        }
    }

    /// The name.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The topic and what it holds, in a few words.
    pub(crate) fn summary(&self) -> String {
        let records: u64 = self.partitions.iter().map(PartitionRow::records).sum();
        let count = partitions(self.partitions.len());
        let noun = if records == 1 { "record" } else { "records" };
        format!("topic {} ({count}, {} {noun})", self.name, human_count(records))
    }

    /// Writes it for people.
    pub(crate) fn write(&self, out: &mut Output) -> Result<(), Failure> {
        out.line(&self.summary())?;
        for (own, (name, value)) in self.settings.lines().iter().zip(self.effective_settings.lines()) {
            let whose = if own.1.is_none() { " (the server's default)" } else { "" };
            let value = value.unwrap_or_else(|| "unknown".into());
            out.line(&format!("  {name:<17} {value}{whose}"))?;
        }
        out.line(&format!("  {:<17} {}", "replicas", self.replication_factor))?;
        if let Some(time) = &self.create_time {
            out.line(&format!("  {:<17} {time}", "created"))?;
        }
        out.line("")?;
        let mut table = Table::new(&[
            "PARTITION#",
            "LEADER#",
            "REPLICAS",
            "START#",
            "END#",
            "RECORDS#",
            "SIZE#",
            "STATE",
        ]);
        self.partitions.iter().for_each(|partition| table.row(partition.cells()));
        table.write(out)
    }
}

impl Settings {
    fn new(settings: &TopicSettings) -> Self {
        Self {
            retention_bytes: settings.retention_bytes,
            retention_ms: settings.retention_ms,
            segment_bytes: settings.segment_bytes,
            record_bytes_max: settings.record_bytes_max,
        }
    }

    fn lines(&self) -> [(&'static str, Option<String>); 4] {
        let kept = |limit: u64, text: String| if limit == 0 { "keeps everything".into() } else { text };
        let age = |ms: u64| kept(ms, human_duration(Duration::from_millis(ms)));
        [
            ("retention-bytes", self.retention_bytes.map(|bytes| kept(bytes, human_bytes(bytes)))),
            ("retention-age", self.retention_ms.map(age)),
            ("segment-bytes", self.segment_bytes.map(human_bytes)),
            ("record-bytes-max", self.record_bytes_max.map(human_bytes)),
        ]
    }
}

impl PartitionRow {
    fn new(partition: &Partition, servers: &Servers) -> Self {
        Self {
            leaving: partition.leaving.clone(),
            under_replicated: servers.alive(partition) < servers.wanted,
            state: servers.state(partition),
            partition: partition.partition,
            leader: partition.leader,
            replicas: partition.replicas.clone(),
            log_start_offset: partition.log_start_offset,
            high_watermark: partition.high_watermark,
            size_bytes: partition.size_bytes,
            seen_by: partition.seen_by,
            term: partition.term,
        }
    }

    fn records(&self) -> u64 {
        let (start, end) = (self.log_start_offset.unwrap_or(0), self.high_watermark.unwrap_or(0));
        end.saturating_sub(start)
    }

    fn cells(&self) -> [String; 8] {
        let known = |value: Option<String>| value.unwrap_or_else(|| "-".into());
        let replicas: Vec<String> = self.replicas.iter().map(u64::to_string).collect();
        [
            self.partition.to_string(),
            known(self.leader.map(|id| id.to_string())),
            replicas.join(","),
            known(self.log_start_offset.map(|offset| offset.to_string())),
            known(self.high_watermark.map(|offset| offset.to_string())),
            known(self.high_watermark.map(|_| human_count(self.records()))),
            known(self.size_bytes.map(human_bytes)),
            self.state.clone(),
        ]
    }
}

/// What of the servers matters to a topic's replicas.
struct Servers {
    alive: Vec<u64>,
    /// Replicas that each partition should have.
    wanted: usize,
}

impl Servers {
    fn new(servers: &[Server], replication_factor: u32) -> Self {
        // While there are fewer servers a topic runs on fewer.
        let active = servers.iter().filter(|server| server.state() == ServerState::Active).count();
        let alive = servers.iter().filter(|server| server.alive).map(|server| server.id).collect();
        Self { alive, wanted: active.min(replication_factor as usize) }
    }

    fn alive(&self, partition: &Partition) -> usize {
        partition.replicas.iter().filter(|id| self.alive.contains(id)).count()
    }

    /// In words: the gravest first.
    fn state(&self, partition: &Partition) -> String {
        let mut words = Vec::new();
        if partition.leader.is_none() {
            words.push("no leader".to_owned());
        }
        let alive = self.alive(partition);
        if alive < self.wanted {
            words.push(format!("under-replicated ({alive} of {} alive)", self.wanted));
        }
        if !partition.leaving.is_empty() {
            let ids: Vec<String> = partition.leaving.iter().map(u64::to_string).collect();
            words.push(format!("moving off {}", ids.join(",")));
        }
        if let Some(id) = partition.seen_by.filter(|id| partition.leader != Some(*id)) {
            words.push(format!("offsets as server {id} knows them"));
        }
        if words.is_empty() { "ok".into() } else { words.join(", ") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(id: u64, alive: bool) -> Server {
        Server { id, alive, state: ServerState::Active as i32, ..Server::default() }
    }

    #[test]
    fn replicas_are_held_against_the_servers_that_there_are() {
        let state = |servers: &[Server], partition: &Partition| Servers::new(servers, 3).state(partition);
        let of = |replicas: &[u64]| Partition {
            leader: Some(1),
            replicas: replicas.to_vec(),
            ..Partition::default()
        };
        let three = [server(1, true), server(2, true), server(3, true)];
        assert_eq!(state(&three, &of(&[1, 2, 3])), "ok");
        assert_eq!(state(&three[..1], &of(&[1])), "ok");
        assert_eq!(state(&three, &of(&[1])), "under-replicated (1 of 3 alive)");
        let one_dead = [server(1, true), server(2, true), server(3, false)];
        assert_eq!(state(&one_dead, &of(&[1, 2, 3])), "under-replicated (2 of 3 alive)");
        let lost = Partition { leader: None, leaving: vec![4, 5], ..of(&[1, 2, 3]) };
        assert_eq!(state(&three, &lost), "no leader, moving off 4,5");
        let by_follower = Partition { seen_by: Some(2), ..of(&[1, 2, 3]) };
        assert_eq!(state(&three, &by_follower), "offsets as server 2 knows them");
        assert_eq!(state(&three, &Partition { seen_by: Some(1), ..by_follower }), "ok");
    }
}
