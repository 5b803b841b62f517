//! How a command ends that did not succeed: what is said, and with which exit code.

use std::fmt::Display;
use std::io;
use std::process::ExitCode;

use varve_api::error::{ApiError, Reason, meta};
use varve_client::TlsProblem;

/// The exit codes, which scripts may rely on. 0 is success.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Exit {
    /// Success, and also a reader that has seen enough (`varve consume ... | head`).
    Success = 0,
    /// Whatever has no code of its own.
    General = 1,
    /// The command line or the configuration is wrong.
    Usage = 2,
    /// No server, or one that cannot serve now.
    Unavailable = 3,
    /// The server does not know the caller, or does not allow it.
    Auth = 4,
    /// There is no such topic, partition or file.
    NotFound = 5,
    /// Something stands in the way: it exists already, or is in use.
    Precondition = 6,
    /// The offset lies outside of the log.
    OutOfRange = 7,
    /// There was no answer in time.
    Timeout = 8,
    /// The server or its data is not well.
    Unhealthy = 9,
    /// The server's data directory belongs to a node that was taken out of its cluster: to start it again never helps.
    Removed = 10,
    /// Ctrl-C.
    Interrupted = 130,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a command failed: one line, perhaps a line of what to do, and the exit code.
#[derive(Debug)]
pub(crate) struct Failure {
    /// The exit code.
    pub(crate) exit: Exit,
    /// What happened, to what. Empty where nothing is to be said.
    pub(crate) message: String,
    /// What to do about it.
    pub(crate) hint: Option<String>,
}

impl Failure {
    /// A failure with this message.
    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into(), hint: None }
    }

    /// A mistake on the command line or in the configuration.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }

    /// An end of which nothing more is to be said.
    pub(crate) fn quiet(exit: Exit) -> Self {
        Self::new(exit, "")
    }

    /// Adds what to do about it.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// A file or directory that could not be used.
    pub(crate) fn file(verb: &str, path: impl Display, error: &io::Error) -> Self {
        let exit = match error.kind() {
            io::ErrorKind::NotFound => Exit::NotFound,
            _ => Exit::General,
        };
        Self::new(exit, format!("cannot {verb} {path}: {}", io_message(error)))
    }

    /// Standard output could not be written. If its reader has gone, that is how `| head` ends, and no failure.
    pub(crate) fn stdout(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::quiet(Exit::Success),
            _ => Self::new(Exit::General, format!("cannot write to standard output: {}", io_message(error))),
        }
    }

    /// What a server (or the way to it) answered to `doing` something.
    pub(crate) fn api(doing: impl Display, server: &str, error: &ApiError) -> Self {
        let failure = match error.reason {
            Reason::Unreachable => Self::new(Exit::Unavailable, format!("cannot reach a server at {server}")),
            _ => Self::new(exit_of(error.reason), format!("cannot {doing}: {error}")),
        };
        Self { hint: hint_of(error), ..failure }
    }
}

/// The system's words without the number that Rust adds: "no such file or directory".
fn io_message(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_lowercase().chain(chars).collect())
}

fn exit_of(reason: Reason) -> Exit {
    match reason {
        Reason::Unreachable
        | Reason::ConnectionLost
        | Reason::NoLeader
        | Reason::NotLeader
        | Reason::NotInitialized
        | Reason::ShuttingDown
        | Reason::Overloaded
        | Reason::Quota
        | Reason::DiskFull
        | Reason::StorageStopped => Exit::Unavailable,
        Reason::PermissionDenied | Reason::Unauthenticated | Reason::TlsFailed => Exit::Auth,
        Reason::TopicNotFound | Reason::PartitionNotFound | Reason::NodeNotFound => Exit::NotFound,
        Reason::TopicExists
        | Reason::ClusterExists
        | Reason::ChangeRefused
        | Reason::NodeNameTaken
        | Reason::ExpectedOffsetMismatch
        | Reason::Fenced
        | Reason::OutOfOrderSequence
        | Reason::UnknownProducer => Exit::Precondition,
        Reason::OffsetTrimmed | Reason::OffsetBeyondTail => Exit::OutOfRange,
        Reason::Deadline => Exit::Timeout,
        Reason::DataLoss => Exit::Unhealthy,
        Reason::Cancelled => Exit::Interrupted,
        Reason::InvalidTopicName | Reason::InvalidRequest => Exit::Usage,
        _ => Exit::General,
    }
}

