//! Who is seen by whom, as nodes come, change, fail, leave and return.

use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use tokio::time::timeout;
use varve_gossip::{
    Gossip, GossipConfig, GossipKey, GossipKeyRing, MemberStatus, Membership, SetTagsError, StartError,
    TAG_OVERHEAD_BYTES, TAGS_BYTES_MAX, Tags, addrs_to_keep,
};

use crate::support::{DEADLINE, config, key, start, stop, three, until, until_alive, until_status};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_nodes_find_each_other_by_one_seed() {
    let nodes = three().await;
    for node in &nodes {
        assert_eq!(node.local().gossip_addr, node.addr());
        assert_ne!(node.addr().port(), 0);
        assert_eq!(addrs_to_keep(node).len(), 2);
    }
    stop(nodes).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tags_travel_and_change() {
    let a = start("a", &[]).await;
    let mut with_tags = config("b", &[a.addr()]);
    with_tags.tags = Tags::try_from([("rack", "r1"), ("empty", "")]).unwrap();
    let b = Gossip::start(with_tags.clone()).await.unwrap();
    let sees = |tags: Tags| {
        move |members: &[varve_gossip::Member]| members.iter().any(|m| m.name == "b" && m.tags == tags)
    };
    until(&a, "b's first tags", sees(with_tags.tags)).await;

    let largest = "x".repeat(TAGS_BYTES_MAX - TAG_OVERHEAD_BYTES - 1);
    for value in ["other", &largest] {
        let tags = Tags::try_from([("t", value)]).unwrap();
        b.set_tags(tags.clone()).await.unwrap();
        assert_eq!(b.local().tags, tags);
        until(&a, "b's new tags", sees(tags)).await;
    }
    b.set_tags(Tags::new()).await.unwrap();
    until(&a, "b's tags gone", sees(Tags::new())).await;
    b.shutdown().await;
    assert_eq!(b.set_tags(Tags::new()).await, Err(SetTagsError::Stopped));
    a.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_joins_while_a_node_starts_is_seen_by_it() {
    const ROUNDS: usize = 10;
    const NAMES: [&str; 4] = ["a", "b", "c", "d"];
    for _ in 0..ROUNDS {
        let first = start("seed", &[]).await;
        let addr = first.addr();
        first.shutdown().await;
        let mut waiting = Vec::new();
        for name in NAMES {
            let mut config = config(name, &[addr]);
            // They knock all the time, so that some do before the node is through with its start.
            config.timing.join_backoff_min = Duration::from_millis(1);
            config.timing.join_backoff_max = Duration::from_millis(1);
            waiting.push(Gossip::start(config).await.unwrap());
        }
        let mut config = config("seed", &[]);
        config.bind_addr = addr;
        let seed = Gossip::start(config).await.unwrap();
        until_alive(&seed, &[&NAMES[..], &["seed"]].concat()).await;
        stop(waiting).await;
        seed.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_stops_without_leaving_is_seen_failed() {
    let [a, b, c] = three().await;
    c.shutdown().await;
    c.shutdown().await;
    for node in [&a, &b] {
        until_status(node, "c", MemberStatus::Failed).await;
        until_alive(node, &["a", "b"]).await;
    }
    stop([a, b]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_leaves_is_seen_left() {
    // With exchanges as frequent as news: an exchange that overtakes it must not turn a leave into a failure.
    let mut starting = Vec::new();
    for name in ["a", "b", "c"] {
        let seeds: Vec<_> = starting.iter().map(Gossip::addr).collect();
        let mut config = config(name, &seeds);
        config.timing.exchange_interval = Duration::from_millis(20);
        starting.push(Gossip::start(config).await.unwrap());
    }
    let [a, b, c] = <[Gossip; 3]>::try_from(starting).unwrap();
    for node in [&a, &b, &c] {
        until_alive(node, &["a", "b", "c"]).await;
    }
    timeout(DEADLINE, c.leave()).await.unwrap();
    c.shutdown().await;
    for node in [&a, &b] {
        until_status(node, "c", MemberStatus::Left).await;
        assert_eq!(addrs_to_keep(node).len(), 1, "who left is not worth keeping");
    }
    stop([a, b]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_left_may_come_back() {
    let [a, b, c] = three().await;
    c.leave().await;
    c.shutdown().await;
    for node in [&a, &b] {
        until_status(node, "c", MemberStatus::Left).await;
    }
    let c = start("c", &[a.addr()]).await;
    for node in [&a, &b, &c] {
        until_alive(node, &["a", "b", "c"]).await;
    }
    stop([a, b, c]).await;
}

/// At once, while the others still take the earlier run for alive, and refuse its name at another address.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restarted_node_returns_at_another_port() {
    let [a, b, c] = three().await;
    let before = c.addr();
    c.shutdown().await;
    let c = start("c", &[a.addr()]).await;
    let now = c.addr();
    assert_ne!(now, before);
    for node in [&a, &b] {
        until(node, "c at its new address", |members| {
            members.iter().any(|member| member.name == "c" && member.gossip_addr == now && member.is_alive())
        })
        .await;
    }
    until_alive(&c, &["a", "b", "c"]).await;
    stop([a, b, c]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restarted_node_returns_at_its_own_port() {
    let [a, b, c] = three().await;
    let mut again = config("c", &[b.addr()]);
    again.bind_addr = c.addr();
    again.tags = Tags::try_from([("run", "2")]).unwrap();
    c.shutdown().await;
    let c = Gossip::start(again).await.expect("a node that stopped has freed its port");
    for node in [&a, &b] {
        until(node, "c's second run", |members| {
            members
                .iter()
                .any(|member| member.name == "c" && member.is_alive() && member.tags.get("run") == Some("2"))
        })
        .await;
    }
    stop([a, b, c]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restarted_node_needs_no_seed_but_the_addresses_it_kept() {
    let [seed, b, c] = three().await;
    let mut again = config("c", &[seed.addr()]);
    again.known_addrs = addrs_to_keep(&c);
    stop([seed, c]).await;
    until_alive(&b, &["b"]).await;
    let c = Gossip::start(again).await.unwrap();
    for node in [&b, &c] {
        until_alive(node, &["b", "c"]).await;
    }
    stop([b, c]).await;
}

/// Joining goes on until somebody is there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_may_start_before_its_seed() {
    let unused = start("unused", &[]).await;
    let seed_addr = unused.addr();
    unused.shutdown().await;
    let mut early = config("b", &[]);
    early.start_join_addrs = vec![
        "no-such-host.invalid:1".to_owned(),
        "no port".to_owned(),
        format!("localhost:{}", seed_addr.port()),
    ];
    let b = Gossip::start(early).await.unwrap();
    until_alive(&b, &["b"]).await;
    let mut seed = config("seed", &[]);
    seed.bind_addr = seed_addr;
    let seed = Gossip::start(seed).await.unwrap();
    for node in [&seed, &b] {
        until_alive(node, &["b", "seed"]).await;
    }
    stop([seed, b]).await;
}

/// A cluster that fell apart, or was started in two parts, comes together: who sees others goes on to look for the rest.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_parts_of_a_cluster_find_each_other() {
    let unused = start("unused", &[]).await;
    let late_addr = unused.addr();
    unused.shutdown().await;
    let a = start("a", &[]).await;
    let b = start("b", &[a.addr(), late_addr]).await;
    until_alive(&b, &["a", "b"]).await;
    let mut late = config("c", &[]);
    late.bind_addr = late_addr;
    let c = Gossip::start(late).await.unwrap();
    let d = start("d", &[c.addr()]).await;
    for node in [&a, &b, &c, &d] {
        until_alive(node, &["a", "b", "c", "d"]).await;
    }
    stop([a, b, c, d]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_nodes_of_one_name_leave_the_cluster_in_peace() {
    let [a, b, c] = three().await;
    let double = start("c", &[a.addr(), b.addr()]).await;
    let mut conflict = double.name_conflict();
    assert_eq!(*conflict.borrow(), None, "it might be the same node, restarted");
    let held_at = timeout(DEADLINE, conflict.wait_for(Option::is_some)).await.unwrap().unwrap().unwrap();
    assert_eq!(held_at, c.addr());
    until_alive(&double, &["a", "b", "c"]).await;
    // News still travels, and the name stays with whoever had it first.
    let tags = Tags::try_from([("after", "the double")]).unwrap();
    c.set_tags(tags.clone()).await.unwrap();
    for node in [&a, &b] {
        until(node, "the first c, with new tags", |members| {
            members
                .iter()
                .any(|m| m.name == "c" && m.is_alive() && m.gossip_addr == c.addr() && m.tags == tags)
        })
        .await;
    }
    // Once the first is gone, the other takes its place.
    c.shutdown().await;
    for node in [&a, &b] {
        until(node, "the other c", |members| {
            members.iter().any(|m| m.name == "c" && m.is_alive() && m.gossip_addr == double.addr())
        })
        .await;
    }
    timeout(DEADLINE, conflict.wait_for(Option::is_none)).await.unwrap().unwrap();
    stop([a, b, double]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_has_another_key_sees_nobody_and_is_not_seen() {
    let [a, b, c] = three().await;
    let mut config = config("stranger", &[a.addr(), b.addr()]);
    config.keys = GossipKey::from_bytes(&[8; 32]).unwrap().into();
    let stranger = Gossip::start(config).await.unwrap();
    // A node with the right key joins through all of the stranger's tries, by way of the stranger's own address too.
    let d = start("d", &[stranger.addr(), c.addr()]).await;
    for node in [&a, &b, &c, &d] {
        until_alive(node, &["a", "b", "c", "d"]).await;
        assert_eq!(node.members().len(), 4);
    }
    assert_eq!(stranger.members().len(), 1);
    stop([a, b, c, d, stranger]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_are_rotated_by_rings() {
    let (old, new) = (key(), GossipKey::from_bytes(&[9; 16]).unwrap());
    let ring = |first: &GossipKey, second: &GossipKey| {
        GossipKeyRing::from(first.clone()).with_secondary(second.clone())
    };
    let a = start("a", &[]).await;
    let mut second = config("b", &[a.addr()]);
    second.keys = ring(&old, &new).unwrap();
    let b = Gossip::start(second).await.unwrap();
    until_alive(&a, &["a", "b"]).await;
    a.shutdown().await;

    let mut third = config("c", &[b.addr()]);
    third.keys = ring(&new, &old).unwrap();
    let c = Gossip::start(third).await.unwrap();
    for node in [&b, &c] {
        until_alive(node, &["b", "c"]).await;
    }
    let tags = Tags::try_from([("by", "datagram")]).unwrap();
    c.set_tags(tags.clone()).await.unwrap();
    until(&b, "c's tags", |members| members.iter().any(|m| m.name == "c" && m.tags == tags)).await;
    stop([b, c]).await;
}

/// Puts keys into a file as a whole, the first to encrypt with.
fn write_keys(path: &Path, keys: &[&GossipKey]) {
    let new = path.with_extension("new");
    drop(std::fs::remove_file(&new));
    keys[0].write_file(&new).unwrap();
    let mut file = std::fs::OpenOptions::new().append(true).open(&new).unwrap();
    for key in &keys[1..] {
        writeln!(file, "{}", *key.to_base64()).unwrap();
    }
    std::fs::rename(new, path).unwrap();
}

/// Whether news travels both ways.
async fn hear_each_other(a: &Gossip, b: &Gossip, word: &str) {
    for (speaker, listener) in [(a, b), (b, a)] {
        let (name, tags) = (speaker.local().name, Tags::try_from([("word", word)]).unwrap());
        speaker.set_tags(tags.clone()).await.unwrap();
        until(listener, word, |members| members.iter().any(|m| m.name == name && m.tags == tags)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_are_rotated_while_gossip_runs() {
    let dir = tempfile::tempdir().unwrap();
    let (old, new) = (key(), GossipKey::from_bytes(&[9; 32]).unwrap());
    let file = |name: &str| dir.path().join(name);
    let node = |name: &str, join: &[SocketAddr]| {
        write_keys(&file(name), &[&old]);
        let mut config = config(name, join);
        config.key_file = Some(file(name));
        Gossip::start(config)
    };
    let a = node("a", &[]).await.unwrap();
    let b = node("b", &[a.addr()]).await.unwrap();
    until_alive(&a, &["a", "b"]).await;
    let steps: [&[&GossipKey]; 3] = [&[&old, &new], &[&new, &old], &[&new]];
    for (step, keys) in steps.iter().enumerate() {
        for (name, node) in [("a", &a), ("b", &b)] {
            write_keys(&file(name), keys);
            node.reload_keys();
        }
        hear_each_other(&a, &b, &format!("step {step}")).await;
    }
    // A file that is wrong changes nothing.
    std::fs::write(file("a"), "no key").unwrap();
    a.reload_keys();
    hear_each_other(&a, &b, "still").await;
    // Whoever has the old key alone is a stranger by now, and whoever has the new one is let in.
    let mut late = config("late", &[a.addr()]);
    late.keys = old.into();
    let late = Gossip::start(late).await.unwrap();
    let mut newcomer = config("new", &[a.addr()]);
    newcomer.keys = new.into();
    let newcomer = Gossip::start(newcomer).await.unwrap();
    until_alive(&a, &["a", "b", "new"]).await;
    assert_eq!(late.members().len(), 1);
    stop([a, b, late, newcomer]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_start_says_why() {
    let refused = Gossip::start(config("", &[])).await.unwrap_err();
    assert!(matches!(refused, StartError::Name { .. }), "{refused}");
    let refused = Gossip::start(config(&"n".repeat(129), &[])).await.unwrap_err();
    assert!(matches!(refused, StartError::Name { .. }), "{refused}");

    let mut hasty = config("a", &[]);
    hasty.timing.join_backoff_min = Duration::ZERO;
    let refused = Gossip::start(hasty).await.unwrap_err();
    assert!(matches!(refused, StartError::Timing { setting: "join_backoff_min" }), "{refused}");

    let a = start("a", &[]).await;
    let taken = GossipConfig::new("b", a.addr(), key());
    let refused = Gossip::start(taken).await.unwrap_err();
    assert!(matches!(refused, StartError::Bind { .. }), "{refused}");
    a.shutdown().await;
}

/// A dropped node's sockets are closed, and the others see a failure.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dropped_node_is_gone() {
    let [a, b, c] = three().await;
    drop(c);
    until_status(&a, "c", MemberStatus::Failed).await;
    stop([a, b]).await;
}

/// What the node is told to advertise is what the others see, with the port that was bound.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_advertised_address_is_seen() {
    let a = start("a", &[]).await;
    let mut everywhere = config("b", &[a.addr()]);
    everywhere.bind_addr = "0.0.0.0:0".parse().unwrap();
    everywhere.advertise_addr = Some("127.0.0.1:0".parse().unwrap());
    let b = Gossip::start(everywhere).await.unwrap();
    assert_ne!(b.addr().port(), 0);
    until(&a, "b's address", |members| members.iter().any(|m| m.name == "b" && m.gossip_addr == b.addr()))
        .await;
    timeout(Duration::from_secs(30), stop([a, b])).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_with_another_key_is_told_so() {
    let first = start("first", &[]).await;
    let mut other = config("other", &[first.addr()]);
    other.keys = GossipKey::from_bytes(&[9; 32]).unwrap().into();
    let other = Gossip::start(other).await.unwrap();
    let mut foreign = other.foreign_key();
    let told = timeout(DEADLINE, foreign.wait_for(Option::is_some)).await;
    assert_eq!(*told.expect("it is noticed").unwrap(), Some(first.addr()));
    assert_eq!(*first.foreign_key().borrow(), None, "the cluster's own node is in order");
}
