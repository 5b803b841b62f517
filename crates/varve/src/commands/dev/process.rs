//! A node that runs.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;
use std::process::{ExitStatus, Stdio};

use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::{mpsc, oneshot};

use super::node::Node;
use crate::failure::{Exit, Failure};
use crate::terminal::one_line;

/// How much of a log's end is shown.
const LAST_LINES: usize = 8;
const LAST_BYTES: u64 = 16 * 1024;
/// Where a line of it is cut off, in characters.
const LINE_CHARS_MAX: usize = 400;

/// A process of this program. It stops when its standard input ends, and so never outlives this one.
pub(super) struct Process {
    /// Which node it is.
    pub(super) index: usize,
    /// Its process id.
    pub(super) pid: u32,
    stdin: Option<ChildStdin>,
    kill: Option<oneshot::Sender<()>>,
}

/// A process that has ended.
#[derive(Debug)]
pub(super) struct Ended {
    /// Which node it was.
    pub(super) index: usize,
    /// How.
    pub(super) status: String,
    /// What it said last.
    pub(super) last_lines: Vec<String>,
    by_signal: bool,
    /// What it was told is no setting.
    pub(super) by_usage: bool,
}

impl Ended {
    /// Whether it was its own doing, so that its log may tell why.
    pub(super) fn by_itself(&self) -> bool {
        !self.by_signal
    }
}

impl Process {
    /// Starts it, and has its end told.
    ///
    /// # Errors
    /// If its log cannot be opened, or the system does not start it.
    pub(super) fn spawn(
        index: usize,
        node: &Node,
        arguments: &[String],
        ended: mpsc::Sender<Ended>,
    ) -> Result<Self, Failure> {
        let failed = |error: std::io::Error| {
            Failure::new(Exit::General, format!("cannot start {}: {error}", node.name))
        };
        let path = node.log();
        let log = File::options().create(true).append(true).open(&path);
        let log = log.map_err(|error| Failure::file("open", path.display(), &error))?;
        let begin = log.metadata().map_or(0, |metadata| metadata.len());
        let mut command = Command::new(std::env::current_exe().map_err(failed)?);
        command.args(arguments).args(["--log-format", "text", "--stop-with-stdin"]);
        // What is set for other commands, or other servers, is not meant for these.
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("VARVE_"))
        {
            command.env_remove(name);
        }
        // A group of its own: Ctrl-C is for this process, which then stops them in good order.
        command.process_group(0).kill_on_drop(true);
        command.stdin(Stdio::piped()).stdout(log.try_clone().map_err(failed)?).stderr(log);
        let mut child = command.spawn().map_err(failed)?;
        let (pid, stdin) = (child.id().unwrap_or_default(), child.stdin.take());
        let (kill, killed) = oneshot::channel();
        varve_env::spawn_task(async move {
            let status = end_of(&mut child, killed).await;
            let last_lines = last_lines(&path, begin);
            // Nobody listens only where this process is ending, too.
            let _ = ended.send(Ended::new(index, status, last_lines)).await;
        });
        Ok(Self { index, pid, stdin, kill: Some(kill) })
    }

    /// Asks it to stop, as SIGTERM would.
    pub(super) fn stop(&mut self) {
        self.stdin = None;
    }

    /// Ends it at once.
    pub(super) fn kill(&mut self) {
        if let Some(kill) = self.kill.take() {
            // It may have ended by itself.
            let _ = kill.send(());
        }
    }
}

impl Ended {
    fn new(index: usize, status: std::io::Result<ExitStatus>, last_lines: Vec<String>) -> Self {
        let by_usage = status.as_ref().is_ok_and(|status| status.code() == Some(Exit::Usage as i32));
        let by_signal = status.as_ref().is_ok_and(|status| status.code().is_none());
        let status = status.map_or_else(|error| format!("unknown: {error}"), |status| status.to_string());
        Self { index, status, last_lines, by_signal, by_usage }
    }
}

async fn end_of(child: &mut Child, killed: oneshot::Receiver<()>) -> std::io::Result<ExitStatus> {
    tokio::select! {
        status = child.wait() => status,
        Ok(()) = killed => {
            child.start_kill()?;
            child.wait().await
        }
    }
}

/// The end of a log, from `begin` on.
fn last_lines(path: &Path, begin: u64) -> Vec<String> {
    // A courtesy, for which nothing must fail.
    let text = read_end(path, begin).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    let last = &lines[lines.len().saturating_sub(LAST_LINES)..];
    last.iter().map(|line| one_line(&line.chars().take(LINE_CHARS_MAX).collect::<String>())).collect()
}

fn read_end(path: &Path, begin: u64) -> std::io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    let len = file.metadata()?.len();
    file.seek(SeekFrom::Start(begin.max(len.saturating_sub(LAST_BYTES))))?;
    let mut text = Vec::new();
    file.take(LAST_BYTES).read_to_end(&mut text)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_log_only_the_end_of_this_run_is_shown() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("log");
        let text: String = (0..100).map(|line| format!("line {line}\n")).collect();
        std::fs::write(&path, &text).expect("written");
        assert_eq!(last_lines(&path, 0).last().map(String::as_str), Some("line 99"));
        assert_eq!(last_lines(&path, 0).len(), LAST_LINES);
        assert_eq!(last_lines(&path, text.len() as u64 - 8), ["line 99"]);
        assert!(last_lines(&path, text.len() as u64).is_empty());
        assert!(last_lines(&dir.path().join("none"), 0).is_empty());
    }
}
