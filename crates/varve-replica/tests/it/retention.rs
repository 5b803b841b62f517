use crate::fixture::{Fixture, append, batch, values, within};
use std::pin::Pin;
use std::task::Poll;
use varve_record::Offset;
use varve_replica::{PartitionSettings, ReadError};
use varve_storage::{PartitionConfig, Retention};

fn small_segments(retention: Retention) -> PartitionSettings {
    let log = PartitionConfig { segment_bytes: 64 * 1024, ..PartitionConfig::default() };
    PartitionSettings { log, retention }
}

#[tokio::test]
async fn a_trim_moves_the_start_and_survives_a_power_cut() {
    let fixture = Fixture::new();
    let partition = fixture.partition().await;
    append(&partition, batch(&["a", "b", "c", "d"])).await.unwrap();
    assert_eq!(within(partition.trim(Offset::new(2))).await.unwrap(), Offset::new(2));
    assert_eq!(within(partition.trim(Offset::new(1))).await.unwrap(), Offset::new(2), "it never goes back");
    let refused = within(partition.read(Offset::new(1), None, 1024)).await.unwrap_err();
    assert!(matches!(refused, ReadError::Trimmed { .. }), "{refused}");
    assert_eq!(values(&partition, 2).await, ["c", "d"]);
    let fixture = fixture.crash();
    let partition = fixture.partition().await;
    assert_eq!(partition.progress().log_start_offset, Offset::new(2));
    assert_eq!(values(&partition, 2).await, ["c", "d"]);
}

#[tokio::test]
async fn a_trim_that_nobody_waits_for_takes_effect() {
    let fixture = Fixture::new();
    let partition = fixture.partition().await;
    append(&partition, batch(&["a", "b", "c"])).await.unwrap();
    // Polled once, so that it is proposed, and given up.
    let mut given_up = Box::pin(partition.trim(Offset::new(2)));
    assert!(poll_once(&mut given_up).await.is_none(), "a commit takes a sync");
    drop(given_up);
    let mut follower = partition.follow();
    while within(follower.changed()).await.unwrap().log_start_offset != Offset::new(2) {}
    let refused = within(partition.read(Offset::new(1), None, 1024)).await.unwrap_err();
    assert!(matches!(refused, ReadError::Trimmed { .. }), "{refused}");
}

#[tokio::test]
async fn trims_at_the_same_time_never_move_the_start_back() {
    let fixture = Fixture::new();
    let partition = fixture.partition().await;
    append(&partition, batch(&["a", "b", "c", "d"])).await.unwrap();
    let (far, near) =
        within(async { tokio::join!(partition.trim(Offset::new(3)), partition.trim(Offset::new(1))) }).await;
    assert_eq!((far.unwrap(), near.unwrap()), (Offset::new(3), Offset::new(3)));
    assert_eq!(partition.progress().log_start_offset, Offset::new(3));
}

#[tokio::test]
async fn a_trim_stops_at_the_high_watermark() {
    let fixture = Fixture::new();
    let partition = fixture.partition().await;
    append(&partition, batch(&["a", "b"])).await.unwrap();
    assert_eq!(within(partition.trim(Offset::new(99))).await.unwrap(), Offset::new(2));
    append(&partition, batch(&["c"])).await.unwrap();
    assert_eq!(values(&partition, 2).await, ["c"]);
}

#[tokio::test]
async fn retention_by_bytes_keeps_at_least_that() {
    let fixture = Fixture::new();
    let retention = Retention { bytes: Some(128 * 1024), age_ms: None };
    let partition = fixture.partition_with(small_segments(retention)).await;
    let value = "x".repeat(8 * 1024);
    for _ in 0..64 {
        append(&partition, batch(&[&value])).await.unwrap();
    }
    let before = partition.status().size_bytes;
    let new_start = within(partition.apply_retention()).await.unwrap().expect("half a megabyte is too much");
    assert!(new_start > Offset::new(0) && new_start < Offset::new(64));
    assert_eq!(values(&partition, new_start.get()).await.len() as u64, 64 - new_start.get());
    let kept = (64 - new_start.get()) * 8 * 1024;
    assert!(kept >= 128 * 1024 - 64 * 1024, "{kept} bytes are kept");
    assert!(before > 512 * 1024);
}

#[tokio::test]
async fn retention_by_age_does_not_believe_a_clock_that_jumps() {
    let fixture = Fixture::new();
    let retention = Retention { bytes: None, age_ms: Some(60_000) };
    let partition = fixture.partition_with(small_segments(retention)).await;
    let value = "x".repeat(16 * 1024);
    for _ in 0..16 {
        append(&partition, batch(&[&value])).await.unwrap();
    }
    fixture.clock.advance(7 * 24 * 3_600_000);
    assert_eq!(within(partition.apply_retention()).await.unwrap(), None);
    // A record that was really appended a week later makes those before it old.
    append(&partition, batch(&["later"])).await.unwrap();
    let new_start = within(partition.apply_retention()).await.unwrap().expect("a week has passed");
    assert!(new_start > Offset::new(0));
    assert_eq!(values(&partition, new_start.get()).await.last().unwrap(), "later");
}

/// What a future gives at once, if it does.
async fn poll_once<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
    std::future::poll_fn(|cx| {
        Poll::Ready(match Pin::new(&mut *future).poll(cx) {
            Poll::Ready(output) => Some(output),
            Poll::Pending => None,
        })
    })
    .await
}
