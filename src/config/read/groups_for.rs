//! `[[cluster.NAME.groups_for]]`: whose groups and transactional ids are whose.

use super::access::{By, read_list};
use super::node::Node;
use super::topics::{Names, RULES_MAX, read_matcher, refuse_covered};
use crate::rules::{GroupRule, GroupRules, Matcher};

/// Reads them; `is_known`: it is known whom brokers see.
pub(super) fn read_groups_for(cluster: &Node<'_>, by: By<'_>, is_known: bool) -> Option<GroupRules> {
    let Some(list) = cluster.written("groups_for") else {
        return Some(GroupRules::default());
    };
    if is_known && !by.authorises {
        list.complain_of_the_name(
            "brokers do not see one and the same for all clients, so that this is theirs to decide",
            "write kind = \"one\" in [cluster.NAME.upstream_login], or remove it",
        );
        return None;
    }
    let count = list.elements()?.len();
    if count > RULES_MAX {
        list.complain(
            &format!("these are more than {RULES_MAX} rules"),
            "match several names with one rule",
        );
        return None;
    }
    let mut earlier: Vec<(Matcher, Option<usize>)> = Vec::new();
    let mut rules = Vec::new();
    for node in cluster.tables("groups_for") {
        let matcher = read_matcher(&node, &NAMES);
        if let Some(matcher) = &matcher {
            refuse_covered(&node, matcher, &earlier, "names");
            earlier.push((matcher.clone(), node.line()));
        }
        if node.get("for").is_none() {
            continue;
        }
        let users = read_list(&node, "for", by).flatten();
        if let (Some(matcher), Some(users)) = (matcher, users) {
            rules.push(GroupRule { matcher, users });
        }
    }
    (rules.len() == count).then(|| GroupRules::new(rules))
}

/// Groups may be called anything.
const NAMES: Names = Names {
    glob: Matcher::glob_of_any,
    exact: Matcher::exact_of_any,
    forms: "write a glob such as \"payments-*\", or { exact = \"payments\" }, or { regex = 'team-[a-z]+-.*' }",
};
