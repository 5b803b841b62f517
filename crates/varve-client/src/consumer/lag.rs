use tokio::sync::oneshot;
use tokio::task::AbortHandle;
use varve_api::TopicName;
use varve_api::v1;
use varve_record::Offset;

use super::reader::{Position, Session};
use crate::client::{Replica, Target, log_service};
use crate::{Client, ClientError};

/// Finds out whether a follower is left behind: whether it has nothing to give now, although the leader had more at the
/// heartbeat before.
#[derive(Debug, Default)]
pub(crate) struct LagCheck {
    /// What the leader has, once it says so.
    asked: Option<LeaderTail>,
}

#[derive(Debug)]
struct LeaderTail {
    answer: oneshot::Receiver<Offset>,
    task: AbortHandle,
}

impl LagCheck {
    /// Whether the follower lags, asked at each of its heartbeats.
    pub(crate) fn is_behind(&mut self, session: &Session) -> bool {
        let Position::At(next) = session.position else { return false };
        let answer = self.asked.take().and_then(|mut asked| asked.answer.try_recv().ok());
        self.asked = Some(LeaderTail::ask(session));
        answer.is_some_and(|tail| tail > next)
    }
}

impl LeaderTail {
    fn ask(session: &Session) -> Self {
        let (sender, answer) = oneshot::channel();
        let client = session.client.clone();
        let (topic, partition) = (session.topic.clone(), session.partition);
        let task = varve_env::spawn_task(async move {
            // Without an answer there is nothing to compare with.
            if let Ok(tail) = leader_tail(&client, &topic, partition).await {
                // Nobody may be waiting for it.
                let _ = sender.send(tail);
            }
        });
        Self { answer, task: task.abort_handle() }
    }
}

impl Drop for LeaderTail {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What the leader has committed, as it knows without asking the others: a hint is enough.
async fn leader_tail(client: &Client, topic: &TopicName, partition: u32) -> Result<Offset, ClientError> {
    let request = v1::GetTailRequest { topic: topic.to_string(), partition, ..Default::default() };
    let target = Target { topic, partition, replica: Replica::Leader };
    let tail = client.call_partition(target, true, client.attempts(client.deadline()), |connection| {
        let request = request.clone();
        async move { log_service(connection).get_tail(request).await }
    });
    Ok(Offset::new(tail.await?.high_watermark.min(Offset::MAX.get())))
}
