//! Who may do what.
//!
//! A [`Policy`] is a model and a list of rules, read line by line and refused with the line that is wrong. It decides whether a
//! subject may do an [`Action`] on an [`Object`], and says by which rule; Casbin is the engine. An [`Authorizer`] is the policy
//! in use: cheap to clone, it remembers decisions until the policy changes, and tells streams when it has. A [`PolicyWatcher`]
//! loads the policy again when its files change. [`RPCS`] says what each call of the protocol asks for.
//!
//! This crate must never know networks, gRPC, certificates, Raft nor topics: it decides on names. Start reading at [`Action`],
//! then [`Policy`], then [`Authorizer`].

mod action;
mod authorizer;
mod cache;
mod decision;
mod effector;
mod engine;
mod error;
mod grant;
mod judge;
mod limits;
mod model;
mod object;
mod policy;
mod roles;
mod rpc;
mod rule;
mod source;
mod watcher;

pub use action::{Action, UnknownAction};
pub use authorizer::Authorizer;
pub use decision::{Basis, Decision};
pub use error::{PolicyError, Problem};
pub use grant::Grant;
pub use limits::{
    CACHED_OBJECTS_MAX, LINE_BYTES_MAX, MODEL_FILE_BYTES_MAX, POLICY_FILE_BYTES_MAX, ROLE_DEPTH_MAX,
    RULES_MAX, SUBJECT_BYTES_MAX,
};
pub use model::{DEFAULT_MODEL, Model};
pub use object::Object;
pub use policy::{Applicable, Policy};
pub use rpc::{ObjectOf, RPCS, Requirement, RpcRule, requirement};
pub use rule::{Effect, RoleLink, Rule};
pub use source::PolicySource;
pub use watcher::{POLL_INTERVAL, PolicyWatcher, Reload};
