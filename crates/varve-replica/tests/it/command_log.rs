use crate::fixture::{Fixture, within};
use bytes::Bytes;
use std::num::ParseIntError;
use varve_record::PartitionId;
use varve_replica::{COMMAND_BYTES_MAX, CommandLog, OpenReplicaError, StateMachine};

/// A command whose bytes are more than a command may have.
pub(crate) const TOO_LARGE: i64 = i64::MAX;

/// Commands from here on have 8 KiB.
pub(crate) const LONG: i64 = 1_000_000;

/// Adds numbers, and refuses odd ones.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sum(pub(crate) i64);

impl StateMachine for Sum {
    type Command = i64;
    type Response = Result<i64, String>;
    type DecodeError = ParseIntError;

    fn encode(command: &i64) -> Bytes {
        let zeros = match *command {
            TOO_LARGE => COMMAND_BYTES_MAX,
            LONG.. => 8 * 1024,
            _ => 0,
        };
        format!("{}{command}", "0".repeat(zeros)).into()
    }

    fn decode(bytes: &[u8]) -> Result<i64, ParseIntError> {
        String::from_utf8_lossy(bytes).parse()
    }

    fn apply(&mut self, command: i64) -> Result<i64, String> {
        if command % 2 != 0 {
            return Err(format!("{command} is odd"));
        }
        self.0 += command;
        Ok(self.0)
    }

    fn snapshot(&self) -> Bytes {
        Self::encode(&self.0)
    }

    fn restore(snapshot: &[u8]) -> Result<Self, ParseIntError> {
        Self::decode(snapshot).map(Self)
    }
}

async fn open(fixture: &Fixture) -> Result<CommandLog<Sum>, OpenReplicaError> {
    let (peers, group) = fixture.sole_member();
    let joined =
        CommandLog::join(&fixture.env, &fixture.storage, PartitionId::new(0), &peers, &group, Sum::default());
    let log = within(joined).await?;
    within(log.ready()).await.unwrap();
    Ok(log)
}

#[tokio::test]
async fn commands_are_applied_in_order_and_replayed() {
    let fixture = Fixture::new();
    let log = open(&fixture).await.unwrap();
    assert_eq!(within(log.propose(2)).await.unwrap(), Ok(2));
    assert_eq!(within(log.propose(3)).await.unwrap(), Err("3 is odd".to_owned()));
    assert_eq!(within(log.propose(4)).await.unwrap(), Ok(6));
    assert_eq!(log.state().0, 6);
    drop(log);
    let fixture = fixture.crash();
    let log = open(&fixture).await.unwrap();
    assert_eq!(log.state().0, 6);
    assert_eq!(within(log.propose(10)).await.unwrap(), Ok(16));
}

#[tokio::test]
async fn followers_see_the_state_change() {
    let fixture = Fixture::new();
    let log = open(&fixture).await.unwrap();
    let mut follower = log.follow();
    let waiting = tokio::spawn(async move { follower.wait_for(|sum| sum.0 == 2).await.map(|sum| sum.0) });
    within(log.propose(2)).await.unwrap().unwrap();
    assert_eq!(within(waiting).await.unwrap().unwrap(), 2);
}
