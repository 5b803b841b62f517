//! The names on the disk: as the process sees them, and as a crash would leave them.

use super::file::Inode;
use super::{CrashMode, DirEntry};
use crate::Entropy;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What a name stands for.
#[derive(Clone, Debug)]
pub(super) enum Node {
    Dir,
    File(Arc<Inode>),
}

/// A change of names that is not durable yet.
#[derive(Clone, Debug)]
pub(super) enum Change {
    Create(PathBuf, Node),
    Remove(PathBuf),
    Rename(PathBuf, PathBuf),
}

type Tree = BTreeMap<PathBuf, Node>;

/// The live tree, the durable one, and the changes between them in order.
#[derive(Debug, Default)]
pub(super) struct Names {
    live: Tree,
    durable: Tree,
    unsynced: Vec<Change>,
}

impl Names {
    pub(super) fn file(&self, path: &Path) -> io::Result<Arc<Inode>> {
        match self.live.get(path) {
            Some(Node::File(inode)) => Ok(Arc::clone(inode)),
            Some(Node::Dir) => Err(io::ErrorKind::IsADirectory.into()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    pub(super) fn dir(&self, path: &Path) -> io::Result<()> {
        if path.parent().is_none() {
            // The root, or the place that relative paths start from.
            return Ok(());
        }
        match self.live.get(path) {
            Some(Node::Dir) => Ok(()),
            Some(Node::File(_)) => Err(io::ErrorKind::NotADirectory.into()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    pub(super) fn create(&mut self, path: &Path, node: Node) -> io::Result<()> {
        if self.live.contains_key(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        self.dir(parent(path))?;
        self.change(Change::Create(path.to_owned(), node));
        Ok(())
    }

    pub(super) fn create_dir_all(&mut self, path: &Path) -> io::Result<()> {
        let mut missing: Vec<&Path> = path.ancestors().collect();
        missing.reverse();
        for dir in missing.into_iter().filter(|dir| dir.parent().is_some()) {
            match self.live.get(dir) {
                Some(Node::Dir) => {}
                Some(Node::File(_)) => return Err(io::ErrorKind::NotADirectory.into()),
                None => self.change(Change::Create(dir.to_owned(), Node::Dir)),
            }
        }
        Ok(())
    }

    pub(super) fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        self.dir(path)?;
        let inside = self.live.iter().filter(|(name, _)| name.parent() == Some(path));
        Ok(inside
            .map(|(name, node)| DirEntry {
                name: name.file_name().unwrap_or_default().to_string_lossy().into_owned(),
                is_dir: matches!(node, Node::Dir),
                len_bytes: node.len_bytes(),
            })
            .collect())
    }

    pub(super) fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        if !self.live.contains_key(from) {
            return Err(io::ErrorKind::NotFound.into());
        }
        self.dir(parent(to))?;
        self.change(Change::Rename(from.to_owned(), to.to_owned()));
        Ok(())
    }

    /// Makes a change live and remembers it until a directory that it touched is synced.
    pub(super) fn change(&mut self, change: Change) {
        apply(&mut self.live, &change);
        self.unsynced.push(change);
    }

    /// Commits every change up to the last one that touched the directory, as a journal does.
    pub(super) fn sync_dir(&mut self, path: &Path) -> io::Result<()> {
        self.dir(path)?;
        if let Some(last) = self.unsynced.iter().rposition(|change| change.touches(path)) {
            self.commit(last + 1);
        }
        Ok(())
    }

    pub(super) fn crash(&mut self, mode: CrashMode, entropy: &dyn Entropy) {
        let kept = match mode {
            CrashMode::SyncedOnly => 0,
            CrashMode::Torn => below(entropy, self.unsynced.len() + 1),
            CrashMode::ProcessOnly => self.unsynced.len(),
        };
        self.commit(kept);
        self.unsynced.clear();
        self.live = self.durable.clone();
        for node in self.live.values() {
            if let Node::File(inode) = node {
                inode.crash(mode, entropy);
            }
        }
    }

    pub(super) fn files(&self) -> Vec<PathBuf> {
        let files = self.live.iter().filter(|(_, node)| matches!(node, Node::File(_)));
        files.map(|(path, _)| path.clone()).collect()
    }

    pub(super) fn used_bytes(&self) -> u64 {
        self.live.values().map(Node::len_bytes).sum()
    }

    /// A deep copy: the same inode in two trees stays one inode.
    pub(super) fn fork(&self) -> Self {
        let mut copies: BTreeMap<*const Inode, Arc<Inode>> = BTreeMap::new();
        let mut copy = |node: &Node| match node {
            Node::Dir => Node::Dir,
            Node::File(inode) => {
                let forked = copies.entry(Arc::as_ptr(inode)).or_insert_with(|| Arc::new(inode.fork()));
                Node::File(Arc::clone(forked))
            }
        };
        let live = self.live.iter().map(|(path, node)| (path.clone(), copy(node))).collect();
        let durable = self.durable.iter().map(|(path, node)| (path.clone(), copy(node))).collect();
        let unsynced = self.unsynced.iter().map(|change| match change {
            Change::Create(path, node) => Change::Create(path.clone(), copy(node)),
            other => other.clone(),
        });
        let unsynced = unsynced.collect();
        Self { live, durable, unsynced }
    }

    fn commit(&mut self, changes: usize) {
        for change in self.unsynced.drain(..changes) {
            apply(&mut self.durable, &change);
        }
    }
}

impl Node {
    fn len_bytes(&self) -> u64 {
        match self {
            Self::Dir => 0,
            Self::File(inode) => inode.len_bytes(),
        }
    }
}

impl Change {
    fn touches(&self, dir: &Path) -> bool {
        match self {
            Self::Create(path, _) | Self::Remove(path) => path.parent() == Some(dir),
            Self::Rename(from, to) => from.parent() == Some(dir) || to.parent() == Some(dir),
        }
    }
}

fn apply(tree: &mut Tree, change: &Change) {
    match change {
        Change::Create(path, node) => {
            tree.insert(path.clone(), node.clone());
        }
        Change::Remove(path) => tree.retain(|name, _| !name.starts_with(path)),
        Change::Rename(from, to) => {
            let moved: Vec<_> = tree.keys().filter(|name| name.starts_with(from)).cloned().collect();
            for name in moved {
                let Ok(rest) = name.strip_prefix(from) else { continue };
                let target = if rest.as_os_str().is_empty() { to.clone() } else { to.join(rest) };
                if let Some(node) = tree.remove(&name) {
                    tree.insert(target, node);
                }
            }
        }
    }
}

fn parent(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new(""))
}

/// A number below a small bound.
pub(super) fn below(entropy: &dyn Entropy, bound: usize) -> usize {
    usize::try_from(entropy.below(bound as u64)).unwrap_or(0)
}
