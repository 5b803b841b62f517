use super::*;

const BOOK: &str = include_str!("../../testdata/book/model.conf");

fn said(text: &str) -> String {
    Model::parse("model.conf", text).expect_err(text).to_string()
}

/// The default model with something in it replaced.
fn changed(from: &str, to: &str) -> String {
    assert!(DEFAULT_MODEL.contains(from), "{from}");
    DEFAULT_MODEL.replacen(from, to, 1)
}

#[test]
fn the_default_model_has_all_there_is() {
    let model = Model::default();
    assert!(model.has_roles && model.has_prefixes && model.has_any_subject && model.has_any_action);
    assert!(model.heeds_deny() && model.effect_is_last());
    assert_eq!(model.matcher_line, 15);
}

#[test]
fn the_books_model_is_taken_as_it_is() {
    let model = Model::parse("model.conf", BOOK).unwrap();
    assert!(!model.has_roles && !model.has_prefixes && !model.has_any_subject && !model.has_any_action);
    assert!(!model.heeds_deny() && !model.effect_is_last());
    assert_eq!(model.effect, ModelEffect::Allow);
}

#[test]
fn space_comments_and_continued_lines_do_not_matter() {
    let text = "\u{feff}; a comment\r\n[ request_definition ]\r\nr=sub,obj,act # so\r\n[policy_definition]\r\np = act , sub,obj\r\n\
                [policy_effect]\r\ne = some( where(p.eft==allow) )\r\n[matchers]\r\nm = r.sub == p.sub && \\\r\n  # no\r\n\
                r.obj==p.obj&&r.act == p.act\r\n";
    let model = Model::parse("model.conf", text).unwrap();
    assert_eq!(model.matcher, "r.sub == p.sub && r.obj==p.obj&&r.act == p.act");
    assert_eq!(model.fields, [Field::Action, Field::Subject, Field::Object]);
    assert_eq!(model.matcher_line, 9);
}

#[test]
fn what_is_wrong_is_told_with_its_line() {
    for (text, expected) in [
        (
            changed("[request_definition]", "[Request_definition]"),
            "line 2: \"Request_definition\" is no section",
        ),
        (changed("r = sub, obj, act", "r = sub, obj"), "line 3: requests here are `r = sub, obj, act`"),
        (
            changed("r = sub", "r2 = sub"),
            "line 3: \"r2\" means nothing here: [request_definition] has the one key `r`",
        ),
        (changed("p = sub, obj, act, eft", "p = sub, obj, eft"), "line 6: rules here have the fields"),
        (changed("p = sub, obj, act, eft", "p = sub, obj, act, dom"), "line 6: rules here have the fields"),
        (changed("p = sub, obj, act, eft", "p = sub, sub, obj, act"), "line 6: rules here have the fields"),
        (changed("g = _, _", "g = _, _, _"), "line 9: roles here are `g = _, _`"),
        (changed("g = _, _", "g = _, _\ng = _, _"), "line 10: `g` stands twice"),
        (changed("[role_definition]\ng = _, _", ""), "line 14: the model has no roles"),
        (
            changed("g(r.sub, p.sub)", "r.sub == p.sub"),
            "line 15: roles are defined, and the matcher does not ask",
        ),
        (
            changed("some(where (p.eft == allow)) && ", ""),
            "line 12: this effect allows whatever no rule denies",
        ),
        (changed("e = some", "e = all"), "line 12: effects here are"),
        (changed("m = ", "= "), "line 15: \"\" means nothing here"),
        (changed("m = (", "m ("), "line 15: "),
        (
            changed("[matchers]", "[matchers]\nnonsense"),
            "line 15: the line is neither a [section] nor `key = value`",
        ),
        (format!("x = 1\n{DEFAULT_MODEL}"), "line 1: the line is neither a [section]"),
        (changed("keyMatch(", "keyMatch2("), "line 15: \"keyMatch2\" cannot stand in a matcher"),
        (changed("keyMatch(", "regexMatch("), "line 15: \"regexMatch\" cannot stand in a matcher"),
        (changed("keyMatch(r.obj, p.obj)", "keyMatch"), "line 15: \"keyMatch\" cannot stand in a matcher"),
        (changed("r.act == p.act", "eval(p.act)"), "line 15: \"eval\" cannot stand in a matcher"),
        (changed("r.act == p.act", "r.act == p.action"), "line 15: \"p.action\" cannot stand in a matcher"),
        (
            changed("r.act == p.act", "r.sub.name == p.act"),
            "line 15: \"r.sub.name\" cannot stand in a matcher",
        ),
        (changed("r.act == p.act", "r.act + p.act"), "line 15: \"+\" cannot stand in a matcher"),
        (changed("r.act == p.act", "r.act == 'x'"), "line 15: \"'\" cannot stand in a matcher"),
        (changed("r.act == p.act", "r.act == \"x"), "line 15: \"\\\"\" cannot stand in a matcher"),
        (changed("r.act == p.act", "{loop {}}"), "line 15: \"{\" cannot stand in a matcher"),
        (
            changed("r.act == p.act", &format!("{}r.act == p.act{}", "(".repeat(16), ")".repeat(16))),
            "line 15: a matcher has at most",
        ),
        (changed("r.act == p.act", "!!(r.act == p.act)"), "line 15: a matcher has at most"),
        (
            changed("m = ", &format!("m = {}", "r.obj == p.obj || \\\n".repeat(100))),
            "line 15: a matcher has at most",
        ),
        (changed("r = sub", "r\u{7} = sub"), "line 3: the line holds control characters"),
        (changed("[matchers]", &"x".repeat(2000)), "line 14: the line has more than 1024 bytes"),
    ] {
        let said = said(&text);
        assert!(said.starts_with(&format!("model.conf, {expected}")), "{said}\n  expected {expected}");
    }
    let empty_matcher = DEFAULT_MODEL.split("m = ").next().unwrap().to_owned() + "m =";
    assert!(said(&empty_matcher).contains("cannot stand in a matcher"));
    for section in ["request_definition", "policy_definition", "policy_effect", "matchers"] {
        let start = BOOK.find(&format!("[{section}]")).unwrap();
        let rest = &BOOK[start + 1..];
        let end = rest.find('[').map_or(BOOK.len(), |at| start + 1 + at);
        let said = said(&format!("{}{}", &BOOK[..start], &BOOK[end..]));
        assert!(said.starts_with(&format!("model.conf: [{section}] with `")), "{said}");
    }
}

#[test]
fn a_matcher_binds_the_subject_where_that_is_sure() {
    let binds = |matcher: &str| {
        let text = BOOK.replace("r.sub == p.sub && r.obj == p.obj && r.act == p.act", matcher);
        Model::parse("model.conf", &text).expect(matcher).binds_subject
    };
    assert!(Model::default().binds_subject);
    for matcher in [
        "r.sub == p.sub && r.obj == p.obj",
        "(r.obj == p.obj || r.obj == \"x\") && (p.sub == \"*\" || r.sub == p.sub)",
    ] {
        assert!(binds(matcher), "{matcher}");
    }
    for matcher in [
        "r.sub == p.sub || r.sub == \"root\"",
        "r.obj == p.obj && r.sub == p.sub || r.act == p.act",
        "(r.sub == p.sub || r.sub == \"root\") && r.obj == p.obj",
        "r.obj == p.obj && !(r.sub == p.sub)",
        "r.sub != p.sub && r.obj == p.obj",
        "r.sub == p.sub == (r.obj == p.obj)",
        "(r.sub == p.sub && r.obj == p.obj)",
    ] {
        assert!(!binds(matcher), "{matcher}");
    }
}
