use crate::cluster::{Cluster, GROUP, until};
use crate::fixture::{batch, numbered, produce, values, within};
use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::time::Duration;
use tokio::time::Instant;
use varve_env::disk::{FaultyDisk, OpKind};
use varve_record::{NodeId, Offset};
use varve_replica::{
    Acks, Consistency, GroupError, PeerError, PeerRequest, Produce, ProduceError, ReadError,
};

fn names(count: u64) -> Vec<String> {
    (0..count).map(|n| n.to_string()).collect()
}

fn others(cluster: &Cluster, node: NodeId) -> Vec<NodeId> {
    cluster.nodes.keys().copied().filter(|other| *other != node).collect()
}

#[tokio::test]
async fn one_voter_leads_at_once_and_after_a_power_cut() {
    let mut cluster = Cluster::new(1).await;
    let node = NodeId::new(1);
    for n in 0..10 {
        cluster.append(batch(&[&n.to_string()])).await;
    }
    cluster.restart(node).await;
    cluster.append(batch(&["10"])).await;
    assert_eq!(values(cluster.partition(node), 0).await, names(11));
}

#[tokio::test]
async fn three_nodes_elect_and_agree() {
    let cluster = Cluster::new(3).await;
    for n in 0..20_u64 {
        let produced = cluster.append(batch(&[&n.to_string()])).await;
        assert_eq!(produced.first_offset, Some(Offset::new(n)), "elections take no offsets");
    }
    cluster.level().await;
    for node in cluster.nodes.values() {
        assert_eq!(values(&node.partition, 0).await, names(20));
    }
}

#[tokio::test]
async fn a_new_group_is_led_first_by_whom_it_should_be() {
    let [first, second, third] = [1, 2, 3].map(NodeId::new);
    for started in [[first, second, third], [third, second, first]] {
        // Nobody waits out such a timeout here.
        let cluster = Cluster::led_first_by(second, 600_000, &started).await;
        assert_eq!(cluster.leader().await, second);
        cluster.append(batch(&["kept"])).await;
        cluster.level().await;
    }
    // Where it is not there another does.
    let cluster = Cluster::led_first_by(second, 300, &[first, third]).await;
    assert!([first, third].contains(&cluster.leader().await));
    cluster.append(batch(&["kept"])).await;
}

#[tokio::test]
async fn what_many_send_at_once_stays_in_each_ones_order() {
    let cluster = Cluster::new(3).await;
    let leader = cluster.leader().await;
    let mut pending = Vec::new();
    for n in 0..500 {
        let sent = cluster.partition(leader).enqueue(produce(batch(&[&n.to_string()])));
        pending.push(within(sent).await.unwrap());
    }
    let mut next = Offset::default();
    for pending in pending {
        let produced = within(pending.wait()).await.unwrap();
        assert_eq!(produced.first_offset, Some(next));
        next = produced.next_offset.unwrap();
    }
    cluster.level().await;
    assert_eq!(values(cluster.partition(NodeId::new(2)), 0).await, names(500));
}

#[tokio::test]
async fn a_leader_that_loses_power_loses_nothing_acknowledged() {
    let mut cluster = Cluster::new(3).await;
    for n in 0..10 {
        cluster.append(numbered(5, 0, n, &[&n.to_string()])).await;
    }
    let first = cluster.leader().await;
    let disk = cluster.cut_power(first).await;
    // The new leader knows what the old one had appended.
    let retry = cluster.append(numbered(5, 0, 9, &["9"])).await;
    assert!(retry.duplicate);
    assert_eq!(retry.first_offset, Some(Offset::new(9)));
    for n in 10..20 {
        assert!(!cluster.append(numbered(5, 0, n, &[&n.to_string()])).await.duplicate);
    }
    cluster.start(first, disk).await;
    cluster.level().await;
    for node in cluster.nodes.values() {
        assert_eq!(values(&node.partition, 0).await, names(20));
    }
}

