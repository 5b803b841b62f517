//! Reading: everything once, in order, from where it was asked, whatever breaks.

use std::time::Duration;

use futures::StreamExt;
use varve_api::error::{ApiError, Reason};
use varve_api::v1::{ReadConsistency, ServerState};
use varve_client::record::{Offset, Timestamp};
use varve_client::{Client, ClientError, Consumer, ConsumerBuilder, ProducerRecord, ReadFrom};

use crate::fake::{FakeCluster, TOPIC};
use crate::faults::ConsumeFault;
use crate::{connect, impatient, within};

/// A cluster with ten batches of ten records in a partition.
async fn filled(partitions: usize) -> (FakeCluster, Client) {
    let cluster = FakeCluster::start(1, partitions).await;
    let client = connect(&cluster).await;
    for partition in 0..partitions as u32 {
        fill(&client, partition, 0..100).await;
    }
    (cluster, client)
}

async fn fill(client: &Client, partition: u32, numbers: std::ops::Range<u64>) {
    let hour = std::time::Duration::from_secs(3600);
    let producer = client.producer(TOPIC).linger(hour).build().await.expect("the topic is there");
    for number in numbers {
        let record = ProducerRecord::new(number.to_string()).key("key").header("name", "value");
        drop(producer.send(record.partition(partition)).await.expect("it is taken"));
        if number % 10 == 9 {
            producer.flush().await.expect("nothing fails");
        }
    }
    producer.close().await.expect("nothing fails");
}

/// All that a consumer gives, as numbers, with each record's fields held to what was produced.
async fn read(mut consumer: Consumer) -> Result<Vec<u64>, ClientError> {
    let mut numbers = Vec::new();
    while let Some(record) = consumer.next().await? {
        let value = record.value.expect("it was produced with one");
        let number: u64 = String::from_utf8_lossy(&value).parse().expect("a number");
        assert_eq!(record.offset, Offset::new(number));
        assert_eq!(record.append_time, Timestamp::new((number / 10 * 10) as i64));
        assert_eq!(record.key.as_deref(), Some(&b"key"[..]));
        assert_eq!(record.headers[0].name, "name");
        numbers.push(number);
    }
    Ok(numbers)
}

async fn read_from(client: &Client, from: ReadFrom) -> Vec<u64> {
    let consumer = client.consumer(TOPIC).from(from).until_end().build().await.expect("it is there");
    read(consumer).await.expect("nothing fails")
}

fn numbers(range: std::ops::Range<u64>) -> Vec<u64> {
    range.collect()
}

#[tokio::test]
async fn starts_where_it_is_asked() {
    within(async {
        let (_cluster, client) = filled(1).await;
        assert_eq!(read_from(&client, ReadFrom::Start).await, numbers(0..100));
        assert_eq!(read_from(&client, ReadFrom::Offset(Offset::new(37))).await, numbers(37..100));
        assert_eq!(read_from(&client, ReadFrom::Last(5)).await, numbers(95..100));
        assert_eq!(read_from(&client, ReadFrom::Last(1000)).await, numbers(0..100));
        assert_eq!(read_from(&client, ReadFrom::Time(Timestamp::new(50))).await, numbers(50..100));
        assert_eq!(read_from(&client, ReadFrom::End).await, []);
    })
    .await;
}

#[tokio::test]
async fn what_is_trimmed_of_a_batch_is_not_given() {
    within(async {
        let (cluster, client) = filled(1).await;
        cluster.state().partitions[0].log_start = 37;
        cluster.state().quiet = true;
        assert_eq!(read_from(&client, ReadFrom::Start).await, numbers(37..100));
        assert_eq!(read_from(&client, ReadFrom::Time(Timestamp::new(5))).await, numbers(37..100));
        assert_eq!(read_from(&client, ReadFrom::Offset(Offset::new(38))).await, numbers(38..100));
        for offset in [0, 35] {
            let from = ReadFrom::Offset(Offset::new(offset));
            let consumer = client.consumer(TOPIC).from(from).clamp(true).until_end();
            let consumer = consumer.build().await.expect("it is there");
            assert_eq!(read(consumer).await.expect("nothing fails"), numbers(37..100));
        }
        let consumer = client.consumer(TOPIC).max_records(5).build().await.expect("it is there");
        assert_eq!(read(consumer).await.expect("nothing fails"), numbers(37..42));
    })
    .await;
}

