//! Appending: order, once each, whatever fails.

use std::time::Duration;

use varve_api::error::{ApiError, Reason, meta};
use varve_client::record::{BATCH_BYTES_MAX, Compression, Offset};
use varve_client::{Acks, Client, ClientError, Delivery, Producer, ProducerBuilder, ProducerRecord};
use varve_env::{Entropy, SeededEntropy};

use crate::fake::{FakeCluster, TOPIC};
use crate::faults::ProduceFault;
use crate::{connect, impatient, until, within};

/// Small batches, so that a few records make many.
fn small_batches(client: &Client) -> ProducerBuilder {
    client.producer(TOPIC).batch_bytes(150)
}

fn values(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("value-{number:06}")).collect()
}

async fn send_all(producer: &Producer, values: &[String]) -> Vec<Delivery> {
    let mut deliveries = Vec::new();
    for value in values {
        deliveries.push(producer.send(ProducerRecord::new(value.clone())).await.expect("it is taken"));
    }
    deliveries
}

/// Sends records through faults, and holds that each is there once, in order, at the offset that was acknowledged.
async fn assert_exactly_once(faults: Vec<ProduceFault>) -> FakeCluster {
    let cluster = FakeCluster::start(1, 1).await;
    cluster.state().produce_faults = faults.into();
    let producer = small_batches(&connect(&cluster).await).ack_timeout(Duration::from_millis(300));
    let producer = producer.build().await.expect("the topic is there");
    let values = values(100);
    let deliveries = send_all(&producer, &values).await;
    for (offset, delivery) in deliveries.into_iter().enumerate() {
        let delivered = delivery.await.expect("it is delivered");
        assert_eq!(delivered.offset, Some(Offset::new(offset as u64)));
    }
    assert_eq!(cluster.values(0), values);
    producer.close().await.expect("nothing failed");
    cluster
}

#[tokio::test]
async fn any_sequence_of_faults_that_pass() {
    // Found by it, with 200: a batch left behind by more than a server remembers.
    const SEEDS: u64 = 30;
    within(async {
        let run = |seed| {
            let entropy = SeededEntropy::new(seed);
            let faults = (0..30).map(|_| random_fault(&entropy)).collect();
            (seed, tokio::spawn(async { drop(assert_exactly_once(faults).await) }))
        };
        let runs: Vec<_> = (0..SEEDS).map(run).collect();
        for (seed, run) in runs {
            run.await.unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        }
    })
    .await;
}

fn random_fault(entropy: &SeededEntropy) -> ProduceFault {
    match entropy.below(16) {
        0 => ProduceFault::BreakBefore,
        1 | 2 => ProduceFault::BreakAfter,
        3 => ProduceFault::AdviseReconnect,
        4 => refuse(Reason::Overloaded),
        5 => refuse(Reason::CommitUnknown),
        6 => ProduceFault::Fail(ApiError::new(Reason::ShuttingDown, "told to")),
        _ => ProduceFault::Pass,
    }
}

fn refuse(reason: Reason) -> ProduceFault {
    ProduceFault::Refuse(ApiError::new(reason, "told to"))
}

#[tokio::test]
async fn keeps_order_and_tells_offsets() {
    within(assert_exactly_once(vec![])).await;
}

#[tokio::test]
async fn streams_that_break_before_and_after_appending() {
    use ProduceFault::*;
    let faults = vec![Pass, BreakAfter, Pass, BreakBefore, BreakAfter, BreakAfter, Pass, Pass, BreakBefore];
    let cluster = within(assert_exactly_once(faults)).await;
    assert_eq!(cluster.state().calls["produce_stream"], 6);
    assert_eq!(cluster.state().calls["init_producer"], 1);
}

#[tokio::test]
async fn a_silent_server_is_left_and_told_again() {
    let cluster = within(assert_exactly_once(vec![ProduceFault::Pass, ProduceFault::Silence])).await;
    assert_eq!(cluster.state().calls["produce_stream"], 2);
}

#[tokio::test]
async fn refusals_that_pass_are_sent_again_in_order() {
    let faults = vec![
        ProduceFault::Pass,
        refuse(Reason::Overloaded),
        ProduceFault::Pass,
        refuse(Reason::DiskFull),
        refuse(Reason::CommitUnknown),
        ProduceFault::Pass,
        refuse(Reason::NoLeader),
    ];
    within(assert_exactly_once(faults)).await;
}

