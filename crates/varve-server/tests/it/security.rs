//! Who is let in, and what they may do.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::codegen::http::uri::PathAndQuery;
use tonic::metadata::BinaryMetadataValue;
use tonic::transport::Channel;
use tonic::{Code, Status, Streaming};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use varve_api::error::{ApiError, Reason, meta};
use varve_api::headers;
use varve_api::log_v1;
use varve_api::log_v1::log_client::LogClient;
use varve_api::v1;
use varve_api::v1::cluster_service_client::ClusterServiceClient;
use varve_api::v1::log_service_client::LogServiceClient;
use varve_api::v1::produce_stream_response::Result as StreamResult;
use varve_authz::{Action, RPCS, Requirement};
use varve_env::disk::FaultyDisk;
use varve_gossip::{Membership, MemoryNetwork, Tags};
use varve_server::{Discovery, Node, NodeConfig, StartError};
use varve_tls::{HandshakeError, TlsFiles};

use crate::certificates::{Certificates, connect, connect_with};
use crate::peers::three;
use crate::support::{TOPIC, config, consume_from, env_on, refused, stream_from, values, within};
use crate::test_cluster::until;

pub(crate) async fn secured(certificates: &Certificates) -> Node {
    let mut settings = config();
    certificates.secure(&mut settings);
    within(Node::start(env_on(&FaultyDisk::new(1)), settings)).await.unwrap()
}

pub(crate) fn addr(node: &Node) -> String {
    node.rpc_addr().to_string()
}

pub(crate) async fn log(node: &Node, files: TlsFiles) -> LogServiceClient<Channel> {
    LogServiceClient::new(within(connect(&addr(node), files)).await.unwrap())
}

pub(crate) async fn cluster(node: &Node, files: TlsFiles) -> ClusterServiceClient<Channel> {
    ClusterServiceClient::new(within(connect(&addr(node), files)).await.unwrap())
}

/// Returns once a stream has ended because the policy no longer allows it.
async fn is_denied_in_the_end(mut stream: Streaming<v1::ConsumeStreamResponse>) {
    let end = loop {
        match within(stream.message()).await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("it ends with the reason"),
            Err(status) => break status,
        }
    };
    assert_eq!(ApiError::from_status(&end).reason, Reason::PermissionDenied, "{end}");
}

/// Messages as they are.
#[derive(Clone, Copy, Debug, Default)]
struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        *self
    }

    fn decoder(&mut self) -> Self {
        *self
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, buf: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buf.put(item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, buf: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(buf.copy_to_bytes(buf.remaining())))
    }
}

/// What a call with an empty request comes to: the code of its refusal, or of the first answer in its stream.
async fn code_of(channel: &Channel, method: &str) -> Code {
    let mut client = tonic::client::Grpc::new(channel.clone());
    client.ready().await.unwrap();
    let path = PathAndQuery::try_from(format!("/{method}")).unwrap();
    let requests = futures::stream::iter([Bytes::new()]);
    let answers = match within(client.streaming(tonic::Request::new(requests), path, Raw)).await {
        Ok(answers) => answers,
        Err(status) => return status.code(),
    };
    match within(answers.into_inner().message()).await {
        Err(status) => status.code(),
        Ok(message) if method == "varve.v1.LogService/ProduceStream" => in_stream(&message.unwrap()),
        Ok(_) => Code::Ok,
    }
}