#[tokio::test]
async fn stops_where_it_is_asked() {
    within(async {
        let (_cluster, client) = filled(1).await;
        let consumer =
            client.consumer(TOPIC).until_offset(Offset::new(42)).build().await.expect("it is there");
        assert_eq!(read(consumer).await.expect("nothing fails"), numbers(0..42));
        let consumer = client.consumer(TOPIC).max_records(13).build().await.expect("it is there");
        assert_eq!(read(consumer).await.expect("nothing fails"), numbers(0..13));
        let consumer = client.consumer(TOPIC).max_records(0).build().await.expect("it is there");
        assert_eq!(read(consumer).await.expect("nothing fails"), []);
        let consumer = client.consumer(TOPIC).from(ReadFrom::Offset(Offset::new(35))).max_records(10);
        let consumer = consumer.until_end().build().await.expect("it is there");
        assert_eq!(read(consumer).await.expect("nothing fails"), numbers(35..45));
    })
    .await;
}

#[tokio::test]
async fn a_bounded_read_with_nothing_in_it_just_ends() {
    within(async {
        let (cluster, client) = filled(1).await;
        let nowhere = ReadFrom::Offset(Offset::new(1000));
        let late = ReadFrom::Time(Timestamp::new(1000));
        for builder in [
            client.consumer(TOPIC).from(late).until_end(),
            client.consumer(TOPIC).from(late).until_end().max_records(5),
            client.consumer(TOPIC).from(nowhere).clamp(true).until_end(),
            client.consumer(TOPIC).from(nowhere).clamp(true).until_end().max_records(5),
            client.consumer(TOPIC).from(ReadFrom::Offset(Offset::new(50))).until_offset(Offset::new(10)),
        ] {
            let consumer = builder.build().await.expect("it is there");
            assert_eq!(read(consumer).await.expect("nothing fails"), []);
        }
        cluster.state().partitions[0].log_start = 100;
        assert_eq!(read_from(&client, ReadFrom::Start).await, []);
        let from = ReadFrom::Offset(Offset::new(10));
        let trimmed = client.consumer(TOPIC).from(from).clamp(true).until_end();
        assert_eq!(read(trimmed.build().await.expect("it is there")).await.expect("nothing fails"), []);
        // Each was asked for once.
        assert_eq!(cluster.state().calls["consume_stream"], 7);

        let mut refused =
            client.consumer(TOPIC).from(nowhere).until_end().build().await.expect("it is there");
        let error = refused.next().await.expect_err("nothing is there");
        assert_eq!(error.reason(), Some(Reason::OffsetBeyondTail));
    })
    .await;
}

#[tokio::test]
async fn a_stream_that_ends_short_of_its_bounds_is_taken_up_again() {
    within(async {
        let (cluster, client) = filled(1).await;
        cluster.state().consume_faults = vec![ConsumeFault::EndAfter(0), ConsumeFault::EndAfter(3)].into();
        assert_eq!(read_from(&client, ReadFrom::Offset(Offset::new(5))).await, numbers(5..100));
        assert_eq!(cluster.state().calls["consume_stream"], 3);
        cluster.state().consume_faults = vec![ConsumeFault::EndAfter(2)].into();
        let consumer = client.consumer(TOPIC).max_records(30).build().await.expect("it is there");
        assert_eq!(read(consumer).await.expect("nothing fails"), numbers(0..30));
    })
    .await;
}