#[tokio::test]
async fn what_is_not_synced_is_not_acknowledged() {
    let mut cluster = Cluster::new(1).await;
    let node = NodeId::new(1);
    cluster.append(batch(&["kept"])).await;
    cluster.nodes[&node].disk.fail_nth(OpKind::Sync, 0, ErrorKind::Other);
    let lost = within(cluster.partition(node).produce(produce(batch(&["lost"])))).await;
    assert!(matches!(lost, Err(ProduceError::Stopped(_) | ProduceError::CommitUnknown)), "{lost:?}");
    let later = within(cluster.partition(node).produce(produce(batch(&["later"])))).await;
    assert!(matches!(later, Err(ProduceError::Stopped(_))), "{later:?}");
    assert_eq!(cluster.partition(node).progress().high_watermark, Offset::new(1));
    cluster.restart(node).await;
    cluster.append(batch(&["after"])).await;
    assert_eq!(values(cluster.partition(node), 0).await, ["kept", "after"]);
}

#[tokio::test]
async fn what_waits_for_room_on_the_disk_is_not_acknowledged() {
    let mut cluster = Cluster::new(1).await;
    let node = NodeId::new(1);
    cluster.append(batch(&["kept"])).await;
    cluster.nodes[&node].disk.set_capacity(Some(0));
    let large = "x".repeat(400_000);
    let lost = within(cluster.partition(node).enqueue(produce(batch(&[&large])))).await.unwrap();
    cluster.until("the disk is full", || cluster.partition(node).status().disk_full.then_some(())).await;
    let refused = within(cluster.partition(node).produce(produce(batch(&["refused"])))).await;
    assert!(matches!(refused, Err(ProduceError::DiskFull)), "{refused:?}");
    assert_eq!(values(cluster.partition(node), 0).await, ["kept"], "reads go on");
    let disk = cluster.cut_power(node).await;
    let outcome = within(lost.wait()).await;
    assert!(outcome.is_err(), "{outcome:?}");
    disk.set_capacity(None);
    cluster.start(node, disk).await;
    cluster.append(batch(&["after"])).await;
    assert_eq!(values(cluster.partition(node), 0).await, ["kept", "after"]);
}

#[tokio::test]
async fn a_leader_that_lost_what_it_had_sent_gives_its_name_to_nothing_else() {
    let mut cluster = Cluster::new(3).await;
    cluster.append(batch(&["kept"])).await;
    cluster.level().await;
    let leader = cluster.leader().await;
    let follower = others(&cluster, leader)[0];
    // Its disk is full, so that what it sends is not durable here.
    cluster.nodes[&leader].disk.set_capacity(Some(0));
    let large = "x".repeat(400_000);
    let sent = within(cluster.partition(leader).enqueue(produce(batch(&[&large])))).await.unwrap();
    cluster
        .until("a follower has it", || {
            (cluster.partition(follower).status().next_offset == Offset::new(2)).then_some(())
        })
        .await;
    // Back before anyone has missed it, without what it sent.
    let disk = cluster.cut_power(leader).await;
    disk.set_capacity(None);
    cluster.start(leader, disk).await;
    drop(sent);
    cluster.append(batch(&["next"])).await;
    cluster.append(batch(&["last"])).await;
    cluster.level().await;
    let expected = values(cluster.partition(follower), 0).await;
    for node in cluster.nodes.values() {
        assert_eq!(values(&node.partition, 0).await, expected);
    }
    assert_eq!(expected.last().unwrap(), "last");
}

#[tokio::test]
async fn all_nodes_lose_power_and_nothing_acknowledged_is_lost() {
    let mut cluster = Cluster::new(3).await;
    for n in 0..20 {
        cluster.append(batch(&[&n.to_string()])).await;
    }
    let mut disks = Vec::new();
    for node in [1, 2, 3].map(NodeId::new) {
        disks.push((node, cluster.cut_power(node).await));
    }
    for (node, disk) in disks {
        cluster.start(node, disk).await;
    }
    cluster.append(batch(&["20"])).await;
    cluster.level().await;
    for node in cluster.nodes.values() {
        assert_eq!(values(&node.partition, 0).await, names(21));
    }
}

