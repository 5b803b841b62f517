//! A cluster of which only the metadata is real: its groups change their members as real ones would.

use std::collections::{BTreeMap, BTreeSet};
use varve_controller::{
    Command, Leading, Liveness, Metadata, MetadataError, Node, Placement, Response, SettingsChange,
    TopicSettings, plan,
};
use varve_record::{NodeId, PartitionId, Term, Timestamp};

/// More rounds than any plan of these sizes takes.
const ROUNDS_MAX: usize = 400;

/// A partition's group.
#[derive(Clone, Debug)]
pub(crate) struct Group {
    /// Its members, by a committed configuration.
    pub(crate) members: BTreeSet<NodeId>,
    leader: Option<NodeId>,
    term: u64,
}

#[derive(Debug, Default)]
pub(crate) struct World {
    pub(crate) metadata: Metadata,
    /// Every command that was taken over or refused.
    log: Vec<Command>,
    pub(crate) live: Liveness,
    pub(crate) groups: BTreeMap<PartitionId, Group>,
    damaged: BTreeSet<(PartitionId, NodeId)>,
    pub(crate) voters: BTreeSet<NodeId>,
    ids: BTreeSet<NodeId>,
}

pub(crate) fn id(node: u64) -> NodeId {
    NodeId::new(node)
}

pub(crate) fn ids(nodes: &[u64]) -> Vec<NodeId> {
    nodes.iter().copied().map(NodeId::new).collect()
}

pub(crate) fn set(nodes: &[u64]) -> BTreeSet<NodeId> {
    nodes.iter().copied().map(NodeId::new).collect()
}

pub(crate) fn register(name: &str, rack: &str) -> Command {
    Command::RegisterNode {
        name: name.to_owned(),
        rpc_addr: format!("{name}:7171"),
        gossip_addr: format!("{name}:7172"),
        rack: rack.to_owned(),
    }
}

pub(crate) fn create(topic: &str, partitions: u32, replication_factor: u32, alive: &[NodeId]) -> Command {
    Command::CreateTopic {
        topic: topic.to_owned(),
        partitions,
        replication_factor,
        created_ms: Timestamp::new(0),
        settings: TopicSettings::default(),
        alive: alive.to_vec(),
    }
}

pub(crate) fn alter(topic: &str, partitions: u32) -> Command {
    let (partitions, settings) = (Some(partitions), SettingsChange::default());
    Command::AlterTopic { topic: topic.to_owned(), partitions, settings, alive: Vec::new() }
}

impl World {
    /// Nodes 1, 2 and so on in the given racks, all alive.
    pub(crate) fn of_racks(racks: &[&str]) -> Self {
        let mut world = Self::default();
        for (place, rack) in racks.iter().enumerate() {
            world.join(&format!("n{}", place + 1), rack);
        }
        world
    }

    /// As many nodes without racks, all alive.
    pub(crate) fn of_nodes(nodes: usize) -> Self {
        Self::of_racks(&vec![""; nodes])
    }

    /// Applies a command; a refusal must change nothing.
    pub(crate) fn apply(&mut self, command: Command) -> Result<Response, MetadataError> {
        let before = self.metadata.clone();
        let answer = self.metadata.apply(&command);
        if answer.is_err() {
            assert_eq!(self.metadata, before, "refused, yet something changed: {command:?}");
        }
        let changed = self.metadata != before;
        assert_eq!(self.metadata.revision() - before.revision(), u64::from(changed), "{command:?}");
        self.log.push(command);
        self.follow();
        answer
    }

    pub(crate) fn done(&mut self, command: Command) -> Response {
        self.apply(command).unwrap()
    }

