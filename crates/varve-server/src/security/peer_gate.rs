//! Which nodes may speak with this one, and for how long.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::time::{sleep, timeout};
use varve_controller::Metadata;
use varve_net::{PeerCheck, PeerGate};
use varve_record::NodeId;

use super::caller::may_be;
use super::{Caller, PeerRule};
use crate::topics::MetadataLog;

/// How long whoever says that it is a node that is not known here waits while this node asks the controller's leader. Where that takes
/// longer it is let in: it may be that leader, whom this node has to hear of.
const ADMISSION_PATIENCE: Duration = Duration::from_millis(500);

/// How long the leader is asked for the same of one that was let in.
const ASKING_TIMEOUT: Duration = Duration::from_secs(5);

/// The pause before it is asked again, and before it is looked again whether the metadata are open.
const ASKING_PAUSE: Duration = Duration::from_secs(2);

/// The nodes of the cluster, by number: what the metadata say, once they are open. A clone is another handle.
#[derive(Clone, Debug, Default)]
pub(crate) struct NodeRoll(Arc<OnceLock<MetadataLog>>);

impl NodeRoll {
    /// Begins to know what the metadata say.
    pub(crate) fn open(&self, metadata: MetadataLog) {
        // It is set once: a node opens its metadata at one place.
        drop(self.0.set(metadata));
    }

    /// What the one who is called has to show.
    pub(crate) fn check_called(&self, rule: PeerRule) -> PeerCheck {
        let roll = self.clone();
        Arc::new(move |node, certificate| {
            let certified = rule.check(certificate)?;
            let certified = certified.as_ref().map(|uri| uri.node.as_str());
            // One that is not known yet may be about to join, or this node behind.
            roll.look(node, certified).map(drop)
        })
    }

    /// Who is let in to one who calls.
    pub(crate) fn gate(&self, caller: Caller) -> Gate {
        Gate { roll: self.clone(), caller }
    }

    fn look(&self, node: u64, certified: Option<&str>) -> Result<Known, String> {
        match self.0.get() {
            Some(metadata) => look(&metadata.state().0, NodeId::new(node), certified),
            None => Ok(Known::No),
        }
    }
}

/// Whether the metadata have a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Known {
    Yes,
    /// They are not open, or not new enough, or there is none.
    No,
}

/// Whether whoever has shown a certificate of this name may be this node; else why not.
fn look(metadata: &Metadata, node: NodeId, certified: Option<&str>) -> Result<Known, String> {
    match metadata.node(node) {
        Some(known) if known.is_lost() => {
            Err(format!("the cluster has given up node {node} ({}): it never comes back", known.name))
        }
        Some(known) => may_be(certified, Some(&known.name)).map(|()| Known::Yes),
        None if metadata.was_removed(node) => Err(format!("node {node} was taken out of the cluster")),
        None => Ok(Known::No),
    }
}

/// Stands before what a connection of another node asks.
#[derive(Clone, Debug)]
pub(crate) struct Gate {
    roll: NodeRoll,
    caller: Caller,
}

impl Gate {
    /// Whether the caller may say that it is this node; else why not.
    fn look(&self, node: u64) -> Result<Known, String> {
        match &self.caller {
            Caller::Anyone => self.roll.look(node, None),
            Caller::Node { node: certified, .. } => self.roll.look(node, certified.as_deref()),
            Caller::Client { subject, .. } => Err(format!("its certificate is that of client {subject:?}")),
            Caller::Nobody { why, .. } => Err(why.to_string()),
        }
    }

    /// The same once all is known that was committed, if that can be had in time.
    async fn look_well(
        &self,
        node: u64,
        metadata: &MetadataLog,
        patience: Duration,
    ) -> Result<Known, String> {
        let is_known = self.look(node)?;
        // In the clear whoever has no number takes another's.
        if is_known == Known::Yes || matches!(self.caller, Caller::Anyone) {
            return Ok(Known::Yes);
        }
        match timeout(patience, metadata.linearize()).await {
            Ok(Ok(())) => match self.look(node)? {
                Known::Yes => Ok(Known::Yes),
                Known::No => Err(format!("the cluster has no node {node}")),
            },
            _ => Ok(Known::No),
        }
    }
}

impl PeerGate for Gate {
    fn admit(&self, node: u64) -> BoxFuture<'_, Result<(), String>> {
        async move {
            match self.roll.0.get() {
                // While there is no leader nobody can be asked, and what is to be heard may be the votes for one.
                Some(metadata) if metadata.progress().leader.is_some() => {
                    self.look_well(node, metadata, ADMISSION_PATIENCE).await.map(drop)
                }
                _ => self.look(node).map(drop),
            }
        }
        .boxed()
    }

    fn expelled(&self, node: u64) -> BoxFuture<'_, String> {
        async move {
            let metadata = loop {
                match self.roll.0.get() {
                    Some(metadata) => break metadata,
                    None => sleep(ASKING_PAUSE).await,
                }
            };
            let mut changes = metadata.follow();
            loop {
                changes.borrow_and_update();
                let pause = match self.look_well(node, metadata, ASKING_TIMEOUT).await {
                    Err(reason) => return reason,
                    Ok(Known::Yes) => None,
                    Ok(Known::No) => Some(ASKING_PAUSE),
                };
                let changed = async {
                    if changes.changed().await.is_err() {
                        std::future::pending::<()>().await;
                    }
                };
                match pause {
                    Some(pause) => drop(timeout(pause, changed).await),
                    None => changed.await,
                }
            }
        }
        .boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use varve_controller::Command;

    fn register(metadata: &mut Metadata, name: &str) {
        let (name, rpc_addr) = (name.to_owned(), "host:1".to_owned());
        let (gossip_addr, rack) = ("host:2".to_owned(), String::new());
        metadata.apply(&Command::RegisterNode { name, rpc_addr, gossip_addr, rack }).unwrap();
    }

    #[test]
    fn a_number_belongs_to_the_node_that_has_it_as_long_as_it_has() {
        let mut metadata = Metadata::default();
        for name in ["node-1", "node-2", "node-3"] {
            register(&mut metadata, name);
        }
        let look_at = |metadata: &Metadata, node, name| look(metadata, NodeId::new(node), Some(name));
        assert_eq!(look_at(&metadata, 2, "node-2"), Ok(Known::Yes));
        assert!(look_at(&metadata, 2, "node-3").unwrap_err().contains("node-3"));
        assert_eq!(look_at(&metadata, 4, "node-4"), Ok(Known::No));
        assert_eq!(look(&metadata, NodeId::new(2), None), Ok(Known::Yes), "there are no names to compare");
        // Its disk was lost: it joins anew.
        register(&mut metadata, "node-2");
        assert!(look_at(&metadata, 2, "node-2").unwrap_err().contains("never comes back"));
        assert_eq!(look_at(&metadata, 4, "node-2"), Ok(Known::Yes));
        metadata.apply(&Command::DrainNode { node: NodeId::new(3), drain: true }).unwrap();
        assert_eq!(look_at(&metadata, 3, "node-3"), Ok(Known::Yes), "it still moves its replicas away");
        metadata.apply(&Command::RemoveNode { node: NodeId::new(3) }).unwrap();
        assert!(look_at(&metadata, 3, "node-3").unwrap_err().contains("taken out"));
    }
}