#[tokio::test]
async fn a_call_that_fails_is_made_again() {
    let error = ApiError::new(Reason::ShuttingDown, "told to");
    within(assert_exactly_once(vec![ProduceFault::Fail(error)])).await;
}

#[tokio::test]
async fn a_server_that_will_close_is_left_with_nothing_lost() {
    let faults = vec![ProduceFault::Pass, ProduceFault::AdviseReconnect];
    let cluster = within(assert_exactly_once(faults)).await;
    assert_eq!(cluster.state().calls["produce_stream"], 2);
}

#[tokio::test]
async fn a_forgotten_producer_takes_a_new_identity() {
    within(async {
        let cluster = FakeCluster::start(1, 1).await;
        let producer = small_batches(&connect(&cluster).await).build().await.expect("the topic is there");
        producer.send("one".into_record()).await.expect("it is taken").await.expect("it is delivered");
        cluster.state().forgotten = true;
        producer.send("two".into_record()).await.expect("it is taken").await.expect("it is delivered");
        assert_eq!(cluster.values(0), ["one", "two"]);
        assert_eq!(cluster.state().calls["init_producer"], 2);
    })
    .await;
}

#[tokio::test]
async fn a_server_that_is_killed_and_comes_back() {
    within(async {
        let mut cluster = FakeCluster::start(1, 1).await;
        let client = impatient().connect(&cluster.address()).await.expect("it is up");
        let producer = small_batches(&client).build().await.expect("the topic is there");
        let values = values(300);
        let mut deliveries = send_all(&producer, &values[..100]).await;
        cluster.appended(0, 20).await;
        cluster.kill(0).await;
        deliveries.extend(send_all(&producer, &values[100..200]).await);
        cluster.restart(0);
        deliveries.extend(send_all(&producer, &values[200..]).await);
        for (offset, delivery) in deliveries.into_iter().enumerate() {
            assert_eq!(delivery.await.expect("it is delivered").offset, Some(Offset::new(offset as u64)));
        }
        assert_eq!(cluster.values(0), values);
    })
    .await;
}

#[tokio::test]
async fn follows_the_leader_when_it_moves() {
    within(async {
        let cluster = FakeCluster::start(3, 1).await;
        let producer = small_batches(&connect(&cluster).await).build().await.expect("the topic is there");
        let values = values(60);
        let deliveries = send_all(&producer, &values[..30]).await;
        cluster.lead(0, Some(2));
        let more = send_all(&producer, &values[30..]).await;
        for delivery in deliveries.into_iter().chain(more) {
            delivery.await.expect("it is delivered");
        }
        assert_eq!(cluster.values(0), values);
    })
    .await;
}

/// A cluster of three, and a producer of small batches.
async fn three() -> (FakeCluster, Producer) {
    let cluster = FakeCluster::start(3, 1).await;
    let client = impatient().connect(&cluster.address()).await.expect("it is up");
    until(|| cluster.watchers() == 1).await;
    // Nothing is left to time: what is noticed is noticed otherwise.
    let producer = small_batches(&client).ack_timeout(Duration::from_secs(3600));
    (cluster, producer.build().await.expect("the topic is there"))
}

async fn assert_delivered(cluster: &FakeCluster, deliveries: Vec<Delivery>, values: &[String]) {
    for (offset, delivery) in deliveries.into_iter().enumerate() {
        let delivered = delivery.await.expect("it is delivered");
        assert_eq!(delivered.offset, Some(Offset::new(offset as u64)));
    }
    assert_eq!(cluster.values(0), values);
}

#[tokio::test]
async fn a_leader_that_is_killed_with_batches_under_way() {
    within(async {
        let (mut cluster, producer) = three().await;
        let values = values(200);
        cluster.hold_answers();
        let mut deliveries = send_all(&producer, &values[..100]).await;
        cluster.appended(0, 10).await;
        cluster.kill(0).await;
        cluster.let_answer(1000);
        cluster.lead(0, Some(2));
        deliveries.extend(send_all(&producer, &values[100..]).await);
        assert_delivered(&cluster, deliveries, &values).await;
    })
    .await;
}

