//! The files that a side of TLS is made of.

use crate::TlsError;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use zeroize::Zeroizing;

/// The most bytes of a file of certificates, a key or a list.
pub const TLS_FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// Where a certificate, its key, and the authorities that the other side is measured by lie. All in PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate, followed by those between it and the authority's, if there are any.
    pub cert: PathBuf,
    /// Its private key (PKCS #8, PKCS #1 or SEC 1).
    pub key: PathBuf,
    /// The certificates of the authorities that are trusted.
    pub ca: PathBuf,
}

/// A key's bytes; an error where they are no secret. Its group may read it: a server that is started for many is.
pub(crate) fn read_key(file: &Path) -> Result<Zeroizing<Vec<u8>>, TlsError> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let failed = |source| TlsError::Read { file: file.to_owned(), source: Arc::new(source) };
        let mode = std::fs::metadata(file).map_err(failed)?.permissions().mode() & 0o7777;
        if mode & 0o007 != 0 {
            return Err(TlsError::Shared { file: file.to_owned(), mode });
        }
    }
    read(file)
}

/// A file's bytes, which are gone from memory when they are dropped: it may hold a key.
pub(crate) fn read(file: &Path) -> Result<Zeroizing<Vec<u8>>, TlsError> {
    let failed = |source| TlsError::Read { file: file.to_owned(), source: Arc::new(source) };
    let opened = File::open(file).map_err(failed)?;
    let mut bytes = Zeroizing::new(Vec::new());
    opened.take(TLS_FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > TLS_FILE_BYTES_MAX {
        return Err(TlsError::TooLarge { file: file.to_owned(), max_bytes: TLS_FILE_BYTES_MAX });
    }
    Ok(bytes)
}
