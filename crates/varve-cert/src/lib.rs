//! Certificates: whom they name, what they are for, and making them.
//!
//! [`subject_of`] says who holds a certificate, as a policy names them; [`node_of`] says which node of which cluster it is, if
//! it is one. Both take certificates that others made, such as CFSSL. An [`Authority`] makes certificates of its own, and
//! [`Revocations`] take them back; a [`CertificateDir`] keeps all of it in files. A [`Description`] says what a certificate is, and
//! what is wrong with it.
//!
//! Whether a certificate can be trusted is not said here: whoever asks has had TLS verify it. This crate must never know
//! sockets, TLS, policies, nor the cluster. Start reading at [`NodeUri`], then [`subject_of`], then [`Authority`].

mod authority;
mod common_name;
mod describe;
mod describe_list;
mod directory;
mod identity;
mod inspect;
mod issue;
mod key_file;
mod names;
mod node_uri;
mod revocations;
mod san;
#[cfg(feature = "testing")]
pub mod testing;
mod validity;

pub use authority::{Authority, AuthorityError};
pub use common_name::{COMMON_NAME_CHARS_MAX, CommonName, InvalidCommonName};
pub use describe::{Description, ENDS_SOON, Finding, Role};
pub use describe_list::ListDescription;
pub use directory::{
    AUTHORITY_FILE, AUTHORITY_KEY_FILE, CertificateDir, DirectoryError, Existing, PEM_FILE_BYTES_MAX,
    REVOCATIONS_FILE, Written, read,
};
pub use identity::{IdentityError, SUBJECT_URI_BYTES_MAX, Subject, node_of, subject_of};
pub use inspect::{BLOCKS_MAX, InspectError, Inspected, certificates, inspect};
pub use issue::{ClientRequest, Issued, PrivateKeyPem, ServerRequest};
pub use names::{CLUSTER_NAME_BYTES_MAX, ClusterName, InvalidName, NODE_NAME_BYTES_MAX, NodeName};
pub use node_uri::{InvalidNodeUri, NODE_URI_SCHEME, NodeUri};
pub use revocations::{REVOKED_MAX, RevocationError, Revocations};
pub use san::{InvalidServerAddress, ServerAddress};
pub use validity::{BACKDATE, InvalidValidity, Validity};
