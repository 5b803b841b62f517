//! A cluster of three processes under load, while one thing or another happens to them. Nothing that was acknowledged is lost,
//! nothing is twice, nobody reads what is not so, and no client is told of any of it.
//!
//! [`Fleet`] is the processes, [`Load`] the clients, [`Recorder`] what they saw, which `varve-check` judges in the end.

mod direct;
mod fleet;
mod full_disk;
mod growth;
mod load;
mod network;
mod overload;
mod partitions;
mod paused;
mod recorder;
mod small_disk;

use std::process::Stdio;

use self::fleet::Fleet;
use self::load::{Load, Total};
use crate::support::{Process, run, wait_until};

const TOPIC: &str = "events";

/// Appends that are acknowledged between one fault and the next.
const BETWEEN: u64 = 300;

// What was under way when the fault came is not enough.
const _: () = assert!(BETWEEN > load::UNDER_WAY_MAX);

/// Lines of the file that is produced: about 12 MB.
const LINES: usize = 100_000;
/// Records at which its produce is under way, and far from done.
const MIDDLE: u64 = 10_000;

#[test]
fn a_produce_goes_on_when_the_leader_is_killed() {
    let mut fleet = Fleet::with_topic(TOPIC);
    fleet.make_topic("big");
    let (file, text) = (fleet.path("big.log"), big_log());
    std::fs::write(&file, &text).unwrap();
    let load = Load::start(&fleet, TOPIC);
    load.go_on_for(BETWEEN);

    let mut produce = fleet.varve(&["produce", "big", "-o", "json", "--timeout", "100s"]);
    let mut produce = Process::spawn(produce.arg(&file).stdout(Stdio::piped()).stderr(Stdio::null()));
    let stdout = produce.stdout();
    wait_until("the file's produce is under way", || end_of(&fleet, "big") >= MIDDLE);
    let leader = fleet.leader_of("big");
    assert!(produce.runs(), "it is done before anything has happened");
    fleet.kill(&[&leader]);
    load.go_on_for(BETWEEN);
    show_gap(&load, "a leader is killed");
    fleet.start(&leader);
    // Also the one who leads what the load writes, if that was another.
    let leader = fleet.leader_of(TOPIC);
    fleet.wait_until_healthy();
    fleet.kill(&[&leader]);
    load.go_on_for(BETWEEN);
    show_gap(&load, "the leader is killed");

    assert_eq!(produce.wait().code(), Some(0));
    let summary: Vec<u8> = stdout.iter().flatten().collect();
    let summary: serde_json::Value = serde_json::from_slice(&summary).unwrap();
    assert_eq!(summary["records"], LINES);
    assert!(consumed(&fleet, "big") == text, "what is kept differs from what was sent");
    fleet.start(&leader);
    judge(load, &fleet, 2, 3 * BETWEEN);
}

#[test]
fn followers_are_killed_and_come_back() {
    let mut fleet = Fleet::with_topic(TOPIC);
    let load = Load::start(&fleet, TOPIC);
    load.go_on_for(BETWEEN);
    // Each of them in turn, so that what is acknowledged meanwhile rests on the one that came back before.
    for follower in fleet.followers_of(TOPIC) {
        fleet.kill(&[&follower]);
        load.go_on_for(BETWEEN);
        fleet.start(&follower);
        fleet.wait_until_healthy();
        load.go_on_for(BETWEEN);
    }
    judge(load, &fleet, 2, 5 * BETWEEN);
}

#[test]
fn all_are_restarted_one_after_the_other() {
    let mut fleet = Fleet::with_topic(TOPIC);
    let load = Load::start(&fleet, TOPIC);
    load.go_on_for(BETWEEN);
    for name in ["n1", "n2", "n3"] {
        fleet.stop(name);
        load.go_on_for(BETWEEN);
        fleet.start(name);
        fleet.wait_until_healthy();
        load.go_on_for(BETWEEN);
    }
    judge(load, &fleet, 3, 7 * BETWEEN);
}

