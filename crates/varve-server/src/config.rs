//! What a node is told.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use varve_net::MuxLimits;
use varve_record::{BATCH_BYTES_MAX, RECORD_BYTES_MAX};
use varve_replica::GroupTiming;
use varve_storage::StorageConfig;
use varve_storage::{SEGMENT_BYTES_MAX, SEGMENT_BYTES_MIN};
use varve_tls::ServerTlsSettings;

use crate::discovery::Discovery;
use crate::inspection::Inspection;
use crate::{
    DRAIN_TIMEOUT, METRICS_TOPICS_MAX, PRODUCE_BYTES_IN_FLIGHT_MAX, RECORD_BYTES_SETTING_MAX,
    REPLACEMENT_DELAY, RETENTION_INTERVAL, SLOW_REQUEST,
};

/// The port that a node serves on by default.
const RPC_PORT: u16 = 8400;

/// The settings of a node, from wherever they came.
#[derive(Clone, Debug)]
pub struct NodeConfig {
    /// The data directory. It is made if it is not there.
    pub data_dir: PathBuf,
    /// The node's name among the servers.
    pub node_name: String,
    /// The address served on; port 0 takes a free one.
    pub rpc_addr: SocketAddr,
    /// Who is let in, by TLS and a policy. Without it the node serves in the clear whoever reaches it.
    pub security: Option<SecurityConfig>,
    /// Serve without encryption on an address that others can reach. Without it only loopback is served in the clear.
    pub insecure_serve_beyond_loopback: bool,
    /// The address that clients are told, as host:port; the one served on where absent.
    pub advertise_addr: Option<String>,
    /// The node's rack or zone, if it has one.
    pub rack: String,
    /// Make a new cluster if the data directory is empty.
    pub bootstrap: bool,
    /// How other nodes are found.
    pub discovery: Discovery,
    /// When the members of groups take each other for gone. The same on all nodes.
    pub timing: GroupTiming,
    /// How long a failed node is waited for before its replicas are made elsewhere.
    pub replacement_delay: Duration,
    /// Make a topic when somebody first produces to it.
    pub auto_create_topics: bool,
    /// Partitions of a topic where nothing is said.
    pub default_partitions: u32,
    /// Replicas of a partition where nothing is said. While there are fewer nodes there are fewer.
    pub default_replication_factor: u32,
    /// Bytes that a partition keeps where the topic does not say; `None` keeps everything.
    pub retention_bytes: Option<u64>,
    /// Milliseconds that a record is kept where the topic does not say; `None` keeps everything.
    pub retention_ms: Option<u64>,
    /// Bytes of a segment where the topic does not say.
    pub segment_bytes: u64,
    /// Largest record in bytes of key, value and headers where the topic does not say.
    pub record_bytes_max: usize,
    /// How often retention is looked after.
    pub retention_interval: Duration,
    /// Bytes of all batches that are not yet answered, of all callers together. Streams whose batches may be handed on have half of
    /// it at most.
    pub produce_bytes_in_flight_max: usize,
    /// How long a stopping node waits for the calls under way.
    pub drain_timeout: Duration,
    /// What the listener takes.
    pub listener: MuxLimits,
    /// How the data directory is kept.
    pub storage: StorageConfig,
    /// Where probes and metrics are served in the clear, besides the one port; nowhere where absent.
    pub ops_addr: Option<SocketAddr>,
    /// How many topics have metrics of their own.
    pub metrics_topics_max: usize,
    /// From when on a request is slow, and logged; none is where absent.
    pub slow_request: Option<Duration>,
    /// What was built.
    pub build: BuildInfo,
    /// The process, for those who may look into it.
    pub process: Option<Arc<dyn Inspection>>,
}

/// What was built, as metrics tell it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BuildInfo {
    /// The version.
    pub version: &'static str,
    /// The revision of its source, where it is known.
    pub revision: &'static str,
}

/// How a node keeps strangers out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecurityConfig {
    /// The certificates: what this node shows, and whose are taken.
    pub tls: ServerTlsSettings,
    /// Who may do what.
    pub acl: AclFiles,
    /// The longest that a client's connection lives, so that a certificate that was revoked or has expired is found out.
    pub connection_age_max: Duration,
    /// How often the files are looked at for changes.
    pub reload_interval: Duration,
}

/// The files of an access control list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AclFiles {
    /// How rules are read (Casbin's model); the built-in one where absent.
    pub model: Option<PathBuf>,
    /// The rules.
    pub policy: PathBuf,
}

/// Settings that cannot be.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ConfigError {
    /// The port would be open to others in the clear.
    #[error(
        "{addr} can be reached by others, and nothing would be encrypted: give it certificates (server-tls-cert-file and others), serve on 127.0.0.1, or insist with insecure-serve-beyond-loopback"
    )]
    BeyondLoopback {
        /// The address.
        addr: SocketAddr,
    },
    /// The others would be told of an address that leads to themselves.
    #[error(
        "{addr} is every address of this machine: say with advertise-addr at which of them the others reach it"
    )]
    NoAddress {
        /// The address.
        addr: SocketAddr,
    },
    /// A number is out of its range.
    #[error("{setting} is {found}: it must be {expected}")]
    OutOfRange {
        /// The setting's name.
        setting: &'static str,
        /// Its value.
        found: u64,
        /// What it must be.
        expected: String,
    },
}

