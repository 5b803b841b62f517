//! `verify`: every checksum, offline.

use crate::harness::*;
use std::io::IoSlice;
use std::path::Path;
use varve_env::disk::{CrashMode, Disk, OpenMode};
use varve_storage::{Finding, OpenError, Severity, Summary, verify};

fn run_verify(world: &World) -> (Summary, Vec<Finding>) {
    let mut findings = Vec::new();
    let summary = verify(&world.disk, Path::new(DIR), &mut |finding| findings.push(finding)).unwrap();
    (summary, findings)
}

fn filled(world: &World) {
    let (storage, log) = world.open_log();
    for index in 0..100 {
        append(world, &log, vec![sized(index, 3, 1000)]);
    }
    storage.set_node_file("me".into()).unwrap();
    log.save_snapshot("snapshot".into()).unwrap();
    world.close(storage, log);
}

#[test]
fn a_sound_directory_is_counted_and_left_as_it_is() {
    let world = World::new(1);
    filled(&world);
    let before: Vec<_> = world.disk.files().iter().map(|f| world.disk.contents(f).unwrap()).collect();
    let (summary, findings) = run_verify(&world);
    assert_eq!(findings, []);
    assert_eq!((summary.partitions, summary.entries, summary.records), (1, 100, 300));
    assert!(summary.segments > 3 && summary.bytes > 300_000 && summary.damaged == 0);
    let after: Vec<_> = world.disk.files().iter().map(|f| world.disk.contents(f).unwrap()).collect();
    assert!(before == after, "nothing was changed");
}

#[test]
fn every_kind_of_file_is_checked_and_named() {
    let world = World::new(2);
    filled(&world);
    for path in world.disk.files() {
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if name == "LOCK" {
            continue;
        }
        let len = world.disk.contents(&path).unwrap().len();
        // A batch's middle, or a small file's.
        let position = if name.ends_with(".log") { 10_000 } else { len.min(4096 + 64) / 2 } as u64;
        let copy = world.copy();
        copy.disk.flip(&path, position, 4).unwrap();
        let (summary, findings) = run_verify(&copy);
        let [finding] = &findings[..] else { panic!("{name}: {findings:?}") };
        assert_eq!(finding.file, path);
        let rebuilt = name.ends_with(".index") || name == "tail";
        assert_eq!(
            finding.severity,
            if rebuilt { Severity::Rebuilt } else { Severity::Damage },
            "{finding:?}"
        );
        assert_eq!(summary.damaged, u64::from(!rebuilt));
        if name.ends_with(".log") {
            assert!(finding.position <= position && finding.position + 3200 > position, "{finding:?}");
        }
    }
}

#[test]
fn what_a_crash_leaves_is_no_damage() {
    let mut world = World::new(3);
    filled(&world);
    let (storage, log) = world.open_log();
    let next = log.last_log_id().unwrap().index.get() + 1;
    append(&world, &log, vec![entry(next, 1)]);
    world.crash(CrashMode::ProcessOnly, Some(storage), Some(log));
    // Half of a frame at the tail, an unfinished file, and one that is not ours.
    let path = world.files(".log").pop().unwrap();
    let content = world.disk.contents(&path).unwrap();
    let end = content.iter().rposition(|byte| *byte != 0).unwrap() as u64 + 1;
    let file = world.disk.open(&path, OpenMode::Write).unwrap();
    file.write_all_at(&mut [IoSlice::new(b"VRVFgarbage")], end.next_multiple_of(8)).unwrap();
    for name in ["x.log.tmp", "notes"] {
        world.disk.open(&path.with_file_name(name), OpenMode::CreateNew).unwrap();
    }
    let (summary, findings) = run_verify(&world);
    assert_eq!(summary.damaged, 0, "{findings:?}");
    assert!(findings.iter().all(|finding| finding.severity == Severity::Note));
    assert_eq!(findings.len(), 2, "{findings:?}");
}

#[test]
fn what_is_open_or_no_directory_is_refused() {
    let world = World::new(4);
    let (_storage, _log) = world.open_log();
    let refused = verify(&world.disk, Path::new(DIR), &mut |_| {});
    assert!(matches!(refused, Err(OpenError::Locked { .. })));
    let refused = verify(&world.disk, Path::new("elsewhere"), &mut |_| {});
    assert!(matches!(refused, Err(OpenError::File(_))));
}
