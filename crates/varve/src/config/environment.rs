//! What of the environment is meant for the server.

use super::{ConfigError, Place, key};
use crate::tls;

/// What our variables begin with.
const PREFIX: &str = "VARVE_";

/// Variables that belong to other commands.
const OF_OTHER_COMMANDS: &[&str] =
    &["VARVE_SERVER", tls::CA_VARIABLE, tls::CERT_VARIABLE, tls::KEY_VARIABLE, tls::NAME_VARIABLE];

/// A key of the server and its value.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Variable {
    pub(crate) key: &'static str,
    pub(crate) value: String,
    pub(crate) place: Place,
}

/// Picks the server's keys. An empty variable is one that is not set, as is usual where they are passed on.
///
/// # Errors
/// If a variable of ours is no known key.
pub(crate) fn pick(
    variables: impl IntoIterator<Item = (String, String)>,
) -> Result<Vec<Variable>, ConfigError> {
    let mut picked = Vec::new();
    for (name, value) in variables {
        let Some(rest) = name.strip_prefix(PREFIX) else { continue };
        if OF_OTHER_COMMANDS.contains(&name.as_str()) || is_service_link(&name, &value) {
            continue;
        }
        let as_key = rest.to_ascii_lowercase().replace('_', "-");
        match key::find(&as_key) {
            Some(_) if value.is_empty() => {}
            Some(key) => picked.push(Variable { key: key.name, value, place: Place::Environment(name) }),
            None => {
                let nearest = key::nearest(&as_key);
                return Err(ConfigError::Unknown { place: Place::Environment(name), name: as_key, nearest });
            }
        }
    }
    Ok(picked)
}

/// Whether this was set by Kubernetes, which tells each container of the services beside it: of one called `varve` as
/// `VARVE_SERVICE_HOST`, `VARVE_SERVICE_PORT_GRPC`, `VARVE_PORT=tcp://...`, `VARVE_PORT_8400_TCP_ADDR` and so on.
fn is_service_link(name: &str, value: &str) -> bool {
    let is_url = ["tcp://", "udp://", "sctp://"].iter().any(|scheme| value.starts_with(scheme));
    let port_of = |(_, rest): (&str, &str)| rest.starts_with(|c: char| c.is_ascii_digit());
    name.ends_with("_SERVICE_HOST")
        || name.ends_with("_SERVICE_PORT")
        || name.contains("_SERVICE_PORT_")
        || (name.ends_with("_PORT") && is_url)
        || name.split_once("_PORT_").is_some_and(port_of)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picked(variables: &[(&str, &str)]) -> Result<Vec<(&'static str, String)>, String> {
        let variables = variables.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
        let picked = pick(variables).map_err(|e| e.to_string())?;
        Ok(picked.into_iter().map(|variable| (variable.key, variable.value)).collect())
    }

    #[test]
    fn ours_are_picked() {
        let variables = [
            ("HOME", "/"),
            ("VARVE_DATA_DIR", "/tmp/v"),
            ("VARVE_SERVER", "varve://x"),
            ("VARVE_TLS_CA_FILE", "ca.pem"),
            ("VARVE_NODE_NAME", ""),
        ];
        assert_eq!(picked(&variables), Ok(vec![("data-dir", "/tmp/v".to_owned())]));
    }

    #[test]
    fn unknown_ones_are_named() {
        let error = picked(&[("VARVE_DATADIR", "/tmp/v")]).expect_err("unknown");
        assert_eq!(error, "VARVE_DATADIR: there is no setting \"datadir\": did you mean \"data-dir\"?");
    }

    #[test]
    fn what_kubernetes_sets_is_not_ours() {
        let links = [
            ("VARVE_SERVICE_HOST", "10.0.0.1"),
            ("VARVE_SERVICE_PORT", "8400"),
            ("VARVE_SERVICE_PORT_GRPC", "8400"),
            ("VARVE_PORT", "tcp://10.0.0.1:8400"),
            ("VARVE_PORT_8400_TCP", "tcp://10.0.0.1:8400"),
            ("VARVE_PORT_8400_TCP_ADDR", "10.0.0.1"),
            ("VARVE_HEADLESS_PORT_8400_TCP_PROTO", "tcp"),
        ];
        assert_eq!(picked(&links), Ok(vec![]));
        assert!(picked(&[("VARVE_PORT", "8400")]).is_err());
    }
}
