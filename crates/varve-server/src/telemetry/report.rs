//! What is read off the node when somebody asks for its metrics.

use std::sync::atomic::Ordering;

use varve_gossip::MemberStatus;
use varve_net::{ConnectionStats, MuxLimits, Protocol, Refusal};
use varve_replica::Partition;
use varve_storage::Storage;
use varve_telemetry::{KeyValue, Metric, Observer, Telemetry, catalogue as c};

use super::process;
use super::traffic::Flow;
use super::{Lags, OpenStreams, SpaceWatch, Traffic};
use crate::BuildInfo;
use crate::cluster::ClusterView;
use crate::condition::Condition;
use crate::grpc::InFlight;
use crate::http::OpsConnections;
use crate::security::Security;
use crate::topics::{Slot, Topic, Topics};

/// What is known before the node has its place.
pub(crate) struct Early<'a> {
    pub(crate) build: BuildInfo,
    pub(crate) connections: ConnectionStats,
    pub(crate) operators: OpsConnections,
    pub(crate) limits: MuxLimits,
    pub(crate) security: Option<&'a Security>,
    pub(crate) storage: &'a Storage,
    pub(crate) space: &'a SpaceWatch,
    pub(crate) condition: &'a Condition,
}

/// Has that told.
pub(crate) fn register_early(telemetry: &Telemetry, early: Early<'_>) {
    let Early { build, connections, operators, limits, security, storage, space, condition } = early;
    telemetry.observe(&c::BUILD_INFO, move |tell| {
        tell(1.0, &[KeyValue::new("version", build.version), KeyValue::new("revision", build.revision)]);
    });
    of_process(telemetry);
    let (open, refused) = (connections.clone(), connections);
    telemetry.observe(&c::CONNECTIONS, move |tell| {
        for (protocol, name) in
            [(Protocol::Http2, "grpc"), (Protocol::Http1, "http"), (Protocol::Peer, "peer")]
        {
            tell(open.open(protocol) as f64, &[KeyValue::new("protocol", name)]);
        }
        tell(operators.open() as f64, &[KeyValue::new("protocol", "ops")]);
    });
    telemetry.observe(&c::CONNECTIONS_REFUSED, move |tell| {
        for refusal in Refusal::ALL {
            tell(refused.refused(refusal) as f64, &[KeyValue::new("reason", refusal_name(refusal))]);
        }
    });
    telemetry.observe(&c::CONNECTIONS_LIMIT, move |tell| tell(limits.connections_max as f64, &[]));
    if let Some(security) = security.cloned() {
        telemetry.observe(&c::CERTIFICATE_EXPIRY, move |tell| {
            for (usage, not_after) in security.ends() {
                tell(not_after as f64, &[KeyValue::new("use", usage)]);
            }
        });
    }
    disk(telemetry, storage, space);
    let condition = condition.clone();
    telemetry.observe(&c::HEALTH, move |tell| {
        for check in condition.now().checks() {
            tell(f64::from(u8::from(check.is_ok())), &[KeyValue::new("check", check.name)]);
        }
    });
}

fn of_process(telemetry: &Telemetry) {
    let told = |metric: &Metric, value: fn() -> Option<f64>| {
        telemetry.observe(metric, move |tell| tell_some(tell, value()));
    };
    told(&c::MEMORY_USED, || process::memory_used().map(|bytes| bytes as f64));
    told(&c::MEMORY_LIMIT, || process::memory_limit().map(|bytes| bytes as f64));
    told(&c::CPU_TIME, process::cpu_used);
    told(&c::FILES_OPEN, || process::files_open().map(|files| files as f64));
    told(&c::FILES_LIMIT, || process::files_limit().map(|files| files as f64));
    told(&c::UPTIME, process::uptime);
}

fn disk(telemetry: &Telemetry, storage: &Storage, space: &SpaceWatch) {
    let (size, available, full) = (space.clone(), space.clone(), space.clone());
    telemetry.observe(&c::DISK_SIZE, move |tell| {
        tell_some(tell, size.last().map(|space| space.total_bytes as f64));
    });
    telemetry.observe(&c::DISK_AVAILABLE, move |tell| {
        tell_some(tell, available.last().map(|space| space.available_bytes as f64));
    });
    telemetry.observe(&c::DISK_TIME_TO_FULL, move |tell| {
        tell_some(tell, full.time_to_full().map(|left| left.as_secs_f64()));
    });
    // The directory is free once the node has stopped, whoever still reads metrics.
    let queue = storage.gauge();
    telemetry.observe(&c::WRITE_QUEUE, move |tell| tell(queue.queued() as f64, &[]));
}

