//! What rules become, and which are refused.

use std::sync::Arc;

use super::{BASE, load, only_mistake};
use crate::envelope::HeaderMode;
use crate::ids::KmsId;
use crate::rules::{Action, Forms, OnUnreadable};

#[test]
fn rules_that_can_never_match_are_refused() {
    let with_rules = |rules: &[&str]| {
        let head = BASE.split("[[cluster.main.topics]]").next().unwrap_or_default();
        let head = head
            .split_once("[cluster")
            .map(|(_, rest)| format!("[cluster{rest}"))
            .unwrap_or_default();
        let rules: String = rules
            .iter()
            .map(|rule| format!("[[cluster.main.topics]]\nmatch = {rule}\npass = true\n"))
            .collect();
        load(&format!("{head}{rules}"))
    };
    for (rules, unreachable) in [
        (&["\"a\"", "\"a\""][..], Some(1)),
        (&["\"*\"", "\"a\""], Some(1)),
        (&["\"**\"", "{ regex = \"a.c\" }"], Some(1)),
        (&["{ regex = \".*\" }", "\"b-*\""], Some(1)),
        (&["\"b\"", "\"a-*\"", "{ exact = \"a-1\" }"], Some(2)),
        (&["{ regex = \"a-[0-9]\" }", "{ exact = \"a-1\" }"], Some(1)),
        (&["{ regex = \"a-[0-9]\" }", "{ regex = \"a-[0-9]\" }"], Some(1)),
        (&["\"a-?*\"", "\"a-1*\""], Some(1)),
        (&["\"a-1*\"", "\"a-?*\""], None),
        (&["\"a-?\"", "\"a-*\""], None),
        (&["{ exact = \"a-1\" }", "\"a-*\"", "\"*\""], None),
    ] {
        match (with_rules(rules), unreachable) {
            (Ok(_), None) => {}
            (Err(errors), Some(index)) => {
                let error = only_mistake(Err(errors));
                assert_eq!(
                    error.key,
                    format!("cluster.main.topics[{index}].match"),
                    "{rules:?}"
                );
                assert!(error.problem.contains("can never match"), "{error}");
            }
            (result, expected) => panic!("{rules:?}: {expected:?}, {result:?}"),
        }
    }
}

#[test]
fn rules_become_what_they_say() {
    let text = BASE.replace(
        "[[cluster.main.topics]]",
        r#"[kms.old]
provider = "file"
path = "old.json"
master_key = { systemd_credential = "old" }

[[cluster.main.topics]]
match = { regex = '(?<team>[a-z]+)\.(.*)' }
kms = "local"
kek = "${team}/$$/${2}"
open_keks = ["old-${1}", { kms = "old", kek = "${topic}" }]
domain = "d:${2}"
open_domains = ["eu.${topic}"]
headers = "bound"
open_headers = "free"
accept = ["sealwire", "tombstone"]
max_message_bytes = "2MiB"
on_unreadable = "skip"

[[cluster.main.topics]]
match = "gone-*"
reject = true
reason = "moved"

[[cluster.main.topics]]
match = "public-?"
pass = true

[[cluster.main.topics]]"#,
    );
    let config = load(&text).unwrap_or_else(|errors| panic!("{errors}"));
    let rules = &config.clusters.first().expect("a cluster").rules;
    let action = |topic: &str| rules.resolve(topic).map(|rule| rule.action);
    let Some(Action::Seal(seal)) = action("core.orders") else {
        panic!("it seals")
    };
    assert_eq!(&*seal.kek, "core/$/orders");
    let named = |(kms, kek): &(KmsId, Arc<str>)| format!("{}: {kek}", config.ids.kms.name(*kms));
    let keks: Vec<_> = seal.open_keks.iter().map(named).collect();
    assert_eq!(
        keks,
        ["local: core/$/orders", "local: old-core", "old: core.orders"]
    );
    assert_eq!(
        (seal.domain.name(), seal.max_message_bytes),
        ("d:orders", 2 << 20)
    );
    assert_eq!(
        seal.open_domains
            .iter()
            .map(|domain| domain.name())
            .collect::<Vec<_>>(),
        ["eu.core.orders"]
    );
    assert_eq!(
        (seal.headers, seal.open_headers, seal.on_unreadable),
        (HeaderMode::Bound, HeaderMode::Free, OnUnreadable::Skip)
    );
    assert!(seal.accept.contains(Forms::TOMBSTONE) && !seal.accept.contains(Forms::PLAINTEXT));
    assert!(matches!(action("gone-1"), Some(Action::Reject { reason: Some(reason) }) if &*reason == "moved"));
    assert!(matches!(action("public-1"), Some(Action::Pass(_))));
    assert!(action("public-12").is_none() && action("unknown").is_none());
    assert!(matches!(
        action("__consumer_offsets"),
        Some(Action::KafkaInternal)
    ));
    let refused = action(&format!("core.{}", "x".repeat(244)));
    assert!(matches!(refused, Some(Action::Seal(_))), "249 bytes fit");
}

