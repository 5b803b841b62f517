use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use varve_api::TopicName;
use varve_api::v1::Topic;
use varve_record::NodeId;

use crate::picker::PartitionServers;
use crate::resolver::Resolver;

/// Most topics that a client remembers the partitions of; beyond it forgets them all and asks again.
const TOPICS_MAX: usize = 10_000;
/// How long what is remembered is believed without a sign of change.
const AGE_MAX: Duration = Duration::from_secs(300);

/// Where the partitions of the topics in use are.
#[derive(Debug, Default)]
pub(crate) struct Topics {
    known: Mutex<HashMap<TopicName, Known>>,
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
    pub(crate) partitions: Vec<PartitionServers>,
    /// The largest record that the topic takes, in bytes, where the server says.
    pub(crate) record_bytes_max: Option<usize>,
}

impl Topics {
    /// What is known of a topic, if there is no reason to ask again.
    pub(crate) fn get(&self, topic: &TopicName) -> Option<Arc<TopicMap>> {
        let known = self.known();
        known.get(topic).filter(|known| known.is_fresh()).map(|known| known.map.clone())
    }

    /// What was known of a topic last, however long ago.
    pub(crate) fn get_last(&self, topic: &TopicName) -> Option<Arc<TopicMap>> {
        self.known().get(topic).map(|known| known.map.clone())
    }

    /// Takes over what a server said about a topic.
    pub(crate) fn learn(&self, name: &TopicName, topic: &Topic, resolver: &Resolver) -> Arc<TopicMap> {
        let address = |id: &u64| resolver.address(NodeId::new(*id));
        let partitions = topic.partitions.iter().map(|partition| {
            let followers = partition.replicas.iter().filter(|id| Some(**id) != partition.leader);
            PartitionServers {
                leader: partition.leader.as_ref().and_then(address),
                followers: followers.filter_map(address).collect(),
            }
        });
        let record_bytes_max = topic.effective_settings.and_then(|settings| settings.record_bytes_max);
        let record_bytes_max = record_bytes_max.map(|max| usize::try_from(max).unwrap_or(usize::MAX));
        let map = Arc::new(TopicMap { partitions: partitions.collect(), record_bytes_max });
        let mut known = self.known();
        if known.len() >= TOPICS_MAX {
            known.clear();
        }
        known.insert(name.clone(), Known { map: map.clone(), learnt: Instant::now(), is_doubtful: false });
        map
    }

    /// Takes over who leads a partition, from a server that does not.
    pub(crate) fn learn_leader(&self, topic: &TopicName, partition: u32, leader: &str) {
        let mut known = self.known();
        let Some(known) = known.get_mut(topic) else { return };
        let servers = Arc::make_mut(&mut known.map).partitions.get_mut(partition as usize);
        let Some(servers) = servers.filter(|servers| servers.leader.as_deref() != Some(leader)) else {
            return;
        };
        let led_before = servers.leader.replace(leader.into());
        servers.followers.retain(|follower| follower != leader);
        servers.followers.extend(led_before);
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
    use varve_api::v1::{GetServersResponse, Partition, Server};

    use super::*;

    #[tokio::test]
    async fn knows_leader_and_followers_and_learns_a_new_leader() {
        let resolver = Resolver::new(&"seed".parse().expect("a good address"));
        let server = |id: u64| Server { id, rpc_addr: format!("s{id}:1"), ..Server::default() };
        let servers = (1..=3).map(server).collect();
        resolver.update(GetServersResponse { servers, cluster_id: String::new() }, "seed:8400");

        let topics = Topics::default();
        let name = TopicName::new("events").expect("a good name");
        let partition = Partition { leader: Some(2), replicas: vec![1, 2, 3], ..Partition::default() };
        let topic = Topic { partitions: vec![partition], ..Topic::default() };
        let map = topics.learn(&name, &topic, &resolver);
        assert_eq!(map.partitions[0].leader.as_deref(), Some("s2:1"));
        assert_eq!(map.partitions[0].followers, ["s1:1", "s3:1"]);

        topics.learn_leader(&name, 0, "s3:1");
        topics.learn_leader(&name, 7, "s3:1");
        let map = topics.get(&name).expect("known");
        assert_eq!(map.partitions[0].leader.as_deref(), Some("s3:1"));
        assert_eq!(map.partitions[0].followers, ["s1:1", "s2:1"]);

        topics.doubt(&name);
        assert!(topics.get(&name).is_none());
        assert!(topics.get_last(&name).is_some());
    }
}
