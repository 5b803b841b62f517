//! The keys of the server's configuration. A key has the same name as a flag (`--data-dir`), in YAML (`data-dir:`) and,
//! in capitals, in the environment (`VARVE_DATA_DIR`).

/// One key.
#[derive(Debug)]
pub(crate) struct Key {
    /// Its name.
    pub(crate) name: &'static str,
    /// What its value looks like in help; empty for a switch, which may stand without one.
    pub(crate) value: &'static str,
    /// What holds where nothing is given; empty if that is nothing, or is said in the help.
    pub(crate) default: &'static str,
    /// One or two sentences.
    pub(crate) help: &'static str,
    /// Whether it takes several values: separated by commas, as a flag given again, or as a list in YAML.
    pub(crate) list: bool,
}

const fn key(name: &'static str, value: &'static str, default: &'static str, help: &'static str) -> Key {
    Key { name, value, default, help, list: false }
}

const fn list(name: &'static str, value: &'static str, help: &'static str) -> Key {
    Key { name, value, default: "", help, list: true }
}

pub(crate) const CONFIG_FILE: &str = "config-file";
pub(crate) const DATA_DIR: &str = "data-dir";
pub(crate) const NODE_NAME: &str = "node-name";
pub(crate) const BIND_ADDR: &str = "bind-addr";
pub(crate) const RPC_PORT: &str = "rpc-port";
pub(crate) const ADVERTISE_ADDR: &str = "advertise-addr";
pub(crate) const GOSSIP_ADVERTISE_ADDR: &str = "gossip-advertise-addr";
pub(crate) const START_JOIN_ADDRS: &str = "start-join-addrs";
pub(crate) const GOSSIP_KEY_FILE: &str = "gossip-key-file";
pub(crate) const RACK: &str = "rack";
pub(crate) const SERVER_TLS_CERT_FILE: &str = "server-tls-cert-file";
pub(crate) const SERVER_TLS_KEY_FILE: &str = "server-tls-key-file";
pub(crate) const SERVER_TLS_CA_FILE: &str = "server-tls-ca-file";
pub(crate) const PEER_TLS_CERT_FILE: &str = "peer-tls-cert-file";
pub(crate) const PEER_TLS_KEY_FILE: &str = "peer-tls-key-file";
pub(crate) const PEER_TLS_CA_FILE: &str = "peer-tls-ca-file";
pub(crate) const TLS_CRL_FILE: &str = "tls-crl-file";
pub(crate) const TLS_MIN_VERSION: &str = "tls-min-version";
pub(crate) const ACL_MODEL_FILE: &str = "acl-model-file";
pub(crate) const ACL_POLICY_FILE: &str = "acl-policy-file";
pub(crate) const CONNECTION_AGE_MAX: &str = "connection-age-max";
pub(crate) const INSECURE: &str = "insecure-serve-beyond-loopback";
pub(crate) const BOOTSTRAP: &str = "bootstrap";
pub(crate) const AUTO_CREATE_TOPICS: &str = "auto-create-topics";
pub(crate) const DEFAULT_PARTITIONS: &str = "default-partitions";
pub(crate) const DEFAULT_REPLICATION_FACTOR: &str = "default-replication-factor";
pub(crate) const REPLACEMENT_DELAY: &str = "replacement-delay";
pub(crate) const RETENTION_BYTES: &str = "retention-bytes";
pub(crate) const RETENTION_AGE: &str = "retention-age";
pub(crate) const SEGMENT_BYTES: &str = "segment-bytes";
pub(crate) const RECORD_BYTES_MAX: &str = "record-bytes-max";
pub(crate) const WORKER_THREADS: &str = "worker-threads";
pub(crate) const OPS_ADDR: &str = "ops-addr";
pub(crate) const METRICS: &str = "metrics";
pub(crate) const METRICS_TOPICS_MAX: &str = "metrics-topics-max";
pub(crate) const SLOW_REQUEST: &str = "slow-request";
pub(crate) const OTLP_ENDPOINT: &str = "otlp-endpoint";
pub(crate) const OTLP_CA_FILE: &str = "otlp-ca-file";
pub(crate) const OTLP_INTERVAL: &str = "otlp-interval";
pub(crate) const TRACE_RATIO: &str = "trace-ratio";
pub(crate) const TRACE_FILE: &str = "trace-file";
pub(crate) const LOG_LEVEL: &str = "log-level";
pub(crate) const LOG_FORMAT: &str = "log-format";

