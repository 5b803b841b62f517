//! What a name of a server stands for.

use std::fmt::Debug;
use std::io;
use std::net::SocketAddr;

use futures::future::BoxFuture;

/// Finds the addresses of a server's name. A name with several (a headless service of Kubernetes, say) gives several
/// servers to try.
pub trait Lookup: Send + Sync + Debug {
    /// The addresses of `host:port`, asked for anew each time. The caller bounds the time.
    ///
    /// # Errors
    /// If the name is not known, or cannot be asked for.
    fn lookup(&self, host_port: String) -> BoxFuture<'_, io::Result<Vec<SocketAddr>>>;
}

/// Asks the operating system, as every other program does.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemLookup;

impl Lookup for SystemLookup {
    fn lookup(&self, host_port: String) -> BoxFuture<'_, io::Result<Vec<SocketAddr>>> {
        Box::pin(async move { Ok(tokio::net::lookup_host(host_port).await?.collect()) })
    }
}
