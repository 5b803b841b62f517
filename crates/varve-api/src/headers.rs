//! Metadata of calls: what a caller says beside its request.

/// Whether the server that is called may hand the call on to another, where only that one can serve it. Without it a server
/// does: any client may talk to any server.
pub const FORWARD: &str = "varve-forward";

/// The value of [`FORWARD`] of callers that go to the right server by themselves, and are told which one it is
/// (`NOT_LEADER`); also of calls that were handed on once.
pub const FORWARD_NEVER: &str = "never";

/// Who has made a call that a node of the cluster hands on to another: the subject of their certificate, as bytes. Believed of
/// nodes alone.
pub const SUBJECT: &str = "varve-subject-bin";
