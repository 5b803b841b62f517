//! `varve server`.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use clap::Args;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use varve_env::Env;
use varve_exporter::{ExportSettings, Exporter};
use varve_gossip::{GossipKeyRing, StartError as GossipStartError};
use varve_server::{BuildInfo, Discovery, FatalError, GossipSettings, Node, NodeConfig, StartError};
use varve_storage::OpenError;
use varve_telemetry::Telemetry;

use super::gossip::key_failure;
use super::version::{COMMIT, VERSION};
use super::{block_on, worker_threads};
use crate::cli::Verbosity;
use crate::config::{ConfigError, ServerConfig, ServerFlags};
use crate::failure::{Exit, Failure};
use crate::interrupt::{Interrupt, hangups};
use crate::logging::{self, Logs};
use crate::process::Process;

/// What `server` takes.
#[derive(Debug, Args)]
pub(crate) struct ServerArgs {
    #[command(flatten)]
    flags: ServerFlags,
    /// Stop when standard input ends, so that the node does not outlive who started it
    #[arg(long, hide = true)]
    stop_with_stdin: bool,
}

/// Runs a node until it is told to stop, or cannot go on.
///
/// # Errors
/// If the configuration is wrong, the node does not start, its storage fails, or it does not stop cleanly.
pub(crate) fn run(args: &ServerArgs, verbosity: Verbosity) -> Result<(), Failure> {
    // A variable that is no UTF-8 is none of ours: all our values are text.
    let variables =
        std::env::vars_os().filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?)));
    let config = ServerConfig::load(&args.flags, variables).map_err(config_failure)?;
    let logs = logging::start_server(&config, verbosity)?;
    let files_max = raise_open_files_limit();
    let threads = config.worker_threads.unwrap_or_else(worker_threads);
    block_on(Some(threads), serve(config, logs, files_max, args.stop_with_stdin))
}

/// Takes as many open files as the system grants, and gives how many that is, if there is a limit: the usual soft limit is for
/// programs that hand them to `select(2)`.
fn raise_open_files_limit() -> Option<u64> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current == maximum {
        return current;
    }
    match setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        Ok(()) => maximum,
        Err(error) => {
            tracing::warn!(?current, ?maximum, %error, "the limit of open files cannot be raised");
            current
        }
    }
}

/// Leaves half of the files that may be open to the log: no number of connections is to keep it from its own.
fn leave_files_to_the_log(config: &mut NodeConfig, files_max: Option<u64>) {
    let Some(half) = files_max.and_then(|files| usize::try_from(files / 2).ok()) else { return };
    let limits = &mut config.listener;
    if half < limits.connections_max {
        tracing::warn!(
            open_files_max = files_max,
            connections_max = half,
            "few files may be open, so that fewer connections are taken: raise the limit (ulimit -n, LimitNOFILE)"
        );
        limits.connections_max = half.max(1);
    }
}

async fn serve(
    config: ServerConfig,
    logs: Logs,
    files_max: Option<u64>,
    stop_with_stdin: bool,
) -> Result<(), Failure> {
    // Before the node starts, so that a stop while it starts is heard.
    let mut interrupt = Interrupt::install(1)?;
    let mut hangups = hangups()?;
    if stop_with_stdin {
        interrupt = interrupt.or_end_of_stdin();
    }
    let data_dir = config.data_dir.clone();
    let (exporter, telemetry) = export(&config)?;
    let process = Process { logs, settings: config.to_yaml() };
    let mut config = NodeConfig { process: Some(Arc::new(process)), ..node_config(config)? };
    leave_files_to_the_log(&mut config, files_max);
    let node = tokio::select! {
        biased;
        () = interrupt.wait() => return Ok(()),
        node = Node::start(Env { telemetry, ..Env::real() }, config) => node.map_err(|error| start_failure(&data_dir, &error))?,
    };
    let address = format!("varve://{}", node.rpc_addr());
    let node_id = node.identity().node_id.get();
    let ops_addr = node.ops_addr().map(tracing::field::display);
    tracing::info!(target: logging::READY, address, node_id, ops_addr, data_dir = %data_dir.display(), version = VERSION, "ready");
    loop {
        tokio::select! {
            biased;
            // Not stopped cleanly: what is in memory is no longer to be trusted.
            fatal = node.failed() => match fatal {
                // Nothing is wrong, and nobody is to start it again.
                FatalError::Decommissioned { .. } => break,
                fatal => return Err(fatal_failure(&fatal)),
            },
            () = interrupt.wait() => break,
            Some(()) = hangups.recv() => {
                tracing::info!("SIGHUP: certificates, policy and gossip keys are looked at now");
                node.reload();
            }
        }
    }
    let stopped = node.shutdown().await;
    // What it told last goes out, if somebody takes it.
    if let Some(exporter) = exporter {
        drop(tokio::task::spawn_blocking(move || exporter.shutdown()).await);
    }
    stopped.map_err(|error| Failure::new(Exit::General, error.to_string()))
}

/// Starts what carries telemetry away.
fn export(config: &ServerConfig) -> Result<(Option<Exporter>, Telemetry), Failure> {
    if !config.metrics {
        return Ok((None, Telemetry::off()));
    }
    let settings = ExportSettings {
        service: "varve",
        instance: config.node_name.clone(),
        version: VERSION,
        otlp: config.otlp.clone(),
        trace_ratio: config.trace_ratio,
        trace_file: config.trace_file.clone(),
    };
    let (exporter, telemetry) =
        Exporter::start(&settings).map_err(|error| Failure::usage(error.to_string()))?;
    Ok((Some(exporter), telemetry))
}

