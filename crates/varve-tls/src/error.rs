//! What can go wrong.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use thiserror::Error;

/// Files that do not make a side of TLS.
#[derive(Clone, Debug, Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("cannot read {}: {source}", file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// What the system said.
        source: Arc<io::Error>,
    },
    /// A file is larger than any such file is.
    #[error("{} has more than {max_bytes} bytes, which no certificates have", file.display())]
    TooLarge {
        /// The file.
        file: PathBuf,
        /// The limit.
        max_bytes: u64,
    },
    /// A file holds no PEM of the kind that is wanted.
    #[error("{} holds no {what} in PEM ({reason})", file.display())]
    Pem {
        /// The file.
        file: PathBuf,
        /// What it should hold.
        what: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// A file holds a certificate or a list that cannot be used.
    #[error("{} cannot be used: {reason}", file.display())]
    Unusable {
        /// The file.
        file: PathBuf,
        /// Why not.
        reason: String,
    },
    /// A key that every user of the machine may read, or write.
    #[error("{} may be read by others (mode {mode:04o}): run `chmod o= {}`", file.display(), file.display())]
    Shared {
        /// The file of the key.
        file: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// The key is not that of the certificate.
    #[error("the key in {} is not that of the certificate in {}", key.display(), cert.display())]
    KeyMismatch {
        /// The file of the certificate.
        cert: PathBuf,
        /// The file of the key.
        key: PathBuf,
    },
}

/// A handshake that failed, or a connection that the other side gave up for what it thinks of this one's certificate.
#[derive(Clone, Debug, Error)]
pub enum HandshakeError {
    /// The other side's certificate is not trusted here.
    #[error("the certificate of the other side is refused: {reason}")]
    Untrusted {
        /// Why.
        reason: String,
    },
    /// The other side refused, with an alert.
    #[error("the other side refused the handshake: {reason}")]
    Refused {
        /// What its alert says.
        reason: String,
    },
    /// The other side speaks no TLS.
    #[error("the other side speaks no TLS: does it serve in the clear?")]
    NoTls,
    /// Both sides have no version, protocol or algorithm in common, or the handshake is malformed.
    #[error("no handshake: {reason}")]
    Failed {
        /// What is wrong.
        reason: String,
    },
    /// The connection failed.
    #[error("the connection failed during the handshake: {source}")]
    Io {
        /// What the system said.
        source: Arc<io::Error>,
    },
}

impl HandshakeError {
    /// The same as an error of the connection, from which [`HandshakeError::find`] takes it again.
    #[must_use]
    pub fn into_io(self) -> io::Error {
        let kind = match &self {
            Self::Io { source } => source.kind(),
            _ => io::ErrorKind::InvalidData,
        };
        io::Error::new(kind, self)
    }

    /// Says what an error of a connection means, where it is one of TLS.
    #[must_use]
    pub fn of_io(error: &io::Error) -> Option<Self> {
        let inner = error.get_ref()?;
        if let Some(known) = inner.downcast_ref::<Self>() {
            return Some(known.clone());
        }
        inner.downcast_ref::<rustls::Error>().map(Self::of_rustls)
    }

    /// Looks for one among the causes of an error.
    #[must_use]
    pub fn find(error: &(dyn std::error::Error + 'static)) -> Option<Self> {
        let mut cause = Some(error);
        while let Some(error) = cause {
            if let Some(found) = error.downcast_ref::<Self>() {
                return Some(found.clone());
            }
            if let Some(found) = error.downcast_ref::<rustls::Error>() {
                return Some(Self::of_rustls(found));
            }
            if let Some(found) = error.downcast_ref::<io::Error>().and_then(Self::of_io) {
                return Some(found);
            }
            cause = error.source();
        }
        None
    }

    pub(crate) fn from_io(error: io::Error) -> Self {
        Self::of_io(&error).unwrap_or_else(|| Self::Io { source: Arc::new(error) })
    }

    fn of_rustls(error: &rustls::Error) -> Self {
        match error {
            rustls::Error::InvalidCertificate(reason) => Self::Untrusted { reason: said(reason) },
            rustls::Error::InvalidCertRevocationList(_) | rustls::Error::NoCertificatesPresented => {
                Self::Untrusted { reason: error.to_string() }
            }
            rustls::Error::AlertReceived(alert) => Self::Refused { reason: meaning(*alert) },
            rustls::Error::InvalidMessage(_) => Self::NoTls,
            error => Self::Failed { reason: error.to_string() },
        }
    }
}

/// What a certificate lacks, in words for whoever has to mend it.
fn said(reason: &rustls::CertificateError) -> String {
    use rustls::CertificateError as Why;
    match reason {
        Why::Expired | Why::ExpiredContext { .. } => "it has expired".into(),
        Why::NotValidYet | Why::NotValidYetContext { .. } => {
            "it is not valid yet: look at the clocks of both sides".into()
        }
        Why::Revoked => "it was revoked".into(),
        Why::UnknownIssuer => "none of the authorities that are trusted here has issued it".into(),
        Why::ExpiredRevocationList | Why::ExpiredRevocationListContext { .. } => {
            "the list of revoked certificates has expired: issue a new one".into()
        }
        Why::UnknownRevocationStatus => {
            "no list of revoked certificates speaks for the authority that has issued it".into()
        }
        Why::InvalidPurpose | Why::InvalidPurposeContext { .. } => {
            "it is not for this use (extended key usage)".into()
        }
        Why::BadSignature => {
            "it is not signed by the authority that it names: another of the same name may have issued it"
                .into()
        }
        other => other.to_string(),
    }
}

fn meaning(alert: rustls::AlertDescription) -> String {
    use rustls::AlertDescription as Alert;
    let words = match alert {
        Alert::UnknownCA => "it does not trust the authority that has issued this side's certificate",
        Alert::DecryptError => {
            "this side's certificate is not signed by the authority that it names: another of the same name may have issued it"
        }
        Alert::CertificateExpired => "this side's certificate has expired",
        Alert::CertificateRevoked => "this side's certificate was revoked",
        Alert::CertificateRequired => "it wants a certificate from this side",
        Alert::BadCertificate | Alert::UnsupportedCertificate | Alert::CertificateUnknown => {
            "it does not take this side's certificate"
        }
        Alert::NoApplicationProtocol => "it speaks none of the protocols that were offered",
        Alert::ProtocolVersion => "it speaks no version of TLS that this side does",
        Alert::AccessDenied => "it denies access to this side's certificate",
        _ => return format!("alert {alert:?}"),
    };
    words.to_owned()
}
