//! What each call of the protocol asks for: the one table of it.

use crate::action::Action;

/// What a call asks of whoever makes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Requirement {
    /// Nothing: load balancers and kubelets have no certificate.
    Anyone,
    /// A certificate that is good; no rule.
    Authenticated,
    /// The certificate of a node of this cluster.
    Peer,
    /// That the policy allows it.
    Allowed(Action, ObjectOf),
}

/// Where the object of a call is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ObjectOf {
    /// The topic that the request names; in a stream that names several, each.
    Topic,
    /// The topic `default`, which the plain service is about.
    DefaultTopic,
    /// The cluster.
    Cluster,
    /// Any topic: the call says none.
    SomeTopic,
}

/// A call and what it asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RpcRule {
    /// `package.Service/Method`.
    pub method: &'static str,
    /// What it asks for.
    pub requirement: Requirement,
}

/// Every call that a server takes. One that is not here is refused.
///
/// - Who may list servers learns no more than addresses, which clients need before anything else.
/// - Of `ListTopics`, only the topics that the caller may describe are answered.
/// - Of `ProduceStream` each batch is looked at for itself as well.
/// - `DescribeTopic` with `create_missing` makes a topic only for those who may create it.
pub const RPCS: &[RpcRule] = &[
    allowed("varve.v1.LogService/Produce", Action::Produce, ObjectOf::Topic),
    allowed("varve.v1.LogService/ProduceStream", Action::Produce, ObjectOf::SomeTopic),
    allowed("varve.v1.LogService/Consume", Action::Consume, ObjectOf::Topic),
    allowed("varve.v1.LogService/ConsumeStream", Action::Consume, ObjectOf::Topic),
    allowed("varve.v1.LogService/GetTail", Action::Describe, ObjectOf::Topic),
    allowed("varve.v1.LogService/InitProducer", Action::Produce, ObjectOf::SomeTopic),
    rpc("varve.v1.ClusterService/GetServers", Requirement::Authenticated),
    rpc("varve.v1.ClusterService/WatchServers", Requirement::Authenticated),
    allowed("varve.v1.ClusterService/GetClusterHealth", Action::Describe, ObjectOf::Cluster),
    allowed("varve.v1.ClusterService/InitCluster", Action::Admin, ObjectOf::Cluster),
    rpc("varve.v1.ClusterService/JoinCluster", Requirement::Peer),
    allowed("varve.v1.ClusterService/TransferLeadership", Action::Admin, ObjectOf::Cluster),
    allowed("varve.v1.ClusterService/DecommissionServer", Action::Admin, ObjectOf::Cluster),
    allowed("varve.v1.ClusterService/CreateTopic", Action::Create, ObjectOf::Topic),
    rpc("varve.v1.ClusterService/ListTopics", Requirement::Authenticated),
    allowed("varve.v1.ClusterService/DescribeTopic", Action::Describe, ObjectOf::Topic),
    allowed("varve.v1.ClusterService/AlterTopic", Action::Alter, ObjectOf::Topic),
    allowed("varve.v1.ClusterService/DeleteTopic", Action::Delete, ObjectOf::Topic),
    allowed("varve.v1.ClusterService/TrimTopic", Action::Trim, ObjectOf::Topic),
    allowed("varve.v1.DebugService/SetLogFilter", Action::Admin, ObjectOf::Cluster),
    allowed("varve.v1.DebugService/Collect", Action::Admin, ObjectOf::Cluster),
    allowed("varve.v1.DebugService/Profile", Action::Admin, ObjectOf::Cluster),
    allowed("log.v1.Log/Produce", Action::Produce, ObjectOf::DefaultTopic),
    allowed("log.v1.Log/Consume", Action::Consume, ObjectOf::DefaultTopic),
    allowed("log.v1.Log/ConsumeStream", Action::Consume, ObjectOf::DefaultTopic),
    allowed("log.v1.Log/ProduceStream", Action::Produce, ObjectOf::DefaultTopic),
    rpc("log.v1.Log/GetServers", Requirement::Authenticated),
    rpc("grpc.health.v1.Health/Check", Requirement::Anyone),
    rpc("grpc.health.v1.Health/Watch", Requirement::Anyone),
    rpc("grpc.reflection.v1.ServerReflection/ServerReflectionInfo", Requirement::Authenticated),
];

/// What a call asks for, by its path with or without a slash before it; `None` for one that no server takes.
#[must_use]
pub fn requirement(path: &str) -> Option<Requirement> {
    let method = path.strip_prefix('/').unwrap_or(path);
    RPCS.iter().find(|rule| rule.method == method).map(|rule| rule.requirement)
}

const fn rpc(method: &'static str, requirement: Requirement) -> RpcRule {
    RpcRule { method, requirement }
}

const fn allowed(method: &'static str, action: Action, object: ObjectOf) -> RpcRule {
    rpc(method, Requirement::Allowed(action, object))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_call_stands_there_once() {
        for (at, rule) in RPCS.iter().enumerate() {
            assert!(RPCS[..at].iter().all(|other| other.method != rule.method), "{}", rule.method);
            assert_eq!(requirement(rule.method), Some(rule.requirement));
            assert_eq!(requirement(&format!("/{}", rule.method)), Some(rule.requirement));
        }
        assert_eq!(requirement("/varve.v1.LogService/Drop"), None);
        assert_eq!(requirement(""), None);
    }
}
