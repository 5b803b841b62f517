//! The negative control.

/// Whether the disks sync what they are told to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sync {
    /// They do.
    Honest,
    /// They do not: acknowledged records will be lost, and the check must say so.
    Ignored,
}