#[test]
fn a_node_joins_and_another_is_taken_away() {
    let mut fleet = Fleet::with_topic(TOPIC);
    let load = Load::start(&fleet, TOPIC);
    load.go_on_for(BETWEEN);
    fleet.join("n4");
    load.go_on_for(BETWEEN);
    let leader = fleet.leader_of(TOPIC);
    fleet.run(&["cluster", "decommission", &leader, "--wait=2m"]).ok();
    load.go_on_for(BETWEEN);
    fleet.stop(&leader);
    load.go_on_for(BETWEEN);
    assert!(fleet.replicas_of(TOPIC).contains(&"n4".to_owned()));
    judge(load, &fleet, 2, 4 * BETWEEN);
}

#[test]
fn a_node_that_lost_its_disk_comes_back_as_a_new_one() {
    let mut fleet = Fleet::with_topic(TOPIC);
    let load = Load::start(&fleet, TOPIC);
    load.go_on_for(BETWEEN);
    let lost = fleet.leader_of(TOPIC);
    let id_before = fleet.id_of(&lost);
    fleet.kill(&[&lost]);
    fleet.wipe(&lost);
    load.go_on_for(BETWEEN);
    fleet.start(&lost);
    fleet.wait_until_healthy();
    let id = fleet.id_of(&lost);
    assert!(id > id_before, "the node has its id {id_before} still");
    wait_until("the new node is a replica in place of the old", || {
        let replicas = fleet.partition_of(TOPIC)["replicas"].clone();
        let has = |id: u64| replicas.as_array().unwrap().contains(&id.into());
        has(id) && !has(id_before)
    });
    load.go_on_for(BETWEEN);
    judge(load, &fleet, 2, 3 * BETWEEN);
}

#[test]
fn all_are_killed_at_once() {
    let mut fleet = Fleet::with_topic(TOPIC);
    let load = Load::start(&fleet, TOPIC);
    load.go_on_for(BETWEEN);
    for _ in 0..2 {
        fleet.kill(&["n1", "n2", "n3"]);
        fleet.start_all(&["n1", "n2", "n3"]);
        load.go_on_for(BETWEEN);
    }
    judge(load, &fleet, 6, 3 * BETWEEN);
}

/// Ends the load, judges what it saw against the log of each replica, and makes sure that it saw enough to judge by.
fn judge(load: Load, fleet: &Fleet, faults_min: u32, acknowledged_min: u64) {
    judge_on(load, fleet, 3, faults_min, acknowledged_min);
}

/// As [`judge`], where so many nodes have the log.
fn judge_on(load: Load, fleet: &Fleet, copies: usize, faults_min: u32, acknowledged_min: u64) {
    let faults = fleet.faults();
    assert!(faults >= faults_min, "only {faults} things were done to the nodes");
    fleet.wait_until_healthy();
    let replicas = fleet.replicas_of(TOPIC);
    assert_eq!(replicas.len(), copies);
    let Total { acknowledged, followed, log } = load.finish(fleet, &replicas);
    assert!(acknowledged >= acknowledged_min, "only {acknowledged} appends were acknowledged");
    assert_eq!(followed, log.len() as u64);
    assert!(followed >= acknowledged, "{followed} records, {acknowledged} acknowledged");
    eprintln!("{faults} faults, {acknowledged} appends were acknowledged, {followed} records followed");
}

/// Says how long no append was acknowledged, and begins anew.
fn show_gap(load: &Load, meanwhile: &str) {
    eprintln!("{meanwhile}: for {:?} nothing was acknowledged", load.recorder().take_gap());
}

fn big_log() -> Vec<u8> {
    let line = |number: usize| format!("{number:09} {}\n", "x".repeat(number % 211));
    (0..LINES).map(line).collect::<String>().into_bytes()
}

/// The offset after the last record of partition 0, as far as the answering node knows.
fn end_of(fleet: &Fleet, topic: &str) -> u64 {
    fleet.partition_of(topic)["high_watermark"].as_u64().unwrap_or(0)
}

fn consumed(fleet: &Fleet, topic: &str) -> Vec<u8> {
    run(&mut fleet.varve(&["consume", topic, "--from", "start"])).ok().stdout
}
