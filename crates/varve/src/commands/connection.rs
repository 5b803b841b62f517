//! The way to a server.

use std::fmt::Display;
use std::time::Duration;

use varve_api::TopicName;
use varve_api::error::Reason;
use varve_api::v1::Topic;
use varve_client::{Client, ClientBuilder, ClientError};

use crate::cli::Connect;
use crate::context::Target;
use crate::failure::{Exit, Failure};
use crate::suggest::nearest;
use crate::telemetry;
use crate::tls::TlsSettings;

/// How long to knock where nobody answers. The full timeout is for servers that are there and slow.
const KNOCK_TIMEOUT: Duration = Duration::from_secs(1);

/// A client, and the words for what goes wrong with it.
#[derive(Clone)]
pub(crate) struct Connection {
    /// The client.
    pub(crate) client: Client,
    target: Target,
}

impl Connection {
    /// Connects.
    ///
    /// # Errors
    /// If the address is none, or no server answers there.
    pub(crate) async fn open(connect: &Connect) -> Result<Self, Failure> {
        Self::open_within(connect, connect.timeout).await
    }

    /// Connects, and gives this and each later call no longer than `timeout`.
    ///
    /// # Errors
    /// If the address is none, or no server answers there.
    pub(crate) async fn open_within(connect: &Connect, timeout: Duration) -> Result<Self, Failure> {
        let target = connect.target()?;
        let address = &target.address;
        let tls = target.tls.as_ref().map(TlsSettings::open).transpose()?;
        let builder = || tls.iter().cloned().fold(Client::builder(), ClientBuilder::tls);
        let knock = builder().call_timeout(timeout.min(KNOCK_TIMEOUT)).connect(address).await;
        match knock {
            Err(error @ ClientError::Address(_)) => return Err(Failure::usage(error.to_string())),
            Err(error) if matches!(error.reason(), Some(Reason::Unreachable | Reason::TlsFailed)) => {
                return Err(fail(&target, "connect", &error));
            }
            // It is there; a slow one gets all the time that it may have.
            Ok(_) | Err(_) => {}
        }
        let client = builder().telemetry(telemetry::start()?).call_timeout(timeout).connect(address).await;
        let client = client.map_err(|error| fail(&target, "connect", &error))?;
        Ok(Self { client, target })
    }

    /// What is said when `doing` something failed.
    pub(crate) fn fail(&self, doing: impl Display, error: &ClientError) -> Failure {
        fail(&self.target, doing, error)
    }

    /// The same, with the nearest name if it is the topic that does not exist.
    pub(crate) async fn fail_topic(
        &self,
        doing: impl Display,
        topic: &TopicName,
        error: &ClientError,
    ) -> Failure {
        let failure = self.fail(doing, error);
        if error.reason() != Some(Reason::TopicNotFound) {
            return failure;
        }
        let message = format!("there is no topic {topic} on {}", self.target);
        let failure = Failure { message, ..failure };
        let topics = self.client.list_topics().await.unwrap_or_default();
        match nearest(topic.as_str(), topics.iter().map(|topic| topic.name.as_str())) {
            Some(name) => failure.hint(format!("did you mean {name}? `varve topic list` shows them all")),
            None => failure,
        }
    }

    /// All about a topic.
    ///
    /// # Errors
    /// If it does not exist, or the server does not answer.
    pub(crate) async fn topic(&self, topic: &TopicName) -> Result<Topic, Failure> {
        match self.client.describe_topic(topic.as_str()).await {
            Ok(description) => Ok(description),
            Err(error) => Err(self.fail_topic(format!("describe topic {topic}"), topic, &error).await),
        }
    }
}

fn fail(target: &Target, doing: impl Display, error: &ClientError) -> Failure {
    match error {
        ClientError::Api(error) => Failure::api(doing, &target.to_string(), error),
        ClientError::Address(_) => Failure::usage(error.to_string()),
        ClientError::Damaged { source, .. } => {
            Failure::new(Exit::Unhealthy, format!("cannot {doing}: {error}: {source}"))
        }
        _ => Failure::new(Exit::General, format!("cannot {doing}: {}", chain(error))),
    }
}

/// An error with its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
