//! `varve server`.

use std::io;
use std::path::Path;

use clap::Args;
use varve_env::Env;
use varve_gossip::GossipKeyRing;
use varve_server::{Discovery, GossipSettings, Node, NodeConfig, StartError};
use varve_storage::OpenError;

use super::block_on;
use super::version::VERSION;
use crate::cli::Verbosity;
use crate::config::{ConfigError, ServerConfig, ServerFlags};
use crate::failure::{Exit, Failure};
use crate::interrupt::Interrupt;
use crate::logging;

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
    logging::start_server(&config, verbosity)?;
    block_on(serve(config, args.stop_with_stdin))
}

async fn serve(config: ServerConfig, stop_with_stdin: bool) -> Result<(), Failure> {
    // Before the node starts, so that a stop while it starts is heard.
    let mut interrupt = Interrupt::install(1)?;
    if stop_with_stdin {
        interrupt = interrupt.or_end_of_stdin();
    }
    let data_dir = config.data_dir.clone();
    let node = tokio::select! {
        biased;
        () = interrupt.wait() => return Ok(()),
        node = Node::start(Env::real(), node_config(config)?) => node.map_err(|error| start_failure(&data_dir, &error))?,
    };
    let address = format!("varve://{}", node.rpc_addr());
    let node_id = node.identity().node_id.get();
    tracing::info!(target: logging::READY, address, node_id, data_dir = %data_dir.display(), version = VERSION, "ready");
    tokio::select! {
        biased;
        // Not stopped cleanly: what is in memory is no longer to be trusted.
        fatal = node.failed() => return Err(Failure::new(Exit::General, fatal.to_string())
            .hint("look at the disk, then start the server again: it finds out what the disk holds")),
        () = interrupt.wait() => {}
    }
    node.shutdown().await.map_err(|error| Failure::new(Exit::General, error.to_string()))
}

fn node_config(config: ServerConfig) -> Result<NodeConfig, Failure> {
    let age_ms = |age: std::time::Duration| u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
    let discovery = discovery(&config)?;
    Ok(NodeConfig {
        discovery,
        default_replication_factor: config.default_replication_factor,
        replacement_delay: config.replacement_delay,
        node_name: config.node_name,
        rpc_addr: config.rpc_addr,
        advertise_addr: config.advertise_addr,
        rack: config.rack,
        insecure_serve_beyond_loopback: config.insecure_serve_beyond_loopback,
        bootstrap: config.bootstrap,
        auto_create_topics: config.auto_create_topics,
        default_partitions: config.default_partitions,
        retention_bytes: config.retention_bytes,
        retention_ms: config.retention_age.map(age_ms),
        segment_bytes: config.segment_bytes,
        record_bytes_max: usize::try_from(config.record_bytes_max).unwrap_or(usize::MAX),
        ..NodeConfig::new(config.data_dir)
    })
}

/// How other nodes are found: by gossip, if there is a key for it.
fn discovery(config: &ServerConfig) -> Result<Discovery, Failure> {
    let Some(path) = &config.gossip_key_file else { return Ok(Discovery::Alone) };
    let keys = GossipKeyRing::read_file(path).map_err(|error| {
        Failure::new(Exit::Precondition, error.to_string()).hint("make a key with `varve gossip keygen FILE`")
    })?;
    let start_join_addrs = config.start_join_addrs.clone();
    Ok(Discovery::Gossip(GossipSettings {
        start_join_addrs,
        ..GossipSettings::new(config.gossip_addr, keys)
    }))
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
            Failure::new(Exit::Precondition, message)
                .hint("add --bootstrap to make a new one there, or check the path")
        }
        StartError::Listen { addr, source } if source.kind() == io::ErrorKind::AddrInUse => {
            let message = format!("cannot listen on {addr}: the port is in use");
            Failure::new(Exit::Precondition, message)
                .hint("stop what uses it, or choose another with --rpc-port")
        }
        _ => Failure::new(Exit::General, error.to_string()),
    }
}
