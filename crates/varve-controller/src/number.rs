//! Newtypes as bare numbers in JSON.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub(crate) fn serialize<T, N, S>(value: &T, serializer: S) -> Result<S::Ok, S::Error>
where
    T: Copy + Numbered<Bare = N>,
    N: Serialize,
    S: Serializer,
{
    value.bare().serialize(serializer)
}

pub(crate) fn deserialize<'de, T, N, D>(deserializer: D) -> Result<T, D::Error>
where
    T: Numbered<Bare = N>,
    N: Deserialize<'de>,
    D: Deserializer<'de>,
{
    N::deserialize(deserializer).map(T::named)
}

/// A newtype over a number.
pub(crate) trait Numbered {
    type Bare;
    fn bare(self) -> Self::Bare;
    fn named(bare: Self::Bare) -> Self;
}

macro_rules! numbered {
    ($($name:ident($bare:ty)),*) => {$(
        impl Numbered for varve_record::$name {
            type Bare = $bare;
            fn bare(self) -> $bare {
                self.get()
            }
            fn named(bare: $bare) -> Self {
                Self::new(bare)
            }
        }
    )*};
}

numbered!(NodeId(u64), PartitionId(u64), ProducerId(i64), ProducerEpoch(i16), Term(u64), Timestamp(i64));

/// A list of newtypes.
pub(crate) mod list {
    use super::Numbered;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(crate) fn serialize<T, N, S>(values: &[T], serializer: S) -> Result<S::Ok, S::Error>
    where
        T: Copy + Numbered<Bare = N>,
        N: Serialize,
        S: Serializer,
    {
        serializer.collect_seq(values.iter().map(|value| value.bare()))
    }

    pub(crate) fn deserialize<'de, T, N, D>(deserializer: D) -> Result<Vec<T>, D::Error>
    where
        T: Numbered<Bare = N>,
        N: Deserialize<'de>,
        D: Deserializer<'de>,
    {
        Ok(Vec::<N>::deserialize(deserializer)?.into_iter().map(T::named).collect())
    }
}

/// A newtype that may be absent.
pub(crate) mod option {
    use super::Numbered;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(crate) fn serialize<T, N, S>(value: &Option<T>, serializer: S) -> Result<S::Ok, S::Error>
    where
        T: Copy + Numbered<Bare = N>,
        N: Serialize,
        S: Serializer,
    {
        value.map(T::bare).serialize(serializer)
    }

    pub(crate) fn deserialize<'de, T, N, D>(deserializer: D) -> Result<Option<T>, D::Error>
    where
        T: Numbered<Bare = N>,
        N: Deserialize<'de>,
        D: Deserializer<'de>,
    {
        Ok(Option::<N>::deserialize(deserializer)?.map(T::named))
    }
}

/// A set of newtypes, as a list.
pub(crate) mod set {
    use super::Numbered;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};
    use std::collections::BTreeSet;

    pub(crate) fn serialize<T, N, S>(values: &BTreeSet<T>, serializer: S) -> Result<S::Ok, S::Error>
    where
        T: Copy + Numbered<Bare = N>,
        N: Serialize,
        S: Serializer,
    {
        serializer.collect_seq(values.iter().map(|value| value.bare()))
    }

    pub(crate) fn deserialize<'de, T, N, D>(deserializer: D) -> Result<BTreeSet<T>, D::Error>
    where
        T: Ord + Numbered<Bare = N>,
        N: Deserialize<'de>,
        D: Deserializer<'de>,
    {
        Ok(Vec::<N>::deserialize(deserializer)?.into_iter().map(T::named).collect())
    }
}

/// A map by a newtype: JSON takes the numbers as keys.
pub(crate) mod map {
    use super::Numbered;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};
    use std::collections::BTreeMap;

    pub(crate) fn serialize<K, N, V, S>(values: &BTreeMap<K, V>, serializer: S) -> Result<S::Ok, S::Error>
    where
        K: Copy + Numbered<Bare = N>,
        N: Serialize,
        V: Serialize,
        S: Serializer,
    {
        serializer.collect_map(values.iter().map(|(key, value)| (key.bare(), value)))
    }

    pub(crate) fn deserialize<'de, K, N, V, D>(deserializer: D) -> Result<BTreeMap<K, V>, D::Error>
    where
        K: Ord + Numbered<Bare = N>,
        N: Ord + Deserialize<'de>,
        V: Deserialize<'de>,
        D: Deserializer<'de>,
    {
        let bare = BTreeMap::<N, V>::deserialize(deserializer)?;
        Ok(bare.into_iter().map(|(key, value)| (K::named(key), value)).collect())
    }
}
