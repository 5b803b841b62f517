//! `varve.v1.DebugService`.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use serde_json::{Value, json};
use tonic::{Request, Response, Status};
use varve_api::error::{ApiError, Reason};
use varve_api::v1;
use varve_api::v1::debug_service_server::DebugService;
use varve_record::PartitionId;
use varve_storage::list_files;

use super::Shared;
use crate::condition::Condition;
use crate::error::{invalid, overloaded};
use crate::topics::Slot;
use crate::{BuildInfo, Inspection};

/// Bytes of one part of a file.
const PART_BYTES_MAX: usize = 1024 * 1024;

/// Files of the data directory that are listed.
const FILES_MAX: usize = 100_000;

/// How long a profile may take.
const PROFILE_SECONDS_MAX: u32 = 60;

/// How often it may look each second, and how often it does where nothing is said: no round number, so as not to look in step with
/// what happens by the clock.
const FREQUENCY_MAX: u32 = 1000;
const FREQUENCY: u32 = 99;

/// What is looked into.
#[derive(Clone, Debug)]
pub(crate) struct DebugApi {
    pub(crate) shared: Shared,
    pub(crate) data_dir: PathBuf,
    pub(crate) condition: Condition,
    pub(crate) build: BuildInfo,
    pub(crate) node_name: String,
    /// `None` where the node runs in a process that shows nothing.
    pub(crate) process: Option<Arc<dyn Inspection>>,
}

/// A file to give.
struct File {
    name: &'static str,
    data: Bytes,
}

impl DebugApi {
    fn process(&self) -> Result<Arc<dyn Inspection>, ApiError> {
        let none = || {
            ApiError::new(Reason::Unimplemented, "this server runs in a process that shows nothing of itself")
        };
        self.process.clone().ok_or_else(none)
    }

    fn set_filter(&self, filter: &str) -> Result<v1::SetLogFilterResponse, ApiError> {
        let process = self.process()?;
        let previous = process.log_filter();
        if !filter.is_empty() {
            process.set_log_filter(filter).map_err(|problem| invalid("filter", problem))?;
            tracing::warn!(target: "varve::audit", filter, previous, "what is logged was changed");
        }
        Ok(v1::SetLogFilterResponse { filter: process.log_filter(), previous })
    }

    async fn collect(&self) -> Vec<File> {
        let text = |name, text: String| File { name, data: text.into() };
        let mut files = vec![
            text("server.json", pretty(&self.server())),
            text("replicas.json", pretty(&self.replicas())),
        ];
        files.push(text("cluster.json", pretty(&self.cluster())));
        if let Some(process) = &self.process {
            files.push(text("settings.yaml", process.settings()));
            files.push(File { name: "log.txt", data: process.recent_logs().into() });
        }
        let blocking = self.shared.env.blocking;
        if let Some(exposition) = self.shared.env.telemetry.exposition() {
            let metrics = blocking.run(move || exposition.text()).await;
            files.push(text("metrics.txt", metrics.unwrap_or_else(|error| format!("# {error}\n"))));
        }
        let (disk, dir) = (Arc::clone(&self.shared.env.disk), self.data_dir.clone());
        let listed = match blocking.run(move || list_files(&*disk, &dir, FILES_MAX)).await {
            Ok(listed) => listed.into_iter().map(|(path, bytes)| format!("{bytes}\t{path}\n")).collect(),
            Err(error) => format!("{error}\n"),
        };
        files.push(text("files.tsv", listed));
        files
    }

    fn server(&self) -> Value {
        let view = &self.shared.view;
        let checks = self.condition.now();
        let checks: Vec<Value> = checks
            .checks()
            .iter()
            .map(|check| json!({"check": check.name, "problem": check.problem()}))
            .collect();
        json!({
            "cluster_id": view.identity.cluster_id,
            "node_id": view.this().get(),
            "node_name": self.node_name,
            "version": self.build.version,
            "revision": self.build.revision,
            "time_unix_ms": self.shared.env.clock.now_unix_ms(),
            "controller_leader": view.controller_leader().map(u64::from),
            "disk_full": view.metadata.is_disk_full(),
            "checks": checks,
            "streams": {
                "producing": self.shared.streams.producing(),
                "consuming": self.shared.streams.consuming(),
            },
        })
    }

    fn cluster(&self) -> Value {
        let view = &self.shared.view;
        let servers: Vec<Value> = view
            .servers()
            .servers
            .into_iter()
            .map(|server| {
                json!({
                    "id": server.id, "name": server.name, "rpc_addr": server.rpc_addr, "gossip_addr": server.gossip_addr,
                    "rack": server.rack, "alive": server.alive, "state": server.state, "controller_voter": server.controller_voter,
                    "leads_controller": server.is_leader, "replicas": server.replicas, "leads": server.leaders,
                })
            })
            .collect();
        let state = view.state();
        let placements: Vec<Value> = state
            .0
            .placements()
            .map(|(id, placement)| json!({"partition": id.get(), "placement": format!("{placement:?}")}))
            .collect();
        json!({"servers": servers, "placements": placements})
    }

