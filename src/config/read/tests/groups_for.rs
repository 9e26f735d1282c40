//! `[[cluster.NAME.groups_for]]`, and lists of topics that pass where brokers see one and the same.

use super::{BASE, load, only_mistake};
use crate::rules::{Action, Asking, Users};

/// The base with logins, a group, and this kind of login at brokers; these lines stand before its rules.
fn with(kind: &str, lines: &str) -> String {
    let sasl = "[cluster.main.listeners.sasl]\ncredentials = \"users\"\n";
    let groups = "[cluster.main.groups]\npayments = [\"User:app-2\"]\n";
    let login = format!("[cluster.main.upstream_login]\nkind = {kind:?}\n");
    BASE.replace("\"network\"", "\"sasl\"").replacen(
        "[[cluster.main.topics]]",
        &format!("{sasl}{groups}{login}{lines}\n[[cluster.main.topics]]"),
        1,
    )
}

/// A rule for groups.
fn rule(matching: &str, users: &str) -> String {
    format!("[[cluster.main.groups_for]]\nmatch = {matching}\nfor = {users}\n")
}

#[test]
fn whose_groups_are_whose_is_read() {
    let lines = rule("\"payments-*\"", "[\"User:app-1\", \"group:payments\"]")
        + &rule("{ exact = \"Zählung / 1\" }", "[\"User:app-3\"]")
        + &rule("{ regex = 'team-[a-z]+' }", "[\"User:team-*\"]");
    let config = load(&with("one", &lines)).unwrap_or_else(|errors| panic!("{errors}"));
    let rules = &config.clusters[0].groups_for;
    let permit = |name, user| rules.permit(name, Asking::Principal(Some(user)));
    for (name, user, expected) in [
        ("payments-1", "app-1", true),
        ("payments-1", "app-2", true),
        ("payments-1", "app-3", false),
        ("Zählung / 1", "app-3", true),
        ("team-a", "team-b", true),
        ("other", "app-1", false),
    ] {
        assert_eq!(permit(name, user), expected, "{name} {user}");
    }
    let config = load(&with("one", "")).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(config.clusters[0].groups_for.count(), 0);
}

#[test]
fn mistakes_in_rules_for_groups_are_told() {
    for (lines, key, problem) in [
        (rule("\"\"", "[\"User:a\"]"), "[0].match", "is empty"),
        (
            rule("{ regex = '(' }", "[\"User:a\"]"),
            "[0].match.regex",
            "regular expression",
        ),
        (rule("\"a\"", "[\"a\"]"), "[0].for[0]", "not a principal"),
        (
            rule("\"a\"", "[\"group:none\"]"),
            "[0].for[0]",
            "no group of this name",
        ),
        (
            "[[cluster.main.groups_for]]\nmatch = \"a\"\n".to_owned(),
            "[0].for",
            "has no for",
        ),
        (
            rule("\"a*\"", "[\"User:a\"]") + &rule("\"ab\"", "[\"User:b\"]"),
            "[1].match",
            "takes all its names",
        ),
    ] {
        let error = only_mistake(load(&with("one", &lines)));
        assert_eq!(error.key, format!("cluster.main.groups_for{key}"), "{error}");
        assert!(error.problem.contains(problem), "{error}");
    }
    let rule = rule("\"a\"", "[\"User:a\"]");
    let error = only_mistake(load(&with("pass", &rule)));
    assert_eq!(error.key, "cluster.main.groups_for", "{error}");
    assert!(error.fix.contains("kind = \"one\""), "{error}");
    // Where nobody has a name there is nobody to list.
    let nameless = with("one", &rule).replace("\"sasl\"", "\"network\"");
    let nameless = nameless.replace("[cluster.main.listeners.sasl]\ncredentials = \"users\"\n", "");
    let error = only_mistake(load(&nameless));
    assert_eq!(error.key, "cluster.main.groups_for[0].for", "{error}");
}

#[test]
fn topics_that_pass_are_for_whom_the_rule_names_where_brokers_see_one() {
    let passing = |lines: &str| format!("[[cluster.main.topics]]\nmatch = \"open-*\"\npass = true\n{lines}");
    let users = |kind, lines: &str| {
        let config = load(&with(kind, &passing(lines))).unwrap_or_else(|errors| panic!("{errors}"));
        match config.clusters[0].rules.resolve("open-1").map(|rule| rule.action) {
            Some(action @ Action::Pass(_)) => match action.users() {
                Users::Everybody => None,
                users => Some(["app-1", "app-2", "app-3"].map(|name| {
                    let asking = Asking::Principal(Some(name));
                    (users.see(asking), users.store(asking))
                })),
            },
            action => panic!("{action:?}"),
        }
    };
    let lists = "open_for = [\"User:app-1\"]\nseal_for = [\"group:payments\"]";
    let [reader, writer, other] = users("one", lists).expect("not everybody");
    assert_eq!(
        (reader, writer, other),
        ((true, false), (true, true), (false, false))
    );
    assert_eq!(users("one", ""), Some([(false, false); 3]));
    assert_eq!(users("pass", ""), None);
    let error = only_mistake(load(&with("pass", &passing("open_for = [\"User:app-1\"]"))));
    assert!(error.problem.contains("pass = true"), "{error}");
    let error = only_mistake(load(&with("one", &passing("raw_for = [\"User:app-1\"]"))));
    assert!(error.problem.contains("pass = true"), "{error}");
}
