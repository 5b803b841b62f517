use proptest::prelude::*;

use super::*;
use crate::limits::RULES_MAX;
use crate::rule::Effect;

const BOOK_MODEL: &str = include_str!("../../testdata/book/model.conf");
const BOOK_POLICY: &str = include_str!("../../testdata/book/policy.csv");

fn policy(text: &str) -> Policy {
    Policy::parse(Model::default(), "policy.csv", text).expect(text)
}

fn book_model() -> Model {
    Model::parse("model.conf", BOOK_MODEL).unwrap()
}

fn said(model: Model, text: &str) -> String {
    Policy::parse(model, "policy.csv", text).expect_err(text).to_string()
}

fn on(policy: &Policy, subject: &str, topic: &str, action: Action) -> bool {
    policy.decide(subject, Object::Topic(topic), action).allowed
}

#[test]
fn the_books_files_work_as_they_are() {
    let policy = Policy::parse(book_model(), "policy.csv", BOOK_POLICY).unwrap();
    let decision = policy.decide("root", Object::Topic("default"), Action::Produce);
    assert!(decision.allowed);
    assert_eq!(decision.basis.to_string(), "rule policy.csv:1: p, root, *, produce");
    assert!(on(&policy, "root", "events", Action::Consume));
    let decision = policy.decide("nobody", Object::Topic("default"), Action::Produce);
    assert!(!decision.allowed && decision.rule().is_none());
    assert_eq!(decision.basis.to_string(), "no rule of policy.csv allows it");
    assert!(!on(&policy, "root", "events", Action::Delete));
    assert!(on(&policy, "root", "events", Action::Describe), "whoever reads it may see it");
    assert!(policy.decide("root", Object::SomeTopic, Action::Produce).allowed);
    assert!(!policy.decide("root", Object::Cluster, Action::Admin).allowed);
    // The same rules under the default model say the same.
    let policy = self::policy(BOOK_POLICY);
    assert!(
        on(&policy, "root", "events", Action::Produce) && !on(&policy, "nobody", "events", Action::Produce)
    );
}

#[test]
fn a_literal_model_heeds_the_topic_and_then_any() {
    let text = BOOK_MODEL
        .replace("p = sub, obj, act", "p = sub, obj, act, eft")
        .replace("e = some(where (p.eft == allow))", DENY_WINS);
    let model = Model::parse("model.conf", &text).unwrap();
    let rules = "p, a, *, produce, allow\np, a, secret, produce, deny\np, b, *, produce, deny\np, b, open, produce, allow\n";
    let policy = Policy::parse(model, "policy.csv", rules).unwrap();
    assert!(on(&policy, "a", "open", Action::Produce));
    let denied = policy.decide("a", Object::Topic("secret"), Action::Produce);
    assert_eq!((denied.allowed, denied.rule().unwrap().line), (false, 2), "a deny of the topic wins");
    let denied = policy.decide("b", Object::Topic("open"), Action::Produce);
    assert_eq!((denied.allowed, denied.rule().unwrap().line), (false, 3), "a deny of any wins");
}

const DENY_WINS: &str = "e = some(where (p.eft == allow)) && !some(where (p.eft == deny))";

#[test]
fn prefixes_roles_and_denials() {
    let policy = policy(
        "# who writes logs\n\
         p, writers, logs-*, produce\n\
         p, staff, *, consume, allow\n\
         p, alice, logs-secret, produce, deny\n\
         p, *, news, consume\n\
         p, admin, *, *\n\
         \n\
         g, alice, writers\n\
         g, bob, writers\n\
         g, writers, staff\n\
         g, \"Doe, Jane\", staff\n",
    );
    assert!(on(&policy, "bob", "logs-a", Action::Produce) && !on(&policy, "bob", "log", Action::Produce));
    assert!(on(&policy, "alice", "logs-a", Action::Produce));
    let denied = policy.decide("alice", Object::Topic("logs-secret"), Action::Produce);
    assert_eq!(denied.basis.to_string(), "rule policy.csv:4: p, alice, logs-secret, produce, deny");
    assert!(on(&policy, "bob", "logs-secret", Action::Produce));
    assert!(on(&policy, "bob", "other", Action::Consume), "a role of a role");
    assert!(on(&policy, "Doe, Jane", "other", Action::Consume));
    assert!(
        on(&policy, "stranger", "news", Action::Consume) && !on(&policy, "stranger", "olds", Action::Consume)
    );
    assert!(on(&policy, "writers", "logs-a", Action::Produce), "a role's name is a subject too");
    for action in Action::ALL {
        assert!(on(&policy, "admin", "x", action));
        assert!(policy.decide("admin", Object::Cluster, action).allowed);
        assert!(
            !policy.decide("bob", Object::Cluster, action).allowed
                || action == Action::Consume
                || action == Action::Describe
        );
    }
}

