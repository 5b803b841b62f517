//! A network that is broken in one way or another, with a node on each host and the clients on one more.

use std::time::Duration;

use super::direct::Direct;
use super::fleet::{Fleet, wait_for_ready};
use super::load::Load;
use super::network::on_network;
use super::{BETWEEN, TOPIC, judge, show_gap};

const HOSTS: [&str; 3] = ["n1", "n2", "n3"];
/// Reads, and as many appends, that a node is asked for that may grant none.
const CALLS: u64 = 8;
/// How long a client waits for one of them: as long as a leader that no majority answers goes on saying that it leads, and
/// more.
const PATIENCE: Duration = Duration::from_secs(4);
/// Elections that one break of the network may cost: not one each time that somebody is not heard.
const TERMS_MAX: u64 = 3;
/// How often a cable is pulled.
const FLAPS: u32 = 10;

#[test]
fn a_leader_that_is_cut_off_with_clients_grants_nothing() {
    on_network(&HOSTS, |network| {
        let mut fleet = Fleet::on_network(network, TOPIC);
        let load = Load::start(&fleet, TOPIC);
        let mut direct = Direct::new(&load);
        load.go_on_for(BETWEEN);
        for _ in 0..2 {
            let leader = fleet.leader_of(TOPIC);
            let server = direct.connect(&fleet.rpc_addr(&leader));
            fleet.isolate(&leader);
            let before = direct.ask(&server, CALLS, PATIENCE);
            load.go_on_for(BETWEEN);
            show_gap(&load, "the leader is cut off from the others");
            assert_ne!(fleet.leader_of(TOPIC), leader);
            let after = direct.ask(&server, CALLS, PATIENCE);
            load.go_on_for(BETWEEN);
            assert_eq!(direct.granted(before) + direct.granted(after), 0, "without a majority");
            fleet.heal();
            fleet.wait_until_healthy();
            load.go_on_for(BETWEEN);
        }
        judge(load, &fleet, 2, 7 * BETWEEN);
    });
}

#[test]
fn without_a_majority_nothing_is_granted_and_with_it_all_goes_on() {
    on_network(&HOSTS, |network| {
        let mut fleet = Fleet::on_network(network, TOPIC);
        let load = Load::start(&fleet, TOPIC);
        let mut direct = Direct::new(&load);
        load.go_on_for(BETWEEN);
        let servers = HOSTS.map(|name| direct.connect(&fleet.rpc_addr(name)));
        HOSTS.iter().for_each(|name| fleet.isolate(name));
        // What was granted before may be on its way to the clients still. A whole round of refusals later it is not.
        let round = |direct: &mut Direct<'_>| {
            let asked = servers.each_ref().map(|server| direct.ask(server, CALLS, PATIENCE));
            asked.into_iter().map(|calls| direct.granted(calls)).sum::<usize>()
        };
        assert_eq!(round(&mut direct), 0, "without a majority");
        let acknowledged = load.acknowledged();
        assert_eq!(round(&mut direct), 0, "without a majority");
        assert_eq!(load.acknowledged(), acknowledged);
        fleet.heal();
        load.go_on_for(BETWEEN);
        fleet.wait_until_healthy();
        judge(load, &fleet, 3, 2 * BETWEEN);
    });
}

#[test]
fn two_that_cannot_hear_each_other_do_not_take_turns_at_leading() {
    on_network(&HOSTS, |network| {
        let mut fleet = Fleet::on_network(network, TOPIC);
        let load = Load::start(&fleet, TOPIC);
        load.go_on_for(BETWEEN);
        let leader = fleet.leader_of(TOPIC);
        let follower = fleet.followers_of(TOPIC).remove(0);
        let before = fleet.term_of(TOPIC);
        fleet.network().partition(&leader, &follower);
        for _ in 0..8 {
            load.go_on_for(BETWEEN);
        }
        let terms = fleet.term_of(TOPIC) - before;
        assert!(terms <= TERMS_MAX, "{terms} elections, though a majority hears each of two");
        fleet.heal();
        fleet.wait_until_healthy();
        load.go_on_for(BETWEEN);
        judge(load, &fleet, 1, 10 * BETWEEN);
    });
}

