//! The addresses that a server's certificate is good for.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// Longest host name, in bytes, and longest label of one (RFC 1035, section 2.3.4).
const HOST_BYTES_MAX: usize = 253;
const LABEL_BYTES_MAX: usize = 63;

/// A host name or an IP address by which a server is reached. A host name may begin with `*.`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ServerAddress {
    /// A host name.
    Host(String),
    /// An address.
    Ip(IpAddr),
}

/// An address that no server has.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is neither a host name nor an IP address{}", hint(text))]
pub struct InvalidServerAddress {
    text: String,
}

impl FromStr for ServerAddress {
    type Err = InvalidServerAddress;

    fn from_str(text: &str) -> Result<Self, InvalidServerAddress> {
        if let Ok(ip) = text.parse() {
            return Ok(Self::Ip(ip));
        }
        if is_host_name(text) {
            return Ok(Self::Host(text.to_ascii_lowercase()));
        }
        Err(InvalidServerAddress { text: text.chars().take(HOST_BYTES_MAX).collect() })
    }
}

impl fmt::Display for ServerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host(name) => f.pad(name),
            Self::Ip(ip) => ip.fmt(f),
        }
    }
}

fn is_host_name(text: &str) -> bool {
    let name = text.strip_prefix("*.").unwrap_or(text);
    // All digits: an address that is none, such as 10.0.0.256.
    let numeric = name.rsplit('.').next().is_some_and(|last| last.bytes().all(|b| b.is_ascii_digit()));
    text.len() <= HOST_BYTES_MAX && !numeric && name.split('.').all(is_label)
}

fn is_label(label: &str) -> bool {
    (1..=LABEL_BYTES_MAX).contains(&label.len())
        && label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
        && !label.starts_with('-')
        && !label.ends_with('-')
}

fn hint(text: &str) -> &'static str {
    let (_, tail) = text.rsplit_once(':').unwrap_or_default();
    if !tail.is_empty() && tail.bytes().all(|b| b.is_ascii_digit()) {
        ": leave the port out"
    } else if text.contains("://") {
        ": leave the scheme out"
    } else {
        ""
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_names_and_addresses() {
        for (text, shown) in [
            ("127.0.0.1", "127.0.0.1"),
            ("::1", "::1"),
            ("2001:DB8::1", "2001:db8::1"),
            ("Localhost", "localhost"),
            ("*.varve.svc", "*.varve.svc"),
            (
                "varve-0.varve-headless.default.svc.cluster.local",
                "varve-0.varve-headless.default.svc.cluster.local",
            ),
        ] {
            assert_eq!(text.parse::<ServerAddress>().expect(text).to_string(), shown);
        }
    }

    #[test]
    fn what_is_neither() {
        let (long_label, long_name) = ("a".repeat(64), "a.".repeat(127) + "a");
        for text in [
            "",
            "a..b",
            "-a",
            "a-",
            "a b",
            "*",
            "*.",
            "a.*.b",
            "10.0.0.256",
            "1.2.3",
            &long_label,
            &long_name,
        ] {
            text.parse::<ServerAddress>().expect_err(text);
        }
        let said = |text: &str| text.parse::<ServerAddress>().unwrap_err().to_string();
        assert!(said("a:8400").ends_with("leave the port out"));
        assert!(said("[::1]:8400").ends_with("leave the port out"));
        assert!(said("varve://a").ends_with("leave the scheme out"));
    }
}
