//! Clusters: of one node, of three by `varve dev`, and of servers started by hand.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::Receiver;
use std::time::Instant;

use serde_json::Value;

use crate::support::{
    DEADLINE, Finished, Process, Server, free_port, loopback_of_its_own, run, run_with_input, varve,
    wait_until,
};

/// A cluster by `varve dev`, of a user with a home of its own.
struct Dev {
    process: Process,
    stderr: Receiver<Vec<u8>>,
    /// Name, process id.
    nodes: Vec<(String, String)>,
    address: String,
    config: PathBuf,
    /// What it said on standard output.
    said: Vec<String>,
}

impl Dev {
    fn start(home: &Path, args: &[&str]) -> Self {
        let config = home.join("config");
        let mut command = varve(&["dev", "--port", "0"]);
        command.args(args).env("XDG_CONFIG_HOME", &config).env("TMPDIR", home);
        let mut process = Process::spawn(command.stdout(Stdio::piped()).stderr(Stdio::piped()));
        let (stdout, stderr) = (process.stdout(), process.stderr());
        let mut dev =
            Self { process, stderr, nodes: Vec::new(), address: String::new(), config, said: Vec::new() };
        let deadline = Instant::now() + DEADLINE;
        loop {
            let Ok(line) = stdout.recv_timeout(deadline - Instant::now()) else {
                let said: Vec<u8> = dev.stderr.try_iter().flatten().collect();
                panic!("the cluster is not ready: {}", String::from_utf8_lossy(&said));
            };
            let line = String::from_utf8(line).unwrap();
            dev.said.push(line.clone());
            let words: Vec<&str> = line.split_whitespace().collect();
            match words.as_slice() {
                ["ready", "after", .., address] => dev.address = (*address).to_owned(),
                [_, name, _, _, pid, log] if log.ends_with(".log") => {
                    dev.nodes.push(((*name).to_owned(), (*pid).to_owned()));
                }
                ["Ctrl-C", ..] => return dev,
                _ => {}
            }
        }
    }

    /// A command of this user's, which needs no flags.
    fn varve(&self, args: &[&str]) -> Command {
        let mut command = varve(args);
        command.env("XDG_CONFIG_HOME", &self.config);
        command
    }

    fn run(&self, args: &[&str]) -> Finished {
        run(&mut self.varve(args))
    }

    /// Runs the command among those that it has said which has this in it, as it was said.
    fn run_what_is_said(&self, what: &str) -> Finished {
        let command = self.said.iter().find(|line| line.contains(what)).unwrap();
        let mut shell = Command::new("sh");
        run(shell.args(["-c", command.trim()]).stdin(Stdio::null()).env("XDG_CONFIG_HOME", &self.config))
    }

    fn json(&self, args: &[&str]) -> Value {
        self.run(&[args, &["-o", "json"]].concat()).ok().json()
    }

    fn pid(&self, name: &str) -> &str {
        &self.nodes.iter().find(|(node, _)| node == name).unwrap().1
    }

    /// Waits for a line on standard error with this in it.
    fn says(&self, what: &str) -> String {
        let deadline = Instant::now() + DEADLINE;
        let mut said = String::new();
        loop {
            let line = self.stderr.recv_timeout(deadline - Instant::now());
            let line =
                String::from_utf8(line.unwrap_or_else(|_| panic!("{what:?} is not in: {said}"))).unwrap();
            if line.contains(what) {
                return line;
            }
            said.push_str(&line);
        }
    }

    fn stop(mut self) {
        self.process.signal("INT");
        assert_eq!(self.process.wait().code(), Some(0));
        self.nodes.iter().for_each(|(_, pid)| assert!(!runs(pid), "process {pid} runs still"));
    }
}

fn runs(pid: &str) -> bool {
    Command::new("kill").args(["-s", "0", pid]).stderr(Stdio::null()).status().unwrap().success()
}

