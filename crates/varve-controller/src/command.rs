//! What changes the metadata.

use crate::{
    Leading, MetadataError, Node, Placement, ProducerIdentity, SettingsChange, Topic, TopicSettings, number,
};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use varve_record::{NodeId, PartitionId, ProducerId, Timestamp};

/// A change of the metadata, as an entry of the controller's log carries it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "snake_case")]
pub enum Command {
    /// Makes a topic.
    CreateTopic {
        /// Its name.
        topic: String,
        /// Partitions, at least one.
        partitions: u32,
        /// Replicas wanted, at least one.
        replication_factor: u32,
        /// When it was asked for.
        #[serde(with = "number")]
        created_ms: Timestamp,
        /// Its settings.
        #[serde(default)]
        settings: TopicSettings,
        /// Nodes that ran when it was asked for, which get the replicas if there are enough of them; empty says all.
        #[serde(default, with = "number::list", skip_serializing_if = "Vec::is_empty")]
        alive: Vec<NodeId>,
    },
    /// Changes a topic.
    AlterTopic {
        /// Its name.
        topic: String,
        /// Partitions that it shall have; absent leaves them.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        partitions: Option<u32>,
        /// Settings to change.
        #[serde(default)]
        settings: SettingsChange,
        /// As for [`Command::CreateTopic`], for new partitions.
        #[serde(default, with = "number::list", skip_serializing_if = "Vec::is_empty")]
        alive: Vec<NodeId>,
    },
    /// Deletes a topic and its records.
    DeleteTopic {
        /// Its name.
        topic: String,
    },
    /// Begins a new life of a named producer, which fences the one before. Nobody says whose it is: a new name is nobody's, and one that
    /// belongs to somebody stays theirs.
    InitProducer {
        /// Its name.
        name: String,
    },
    /// Begins a new life of a named producer in the name of a subject. A name that is new or nobody's belongs to that subject from then
    /// on; one that is another's is refused. Known since [`crate::COMMANDS_KNOWN`] is 2.
    ClaimProducer {
        /// Its name.
        name: String,
        /// Whose it is to be.
        subject: String,
        /// Whether it is taken from whoever has it.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        take_over: bool,
    },
    /// Takes a block of producer ids.
    AllocateProducerIds {
        /// How many.
        count: u32,
    },
    /// Takes in a node whose disk is empty. A node of the same name is lost from then on.
    RegisterNode {
        /// Its name.
        name: String,
        /// Where clients and peers reach it, as `host:port`.
        rpc_addr: String,
        /// Where gossip reaches it, as `host:port`.
        gossip_addr: String,
        /// What it fails together with; may be empty.
        #[serde(default)]
        rack: String,
    },
    /// Tells where a node is now.
    UpdateNode {
        /// The node.
        #[serde(with = "number")]
        node: NodeId,
        /// Where clients and peers reach it, as `host:port`.
        rpc_addr: String,
        /// Where gossip reaches it, as `host:port`.
        gossip_addr: String,
        /// What it fails together with; may be empty.
        #[serde(default)]
        rack: String,
    },
    /// Has a node's replicas moved away, or ends that.
    DrainNode {
        /// The node.
        #[serde(with = "number")]
        node: NodeId,
        /// False: it takes replicas again.
        drain: bool,
    },
    /// Says that a node's disk is gone and that it never comes back.
    LoseNode {
        /// The node.
        #[serde(with = "number")]
        node: NodeId,
    },
    /// Forgets a node that is draining or lost and holds nothing any more.
    RemoveNode {
        /// The node.
        #[serde(with = "number")]
        node: NodeId,
    },
    /// Wants other replicas of a partition.
    PlaceReplicas {
        /// The partition.
        #[serde(with = "number")]
        partition: PartitionId,
        /// The replicas, the preferred leader first.
        #[serde(with = "number::list")]
        replicas: Vec<NodeId>,
        /// The generation that this was decided on; refused if it is another by now.
        generation: u64,
    },
    /// What a node knows of its partitions. Partitions that do not exist are passed over: they may have been deleted.
    Report {
        /// The node.
        #[serde(with = "number")]
        node: NodeId,
        /// Partitions that it leads.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        leading: Vec<Leading>,
        /// Partitions whose copy on it is damaged.
        #[serde(default, with = "number::list", skip_serializing_if = "Vec::is_empty")]
        damaged: Vec<PartitionId>,
    },
}

/// What a command answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Response {
    /// The topic as it is now.
    Topic(Topic),
    /// The partitions that are no more.
    Deleted(Vec<PartitionId>),
    /// The producer's new identity.
    Producer(ProducerIdentity),
    /// The first id of the block.
    ProducerIds(ProducerId),
    /// The node as it is now.
    Node(Node),
    /// The partition's placement as it is now.
    Placement(Placement),
    /// It is done, and there is nothing to say.
    Done,
}

