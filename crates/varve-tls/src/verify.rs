//! Whose certificates are taken.

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, ServerName, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, Error, RootCertStore, SignatureScheme};
use std::sync::Arc;

/// Takes certificates for clients that one of these authorities has issued and not revoked. One that shows none is let in: it is
/// refused by name later, where it can be told why.
pub(crate) fn by_authorities(
    roots: &Arc<RootCertStore>,
    lists: &[CertificateRevocationListDer<'static>],
) -> Result<Arc<dyn ClientCertVerifier>, rustls::server::VerifierBuilderError> {
    let provider = Arc::new(ring::default_provider());
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::clone(roots), provider)
        .with_crls(lists.iter().cloned())
        .allow_unauthenticated();
    // A list speaks for its authority alone; an authority without one has revoked nothing.
    builder.allow_unknown_revocation_status().enforce_revocation_expiration().build()
}

/// Takes what either of two takes: clients' certificates, and nodes'.
#[derive(Debug)]
pub(crate) struct Either {
    pub(crate) clients: Arc<dyn ClientCertVerifier>,
    pub(crate) peers: Arc<dyn ClientCertVerifier>,
    hints: Vec<DistinguishedName>,
}

impl Either {
    pub(crate) fn new(clients: Arc<dyn ClientCertVerifier>, peers: Arc<dyn ClientCertVerifier>) -> Self {
        let hints = [clients.root_hint_subjects(), peers.root_hint_subjects()].concat();
        Self { clients, peers, hints }
    }
}

impl ClientCertVerifier for Either {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.hints
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.clients
            .verify_client_cert(end_entity, intermediates, now)
            .or_else(|error| self.peers.verify_client_cert(end_entity, intermediates, now).map_err(|_| error))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.clients.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.clients.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.clients.supported_verify_schemes()
    }
}

/// Takes another node's certificate when it is called. Its address is not held against it, which may change from start to start:
/// that it is a node of this cluster is what counts, and is looked at by whoever gets the certificate. A node's certificate is
/// for both sides of a connection, so that it is judged as a caller's.
#[derive(Debug)]
pub(crate) struct CalledPeer(pub(crate) Arc<dyn ClientCertVerifier>);

impl ServerCertVerifier for CalledPeer {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.0.verify_client_cert(end_entity, intermediates, now).map(|_| ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}
