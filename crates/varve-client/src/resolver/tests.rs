use futures::FutureExt;
use varve_api::v1::{self, Server, ServerState};

use super::*;
use crate::topics::Topics;

fn resolver(address: &str) -> Resolver {
    Resolver::new(&address.parse().expect("a good address"), ClientBuilder::new())
}

/// Servers from 0 on, `!` before the address of one that is not alive, `-` of one that is to be taken away.
fn servers(addrs: &[&str]) -> GetServersResponse {
    let server = |(id, addr): (usize, &&str)| {
        let mut server = Server { id: id as u64, alive: !addr.starts_with('!'), ..Server::default() };
        let is_draining = addr.starts_with('-');
        server.set_state(if is_draining { ServerState::Draining } else { ServerState::Active });
        server.rpc_addr = addr.trim_start_matches(['!', '-']).into();
        server
    };
    let servers = addrs.iter().enumerate().map(server).collect();
    GetServersResponse { servers, cluster_id: "ours".into(), ..Default::default() }
}

/// A resolver that knows these servers.
fn knowing(addrs: &[&str]) -> Resolver {
    let resolver = resolver("seed:9");
    resolver.learn(&servers(addrs), "seed:9");
    resolver
}

/// A partition with a replica on each of so many servers, led by the first.
fn placement(replicas: u64) -> Placement {
    let name = varve_api::TopicName::new("events").expect("a good name");
    let partition =
        v1::Partition { leader: Some(0), replicas: (0..replicas).collect(), ..v1::Partition::default() };
    let topic = v1::Topic { partitions: vec![partition], ..v1::Topic::default() };
    Topics::default().learn(&name, &topic).partitions[0].clone()
}

fn text(servers: &PartitionServers) -> (Option<&str>, Vec<&str>) {
    let followers = servers.followers.iter().map(|follower| &*follower.addr).collect();
    (servers.leader.as_ref().map(|leader| &*leader.addr), followers)
}

fn unreachable() -> ApiError {
    ApiError::new(Reason::Unreachable, "told to")
}

/// Fails one server after the other, and tells which were asked.
async fn asked(resolver: &Resolver, times: usize) -> Vec<String> {
    let mut asked = Vec::new();
    for _ in 0..times {
        let addr = resolver.any().await;
        asked.push(addr.to_string());
        resolver.failed(&addr);
    }
    asked
}

#[tokio::test]
async fn asks_the_same_server_until_it_fails_then_the_next() {
    let resolver = resolver("127.0.0.1:1,127.0.0.1:2");
    assert_eq!(&*resolver.any().await, "127.0.0.1:1");
    resolver.failed(&"127.0.0.1:2".into());
    assert_eq!(&*resolver.any().await, "127.0.0.1:1");
    assert_eq!(asked(&resolver, 3).await, ["127.0.0.1:1", "127.0.0.1:1", "127.0.0.1:2"]);
}

#[tokio::test]
async fn members_in_service_come_first_and_seeds_last() {
    let resolver = resolver("127.0.0.1:9");
    resolver.learn(&servers(&["a:1", "!b:1", "-c:1", "d:1"]), "127.0.0.1:9");
    let mut asked = asked(&resolver, 5).await;
    asked[..2].sort();
    asked[2..4].sort();
    assert_eq!(asked, ["a:1", "d:1", "b:1", "c:1", "127.0.0.1:9"]);
    assert!(["a:1", "d:1"].contains(&&*resolver.any().await), "it begins anew");
}

#[tokio::test]
async fn tells_whether_another_is_left_to_try() {
    let resolver = resolver("127.0.0.1:1,127.0.0.1:2");
    let first = resolver.any().await;
    assert!(resolver.failed(&first));
    let second = resolver.any().await;
    assert!(!resolver.failed(&second));
    resolver.answered(&second);
    assert!(resolver.failed(&second), "the first may work again");
}

#[tokio::test]
async fn channels_are_kept_for_as_long_as_there_is_the_server() {
    let resolver = knowing(&["a:1", "b:1"]);
    let (a, b): (Arc<str>, Arc<str>) = ("a:1".into(), "b:1".into());
    let (_, _call_of_a) = resolver.begin(&a).expect("a good address");
    let (_, _call_of_b) = resolver.begin(&b).expect("a good address");
    resolver.learn(&servers(&["a:1", "c:1"]), "a:1");
    let kept: Vec<_> = resolver.state().links.keys().cloned().collect();
    assert_eq!(kept, [a]);
}

#[tokio::test]
async fn counts_calls_under_way() {
    let resolver = knowing(&["a:1", "b:1"]);
    let outstanding = || resolver.servers_of(&placement(2), &[]).followers[0].outstanding;
    let (_, first) = resolver.begin(&"b:1".into()).expect("a good address");
    let (_, second) = resolver.begin(&"b:1".into()).expect("a good address");
    assert_eq!(outstanding(), 2);
    drop(first);
    assert_eq!(outstanding(), 1);
    drop(second);
    assert_eq!(outstanding(), 0);
}

