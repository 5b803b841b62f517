//! TLS and the policy, with real processes: what works, and what is said where it does not.

use std::io::Write;
use std::net::TcpStream;
use std::process::Command;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::pki::{EXPIRED, NEW, Pki};
use crate::support::{Server, run, run_with_input, varve, wait_until};

/// A command of somebody with these certificates.
fn varve_as(pki: &Pki, name: &str, server: &Server, args: &[&str]) -> Command {
    let mut command = varve(args);
    command.args(["--server", &server.address]).args(pki.flags(name));
    command
}

#[test]
fn a_secured_server_takes_those_it_knows_and_tells_the_others_why_not() {
    let (pki, dir) = (Pki::new(), tempfile::tempdir().unwrap());
    pki.issue_client("nobody", NEW);
    let server = Server::start_secured(dir.path(), &pki);
    server.run(&["health"]).ok();
    server.produce(&["events"], b"a\n");
    assert_eq!(server.run(&["consume", "events"]).ok().text(), "a\n");
    run(&mut varve_as(&pki, "root", &server, &["cluster", "health", "--wait"])).ok();

    let denied = run(&mut varve_as(&pki, "nobody", &server, &["consume", "events"]));
    let denied = denied.fails(4, "\"nobody\" may not");
    assert!(denied.stderr.contains("PERMISSION_DENIED"), "{}", denied.stderr);
    run_with_input(&mut varve_as(&pki, "nobody", &server, &["produce", "events"]), b"b\n").fails(4, "nobody");

    pki.allow("p, root, *, *\np, nobody, events, consume\n");
    server.process.signal("HUP");
    wait_until("the new policy is in use", || {
        run(&mut varve_as(&pki, "nobody", &server, &["consume", "events"])).code == Some(0)
    });
}

#[test]
fn what_stands_between_client_and_server_is_said_and_is_4() {
    let (pki, other, dir) = (Pki::new(), Pki::named("another CA"), tempfile::tempdir().unwrap());
    let server = Server::start_secured(dir.path(), &pki);
    let topics =
        |pki: &Pki, name| run(varve_as(pki, name, &server, &["topic", "list"]).args(["--timeout", "1m"]));
    topics(&pki, "root").ok();

    // Its server is not trusted, before it is not trusted itself.
    let untrusted =
        topics(&other, "root").fails(4, "none of the authorities that are trusted here has issued it");
    assert!(untrusted.stderr.contains("hint: --tls-ca-file"), "{}", untrusted.stderr);
    let mut flags = other.flags("root");
    pki.path("ca.pem").to_str().unwrap().clone_into(&mut flags[1]);
    let refused = run(varve(&["topic", "list", "--server", &server.address]).args(flags));
    let refused = refused.fails(4, "it does not trust the authority that has issued this side's");
    assert!(refused.stderr.contains("hint: --tls-cert-file and --tls-key-file"), "{}", refused.stderr);

    pki.issue_client("late", EXPIRED);
    topics(&pki, "late").fails(4, "this side's certificate has expired");
    let clear = run(varve(&["topic", "list"]).args(["--server", &server.address]));
    let clear = clear.fails(4, "speaks TLS alone, and was called in the clear");
    assert!(clear.stderr.contains("--tls-ca-file, --tls-cert-file and --tls-key-file"), "{}", clear.stderr);

    let open = tempfile::tempdir().unwrap();
    let open = Server::start(open.path());
    let none = run(&mut varve_as(&pki, "root", &open, &["health"])).fails(4, "it serves in the clear");
    assert!(none.stderr.contains("leave out the --tls flags"), "{}", none.stderr);
}

#[test]
fn a_server_must_be_the_one_that_was_called() {
    let (pki, dir) = (Pki::new(), tempfile::tempdir().unwrap());
    pki.issue_server(&["varve.example"], NEW);
    let server = Server::start_secured(dir.path(), &pki);
    let wrong = server.run(&["topic", "list"]).fails(4, "varve.example");
    assert!(wrong.stderr.contains("--tls-server-name"), "{}", wrong.stderr);
    server.run(&["topic", "list", "--tls-server-name", "varve.example"]).ok();
    run(server.varve(&["topic", "list"]).env("VARVE_TLS_SERVER_NAME", "varve.example")).ok();
}

#[test]
fn a_server_whose_certificate_has_expired_is_refused_until_it_is_renewed() {
    let (pki, dir) = (Pki::new(), tempfile::tempdir().unwrap());
    pki.issue_server(&["127.0.0.1"], EXPIRED);
    let server = Server::start_secured(dir.path(), &pki);
    server.run(&["topic", "list"]).fails(4, "it has expired");
    pki.issue_server(&["127.0.0.1"], NEW);
    server.process.signal("HUP");
    wait_until("the new certificate is shown", || server.run(&["topic", "list"]).code == Some(0));
}

