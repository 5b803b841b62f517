//! Connections to other nodes through TLS.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use crate::PeerNetwork;
use futures::FutureExt;
use futures::future::BoxFuture;
use varve_env::net::{BoxStream, Listener, Network};
use varve_tls::{HandshakeError, PeerCertificate, ServerTls};

/// Says whether a certificate, which an authority of nodes has issued, is that of the node of this number; else why not.
pub type PeerCheck = Arc<dyn Fn(u64, &PeerCertificate) -> Result<(), String> + Send + Sync>;

/// Connections as one of the cluster's nodes to another, for a [`PeerClient`](crate::PeerClient).
#[derive(Clone)]
pub struct TlsPeerNetwork {
    network: Arc<dyn Network>,
    tls: ServerTls,
    check: PeerCheck,
}

impl TlsPeerNetwork {
    /// Connections of `network`, with whom `check` lets.
    #[must_use]
    pub fn new(network: Arc<dyn Network>, tls: ServerTls, check: PeerCheck) -> Self {
        Self { network, tls, check }
    }
}

impl PeerNetwork for TlsPeerNetwork {
    fn connect_to(&self, node: u64, host_port: String) -> BoxFuture<'_, io::Result<BoxStream>> {
        async move {
            let stream = self.network.connect(host_port).await?;
            let (stream, certificate) =
                self.tls.connect_as_peer(stream).await.map_err(HandshakeError::into_io)?;
            (self.check)(node, &certificate)
                .map_err(|reason| HandshakeError::Untrusted { reason }.into_io())?;
            Ok(Box::new(stream) as BoxStream)
        }
        .boxed()
    }
}

impl fmt::Debug for TlsPeerNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsPeerNetwork").field("tls", &self.tls).finish_non_exhaustive()
    }
}

/// Connections to the services of other nodes, as any client's, with this node's certificate.
#[derive(Clone, Debug)]
pub struct TlsServiceNetwork {
    network: Arc<dyn Network>,
    tls: ServerTls,
}

impl TlsServiceNetwork {
    /// Connections of `network`.
    #[must_use]
    pub fn new(network: Arc<dyn Network>, tls: ServerTls) -> Self {
        Self { network, tls }
    }
}

impl Network for TlsServiceNetwork {
    fn bind(&self, addr: SocketAddr) -> BoxFuture<'_, io::Result<Box<dyn Listener>>> {
        self.network.bind(addr)
    }

    fn connect(&self, host_port: String) -> BoxFuture<'_, io::Result<BoxStream>> {
        async move {
            let stream = self.network.connect(host_port.clone()).await?;
            let stream =
                self.tls.connect_as_client(&host_port, stream).await.map_err(HandshakeError::into_io)?;
            Ok(Box::new(stream) as BoxStream)
        }
        .boxed()
    }
}
