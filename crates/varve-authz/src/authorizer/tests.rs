use futures::FutureExt;

use super::*;
use crate::limits::CACHED_OBJECTS_MAX;
use crate::model::Model;

fn policy(text: &str) -> Policy {
    Policy::parse(Model::default(), "policy.csv", text).unwrap()
}

fn authorizer(text: &str) -> Authorizer {
    Authorizer::new(policy(text), Blocking::Inline)
}

/// Where nothing has to be waited for.
fn now<T>(ready: impl Future<Output = T>) -> T {
    ready.now_or_never().expect("it is there at once")
}

#[test]
fn decisions_are_remembered_until_the_policy_changes() {
    let authorizer = authorizer("p, a, t, produce");
    let decide = || now(authorizer.decide("a", Object::Topic("t"), Action::Produce));
    assert!(decide().allowed);
    let remembered = authorizer.cached();
    assert!(remembered > 0);
    assert!(decide().allowed);
    assert_eq!(authorizer.cached(), remembered);
    let other = authorizer.clone();
    other.replace(policy("p, a, t, consume"));
    assert_eq!(authorizer.cached(), 0);
    assert!(!decide().allowed, "all clones are one");
    assert_eq!(authorizer.generation(), 1);
}

#[test]
fn each_object_and_action_is_remembered_for_itself() {
    let authorizer = authorizer("p, a, t, produce\np, a, *, admin");
    for _ in 0..2 {
        assert!(now(authorizer.decide("a", Object::Topic("t"), Action::Produce)).allowed);
        assert!(!now(authorizer.decide("a", Object::Topic("t"), Action::Consume)).allowed);
        assert!(!now(authorizer.decide("a", Object::Topic("u"), Action::Produce)).allowed);
        assert!(!now(authorizer.decide("a", Object::Cluster, Action::Produce)).allowed);
        assert!(now(authorizer.decide("a", Object::Cluster, Action::Admin)).allowed);
        assert!(now(authorizer.decide("a", Object::SomeTopic, Action::Produce)).allowed);
        assert!(!now(authorizer.decide("b", Object::Topic("t"), Action::Produce)).allowed);
    }
}

#[test]
fn what_is_remembered_is_bounded() {
    let authorizer = authorizer("p, a, t*, produce");
    for at in 0..CACHED_OBJECTS_MAX + 10 {
        assert!(now(authorizer.decide("a", Object::Topic(&format!("t{at}")), Action::Produce)).allowed);
        assert!(authorizer.cached() <= CACHED_OBJECTS_MAX + 1);
    }
    let before = authorizer.cached();
    let long = "t".repeat(300);
    assert!(now(authorizer.decide("a", Object::Topic(&long), Action::Produce)).allowed);
    assert!(!now(authorizer.decide(&long, Object::Topic("t"), Action::Produce)).allowed);
    assert_eq!(authorizer.cached(), before, "no good name is so long");
}

#[test]
fn a_grant_follows_the_policy() {
    let authorizer = authorizer("p, a, t, produce");
    let mut grant = now(authorizer.grant("a", Object::Topic("t"), Action::Produce));
    assert!(now(grant.decision()).allowed);
    authorizer.replace(policy("p, a, t, consume"));
    assert!(!now(grant.decision()).allowed);
    authorizer.replace(policy("p, a, t, produce"));
    assert_eq!(now(grant.decision()).rule().unwrap().line, 1);
}

#[tokio::test]
async fn whoever_waits_hears_of_a_refusal() {
    let authorizer = authorizer("p, a, t, consume");
    let mut grant = authorizer.grant("a", Object::Topic("t"), Action::Consume).await;
    let waiting = tokio::spawn(async move { grant.refused().await });
    // One that changes nothing for it, and one that does.
    authorizer.replace(policy("p, a, *, consume"));
    tokio::task::yield_now().await;
    assert!(!waiting.is_finished());
    authorizer.replace(policy("p, a, t, consume, deny"));
    let refused = waiting.await.unwrap();
    assert_eq!(refused.basis.to_string(), "rule policy.csv:1: p, a, t, consume, deny");
    let mut never = authorizer.grant("b", Object::Cluster, Action::Admin).await;
    assert!(!never.refused().await.allowed, "at once where it never was allowed");
}

#[test]
fn many_may_ask_while_it_changes() {
    let authorizer = authorizer("p, a, t, produce");
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..500 {
                    let decision = now(authorizer.decide("a", Object::Topic("t"), Action::Produce));
                    // The rule that is named is that of the policy that decided.
                    assert_eq!(decision.allowed, decision.rule().unwrap().effect == crate::Effect::Allow);
                }
            });
        }
        for at in 0..50 {
            let effect = if at % 2 == 0 { "deny" } else { "allow" };
            authorizer.replace(policy(&format!("p, a, t, produce, {effect}")));
        }
    });
    assert_eq!(authorizer.generation(), 50);
}

#[tokio::test]
async fn what_takes_long_does_not_hold_up_the_thread() {
    let rules: String = (0..1000).map(|at| format!("p, a, t{at}, produce\n")).collect();
    let authorizer = Authorizer::new(policy(&rules), Blocking::Pool);
    let deciding = authorizer.decide("a", Object::Topic("t999"), Action::Produce);
    let mut deciding = std::pin::pin!(deciding);
    assert!(deciding.as_mut().now_or_never().is_none(), "another thread has it");
    assert!(deciding.await.allowed);
    assert!(
        now(authorizer.decide("a", Object::Topic("t999"), Action::Produce)).allowed,
        "then it is remembered"
    );
    assert!(!now(authorizer.decide("b", Object::Topic("t0"), Action::Produce)).allowed, "no rule is about b");
}