#[tokio::test]
async fn a_leader_cut_off_commits_nothing_and_its_tail_is_taken_back() {
    let cluster = Cluster::new(3).await;
    cluster.append(batch(&["kept"])).await;
    cluster.append(numbered(5, 0, 0, &["first"])).await;
    cluster.level().await;
    let old = cluster.leader().await;
    let rest = others(&cluster, old);
    cluster.network.isolate(old);
    // The old leader does not know yet, and writes what nobody else will ever see.
    let lost =
        within(cluster.partition(old).enqueue(produce(numbered(5, 0, 1, &["lost", "lost"])))).await.unwrap();
    let stale = tokio::spawn({
        let partition = cluster.partition(old).clone();
        async move { partition.barrier(Consistency::Linearizable).await }
    });
    let kept = cluster.append_among(&rest, numbered(5, 0, 1, &["second"])).await;
    assert!(!kept.duplicate);
    assert_eq!(kept.first_offset, Some(Offset::new(2)));
    let refused = within(stale).await.unwrap();
    assert!(matches!(refused, Err(ReadError::NotLeader { .. })), "{refused:?}");
    assert_eq!(
        cluster.partition(old).progress().high_watermark,
        Offset::new(2),
        "nothing was committed alone"
    );
    cluster.network.heal();
    let outcome = within(lost.wait()).await;
    assert!(
        matches!(outcome, Err(ProduceError::CommitUnknown | ProduceError::NotLeader { .. })),
        "{outcome:?}"
    );
    cluster.append(numbered(5, 0, 2, &["third"])).await;
    cluster.level().await;
    for node in cluster.nodes.values() {
        assert_eq!(values(&node.partition, 0).await, ["kept", "first", "second", "third"]);
    }
}

#[tokio::test]
async fn without_a_majority_nothing_is_acknowledged() {
    let mut cluster = Cluster::new(3).await;
    cluster.append(batch(&["kept"])).await;
    let leader = cluster.leader().await;
    let mut disks = Vec::new();
    for node in others(&cluster, leader) {
        disks.push((node, cluster.cut_power(node).await));
    }
    let waiting = within(cluster.partition(leader).enqueue(produce(batch(&["unsure"])))).await.unwrap();
    let waiting = tokio::spawn(waiting.wait());
    let refused = within(cluster.partition(leader).barrier(Consistency::Linearizable)).await;
    assert!(refused.is_err(), "{refused:?}");
    assert_eq!(cluster.partition(leader).progress().high_watermark, Offset::new(1));
    for (node, disk) in disks {
        cluster.start(node, disk).await;
    }
    // With the others back it is committed, or its leader has lost its place.
    let outcome = within(waiting).await.unwrap();
    let unsure = u64::from(outcome.is_ok());
    assert!(
        matches!(outcome, Ok(_) | Err(ProduceError::CommitUnknown | ProduceError::NotLeader { .. })),
        "{outcome:?}"
    );
    cluster.append(batch(&["last"])).await;
    assert!(cluster.level().await >= Offset::new(2 + unsure));
}

#[tokio::test]
async fn a_leader_that_nobody_answers_stops_saying_that_it_leads() {
    let cluster = Cluster::new(3).await;
    cluster.append(batch(&["kept"])).await;
    cluster.level().await;
    let old = cluster.leader().await;
    cluster.network.isolate(old);
    let partition = cluster.partition(old);
    let waiting = within(partition.enqueue(produce(batch(&["unsure"])))).await.unwrap();
    let outcome = within(waiting.wait()).await;
    assert!(matches!(outcome, Err(ProduceError::CommitUnknown)), "while it is alone still: {outcome:?}");
    assert_eq!(partition.progress().leader, None);
    let outcome = within(partition.produce(produce(batch(&["refused"])))).await;
    assert!(matches!(outcome, Err(ProduceError::NotLeader { leader: None })), "{outcome:?}");
    assert_eq!(partition.progress().high_watermark, Offset::new(1));
    // With nobody else to lead it goes on in its place once it is heard again, or follows another.
    cluster.network.heal();
    cluster.append(batch(&["again"])).await;
    cluster.level().await;
}

