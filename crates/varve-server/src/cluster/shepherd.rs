//! What a partition's leader does for its group: members as the metadata want them, and word of that to the controller.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures::future::try_join_all;
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinHandle, JoinSet};
use tokio::time::{Instant, sleep, timeout};
use varve_controller::{Command, Leading, Placement, REPORT_ENTRIES_MAX};
use varve_record::{NodeId, PartitionId, Term};
use varve_replica::{GroupError, Partition};

use super::ClusterView;
use super::address_book::changed;
use crate::topics::{Slot, Topics};

/// How often the partitions that are led here are looked over.
const ROUND: Duration = Duration::from_millis(100);

/// The same where all is as it should be: a round looks at every partition.
const QUIET_ROUND: Duration = Duration::from_secs(1);

/// Groups whose members are being changed at the same time.
const MOVES_MAX: usize = 4;

/// How long a replica may take to catch up before its change begins anew.
const MOVE_TIMEOUT: Duration = Duration::from_secs(600);

/// How long the controller may take to hear a report before it is told again.
const REPORT_TIMEOUT: Duration = Duration::from_secs(5);

/// Words in one report, half of them on damage at most.
const REPORT_MAX: usize = REPORT_ENTRIES_MAX;

/// How long a partition is left with the leader it has before the preferred one is asked: a node that has just come back has
/// other things to do, and a transfer that failed is not tried again at once.
const PREFER_AFTER: Duration = Duration::from_secs(5);

/// Transfers to preferred leaders in one round.
const TRANSFERS_MAX: usize = 4;

/// Looks after the partitions that this node leads, for ever. `leaderships` tells when another leads any of them.
pub(crate) async fn tend(view: ClusterView, topics: Topics, mut leaderships: watch::Receiver<u64>) {
    let mut metadata = view.metadata.follow();
    let mut shepherd = Shepherd {
        view,
        topics,
        moves: JoinSet::new(),
        moving: BTreeMap::new(),
        told: BTreeMap::new(),
        reporting: None,
        led_since: BTreeMap::new(),
    };
    loop {
        leaderships.borrow_and_update();
        metadata.borrow_and_update();
        let is_quiet = shepherd.round().await;
        sleep(ROUND).await;
        if is_quiet {
            tokio::select! {
                biased;
                () = changed(&mut leaderships) => {}
                changed = metadata.changed() => if changed.is_err() { return },
                () = sleep(QUIET_ROUND) => {}
            }
        }
    }
}

/// What the controller is told of a partition: the term it is led in, and the generation of its placement that is in force.
type Word = (Term, Option<u64>);

/// What the controller is told at once.
type Words = Vec<(PartitionId, Word)>;

#[derive(Debug)]
struct Shepherd {
    view: ClusterView,
    topics: Topics,
    moves: JoinSet<PartitionId>,
    moving: BTreeMap<PartitionId, (u64, AbortHandle)>,
    told: BTreeMap<PartitionId, Word>,
    /// Gives back what the controller was told, if it was.
    reporting: Option<JoinHandle<Option<Words>>>,
    /// Since when each partition is led here, or was last asked to be led by another.
    led_since: BTreeMap<PartitionId, Instant>,
}

impl Shepherd {
    /// Looks them over; says whether there is nothing to be done.
    async fn round(&mut self) -> bool {
        while let Some(done) = self.moves.try_join_next() {
            if let Ok(partition) = done {
                self.moving.remove(&partition);
            }
        }
        self.moving.retain(|_, (_, task)| !task.is_finished());
        self.hear().await;
        let (this, state, alive) = (self.view.this(), self.view.state(), self.view.alive());
        let mut leading = Vec::new();
        let mut damaged = Vec::new();
        let mut led = BTreeSet::new();
        let (mut transfers, mut all_settled) = (0, true);
        for topic in self.topics.all().values() {
            for (_, id, slot) in topic.slots() {
                let Slot::Open(partition) = slot else { continue };
                let Some(placement) = state.0.placement(id) else { continue };
                let progress = partition.progress();
                if progress.leader != Some(this) {
                    let reported = placement.damaged.contains(&this);
                    if !reported && damaged.len() < REPORT_MAX / 2 && partition.damage().is_some() {
                        damaged.push(id);
                    }
                    continue;
                }
                led.insert(id);
                let settled = self.settle(id, partition, placement, &alive);
                all_settled &= settled;
                let word = (progress.term, settled.then_some(placement.generation));
                if self.told.get(&id) != Some(&word) && leading.len() < REPORT_MAX / 2 {
                    leading.push((id, word));
                }
                if settled && transfers < TRANSFERS_MAX && self.prefer(id, partition, placement, &alive).await
                {
                    transfers += 1;
                }
            }
        }
        self.told.retain(|id, _| led.contains(id));
        self.led_since.retain(|id, _| led.contains(id));
        self.report(leading, damaged);
        all_settled && transfers == 0 && self.reporting.is_none() && self.moves.is_empty()
    }

