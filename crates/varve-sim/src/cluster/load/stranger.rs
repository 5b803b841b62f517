//! Whoever is not let into a secured cluster, and tries again and again, whatever trouble there is.

use super::{ATTEMPT_TIMEOUT, Load, pause};
use crate::cluster::plan::Plan;
use crate::cluster::security::{Certificates, STRANGER};
use crate::cluster::site::chain;
use std::time::Duration;
use varve_client::api::error::Reason;
use varve_client::api::v1::{CreateTopicRequest, ProduceRecord, ProduceRequest, ReadConsistency};
use varve_client::{Client, ClientBuilder, ClientError, ClientTls, TlsError};
use varve_env::{Entropy, SeededEntropy};

/// The longest pause between two attempts, in milliseconds.
const PAUSE_MS_MAX: u64 = 1_000;
/// How long a call may take with all its attempts: a stranger is not as patient as a client.
const CALL_TIMEOUT: Duration = Duration::from_secs(6);
/// The number of its entropy among those of clients.
const NUMBER: u64 = 200;

/// What somebody comes with.
#[derive(Clone, Copy, Debug)]
enum Guise {
    /// A good certificate, for which the policy has no rule.
    Unruled,
    /// No certificate.
    Anonymous,
    /// No encryption.
    InClear,
}

pub(super) async fn run(load: Load, certificates: Certificates, entropy: SeededEntropy) {
    while !load.is_over() {
        pause(&entropy, PAUSE_MS_MAX).await;
        let guise = match entropy.below(4) {
            0 => Guise::Anonymous,
            1 => Guise::InClear,
            _ => Guise::Unruled,
        };
        let connected = match dressed(&load, &certificates, guise) {
            Ok(builder) => builder.connect(&load.plan.address()).await,
            Err(error) => return load.journal.complain(format!("{guise:?} has no TLS: {error}")),
        };
        match (connected, guise) {
            // Servers tell where they are to all who have a certificate.
            (Ok(client), Guise::Unruled) => {
                for (what, done) in try_all(&client, &load.plan).await {
                    judge(&load, guise, what, done);
                }
            }
            (connected, _) => judge(&load, guise, "connect", connected.map(drop)),
        }
    }
}

fn dressed(load: &Load, certificates: &Certificates, guise: Guise) -> Result<ClientBuilder, TlsError> {
    let builder =
        Client::builder().env(load.env(NUMBER)).call_timeout(CALL_TIMEOUT).attempt_timeout(ATTEMPT_TIMEOUT);
    Ok(match guise {
        Guise::Unruled => builder.tls(certificates.of_client(STRANGER)?),
        Guise::Anonymous => builder.tls(ClientTls::anonymous(certificates.authority(), None)?),
        Guise::InClear => builder,
    })
}

/// Tries whatever would do harm, or tell something.
async fn try_all(client: &Client, plan: &Plan) -> Vec<(&'static str, Result<(), ClientError>)> {
    let Some(topic) = plan.topics.first() else { return Vec::new() };
    let name = topic.name.to_owned();
    // It holds what nobody appends, so that the checker finds it, too.
    let record = ProduceRecord { value: Some("stolen".into()), ..Default::default() };
    let append = ProduceRequest {
        topic: name.clone(),
        partition: Some(0),
        records: vec![record],
        ..Default::default()
    };
    let create = CreateTopicRequest { name: "smuggled".to_owned(), partitions: 1, ..Default::default() };
    vec![
        ("append", client.produce(append).await.map(drop)),
        ("look", client.get_tail(&name, 0, ReadConsistency::Committed).await.map(drop)),
        ("make a topic", client.create_topic(create).await.map(drop)),
        ("move leadership", client.transfer_controller(None).await.map(drop)),
    ]
}

/// Nobody lets a stranger do a thing. Where there is trouble it is not refused, either: nobody answers.
fn judge(load: &Load, guise: Guise, what: &str, done: Result<(), ClientError>) {
    match done {
        Ok(()) => load.journal.complain(format!("a stranger ({guise:?}) could {what}")),
        Err(error) => match error.reason() {
            Some(reason @ (Reason::PermissionDenied | Reason::Unauthenticated | Reason::TlsFailed)) => {
                load.journal.turn_away(&format!("a stranger ({guise:?}) could not {what}: {reason:?}"));
            }
            reason => load
                .journal
                .note(&format!("a stranger ({guise:?}) could not {what}: {reason:?}, {}", chain(&error))),
        },
    }
}