#[tokio::test]
async fn what_a_leader_may_not_write_is_tried_again_with_pauses() {
    let cluster = Cluster::new(3).await;
    cluster.append(batch(&["kept"])).await;
    // A slow machine may take so long to elect another that the old leader has given up by then.
    for _ in 0..20 {
        cluster.level().await;
        let old = cluster.leader().await;
        let partition = cluster.partition(old);
        cluster.network.isolate(old);
        let other = cluster.partition(others(&cluster, old)[0]);
        let leads = || other.progress().leader.is_some_and(|leader| leader != old).then_some(());
        cluster.until("another leads", leads).await;
        // Its lease is over, so that consensus takes nothing, and it says for a while yet that it leads.
        let (before, since) = (cluster.clock.looks(), Instant::now());
        let outcome = within(partition.produce(produce(batch(&["refused"])))).await;
        let tries = cluster.clock.looks() - before;
        assert!(matches!(outcome, Err(ProduceError::NotLeader { .. })), "{outcome:?}");
        let pauses = since.elapsed().as_millis() as u64 / 5;
        assert!(tries <= pauses + 2, "{tries} tries in a time for {pauses} pauses");
        cluster.network.heal();
        if tries > 1 {
            return;
        }
    }
    panic!("nothing was refused and tried again");
}

#[tokio::test]
async fn a_leader_that_says_nothing_is_not_named_though_no_other_can_be_elected() {
    let mut cluster = Cluster::new(3).await;
    cluster.append(batch(&["kept"])).await;
    cluster.level().await;
    let leader = cluster.leader().await;
    let [other, survivor] = others(&cluster, leader)[..] else { panic!("there are two others") };
    cluster.cut_power(other).await;
    cluster.cut_power(leader).await;
    let partition = cluster.partition(survivor);
    cluster.until("nobody is named", || partition.progress().leader.is_none().then_some(())).await;
    let outcome = within(partition.produce(produce(batch(&["refused"])))).await;
    assert!(matches!(outcome, Err(ProduceError::NotLeader { leader: None })), "{outcome:?}");
}

#[tokio::test]
async fn a_leader_that_is_heard_but_hears_nobody_is_replaced() {
    let cluster = Cluster::new(3).await;
    cluster.append(batch(&["kept"])).await;
    cluster.level().await;
    let old = cluster.leader().await;
    let rest = others(&cluster, old);
    for node in &rest {
        cluster.network.cut(*node, old);
    }
    let waiting = within(cluster.partition(old).enqueue(produce(batch(&["unsure"])))).await.unwrap();
    cluster.append_among(&rest, batch(&["by another"])).await;
    cluster.network.heal();
    let outcome = within(waiting.wait()).await;
    assert!(matches!(outcome, Ok(_) | Err(ProduceError::CommitUnknown)), "{outcome:?}");
    cluster.append(batch(&["last"])).await;
    // What it sent may have been committed by the one that came after it.
    let end = cluster.level().await;
    assert!([Offset::new(3), Offset::new(4)].contains(&end), "{end}");
}

#[tokio::test]
async fn an_old_leader_that_comes_back_reads_nothing_stale() {
    let cluster = Cluster::new(3).await;
    cluster.append(batch(&["kept"])).await;
    for n in 0..3_u64 {
        cluster.level().await;
        let old = cluster.leader().await;
        let rest = others(&cluster, old);
        cluster.network.isolate(old);
        let produced = cluster.append_among(&rest, batch(&["new"])).await;
        // As after a pause: it has heard of nobody else, and is asked before any heartbeat arrives.
        cluster.network.heal();
        let seen = within(cluster.partition(old).barrier(Consistency::Linearizable)).await;
        assert!(
            seen.as_ref().is_ok_and(|seen| *seen >= produced.next_offset.unwrap()) || seen.is_err(),
            "round {n}: {seen:?}"
        );
    }
}