#[test]
fn seeing_follows_from_doing_and_can_be_denied() {
    let policy = policy(
        "p, a, t, produce\np, b, t, create\np, c, t, produce\np, c, t, describe, deny\np, d, t, consume, deny\n",
    );
    assert!(on(&policy, "a", "t", Action::Describe) && !on(&policy, "a", "u", Action::Describe));
    assert!(!on(&policy, "b", "t", Action::Describe), "who makes topics need not see them");
    assert!(!on(&policy, "c", "t", Action::Describe) && on(&policy, "c", "t", Action::Produce));
    assert!(!on(&policy, "d", "t", Action::Describe));
}

#[test]
fn some_topic_is_any_that_a_rule_names() {
    let policy =
        policy("p, a, logs-*, produce\np, b, *, produce, deny\np, b, t, produce\np, c, t, consume\n");
    let some = |subject| policy.decide(subject, Object::SomeTopic, Action::Produce);
    assert!(some("a").allowed);
    let denied = some("b");
    assert_eq!((denied.allowed, denied.rule().unwrap().line), (false, 2));
    assert!(!some("c").allowed && some("c").rule().is_none());
}

#[test]
fn the_first_rule_that_applies_can_decide() {
    let model = crate::DEFAULT_MODEL.replace(DENY_WINS, "e = priority(p.eft) || deny");
    let model = Model::parse("model.conf", &model).unwrap();
    let policy =
        Policy::parse(model, "policy.csv", "p, a, logs-x, produce, allow\np, a, logs-*, produce, deny\n")
            .unwrap();
    assert!(on(&policy, "a", "logs-x", Action::Produce));
    assert!(!on(&policy, "a", "logs-y", Action::Produce));
}

#[test]
fn names_of_any_kind_are_asked_for_without_harm() {
    let policy = policy("p, zoë, logs-*, produce\np, a, é, produce".split('\n').next().unwrap());
    let long = "x".repeat(100_000);
    for name in ["", "*", "logs-*", "é", "lé", "\0", "../../etc", "a\"b", "\\", "${x}", long.as_str()] {
        assert!(!on(&policy, name, "logs-a", Action::Produce) || name == "zoë");
        assert_eq!(on(&policy, "zoë", name, Action::Produce), name == "logs-*", "{name:?}");
    }
}

