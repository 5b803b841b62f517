//! Who is at the other end, and what they may do.
//!
//! - `caller`: whom a connection's certificate names, found out once for each connection.
//! - `guard`: stands before every service: refuses whoever is unknown, and what the policy does not allow to anybody who is.
//! - `call`: a call as its handler sees it: who makes it, what they may do to a topic, and how it is handed on.
//! - `peers`: which certificates are those of nodes of this cluster.
//! - `peer_gate`: which of them may speak with this one, and stay, by what the metadata know of their numbers.
//! - `watch`: certificates and policy that change on the disk.

mod call;
mod caller;
mod denial;
mod guard;
mod peer_gate;
mod peers;
mod watch;

pub(crate) use call::Call;
pub(crate) use caller::Caller;
pub(crate) use guard::GuardLayer;
pub(crate) use peer_gate::NodeRoll;
pub(crate) use peers::PeerRule;

use std::sync::Arc;

use tokio::sync::Notify;
use varve_authz::{Authorizer, PolicySource, PolicyWatcher};
use varve_env::Env;
use varve_net::Connection;
use varve_tls::ServerTls;

use crate::SecurityConfig;
use crate::error::StartError;

/// How a node keeps strangers out. A clone is another handle.
#[derive(Clone, Debug)]
pub(crate) struct Security {
    pub(crate) tls: ServerTls,
    pub(crate) peers: PeerRule,
    pub(crate) authorizer: Authorizer,
    asked_to_reload: Reloads,
}

/// Who is told that the files are to be looked at now.
#[derive(Clone, Debug, Default)]
struct Reloads {
    tls: Arc<Notify>,
    policy: Arc<Notify>,
}

impl Security {
    /// Reads certificates and policy; gives what watches over their files, to be run beside the node.
    pub(crate) async fn open(
        env: &Env,
        config: &SecurityConfig,
        node_name: &str,
    ) -> Result<(Self, impl Future<Output = ()> + Send + use<>), StartError> {
        let settings = config.tls.clone();
        let tls = env.blocking.run(move || ServerTls::open(settings)).await.map_err(StartError::Tls)?;
        let (file, certificate) = tls.shown_to_peers();
        let peers = PeerRule::of(&certificate, node_name, tls.peers_have_their_own_authority())
            .map_err(|reason| StartError::Certificate { file, reason })?;
        let acl = &config.acl;
        let source = PolicySource { model_file: acl.model.clone(), policy_file: acl.policy.clone() };
        let blocking = env.blocking;
        let started = blocking.run(move || PolicyWatcher::start(source, blocking)).await;
        let (authorizer, policy) = started.map_err(|error| StartError::Policy(error.to_string()))?;
        let asked_to_reload = Reloads::default();
        let certificates = watch::certificates(
            env.clone(),
            tls.clone(),
            config.reload_interval,
            Arc::clone(&asked_to_reload.tls),
        );
        let policy = policy.run(Arc::clone(&asked_to_reload.policy), |_| {});
        let watch = async move {
            tokio::join!(certificates, policy);
        };
        Ok((Self { tls, peers, authorizer, asked_to_reload }, watch))
    }

    /// When what this node shows ends, and the first list of revoked certificates, in seconds since 1970.
    pub(crate) fn ends(&self) -> Vec<(&'static str, i64)> {
        watch::ends(&self.tls)
    }

    /// Whom a connection's certificate names.
    pub(crate) fn caller(&self, connection: &Connection) -> Caller {
        Caller::of(connection, &self.peers)
    }

    /// Has the files looked at now.
    pub(crate) fn reload(&self) {
        self.asked_to_reload.tls.notify_one();
        self.asked_to_reload.policy.notify_one();
    }
}