#[test]
fn one_node_is_a_cluster() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    server.run(&["topic", "create", "events", "--partitions", "2"]).ok();
    // Its partitions elect their leaders after it was made.
    server.run(&["cluster", "health", "--wait"]).ok();
    let info = server.run(&["cluster", "info", "-o", "json"]).ok().json();
    assert_eq!(info["servers"], 1);
    assert_eq!(info["servers_alive"], 1);
    assert_eq!(info["controller_leader"], 1);
    assert_eq!((&info["topics"], &info["partitions"]), (&1.into(), &2.into()));
    assert_eq!(info["healthy"], true, "{info}");
    let text = server.run(&["cluster", "info"]).ok();
    assert!(text.text().contains("servers     1, all alive\n"), "{}", text.text());

    let members = server.run(&["cluster", "members", "-o", "json"]).ok().json();
    let member = &members[0];
    assert_eq!((&member["id"], &member["state"]), (&1.into(), &"active".into()));
    assert_eq!((&member["alive"], &member["controller_leader"]), (&true.into(), &true.into()));
    assert_eq!((&member["replicas"], &member["leaders"]), (&2.into(), &2.into()));
    let raw = server.run(&["cluster", "members", "-o", "raw"]).ok();
    assert_eq!(format!("varve://{}", raw.text().trim_end()), server.address);

    let warned = "- warning: topic events asks for 3 copies, and there is only 1 server\n";
    let text = server.run(&["cluster", "health"]).ok();
    let counts = "2 partitions: 2 with fewer copies than asked for\n";
    assert_eq!(text.text(), format!("healthy\n{warned}{counts}"));
    server.run(&["cluster", "health", "--strict"]).fails(9, "not healthy: 1 warning");
    let json = server.run(&["cluster", "health", "-o", "json"]).ok().json();
    assert_eq!((&json["healthy"], &json["short_partitions"]), (&true.into(), &2.into()));
    let described = server.run(&["topic", "describe", "events", "-o", "json"]).ok().json();
    assert_eq!(described["partitions"][0]["under_replicated"], false);
    assert_eq!(described["partitions"][0]["leaving"], Value::Array(Vec::new()));
}

#[test]
fn what_one_node_cannot_do_is_refused_with_reasons() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start_with(dir.path(), &["--rpc-port", "0", "--node-name", "node-1"]);
    server.run(&["topic", "create", "events"]).ok();
    let near =
        server.run(&["cluster", "decommission", "node-2"]).fails(5, "the cluster has no server node-2");
    assert!(near.stderr.contains("did you mean node-1?"), "{}", near.stderr);
    server.run(&["cluster", "decommission", "7"]).fails(5, "the cluster has no server 7");
    server.run(&["cluster", "decommission", "1"]).fails(6, "CHANGE_REFUSED");
    server.run(&["cluster", "transfer-leadership", "events", "0"]).fails(6, "CHANGE_REFUSED");
    server.run(&["cluster", "transfer-leadership", "events", "0", "--to", "9"]).fails(5, "no server 9");
    server.run(&["cluster", "transfer-leadership", "events", "9"]).fails(5, "partition 9");
    let near = server.run(&["cluster", "transfer-leadership", "evnets", "0"]).fails(5, "no topic evnets");
    assert!(near.stderr.contains("did you mean events?"), "{}", near.stderr);
    server.run(&["cluster", "init"]).fails(6, "CLUSTER_EXISTS");
}

#[test]
fn dev_runs_one_node_too() {
    let home = tempfile::tempdir().unwrap();
    let dev = Dev::start(home.path(), &["--nodes", "1"]);
    assert_eq!(dev.json(&["cluster", "info"])["servers"], 1);
    run_with_input(&mut dev.varve(&["produce", "events"]), b"a\n").ok();
    assert_eq!(dev.run(&["consume", "events"]).ok().text(), "a\n");
    dev.stop();
}

#[test]
fn dev_leaves_nothing_behind() {
    let home = tempfile::tempdir().unwrap();
    let dev = Dev::start(home.path(), &["--nodes", "1"]);
    let context = dev.json(&["context", "show"]);
    assert_eq!((&context["name"], &context["server"]), (&"dev".into(), &dev.address.as_str().into()));
    let config = dev.config.clone();
    dev.stop();
    let mut list = varve(&["context", "list", "-o", "raw"]);
    assert_eq!(run(list.env("XDG_CONFIG_HOME", config)).ok().text(), "");
    let left: Vec<_> =
        std::fs::read_dir(home.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["config"]);
}

