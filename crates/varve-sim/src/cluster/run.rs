//! One run: a cluster is made, there is load and trouble, then all is mended, and what clients saw is held against the log.

use super::healing::{Logs, Stage, found, heal};
use super::journal::Journal;
use super::load::{HOSTS, Load};
use super::plan::Plan;
use super::report::{Report, Totals};
use super::security::Certificates;
use super::site::State;
use super::trouble::{Counts, Trouble};
use super::world::World;
use crate::Sync;
use std::path::PathBuf;
use std::rc::Rc;

/// How long it may take a cluster to be made, in simulated milliseconds.
const FOUNDING_MS_MAX: u64 = 60_000;
/// How long it may take for all to be well again once the trouble is over.
const HEALING_MS_MAX: u64 = 90_000;
/// Violations of one partition that are reported.
const VIOLATIONS_MAX: usize = 5;

/// What a run does that its seed does not decide.
#[derive(Clone, Debug)]
pub struct Options {
    /// Whether the disks sync what they are told to.
    pub sync: Sync,
    /// How long there is trouble, in simulated milliseconds, rather than as the seed says.
    pub trouble_ms: Option<u64>,
    /// Where certificates and policy are written, on the real disk. It stands in traces, and in what clients are told.
    pub certificates_dir: PathBuf,
}

/// Runs a seed.
#[must_use]
pub fn run(seed: u64, options: Options) -> Report {
    let Options { sync, trouble_ms, certificates_dir } = options;
    let mut plan = Plan::of(seed);
    plan.trouble_ms = trouble_ms.unwrap_or(plan.trouble_ms).max(1);
    let plan = Rc::new(plan);
    let journal = Journal::default();
    journal.note(&format!("seed {seed}: {plan:?}"));
    let certificates =
        match plan.is_secured.then(|| Certificates::issue(&certificates_dir, &plan)).transpose() {
            Ok(certificates) => certificates,
            Err(error) => {
                let violations = vec![format!("certificates could not be made: {error}")];
                return Report { seed, violations, ..Report::default() };
            }
        };
    let mut world = World::new(seed, &plan, &journal, sync, certificates.clone());
    let load = Load::new(seed, &plan, &journal, certificates);
    let mut trouble = Trouble::new(seed);
    let logs = Logs::default();
    if make(&mut world, &load) {
        for (host, name) in HOSTS.iter().enumerate() {
            world.sim.client(*name, load.clone().run(host));
        }
        trouble.make(&mut world, &plan);
        trouble.end(&mut world);
        mend(&mut world, &load, &logs);
    }
    report(seed, &world, &plan, &trouble.counts, &logs)
}

/// Lets the nodes make a cluster.
fn make(world: &mut World, load: &Load) -> bool {
    let stage = Stage::default();
    world.sim.client("founder", found(load.clone(), stage.clone()));
    wait(world, FOUNDING_MS_MAX, &stage)
}

/// Waits until all is well and everything that clients have under way is done.
fn mend(world: &mut World, load: &Load, logs: &Logs) {
    let stage = Stage::default();
    load.stop_appending();
    world.sim.client("healer", heal(load.clone(), stage.clone(), Rc::clone(logs)));
    wait(world, HEALING_MS_MAX, &stage);
}

/// Lets time pass until all clients are done; complains where that takes too long, or a node gives up.
fn wait(world: &mut World, ms_max: u64, stage: &Stage) -> bool {
    let until_ms = world.now_ms() + ms_max;
    while !world.step() {
        if world.now_ms() > until_ms {
            world.journal.complain(format!("after {ms_max} ms it has not come about: {}", stage.get()));
            return false;
        }
        for site in &world.sites {
            if let State::GaveUp(reason) = site.state() {
                world.journal.complain(format!("{} gave up: {reason}", site.name));
                return false;
            }
        }
    }
    true
}

fn report(seed: u64, world: &World, plan: &Plan, counts: &Counts, logs: &Logs) -> Report {
    let journal = &world.journal;
    let mut violations = journal.complaints();
    let logs = logs.borrow();
    for place in plan.places() {
        let Some(log) = logs.get(&place) else { continue };
        let found = journal.judge(place, log);
        let count = found.len();
        let shown = found.iter().take(VIOLATIONS_MAX);
        violations.extend(shown.map(|violation| format!("{}/{}: {violation}", place.topic, place.partition)));
        if count > VIOLATIONS_MAX {
            violations.push(format!("{}/{}: {count} violations in all", place.topic, place.partition));
        }
    }
    Report {
        seed,
        is_secured: plan.is_secured,
        digest: journal.digest(),
        simulated_ms: world.now_ms(),
        totals: totals(journal, counts),
        violations,
    }
}

fn totals(journal: &Journal, counts: &Counts) -> Totals {
    let done = journal.totals();
    Totals {
        acknowledged: done.acknowledged,
        unknown: done.unknown,
        refused: done.refused,
        reads: done.reads,
        turned_away: done.turned_away,
        crashes: counts.crashes,
        power_cuts: counts.power_cuts,
        stops: counts.stops,
        failed_syncs: counts.failed_syncs,
        partitions: counts.partitions,
        holds: counts.holds,
        nuisances: counts.slow_links + counts.slow_disks + counts.full_disks + counts.skews + counts.renewals,
    }
}