#[tokio::test]
async fn follows_what_is_appended() {
    within(async {
        let (_cluster, client) = filled(1).await;
        let consumer =
            client.consumer(TOPIC).from(ReadFrom::End).max_records(20).build().await.expect("there");
        let reading = tokio::spawn(read(consumer));
        fill(&client, 0, 100..120).await;
        assert_eq!(reading.await.expect("it runs").expect("nothing fails"), numbers(100..120));
    })
    .await;
}

#[tokio::test]
async fn streams_that_break_are_taken_up_again() {
    within(async {
        let (cluster, client) = filled(1).await;
        cluster.state().consume_faults = vec![
            ConsumeFault::BreakAfter(0),
            ConsumeFault::BreakAfter(3),
            ConsumeFault::AdviseReconnectAfter(2),
            ConsumeFault::Fail(ApiError::new(Reason::ShuttingDown, "told to")),
        ]
        .into();
        assert_eq!(read_from(&client, ReadFrom::Offset(Offset::new(5))).await, numbers(5..100));
        assert_eq!(cluster.state().calls["consume_stream"], 5);
    })
    .await;
}

#[tokio::test]
async fn a_time_is_not_asked_for_again_once_it_is_an_offset() {
    within(async {
        let (cluster, client) = filled(1).await;
        cluster.state().consume_faults =
            vec![ConsumeFault::BreakAfter(2), ConsumeFault::BreakAfter(1)].into();
        assert_eq!(read_from(&client, ReadFrom::Time(Timestamp::new(30))).await, numbers(30..100));
    })
    .await;
}

#[tokio::test]
async fn a_server_that_is_killed_and_comes_back() {
    within(async {
        let (mut cluster, _) = filled(1).await;
        let client = impatient().connect(&cluster.address()).await.expect("it is up");
        let mut consumer =
            client.consumer(TOPIC).until_offset(Offset::new(120)).build().await.expect("it is there");
        for _ in 0..100 {
            consumer.next().await.expect("nothing fails").expect("there is more");
        }
        cluster.kill(0).await;
        cluster.restart(0);
        fill(&client, 0, 100..120).await;
        assert_eq!(read(consumer).await.expect("nothing fails"), numbers(100..120));
    })
    .await;
}

/// A consumer of a cluster of three, that has read what there is.
async fn caught_up(builder: ConsumerBuilder, cluster: &FakeCluster) -> (Consumer, usize) {
    let mut consumer = builder.build().await.expect("it is there");
    for number in 0..100 {
        let record = consumer.next().await.expect("nothing fails").expect("there is more");
        assert_eq!(record.offset, Offset::new(number));
    }
    let server = cluster.state().readers[0];
    (consumer, server)
}

async fn filled_three() -> (FakeCluster, Client) {
    let cluster = FakeCluster::start(3, 1).await;
    let client = impatient().connect(&cluster.address()).await.expect("it is up");
    fill(&client, 0, 0..100).await;
    (cluster, client)
}

/// The servers that took the streams of a reader.
fn readers(cluster: &FakeCluster) -> Vec<usize> {
    cluster.state().readers.clone()
}

#[tokio::test]
async fn goes_on_at_another_server_when_its_own_dies() {
    within(async {
        let (mut cluster, client) = filled_three().await;
        let until = client.consumer(TOPIC).until_offset(Offset::new(120));
        let (consumer, server) = caught_up(until, &cluster).await;
        cluster.kill(server).await;
        fill(&client, 0, 100..120).await;
        assert_eq!(read(consumer).await.expect("nothing fails"), numbers(100..120));
        assert_eq!(readers(&cluster), [server, 3 - server]);
    })
    .await;
}

#[tokio::test]
async fn leaves_a_server_that_is_to_be_taken_away() {
    within(async {
        let (cluster, client) = filled_three().await;
        let until = client.consumer(TOPIC).until_offset(Offset::new(120));
        let (consumer, server) = caught_up(until, &cluster).await;
        crate::until(|| cluster.watchers() == 1).await;
        cluster.tell(server, |server| server.set_state(ServerState::Draining));
        crate::until(|| readers(&cluster) == [server, 3 - server]).await;
        fill(&client, 0, 100..120).await;
        assert_eq!(read(consumer).await.expect("nothing fails"), numbers(100..120));
    })
    .await;
}