/// What [`crate::Metadata::apply`] answers.
pub(crate) type Applied = Result<Response, MetadataError>;

/// Bytes that are no command of this version.
#[derive(Debug, Error)]
#[error("not a metadata command that this version knows: {0}")]
pub struct DecodeError(#[from] serde_json::Error);

impl Command {
    /// The command as an entry's body.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self)
            .expect("a command has string keys and numbers only, which JSON can always hold")
    }

    /// The command in an entry's body.
    ///
    /// # Errors
    /// Where the bytes are no command, or one of a newer version.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        Ok(serde_json::from_slice(bytes)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use varve_record::Term;

    fn nodes(ids: &[u64]) -> Vec<NodeId> {
        ids.iter().copied().map(NodeId::new).collect()
    }

    #[test]
    fn commands_go_through_json_and_back() {
        let settings = SettingsChange { retention_ms: Some(None), ..SettingsChange::default() };
        let leading = Leading { partition: PartitionId::new(4), term: Term::new(2), settled: Some(7) };
        let commands = [
            Command::CreateTopic {
                topic: "events".to_owned(),
                partitions: 3,
                replication_factor: 1,
                created_ms: Timestamp::new(5),
                settings: TopicSettings { retention_bytes: Some(5), ..TopicSettings::default() },
                alive: nodes(&[1, 2]),
            },
            Command::AlterTopic {
                topic: "events".to_owned(),
                partitions: None,
                settings,
                alive: nodes(&[3]),
            },
            Command::DeleteTopic { topic: "events".to_owned() },
            Command::InitProducer { name: "billing".to_owned() },
            Command::ClaimProducer {
                name: "billing".to_owned(),
                subject: "alice".to_owned(),
                take_over: true,
            },
            Command::AllocateProducerIds { count: 1000 },
            Command::RegisterNode {
                name: "n1".to_owned(),
                rpc_addr: "host:1".to_owned(),
                gossip_addr: "host:2".to_owned(),
                rack: "a".to_owned(),
            },
            Command::UpdateNode {
                node: NodeId::new(1),
                rpc_addr: "host:1".to_owned(),
                gossip_addr: "host:2".to_owned(),
                rack: String::new(),
            },
            Command::DrainNode { node: NodeId::new(1), drain: true },
            Command::LoseNode { node: NodeId::new(1) },
            Command::RemoveNode { node: NodeId::new(1) },
            Command::PlaceReplicas {
                partition: PartitionId::new(4),
                replicas: nodes(&[3, 1, 2]),
                generation: 7,
            },
            Command::Report {
                node: NodeId::new(1),
                leading: vec![leading],
                damaged: vec![PartitionId::new(5)],
            },
        ];
        for command in commands {
            assert_eq!(Command::decode(&command.encode()).unwrap(), command);
        }
    }

    #[test]
    fn the_bytes_of_a_command_stay_what_they_were() {
        let all: [&[u8]; 13] = [
            br#"{"command":"init_producer","name":"billing"}"#,
            br#"{"command":"claim_producer","name":"billing","subject":"alice"}"#,
            br#"{"command":"claim_producer","name":"billing","subject":"alice","take_over":true}"#,
            br#"{"command":"create_topic","topic":"events","partitions":3,"replication_factor":1,"created_ms":5,"settings":{"retention_ms":60000}}"#,
            br#"{"command":"create_topic","topic":"events","partitions":3,"replication_factor":1,"created_ms":5,"settings":{},"alive":[1,2]}"#,
            br#"{"command":"alter_topic","topic":"events","partitions":4,"settings":{"retention_ms":null}}"#,
            br#"{"command":"register_node","name":"n1","rpc_addr":"h:1","gossip_addr":"h:2","rack":"a"}"#,
            br#"{"command":"update_node","node":1,"rpc_addr":"h:1","gossip_addr":"h:2","rack":""}"#,
            br#"{"command":"drain_node","node":1,"drain":true}"#,
            br#"{"command":"lose_node","node":1}"#,
            br#"{"command":"remove_node","node":1}"#,
            br#"{"command":"place_replicas","partition":4,"replicas":[3,1,2],"generation":7}"#,
            br#"{"command":"report","node":1,"leading":[{"partition":4,"term":2,"settled":7},{"partition":6,"term":2}],"damaged":[5]}"#,
        ];
        for bytes in all {
            let command = Command::decode(bytes).unwrap();
            assert_eq!(String::from_utf8(command.encode()).unwrap(), String::from_utf8_lossy(bytes));
        }
    }

    #[test]
    fn what_is_no_command_is_refused() {
        for bytes in [&b""[..], b"{}", b"[1]", br#"{"command":"fly"}"#, b"\xff"] {
            assert!(Command::decode(bytes).is_err());
        }
    }
}
