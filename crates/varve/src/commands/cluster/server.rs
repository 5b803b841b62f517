//! The servers of a cluster, and how they are named on the command line.

use std::convert::Infallible;
use std::fmt;
use std::str::FromStr;

use varve_api::v1::{Server, ServerState};
use varve_client::record::NodeId;

use crate::commands::connection::Connection;
use crate::failure::{Exit, Failure};
use crate::suggest::nearest;

/// A server as people name it: by its id, or by its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ServerRef {
    /// Its node id.
    Id(u64),
    /// Its name.
    Name(String),
}

impl ServerRef {
    /// The server that is meant.
    ///
    /// # Errors
    /// If there is none, or the cluster does not answer.
    pub(crate) async fn find(&self, connection: &Connection) -> Result<Server, Failure> {
        let servers = servers(connection).await?;
        let found = servers.iter().find(|server| match self {
            Self::Id(id) => server.id == *id,
            Self::Name(name) => server.name == *name && state(server) != ServerState::Lost,
        });
        found.cloned().ok_or_else(|| {
            let failure = Failure::new(Exit::NotFound, format!("the cluster has no server {self}"));
            let near = match self {
                Self::Id(_) => None,
                Self::Name(name) => nearest(name, servers.iter().map(|server| server.name.as_str())),
            };
            match near {
                Some(name) => {
                    failure.hint(format!("did you mean {name}? `varve cluster members` lists them all"))
                }
                None => failure.hint("`varve cluster members` lists them"),
            }
        })
    }
}

impl FromStr for ServerRef {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(text.parse().map_or_else(|_| Self::Name(text.to_owned()), Self::Id))
    }
}

impl fmt::Display for ServerRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(id) => write!(f, "{id}"),
            Self::Name(name) => f.write_str(name),
        }
    }
}

/// The servers of the cluster, by id.
///
/// # Errors
/// If the cluster does not answer.
pub(crate) async fn servers(connection: &Connection) -> Result<Vec<Server>, Failure> {
    let answer = connection.client.servers().await;
    Ok(answer.map_err(|error| connection.fail("ask for the servers", &error))?.servers)
}

/// Where a server stands. What a newer server sends and we do not know is nothing.
pub(crate) fn state(server: &Server) -> ServerState {
    server.state()
}

/// "active", "draining" or "lost".
pub(crate) fn state_name(server: &Server) -> &'static str {
    match state(server) {
        ServerState::Active => "active",
        ServerState::Draining => "draining",
        ServerState::Lost => "lost",
        ServerState::Unspecified => "unknown",
    }
}

/// "server 2 (node-2)".
pub(crate) fn called(server: &Server) -> String {
    format!("server {} ({})", server.id, server.name)
}

/// "server 2 (node-2)", of an id that need not be among them.
pub(crate) fn called_by_id(servers: &[Server], id: NodeId) -> String {
    let server = servers.iter().find(|server| server.id == id.get());
    server.map_or_else(|| format!("server {id}"), called)
}
