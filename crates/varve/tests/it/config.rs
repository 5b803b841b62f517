//! The server's configuration.

use crate::support::{Server, run, varve};

#[test]
fn flags_win_over_the_environment_and_that_over_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("v.yaml");
    let data = dir.path().join("data");
    let text = format!("data-dir: {}\nbootstrap: true\nrpc-port: 1\nnode-name: file\n", data.display());
    std::fs::write(&file, text).unwrap();
    let mut command = varve(&["server", "--rpc-port", "0"]);
    command.env("VARVE_CONFIG_FILE", &file).env("VARVE_NODE_NAME", "environment").env("VARVE_RPC_PORT", "2");
    let server = Server::start_command(&mut command);
    assert_eq!(server.ready["data_dir"], data.to_str().unwrap());
    let health = server.run(&["health", "-o", "json"]).ok().json();
    assert_eq!(health["servers"][0]["name"], "environment");
    assert_eq!(health["ready"], true);
}

#[test]
fn unknown_keys_are_named_with_their_place_and_the_nearest() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("v.yaml");
    std::fs::write(&file, "data-dir: /tmp/v\nbootstap: true\n").unwrap();
    let file = file.to_str().unwrap();
    let says = format!("{file}:2:1: there is no setting \"bootstap\": did you mean \"bootstrap\"?");
    run(&mut varve(&["server", "--config-file", file])).fails(2, &says);

    let mut command = varve(&["server", "--data-dir", "/tmp/v"]);
    let says = "VARVE_RPC_PROT: there is no setting \"rpc-prot\": did you mean \"rpc-port\"?";
    run(command.env("VARVE_RPC_PROT", "1")).fails(2, says);

    let flag = run(&mut varve(&["server", "--dta-dir", "/tmp/v"])).fails(2, "--dta-dir");
    assert!(flag.stderr.contains("--data-dir"), "{}", flag.stderr);
}

#[test]
fn wrong_values_are_named_with_their_place() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("v.yaml");
    std::fs::write(&file, "segment-bytes: much\ndata-dir: /tmp/v\n").unwrap();
    let says = format!("{}:1:1: segment-bytes: \"much\" is no size", file.display());
    run(&mut varve(&["server", "--config-file", file.to_str().unwrap()])).fails(2, &says);

    run(&mut varve(&["server", "--data-dir", "/tmp/v", "--rpc-port", "x"]))
        .fails(2, "--rpc-port: \"x\" is no port");
    run(&mut varve(&["server"])).fails(2, "data-dir is not set");
    run(&mut varve(&["server", "--config-file", "/nowhere.yaml"])).fails(2, "/nowhere.yaml");
    let open =
        run(&mut varve(&["server", "--data-dir", "/tmp/v", "--bind-addr", "0.0.0.0", "--rpc-port", "0"]));
    open.fails(2, "nothing would be encrypted");
}

#[test]
fn joining_and_making_a_cluster_exclude_each_other() {
    let join = ["server", "--data-dir", "/tmp/v", "--start-join-addrs", "127.0.0.1:8401"];
    let no_key = run(&mut varve(&join)).fails(2, "--start-join-addrs: joining takes a gossip-key-file");
    assert!(no_key.stderr.contains("`varve gossip keygen FILE`"), "{}", no_key.stderr);
    let both = run(varve(&join).args(["--gossip-key-file", "/key", "--bootstrap"]));
    assert!(both.fails(2, "--bootstrap: ").stderr.contains("hint: give bootstrap to the first node alone"));
    let twice = run(varve(&join).args(["--start-join-addrs", "nowhere"]));
    twice.fails(2, "--start-join-addrs: \"nowhere\" is no address: write HOST:PORT");
}
