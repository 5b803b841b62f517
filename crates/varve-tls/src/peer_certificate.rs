//! What the other side showed.

use rustls::pki_types::CertificateDer;
use std::fmt;
use std::sync::Arc;

/// The certificate that the other side has shown, which an authority has issued that is trusted here, and whose key it has. A
/// clone is another handle.
#[derive(Clone, PartialEq, Eq)]
pub struct PeerCertificate {
    der: Arc<[u8]>,
    is_peer: bool,
}

impl PeerCertificate {
    pub(crate) fn new(end_entity: &CertificateDer<'_>, is_peer: bool) -> Self {
        Self { der: end_entity.as_ref().into(), is_peer }
    }

    /// The certificate, in DER.
    #[must_use]
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// Whether an authority has issued it that is trusted for nodes. Where nodes and clients have the same authority that says
    /// nothing yet.
    #[must_use]
    pub fn is_by_peer_authority(&self) -> bool {
        self.is_peer
    }
}

impl fmt::Debug for PeerCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (bytes, is_peer) = (self.der.len(), self.is_peer);
        f.debug_struct("PeerCertificate").field("bytes", &bytes).field("is_peer", &is_peer).finish()
    }
}
