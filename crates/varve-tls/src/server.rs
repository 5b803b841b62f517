//! A node's side of TLS, both when it is called and when it calls.

use crate::accept::{Accepted, Alpn};
use crate::client::{first_byte_of, server_name};
use crate::files::{TlsFiles, read};
use crate::material::{certificates, certified_key, lists_of, roots, roots_of};
use crate::verify::{CalledPeer, Either, by_authorities};
use crate::{HandshakeError, PeerCertificate, TlsError};
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, ServerName, UnixTime};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, ProtocolVersion, ServerConfig, SupportedProtocolVersion};
use std::fmt;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::{TlsAcceptor, TlsConnector, TlsStream};
use zeroize::Zeroizing;

/// The lowest version of TLS that is spoken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TlsVersion {
    /// TLS 1.2, for clients that know no better.
    Tls12,
    /// TLS 1.3.
    #[default]
    Tls13,
}

impl TlsVersion {
    pub(crate) fn and_above(self) -> &'static [&'static SupportedProtocolVersion] {
        static ALL: [&SupportedProtocolVersion; 2] = [&rustls::version::TLS13, &rustls::version::TLS12];
        match self {
            Self::Tls12 => &ALL,
            Self::Tls13 => &ALL[..1],
        }
    }
}

/// What a node's side is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerTlsSettings {
    /// What is shown to clients, and the authorities whose clients are let in.
    pub server: TlsFiles,
    /// What is shown to other nodes, and the authorities of nodes.
    pub peer: TlsFiles,
    /// Lists of revoked certificates, of clients and nodes.
    pub crl: Option<PathBuf>,
    /// The lowest version that clients may speak. Nodes speak TLS 1.3.
    pub min_version: TlsVersion,
}

/// A node's side of TLS. A clone is another handle.
#[derive(Clone)]
pub struct ServerTls(Arc<Shared>);

struct Shared {
    settings: ServerTlsSettings,
    state: RwLock<Arc<State>>,
}

/// All that is made of the files, as of one moment.
struct State {
    accept: Arc<ServerConfig>,
    peers: Arc<dyn ClientCertVerifier>,
    call_peer: Arc<ClientConfig>,
    call_as_client: Arc<ClientConfig>,
    shown_to_clients: Arc<CertifiedKey>,
    shown_to_peers: Arc<CertifiedKey>,
    /// No authority of nodes is one of clients too.
    peers_apart: bool,
    /// The authorities of clients, and those of nodes.
    authorities: [Vec<CertificateDer<'static>>; 2],
    /// When the first list of revoked certificates ends.
    lists_end: Option<i64>,
    /// What the files held, so that it is seen when they hold something else.
    contents: Contents,
}

/// What some files hold.
type Contents = Vec<Zeroizing<Vec<u8>>>;

impl ServerTls {
    /// Reads the files. Blocks.
    ///
    /// # Errors
    /// The first file that is wrong.
    pub fn open(settings: ServerTlsSettings) -> Result<Self, TlsError> {
        let state = RwLock::new(Arc::new(State::read(&settings)?));
        Ok(Self(Arc::new(Shared { settings, state })))
    }

    /// Reads the files again, for the connections that are made from now on. Blocks.
    ///
    /// # Errors
    /// The first file that is wrong: then all stays as it is.
    pub fn reload(&self) -> Result<(), TlsError> {
        let state = Arc::new(State::read(&self.0.settings)?);
        if state.peers_apart != self.state().peers_apart {
            // Who is a node was decided by that when the server was started.
            return Err(TlsError::Unusable {
                file: self.0.settings.peer.ca.clone(),
                reason: "whether nodes have authorities of their own cannot change while the server runs: start it again"
                    .to_owned(),
            });
        }
        *self.0.state.write().unwrap_or_else(PoisonError::into_inner) = state;
        Ok(())
    }

    /// Reads the files again where any of them holds something else than before; says whether. Blocks.
    ///
    /// # Errors
    /// As [`ServerTls::reload`].
    pub fn reload_if_changed(&self) -> Result<bool, TlsError> {
        if contents(&self.files())? == self.state().contents {
            return Ok(false);
        }
        self.reload().map(|()| true)
    }

    /// The files that it is made of, each once.
    #[must_use]
    pub fn files(&self) -> Vec<PathBuf> {
        files(&self.0.settings)
    }

    /// The certificate that clients are shown, in DER, and the file that it is from.
    #[must_use]
    pub fn shown_to_clients(&self) -> (PathBuf, Vec<u8>) {
        (self.0.settings.server.cert.clone(), end_entity(&self.state().shown_to_clients))
    }

    /// The certificate that other nodes are shown, in DER, and the file that it is from.
    #[must_use]
    pub fn shown_to_peers(&self) -> (PathBuf, Vec<u8>) {
        (self.0.settings.peer.cert.clone(), end_entity(&self.state().shown_to_peers))
    }

