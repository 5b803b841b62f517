//! The trouble that a seed makes: crashes, power cuts, partitions, links that hold or are slow, slow and failing disks, and wall
//! clocks that jump.

use super::plan::{Plan, name_of};
use super::site::{RESERVE_BYTES, State};
use super::world::World;
use std::collections::BTreeMap;
use std::io;
use std::time::Duration;
use varve_env::disk::{CrashMode, OpKind};
use varve_env::{Entropy, SeededEntropy};

/// How long it takes until another node gets a new certificate at most, in milliseconds.
const RENEWAL_MS_MAX: u64 = 5_000;
/// The longest quiet between two troubles, in milliseconds.
const QUIET_MS_MAX: u64 = 1_600;
/// How long a node is down at most.
const DOWN_MS_MAX: u64 = 4_000;
/// How long the network is in trouble at most.
const NETWORK_MS_MAX: u64 = 5_000;
/// How long it takes gossip to notice a crash at most.
const NOTICE_MS_MAX: u64 = 2_000;
/// After how many changes of the disk a power cut comes at most.
const CHANGES_MAX: u64 = 60;
/// A power cut that was waited for so long comes all the same.
const CUT_MS_MAX: u64 = 1_500;
/// How far a wall clock is off at most, either way.
const SKEW_MS_MAX: u64 = 2 * 3_600_000;
/// The slowest disk holds its worker up for so long at most.
const SLOW_DISK_MS: u64 = 250;
/// The slowest link delays a message by so much at most.
const SLOW_LINK_MS: u64 = 400;

/// What happened, by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) crashes: u64,
    pub(super) power_cuts: u64,
    pub(super) stops: u64,
    pub(super) failed_syncs: u64,
    pub(super) partitions: u64,
    pub(super) holds: u64,
    pub(super) slow_links: u64,
    pub(super) slow_disks: u64,
    pub(super) full_disks: u64,
    pub(super) skews: u64,
    pub(super) renewals: u64,
}

/// Something that is to happen later.
#[derive(Clone, Copy, Debug)]
enum Due {
    Restart(usize),
    /// Gossip notices that a node is gone, if it is still in that life.
    Notice(usize),
    /// The power of a node goes, if it has not gone yet.
    Cut(usize, CrashMode),
    HealNetwork,
    QuickDisk(usize),
    RoomyDisk(usize),
    /// A node joins the cluster.
    Join,
    /// A node gets a new certificate.
    Renew,
    Another,
}

pub(super) struct Trouble {
    entropy: SeededEntropy,
    due: BTreeMap<(u64, u64), Due>,
    sequence: u64,
    /// Whether there is trouble in the network.
    network: bool,
    pub(super) counts: Counts,
}

impl Trouble {
    pub(super) fn new(seed: u64) -> Self {
        let entropy = SeededEntropy::new(seed ^ 0x7472_6F75_626C_6500);
        Self { entropy, due: BTreeMap::new(), sequence: 0, network: false, counts: Counts::default() }
    }

    /// Makes trouble for as long as planned, a step after the other.
    pub(super) fn make(&mut self, world: &mut World, plan: &Plan) {
        let until_ms = world.now_ms() + plan.trouble_ms;
        self.plan(world, 200, Due::Another);
        for _ in 0..plan.late_nodes {
            self.plan(world, plan.trouble_ms - 1, Due::Join);
        }
        if plan.is_secured {
            self.plan(world, RENEWAL_MS_MAX, Due::Renew);
        }
        while world.now_ms() < until_ms {
            self.step(world);
        }
    }

    /// Ends all trouble: the network is whole, disks work, every node starts.
    pub(super) fn end(&mut self, world: &mut World) {
        world.journal.note("the trouble is over");
        self.due.clear();
        self.heal_network(world);
        for number in world.numbers() {
            let site = world.site(number).clone();
            site.pace.set_slow(None);
            site.clock.set_skew(0);
            if site.disk_fails.get() {
                world.crash(number, CrashMode::SyncedOnly, false);
                self.counts.power_cuts += 1;
            }
            if site.stops.get() {
                world.crash(number, CrashMode::ProcessOnly, false);
                self.counts.crashes += 1;
            }
            site.disk.borrow().set_room(None);
            if !world.site(number).is_up() {
                world.restart(number);
            }
        }
    }

    /// Lets a step of time pass, does what is due, and looks after nodes that gave up.
    fn step(&mut self, world: &mut World) {
        world.step();
        self.look_after(world);
        let now_ms = world.now_ms();
        while let Some(first) = self.due.first_entry() {
            if first.key().0 > now_ms {
                return;
            }
            let due = first.remove();
            self.happen(world, due);
        }
    }

