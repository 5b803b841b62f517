//! The settings of who is let in. They are given together, or not at all.

use std::path::PathBuf;
use std::time::Duration;

use varve_server::{AclFiles, SecurityConfig};
use varve_tls::{ServerTlsSettings, TlsFiles, TlsVersion};

use super::server::Getter;
use super::{ConfigError, key};
use crate::units::parse_duration;

/// How often the files are looked at for changes.
const RELOAD_INTERVAL: Duration = Duration::from_secs(5);
/// The shortest that a connection may be made to live: a shorter one would cost more in handshakes than it finds out.
const CONNECTION_AGE_MIN: Duration = Duration::from_secs(10);

/// What goes with certificates alone.
const WITH_CERTIFICATES: [(&str, &str); 6] = [
    (key::PEER_TLS_CERT_FILE, "nodes are known by their certificates only where clients are"),
    (key::PEER_TLS_KEY_FILE, "nodes are known by their certificates only where clients are"),
    (key::PEER_TLS_CA_FILE, "nodes are known by their certificates only where clients are"),
    (key::TLS_CRL_FILE, "without certificates there are none to revoke"),
    (
        key::ACL_POLICY_FILE,
        "it says who may do what, and without certificates it is not known who anybody is",
    ),
    (key::ACL_MODEL_FILE, "it says who may do what, and without certificates it is not known who anybody is"),
];

/// Who is let in; `None` where nothing is said of it.
///
/// # Errors
/// If a value is wrong, or something is said and not enough.
pub(super) fn of(get: &Getter<'_>) -> Result<Option<SecurityConfig>, ConfigError> {
    let min_version = get.required(key::TLS_MIN_VERSION, version)?;
    let connection_age_max = get.required(key::CONNECTION_AGE_MAX, connection_age)?;
    let Some(server) = server_files(get)? else {
        for (name, problem) in WITH_CERTIFICATES {
            if get.path(name)?.is_some() {
                let hint = "give server-tls-cert-file, server-tls-key-file and server-tls-ca-file too, or leave it out";
                return Err(contradiction(get, name, problem, hint));
            }
        }
        return Ok(None);
    };
    let Some(policy) = get.path(key::ACL_POLICY_FILE)? else {
        let problem = "certificates say who somebody is, and nothing says what they may do";
        let hint = "give an acl-policy-file; one with the line `p, *, *, *` lets everybody with a certificate do everything";
        return Err(contradiction(get, key::SERVER_TLS_CERT_FILE, problem, hint));
    };
    let peer = peer_files(get, &server)?;
    let crl = get.path(key::TLS_CRL_FILE)?;
    Ok(Some(SecurityConfig {
        tls: ServerTlsSettings { server, peer, crl, min_version },
        acl: AclFiles { model: get.path(key::ACL_MODEL_FILE)?, policy },
        connection_age_max,
        reload_interval: RELOAD_INTERVAL,
    }))
}

fn server_files(get: &Getter<'_>) -> Result<Option<TlsFiles>, ConfigError> {
    let names = [key::SERVER_TLS_CERT_FILE, key::SERVER_TLS_KEY_FILE, key::SERVER_TLS_CA_FILE];
    let [cert, key, ca] = paths(get, names)?;
    match (cert, key, ca) {
        (Some(cert), Some(key), Some(ca)) => Ok(Some(TlsFiles { cert, key, ca })),
        (None, None, None) => Ok(None),
        (cert, key, ca) => {
            let given = [cert.is_some(), key.is_some(), ca.is_some()];
            let (first, missing) = split(names, given);
            let problem = format!("it takes {} beside it", missing.join(" and "));
            Err(contradiction(
                get,
                first,
                &problem,
                "give all three, or none to serve in the clear on loopback",
            ))
        }
    }
}

/// The files for nodes: those for clients, where nothing else is said.
fn peer_files(get: &Getter<'_>, server: &TlsFiles) -> Result<TlsFiles, ConfigError> {
    let names = [key::PEER_TLS_CERT_FILE, key::PEER_TLS_KEY_FILE, key::PEER_TLS_CA_FILE];
    let [cert, key, ca] = paths(get, names)?;
    match (cert, key, ca) {
        (None, None, None) => Ok(server.clone()),
        (Some(cert), Some(key), ca) => {
            Ok(TlsFiles { cert, key, ca: ca.unwrap_or_else(|| server.ca.clone()) })
        }
        (cert, key, ca) => {
            let (first, missing) = split(names, [cert.is_some(), key.is_some(), ca.is_some()]);
            let problem = format!("it takes {} beside it", missing.join(" and "));
            let hint = "give a certificate for other nodes with its key, or none: then they are shown that for clients";
            Err(contradiction(get, first, &problem, hint))
        }
    }
}