#[tokio::test]
async fn a_partition_that_nobody_leads_for_a_while() {
    within(async {
        let (mut cluster, producer) = three().await;
        let values = values(100);
        let mut deliveries = send_all(&producer, &values[..50]).await;
        cluster.lead(0, None);
        cluster.kill(0).await;
        deliveries.extend(send_all(&producer, &values[50..]).await);
        // It is asked for again and again.
        let asked = cluster.state().calls["describe_topic"];
        until(|| cluster.state().calls["describe_topic"] > asked + 3).await;
        cluster.lead(0, Some(1));
        assert_delivered(&cluster, deliveries, &values).await;
    })
    .await;
}

#[tokio::test]
async fn a_leader_that_vanished_is_not_waited_for() {
    within(async {
        let (cluster, producer) = three().await;
        let values = values(30);
        // It takes connections and batches, and says nothing: as a host that lost its power, until it is noticed.
        cluster.hold_answers();
        let deliveries = send_all(&producer, &values).await;
        cluster.appended(0, 10).await;
        cluster.lead(0, Some(1));
        cluster.tell(0, |server| server.alive = false);
        until(|| cluster.state().calls["produce_stream"] > 1).await;
        cluster.let_answer(1000);
        assert_delivered(&cluster, deliveries, &values).await;
    })
    .await;
}

#[tokio::test]
async fn a_leader_that_stands_still_is_left_for_the_one_that_leads_now() {
    within(async {
        let (cluster, producer) = three().await;
        let values = values(30);
        // It takes connections and batches, and says nothing. All say that it is there.
        cluster.hold_answers();
        let deliveries = send_all(&producer, &values).await;
        cluster.appended(0, 10).await;
        cluster.lead(0, Some(1));
        until(|| cluster.state().calls["produce_stream"] > 1).await;
        cluster.let_answer(1000);
        assert_delivered(&cluster, deliveries, &values).await;
    })
    .await;
}

#[tokio::test]
async fn a_server_that_is_cut_off_is_not_believed_for_ever() {
    within(async {
        let (cluster, producer) = three().await;
        let values = values(30);
        let mut deliveries = send_all(&producer, &values[..15]).await;
        cluster.appended(0, 15).await;
        // It answers all that the client asks, and names itself.
        cluster.state().cut_off = Some(0);
        cluster.lead(0, Some(1));
        deliveries.extend(send_all(&producer, &values[15..]).await);
        assert_delivered(&cluster, deliveries, &values).await;
    })
    .await;
}

#[tokio::test]
async fn a_refused_record_fails_alone() {
    within(async {
        let cluster = FakeCluster::start(1, 1).await;
        cluster.state().produce_faults =
            vec![ProduceFault::Pass, refuse(Reason::RecordTooLarge), ProduceFault::Pass].into();
        let client = connect(&cluster).await;
        let producer = client.producer(TOPIC).batch_bytes(1).build().await.expect("the topic is there");
        let values = values(8);
        let deliveries = send_all(&producer, &values).await;
        let mut failed = Vec::new();
        for (number, delivery) in deliveries.into_iter().enumerate() {
            if let Err(error) = delivery.await {
                failed.push((number, error.reason()));
            }
        }
        assert_eq!(failed, [(1, Some(Reason::RecordTooLarge))]);
        let expected: Vec<_> = values.iter().filter(|value| **value != values[1]).cloned().collect();
        assert_eq!(cluster.values(0), expected);
        let flushed = producer.flush().await.expect_err("the failure is told once");
        assert_eq!(flushed.reason(), Some(Reason::RecordTooLarge));
        producer.flush().await.expect("it was told");
    })
    .await;
}