#[test]
fn dev_keeps_what_the_user_has_selected() {
    let home = tempfile::tempdir().unwrap();
    let config = home.path().join("config");
    let as_user = |args: &[&str]| run(varve(args).env("XDG_CONFIG_HOME", &config)).ok();
    as_user(&["context", "create", "prod", "--server", "varve://127.0.0.1:1", "--use"]);
    let dev = Dev::start(home.path(), &["--nodes", "1"]);
    dev.run(&["cluster", "info"]).fails(3, "(context prod)");
    dev.run(&["cluster", "info", "--context", "dev"]).ok();
    dev.stop();
    assert_eq!(as_user(&["context", "list", "-o", "raw"]).text(), "prod\n");

    as_user(&["context", "create", "dev", "--server", "varve://127.0.0.1:2", "--use"]);
    let dev = Dev::start(home.path(), &["--nodes", "1"]);
    dev.run_what_is_said(" cluster members ").ok();
    dev.stop();
    assert!(as_user(&["context", "show"]).text().contains("varve://127.0.0.1:2"));
}

#[test]
fn a_node_that_is_killed_is_told_and_comes_back_by_what_is_said() {
    let home = tempfile::tempdir().unwrap();
    let dev = Dev::start(home.path(), &["--nodes", "1"]);
    run_with_input(&mut dev.varve(&["produce", "events"]), b"a\n").ok();
    assert!(Command::new("kill").args(["-s", "KILL", dev.pid("node-1")]).status().unwrap().success());
    let told = dev.says("node-1 ended");
    assert!(told.contains("(signal: 9 (SIGKILL)); none is left"), "{told}");
    let command = dev.says(" server --data-dir ");
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("exec {}", command.trim())]);
    let mut by_hand = Server::start_command(&mut shell);
    assert_eq!(dev.run(&["consume", "events"]).ok().text(), "a\n");
    by_hand.process.signal("TERM");
    assert_eq!(by_hand.process.wait().code(), Some(0));
    dev.stop();
}

#[test]
fn no_node_outlives_dev() {
    let home = tempfile::tempdir().unwrap();
    let mut dev = Dev::start(home.path(), &["--nodes", "1"]);
    dev.process.kill();
    let nodes = std::mem::take(&mut dev.nodes);
    wait_until("its nodes stop", || nodes.iter().all(|(_, pid)| !runs(pid)));
}

#[test]
fn dev_brings_up_three_nodes_that_replicate() {
    let home = tempfile::tempdir().unwrap();
    let dev = Dev::start(home.path(), &[]);
    assert_eq!(dev.nodes.len(), 3);
    let members = dev.json(&["cluster", "members"]);
    let members = members.as_array().unwrap();
    assert_eq!(members.len(), 3);
    for member in members {
        assert_eq!((&member["alive"], &member["controller_voter"]), (&true.into(), &true.into()), "{member}");
    }
    dev.run(&["topic", "create", "events", "--partitions", "3", "--replication-factor", "3"]).ok();
    dev.run(&["cluster", "health", "--wait"]).ok();
    let text: String = (0..1000).map(|line| format!("{line}\n")).collect();
    run_with_input(&mut dev.varve(&["produce", "events", "-P", "0"]), text.as_bytes()).ok();
    assert_eq!(dev.run(&["consume", "events", "-P", "0"]).ok().text(), text);
    let described = dev.json(&["topic", "describe", "events"]);
    for partition in described["partitions"].as_array().unwrap() {
        assert_eq!(partition["replicas"].as_array().unwrap().len(), 3, "{partition}");
        assert_eq!(partition["under_replicated"], false, "{partition}");
    }
    dev.stop();
}

