//! What strangers may send to the gossip port, who have no key.
//!
//! The protocol's reader (memberlist-proto 0.3.4, `ProtoDecoder::decode_from_reader`) has two traps for what it reads before a
//! message is authenticated:
//!
//! - A first byte that is not the tag of an encrypted message is taken for a plain one, unless incoming messages must be
//!   encrypted. Its header is then awaited in a loop around `peek`. With one byte there and no more to come, that `peek`
//!   (peekable 0.5.0, `AsyncPeekable::poll_peek`) answers "one byte" at once, for ever: the task never yields, its own timeout
//!   never runs, and in time the whole runtime stands still.
//! - The length of an encrypted message, up to 4 GiB, is allocated before one byte of it has come. Where that much memory cannot
//!   be had, the process aborts.
//!
//! The node under attack has a runtime of its own, so that a worker that spins there fails a test here instead of hanging it.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;
use varve_gossip::{Gossip, Membership, Tags};

use crate::support::{DEADLINE, start, stop, until, until_alive};

/// A runtime with one worker that is not waited for when it is dropped: it may hang.
struct Victim(Option<Runtime>);

impl Victim {
    fn new() -> Self {
        Self(Some(Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()))
    }

    async fn start(&self, name: &'static str, join: Vec<SocketAddr>) -> Gossip {
        let runtime = self.0.as_ref().unwrap();
        timeout(DEADLINE, runtime.spawn(async move { start(name, &join).await })).await.unwrap().unwrap()
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        self.0.take().unwrap().shutdown_background();
    }
}

/// A node `a` to attack, and two more that see it.
async fn cluster(victim: &Victim) -> [Gossip; 3] {
    let a = victim.start("a", Vec::new()).await;
    let b = start("b", &[a.addr()]).await;
    let c = start("c", &[a.addr()]).await;
    for node in [&a, &b, &c] {
        until_alive(node, &["a", "b", "c"]).await;
    }
    [a, b, c]
}

/// The attacked node still takes in a fourth, hears its news, and is alive to all.
async fn still_serves(nodes: [Gossip; 3]) {
    let [a, b, c] = nodes;
    let d = start("d", &[a.addr()]).await;
    for node in [&a, &b, &c, &d] {
        until_alive(node, &["a", "b", "c", "d"]).await;
    }
    let tags = Tags::try_from([("after", "the attack")]).unwrap();
    d.set_tags(tags.clone()).await.unwrap();
    for node in [&a, &b, &c] {
        until(node, "d's tags", |members| members.iter().any(|m| m.name == "d" && m.tags == tags)).await;
    }
    stop([a, b, c, d]).await;
}

/// Bytes of every length about the header's, and of more, with each first byte that means something, and others.
fn garbage() -> Vec<Vec<u8>> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[0]
    };
    let firsts = (0..=20).chain([0x7f, 0x80, 0xff]);
    let lengths = [1, 2, 5, 6, 7, 34, 64, 1400];
    let all = firsts.flat_map(|first| lengths.map(|len| (first, len)));
    all.map(|(first, len)| {
        std::iter::once(first).chain(std::iter::from_fn(|| Some(random()))).take(len).collect()
    })
    .collect()
}

async fn send(addr: SocketAddr, bytes: &[u8]) -> TcpStream {
    let mut stream = timeout(DEADLINE, TcpStream::connect(addr)).await.unwrap().unwrap();
    // The node may close its end in the middle of this.
    stream.write_all(bytes).await.ok();
    stream
}

/// What the node answers before it closes the connection. It answers what it refuses, and not what it gives up waiting for.
async fn answer(mut stream: TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    timeout(DEADLINE, stream.read_to_end(&mut bytes)).await.unwrap().unwrap();
    bytes
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_stray_byte_stops_nothing() {
    let victim = Victim::new();
    let nodes = cluster(&victim).await;
    let addr = nodes[0].addr();
    let udp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let mut open = Vec::new();
    for first in 0..=u8::MAX {
        udp.send_to(&[first], addr).await.unwrap();
        // The connections stay open: the reader has one byte, and waits for more.
        open.push(send(addr, &[first]).await);
    }
    still_serves(nodes).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_stops_nothing() {
    let victim = Victim::new();
    let nodes = cluster(&victim).await;
    let addr = nodes[0].addr();
    let udp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let mut open = Vec::new();
    for bytes in garbage() {
        udp.send_to(&bytes, addr).await.unwrap();
        open.push(send(addr, &bytes).await);
    }
    let long = vec![0xa5; 1 << 20];
    open.push(send(addr, &long).await);
    udp.send_to(&long[..65_000], addr).await.unwrap();
    udp.send_to(&[], addr).await.unwrap();
    still_serves(nodes).await;
}

/// Refused at sight, which shows by the answer: nothing is allocated for it, and nothing is waited for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_claim_of_four_gigabytes_is_refused() {
    let victim = Victim::new();
    let nodes = cluster(&victim).await;
    let addr = nodes[0].addr();
    let claim = |len: u32| [&[15, 1][..], &len.to_be_bytes()].concat();
    for len in [u32::MAX, 1 << 31, (1 << 20) + 1] {
        assert!(!answer(send(addr, &claim(len)).await).await.is_empty(), "a claim of {len} bytes is refused");
    }
    assert!(
        answer(send(addr, &claim(1 << 20)).await).await.is_empty(),
        "a message as long as allowed is waited for"
    );
    assert!(!answer(send(addr, &[2]).await).await.is_empty(), "a plain message is refused by its first byte");
    still_serves(nodes).await;
}

/// More than the node serves at the same time. Each ends by its own timeout, so that the others get their turn.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_open_connections_stop_nothing() {
    let victim = Victim::new();
    let nodes = cluster(&victim).await;
    let addr = nodes[0].addr();
    let mut open = Vec::new();
    for at in 0..150 {
        open.push(send(addr, &[15, 1, 0, 0, 1][..at % 6]).await);
    }
    still_serves(nodes).await;
}
