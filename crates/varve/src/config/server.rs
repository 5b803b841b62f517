//! The server's configuration, with every value checked.

use std::fmt::Display;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use varve_exporter::OtlpSettings;
use varve_server::SecurityConfig;

use super::layers::{Layers, ServerFlags};
use super::{ConfigError, LIST_SEPARATOR, Place, key, security};
use crate::units::{parse_bytes, parse_duration};

/// Longest name of a node, in bytes.
const NODE_NAME_BYTES_MAX: usize = 128;

/// Longest name of a rack, in bytes.
const RACK_BYTES_MAX: usize = 128;
/// Most addresses to join by. A few are enough for any cluster.
const START_JOIN_ADDRS_MAX: usize = 64;
/// Most replicas that a topic may want.
pub(crate) const REPLICATION_FACTOR_MAX: u32 = 7;
/// Most threads that serve.
const WORKER_THREADS_MAX: usize = 1024;
/// Where gossip listens if `bind-addr` has no port.
pub(crate) const GOSSIP_PORT: u16 = 8401;

/// How to log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LogFormat {
    /// Text on a terminal, JSON otherwise.
    Auto,
    /// A line of text.
    Text,
    /// A line of JSON.
    Json,
}

/// All that the server is told.
#[derive(Debug)]
pub(crate) struct ServerConfig {
    /// Where everything is kept.
    pub(crate) data_dir: PathBuf,
    /// Name of the node.
    pub(crate) node_name: String,
    /// Where to serve.
    pub(crate) rpc_addr: SocketAddr,
    /// The address that clients are told, if it is another.
    pub(crate) advertise_addr: Option<String>,
    /// What other nodes are told for gossip; port 0 stands for the one that is listened on.
    pub(crate) gossip_advertise_addr: Option<SocketAddr>,
    /// Where gossip listens.
    pub(crate) gossip_addr: SocketAddr,
    /// Gossip addresses of nodes whose cluster is to be joined.
    pub(crate) start_join_addrs: Vec<String>,
    /// The file of the key that gossip is encrypted with; without it there is no gossip.
    pub(crate) gossip_key_file: Option<PathBuf>,
    /// Rack or zone; empty for none.
    pub(crate) rack: String,
    /// Who is let in; everybody, in the clear, where absent.
    pub(crate) security: Option<SecurityConfig>,
    /// Whether to serve in the clear where others can reach it.
    pub(crate) insecure_serve_beyond_loopback: bool,
    /// Whether to make a cluster in an empty data directory.
    pub(crate) bootstrap: bool,
    /// Whether a produce makes its topic.
    pub(crate) auto_create_topics: bool,
    /// Partitions of a topic that does not say.
    pub(crate) default_partitions: u32,
    /// Replicas of a topic that does not say.
    pub(crate) default_replication_factor: u32,
    /// How long a node may be away before it is replaced.
    pub(crate) replacement_delay: Duration,
    /// Bytes to keep per partition; `None` keeps everything.
    pub(crate) retention_bytes: Option<u64>,
    /// Time to keep; `None` keeps everything.
    pub(crate) retention_age: Option<Duration>,
    /// Size of a segment.
    pub(crate) segment_bytes: u64,
    /// Largest record.
    pub(crate) record_bytes_max: u64,
    /// Threads that serve; `None` goes by the processors.
    pub(crate) worker_threads: Option<usize>,
    /// Where probes and metrics are served besides the one port.
    pub(crate) ops_addr: Option<SocketAddr>,
    /// Whether anything is counted at all.
    pub(crate) metrics: bool,
    /// Topics with metrics of their own.
    pub(crate) metrics_topics_max: usize,
    /// From when on a request is slow; `None` if none is.
    pub(crate) slow_request: Option<Duration>,
    /// The collector that telemetry is pushed to.
    pub(crate) otlp: Option<OtlpSettings>,
    /// The share of traces that are begun here.
    pub(crate) trace_ratio: f64,
    /// A file for spans.
    pub(crate) trace_file: Option<PathBuf>,
    /// Filter of what is logged, if one was given.
    pub(crate) log_level: Option<String>,
    /// How it is logged.
    pub(crate) log_format: LogFormat,
    /// Every key with its value, as it was given or by default.
    in_force: Vec<(&'static str, String)>,
}

impl ServerConfig {
    /// Puts the layers together and checks every value.
    ///
    /// # Errors
    /// If a key is unknown, a value is wrong, or a key that must be given is not.
    pub(crate) fn load(
        flags: &ServerFlags,
        variables: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        let layers = Layers::collect(flags, variables)?;
        let get = Getter(&layers);
        let gossip_addr = get.required(key::BIND_ADDR, bind_addr)?;
        let config = Self {
            data_dir: get.path(key::DATA_DIR)?.ok_or(ConfigError::Missing { key: key::DATA_DIR })?,
            node_name: get.or_default(key::NODE_NAME, node_name)?.unwrap_or_else(host_name),
            rpc_addr: SocketAddr::new(
                gossip_addr.ip(),
                get.required(key::RPC_PORT, |text| parsed(text, "no port: write a number from 0 to 65535"))?,
            ),
            advertise_addr: get.or_default(key::ADVERTISE_ADDR, host_port)?,
            gossip_advertise_addr: get.or_default(key::GOSSIP_ADVERTISE_ADDR, told_addr)?,
            gossip_addr,
            start_join_addrs: get.or_default(key::START_JOIN_ADDRS, host_ports)?.unwrap_or_default(),
            gossip_key_file: get.path(key::GOSSIP_KEY_FILE)?,
            rack: get.or_default(key::RACK, rack)?.unwrap_or_default(),
            security: security::of(&get)?,
            insecure_serve_beyond_loopback: get.required(key::INSECURE, switch)?,
            bootstrap: get.required(key::BOOTSTRAP, switch)?,
            auto_create_topics: get.required(key::AUTO_CREATE_TOPICS, switch)?,
            default_partitions: get.required(key::DEFAULT_PARTITIONS, partitions)?,
            default_replication_factor: get.required(key::DEFAULT_REPLICATION_FACTOR, replication_factor)?,
            replacement_delay: get.required(key::REPLACEMENT_DELAY, parse_duration)?,
            retention_bytes: Some(get.required(key::RETENTION_BYTES, parse_bytes)?)
                .filter(|bytes| *bytes > 0),
            retention_age: Some(get.required(key::RETENTION_AGE, parse_duration)?)
                .filter(|age| !age.is_zero()),
            segment_bytes: get.required(key::SEGMENT_BYTES, parse_bytes)?,
            record_bytes_max: get.required(key::RECORD_BYTES_MAX, parse_bytes)?,
            worker_threads: get.required(key::WORKER_THREADS, worker_threads)?,
            ops_addr: get.or_default(key::OPS_ADDR, ip_port)?,
            metrics: get.required(key::METRICS, switch)?,
            metrics_topics_max: get
                .required(key::METRICS_TOPICS_MAX, |text| parsed(text, "no number of topics"))?,
            slow_request: Some(get.required(key::SLOW_REQUEST, parse_duration)?)
                .filter(|limit| !limit.is_zero()),
            otlp: otlp(&get)?,
            trace_ratio: get.required(key::TRACE_RATIO, ratio)?,
            trace_file: get.path(key::TRACE_FILE)?,
            log_level: layers.get(key::LOG_LEVEL).map(|given| given.value.clone()),
            log_format: get.required(key::LOG_FORMAT, log_format)?,
            in_force: layers.in_force(),
        };
        config.hold_together(&layers)?;
        Ok(config)
    }