#[test]
fn the_others_go_on_when_a_node_is_killed() {
    let home = tempfile::tempdir().unwrap();
    let dev = Dev::start(home.path(), &[]);
    dev.run(&["topic", "create", "events", "--replication-factor", "3"]).ok();
    dev.run(&["cluster", "health", "--wait"]).ok();
    run_with_input(&mut dev.varve(&["produce", "events"]), b"before\n").ok();
    // The leader, so that another has to take over.
    let leader = dev.json(&["topic", "describe", "events"])["partitions"][0]["leader"].clone();
    let members = dev.json(&["cluster", "members"]);
    let member = members.as_array().unwrap().iter().find(|member| member["id"] == leader).unwrap();
    let name = member["name"].as_str().unwrap();
    assert!(Command::new("kill").args(["-s", "KILL", dev.pid(name)]).status().unwrap().success());
    let told = dev.says(&format!("{name} ended"));
    assert!(told.contains("; 2 of 3 go on"), "{told}");
    let command = dev.says(" server --data-dir ");

    run_with_input(&mut dev.varve(&["produce", "events"]), b"after\n").ok();
    assert_eq!(dev.run(&["consume", "events"]).ok().text(), "before\nafter\n");
    wait_until("its death is seen", || {
        let described = dev.run(&["topic", "describe", "events"]).ok();
        described.text().contains("under-replicated (2 of 3 alive)")
    });
    let health = dev.run(&["cluster", "health"]).fails(9, "the cluster is not healthy");
    assert!(health.text().starts_with("unhealthy\n- ") && health.text().contains(name), "{}", health.text());

    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("exec {}", command.trim())]);
    let mut by_hand = Server::start_command(&mut shell);
    dev.run(&["cluster", "health", "--wait"]).ok();
    by_hand.process.signal("TERM");
    assert_eq!(by_hand.process.wait().code(), Some(0));
    dev.stop();
}

#[test]
fn a_cluster_is_secured_from_its_first_second() {
    let home = tempfile::tempdir().unwrap();
    let data = home.path().join("data");
    let dev = Dev::start(home.path(), &["--data-dir", data.to_str().unwrap()]);
    assert_eq!(mode(&data), 0o700);
    let keys = ["ca", "node-1", "node-2", "node-3", "root", "nobody"];
    for key in keys {
        assert_eq!(mode(&data.join(format!("certs/{key}-key.pem"))), 0o600, "{key}");
    }
    assert_eq!(mode(&data.join("gossip.key")), 0o600);
    run_with_input(&mut dev.varve(&["produce", "events"]), b"a\n").ok();
    let mut in_clear = varve(&["topic", "list"]);
    run(in_clear.args(["--server", &dev.address])).fails(4, "speaks TLS alone");

    dev.run_what_is_said("nobody-key.pem").fails(4, "\"nobody\" may not");

    let key = std::fs::read(data.join("certs/root-key.pem")).unwrap();
    dev.stop();
    let dev = Dev::start(home.path(), &["--data-dir", data.to_str().unwrap()]);
    assert_eq!(std::fs::read(data.join("certs/root-key.pem")).unwrap(), key);
    assert_eq!(dev.run(&["consume", "events"]).ok().text(), "a\n");
    dev.stop();
}

