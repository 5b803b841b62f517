//! Serf's settings, and why they are as they are.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use memberlist_core::proto::{EncryptionAlgorithm, SecretKey, SecretKeys};
use serf::delegate::{CompositeDelegate, NoopReconnectDelegate};
use serf::net::NetTransportOptions;
use serf::tokio::{TokioNetTransport, TokioSocketAddrResolver};
use serf::types::SmolStr;
use serf::{MemberlistOptions, Options, Serf};

use crate::conflict::{NameWatch, NameWatchDelegate};
use crate::foreign::KeyWatch;
use crate::guard::GuardedTcp;
use crate::{GossipConfig, GossipKey, GossipKeyRing, GossipTiming};

/// How long news of the local node may take to be under way to another.
const BROADCAST_TIMEOUT: Duration = Duration::from_secs(2);

/// How long a node that leaves stays to answer probes, so that nobody takes it for failed.
const LEAVE_PROPAGATE: Duration = Duration::from_secs(1);

/// How often failed members are tried, one by chance each time.
const RECONNECT_INTERVAL: Duration = Duration::from_secs(5);

/// How long a failed member must have been failed before its name may come back at another address. Zero would mean never.
const RECLAIM_AFTER: Duration = Duration::from_secs(1);

/// How many members news is passed on to at a time.
const GOSSIP_FANOUT: usize = 4;

/// Most datagrams that wait to be handled, of 64 KiB at most each.
const DATAGRAMS_QUEUED_MAX: usize = 256;

/// How many of serf's user events and queries are remembered, so that none is handled twice. Varve sends none.
const EVENTS_REMEMBERED: usize = 16;

/// How long memberlist keeps members that are gone: longer than a process lives. When it takes one out, it may leave the index
/// of another stale (0.8.5, `reset_nodes`: dead members are swapped to the end without their indexes, and the shuffle that
/// repairs these may miss the first place; it does nothing at all if one member is left). The next message about that member
/// then ends the task, and in a release build the process. Names are stable, so the members kept are few.
const KEEP_GONE: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

pub(crate) type SerfTransport = TokioNetTransport<SmolStr, TokioSocketAddrResolver, GuardedTcp>;
pub(crate) type SerfDelegate =
    CompositeDelegate<SmolStr, SocketAddr, NameWatchDelegate, NoopReconnectDelegate<SmolStr, SocketAddr>>;
pub(crate) type SerfNode = Serf<SerfTransport, SerfDelegate>;

/// What serf calls back.
pub(crate) fn delegate(names: Arc<NameWatch>) -> SerfDelegate {
    CompositeDelegate::new().with_merge_delegate(NameWatchDelegate(names))
}

/// Where serf listens, and what it tells the others of that.
pub(crate) fn transport(
    name: &str,
    bind_addr: SocketAddr,
    advertise_addr: Option<SocketAddr>,
    keys: Arc<KeyWatch>,
) -> NetTransportOptions<SmolStr, TokioSocketAddrResolver, GuardedTcp> {
    let mut options = NetTransportOptions::with_stream_layer_options(SmolStr::new(name), keys)
        .maybe_advertise_address(advertise_addr)
        .with_packet_buffer_size(DATAGRAMS_QUEUED_MAX);
    options.add_bind_address(bind_addr);
    options
}

/// What tells messages under these keys from others.
pub(crate) fn key_watch(config: &GossipConfig) -> Arc<KeyWatch> {
    KeyWatch::new(secrets(&config.keys), config.key_file.clone())
}

/// The keys of a ring, the one to encrypt with first.
pub(crate) fn secrets(ring: &GossipKeyRing) -> Vec<SecretKey> {
    let (primary, others) = ring.primary_and_others();
    std::iter::once(primary).chain(others).map(secret).collect()
}

/// How serf behaves.
pub(crate) fn serf(config: &GossipConfig) -> Options {
    Options::new()
        .with_memberlist_options(memberlist(&config.timing, &config.keys))
        .with_tags(config.tags.iter())
        .with_broadcast_timeout(BROADCAST_TIMEOUT)
        .with_leave_propagate_delay(LEAVE_PROPAGATE)
        .with_reconnect_interval(RECONNECT_INTERVAL)
        .with_event_buffer_size(EVENTS_REMEMBERED)
        .with_query_buffer_size(EVENTS_REMEMBERED)
        .with_disable_coordinates(true)
        // Its resolution is a vote whose loser stops. Here whoever came first keeps the name, and the other is told.
        .with_enable_id_conflict_resolution(false)
}

fn memberlist(timing: &GossipTiming, keys: &GossipKeyRing) -> MemberlistOptions {
    let (primary, others) = keys.primary_and_others();
    let others: SecretKeys = others.iter().map(secret).collect();
    MemberlistOptions::lan()
        .with_timeout(timing.stream_timeout)
        .with_probe_interval(timing.probe_interval)
        .with_probe_timeout(timing.probe_timeout)
        .with_suspicion_mult(timing.suspicion_intervals)
        // A suspicion ends after the same time, however many confirm it: kept members that are gone would count among those
        // who should.
        .with_suspicion_max_timeout_mult(1)
        .with_gossip_interval(timing.gossip_interval)
        .with_gossip_nodes(GOSSIP_FANOUT)
        .with_push_pull_interval(timing.exchange_interval)
        .with_gossip_to_the_dead_time(KEEP_GONE)
        .with_dead_node_reclaim_time(RECLAIM_AFTER)
        // All four are needed: without a cipher or without `verify_outgoing`, even what comes in is not decrypted.
        .with_encryption_algo(EncryptionAlgorithm::NoPadding)
        .with_primary_key(secret(primary))
        .with_secret_keys(others)
        .with_gossip_verify_outgoing(true)
        .with_gossip_verify_incoming(true)
}

fn secret(key: &GossipKey) -> SecretKey {
    SecretKey::try_from(key.as_bytes()).expect("a gossip key has 16, 24 or 32 bytes")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// These show in no test of behaviour on a machine with memory and in the time a test has, and the node's life hangs on
    /// them.
    #[test]
    fn what_safety_rests_on_is_set() {
        let keys = GossipKeyRing::from(GossipKey::from_bytes(&[1; 16]).unwrap());
        let options = memberlist(&GossipTiming::default(), &keys);
        assert!(options.gossip_verify_incoming() && options.gossip_verify_outgoing());
        assert!(options.encryption_algo().is_some() && options.primary_key().is_some());
        assert!(options.gossip_to_the_dead_time() >= KEEP_GONE, "members that are gone are never taken out");
        assert!(options.dead_node_reclaim_time() > Duration::ZERO, "a name may come back at another address");
        let config = GossipConfig::new("a", "127.0.0.1:0".parse().unwrap(), keys);
        assert!(!serf(&config).enable_id_conflict_resolution(), "nobody is voted out");
    }
}
