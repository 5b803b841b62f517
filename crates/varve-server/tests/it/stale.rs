//! A leader that is cut off serves nothing stale, and acknowledges nothing.

use tokio::time::timeout;
use varve_api::error::{ApiError, Reason};
use varve_api::v1;

use crate::support::{SOON, TOPIC, values, within};
use crate::test_cluster::{TestCluster, unforwarded, until};

fn linearizable_tail() -> v1::GetTailRequest {
    let consistency = v1::ReadConsistency::Linearizable.into();
    v1::GetTailRequest { topic: TOPIC.to_owned(), consistency, ..Default::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_is_cut_off_serves_nothing_stale_and_acknowledges_nothing() {
    let cluster = TestCluster::start(3).await;
    cluster.create(3).await;
    assert_eq!(cluster.produce(1, "before").await, 0);
    let old = cluster.leader().await;
    let others: Vec<usize> = (1..=3).filter(|number| *number != old).collect();
    let mut log = cluster.member(old).log.clone();
    let tail = within(log.get_tail(unforwarded(linearizable_tail()))).await.expect("it leads");
    assert_eq!(tail.into_inner().high_watermark, 1);

    cluster.switchboard.isolate(old, others.iter().copied());
    // It may think that it leads still: each call asks a majority, and gets no answer.
    let stale_produce = tokio::spawn({
        let mut log = log.clone();
        async move { timeout(SOON, log.produce(unforwarded(values(&["never acknowledged"])))).await }
    });
    let stale_read = tokio::spawn({
        let mut log = log.clone();
        async move { timeout(SOON, log.get_tail(unforwarded(linearizable_tail()))).await }
    });
    let status = stale_read.await.unwrap().expect("it answers").expect_err("it knows nothing for sure");
    let error = ApiError::from_status(&status);
    assert!([Reason::NotLeader, Reason::NoLeader, Reason::Deadline].contains(&error.reason), "{error}");
    let status = stale_produce.await.unwrap().expect("it answers").expect_err("nobody has it");
    let error = ApiError::from_status(&status);
    assert!([Reason::CommitUnknown, Reason::NotLeader, Reason::NoLeader].contains(&error.reason), "{error}");

    // The others have gone on.
    for other in &others {
        let _tail = until(async || {
            let mut log = cluster.member(*other).log.clone();
            let led = log.get_tail(unforwarded(linearizable_tail())).await;
            (led.is_ok(), led)
        })
        .await;
    }
    assert_eq!(cluster.produce(others[0], "after").await, 1);
    assert_eq!(cluster.produce(others[1], "more").await, 2);
    // What it says it had committed is a prefix; what is asked to be fresh it cannot say.
    for _ in 0..3 {
        let tail = v1::GetTailRequest { topic: TOPIC.to_owned(), ..Default::default() };
        let tail = within(log.get_tail(unforwarded(tail))).await.expect("it was known before");
        assert_eq!(tail.into_inner().high_watermark, 1);
        let status = within(log.get_tail(unforwarded(linearizable_tail()))).await.expect_err("it is cut off");
        let error = ApiError::from_status(&status);
        assert!([Reason::NotLeader, Reason::NoLeader, Reason::Deadline].contains(&error.reason), "{error}");
    }

    cluster.switchboard.heal();
    let expected = ["before", "after", "more"];
    for number in 1..=3 {
        assert_eq!(cluster.values(number, 3).await, expected, "node {number}");
    }
    let fresh = until(async || {
        let tail = log.get_tail(unforwarded(linearizable_tail())).await;
        (tail.is_ok(), tail)
    });
    // What was never acknowledged did not come back behind the rest.
    assert_eq!(fresh.await.unwrap().into_inner().high_watermark, 3);
    cluster.healthy().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_that_is_cut_off_serves_what_it_had_and_catches_up() {
    let cluster = TestCluster::start(3).await;
    cluster.create(3).await;
    cluster.produce(1, "before").await;
    let leader = cluster.leader().await;
    let cut = (1..=3).find(|number| *number != leader).unwrap();
    assert_eq!(cluster.values(cut, 1).await, ["before"]);
    cluster.switchboard.isolate(cut, (1..=3).filter(|number| *number != cut));
    for turn in 0..20 {
        assert_eq!(cluster.produce(leader, &format!("{turn}")).await, 1 + turn);
    }
    let mut log = cluster.member(cut).log.clone();
    let fresh = within(log.get_tail(unforwarded(linearizable_tail()))).await;
    fresh.expect_err("nobody can be asked");
    // Pre-vote: it disturbs nobody when it is back.
    let by = cluster.member(leader);
    let term = cluster.describe_by(by, TOPIC).await.partitions[0].term;
    assert!(term.is_some());
    cluster.switchboard.heal();
    assert_eq!(cluster.values(cut, 21).await.len(), 21);
    assert_eq!(cluster.describe_by(by, TOPIC).await.partitions[0].term, term);
}