    /// The controller's replica, and those of topics.
    fn replicas(&self) -> Value {
        let controller = self.shared.view.metadata.progress();
        let mut replicas = vec![json!({"group": "controller", "progress": format!("{controller:?}")})];
        for topic in self.shared.topics.all().values() {
            replicas.extend(
                topic.slots().filter_map(|(number, id, slot)| replica(topic.name.as_str(), number, id, slot)),
            );
        }
        Value::Array(replicas)
    }

    async fn profile(&self, request: v1::ProfileRequest) -> Result<v1::ProfileResponse, ApiError> {
        let process = self.process()?;
        if !(1..=PROFILE_SECONDS_MAX).contains(&request.seconds) {
            return Err(invalid("seconds", format!("it must be 1 to {PROFILE_SECONDS_MAX}")));
        }
        let frequency = if request.frequency == 0 { FREQUENCY } else { request.frequency };
        if frequency > FREQUENCY_MAX {
            return Err(invalid("frequency", format!("it must be at most {FREQUENCY_MAX}")));
        }
        let duration = Duration::from_secs(request.seconds.into());
        let looked = self.shared.env.blocking.run(move || process.profile(duration, frequency)).await;
        let folded = looked.map_err(|problem| overloaded("profiles", problem))?;
        Ok(v1::ProfileResponse { folded })
    }
}

fn replica(topic: &str, number: u32, id: PartitionId, slot: &Slot) -> Option<Value> {
    let partition = match slot {
        Slot::Elsewhere => return None,
        Slot::Failed(error) => {
            return Some(
                json!({"topic": topic, "partition": number, "id": id.get(), "failed": error.to_string()}),
            );
        }
        Slot::Open(partition) => partition,
    };
    let status = partition.status();
    let followers = partition.followers().unwrap_or_default();
    let followers: Vec<Value> = followers
        .into_iter()
        .map(|(node, state)| {
            json!({
                "node": node.get(), "matched": state.matched.map(|index| index.get()), "lag_entries": state.lag_entries,
                "silent_ms": state.silent_for.map(|silent| silent.as_millis() as u64),
            })
        })
        .collect();
    let progress = status.progress;
    Some(json!({
        "topic": topic, "partition": number, "id": id.get(), "leader": progress.leader.map(u64::from), "term": progress.term.get(),
        "log_start_offset": progress.log_start_offset.get(), "high_watermark": progress.high_watermark.get(),
        "next_offset": status.next_offset.get(), "last_entry": status.last.map(|last| last.to_string()),
        "last_append_time_ms": status.last_append_time.get(), "size_bytes": status.size_bytes,
        "damage": status.damage.map(|damage| damage.to_string()), "disk_full": status.disk_full, "stopped": status.stopped,
        "members": partition.members().ok().map(|members| format!("{members:?}")), "followers": followers,
    }))
}

fn pretty(value: &Value) -> String {
    format!("{value:#}\n")
}

/// A file in parts.
fn parts(file: File) -> Vec<v1::CollectResponse> {
    let File { name, mut data } = file;
    let mut parts = Vec::new();
    loop {
        let part = data.split_to(data.len().min(PART_BYTES_MAX));
        parts.push(v1::CollectResponse { name: name.to_owned(), data: part });
        if data.is_empty() {
            return parts;
        }
    }
}

#[tonic::async_trait]
impl DebugService for DebugApi {
    type CollectStream = BoxStream<'static, Result<v1::CollectResponse, Status>>;

    async fn set_log_filter(
        &self,
        request: Request<v1::SetLogFilterRequest>,
    ) -> Result<Response<v1::SetLogFilterResponse>, Status> {
        Ok(Response::new(self.set_filter(&request.into_inner().filter)?))
    }

    async fn collect(&self, _: Request<v1::CollectRequest>) -> Result<Response<Self::CollectStream>, Status> {
        let files = DebugApi::collect(self).await;
        let parts = files.into_iter().flat_map(parts).map(Ok);
        Ok(Response::new(futures::stream::iter(parts).boxed()))
    }

    async fn profile(
        &self,
        request: Request<v1::ProfileRequest>,
    ) -> Result<Response<v1::ProfileResponse>, Status> {
        Ok(Response::new(DebugApi::profile(self, request.into_inner()).await?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_comes_whole_in_parts_even_an_empty_one() {
        for len in [0, 1, PART_BYTES_MAX, 2 * PART_BYTES_MAX + 1] {
            let data = Bytes::from(vec![7; len]);
            let parts = parts(File { name: "f", data: data.clone() });
            assert_eq!(parts.len(), len.div_ceil(PART_BYTES_MAX).max(1));
            let whole: Vec<u8> = parts.iter().flat_map(|part| part.data.iter().copied()).collect();
            assert_eq!(whole, data);
        }
    }
}
