//! Every metric there is.
//!
//! Names follow OpenTelemetry's conventions where those have one, and etcd's for what Raft does; the rest begins with
//! `varve.`. A metric without labels is the sum over the node. What is told per topic, partition or stream is bounded
//! ([`Telemetry`](crate::Telemetry) says how), so that no client decides how many series there are.

use crate::metric::{Kind, Label, Metric};

/// Bounds for what takes from microseconds to seconds, in seconds.
const DURATIONS: Kind = Kind::Histogram(&[
    0.000_05, 0.000_1, 0.000_2, 0.000_4, 0.000_8, 0.001_6, 0.003_2, 0.006_4, 0.012_8, 0.025_6, 0.051_2, 0.1,
    0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8,
]);

/// Bounds for how many things go together.
const COUNTS: Kind =
    Kind::Histogram(&[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0, 2048.0, 4096.0]);

const METHOD: Label =
    Label { name: "rpc.method", values: "the call, as package.Service/Method; `other` for what is none" };
const STATUS: Label =
    Label { name: "rpc.response.status_code", values: "gRPC's name of the status, such as `OK`" };
const TOPIC: Label = Label { name: "topic", values: "the topic's name" };
const PARTITION: Label = Label { name: "partition", values: "the partition's number within its topic" };
const FOLLOWER: Label = Label { name: "follower", values: "the follower's node id" };
const STREAM: Label =
    Label { name: "stream", values: "a number that the stream has while it is open; another has it later" };
const PEER: Label = Label { name: "peer", values: "the other node's id" };
const GROUP: Label = Label { name: "group", values: "`controller`, or `partitions` for all others together" };
const STAGE: Label = Label { name: "stage", values: "`queue`, `append`, `fsync`, `replicate`, `apply`" };
const REASON: Label = Label { name: "reason", values: "the error's reason, as `docs/errors.md` has it" };
const PROTOCOL: Label = Label {
    name: "protocol",
    values: "`grpc`, `http`, `peer`: what it speaks on the one port; `ops`: it is of the operations listener",
};

