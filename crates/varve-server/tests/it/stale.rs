//! A leader that is cut off serves nothing stale, and acknowledges nothing.

use std::time::{Duration, SystemTime};

use tokio::time::timeout;
use varve_api::error::{ApiError, Reason};
use varve_api::v1;

use crate::support::{SOON, TOPIC, consume_from, text, values, within};
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

#[tokio::test(flavor = "multi_thread")]
async fn a_read_up_to_a_time_does_not_end_before_it_has_what_the_leader_had_then() {
    let cluster = TestCluster::start(3).await;
    cluster.create(3).await;
    cluster.produce(1, "before").await;
    let leader = cluster.leader().await;
    let cut = (1..=3).find(|number| *number != leader).unwrap();
    assert_eq!(cluster.values(cut, 1).await, ["before"]);
    cluster.switchboard.isolate(cut, (1..=3).filter(|number| *number != cut));
    for value in ["meanwhile", "as well"] {
        cluster.produce(leader, value).await;
    }
    let bounds = v1::ReadBounds { until_time: Some(SystemTime::now().into()), ..Default::default() };
    let read = v1::ConsumeRequest { bounds: Some(bounds), ..consume_from(0) };
    let request = v1::ConsumeStreamRequest { read: Some(read), ..Default::default() };
    let mut log = cluster.member(cut).log.clone();
    let mut stream = within(log.consume_stream(unforwarded(request))).await.unwrap().into_inner();
    let mut found = Vec::new();
    let mut take = async |stream: &mut tonic::Streaming<v1::ConsumeStreamResponse>| {
        let message = stream.message().await.unwrap()?;
        let records = message.batch.unwrap_or_default().records;
        found.extend(records.into_iter().map(|record| text(&record.value.unwrap())));
        Some(found.len())
    };
    while within(take(&mut stream)).await.expect("what it has comes first") == 0 {}
    let more = timeout(Duration::from_millis(500), take(&mut stream)).await;
    assert!(more.is_err(), "it is cut off, and cannot know that there is no more: {more:?}");
    cluster.switchboard.heal();
    while within(take(&mut stream)).await.is_some() {}
    assert_eq!(found, ["before", "meanwhile", "as well"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_without_a_copy_has_reads_served_while_nobody_leads() {
    let mut cluster = TestCluster::start(4).await;
    cluster.create(3).await;
    cluster.produce(1, "kept").await;
    let partition = cluster.describe(TOPIC).await.partitions[0].clone();
    let without = (1..=4).find(|number| !partition.replicas.contains(&cluster.member(*number).id())).unwrap();
    let mut log = cluster.member(without).log.clone();
    within(log.consume(consume_from(0))).await.unwrap();
    let leader = cluster.leader().await;
    cluster.kill(leader);
    let read = within(log.consume(consume_from(0))).await.unwrap().into_inner();
    assert_eq!(read.records.len(), 1);
    within(log.get_tail(v1::GetTailRequest { topic: TOPIC.to_owned(), ..Default::default() })).await.unwrap();
}