#[tokio::test]
async fn a_record_that_is_too_large_for_the_server_fails_alone() {
    const LIMIT: usize = 20;
    within(async {
        for (idempotent, compression) in [(true, Compression::Zstd), (false, Compression::None)] {
            let cluster = FakeCluster::start(1, 1).await;
            cluster.state().record_bytes_max = Some(LIMIT);
            let client = connect(&cluster).await;
            let hour = Duration::from_secs(3600);
            let producer = client.producer(TOPIC).idempotent(idempotent).compression(compression);
            let producer = producer.batch_bytes(300).linger(hour).build().await.expect("it is there");
            let is_large = |number: usize| number % 7 == 3 || number == 4;
            let value = |number| format!("{number:0width$}", width = if is_large(number) { 25 } else { 5 });
            let values: Vec<_> = (0..40).map(value).collect();
            let deliveries = send_all(&producer, &values).await;
            let flushed = producer.flush().await.expect_err("the failure is told");
            assert_eq!(flushed.reason(), Some(Reason::RecordTooLarge));
            for (number, delivery) in deliveries.into_iter().enumerate() {
                let delivered = delivery.await;
                if is_large(number) {
                    let error = delivered.expect_err("it is too large");
                    let error = error.api().expect("the server refused it");
                    assert_eq!(error.reason, Reason::RecordTooLarge);
                    assert_eq!(error.number(meta::SIZE_BYTES), Some(25));
                    assert_eq!(error.number(meta::SIZE_BYTES_MAX), Some(LIMIT as u64));
                } else {
                    let offset = delivered.expect("it is delivered").offset.expect("it is known");
                    assert_eq!(cluster.values(0)[offset.get() as usize], values[number]);
                }
            }
            let mut expected: Vec<_> = (0..40).filter(|number| !is_large(*number)).map(value).collect();
            let mut found = cluster.values(0);
            if !idempotent {
                // Without sequences a batch that is sent again may pass others.
                expected.sort();
                found.sort();
            }
            assert_eq!(found, expected);
            producer.close().await.expect("it goes on");
        }
    })
    .await;
}

#[tokio::test]
async fn a_record_may_be_as_large_as_a_batch() {
    within(async {
        let cluster = FakeCluster::start(1, 1).await;
        cluster.state().record_bytes_max = Some(BATCH_BYTES_MAX);
        let client = connect(&cluster).await;
        let producer = client.producer(TOPIC).build().await.expect("it is there");
        let large = vec![b'x'; BATCH_BYTES_MAX - 4096];
        producer.send(ProducerRecord::new(large)).await.expect("it is taken").await.expect("it is delivered");
        assert_eq!(cluster.values(0)[0].len(), BATCH_BYTES_MAX - 4096);
    })
    .await;
}

#[tokio::test]
async fn without_sequences_a_lost_answer_is_not_sent_again() {
    within(async {
        let cluster = FakeCluster::start(1, 1).await;
        cluster.state().produce_faults = vec![ProduceFault::BreakAfter].into();
        let client = connect(&cluster).await;
        let producer = client
            .producer(TOPIC)
            .idempotent(false)
            .batch_bytes(1)
            .build()
            .await
            .expect("the topic is there");
        let error = producer.send("one".into_record()).await.expect("it is taken").await;
        let error = error.expect_err("its answer was lost");
        assert_eq!(error.reason(), Some(Reason::ConnectionLost));
        assert!(error.may_have_happened());
        producer.send("two".into_record()).await.expect("it is taken").await.expect("it is delivered");
        assert_eq!(cluster.values(0), ["one", "two"]);
        assert!(!cluster.state().calls.contains_key("init_producer"));
    })
    .await;
}

#[tokio::test]
async fn without_sequences_nothing_is_sent_again_when_a_server_closes() {
    within(async {
        let cluster = FakeCluster::start(1, 1).await;
        let closing = ApiError::new(Reason::ShuttingDown, "told to");
        cluster.state().produce_faults = vec![ProduceFault::Silence, ProduceFault::Fail(closing)].into();
        let client = connect(&cluster).await;
        let producer = client.producer(TOPIC).idempotent(false).batch_bytes(1);
        let producer = producer.build().await.expect("the topic is there");
        let values = values(2);
        for delivery in send_all(&producer, &values).await {
            let error = delivery.await.expect_err("its answer never came");
            assert!(error.may_have_happened(), "{error}");
        }
        assert_eq!(cluster.values(0), values[..1]);
    })
    .await;
}

#[tokio::test]
async fn a_newer_instance_of_a_name_fences_the_older_one_off() {
    within(async {
        let cluster = FakeCluster::start(1, 1).await;
        let client = connect(&cluster).await;
        let older = client.producer(TOPIC).name("worker").build().await.expect("the topic is there");
        older.send("old".into_record()).await.expect("it is taken").await.expect("it is delivered");
        let newer = client.producer(TOPIC).name("worker").build().await.expect("the topic is there");
        newer.send("new".into_record()).await.expect("it is taken").await.expect("it is delivered");

        let error = older.send("late".into_record()).await.expect("it is taken").await;
        assert_eq!(error.expect_err("it is fenced off").reason(), Some(Reason::Fenced));
        let error = older.send("later".into_record()).await.map(drop);
        assert_eq!(error.expect_err("it has ended").reason(), Some(Reason::Fenced));
        assert_eq!(cluster.values(0), ["old", "new"]);
    })
    .await;
}

