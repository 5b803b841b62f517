//! The Rust client of Varve.
//!
//! It finds the servers of a cluster, sends appends to the leader of each partition and reads to its followers, batches,
//! pipelines, and retries what `docs/errors.md` allows. It must never know a server crate: what it knows of servers is
//! `varve-api`, and what it knows of the world (clock, randomness, connections) comes through `varve-env`.
//!
//! - **Resolver**: any member's address is enough. The client learns the others, watches them come, go and move, and keeps a
//!   channel to each; a name in the address stands for all the addresses that it has.
//! - **Picker** ([`Picker`]): each call goes to a server of its own: appends to the partition's leader, reads round-robin to its
//!   followers ([`PickFollower`]), to the own rack ([`ClientBuilder::rack`]), or to the server with the fewest calls under way
//!   ([`PickFewestOutstanding`]). Nothing is restarted when the leader moves.
//! - **Producers** are idempotent: what is sent again is appended once, in order, whoever leads by then. **Consumers** go on at
//!   the next offset on another server when theirs dies, drains, lags or has damage.
//!
//! Where to start: [`Client::connect`], then [`Client::producer`] and [`Client::consumer`].
//!
//! ```no_run
//! # async fn quickstart() -> Result<(), varve_client::ClientError> {
//! use varve_client::{Client, ProducerRecord};
//!
//! let client = Client::connect("varve://127.0.0.1:8400").await?;
//! let producer = client.producer("greetings").build().await?;
//! for value in ["one", "two", "three"] {
//!     let delivered = producer.send(ProducerRecord::new(value)).await?.await?;
//!     println!("{value} is at {:?}", delivered.offset);
//! }
//! let mut consumer = client.consumer("greetings").until_end().build().await?;
//! while let Some(record) = consumer.next().await? {
//!     println!("{}: {:?}", record.offset, record.value);
//! }
//! # Ok(())
//! # }
//! ```

mod address;
mod admin;
mod attempts;
mod backoff;
mod channel;
mod client;
mod cluster;
mod connection;
mod consumer;
mod debug;
mod error;
mod failure;
mod hearing;
mod lookup;
mod options;
mod partitioner;
mod picker;
mod producer;
mod resolver;
mod roster;
mod tls_problem;
mod topics;
mod traced;

pub use address::{AddressError, ClusterAddress, DEFAULT_PORT, MEMBERS_MAX};
pub use client::Client;
pub use consumer::{
    ConsumedBatch, ConsumedRecord, Consumer, ConsumerBuilder, HEARTBEAT_INTERVAL, PREFETCH_PIECES, ReadFrom,
};
pub use debug::CollectedFile;
pub use error::ClientError;
pub use lookup::{Lookup, SystemLookup};
pub use options::{ATTEMPT_TIMEOUT, CALL_TIMEOUT, CONNECT_TIMEOUT, ClientBuilder, SERVERS_INTERVAL};
pub use partitioner::partition_of_key;
pub use picker::{
    PartitionServer, PartitionServers, PickFewestOutstanding, PickFollower, PickLeader, PickNearest, Picker,
};
pub use producer::{
    ACK_TIMEOUT, Acks, DELIVERY_TIMEOUT, Delivered, Delivery, PRODUCER_BATCH_BYTES, PRODUCER_IN_FLIGHT_BYTES,
    Producer, ProducerBuilder, ProducerRecord,
};
pub use tls_problem::TlsProblem;
pub use varve_api as api;
pub use varve_record as record;
pub use varve_tls::{ClientTls, ClientTlsSettings, TlsError, TlsFiles};
