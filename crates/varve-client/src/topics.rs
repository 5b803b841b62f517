use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use varve_api::TopicName;
use varve_api::error::{ApiError, meta};
use varve_api::v1;
use varve_record::{NodeId, Term};

use crate::roster::Roster;

/// Most topics that a client remembers the partitions of; beyond it forgets them all and asks again.
const TOPICS_MAX: usize = 10_000;
/// How long what is remembered is believed without a sign of change.
const AGE_MAX: Duration = Duration::from_secs(300);

/// Where the partitions of the topics in use are.
#[derive(Debug, Default)]
pub(crate) struct Topics {
    known: Mutex<HashMap<TopicName, Known>>,
    /// Held by whoever asks for a topic.
    asking: Mutex<HashMap<TopicName, Arc<tokio::sync::Mutex<()>>>>,
}

#[derive(Debug)]
struct Known {
    map: Arc<TopicMap>,
    learnt: Instant,
    /// There was a sign of change.
    is_doubtful: bool,
}

impl Known {
    fn is_fresh(&self) -> bool {
        !self.is_doubtful && self.learnt.elapsed() < AGE_MAX
    }
}

/// Where the partitions of a topic are.
#[derive(Debug, Clone)]
pub(crate) struct TopicMap {
    pub(crate) partitions: Vec<Placement>,
    /// The largest record that the topic takes, in bytes, where the server says.
    pub(crate) record_bytes_max: Option<usize>,
}

impl TopicMap {
    pub(crate) fn new(topic: &v1::Topic) -> Self {
        let record_bytes_max = topic.effective_settings.and_then(|settings| settings.record_bytes_max);
        Self {
            partitions: topic.partitions.iter().map(Placement::new).collect(),
            record_bytes_max: record_bytes_max.map(|max| usize::try_from(max).unwrap_or(usize::MAX)),
        }
    }

    /// Whether nobody is known to lead one of the partitions.
    pub(crate) fn lacks_leader(&self) -> bool {
        self.partitions.iter().any(|partition| partition.leader.is_none())
    }

    /// The servers that are named, some of them more than once.
    pub(crate) fn servers(&self) -> impl Iterator<Item = &NodeId> {
        self.partitions.iter().flat_map(|partition| &partition.replicas)
    }
}

/// Which servers hold a partition.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Placement {
    pub(crate) leader: Option<Leader>,
    pub(crate) replicas: Vec<NodeId>,
    /// The leader's.
    term: Option<Term>,
}

/// Who leads a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Leader {
    id: Option<NodeId>,
    /// Where it is, as another server said.
    hint: Option<Arc<str>>,
}

impl Leader {
    /// The leader that an error names.
    fn named(error: &ApiError) -> Option<Self> {
        let hint = Some(error.get(meta::LEADER_ADDR)?.into());
        Some(Self { id: error.number(meta::LEADER_ID).map(NodeId::new), hint })
    }

    /// Where it is: as the cluster says, which follows changes, else as was said when it became known.
    pub(crate) fn addr(&self, roster: &Roster) -> Option<Arc<str>> {
        let member = self.id.and_then(|id| roster.members.get(&id));
        member.map(|member| member.addr.clone()).or_else(|| self.hint.clone())
    }
}

impl Placement {
    fn new(partition: &v1::Partition) -> Self {
        Self {
            leader: partition.leader.map(|id| Leader { id: Some(NodeId::new(id)), hint: None }),
            replicas: partition.replicas.iter().copied().map(NodeId::new).collect(),
            term: partition.term.map(Term::new),
        }
    }

    /// Whether this is of a later leadership.
    pub(crate) fn is_newer_than(&self, other: &Self) -> bool {
        self.term > other.term
    }
}

impl Topics {
    /// What is known of a topic, if there is no reason to ask again.
    pub(crate) fn get(&self, topic: &TopicName) -> Option<Arc<TopicMap>> {
        let known = self.known();
        known.get(topic).filter(|known| known.is_fresh()).map(|known| known.map.clone())
    }

    /// Whose turn it is to ask for a topic.
    pub(crate) fn asking(&self, topic: &TopicName) -> Arc<tokio::sync::Mutex<()>> {
        let mut asking = self.asking.lock().unwrap_or_else(PoisonError::into_inner);
        if asking.len() >= TOPICS_MAX {
            asking.clear();
        }
        Arc::clone(asking.entry(topic.clone()).or_default())
    }