/// A batch of a produce stream is refused in the stream.
fn in_stream(message: &Bytes) -> Code {
    let answer: v1::ProduceStreamResponse = prost::Message::decode(message.clone()).unwrap();
    match answer.result.unwrap() {
        StreamResult::Ack(_) => Code::Ok,
        StreamResult::Error(error) => ApiError::from(error).reason.code(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_call_is_taken_of_those_who_may_make_it_and_of_nobody_else() {
    let certificates = Certificates::new();
    let node = secured(&certificates).await;
    let anonymous = varve_tls::ClientTls::anonymous(certificates.path("ca.pem"), None).unwrap();
    let unknown = within(connect_with(&addr(&node), anonymous)).await.unwrap();
    let nobody = within(connect(&addr(&node), certificates.client("nobody"))).await.unwrap();
    let root = within(connect(&addr(&node), certificates.client("root"))).await.unwrap();
    let peer = within(connect(&addr(&node), certificates.node("node-2"))).await.unwrap();
    for rule in RPCS {
        // What is let in is answered, or refused for what the empty request lacks.
        let is_in = |code: Code| !matches!(code, Code::Unauthenticated | Code::PermissionDenied);
        let (unknown, nobody) = (code_of(&unknown, rule.method).await, code_of(&nobody, rule.method).await);
        let (root, peer) = (code_of(&root, rule.method).await, code_of(&peer, rule.method).await);
        let is_anyones = rule.requirement == Requirement::Anyone;
        assert!(
            if is_anyones { is_in(unknown) } else { unknown == Code::Unauthenticated },
            "{rule:?}: {unknown}"
        );
        match rule.requirement {
            Requirement::Anyone | Requirement::Authenticated => assert!(is_in(nobody), "{rule:?}: {nobody}"),
            Requirement::Peer | Requirement::Allowed(..) => {
                assert_eq!(nobody, Code::PermissionDenied, "{rule:?}");
            }
        }
        let is_peers = rule.requirement == Requirement::Peer;
        assert!(if is_peers { root == Code::PermissionDenied } else { is_in(root) }, "{rule:?}: {root}");
        // A node takes its own place alone, and the empty request names none.
        assert!(if is_peers { peer == Code::PermissionDenied } else { is_in(peer) }, "{rule:?}: {peer}");
    }
    let mut peer = ClusterServiceClient::new(peer);
    let itself = v1::JoinClusterRequest {
        name: "node-2".to_owned(),
        rpc_addr: "127.0.0.1:1".to_owned(),
        ..Default::default()
    };
    within(peer.join_cluster(itself)).await.unwrap();
    assert_eq!(code_of(&unknown, "varve.v1.LogService/NoSuchCall").await, Code::Unauthenticated);
    assert_eq!(code_of(&root, "varve.v1.LogService/NoSuchCall").await, Code::Unimplemented);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_call_asks_for_its_own_action_and_for_no_other() {
    let certificates = Certificates::new();
    let mut policy = "p, root, *, *\n".to_owned();
    for action in Action::ALL {
        policy += &format!("p, only-{action}, *, {action}\n");
        let others = Action::ALL.into_iter().filter(|other| *other != action);
        policy.extend(others.map(|other| format!("p, all-but-{action}, *, {other}\n")));
    }
    certificates.write("policy.csv", &policy);
    let node = secured(&certificates).await;
    let root = within(connect(&addr(&node), certificates.client("root"))).await.unwrap();
    // The book's topic is there: to make it would be another action.
    assert_eq!(code_of(&root, "log.v1.Log/Produce").await, Code::Ok);
    for rule in RPCS {
        let Requirement::Allowed(action, _) = rule.requirement else { continue };
        let calls = async |subject: String| {
            let channel = within(connect(&addr(&node), certificates.client(&subject))).await.unwrap();
            code_of(&channel, rule.method).await
        };
        let only = calls(format!("only-{action}")).await;
        assert!(!matches!(only, Code::Unauthenticated | Code::PermissionDenied), "{rule:?}: {only}");
        // Whoever may do another thing to a topic may see it too.
        let implied = action == Action::Describe;
        let without = calls(format!("all-but-{action}")).await;
        assert!(implied || without == Code::PermissionDenied, "{rule:?}: {without}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_are_no_nodes_though_their_authority_stands_in_two_files() {
    let certificates = Certificates::new();
    let ca = std::fs::read_to_string(certificates.path("ca.pem")).unwrap();
    certificates.write("peer-ca.pem", &ca);
    let mut settings = config();
    certificates.secure(&mut settings);
    settings.security.as_mut().unwrap().tls.peer.ca = certificates.path("peer-ca.pem");
    let node = within(Node::start(env_on(&FaultyDisk::new(1)), settings)).await.unwrap();
    let mut nobody = cluster(&node, certificates.client("nobody")).await;
    let create = || v1::CreateTopicRequest { name: TOPIC.to_owned(), ..Default::default() };
    refused(within(nobody.create_topic(create())).await, Reason::PermissionDenied);
    let join = v1::JoinClusterRequest { name: "nobody".to_owned(), ..Default::default() };
    refused(within(nobody.join_cluster(join)).await, Reason::PermissionDenied);
    let mut root = cluster(&node, certificates.client("root")).await;
    within(root.create_topic(create())).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_are_small_but_for_those_that_bring_records() {
    let certificates = Certificates::new();
    let node = secured(&certificates).await;
    let anonymous = varve_tls::ClientTls::anonymous(certificates.path("ca.pem"), None).unwrap();
    let unknown = within(connect_with(&addr(&node), anonymous)).await.unwrap();
    let mut health = HealthClient::new(unknown);
    let service = "x".repeat(varve_server::OPEN_REQUEST_BYTES_MAX);
    let large = within(health.check(HealthCheckRequest { service })).await.unwrap_err();
    assert_eq!(large.code(), Code::OutOfRange, "{large}");
    let mut root = log(&node, certificates.client("root")).await;
    let topic = "x".repeat(varve_server::REQUEST_BYTES_MAX);
    let large = within(root.get_tail(v1::GetTailRequest { topic, ..Default::default() })).await.unwrap_err();
    assert_eq!(large.code(), Code::OutOfRange, "{large}");
    // Names of topics, in what is small enough.
    for name in ["../../etc/passwd".to_owned(), "x".repeat(10_000), "a\0b".to_owned()] {
        let tail = v1::GetTailRequest { topic: name.clone(), ..Default::default() };
        refused(within(root.get_tail(tail)).await, Reason::InvalidTopicName);
        let mut nobody = log(&node, certificates.client("nobody")).await;
        let denied = refused(
            within(nobody.consume(v1::ConsumeRequest { topic: name, ..consume_from(0) })).await,
            Reason::PermissionDenied,
        );
        assert!(denied.message.len() < 1_000, "{denied}");
    }
    // Headers over the limit end the call, and nothing else.
    let mut request =
        tonic::Request::new(v1::GetTailRequest { topic: TOPIC.to_owned(), ..Default::default() });
    let long = "x".repeat(varve_server::HEADERS_BYTES_MAX as usize);
    request.metadata_mut().insert("x-long", long.parse().unwrap());
    within(root.get_tail(request)).await.unwrap_err();
    let mut again = cluster(&node, certificates.client("root")).await;
    within(again.get_servers(v1::GetServersRequest {})).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_books_topic_is_made_only_by_those_who_may() {
    let certificates = Certificates::new();
    certificates.write("policy.csv", "p, root, *, *\np, user, default, produce\np, user, default, consume\n");
    let node = secured(&certificates).await;
    let channel = within(connect(&addr(&node), certificates.client("user"))).await.unwrap();
    let mut user = LogClient::new(channel);
    let servers = within(user.get_servers(log_v1::GetServersRequest {})).await.unwrap().into_inner().servers;
    assert!(servers.len() == 1 && servers[0].is_leader, "{servers:?}");
    let produce = || log_v1::ProduceRequest { record: Some(log_v1::Record::default()) };
    let denied = refused(within(user.produce(produce())).await, Reason::PermissionDenied);
    assert_eq!(denied.metadata.get(meta::ACTION).map(String::as_str), Some("create"), "{denied}");
    refused(within(user.consume(log_v1::ConsumeRequest { offset: 0 })).await, Reason::PermissionDenied);
    let mut root = cluster(&node, certificates.client("root")).await;
    let listed = within(root.list_topics(v1::ListTopicsRequest::default())).await.unwrap().into_inner();
    assert_eq!(listed.topics.len(), 0, "{listed:?}");
    let channel = within(connect(&addr(&node), certificates.client("root"))).await.unwrap();
    within(LogClient::new(channel).produce(produce())).await.unwrap();
    within(user.produce(produce())).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_denied_hears_what_decided() {
    let certificates = Certificates::new();
    let node = secured(&certificates).await;
    let mut log = log(&node, certificates.client("writer")).await;
    let error = refused(within(log.produce(values(&["x"]))).await, Reason::PermissionDenied);
    // It may append, and not make the topic.
    assert_eq!(error.metadata.get(meta::ACTION).map(String::as_str), Some("create"), "{error}");
    let mut root = cluster(&node, certificates.client("root")).await;
    within(root.create_topic(v1::CreateTopicRequest { name: TOPIC.to_owned(), ..Default::default() }))
        .await
        .unwrap();
    within(log.produce(values(&["x"]))).await.unwrap();
    let error = refused(within(log.consume(consume_from(0))).await, Reason::PermissionDenied);
    let said = |key: &str| error.metadata.get(key).cloned().unwrap_or_default();
    assert_eq!((said(meta::SUBJECT), said(meta::OBJECT)), ("writer".to_owned(), TOPIC.to_owned()));
    assert!(said(meta::RULE).contains("no rule of"), "{error}");
    // Topics that one may not see are not shown.
    let mut reader = cluster(&node, certificates.client("reader")).await;
    let mut nobody = cluster(&node, certificates.client("nobody")).await;
    let listed = async |cluster: &mut ClusterServiceClient<Channel>| {
        within(cluster.list_topics(v1::ListTopicsRequest::default())).await.unwrap().into_inner().topics.len()
    };
    assert_eq!((listed(&mut reader).await, listed(&mut nobody).await), (1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_name_of_a_producer_belongs_to_whoever_took_it_first() {
    let certificates = Certificates::new();
    certificates.write("policy.csv", "p, root, *, *\np, alice, *, produce\np, bob, *, produce\n");
    let node = secured(&certificates).await;
    let named = |owner: &str| v1::InitProducerRequest { name: "billing".to_owned(), owner: owner.to_owned() };
    let mut alice = log(&node, certificates.client("alice")).await;
    let mut bob = log(&node, certificates.client("bob")).await;
    let mut root = log(&node, certificates.client("root")).await;
    let first = within(alice.init_producer(named(""))).await.unwrap().into_inner();
    let denied = refused(within(bob.init_producer(named(""))).await, Reason::PermissionDenied);
    let said = |key: &str| denied.metadata.get(key).cloned().unwrap_or_default();
    assert_eq!((said(meta::SUBJECT), said(meta::OBJECT)), ("bob".to_owned(), "billing".to_owned()));
    assert_eq!(said(meta::ACTION), "InitProducer");
    assert!(!denied.to_string().contains("alice"), "whose it is does not concern bob: {denied}");
    let again = within(alice.init_producer(named(""))).await.unwrap().into_inner();
    let next = (first.producer_id, first.producer_epoch + 1);
    assert_eq!((again.producer_id, again.producer_epoch), next, "nobody has fenced it");
    // Who may not administer the cluster gives no names away, not even its own.
    refused(within(alice.init_producer(named("bob"))).await, Reason::PermissionDenied);
    refused(within(bob.init_producer(named("bob"))).await, Reason::PermissionDenied);
    // An administrator hands it over, or takes it.
    let given = within(root.init_producer(named("bob"))).await.unwrap().into_inner();
    assert_eq!((given.producer_id, given.producer_epoch), (first.producer_id, first.producer_epoch + 2));
    refused(within(alice.init_producer(named(""))).await, Reason::PermissionDenied);
    within(bob.init_producer(named(""))).await.unwrap();
    within(root.init_producer(named(""))).await.unwrap();
    refused(within(bob.init_producer(named(""))).await, Reason::PermissionDenied);
}

/// A node of the version before would stop at a command that it does not know.
#[tokio::test(flavor = "multi_thread")]
async fn names_of_producers_belong_to_nobody_until_every_node_knows_of_owners() {
    let certificates = Certificates::new();
    certificates.write("policy.csv", "p, alice, *, produce\np, bob, *, produce\n");
    let gossip = MemoryNetwork::new();
    let mut settings = config();
    let addr_of = |number: u16| SocketAddr::from(([127, 0, 0, 1], number));
    let membership = gossip.join(settings.node_name.clone(), addr_of(1), Tags::new());
    settings.discovery = Discovery::Given(Arc::new(membership));
    certificates.secure(&mut settings);
    let node = within(Node::start(env_on(&FaultyDisk::new(1)), settings)).await.unwrap();
    let mut peer = cluster(&node, certificates.node("node-2")).await;
    let name = "node-2".to_owned();
    let rpc_addr = "127.0.0.1:2".to_owned();
    let joining =
        v1::JoinClusterRequest { name: name.clone(), rpc_addr: rpc_addr.clone(), ..Default::default() };
    let place = within(peer.join_cluster(joining)).await.unwrap().into_inner();
    let mut tags =
        Tags::try_from([("rpc", rpc_addr.as_str()), ("cluster", place.cluster_id.as_str())]).unwrap();
    tags.insert("id", place.node_id.to_string()).unwrap();
    let old = gossip.join(name, addr_of(2), tags.clone());

    let mut alice = log(&node, certificates.client("alice")).await;
    let mut bob = log(&node, certificates.client("bob")).await;
    let named = || v1::InitProducerRequest { name: "billing".to_owned(), ..Default::default() };
    within(alice.init_producer(named())).await.unwrap();
    within(bob.init_producer(named())).await.unwrap();
    tags.insert("commands", "2").unwrap();
    old.set_tags(tags).await.unwrap();
    within(alice.init_producer(named())).await.unwrap();
    refused(within(bob.init_producer(named())).await, Reason::PermissionDenied);
    // Once a name has an owner every node knows what that is, whether it is there or not.
    gossip.fail("node-2");
    refused(within(bob.init_producer(named())).await, Reason::PermissionDenied);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_node_may_say_that_a_call_is_anothers() {
    let certificates = Certificates::new();
    let node = secured(&certificates).await;
    let mut root = cluster(&node, certificates.client("root")).await;
    within(root.create_topic(v1::CreateTopicRequest { name: TOPIC.to_owned(), ..Default::default() }))
        .await
        .unwrap();
    let in_the_name_of = |subject: &[u8]| {
        let mut request = tonic::Request::new(values(&["x"]));
        request.metadata_mut().insert_bin(headers::SUBJECT, BinaryMetadataValue::from_bytes(subject));
        request
    };
    let mut nobody = log(&node, certificates.client("nobody")).await;
    let error = refused(within(nobody.produce(in_the_name_of(b"root"))).await, Reason::PermissionDenied);
    assert_eq!(error.metadata.get(meta::SUBJECT).map(String::as_str), Some("nobody"), "{error}");

    let mut peer = log(&node, certificates.node("node-2")).await;
    within(peer.produce(in_the_name_of(b"writer"))).await.unwrap();
    let error = refused(within(peer.produce(in_the_name_of(b"nobody"))).await, Reason::PermissionDenied);
    assert_eq!(error.metadata.get(meta::SUBJECT).map(String::as_str), Some("nobody"), "{error}");
    for none in [&b""[..], b"\xff\xfe"] {
        refused(within(peer.produce(in_the_name_of(none))).await, Reason::Unauthenticated);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_that_changes_reaches_streams_that_are_open() {
    let certificates = Certificates::new();
    let node = secured(&certificates).await;
    let mut root = log(&node, certificates.client("root")).await;
    within(root.produce(values(&["one"]))).await.unwrap();
    let mut reader = log(&node, certificates.client("reader")).await;
    let mut stream = within(reader.consume_stream(stream_from(0))).await.unwrap().into_inner();
    assert!(within(stream.message()).await.unwrap().is_some());

    certificates.write("policy.csv", "p, root, *, *\np, reader, events\n");
    node.reload();
    within(root.produce(values(&["two"]))).await.unwrap();
    let still = within(stream.message()).await.unwrap().expect("a policy that is wrong changes nothing");
    assert!(still.batch.is_some());

    certificates.write("policy.csv", "p, root, *, *\n");
    node.reload();
    is_denied_in_the_end(stream).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_that_changes_where_the_client_is_reaches_streams_that_another_node_serves() {
    let certificates = Certificates::new();
    let nodes = three(&certificates).await;
    let root = certificates.client("root");
    let mut admin = cluster(&nodes[&1], root.clone()).await;
    let create = v1::CreateTopicRequest {
        name: TOPIC.to_owned(),
        partitions: 1,
        replication_factor: 1,
        ..Default::default()
    };
    within(admin.create_topic(create)).await.unwrap();
    within(log(&nodes[&1], root).await.produce(values(&["one"]))).await.unwrap();
    let asked = v1::DescribeTopicRequest { name: TOPIC.to_owned(), ..Default::default() };
    let described = within(admin.describe_topic(asked)).await.unwrap().into_inner().topic.unwrap();
    let host = described.partitions[0].replicas[0];
    let asked = nodes.values().find(|node| node.identity().node_id.get() != host).unwrap();
    let mut reader = log(asked, certificates.client("reader")).await;
    let mut stream = within(reader.consume_stream(stream_from(0))).await.unwrap().into_inner();
    assert!(within(stream.message()).await.unwrap().is_some());
    certificates.write("policy.csv", "p, root, *, *\n");
    asked.reload();
    is_denied_in_the_end(stream).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_that_are_not_good_are_told_so() {
    let certificates = Certificates::new();
    let (good, revoked) = (certificates.client("root"), certificates.client("revoked"));
    let mut settings = config();
    let mut security = certificates.security("node-1");
    security.tls.crl = Some(certificates.revoke(&revoked));
    settings.security = Some(security);
    let node = within(Node::start(env_on(&FaultyDisk::new(1)), settings)).await.unwrap();
    let addr = addr(&node);
    let said = async |files: TlsFiles| match within(connect(&addr, files)).await {
        Err(HandshakeError::Refused { reason }) => reason,
        other => panic!("{other:?}"),
    };
    assert!(said(revoked).await.contains("revoked"));
    assert!(said(certificates.expired_client("late")).await.contains("expired"));
    assert!(said(certificates.foreign_client("root")).await.contains("does not trust"));
    let distrustful = TlsFiles { ca: certificates.path("other-ca.pem"), ..good.clone() };
    match within(connect(&addr, distrustful)).await {
        Err(HandshakeError::Untrusted { reason }) => {
            assert!(reason.contains("none of the authorities"), "{reason}")
        }
        other => panic!("{other:?}"),
    }
    let by_another_name = addr.replace("127.0.0.1", "localhost");
    match within(connect(&by_another_name, good.clone())).await {
        Err(HandshakeError::Untrusted { reason }) => assert!(reason.contains("localhost"), "{reason}"),
        other => panic!("{other:?}"),
    }
    within(connect(&addr, good)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_are_read_again_without_a_restart() {
    let certificates = Certificates::new();
    let node = secured(&certificates).await;
    let before = within(connect(&addr(&node), certificates.client("root"))).await.unwrap();
    let mut open = ClusterServiceClient::new(before);
    within(open.get_servers(v1::GetServersRequest {})).await.unwrap();
    // From now on another authority is trusted, too.
    let both = [certificates.path("ca.pem"), certificates.path("other-ca.pem")];
    let both = both.map(|path| std::fs::read_to_string(path).unwrap()).concat();
    let foreign = certificates.foreign_client("root");
    assert!(within(connect(&addr(&node), foreign.clone())).await.is_err());
    let own = certificates.path("ca.pem");
    let ours = std::fs::read_to_string(&own).unwrap();
    certificates.write("own-ca.pem", &ours);
    certificates.write("ca.pem", &both);
    node.reload();
    let foreign = TlsFiles { ca: certificates.path("own-ca.pem"), ..foreign };
    until(async || (connect(&addr(&node), foreign.clone()).await.is_ok(), "the new authority is trusted"))
        .await;
    within(open.get_servers(v1::GetServersRequest {})).await.unwrap();
}

#[tokio::test]
async fn a_node_that_is_not_its_certificates_does_not_start() {
    let certificates = Certificates::new();
    let start = async |security| {
        let settings = NodeConfig { security: Some(security), ..config() };
        match within(Node::start(env_on(&FaultyDisk::new(1)), settings)).await {
            Err(error @ StartError::Certificate { .. }) => error.to_string(),
            other => panic!("{other:?}"),
        }
    };
    let another = start(certificates.security("node-9")).await;
    assert!(another.contains("it is that of node node-9, and this one is node-1"), "{another}");
    let mut clients = certificates.security("node-1");
    clients.tls.peer = certificates.client("root");
    let clients = start(clients).await;
    assert!(clients.contains("it names no node"), "{clients}");
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_speaks_in_the_clear_to_tls_and_the_reverse_is_told_and_others_are_served() {
    let certificates = Certificates::new();
    let node = secured(&certificates).await;
    let mut curl = TcpStream::connect(node.rpc_addr()).await.unwrap();
    curl.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    within(curl.read_to_string(&mut answer)).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 400") && answer.contains("https"), "{answer}");
    for bytes in [&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], b"\x01", b"\0\0\0\0", b"\x16\x03\x01\xff\xff"] {
        let mut stream = TcpStream::connect(node.rpc_addr()).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        let mut rest = Vec::new();
        // Closed, be it by an alert, an end or a reset.
        drop(within(stream.read_to_end(&mut rest)).await);
        assert!(rest.len() < 256, "{rest:?}");
    }
    within(connect(&addr(&node), certificates.client("root"))).await.unwrap();

    let clear = within(Node::start(env_on(&FaultyDisk::new(2)), config())).await.unwrap();
    match within(connect(&addr(&clear), certificates.client("root"))).await {
        Err(HandshakeError::Io { .. } | HandshakeError::NoTls) => {}
        other => panic!("{other:?}"),
    }
}

/// What a neighbour sends, a piece at a time, and how long it pauses between two.
async fn nag(node: &Node, pieces: &[&[u8]], pause: Duration) {
    let mut stream = TcpStream::connect(node.rpc_addr()).await.unwrap();
    let (mut reading, mut writing) = stream.split();
    let closed = async {
        let mut rest = Vec::new();
        // Closed, be it by an alert, an end or a reset.
        drop(reading.read_to_end(&mut rest).await);
    };
    let sending = async {
        for piece in pieces {
            drop(writing.write_all(piece).await);
            tokio::time::sleep(pause).await;
        }
        std::future::pending::<()>().await;
    };
    within(async {
        tokio::select! {
            () = closed => {}
            () = sending => {}
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn neighbours_that_are_silent_or_slow_or_rave_are_closed_and_others_served() {
    let certificates = Certificates::new();
    let mut settings = config();
    settings.listener.first_byte_timeout = Duration::from_millis(200);
    settings.listener.preface_timeout = Duration::from_millis(600);
    certificates.secure(&mut settings);
    let node = within(Node::start(env_on(&FaultyDisk::new(1)), settings)).await.unwrap();
    let pause = Duration::from_millis(50);
    // A record of TLS that announces more than any has, and one that is begun and never goes on.
    let (huge, begun) = (&b"\x16\x03\x03\xff\xff\x01\xff\xff\xff"[..], &b"\x16\x03\x01\x02\x00\x01\x00"[..]);
    let slow: Vec<&[u8]> = begun.chunks(1).cycle().take(200).collect();
    let garbage: Vec<u8> = (0..4096_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let others = async {
        for _ in 0..5 {
            let mut served = cluster(&node, certificates.client("root")).await;
            within(served.get_servers(v1::GetServersRequest {})).await.unwrap();
        }
    };
    let (garbage, huge): ([&[u8]; 1], [&[u8]; 1]) = ([&garbage], [huge]);
    let raving = futures::future::join_all((0..64).map(|_| nag(&node, &garbage, pause)));
    tokio::join!(
        nag(&node, &[], pause),
        nag(&node, &[b"\x16"], pause),
        nag(&node, &huge, pause),
        nag(&node, &slow, pause),
        raving,
        others,
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_are_too_old_end_so_that_certificates_are_looked_at_again() {
    let certificates = Certificates::new();
    let mut settings = config();
    let mut security = certificates.security("node-1");
    security.connection_age_max = Duration::from_millis(300);
    security.tls.crl = Some(certificates.revoke(&certificates.client("someone")));
    settings.security = Some(security);
    let node = within(Node::start(env_on(&FaultyDisk::new(1)), settings)).await.unwrap();
    let files = certificates.client("root");
    let mut client = cluster(&node, files.clone()).await;
    within(client.get_servers(v1::GetServersRequest {})).await.unwrap();
    certificates.revoke(&files);
    node.reload();
    // The connection that is open goes on for a while; the one that follows it is not taken.
    until(async || {
        let called = client.get_servers(v1::GetServersRequest {}).await;
        (called.is_err(), "the certificate that was revoked is found out")
    })
    .await;
}
