use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::mpsc;

use super::*;
use crate::action::Action;
use crate::object::Object;

fn source(dir: &Path) -> PolicySource {
    PolicySource { model_file: None, policy_file: dir.join("policy.csv") }
}

fn allowed(authorizer: &Authorizer, subject: &str) -> bool {
    authorizer.with_policy(|policy| policy.decide(subject, Object::Topic("t"), Action::Produce)).allowed
}

#[test]
fn an_edit_is_taken_and_a_bad_one_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("policy.csv");
    fs::write(&file, "p, a, t, produce\n").unwrap();
    let (authorizer, mut watcher) = PolicyWatcher::start(source(dir.path()), Blocking::Inline).unwrap();
    assert!(matches!(watcher.check(), Reload::Unchanged));
    // As long as before, and within the same second.
    fs::write(&file, "p, b, t, produce\n").unwrap();
    assert!(matches!(watcher.check(), Reload::Replaced));
    assert!(!allowed(&authorizer, "a") && allowed(&authorizer, "b"));

    fs::write(&file, "p, b, t, produce\np, c, t, prodduce\n").unwrap();
    let Reload::Refused(error) = watcher.check() else { panic!("it is wrong") };
    assert!(error.to_string().ends_with("policy.csv, line 2: \"prodduce\" is no action: use produce, consume, create, alter, delete, trim, describe, admin"), "{error}");
    assert!(allowed(&authorizer, "b"), "the old policy stays");
    assert!(matches!(watcher.check(), Reload::Unchanged), "and it is said once");

    fs::write(&file, "p, b, t, produce\np, c, t, produce\n").unwrap();
    assert!(matches!(watcher.check(), Reload::Replaced));
    assert!(allowed(&authorizer, "c"));
    assert_eq!(authorizer.generation(), 2);
}

#[test]
fn a_file_that_is_gone_for_a_while_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("policy.csv");
    fs::write(&file, "p, a, t, produce\n").unwrap();
    let (authorizer, mut watcher) = PolicyWatcher::start(source(dir.path()), Blocking::Inline).unwrap();
    fs::remove_file(&file).unwrap();
    assert!(matches!(watcher.check(), Reload::Refused(_)));
    assert!(matches!(watcher.check(), Reload::Unchanged));
    assert!(allowed(&authorizer, "a"));
    fs::write(&file, "p, a, t, produce\n").unwrap();
    assert!(matches!(watcher.check(), Reload::Unchanged), "it came back as it was");
    fs::write(&file, [b'#'; 1024 * 1024 + 1]).unwrap();
    let Reload::Refused(error) = watcher.check() else { panic!("it is too large") };
    assert!(error.to_string().contains("more than 1048576 bytes"), "{error}");
    fs::write(&file, b"p, \xff, t, produce\n").unwrap();
    let Reload::Refused(error) = watcher.check() else { panic!("it is no text") };
    assert!(error.to_string().contains("no UTF-8"), "{error}");
}

#[test]
fn links_that_are_swapped_are_followed_as_kubernetes_swaps_them() {
    let dir = tempfile::tempdir().unwrap();
    let version = |name: &str, rules: &str| {
        fs::create_dir(dir.path().join(name)).unwrap();
        fs::write(dir.path().join(name).join("policy.csv"), rules).unwrap();
    };
    version("..v1", "p, a, t, produce\n");
    symlink("..v1", dir.path().join("..data")).unwrap();
    symlink("..data/policy.csv", dir.path().join("policy.csv")).unwrap();
    let (authorizer, mut watcher) = PolicyWatcher::start(source(dir.path()), Blocking::Inline).unwrap();
    assert!(allowed(&authorizer, "a"));
    version("..v2", "p, b, t, produce\n");
    symlink("..v2", dir.path().join("..data_tmp")).unwrap();
    fs::rename(dir.path().join("..data_tmp"), dir.path().join("..data")).unwrap();
    assert!(matches!(watcher.check(), Reload::Replaced));
    assert!(!allowed(&authorizer, "a") && allowed(&authorizer, "b"));
}

#[test]
fn the_model_is_watched_too() {
    let dir = tempfile::tempdir().unwrap();
    let (model, policy) = (dir.path().join("model.conf"), dir.path().join("policy.csv"));
    fs::write(&model, crate::DEFAULT_MODEL).unwrap();
    fs::write(&policy, "p, a, *, produce\n").unwrap();
    let source = PolicySource { model_file: Some(model.clone()), policy_file: policy };
    let (authorizer, mut watcher) = PolicyWatcher::start(source.clone(), Blocking::Inline).unwrap();
    fs::write(&model, "nonsense").unwrap();
    let Reload::Refused(error) = watcher.check() else { panic!("it is wrong") };
    assert!(error.to_string().contains("model.conf, line 1"), "{error}");
    assert!(allowed(&authorizer, "a"));
    assert!(PolicyWatcher::start(source, Blocking::Inline).is_err());
}

#[tokio::test(start_paused = true)]
async fn it_looks_by_itself_and_when_asked() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("policy.csv");
    fs::write(&file, "p, a, t, produce\n").unwrap();
    let (authorizer, watcher) = PolicyWatcher::start(source(dir.path()), Blocking::Inline).unwrap();
    let asked = Arc::new(Notify::new());
    let (reports, reported) = mpsc::channel();
    let report = move |outcome: &Reload| reports.send(format!("{outcome:?}")).unwrap();
    tokio::spawn(watcher.run(Arc::clone(&asked), report));
    let mut changes = authorizer.changes();

    fs::write(&file, "p, b, t, produce\n").unwrap();
    changes.changed().await.unwrap();
    assert!(allowed(&authorizer, "b"));
    // Time stands still unless all wait for it: this one comes by being asked for.
    fs::write(&file, "p, c, t, produce\n").unwrap();
    let before = tokio::time::Instant::now();
    asked.notify_one();
    changes.changed().await.unwrap();
    assert_eq!(before.elapsed(), Duration::ZERO);
    assert!(allowed(&authorizer, "c"));
    assert_eq!(reported.try_iter().collect::<Vec<_>>(), ["Replaced", "Replaced"]);
}
