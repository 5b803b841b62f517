use std::sync::Arc;
use std::time::Duration;

use varve_env::Env;

use crate::picker::{PickFollower, Picker};
use crate::{Client, ClientError, ClusterAddress};

/// How long making a connection may take, unless set otherwise.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long one attempt of a call may take, unless set otherwise.
pub const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a call may take with all its attempts, unless set otherwise.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(30);

/// What a client does where there is a choice. Made by [`Client::builder`].
#[derive(Debug, Clone)]
pub struct ClientBuilder {
    pub(crate) connect_timeout: Duration,
    pub(crate) attempt_timeout: Duration,
    pub(crate) call_timeout: Duration,
    pub(crate) read_picker: Arc<dyn Picker>,
    pub(crate) env: Env,
}

impl ClientBuilder {
    pub(crate) fn new() -> Self {
        Self {
            connect_timeout: CONNECT_TIMEOUT,
            attempt_timeout: ATTEMPT_TIMEOUT,
            call_timeout: CALL_TIMEOUT,
            read_picker: Arc::new(PickFollower::default()),
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

    /// Which replica is read ([`PickFollower`], round-robin). Linearizable reads go to the leader whatever is set.
    #[must_use]
    pub fn read_picker(mut self, picker: Arc<dyn Picker>) -> Self {
        self.read_picker = picker;
        self
    }

    /// The world to run in: the real one unless in a simulation. Its clock, entropy and network are used.
    #[must_use]
    pub fn env(mut self, env: Env) -> Self {
        self.env = env;
        self
    }

    /// Connects, and asks for the servers of the cluster.
    ///
    /// # Errors
    /// If the address names no cluster, or none of its members answers within the call timeout.
    pub async fn connect(self, address: &str) -> Result<Client, ClientError> {
        let address: ClusterAddress = address.parse()?;
        Client::open(address, self).await
    }
}
