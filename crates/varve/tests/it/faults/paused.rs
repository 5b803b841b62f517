//! A leader that stands still, and does not know.

use super::direct::Direct;
use super::fleet::Fleet;
use super::load::Load;
use super::{BETWEEN, TOPIC, judge, show_gap};
use crate::support::{DEADLINE, wait_until};

/// Reads, and as many appends, that a paused leader finds when it goes on.
const CALLS: u64 = 8;
/// How often it is paused.
const PAUSES: u32 = 2;

#[test]
fn a_leader_that_stood_still_tells_nothing_that_is_not_so() {
    let mut fleet = Fleet::with_topic(TOPIC);
    let load = Load::start(&fleet, TOPIC);
    let mut direct = Direct::new(&load);
    load.go_on_for(BETWEEN);
    for _ in 0..PAUSES {
        let leader = fleet.leader_of(TOPIC);
        let server = direct.connect(&fleet.rpc_addr(&leader));
        fleet.pause(&leader);
        // Asked of the one that stands still, while others go on without it.
        let before = direct.ask(&server, CALLS, DEADLINE);
        load.go_on_for(BETWEEN);
        show_gap(&load, "the leader stands still");
        wait_until("another leads", || fleet.leader_of(TOPIC) != leader);
        let after = direct.ask(&server, CALLS, DEADLINE);
        load.go_on_for(BETWEEN);
        fleet.resume(&leader);
        direct.granted(before);
        direct.granted(after);
        fleet.wait_until_healthy();
    }
    judge(load, &fleet, PAUSES, (1 + 2 * u64::from(PAUSES)) * BETWEEN);
}
