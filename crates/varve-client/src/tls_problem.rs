use varve_api::error::{ApiError, meta};

/// What stands between a client and a server that come to no TLS between them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TlsProblem {
    /// The server's certificate is refused here.
    ServerUntrusted,
    /// The server refuses this client's certificate, or what it offers.
    ClientRefused,
    /// The server speaks no TLS.
    ServerInClear,
    /// The server speaks TLS alone, and was called in the clear.
    ServerWantsTls,
    /// Both have nothing in common, or the name that is looked for in the certificate is none.
    NoHandshake,
}

impl TlsProblem {
    /// All of them.
    pub const ALL: &[Self] = &[
        Self::ServerUntrusted,
        Self::ClientRefused,
        Self::ServerInClear,
        Self::ServerWantsTls,
        Self::NoHandshake,
    ];

    /// What an error says, if it says anything of TLS.
    #[must_use]
    pub fn of(error: &ApiError) -> Option<Self> {
        let name = error.get(meta::TLS_PROBLEM)?;
        Self::ALL.iter().copied().find(|problem| problem.name() == name)
    }

    /// As it stands in an error's details.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::ServerUntrusted => "server_untrusted",
            Self::ClientRefused => "client_refused",
            Self::ServerInClear => "server_in_clear",
            Self::ServerWantsTls => "server_wants_tls",
            Self::NoHandshake => "no_handshake",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::TlsProblem;

    #[test]
    fn all_are_explained() {
        let docs = include_str!("../../../docs/errors.md");
        for problem in TlsProblem::ALL {
            assert!(docs.contains(&format!("| `{}` | ", problem.name())), "{problem:?}");
        }
    }
}
