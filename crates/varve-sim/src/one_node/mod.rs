//! One node's partition, whose power is cut now and then: the proposer, the replica and the storage engine without network,
//! gRPC or other nodes. A seed takes a fraction of a second, so that more disks are torn here than in a whole cluster.

mod client;
mod recorder;
mod run;
mod world;

pub use run::{Report, run};
