//! The newtypes that carry no arithmetic of their own, and the macro that defines all of them.

/// Defines a newtype over an integer with the conversions that all of them share.
macro_rules! id_type {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name($inner);

        impl $name {
            #[doc = concat!("Names `value` as a `", stringify!($name), "`.")]
            pub const fn new(value: $inner) -> Self {
                Self(value)
            }

            /// The bare number.
            pub const fn get(self) -> $inner {
                self.0
            }
        }

        impl From<$inner> for $name {
            fn from(value: $inner) -> Self {
                Self(value)
            }
        }

        impl From<$name> for $inner {
            fn from(id: $name) -> Self {
                id.0
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}
pub(crate) use id_type;

id_type! {
    /// A Raft term: the number of an election. It only grows.
    Term(u64)
}

id_type! {
    /// The number of a partition, unique in its cluster and never reused. One partition is one Raft group; directories
    /// on disk are numbered by it.
    PartitionId(u64)
}

id_type! {
    /// The number of a node, given by the controller and never reused.
    NodeId(u64)
}

id_type! {
    /// The number of an idempotent producer. The bytes of a batch hold -1 where there is none.
    ProducerId(i64)
}

id_type! {
    /// The epoch of an idempotent producer: a newer one fences all older ones of the same [`ProducerId`].
    ProducerEpoch(i16)
}

id_type! {
    /// Milliseconds since the Unix epoch. Kafka's clients write -1 for "none".
    Timestamp(i64)
}

impl Term {
    /// The term after this one.
    ///
    /// # Panics
    /// At `u64::MAX`, which no cluster reaches.
    pub const fn next(self) -> Self {
        Self(self.0.checked_add(1).expect("no cluster holds 2^64 elections"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_the_bare_number_and_debugs_with_its_name() {
        assert_eq!(format!("{} {:?}", Term::new(5), Term::new(5)), "5 Term(5)");
        assert_eq!(format!("{:>4}|{:04}", PartitionId::new(7), NodeId::new(7)), "   7|0007");
    }

    #[test]
    fn converts_both_ways_and_defaults_to_zero() {
        assert_eq!(u64::from(NodeId::from(3)), 3);
        assert_eq!(Timestamp::default(), Timestamp::new(0));
        assert_eq!(Term::new(1).next(), Term::new(2));
    }
}
