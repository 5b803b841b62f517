use crate::fixture::{Fixture, append, batch, values, within};
use varve_record::{Offset, Timestamp};
use varve_replica::{Consistency, ReadError, Start};

#[tokio::test]
async fn a_follower_is_woken_by_an_append() {
    let fixture = Fixture::new();
    let partition = fixture.partition().await;
    let mut follower = partition.follow();
    let waiting = tokio::spawn(async move { follower.past(Offset::new(1)).await });
    append(&partition, batch(&["x"])).await.unwrap();
    assert_eq!(within(waiting).await.unwrap().unwrap().high_watermark, Offset::new(1));
}

#[tokio::test]
async fn a_read_at_the_tail_is_empty_and_beyond_it_an_error() {
    let fixture = Fixture::new();
    let partition = fixture.partition().await;
    append(&partition, batch(&["a", "b"])).await.unwrap();
    assert!(within(partition.read(Offset::new(2), None, 1024)).await.unwrap().batches.is_empty());
    let refused = within(partition.read(Offset::new(3), None, 1024)).await.unwrap_err();
    let ReadError::BeyondTail { high_watermark, .. } = refused else { panic!("{refused}") };
    assert_eq!(high_watermark, Offset::new(2));
}

#[tokio::test]
async fn a_read_begins_with_the_batch_that_holds_its_offset() {
    let fixture = Fixture::new();
    let partition = fixture.partition().await;
    append(&partition, batch(&["a", "b", "c"])).await.unwrap();
    append(&partition, batch(&["d"])).await.unwrap();
    let read = within(partition.read(Offset::new(1), Some(Offset::new(3)), 1 << 20)).await.unwrap();
    assert_eq!(read.batches.len(), 1);
    assert_eq!(read.batches[0].batch.base_offset(), Offset::new(0));
    assert_eq!(values(&partition, 1).await, ["b", "c", "d"]);
}

#[tokio::test]
async fn starts_are_found() {
    let fixture = Fixture::new();
    let partition = fixture.partition().await;
    for time in [10, 20, 30] {
        fixture.clock.set(time);
        append(&partition, batch(&["x", "y"])).await.unwrap();
    }
    let resolve = async |start| within(partition.resolve(start, false)).await.map(Offset::get);
    assert_eq!(resolve(Start::Earliest).await.unwrap(), 0);
    assert_eq!(resolve(Start::Tail).await.unwrap(), 6);
    assert_eq!(resolve(Start::TailMinus(1)).await.unwrap(), 5);
    assert_eq!(resolve(Start::TailMinus(100)).await.unwrap(), 0);
    assert_eq!(resolve(Start::Offset(Offset::new(3))).await.unwrap(), 3);
    assert!(resolve(Start::Offset(Offset::new(7))).await.is_err());
    let clamped = within(partition.resolve(Start::Offset(Offset::new(7)), true)).await.unwrap();
    assert_eq!(clamped, Offset::new(6));
    assert_eq!(within(partition.barrier(Consistency::Linearizable)).await.unwrap(), Offset::new(6));
}

#[tokio::test]
async fn a_time_means_the_first_record_at_or_after_it() {
    let fixture = Fixture::new();
    fixture.clock.set(5);
    let partition = fixture.partition().await;
    for time in [10, 20, 30] {
        fixture.clock.set(time);
        append(&partition, batch(&["x", "y"])).await.unwrap();
    }
    let at =
        async |ms| within(partition.resolve(Start::Time(Timestamp::new(ms)), false)).await.unwrap().get();
    assert_eq!([at(0).await, at(10).await, at(11).await, at(30).await, at(31).await], [0, 0, 2, 4, 6]);
}

#[tokio::test]
async fn append_times_never_go_back() {
    let fixture = Fixture::new();
    fixture.clock.set(100);
    let partition = fixture.partition().await;
    let first = append(&partition, batch(&["a"])).await.unwrap();
    fixture.clock.set(50);
    let second = append(&partition, batch(&["b"])).await.unwrap();
    assert_eq!(first.append_time, Some(Timestamp::new(100)));
    assert_eq!(second.append_time, Some(Timestamp::new(100)));
}
