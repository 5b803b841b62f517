//! A client's side of TLS.

use crate::files::TlsFiles;
use crate::material::certified_key;
use crate::server::calling_servers;
use crate::{HandshakeError, Prefixed, TlsError};
use bytes::Bytes;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// What a client's side is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientTlsSettings {
    /// The client's certificate, and the authorities whose servers it believes.
    pub files: TlsFiles,
    /// The name that servers' certificates must have, where it is not that of their address.
    pub server_name: Option<String>,
}

/// A client's side of TLS. A clone is another handle.
#[derive(Clone)]
pub struct ClientTls(Arc<Shared>);

struct Shared {
    settings: ClientTlsSettings,
    /// Whether no certificate is shown.
    is_anonymous: bool,
    config: RwLock<Arc<ClientConfig>>,
}

/// A name that no certificate has.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{name:?} is neither a name nor an address that a certificate could have")]
pub struct InvalidServerName {
    /// The name.
    pub name: String,
}

impl ClientTls {
    /// Reads the files. Blocks.
    ///
    /// # Errors
    /// The first file that is wrong.
    pub fn open(settings: ClientTlsSettings) -> Result<Self, TlsError> {
        let config = RwLock::new(read(&settings.files, false)?);
        Ok(Self(Arc::new(Shared { settings, is_anonymous: false, config })))
    }

    /// A client that shows no certificate, and believes servers of these authorities. Blocks.
    ///
    /// # Errors
    /// Where the file is wrong.
    pub fn anonymous(ca: PathBuf, server_name: Option<String>) -> Result<Self, TlsError> {
        let files = TlsFiles { cert: PathBuf::new(), key: PathBuf::new(), ca };
        let config = RwLock::new(read(&files, true)?);
        let settings = ClientTlsSettings { files, server_name };
        Ok(Self(Arc::new(Shared { settings, is_anonymous: true, config })))
    }

    /// Reads the files again, for the connections that are made from now on. Blocks.
    ///
    /// # Errors
    /// The first file that is wrong: then all stays as it is.
    pub fn reload(&self) -> Result<(), TlsError> {
        let config = read(&self.0.settings.files, self.0.is_anonymous)?;
        *self.0.config.write().unwrap_or_else(PoisonError::into_inner) = config;
        Ok(())
    }

    /// Makes the handshake with the server at `host_port`, whose certificate must be for that host, or for the name in the
    /// settings. Returns once the server has taken this side's certificate, too. The caller bounds the time.
    ///
    /// # Errors
    /// Why there is none.
    pub async fn connect<S>(
        &self,
        host_port: &str,
        stream: S,
    ) -> Result<impl AsyncRead + AsyncWrite + Send + Unpin + use<S>, HandshakeError>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin,
    {
        let name = match &self.0.settings.server_name {
            Some(name) => parse(name),
            None => server_name(host_port),
        };
        let name = name.map_err(|error| HandshakeError::Failed { reason: error.to_string() })?;
        let config = Arc::clone(&self.0.config.read().unwrap_or_else(PoisonError::into_inner));
        let stream =
            TlsConnector::from(config).connect(name, stream).await.map_err(HandshakeError::from_io)?;
        first_byte_of(stream).await
    }
}

impl fmt::Debug for ClientTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientTls").field("settings", &self.0.settings).finish_non_exhaustive()
    }
}

fn read(files: &TlsFiles, is_anonymous: bool) -> Result<Arc<ClientConfig>, TlsError> {
    let shown = if is_anonymous { None } else { Some(certified_key(&files.cert, &files.key)?) };
    calling_servers(shown.as_ref(), &files.ca, &[])
}

/// The host in `host:port`, as a certificate names it.
pub(crate) fn server_name(host_port: &str) -> Result<ServerName<'static>, InvalidServerName> {
    let host = host_port.rsplit_once(':').map_or(host_port, |(host, _)| host);
    parse(host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host))
}

fn parse(name: &str) -> Result<ServerName<'static>, InvalidServerName> {
    ServerName::try_from(name.to_owned()).map_err(|_| InvalidServerName { name: name.to_owned() })
}

/// Waits for the first byte, which an HTTP/2 server sends unasked: in TLS 1.3 a client takes the handshake for done before the
/// server has looked at its certificate, and would learn of a refusal in the middle of a call.
pub(crate) async fn first_byte_of<S>(
    mut stream: TlsStream<S>,
) -> Result<Prefixed<TlsStream<S>>, HandshakeError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let first = stream.read_u8().await.map_err(HandshakeError::from_io)?;
    Ok(Prefixed::new(Bytes::copy_from_slice(&[first]), stream))
}