#[tokio::test]
async fn leaves_a_server_that_will_close() {
    within(async {
        let (cluster, client) = filled_three().await;
        cluster.state().consume_faults = vec![ConsumeFault::AdviseReconnectAfter(3)].into();
        assert_eq!(read_from(&client, ReadFrom::Start).await, numbers(0..100));
        let readers = readers(&cluster);
        assert_eq!(readers.len(), 2);
        assert_ne!(readers[0], readers[1]);
    })
    .await;
}

#[tokio::test]
async fn goes_on_at_the_leader_when_the_other_server_lags() {
    within(async {
        let (mut cluster, client) = filled_three().await;
        let until = client.consumer(TOPIC).until_offset(Offset::new(120));
        let (consumer, server) = caught_up(until, &cluster).await;
        cluster.know_until(3 - server, Some(50));
        cluster.kill(server).await;
        fill(&client, 0, 100..120).await;
        assert_eq!(read(consumer).await.expect("nothing fails"), numbers(100..120));
        assert_eq!(readers(&cluster).last(), Some(&0));
    })
    .await;
}

#[tokio::test]
async fn goes_on_at_a_follower_that_catches_up_while_nobody_leads() {
    within(async {
        let (mut cluster, client) = filled_three().await;
        let until = client.consumer(TOPIC).until_offset(Offset::new(120));
        let (consumer, server) = caught_up(until, &cluster).await;
        cluster.know_until(server, Some(100));
        fill(&client, 0, 100..120).await;
        for others in [0, 3 - server] {
            cluster.know_until(others, Some(50));
        }
        cluster.lead(0, None);
        cluster.kill(server).await;
        crate::until(|| readers(&cluster).len() > 3).await;
        cluster.know_until(3 - server, None);
        assert_eq!(read(consumer).await.expect("nothing fails"), numbers(100..120));
    })
    .await;
}

/// As one that was stopped for longer than it would have gone on trying: by the time that it finds the stream dead, it has tried nothing.
#[tokio::test]
async fn a_stream_that_falls_silent_is_tried_again_from_then_on() {
    within(async {
        let (cluster, client) = filled_three().await;
        cluster.state().consume_faults.push_back(ConsumeFault::SilentAfter(1));
        let (heartbeat, retry) = (Duration::from_secs(1), Duration::from_secs(2));
        let consumer = client.consumer(TOPIC).until_offset(Offset::new(100));
        let consumer =
            consumer.heartbeat_interval(heartbeat).retry_timeout(retry).build().await.expect("it is there");
        assert_eq!(read(consumer).await.expect("it goes on elsewhere"), numbers(0..100));
        assert_eq!(readers(&cluster).len(), 2);
    })
    .await;
}

#[tokio::test]
async fn leaves_a_follower_that_is_left_behind() {
    within(async {
        let (cluster, client) = filled_three().await;
        let until = client.consumer(TOPIC).until_offset(Offset::new(120));
        let heartbeat = Duration::from_millis(100);
        let (consumer, server) = caught_up(until.heartbeat_interval(heartbeat), &cluster).await;
        cluster.know_until(server, Some(100));
        fill(&client, 0, 100..120).await;
        assert_eq!(read(consumer).await.expect("nothing fails"), numbers(100..120));
        assert_eq!(readers(&cluster), [server, 3 - server]);
    })
    .await;
}

#[tokio::test]
async fn reads_from_the_leader_when_all_followers_are_left_behind() {
    within(async {
        let (cluster, client) = filled_three().await;
        let until = client.consumer(TOPIC).until_offset(Offset::new(120));
        let heartbeat = Duration::from_millis(100);
        let (consumer, server) = caught_up(until.heartbeat_interval(heartbeat), &cluster).await;
        cluster.know_until(1, Some(100));
        cluster.know_until(2, Some(100));
        fill(&client, 0, 100..120).await;
        assert_eq!(read(consumer).await.expect("nothing fails"), numbers(100..120));
        assert_eq!(readers(&cluster), [server, 3 - server, 0]);
    })
    .await;
}

