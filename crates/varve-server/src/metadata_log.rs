//! The node's copy of the metadata: opened, and learnt anew from the others where it is damaged or gone.
//!
//! What is damaged is moved aside and never deleted; the node keeps its id, its votes and the partitions that lie here. It
//! comes back into the controller's group as any replica that was set aside: it neither votes nor leads before it has learnt
//! all that was committed (`docs/raft.md`). So at least one other node has to lead the group, or nothing is touched.

use std::path::PathBuf;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};
use varve_api::v1;
use varve_controller::Metadata;
use varve_env::Env;
use varve_record::NodeId;
use varve_replica::{GroupSettings, GroupTiming, OpenReplicaError, Peers};
use varve_storage::{OpenError, Storage};

use crate::cluster::{AddressBook, ClusterView, Forwarder, unforwarded};
use crate::error::StartError;
use crate::identity::{FOUNDER, NodeIdentity};
use crate::limits::METADATA_SET_ASIDE_MAX;
use crate::topics::{MetadataLog, MetadataMachine};

/// How long one of the others may take to answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);

/// The pause before they are asked again.
const PAUSE: Duration = Duration::from_millis(250);

/// Opens the copy of the metadata.
pub(crate) struct Opener<'a> {
    pub(crate) env: &'a Env,
    pub(crate) storage: &'a Storage,
    pub(crate) data_dir: &'a PathBuf,
    pub(crate) timing: GroupTiming,
    pub(crate) peers: &'a Peers,
    pub(crate) identity: &'a NodeIdentity,
    pub(crate) addresses: &'a AddressBook,
    pub(crate) forwarder: &'a Forwarder,
}

/// What the others say of the controller.
enum Word {
    /// Another node leads it.
    Led,
    /// This node alone votes in it.
    OnlyThis,
    /// This node belongs to the cluster no more.
    Removed,
    Nothing,
}

impl Opener<'_> {
    /// Opens it; what is damaged is set aside first, and learnt anew. Where the others have to be waited for that takes as long
    /// as it takes.
    pub(crate) async fn open(&self) -> Result<MetadataLog, StartError> {
        let partitions = self.partitions_without_metadata().await?;
        match self.join().await {
            Err(error) if error.is_damage() => {
                self.set_aside(error, partitions).await?;
                self.join().await.map_err(StartError::Metadata)
            }
            joined => joined.map_err(StartError::Metadata),
        }
    }

    /// How many partitions lie here without the metadata that say what they are; `None` where the metadata are here.
    ///
    /// Numbers would be given out again that stand for what lies here, or lay here. Who has voted in the metadata's group had
    /// them, and can learn them again; who has not is told nothing by its directory.
    async fn partitions_without_metadata(&self) -> Result<Option<usize>, StartError> {
        let storage = self.storage.clone();
        let listed = self.env.blocking.run(move || {
            let partitions = storage.partition_ids()?;
            let has_left = storage.has_left(Metadata::CONTROLLER)?;
            Ok::<_, OpenError>((partitions, has_left))
        });
        let (partitions, has_left) = listed.await?;
        if partitions.contains(&Metadata::CONTROLLER) {
            return Ok(None);
        }
        let has_voted = self.storage.votes().get(Metadata::CONTROLLER).is_some();
        if !has_voted && (!partitions.is_empty() || has_left) {
            return Err(StartError::MetadataMissing { partitions: partitions.len() });
        }
        Ok(Some(partitions.len()))
    }

    async fn join(&self) -> Result<MetadataLog, OpenReplicaError> {
        let founder = (self.peers.node() == FOUNDER).then_some(FOUNDER);
        let voters = founder.into_iter().collect();
        let group = GroupSettings { timing: self.timing, voters, ..GroupSettings::default() };
        let initial = MetadataMachine::default();
        MetadataLog::join(self.env, self.storage, Metadata::CONTROLLER, self.peers, &group, initial).await
    }

    /// Moves what is damaged out of the way, once it is known that others have what it held.
    async fn set_aside(&self, error: OpenReplicaError, partitions: Option<usize>) -> Result<(), StartError> {
        let alone = |error| match partitions {
            Some(partitions) => StartError::MetadataMissing { partitions },
            None => StartError::MetadataDamaged(error),
        };
        if self.addresses.others(self.identity.node_id).is_empty() {
            return Err(alone(error));
        }
        tracing::error!(%error, "this node's copy of the metadata is damaged: it is learnt anew, once another node leads the controller");
        // A leader that is gone is named for an election timeout still: it counts once it has outlived that.
        let outlived = Duration::from_millis(self.timing.election_ms.saturating_mul(4));
        let mut led_since = None;
        loop {
            match self.ask().await {
                Word::Led if led_since.is_some_and(|since: Instant| since.elapsed() >= outlived) => break,
                Word::Led => {
                    led_since.get_or_insert_with(Instant::now);
                    sleep(PAUSE).await;
                }
                Word::OnlyThis => return Err(alone(error)),
                Word::Removed => {
                    let identity = self.identity.clone();
                    return Err(StartError::Removed { identity, dir: self.data_dir.clone() });
                }
                Word::Nothing => {
                    led_since = None;
                    sleep(PAUSE).await;
                }
            }
        }
        move_aside(self.env, self.storage).await
    }

    /// Asks the others that are known until one has something to say.
    async fn ask(&self) -> Word {
        let this = self.identity.node_id.get();
        for addr in self.addresses.others(self.identity.node_id) {
            let Ok(mut client) = self.forwarder.cluster(&addr) else { continue };
            let asked = client.get_servers(unforwarded(v1::GetServersRequest {}));
            let Ok(Ok(answer)) = timeout(ANSWER_TIMEOUT, asked).await else { continue };
            let answer = answer.into_inner();
            if answer.cluster_id != self.identity.cluster_id {
                continue;
            }
            match word(&answer, this) {
                Word::Nothing => {}
                word => return word,
            }
        }
        Word::Nothing
    }
}

