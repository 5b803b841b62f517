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

numbered!(PartitionId(u64), ProducerId(i64), ProducerEpoch(i16), Timestamp(i64));

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