#[test]
fn a_wrong_line_is_told_with_its_number_and_what_to_do() {
    let long = "x".repeat(1100);
    let long_name = "x".repeat(257);
    for (line, expected) in [
        ("p2, a, t, produce", "\"p2\" begins no line: rules begin with `p`"),
        ("alice, t, produce", "\"alice\" begins no line"),
        ("P, a, t, produce", "\"P\" begins no line"),
        ("p", "the line has 0 fields after its first: write `p, sub, obj, act, eft`"),
        ("p, a, t", "the line has 2 fields after its first"),
        ("p, a, t, produce, allow, x", "the line has 5 fields"),
        ("p, a, t, produce,", "field 5 of the line is empty"),
        ("p, , t, produce", "field 2 of the line is empty"),
        ("p, \"\", t, produce", "field 2 of the line is empty"),
        ("p, a, t, read", "\"read\" is no action: use produce, consume,"),
        ("p, a, t, Produce", "\"Produce\" is no action"),
        ("p, a, t, produce # why", "\"produce # why\" is no action"),
        ("p, a, t, produce, Allow", "\"Allow\" is no effect: use allow or deny"),
        ("p, a, a*b, produce", "\"a*b\" is neither a topic, nor a prefix"),
        ("p, a, *a, produce", "\"*a\" is neither a topic"),
        ("p, a, **, produce", "\"**\" is neither a topic"),
        ("p, a, a b, produce", "\"a b\" is neither a topic"),
        ("p, a, .., produce", "\"..\" is neither a topic"),
        ("p, a, a/b, produce", "\"a/b\" is neither a topic"),
        ("p, \"a, t, produce", "a quote is in the wrong place"),
        ("p, a\"b, t, produce", "a quote is in the wrong place"),
        ("p, \"a\" b, t, produce", "a quote is in the wrong place"),
        ("p, a\u{0}, t, produce", "the line holds control characters"),
        (&format!("p, a, {long}, produce"), "the line has more than 1024 bytes"),
        (&format!("p, {long_name}, t, produce"), "a subject or role has at most 256 bytes"),
        ("g, a", "the line has 1 fields after its first: write `g, subject, role`"),
        ("g, a, b, c", "the line has 3 fields"),
        ("g, a,", "field 3 of the line is empty"),
        ("g, *, b", "with this model `*` is no subject"),
        ("g, a, a", "the roles go round in a circle: a, a"),
        ("p, root, *, produce", "the line is the same as line 2"),
        ("p,root,*,produce,allow", "the line is the same as line 2"),
        ("g, root, ops", "the line is the same as line 3"),
    ] {
        let said = said(Model::default(), &format!("# rules\np, root, *, produce\ng, root, ops\n{line}\n"));
        assert!(said.starts_with(&format!("policy.csv, line 4: {expected}")), "{line}: {said}");
    }
    for empty in ["", "\n# p, root, *, produce\n", "g, a, b\n"] {
        assert!(said(Model::default(), empty).starts_with("policy.csv: it holds no rule"));
    }
    let many: String = (0..=RULES_MAX).map(|at| format!("p, a, t{at}, produce\n")).collect();
    assert!(
        said(Model::default(), &many).starts_with("policy.csv, line 10001: there are more than 10000 rules")
    );
}

#[test]
fn what_a_model_would_pass_over_is_refused() {
    for (line, expected) in [
        ("p, a, logs-*, produce", "\"logs-*\" would match no topic with this model"),
        ("p, a, t, *", "with this model `*` is no action"),
        ("p, *, t, produce", "with this model `*` is no subject"),
        ("p, a, t, produce, allow", "the line has 4 fields after its first: write `p, sub, obj, act`"),
        ("g, a, b", "the model has no roles"),
    ] {
        let said = said(book_model(), line);
        assert!(said.starts_with(&format!("policy.csv, line 1: {expected}")), "{line}: {said}");
    }
    let model = BOOK_MODEL.replace("p = sub, obj, act", "p = sub, obj, act, eft");
    let model = Model::parse("model.conf", &model).unwrap();
    let said = said(model, "p, a, t, produce, deny");
    assert!(said.starts_with("policy.csv, line 1: the model does not heed `deny`"), "{said}");
}

#[test]
fn a_model_that_compiles_and_makes_no_sense_is_refused() {
    for matcher in [
        "r.sub && r.obj",
        "r.sub == p.sub && r.obj",
        "!r.sub",
        "r.sub",
        "r.sub == p.sub &&",
        "(r.sub == p.sub",
        "r.sub , p.sub",
    ] {
        let text = BOOK_MODEL.replace("r.sub == p.sub && r.obj == p.obj && r.act == p.act", matcher);
        let refused = Model::parse("model.conf", &text)
            .and_then(|model| Policy::parse(model, "policy.csv", BOOK_POLICY));
        let said = refused.expect_err(matcher).to_string();
        assert!(said.starts_with("model.conf, line 15: the model cannot be used: "), "{matcher}: {said}");
    }
}

#[test]
fn the_subjects_and_what_is_about_them() {
    let policy = policy(
        "p, writers, logs-*, produce\np, alice, t, consume\np, *, news, consume\ng, alice, writers\ng, bob, writers\n",
    );
    assert_eq!(policy.subjects(), ["*", "alice", "bob"]);
    let about = |subject: &str| {
        let rules = policy.rules_about(subject);
        rules.into_iter().map(|rule| (rule.rule.line, rule.via)).collect::<Vec<_>>()
    };
    let via = |name: &str| Some(name.to_owned());
    assert_eq!(about("alice"), [(1, via("writers")), (2, None), (3, via("*"))]);
    assert_eq!(about("bob"), [(1, via("writers")), (3, via("*"))]);
    assert_eq!(about("*"), [(3, None)]);
}

