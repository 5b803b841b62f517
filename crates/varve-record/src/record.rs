//! A record that owns its bytes.

use bytes::Bytes;

use crate::{Offset, Timestamp};

/// A record that owns its bytes: what [`Records::owned`](crate::Records::owned) gives. Key and value share the memory of
/// the batch that they came from, and keep it alive.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// The record's place in its partition.
    pub offset: Offset,
    /// When the producer made it.
    pub timestamp: Timestamp,
    /// The key, if it has one.
    pub key: Option<Bytes>,
    /// The value, if it has one.
    pub value: Option<Bytes>,
    /// The headers, in the producer's order; names may repeat.
    pub headers: Vec<Header>,
}

/// One header of a [`Record`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// The name; it may repeat within a record.
    pub name: String,
    /// The value, if it has one.
    pub value: Option<Bytes>,
}
