//! Certificates made on the spot, and servers that show them.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use varve_cert::Written;
use varve_cert::testing::{NEW, TestPki};
use varve_client::{ClientTls, ClientTlsSettings, TlsFiles};
use varve_tls::{ServerTls, ServerTlsSettings, TlsVersion};

/// An authority, and what it issues for a server and a client.
pub(crate) struct Pki(TestPki);

impl Pki {
    pub(crate) fn new() -> Self {
        Self::named("test CA")
    }

    pub(crate) fn named(name: &str) -> Self {
        Self(TestPki::new(name))
    }

    /// A server's side, with a certificate for these addresses that was made so long ago and is good for an hour.
    pub(crate) fn server(&self, addresses: &[&str], age: Duration) -> ServerTls {
        let files = self.files(self.0.issue_node("varve", "node", addresses, age));
        let (peer, crl, min_version) = (files.clone(), None, TlsVersion::default());
        ServerTls::open(ServerTlsSettings { server: files, peer, crl, min_version }).expect("good files")
    }

    /// A client's side. It believes the servers of `trusted`.
    pub(crate) fn client(&self, trusted: &Self) -> ClientTlsSettings {
        let files = TlsFiles { ca: trusted.0.ca(), ..self.files(self.0.issue_client("alice", NEW)) };
        ClientTlsSettings { files, server_name: None }
    }

    /// Puts the files of another in the place of one's own.
    pub(crate) fn become_like(&self, other: &Self) {
        for file in ["ca.pem", "alice.pem", "alice-key.pem"] {
            std::fs::copy(other.0.path(file), self.0.path(file)).expect("copied");
        }
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.home()
    }

    fn files(&self, written: Written) -> TlsFiles {
        TlsFiles { cert: written.certificate, key: written.key, ca: self.0.ca() }
    }
}

pub(crate) fn open(settings: ClientTlsSettings) -> ClientTls {
    ClientTls::open(settings).expect("good files")
}

/// Takes TLS off on the way to a server. It ends when this is dropped, with all its connections.
pub(crate) struct TlsFront {
    pub(crate) addr: SocketAddr,
    serving: JoinSet<()>,
}

impl TlsFront {
    pub(crate) async fn start(tls: ServerTls, to: SocketAddr) -> Self {
        Self::start_at("127.0.0.1:0".parse().expect("an address"), tls, to).await
    }

    pub(crate) async fn start_at(at: SocketAddr, tls: ServerTls, to: SocketAddr) -> Self {
        let listener = TcpListener::bind(at).await.expect("a free port");
        let addr = listener.local_addr().expect("it is bound");
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(pass_on(tls.clone(), stream, to));
            }
        });
        Self { addr, serving }
    }

    /// Ends it, and its port is free again.
    pub(crate) async fn stop(mut self) {
        self.serving.shutdown().await;
    }
}

async fn pass_on(tls: ServerTls, stream: TcpStream, to: SocketAddr) {
    let Ok(mut accepted) = tls.accept(stream).await else { return };
    let mut server = TcpStream::connect(to).await.expect("the server is there");
    // Either side may go as it likes.
    let _ = copy_bidirectional(&mut accepted.stream, &mut server).await;
}
