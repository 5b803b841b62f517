//! A cluster that grows and shrinks under load.

use super::fleet::Fleet;
use super::load::Load;
use super::{BETWEEN, TOPIC, judge_on};
use crate::support::wait_until;

#[test]
fn a_cluster_grows_from_one_to_five_and_shrinks_to_one() {
    let mut fleet = Fleet::planned(&["n1"]);
    fleet.begin();
    fleet.make_topic_on(TOPIC, 5);
    let load = Load::start(&fleet, TOPIC);
    load.go_on_for(BETWEEN);
    for (newcomers, replicas) in [(["n2", "n3"], 3), (["n4", "n5"], 5)] {
        newcomers.iter().for_each(|name| fleet.join(name));
        wait_until("all have a replica", || replicas_of(&fleet) == replicas);
        fleet.wait_until_healthy();
        load.go_on_for(BETWEEN);
    }
    // The first goes first, which began it all and may lead.
    for (leavers, replicas) in [(["n1", "n4"], 3), (["n2", "n5"], 1)] {
        for name in leavers {
            fleet.decommission(name);
            load.go_on_for(BETWEEN);
        }
        wait_until("those that are left have all replicas", || replicas_of(&fleet) == replicas);
        fleet.wait_until_healthy();
        load.go_on_for(BETWEEN);
    }
    judge_on(load, &fleet, 1, 8, 9 * BETWEEN);
}

fn replicas_of(fleet: &Fleet) -> usize {
    let partition = fleet.partition_of(TOPIC);
    let count = |field: &str| partition[field].as_array().map_or(0, Vec::len);
    if count("leaving") == 0 { count("replicas") } else { 0 }
}
