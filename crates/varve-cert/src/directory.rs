//! A directory of certificates and keys.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::authority::{Authority, AuthorityError};
use crate::describe::Description;
use crate::inspect::certificates;
use crate::issue::{Issued, PrivateKeyPem};
use crate::revocations::{RevocationError, Revocations};

/// Most bytes of a file that is read.
pub const PEM_FILE_BYTES_MAX: u64 = 1024 * 1024;

/// The authority's certificate, its key, and the list of what it revoked.
pub const AUTHORITY_FILE: &str = "ca.pem";
/// The authority's key, which no server needs.
pub const AUTHORITY_KEY_FILE: &str = "ca-key.pem";
/// The list of certificates that the authority revoked.
pub const REVOCATIONS_FILE: &str = "crl.pem";

const PRIVATE: u32 = 0o600;
const PUBLIC: u32 = 0o644;

/// What is done about a file that is there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    /// It stays, and that is an error.
    Keep,
    /// It is replaced.
    Replace,
}

/// A directory of an authority: `ca.pem`, `ca-key.pem`, `crl.pem`, and `NAME.pem` with `NAME-key.pem` for what it issued, as CFSSL
/// names them. Keys are only ever readable by their owner, and files appear whole or not at all.
#[derive(Clone, Debug)]
pub struct CertificateDir(PathBuf);

/// Where a certificate and its key were written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// The certificate.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