    /// The settings in force, as a configuration file would have them. What is secret stands in files of its own, whose paths
    /// these are; what an address holds of a password is left out.
    pub(crate) fn to_yaml(&self) -> String {
        let line = |(name, value): &(&str, String)| format!("{name}: {}\n", quoted(&without_password(value)));
        self.in_force.iter().map(line).collect()
    }

    /// Holds settings against each other, where the place of one of them helps.
    fn hold_together(&self, layers: &Layers) -> Result<(), ConfigError> {
        let contradiction = |name, problem: String, hint| {
            let place = Getter(layers).place(name);
            Err(ConfigError::Contradiction { place, problem, hint })
        };
        if self.bootstrap && !self.start_join_addrs.is_empty() {
            let problem = "a node with bootstrap makes a cluster, and one with start-join-addrs joins one";
            let hint = "give bootstrap to the first node alone, and start-join-addrs to the others";
            return contradiction(key::BOOTSTRAP, problem.into(), hint);
        }
        if self.security.is_some() && self.insecure_serve_beyond_loopback {
            let problem = "nothing is served in the clear where there are certificates";
            let hint = "leave insecure-serve-beyond-loopback out, or all that is about TLS";
            return contradiction(key::INSECURE, problem.into(), hint);
        }
        if self
            .ops_addr
            .is_some_and(|addr| addr.port() != 0 && [self.rpc_addr, self.gossip_addr].contains(&addr))
        {
            let problem = "probes and metrics need a port of their own".to_owned();
            return contradiction(
                key::OPS_ADDR,
                problem,
                "give ops-addr another port than rpc-port and bind-addr have",
            );
        }
        if !self.metrics && (self.otlp.is_some() || self.trace_file.is_some()) {
            let problem = "without metrics there is nothing to push, and there are no traces".to_owned();
            return contradiction(
                key::METRICS,
                problem,
                "leave metrics out, or otlp-endpoint and trace-file",
            );
        }
        if self.trace_ratio > 0.0 && self.otlp.is_none() && self.trace_file.is_none() {
            let problem = "traces that are begun have to go somewhere".to_owned();
            return contradiction(key::TRACE_RATIO, problem, "give otlp-endpoint, or trace-file, too");
        }
        if !self.start_join_addrs.is_empty() && self.gossip_key_file.is_none() {
            let problem = "joining takes a gossip-key-file, since gossip is always encrypted";
            let hint = "make a key with `varve gossip keygen FILE`, and give the same file to every node as --gossip-key-file";
            return contradiction(key::START_JOIN_ADDRS, problem.into(), hint);
        }
        if self.gossip_key_file.is_some() && self.rpc_addr == self.gossip_addr && self.rpc_addr.port() != 0 {
            let problem = format!("gossip and gRPC cannot both have port {}", self.rpc_addr.port());
            return contradiction(key::BIND_ADDR, problem, "give rpc-port another port than bind-addr has");
        }
        Ok(())
    }
}

/// Takes values from the layers.
pub(super) struct Getter<'a>(&'a Layers);