fn hint_of(error: &ApiError) -> Option<String> {
    let log = |key| error.get(key).unwrap_or("?");
    Some(match error.reason {
        Reason::Unreachable => {
            "start one with `varve dev`, or `varve server --data-dir DIR --bootstrap`; or name another with --server, --context or VARVE_SERVER"
                .into()
        }
        Reason::TlsFailed => return TlsProblem::of(error).and_then(tls_hint).map(Into::into),
        Reason::PermissionDenied => {
            "ask whoever keeps the policy for a rule that allows it; `varve acl check` explains a decision".into()
        }
        Reason::Unauthenticated => {
            "show a certificate that the cluster's CA has issued, with --tls-cert-file and --tls-key-file".into()
        }
        Reason::OffsetTrimmed => {
            format!("the first record kept is at offset {}; use --from start", log(meta::LOG_START_OFFSET))
        }
        Reason::OffsetBeyondTail => {
            format!("the log ends before offset {}; use --from end to wait there", log(meta::HIGH_WATERMARK))
        }
        Reason::TopicNotFound => "`varve topic list` shows the topics, `varve topic create` makes one".into(),
        Reason::PartitionNotFound => {
            format!("the topic has {} partitions, numbered from 0", log(meta::PARTITIONS))
        }
        Reason::RecordTooLarge => "raise the topic's limit with `varve topic alter TOPIC --record-bytes-max N`".into(),
        Reason::NodeNotFound => "`varve cluster members` lists the servers".into(),
        Reason::NotInitialized => {
            "make a cluster of it with `varve cluster init`, or start it with --bootstrap or --start-join-addrs".into()
        }
        Reason::NoLeader => "see what `varve cluster health` says".into(),
        Reason::Unimplemented => "the server is older than this program; `varve version` tells which this is".into(),
        Reason::DiskFull => "make room on the server's disk; it goes on by itself".into(),
        Reason::DataLoss => "stop that server and run `varve verify` on its data directory".into(),
        Reason::StorageStopped => "look at the server's log and disk, then start it again".into(),
        Reason::Deadline => "allow more with --timeout, or look whether the server is overloaded".into(),
        _ => return None,
    })
}

fn tls_hint(problem: TlsProblem) -> Option<&'static str> {
    Some(match problem {
        TlsProblem::ServerUntrusted => {
            "--tls-ca-file names the CA that is trusted, --tls-server-name a name that the servers' certificates have; `varve cert show` reads certificates"
        }
        TlsProblem::ClientRefused => {
            "--tls-cert-file and --tls-key-file name the certificate that is shown: take one that the cluster's CA has issued"
        }
        TlsProblem::ServerInClear => {
            "where that is as it should be leave out the --tls flags, the VARVE_TLS_ variables, or the context"
        }
        TlsProblem::ServerWantsTls => {
            "give --tls-ca-file, --tls-cert-file and --tls-key-file, or a --context that has them"
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_speaks_as_we_do() {
        let error = io::Error::from_raw_os_error(2);
        let failure = Failure::file("read", "/nowhere", &error);
        assert_eq!(failure.message, "cannot read /nowhere: no such file or directory");
        assert_eq!(failure.exit, Exit::NotFound);
    }

    #[test]
    fn a_closed_pipe_is_no_failure() {
        let failure = Failure::stdout(&io::Error::from(io::ErrorKind::BrokenPipe));
        assert_eq!(failure.exit, Exit::Success);
        assert!(failure.message.is_empty());
    }

    #[test]
    fn reasons_have_their_exit_codes() {
        let exit = |reason| Failure::api("read", "varve://x", &ApiError::new(reason, "")).exit;
        assert_eq!(exit(Reason::Unreachable), Exit::Unavailable);
        assert_eq!(exit(Reason::PermissionDenied), Exit::Auth);
        assert_eq!(exit(Reason::TlsFailed), Exit::Auth);
        assert_eq!(exit(Reason::TopicNotFound), Exit::NotFound);
        assert_eq!(exit(Reason::TopicExists), Exit::Precondition);
        assert_eq!(exit(Reason::OffsetTrimmed), Exit::OutOfRange);
        assert_eq!(exit(Reason::Deadline), Exit::Timeout);
        assert_eq!(exit(Reason::DataLoss), Exit::Unhealthy);
        assert_eq!(exit(Reason::Internal), Exit::General);
    }
}
