//! What it is done to.

use std::fmt;

/// The word that policies have for the cluster, and for every topic.
pub(crate) const ANY: &str = "*";

/// What an action is done to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Object<'a> {
    /// A topic of this name, which may be no good one.
    Topic(&'a str),
    /// The cluster as a whole, `*` in a policy.
    Cluster,
    /// Some topic, whichever: a producer asks for its identity before it says where it appends.
    SomeTopic,
}

/// The same, kept.
#[derive(Clone, Debug)]
pub(crate) enum OwnedObject {
    Topic(String),
    Cluster,
    SomeTopic,
}

impl OwnedObject {
    pub(crate) fn borrowed(&self) -> Object<'_> {
        match self {
            Self::Topic(topic) => Object::Topic(topic),
            Self::Cluster => Object::Cluster,
            Self::SomeTopic => Object::SomeTopic,
        }
    }
}

impl From<Object<'_>> for OwnedObject {
    fn from(object: Object<'_>) -> Self {
        match object {
            Object::Topic(topic) => Self::Topic(topic.to_owned()),
            Object::Cluster => Self::Cluster,
            Object::SomeTopic => Self::SomeTopic,
        }
    }
}

impl fmt::Display for Object<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Topic(name) => write!(f, "topic {name:?}"),
            Self::Cluster => f.write_str("the cluster (`*`)"),
            Self::SomeTopic => f.write_str("any topic"),
        }
    }
}