impl Getter<'_> {
    /// The value given, else the key's default, else nothing.
    pub(super) fn or_default<T>(
        &self,
        name: &'static str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Result<Option<T>, ConfigError> {
        let given = self.0.get(name);
        let default = key::find(name).map_or("", |key| key.default);
        let value = match given {
            Some(given) => given.value.as_str(),
            None if default.is_empty() => return Ok(None),
            None => default,
        };
        let invalid = |problem| {
            let place = self.place(name);
            ConfigError::Invalid { place, key: name, problem }
        };
        parse(value).map(Some).map_err(invalid)
    }

    pub(super) fn required<T>(
        &self,
        name: &'static str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Result<T, ConfigError> {
        self.or_default(name, parse)?.ok_or(ConfigError::Missing { key: name })
    }

    /// Where a key was given.
    pub(super) fn place(&self, name: &'static str) -> Place {
        self.0.get(name).map_or(Place::Default, |given| given.place.clone())
    }

    pub(super) fn path(&self, name: &'static str) -> Result<Option<PathBuf>, ConfigError> {
        self.or_default(name, |text| {
            if text.is_empty() { Err("a path cannot be empty".into()) } else { Ok(PathBuf::from(text)) }
        })
    }
}

fn switch(text: &str) -> Result<bool, String> {
    match text {
        "true" | "yes" | "on" | "1" => Ok(true),
        "false" | "no" | "off" | "0" => Ok(false),
        _ => Err(format!("{text:?} is neither true nor false")),
    }
}

