use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, PoisonError};

use tonic::transport::Channel;
use varve_api::error::ApiError;
use varve_api::v1::GetServersResponse;
use varve_record::NodeId;

use crate::{ClientBuilder, ClusterAddress, channel};

/// Most servers that a client remembers; no cluster has so many.
const SERVERS_MAX: usize = 1024;

/// Knows the servers of the cluster, and keeps a channel to each.
#[derive(Debug)]
pub(crate) struct Resolver {
    /// What the user named: asked first, and again when all else fails.
    seeds: Vec<String>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    servers: BTreeMap<NodeId, String>,
    channels: HashMap<String, Channel>,
    /// Which of the servers and seeds is asked what any server can answer.
    turn: usize,
}

impl Resolver {
    pub(crate) fn new(address: &ClusterAddress) -> Self {
        Self { seeds: address.members().to_vec(), state: Mutex::default() }
    }

    /// A server to ask what any can answer: the same one until it fails.
    pub(crate) fn any(&self) -> String {
        let state = self.state();
        let known = state.servers.len() + self.seeds.len();
        let place = state.turn % known;
        let server = state.servers.values().chain(&self.seeds).nth(place);
        server.cloned().expect("an address names at least one member")
    }

    /// Takes note that a server did not answer, so that another is asked next.
    pub(crate) fn failed(&self, addr: &str) {
        if self.any() == addr {
            let mut state = self.state();
            state.turn = state.turn.wrapping_add(1);
        }
    }

    /// The address of a server.
    pub(crate) fn address(&self, id: NodeId) -> Option<String> {
        self.state().servers.get(&id).cloned()
    }

    /// The channel to a server.
    ///
    /// # Errors
    /// If the address is none.
    pub(crate) fn channel(&self, addr: &str, options: &ClientBuilder) -> Result<Channel, ApiError> {
        let mut state = self.state();
        if let Some(channel) = state.channels.get(addr) {
            return Ok(channel.clone());
        }
        let channel = channel::open(addr, options.connect_timeout, &options.env.network)?;
        state.channels.insert(addr.into(), channel.clone());
        Ok(channel)
    }

    /// Takes over what a server said about the cluster.
    pub(crate) fn update(&self, answer: GetServersResponse, answered_by: &str) {
        let servers = answer.servers.into_iter().take(SERVERS_MAX);
        let servers = servers.filter(|server| !server.rpc_addr.is_empty());
        let mut servers: BTreeMap<_, _> =
            servers.map(|server| (NodeId::new(server.id), server.rpc_addr)).collect();
        if let (1, Some(mut only)) = (servers.len(), servers.first_entry()) {
            // A lone server is where it was reached, whatever it believes: it may stand behind a forwarded port.
            only.insert(answered_by.into());
        }
        let mut state = self.state();
        let is_known =
            |addr: &String| servers.values().any(|server| server == addr) || self.seeds.contains(addr);
        state.channels.retain(|addr, _| is_known(addr));
        state.servers = servers;
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use varve_api::v1::Server;

    use super::*;

    fn resolver(address: &str) -> Resolver {
        Resolver::new(&address.parse().expect("a good address"))
    }

    fn servers(addrs: &[&str]) -> GetServersResponse {
        let server = |(id, addr): (usize, &&str)| Server {
            id: id as u64,
            rpc_addr: addr.to_string(),
            ..Server::default()
        };
        GetServersResponse {
            servers: addrs.iter().enumerate().map(server).collect(),
            cluster_id: String::new(),
        }
    }

    #[test]
    fn asks_the_same_server_until_it_fails_then_the_next() {
        let resolver = resolver("a:1,b:1");
        assert_eq!(resolver.any(), "a:1");
        resolver.failed("b:1");
        assert_eq!(resolver.any(), "a:1");
        resolver.failed("a:1");
        assert_eq!(resolver.any(), "b:1");
        resolver.failed("b:1");
        assert_eq!(resolver.any(), "a:1");
    }

    #[test]
    fn a_lone_server_is_where_it_was_reached() {
        let resolver = resolver("forwarded:9");
        resolver.update(servers(&["10.0.0.1:8400"]), "forwarded:9");
        assert_eq!(resolver.address(NodeId::new(0)).as_deref(), Some("forwarded:9"));
    }

    #[test]
    fn several_servers_are_where_they_say_and_seeds_stay() {
        let resolver = resolver("seed:9");
        resolver.update(servers(&["a:1", "b:1"]), "seed:9");
        assert_eq!(resolver.address(NodeId::new(1)).as_deref(), Some("b:1"));
        let mut asked = Vec::new();
        for _ in 0..3 {
            asked.push(resolver.any());
            resolver.failed(&resolver.any());
        }
        assert_eq!(asked, ["a:1", "b:1", "seed:9"]);
    }
}
