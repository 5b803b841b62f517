//! Producers' identities.

use crate::limits::{NAMED_PRODUCERS_MAX, NAMED_PRODUCERS_OF_SUBJECT_MAX, PRODUCER_NAME_BYTES_MAX};
use crate::{MetadataError, number};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;
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
#[serde(from = "Stored")]
pub(crate) struct Producers {
    next_id: i64,
    named: BTreeMap<String, Named>,
    /// How many names each subject has. It follows from the names.
    #[serde(skip)]
    owners: BTreeMap<Arc<str>, usize>,
}

/// A producer that has a name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Named {
    #[serde(flatten)]
    identity: ProducerIdentity,
    /// The subject that the name belongs to; nobody, where it was taken without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    owner: Option<Arc<str>>,
}

/// As it is stored.
#[derive(Deserialize)]
struct Stored {
    next_id: i64,
    named: BTreeMap<String, Named>,
}

impl From<Stored> for Producers {
    fn from(Stored { next_id, mut named }: Stored) -> Self {
        let mut owners = BTreeMap::new();
        for owner in named.values_mut().filter_map(|named| named.owner.as_mut()) {
            *owner = count_one(&mut owners, owner);
        }
        Self { next_id, named, owners }
    }
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
        let owner = self.named.get(name).and_then(|named| named.owner.clone());
        let identity = self.next(name)?;
        self.named.insert(name.to_owned(), Named { identity, owner });
        Ok(identity)
    }

    /// The same in the name of a subject, whom the name belongs to from then on. Whoever has the name is not counted anew, so that names
    /// from before there were owners can all be claimed by those who use them.
    pub(crate) fn claim(
        &mut self,
        name: &str,
        subject: &str,
        take_over: bool,
    ) -> Result<ProducerIdentity, MetadataError> {
        check_name(name)?;
        if name.chars().any(char::is_control) {
            return Err(MetadataError::ProducerNameControl { name: name.to_owned() });
        }
        let known = self.named.get(name);
        let before = known.and_then(|named| named.owner.clone());
        if !take_over && before.as_deref().is_some_and(|owner| owner != subject) {
            return Err(MetadataError::ProducerOwned { name: name.to_owned() });
        }
        let has = self.owners.get(subject).copied().unwrap_or_default();
        if known.is_none() && has >= NAMED_PRODUCERS_OF_SUBJECT_MAX {
            let (subject, max) = (subject.to_owned(), NAMED_PRODUCERS_OF_SUBJECT_MAX);
            return Err(MetadataError::TooManyProducersOfSubject { subject, max });
        }
        let identity = self.next(name)?;
        if let Some(owner) = &before {
            self.uncount(owner);
        }
        let owner = Some(count_one(&mut self.owners, subject));
        self.named.insert(name.to_owned(), Named { identity, owner });
        Ok(identity)
    }

    /// Whether any name belongs to a subject.
    pub(crate) fn are_owned(&self) -> bool {
        !self.owners.is_empty()
    }

    fn next(&mut self, name: &str) -> Result<ProducerIdentity, MetadataError> {
        let known = self.named.get(name).map(|named| named.identity);
        match known.map(|known| (known.id, known.epoch.get().checked_add(1))) {
            Some((id, Some(epoch))) => Ok(ProducerIdentity { id, epoch: ProducerEpoch::new(epoch) }),
            None if self.named.len() >= NAMED_PRODUCERS_MAX => {
                Err(MetadataError::TooManyProducers { max: NAMED_PRODUCERS_MAX })
            }
            _ => Ok(ProducerIdentity { id: self.allocate(1)?, epoch: ProducerEpoch::new(0) }),
        }
    }

    fn uncount(&mut self, owner: &str) {
        if let Some(count) = self.owners.get_mut(owner) {
            *count -= 1;
            if *count == 0 {
                self.owners.remove(owner);
            }
        }
    }
}

/// Counts a name of a subject. The answer is the subject, which all its names share.
fn count_one(owners: &mut BTreeMap<Arc<str>, usize>, subject: &str) -> Arc<str> {
    let owner =
        owners.get_key_value(subject).map_or_else(|| Arc::from(subject), |(owner, _)| Arc::clone(owner));
    *owners.entry(Arc::clone(&owner)).or_default() += 1;
    owner
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

    fn owned(name: &str) -> MetadataError {
        MetadataError::ProducerOwned { name: name.to_owned() }
    }

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
        let identity = ProducerIdentity { id: ProducerId::new(5), epoch: ProducerEpoch::new(i16::MAX) };
        producers.next_id = 6;
        producers.named.insert("old".to_owned(), Named { identity, owner: None });
        let fresh = producers.init("old").unwrap();
        assert_eq!((fresh.id.get(), fresh.epoch.get()), (6, 0));
    }

    #[test]
    fn names_are_bounded() {
        let mut producers = Producers::default();
        assert!(producers.init("").is_err());
        assert!(producers.init(&"x".repeat(PRODUCER_NAME_BYTES_MAX + 1)).is_err());
        assert!(producers.claim("", "alice", false).is_err());
        assert!(producers.claim("a\0b", "alice", false).is_err());
        assert_eq!(producers, Producers::default());
    }

    #[test]
    fn a_name_belongs_to_the_first_that_claims_it() {
        let mut producers = Producers::default();
        let first = producers.claim("billing", "alice", false).unwrap();
        let before = producers.clone();
        assert_eq!(producers.claim("billing", "bob", false), Err(owned("billing")));
        assert_eq!(producers, before, "a refusal changes nothing");
        let second = producers.claim("billing", "alice", false).unwrap();
        assert_eq!((second.id, second.epoch.get()), (first.id, first.epoch.get() + 1));
        // Whoever takes it over has it.
        let third = producers.claim("billing", "root", true).unwrap();
        assert_eq!((third.id, third.epoch.get()), (first.id, first.epoch.get() + 2));
        assert_eq!(producers.claim("billing", "alice", false), Err(owned("billing")));
        assert_eq!(producers.owners.keys().map(AsRef::as_ref).collect::<Vec<_>>(), ["root"]);
    }

    #[test]
    fn a_name_from_before_there_were_owners_is_its_first_claimants() {
        let mut producers = Producers::default();
        producers.init("old").unwrap();
        assert!(!producers.are_owned());
        producers.claim("old", "alice", false).unwrap();
        assert_eq!(producers.claim("old", "bob", false), Err(owned("old")));
        // A command that says no subject is as it always was, and leaves the name with its owner.
        producers.init("old").unwrap();
        assert_eq!(producers.claim("old", "bob", false), Err(owned("old")));
    }

    #[test]
    fn no_subject_takes_all_names() {
        let mut producers = Producers::default();
        producers.init("old").unwrap();
        for number in 0..NAMED_PRODUCERS_OF_SUBJECT_MAX {
            producers.claim(&number.to_string(), "greedy", false).unwrap();
        }
        let (subject, max) = ("greedy".to_owned(), NAMED_PRODUCERS_OF_SUBJECT_MAX);
        let full = MetadataError::TooManyProducersOfSubject { subject, max };
        assert_eq!(producers.claim("one more", "greedy", false), Err(full.clone()));
        producers.claim("one more", "alice", false).unwrap();
        producers.claim("7", "greedy", false).unwrap();
        producers.claim("old", "greedy", false).unwrap();
        // What is stored says the same.
        let json = serde_json::to_string(&producers).unwrap();
        let mut again: Producers = serde_json::from_str(&json).unwrap();
        assert_eq!(again, producers);
        assert_eq!(again.claim("and more", "greedy", false), Err(full));
    }
}
