use std::fmt;
use std::str::FromStr;

use http::uri::Authority;

/// The port of a server, if an address names none.
pub const DEFAULT_PORT: u16 = 8400;

/// Most members that an address may name.
pub const MEMBERS_MAX: usize = 64;

/// Where a cluster is: `varve://host:port[,host:port...]`, any of its members.
///
/// `http://` and no scheme at all mean the same; the port is 8400 if it is left out.
///
/// ```
/// let address: varve_client::ClusterAddress = "varve://a.example,b.example:9000".parse()?;
/// assert_eq!(address.to_string(), "varve://a.example:8400,b.example:9000");
/// # Ok::<(), varve_client::AddressError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterAddress(Vec<String>);

/// Text that names no cluster.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{address:?} names no cluster: {problem}; write varve://host:port[,host:port]")]
pub struct AddressError {
    address: String,
    problem: &'static str,
}

impl ClusterAddress {
    /// The members, each as `host:port`; at least one.
    #[must_use]
    pub fn members(&self) -> &[String] {
        &self.0
    }
}

impl FromStr for ClusterAddress {
    type Err = AddressError;

    fn from_str(address: &str) -> Result<Self, AddressError> {
        parse(address).map(Self).map_err(|problem| AddressError { address: address.into(), problem })
    }
}

impl fmt::Display for ClusterAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "varve://{}", self.0.join(","))
    }
}

fn parse(address: &str) -> Result<Vec<String>, &'static str> {
    let members = match address.split_once("://") {
        Some(("varve" | "http", members)) => members,
        Some(_) => return Err("its scheme is neither varve nor http"),
        None => address,
    };
    let members = members.strip_suffix('/').unwrap_or(members);
    let members = members.split(',').map(member).collect::<Result<Vec<_>, _>>()?;
    if members.len() > MEMBERS_MAX { Err("it has more than 64 members") } else { Ok(members) }
}

fn member(text: &str) -> Result<String, &'static str> {
    let text = text.trim();
    if text.is_empty() {
        return Err("a member is empty");
    }
    let authority: Authority = text.parse().map_err(|_| "a member is not host:port")?;
    let host = authority.host();
    let port = match text.strip_prefix(host) {
        Some("") => DEFAULT_PORT,
        Some(port) => {
            port.strip_prefix(':').and_then(|port| port.parse().ok()).ok_or("a port is no number")?
        }
        None => return Err("a member is not host:port"),
    };
    if host.is_empty() { Err("a member has no host") } else { Ok(format!("{host}:{port}")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members(address: &str) -> Vec<String> {
        address.parse::<ClusterAddress>().expect(address).members().to_vec()
    }

    #[test]
    fn good_addresses() {
        assert_eq!(members("varve://a:1"), ["a:1"]);
        assert_eq!(members("http://a:1/"), ["a:1"]);
        assert_eq!(members("127.0.0.1"), ["127.0.0.1:8400"]);
        assert_eq!(members("varve://[::1]:9000, [::2]"), ["[::1]:9000", "[::2]:8400"]);
    }

    #[test]
    fn bad_addresses() {
        let too_many = vec!["a"; MEMBERS_MAX + 1].join(",");
        for address in [
            "",
            "varve://",
            "a,,b",
            "https://a:1",
            "a:x",
            "a:",
            "a:99999",
            "u@a:1",
            "a:1/path",
            too_many.as_str(),
        ] {
            assert!(address.parse::<ClusterAddress>().is_err(), "{address}");
        }
    }
}
