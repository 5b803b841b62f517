//! A log inside a program: open, append, wait until it is durable, read.
//!
//! `cargo run -p varve-storage --example embedded -- /tmp/some-directory`

use std::path::PathBuf;
use std::sync::mpsc;
use varve_env::Env;
use varve_record::{BatchBuilder, Compression, Index, Limits, Offset, PartitionId, Term, Timestamp};
use varve_storage::{Entry, LogId, OpenError, PartitionConfig, Storage, StorageConfig};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let dir =
        std::env::args_os().nth(1).map_or_else(|| std::env::temp_dir().join("varve-embedded"), PathBuf::from);
    let env = Env::real();
    let storage = Storage::open(&env, &dir, StorageConfig::default())?;
    let id = PartitionId::new(1);
    let log = match storage.create_partition(id, PartitionConfig::default()) {
        Err(OpenError::PartitionExists { .. }) => storage.open_partition(id, PartitionConfig::default())?,
        result => result?,
    };

    // An entry holds a batch of records. Its index follows the last one's; the log gives its records their offsets.
    let now = Timestamp::new(env.clock.now_unix_ms());
    let mut batch = BatchBuilder::new(Compression::Lz4);
    for word in ["layer", "upon", "layer"] {
        batch.push(now, None, Some(word.as_bytes()), &[])?;
    }
    let index = log.last_log_id().map_or(Index::new(0), |last| last.index.next());
    let entry = Entry::batch(LogId::new(Term::new(1), index), now, batch.build()?);

    // The append is answered when it is on the disk. Many may be on their way at once: they share a sync.
    let (durable, wait) = mpsc::channel();
    let appended = log.append(vec![entry], Box::new(move |result| drop(durable.send(result))))?;
    wait.recv()??;
    println!("appended offsets {} to {}", appended.first_offset, appended.next_offset);

    for stored in log.read(Offset::new(0), log.next_offset(), 1024 * 1024)? {
        for record in stored.batch.records(&Limits::default())?.owned() {
            let record = record?;
            println!("{}: {}", record.offset, String::from_utf8_lossy(&record.value.unwrap_or_default()));
        }
    }
    storage.close()?;
    Ok(())
}