#[test]
fn ways_that_are_broken_in_one_direction_lose_nothing() {
    on_network(&HOSTS, |network| {
        let mut fleet = Fleet::on_network(network, TOPIC);
        let load = Load::start(&fleet, TOPIC);
        load.go_on_for(BETWEEN);
        // The leader is heard by nobody, and hears all.
        let leader = fleet.leader_of(TOPIC);
        for follower in fleet.followers_of(TOPIC) {
            fleet.network().one_way(&leader, &follower);
        }
        load.go_on_for(BETWEEN);
        show_gap(&load, "the leader is not heard");
        fleet.heal();
        fleet.wait_until_healthy();
        // It hears nobody, and is heard.
        let leader = fleet.leader_of(TOPIC);
        for follower in fleet.followers_of(TOPIC) {
            fleet.network().one_way(&follower, &leader);
        }
        load.go_on_for(BETWEEN);
        show_gap(&load, "the leader hears nobody");
        fleet.heal();
        fleet.wait_until_healthy();
        load.go_on_for(BETWEEN);
        judge(load, &fleet, 4, 4 * BETWEEN);
    });
}

#[test]
fn a_node_that_nobody_can_connect_to_stays_with_the_connections_it_has_and_comes_back_later() {
    on_network(&HOSTS, |network| {
        let mut fleet = Fleet::on_network(network, TOPIC);
        let load = Load::start(&fleet, TOPIC);
        load.go_on_for(BETWEEN);
        let deaf = fleet.followers_of(TOPIC).remove(0);
        for other in HOSTS.into_iter().filter(|other| *other != deaf) {
            fleet.network().no_new_ways(other, &deaf);
        }
        load.go_on_for(4 * BETWEEN);
        // With it go the connections that there were: others need new ones to it, and get none.
        fleet.kill(&[&deaf]);
        let ready = fleet.spawn(&deaf);
        load.go_on_for(2 * BETWEEN);
        fleet.heal();
        wait_for_ready(&ready);
        fleet.wait_until_healthy();
        load.go_on_for(BETWEEN);
        judge(load, &fleet, 3, 8 * BETWEEN);
    });
}

#[test]
fn a_cable_that_is_in_and_out_loses_nothing() {
    on_network(&HOSTS, |network| {
        let mut fleet = Fleet::on_network(network, TOPIC);
        let load = Load::start(&fleet, TOPIC);
        load.go_on_for(BETWEEN);
        let (follower, leader) = (fleet.followers_of(TOPIC).remove(0), fleet.leader_of(TOPIC));
        for name in [follower, leader] {
            fleet.network().flap(&name, FLAPS, Duration::from_millis(300), Duration::from_millis(200));
            load.go_on_for(BETWEEN);
            show_gap(&load, "a cable was in and out");
        }
        fleet.wait_until_healthy();
        judge(load, &fleet, 2 * FLAPS, 3 * BETWEEN);
    });
}

#[test]
fn a_slow_network_that_loses_much_loses_no_record() {
    on_network(&HOSTS, |network| {
        let mut fleet = Fleet::on_network(network, TOPIC);
        let load = Load::start(&fleet, TOPIC);
        load.go_on_for(BETWEEN);
        fleet.network().lossy(20);
        load.go_on_for(BETWEEN);
        show_gap(&load, "a fifth of all frames is lost");
        fleet.heal();
        let slow = fleet.followers_of(TOPIC).remove(0);
        fleet.network().slow(&slow, 1000);
        load.go_on_for(2 * BETWEEN);
        show_gap(&load, "a follower gets a megabit a second");
        fleet.heal();
        fleet.wait_until_healthy();
        load.go_on_for(BETWEEN);
        judge(load, &fleet, 2, 5 * BETWEEN);
    });
}
