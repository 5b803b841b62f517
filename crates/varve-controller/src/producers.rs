//! Producers' identities.

use crate::limits::{NAMED_PRODUCERS_MAX, PRODUCER_NAME_BYTES_MAX};
use crate::{MetadataError, number};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use varve_record::{ProducerEpoch, ProducerId};

/// What an idempotent producer puts into its batches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProducerIdentity {
    /// Its id, unique in the cluster.
    #[serde(with = "number")]
    pub id: ProducerId,
    /// Its epoch: a newer one fences those before it.
    #[serde(with = "number")]
    pub epoch: ProducerEpoch,
}

/// The ids that were given out, and the producers that have a name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Producers {
    next_id: i64,
    named: BTreeMap<String, ProducerIdentity>,
}

impl Producers {
    /// Gives out a block of ids; the first one is returned.
    pub(crate) fn allocate(&mut self, count: u32) -> Result<ProducerId, MetadataError> {
        let first = self.next_id;
        self.next_id = first.checked_add(i64::from(count)).ok_or(MetadataError::ProducerIdsExhausted)?;
        Ok(ProducerId::new(first))
    }

    /// Begins a new life of a named producer: the same id, the next epoch. Where the epochs are used up it gets a new id.
    pub(crate) fn init(&mut self, name: &str) -> Result<ProducerIdentity, MetadataError> {
        check_name(name)?;
        let next = match self.named.get(name).map(|known| (known.id, known.epoch.get().checked_add(1))) {
            Some((id, Some(epoch))) => ProducerIdentity { id, epoch: ProducerEpoch::new(epoch) },
            None if self.named.len() >= NAMED_PRODUCERS_MAX => {
                return Err(MetadataError::TooManyProducers { max: NAMED_PRODUCERS_MAX });
            }
            _ => ProducerIdentity { id: self.allocate(1)?, epoch: ProducerEpoch::new(0) },
        };
        self.named.insert(name.to_owned(), next);
        Ok(next)
    }
}

fn check_name(name: &str) -> Result<(), MetadataError> {
    match name.len() {
        1..=PRODUCER_NAME_BYTES_MAX => Ok(()),
        len => Err(MetadataError::ProducerName { len, max: PRODUCER_NAME_BYTES_MAX }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_name_keeps_its_id_and_raises_its_epoch() {
        let mut producers = Producers::default();
        let first = producers.init("billing").unwrap();
        let other = producers.init("audit").unwrap();
        let second = producers.init("billing").unwrap();
        assert_eq!(second.id, first.id);
        assert_eq!(second.epoch.get(), first.epoch.get() + 1);
        assert_ne!(other.id, first.id);
    }

    #[test]
    fn used_up_epochs_get_a_new_id() {
        let mut producers = Producers::default();
        let worn = ProducerIdentity { id: ProducerId::new(5), epoch: ProducerEpoch::new(i16::MAX) };
        producers.next_id = 6;
        producers.named.insert("old".to_owned(), worn);
        let fresh = producers.init("old").unwrap();
        assert_eq!((fresh.id.get(), fresh.epoch.get()), (6, 0));
    }

    #[test]
    fn names_are_bounded() {
        let mut producers = Producers::default();
        assert!(producers.init("").is_err());
        assert!(producers.init(&"x".repeat(PRODUCER_NAME_BYTES_MAX + 1)).is_err());
    }
}