fn paths<const N: usize>(
    get: &Getter<'_>,
    names: [&'static str; N],
) -> Result<[Option<PathBuf>; N], ConfigError> {
    let mut paths = [const { None }; N];
    for (path, name) in paths.iter_mut().zip(names) {
        *path = get.path(name)?;
    }
    Ok(paths)
}

/// The first that is given, and those that are not.
fn split(names: [&'static str; 3], given: [bool; 3]) -> (&'static str, Vec<&'static str>) {
    let (there, missing): (Vec<_>, Vec<_>) = names.into_iter().zip(given).partition(|(_, given)| *given);
    let first = there.first().map_or(names[0], |(name, _)| *name);
    (first, missing.into_iter().map(|(name, _)| name).collect())
}

fn contradiction(get: &Getter<'_>, name: &'static str, problem: &str, hint: &'static str) -> ConfigError {
    let place = get.place(name);
    ConfigError::Contradiction { problem: place.naming(name, problem), place, hint }
}

fn version(text: &str) -> Result<TlsVersion, String> {
    match text {
        "1.3" => Ok(TlsVersion::Tls13),
        "1.2" => Ok(TlsVersion::Tls12),
        _ => Err(format!("{text:?} is no version that is spoken: write 1.3 or 1.2")),
    }
}

fn connection_age(text: &str) -> Result<Duration, String> {
    let age = parse_duration(text)?;
    if age < CONNECTION_AGE_MIN {
        return Err(format!("{text:?} is too short: give at least {}s", CONNECTION_AGE_MIN.as_secs()));
    }
    Ok(age)
}

#[cfg(test)]
mod tests {
    use crate::config::{ConfigError, ServerConfig, ServerFlags};

    const CERT: (&str, &str) = ("server-tls-cert-file", "/c");
    const KEY: (&str, &str) = ("server-tls-key-file", "/k");
    const CA: (&str, &str) = ("server-tls-ca-file", "/a");
    const POLICY: (&str, &str) = ("acl-policy-file", "/p");

    fn load(flags: &[(&'static str, &str)]) -> Result<ServerConfig, (String, &'static str)> {
        let flags = ServerFlags::of(&[flags, &[("data-dir", "/d")]].concat());
        ServerConfig::load(&flags, []).map_err(|error| match &error {
            ConfigError::Contradiction { hint, .. } => (error.to_string(), *hint),
            _ => (error.to_string(), ""),
        })
    }

    #[test]
    fn nothing_is_the_clear_and_all_is_tls() {
        assert_eq!(load(&[]).expect("enough").security, None);
        let all = load(&[CERT, KEY, CA, POLICY]).expect("enough").security.expect("all");
        assert_eq!(all.tls.server, all.tls.peer);
        assert_eq!((all.acl.policy.to_str(), all.acl.model), (Some("/p"), None));
        assert_eq!(all.connection_age_max.as_secs(), 3600);
        assert_eq!(all.tls.crl, None);
    }

    #[test]
    fn nodes_may_have_files_of_their_own() {
        let peer = [("peer-tls-cert-file", "/pc"), ("peer-tls-key-file", "/pk")];
        let all =
            load(&[&[CERT, KEY, CA, POLICY][..], &peer].concat()).expect("enough").security.expect("all");
        assert_eq!(all.tls.peer.ca, all.tls.server.ca);
        assert_eq!(all.tls.peer.cert.to_str(), Some("/pc"));
        let half = load(&[CERT, KEY, CA, POLICY, ("peer-tls-ca-file", "/pa")]).expect_err("half");
        assert!(
            half.0.starts_with("--peer-tls-ca-file: it takes peer-tls-cert-file and peer-tls-key-file"),
            "{half:?}"
        );
    }

    #[test]
    fn half_of_it_names_the_other_half() {
        let half = load(&[CERT, CA]).expect_err("half");
        assert_eq!(half.0, "--server-tls-cert-file: it takes server-tls-key-file beside it");
        let half = load(&[KEY]).expect_err("half");
        assert!(half.0.contains("server-tls-cert-file and server-tls-ca-file"), "{half:?}");
    }

    #[test]
    fn certificates_and_a_policy_go_together() {
        let open = load(&[CERT, KEY, CA]).expect_err("no policy");
        assert!(open.0.starts_with("--server-tls-cert-file: "), "{open:?}");
        assert!(open.1.contains("`p, *, *, *` lets everybody with a certificate do everything"), "{open:?}");
        for name in ["acl-policy-file", "acl-model-file", "tls-crl-file", "peer-tls-ca-file"] {
            let alone = load(&[(name, "/x")]).expect_err(name);
            assert!(alone.0.starts_with(&format!("--{name}: ")), "{alone:?}");
            assert!(alone.1.contains("server-tls-cert-file"), "{alone:?}");
        }
        let clear = load(&[CERT, KEY, CA, POLICY, ("insecure-serve-beyond-loopback", "true")]);
        assert!(clear.expect_err("both").0.starts_with("--insecure-serve-beyond-loopback: "));
    }

    #[test]
    fn a_place_that_does_not_name_the_key_is_told_with_it() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("v.yaml");
        std::fs::write(&file, "acl-policy-file: /p\n").expect("written");
        let said = load(&[("config-file", file.to_str().expect("plain"))]).expect_err("no certificates");
        assert!(said.0.starts_with(&format!("{}:1:1: acl-policy-file: ", file.display())), "{said:?}");
    }

    #[test]
    fn values_are_checked() {
        assert!(load(&[("tls-min-version", "1.1")]).expect_err("old").0.contains("write 1.3 or 1.2"));
        assert!(load(&[("connection-age-max", "9s")]).expect_err("short").0.contains("at least 10s"));
        load(&[("connection-age-max", "10s"), ("tls-min-version", "1.2")]).expect("good");
    }
}