/// `bind-addr`, which may stand without a port.
fn bind_addr(text: &str) -> Result<SocketAddr, String> {
    ip_with_port(text, GOSSIP_PORT)
}

/// `gossip-advertise-addr`, which may stand without a port, and names one machine.
fn told_addr(text: &str) -> Result<SocketAddr, String> {
    match ip_with_port(text, 0)? {
        addr if addr.ip().is_unspecified() => {
            Err(format!("{text:?} is every address of this machine: write the one at which others reach it"))
        }
        addr => Ok(addr),
    }
}

fn ip_with_port(text: &str, port: u16) -> Result<SocketAddr, String> {
    let text = match text.strip_prefix("localhost") {
        Some(rest) => &format!("127.0.0.1{rest}"),
        None => text,
    };
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    let on_default_port = bare.parse().map(|ip: IpAddr| SocketAddr::new(ip, port));
    on_default_port
        .or_else(|_| text.parse())
        .map_err(|_| format!("{text:?} is no address: write IP:PORT, as in 127.0.0.1:8401"))
}

/// A value that YAML reads as text.
fn quoted(value: &str) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

/// An address without the name and password that stand before its host.
fn without_password(value: &str) -> String {
    let Some((scheme, rest)) = value.split_once("://") else { return value.to_owned() };
    let host_from = rest.split('/').next().and_then(|authority| authority.rfind('@')).map_or(0, |at| at + 1);
    format!("{scheme}://{}", &rest[host_from..])
}

/// The collector, and how it is reached.
fn otlp(get: &Getter<'_>) -> Result<Option<OtlpSettings>, ConfigError> {
    let endpoint = get.or_default(key::OTLP_ENDPOINT, |text| Ok(text.to_owned()))?;
    let (ca_file, interval) =
        (get.path(key::OTLP_CA_FILE)?, get.required(key::OTLP_INTERVAL, otlp_interval)?);
    Ok(endpoint.map(|endpoint| OtlpSettings { endpoint, ca_file, interval }))
}

fn otlp_interval(text: &str) -> Result<Duration, String> {
    let interval = parse_duration(text)?;
    if interval < Duration::from_secs(1) { Err("it is at least 1s".to_owned()) } else { Ok(interval) }
}

fn ratio(text: &str) -> Result<f64, String> {
    let ratio: f64 = parsed(text, "no number")?;
    if (0.0..=1.0).contains(&ratio) { Ok(ratio) } else { Err("it is a number from 0 to 1".to_owned()) }
}

fn ip_port(text: &str) -> Result<SocketAddr, String> {
    let text =
        text.strip_prefix("localhost:").map_or_else(|| text.to_owned(), |port| format!("127.0.0.1:{port}"));
    text.parse().map_err(|_| format!("{text:?} is no address: write IP:PORT, as in 127.0.0.1:8402"))
}

fn host_ports(text: &str) -> Result<Vec<String>, String> {
    let addrs = text.split(LIST_SEPARATOR).map(str::trim).filter(|addr| !addr.is_empty());
    let addrs: Vec<String> = addrs.map(host_port).collect::<Result<_, _>>()?;
    match addrs.len() {
        0 => Err("it names no address: write HOST:PORT[,HOST:PORT]".into()),
        count if count > START_JOIN_ADDRS_MAX => Err(format!(
            "it names {count} addresses, more than {START_JOIN_ADDRS_MAX}; some of the nodes are enough"
        )),
        _ => Ok(addrs),
    }
}

fn host_port(text: &str) -> Result<String, String> {
    let good = text.rsplit_once(':').is_some_and(|(host, port)| {
        !host.is_empty()
            && !host.contains(['/', ',', '@', ' '])
            && port.parse::<u16>().is_ok_and(|port| port > 0)
    });
    if good { Ok(text.to_owned()) } else { Err(format!("{text:?} is no address: write HOST:PORT")) }
}

