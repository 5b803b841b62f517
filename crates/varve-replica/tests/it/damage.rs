use crate::fixture::{Fixture, append, batch, within};
use varve_record::Offset;
use varve_replica::{ProduceError, ReadError};

#[tokio::test]
async fn damage_is_reported_and_never_served() {
    let fixture = Fixture::new();
    let partition = fixture.partition().await;
    for n in 0..10 {
        append(&partition, batch(&[&format!("value-{n}")])).await.unwrap();
    }
    drop(partition);
    let disk = fixture.disk.crash(varve_env::disk::CrashMode::ProcessOnly);
    let segment = disk.files().into_iter().find(|path| path.extension().is_some_and(|e| e == "log")).unwrap();
    let bytes = disk.contents(&segment).unwrap();
    let at = bytes.windows(7).position(|window| window == b"value-4").unwrap();
    disk.flip(&segment, at as u64, 0x10).unwrap();

    let fixture = Fixture::on(disk, fixture.clock);
    let partition = fixture.partition().await;
    let damage = partition.status().damage.expect("later frames say that it was durable");
    assert_eq!(damage.file, segment);
    let sound = within(partition.read(Offset::new(0), None, 1 << 20)).await.unwrap();
    assert_eq!(sound.batches.len(), 4, "what lies before the damage is served");
    let refused = within(partition.read(Offset::new(4), None, 1 << 20)).await.unwrap_err();
    assert!(matches!(refused, ReadError::Damaged(_)), "{refused}");
    let refused = append(&partition, batch(&["more"])).await.unwrap_err();
    assert!(matches!(refused, ProduceError::Damaged(_)), "{refused}");
}
