//! A listener whose connections and failures the test hands in.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::time::Duration;

use futures::StreamExt;
use futures::future::BoxFuture;
use tokio::io::DuplexStream;
use varve_env::net::{BoxStream, Listener, Network, TcpNetwork};
use varve_net::{Incoming, Mux, MuxLimits};

/// How long a test waits for what must come.
pub(crate) const SOON: Duration = Duration::from_secs(30);

pub(crate) const PEER: &str = "192.0.2.1:50000";

/// A mux on a real port, and its address.
pub(crate) async fn real(limits: MuxLimits) -> (Mux, SocketAddr) {
    let listener = TcpNetwork.bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let mux = Mux::start(listener, limits, None).unwrap();
    let addr = mux.local_addr();
    (mux, addr)
}

pub(crate) async fn next(mux: &mut Mux) -> Incoming {
    tokio::time::timeout(SOON, mux.next()).await.expect("a connection comes").expect("the listener lives")
}

/// Gives what it was told to, in order, and then nothing more.
pub(crate) struct Scripted(Mutex<VecDeque<io::Result<DuplexStream>>>);

impl Scripted {
    pub(crate) fn mux(script: impl IntoIterator<Item = io::Result<DuplexStream>>, limits: MuxLimits) -> Mux {
        Mux::start(Box::new(Self(Mutex::new(script.into_iter().collect()))), limits, None).unwrap()
    }
}

impl fmt::Debug for Scripted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Scripted")
    }
}

impl Listener for Scripted {
    fn accept(&self) -> BoxFuture<'_, io::Result<(BoxStream, SocketAddr)>> {
        Box::pin(async {
            let next = self.0.lock().unwrap().pop_front();
            match next {
                Some(Ok(stream)) => Ok((Box::new(stream) as BoxStream, PEER.parse().unwrap())),
                Some(Err(e)) => Err(e),
                None => futures::future::pending().await,
            }
        })
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(PEER.parse().unwrap())
    }
}