fn word(answer: &v1::GetServersResponse, this: u64) -> Word {
    let servers = &answer.servers;
    match servers.iter().find(|server| server.id == this) {
        Some(server) if server.state() == v1::ServerState::Lost => return Word::Removed,
        // Whoever has not heard of this node yet does not know that it was taken out.
        None if !servers.is_empty() && answer.last_server_id >= this => return Word::Removed,
        _ => {}
    }
    let mut voters = servers.iter().filter(|server| server.controller_voter).map(|server| server.id);
    if voters.clone().next().is_some() && voters.all(|voter| voter == this) {
        return Word::OnlyThis;
    }
    let led = servers.iter().any(|server| server.is_leader && server.id != this);
    if led { Word::Led } else { Word::Nothing }
}

/// Moves the copy of the metadata aside, so that the next one to open it learns it anew.
async fn move_aside(env: &Env, storage: &Storage) -> Result<(), StartError> {
    let storage = storage.clone();
    env.blocking
        .run(move || {
            let count = storage.quarantined_count(Metadata::CONTROLLER)?;
            if count >= METADATA_SET_ASIDE_MAX {
                return Err(StartError::MetadataDamagedAgain { count });
            }
            match storage.quarantine_partition(Metadata::CONTROLLER) {
                Ok(dir) => {
                    tracing::warn!(dir = %dir.display(), "damaged metadata are set aside");
                    Ok(())
                }
                Err(OpenError::NoSuchPartition { .. }) => {
                    storage.give_up_lost(Metadata::CONTROLLER)?;
                    tracing::warn!("the metadata are gone from the data directory: they are learnt anew");
                    Ok(())
                }
                Err(error) => Err(error.into()),
            }
        })
        .await
}

/// Sets the copy aside in which damage was found while the node runs: to open it again would not find it at once. Only where
/// another node leads the controller; says whether the next start learns it anew.
pub(crate) async fn give_up_damaged(env: &Env, storage: &Storage, view: &ClusterView) -> bool {
    let this: NodeId = view.this();
    let Some(damage) = view.metadata.damage() else { return false };
    let others = view.metadata.members().voters.iter().any(|node| *node != this);
    if !others {
        return false;
    }
    tracing::error!(%damage, "this node's copy of the metadata is damaged");
    view.metadata.stop().await;
    match move_aside(env, storage).await {
        Ok(()) => true,
        Err(error) => {
            tracing::error!(%error, "the damaged metadata could not be set aside");
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(id: u64) -> v1::Server {
        v1::Server {
            id,
            controller_voter: true,
            state: v1::ServerState::Active.into(),
            ..v1::Server::default()
        }
    }

    fn answer(servers: Vec<v1::Server>) -> v1::GetServersResponse {
        v1::GetServersResponse { servers, last_server_id: 3, ..Default::default() }
    }

    #[test]
    fn only_where_another_leads_is_there_somebody_to_learn_from() {
        let led_by = |leader: u64| {
            let servers = (1..=3).map(|id| v1::Server { is_leader: id == leader, ..server(id) });
            answer(servers.collect())
        };
        assert!(matches!(word(&led_by(2), 3), Word::Led));
        assert!(matches!(word(&led_by(3), 3), Word::Nothing), "what it led is gone");
        assert!(matches!(word(&led_by(0), 3), Word::Nothing));
        let follower = v1::Server { controller_voter: false, ..server(2) };
        assert!(matches!(word(&answer(vec![server(1), follower]), 1), Word::OnlyThis));
        assert!(matches!(word(&answer(vec![server(1), server(2)]), 3), Word::Removed));
        assert!(matches!(word(&answer(Vec::new()), 3), Word::Nothing));
    }
}
