//! A node whose disk is full, and then is not.

use std::fs::File;
use std::io::{ErrorKind, Write};

use varve_client::api::error::{ApiError, Reason};
use varve_client::api::v1;

use super::direct::Direct;
use super::fleet::Fleet;
use super::load::{Load, text_of};
use super::small_disk::on_small_disks;
use super::{BETWEEN, TOPIC, judge};
use crate::support::wait_until;

/// What takes up the rest of a disk.
const BALLAST: &str = "ballast";
/// A value that nobody else appends.
const OWN_VALUE: u64 = 1 << 49;

#[test]
fn others_go_on_while_the_disk_of_a_follower_is_full() {
    on_small_disks(|disks| {
        let mut fleet = Fleet::on_disks(disks, TOPIC);
        let load = Load::start(&fleet, TOPIC);
        load.go_on_for(BETWEEN);
        let full = fleet.followers_of(TOPIC).remove(0);
        fill(&mut fleet, &full);
        load.go_on_for(4 * BETWEEN);
        assert!(fleet.runs(&full), "a full disk ends no node");
        free(&fleet, &full);
        fleet.wait_until_healthy();
        load.go_on_for(BETWEEN);
        judge(load, &fleet, 1, 6 * BETWEEN);
    });
}

#[test]
fn a_leader_whose_disk_is_full_refuses_and_is_read_and_goes_on_when_there_is_room() {
    on_small_disks(|disks| {
        let mut fleet = Fleet::on_disks(disks, TOPIC);
        let load = Load::start(&fleet, TOPIC);
        let direct = Direct::new(&load);
        load.go_on_for(BETWEEN);
        let full = fleet.leader_of(TOPIC);
        fill(&mut fleet, &full);
        let mut server = direct.connect(&fleet.rpc_addr(&full));
        let record = v1::ProduceRecord { value: Some(text_of(OWN_VALUE).into()), ..Default::default() };
        let request = v1::ProduceRequest {
            topic: TOPIC.into(),
            partition: Some(0),
            records: vec![record],
            expected_offset: Some(u64::MAX),
            leader_only: true,
            ..Default::default()
        };
        // It is never appended: its expected offset never comes.
        wait_until("the leader refuses for its disk", || {
            let status = load.runtime().block_on(server.produce(request.clone())).unwrap_err();
            let error = ApiError::from_status(&status);
            error.reason == Reason::DiskFull && error.retry_after.is_some()
        });
        let tail = v1::GetTailRequest {
            topic: TOPIC.into(),
            partition: 0,
            consistency: v1::ReadConsistency::Linearizable.into(),
        };
        let tail = load.runtime().block_on(server.get_tail(tail)).expect("reads go on").into_inner();
        assert!(tail.high_watermark >= BETWEEN);
        assert!(fleet.runs(&full), "a full disk ends no node");
        free(&fleet, &full);
        load.go_on_for(BETWEEN);
        fleet.wait_until_healthy();
        judge(load, &fleet, 1, 2 * BETWEEN);
    });
}

/// Fills a node's disk to the last byte.
fn fill(fleet: &mut Fleet, name: &str) {
    fleet.count_fault();
    let mut ballast = File::create(fleet.path(name).join(BALLAST)).unwrap();
    let piece = vec![7; 64 * 1024];
    let error = loop {
        if let Err(error) = ballast.write_all(&piece) {
            break error;
        }
    };
    assert_eq!(error.kind(), ErrorKind::StorageFull);
}

fn free(fleet: &Fleet, name: &str) {
    std::fs::remove_file(fleet.path(name).join(BALLAST)).unwrap();
}
