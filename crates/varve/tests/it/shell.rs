//! Manners in a shell: pipes, colours, completion, versions.

use std::process::{Command, Stdio};

use crate::support::{Process, Server, run, varve};

#[test]
fn a_reader_that_has_seen_enough_is_no_error() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    // More than any pipe holds.
    let text: String = (0..200_000).map(|line| format!("line {line}\n")).collect();
    server.produce(&["events"], text.as_bytes());
    let mut consume = server.varve(&["consume", "events"]);
    let mut consume = Process::spawn(consume.stdout(Stdio::piped()).stderr(Stdio::piped()));
    let stderr = consume.stderr();
    let two_lines = {
        // It holds an end of the pipe until it is dropped.
        let mut head = Command::new("head");
        run(head.args(["-n", "2"]).stdin(consume.take_stdout()))
    };
    assert_eq!(two_lines.ok().text(), "line 0\nline 1\n");
    assert_eq!(consume.wait().code(), Some(0));
    assert_eq!(stderr.iter().count(), 0);
}

#[test]
fn completion_for_every_shell() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = run(&mut varve(&["completion", shell])).ok();
        assert!(script.text().contains("consume"), "{shell}");
    }
    let script = run(&mut varve(&["completion", "bash"])).ok();
    let mut bash = Command::new("bash");
    let checked = run(bash.args(["-n", "-c", script.text()]));
    assert_eq!(checked.code, Some(0), "{}", checked.stderr);
}

#[test]
fn version_is_told() {
    let version = run(&mut varve(&["version", "-o", "json"])).ok().json();
    assert_eq!(version["version"], env!("CARGO_PKG_VERSION"));
    let text = run(&mut varve(&["--version"])).ok();
    assert_eq!(text.text(), format!("varve {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn no_color_where_it_is_not_wanted() {
    // On a terminal of its own, which `script` gives it.
    let on_terminal = |setting: (&str, &str)| {
        let mut script = Command::new("script");
        let command = format!("{} health --server varve://127.0.0.1:1", env!("CARGO_BIN_EXE_varve"));
        script.args(["-q", "-e", "-c", &command, "/dev/null"]).env("TERM", "xterm").env(setting.0, setting.1);
        script.stdin(Stdio::null());
        run(&mut script).text().to_owned()
    };
    if Command::new("script").arg("--version").output().is_err() {
        eprintln!("skipped: there is no `script` here");
        return;
    }
    assert!(on_terminal(("NO_COLOR", "")).contains("\u{1b}[1;31merror:"), "a terminal has no colour");
    assert!(!on_terminal(("NO_COLOR", "1")).contains('\u{1b}'), "NO_COLOR has colour");
    let piped = run(&mut varve(&["health", "--server", "varve://127.0.0.1:1"]));
    assert!(!piped.stderr.contains('\u{1b}'), "a pipe has colour");
}

#[test]
fn a_server_logs_json_where_there_is_no_terminal() {
    let dir = tempfile::tempdir().unwrap();
    let mut server = Server::start(dir.path());
    assert_eq!(server.ready["message"], "ready");
    assert_eq!(server.ready["version"], env!("CARGO_PKG_VERSION"));
    server.process.signal("INT");
    assert_eq!(server.process.wait().code(), Some(0));
}

#[test]
fn the_bench_cleans_up() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let args =
        ["bench", "--records", "500", "--singles", "5", "--size", "100", "--producers", "2", "-o", "json"];
    let figures = server.run(&args).ok().json();
    let counts: Vec<_> =
        figures.as_array().unwrap().iter().map(|row| row["records"].as_u64().unwrap()).collect();
    // The first single opens the stream; it is read back, too.
    assert_eq!(counts, [5, 500, 506]);
    assert_eq!(server.run(&["topic", "list", "-o", "raw"]).ok().text(), "");
}
