//! `varve.v1.ClusterService`.

use std::collections::BTreeSet;
use std::ops::Bound;
use std::time::Duration;

use futures::{FutureExt, StreamExt};
use tonic::{Request, Response, Status};
use varve_api::TopicName;
use varve_api::error::{ApiError, Reason, meta};
use varve_api::limits::TOPICS_PAGE_MAX;
use varve_api::v1;
use varve_api::v1::cluster_service_server::ClusterService;
use varve_authz::Action;
use varve_controller::Command;
use varve_record::{NodeId, Offset};
use varve_replica::GroupMembers;

use super::route::{Away, Errand, Route, from_afar};
use super::settings::{as_change, from_wire};
use super::{Shared, describe, health_report};
use crate::error::{group_error, no_node, produce_error, timed_out};
use crate::limits::CHANGE_TIMEOUT;
use crate::security::Call;
use crate::topics::{NewTopic, Topic};

/// How long a server that was asked to lead may take to begin.
const TRANSFER_TIMEOUT: Duration = Duration::from_secs(5);

/// How often it is looked whether it leads.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// Servers and topics.
#[derive(Clone, Debug)]
pub(crate) struct ClusterApi {
    shared: Shared,
}

impl ClusterApi {
    pub(crate) fn new(shared: Shared) -> Self {
        Self { shared }
    }

    async fn create(
        &self,
        request: v1::CreateTopicRequest,
        call: Call,
    ) -> Result<v1::CreateTopicResponse, ApiError> {
        call.authorize(Action::Create, &request.name).await?;
        let new = NewTopic {
            name: TopicName::new(&request.name)?,
            partitions: Some(request.partitions).filter(|partitions| *partitions > 0),
            replication_factor: Some(request.replication_factor).filter(|factor| *factor > 0),
            settings: from_wire(request.settings)?,
        };
        let topic = self.shared.topics.create(new).await?;
        Ok(v1::CreateTopicResponse { topic: Some(describe::of(&self.shared, &topic)) })
    }

    /// A page of the topics that the caller may see.
    async fn list(&self, request: &v1::ListTopicsRequest, call: &Call) -> v1::ListTopicsResponse {
        let topics = self.shared.topics.all();
        let size = match request.page_size as usize {
            0 => TOPICS_PAGE_MAX,
            size => size.min(TOPICS_PAGE_MAX),
        };
        // A page begins behind the last name of the one before, so that topics made or deleted meanwhile do no harm.
        let after = match request.page_token.as_str() {
            "" => Bound::Unbounded,
            last => Bound::Excluded(last),
        };
        let mut page: Vec<v1::TopicSummary> = Vec::new();
        for (name, topic) in topics.range::<str, _>((after, Bound::Unbounded)) {
            if !call.sees(name.as_str()).await {
                continue;
            }
            if page.len() == size {
                let last = page.last().map(|topic| topic.name.clone());
                return v1::ListTopicsResponse { topics: page, next_page_token: last.unwrap_or_default() };
            }
            page.push(summary(topic));
        }
        v1::ListTopicsResponse { topics: page, next_page_token: String::new() }
    }

    async fn look_up(
        &self,
        request: v1::DescribeTopicRequest,
        call: Call,
    ) -> Result<v1::DescribeTopicResponse, ApiError> {
        call.authorize(Action::Describe, &request.name).await?;
        let topics = &self.shared.topics;
        let topic = if request.create_missing {
            topics.get_or_create(&call, &request.name).await?
        } else {
            topics.get(&request.name).await?
        };
        let described = if call.may_forward() {
            describe::by_leaders(&self.shared, &topic).boxed().await
        } else {
            describe::of(&self.shared, &topic)
        };
        Ok(v1::DescribeTopicResponse { topic: Some(described) })
    }

    async fn alter(
        &self,
        request: v1::AlterTopicRequest,
        call: Call,
    ) -> Result<v1::AlterTopicResponse, ApiError> {
        call.authorize(Action::Alter, &request.name).await?;
        let name = TopicName::new(&request.name)?;
        let change = as_change(from_wire(request.settings)?);
        let topic = self.shared.topics.alter(name, request.partitions, change).await?;
        Ok(v1::AlterTopicResponse { topic: Some(describe::of(&self.shared, &topic)) })
    }