#[test]
fn a_context_with_certificates_works_from_any_directory() {
    let (pki, dir, home) = (Pki::new(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let server = Server::start_secured(dir.path(), &pki);
    let at = |directory: &std::path::Path, args: &[&str]| {
        let mut command = varve(args);
        command.env("XDG_CONFIG_HOME", home.path()).current_dir(directory);
        command
    };
    let files = ["--tls-ca-file", "ca.pem", "--tls-cert-file", "root.pem", "--tls-key-file", "root-key.pem"];
    let create = |directory, name| {
        let mut command = at(directory, &["context", "create", name, "--use", "--server", &server.address]);
        run(command.args(files))
    };
    create(home.path(), "nowhere").fails(5, "cannot read");
    create(pki.dir(), "here").ok();
    run(&mut at(dir.path(), &["topic", "list"])).ok();
    let shown = run(&mut at(dir.path(), &["context", "show"])).ok();
    for (what, file) in [("ca     ", "ca.pem"), ("cert   ", "root.pem"), ("key    ", "root-key.pem")] {
        let line = format!("{what} {}", pki.path(file).display());
        assert!(shown.text().contains(&line), "{line:?} is not in {}", shown.text());
    }
    let listed = run(&mut at(dir.path(), &["context", "list"])).ok();
    assert!(listed.text().contains(pki.path("root.pem").to_str().unwrap()), "{}", listed.text());

    // As somebody else, with the rest from the context.
    pki.issue_client("nobody", NEW);
    let mut other = at(pki.dir(), &["topic", "create", "events"]);
    other.args(["--tls-cert-file", "nobody.pem", "--tls-key-file", "nobody-key.pem"]);
    run(&mut other).fails(4, "nobody");
    let mut half = at(pki.dir(), &["topic", "list"]);
    run(half.args(["--tls-cert-file", "nobody.pem"]))
        .fails(2, "give --tls-key-file (VARVE_TLS_KEY_FILE) too");
    let mut mixed = at(pki.dir(), &["topic", "list"]);
    run(mixed.args(["--tls-cert-file", "nobody.pem", "--tls-key-file", "root-key.pem"]))
        .fails(2, "the key in root-key.pem is not that of the certificate in nobody.pem");
}

#[test]
fn a_server_with_half_of_it_does_not_start() {
    let (pki, dir) = (Pki::new(), tempfile::tempdir().unwrap());
    let start = |drop: &str, replace: Option<(&str, &str)>| {
        let mut flags = pki.server_flags();
        if let Some(at) = flags.iter().position(|flag| flag == drop) {
            flags.drain(at..at + 2);
        }
        if let Some((flag, value)) = replace {
            let at = flags.iter().position(|other| other == flag).unwrap();
            value.clone_into(&mut flags[at + 1]);
        }
        let mut command = varve(&["server", "--bootstrap", "--rpc-port", "0", "--data-dir"]);
        run(command.arg(dir.path().join("data")).args(flags))
    };
    let policy = start("--acl-policy-file", None).fails(2, "nothing says what they may do");
    assert!(policy.stderr.contains("hint: give an acl-policy-file"), "{}", policy.stderr);
    start("--server-tls-key-file", None).fails(2, "it takes server-tls-key-file beside it");
    let missing = start("", Some(("--server-tls-ca-file", "/nowhere.pem"))).fails(2, "/nowhere.pem");
    assert!(missing.stderr.contains("hint: "), "{}", missing.stderr);
    start("", Some(("--node-name", "node-2"))).fails(2, "it is that of node node-1, and this one is node-2");
    pki.allow("p, root, *, prodcue\n");
    start("", None).fails(2, "policy.csv, line 1: \"prodcue\" is no action");
}

/// Connections of a crowd, and file handles that the test needs for them and for itself.
const CROWD: usize = 5_000;
const HANDLES: u64 = CROWD as u64 + 500;

#[test]
fn a_crowd_that_says_nothing_or_half_of_something_holds_up_nobody() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    if maximum.is_some_and(|maximum| maximum < HANDLES) {
        let _ = writeln!(
            std::io::stderr(),
            "NOT RUN: a crowd of {CROWD}: the limit of open files is {maximum:?}"
        );
        return;
    }
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).unwrap();
    let (pki, dir) = (Pki::new(), tempfile::tempdir().unwrap());
    let server = Server::start_secured(dir.path(), &pki);
    server.produce(&["events"], b"before\n");
    let handles = || std::fs::read_dir(format!("/proc/{}/fd", server.process.id())).unwrap().count();
    let before = handles();
    let address = server.address.trim_start_matches("varve://");
    let mut crowd = Vec::new();
    for number in 0..CROWD {
        let mut one = TcpStream::connect(address).unwrap();
        if number % 2 == 0 {
            // It may be closed already: there are too many of them.
            let _ = one.write_all(b"\x16\x03\x01\x02");
        }
        crowd.push(one);
        if number % 1_000 == 999 {
            server.produce(&["events"], b"meanwhile\n");
        }
    }
    assert_eq!(
        server.run(&["consume", "events"]).ok().text(),
        "before\n".to_owned() + &"meanwhile\n".repeat(5)
    );
    wait_until("the crowd is closed", || handles() <= before + 50);
    assert_eq!(crowd.len(), CROWD, "it was not the crowd that hung up");
}
