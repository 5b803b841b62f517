//! TLS: whom both sides of a connection trust, loaded and loaded again without a restart, and the handshakes.
//!
//! [`ServerTls`] is what a node has: it takes handshakes ([`ServerTls::accept`]), and makes those of a node that calls
//! another ([`ServerTls::connect_as_peer`], [`ServerTls::connect_as_client`]). [`ClientTls`] is what a client has. Each can
//! [reload](ServerTls::reload) its files: new connections go by the new ones, those that are open live on.
//!
//! Who may do what is not decided here: a certificate that a trusted authority has issued is handed on as [`PeerCertificate`].
//! This crate must never know sockets, what flows through a connection, nor the cluster. Start reading at [`TlsFiles`], then
//! [`ServerTls`].

mod accept;
mod client;
mod error;
mod files;
mod material;
mod peer_certificate;
mod prefixed;
mod server;
mod verify;

pub use accept::{Accepted, Alpn};
pub use client::{ClientTls, ClientTlsSettings, InvalidServerName};
pub use error::{HandshakeError, TlsError};
pub use files::{TLS_FILE_BYTES_MAX, TlsFiles};
pub use peer_certificate::PeerCertificate;
pub use prefixed::Prefixed;
pub use server::{ServerTls, ServerTlsSettings, TlsVersion};
pub use tokio_rustls::TlsStream;
