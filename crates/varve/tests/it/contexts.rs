//! Contexts: clusters by name, and which one a command talks to.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use crate::support::{Server, run, varve};

/// A user with a home, and nothing in it yet.
fn at_home(home: &Path, args: &[&str]) -> Command {
    let mut command = varve(args);
    command.env_remove("XDG_CONFIG_HOME").env("HOME", home);
    command
}

#[test]
fn a_context_lives_its_life() {
    let home = tempfile::tempdir().unwrap();
    let varve = |args: &[&str]| run(&mut at_home(home.path(), args));
    assert_eq!(varve(&["context", "list"]).ok().text(), "NAME  SELECTED  SERVER  CERTIFICATE\n");
    varve(&["context", "show"]).fails(5, "no context is selected");
    let made = varve(&["context", "create", "prod", "--server", "a,b:1"]).ok();
    assert_eq!(made.stderr, "created context prod; `varve context use prod` selects it\n");
    varve(&["context", "create", "test", "--server", "varve://c:1", "--use"]).ok();
    varve(&["context", "create", "prod", "--server", "c:1"]).fails(6, "there is a context prod already");
    let list = varve(&["context", "list"]).ok();
    let expected = [
        "NAME  SELECTED  SERVER              CERTIFICATE",
        "prod            varve://a:8400,b:1",
        "test  *         varve://c:1",
    ];
    assert_eq!(list.text().lines().collect::<Vec<_>>(), expected);
    assert_eq!(varve(&["context", "list", "-o", "raw"]).ok().text(), "prod\ntest\n");
    assert_eq!(varve(&["context", "show", "-o", "json"]).ok().json()["name"], "test");

    varve(&["context", "use", "prod"]).ok();
    assert_eq!(
        varve(&["context", "show"]).ok().text(),
        "context prod (selected)\nserver  varve://a:8400,b:1\n"
    );
    let near = varve(&["context", "use", "pord"]).fails(5, "there is no context pord");
    assert!(near.stderr.contains("did you mean prod?"), "{}", near.stderr);
    varve(&["context", "delete", "prod"]).ok();
    varve(&["context", "show"]).fails(5, "no context is selected");
    varve(&["context", "delete", "prod"]).fails(5, "there is no context prod");

    let file = home.path().join(".config/varve/contexts.json");
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    std::fs::write(&file, "{").unwrap();
    varve(&["context", "list"]).fails(1, "contexts.json is damaged");
    assert_eq!(std::fs::read(&file).unwrap(), b"{");
}

#[test]
fn flag_over_variable_over_selected_context_over_default() {
    let home = tempfile::tempdir().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let nobody = |port: u16| format!("varve://127.0.0.1:{port}");
    let health = |args: &[&str]| at_home(home.path(), &[&["health"], args].concat());
    run(&mut at_home(home.path(), &["context", "create", "good", "--server", &server.address])).ok();
    run(&mut at_home(home.path(), &["context", "create", "bad", "--server", &nobody(1), "--use"])).ok();

    let of_context = run(&mut health(&[])).fails(3, "varve://127.0.0.1:1 (context bad)");
    assert!(of_context.stderr.contains("--context"), "{}", of_context.stderr);
    run(&mut health(&["--context", "good"])).ok();
    run(health(&["--context", "good"]).env("VARVE_SERVER", nobody(2))).ok();
    run(health(&[]).env("VARVE_SERVER", &server.address)).ok();
    run(health(&[]).env("VARVE_SERVER", "")).fails(3, "(context bad)");
    run(health(&["--server", &nobody(3)]).env("VARVE_SERVER", &server.address)).fails(3, "127.0.0.1:3");
    run(&mut health(&["--context", "worse"])).fails(5, "there is no context worse");
    let noted = run(at_home(home.path(), &["context", "use", "good"]).env("VARVE_SERVER", nobody(2))).ok();
    assert!(noted.stderr.contains("VARVE_SERVER is set"), "{}", noted.stderr);
    run(&mut health(&[])).ok();
}

#[test]
fn who_has_no_home_does_without() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let homeless = |args: &[&str]| {
        let mut command = varve(args);
        command.env_remove("XDG_CONFIG_HOME").env_remove("HOME");
        command
    };
    run(&mut homeless(&["health", "--server", &server.address])).ok();
    run(&mut homeless(&["context", "list"])).fails(1, "there is no directory to keep contexts in");
}