    /// The authorities of clients and those of nodes, in DER, each with the file that they are from.
    #[must_use]
    pub fn authorities(&self) -> [(PathBuf, Vec<Vec<u8>>); 2] {
        let ders = |of: &[CertificateDer<'_>]| of.iter().map(|certificate| certificate.to_vec()).collect();
        let (files, state) = (&self.0.settings, self.state());
        let [clients, nodes] = &state.authorities;
        [(files.server.ca.clone(), ders(clients)), (files.peer.ca.clone(), ders(nodes))]
    }

    /// The file of revoked certificates, and when the first list in it ends, in seconds since 1970: from then on nobody is let in.
    #[must_use]
    pub fn lists_end(&self) -> Option<(PathBuf, i64)> {
        Some((self.0.settings.crl.clone()?, self.state().lists_end?))
    }

    /// Whether nodes have an authority of their own, so that whatever it has issued is a node's. What counts are the keys of the
    /// authorities, and not in which files they stand.
    #[must_use]
    pub fn peers_have_their_own_authority(&self) -> bool {
        self.state().peers_apart
    }

    /// Takes the handshake of a connection that was accepted. The caller bounds the time.
    ///
    /// # Errors
    /// Why there is none; the other side was told as far as TLS lets it be.
    pub async fn accept<S>(&self, stream: S) -> Result<Accepted<S>, HandshakeError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let state = self.state();
        let stream = TlsAcceptor::from(Arc::clone(&state.accept)).accept(stream).await;
        let stream = stream.map_err(HandshakeError::from_io)?;
        let (_, connection) = stream.get_ref();
        let alpn = Alpn::of(connection.alpn_protocol());
        if alpn == Alpn::Peer && connection.protocol_version() != Some(ProtocolVersion::TLSv1_3) {
            return Err(HandshakeError::Failed { reason: "nodes speak TLS 1.3 alone".to_owned() });
        }
        let certificate = connection.peer_certificates().and_then(|chain| shown(&*state.peers, chain));
        Ok(Accepted { stream: stream.into(), alpn, certificate })
    }

    /// Calls a node as one of the cluster: gives the connection, and what that node has shown. The caller bounds the time, and
    /// looks whether it is a node of the cluster.
    ///
    /// # Errors
    /// Where the other side shows no certificate of the nodes' authorities, or refuses this one.
    pub async fn connect_as_peer<S>(
        &self,
        stream: S,
    ) -> Result<(TlsStream<S>, PeerCertificate), HandshakeError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let state = self.state();
        // The name is not sent, and not looked at.
        let name = ServerName::from(Ipv4Addr::LOCALHOST);
        let connector = TlsConnector::from(Arc::clone(&state.call_peer));
        let stream = connector.connect(name, stream).await.map_err(HandshakeError::from_io)?;
        let chain = stream.get_ref().1.peer_certificates();
        let certificate = chain.and_then(|chain| shown(&*state.peers, chain));
        let missing = || HandshakeError::Untrusted { reason: "it has shown none".into() };
        Ok((stream.into(), certificate.ok_or_else(missing)?))
    }

    /// Calls a node as a client does, with the certificate of this node. `host_port` is its address, which its certificate has to
    /// name. The caller bounds the time.
    ///
    /// # Errors
    /// As [`ServerTls::connect_as_peer`], or where the certificate is for another address.
    pub async fn connect_as_client<S>(
        &self,
        host_port: &str,
        stream: S,
    ) -> Result<impl AsyncRead + AsyncWrite + Send + Unpin + use<S>, HandshakeError>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin,
    {
        let name =
            server_name(host_port).map_err(|error| HandshakeError::Failed { reason: error.to_string() })?;
        let connector = TlsConnector::from(Arc::clone(&self.state().call_as_client));
        let stream = connector.connect(name, stream).await.map_err(HandshakeError::from_io)?;
        first_byte_of(stream).await
    }

