use crate::fixture::{Fixture, append, numbered, produce, values, within};
use std::io::ErrorKind;
use varve_env::disk::OpKind;
use varve_record::{Offset, ProducerEpoch, Sequence};
use varve_replica::{Produce, ProduceError};

#[tokio::test]
async fn a_retry_gets_the_original_offset() {
    let fixture = Fixture::new();
    let partition = fixture.partition().await;
    let original = append(&partition, numbered(7, 0, 0, &["a", "b"])).await.unwrap();
    append(&partition, numbered(7, 0, 2, &["c"])).await.unwrap();
    let retry = append(&partition, numbered(7, 0, 0, &["a", "b"])).await.unwrap();
    assert!(retry.duplicate);
    assert_eq!((retry.first_offset, retry.next_offset), (original.first_offset, original.next_offset));
    assert_eq!(retry.append_time, original.append_time);
    assert_eq!(values(&partition, 0).await, ["a", "b", "c"]);
}

#[tokio::test]
async fn a_retry_of_what_is_in_flight_waits_for_the_original() {
    // The writer is a task of this thread, so that it syncs nothing before all have been judged.
    let fixture = Fixture::single_threaded();
    let partition = fixture.partition().await;
    let send = || within(partition.produce(produce(numbered(7, 0, 0, &["a"]))));
    let (first, second, third) = tokio::join!(send(), send(), send());
    let outcomes = [first, second, third].map(Result::unwrap);
    assert!(outcomes.iter().all(|produced| produced.first_offset == Some(Offset::new(0))));
    assert_eq!(outcomes.map(|produced| produced.duplicate), [false, true, true]);
    assert_eq!(values(&partition, 0).await, ["a"]);
}

#[tokio::test]
async fn a_retry_of_what_is_lost_in_flight_is_not_acknowledged() {
    let fixture = Fixture::single_threaded();
    let partition = fixture.partition().await;
    fixture.disk.fail_nth(OpKind::Sync, 0, ErrorKind::Other);
    let send = || within(partition.produce(produce(numbered(7, 0, 0, &["a"]))));
    let (original, retry) = tokio::join!(send(), send());
    assert!(matches!(original, Err(ProduceError::Stopped(_))), "{original:?}");
    assert!(matches!(retry, Err(ProduceError::CommitUnknown)), "{retry:?}");
}

#[tokio::test]
async fn a_retry_after_a_power_cut_is_known() {
    let fixture = Fixture::new();
    let partition = fixture.partition().await;
    append(&partition, numbered(7, 0, 0, &["a"])).await.unwrap();
    let fixture = fixture.crash();
    let partition = fixture.partition().await;
    assert!(append(&partition, numbered(7, 0, 0, &["a"])).await.unwrap().duplicate);
    assert!(!append(&partition, numbered(7, 0, 1, &["b"])).await.unwrap().duplicate);
    assert_eq!(values(&partition, 0).await, ["a", "b"]);
}

#[tokio::test]
async fn a_retry_of_a_conditional_append_is_a_duplicate_and_no_mismatch() {
    let fixture = Fixture::new();
    let partition = fixture.partition().await;
    let conditional =
        || Produce { expected_offset: Some(Offset::new(0)), ..produce(numbered(7, 0, 0, &["a"])) };
    within(partition.produce(conditional())).await.unwrap();
    assert!(within(partition.produce(conditional())).await.unwrap().duplicate);
}

#[tokio::test]
async fn a_gap_is_refused() {
    let fixture = Fixture::new();
    let partition = fixture.partition().await;
    append(&partition, numbered(7, 0, 0, &["a"])).await.unwrap();
    let refused = append(&partition, numbered(7, 0, 2, &["c"])).await.unwrap_err();
    let ProduceError::OutOfOrderSequence { expected, found, .. } = refused else { panic!("{refused}") };
    assert_eq!((expected, found), (Sequence::new(1), Sequence::new(2)));
    assert_eq!(values(&partition, 0).await, ["a"]);
}

#[tokio::test]
async fn a_newer_epoch_fences_the_older() {
    let fixture = Fixture::new();
    let partition = fixture.partition().await;
    append(&partition, numbered(7, 0, 0, &["old"])).await.unwrap();
    append(&partition, numbered(7, 1, 0, &["new"])).await.unwrap();
    let refused = append(&partition, numbered(7, 0, 1, &["zombie"])).await.unwrap_err();
    let ProduceError::Fenced { found, current, .. } = refused else { panic!("{refused}") };
    assert_eq!((found, current), (ProducerEpoch::new(0), ProducerEpoch::new(1)));
    assert_eq!(values(&partition, 0).await, ["old", "new"]);
}

#[tokio::test]
async fn a_producer_that_nobody_knows_must_begin_at_zero() {
    let fixture = Fixture::new();
    let partition = fixture.partition().await;
    let refused = append(&partition, numbered(7, 0, 5, &["x"])).await.unwrap_err();
    assert!(matches!(refused, ProduceError::UnknownProducer { .. }), "{refused}");
}