/// A directory of certificates cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    /// A file is there already.
    #[error("{path} exists already, and was left as it is")]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// The name is that of another file.
    #[error("{name:?} cannot be a certificate's name: its files would be taken for others")]
    Reserved {
        /// The name.
        name: String,
    },
    /// Others than its owner may read a key.
    #[error("{path} may be read by others (mode {mode:04o}): run `chmod 600 {path}`")]
    Shared {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// A certificate is there, and cannot be used.
    #[error("{path} is there, and cannot be used: {why}")]
    Unusable {
        /// The certificate.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// A file cannot be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// A file or directory cannot be written.
    #[error("cannot write {path}: {source}")]
    Write {
        /// The file or directory.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// The files of the authority are no authority's.
    #[error("{path}: {source}")]
    Authority {
        /// The authority's certificate.
        path: PathBuf,
        /// What is wrong.
        source: AuthorityError,
    },
    /// The list of revocations cannot be used.
    #[error("{path}: {source}")]
    Revocations {
        /// The list.
        path: PathBuf,
        /// What is wrong.
        source: RevocationError,
    },
}

impl CertificateDir {
    /// Makes the directory, with those above it, if it is not there: for its owner alone.
    ///
    /// # Errors
    ///
    /// It cannot be made.
    pub fn create(path: &Path) -> Result<Self, DirectoryError> {
        let failed = |source| DirectoryError::Write { path: path.to_owned(), source };
        if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            fs::create_dir_all(parent).map_err(failed)?;
        }
        match private_dir(path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => {}
            made => made.map_err(failed)?,
        }
        Ok(Self(path.to_owned()))
    }

    /// Takes a directory that is there.
    #[must_use]
    pub fn at(path: &Path) -> Self {
        Self(path.to_owned())
    }

    /// The directory itself.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Where a file of it is.
    #[must_use]
    pub fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Writes an authority.
    ///
    /// # Errors
    ///
    /// There is one already, or it cannot be written.
    pub fn write_authority(
        &self,
        authority: &Authority,
        existing: Existing,
    ) -> Result<Written, DirectoryError> {
        let written = Written { certificate: self.file(AUTHORITY_FILE), key: self.file(AUTHORITY_KEY_FILE) };
        write_pair(&written, authority.certificate_pem(), &authority.key(), existing)?;
        Ok(written)
    }

    /// Reads the authority.
    ///
    /// # Errors
    ///
    /// Its files cannot be read, are no authority's, or its key may be read by others.
    pub fn authority(&self) -> Result<Authority, DirectoryError> {
        let path = self.file(AUTHORITY_FILE);
        let key = PrivateKeyPem::new(read_private(&self.file(AUTHORITY_KEY_FILE))?);
        Authority::from_pem(&read(&path)?, &key).map_err(|source| DirectoryError::Authority { path, source })
    }

    /// Writes a certificate with its key, as `NAME.pem` and `NAME-key.pem`.
    ///
    /// # Errors
    ///
    /// There is one of that name already, the name is another file's, or it cannot be written.
    pub fn write_issued(
        &self,
        name: &str,
        issued: &Issued,
        existing: Existing,
    ) -> Result<Written, DirectoryError> {
        let is_path = name.is_empty() || name.contains(['/', '\0']) || name.starts_with('.');
        if is_path || matches!(name, "ca" | "crl") || name.ends_with("-key") {
            return Err(DirectoryError::Reserved { name: name.to_owned() });
        }
        let written = Written {
            certificate: self.file(&format!("{name}.pem")),
            key: self.file(&format!("{name}-key.pem")),
        };
        write_pair(&written, &issued.certificate_pem, &issued.key, existing)?;
        Ok(written)
    }

    /// Writes the authority's certificate alone, for whoever is to trust it. Where it lies there already that is well.
    ///
    /// # Errors
    ///
    /// Another one is there, or it cannot be written.
    pub fn write_trust(&self, authority: &Authority, existing: Existing) -> Result<PathBuf, DirectoryError> {
        let path = self.file(AUTHORITY_FILE);
        if !read(&path).is_ok_and(|there| there == authority.certificate_pem()) {
            write(&path, authority.certificate_pem().as_bytes(), PUBLIC, existing)?;
        }
        Ok(path)
    }

    /// Looks for what was issued under this name: `None` where there is no certificate.
    ///
    /// # Errors
    ///
    /// It cannot be used: it is no certificate, another authority's, no longer good, or its key is not there.
    pub fn issued(
        &self,
        name: &str,
        authority: &Authority,
        now: SystemTime,
    ) -> Result<Option<Description>, DirectoryError> {
        let (path, key) = (self.file(&format!("{name}.pem")), self.file(&format!("{name}-key.pem")));
        let unusable = |why: String| DirectoryError::Unusable { path: path.clone(), why };
        let pem = match read(&path) {
            Ok(pem) => pem,
            Err(DirectoryError::Read { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        let chain = certificates(&pem).map_err(|error| unusable(error.to_string()))?;
        let leaf = chain.first().ok_or_else(|| unusable("there is no certificate in it".to_owned()))?;
        let described = Description::of(leaf, now).map_err(|error| unusable(error.to_string()))?;
        if !authority.has_signed(leaf) {
            return Err(unusable("another authority has signed it".to_owned()));
        }
        if let Some(finding) = described.findings.iter().find(|finding| !finding.is_warning()) {
            return Err(unusable(finding.to_string()));
        }
        if !key.is_file() {
            return Err(unusable(format!("its key {} is not there", key.display())));
        }
        Ok(Some(described))
    }

    /// Reads what the authority revoked; nothing where there is no list yet.
    ///
    /// # Errors
    ///
    /// The list cannot be read, or is not this authority's.
    pub fn revocations(&self, authority: &Authority) -> Result<Revocations, DirectoryError> {
        let path = self.file(REVOCATIONS_FILE);
        match read(&path) {
            Ok(pem) => Revocations::from_pem(&pem, authority)
                .map_err(|source| DirectoryError::Revocations { path, source }),
            Err(DirectoryError::Read { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                Ok(Revocations::default())
            }
            Err(error) => Err(error),
        }
    }

    /// Writes a signed list, in the place of the one before.
    ///
    /// # Errors
    ///
    /// It cannot be written.
    pub fn write_revocations(&self, pem: &str) -> Result<PathBuf, DirectoryError> {
        let path = self.file(REVOCATIONS_FILE);
        write(&path, pem.as_bytes(), PUBLIC, Existing::Replace)?;
        Ok(path)
    }
}

/// Reads a file of certificates as text.
///
/// # Errors
///
/// It cannot be read, or is no text.
pub fn read(path: &Path) -> Result<String, DirectoryError> {
    let failed = |source| DirectoryError::Read { path: path.to_owned(), source };
    read_open(File::open(path).map_err(failed)?).map_err(failed)
}

fn read_private(path: &Path) -> Result<String, DirectoryError> {
    let failed = |source| DirectoryError::Read { path: path.to_owned(), source };
    let file = File::open(path).map_err(failed)?;
    let mode = mode(&file).map_err(failed)?;
    if mode & 0o077 != 0 {
        return Err(DirectoryError::Shared { path: path.to_owned(), mode });
    }
    read_open(file).map_err(failed)
}

fn read_open(file: File) -> io::Result<String> {
    let mut text = String::new();
    file.take(PEM_FILE_BYTES_MAX + 1).read_to_string(&mut text)?;
    if text.len() as u64 > PEM_FILE_BYTES_MAX {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "it is too large for certificates"));
    }
    Ok(text)
}

/// The key first: a certificate without its key would be worth nothing.
fn write_pair(
    written: &Written,
    certificate: &str,
    key: &PrivateKeyPem,
    existing: Existing,
) -> Result<(), DirectoryError> {
    for path in [&written.certificate, &written.key] {
        if existing == Existing::Keep && path.symlink_metadata().is_ok() {
            return Err(DirectoryError::Exists { path: path.clone() });
        }
    }
    write(&written.key, key.as_str().as_bytes(), PRIVATE, existing)?;
    write(&written.certificate, certificate.as_bytes(), PUBLIC, existing)
}

/// Writes a file whole or not at all, with these permissions from its first byte on.
fn write(path: &Path, bytes: &[u8], mode: u32, existing: Existing) -> Result<(), DirectoryError> {
    let failed = |source| DirectoryError::Write { path: path.to_owned(), source };
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = temporary(dir, mode).map_err(failed)?;
    file.write_all(bytes).and_then(|()| file.as_file().sync_all()).map_err(failed)?;
    let persisted = match existing {
        Existing::Replace => file.persist(path),
        Existing::Keep => file.persist_noclobber(path),
    };
    match persisted {
        Ok(_) => {}
        Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => {
            return Err(DirectoryError::Exists { path: path.to_owned() });
        }
        Err(error) => return Err(failed(error.error)),
    }
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(failed)
}

#[cfg(unix)]
fn temporary(dir: &Path, mode: u32) -> io::Result<tempfile::NamedTempFile> {
    use std::os::unix::fs::PermissionsExt;
    tempfile::Builder::new().prefix(".varve-").permissions(fs::Permissions::from_mode(mode)).tempfile_in(dir)
}

#[cfg(not(unix))]
fn temporary(dir: &Path, _mode: u32) -> io::Result<tempfile::NamedTempFile> {
    tempfile::Builder::new().prefix(".varve-").tempfile_in(dir)
}

#[cfg(unix)]
fn private_dir(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    DirBuilder::new().mode(0o700).create(path)
}

#[cfg(not(unix))]
fn private_dir(path: &Path) -> io::Result<()> {
    DirBuilder::new().create(path)
}

#[cfg(unix)]
fn mode(file: &File) -> io::Result<u32> {
    use std::os::unix::fs::PermissionsExt;
    Ok(file.metadata()?.permissions().mode() & 0o7777)
}

#[cfg(not(unix))]
fn mode(_file: &File) -> io::Result<u32> {
    Ok(PRIVATE)
}

#[cfg(test)]
mod tests;
