//! What became of a run.

use serde::{Deserialize, Serialize};
use std::fmt;

/// What became of a seed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// The seed.
    pub seed: u64,
    /// Whether the cluster was secured: TLS throughout, and a policy.
    pub is_secured: bool,
    /// A digest of all that clients asked and were told and of all that the simulation did, in order: equal for equal runs.
    pub digest: u64,
    /// Simulated milliseconds.
    pub simulated_ms: u64,
    /// What was done, and how much of what trouble there was.
    pub totals: Totals,
    /// Promises that were broken.
    pub violations: Vec<String>,
}

/// Sums of what was done, and how much of what trouble there was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// Appends that were acknowledged.
    pub acknowledged: u64,
    /// Appends that nobody can say anything about.
    pub unknown: u64,
    /// Operations that were refused.
    pub refused: u64,
    /// Reads that were answered.
    pub reads: u64,
    /// Times that a stranger was turned away from a secured cluster.
    pub turned_away: u64,
    /// Processes that were killed.
    pub crashes: u64,
    /// Nodes that lost their power.
    pub power_cuts: u64,
    /// Nodes that were told to stop.
    pub stops: u64,
    /// Syncs that failed.
    pub failed_syncs: u64,
    /// Nodes cut off from others, both ways or one way.
    pub partitions: u64,
    /// Nodes whose messages were held.
    pub holds: u64,
    /// Times that links, disks or wall clocks were slow, full or wrong, or a certificate was replaced.
    pub nuisances: u64,
}

impl Report {
    /// Whether all promises were kept.
    #[must_use]
    pub fn is_ok(&self) -> bool {
        self.violations.is_empty()
    }
}

impl Totals {
    /// Adds another run's.
    pub fn add(&mut self, other: &Self) {
        self.acknowledged += other.acknowledged;
        self.unknown += other.unknown;
        self.refused += other.refused;
        self.reads += other.reads;
        self.turned_away += other.turned_away;
        self.crashes += other.crashes;
        self.power_cuts += other.power_cuts;
        self.stops += other.stops;
        self.failed_syncs += other.failed_syncs;
        self.partitions += other.partitions;
        self.holds += other.holds;
        self.nuisances += other.nuisances;
    }
}

impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { acknowledged, unknown, refused, reads, turned_away, .. } = self;
        let Self { crashes, power_cuts, stops, failed_syncs, partitions, holds, nuisances, .. } = self;
        write!(
            f,
            "{acknowledged} acks ({unknown} unknown, {refused} refused), {reads} reads, {turned_away} strangers turned away, "
        )?;
        write!(f, "{crashes} kills, {power_cuts} power cuts, {stops} stops, {failed_syncs} failed syncs, ")?;
        write!(f, "{partitions} partitions, {holds} holds, {nuisances} nuisances")
    }
}
