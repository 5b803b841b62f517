//! The bounds of what is read and kept.

/// Most bytes of a policy file.
pub const POLICY_FILE_BYTES_MAX: u64 = 1024 * 1024;

/// Most bytes of a model file.
pub const MODEL_FILE_BYTES_MAX: u64 = 16 * 1024;

/// Deepest brackets of a matcher. The engine reads them by recursion, and has no bound of its own.
pub(crate) const BRACKETS_DEEP_MAX: usize = 16;

/// Most bytes of a line of either, and of a matcher that goes over several.
pub const LINE_BYTES_MAX: usize = 1024;

/// Most rules and role links together.
pub const RULES_MAX: usize = 10_000;

/// Up to so many rules are looked at on the spot, which takes a third of a millisecond at most.
pub(crate) const RULES_FEW: usize = 64;

/// Most steps from a subject through its roles to a rule.
pub const ROLE_DEPTH_MAX: usize = 10;

/// Longest name of a subject or role, in bytes: that of a URI in a certificate.
pub const SUBJECT_BYTES_MAX: usize = 256;

/// Longest name of a topic, in bytes.
pub(crate) const TOPIC_BYTES_MAX: usize = 249;

/// Most pairs of subject and object whose decisions are remembered. When there are more, all are forgotten.
pub const CACHED_OBJECTS_MAX: usize = 8192;
