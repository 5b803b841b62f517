//! Calls about topics and servers, and single appends and reads: each one call, retried as the table of errors allows.

use std::time::Duration;

use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use varve_api::TopicName;
use varve_api::error::Reason;
use varve_api::limits::CONSUME_WAIT_MS_MAX;
use varve_api::v1;

use crate::client::{Replica, Target, cluster_service, log_service};
use crate::partitioner::partition_of_key;
use crate::{Client, ClientError};

/// Most pages of topics that [`Client::list_topics`] asks for.
const TOPIC_PAGES_MAX: usize = 1000;

impl Client {
    /// Makes a topic.
    ///
    /// # Errors
    /// `TOPIC_EXISTS`, `INVALID_TOPIC_NAME`, `INVALID_REQUEST`, or as any call. If the answer was lost the topic may
    /// exist: [`ClientError::may_have_happened`].
    pub async fn create_topic(&self, request: v1::CreateTopicRequest) -> Result<v1::Topic, ClientError> {
        let topic = TopicName::new(&request.name)?;
        self.doubt_topic(&topic);
        let call = self.call_any(false, |connection| {
            let request = request.clone();
            async move { cluster_service(connection).create_topic(request).await }
        });
        Ok(call.await?.topic.unwrap_or_default())
    }

    /// Lists the topics, by name.
    ///
    /// # Errors
    /// As any call.
    pub async fn list_topics(&self) -> Result<Vec<v1::TopicSummary>, ClientError> {
        let mut topics = Vec::new();
        let mut request = v1::ListTopicsRequest::default();
        for _ in 0..TOPIC_PAGES_MAX {
            let call = self.call_any(true, |connection| {
                let request = request.clone();
                async move { cluster_service(connection).list_topics(request).await }
            });
            let page = call.await?;
            topics.extend(page.topics);
            if page.next_page_token.is_empty() {
                break;
            }
            request.page_token = page.next_page_token;
        }
        Ok(topics)
    }

    /// Tells all there is to know of a topic; offsets and sizes are those that the partitions' leaders know, where they answer.
    ///
    /// # Errors
    /// `TOPIC_NOT_FOUND`, or as any call.
    pub async fn describe_topic(&self, topic: &str) -> Result<v1::Topic, ClientError> {
        let name = TopicName::new(topic)?.to_string();
        let request = v1::DescribeTopicRequest { name, create_missing: false };
        let call = self.call_any(true, |connection| {
            let request = request.clone();
            async move { cluster_service(connection).describe_topic(request).await }
        });
        Ok(call.await?.topic.unwrap_or_default())
    }

    /// Changes the settings of a topic, or gives it more partitions.
    ///
    /// # Errors
    /// `TOPIC_NOT_FOUND`, `INVALID_REQUEST`, or as any call.
    pub async fn alter_topic(&self, request: v1::AlterTopicRequest) -> Result<v1::Topic, ClientError> {
        let topic = TopicName::new(&request.name)?;
        let call = self.call_any(true, |connection| {
            let request = request.clone();
            async move { cluster_service(connection).alter_topic(request).await }
        });
        let altered = call.await?;
        self.doubt_topic(&topic);
        Ok(altered.topic.unwrap_or_default())
    }

    /// Deletes a topic with all its records. There is no way back.
    ///
    /// # Errors
    /// `TOPIC_NOT_FOUND`, or as any call. If the answer was lost the topic may be gone:
    /// [`ClientError::may_have_happened`].
    pub async fn delete_topic(&self, topic: &str) -> Result<(), ClientError> {
        let topic = TopicName::new(topic)?;
        self.doubt_topic(&topic);
        let request = v1::DeleteTopicRequest { name: topic.to_string() };
        let call = self.call_any(false, |connection| {
            let request = request.clone();
            async move { cluster_service(connection).delete_topic(request).await }
        });
        call.await?;
        Ok(())
    }

    /// Gives up the records of a partition before an offset, and tells the first offset that is kept. There is no way
    /// back.
    ///
    /// # Errors
    /// `OFFSET_BEYOND_TAIL`, `PARTITION_NOT_FOUND`, `TOPIC_NOT_FOUND`, or as any call.
    pub async fn trim_topic(
        &self,
        topic: &str,
        partition: u32,
        before_offset: u64,
    ) -> Result<u64, ClientError> {
        let topic = TopicName::new(topic)?;
        let request = v1::TrimTopicRequest { topic: topic.to_string(), partition, before_offset };
        let target = Target { topic: &topic, partition, replica: Replica::Leader };
        let call = self.call_partition(target, true, self.attempts(self.deadline()), |connection| {
            let request = request.clone();
            async move { cluster_service(connection).trim_topic(request).await }
        });
        Ok(call.await?.log_start_offset)
    }

