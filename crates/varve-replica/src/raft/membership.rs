//! How a membership lies in an entry's body. `docs/raft.md` describes the bytes.

use super::types::{RaftMembership, RaftStoredMembership, to_raft};
use bytes::{Buf, BufMut, Bytes};
use std::collections::{BTreeMap, BTreeSet};
use varve_record::NodeId;
use varve_storage::StoredMembership;

const VERSION: u8 = 1;
/// More than two configurations (a change in two steps) never lie in one entry; more members than this never in one.
const CONFIGS_MAX: usize = 8;
const MEMBERS_MAX: usize = 4096;

/// A membership's bytes.
pub(crate) fn encode(membership: &RaftMembership) -> Bytes {
    let mut bytes = Vec::new();
    let configs = membership.get_joint_config();
    bytes.put_u8(VERSION);
    bytes.put_u8(u8::try_from(configs.len()).expect("a change has two configurations"));
    for config in configs {
        put_members(&mut bytes, config.iter().copied());
    }
    put_members(&mut bytes, membership.learner_ids());
    bytes.into()
}

/// The membership in an entry's body; `None` where the bytes are none that this version knows.
pub(crate) fn decode(mut bytes: &[u8]) -> Option<RaftMembership> {
    if bytes.len() < 2 || bytes.get_u8() != VERSION {
        return None;
    }
    let configs_len = usize::from(bytes.get_u8());
    if configs_len > CONFIGS_MAX {
        return None;
    }
    let mut configs = Vec::with_capacity(configs_len);
    for _ in 0..configs_len {
        configs.push(get_members(&mut bytes)?);
    }
    let learners = get_members(&mut bytes)?;
    if !bytes.is_empty() {
        return None;
    }
    let nodes: BTreeMap<u64, ()> =
        configs.iter().flatten().chain(&learners).map(|member| (*member, ())).collect();
    if configs.is_empty() && nodes.is_empty() {
        return Some(RaftMembership::default());
    }
    RaftMembership::new(configs, nodes).ok()
}

/// Whether a node is the only one that votes, and no change is under way.
pub(crate) fn is_sole_voter(membership: Option<&StoredMembership>, node: NodeId) -> bool {
    let Some(membership) = membership.and_then(|stored| decode(&stored.body)) else { return false };
    matches!(membership.get_joint_config().as_slice(), [only] if *only == BTreeSet::from([node.get()]))
}

/// A membership with its entry, as consensus has it; the empty one where there is none.
pub(crate) fn to_stored(membership: Option<&StoredMembership>) -> Option<RaftStoredMembership> {
    let Some(stored) = membership else { return Some(RaftStoredMembership::default()) };
    Some(RaftStoredMembership::new(Some(to_raft(stored.log_id)), decode(&stored.body)?))
}

fn put_members(bytes: &mut Vec<u8>, members: impl Iterator<Item = u64>) {
    let members: Vec<u64> = members.collect();
    bytes.put_u16_le(u16::try_from(members.len()).expect("a group has few members"));
    members.into_iter().for_each(|member| bytes.put_u64_le(member));
}

fn get_members(bytes: &mut &[u8]) -> Option<BTreeSet<u64>> {
    if bytes.len() < 2 {
        return None;
    }
    let len = usize::from(bytes.get_u16_le());
    if len > MEMBERS_MAX || bytes.len() < len * 8 {
        return None;
    }
    let members: BTreeSet<u64> = (0..len).map(|_| bytes.get_u64_le()).collect();
    (members.len() == len).then_some(members)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> RaftMembership {
        let configs = vec![BTreeSet::from([1, 2, 3]), BTreeSet::from([3, 4, 5])];
        RaftMembership::new(configs, (1..=7).map(|id| (id, ())).collect::<BTreeMap<_, _>>()).unwrap()
    }

    #[test]
    fn reads_what_it_writes() {
        let membership = sample();
        assert_eq!(decode(&encode(&membership)), Some(membership));
        assert_eq!(decode(&encode(&RaftMembership::default())), Some(RaftMembership::default()));
    }

    #[test]
    fn bytes_stay_as_documented() {
        let membership = RaftMembership::new(vec![BTreeSet::from([1])], BTreeMap::from([(1, ()), (2, ())]));
        let bytes = [1, 1, 1, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 2, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(encode(&membership.unwrap()).as_ref(), bytes);
    }

    #[test]
    fn what_is_cut_short_or_too_long_or_newer_is_refused() {
        let bytes = encode(&sample());
        (0..bytes.len()).for_each(|len| assert_eq!(decode(&bytes[..len]), None, "{len}"));
        assert_eq!(decode(&[&bytes[..], &[0]].concat()), None);
        assert_eq!(decode(&[&[2], &bytes[1..]].concat()), None);
    }
}