#[tokio::test]
async fn an_offset_that_a_follower_does_not_know_is_asked_of_the_leader() {
    within(async {
        let (cluster, client) = filled_three().await;
        cluster.know_until(1, Some(50));
        cluster.know_until(2, Some(50));
        let from = |offset| client.consumer(TOPIC).from(ReadFrom::Offset(Offset::new(offset)));
        let consumer = from(90).until_offset(Offset::new(100)).build().await.expect("it is there");
        assert_eq!(read(consumer).await.expect("nothing fails"), numbers(90..100));
        let mut beyond = from(101).build().await.expect("it is there");
        let error = beyond.next().await.expect_err("there is nothing");
        assert_eq!(error.reason(), Some(Reason::OffsetBeyondTail));
    })
    .await;
}

#[tokio::test]
async fn a_time_that_a_follower_does_not_know_gives_nothing_older() {
    within(async {
        let (cluster, client) = filled_three().await;
        cluster.know_until(1, Some(50));
        cluster.know_until(2, Some(50));
        let since = client.consumer(TOPIC).from(ReadFrom::Time(Timestamp::new(80)));
        let consumer = since.until_offset(Offset::new(100)).build().await.expect("it is there");
        let reading = tokio::spawn(read(consumer));
        crate::until(|| !readers(&cluster).is_empty()).await;
        cluster.know_until(1, None);
        cluster.know_until(2, None);
        assert_eq!(reading.await.expect("it runs").expect("nothing fails"), numbers(80..100));
    })
    .await;
}

#[tokio::test]
async fn what_is_damaged_on_one_server_is_read_from_another() {
    within(async {
        let (cluster, client) = filled_three().await;
        let data_loss = ConsumeFault::Fail(ApiError::new(Reason::DataLoss, "told to"));
        cluster.state().consume_faults = vec![ConsumeFault::Damage, data_loss].into();
        assert_eq!(read_from(&client, ReadFrom::Start).await, numbers(0..100));
        let mut servers = readers(&cluster);
        servers.sort_unstable();
        assert_eq!(servers, [0, 1, 2]);

        cluster.state().consume_faults = vec![ConsumeFault::Damage; 3].into();
        let mut consumer = client.consumer(TOPIC).build().await.expect("it is there");
        let error = consumer.next().await.expect_err("it is damaged everywhere");
        assert!(matches!(error, ClientError::Damaged { .. }), "{error}");
    })
    .await;
}

#[tokio::test]
async fn what_the_table_forbids_ends_the_reading() {
    within(async {
        let (cluster, client) = filled(1).await;
        cluster.state().consume_faults =
            vec![ConsumeFault::Fail(ApiError::new(Reason::OffsetTrimmed, "told to"))].into();
        let mut consumer = client.consumer(TOPIC).until_end().build().await.expect("it is there");
        let error = consumer.next().await.expect_err("it was trimmed");
        assert_eq!(error.reason(), Some(Reason::OffsetTrimmed));
        assert!(consumer.next().await.expect("it is told once").is_none());
    })
    .await;
}

#[tokio::test]
async fn a_gap_is_never_passed_over_in_silence() {
    within(async {
        let (cluster, client) = filled(1).await;
        cluster.state().consume_faults = vec![ConsumeFault::LeaveOut].into();
        let consumer = client.consumer(TOPIC).from(ReadFrom::Offset(Offset::new(0)));
        let mut consumer = consumer.until_end().build().await.expect("it is there");
        let error = consumer.next().await.expect_err("ten records are missing");
        let ClientError::Gap { expected, found, .. } = error else { panic!("{error}") };
        assert_eq!((expected, found), (Offset::new(0), Offset::new(10)));
    })
    .await;
}

