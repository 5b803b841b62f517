//! Which cluster a command talks to.

use std::fmt;

use super::{Context, ContextFile, ContextName};
use crate::failure::Failure;
use crate::tls::{TlsArgs, TlsSettings};

/// The variable that names a cluster.
pub(crate) const SERVER_VARIABLE: &str = "VARVE_SERVER";
/// What is talked to where nothing says otherwise.
const DEFAULT_SERVER: &str = "varve://127.0.0.1:8400";

/// An address, the context that it comes from, if any, and how it is spoken to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    /// `varve://host:port[,host:port]`.
    pub(crate) address: String,
    /// The context.
    pub(crate) context: Option<ContextName>,
    /// How TLS is spoken there; in the clear where absent.
    pub(crate) tls: Option<TlsSettings>,
}

impl Target {
    /// A flag wins over the environment, that over the selected context, and that over the default. What a context lacks of TLS
    /// the environment does not fill in where the context was named by a flag.
    ///
    /// # Errors
    /// If there is no context of that name, the contexts cannot be read and are needed, or TLS lacks something.
    pub(crate) fn find(
        server: Option<&str>,
        context: Option<&ContextName>,
        tls: TlsArgs,
    ) -> Result<Self, Failure> {
        let of_context = |name: &ContextName, context: &Context, tls: TlsArgs| {
            let tls = tls.or(context.tls.clone().map(TlsArgs::from).unwrap_or_default()).complete()?;
            Ok(Self { address: context.server.clone(), context: Some(name.clone()), tls })
        };
        if let Some(name) = context {
            return of_context(name, ContextFile::required()?.read()?.get(name)?, tls);
        }
        let tls = tls.or(TlsArgs::of_environment());
        let given = |address: &str, tls: TlsArgs| {
            Ok(Self { address: address.to_owned(), context: None, tls: tls.complete()? })
        };
        if let Some(server) = server {
            return given(server, tls);
        }
        // An empty variable is one that is not set.
        if let Some(server) = std::env::var(SERVER_VARIABLE).ok().filter(|server| !server.is_empty()) {
            return given(&server, tls);
        }
        let contexts = ContextFile::of_user().map(|file| file.read()).transpose()?.unwrap_or_default();
        match contexts.selected() {
            Some((name, context)) => of_context(name, context, tls),
            None => given(DEFAULT_SERVER, tls),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.context {
            Some(name) => write!(f, "{} (context {name})", self.address),
            None => f.write_str(&self.address),
        }
    }
}
