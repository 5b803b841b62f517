//! Nodes that speak with each other: who is one, and which.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use futures::future::BoxFuture;
use tokio::sync::Notify;
use varve_api::error::Reason;
use varve_api::v1;
use varve_env::disk::FaultyDisk;
use varve_env::net::{BoxStream, Listener, Network, TcpNetwork};
use varve_env::{Env, SeededEntropy};
use varve_gossip::{MemoryNetwork, Tags};
use varve_net::{
    Mux, MuxLimits, OpenGate, Payload, PeerClient, PeerHandler, PeerIdentity, PeerLane, Protocol,
    TlsPeerNetwork, serve_peer,
};
use varve_server::{Discovery, Node, NodeConfig};
use varve_tls::{ServerTls, ServerTlsSettings, TlsFiles, TlsVersion};

use crate::certificates::{Certificates, connect};
use crate::security::{addr, cluster, log, secured};
use crate::support::{TOPIC, config, env_on, refused, values, within};
use crate::test_cluster::until;

/// Node 2's connections to a node, by these files.
fn as_node_2(node: &Node, files: TlsFiles) -> PeerClient {
    let tls = peer_tls(files);
    let network = TlsPeerNetwork::new(Arc::new(TcpNetwork), tls, Arc::new(|_, _| Ok(())));
    let addr = node.rpc_addr().to_string();
    let addresses = Arc::new(move |_| Some(addr.clone()));
    PeerClient::new(network, Arc::new(SeededEntropy::new(1)), node_2(node), addresses)
}

fn peer_tls(files: TlsFiles) -> ServerTls {
    let settings =
        ServerTlsSettings { server: files.clone(), peer: files, crl: None, min_version: TlsVersion::Tls13 };
    ServerTls::open(settings).unwrap()
}

/// Node 2 of the cluster that a node is of.
fn node_2(node: &Node) -> PeerIdentity {
    let id = node.identity().cluster_id.replace('-', "");
    let cluster: Vec<u8> =
        (0..16).map(|at| u8::from_str_radix(&id[2 * at..2 * at + 2], 16).unwrap()).collect();
    PeerIdentity { cluster: cluster.try_into().unwrap(), node: 2 }
}

/// Asks anything as node 2.
async fn ask(client: &PeerClient, node: &Node) -> Result<Bytes, String> {
    let to = node.identity().node_id.get();
    let asked = client.call(to, PeerLane::Control, Bytes::from_static(b"anything").into());
    within(asked).await.map_err(|error| error.reason.to_string())
}

/// Tries to speak as node 2, and to be heard.
async fn speak_as_peer(node: &Node, files: TlsFiles) -> Result<Bytes, String> {
    ask(&as_node_2(node, files), node).await
}

/// Takes a node of this name, with such a certificate, into the cluster.
async fn take_in(node: &Node, certificate: TlsFiles, name: &str, rpc_addr: &str) -> u64 {
    let mut peer = cluster(node, certificate).await;
    let (name, rpc_addr) = (name.to_owned(), rpc_addr.to_owned());
    let joining = v1::JoinClusterRequest { name, rpc_addr, ..Default::default() };
    within(peer.join_cluster(joining)).await.unwrap().into_inner().node_id
}

#[tokio::test(flavor = "multi_thread")]
async fn a_number_that_no_node_of_the_cluster_has_is_no_peers() {
    let certificates = Certificates::new();
    let node = secured(&certificates).await;
    let unknown = speak_as_peer(&node, certificates.node("node-2")).await.unwrap_err();
    assert!(unknown.contains("the cluster has no node 2"), "{unknown}");
    assert_eq!(take_in(&node, certificates.node("node-2"), "node-2", "127.0.0.1:1").await, 2);
    speak_as_peer(&node, certificates.node("node-2")).await.unwrap();
    let another = speak_as_peer(&node, certificates.node("node-3")).await.unwrap_err();
    assert!(another.contains("its certificate is that of node node-3"), "{another}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_was_taken_out_is_heard_no_more_and_told_why() {
    let certificates = Certificates::new();
    let node = secured(&certificates).await;
    let id = take_in(&node, certificates.node("node-2"), "node-2", "127.0.0.1:1").await;
    let open = as_node_2(&node, certificates.node("node-2"));
    ask(&open, &node).await.unwrap();
    let mut root = cluster(&node, certificates.client("root")).await;
    within(root.decommission_server(v1::DecommissionServerRequest { id, cancel: false })).await.unwrap();
    // Of the connection that is open and of a new one.
    until(async || {
        let said = ask(&open, &node).await.err().unwrap_or_default();
        (said.contains("node 2 was taken out of the cluster"), "the node that is gone hears that it is")
    })
    .await;
    let anew = speak_as_peer(&node, certificates.node("node-2")).await.unwrap_err();
    assert!(anew.contains("node 2 was taken out of the cluster"), "{anew}");
}

/// Says when it is asked something, and answers nothing.
#[derive(Default)]
struct Asked(Notify);

impl PeerHandler for Asked {
    fn answer(&self, _from: u64, _lane: PeerLane, _request: Bytes) -> BoxFuture<'static, Payload> {
        self.0.notify_one();
        Box::pin(std::future::pending())
    }
}

