//! The server's configuration: flags, then `VARVE_*`, then a YAML file, then defaults.
//!
//! [`key`] lists the keys once, for all three; [`layers`] collects what was given for each and remembers where, so that
//! every complaint names the place; [`ServerConfig`] is what comes out, with every value checked.

mod environment;
mod key;
mod layers;
mod security;
mod server;
mod yaml;

pub(crate) use key::KEYS;
pub(crate) use layers::ServerFlags;
pub(crate) use server::{LogFormat, REPLICATION_FACTOR_MAX, ServerConfig};

use std::fmt;
use std::path::PathBuf;

/// What stands between the values of a key that takes several, wherever they come from.
const LIST_SEPARATOR: &str = ",";

/// Why the configuration cannot be used.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ConfigError {
    /// A key that does not exist.
    #[error("{place}: there is no setting {name:?}{}", did_you_mean(*.nearest))]
    Unknown {
        /// Where it stands.
        place: Place,
        /// The key, as written.
        name: String,
        /// The known key most like it.
        nearest: Option<&'static str>,
    },
    /// A value that the key does not take.
    #[error("{place}: {}", .place.naming(.key, .problem))]
    Invalid {
        /// Where it stands.
        place: Place,
        /// The key.
        key: &'static str,
        /// What is wrong.
        problem: String,
    },
    /// A key that must be given.
    #[error("{key} is not set")]
    Missing {
        /// The key.
        key: &'static str,
    },
    /// Two settings that do not go together.
    #[error("{place}: {problem}")]
    Contradiction {
        /// Where one of them stands.
        place: Place,
        /// What is wrong.
        problem: String,
        /// What to do about it.
        hint: &'static str,
    },
    /// The file cannot be read.
    #[error("cannot read the configuration file {}: {problem}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        problem: String,
    },
    /// The file is no flat YAML mapping.
    #[error("{place}: {problem}")]
    Yaml {
        /// Where.
        place: Place,
        /// What is wrong.
        problem: String,
    },
}

/// Where a setting was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    /// On the command line.
    Flag(&'static str),
    /// In the environment, by this name.
    Environment(String),
    /// In a file.
    File {
        /// The file.
        path: PathBuf,
        /// Line, from 1.
        line: usize,
        /// Column, from 1.
        column: usize,
    },
    /// Nowhere: it is the default.
    Default,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(name) => write!(f, "--{name}"),
            Self::Environment(name) => f.write_str(name),
            Self::File { path, line, column } => write!(f, "{}:{line}:{column}", path.display()),
            Self::Default => f.write_str("default"),
        }
    }
}

impl Place {
    /// Adds the key to what is said of it, where the place does not say it already.
    fn naming(&self, key: &str, problem: &str) -> String {
        match self {
            Self::Flag(_) | Self::Environment(_) => problem.to_owned(),
            Self::File { .. } | Self::Default => format!("{key}: {problem}"),
        }
    }
}

fn did_you_mean(nearest: Option<&'static str>) -> String {
    nearest.map_or_else(String::new, |name| format!(": did you mean {name:?}?"))
}
