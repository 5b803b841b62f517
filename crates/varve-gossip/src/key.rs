//! The keys that gossip is encrypted with.

use std::fmt;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use zeroize::{Zeroize, Zeroizing};

/// Most keys of one ring: the protocol has room for three.
pub const KEYS_MAX: usize = 3;

/// Most bytes of a key file.
const KEY_FILE_BYTES_MAX: u64 = 4096;

const KEY_BYTES_MAX: usize = 32;

/// A key of 16, 24 or 32 bytes for AES-GCM. Its memory is wiped when it is dropped, and it never shows in `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct GossipKey {
    bytes: [u8; KEY_BYTES_MAX],
    len: usize,
}

impl GossipKey {
    /// A new key of 32 random bytes.
    ///
    /// # Errors
    ///
    /// The operating system gives no randomness.
    pub fn generate() -> Result<Self, GossipKeyError> {
        let mut bytes = [0; KEY_BYTES_MAX];
        getrandom::fill(&mut bytes)
            .map_err(|source| GossipKeyError::NoRandomness { reason: source.to_string() })?;
        Ok(Self { bytes, len: KEY_BYTES_MAX })
    }

    /// A key of these bytes.
    ///
    /// # Errors
    ///
    /// There are not 16, 24 or 32 of them.
    pub fn from_bytes(key: &[u8]) -> Result<Self, GossipKeyError> {
        if !matches!(key.len(), 16 | 24 | 32) {
            return Err(GossipKeyError::Length { len: key.len() });
        }
        let mut bytes = [0; KEY_BYTES_MAX];
        bytes[..key.len()].copy_from_slice(key);
        Ok(Self { bytes, len: key.len() })
    }

    /// A key as `serf keygen` and `consul keygen` print it.
    ///
    /// # Errors
    ///
    /// It is no base64, or not of 16, 24 or 32 bytes.
    pub fn from_base64(text: &str) -> Result<Self, GossipKeyError> {
        let bytes = Zeroizing::new(BASE64.decode(text.trim()).map_err(|_| GossipKeyError::Base64)?);
        Self::from_bytes(&bytes)
    }

    /// The key as base64, as it stands in a key file.
    pub fn to_base64(&self) -> Zeroizing<String> {
        Zeroizing::new(BASE64.encode(self.as_bytes()))
    }

    /// Writes the key to a new file that only its owner may read (mode 0600).
    ///
    /// # Errors
    ///
    /// The file exists already, or cannot be written.
    pub fn write_file(&self, path: &Path) -> Result<(), GossipKeyError> {
        write_lines(path, [self])
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

impl Drop for GossipKey {
    fn drop(&mut self) {
        self.bytes.zeroize();
    }
}

impl fmt::Debug for GossipKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GossipKey({} bits)", self.len * 8)
    }
}

/// The keys of a cluster: messages are encrypted with the first, and understood with any.
///
/// So keys are rotated: the new one is added behind the old on every node, then put first on every node, then the old one is
/// taken away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GossipKeyRing {
    primary: GossipKey,
    others: Vec<GossipKey>,
}

impl GossipKeyRing {
    /// Reads a key file: one key in base64 a line, the primary one first, at most [`KEYS_MAX`].
    ///
    /// # Errors
    ///
    /// The file cannot be read, may be read by others than its owner, or holds something else.
    pub fn read_file(path: &Path) -> Result<Self, GossipKeyError> {
        let failed = |source| GossipKeyError::Read { path: path.to_owned(), source };
        let file = File::open(path).map_err(failed)?;
        refuse_if_shared(path, &file)?;
        let mut text = Zeroizing::new(String::new());
        file.take(KEY_FILE_BYTES_MAX).read_to_string(&mut text).map_err(failed)?;
        let bad_line = |line: usize, source| GossipKeyError::BadLine {
            path: path.to_owned(),
            line,
            source: Box::new(source),
        };
        let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
        let keys =
            lines.map(|(at, line)| GossipKey::from_base64(line).map_err(|source| bad_line(at + 1, source)));
        let mut keys = keys.collect::<Result<Vec<_>, _>>()?.into_iter();
        let primary = keys.next().ok_or_else(|| GossipKeyError::NoKey { path: path.to_owned() })?;
        keys.try_fold(Self::from(primary), Self::with_secondary)
    }

    /// Writes the keys to a new file that only its owner may read (mode 0600).
    ///
    /// # Errors
    ///
    /// The file exists already, or cannot be written.
    pub fn write_file(&self, path: &Path) -> Result<(), GossipKeyError> {
        write_lines(path, std::iter::once(&self.primary).chain(&self.others))
    }

    /// Adds a key that messages are also understood with.
    ///
    /// # Errors
    ///
    /// The ring is full.
    pub fn with_secondary(mut self, key: GossipKey) -> Result<Self, GossipKeyError> {
        if self.others.len() + 1 == KEYS_MAX {
            return Err(GossipKeyError::TooMany);
        }
        self.others.push(key);
        Ok(self)
    }

    /// The key to encrypt with, and those that messages are also understood with.
    pub(crate) fn primary_and_others(&self) -> (&GossipKey, &[GossipKey]) {
        (&self.primary, &self.others)
    }
}

impl From<GossipKey> for GossipKeyRing {
    fn from(key: GossipKey) -> Self {
        Self { primary: key, others: Vec::new() }
    }
}