    /// Tells where a partition begins and ends.
    ///
    /// # Errors
    /// `TOPIC_NOT_FOUND`, `PARTITION_NOT_FOUND`, or as any call.
    pub async fn get_tail(
        &self,
        topic: &str,
        partition: u32,
        consistency: v1::ReadConsistency,
    ) -> Result<v1::GetTailResponse, ClientError> {
        let topic = TopicName::new(topic)?;
        let consistency = consistency as i32;
        let request = v1::GetTailRequest { topic: topic.to_string(), partition, consistency };
        let target = Target { topic: &topic, partition, replica: self.replica_for(consistency) };
        self.call_partition(target, true, self.attempts(self.deadline()), |connection| {
            let request = request.clone();
            async move { log_service(connection).get_tail(request).await }
        })
        .await
    }

    /// Makes the identity of an idempotent producer. [`Client::producer`] does it by itself.
    ///
    /// # Errors
    /// As any call.
    pub async fn init_producer(&self, name: &str) -> Result<v1::InitProducerResponse, ClientError> {
        let request = v1::InitProducerRequest { name: name.into(), ..Default::default() };
        self.call_any(true, |connection| {
            let request = request.clone();
            async move { log_service(connection).init_producer(request).await }
        })
        .await
    }

    /// Appends one batch, as it stands in the request: for conditional appends and tools. [`Client::producer`] batches,
    /// pipelines and is idempotent.
    ///
    /// Only a request with the state of an idempotent producer is sent again when its fate is unknown.
    ///
    /// # Errors
    /// Those of `LogService.Produce`.
    pub async fn produce(&self, request: v1::ProduceRequest) -> Result<v1::ProduceResponse, ClientError> {
        let topic = TopicName::new(&request.topic)?;
        let idempotent = request.producer.is_some();
        let map = self.topic_map(&topic, true).await?;
        let partition = self.partition_for(&request, map.partitions.len());
        let request = v1::ProduceRequest { leader_only: true, partition, ..request };
        let target = Target { topic: &topic, partition: partition.unwrap_or(0), replica: Replica::Leader };
        self.call_partition(target, idempotent, self.attempts(self.deadline()), |connection| {
            let request = request.clone();
            async move { log_service(connection).produce(request).await }
        })
        .await
    }

    /// The partition that a request names, else one as the server would choose it: the call is to go to its leader.
    fn partition_for(&self, request: &v1::ProduceRequest, partitions: usize) -> Option<u32> {
        let partitions = u32::try_from(partitions).unwrap_or(u32::MAX);
        let first = request.records.first().filter(|_| request.partition.is_none() && partitions > 0);
        let Some(first) = first else { return request.partition };
        let any = || u32::try_from(self.env().entropy.below(u64::from(partitions))).unwrap_or(0);
        Some(first.key.as_ref().map_or_else(any, |key| partition_of_key(key, partitions)))
    }

    /// Reads one piece of a partition, as it stands in the request: for tools. [`Client::consumer`] reads on and on.
    ///
    /// # Errors
    /// Those of `LogService.Consume`.
    pub async fn consume(&self, request: v1::ConsumeRequest) -> Result<v1::ConsumeResponse, ClientError> {
        let topic = TopicName::new(&request.topic)?;
        let wait = request.max_wait.as_ref().and_then(varve_api::time::duration_from_proto);
        // The server caps the wait as well.
        let wait = wait.unwrap_or(Duration::ZERO).min(Duration::from_millis(CONSUME_WAIT_MS_MAX));
        let attempts = || self.attempts(self.deadline()).waiting(wait);
        let call = |connection| {
            let request = request.clone();
            async move { log_service(connection).consume(request).await }
        };
        let replica = self.replica_for(request.consistency);
        let target = Target { topic: &topic, partition: request.partition, replica };
        let read = self.call_partition(target, true, attempts(), call).await;
        match read {
            Err(error) if error.reason() == Some(Reason::OffsetBeyondTail) => {
                // A follower may lag behind what the caller was told by another server, so the leader has to say it.
                let consistency = v1::ReadConsistency::Linearizable as i32;
                let request = v1::ConsumeRequest { consistency, ..request.clone() };
                let target = Target { replica: Replica::Leader, ..target };
                self.call_partition(target, true, attempts(), |connection| {
                    let request = request.clone();
                    async move { log_service(connection).consume(request).await }
                })
                .await
            }
            read => read,
        }
    }

    /// Whether a service of some server can be used: "" asks whether the server lives, "varve.v1.LogService" whether it
    /// is ready.
    ///
    /// # Errors
    /// If no server answers.
    pub async fn is_serving(&self, service: &str) -> Result<bool, ClientError> {
        let request = HealthCheckRequest { service: service.into() };
        let call = self.call_any(true, |connection| {
            let request = request.clone();
            async move { HealthClient::new(connection).check(request).await }
        });
        Ok(call.await?.status() == ServingStatus::Serving)
    }
}