/// What is known once the node serves.
pub(crate) struct Cluster {
    pub(crate) view: ClusterView,
    pub(crate) topics: Topics,
    pub(crate) streams: OpenStreams,
    pub(crate) lags: Lags,
    pub(crate) room: InFlight,
    pub(crate) topics_max: usize,
}

/// Has that told.
pub(crate) fn register_cluster(telemetry: &Telemetry, cluster: Cluster) {
    let Cluster { view, topics, streams, lags, room, topics_max } = cluster;
    totals(telemetry, topics.traffic());
    by_topic(telemetry, &topics, topics_max);
    consensus(telemetry, &view, &topics);
    let (open, behind) = (streams.clone(), streams.clone());
    telemetry.observe(&c::STREAMS_OPEN, move |tell| {
        tell(open.producing() as f64, &[KeyValue::new("kind", "produce")]);
        tell(open.consuming() as f64, &[KeyValue::new("kind", "consume")]);
    });
    telemetry.observe(&c::STREAM_LAG, move |tell| {
        for lag in behind.lags() {
            tell(lag.records as f64, &stream_labels(&lag));
        }
    });
    telemetry.observe(&c::STREAM_LAG_SECONDS, move |tell| {
        for lag in streams.lags() {
            tell(lag.seconds, &stream_labels(&lag));
        }
    });
    let seconds = lags.clone();
    telemetry.observe(&c::LAG_ENTRIES, move |tell| {
        for lag in lags.last() {
            tell(lag.entries as f64, &follower_labels(&lag));
        }
    });
    telemetry.observe(&c::LAG_SECONDS, move |tell| {
        for lag in seconds.last() {
            tell(lag.seconds, &follower_labels(&lag));
        }
    });
    let limit = room.limit();
    telemetry.observe(&c::IN_FLIGHT, move |tell| tell(room.used() as f64, &[]));
    telemetry.observe(&c::IN_FLIGHT_LIMIT, move |tell| tell(limit as f64, &[]));
    let full = view.clone();
    telemetry
        .observe(&c::DISK_FULL, move |tell| tell(f64::from(u8::from(full.metadata.is_disk_full())), &[]));
}

fn totals(telemetry: &Telemetry, traffic: &Traffic) {
    let told = |metric: &Metric, value: fn(&Traffic) -> u64| {
        let traffic = traffic.clone();
        telemetry.observe(metric, move |tell| tell(value(&traffic) as f64, &[]));
    };
    told(&c::PRODUCED_RECORDS, |traffic| traffic.total().produced.records());
    told(&c::PRODUCED_BYTES, |traffic| traffic.total().produced.bytes());
    told(&c::PRODUCED_BATCHES, |traffic| traffic.total().produced.batches());
    told(&c::PRODUCED_DUPLICATES, |traffic| traffic.total().duplicates.load(Ordering::Relaxed));
    told(&c::CONSUMED_RECORDS, |traffic| traffic.total().consumed.records());
    told(&c::CONSUMED_BYTES, |traffic| traffic.total().consumed.bytes());
}

/// What is told of a topic.
type OfTopic = fn(&Topic) -> u64;

fn by_topic(telemetry: &Telemetry, topics: &Topics, topics_max: usize) {
    let told = |metric: &Metric, value: OfTopic| {
        let topics = topics.clone();
        telemetry.observe(metric, move |tell| {
            for topic in topics.all().values().take(topics_max) {
                tell(value(topic) as f64, &[KeyValue::new("topic", topic.name.to_string())]);
            }
        });
    };
    fn flow(topic: &Topic, of: fn(&Flow) -> u64, is_produced: bool) -> u64 {
        let own = topic.traffic.own();
        of(if is_produced { &own.produced } else { &own.consumed })
    }
    told(&c::TOPIC_PRODUCED_RECORDS, |topic| flow(topic, Flow::records, true));
    told(&c::TOPIC_PRODUCED_BYTES, |topic| flow(topic, Flow::bytes, true));
    told(&c::TOPIC_CONSUMED_RECORDS, |topic| flow(topic, Flow::records, false));
    told(&c::TOPIC_CONSUMED_BYTES, |topic| flow(topic, Flow::bytes, false));
    told(&c::TOPIC_SIZE, |topic| {
        topic.open_partitions().map(|(_, partition)| partition.status().size_bytes).sum()
    });
    let topics = topics.clone();
    telemetry.observe(&c::TOPICS_UNLISTED, move |tell| {
        // None was asked for where there are to be none.
        let unlisted = if topics_max == 0 { 0 } else { topics.all().len().saturating_sub(topics_max) };
        tell(unlisted as f64, &[]);
    });
}