    /// A node that was told to stop is started again. One may give up where its disk failed it, and then its machine starts it
    /// anew. Otherwise it is a finding.
    fn look_after(&mut self, world: &mut World) {
        for number in world.numbers() {
            let site = world.site(number).clone();
            if site.state() == State::Down && site.stops.take() {
                self.plan(world, DOWN_MS_MAX, Due::Restart(number));
            }
            let State::GaveUp(reason) = site.state() else { continue };
            if site.disk_fails.get() {
                let mode = self.crash_mode();
                self.go_down(world, number, mode);
            } else {
                world.journal.complain(format!("{} gave up: {reason}", site.name));
                site.state.replace(State::Down);
                self.plan(world, DOWN_MS_MAX, Due::Restart(number));
            }
        }
    }

    fn happen(&mut self, world: &mut World, due: Due) {
        match due {
            Due::Another => {
                self.another(world);
                let quiet_ms = 100 + self.entropy.below(QUIET_MS_MAX);
                self.plan(world, quiet_ms, Due::Another);
            }
            Due::Restart(number) if !world.site(number).is_up() => world.restart(number),
            Due::Notice(number) if !world.site(number).is_up() => world.gossip.fail(&name_of(number)),
            Due::Cut(number, mode) if world.site(number).disk_fails.get() => {
                self.go_down(world, number, mode);
            }
            Due::Restart(_) | Due::Notice(_) | Due::Cut(..) => {}
            Due::Join => world.add(),
            Due::Renew => self.renew(world),
            Due::HealNetwork => self.heal_network(world),
            Due::QuickDisk(number) => world.site(number).pace.set_slow(None),
            Due::RoomyDisk(number) => world.site(number).disk.borrow().set_room(None),
        }
    }

    fn another(&mut self, world: &mut World) {
        let number = self.any_of(&world.numbers());
        match self.entropy.below(20) {
            0..=2 => self.crash(world, number, CrashMode::ProcessOnly),
            3..=4 => {
                let mode = self.crash_mode();
                self.crash(world, number, mode);
            }
            5..=7 => self.cut_in_the_middle(world, number),
            8 => self.cut_all(world),
            9 => self.stop(world, number),
            10 => self.fail_a_sync(world, number),
            11..=13 if !self.network => self.partition(world),
            14..=15 if !self.network => self.hold(world, number),
            16 if !self.network => self.slow_links(world),
            17 => self.slow_disk(world, number),
            18 => self.skew(world, number),
            _ => self.fill_disk(world, number),
        }
    }

    fn crash(&mut self, world: &mut World, number: usize, mode: CrashMode) {
        if world.site(number).is_up() {
            self.go_down(world, number, mode);
        }
    }

    /// Takes a node down for a while.
    fn go_down(&mut self, world: &mut World, number: usize, mode: CrashMode) {
        match mode {
            CrashMode::ProcessOnly => self.counts.crashes += 1,
            CrashMode::SyncedOnly | CrashMode::Torn => self.counts.power_cuts += 1,
        }
        let silent = mode != CrashMode::ProcessOnly && !self.network && self.entropy.below(2) == 0;
        world.crash(number, mode, silent);
        self.plan(world, NOTICE_MS_MAX, Due::Notice(number));
        self.plan(world, DOWN_MS_MAX, Due::Restart(number));
    }

    /// The power goes in the midst of what the disk is doing.
    fn cut_in_the_middle(&mut self, world: &mut World, number: usize) {
        let site = world.site(number).clone();
        if site.state() != State::Running || site.disk_fails.get() {
            return;
        }
        let changes = 1 + self.entropy.below(CHANGES_MAX);
        world.journal.note(&format!("the power of {} goes in {changes} changes of its disk", site.name));
        site.disk.borrow().halt_after(changes);
        site.disk_fails.set(true);
        let mode = self.crash_mode();
        self.plan_at(world, CUT_MS_MAX, Due::Cut(number, mode));
    }

    /// Every node loses its power at once.
    fn cut_all(&mut self, world: &mut World) {
        let mode = self.crash_mode();
        for number in world.numbers() {
            self.crash(world, number, mode);
        }
    }

    fn stop(&mut self, world: &mut World, number: usize) {
        let site = world.site(number).clone();
        if site.state() == State::Running && !site.stops.get() {
            world.journal.note(&format!("{} is told to stop", site.name));
            self.counts.stops += 1;
            site.tell_to_stop();
        }
    }

    /// A sync fails, which a node must not survive.
    fn fail_a_sync(&mut self, world: &mut World, number: usize) {
        let site = world.site(number).clone();
        if site.state() != State::Running || site.disk_fails.get() {
            return;
        }
        world.journal.note(&format!("a sync of {} will fail", site.name));
        self.counts.failed_syncs += 1;
        site.disk.borrow().fail_nth(OpKind::Sync, self.entropy.below(20), io::ErrorKind::Other);
        site.disk_fails.set(true);
        self.plan_at(world, CUT_MS_MAX, Due::Cut(number, CrashMode::SyncedOnly));
    }

