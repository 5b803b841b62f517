use crate::fixture::{Fixture, append, batch, produce, values, within};
use std::io::ErrorKind;
use varve_env::disk::OpKind;
use varve_record::Offset;
use varve_replica::{Acks, Produce, ProduceError, ReadError};

#[tokio::test]
async fn offsets_are_dense_from_zero() {
    let fixture = Fixture::new();
    let partition = fixture.partition().await;
    let first = append(&partition, batch(&["a", "b"])).await.unwrap();
    let second = append(&partition, batch(&["c"])).await.unwrap();
    assert_eq!((first.first_offset, first.next_offset), (Some(Offset::new(0)), Some(Offset::new(2))));
    assert_eq!((second.first_offset, second.next_offset), (Some(Offset::new(2)), Some(Offset::new(3))));
    assert!(!first.duplicate);
    assert_eq!(values(&partition, 0).await, ["a", "b", "c"]);
}

#[tokio::test]
async fn batches_of_one_caller_stay_in_order() {
    let fixture = Fixture::new();
    let partition = fixture.partition().await;
    let mut pending = Vec::new();
    for n in 0..500 {
        pending.push(within(partition.enqueue(produce(batch(&[&n.to_string()])))).await.unwrap());
    }
    for (n, pending) in pending.into_iter().enumerate() {
        let produced = within(pending.wait()).await.unwrap();
        assert_eq!(produced.first_offset, Some(Offset::new(n as u64)));
    }
    let expected: Vec<_> = (0..500).map(|n| n.to_string()).collect();
    assert_eq!(values(&partition, 0).await, expected);
}

#[tokio::test]
async fn an_acknowledged_batch_survives_a_power_cut() {
    let fixture = Fixture::new();
    let partition = fixture.partition().await;
    for n in 0..20 {
        append(&partition, batch(&[&n.to_string()])).await.unwrap();
    }
    let fixture = fixture.crash();
    let partition = fixture.partition().await;
    let expected: Vec<_> = (0..20).map(|n| n.to_string()).collect();
    assert_eq!(values(&partition, 0).await, expected);
    let next = append(&partition, batch(&["after"])).await.unwrap();
    assert_eq!(next.first_offset, Some(Offset::new(20)), "the blank entry of a new term takes no offset");
}

#[tokio::test]
async fn a_condition_holds_or_changes_nothing() {
    let fixture = Fixture::new();
    let partition = fixture.partition().await;
    let at = |offset| Produce { expected_offset: Some(Offset::new(offset)), ..produce(batch(&["x"])) };
    within(partition.produce(at(0))).await.unwrap();
    let refused = within(partition.produce(at(0))).await.unwrap_err();
    let ProduceError::ExpectedOffsetMismatch { expected, actual } = refused else { panic!("{refused}") };
    assert_eq!((expected, actual), (Offset::new(0), Offset::new(1)));
    within(partition.produce(at(1))).await.unwrap();
    assert_eq!(values(&partition, 0).await.len(), 2);
}

#[tokio::test]
async fn nobody_waits_for_a_batch_without_acks() {
    let fixture = Fixture::new();
    let partition = fixture.partition().await;
    let produced =
        within(partition.produce(Produce { acks: Acks::None, ..produce(batch(&["x"])) })).await.unwrap();
    assert_eq!(produced.first_offset, None);
    within(partition.wait_applied(Offset::new(1))).await.unwrap();
    assert_eq!(values(&partition, 0).await, ["x"]);
}

#[tokio::test]
async fn a_failed_sync_is_no_acknowledgement_and_the_last_word() {
    let fixture = Fixture::new();
    let partition = fixture.partition().await;
    append(&partition, batch(&["kept"])).await.unwrap();
    fixture.disk.fail_nth(OpKind::Sync, 0, ErrorKind::Other);
    let lost = append(&partition, batch(&["lost"])).await.unwrap_err();
    assert!(matches!(lost, ProduceError::Stopped(_)), "{lost}");
    let later = append(&partition, batch(&["later"])).await.unwrap_err();
    assert!(matches!(later, ProduceError::Stopped(_)), "{later}");
    assert_eq!(partition.progress().high_watermark, Offset::new(1));
    let fixture = fixture.crash();
    let partition = fixture.partition().await;
    assert_eq!(values(&partition, 0).await, ["kept"]);
}

#[tokio::test]
async fn a_closed_partition_takes_nothing() {
    let fixture = Fixture::new();
    let partition = fixture.partition().await;
    append(&partition, batch(&["x"])).await.unwrap();
    partition.close();
    let refused = append(&partition, batch(&["y"])).await.unwrap_err();
    assert!(matches!(refused, ProduceError::ShuttingDown), "{refused}");
    assert_eq!(values(&partition, 0).await, ["x"]);
    let beyond = within(partition.read(Offset::new(9), None, 1024)).await.unwrap_err();
    assert!(matches!(beyond, ReadError::BeyondTail { .. }), "{beyond}");
}