#[tokio::test]
async fn an_acknowledgement_by_the_leader_waits_for_nobody_else() {
    let cluster = Cluster::new(3).await;
    cluster.append(batch(&["kept"])).await;
    let leader = cluster.leader().await;
    cluster.network.isolate(leader);
    let acks = |acks| Produce { acks, ..produce(batch(&["x"])) };
    let produced = within(cluster.partition(leader).produce(acks(Acks::Leader))).await.unwrap();
    assert_eq!(produced.first_offset, Some(Offset::new(1)));
    let produced = within(cluster.partition(leader).produce(acks(Acks::None))).await.unwrap();
    assert_eq!(produced.first_offset, None);
    assert_eq!(cluster.partition(leader).progress().high_watermark, Offset::new(1), "nobody may read it");
}

#[tokio::test]
async fn followers_read_what_was_acknowledged_before() {
    let cluster = Cluster::new(3).await;
    let leader = cluster.leader().await;
    for n in 0..10_u64 {
        let produced = cluster.append(batch(&[&n.to_string()])).await;
        for node in others(&cluster, leader) {
            let seen = within(cluster.partition(node).barrier(Consistency::Linearizable)).await.unwrap();
            assert!(seen >= produced.next_offset.unwrap(), "node {node} sees {seen}");
        }
    }
}

#[tokio::test]
async fn leadership_moves_where_it_is_asked_to() {
    let cluster = Cluster::new(3).await;
    cluster.append(batch(&["0"])).await;
    let old = cluster.leader().await;
    let new = others(&cluster, old)[0];
    cluster.level().await;
    within(cluster.partition(old).transfer_leadership(new)).await.unwrap();
    cluster
        .until("the new one leads", || (cluster.partition(new).progress().leader == Some(new)).then_some(()))
        .await;
    cluster.append(batch(&["1"])).await;
    cluster.level().await;
    assert_eq!(values(cluster.partition(old), 0).await, names(2));
}

#[tokio::test]
async fn a_group_grows_from_one_to_three_to_five_under_load() {
    let mut cluster = Cluster::new(1).await;
    let mut written = 0;
    for n in 0..5 {
        cluster.append(batch(&[&n.to_string()])).await;
        written += 1;
    }
    for (size, joining) in [(3, [2, 3]), (5, [4, 5])] {
        for node in joining.map(NodeId::new) {
            cluster.start(node, FaultyDisk::new(node.get())).await;
            within(cluster.partition(NodeId::new(1)).add_learner(node)).await.unwrap();
        }
        let voters: BTreeSet<NodeId> = (1..=size).map(NodeId::new).collect();
        within(cluster.partition(NodeId::new(1)).change_voters(&voters)).await.unwrap();
        let members = cluster.partition(NodeId::new(1)).members().unwrap();
        assert_eq!((members.voters, members.changing), (voters, false));
        for _ in 0..5 {
            cluster.append(batch(&[&written.to_string()])).await;
            written += 1;
        }
    }
    // Two of five may go.
    drop(cluster.cut_power(NodeId::new(1)).await);
    drop(cluster.cut_power(NodeId::new(4)).await);
    cluster.append(batch(&[&written.to_string()])).await;
    written += 1;
    cluster.level().await;
    for node in cluster.nodes.values() {
        assert_eq!(values(&node.partition, 0).await, names(written));
    }
}

