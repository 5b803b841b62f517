//! The file that the contexts are kept in.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use super::Contexts;
use crate::failure::{Exit, Failure};

/// Most bytes of the file: far more than anybody names.
const FILE_BYTES_MAX: u64 = 1024 * 1024;
/// How often the lock is tried for, and the pause between.
const LOCK_ATTEMPTS: u32 = 500;
const LOCK_PAUSE: Duration = Duration::from_millis(10);

/// `varve/contexts.json` in the user's directory for configuration. Only its owner may read it.
#[derive(Debug, Clone)]
pub(crate) struct ContextFile(PathBuf);

impl ContextFile {
    /// That of the user, by `XDG_CONFIG_HOME` (XDG Base Directory Specification), else `HOME`. `None` for those who have
    /// neither, as in a container.
    pub(crate) fn of_user() -> Option<Self> {
        // The specification has paths that are not absolute ignored.
        let path = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let dir = path("XDG_CONFIG_HOME").or_else(|| path("HOME").map(|home| home.join(".config")))?;
        Some(Self(dir.join("varve").join("contexts.json")))
    }

    /// The same, for those who cannot do without.
    ///
    /// # Errors
    /// If there is none.
    pub(crate) fn required() -> Result<Self, Failure> {
        Self::of_user().ok_or_else(|| {
            let failure = Failure::new(Exit::General, "there is no directory to keep contexts in");
            failure.hint("set HOME or XDG_CONFIG_HOME, or name servers with --server or VARVE_SERVER")
        })
    }

    #[cfg(test)]
    pub(crate) fn path(&self) -> &std::path::Path {
        &self.0
    }

    /// What it holds; nothing where there is no file.
    ///
    /// # Errors
    /// If it cannot be read, or is none of ours.
    pub(crate) fn read(&self) -> Result<Contexts, Failure> {
        let file = match File::open(&self.0) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Contexts::default()),
            Err(error) => return Err(self.failed("read", &error)),
        };
        let mut text = String::new();
        file.take(FILE_BYTES_MAX).read_to_string(&mut text).map_err(|error| self.failed("read", &error))?;
        serde_json::from_str(&text).map_err(|error| {
            let failure = Failure::new(Exit::General, format!("{} is damaged: {error}", self.0.display()));
            failure.hint("mend or remove it; --server and VARVE_SERVER do without it")
        })
    }

    /// Changes what it holds: all or nothing, and one change at a time.
    ///
    /// # Errors
    /// Those of `change`, or if the file cannot be read or written.
    pub(crate) fn change<T>(
        &self,
        change: impl FnOnce(&mut Contexts) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        if let Some(dir) = self.0.parent() {
            let made = DirBuilder::new().recursive(true).mode(0o700).create(dir);
            made.map_err(|error| Failure::file("create", dir.display(), &error))?;
        }
        let _lock = self.lock()?;
        let mut contexts = self.read()?;
        let before = contexts.clone();
        let result = change(&mut contexts)?;
        if contexts != before {
            self.write(&contexts).map_err(|error| self.failed("write", &error))?;
        }
        Ok(result)
    }

    fn lock(&self) -> Result<File, Failure> {
        let path = self.0.with_extension("lock");
        let lock = private().create(true).truncate(false).write(true).open(&path);
        let lock = lock.map_err(|error| Failure::file("open", path.display(), &error))?;
        for _ in 0..LOCK_ATTEMPTS {
            if lock.try_lock().is_ok() {
                return Ok(lock);
            }
            thread::sleep(LOCK_PAUSE);
        }
        Err(Failure::new(Exit::Precondition, format!("another process holds {}", path.display())))
    }

    fn write(&self, contexts: &Contexts) -> io::Result<()> {
        let temporary = self.0.with_extension("json.tmp");
        let mut file = private().create(true).truncate(true).write(true).open(&temporary)?;
        serde_json::to_writer_pretty(&mut file, contexts)?;
        file.write_all(b"\n")?;
        file.sync_all()?;
        std::fs::rename(&temporary, &self.0)
    }

    fn failed(&self, verb: &str, error: &io::Error) -> Failure {
        Failure::file(verb, self.0.display(), error)
    }
}

/// For files that are nobody else's business.
fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.mode(0o600);
    options
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;

    use super::*;
    use crate::context::{Context, ContextName};

    #[test]
    fn what_is_written_is_read_and_private() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = ContextFile(dir.path().join("varve").join("contexts.json"));
        assert_eq!(file.read().expect("nothing yet"), Contexts::default());
        let put = |contexts: &mut Contexts| {
            contexts.put(ContextName::dev(), Context::new("varve://a:1".into(), None));
            Ok(())
        };
        file.change(put).expect("written");
        assert!(file.read().expect("read").get(&ContextName::dev()).is_ok());
        let mode = |path: &Path| std::fs::metadata(path).expect("there").permissions().mode() & 0o777;
        assert_eq!(mode(file.path()), 0o600);
        assert_eq!(mode(&dir.path().join("varve")), 0o700);
    }

    #[test]
    fn a_damaged_file_is_named_and_kept() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = ContextFile(dir.path().join("contexts.json"));
        std::fs::write(file.path(), "{").expect("written");
        let failure = file.change(|_| Ok(())).expect_err("damaged");
        assert!(failure.message.contains("contexts.json is damaged"), "{}", failure.message);
        assert_eq!(std::fs::read_to_string(file.path()).expect("there"), "{");
    }
}
