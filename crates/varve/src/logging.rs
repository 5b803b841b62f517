//! Logs, on standard error.

use std::collections::VecDeque;
use std::io::{self, Write, stderr};
use std::sync::{Arc, Mutex, PoisonError};

use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry, reload};

use crate::cli::Verbosity;
use crate::config::{LogFormat, ServerConfig};
use crate::failure::Failure;
use crate::terminal::{stderr_has_color, stderr_is_terminal};

/// The target of the one event that is always logged: that the server is ready.
pub(crate) const READY: &str = "varve::ready";

/// Whoever can send a datagram decides how often this says something: what of it matters to an operator we say ourselves. A filter
/// that names it has it back.
const DECIDED_BY_STRANGERS: &str = "memberlist_core=off,";

/// What is said of consensus, gossip and exports at `info` is for those who work on them: it comes with any other level. serf warns
/// of every stop that is no leave, which is how all of ours are.
const QUIET_LIBRARIES: &str =
    "openraft=error,memberlist=off,memberlist_core=off,memberlist_net=error,serf=error,serf_core=error,";

/// Bytes of the newest lines that are kept.
const RECENT_BYTES_MAX: usize = 1024 * 1024;

/// What a server logs: it can be changed while it runs, and looked at. A clone is another handle.
#[derive(Clone, Debug)]
pub(crate) struct Logs {
    filter: Arc<Mutex<String>>,
    handle: reload::Handle<EnvFilter, Registry>,
    recent: Recent,
}

impl Logs {
    /// What is logged.
    pub(crate) fn filter(&self) -> String {
        self.filter.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Logs something else from now on.
    ///
    /// # Errors
    /// If the filter is none.
    pub(crate) fn set_filter(&self, filter: &str) -> Result<(), String> {
        let parsed = parse(filter)?;
        self.handle.reload(parsed).map_err(|error| error.to_string())?;
        filter.clone_into(&mut self.filter.lock().unwrap_or_else(PoisonError::into_inner));
        Ok(())
    }

    /// The newest lines.
    pub(crate) fn recent(&self) -> Vec<u8> {
        let lines = self.recent.0.lock().unwrap_or_else(PoisonError::into_inner);
        lines.lines.iter().flatten().copied().collect()
    }
}

/// Starts the logs of a server.
///
/// # Errors
/// If the filter is none.
pub(crate) fn start_server(config: &ServerConfig, verbosity: Verbosity) -> Result<Logs, Failure> {
    let by_flags = match (verbosity.quiet, verbosity.verbose) {
        (true, _) => "warn",
        (false, 0) => "info",
        (false, 1) => "debug",
        (false, _) => "trace",
    };
    let level = config.log_level.as_deref().unwrap_or(by_flags);
    let filter = parse(level).map_err(|problem| Failure::usage(format!("log-level: {problem}")))?;
    let json = match config.log_format {
        LogFormat::Auto => !stderr_is_terminal(),
        LogFormat::Text => false,
        LogFormat::Json => true,
    };
    let recent = Recent::default();
    let lines = tracing_subscriber::fmt::layer().with_writer(recent.clone());
    let lines = if json {
        lines.json().flatten_event(true).boxed()
    } else {
        lines.with_ansi(stderr_has_color()).boxed()
    };
    let (filter, handle) = reload::Layer::new(filter);
    tracing_subscriber::registry().with(filter).with(lines).init();
    Ok(Logs { filter: Arc::new(Mutex::new(level.to_owned())), handle, recent })
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

/// A level, or a filter by modules, with what is always so.
fn parse(level: &str) -> Result<EnvFilter, String> {
    let quiet = if level == "info" { QUIET_LIBRARIES } else { DECIDED_BY_STRANGERS };
    EnvFilter::try_new(format!("{quiet}{level},{READY}=info"))
        .map_err(|error| format!("{level:?} is no filter: {error}"))
}

/// The newest lines, which go to standard error as well.
#[derive(Clone, Debug, Default)]
struct Recent(Arc<Mutex<Lines>>);

#[derive(Debug, Default)]
struct Lines {
    lines: VecDeque<Vec<u8>>,
    bytes: usize,
}

impl Lines {
    fn push(&mut self, line: &[u8]) {
        self.bytes += line.len();
        self.lines.push_back(line.to_vec());
        while self.bytes > RECENT_BYTES_MAX {
            let Some(oldest) = self.lines.pop_front() else { break };
            self.bytes -= oldest.len();
        }
    }
}

impl Write for &Recent {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(line);
        stderr().write_all(line)?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        stderr().flush()
    }
}

impl<'a> MakeWriter<'a> for Recent {
    type Writer = &'a Self;

    fn make_writer(&'a self) -> &'a Self {
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_lines_are_kept_and_no_more() {
        let mut lines = Lines::default();
        let line = [b'x'; 1000];
        (0..3000).for_each(|_| lines.push(&line));
        assert!(lines.bytes <= RECENT_BYTES_MAX && lines.bytes > RECENT_BYTES_MAX - 2000);
        assert_eq!(lines.bytes, lines.lines.iter().map(Vec::len).sum::<usize>());
    }

    #[test]
    fn what_is_no_filter_is_refused() {
        for good in ["info", "warn", "debug", "info,varve_server=debug", "off"] {
            assert!(parse(good).is_ok(), "{good}");
        }
        for bad in ["varve=loud", "a=b=c"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