/// Has told who this node is, and what is known of the controller, as soon as this node follows it.
pub(crate) fn register_controller(telemetry: &Telemetry, view: &ClusterView) {
    let who = [
        KeyValue::new("node_id", view.this().get().cast_signed()),
        KeyValue::new("cluster_id", view.identity.cluster_id.clone()),
    ];
    telemetry.observe(&c::NODE_INFO, move |tell| tell(1.0, &who));
    let told = |metric: &Metric, value: fn(&ClusterView) -> bool| {
        let view = view.clone();
        telemetry.observe(metric, move |tell| {
            tell(f64::from(u8::from(value(&view))), &[KeyValue::new("group", "controller")]);
        });
    };
    told(&c::HAS_LEADER, |view| view.controller_leader().is_some());
    told(&c::GROUPS, |_| true);
    told(&c::LEADS, |view| view.controller_leader() == Some(view.this()));
    let view = view.clone();
    telemetry.observe(&c::GOSSIP_MEMBERS, move |tell| {
        for (status, name) in
            [(MemberStatus::Alive, "alive"), (MemberStatus::Failed, "failed"), (MemberStatus::Left, "left")]
        {
            tell(view.presence.count(status) as f64, &[KeyValue::new("state", name)]);
        }
    });
}

fn consensus(telemetry: &Telemetry, view: &ClusterView, topics: &Topics) {
    let told = |metric: &Metric, is_counted: fn(&ClusterView, &Partition) -> bool| {
        let (view, topics) = (view.clone(), topics.clone());
        telemetry.observe(metric, move |tell| {
            let count = open_partitions(&topics, |one| is_counted(&view, one));
            tell(count as f64, &[KeyValue::new("group", "partitions")]);
        });
    };
    told(&c::HAS_LEADER, |_, partition| partition.progress().leader.is_some());
    told(&c::GROUPS, |_, _| true);
    told(&c::LEADS, |view, partition| partition.progress().leader == Some(view.this()));
    let damaged = topics.clone();
    telemetry.observe(&c::DAMAGE, move |tell| {
        let unopened: usize = damaged.all().values().map(|topic| failed(topic)).sum();
        tell((open_partitions(&damaged, |one| one.damage().is_some()) + unopened) as f64, &[]);
    });
    let known = |metric: &Metric, value: fn(&varve_controller::Health) -> usize| {
        let view = view.clone();
        telemetry.observe(metric, move |tell| {
            tell(value(&view.state().0.health(&view.liveness())) as f64, &[]);
        });
    };
    known(&c::UNDER_REPLICATED, |health| health.under_replicated.count);
    known(&c::LEADERLESS, |health| health.leaderless.count);
    known(&c::PARTITIONS, |health| health.partitions);
    let topics = topics.clone();
    telemetry.observe(&c::TOPICS, move |tell| tell(topics.all().len() as f64, &[]));
}

fn open_partitions(topics: &Topics, is_counted: impl Fn(&Partition) -> bool) -> usize {
    let all = topics.all();
    all.values().flat_map(|topic| topic.open_partitions()).filter(|(_, one)| is_counted(one)).count()
}

/// Partitions that lie here and could not be opened.
fn failed(topic: &Topic) -> usize {
    topic.slots().filter(|(_, _, slot)| matches!(slot, Slot::Failed(_))).count()
}

fn refusal_name(refusal: Refusal) -> &'static str {
    match refusal {
        Refusal::Handshake => "handshake",
        Refusal::Limit => "limit",
        Refusal::Silent => "silent",
        Refusal::Protocol => "protocol",
    }
}

fn stream_labels(lag: &super::streams::StreamLag) -> [KeyValue; 3] {
    [
        KeyValue::new("topic", lag.topic.clone()),
        KeyValue::new("partition", i64::from(lag.partition)),
        KeyValue::new("stream", lag.slot as i64),
    ]
}

fn follower_labels(lag: &super::lags::Lag) -> [KeyValue; 3] {
    [
        KeyValue::new("topic", lag.topic.clone()),
        KeyValue::new("partition", i64::from(lag.partition)),
        KeyValue::new("follower", lag.follower.get() as i64),
    ]
}

fn tell_some(tell: Observer<'_>, value: Option<f64>) {
    if let Some(value) = value {
        tell(value, &[]);
    }
}
