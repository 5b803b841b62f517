//! Logs, on standard error.

use std::io::stderr;

use tracing_subscriber::EnvFilter;

use crate::cli::Verbosity;
use crate::config::{LogFormat, ServerConfig};
use crate::failure::Failure;
use crate::terminal::{stderr_has_color, stderr_is_terminal};

/// The target of the one event that is always logged: that the server is ready.
pub(crate) const READY: &str = "varve::ready";

/// Whoever can send a datagram decides how often this says something: what of it matters to an operator we say ourselves. A filter
/// that names it has it back.
const DECIDED_BY_STRANGERS: &str = "memberlist_core=off,";

/// What is said of consensus and gossip at `info` is for those who work on them: it comes with any other level. serf warns of
/// every stop that is no leave, which is how all of ours are.
const QUIET_LIBRARIES: &str =
    "openraft=error,memberlist=off,memberlist_core=off,memberlist_net=error,serf=error,serf_core=error,";

/// Starts the logs of a server.
///
/// # Errors
/// If the filter is none.
pub(crate) fn start_server(config: &ServerConfig, verbosity: Verbosity) -> Result<(), Failure> {
    let by_flags = match (verbosity.quiet, verbosity.verbose) {
        (true, _) => "warn",
        (false, 0) => "info",
        (false, 1) => "debug",
        (false, _) => "trace",
    };
    let level = config.log_level.as_deref().unwrap_or(by_flags);
    let quiet = if level == "info" { QUIET_LIBRARIES } else { DECIDED_BY_STRANGERS };
    let filter = EnvFilter::try_new(format!("{quiet}{level},{READY}=info"))
        .map_err(|error| Failure::usage(format!("log-level: {level:?} is no filter: {error}")))?;
    let json = match config.log_format {
        LogFormat::Auto => !stderr_is_terminal(),
        LogFormat::Text => false,
        LogFormat::Json => true,
    };
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_writer(stderr);
    if json {
        subscriber.json().flatten_event(true).init()
    } else {
        subscriber.with_ansi(stderr_has_color()).init()
    }
    Ok(())
}

/// Starts the logs of any other command: none unless asked for.
pub(crate) fn start_client(verbosity: Verbosity) {
    let filter = match verbosity.verbose {
        0 => return,
        1 => "varve=debug,varve_client=debug",
        _ => "trace",
    };
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(filter))
        .with_writer(stderr)
        .with_ansi(stderr_has_color())
        .init();
}
