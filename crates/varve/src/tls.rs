//! TLS with servers: where its files are, by flags, the environment or a context.

use std::io;
use std::path::PathBuf;

use clap::Args;
use serde::{Deserialize, Serialize};
use varve_client::{ClientTls, ClientTlsSettings, TlsError, TlsFiles};

use crate::failure::{Exit, Failure};

/// The variables, which the flags win over.
pub(crate) const CA_VARIABLE: &str = "VARVE_TLS_CA_FILE";
pub(crate) const CERT_VARIABLE: &str = "VARVE_TLS_CERT_FILE";
pub(crate) const KEY_VARIABLE: &str = "VARVE_TLS_KEY_FILE";
pub(crate) const NAME_VARIABLE: &str = "VARVE_TLS_SERVER_NAME";

/// The flags of TLS. Also what is known of it from other places, each thing by itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub(crate) struct TlsArgs {
    // No doc comments: rustdoc takes the brackets for links.
    #[arg(help = "The CA that has issued the servers' certificates, in PEM [env: VARVE_TLS_CA_FILE]")]
    #[arg(long, value_name = "FILE", help_heading = "Connection")]
    tls_ca_file: Option<PathBuf>,
    #[arg(help = "The certificate to show to servers, in PEM [env: VARVE_TLS_CERT_FILE]")]
    #[arg(long, value_name = "FILE", help_heading = "Connection")]
    tls_cert_file: Option<PathBuf>,
    #[arg(help = "Its key, in PEM [env: VARVE_TLS_KEY_FILE]")]
    #[arg(long, value_name = "FILE", help_heading = "Connection")]
    tls_key_file: Option<PathBuf>,
    #[arg(help = "The name that servers' certificates must have, where it is not that of their address \
                  [env: VARVE_TLS_SERVER_NAME]")]
    #[arg(long, value_name = "NAME", help_heading = "Connection")]
    tls_server_name: Option<String>,
}

/// All that it takes to speak TLS with the servers of a cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TlsSettings {
    /// The authority of the servers' certificates.
    pub(crate) ca_file: PathBuf,
    /// The certificate that is shown.
    pub(crate) cert_file: PathBuf,
    /// Its key.
    pub(crate) key_file: PathBuf,
    /// The name that servers' certificates must have, where it is not that of their address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) server_name: Option<String>,
}

impl TlsArgs {
    /// What the environment says. An empty variable is one that is not set.
    pub(crate) fn of_environment() -> Self {
        let get = |name| std::env::var_os(name).filter(|value| !value.is_empty());
        Self {
            tls_ca_file: get(CA_VARIABLE).map(PathBuf::from),
            tls_cert_file: get(CERT_VARIABLE).map(PathBuf::from),
            tls_key_file: get(KEY_VARIABLE).map(PathBuf::from),
            tls_server_name: get(NAME_VARIABLE).map(|name| name.to_string_lossy().into_owned()),
        }
    }

    /// With what another place says besides. A certificate and its key are taken from the same place.
    pub(crate) fn or(self, other: Self) -> Self {
        let has_certificate = self.tls_cert_file.is_some() || self.tls_key_file.is_some();
        let (tls_cert_file, tls_key_file) = match has_certificate {
            true => (self.tls_cert_file, self.tls_key_file),
            false => (other.tls_cert_file, other.tls_key_file),
        };
        Self {
            tls_ca_file: self.tls_ca_file.or(other.tls_ca_file),
            tls_cert_file,
            tls_key_file,
            tls_server_name: self.tls_server_name.or(other.tls_server_name),
        }
    }

    /// All of it, or `None` where nothing is said.
    ///
    /// # Errors
    /// If something is said, and not enough.
    pub(crate) fn complete(self) -> Result<Option<TlsSettings>, Failure> {
        match self {
            Self { tls_ca_file: None, tls_cert_file: None, tls_key_file: None, tls_server_name: None } => {
                Ok(None)
            }
            Self {
                tls_ca_file: Some(ca_file),
                tls_cert_file: Some(cert_file),
                tls_key_file: Some(key_file),
                tls_server_name: server_name,
            } => Ok(Some(TlsSettings { ca_file, cert_file, key_file, server_name })),
            incomplete => Err(incomplete.lacking()),
        }
    }

