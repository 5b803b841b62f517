use std::pin::Pin;

use futures::{Stream, StreamExt};
use tonic::{Request, Response, Status};
use varve_api::error::{ApiError, Reason};
use varve_api::v1;
use varve_api::v1::cluster_service_server::ClusterService;

use super::TOPIC;
use super::node::Node;
use crate::faults::ProduceFault;

#[tonic::async_trait]
impl ClusterService for Node {
    type WatchServersStream = Pin<Box<dyn Stream<Item = Result<v1::WatchServersResponse, Status>> + Send>>;

    async fn get_servers(
        &self,
        _: Request<v1::GetServersRequest>,
    ) -> Result<Response<v1::GetServersResponse>, Status> {
        self.state.count("get_servers");
        if self.state.inner().is_uninitialized {
            return Err(ApiError::new(Reason::NotInitialized, "told to").into());
        }
        Ok(Response::new(self.state.inner().get_servers(self.id)))
    }

    async fn watch_servers(
        &self,
        _: Request<v1::WatchServersRequest>,
    ) -> Result<Response<Self::WatchServersStream>, Status> {
        self.state.count("watch_servers");
        if self.state.inner().unwatchable {
            return Err(ApiError::new(Reason::Unimplemented, "told to").into());
        }
        let (state, id) = (self.state.clone(), self.id);
        let mut changes = self.state.servers.subscribe();
        changes.mark_changed();
        let answers = futures::stream::unfold((state, changes), move |(state, mut changes)| async move {
            changes.changed().await.ok()?;
            let servers = Some(state.inner().get_servers(id));
            Some((Ok(v1::WatchServersResponse { servers }), (state, changes)))
        });
        if self.state.inner().falls_silent {
            let heartbeat = futures::stream::iter([Ok(v1::WatchServersResponse { servers: None })]);
            return Ok(Response::new(Box::pin(heartbeat.chain(futures::stream::pending()))));
        }
        Ok(Response::new(Box::pin(answers)))
    }

    async fn get_cluster_health(
        &self,
        request: Request<v1::GetClusterHealthRequest>,
    ) -> Result<Response<v1::GetClusterHealthResponse>, Status> {
        drop(request);
        let inner = self.state.inner();
        let dead_servers = inner.members.iter().filter(|member| !member.alive);
        let dead_servers: Vec<_> = dead_servers.map(|member| member.id).collect();
        let healthy = dead_servers.is_empty();
        Ok(Response::new(v1::GetClusterHealthResponse { healthy, dead_servers, ..Default::default() }))
    }

    async fn init_cluster(
        &self,
        _: Request<v1::InitClusterRequest>,
    ) -> Result<Response<v1::InitClusterResponse>, Status> {
        let mut inner = self.state.inner();
        if !std::mem::take(&mut inner.is_uninitialized) {
            return Err(ApiError::new(Reason::ClusterExists, "there is one").into());
        }
        Ok(Response::new(v1::InitClusterResponse { cluster_id: "fake".into() }))
    }

    async fn join_cluster(
        &self,
        _: Request<v1::JoinClusterRequest>,
    ) -> Result<Response<v1::JoinClusterResponse>, Status> {
        Err(Status::unimplemented("not in the double"))
    }

    async fn transfer_leadership(
        &self,
        request: Request<v1::TransferLeadershipRequest>,
    ) -> Result<Response<v1::TransferLeadershipResponse>, Status> {
        let request = request.into_inner();
        let leader = request.to.unwrap_or(0);
        let mut inner = self.state.inner();
        if leader as usize >= inner.members.len() {
            return Err(ApiError::new(Reason::NodeNotFound, "no such server").into());
        }
        if request.topic == TOPIC {
            let partition = &mut inner.partitions[request.partition as usize];
            partition.leader = Some(leader as usize);
            partition.term += 1;
        }
        Ok(Response::new(v1::TransferLeadershipResponse { leader }))
    }

    async fn decommission_server(
        &self,
        request: Request<v1::DecommissionServerRequest>,
    ) -> Result<Response<v1::DecommissionServerResponse>, Status> {
        let request = request.into_inner();
        let mut inner = self.state.inner();
        let Some(server) = inner.members.get_mut(request.id as usize) else {
            return Err(ApiError::new(Reason::NodeNotFound, "no such server").into());
        };
        server.set_state(match request.cancel {
            true => v1::ServerState::Active,
            false => v1::ServerState::Draining,
        });
        Ok(Response::new(v1::DecommissionServerResponse { server: Some(server.clone()) }))
    }

    async fn create_topic(
        &self,
        request: Request<v1::CreateTopicRequest>,
    ) -> Result<Response<v1::CreateTopicResponse>, Status> {
        self.state.count("create_topic");
        let fault = self.state.inner().produce_faults.pop_front();
        if let Some(ProduceFault::Fail(error)) = fault {
            return Err(error.into());
        }
        let topic = v1::Topic { name: request.into_inner().name, ..Default::default() };
        Ok(Response::new(v1::CreateTopicResponse { topic: Some(topic) }))
    }

    async fn list_topics(
        &self,
        request: Request<v1::ListTopicsRequest>,
    ) -> Result<Response<v1::ListTopicsResponse>, Status> {
        // Three pages of one topic.
        let page: u32 = request.into_inner().page_token.parse().unwrap_or(0);
        let topic = v1::TopicSummary { name: format!("topic-{page}"), ..Default::default() };
        let next_page_token = if page < 2 { (page + 1).to_string() } else { String::new() };
        Ok(Response::new(v1::ListTopicsResponse { topics: vec![topic], next_page_token }))
    }

    async fn describe_topic(
        &self,
        request: Request<v1::DescribeTopicRequest>,
    ) -> Result<Response<v1::DescribeTopicResponse>, Status> {
        self.state.count("describe_topic");
        let name = request.into_inner().name;
        if name != TOPIC {
            return Err(ApiError::new(Reason::TopicNotFound, "no such topic").into());
        }
        let inner = self.state.inner();
        let led_by = |partition: usize| match inner.cut_off {
            // It led when it heard of others last.
            Some(cut_off) if cut_off == self.id => Some(cut_off),
            _ => inner.partitions[partition].leader,
        };
        let partition = |partition: usize| v1::Partition {
            partition: partition as u32,
            leader: led_by(partition).map(|leader| leader as u64),
            term: Some(inner.partitions[partition].term),
            replicas: (0..inner.members.len() as u64).collect(),
            ..Default::default()
        };
        let partitions = (0..inner.partitions.len()).map(partition).collect();
        let topic = v1::Topic { name, partitions, ..Default::default() };
        Ok(Response::new(v1::DescribeTopicResponse { topic: Some(topic) }))
    }

    async fn alter_topic(
        &self,
        _: Request<v1::AlterTopicRequest>,
    ) -> Result<Response<v1::AlterTopicResponse>, Status> {
        Err(Status::unimplemented("not in the double"))
    }

    async fn delete_topic(
        &self,
        _: Request<v1::DeleteTopicRequest>,
    ) -> Result<Response<v1::DeleteTopicResponse>, Status> {
        Err(Status::unimplemented("not in the double"))
    }

    async fn trim_topic(
        &self,
        request: Request<v1::TrimTopicRequest>,
    ) -> Result<Response<v1::TrimTopicResponse>, Status> {
        self.check_forward("trim_topic", &request);
        self.state.inner().check_leader(self.id, request.get_ref().partition)?;
        Ok(Response::new(v1::TrimTopicResponse { log_start_offset: request.into_inner().before_offset }))
    }
}