    async fn delete(
        &self,
        request: v1::DeleteTopicRequest,
        call: Call,
    ) -> Result<v1::DeleteTopicResponse, ApiError> {
        call.authorize(Action::Delete, &request.name).await?;
        self.shared.topics.delete(TopicName::new(&request.name)?).await?;
        Ok(v1::DeleteTopicResponse {})
    }

    async fn trim(
        &self,
        request: v1::TrimTopicRequest,
        call: Call,
    ) -> Result<v1::TrimTopicResponse, ApiError> {
        call.authorize(Action::Trim, &request.topic).await?;
        let topic = self.shared.topics.get(&request.topic).await?;
        let partition =
            match self.shared.to_leader(&topic, request.partition, Errand::new(call.may_forward())).await? {
                Route::Here(partition) => partition,
                Route::There(away) => {
                    let mut cluster = self.shared.forwarder.cluster(&away.addr)?;
                    return answered(cluster.trim_topic(call.hand_on(request)).boxed().await, &away);
                }
            };
        let before = Offset::new(request.before_offset);
        let progress = partition.progress();
        if before > progress.high_watermark {
            let at = topic.at(request.partition);
            let message = format!(
                "{at}: cannot trim up to offset {before}: the next record gets {}",
                progress.high_watermark
            );
            return Err(ApiError::new(Reason::OffsetBeyondTail, message)
                .with(meta::LOG_START_OFFSET, progress.log_start_offset)
                .with(meta::HIGH_WATERMARK, progress.high_watermark));
        }
        let in_time = tokio::time::timeout(CHANGE_TIMEOUT, partition.trim(before)).await;
        let at = topic.at(request.partition);
        let trimmed = in_time.map_err(|_| timed_out(at, CHANGE_TIMEOUT))?;
        let log_start_offset = trimmed.map_err(|error| topic.explain(produce_error(error, at)))?;
        tracing::info!(topic = %topic.name, partition = request.partition, %log_start_offset, "partition trimmed");
        Ok(v1::TrimTopicResponse { log_start_offset: log_start_offset.get() })
    }

    /// Gives a newcomer its place. A name stands for one node at a time: that of a node that runs is not given away.
    async fn take_in(
        &self,
        request: v1::JoinClusterRequest,
        call: Call,
    ) -> Result<v1::JoinClusterResponse, ApiError> {
        call.authorize_node(&request.name)?;
        let view = &self.shared.view;
        let present = view.presence.addresses(&view.identity.cluster_id);
        let by_gossip = present.values().find(|node| node.name == request.name).map(|node| node.id);
        let by_metadata = view.state().0.node_by_name(&request.name).map(|node| node.id);
        // At the same address it is the one that asks: whoever had its place is gone.
        let runs = |id: &NodeId| present.get(id).is_some_and(|node| node.rpc_addr != request.rpc_addr);
        if let Some(holder) = [by_gossip, by_metadata].into_iter().flatten().find(runs) {
            let message = format!(
                "node {holder} has the name {} and runs: choose another name, or wait until it is seen to be gone",
                request.name
            );
            return Err(ApiError::new(Reason::NodeNameTaken, message).with(meta::NODE_ID, holder));
        }
        let v1::JoinClusterRequest { name, rpc_addr, gossip_addr, rack } = request;
        let command = Command::RegisterNode { name, rpc_addr, gossip_addr, rack };
        let varve_controller::Response::Node(node) = self.shared.topics.change(command).await? else {
            return Err(ApiError::new(Reason::Internal, "the metadata answered what was not asked"));
        };
        tracing::info!(node_id = %node.id, name = node.name, rpc_addr = node.rpc_addr, "a node joins the cluster");
        let v1::GetServersResponse { servers, cluster_id, .. } = view.servers();
        Ok(v1::JoinClusterResponse { cluster_id, node_id: node.id.get(), servers })
    }

    async fn drain(
        &self,
        request: v1::DecommissionServerRequest,
    ) -> Result<v1::DecommissionServerResponse, ApiError> {
        let command = Command::DrainNode { node: NodeId::new(request.id), drain: !request.cancel };
        self.shared.topics.change(command).await?;
        tracing::info!(node_id = request.id, cancel = request.cancel, "decommission of a node");
        let servers = self.shared.view.servers().servers;
        Ok(v1::DecommissionServerResponse {
            server: servers.into_iter().find(|server| server.id == request.id),
        })
    }

