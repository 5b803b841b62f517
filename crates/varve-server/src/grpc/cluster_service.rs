//! `varve.v1.ClusterService`.

use std::ops::Bound;

use tonic::{Request, Response, Status};
use varve_api::TopicName;
use varve_api::error::{ApiError, Reason, meta};
use varve_api::limits::TOPICS_PAGE_MAX;
use varve_api::v1;
use varve_api::v1::cluster_service_server::ClusterService;
use varve_record::Offset;

use super::Shared;
use super::convert::{status, to_wire_time};
use super::settings::{as_change, effective_to_wire, from_wire, to_wire};
use crate::error::{produce_error, timed_out};
use crate::limits::CHANGE_TIMEOUT;
use crate::topics::{NewTopic, Slot, Topic};

/// Servers and topics.
#[derive(Clone, Debug)]
pub(crate) struct ClusterApi {
    shared: Shared,
}

impl ClusterApi {
    pub(crate) fn new(shared: Shared) -> Self {
        Self { shared }
    }

    fn servers(&self) -> v1::GetServersResponse {
        let this = &self.shared.directory;
        let server = v1::Server {
            id: this.node_id.get(),
            name: this.name.clone(),
            rpc_addr: this.rpc_addr.clone(),
            is_leader: true,
            rack: this.rack.clone(),
            ..v1::Server::default()
        };
        v1::GetServersResponse { servers: vec![server], cluster_id: this.cluster_id.clone() }
    }

    async fn create(&self, request: v1::CreateTopicRequest) -> Result<v1::CreateTopicResponse, ApiError> {
        let new = NewTopic {
            name: TopicName::new(&request.name)?,
            partitions: Some(request.partitions).filter(|partitions| *partitions > 0),
            replication_factor: request.replication_factor.max(1),
            settings: from_wire(request.settings)?,
        };
        let topic = self.shared.topics.create(new).await?;
        Ok(v1::CreateTopicResponse { topic: Some(self.describe(&topic)) })
    }

    fn list(&self, request: &v1::ListTopicsRequest) -> v1::ListTopicsResponse {
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
        let mut rest = topics.range::<str, _>((after, Bound::Unbounded));
        let page: Vec<_> = rest.by_ref().take(size).map(|(_, topic)| summary(topic)).collect();
        let more = rest.next().is_some();
        let last = page.last().filter(|_| more).map(|topic| topic.name.clone());
        v1::ListTopicsResponse { topics: page, next_page_token: last.unwrap_or_default() }
    }

    async fn look_up(
        &self,
        request: v1::DescribeTopicRequest,
    ) -> Result<v1::DescribeTopicResponse, ApiError> {
        let topics = &self.shared.topics;
        let topic = if request.create_missing {
            topics.get_or_create(&request.name).await?
        } else {
            topics.get(&request.name)?
        };
        Ok(v1::DescribeTopicResponse { topic: Some(self.describe(&topic)) })
    }

    async fn alter(&self, request: v1::AlterTopicRequest) -> Result<v1::AlterTopicResponse, ApiError> {
        let name = TopicName::new(&request.name)?;
        let change = as_change(from_wire(request.settings)?);
        let topic = self.shared.topics.alter(name, request.partitions, change).await?;
        Ok(v1::AlterTopicResponse { topic: Some(self.describe(&topic)) })
    }