    /// What was known of a topic last, however long ago.
    pub(crate) fn get_last(&self, topic: &TopicName) -> Option<Arc<TopicMap>> {
        self.known().get(topic).map(|known| known.map.clone())
    }

    /// Takes over what a server said about a topic.
    pub(crate) fn learn(&self, name: &TopicName, topic: &v1::Topic) -> Arc<TopicMap> {
        let map = Arc::new(TopicMap::new(topic));
        let mut known = self.known();
        if known.len() >= TOPICS_MAX {
            known.clear();
        }
        known.insert(name.clone(), Known { map: map.clone(), learnt: Instant::now(), is_doubtful: false });
        map
    }

    /// Takes over who leads a partition, from a server that does not. Where that is older than what is known, or names
    /// nobody, the topic is doubted.
    pub(crate) fn learn_leader(&self, topic: &TopicName, partition: u32, error: &ApiError) {
        let mut known = self.known();
        let Some(known) = known.get_mut(topic) else { return };
        let Some(leader) = Leader::named(error) else {
            known.is_doubtful = true;
            return;
        };
        let term = error.number(meta::TERM).map(Term::new);
        let Some(placement) = Arc::make_mut(&mut known.map).partitions.get_mut(partition as usize) else {
            return;
        };
        if term.is_some() && term < placement.term {
            known.is_doubtful = true;
            return;
        }
        placement.term = term.or(placement.term);
        placement.leader = Some(leader);
    }

    /// Doubts what is known of a topic, so that it is asked for again.
    pub(crate) fn doubt(&self, topic: &TopicName) {
        if let Some(known) = self.known().get_mut(topic) {
            known.is_doubtful = true;
        }
    }

    fn known(&self) -> MutexGuard<'_, HashMap<TopicName, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use varve_api::error::Reason;

    use super::*;

    fn topics(term: u64) -> (Topics, TopicName) {
        let topics = Topics::default();
        let name = TopicName::new("events").expect("a good name");
        let partition = v1::Partition {
            leader: Some(2),
            replicas: vec![1, 2, 3],
            term: Some(term),
            ..Default::default()
        };
        topics.learn(&name, &v1::Topic { partitions: vec![partition], ..Default::default() });
        (topics, name)
    }

    fn not_leader(leader: u64, term: u64) -> ApiError {
        let error = ApiError::new(Reason::NotLeader, "not me").with(meta::LEADER_ID, leader);
        error.with(meta::LEADER_ADDR, format!("s{leader}:1")).with(meta::TERM, term)
    }

    fn leader(topics: &Topics, name: &TopicName) -> Option<Leader> {
        topics.get(name)?.partitions[0].leader.clone()
    }

    #[test]
    fn learns_a_new_leader_and_doubts_an_old_one() {
        let (topics, name) = topics(5);
        topics.learn_leader(&name, 0, &not_leader(3, 6));
        topics.learn_leader(&name, 7, &not_leader(1, 6));
        let led = leader(&topics, &name).expect("it is known");
        assert_eq!((led.id, led.hint.as_deref()), (Some(NodeId::new(3)), Some("s3:1")));

        topics.learn_leader(&name, 0, &not_leader(1, 4));
        assert!(topics.get(&name).is_none(), "it is asked for again");
        let last = topics.get_last(&name).expect("it was known");
        assert_eq!(last.partitions[0].leader.as_ref(), Some(&led));
    }

    #[test]
    fn a_leader_that_nobody_names_is_asked_for() {
        let (topics, name) = topics(5);
        topics.learn_leader(&name, 0, &ApiError::new(Reason::NotLeader, "not me"));
        assert!(topics.get(&name).is_none());
        assert!(topics.get_last(&name).is_some());
    }

    #[test]
    fn a_leader_is_where_the_cluster_says_else_where_it_was_said_to_be() {
        let known = Leader { id: Some(NodeId::new(1)), hint: Some("old:1".into()) };
        assert_eq!(known.addr(&Roster::default()).as_deref(), Some("old:1"));
        let server = |id| v1::Server { id, rpc_addr: format!("new{id}:1"), ..Default::default() };
        let answer = v1::GetServersResponse { servers: vec![server(1), server(2)], ..Default::default() };
        assert_eq!(known.addr(&Roster::new(&answer)).as_deref(), Some("new1:1"));
    }
}
