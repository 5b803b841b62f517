//! Disks that are small, so that they can be filled: a `tmpfs` for each node.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::network::say_not_run;
use crate::support::run;

/// Room for a node that keeps little.
const SIZE: &str = "size=64m";
/// What the names of all disks of tests begin with; the process's number follows, and tells what an earlier run left.
const PREFIX: &str = "varve-test-";

/// Disks that were made. They are gone when this is dropped.
#[derive(Default)]
pub(super) struct SmallDisks(Vec<PathBuf>);

/// Runs a test that makes small disks, where this machine lets us make any, and says so where it does not.
pub(super) fn on_small_disks(test: impl FnOnce(SmallDisks)) {
    sweep();
    let dir = tempfile::tempdir().unwrap();
    let mut disks = SmallDisks::default();
    match disks.try_make(dir.path()) {
        Ok(()) => {
            // That was only to see whether it goes.
            drop(disks);
            test(SmallDisks::default());
        }
        Err(reason) => say_not_run(&reason),
    }
}

impl SmallDisks {
    pub(super) fn make(&mut self, at: &Path) {
        std::fs::create_dir(at).unwrap();
        self.try_make(at).unwrap();
    }

    fn try_make(&mut self, at: &Path) -> Result<(), String> {
        if !cfg!(target_os = "linux") || !rustix::process::geteuid().is_root() {
            return Err("it needs root on Linux, to mount a small disk".to_owned());
        }
        let name = format!("{PREFIX}{}", std::process::id());
        let mounted = run(Command::new("mount").args(["-t", "tmpfs", "-o", SIZE, &name]).arg(at));
        if mounted.code != Some(0) {
            return Err(format!("no small disk can be mounted: {}", mounted.stderr.trim()));
        }
        self.0.push(at.to_owned());
        Ok(())
    }
}

impl Drop for SmallDisks {
    fn drop(&mut self) {
        self.0.iter().for_each(|at| unmount(at));
    }
}

/// Removes what a run that was killed has left.
fn sweep() {
    let mounts = std::fs::read_to_string("/proc/mounts").unwrap_or_default();
    let left = mounts.lines().filter_map(|line| {
        let mut fields = line.split(' ');
        let process = fields.next()?.strip_prefix(PREFIX)?;
        (!Path::new("/proc").join(process).exists()).then(|| fields.next())?
    });
    left.for_each(|at| unmount(Path::new(at)));
}

fn unmount(at: &Path) {
    // Also where something has a file open still; and where this fails, the next run sweeps.
    let _ = Command::new("umount").arg("--lazy").arg(at).status();
}