#[test]
fn a_cluster_in_the_clear_has_to_be_asked_for() {
    let home = tempfile::tempdir().unwrap();
    let dev = Dev::start(home.path(), &["--nodes", "1", "--insecure"]);
    dev.says("warning: nothing is encrypted");
    assert!(!dev.said.iter().any(|line| line.contains("--tls-")), "{:?}", dev.said);
    run(varve(&["topic", "list"]).args(["--server", &dev.address])).ok();
    dev.stop();
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn the_same_cluster_comes_back() {
    let home = tempfile::tempdir().unwrap();
    let data = home.path().join("data");
    let args = ["--data-dir", data.to_str().unwrap()];
    let dev = Dev::start(home.path(), &args);
    let cluster = dev.json(&["cluster", "info"])["cluster_id"].clone();
    dev.run(&["topic", "create", "events", "--replication-factor", "3"]).ok();
    run_with_input(&mut dev.varve(&["produce", "events"]), b"a\nb\n").ok();
    dev.stop();

    let dev = Dev::start(home.path(), &args);
    assert_eq!(dev.nodes.len(), 3);
    let info = dev.json(&["cluster", "info"]);
    assert_eq!((&info["cluster_id"], &info["servers"]), (&cluster, &3.into()));
    assert_eq!(dev.run(&["consume", "events"]).ok().text(), "a\nb\n");
    dev.stop();
    let two_fewer = ["dev", "--nodes", "1", "--data-dir", args[1]];
    run(&mut varve(&two_fewer)).fails(2, "holds a cluster of 3 nodes, not 1");
}

#[test]
fn leadership_goes_where_it_is_told() {
    let home = tempfile::tempdir().unwrap();
    let dev = Dev::start(home.path(), &[]);
    dev.run(&["topic", "create", "events", "--replication-factor", "3"]).ok();
    dev.run(&["cluster", "health", "--wait"]).ok();
    for name in ["node-1", "node-2", "node-3"] {
        let moved = dev.run(&["cluster", "transfer-leadership", "events", "0", "--to", name]).ok();
        assert!(moved.stderr.contains(&format!("({name}) leads events/0 now")), "{}", moved.stderr);
        let moved = dev.run(&["cluster", "transfer-leadership", "--controller", "--to", name]).ok();
        assert!(moved.stderr.contains(&format!("({name}) leads the controller now")), "{}", moved.stderr);
        let line = format!("{name}\n");
        run_with_input(&mut dev.varve(&["produce", "events"]), line.as_bytes()).ok();
    }
    assert_eq!(dev.run(&["consume", "events"]).ok().text(), "node-1\nnode-2\nnode-3\n");
    dev.run(&["cluster", "transfer-leadership", "events", "0"]).ok();
    dev.stop();
}

#[test]
fn a_server_is_taken_away_with_everything_moved_off_it() {
    let home = tempfile::tempdir().unwrap();
    let dev = Dev::start(home.path(), &["--nodes", "5"]);
    dev.run(&["topic", "create", "events", "--partitions", "5", "--replication-factor", "3"]).ok();
    dev.run(&["cluster", "health", "--wait"]).ok();
    run_with_input(&mut dev.varve(&["produce", "events", "-P", "0"]), b"a\n").ok();
    let gone = dev.run(&["cluster", "decommission", "node-5", "--wait=2m"]).ok();
    assert!(gone.stderr.contains("(node-5) is being drained: "), "{}", gone.stderr);
    assert!(gone.stderr.contains("(node-5) has left the cluster"), "{}", gone.stderr);
    let members = dev.json(&["cluster", "members"]);
    assert!(members.as_array().unwrap().iter().all(|member| member["name"] != "node-5"), "{members}");
    assert_eq!(dev.run(&["consume", "events", "-P", "0"]).ok().text(), "a\n");

    dev.run(&["cluster", "decommission", "node-4"]).ok();
    dev.run(&["cluster", "decommission", "node-4", "--cancel"]).ok();
    let members = dev.json(&["cluster", "members"]);
    let back = members.as_array().unwrap().iter().find(|member| member["name"] == "node-4").unwrap();
    assert_eq!(back["state"], "active");
    dev.run(&["cluster", "health", "--wait"]).ok();
    dev.stop();
}

#[test]
fn servers_started_alike_become_a_cluster_once_one_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let key = dir.path().join("gossip.key");
    run(&mut varve(&["gossip", "keygen", key.to_str().unwrap()])).ok();
    let host = loopback_of_its_own();
    let addrs = || -> Vec<String> { (0..3).map(|_| format!("{host}:{}", free_port(host))).collect() };
    let (gossip, rpc) = (addrs(), addrs());
    let join = gossip.join(",");
    // They are not ready before they have a cluster, so that nothing is waited for.
    let _servers: Vec<Process> = (0..3)
        .map(|index| {
            let port = rpc[index].rsplit(':').next().unwrap();
            let mut command = varve(&["server", "--rpc-port", port, "--start-join-addrs", &join]);
            command.arg("--data-dir").arg(dir.path().join(format!("data-{index}")));
            command.arg("--gossip-key-file").arg(&key).args(["--bind-addr", &gossip[index]]);
            command.args(["--node-name", &format!("s{index}")]);
            Process::spawn(command.stdout(Stdio::null()).stderr(Stdio::null()))
        })
        .collect();
    let at = |index: usize, args: &[&str]| run(varve(args).env("VARVE_SERVER", &rpc[index]));
    let mut hint = String::new();
    wait_until("it says that it has no cluster", || {
        hint = at(0, &["topic", "list", "--timeout", "2s"]).stderr;
        hint.contains("NOT_INITIALIZED")
    });
    assert!(hint.contains("varve cluster init"), "{hint}");
    let made = at(0, &["cluster", "init"]).ok();
    assert!(made.stderr.starts_with("made cluster "), "{}", made.stderr);
    wait_until("all three are members", || {
        at(0, &["cluster", "members", "-o", "raw"]).text().lines().count() == 3
    });
    (0..3).for_each(|index| drop(at(index, &["cluster", "health", "--wait"]).ok()));
    at(2, &["cluster", "init"]).fails(6, "CLUSTER_EXISTS");
}