#[tokio::test]
async fn gives_up_when_the_time_for_delivery_is_over() {
    within(async {
        let mut cluster = FakeCluster::start(1, 1).await;
        let client = impatient().connect(&cluster.address()).await.expect("it is up");
        let producer = client.producer(TOPIC).delivery_timeout(Duration::from_millis(700));
        let producer = producer.build().await.expect("the topic is there");
        cluster.kill(0).await;
        let error = producer.send("lost".into_record()).await.expect("it is taken").await;
        let reason = error.expect_err("nobody is there").reason();
        assert!(matches!(reason, Some(Reason::Unreachable | Reason::ConnectionLost)), "{reason:?}");
        producer.close().await.expect_err("the failure is told");
    })
    .await;
}

#[tokio::test]
async fn send_waits_while_too_much_is_in_flight() {
    const IN_FLIGHT_BYTES: usize = 1000;
    within(async {
        let cluster = FakeCluster::start(1, 1).await;
        cluster.hold_answers();
        let client = connect(&cluster).await;
        let producer =
            small_batches(&client).in_flight_bytes(IN_FLIGHT_BYTES).build().await.expect("it is there");
        let values = values(100);
        let mut deliveries = Vec::new();
        let mut send = Box::pin(producer.send(ProducerRecord::new(values[0].clone())));
        // A send that is not ready at once waits for answers, since nothing else is missing.
        while let std::task::Poll::Ready(delivery) = futures::poll!(&mut send) {
            deliveries.push(delivery.expect("it is taken"));
            send = Box::pin(producer.send(ProducerRecord::new(values[deliveries.len()].clone())));
        }
        assert!(deliveries.len() < values.len() / 2, "nothing held {} records back", deliveries.len());
        assert!(producer.in_flight_bytes() <= IN_FLIGHT_BYTES);
        cluster.let_answer(1000);
        deliveries.push(send.await.expect("it is taken"));
        let rest = send_all(&producer, &values[deliveries.len()..]).await;
        for delivery in deliveries.into_iter().chain(rest) {
            delivery.await.expect("it is delivered");
        }
        assert_eq!(cluster.values(0), values);
        assert_eq!(producer.in_flight_bytes(), 0);
    })
    .await;
}

#[tokio::test]
async fn full_batches_go_at_once_and_others_linger() {
    within(async {
        let cluster = FakeCluster::start(1, 1).await;
        let client = connect(&cluster).await;
        // Nobody would wait an hour: only size and flush send anything.
        let hour = Duration::from_secs(3600);
        let producer = small_batches(&client).linger(hour).build().await.expect("the topic is there");
        let deliveries = send_all(&producer, &values(7)).await;
        cluster.appended(0, 6).await;
        assert_eq!(cluster.state().batch_sizes, [3, 3]);
        producer.flush().await.expect("nothing failed");
        assert_eq!(cluster.state().batch_sizes, [3, 3, 1]);
        for delivery in deliveries {
            delivery.await.expect("it is delivered");
        }

        let short =
            client.producer(TOPIC).linger(Duration::from_millis(20)).build().await.expect("it is there");
        let deliveries = send_all(&short, &values(5)).await;
        for delivery in deliveries {
            delivery.await.expect("it lingered long enough");
        }
        assert_eq!(cluster.state().batch_sizes, [3, 3, 1, 5]);
    })
    .await;
}

#[tokio::test]
async fn under_load_batches_fill_up_without_linger() {
    within(async {
        let cluster = FakeCluster::start(1, 1).await;
        cluster.hold_answers();
        let client = connect(&cluster).await;
        let producer = client.producer(TOPIC).build().await.expect("the topic is there");
        let mut deliveries = Vec::new();
        for number in 0..5 {
            deliveries.push(producer.send("first".into_record()).await.expect("it is taken"));
            cluster.appended(0, number + 1).await;
        }
        let many = send_all(&producer, &values(1000)).await;
        cluster.let_answer(1000);
        for delivery in deliveries.into_iter().chain(many) {
            delivery.await.expect("it is delivered");
        }
        assert_eq!(cluster.state().batch_sizes, [1, 1, 1, 1, 1, 1000]);
    })
    .await;
}

