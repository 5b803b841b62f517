//! For whoever hunts a failure: one switch for debug logs and spans of a test binary.

use std::fs::OpenOptions;
use std::path::Path;
use std::sync::{Mutex, OnceLock};

use tracing_subscriber::EnvFilter;
use varve_telemetry::Telemetry;

use crate::{ExportSettings, Exporter};

/// The directory that they go to: `NAME-PID.log`, and `NAME-PID.spans.jsonl` with a span a line. Unset, nothing is kept.
pub const SWITCH: &str = "VARVE_TEST_TRACE";

/// What was started, for as long as the process runs: the last spans go out within a second.
static STARTED: OnceLock<Option<(Exporter, Telemetry)>> = OnceLock::new();

/// What a test's nodes are to tell: nothing, unless the switch is set.
///
/// # Panics
/// Where the directory cannot be written to.
#[must_use]
pub fn telemetry(name: &str) -> Telemetry {
    let started = STARTED.get_or_init(|| {
        let dir = std::env::var_os(SWITCH).filter(|dir| !dir.is_empty())?;
        Some(start(name, Path::new(&dir)))
    });
    started.as_ref().map_or_else(Telemetry::off, |(_, telemetry)| telemetry.clone())
}

fn start(name: &str, dir: &Path) -> (Exporter, Telemetry) {
    let stem = format!("{name}-{}", std::process::id());
    let log = OpenOptions::new().append(true).create(true).open(dir.join(format!("{stem}.log")));
    let log = log.expect("the directory of VARVE_TEST_TRACE is there, and can be written to");
    let filter = EnvFilter::new("debug,openraft=info,memberlist_core=off");
    // Another may have been set up: then its lines are kept, and not these.
    drop(
        tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_ansi(false)
            .with_writer(Mutex::new(log))
            .try_init(),
    );
    let settings = ExportSettings {
        service: "varve",
        instance: stem.clone(),
        version: "test",
        otlp: None,
        trace_ratio: 1.0,
        trace_file: Some(dir.join(format!("{stem}.spans.jsonl"))),
    };
    Exporter::start(&settings).expect("the directory of VARVE_TEST_TRACE can be written to")
}