/// A key cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum GossipKeyError {
    /// The operating system gives no randomness.
    #[error("no randomness for a new gossip key: {reason}")]
    NoRandomness {
        /// What it said.
        reason: String,
    },
    /// The key is of a length that no cipher has.
    #[error("a gossip key has 16, 24 or 32 bytes, not {len}: make one with `varve gossip keygen`")]
    Length {
        /// How many bytes it has.
        len: usize,
    },
    /// The key is no base64.
    #[error("a gossip key is base64 in one line, and this is not")]
    Base64,
    /// There are more keys than the protocol has room for.
    #[error("a ring has {KEYS_MAX} gossip keys at most: take old ones away")]
    TooMany,
    /// A key file holds no key.
    #[error("gossip key file {path} holds no key")]
    NoKey {
        /// The file.
        path: PathBuf,
    },
    /// A line of a key file is no key.
    #[error("gossip key file {path}, line {line}: {source}")]
    BadLine {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong with it.
        source: Box<GossipKeyError>,
    },
    /// Others than its owner may read a key file.
    #[error(
        "gossip key file {path} may be read by others, or written by its group (mode {mode:04o}): run `chmod 600 {path}`"
    )]
    Shared {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// A key file cannot be read.
    #[error("gossip key file {path} cannot be read: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// A key file cannot be written.
    #[error("gossip key file {path} cannot be written: {source}")]
    Write {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
}

fn write_lines<'a>(path: &Path, keys: impl IntoIterator<Item = &'a GossipKey>) -> Result<(), GossipKeyError> {
    let failed = |source| GossipKeyError::Write { path: path.to_owned(), source };
    let mut text = Zeroizing::new(String::with_capacity(KEY_FILE_BYTES_MAX as usize));
    for key in keys {
        text.push_str(&key.to_base64());
        text.push('\n');
    }
    let mut file = create_private(path).map_err(failed)?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(failed)
}

#[cfg(unix)]
fn create_private(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    File::options().write(true).create_new(true).mode(0o600).open(path)
}

#[cfg(not(unix))]
fn create_private(path: &Path) -> io::Result<File> {
    File::options().write(true).create_new(true).open(path)
}

/// Looks at the open file, not at the path, which could name another by then.
#[cfg(unix)]
fn refuse_if_shared(path: &Path, file: &File) -> Result<(), GossipKeyError> {
    use std::os::unix::fs::PermissionsExt;
    let metadata =
        file.metadata().map_err(|source| GossipKeyError::Read { path: path.to_owned(), source })?;
    let mode = metadata.permissions().mode() & 0o7777;
    // Its group may read it: that is how orchestrators hand secrets over.
    if mode & 0o037 == 0 {
        return Ok(());
    }
    Err(GossipKeyError::Shared { path: path.to_owned(), mode })
}

#[cfg(not(unix))]
fn refuse_if_shared(_path: &Path, _file: &File) -> Result<(), GossipKeyError> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_comes_back_from_its_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("gossip.key");
        let key = GossipKey::generate().unwrap();
        key.write_file(&path).unwrap();
        assert_eq!(GossipKeyRing::read_file(&path).unwrap(), GossipKeyRing::from(key.clone()));
        assert!(
            matches!(key.write_file(&path), Err(GossipKeyError::Write { .. })),
            "it is never overwritten"
        );
        assert_ne!(GossipKey::generate().unwrap(), key);
    }

    #[cfg(unix)]
    #[test]
    fn a_file_that_others_may_read_is_refused_with_the_remedy() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("gossip.key");
        GossipKey::generate().unwrap().write_file(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        for mode in [0o660, 0o604, 0o666, 0o620] {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            let refused = GossipKeyRing::read_file(&path).unwrap_err().to_string();
            assert!(refused.contains(&format!("chmod 600 {}", path.display())), "{refused}");
        }
        for mode in [0o400, 0o440, 0o640] {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            GossipKeyRing::read_file(&path).unwrap();
        }
    }

    #[test]
    fn a_ring_has_one_to_three_keys_of_the_right_lengths() {
        let dir = tempfile::tempdir().unwrap();
        let read = |name: &str, text: &str| {
            let path = dir.path().join(name);
            create_private(&path).unwrap().write_all(text.as_bytes()).unwrap();
            GossipKeyRing::read_file(&path)
        };
        let keys: Vec<_> =
            [16, 24, 32].iter().map(|len| GossipKey::from_bytes(&vec![7; *len]).unwrap()).collect();
        let lines: Vec<_> = keys.iter().map(|key| key.to_base64().to_string()).collect();
        let full = read("three", &lines.join("\n")).unwrap();
        assert_eq!(full.primary_and_others(), (&keys[0], &keys[1..]));
        assert!(matches!(read("none", "\n\n"), Err(GossipKeyError::NoKey { .. })));
        assert!(matches!(
            read("four", &[lines.join("\n"), lines[0].clone()].join("\n")),
            Err(GossipKeyError::TooMany)
        ));
        assert!(matches!(read("garbage", "\n!!"), Err(GossipKeyError::BadLine { line: 2, .. })));
        assert!(matches!(read("short", "AAAA"), Err(GossipKeyError::BadLine { line: 1, .. })));
        assert!(matches!(
            GossipKeyRing::read_file(&dir.path().join("absent")),
            Err(GossipKeyError::Read { .. })
        ));
        assert!(matches!(full.with_secondary(GossipKey::generate().unwrap()), Err(GossipKeyError::TooMany)));
    }

    #[test]
    fn a_key_never_shows() {
        let key = GossipKey::from_bytes(&[0x41; 32]).unwrap();
        let shown = format!("{:?} {:?}", key, GossipKeyRing::from(key.clone()));
        assert!(
            !shown.contains("41") && !shown.contains("65") && !shown.contains(key.to_base64().as_str()),
            "{shown}"
        );
    }
}