fn partitions(text: &str) -> Result<u32, String> {
    let count: u32 = parsed(text, "no number of partitions")?;
    if count == 0 { Err("a topic has at least 1 partition".into()) } else { Ok(count) }
}

fn replication_factor(text: &str) -> Result<u32, String> {
    let count: u32 = parsed(text, "no number of replicas")?;
    if (1..=REPLICATION_FACTOR_MAX).contains(&count) {
        Ok(count)
    } else {
        Err(format!("a topic has 1 to {REPLICATION_FACTOR_MAX} replicas"))
    }
}

fn rack(text: &str) -> Result<String, String> {
    let good =
        !text.is_empty() && text.len() <= RACK_BYTES_MAX && text.bytes().all(|byte| byte.is_ascii_graphic());
    if good {
        Ok(text.to_owned())
    } else {
        Err(format!(
            "{text:?} is no rack: write 1 to {RACK_BYTES_MAX} visible characters of ASCII, without blanks"
        ))
    }
}

fn worker_threads(text: &str) -> Result<Option<usize>, String> {
    if text == "auto" {
        return Ok(None);
    }
    let count: usize = parsed(text, "no number of threads, and not auto")?;
    if (1..=WORKER_THREADS_MAX).contains(&count) {
        Ok(Some(count))
    } else {
        Err(format!("a server has 1 to {WORKER_THREADS_MAX} of these threads"))
    }
}

fn log_format(text: &str) -> Result<LogFormat, String> {
    match text {
        "auto" => Ok(LogFormat::Auto),
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        _ => Err(format!("{text:?} is no format: write auto, text or json")),
    }
}

fn node_name(text: &str) -> Result<String, String> {
    let good = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    if text.is_empty() || text.len() > NODE_NAME_BYTES_MAX || !text.bytes().all(good) {
        let problem = "is no node name: use 1 to 128 letters, digits, '.', '_' and '-'";
        return Err(format!("{text:?} {problem}"));
    }
    Ok(text.to_owned())
}

fn parsed<T: FromStr<Err: Display>>(text: &str, problem: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("{text:?} is {problem}"))
}

