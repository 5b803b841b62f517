//! The directory of a cluster: `dev.json` says what nodes it has, and each has a directory and a log.

use std::fs::{DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tempfile::TempDir;
use varve_gossip::GossipKey;

use super::credentials::Credentials;
use super::node::Node;
use super::ports::{self, Ports};
use crate::cli::Verbosity;
use crate::commands::gossip::key_failure;
use crate::failure::{Exit, Failure};

/// Nodes where nothing is said.
const NODES: usize = 3;
const PLAN_FILE: &str = "dev.json";
const LOCK_FILE: &str = "dev.lock";
const KEY_FILE: &str = "gossip.key";

/// The directory, which nobody else runs a cluster in meanwhile.
pub(super) struct Home {
    dir: PathBuf,
    temporary: Option<TempDir>,
    _lock: File,
}

/// What nodes there are, as they were last started.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Plan {
    nodes: Vec<Ports>,
}

impl Home {
    /// Opens this directory, or makes a temporary one.
    ///
    /// # Errors
    /// If it cannot be made, is in use, or holds something else.
    pub(super) fn open(dir: Option<&Path>) -> Result<Self, Failure> {
        let (dir, temporary) = match dir {
            Some(dir) => (made(dir)?, None),
            None => {
                let made = tempfile::Builder::new().prefix("varve-dev-").tempdir();
                let made = made.map_err(|error| Failure::file("create", "a temporary directory", &error))?;
                (made.path().to_owned(), Some(made))
            }
        };
        let lock = lock(&dir)?;
        Ok(Self { dir, temporary, _lock: lock })
    }

    /// The directory.
    pub(super) fn path(&self) -> &Path {
        &self.dir
    }

    /// Whether it goes away at the end.
    pub(super) fn is_temporary(&self) -> bool {
        self.temporary.is_some()
    }

    /// The nodes to run: those that are there already, and more of them if that is wanted. Where they listen is chosen
    /// now, and kept; the key that they share is made if there is none, and so is what they are `secured` by.
    ///
    /// # Errors
    /// If there are more nodes already, the ports asked for are taken, or files cannot be read or written.
    pub(super) fn nodes(
        &self,
        wanted: Option<usize>,
        port: Option<u16>,
        secured: bool,
        verbosity: Verbosity,
    ) -> Result<(Vec<Node>, Option<Credentials>), Failure> {
        let before = self.read_plan()?.nodes;
        let count = match (wanted, before.len()) {
            (None, 0) => NODES,
            (None, there) => there,
            (Some(wanted), there) if wanted < there => {
                let message =
                    format!("{} holds a cluster of {there} nodes, not {wanted}", self.dir.display());
                return Err(Failure::usage(message).hint("leave --nodes out, or name another directory"));
            }
            (Some(wanted), _) => wanted,
        };
        let nodes = ports::choose(count, port, &before, verbosity)?;
        self.write_plan(&Plan { nodes: nodes.clone() })?;
        let key = self.dir.join(KEY_FILE);
        if !key.exists() {
            let made = GossipKey::generate().and_then(|made| made.write_file(&key));
            made.map_err(|error| key_failure(&error))?;
        }
        let names: Vec<String> = (1..=nodes.len()).map(Node::name).collect();
        let credentials = secured.then(|| Credentials::prepare(&self.dir, &names)).transpose()?;
        let node = |(at, ports)| {
            let node = Node::new(&self.dir, at + 1, ports, &key);
            let security = credentials.as_ref().map(|credentials| credentials.settings(&node.name));
            node.secured(security.unwrap_or_default())
        };
        let nodes = nodes.into_iter().enumerate().map(node).collect();
        Ok((nodes, credentials))
    }

    /// Ends with the cluster. A temporary directory goes, unless there is a reason to leave it.
    pub(super) fn close(self, to_leave_it: Option<String>, verbosity: Verbosity) {
        let Some(temporary) = self.temporary else { return };
        if let Some(reason) = to_leave_it {
            let _ = temporary.keep();
            verbosity.say(&format!("{} is left there: {reason}", self.dir.display()));
        } else if let Err(error) = temporary.close() {
            verbosity.say(&format!("cannot remove {}: {error}", self.dir.display()));
        }
    }

    fn read_plan(&self) -> Result<Plan, Failure> {
        let path = self.dir.join(PLAN_FILE);
        let text = match std::fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Plan::default()),
            Err(error) => return Err(Failure::file("read", path.display(), &error)),
        };
        serde_json::from_slice(&text)
            .map_err(|error| Failure::new(Exit::General, format!("{} is damaged: {error}", path.display())))
    }

    fn write_plan(&self, plan: &Plan) -> Result<(), Failure> {
        let path = self.dir.join(PLAN_FILE);
        let temporary = path.with_extension("json.tmp");
        let write = || -> io::Result<()> {
            std::fs::write(&temporary, serde_json::to_vec_pretty(plan)?)?;
            std::fs::rename(&temporary, &path)
        };
        write().map_err(|error| Failure::file("write", path.display(), &error))
    }
}

/// The directory, absolute, since it is named in commands for other terminals.
fn made(dir: &Path) -> Result<PathBuf, Failure> {
    let failed = |verb: &str, error: &io::Error| Failure::file(verb, dir.display(), error);
    DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(|error| failed("create", &error))?;
    let dir = dir.canonicalize().map_err(|error| failed("open", &error))?;
    let mut entries = std::fs::read_dir(&dir).map_err(|error| failed("read", &error))?;
    let is_ours = dir.join(PLAN_FILE).exists() || dir.join(LOCK_FILE).exists();
    if !is_ours && entries.next().is_some() {
        let message = format!("{} is not empty, and `varve dev` has not made it", dir.display());
        return Err(Failure::new(Exit::Precondition, message).hint("name a new directory with --data-dir"));
    }
    Ok(dir)
}

fn lock(dir: &Path) -> Result<File, Failure> {
    let path = dir.join(LOCK_FILE);
    let lock = File::options().create(true).truncate(false).write(true).open(&path);
    let lock = lock.map_err(|error| Failure::file("open", path.display(), &error))?;
    lock.try_lock().map_err(|_| {
        let message = format!("another `varve dev` runs in {}", dir.display());
        Failure::new(Exit::Precondition, message).hint("stop it, or name another directory with --data-dir")
    })?;
    Ok(lock)
}