    async fn trim(&self, request: v1::TrimTopicRequest) -> Result<v1::TrimTopicResponse, ApiError> {
        let topic = self.shared.topics.get(&request.topic)?;
        let partition = topic.partition(request.partition)?;
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

    fn describe(&self, topic: &Topic) -> v1::Topic {
        v1::Topic {
            name: topic.name.to_string(),
            replication_factor: topic.described.replication_factor,
            settings: Some(to_wire(&topic.described.settings)),
            partitions: topic
                .slots()
                .map(|(number, _, slot)| self.describe_partition(number, slot))
                .collect(),
            create_time: Some(to_wire_time(topic.described.created_ms)),
            effective_settings: Some(effective_to_wire(&topic.effective)),
        }
    }

    fn describe_partition(&self, number: u32, slot: &Slot) -> v1::Partition {
        let replicas = vec![self.shared.directory.node_id.get()];
        let unknown = v1::Partition { partition: number, replicas, ..v1::Partition::default() };
        let Slot::Open(partition) = slot else { return unknown };
        let status = partition.status();
        v1::Partition {
            leader: status.progress.leader.map(u64::from),
            log_start_offset: Some(status.progress.log_start_offset.get()),
            high_watermark: Some(status.progress.high_watermark.get()),
            size_bytes: Some(status.size_bytes),
            term: Some(status.progress.term.get()),
            ..unknown
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
        Ok(Response::new(self.servers()))
    }

    async fn watch_servers(
        &self,
        _: Request<v1::WatchServersRequest>,
    ) -> Result<Response<Self::WatchServersStream>, Status> {
        Err(Status::unimplemented("not yet"))
    }

    async fn get_cluster_health(
        &self,
        _: Request<v1::GetClusterHealthRequest>,
    ) -> Result<Response<v1::GetClusterHealthResponse>, Status> {
        Err(Status::unimplemented("not yet"))
    }

    async fn init_cluster(
        &self,
        _: Request<v1::InitClusterRequest>,
    ) -> Result<Response<v1::InitClusterResponse>, Status> {
        Err(Status::unimplemented("not yet"))
    }

    async fn join_cluster(
        &self,
        _: Request<v1::JoinClusterRequest>,
    ) -> Result<Response<v1::JoinClusterResponse>, Status> {
        Err(Status::unimplemented("not yet"))
    }

    async fn transfer_leadership(
        &self,
        _: Request<v1::TransferLeadershipRequest>,
    ) -> Result<Response<v1::TransferLeadershipResponse>, Status> {
        Err(Status::unimplemented("not yet"))
    }

    async fn decommission_server(
        &self,
        _: Request<v1::DecommissionServerRequest>,
    ) -> Result<Response<v1::DecommissionServerResponse>, Status> {
        Err(Status::unimplemented("not yet"))
    }

    async fn create_topic(
        &self,
        request: Request<v1::CreateTopicRequest>,
    ) -> Result<Response<v1::CreateTopicResponse>, Status> {
        self.create(request.into_inner()).await.map(Response::new).map_err(status)
    }

    async fn list_topics(
        &self,
        request: Request<v1::ListTopicsRequest>,
    ) -> Result<Response<v1::ListTopicsResponse>, Status> {
        Ok(Response::new(self.list(request.get_ref())))
    }

    async fn describe_topic(
        &self,
        request: Request<v1::DescribeTopicRequest>,
    ) -> Result<Response<v1::DescribeTopicResponse>, Status> {
        self.look_up(request.into_inner()).await.map(Response::new).map_err(status)
    }

    async fn alter_topic(
        &self,
        request: Request<v1::AlterTopicRequest>,
    ) -> Result<Response<v1::AlterTopicResponse>, Status> {
        self.alter(request.into_inner()).await.map(Response::new).map_err(status)
    }

    async fn delete_topic(
        &self,
        request: Request<v1::DeleteTopicRequest>,
    ) -> Result<Response<v1::DeleteTopicResponse>, Status> {
        let name = TopicName::new(&request.get_ref().name).map_err(|error| status(error.into()))?;
        self.shared.topics.delete(name).await.map_err(status)?;
        Ok(Response::new(v1::DeleteTopicResponse {}))
    }

    async fn trim_topic(
        &self,
        request: Request<v1::TrimTopicRequest>,
    ) -> Result<Response<v1::TrimTopicResponse>, Status> {
        self.trim(request.into_inner()).await.map(Response::new).map_err(status)
    }
}

fn summary(topic: &Topic) -> v1::TopicSummary {
    v1::TopicSummary {
        name: topic.name.to_string(),
        partitions: topic.partition_count(),
        replication_factor: topic.described.replication_factor,
    }
}