    async fn transfer(
        &self,
        request: v1::TransferLeadershipRequest,
        call: Call,
    ) -> Result<v1::TransferLeadershipResponse, ApiError> {
        if let Some(to) = request.to
            && self.shared.view.state().0.node(NodeId::new(to)).is_none()
        {
            return Err(no_node(NodeId::new(to)));
        }
        if request.topic.is_empty() {
            self.transfer_controller(request, call).await
        } else {
            self.transfer_partition(request, call).await
        }
    }

    async fn transfer_partition(
        &self,
        request: v1::TransferLeadershipRequest,
        call: Call,
    ) -> Result<v1::TransferLeadershipResponse, ApiError> {
        let topic = self.shared.topics.get(&request.topic).await?;
        let partition =
            match self.shared.to_leader(&topic, request.partition, Errand::new(call.may_forward())).await? {
                Route::Here(partition) => partition,
                Route::There(away) => {
                    let mut cluster = self.shared.forwarder.cluster(&away.addr)?;
                    return answered(cluster.transfer_leadership(call.hand_on(request)).boxed().await, &away);
                }
            };
        let members = partition.members().map_err(group_error)?;
        let to = heir(&members, self.shared.view.this(), &self.shared.view.alive(), request.to)?;
        partition.transfer_leadership(to).await.map_err(group_error)?;
        self.led_by(to, || partition.progress().leader).await
    }

    async fn transfer_controller(
        &self,
        request: v1::TransferLeadershipRequest,
        call: Call,
    ) -> Result<v1::TransferLeadershipResponse, ApiError> {
        let view = &self.shared.view;
        let leader = view.controller_leader();
        let leader = leader.ok_or_else(|| {
            ApiError::new(Reason::NoLeader, "the controller has no leader at present: wait")
        })?;
        if leader != view.this() {
            let addr = view.addresses.rpc_addr(leader).filter(|_| call.may_forward());
            let not_here = || {
                ApiError::new(Reason::NotLeader, format!("node {leader} leads the controller"))
                    .with(meta::LEADER_ID, leader)
            };
            let away = Away { node: leader, addr: addr.ok_or_else(not_here)? };
            let mut cluster = self.shared.forwarder.cluster(&away.addr)?;
            return answered(cluster.transfer_leadership(call.hand_on(request)).boxed().await, &away);
        }
        let members = view.metadata.members();
        let to = heir(&members, view.this(), &view.alive(), request.to)?;
        view.metadata.transfer_leadership(to).await.map_err(group_error)?;
        self.led_by(to, || view.controller_leader()).await
    }

    /// Waits until a node leads.
    async fn led_by(
        &self,
        to: NodeId,
        leader: impl Fn() -> Option<NodeId>,
    ) -> Result<v1::TransferLeadershipResponse, ApiError> {
        let led = async {
            while leader() != Some(to) {
                tokio::time::sleep(LOOK_INTERVAL).await;
            }
        };
        match tokio::time::timeout(TRANSFER_TIMEOUT, led).await {
            Ok(()) => Ok(v1::TransferLeadershipResponse { leader: to.get() }),
            Err(_) => {
                let message =
                    format!("node {to} was asked to lead and has not begun to: is it alive and up to date?");
                Err(ApiError::new(Reason::ChangeRefused, message))
            }
        }
    }
}

#[tonic::async_trait]
impl ClusterService for ClusterApi {
    type WatchServersStream = futures::stream::BoxStream<'static, Result<v1::WatchServersResponse, Status>>;

    async fn get_servers(
        &self,
        _request: Request<v1::GetServersRequest>,
    ) -> Result<Response<v1::GetServersResponse>, Status> {
        Ok(Response::new(self.shared.view.servers()))
    }

    async fn watch_servers(
        &self,
        _request: Request<v1::WatchServersRequest>,
    ) -> Result<Response<Self::WatchServersStream>, Status> {
        let servers = self.shared.servers.watch(self.shared.drain.clone());
        Ok(Response::new(servers.map(|servers| servers.map_err(Status::from)).boxed()))
    }

    async fn get_cluster_health(
        &self,
        request: Request<v1::GetClusterHealthRequest>,
    ) -> Result<Response<v1::GetClusterHealthResponse>, Status> {
        let call = Call::of(&request);
        Ok(Response::new(health_report::of(&self.shared, call.may_forward()).boxed().await))
    }

    async fn init_cluster(
        &self,
        _request: Request<v1::InitClusterRequest>,
    ) -> Result<Response<v1::InitClusterResponse>, Status> {
        let message = format!("this is {}", self.shared.view.identity);
        Err(ApiError::new(Reason::ClusterExists, message).into())
    }