    /// Cuts some nodes off from the others, both ways or one way. Clients reach all nodes still.
    fn partition(&mut self, world: &mut World) {
        let some = self.some_of(&world.numbers());
        let one_way = self.entropy.below(3) == 0;
        world.journal.note(&format!("nodes {some:?} are cut off, one way only: {one_way}"));
        for one in world.numbers().into_iter().filter(|number| some.contains(number)) {
            for other in world.numbers().into_iter().filter(|number| !some.contains(number)) {
                let (one, other) = (name_of(one), name_of(other));
                if one_way {
                    world.sim.partition_oneway(one, other);
                } else {
                    world.sim.partition(one, other);
                }
            }
        }
        let names: Vec<_> = some.iter().map(|number| name_of(*number)).collect();
        world.gossip.partition(&names.iter().map(String::as_str).collect::<Vec<_>>());
        self.counts.partitions += 1;
        self.network_trouble(world);
    }

    /// All that a node sends and is sent waits: to the others it stands still.
    fn hold(&mut self, world: &mut World, number: usize) {
        world.journal.note(&format!("messages from and to {} are held", name_of(number)));
        for other in world.numbers().into_iter().filter(|other| *other != number) {
            world.sim.hold(name_of(number), name_of(other));
        }
        world.site(number).pace.set_slow(Some(SLOW_DISK_MS));
        self.plan(world, NETWORK_MS_MAX, Due::QuickDisk(number));
        self.counts.holds += 1;
        self.network_trouble(world);
    }

    fn slow_links(&mut self, world: &mut World) {
        let slow_ms = 20 + self.entropy.below(SLOW_LINK_MS);
        world.journal.note(&format!("messages between nodes take up to {slow_ms} ms"));
        for (one, other) in world.pairs() {
            world.sim.set_link_max_message_latency(one, other, Duration::from_millis(slow_ms));
        }
        self.counts.slow_links += 1;
        self.network_trouble(world);
    }

    fn network_trouble(&mut self, world: &World) {
        self.network = true;
        self.plan(world, NETWORK_MS_MAX, Due::HealNetwork);
    }

    fn heal_network(&mut self, world: &mut World) {
        if !std::mem::take(&mut self.network) {
            return;
        }
        world.journal.note("the network is whole");
        let quick = Duration::from_millis(world.latency_ms_max);
        for (one, other) in world.pairs() {
            // Held messages arrive now. What a partition has dropped is gone, and so is every connection that it was on.
            world.sim.release(one.as_str(), other.as_str());
            world.sim.set_link_max_message_latency(one, other, quick);
        }
        world.gossip.heal();
    }

    fn slow_disk(&mut self, world: &mut World, number: usize) {
        world.journal.note(&format!("the disk of {} is slow", name_of(number)));
        world.site(number).pace.set_slow(Some(SLOW_DISK_MS));
        self.counts.slow_disks += 1;
        self.plan(world, NETWORK_MS_MAX, Due::QuickDisk(number));
    }

    fn skew(&mut self, world: &mut World, number: usize) {
        let skew_ms = i64::try_from(self.entropy.below(2 * SKEW_MS_MAX)).unwrap_or(0);
        let skew_ms = skew_ms - i64::try_from(SKEW_MS_MAX).unwrap_or(0);
        world.journal.note(&format!("the wall clock of {} is {skew_ms} ms off", name_of(number)));
        world.site(number).clock.set_skew(skew_ms);
        self.counts.skews += 1;
    }

    fn fill_disk(&mut self, world: &mut World, number: usize) {
        world.journal.note(&format!("the disk of {} is full", name_of(number)));
        // The reserve has been entered, so that batches are refused; what keeps a node alive has room still.
        world.site(number).disk.borrow().set_room(Some(RESERVE_BYTES / 4 * 3));
        self.counts.full_disks += 1;
        self.plan(world, NETWORK_MS_MAX, Due::RoomyDisk(number));
    }

    fn renew(&mut self, world: &World) {
        world.renew_certificate(self.any_of(&world.numbers()));
        self.counts.renewals += 1;
        self.plan(world, RENEWAL_MS_MAX, Due::Renew);
    }

    /// Plans something for a moment by chance, up to so many milliseconds from now.
    fn plan(&mut self, world: &World, in_ms_max: u64, due: Due) {
        let in_ms = self.entropy.below(1 + in_ms_max);
        self.plan_at(world, in_ms, due);
    }

    fn plan_at(&mut self, world: &World, in_ms: u64, due: Due) {
        self.sequence += 1;
        self.due.insert((world.now_ms() + in_ms, self.sequence), due);
    }

    fn crash_mode(&self) -> CrashMode {
        match self.entropy.below(3) {
            0 => CrashMode::ProcessOnly,
            1 => CrashMode::SyncedOnly,
            _ => CrashMode::Torn,
        }
    }

    fn any_of(&self, numbers: &[usize]) -> usize {
        numbers[usize::try_from(self.entropy.below(numbers.len() as u64)).unwrap_or(0)]
    }

    /// At least one of the nodes, and not all.
    fn some_of(&self, numbers: &[usize]) -> Vec<usize> {
        let first = self.any_of(numbers);
        let more = numbers.len() > 3 && self.entropy.below(2) == 0;
        let other = more.then(|| self.any_of(numbers)).filter(|other| *other != first);
        std::iter::once(first).chain(other).collect()
    }
}
