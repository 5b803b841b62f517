//! What is said of a call that failed on its way.

use std::error::Error;
use std::fmt::Display;

use tonic::Status;
use varve_api::error::{ApiError, Reason, meta};
use varve_tls::HandshakeError;

use crate::TlsProblem;
use crate::hearing::Word;

/// The error of a call to a server: what the server itself said as it is; what became of the way there with whom it was about,
/// and what was heard there of TLS.
pub(crate) fn of_call(addr: &str, status: &Status, heard: Option<Word>) -> ApiError {
    let error = ApiError::from_status(status);
    // What the server said has no source.
    let Some(source) = status.source() else { return error };
    if let Some(Word::WantsTls) = heard {
        return tls(
            TlsProblem::ServerWantsTls,
            format!("{addr} speaks TLS alone, and was called in the clear"),
        );
    }
    match error.reason {
        Reason::Unreachable => match HandshakeError::find(source) {
            Some(handshake) => no_handshake(addr, &handshake),
            None => ApiError {
                message: format!(
                    "no connection to {addr}: {}; check that the server runs there",
                    error.message
                ),
                ..error
            },
        },
        Reason::Deadline => error,
        _ => {
            let why = match heard {
                Some(Word::GivenUp(reason)) => reason.to_string(),
                _ => root_of(source),
            };
            ApiError::new(Reason::ConnectionLost, format!("connection to {addr} broke: {why}"))
        }
    }
}

/// Whether an error is about the one server that was asked, so that another may do better.
pub(crate) fn is_of_one_server(error: &ApiError) -> bool {
    error.retryable(true) || error.reason == Reason::TlsFailed
}

fn no_handshake(addr: &str, error: &HandshakeError) -> ApiError {
    match error {
        HandshakeError::Untrusted { reason } => {
            let message = format!(
                "the certificate of {addr} is refused: {reason}; look at the CA and the server name that are given here"
            );
            tls(TlsProblem::ServerUntrusted, message)
        }
        HandshakeError::Refused { reason } => {
            let message =
                format!("{addr} refused the TLS handshake: {reason}; look at the certificate given here");
            tls(TlsProblem::ClientRefused, message)
        }
        HandshakeError::NoTls => {
            tls(TlsProblem::ServerInClear, format!("{addr} speaks no TLS: it serves in the clear"))
        }
        HandshakeError::Failed { .. } | HandshakeError::Io { .. } => {
            tls(TlsProblem::NoHandshake, format!("no TLS with {addr}: {error}"))
        }
    }
}

fn tls(problem: TlsProblem, message: impl Display) -> ApiError {
    ApiError::new(Reason::TlsFailed, message.to_string()).with(meta::TLS_PROBLEM, problem.name())
}

/// What lies behind all that is wrapped around it.
fn root_of(error: &(dyn Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |&error| error.source());
    causes.last().unwrap_or(error).to_string()
}