/// Whether whoever connects next asks node 2 something, and does not only look at its certificate.
async fn is_asked(mux: &mut Mux, node_2: PeerIdentity) -> bool {
    let incoming = within(mux.next()).await.unwrap();
    assert_eq!(incoming.protocol, Protocol::Peer);
    let asked = Asked::default();
    let serving = serve_peer(incoming.connection, node_2, &asked, &OpenGate);
    tokio::select! {
        biased;
        () = asked.0.notified() => true,
        _ended = within(serving) => false,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_asked_of_a_node_that_has_anothers_certificate() {
    let certificates = Certificates::new();
    for (shown, is_right) in [("node-3", false), ("node-2", true)] {
        let node = secured(&certificates).await;
        let listener = TcpNetwork.bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let tls = peer_tls(certificates.node(shown));
        let mut mux = Mux::start(listener, MuxLimits::default(), Some(tls)).unwrap();
        let there = mux.local_addr().to_string();
        take_in(&node, certificates.node("node-2"), "node-2", &there).await;
        // The controller's leader speaks to it as to any other member.
        for _ in 0..3 {
            assert_eq!(is_asked(&mut mux, node_2(&node)).await, is_right, "it has shown {shown}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clients_certificate_never_speaks_raft() {
    // One authority for nodes and clients: what the certificate says counts.
    let certificates = Certificates::new();
    let node = secured(&certificates).await;
    take_in(&node, certificates.node("node-2"), "node-2", "127.0.0.1:1").await;
    speak_as_peer(&node, certificates.node("node-2")).await.unwrap();
    for files in [certificates.client("root"), certificates.stranger("node-2")] {
        speak_as_peer(&node, files).await.expect_err("the connection ends without an answer");
    }
    // One for each: what the clients' has issued is a client's, whatever it says.
    let nodes = Certificates::new();
    let mut settings = config();
    let mut security = certificates.security("node-1");
    security.tls.peer = nodes.node("node-1");
    settings.security = Some(security);
    let node = within(Node::start(env_on(&FaultyDisk::new(2)), settings)).await.unwrap();
    let as_a_client = TlsFiles { ca: certificates.path("ca.pem"), ..nodes.node("node-2") };
    take_in(&node, as_a_client, "node-2", "127.0.0.1:1").await;
    speak_as_peer(&node, nodes.node("node-2")).await.unwrap();
    for files in [certificates.client("root"), certificates.node("node-2")] {
        let files = TlsFiles { ca: nodes.path("ca.pem"), ..files };
        speak_as_peer(&node, files).await.expect_err("there is no connection");
    }
    // And a node's is no better than that of a client whom the policy knows, where it is asked as one.
    within(connect(&addr(&node), TlsFiles { ca: certificates.path("ca.pem"), ..nodes.node("node-2") }))
        .await
        .unwrap();
}

/// Three nodes that are secured, with gossip's double.
pub(crate) async fn three(certificates: &Certificates) -> BTreeMap<usize, Node> {
    three_over(certificates, Arc::new(TcpNetwork), Duration::from_secs(3600)).await
}

/// The same over a network, whose connections live so long.
async fn three_over(
    certificates: &Certificates,
    network: Arc<dyn Network>,
    age_max: Duration,
) -> BTreeMap<usize, Node> {
    let gossip = MemoryNetwork::new();
    let mut nodes = BTreeMap::new();
    for number in 1..=3_usize {
        let name = format!("node-{number}");
        let gossip_addr = SocketAddr::from(([127, 0, 0, 1], 1000 + number as u16));
        let membership = gossip.join(name.clone(), gossip_addr, Tags::new());
        let mut settings = NodeConfig {
            node_name: name,
            bootstrap: number == 1,
            discovery: Discovery::Given(Arc::new(membership)),
            replacement_delay: Duration::from_secs(3600),
            ..config()
        };
        certificates.secure(&mut settings);
        settings.security.as_mut().unwrap().connection_age_max = age_max;
        let env = Env { network: Arc::clone(&network), ..env_on(&FaultyDisk::new(number as u64)) };
        nodes.insert(number, within(Node::start(env, settings)).await.unwrap());
    }
    nodes
}

/// A topic of three partitions that has all its replicas.
async fn whole_topic(node: &Node, files: TlsFiles) {
    let admin = cluster(node, files).await;
    let create = v1::CreateTopicRequest { name: TOPIC.to_owned(), partitions: 3, ..Default::default() };
    until(async || {
        drop(admin.clone().create_topic(create.clone()).await);
        let asked = v1::DescribeTopicRequest { name: TOPIC.to_owned(), ..Default::default() };
        let described = admin.clone().describe_topic(asked).await;
        let is_whole = described.is_ok_and(|topic| {
            let partitions = topic.into_inner().topic.unwrap().partitions;
            partitions.iter().all(|partition| partition.replicas.len() == 3 && partition.leader.is_some())
        });
        (is_whole, "the topic has three replicas")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn three_nodes_speak_through_tls_and_hand_calls_on_in_their_callers_name() {
    let certificates = Certificates::new();
    let nodes = three(&certificates).await;
    let root = certificates.client("root");
    whole_topic(&nodes[&1], root.clone()).await;
    let mut admin = cluster(&nodes[&1], root.clone()).await;
    let (writer, nobody) = (certificates.client("writer"), certificates.client("nobody"));
    let mut taken = 0;
    for node in nodes.values() {
        let (mut writing, mut denied) = (log(node, writer.clone()).await, log(node, nobody.clone()).await);
        for partition in 0..3 {
            let request = v1::ProduceRequest { partition: Some(partition), ..values(&["x"]) };
            within(writing.produce(request.clone())).await.unwrap();
            taken += 1;
            refused(within(denied.produce(request)).await, Reason::PermissionDenied);
        }
    }
    assert_eq!(taken, 9, "each node has handed on what another leads");
    let mut tails = 0;
    for partition in 0..3 {
        let request = v1::GetTailRequest { topic: TOPIC.to_owned(), partition, ..Default::default() };
        let mut reading = log(&nodes[&2], root.clone()).await;
        tails += within(reading.get_tail(request)).await.unwrap().into_inner().high_watermark;
    }
    assert!(tails <= 9);
    drop(within(admin.get_cluster_health(v1::GetClusterHealthRequest {})).await.unwrap());
}

/// Counts the connections that nodes make to each other.
#[derive(Debug, Default)]
struct Counting(AtomicUsize);

impl Network for Counting {
    fn bind(&self, addr: SocketAddr) -> BoxFuture<'_, io::Result<Box<dyn Listener>>> {
        TcpNetwork.bind(addr)
    }

    fn connect(&self, host_port: String) -> BoxFuture<'_, io::Result<BoxStream>> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Box::pin(async move { TcpNetwork.connect(host_port).await })
    }
}

/// Certificates are looked at again, and nobody who writes notices.
#[tokio::test(flavor = "multi_thread")]
async fn replication_goes_on_while_connections_between_nodes_end_by_age() {
    let certificates = Certificates::new();
    let network = Arc::new(Counting::default());
    let nodes = three_over(&certificates, network.clone(), Duration::from_millis(500)).await;
    let root = certificates.client("root");
    whole_topic(&nodes[&1], root.clone()).await;
    let made_before = network.0.load(Ordering::Relaxed);
    // The client's connection is too old before long as well.
    let (mut written, mut made) = (0_u64, 0);
    until(async || {
        let mut log = log(&nodes[&1], root.clone()).await;
        if log.produce(values(&["x"])).await.is_ok() {
            written += 1;
        }
        made = network.0.load(Ordering::Relaxed) - made_before;
        (written >= 20 && made >= 30, "all connections were made anew several times, and records written")
    })
    .await;
    for node in nodes.values() {
        until(async || {
            let tail = v1::GetTailRequest { topic: TOPIC.to_owned(), ..Default::default() };
            let tail = log(node, root.clone()).await.get_tail(tail).await;
            let has_all = tail.is_ok_and(|tail| tail.into_inner().high_watermark >= written);
            (has_all, "every node has all that was acknowledged")
        })
        .await;
    }
}
