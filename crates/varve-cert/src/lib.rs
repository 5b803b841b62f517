//! Certificates: whom they name, what they are for, and making them.
//!
//! [`subject_of`] says who holds a certificate, as a policy names them; [`node_of`] says which node of which cluster it is, if
//! it is one. Both take certificates that others made, such as CFSSL. An [`Authority`] makes certificates of its own.
//!
//! Whether a certificate can be trusted is not said here: whoever asks has had TLS verify it. This crate must never know
//! sockets, TLS, policies, nor the cluster. Start reading at [`NodeUri`], then [`subject_of`], then [`Authority`].

mod authority;
mod common_name;
mod identity;
mod issue;
mod names;
mod node_uri;
mod san;
mod validity;

pub use authority::{Authority, AuthorityError};
pub use common_name::{COMMON_NAME_CHARS_MAX, CommonName, InvalidCommonName};
pub use identity::{IdentityError, SUBJECT_URI_BYTES_MAX, Subject, node_of, subject_of};
pub use issue::{ClientRequest, Issued, PrivateKeyPem, ServerRequest};
pub use names::{CLUSTER_NAME_BYTES_MAX, ClusterName, InvalidName, NODE_NAME_BYTES_MAX, NodeName};
pub use node_uri::{InvalidNodeUri, NODE_URI_SCHEME, NodeUri};
pub use san::{InvalidServerAddress, ServerAddress};
pub use validity::{BACKDATE, InvalidValidity, Validity};