/// Every key, in the order of help.
pub(crate) const KEYS: &[Key] = &[
    key(CONFIG_FILE, "FILE", "", "YAML file with any of these keys (without the dashes before them)"),
    key(DATA_DIR, "DIR", "", "Directory for all that the node keeps; one server at a time. Required"),
    key(
        BOOTSTRAP,
        "",
        "false",
        "Make a new cluster if the data directory is empty; changes nothing if it holds one already",
    ),
    key(NODE_NAME, "NAME", "", "Name of this node [default: the host's name]"),
    key(
        BIND_ADDR,
        "IP[:PORT]",
        "127.0.0.1:8401",
        "Address for gossip between nodes, over TCP and UDP [port: 8401]; gRPC is served on its IP too, at rpc-port",
    ),
    key(RPC_PORT, "PORT", "8400", "Port to serve gRPC on, to clients and other nodes; 0 takes a free one"),
    key(
        ADVERTISE_ADDR,
        "HOST:PORT",
        "",
        "Address that clients and other nodes are told [default: the one served on]",
    ),
    key(
        GOSSIP_ADVERTISE_ADDR,
        "IP[:PORT]",
        "",
        "Address that other nodes are told for gossip [default: the IP of advertise-addr where it is one, else of bind-addr; port: that of bind-addr]",
    ),
    list(
        START_JOIN_ADDRS,
        "HOST:PORT,...",
        "Join the cluster of the nodes at these gossip addresses (their bind-addr). Some of them are enough",
    ),
    key(
        GOSSIP_KEY_FILE,
        "FILE",
        "",
        "Key that gossip is encrypted with, the same for all nodes; `varve gossip keygen FILE` makes one. Without it the node takes no others in",
    ),
    key(RACK, "NAME", "", "Rack or zone of this node: replicas are spread over racks"),
    key(
        SERVER_TLS_CERT_FILE,
        "FILE",
        "",
        "Certificate that clients are shown, in PEM, with those between it and the CA's. With it nothing is served in the clear",
    ),
    key(SERVER_TLS_KEY_FILE, "FILE", "", "Its key, in PEM"),
    key(SERVER_TLS_CA_FILE, "FILE", "", "CA whose certificates clients have to show, in PEM"),
    key(
        PEER_TLS_CERT_FILE,
        "FILE",
        "",
        "Certificate that other nodes are shown, in PEM [default: that for clients]",
    ),
    key(PEER_TLS_KEY_FILE, "FILE", "", "Its key, in PEM"),
    key(
        PEER_TLS_CA_FILE,
        "FILE",
        "",
        "CA whose certificates other nodes have to show, in PEM [default: that of clients]",
    ),
    key(
        TLS_CRL_FILE,
        "FILE",
        "",
        "Lists of revoked certificates, in PEM; one that has expired lets nobody in",
    ),
    key(TLS_MIN_VERSION, "VERSION", "1.3", "Lowest version of TLS that clients may speak: 1.3 or 1.2"),
    key(ACL_POLICY_FILE, "FILE", "", "Who may do what: rules in CSV. Goes with the certificates"),
    key(
        ACL_MODEL_FILE,
        "FILE",
        "",
        "How the rules are read: a model of Casbin [default: one with roles and prefixes]",
    ),
    key(
        CONNECTION_AGE_MAX,
        "TIME",
        "1h",
        "Longest that a client's connection lives: then a certificate that was revoked or has expired is found out",
    ),
    key(
        INSECURE,
        "",
        "false",
        "Serve in the clear on an address that others can reach: whoever reaches it may read, write and delete",
    ),
    key(AUTO_CREATE_TOPICS, "", "true", "Make a topic when it is first produced to"),
    key(DEFAULT_PARTITIONS, "N", "1", "Partitions of a topic that is made without saying how many"),
    key(
        DEFAULT_REPLICATION_FACTOR,
        "N",
        "3",
        "Replicas of a topic that is made without saying how many. While there are fewer nodes it has fewer",
    ),
    key(
        REPLACEMENT_DELAY,
        "TIME",
        "10m",
        "How long a node may be away before what it held is copied to others",
    ),
    key(
        RETENTION_BYTES,
        "SIZE",
        "0",
        "Bytes to keep per partition, for topics that do not say; whole segments are dropped. 0 keeps everything",
    ),
    key(
        RETENTION_AGE,
        "TIME",
        "0",
        "Time to keep records, for topics that do not say (30s, 12h, 7d). 0 keeps everything",
    ),
    key(SEGMENT_BYTES, "SIZE", "128MiB", "Size at which a segment file is closed and the next begun"),
    key(RECORD_BYTES_MAX, "SIZE", "1MiB", "Largest record accepted: key, value and headers together"),
    key(
        WORKER_THREADS,
        "N",
        "auto",
        "Threads that serve, besides those that write to disks; auto: one for each processor but one, at least one",
    ),
    key(
        OPS_ADDR,
        "IP:PORT",
        "",
        "Serve probes (/livez, /readyz, /startupz) and /metrics here too, in the clear, to whoever reaches it",
    ),
    key(
        METRICS,
        "",
        "true",
        "Count and time what the node does; without it there are no metrics and no traces",
    ),
    key(METRICS_TOPICS_MAX, "N", "100", "Topics that have metrics of their own; 0 for none"),
    key(SLOW_REQUEST, "TIME", "1s", "Log requests that take longer; 0 logs none"),
    key(
        OTLP_ENDPOINT,
        "URL",
        "",
        "Push metrics and traces to this collector, by OTLP over gRPC, as in http://127.0.0.1:4317",
    ),
    key(OTLP_CA_FILE, "FILE", "", "CA of the collector's certificate, in PEM; goes with https"),
    key(OTLP_INTERVAL, "TIME", "15s", "How often metrics are pushed"),
    key(
        TRACE_RATIO,
        "RATIO",
        "0",
        "Share of calls that a trace begins with here, 0 to 1; one that a caller has begun is always gone on with",
    ),
    key(TRACE_FILE, "FILE", "", "Add each span to this file, as a line of JSON"),
    key(
        LOG_LEVEL,
        "LEVEL",
        "info",
        "What to log: error, warn, info, debug or trace, or a filter as in varve_server=debug",
    ),
    key(LOG_FORMAT, "FORMAT", "auto", "How to log: text, json, or auto (text on a terminal, JSON otherwise)"),
];

/// The key of this name.
pub(crate) fn find(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name == name)
}

/// The key most like this name, for those who mistyped it.
pub(crate) fn nearest(name: &str) -> Option<&'static str> {
    crate::suggest::nearest(name, KEYS.iter().map(|key| key.name))
}