#[test]
fn a_rule_knows_the_name_of_its_cluster() {
    let keys = r#"domain = "${cluster}/${topic}"
open_domains = ["${topic}", "old-${cluster}"]"#;
    let config = load(&with_rule_keys(keys)).unwrap_or_else(|errors| panic!("{errors}"));
    let rules = config.clusters.first().map(|cluster| cluster.rules.clone());
    let rule = rules.and_then(|rules| rules.resolve("payments-1"));
    let Some(Action::Seal(seal)) = rule.map(|rule| rule.action) else {
        panic!("it seals")
    };
    assert_eq!(seal.domain.name(), "main/payments-1");
    let further: Vec<_> = seal.open_domains.iter().map(|domain| domain.name()).collect();
    assert_eq!(further, ["payments-1", "old-main"]);
}

#[test]
fn readers_may_get_weaker_headers_only_where_it_is_written() {
    use HeaderMode::{Bound, Free, Sealed};
    let read = |keys: &str| {
        let config = load(&with_rule_keys(keys)).unwrap_or_else(|errors| panic!("{keys}: {errors}"));
        let rules = config.clusters.first().map(|cluster| cluster.rules.clone());
        match rules
            .and_then(|rules| rules.resolve("payments-1"))
            .map(|rule| rule.action)
        {
            Some(Action::Seal(seal)) => (seal.headers, seal.open_headers),
            other => panic!("{other:?}"),
        }
    };
    for (keys, expected) in [
        ("", (Sealed, Sealed)),
        ("headers = \"bound\"", (Bound, Bound)),
        ("headers = \"free\"", (Free, Free)),
        ("open_headers = \"bound\"", (Sealed, Bound)),
        ("open_headers = \"free\"", (Sealed, Free)),
        ("headers = \"bound\"\nopen_headers = \"bound\"", (Bound, Bound)),
    ] {
        assert_eq!(read(keys), expected, "{keys}");
    }
    for keys in [
        "headers = \"bound\"\nopen_headers = \"sealed\"",
        "headers = \"free\"\nopen_headers = \"bound\"",
        "open_headers = \"weak\"",
    ] {
        let error = only_mistake(load(&with_rule_keys(keys)));
        assert_eq!(error.key, "cluster.main.topics[0].open_headers", "{error}");
    }
}

/// ENV-46: nobody has verified the key of a record that does not open.
#[test]
fn a_record_that_does_not_open_deletes_nothing_unless_tombstones_are_accepted() {
    for (keys, good) in [
        ("on_unreadable = \"null\"", false),
        ("on_unreadable = \"null\"\naccept = [\"sealwire\"]", false),
        (
            "on_unreadable = \"null\"\naccept = [\"sealwire\", \"plaintext\"]",
            false,
        ),
        (
            "on_unreadable = \"null\"\naccept = [\"sealwire\", \"tombstone\"]",
            true,
        ),
        ("on_unreadable = \"skip\"", true),
    ] {
        let read = load(&with_rule_keys(keys));
        if good {
            assert!(read.is_ok(), "{keys}: {read:?}");
        } else {
            let error = only_mistake(read);
            assert_eq!(error.key, "cluster.main.topics[0].on_unreadable", "{error}");
            assert!(error.fix.contains("tombstone"), "{error}");
        }
    }
}

/// BASE with further lines in its rule.
fn with_rule_keys(keys: &str) -> String {
    BASE.replace("kek = \"payments\"\n", &format!("kek = \"payments\"\n{keys}\n"))
}