/// The host's name, where it is a good name for a node.
fn host_name() -> String {
    let uname = rustix::system::uname();
    let name = uname.nodename().to_string_lossy();
    node_name(&name).unwrap_or_else(|_| "node".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(flags: &[(&'static str, &str)], env: &[(&str, &str)]) -> Result<ServerConfig, String> {
        let variables = env.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
        ServerConfig::load(&ServerFlags::of(flags), variables).map_err(|e| e.to_string())
    }

    #[test]
    fn defaults() {
        let config = load(&[("data-dir", "/tmp/v")], &[]).expect("enough");
        assert_eq!(config.rpc_addr, SocketAddr::from(([127, 0, 0, 1], 8400)));
        assert!(config.auto_create_topics);
        assert!(!config.bootstrap);
        assert_eq!(config.retention_bytes, None);
        assert!(!config.node_name.is_empty());
    }

    #[test]
    fn every_default_is_good() {
        for key in super::super::KEYS.iter().filter(|key| !key.default.is_empty()) {
            let flags = [("data-dir", "/tmp/v"), (key.name, key.default)];
            load(&flags, &[]).expect(key.name);
        }
    }

    #[test]
    fn the_readme_has_every_key_with_its_default() {
        let readme = include_str!("../../../../README.md");
        for key in super::super::KEYS {
            let row = format!("| `{}` | ", key.name);
            let row = readme.lines().find(|line| line.starts_with(&row)).expect(key.name);
            let default = row.split(" | ").nth(1).expect("a cell");
            let given = default.strip_prefix('`').and_then(|cell| cell.strip_suffix('`')).unwrap_or("");
            assert_eq!(given, key.default, "{}", key.name);
        }
    }

    #[test]
    fn flags_over_environment_over_file() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("v.yaml");
        std::fs::write(&file, "data-dir: /file\nnode-name: file\nrpc-port: 1\nbind-addr: localhost\n")
            .expect("written");
        let file = file.to_str().expect("plain");
        let env = [("VARVE_CONFIG_FILE", file), ("VARVE_NODE_NAME", "env"), ("VARVE_RPC_PORT", "2")];
        let config = load(&[("rpc-port", "3")], &env).expect("enough");
        assert_eq!(config.data_dir, PathBuf::from("/file"));
        assert_eq!(config.node_name, "env");
        assert_eq!(config.rpc_addr, SocketAddr::from(([127, 0, 0, 1], 3)));
    }

    #[test]
    fn the_address_served_on_is_put_together() {
        let addr = |bind: &str, port: &str| {
            let flags = [("data-dir", "/tmp/v"), ("bind-addr", bind), ("rpc-port", port)];
            load(&flags, &[]).map(|config| config.rpc_addr.to_string())
        };
        assert_eq!(addr("localhost:1", "0"), Ok("127.0.0.1:0".into()));
        assert_eq!(addr("0.0.0.0", "9"), Ok("0.0.0.0:9".into()));
        assert_eq!(addr("[::1]:8401", "9"), Ok("[::1]:9".into()));
        assert_eq!(addr("::1", "9"), Ok("[::1]:9".into()));
        assert!(addr("example.org:8401", "9").is_err());
        assert!(addr("127.0.0.1", "65536").is_err());
    }

    #[test]
    fn bind_addr_is_where_gossip_listens() {
        let addr = |bind: &str| {
            let flags = [("data-dir", "/tmp/v"), ("bind-addr", bind)];
            load(&flags, &[]).map(|config| config.gossip_addr.to_string())
        };
        assert_eq!(addr("localhost"), Ok("127.0.0.1:8401".into()));
        assert_eq!(addr("localhost:7"), Ok("127.0.0.1:7".into()));
        assert_eq!(addr("[::1]"), Ok("[::1]:8401".into()));
        assert_eq!(addr("::1"), Ok("[::1]:8401".into()));
        assert_eq!(addr("[::1]:7"), Ok("[::1]:7".into()));
        assert_eq!(addr("0.0.0.0:0"), Ok("0.0.0.0:0".into()));
    }

    #[test]
    fn for_gossip_others_are_told_one_address() {
        let told = |addr: &str| {
            let flags = [("data-dir", "/tmp/v"), ("bind-addr", "0.0.0.0"), ("gossip-advertise-addr", addr)];
            load(&flags, &[]).map(|config| config.gossip_advertise_addr.map(|addr| addr.to_string()))
        };
        assert_eq!(told("10.0.0.7"), Ok(Some("10.0.0.7:0".into())), "the port that is listened on");
        assert_eq!(told("10.0.0.7:7"), Ok(Some("10.0.0.7:7".into())));
        assert_eq!(told("[fd00::7]:7"), Ok(Some("[fd00::7]:7".into())));
        for wrong in ["0.0.0.0", "[::]:7", "example.org", ""] {
            assert!(told(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn nodes_to_join_come_in_any_form() {
        let key = ("gossip-key-file", "/key");
        let joins = |addrs: &'static str| {
            let flags = [("data-dir", "/tmp/v"), key, ("start-join-addrs", addrs)];
            load(&flags, &[]).map(|config| config.start_join_addrs)
        };
        assert_eq!(joins("a:1"), Ok(vec!["a:1".to_owned()]));
        assert_eq!(joins("a:1, [::1]:2,"), Ok(vec!["a:1".to_owned(), "[::1]:2".to_owned()]));
        for wrong in ["", ",", "a", "a:x", "a:1 b:2", "a:0"] {
            let error = joins(wrong).expect_err(wrong);
            assert!(error.starts_with("--start-join-addrs: "), "{error}");
        }
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("v.yaml");
        std::fs::write(&file, "gossip-key-file: k\nstart-join-addrs:\n- a:1\n- b:2\n").expect("written");
        let file = file.to_str().expect("plain");
        let config = load(&[("data-dir", "/d"), ("config-file", file)], &[]).expect("enough");
        assert_eq!(config.start_join_addrs, ["a:1", "b:2"]);
        let env = [("VARVE_START_JOIN_ADDRS", "c:3,d:4"), ("VARVE_RACK", "r1")];
        let config = load(&[("data-dir", "/d"), ("config-file", file)], &env).expect("enough");
        assert_eq!(config.start_join_addrs, ["c:3", "d:4"]);
        assert_eq!(config.rack, "r1");
    }

    #[test]
    fn what_does_not_go_together_is_refused() {
        let with = |flags: &[(&'static str, &str)], env: &[(&str, &str)]| {
            let flags = [flags, &[("data-dir", "/tmp/v")]].concat();
            load(&flags, env).map(|_| ()).expect_err("a contradiction")
        };
        let join = ("start-join-addrs", "a:1");
        let both = with(&[join, ("bootstrap", "true"), ("gossip-key-file", "k")], &[]);
        assert!(both.starts_with("--bootstrap: a node with bootstrap makes a cluster"), "{both}");
        let both = with(&[join, ("gossip-key-file", "k")], &[("VARVE_BOOTSTRAP", "true")]);
        assert!(both.starts_with("VARVE_BOOTSTRAP: "), "{both}");
        let no_key = with(&[join], &[]);
        assert!(no_key.starts_with("--start-join-addrs: joining takes a gossip-key-file"), "{no_key}");
        let same = with(&[("gossip-key-file", "k"), ("bind-addr", "127.0.0.1:9"), ("rpc-port", "9")], &[]);
        assert!(same.starts_with("--bind-addr: gossip and gRPC cannot both have port 9"), "{same}");
    }

    #[test]
    fn mistakes_name_key_and_place() {
        let with = |name: &'static str, value: &'static str| {
            load(&[("data-dir", "/tmp/v"), (name, value)], &[]).expect_err(value)
        };
        assert_eq!(with("bootstrap", "maybe"), "--bootstrap: \"maybe\" is neither true nor false");
        assert!(with("bind-addr", "8400").contains("write IP:PORT"));
        assert!(with("segment-bytes", "big").contains("is no size"));
        assert!(with("default-partitions", "0").contains("at least 1"));
        assert!(with("default-replication-factor", "8").contains("1 to 7"));
        assert!(with("replacement-delay", "soon").contains("is no duration"));
        assert!(with("rack", "").contains("is no rack"));
        assert!(with("worker-threads", "0").contains("1 to 1024"));
        assert!(with("worker-threads", "many").contains("not auto"));
        assert!(with("ops-addr", "8402").contains("write IP:PORT"));
        assert!(with("ops-addr", "127.0.0.1:8400").contains("a port of their own"));
        assert!(with("trace-ratio", "2").contains("from 0 to 1"));
        assert!(with("trace-ratio", "0.5").contains("have to go somewhere"));
        assert!(with("otlp-interval", "10ms").contains("at least 1s"));
        assert!(with("metrics-topics-max", "-1").contains("no number of topics"));
        assert!(with("node-name", "a b").contains("is no node name"));
        assert_eq!(load(&[], &[]).expect_err("nothing"), "data-dir is not set");
        let env = load(&[("data-dir", "/tmp/v")], &[("VARVE_RETENTION_AGE", "long")]).expect_err("long");
        assert!(env.starts_with("VARVE_RETENTION_AGE: \"long\" is no duration"), "{env}");
    }

    #[test]
    fn unknown_keys_of_a_file_name_line_and_nearest() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("v.yaml");
        std::fs::write(&file, "data-dir: /file\n\nretention-byte: 5\n").expect("written");
        let file = file.to_str().expect("plain").to_owned();
        let error = load(&[("config-file", &file)], &[]).expect_err("unknown");
        let expected =
            format!("{file}:3:1: there is no setting \"retention-byte\": did you mean \"retention-bytes\"?");
        assert_eq!(error, expected);
    }
}
