//! Why telemetry cannot go where it should.

use std::io;
use std::path::PathBuf;
use thiserror::Error;

/// Why an exporter does not start.
#[derive(Debug, Error)]
pub enum ExportError {
    /// A file cannot be read or made.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The collector's address is none.
    #[error(
        "otlp-endpoint: {endpoint:?} is no address of a collector: write http://HOST:PORT or https://HOST:PORT"
    )]
    Endpoint {
        /// What was given.
        endpoint: String,
    },
    /// `https` without anybody to believe.
    #[error("otlp-endpoint: {endpoint} is https, and no otlp-ca-file says whose certificates are believed")]
    NoAuthority {
        /// What was given.
        endpoint: String,
    },
    /// The library refuses.
    #[error("telemetry cannot be set up: {0}")]
    Setup(String),
}