    fn state(&self) -> Arc<State> {
        Arc::clone(&self.0.state.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerTls").field("settings", &self.0.settings).finish_non_exhaustive()
    }
}

impl State {
    fn read(settings: &ServerTlsSettings) -> Result<Self, TlsError> {
        let ServerTlsSettings { server, peer, crl, min_version } = settings;
        // Before they are read for good: what comes between the two is then read again.
        let contents = contents(&files(settings))?;
        let shown_to_clients = certified_key(&server.cert, &server.key)?;
        let shown_to_peers = certified_key(&peer.cert, &peer.key)?;
        let (lists, lists_end) =
            crl.as_ref().map_or(Ok((Vec::new(), None)), |file| lists_of(file, [&server.ca, &peer.ca]))?;
        let authorities = [certificates(&server.ca)?, certificates(&peer.ca)?];
        let client_roots = roots_of(&server.ca, &authorities[0])?;
        let peer_roots = roots_of(&peer.ca, &authorities[1])?;
        let peers_apart = !client_roots.roots.iter().any(|root| {
            peer_roots.roots.iter().any(|peer| peer.subject_public_key_info == root.subject_public_key_info)
        });
        let unusable = |file: &PathBuf, reason: &dyn fmt::Display| TlsError::Unusable {
            file: file.clone(),
            reason: reason.to_string(),
        };
        let lists_or = |file| crl.as_ref().filter(|_| !lists.is_empty()).unwrap_or(file);
        let clients =
            by_authorities(&client_roots, &lists).map_err(|e| unusable(lists_or(&server.ca), &e))?;
        let peers = by_authorities(&peer_roots, &lists).map_err(|e| unusable(lists_or(&peer.ca), &e))?;
        let mut accept = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(min_version.and_above())
            .map_err(|error| unusable(&server.cert, &error))?
            .with_client_cert_verifier(Arc::new(Either::new(clients, Arc::clone(&peers))))
            .with_cert_resolver(Arc::new(ByProtocol {
                clients: Arc::clone(&shown_to_clients),
                peers: Arc::clone(&shown_to_peers),
            }));
        accept.alpn_protocols = [Alpn::PEER, Alpn::HTTP2, Alpn::HTTP1].map(<[u8]>::to_vec).to_vec();
        // A session that is taken up again is not verified anew: what was revoked since would get in.
        accept.session_storage = Arc::new(NoServerSessionStorage {});
        accept.send_tls13_tickets = 0;
        let call_peer =
            calling_peers(&shown_to_peers, &peers).map_err(|error| unusable(&peer.cert, &error))?;
        let call_as_client = calling_servers(Some(&shown_to_peers), &server.ca, &lists)?;
        Ok(Self {
            accept: Arc::new(accept),
            peers,
            call_peer,
            call_as_client,
            shown_to_clients,
            shown_to_peers,
            peers_apart,
            authorities,
            lists_end,
            contents,
        })
    }
}

fn calling_peers(
    shown: &Arc<CertifiedKey>,
    peers: &Arc<dyn ClientCertVerifier>,
) -> Result<Arc<ClientConfig>, rustls::Error> {
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(TlsVersion::Tls13.and_above())?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(CalledPeer(Arc::clone(peers))))
        .with_client_cert_resolver(Arc::new(SingleCertAndKey::from(Arc::clone(shown))));
    config.alpn_protocols = vec![Alpn::PEER.to_vec()];
    config.enable_sni = false;
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

/// Calls servers, by the authorities in `ca`, with a certificate of one's own if there is one.
pub(crate) fn calling_servers(
    shown: Option<&Arc<CertifiedKey>>,
    ca: &Path,
    lists: &[CertificateRevocationListDer<'static>],
) -> Result<Arc<ClientConfig>, TlsError> {
    let unusable =
        |reason: &dyn fmt::Display| TlsError::Unusable { file: ca.to_owned(), reason: reason.to_string() };
    let provider = Arc::new(ring::default_provider());
    let verifier = WebPkiServerVerifier::builder_with_provider(roots(ca)?, Arc::clone(&provider))
        .with_crls(lists.iter().cloned())
        .allow_unknown_revocation_status()
        .enforce_revocation_expiration()
        .build()
        .map_err(|error| unusable(&error))?;
    let config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(TlsVersion::Tls12.and_above())
        .map_err(|error| unusable(&error))?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let mut config = match shown {
        Some(shown) => config.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(Arc::clone(shown)))),
        None => config.with_no_client_auth(),
    };
    config.alpn_protocols = vec![Alpn::HTTP2.to_vec()];
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

fn contents(files: &[PathBuf]) -> Result<Contents, TlsError> {
    files.iter().map(|file| read(file)).collect()
}

fn files(settings: &ServerTlsSettings) -> Vec<PathBuf> {
    let ServerTlsSettings { server, peer, crl, .. } = settings;
    let of = |files: &TlsFiles| [files.cert.clone(), files.key.clone(), files.ca.clone()];
    let mut files = [of(server), of(peer)].concat();
    files.extend(crl.clone());
    files.sort();
    files.dedup();
    files
}

fn end_entity(certified: &CertifiedKey) -> Vec<u8> {
    certified.cert.first().map(|certificate| certificate.as_ref().to_vec()).unwrap_or_default()
}

/// What the other side has shown; the handshake has verified it.
fn shown(peers: &dyn ClientCertVerifier, chain: &[CertificateDer<'_>]) -> Option<PeerCertificate> {
    let (end_entity, intermediates) = chain.split_first()?;
    let by_peers = peers.verify_client_cert(end_entity, intermediates, UnixTime::now());
    Some(PeerCertificate::new(end_entity, by_peers.is_ok()))
}

/// Shows nodes one certificate and clients another.
#[derive(Debug)]
struct ByProtocol {
    clients: Arc<CertifiedKey>,
    peers: Arc<CertifiedKey>,
}

impl ResolvesServerCert for ByProtocol {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let is_peer = hello.alpn().is_some_and(|mut offered| offered.any(|name| name == Alpn::PEER));
        Some(Arc::clone(if is_peer { &self.peers } else { &self.clients }))
    }
}
