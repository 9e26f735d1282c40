//! Lists of principals of a rule, beside each other and beside listeners.

use super::{BASE, load, mistakes, only_mistake};
use crate::rules::{Access, Action, Asking};

/// The base with logins, two groups, and these lines in its rule.
fn with(lines: &str) -> String {
    let sasl = "[cluster.main.listeners.sasl]\ncredentials = \"users\"\n";
    let groups =
        "[cluster.main.groups]\nmirrors = [\"User:m-*\", \"User:backup\"]\nfiled = \"filed.group\"\n";
    BASE.replace("\"network\"", "\"sasl\"")
        .replacen(
            "[[cluster.main.topics]]",
            &format!("{sasl}{groups}[[cluster.main.topics]]"),
            1,
        )
        .replacen("kek = \"payments\"", &format!("kek = \"payments\"\n{lines}"), 1)
}

fn access(lines: &str) -> Access {
    let config = load(&with(lines)).unwrap_or_else(|errors| panic!("{lines}: {errors}"));
    match config.clusters[0]
        .rules
        .resolve("payments-a")
        .map(|rule| rule.action)
    {
        Some(Action::Seal(rule)) => rule.access,
        action => panic!("{action:?}"),
    }
}

#[test]
fn whoever_gets_records_as_they_are_stored_is_read() {
    let raw = access("raw_for = [\"group:mirrors\", \"User:copy\"]\nopen_for = [\"User:*\"]");
    for (name, expected) in [("m-1", true), ("backup", true), ("copy", true), ("app", false)] {
        assert_eq!(raw.is_raw(Asking::Principal(Some(name))), expected, "{name}");
    }
    assert!(raw.raw_verify);
    assert!(!access("raw_for = [\"User:copy\"]\nraw_verify = false").raw_verify);
}

#[test]
fn nobody_gets_both_what_is_stored_and_what_is_opened() {
    for (raw, other) in [
        ("User:copy", "User:copy"),
        ("User:m-*", "User:m-*"),
        ("group:mirrors", "group:mirrors"),
        ("group:filed", "group:filed"),
        ("group:mirrors", "User:backup"),
        ("User:m-*", "group:mirrors"),
    ] {
        for list in ["open_for", "seal_for"] {
            let lines = format!("raw_for = [\"User:x\", {raw:?}]\n{list} = [\"User:y\", {other:?}]");
            let error = only_mistake(load(&with(&lines)));
            assert_eq!(error.key, format!("cluster.main.topics[0].{list}[1]"), "{error}");
            assert!(error.problem.contains("raw_for"), "{error}");
        }
    }
    // Where patterns overlap otherwise, what is stored wins.
    for (raw, other) in [("User:m-1", "User:m-*"), ("group:mirrors", "group:filed")] {
        access(&format!(
            "raw_for = [{raw:?}]\nopen_for = [{other:?}]\nseal_for = [{other:?}]"
        ));
    }
}

#[test]
fn what_cannot_be_meant_is_a_mistake() {
    for (lines, key, problem) in [
        ("raw_verify = false", "raw_verify", "there is nobody"),
        ("raw_verify = true", "raw_verify", "there is nobody"),
        ("raw_for = \"User:copy\"", "raw_for", "not a list"),
        ("raw_for = [7]", "raw_for[0]", ""),
        ("raw_for = [\"copy\"]", "raw_for[0]", "not a principal"),
        ("raw_for = [\"group:none\"]", "raw_for[0]", "no group"),
    ] {
        let error = only_mistake(load(&with(lines)));
        assert_eq!(error.key, format!("cluster.main.topics[0].{key}"), "{error}");
        assert!(error.problem.contains(problem), "{error}");
    }
}

#[test]
fn what_is_nearly_a_principal_is_told_how_it_is_written() {
    for (written, fix) in [
        ("Group:mirrors", "write \"group:mirrors\" for a group"),
        ("GROUP:mirrors", "write \"group:mirrors\" for a group"),
        (
            "User:User:app",
            "write \"User:app\"; if somebody is really called that: \"User:?ser:app\"",
        ),
        ("user:app", "write \"User:app\""),
        ("app", "write \"User:app\""),
        ("CN=app,O=a:b", "write \"User:CN=app,O=a:b\""),
        ("User:", "write \"User:NAME\""),
        ("", "write \"User:NAME\""),
    ] {
        let error = only_mistake(load(&with(&format!("open_for = [{written:?}]"))));
        assert!(error.fix.starts_with(fix), "{written}: {error}");
        assert_eq!(error.problem, "this is not a principal");
    }
    for (group, fix) in [
        ("\"User:app\"", "write [\"User:app\"]"),
        ("\"user:app\"", "write \"User:app\""),
        ("\"group:mirrors\"", "write the members themselves"),
        ("[\"group:mirrors\"]", "write the members themselves"),
        ("[\"User:User:app\"]", "write \"User:app\""),
    ] {
        let text = with("").replace("\"filed.group\"", group);
        let error = only_mistake(load(&text));
        assert!(error.key.starts_with("cluster.main.groups.filed"), "{error}");
        assert!(error.fix.starts_with(fix), "{group}: {error}");
    }
}

/// Who logs in at the broker has a name that the broker gives.
#[test]
fn lists_need_names_that_no_broker_gives() {
    for auth in ["network", "broker"] {
        let nameless = BASE.replace("\"network\"", &format!("{auth:?}"));
        assert!(load(&nameless).is_ok(), "{auth}");
        for list in ["open_for", "seal_for", "raw_for"] {
            let line = format!("kek = \"payments\"\n{list} = [\"User:app\"]");
            let error = only_mistake(load(&nameless.replacen("kek = \"payments\"", &line, 1)));
            assert_eq!(error.key, format!("cluster.main.topics[0].{list}"), "{error}");
            assert!(error.problem.contains("have no names"), "{error}");
        }
    }
    let with_sasl = BASE.replace("\"network\"", "\"broker\"").replacen(
        "[[cluster.main.topics]]",
        "[cluster.main.listeners.sasl]\ncredentials = \"users\"\n[[cluster.main.topics]]",
        1,
    );
    let told = mistakes(load(&with_sasl));
    assert!(
        matches!(&told[..], [one] if one.contains("listeners[0].sasl")),
        "{told:?}"
    );
}