#[test]
fn many_rules_of_others_change_nothing() {
    let few = "p, a, t, produce\np, writers, logs-*, produce\np, staff, logs-x, produce, deny\ng, b, writers\ng, writers, staff\np, *, news, consume\n";
    let others: String =
        (0..500).map(|at| format!("p, other-{at}, *, *\ng, member-{at}, other-{at}\n")).collect();
    let (small, large) = (policy(few), policy(&format!("{few}{others}")));
    assert!(small.by_subject.is_none() && large.by_subject.is_some());
    assert_eq!(large.rules_to_look_at("b"), 3);
    for subject in ["a", "b", "c", "writers", "*"] {
        for object in [
            Object::Topic("t"),
            Object::Topic("logs-a"),
            Object::Topic("logs-x"),
            Object::Topic("news"),
            Object::Cluster,
            Object::SomeTopic,
        ] {
            for action in Action::ALL {
                let decided = |policy: &Policy| policy.decide(subject, object, action);
                assert_eq!(decided(&small), decided(&large), "{subject} {object} {action}");
            }
        }
    }
    assert!(on(&large, "member-7", "t", Action::Delete));
}

/// What the default model means, said once more without the engine.
fn expected(
    rules: &[Rule],
    links: &[(String, String)],
    subject: &str,
    object: &str,
    action: Action,
) -> (bool, Option<usize>) {
    let mut names = BTreeSet::from([subject, ANY]);
    while let Some((_, role)) = links.iter().find(|(member, role)| {
        names.contains(member.as_str()) && member != ANY && !names.contains(role.as_str())
    }) {
        names.insert(role);
    }
    let applies = |rule: &Rule, object: &str| {
        let object_fits = match rule.object.strip_suffix('*') {
            Some(prefix) => object.starts_with(prefix),
            None => object == rule.object,
        };
        names.contains(rule.subject.as_str())
            && object_fits
            && rule.action.is_none_or(|named| named == action)
    };
    let find =
        |effect| (0..rules.len()).find(|at| rules[*at].effect == effect && applies(&rules[*at], object));
    match (find(Effect::Deny), find(Effect::Allow)) {
        (Some(at), _) => (false, Some(at)),
        (None, Some(at)) => (true, Some(at)),
        (None, None) => (false, None),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_engine_decides_as_the_default_model_says(
        rules in prop::collection::btree_set(("[ab*]|r[12]", "[xy*]|x[xy]|x\\*", 0..3_usize, any::<bool>()), 1..8),
        links in prop::collection::btree_set(("[ab]", "r[12]"), 0..3),
        subject in "[abc]",
        topic in "[xyz]|x[xyz]",
    ) {
        let actions = [Some(Action::Produce), Some(Action::Consume), None];
        let rules: Vec<Rule> = rules.into_iter().map(|(subject, object, action, deny)| Rule {
            file: "policy.csv".into(),
            line: 0,
            text: String::new(),
            subject,
            object,
            action: actions[action],
            effect: if deny { Effect::Deny } else { Effect::Allow },
        }).collect();
        let line = |rule: &Rule| {
            format!("p, {}, {}, {}, {}\n", rule.subject, rule.object, rule.action_word(), rule.effect.as_str())
        };
        let mut text: String = rules.iter().map(line).collect();
        text.extend(links.iter().map(|(member, role)| format!("g, {member}, {role}\n")));
        let links: Vec<_> = links.into_iter().collect();
        let policy = policy(&text);
        for action in [Action::Produce, Action::Consume, Action::Admin] {
            let decision = policy.decide(&subject, Object::Topic(&topic), action);
            let line = decision.rule().map(|rule| rule.line - 1);
            prop_assert_eq!((decision.allowed, line), expected(&rules, &links, &subject, &topic, action), "{}", text);
        }
    }

    #[test]
    fn whatever_stands_in_a_file_there_is_an_answer(text in ".{0,200}", lines in prop::collection::vec("[pg],[ a*\",.#-]{0,12},[a*]{0,2},(produce|\\*|)(,deny)?", 0..6)) {
        let _ = Policy::parse(Model::default(), "policy.csv", &text);
        let _ = Policy::parse(Model::default(), "policy.csv", &lines.join("\n"));
        let _ = Model::parse("model.conf", &text);
    }
}
