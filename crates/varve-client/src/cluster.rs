//! Calls about the cluster as a whole: its health, its beginning, who leads what, and servers that go. Any server takes
//! them, and hands on what only another can do.

use varve_api::TopicName;
use varve_api::v1;
use varve_record::NodeId;

use crate::client::cluster_service;
use crate::{Client, ClientError};

impl Client {
    /// Says what is wrong with the cluster, if anything, as the answering server knows it.
    ///
    /// # Errors
    /// `NOT_INITIALIZED` if the server belongs to no cluster yet, or as any call.
    pub async fn cluster_health(&self) -> Result<v1::GetClusterHealthResponse, ClientError> {
        self.call_any(true, |connection| async move {
            cluster_service(connection).get_cluster_health(v1::GetClusterHealthRequest {}).await
        })
        .await
    }

    /// Makes a new cluster of a server that belongs to none, and tells the cluster's id. The servers that it finds by
    /// gossip join it. Name one server only when you connect, since it is the one that begins.
    ///
    /// # Errors
    /// `CLUSTER_EXISTS`, or as any call. If the answer was lost the cluster may have been made:
    /// [`ClientError::may_have_happened`].
    pub async fn init_cluster(&self) -> Result<String, ClientError> {
        let call = self.call_any(false, |connection| async move {
            cluster_service(connection).init_cluster(v1::InitClusterRequest {}).await
        });
        Ok(call.await?.cluster_id)
    }

    /// Has another replica lead a partition (`to`, or any that has all of the log), waits until it does, and tells which
    /// leads now.
    ///
    /// # Errors
    /// `TOPIC_NOT_FOUND`, `PARTITION_NOT_FOUND`, `NODE_NOT_FOUND`, `CHANGE_REFUSED` if that server holds no such replica
    /// or lags too far behind, or as any call.
    pub async fn transfer_leadership(
        &self,
        topic: &str,
        partition: u32,
        to: Option<NodeId>,
    ) -> Result<NodeId, ClientError> {
        let topic = TopicName::new(topic)?;
        let transferred = self.transfer(topic.to_string(), partition, to).await;
        self.doubt_topic(&topic);
        transferred
    }

    /// Has another server lead the controller (`to`, or any that has all of its log), waits until it does, and tells
    /// which leads now.
    ///
    /// # Errors
    /// `NODE_NOT_FOUND`, `CHANGE_REFUSED` if that server does not vote in the controller, or as any call.
    pub async fn transfer_controller(&self, to: Option<NodeId>) -> Result<NodeId, ClientError> {
        self.transfer(String::new(), 0, to).await
    }

    async fn transfer(
        &self,
        topic: String,
        partition: u32,
        to: Option<NodeId>,
    ) -> Result<NodeId, ClientError> {
        let request = v1::TransferLeadershipRequest { topic, partition, to: to.map(NodeId::get) };
        // Done twice it ends with the same leader, but only if that one is named.
        let call = self.call_any(to.is_some(), |connection| {
            let request = request.clone();
            async move { cluster_service(connection).transfer_leadership(request).await }
        });
        Ok(NodeId::new(call.await?.leader))
    }

    /// Begins to move everything off a server so that it can be taken away, or calls that off with `cancel`. It goes on by
    /// itself; [`Client::servers`] tells how much is left. Safe to call again.
    ///
    /// # Errors
    /// `NODE_NOT_FOUND`, `CHANGE_REFUSED` if what is left could not hold the replicas, or as any call.
    pub async fn decommission(&self, server: NodeId, cancel: bool) -> Result<v1::Server, ClientError> {
        let request = v1::DecommissionServerRequest { id: server.get(), cancel };
        let call = self.call_any(true, |connection| async move {
            cluster_service(connection).decommission_server(request).await
        });
        Ok(call.await?.server.unwrap_or_default())
    }
}