fn node_config(config: ServerConfig) -> Result<NodeConfig, Failure> {
    let age_ms = |age: std::time::Duration| u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
    Ok(NodeConfig {
        discovery: discovery(&config)?,
        node_name: config.node_name,
        rpc_addr: config.rpc_addr,
        advertise_addr: config.advertise_addr,
        rack: config.rack,
        security: config.security,
        insecure_serve_beyond_loopback: config.insecure_serve_beyond_loopback,
        bootstrap: config.bootstrap,
        replacement_delay: config.replacement_delay,
        auto_create_topics: config.auto_create_topics,
        default_partitions: config.default_partitions,
        default_replication_factor: config.default_replication_factor,
        retention_bytes: config.retention_bytes,
        retention_ms: config.retention_age.map(age_ms),
        segment_bytes: config.segment_bytes,
        record_bytes_max: usize::try_from(config.record_bytes_max).unwrap_or(usize::MAX),
        ops_addr: config.ops_addr,
        metrics_topics_max: config.metrics_topics_max,
        slow_request: config.slow_request,
        build: BuildInfo { version: VERSION, revision: COMMIT.unwrap_or_default() },
        ..NodeConfig::new(config.data_dir)
    })
}

/// By gossip, where there is a key to encrypt it with; a node without one stays alone.
fn discovery(config: &ServerConfig) -> Result<Discovery, Failure> {
    let Some(file) = &config.gossip_key_file else { return Ok(Discovery::Alone) };
    let keys = GossipKeyRing::read_file(file).map_err(|error| key_failure(&error))?;
    // Where the others are told of one address they are told of it for gossip, too. A name is left to them: it need not
    // lead anywhere yet while the node starts.
    let told = config.advertise_addr.as_deref().and_then(|addr| addr.parse::<SocketAddr>().ok());
    Ok(Discovery::Gossip(Box::new(GossipSettings {
        advertise_addr: config
            .gossip_advertise_addr
            .or_else(|| told.map(|told| SocketAddr::new(told.ip(), config.gossip_addr.port()))),
        start_join_addrs: config.start_join_addrs.clone(),
        key_file: Some(file.clone()),
        ..GossipSettings::new(config.gossip_addr, keys)
    })))
}

fn fatal_failure(fatal: &FatalError) -> Failure {
    match fatal {
        FatalError::TakenOut { .. } => Failure::new(Exit::Removed, fatal.to_string())
            .hint("to join again as a new node start with an empty data directory"),
        FatalError::MetadataDamaged => Failure::new(Exit::General, fatal.to_string()),
        FatalError::SecondCluster { .. } => Failure::new(Exit::Precondition, fatal.to_string()),
        _ => Failure::new(Exit::General, fatal.to_string())
            .hint("look at the disk, then start the server again: it finds out what the disk holds"),
    }
}

fn config_failure(error: ConfigError) -> Failure {
    let failure = Failure::usage(error.to_string());
    match error {
        ConfigError::Missing { key } => {
            let variable = key.to_uppercase().replace('-', "_");
            failure.hint(format!("give --{key}, VARVE_{variable}, or {key}: in the configuration file"))
        }
        ConfigError::Contradiction { hint, .. } => failure.hint(hint),
        ConfigError::Unknown { .. } => failure.hint("`varve server --help` lists the settings"),
        _ => failure,
    }
}

fn start_failure(data_dir: &Path, error: &StartError) -> Failure {
    match error {
        StartError::Config(_) | StartError::Storage(OpenError::Setting { .. }) => {
            Failure::usage(error.to_string())
        }
        StartError::Tls(_) => Failure::usage(error.to_string())
            .hint("the keys server-tls-cert-file, peer-tls-cert-file and so on name the files; `varve server --help` lists them"),
        StartError::Certificate { .. } => Failure::usage(error.to_string())
            .hint("give the certificate of this node with peer-tls-cert-file, or with server-tls-cert-file for both uses"),
        StartError::Policy(_) => {
            Failure::usage(error.to_string()).hint("mend the acl-policy-file: without a policy nobody may do anything")
        }
        StartError::Storage(OpenError::Locked { .. }) => {
            let failure = Failure::new(Exit::Precondition, error.to_string());
            failure.hint("one server at a time may have a data directory")
        }
        StartError::Storage(OpenError::File(_)) if data_dir.is_file() => {
            let message = format!("data directory {} is a file", data_dir.display());
            Failure::new(Exit::General, message).hint("give a directory with --data-dir")
        }
        StartError::NotBootstrapped { dir } => {
            let message = format!("data directory {} holds no cluster", dir.display());
            Failure::new(Exit::Precondition, message).hint(
                "add --bootstrap to make a new one there, --start-join-addrs to join one, or check the path",
            )
        }
        StartError::Listen { addr, source } if source.kind() == io::ErrorKind::AddrInUse => {
            let message = format!("cannot listen on {addr}: the port is in use");
            Failure::new(Exit::Precondition, message)
                .hint("stop what uses it, or choose another with --rpc-port")
        }
        StartError::Gossip(GossipStartError::Bind { addr, source })
            if source.kind() == io::ErrorKind::AddrInUse =>
        {
            let message = format!("cannot listen on {addr} for gossip: the port is in use");
            Failure::new(Exit::Precondition, message)
                .hint("stop what uses it, or choose another with --bind-addr IP:PORT")
        }
        StartError::Gossip(GossipStartError::NoAddress) => {
            let message = "there is no address to tell the other nodes, since gossip listens on all of them";
            Failure::usage(message)
                .hint("give one with --gossip-advertise-addr IP, or with --advertise-addr IP:PORT, or a single one with --bind-addr")
        }
        StartError::Removed { .. } => Failure::new(Exit::Removed, error.to_string()),
        StartError::Fatal(fatal) => fatal_failure(fatal),
        _ => Failure::new(Exit::General, error.to_string()),
    }
}