    fn lacking(&self) -> Failure {
        let parts = [
            (self.tls_ca_file.is_none(), "--tls-ca-file", CA_VARIABLE),
            (self.tls_cert_file.is_none(), "--tls-cert-file", CERT_VARIABLE),
            (self.tls_key_file.is_none(), "--tls-key-file", KEY_VARIABLE),
        ];
        let missing: Vec<String> = parts
            .iter()
            .filter(|(is_missing, ..)| *is_missing)
            .map(|(_, flag, variable)| format!("{flag} ({variable})"))
            .collect();
        Failure::usage(format!(
            "TLS takes a CA, a certificate and its key: give {} too",
            missing.join(" and ")
        ))
    }
}

impl From<TlsSettings> for TlsArgs {
    fn from(settings: TlsSettings) -> Self {
        Self {
            tls_ca_file: Some(settings.ca_file),
            tls_cert_file: Some(settings.cert_file),
            tls_key_file: Some(settings.key_file),
            tls_server_name: settings.server_name,
        }
    }
}

impl TlsSettings {
    /// The same from any directory.
    ///
    /// # Errors
    /// If there is no current directory.
    pub(crate) fn absolute(self) -> Result<Self, Failure> {
        let absolute = |path: PathBuf| {
            std::path::absolute(&path).map_err(|error| Failure::file("find", path.display(), &error))
        };
        Ok(Self {
            ca_file: absolute(self.ca_file)?,
            cert_file: absolute(self.cert_file)?,
            key_file: absolute(self.key_file)?,
            server_name: self.server_name,
        })
    }

    /// Reads the files.
    ///
    /// # Errors
    /// The first that is wrong.
    pub(crate) fn open(&self) -> Result<ClientTls, Failure> {
        let files =
            TlsFiles { cert: self.cert_file.clone(), key: self.key_file.clone(), ca: self.ca_file.clone() };
        ClientTls::open(ClientTlsSettings { files, server_name: self.server_name.clone() })
            .map_err(|error| failure(&error))
    }
}

/// What is said of files that are no good.
fn failure(error: &TlsError) -> Failure {
    match error {
        TlsError::Read { file, source } => {
            let failure = Failure::file("read", file.display(), source);
            match source.kind() {
                io::ErrorKind::NotFound => failure.hint(
                    "the --tls flags, the VARVE_TLS_ variables or the context name it: `varve context show` shows those of a context",
                ),
                _ => failure,
            }
        }
        TlsError::KeyMismatch { .. } => Failure::usage(error.to_string())
            .hint("give a certificate and its own key, with --tls-cert-file and --tls-key-file"),
        _ => Failure::new(Exit::Usage, error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(ca: &str, cert: &str, key: &str) -> TlsArgs {
        let path = |text: &str| (!text.is_empty()).then(|| PathBuf::from(text));
        TlsArgs {
            tls_ca_file: path(ca),
            tls_cert_file: path(cert),
            tls_key_file: path(key),
            tls_server_name: None,
        }
    }

    #[test]
    fn a_certificate_and_its_key_are_of_one_place() {
        let flags = args("", "nobody", "nobody-key");
        let both = flags.or(args("ca", "root", "root-key")).complete().expect("enough").expect("some");
        assert_eq!((both.ca_file, both.cert_file), ("ca".into(), "nobody".into()));
        let half = args("", "nobody", "").or(args("ca", "root", "root-key")).complete().expect_err("no key");
        assert!(half.message.ends_with("give --tls-key-file (VARVE_TLS_KEY_FILE) too"), "{}", half.message);
    }

    #[test]
    fn nothing_is_no_tls_and_something_must_be_all() {
        assert_eq!(args("", "", "").complete().expect("nothing"), None);
        let named = TlsArgs { tls_server_name: Some("a".into()), ..TlsArgs::default() };
        let lacking = named.complete().expect_err("no files");
        for flag in ["--tls-ca-file", "--tls-cert-file", "--tls-key-file"] {
            assert!(lacking.message.contains(flag), "{}", lacking.message);
        }
    }
}
