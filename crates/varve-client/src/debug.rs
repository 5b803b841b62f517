//! Looking into one server.

use std::sync::Arc;
use std::time::Duration;

use tonic::Response;
use varve_api::v1;
use varve_api::v1::debug_service_client::DebugServiceClient;

use crate::client::debug_service;
use crate::connection::Connection;
use crate::{Client, ClientError};

/// How long a server may take besides what it was told to take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// Bytes of what one server gives of itself; more is left out.
const COLLECTED_BYTES_MAX: usize = 64 * 1024 * 1024;

/// A file that a server gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CollectedFile {
    /// Its name.
    pub name: String,
    /// What is in it.
    pub data: Vec<u8>,
}

impl Client {
    /// Changes what the server at `addr` (HOST:PORT) logs until it ends; an empty filter changes nothing.
    ///
    /// # Errors
    /// `INVALID_REQUEST` if the filter is none, `PERMISSION_DENIED`, or as any call. It is made once.
    pub async fn set_log_filter(
        &self,
        addr: &str,
        filter: &str,
    ) -> Result<v1::SetLogFilterResponse, ClientError> {
        let request = v1::SetLogFilterRequest { filter: filter.to_owned() };
        self.look_into(addr, ANSWER_TIMEOUT, move |mut debug| {
            let request = request.clone();
            async move { debug.set_log_filter(request).await }
        })
        .await
    }

    /// What the server at `addr` (HOST:PORT) gives of itself, as files.
    ///
    /// # Errors
    /// `PERMISSION_DENIED`, or as any call. It is made once.
    pub async fn collect(&self, addr: &str) -> Result<Vec<CollectedFile>, ClientError> {
        let collect = |mut debug: DebugServiceClient<Connection>| async move {
            let mut parts = debug.collect(v1::CollectRequest {}).await?.into_inner();
            let (mut files, mut bytes) = (Vec::<CollectedFile>::new(), 0);
            while let Some(part) = parts.message().await? {
                bytes += part.data.len();
                if bytes > COLLECTED_BYTES_MAX {
                    break;
                }
                match files.last_mut().filter(|file| file.name == part.name) {
                    Some(file) => file.data.extend_from_slice(&part.data),
                    None => files.push(CollectedFile { name: part.name, data: part.data.to_vec() }),
                }
            }
            Ok(Response::new(files))
        };
        self.look_into(addr, ANSWER_TIMEOUT, collect).await
    }

    /// Where the server at `addr` (HOST:PORT) spends processor time, as folded stacks.
    ///
    /// # Errors
    /// `INVALID_REQUEST`, `OVERLOADED` if another profile is being taken, `PERMISSION_DENIED`, or as any call. It is made once.
    pub async fn profile(&self, addr: &str, seconds: u32, frequency: u32) -> Result<String, ClientError> {
        let timeout = ANSWER_TIMEOUT + Duration::from_secs(seconds.into());
        let request = v1::ProfileRequest { seconds, frequency };
        let answer =
            self.look_into(addr, timeout, move |mut debug| async move { debug.profile(request).await });
        Ok(answer.await?.folded)
    }

    async fn look_into<T, F, Fut>(&self, addr: &str, timeout: Duration, call: F) -> Result<T, ClientError>
    where
        F: Fn(DebugServiceClient<Connection>) -> Fut,
        Fut: Future<Output = Result<Response<T>, tonic::Status>>,
    {
        let addr: Arc<str> = addr.into();
        let call = |connection| call(debug_service(connection));
        Ok(self.attempt(&addr, timeout, &call).await?.0)
    }
}