#[tokio::test]
async fn damage_is_never_given_out() {
    within(async {
        let (cluster, client) = filled(1).await;
        cluster.state().consume_faults = vec![ConsumeFault::Damage].into();
        let mut consumer = client.consumer(TOPIC).until_end().build().await.expect("it is there");
        let error = consumer.next().await.expect_err("a bit is wrong");
        assert!(matches!(error, ClientError::Damaged { partition: 0, .. }), "{error}");
    })
    .await;
}

#[tokio::test]
async fn reads_all_partitions_or_those_named() {
    within(async {
        let (_cluster, client) = filled(3).await;
        let mut consumer = client.consumer(TOPIC).until_end().build().await.expect("it is there");
        let mut next = [0; 3];
        while let Some(record) = consumer.next().await.expect("nothing fails") {
            let due = &mut next[record.partition as usize];
            assert_eq!(record.offset, Offset::new(*due));
            *due += 1;
        }
        assert_eq!(next, [100; 3]);

        let consumer = client.consumer(TOPIC).partitions([1]).until_end().build().await.expect("it is there");
        assert_eq!(read(consumer).await.expect("nothing fails"), numbers(0..100));
        let nowhere = client.consumer(TOPIC).partitions([3]).build().await.map(drop);
        assert_eq!(nowhere.expect_err("there are three").reason(), Some(Reason::PartitionNotFound));
    })
    .await;
}

#[tokio::test]
async fn whole_batches_say_what_of_them_is_wanted() {
    within(async {
        let (_cluster, client) = filled(1).await;
        let consumer = client.consumer(TOPIC).from(ReadFrom::Offset(Offset::new(15))).max_records(10);
        let mut consumer = consumer.build().await.expect("it is there");
        let mut wanted = Vec::new();
        while let Some(batch) = consumer.next_batch().await.expect("nothing fails") {
            assert_eq!(batch.batch.record_count(), 10);
            let mut offsets = Vec::new();
            batch
                .for_each(&Default::default(), |record| offsets.push(record.offset.get()))
                .expect("it is sound");
            assert_eq!(offsets.len() as u64, batch.wanted_records());
            wanted.extend(offsets);
        }
        assert_eq!(wanted, numbers(15..25));
    })
    .await;
}

#[tokio::test]
async fn reads_ahead_no_further_than_it_may() {
    /// What HTTP/2 has on its way (8 MiB) and the consumer holds (1), with room for what stands between them.
    const AHEAD_MAX: usize = 16;
    const BATCHES: usize = 48;
    within(async {
        let cluster = FakeCluster::start(1, 1).await;
        let client = connect(&cluster).await;
        let producer = client.producer(TOPIC).build().await.expect("the topic is there");
        for _ in 0..BATCHES {
            drop(producer.send(ProducerRecord::new(vec![7; 1024 * 1024 - 64])).await.expect("it is taken"));
        }
        producer.close().await.expect("nothing fails");

        let consumer =
            client.consumer(TOPIC).prefetch_pieces(1).until_end().build().await.expect("it is there");
        let ahead = settled(&client, || cluster.state().batches_sent).await;
        assert!(0 < ahead && ahead <= AHEAD_MAX, "{ahead} MiB were read ahead");
        let records: Vec<_> = consumer.into_stream().collect().await;
        assert_eq!(records.len(), BATCHES);
        assert!(records.iter().all(Result::is_ok));
    })
    .await;
}

/// A count, once it is not zero and has stood still while the server answered many other calls.
async fn settled(client: &Client, count: impl Fn() -> usize) -> usize {
    const CALLS: usize = 200;
    let mut settled = (0, 0);
    while settled.0 == 0 || settled.1 < CALLS {
        client.get_tail(TOPIC, 0, ReadConsistency::Committed).await.expect("it answers");
        settled = if count() == settled.0 { (settled.0, settled.1 + 1) } else { (count(), 0) };
    }
    settled.0
}
