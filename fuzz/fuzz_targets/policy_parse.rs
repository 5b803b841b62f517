//! A policy's files from anybody: a model and rules, kept apart by a line of `---`. What is taken decides without a panic.
#![no_main]

use libfuzzer_sys::fuzz_target;
use varve_authz::{Action, Model, Object, Policy};

/// A rule costs some microseconds, so that few are enough.
const BYTES_MAX: usize = 4096;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(&data[..data.len().min(BYTES_MAX)]) else { return };
    let (model, rules) = match text.split_once("\n---\n") {
        Some((model, rules)) => (Model::parse("model.conf", model), rules),
        None => (Ok(Model::default()), text),
    };
    let Ok(policy) = model.and_then(|model| Policy::parse(model, "policy.csv", rules)) else { return };
    for rule in policy.rules() {
        for topic in [rule.object.as_str(), "a"] {
            let action = rule.action.unwrap_or(Action::Describe);
            let decision = policy.decide(&rule.subject, Object::Topic(topic), action);
            assert!(!decision.allowed || decision.rule().is_some(), "whatever is allowed, a rule allows");
        }
        let _ = policy.rules_about(&rule.subject);
    }
});
