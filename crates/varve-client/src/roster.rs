use std::collections::BTreeMap;
use std::sync::Arc;

use varve_api::v1::{GetServersResponse, Server, ServerState};
use varve_record::NodeId;

/// Most servers that a client remembers; no cluster has so many.
const SERVERS_MAX: usize = 1024;

/// The servers of a cluster, as one of them told.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Roster {
    pub(crate) cluster_id: String,
    pub(crate) members: BTreeMap<NodeId, Member>,
}

/// What is known of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Member {
    pub(crate) addr: Arc<str>,
    pub(crate) rack: Arc<str>,
    /// Whether it can be reached, as far as the server that was asked knows. A hint.
    pub(crate) is_alive: bool,
    /// Whether it is to stay in the cluster.
    pub(crate) is_active: bool,
}

impl Member {
    fn new(server: &Server) -> Self {
        Self {
            addr: server.rpc_addr.as_str().into(),
            rack: server.rack.as_str().into(),
            is_alive: server.alive && server.state() != ServerState::Lost,
            is_active: matches!(server.state(), ServerState::Active | ServerState::Unspecified),
        }
    }

    /// Whether it is a good one to read from.
    pub(crate) fn is_in_service(&self) -> bool {
        self.is_alive && self.is_active
    }
}

impl Roster {
    pub(crate) fn new(answer: &GetServersResponse) -> Self {
        let servers = answer.servers.iter().take(SERVERS_MAX).filter(|server| !server.rpc_addr.is_empty());
        let mut members: BTreeMap<_, _> =
            servers.map(|server| (NodeId::new(server.id), Member::new(server))).collect();
        if members.values().all(|member| !member.is_alive) {
            // Nobody hears of anybody, so that it means nothing: somebody has answered.
            members.values_mut().for_each(|member| member.is_alive = true);
        }
        Self { cluster_id: answer.cluster_id.clone(), members }
    }

    /// A lone server is where it was reached, whatever it believes: it may stand behind a forwarded port. Not where another was
    /// reached that tells of it, and goes.
    pub(crate) fn reached_at(&mut self, answered_by: &str, answerer: NodeId) {
        let is_alone = self.members.len() == 1;
        if let Some(only) = self.members.get_mut(&answerer).filter(|_| is_alone) {
            only.addr = answered_by.into();
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    pub(crate) fn at(&self, addr: &str) -> Option<&Member> {
        self.members.values().find(|member| &*member.addr == addr)
    }

    /// The addresses of the servers that are in service, or of the others.
    pub(crate) fn addrs(&self, in_service: bool) -> impl Iterator<Item = &Arc<str>> {
        let members = self.members.values().filter(move |member| member.is_in_service() == in_service);
        members.map(|member| &member.addr)
    }

    /// Adds the servers that only the other knows.
    pub(crate) fn extend(&mut self, other: Self) {
        for (id, member) in other.members {
            self.members.entry(id).or_insert(member);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(id: u64, alive: bool, state: ServerState) -> Server {
        Server { id, rpc_addr: format!("s{id}:1"), alive, state: state as i32, ..Server::default() }
    }

    fn roster(servers: Vec<Server>) -> Roster {
        Roster::new(&GetServersResponse { servers, cluster_id: "c".into(), ..Default::default() })
    }

    #[test]
    fn a_lone_server_is_where_it_was_reached() {
        let one = NodeId::new(1);
        let mut roster = roster(vec![server(1, true, ServerState::Active)]);
        roster.reached_at("other:9", NodeId::new(2));
        assert_eq!(&*roster.members[&one].addr, "s1:1", "another has told of it");
        roster.reached_at("reached:9", one);
        assert_eq!(&*roster.members[&one].addr, "reached:9");
    }

    #[test]
    fn those_that_are_away_or_leave_are_not_in_service() {
        let roster = roster(vec![
            server(1, false, ServerState::Active),
            server(2, true, ServerState::Draining),
            server(3, true, ServerState::Active),
            server(4, true, ServerState::Lost),
        ]);
        let addrs = |in_service| roster.addrs(in_service).map(|addr| &**addr).collect::<Vec<_>>();
        assert_eq!((addrs(true), addrs(false)), (vec!["s3:1"], vec!["s1:1", "s2:1", "s4:1"]));
        assert!(roster.at("s2:1").expect("it is one").is_alive);
        assert!(!roster.at("s4:1").expect("it is one").is_alive);
    }

    #[test]
    fn nobody_alive_means_that_nobody_listens() {
        let roster =
            roster(vec![server(1, false, ServerState::Active), server(2, false, ServerState::Active)]);
        assert!(roster.members.values().all(Member::is_in_service));
    }
}
