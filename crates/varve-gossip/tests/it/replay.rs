//! What was sent once, sent again: whoever has no key can still do that.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::task::JoinSet;
use varve_gossip::{Gossip, MemberStatus, Membership, Tags};

use crate::support::{config, start, stop, until, until_alive, until_status};

/// How much is kept of either kind.
const KEPT_MAX: usize = 10_000;

/// How many connections are made again, the newest.
const STREAMS_REPLAYED_MAX: usize = 100;

/// How often a port is looked for that is free for both the node and the tap.
const PORT_TRIES: usize = 20;

/// A node, and what others have sent to it.
struct Tapped {
    node: Gossip,
    /// Where the node itself listens.
    behind: SocketAddr,
    datagrams: Kept,
    streams: Kept,
    tasks: JoinSet<()>,
}

type Kept = Arc<Mutex<Vec<Vec<u8>>>>;

fn keep(kept: &Kept, bytes: Vec<u8>) {
    let mut kept = kept.lock().unwrap();
    if kept.len() < KEPT_MAX {
        kept.push(bytes);
    }
}

impl Tapped {
    /// Starts a node that others reach through a tap.
    async fn start(name: &str) -> Self {
        for _ in 0..PORT_TRIES {
            let mut config = config(name, &[]);
            config.bind_addr = "127.0.0.2:0".parse().unwrap();
            config.advertise_addr = Some("127.0.0.1:0".parse().unwrap());
            let node = Gossip::start(config).await.unwrap();
            let (udp, tcp) = (UdpSocket::bind(node.addr()).await, TcpListener::bind(node.addr()).await);
            if let (Ok(udp), Ok(tcp)) = (udp, tcp) {
                return Self::tap(node, udp, tcp);
            }
            node.shutdown().await;
        }
        panic!("no port is free");
    }

    fn tap(node: Gossip, udp: UdpSocket, tcp: TcpListener) -> Self {
        let behind = SocketAddr::from(([127, 0, 0, 2], node.addr().port()));
        let (datagrams, streams) = (Kept::default(), Kept::default());
        let mut tasks = JoinSet::new();
        tasks.spawn(pass_datagrams(udp, behind, Arc::clone(&datagrams)));
        tasks.spawn(pass_streams(tcp, behind, Arc::clone(&streams)));
        Self { node, behind, datagrams, streams, tasks }
    }
}

async fn pass_datagrams(udp: UdpSocket, to: SocketAddr, kept: Kept) {
    let mut buf = vec![0; 1 << 16];
    while let Ok((len, _)) = udp.recv_from(&mut buf).await {
        keep(&kept, buf[..len].to_vec());
        drop(udp.send_to(&buf[..len], to).await);
    }
}

async fn pass_streams(tcp: TcpListener, to: SocketAddr, kept: Kept) {
    let mut passing = JoinSet::new();
    while let Ok((stream, _)) = tcp.accept().await {
        passing.spawn(pass_stream(stream, to, Arc::clone(&kept)));
    }
}

async fn pass_stream(stream: TcpStream, to: SocketAddr, kept: Kept) {
    let Ok(node) = TcpStream::connect(to).await else { return };
    let (mut from, mut back) = stream.into_split();
    let (mut answers, mut there) = node.into_split();
    let asked = async {
        let (mut said, mut buf) = (Vec::new(), vec![0; 1 << 16]);
        while let Ok(len @ 1..) = from.read(&mut buf).await {
            said.extend_from_slice(&buf[..len]);
            if there.write_all(&buf[..len]).await.is_err() {
                break;
            }
        }
        drop(there.shutdown().await);
        keep(&kept, said);
    };
    let answered = async {
        drop(tokio::io::copy(&mut answers, &mut back).await);
        drop(back.shutdown().await);
    };
    tokio::join!(asked, answered);
}

fn life(number: &str) -> Tags {
    Tags::try_from([("life", number)]).unwrap()
}

/// A node `d`, in a life of its own, whom all see in it.
async fn live(seeds: &[&Gossip], number: &str) -> Gossip {
    let mut config = config("d", &[seeds[0].addr()]);
    config.tags = life(number);
    let d = Gossip::start(config).await.unwrap();
    for node in seeds {
        sees(node, number).await;
    }
    d
}

/// Waits until a node sees `d` alive, in this life.
async fn sees(node: &Gossip, number: &str) {
    let tags = life(number);
    until(node, &format!("d in life {number}"), |members| {
        members.iter().any(|member| member.name == "d" && member.is_alive() && member.tags == tags)
    })
    .await;
}

/// Sends all again to a node: as it was, with one bit wrong, and cut short.
async fn replay(to: SocketAddr, datagrams: &[Vec<u8>], streams: &[Vec<u8>]) {
    let udp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    for (number, datagram) in datagrams.iter().enumerate() {
        udp.send_to(datagram, to).await.unwrap();
        let mut wrong = datagram.clone();
        if let Some(bit) = (number * 7).checked_rem(datagram.len() * 8) {
            wrong[bit / 8] ^= 1 << (bit % 8);
        }
        udp.send_to(&wrong, to).await.unwrap();
        udp.send_to(&wrong[..number % (wrong.len() + 1)], to).await.unwrap();
        tokio::task::yield_now().await;
    }
    for bytes in streams.iter().rev().take(STREAMS_REPLAYED_MAX) {
        let Ok(mut stream) = TcpStream::connect(to).await else { continue };
        // The node may close its end in the middle of this.
        drop(stream.write_all(bytes).await);
    }
}

/// A member has left, come back, failed and come back. All that was said of it then is said again, forwards and backwards, to everybody.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_said_once_changes_nothing_when_it_is_said_again() {
    let tapped = Tapped::start("a").await;
    let a = &tapped.node;
    let b = start("b", &[a.addr()]).await;
    let c = start("c", &[a.addr()]).await;
    for node in [a, &b, &c] {
        until_alive(node, &["a", "b", "c"]).await;
    }
    let all = [a, &b, &c];
    let d = live(&all, "1").await;
    d.leave().await;
    for node in all {
        until_status(node, "d", MemberStatus::Left).await;
    }
    d.shutdown().await;
    let d = live(&all, "2").await;
    d.shutdown().await;
    for node in all {
        until_status(node, "d", MemberStatus::Failed).await;
    }
    let d = live(&all, "3").await;

    let mut datagrams = tapped.datagrams.lock().unwrap().clone();
    let streams = tapped.streams.lock().unwrap().clone();
    assert!(datagrams.len() > 10 && !streams.is_empty(), "something was said");
    for _ in 0..2 {
        for to in [tapped.behind, b.addr(), c.addr(), d.addr()] {
            replay(to, &datagrams, &streams).await;
        }
        datagrams.reverse();
    }

    // They know each other as before, and hear what is new.
    for node in all {
        sees(node, "3").await;
        until_alive(node, &["a", "b", "c", "d"]).await;
    }
    let e = start("e", &[b.addr()]).await;
    d.set_tags(life("3, later")).await.unwrap();
    for node in [a, &b, &c, &e] {
        sees(node, "3, later").await;
        until_alive(node, &["a", "b", "c", "d", "e"]).await;
    }
    until_alive(&d, &["a", "b", "c", "d", "e"]).await;
    let Tapped { node: a, mut tasks, .. } = tapped;
    stop([a, b, c, d, e]).await;
    tasks.shutdown().await;
}