    async fn join_cluster(
        &self,
        request: Request<v1::JoinClusterRequest>,
    ) -> Result<Response<v1::JoinClusterResponse>, Status> {
        let call = Call::of(&request);
        let place = self.take_in(request.into_inner(), call).await;
        place.map(Response::new).map_err(|error| self.shared.status(error))
    }

    async fn transfer_leadership(
        &self,
        request: Request<v1::TransferLeadershipRequest>,
    ) -> Result<Response<v1::TransferLeadershipResponse>, Status> {
        let call = Call::of(&request);
        let led = self.transfer(request.into_inner(), call).await;
        led.map(Response::new).map_err(|error| self.shared.status(error))
    }

    async fn decommission_server(
        &self,
        request: Request<v1::DecommissionServerRequest>,
    ) -> Result<Response<v1::DecommissionServerResponse>, Status> {
        let draining = self.drain(request.into_inner()).await;
        draining.map(Response::new).map_err(|error| self.shared.status(error))
    }

    async fn create_topic(
        &self,
        request: Request<v1::CreateTopicRequest>,
    ) -> Result<Response<v1::CreateTopicResponse>, Status> {
        let call = Call::of(&request);
        self.create(request.into_inner(), call)
            .await
            .map(Response::new)
            .map_err(|error| self.shared.status(error))
    }

    async fn list_topics(
        &self,
        request: Request<v1::ListTopicsRequest>,
    ) -> Result<Response<v1::ListTopicsResponse>, Status> {
        let call = Call::of(&request);
        Ok(Response::new(self.list(request.get_ref(), &call).await))
    }

    async fn describe_topic(
        &self,
        request: Request<v1::DescribeTopicRequest>,
    ) -> Result<Response<v1::DescribeTopicResponse>, Status> {
        let call = Call::of(&request);
        self.look_up(request.into_inner(), call)
            .await
            .map(Response::new)
            .map_err(|error| self.shared.status(error))
    }

    async fn alter_topic(
        &self,
        request: Request<v1::AlterTopicRequest>,
    ) -> Result<Response<v1::AlterTopicResponse>, Status> {
        let call = Call::of(&request);
        self.alter(request.into_inner(), call)
            .await
            .map(Response::new)
            .map_err(|error| self.shared.status(error))
    }

    async fn delete_topic(
        &self,
        request: Request<v1::DeleteTopicRequest>,
    ) -> Result<Response<v1::DeleteTopicResponse>, Status> {
        let call = Call::of(&request);
        let deleted = self.delete(request.into_inner(), call).await;
        deleted.map(Response::new).map_err(|error| self.shared.status(error))
    }

    async fn trim_topic(
        &self,
        request: Request<v1::TrimTopicRequest>,
    ) -> Result<Response<v1::TrimTopicResponse>, Status> {
        let call = Call::of(&request);
        let trimmed = self.trim(request.into_inner(), call).await;
        trimmed.map(Response::new).map_err(|error| self.shared.status(error))
    }
}

/// Who is to lead: the one that was named, or any voter that is alive.
fn heir(
    members: &GroupMembers,
    this: NodeId,
    alive: &BTreeSet<NodeId>,
    named: Option<u64>,
) -> Result<NodeId, ApiError> {
    let refuse = |message: String| ApiError::new(Reason::ChangeRefused, message);
    match named.map(NodeId::new) {
        Some(node) if members.voters.contains(&node) => Ok(node),
        Some(node) => {
            Err(refuse(format!("node {node} has no vote there: choose one of {}", words(&members.voters))))
        }
        None => {
            let other = members.voters.iter().find(|node| **node != this && alive.contains(node)).copied();
            other.ok_or_else(|| refuse("there is no other replica that is alive to lead".to_owned()))
        }
    }
}

fn words(nodes: &BTreeSet<NodeId>) -> String {
    nodes.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn answered<T>(answer: Result<Response<T>, Status>, away: &Away) -> Result<T, ApiError> {
    answer.map(Response::into_inner).map_err(|status| from_afar(&status, away))
}

fn summary(topic: &Topic) -> v1::TopicSummary {
    v1::TopicSummary {
        name: topic.name.to_string(),
        partitions: topic.partition_count(),
        replication_factor: topic.described.replication_factor,
    }
}
