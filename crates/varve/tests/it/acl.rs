//! Policies, as they are looked at from a shell.

use std::path::Path;

use crate::support::{run, varve};

const BOOK: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../varve-authz/testdata/book");

const POLICY: &str = "\
p, writers, logs-*, produce
p, alice, logs-secret, produce, deny
p, admin, *, *
g, alice, writers
";

fn write(dir: &Path, name: &str, text: &str) -> String {
    let path = dir.join(name);
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn the_books_files_decide_as_the_book_says() {
    let (model, policy) = (format!("{BOOK}/model.conf"), format!("{BOOK}/policy.csv"));
    let files = ["--policy-file", &policy, "--model-file", &model];
    let check = |args: &[&str]| run(&mut varve(&[&["acl", "check"], args, &files].concat()));
    let allowed = check(&["root", "default", "produce"]).ok();
    assert_eq!(allowed.text(), format!("allowed: rule {policy}:1: p, root, *, produce\n"));
    let denied =
        check(&["nobody", "default", "produce"]).fails(4, "\"nobody\" may not produce on topic \"default\"");
    assert!(denied.stderr.contains("hint: no rule is about that subject"), "{}", denied.stderr);
    assert_eq!(denied.text(), format!("denied: no rule of {policy} allows it\n"));
    let denied = check(&["root", "default", "delete"]).fails(4, "may not delete");
    assert!(denied.stderr.contains("hint: `varve acl list \"root\"` shows"), "{}", denied.stderr);
}

#[test]
fn a_decision_is_explained() {
    let dir = tempfile::tempdir().unwrap();
    let policy = write(dir.path(), "policy.csv", POLICY);
    let check =
        |args: &[&str]| run(&mut varve(&[&["acl", "check", "--policy-file", &policy], args].concat()));
    check(&["alice", "logs-web", "produce"]).ok();
    check(&["admin", "*", "admin"]).ok();
    let denied = check(&["alice", "logs-secret", "produce", "-o", "json"]).fails(4, "may not produce").json();
    assert_eq!((&denied["allowed"], &denied["rule"]["line"]), (&false.into(), &2.into()));
    assert_eq!(denied["rule"]["text"], "p, alice, logs-secret, produce, deny");
    check(&["alice", "logs-web", "prduce"]).fails(2, "prduce");
    check(&["alice", "a/b", "produce"]).fails(2, "use only letters, digits");
}

#[test]
fn the_subjects_are_listed_with_what_they_may() {
    let dir = tempfile::tempdir().unwrap();
    let policy = write(dir.path(), "policy.csv", POLICY);
    let list = |args: &[&str]| run(&mut varve(&[&["acl", "list", "--policy-file", &policy], args].concat()));
    let table = list(&[]).ok();
    let expected = "\
SUBJECT  EFFECT  ACTION   OBJECT       VIA      LINE
admin    allow   *        *            -           3
alice    allow   produce  logs-*       writers     1
alice    deny    produce  logs-secret  -           2
";
    assert_eq!(table.text(), expected);
    let rules = list(&["alice", "-o", "json"]).ok().json();
    assert_eq!((&rules[0]["via"], &rules[1]["effect"]), (&"writers".into(), &"deny".into()));
    let unknown = list(&["alcie"]).fails(5, "is about \"alcie\"");
    assert!(unknown.stderr.contains("hint: did you mean \"alice\"?"), "{}", unknown.stderr);
}

#[test]
fn expected_decisions_are_tested() {
    let dir = tempfile::tempdir().unwrap();
    let policy = write(dir.path(), "policy.csv", POLICY);
    let test = |text: &str| {
        let expected = write(dir.path(), "expected.csv", text);
        run(&mut varve(&["acl", "test", &expected, "--policy-file", &policy]))
    };
    let good = "# as it is\nalice, logs-web, produce, allow\nalice, logs-secret, produce, deny\nadmin, *, admin, allow\n";
    assert_eq!(test(good).ok().text(), "");
    let wrong = test(&format!("{good}bob, logs-web, produce, allow\n"))
        .fails(1, "1 of 4 decisions are not as expected");
    assert!(
        wrong.text().ends_with(&format!(
            "expected.csv, line 5: bob, logs-web, produce is denied: no rule of {policy} allows it\n"
        )),
        "{}",
        wrong.text()
    );
    test("alice, logs-web, produce\n").fails(2, "expected.csv, line 1: write `SUBJECT, TOPIC");
    test("# nothing\n").fails(2, "expects nothing");
}

#[test]
fn a_wrong_policy_is_refused_with_its_line() {
    let dir = tempfile::tempdir().unwrap();
    let policy = write(dir.path(), "policy.csv", "p, root, *, produce\np, root, *, prodduce\n");
    let check = ["acl", "check", "root", "t", "produce", "--policy-file"];
    run(&mut varve(&[&check[..], &[&policy]].concat()))
        .fails(2, "policy.csv, line 2: \"prodduce\" is no action");
    run(&mut varve(&[&check[..], &["/nowhere.csv"]].concat())).fails(5, "cannot read /nowhere.csv");
    run(&mut varve(&check[..5])).fails(2, "required arguments");
    // The environment says it too, as it does for servers.
    let rules = write(dir.path(), "good.csv", "p, root, *, produce\n");
    run(varve(&check[..5]).env("VARVE_ACL_POLICY_FILE", rules)).ok();
}