    pub(crate) fn join(&mut self, name: &str, rack: &str) -> Node {
        let before = self.metadata.node_by_name(name).map(|node| node.id);
        match self.done(register(name, rack)) {
            Response::Node(node) => {
                assert!(self.ids.insert(node.id), "id {} was given before", node.id);
                self.live.alive.insert(node.id);
                if let Some(before) = before {
                    self.fail(before);
                }
                node
            }
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn drain(&mut self, node: u64) {
        self.done(Command::DrainNode { node: id(node), drain: true });
    }

    /// A node stops running.
    pub(crate) fn fail(&mut self, node: NodeId) {
        self.live.alive.remove(&node);
    }

    /// A node that does not run is given up.
    pub(crate) fn give_up(&mut self, node: NodeId) {
        self.fail(node);
        self.live.gone.insert(node);
    }

    pub(crate) fn revive(&mut self, node: NodeId) {
        if self.metadata.node(node).is_some_and(|node| !node.is_lost()) {
            self.live.gone.remove(&node);
            self.live.alive.insert(node);
        }
    }

    /// A node finds its copy damaged, and says so.
    pub(crate) fn damage(&mut self, partition: PartitionId, node: NodeId) {
        let hosts = self.metadata.placement(partition).is_some_and(|placement| placement.hosts(node));
        if hosts && self.live.is_alive(node) {
            self.damaged.insert((partition, node));
            self.done(Command::Report { node, leading: Vec::new(), damaged: vec![partition] });
        }
    }

    /// Groups begin and end with their partitions.
    fn follow(&mut self) {
        self.groups.retain(|id, _| self.metadata.placement(*id).is_some());
        for (id, placement) in self.metadata.placements() {
            if placement.replicas.is_empty() {
                continue; // no node was ever registered
            }
            let members = placement.initial.iter().copied().collect();
            self.groups.entry(id).or_insert(Group { members, leader: None, term: 0 });
        }
        self.live.alive.retain(|id| self.metadata.node(*id).is_some_and(|node| !node.is_lost()));
    }

    pub(crate) fn is_sound(&self, partition: PartitionId, node: NodeId) -> bool {
        self.live.is_alive(node) && !self.damaged.contains(&(partition, node))
    }

    /// Whether a group of these members can elect and commit.
    pub(crate) fn has_quorum(&self, partition: PartitionId, members: &BTreeSet<NodeId>) -> bool {
        members.iter().filter(|node| self.is_sound(partition, **node)).count() * 2 > members.len()
    }

    /// What a group does in a while: it elects, follows the metadata, and says what it has done.
    pub(crate) fn settle(&mut self, partition: PartitionId) {
        let Some(placement) = self.metadata.placement(partition).cloned() else { return };
        let mut group = self.groups[&partition].clone();
        if !self.has_quorum(partition, &group.members) {
            return;
        }
        let leads = |node: &NodeId| group.members.contains(node) && self.is_sound(partition, *node);
        if !group.leader.as_ref().is_some_and(leads) {
            group.leader = group.members.iter().copied().find(leads);
            group.term += 1;
        }
        self.change_members(partition, &placement, &mut group);
        let wanted: BTreeSet<NodeId> = placement.replicas.iter().copied().collect();
        let settled = (group.members == wanted).then_some(placement.generation);
        let leading = Leading { partition, term: Term::new(group.term), settled };
        let node = group.leader.unwrap();
        self.groups.insert(partition, group);
        self.done(Command::Report { node, leading: vec![leading], damaged: Vec::new() });
        self.damaged.retain(|(id, node)| {
            *id != partition || self.metadata.placement(partition).is_some_and(|p| p.hosts(*node))
        });
    }

    /// New members must run to catch up, and the old and the new configuration must both be able to commit.
    fn change_members(&self, partition: PartitionId, placement: &Placement, group: &mut Group) {
        let wanted: BTreeSet<NodeId> = placement.replicas.iter().copied().collect();
        let caught_up = wanted.difference(&group.members).all(|node| self.is_sound(partition, *node));
        if caught_up && self.has_quorum(partition, &wanted) {
            group.members = wanted;
        }
    }

    pub(crate) fn plan(&self) -> Vec<Command> {
        plan(&self.metadata, &self.live, &self.voters)
    }

    /// One round of the planner; every command must be taken.
    pub(crate) fn round(&mut self) -> usize {
        let commands = self.plan();
        for command in &commands {
            self.check_change(command);
            self.done(command.clone());
        }
        commands.len()
    }

    /// The planner and the groups, until there is nothing left to do. The commands that it took.
    pub(crate) fn run(&mut self) -> usize {
        let mut commands = 0;
        for _ in 0..ROUNDS_MAX {
            for partition in self.groups.keys().copied().collect::<Vec<_>>() {
                self.settle(partition);
            }
            match self.round() {
                0 => return commands,
                some => commands += some,
            }
        }
        panic!("no end of changes: {:?}", self.plan());
    }

    /// What every single change must hold to.
    fn check_change(&self, command: &Command) {
        let Command::PlaceReplicas { partition, replicas, generation } = command else {
            assert!(matches!(command, Command::RemoveNode { .. }), "{command:?}");
            return;
        };
        let placement = self.metadata.placement(*partition).unwrap();
        let group = &self.groups[partition];
        let distinct: BTreeSet<NodeId> = replicas.iter().copied().collect();
        assert_eq!(distinct.len(), replicas.len(), "a node twice: {command:?}");
        assert_eq!(*generation, placement.generation);
        for node in replicas.iter().filter(|node| !placement.replicas.contains(node)) {
            assert!(self.live.is_alive(*node), "{node} does not run: {command:?}");
            let takes = self.metadata.node(*node).unwrap().is_active() || placement.leaving.contains(node);
            assert!(takes, "{node} takes nothing: {command:?}");
        }
        if placement.is_settled() {
            let out = placement.replicas.iter().filter(|node| !replicas.contains(node)).count();
            let out_max = (placement.replicas.len().saturating_sub(1) / 2).max(1);
            assert!(out <= out_max, "too many out: {command:?}");
            let wanted: BTreeSet<NodeId> = placement.replicas.iter().copied().collect();
            assert_eq!(group.members, wanted, "settled, yet the group has other members");
            assert!(self.has_quorum(*partition, &wanted), "no quorum for {command:?}");
        } else {
            let waits = placement.replicas.iter().any(|node| !self.is_sound(*partition, *node));
            assert!(waits, "a change is under way: {command:?}");
        }
        assert!(self.has_quorum(*partition, &distinct), "no quorum after {command:?}");
    }

    /// The same commands give the same state, and so do the bytes of the state and of the commands.
    pub(crate) fn check_replay(&self) {
        let mut replayed = Metadata::default();
        for command in &self.log {
            let _ = replayed.apply(&Command::decode(&command.encode()).unwrap());
        }
        assert_eq!(replayed, self.metadata);
        let stored: Metadata = serde_json::from_slice(&serde_json::to_vec(&replayed).unwrap()).unwrap();
        assert_eq!(stored, self.metadata);
    }
}