macro_rules! metrics {
    ($($(#[doc = $doc:literal])+ $id:ident = $kind:expr, $name:literal, $unit:literal, [$($label:expr),*];)+) => {
        $(
            $(#[doc = $doc])+
            pub const $id: Metric = Metric {
                name: $name,
                kind: $kind,
                unit: $unit,
                labels: &[$($label),*],
                description: concat!($($doc),+),
            };
        )+
        /// All of them, in the order of the reference.
        pub const ALL: &[Metric] = &[$($id),+];
    };
}

metrics! {
    // Latency.
    /// How long calls took, from their headers to their last answer; for a stream, how long it was open.
    RPC_DURATION = DURATIONS, "rpc.server.call.duration", "s", [METHOD, STATUS];
    /// How long each stage of a commit took: waiting for the proposer, reaching the leader's log, its sync there, until a
    /// majority had it, and until it was applied and answered.
    COMMIT_STAGE_DURATION = DURATIONS, "varve.commit.stage.duration", "s", [STAGE];
    /// How long a batch took from its arrival at the leader to its answer.
    COMMIT_DURATION = DURATIONS, "varve.commit.duration", "s", [];
    /// How long one sync of a file took.
    FSYNC_DURATION = DURATIONS, "varve.storage.fsync.duration", "s", [];
    /// How many entries one sync made durable.
    FSYNC_ENTRIES = COUNTS, "varve.storage.fsync.entries", "{entry}", [];
    /// How long messages between nodes took until they were answered.
    PEER_ROUND_TRIP = DURATIONS, "varve.raft.peer.round_trip.duration", "s", [PEER];

    // Traffic.
    /// Calls that are under way, streams among them.
    RPC_ACTIVE = Kind::Gauge, "varve.rpc.active", "{call}", [METHOD];
    /// Records that were produced here and acknowledged.
    PRODUCED_RECORDS = Kind::Counter, "varve.produce.records", "{record}", [];
    /// Bytes of the batches that were produced here and acknowledged, as they are stored.
    PRODUCED_BYTES = Kind::Counter, "varve.produce", "By", [];
    /// Batches that were produced here and acknowledged.
    PRODUCED_BATCHES = Kind::Counter, "varve.produce.batches", "{batch}", [];
    /// Batches that had been appended before, of producers that sent them again.
    PRODUCED_DUPLICATES = Kind::Counter, "varve.produce.duplicates", "{batch}", [];
    /// Records that were given to consumers.
    CONSUMED_RECORDS = Kind::Counter, "varve.consume.records", "{record}", [];
    /// Bytes of the batches that were given to consumers, as they are stored.
    CONSUMED_BYTES = Kind::Counter, "varve.consume", "By", [];
    /// The records of `varve.produce.records`, by topic.
    TOPIC_PRODUCED_RECORDS = Kind::Counter, "varve.topic.produce.records", "{record}", [TOPIC];
    /// The bytes of `varve.produce`, by topic.
    TOPIC_PRODUCED_BYTES = Kind::Counter, "varve.topic.produce", "By", [TOPIC];
    /// The records of `varve.consume.records`, by topic.
    TOPIC_CONSUMED_RECORDS = Kind::Counter, "varve.topic.consume.records", "{record}", [TOPIC];
    /// The bytes of `varve.consume`, by topic.
    TOPIC_CONSUMED_BYTES = Kind::Counter, "varve.topic.consume", "By", [TOPIC];
    /// Bytes that this node holds of a topic.
    TOPIC_SIZE = Kind::Live, "varve.topic.size", "By", [TOPIC];
    /// Topics that are left out of the series by topic, since there are more than `metrics-topics-max`.
    TOPICS_UNLISTED = Kind::Gauge, "varve.topics.unlisted", "{topic}", [];
    /// Produce streams and consume streams that are open.
    STREAMS_OPEN = Kind::Gauge, "varve.streams.open", "{stream}", [Label { name: "kind", values: "`produce`, `consume`" }];

    // Errors.
    /// Calls, and batches of produce streams, that were answered with an error.
    ERRORS = Kind::Counter, "varve.errors", "{error}", [METHOD, REASON];
    /// Connections that were turned away, or ended before they had said anything of use.
    CONNECTIONS_REFUSED = Kind::Counter, "varve.connections.refused", "{connection}",
        [Label { name: "reason", values: "`handshake` (TLS failed), `limit` (too many), `silent` (said nothing in time), `protocol` (spoke none that is known)" }];
    /// Replicas here that are damaged, or could not be opened.
    DAMAGE = Kind::Gauge, "varve.replicas.damaged", "{replica}", [];

    // Saturation.
    /// Memory that the process has, in bytes.
    MEMORY_USED = Kind::Gauge, "process.memory.usage", "By", [];
    /// The most memory that it may have: its control group's limit, or the machine's memory.
    MEMORY_LIMIT = Kind::Gauge, "varve.memory.limit", "By", [];
    /// Time of processors that the process has used.
    CPU_TIME = Kind::Counter, "process.cpu.time", "s", [];
    /// Files and sockets that are open.
    FILES_OPEN = Kind::Gauge, "process.unix.file_descriptor.count", "{file}", [];
    /// How many files and sockets may be open.
    FILES_LIMIT = Kind::Gauge, "varve.files.limit", "{file}", [];
    /// How long the process has run.
    UPTIME = Kind::Gauge, "process.uptime", "s", [];
    /// The size of the disk that the data directory is on.
    DISK_SIZE = Kind::Gauge, "varve.disk.size", "By", [];
    /// Room on that disk that may still be written.
    DISK_AVAILABLE = Kind::Gauge, "varve.disk.available", "By", [];
    /// When the disk is full if it goes on filling as it did over the last minutes; absent while it does not fill.
    DISK_TIME_TO_FULL = Kind::Live, "varve.disk.time_to_full", "s", [];
    /// 1 while the disk is too full to take records, else 0.
    DISK_FULL = Kind::Gauge, "varve.disk.full", "", [];
    /// Batches that wait for the disk.
    WRITE_QUEUE = Kind::Gauge, "varve.storage.queue", "{entry}", [];
    /// Bytes of batches that are not yet answered.
    IN_FLIGHT = Kind::Gauge, "varve.produce.in_flight", "By", [];
    /// How many of those there may be; over it more wait, or are refused as OVERLOADED.
    IN_FLIGHT_LIMIT = Kind::Gauge, "varve.produce.in_flight.limit", "By", [];
    /// Connections that are open: of the one port by what they speak, and of the operations listener.
    CONNECTIONS = Kind::Gauge, "varve.connections.open", "{connection}", [PROTOCOL];
    /// How many connections the one port takes.
    CONNECTIONS_LIMIT = Kind::Gauge, "varve.connections.limit", "{connection}", [];

    // Consensus.
    /// For how many groups that this node has a replica of a leader is known.
    HAS_LEADER = Kind::Gauge, "varve.raft.has_leader", "{group}", [GROUP];
    /// How many groups this node has a replica of.
    GROUPS = Kind::Gauge, "varve.raft.groups", "{group}", [GROUP];
    /// How many groups this node leads.
    LEADS = Kind::Gauge, "varve.raft.is_leader", "{group}", [GROUP];
    /// How often another leader was seen in a group that this node has a replica of.
    LEADER_CHANGES = Kind::Counter, "varve.raft.leader_changes_seen", "{change}", [GROUP];
    /// Entries that were committed, as far as this node knows.
    PROPOSALS_COMMITTED = Kind::Counter, "varve.raft.proposals.committed", "{entry}", [];
    /// Batches that were proposed here and are neither committed nor refused.
    PROPOSALS_PENDING = Kind::Gauge, "varve.raft.proposals.pending", "{batch}", [];
    /// Batches that were proposed here and came to nothing, or of which nobody knows.
    PROPOSALS_FAILED = Kind::Counter, "varve.raft.proposals.failed", "{batch}", [];
    /// Entries that were applied here.
    PROPOSALS_APPLIED = Kind::Counter, "varve.raft.proposals.applied", "{entry}", [];
    /// Entries that a follower of a partition led here lacks. Of one that has not answered this leader yet nothing is known.
    LAG_ENTRIES = Kind::Live, "varve.replica.lag", "{entry}", [TOPIC, PARTITION, FOLLOWER];
    /// For how long a follower of a partition led here has lacked something.
    LAG_SECONDS = Kind::Live, "varve.replica.lag.duration", "s", [TOPIC, PARTITION, FOLLOWER];
    /// Partitions that have fewer replicas alive than they should, as this node sees the cluster.
    UNDER_REPLICATED = Kind::Gauge, "varve.partitions.under_replicated", "{partition}", [];
    /// Partitions that have no leader, as this node sees the cluster.
    LEADERLESS = Kind::Gauge, "varve.partitions.leaderless", "{partition}", [];
    /// Partitions of the cluster.
    PARTITIONS = Kind::Gauge, "varve.partitions", "{partition}", [];
    /// Topics of the cluster.
    TOPICS = Kind::Gauge, "varve.topics", "{topic}", [];

    // Consumers.
    /// Records that a consume stream has not been given yet. The streams that are furthest behind are told of.
    STREAM_LAG = Kind::Live, "varve.stream.lag", "{record}", [TOPIC, PARTITION, STREAM];
    /// For how long the first record has been there that a consume stream has not been given, to the second.
    STREAM_LAG_SECONDS = Kind::Live, "varve.stream.lag.duration", "s", [TOPIC, PARTITION, STREAM];

    // The cluster, and who is let in.
    /// Nodes that gossip knows of.
    GOSSIP_MEMBERS = Kind::Gauge, "varve.gossip.members", "{node}",
        [Label { name: "state", values: "`alive`, `failed`, `left`" }];
    /// 1 for what is in order and 0 for what is not.
    HEALTH = Kind::Gauge, "varve.health", "",
        [Label { name: "check", values: "`placed`, `controller`, `storage`, `disk`, `replicas`, `current`, `serving`" }];
    /// When a certificate, an authority or a list of revoked certificates ends, in seconds since 1970.
    CERTIFICATE_EXPIRY = Kind::Live, "varve.certificate.not_after", "s",
        [Label { name: "use", values: "`server`, `peer`: what this node shows to clients and to nodes; `server-ca`, `peer-ca`: the first authority to end of those in the CA files of clients and of nodes; `crl`: the first list of revoked certificates" }];
    /// What was decided of those who asked.
    AUTHORIZATIONS = Kind::Counter, "varve.authorization.decisions", "{decision}",
        [Label { name: "decision", values: "`allow`, `deny`" }, Label { name: "action", values: "what was asked for, such as `produce`" }];
    /// 1, with what was built.
    BUILD_INFO = Kind::Gauge, "varve.build.info", "",
        [Label { name: "version", values: "of Varve" }, Label { name: "revision", values: "of its source; empty where it is not known" }];
    /// 1, with who the node is: it joins an instance with the node ids that other series have as labels.
    NODE_INFO = Kind::Gauge, "varve.node.info", "",
        [Label { name: "node_id", values: "the node's id" }, Label { name: "cluster_id", values: "of its cluster, 32 hexadecimal digits" }];
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn no_two_have_one_name() {
        let mut names = BTreeSet::new();
        for series in ALL.iter().flat_map(Metric::prometheus_series) {
            assert!(names.insert(series.clone()), "{series} twice");
        }
    }

    #[test]
    fn every_one_says_what_it_is() {
        for metric in ALL {
            let description = metric.description.trim();
            assert!(description.ends_with('.') && description.len() > 10, "{}", metric.name);
            assert!(
                metric.name.starts_with("varve.")
                    || metric.name.starts_with("process.")
                    || metric.name.starts_with("rpc.")
            );
        }
    }
}