impl NodeConfig {
    /// The defaults, for this data directory.
    #[must_use]
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        Self {
            data_dir: data_dir.into(),
            node_name: "node-1".to_owned(),
            rpc_addr: SocketAddr::from((Ipv4Addr::LOCALHOST, RPC_PORT)),
            security: None,
            insecure_serve_beyond_loopback: false,
            advertise_addr: None,
            rack: String::new(),
            bootstrap: false,
            discovery: Discovery::Alone,
            timing: GroupTiming::default(),
            replacement_delay: REPLACEMENT_DELAY,
            auto_create_topics: true,
            default_partitions: 1,
            default_replication_factor: 3,
            retention_bytes: None,
            retention_ms: None,
            segment_bytes: varve_storage::PartitionConfig::default().segment_bytes,
            record_bytes_max: RECORD_BYTES_MAX,
            retention_interval: RETENTION_INTERVAL,
            produce_bytes_in_flight_max: PRODUCE_BYTES_IN_FLIGHT_MAX,
            drain_timeout: DRAIN_TIMEOUT,
            listener: MuxLimits::default(),
            storage: StorageConfig::default(),
            ops_addr: None,
            metrics_topics_max: METRICS_TOPICS_MAX,
            slow_request: Some(SLOW_REQUEST),
            build: BuildInfo::default(),
            process: None,
        }
    }

    /// Holds the settings against each other.
    ///
    /// # Errors
    /// The first that cannot be.
    pub fn check(&self) -> Result<(), ConfigError> {
        let is_open = self.security.is_none() && !self.rpc_addr.ip().is_loopback();
        if is_open && !self.insecure_serve_beyond_loopback {
            return Err(ConfigError::BeyondLoopback { addr: self.rpc_addr });
        }
        if self.rpc_addr.ip().is_unspecified() && self.advertise_addr.is_none() {
            return Err(ConfigError::NoAddress { addr: self.rpc_addr });
        }
        let partitions_max = varve_controller::PARTITIONS_MAX as u64;
        check_range("default-partitions", u64::from(self.default_partitions), 1, partitions_max)?;
        let replicas_max = u64::from(varve_controller::REPLICATION_FACTOR_MAX);
        check_range(
            "default-replication-factor",
            u64::from(self.default_replication_factor),
            1,
            replicas_max,
        )?;
        let record_max = RECORD_BYTES_SETTING_MAX as u64;
        check_range("record-bytes-max", self.record_bytes_max as u64, 1, record_max)?;
        check_range("segment-bytes", self.segment_bytes, SEGMENT_BYTES_MIN, SEGMENT_BYTES_MAX)?;
        // A single batch of the largest size must always get through, also with the half for what may be handed on.
        let in_flight = self.produce_bytes_in_flight_max as u64;
        check_range(
            "produce-bytes-in-flight-max",
            in_flight,
            2 * BATCH_BYTES_MAX as u64,
            u64::from(u32::MAX),
        )?;
        check_range("retention-interval", self.retention_interval.as_millis() as u64, 1, u64::MAX)
    }
}

fn check_range(setting: &'static str, found: u64, min: u64, max: u64) -> Result<(), ConfigError> {
    if (min..=max).contains(&found) {
        return Ok(());
    }
    let expected = if max == u64::MAX { format!("at least {min}") } else { format!("{min} to {max}") };
    Err(ConfigError::OutOfRange { setting, found, expected })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_is_served_in_the_clear_unless_insisted_on() {
        let mut config = NodeConfig::new("/data");
        assert_eq!(config.check(), Ok(()));
        config.rpc_addr = "[::1]:0".parse().unwrap();
        assert_eq!(config.check(), Ok(()));
        for open in ["0.0.0.0:8400", "[::]:8400", "192.0.2.1:8400"] {
            config.rpc_addr = open.parse().unwrap();
            assert_eq!(config.check(), Err(ConfigError::BeyondLoopback { addr: config.rpc_addr }));
        }
        config.insecure_serve_beyond_loopback = true;
        assert_eq!(config.check(), Ok(()));
        config.rpc_addr = "0.0.0.0:8400".parse().unwrap();
        assert_eq!(config.check(), Err(ConfigError::NoAddress { addr: config.rpc_addr }));
        config.advertise_addr = Some("varve-1:8400".to_owned());
        assert_eq!(config.check(), Ok(()));
    }

    #[test]
    fn numbers_stay_within_their_ranges() {
        let refuse = |change: fn(&mut NodeConfig)| {
            let mut config = NodeConfig::new("/data");
            change(&mut config);
            config.check().unwrap_err().to_string()
        };
        assert!(refuse(|c| c.default_partitions = 0).contains("default-partitions is 0"));
        assert!(refuse(|c| c.record_bytes_max = BATCH_BYTES_MAX).contains("record-bytes-max"));
        assert!(refuse(|c| c.segment_bytes = 0).contains("segment-bytes is 0"));
        assert!(refuse(|c| c.segment_bytes = SEGMENT_BYTES_MAX + 1).contains("segment-bytes"));
        assert!(refuse(|c| c.produce_bytes_in_flight_max = 1).contains("produce-bytes-in-flight-max"));
        assert!(refuse(|c| c.retention_interval = Duration::ZERO).contains("at least 1"));
    }
}