#[tokio::test]
async fn offers_what_can_be_used_and_all_where_nothing_can() {
    let offered = |addrs: &[&str], avoided: &[&str]| {
        let avoided: Vec<_> = avoided.iter().map(|addr| (*addr).into()).collect();
        let servers = knowing(addrs).servers_of(&placement(3), &avoided);
        let (leader, followers) = text(&servers);
        format!("{}|{}", leader.unwrap_or_default(), followers.join(" "))
    };
    assert_eq!(offered(&["a:1", "b:1", "c:1"], &[]), "a:1|b:1 c:1");
    assert_eq!(offered(&["a:1", "!b:1", "c:1"], &[]), "a:1|c:1");
    assert_eq!(offered(&["!a:1", "b:1", "-c:1"], &[]), "|b:1");
    assert_eq!(offered(&["!a:1", "!b:1", "-c:1"], &["c:1"]), "a:1|b:1", "what is said may be wrong");
    assert_eq!(offered(&["a:1", "b:1", "c:1"], &["b:1", "c:1"]), "a:1|");
    assert_eq!(offered(&["a:1", "b:1", "c:1"], &["a:1", "b:1", "c:1"]), "a:1|b:1 c:1");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_cannot_be_reached_is_not_read_for_a_while() {
    let resolver = knowing(&["a:1", "b:1", "c:1"]);
    let followers = || text(&resolver.servers_of(&placement(3), &[])).1.len();
    resolver.begin(&"b:1".into()).expect("a good address");
    resolver.ended("b:1", Some(&ApiError::new(Reason::OffsetTrimmed, "its own fault")));
    assert_eq!(followers(), 2);
    resolver.ended("b:1", Some(&unreachable()));
    assert_eq!(followers(), 1);
    resolver.ended("b:1", None);
    assert_eq!(followers(), 2);
    resolver.ended("b:1", Some(&unreachable()));
    tokio::time::advance(std::time::Duration::from_secs(10)).await;
    assert_eq!(followers(), 2);
}

#[tokio::test]
async fn an_address_that_changes_is_followed() {
    let resolver = knowing(&["a:1", "b:1"]);
    let leader = || resolver.leader_of(&placement(2));
    assert_eq!(leader().as_deref(), Some("a:1"));
    resolver.learn(&servers(&["a:2", "b:1"]), "b:1");
    assert_eq!(leader().as_deref(), Some("a:2"));
}

#[tokio::test]
async fn the_one_that_is_left_stays_where_it_is_however_often_another_tells_of_it() {
    let resolver = knowing(&["a:1", "b:1"]);
    for _ in 0..2 {
        let told = GetServersResponse { server_id: 1, ..servers(&["a:1"]) };
        resolver.learn(&told, "b:1");
        assert_eq!(resolver.leader_of(&placement(1)).as_deref(), Some("a:1"));
    }
}

#[tokio::test]
async fn where_changes_are_watched_other_answers_tell_only_of_new_servers() {
    let resolver = knowing(&["a:2", "b:1"]);
    resolver.state().is_watched = true;
    resolver.learn(&servers(&["a:1", "b:1", "c:1"]), "b:1");
    let servers = resolver.servers_of(&placement(3), &[]);
    assert_eq!(text(&servers), (Some("a:2"), vec!["b:1", "c:1"]));
}

#[tokio::test]
async fn tells_when_a_server_goes_that_was_there() {
    let resolver = knowing(&["a:1", "b:1", "!c:1"]);
    let gone = |addr: &str| resolver.gone(&addr.into());
    let (a, b, c) = (gone("a:1"), gone("b:1"), gone("c:1"));
    let leaves = resolver.out_of_service(&"b:1".into());
    tokio::pin!(a, b, c, leaves);
    resolver.learn(&servers(&["!a:1", "-b:1", "!c:1"]), "b:1");
    assert!(a.as_mut().now_or_never().is_some());
    assert!(b.as_mut().now_or_never().is_none());
    assert!(leaves.as_mut().now_or_never().is_some());
    assert!(c.as_mut().now_or_never().is_none(), "it was said to be away before, and works");
}

#[tokio::test]
async fn a_server_of_another_cluster_is_not_believed() {
    let resolver = resolver("127.0.0.1:9");
    drop(resolver.any().await);
    resolver.learn(&servers(&["a:1", "b:1"]), "127.0.0.1:9");
    let theirs = GetServersResponse { cluster_id: "theirs".into(), ..servers(&["x:1", "y:1"]) };
    resolver.learn(&theirs, "a:1");
    assert_eq!(resolver.leader_of(&placement(2)).as_deref(), Some("a:1"));
    resolver.learn(&theirs, "127.0.0.1:9");
    assert_eq!(resolver.leader_of(&placement(2)).as_deref(), Some("x:1"), "the user named that one");
}
