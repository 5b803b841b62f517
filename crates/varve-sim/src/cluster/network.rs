//! The simulated network behind the seam that nodes and clients connect through.

use futures::future::BoxFuture;
use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use varve_env::net::{BoxStream, Listener, Network};

/// Connections between the hosts of the simulation, by their names.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct SimNetwork;

struct SimListener {
    listener: turmoil::net::TcpListener,
    /// Where the host can be reached, which the listener itself does not know.
    addr: SocketAddr,
}

impl fmt::Debug for SimListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimListener").field("addr", &self.addr).finish_non_exhaustive()
    }
}

impl Network for SimNetwork {
    fn bind(&self, addr: SocketAddr) -> BoxFuture<'_, io::Result<Box<dyn Listener>>> {
        Box::pin(async move {
            let listener = turmoil::net::TcpListener::bind((Ipv4Addr::UNSPECIFIED, addr.port())).await?;
            let addr = listener.local_addr()?;
            Ok(Box::new(SimListener { listener, addr }) as Box<dyn Listener>)
        })
    }

    fn connect(&self, host_port: String) -> BoxFuture<'_, io::Result<BoxStream>> {
        Box::pin(async move { Ok(Box::new(turmoil::net::TcpStream::connect(host_port).await?) as BoxStream) })
    }
}

impl Listener for SimListener {
    fn accept(&self) -> BoxFuture<'_, io::Result<(BoxStream, SocketAddr)>> {
        Box::pin(async move {
            let (stream, peer) = self.listener.accept().await?;
            Ok((Box::new(stream) as BoxStream, peer))
        })
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.addr)
    }
}