#[tokio::test]
async fn keys_choose_partitions_and_keyless_records_spread() {
    within(async {
        let cluster = FakeCluster::start(1, 3).await;
        let producer = small_batches(&connect(&cluster).await).build().await.expect("the topic is there");
        for number in 0..30 {
            let record = ProducerRecord::new(format!("keyed-{number}")).key(format!("key-{}", number % 5));
            drop(producer.send(record).await.expect("it is taken"));
            drop(producer.send(ProducerRecord::new("keyless")).await.expect("it is taken"));
        }
        let explicit = ProducerRecord::new("explicit").key("key-0").partition(2);
        let delivered = producer.send(explicit).await.expect("it is taken").await.expect("it is delivered");
        assert_eq!(delivered.partition, 2);
        producer.close().await.expect("nothing failed");
        for partition in 0..3 {
            let values = cluster.values(partition);
            assert!(values.iter().any(|value| value == "keyless"), "partition {partition} got none");
            for value in values.iter().filter_map(|value| value.strip_prefix("keyed-")) {
                let key = format!("key-{}", value.parse::<usize>().expect("a number") % 5);
                assert_eq!(varve_client::partition_of_key(key.as_bytes(), 3), partition as u32);
            }
        }
    })
    .await;
}

#[tokio::test]
async fn every_compression_and_acks_arrive() {
    within(async {
        let cluster = FakeCluster::start(1, 1).await;
        let client = connect(&cluster).await;
        for compression in Compression::ALL {
            let producer =
                client.producer(TOPIC).compression(compression).build().await.expect("it is there");
            send_all(&producer, &values(50)).await;
            producer.close().await.expect("nothing failed");
        }
        assert_eq!(cluster.values(0).len(), 50 * Compression::ALL.len());

        let producer = client.producer(TOPIC).acks(Acks::None).build().await.expect("it is there");
        let delivered =
            producer.send("x".into_record()).await.expect("it is taken").await.expect("it is sent");
        assert_eq!((delivered.offset, delivered.append_time), (None, None));
        let producer = client.producer(TOPIC).acks(Acks::Leader).build().await.expect("it is there");
        let delivered =
            producer.send("x".into_record()).await.expect("it is taken").await.expect("it is sent");
        assert!(delivered.offset.is_some());
    })
    .await;
}

#[tokio::test]
async fn what_cannot_be_sent_is_refused_at_once() {
    within(async {
        let cluster = FakeCluster::start(1, 2).await;
        let client = connect(&cluster).await;
        let producer = client.producer(TOPIC).build().await.expect("it is there");
        let too_large = producer.send(ProducerRecord::new(vec![0; BATCH_BYTES_MAX])).await.map(drop);
        assert!(matches!(too_large, Err(ClientError::Record(_))), "{too_large:?}");
        for bounded in
            [client.producer(TOPIC).record_bytes_max(1024 * 1024), client.producer(TOPIC).name("n")]
        {
            let bounded = bounded.build().await.expect("it is there");
            let too_large = bounded.send(ProducerRecord::new(vec![0; 1024 * 1024 + 1])).await.map(drop);
            assert!(matches!(too_large, Err(ClientError::Record(_))), "{too_large:?}");
        }
        let nowhere = producer.send(ProducerRecord::new("x").partition(2)).await.map(drop);
        assert_eq!(nowhere.expect_err("there are two").reason(), Some(Reason::PartitionNotFound));
        assert_eq!(producer.in_flight_bytes(), 0);

        let unknown = client.producer("unknown").build().await.map(drop);
        assert_eq!(unknown.expect_err("there is none").reason(), Some(Reason::TopicNotFound));
        let bad = client.producer("no/topic").build().await.map(drop);
        assert_eq!(bad.expect_err("a bad name").reason(), Some(Reason::InvalidTopicName));
    })
    .await;
}

#[tokio::test]
async fn a_dropped_producer_still_sends_what_it_took() {
    within(async {
        let cluster = FakeCluster::start(1, 1).await;
        let hour = Duration::from_secs(3600);
        let producer =
            connect(&cluster).await.producer(TOPIC).linger(hour).build().await.expect("it is there");
        let delivery = producer.send("left".into_record()).await.expect("it is taken");
        drop(producer);
        delivery.await.expect("it is delivered");
        assert_eq!(cluster.values(0), ["left"]);
    })
    .await;
}

trait IntoRecord {
    fn into_record(self) -> ProducerRecord;
}

impl IntoRecord for &'static str {
    fn into_record(self) -> ProducerRecord {
        ProducerRecord::new(self)
    }
}
