//! Which cluster a command talks to.

use std::fmt;

use super::{ContextFile, ContextName};
use crate::failure::Failure;

/// The variable that names a cluster.
pub(crate) const SERVER_VARIABLE: &str = "VARVE_SERVER";
/// What is talked to where nothing says otherwise.
const DEFAULT_SERVER: &str = "varve://127.0.0.1:8400";

/// An address, and the context that it comes from, if any.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    /// `varve://host:port[,host:port]`.
    pub(crate) address: String,
    /// The context.
    pub(crate) context: Option<ContextName>,
}

impl Target {
    /// A flag wins over `VARVE_SERVER`, that over the selected context, and that over the default.
    ///
    /// # Errors
    /// If there is no context of that name, or the contexts cannot be read and are needed.
    pub(crate) fn find(server: Option<&str>, context: Option<&ContextName>) -> Result<Self, Failure> {
        let given = |address: &str| Ok(Self { address: address.to_owned(), context: None });
        if let Some(server) = server {
            return given(server);
        }
        if let Some(name) = context {
            let address = ContextFile::required()?.read()?.get(name)?.server.clone();
            return Ok(Self { address, context: Some(name.clone()) });
        }
        // An empty variable is one that is not set.
        if let Some(server) = std::env::var(SERVER_VARIABLE).ok().filter(|server| !server.is_empty()) {
            return given(&server);
        }
        let contexts = ContextFile::of_user().map(|file| file.read()).transpose()?.unwrap_or_default();
        match contexts.selected() {
            Some((name, context)) => {
                Ok(Self { address: context.server.clone(), context: Some(name.clone()) })
            }
            None => given(DEFAULT_SERVER),
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