    /// Whether the group is as the placement wants it; begins to make it so where it is not.
    fn settle(
        &mut self,
        id: PartitionId,
        partition: &Partition,
        placement: &Placement,
        alive: &BTreeSet<NodeId>,
    ) -> bool {
        let Ok(members) = partition.members() else { return false };
        let wanted: BTreeSet<NodeId> = placement.replicas.iter().copied().collect();
        if let Some((generation, task)) = self.moving.get(&id) {
            // Somebody who is gone would hold up the others' changes.
            let newcomer_gone =
                wanted.iter().any(|node| !members.voters.contains(node) && !alive.contains(node));
            if *generation != placement.generation || newcomer_gone {
                task.abort();
            }
            return false;
        }
        if !members.changing && members.learners.is_empty() && members.voters == wanted {
            return members.committed;
        }
        let newcomers_alive = wanted.iter().all(|node| members.voters.contains(node) || alive.contains(node));
        if self.moving.len() < MOVES_MAX && !wanted.is_empty() && newcomers_alive {
            let (this, partition) = (self.view.this(), partition.clone());
            let task = self.moves.spawn(async move {
                match timeout(MOVE_TIMEOUT, rearrange(this, &partition, &wanted)).await {
                    Ok(Ok(())) => tracing::info!(partition_id = %id, replicas = ?wanted, "partition's replicas changed"),
                    Ok(Err(error)) => tracing::warn!(partition_id = %id, %error, "partition's replicas were not changed: trying again"),
                    Err(_) => tracing::warn!(partition_id = %id, "a replica takes long to catch up: trying again"),
                }
                id
            });
            self.moving.insert(id, (placement.generation, task));
        }
        false
    }

    /// Asks the replica that should lead to do so, where it can; says whether it was asked.
    async fn prefer(
        &mut self,
        id: PartitionId,
        partition: &Partition,
        placement: &Placement,
        alive: &BTreeSet<NodeId>,
    ) -> bool {
        let since = *self.led_since.entry(id).or_insert_with(Instant::now);
        let Some(preferred) = placement.replicas.first().copied() else { return false };
        if preferred == self.view.this() || !alive.contains(&preferred) || since.elapsed() < PREFER_AFTER {
            return false;
        }
        self.led_since.insert(id, Instant::now());
        if let Err(error) = partition.transfer_leadership(preferred).await {
            tracing::debug!(partition_id = %id, %preferred, %error, "the preferred leader was not asked");
        }
        true
    }

    fn report(&mut self, leading: Words, damaged: Vec<PartitionId>) {
        if self.reporting.is_some() || (leading.is_empty() && damaged.is_empty()) {
            return;
        }
        let words = leading.iter().map(|(partition, (term, settled))| Leading {
            partition: *partition,
            term: *term,
            settled: *settled,
        });
        let command = Command::Report { node: self.view.this(), leading: words.collect(), damaged };
        let metadata = self.view.metadata.clone();
        self.reporting = Some(tokio::spawn(async move {
            match timeout(REPORT_TIMEOUT, metadata.propose(command)).await {
                Ok(Ok(Ok(_))) => Some(leading),
                Ok(Ok(Err(error))) => {
                    tracing::warn!(%error, "the controller refused this node's report");
                    None
                }
                Ok(Err(_)) | Err(_) => None,
            }
        }));
    }

    /// Takes note of what the controller was told.
    async fn hear(&mut self) {
        if self.reporting.as_ref().is_some_and(JoinHandle::is_finished)
            && let Some(reporting) = self.reporting.take()
            && let Ok(Some(told)) = reporting.await
        {
            self.told.extend(told);
        }
    }
}

impl Drop for Shepherd {
    fn drop(&mut self) {
        if let Some(reporting) = &self.reporting {
            reporting.abort();
        }
    }
}

/// Makes these nodes the group's voters: those who are new learn first, then all change at once.
async fn rearrange(this: NodeId, partition: &Partition, wanted: &BTreeSet<NodeId>) -> Result<(), GroupError> {
    let members = partition.members()?;
    // At the same time: one that cannot be reached keeps none from getting its copy.
    let newcomers = wanted.iter().filter(|node| !members.voters.contains(*node));
    try_join_all(newcomers.map(|node| partition.add_learner(*node))).await?;
    if !wanted.contains(&this) {
        // Who stays goes on with it, so that nobody has to wait for an election.
        let mut refusal = None;
        for heir in wanted.iter().filter(|node| members.voters.contains(*node)) {
            match partition.transfer_leadership(*heir).await {
                Ok(()) => return Ok(()),
                Err(error) => refusal = Some(error),
            }
        }
        if let Some(refusal) = refusal {
            return Err(refusal);
        }
    }
    if members.voters != *wanted || members.changing {
        partition.change_voters(wanted).await?;
    }
    for node in partition.members()?.learners.iter().filter(|node| !wanted.contains(*node)) {
        partition.remove_learner(*node).await?;
    }
    Ok(())
}
