//! Commands that change where replicas are, and what is known of them.

use crate::command::{Applied, Response};
use crate::limits::{REPLICATION_FACTOR_MAX, REPORT_ENTRIES_MAX};
use crate::{Leading, Metadata, MetadataError, Placement};
use std::collections::BTreeSet;
use varve_record::{NodeId, PartitionId};

impl Metadata {
    pub(super) fn place_replicas(
        &mut self,
        id: PartitionId,
        replicas: &[NodeId],
        generation: u64,
    ) -> Applied {
        let placement = self.placements.get(id).ok_or(MetadataError::PartitionNotFound(id))?;
        let current = placement.generation;
        if generation != current {
            return Err(MetadataError::StaleGeneration { partition: id, generation, current });
        }
        self.check_replicas(id, placement, replicas)?;
        if placement.replicas == replicas {
            return Ok(Response::Placement(placement.clone()));
        }
        let placed = self.placements.update(id, |placement| {
            placement.replace(replicas);
            placement.clone()
        });
        self.changed(placed.map_or(Response::Done, Response::Placement))
    }

    fn check_replicas(
        &self,
        id: PartitionId,
        placement: &Placement,
        replicas: &[NodeId],
    ) -> Result<(), MetadataError> {
        if replicas.is_empty() {
            return Err(MetadataError::Zero("replica"));
        }
        let max = REPLICATION_FACTOR_MAX as usize;
        if replicas.len() > max {
            return Err(MetadataError::TooManyReplicas { wanted: replicas.len(), max });
        }
        let mut seen = BTreeSet::new();
        for node in replicas {
            if !seen.insert(*node) {
                return Err(MetadataError::ReplicaTwice { partition: id, node: *node });
            }
            if placement.replicas.contains(node) {
                continue;
            }
            // A change that cannot come to its end is taken back: to nodes that drain, too, if they are members still.
            if !self.nodes.living(*node)?.is_active() && !placement.leaving.contains(node) {
                return Err(MetadataError::NodeDraining(*node));
            }
        }
        Ok(())
    }

    pub(super) fn report(&mut self, node: NodeId, leading: &[Leading], damaged: &[PartitionId]) -> Applied {
        self.nodes.living(node)?;
        for entries in [leading.len(), damaged.len()] {
            if entries > REPORT_ENTRIES_MAX {
                return Err(MetadataError::ReportTooLong { entries, max: REPORT_ENTRIES_MAX });
            }
        }
        let led = leading.iter().filter(|leading| self.placements.report_leading(node, leading)).count();
        let hurt = damaged.iter().filter(|id| self.placements.report_damaged(node, **id)).count();
        if led + hurt == 0 {
            return Ok(Response::Done);
        }
        self.changed(Response::Done)
    }
}
