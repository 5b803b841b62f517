//! The bar that shows how far a produce has come: on a terminal only.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::cli::Verbosity;
use crate::terminal::stderr_is_terminal;
use crate::units::human_count;

const OF_FILES: &str =
    "{wide_bar} {binary_bytes}/{binary_total_bytes}  {binary_bytes_per_sec}  eta {eta}  {msg}";
const OF_PIPE: &str = "{spinner} {binary_bytes}  {binary_bytes_per_sec}  {msg}";
const TICK: Duration = Duration::from_millis(200);

/// Shows what was read and what was acknowledged.
pub(crate) struct Progress(Option<ProgressBar>);

impl Progress {
    /// Begins, for so many bytes where that is known.
    pub(crate) fn start(len: Option<u64>, verbosity: Verbosity) -> Self {
        if verbosity.quiet || !stderr_is_terminal() {
            return Self(None);
        }
        let bar = ProgressBar::with_draw_target(len, ProgressDrawTarget::stderr());
        let template = if len.is_some() { OF_FILES } else { OF_PIPE };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.progress_chars("=> "));
        }
        bar.enable_steady_tick(TICK);
        Self(Some(bar))
    }

    /// So many more bytes were read and sent.
    pub(crate) fn read(&self, bytes: u64) {
        if let Some(bar) = &self.0 {
            bar.inc(bytes);
        }
    }

    /// So many records were acknowledged in all.
    pub(crate) fn acknowledged(&self, records: u64) {
        if let Some(bar) = &self.0 {
            bar.set_message(format!("{} acknowledged", human_count(records)));
        }
    }

    /// Makes room for the summary.
    pub(crate) fn finish(&self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}