#[tokio::test]
async fn a_new_replica_gets_every_record_that_there_still_is() {
    let mut cluster = Cluster::with_small_segments(1).await;
    let leader = NodeId::new(1);
    let value = "x".repeat(8 * 1024);
    for n in 0..64 {
        cluster.append(numbered(5, 0, n, &[&value])).await;
    }
    let segments = || {
        cluster.nodes[&leader]
            .disk
            .files()
            .into_iter()
            .filter(|f| f.extension().is_some_and(|e| e == "log"))
            .count()
    };
    let before = segments();
    let start = within(cluster.partition(leader).trim(Offset::new(40))).await.unwrap();
    assert_eq!(start, Offset::new(40));
    cluster.until("the space is given back", || (segments() + 2 < before).then_some(())).await;

    let joining = NodeId::new(2);
    cluster.start(joining, FaultyDisk::new(2)).await;
    within(cluster.partition(leader).add_learner(joining)).await.unwrap();
    cluster.level().await;
    let kept = values(cluster.partition(joining), 40).await;
    assert_eq!(kept, values(cluster.partition(leader), 40).await);
    assert_eq!(kept.len(), 24);
    // It knows the producer too, and leads as well as the first.
    let voters = BTreeSet::from([leader, joining]);
    within(cluster.partition(leader).change_voters(&voters)).await.unwrap();
    within(cluster.partition(leader).transfer_leadership(joining)).await.unwrap();
    cluster
        .until("the new one leads", || {
            (cluster.partition(joining).progress().leader == Some(joining)).then_some(())
        })
        .await;
    assert!(cluster.append(numbered(5, 0, 63, &[&value])).await.duplicate);
    assert!(!cluster.append(numbered(5, 0, 64, &["new"])).await.duplicate);
}

#[tokio::test]
async fn a_learner_has_caught_up_when_it_has_what_there_was() {
    let mut cluster = Cluster::new(1).await;
    let leader = NodeId::new(1);
    let large = "x".repeat(300_000);
    for _ in 0..20 {
        cluster.append(batch(&[&large])).await;
    }
    let end = cluster.partition(leader).status().next_offset;
    let learner = NodeId::new(2);
    cluster.network.set_delay(Duration::from_millis(30));
    cluster.start(learner, FaultyDisk::new(2)).await;
    within(cluster.partition(leader).add_learner(learner)).await.unwrap();
    assert_eq!(cluster.partition(learner).status().next_offset, end);
    let known = cluster.partition(leader).followers().unwrap()[&learner];
    assert_eq!(
        (known.matched, known.lag_entries),
        (cluster.partition(leader).status().last.map(|l| l.index), 0)
    );
    assert!(cluster.partition(learner).followers().unwrap().is_empty(), "it does not lead");
}

#[tokio::test]
async fn a_leader_that_has_taken_itself_out_changes_nothing_more() {
    let cluster = Cluster::new(3).await;
    cluster.append(batch(&["a"])).await;
    let leader = cluster.leader().await;
    let partition = cluster.partition(leader);
    let rest: BTreeSet<NodeId> =
        partition.members().unwrap().voters.into_iter().filter(|node| *node != leader).collect();
    // Removals are slow to be told, so that it leads for a moment still.
    within(partition.change_voters(&rest)).await.unwrap();
    for _ in 0..100 {
        let refused = within(partition.remove_learner(NodeId::new(9))).await.unwrap_err();
        assert!(matches!(refused, GroupError::NotLeader { .. }), "{refused}");
    }
}

#[tokio::test]
async fn a_learner_that_is_down_holds_up_nobody_but_who_waits_for_it() {
    let mut cluster = Cluster::new(1).await;
    let (leader, learner) = (NodeId::new(1), NodeId::new(2));
    cluster.append(batch(&["0"])).await;
    let partition = cluster.partition(leader).clone();
    for _ in 0..3 {
        let waited = tokio::time::timeout(Duration::from_millis(50), partition.add_learner(learner)).await;
        assert!(waited.is_err(), "{waited:?}");
    }
    assert_eq!(partition.members().unwrap().learners, BTreeSet::from([learner]));
    let last = partition.status().last.unwrap().index.get();
    assert_eq!(last, 3, "a member is added once: founding, a blank, the batch, the learner");
    let both = BTreeSet::from([leader, learner]);
    let refused = within(partition.change_voters(&both)).await;
    assert!(matches!(refused, Err(GroupError::Refused { .. })), "{refused:?}");
    assert!(partition.followers().unwrap()[&learner].silent_for.is_none());
    cluster.append(batch(&["1"])).await;
    cluster.start(learner, FaultyDisk::new(2)).await;
    within(partition.add_learner(learner)).await.unwrap();
    within(partition.change_voters(&both)).await.unwrap();
    cluster.append(batch(&["2"])).await;
    cluster.level().await;
}

