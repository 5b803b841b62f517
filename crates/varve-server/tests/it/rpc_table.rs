//! The table of what each call asks for, beside the calls that there are.

use std::collections::BTreeSet;

use prost::Message;
use varve_api::prost_types::FileDescriptorSet;
use varve_authz::{Action, ObjectOf, RPCS, Requirement};

/// The descriptors of every service that a server has.
const DESCRIPTORS: [&[u8]; 3] = [
    varve_api::FILE_DESCRIPTOR_SET,
    tonic_health::pb::FILE_DESCRIPTOR_SET,
    tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET,
];

/// A call, and the name of its request.
fn calls() -> Vec<(String, String)> {
    let mut calls = Vec::new();
    for descriptors in DESCRIPTORS {
        for file in FileDescriptorSet::decode(descriptors).unwrap().file {
            for service in &file.service {
                let call = |method: &str| format!("{}.{}/{method}", file.package(), service.name());
                calls.extend(
                    service.method.iter().map(|method| (call(method.name()), method.input_type().to_owned())),
                );
            }
        }
    }
    calls
}

#[test]
fn every_call_has_a_row_and_every_row_a_call() {
    let calls: BTreeSet<String> = calls().into_iter().map(|(call, _)| call).collect();
    let rows: BTreeSet<String> = RPCS.iter().map(|rule| rule.method.to_owned()).collect();
    let missing: Vec<_> = calls.difference(&rows).collect();
    assert!(missing.is_empty(), "say in varve-authz/src/rpc.rs what these ask for: {missing:?}");
    let gone: Vec<_> = rows.difference(&calls).collect();
    assert!(gone.is_empty(), "these are no calls any more: {gone:?}");
}

#[test]
fn a_call_that_names_a_topic_is_asked_about_it() {
    let descriptors = FileDescriptorSet::decode(varve_api::FILE_DESCRIPTOR_SET).unwrap();
    let messages: Vec<_> = descriptors
        .file
        .iter()
        .flat_map(|file| {
            let named = |name: &str| format!(".{}.{name}", file.package());
            file.message_type.iter().map(move |message| (named(message.name()), message))
        })
        .collect();
    for (call, request) in calls() {
        let Some((_, message)) = messages.iter().find(|(name, _)| *name == request) else { continue };
        let names_topic = message.field.iter().any(|field| field.name() == "topic");
        let requirement = RPCS.iter().find(|rule| rule.method == call).unwrap().requirement;
        if names_topic {
            let about_it = matches!(requirement, Requirement::Allowed(_, ObjectOf::Topic));
            // Who moves a leader moves the cluster's load, whichever topic's it is.
            let moves_leaders = requirement == Requirement::Allowed(Action::Admin, ObjectOf::Cluster);
            assert!(about_it || moves_leaders, "{call} names a topic, and is not asked about it");
        }
    }
}

#[test]
fn only_health_is_for_anyone_and_only_a_join_for_peers() {
    for rule in RPCS {
        let is_health = rule.method.starts_with("grpc.health.v1.Health/");
        assert_eq!(rule.requirement == Requirement::Anyone, is_health, "{}", rule.method);
        let is_join = rule.method == "varve.v1.ClusterService/JoinCluster";
        assert_eq!(rule.requirement == Requirement::Peer, is_join, "{}", rule.method);
    }
}
