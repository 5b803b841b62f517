//! What clients do meanwhile: append and read, and write down what they are told.

mod appender;
mod follower;
mod producer;
mod steward;
mod stranger;
mod tail;

use super::clock::SkewedClock;
use super::journal::{Journal, Place};
use super::network::SimNetwork;
use super::plan::Plan;
use super::security::Certificates;
use futures::future::LocalBoxFuture;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use varve_client::Client;
use varve_env::{Blocking, Entropy, Env, SeededEntropy, TaskSpawn};
use varve_telemetry::Telemetry;

pub(super) use follower::copy_of;
pub(super) use producer::probe;

/// The hosts that clients run on.
pub(super) const HOSTS: [&str; 2] = ["client-1", "client-2"];
/// How long a call of a client may take. Longer than any trouble, so that what fails for good is a finding.
const CALL_TIMEOUT: Duration = Duration::from_secs(120);
/// How long one attempt of it may take.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(5);

/// The load of a run.
#[derive(Clone, Debug)]
pub(super) struct Load {
    pub(super) plan: Rc<Plan>,
    pub(super) journal: Journal,
    seed: u64,
    certificates: Option<Certificates>,
    /// Appends begin no more.
    is_over: Rc<Cell<bool>>,
    /// Tasks that append.
    appending: Rc<Cell<usize>>,
    /// Where the partitions end, once it is known: readers are to come so far, and end.
    ends: Rc<RefCell<BTreeMap<Place, u64>>>,
}

impl Load {
    pub(super) fn new(
        seed: u64,
        plan: &Rc<Plan>,
        journal: &Journal,
        certificates: Option<Certificates>,
    ) -> Self {
        let (plan, journal) = (Rc::clone(plan), journal.clone());
        let (is_over, appending, ends) = Default::default();
        Self { plan, journal, seed, certificates, is_over, appending, ends }
    }

    /// Appends begin no more; what is under way is waited for.
    pub(super) fn stop_appending(&self) {
        self.is_over.set(true);
    }

    /// How many of those who append wait for something still.
    pub(super) fn appending(&self) -> usize {
        self.appending.get()
    }

    /// Nothing is appended to a partition any more, and it ends here: readers end when they have come so far.
    pub(super) fn stop_reading(&self, place: Place, end: u64) {
        self.ends.borrow_mut().insert(place, end);
    }

    fn is_over(&self) -> bool {
        self.is_over.get()
    }

    fn end_of(&self, place: Place) -> Option<u64> {
        self.ends.borrow().get(&place).copied()
    }

    /// Counts a task as one that appends, until it has ended.
    async fn count(self, task: impl Future<Output = ()>) {
        self.appending.set(self.appending.get() + 1);
        task.await;
        self.appending.set(self.appending.get() - 1);
    }

    /// All that runs on one host of clients.
    pub(super) async fn run(self, host: usize) -> turmoil::Result {
        let client = self.connect(host as u64, HOSTS[host]).await?;
        let mut tasks = JoinSet::new();
        for (number, place) in self.plan.places().enumerate() {
            let entropy = SeededEntropy::new(self.seed ^ ((host as u64) << 48) ^ ((number as u64) << 56));
            for task in self.tasks(host, &client, place, entropy) {
                tasks.spawn_local(task);
            }
        }
        if host == 1 {
            tasks.spawn_local(steward::run(self.clone(), client, SeededEntropy::new(self.seed ^ 0x7374)));
        }
        if let (0, Some(certificates)) = (host, &self.certificates) {
            let entropy = SeededEntropy::new(self.seed ^ 0x7372);
            tasks.spawn_local(stranger::run(self.clone(), certificates.clone(), entropy));
        }
        tasks.join_all().await;
        Ok(())
    }

    /// What a host does about a partition: the two hosts do not do the same.
    fn tasks(
        &self,
        host: usize,
        client: &Client,
        place: Place,
        entropy: SeededEntropy,
    ) -> Vec<LocalBoxFuture<'static, ()>> {
        let entropy = Rc::new(entropy);
        let producer = producer::run(self.clone(), client.clone(), place, Rc::clone(&entropy));
        let follower = follower::run(self.clone(), client.clone(), place);
        let tail = tail::run(self.clone(), client.clone(), place, Rc::clone(&entropy));
        let mut tasks: Vec<LocalBoxFuture<'static, ()>> =
            vec![Box::pin(self.clone().count(producer)), Box::pin(follower), Box::pin(tail)];
        if host == 0 {
            let appender = appender::run(self.clone(), client.clone(), place, entropy);
            tasks.push(Box::pin(self.clone().count(appender)));
        }
        tasks
    }

    /// A client of the cluster, of this name where clients have names.
    pub(super) async fn connect(
        &self,
        number: u64,
        name: &str,
    ) -> Result<Client, Box<dyn std::error::Error>> {
        let builder = Client::builder()
            .env(self.env(number))
            .call_timeout(CALL_TIMEOUT)
            .attempt_timeout(ATTEMPT_TIMEOUT);
        let builder = match &self.certificates {
            Some(certificates) => builder.tls(certificates.of_client(name)?),
            None => builder,
        };
        Ok(builder.connect(&self.plan.address()).await?)
    }

    /// What a client has of the world.
    fn env(&self, number: u64) -> Env {
        Env {
            clock: Arc::new(SkewedClock::default()),
            entropy: Arc::new(SeededEntropy::new(self.seed ^ number ^ 0x0063_6C69_656E_7400)),
            spawn: Arc::new(TaskSpawn),
            blocking: Blocking::Inline,
            network: Arc::new(SimNetwork),
            telemetry: Telemetry::off(),
            ..Env::real()
        }
    }
}

/// Waits up to so many milliseconds.
async fn pause(entropy: &dyn Entropy, ms_max: u64) {
    tokio::time::sleep(Duration::from_millis(entropy.below(1 + ms_max))).await;
}