#[tokio::test]
async fn leadership_goes_to_a_voter_that_has_caught_up() {
    let mut cluster = Cluster::new(3).await;
    cluster.append(batch(&["0"])).await;
    cluster.level().await;
    let old = cluster.leader().await;
    let partition = cluster.partition(old).clone();
    let [down, fit] = others(&cluster, old)[..] else { panic!("there are two others") };
    let learner = NodeId::new(4);
    cluster.start(learner, FaultyDisk::new(4)).await;
    within(partition.add_learner(learner)).await.unwrap();
    let refused = within(partition.transfer_leadership(learner)).await;
    assert!(matches!(refused, Err(GroupError::Refused { .. })), "{refused:?}");
    within(partition.transfer_leadership(old)).await.unwrap();
    cluster.cut_power(down).await;
    until("the one that is down is missed", || {
        let silent = partition.followers().unwrap().get(&down)?.silent_for?;
        (silent > Duration::from_secs(2)).then_some(())
    })
    .await;
    let refused = within(partition.transfer_leadership(down)).await;
    assert!(matches!(refused, Err(GroupError::Refused { .. })), "{refused:?}");
    within(partition.transfer_leadership(None)).await.unwrap();
    until("the other leads", || (cluster.partition(fit).progress().leader == Some(fit)).then_some(())).await;
    let refused = within(partition.transfer_leadership(None)).await;
    assert!(matches!(refused, Err(GroupError::NotLeader { .. })), "{refused:?}");
}

#[tokio::test]
async fn a_change_that_nobody_waits_for_is_made_to_its_end() {
    let mut cluster = Cluster::new(1).await;
    let leader = NodeId::new(1);
    cluster.append(batch(&["0"])).await;
    for node in [2, 3].map(NodeId::new) {
        cluster.start(node, FaultyDisk::new(node.get())).await;
        within(cluster.partition(leader).add_learner(node)).await.unwrap();
    }
    cluster.network.set_delay(Duration::from_millis(20));
    let voters: BTreeSet<NodeId> = (1..=3).map(NodeId::new).collect();
    let partition = cluster.partition(leader);
    let waited = tokio::time::timeout(Duration::from_millis(5), partition.change_voters(&voters)).await;
    assert!(waited.is_err(), "{waited:?}");
    until("the voters have changed", || {
        let members = partition.members().unwrap();
        (members.voters == voters && !members.changing).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_follower_whose_disk_is_full_holds_up_nobody_and_catches_up() {
    let cluster = Cluster::new(3).await;
    cluster.append(batch(&["0"])).await;
    cluster.level().await;
    let leader = cluster.leader().await;
    let full = others(&cluster, leader)[0];
    cluster.nodes[&full].disk.set_capacity(Some(0));
    let rest: Vec<NodeId> = cluster.nodes.keys().copied().filter(|node| *node != full).collect();
    let large = "x".repeat(200_000);
    for _ in 0..20 {
        cluster.append_among(&rest, batch(&[&large])).await;
    }
    let lag = cluster.partition(cluster.leader_among(&rest).await).followers().unwrap()[&full].lag_entries;
    assert!(lag > 0, "it has no room for them");
    // What it is asked meanwhile does not pile up in front of it. Kind 3 asks whether it would vote.
    let question = [&GROUP.get().to_le_bytes()[..], &[3], &[0; 8 + 8 + 1 + 1 + 1]].concat();
    let (group, request) = PeerRequest::decode(question.into()).unwrap();
    let answer = within(cluster.nodes[&full].peers.answer(group, request)).await;
    assert!(
        matches!(&answer, Err(PeerError::Stopped { reason, .. }) if reason.contains("room")),
        "{answer:?}"
    );
    cluster.nodes[&full].disk.set_capacity(None);
    // The space is looked at now and then.
    until("it has caught up", || {
        cluster.nodes[&full].storage.tick();
        (cluster.partition(full).status().next_offset == Offset::new(21)).then_some(())
    })
    .await;
    cluster.level().await;
}
