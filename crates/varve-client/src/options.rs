use std::sync::Arc;
use std::time::Duration;

use varve_env::Env;
use varve_telemetry::Telemetry;
use varve_tls::ClientTls;

use crate::lookup::{Lookup, SystemLookup};
use crate::picker::{PickFollower, PickNearest, Picker};
use crate::{Client, ClientError, ClusterAddress};

/// How long making a connection may take, unless set otherwise.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long one attempt of a call may take, unless set otherwise.
pub const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a call may take with all its attempts, unless set otherwise.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(30);
/// How often the servers of a cluster are asked for where they cannot be watched, unless set otherwise.
pub const SERVERS_INTERVAL: Duration = Duration::from_secs(10);

/// What a client does where there is a choice. Made by [`Client::builder`].
#[derive(Debug, Clone)]
pub struct ClientBuilder {
    pub(crate) connect_timeout: Duration,
    pub(crate) attempt_timeout: Duration,
    pub(crate) call_timeout: Duration,
    pub(crate) servers_interval: Duration,
    pub(crate) read_picker: Arc<dyn Picker>,
    rack: Option<String>,
    /// Without it names are left to the network.
    pub(crate) lookup: Option<Arc<dyn Lookup>>,
    /// Without it nothing is encrypted.
    pub(crate) tls: Option<ClientTls>,
    pub(crate) env: Env,
}

impl ClientBuilder {
    pub(crate) fn new() -> Self {
        Self {
            connect_timeout: CONNECT_TIMEOUT,
            attempt_timeout: ATTEMPT_TIMEOUT,
            call_timeout: CALL_TIMEOUT,
            servers_interval: SERVERS_INTERVAL,
            read_picker: Arc::new(PickFollower::default()),
            rack: None,
            lookup: Some(Arc::new(SystemLookup)),
            tls: None,
            env: Env::real(),
        }
    }

    /// How long making a connection may take ([`CONNECT_TIMEOUT`]).
    #[must_use]
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// How long one attempt of a call may take, before another server is asked ([`ATTEMPT_TIMEOUT`]).
    #[must_use]
    pub fn attempt_timeout(mut self, timeout: Duration) -> Self {
        self.attempt_timeout = timeout;
        self
    }

    /// How long a call may take with all its attempts ([`CALL_TIMEOUT`]).
    #[must_use]
    pub fn call_timeout(mut self, timeout: Duration) -> Self {
        self.call_timeout = timeout;
        self
    }

    /// How often the servers of a cluster are asked for where they cannot be watched ([`SERVERS_INTERVAL`]).
    #[must_use]
    pub fn servers_interval(mut self, interval: Duration) -> Self {
        self.servers_interval = interval;
        self
    }

    /// Which replica is read: [`PickFollower`] (round-robin, the default), [`PickFewestOutstanding`], or one of your own.
    /// Linearizable reads go to the leader whatever is set.
    ///
    /// [`PickFewestOutstanding`]: crate::PickFewestOutstanding
    #[must_use]
    pub fn read_picker(mut self, picker: Arc<dyn Picker>) -> Self {
        self.read_picker = picker;
        self
    }

    /// The rack or zone in which this client runs: reads go to the servers of that rack where it has any of the partition
    /// ([`PickNearest`]); the picker that is set chooses among them.
    #[must_use]
    pub fn rack(mut self, rack: impl Into<String>) -> Self {
        self.rack = Some(rack.into());
        self
    }

    /// What looks up the names in the address ([`SystemLookup`]). Each address of a name is tried in turn, and the name is
    /// looked up anew when all have failed.
    #[must_use]
    pub fn lookup(mut self, lookup: Arc<dyn Lookup>) -> Self {
        self.lookup = Some(lookup);
        self
    }

    /// Speaks TLS with every server: shows a certificate, and believes the servers of an authority, whose certificates must name
    /// what they were called by. The files are read again for each new connection. Without it all is in the clear.
    #[must_use]
    pub fn tls(mut self, tls: ClientTls) -> Self {
        self.tls = Some(tls);
        self
    }

    /// The world to run in: the real one unless in a simulation. Its clock, entropy and network are used; names are left
    /// to its network, unless [`ClientBuilder::lookup`] is set afterwards.
    #[must_use]
    pub fn env(mut self, env: Env) -> Self {
        self.env = env;
        self.lookup = None;
        self
    }

    /// Where spans of produced batches and of consumed ones go; nowhere unless it is set. Batches that are in a recorded trace
    /// carry it in the header `traceparent` of each of their records, as W3C's Trace Context has it.
    #[must_use]
    pub fn telemetry(mut self, telemetry: Telemetry) -> Self {
        self.env.telemetry = telemetry;
        self
    }

    /// Connects, and asks for the servers of the cluster.
    ///
    /// # Errors
    /// If the address names no cluster, or none of its members answers within the call timeout.
    pub async fn connect(mut self, address: &str) -> Result<Client, ClientError> {
        let address: ClusterAddress = address.parse()?;
        if let Some(rack) = self.rack.take() {
            self.read_picker = Arc::new(PickNearest::among(rack, self.read_picker));
        }
        Client::open(address, self).await
    }
}
