//! Connections between peers.

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::sync::oneshot;
use varve_env::SeededEntropy;
use varve_env::net::{BoxStream, Network, TcpNetwork};
use varve_net::{HelloError, OpenGate, Payload, PeerClient, PeerHandler, PeerIdentity, PeerLane, serve_peer};

const ONE: PeerIdentity = PeerIdentity { cluster: [1; 16], node: 1 };
const TWO: PeerIdentity = PeerIdentity { cluster: [1; 16], node: 2 };
const DEADLINE: Duration = Duration::from_secs(60);

/// Gives back what it is asked.
struct Echo;

impl PeerHandler for Echo {
    fn answer(&self, from: u64, _lane: PeerLane, request: Bytes) -> BoxFuture<'static, Payload> {
        assert_eq!(from, ONE.node);
        async move { Payload::from(request) }.boxed()
    }
}

type Address = Arc<Mutex<Option<SocketAddr>>>;

fn client(this: PeerIdentity, address: &Address) -> PeerClient {
    let address = Arc::clone(address);
    let lookup = Arc::new(move |_| Some((*address.lock().unwrap())?.to_string()));
    PeerClient::new(Arc::new(TcpNetwork), Arc::new(SeededEntropy::new(1)), this, lookup)
}

/// Serves one connection as `this`, and says how it ended.
async fn serve_once(this: PeerIdentity, address: &Address) -> oneshot::Receiver<Result<(), HelloError>> {
    let listener = TcpNetwork.bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    *address.lock().unwrap() = Some(listener.local_addr().unwrap());
    let (ended, end) = oneshot::channel();
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        drop(ended.send(serve_peer(stream, this, &Echo, &OpenGate).await));
    });
    end
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, future).await.expect("this takes no time")
}

#[tokio::test]
async fn many_requests_share_a_connection() {
    let address = Address::default();
    let _end = serve_once(TWO, &address).await;
    let client = client(ONE, &address);
    let calls = (0..1000_u32).map(|n| {
        let client = client.clone();
        async move {
            let pieces = vec![Bytes::copy_from_slice(&n.to_le_bytes()), vec![7; n as usize].into()];
            let expected = pieces.concat();
            let answer = client.call(2, PeerLane::Data, Payload::new(pieces)).await.unwrap();
            assert_eq!(answer, expected);
        }
    });
    within(futures::future::join_all(calls)).await;
}

#[tokio::test]
async fn a_connection_that_breaks_is_made_again() {
    let address = Address::default();
    let client = client(ONE, &address);
    let refused = within(client.call(2, PeerLane::Control, Bytes::from_static(b"a").into())).await;
    assert!(refused.is_err(), "no address is known yet");
    for _ in 0..3 {
        let (stop, end) = serve_until_stopped(&address).await;
        let answer = async {
            loop {
                // Until the pause is over requests fail at once.
                match client.call(2, PeerLane::Control, Bytes::from_static(b"again").into()).await {
                    Ok(answer) => return answer,
                    Err(_) => tokio::task::yield_now().await,
                }
            }
        };
        assert_eq!(within(answer).await.as_ref(), b"again");
        drop(stop);
        within(end).await.unwrap();
    }
}

/// Serves one connection until it is told to stop.
async fn serve_until_stopped(address: &Address) -> (oneshot::Sender<()>, tokio::task::JoinHandle<()>) {
    let listener = TcpNetwork.bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    *address.lock().unwrap() = Some(listener.local_addr().unwrap());
    let (stop, stopped) = oneshot::channel::<()>();
    let serving = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        tokio::select! {
            _ = serve_peer(stream, TWO, &Echo, &OpenGate) => {}
            _ = stopped => {}
        }
    });
    (stop, serving)
}

#[tokio::test]
async fn strangers_are_refused() {
    let stranger = PeerIdentity { cluster: [9; 16], node: 2 };
    let other_node = PeerIdentity { cluster: [1; 16], node: 3 };
    for there in [stranger, other_node] {
        let address = Address::default();
        let end = serve_once(there, &address).await;
        let client = client(ONE, &address);
        let refused = within(client.call(2, PeerLane::Data, Bytes::from_static(b"secret").into())).await;
        assert!(refused.is_err());
        let ended = within(end).await.unwrap();
        assert!(matches!(ended, Err(HelloError::Cluster | HelloError::Node { .. })), "{ended:?}");
    }
}

#[tokio::test]
async fn bytes_that_are_no_greeting_end_the_connection() {
    let address = Address::default();
    for sent in [&b"\x01VRVPxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"[..], b"GET / HTTP/1.1\r\n"] {
        let end = serve_once(TWO, &address).await;
        let to = address.lock().unwrap().unwrap().to_string();
        let mut stream: BoxStream = TcpNetwork.connect(to).await.unwrap();
        stream.write_all(sent).await.unwrap();
        let ended = within(end).await.unwrap();
        assert!(matches!(ended, Err(HelloError::Malformed)), "{ended:?}");
    }
}
