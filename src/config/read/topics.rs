//! `[[cluster.NAME.topics]]`: rules, and rules that can never match.

mod seal;

use std::collections::BTreeSet;

use figment::value::Value;

use self::seal::read_seal;
use super::access::{By, read_access};
use super::keystores::KmsList;
use super::node::{Node, unless_mistaken};
use crate::config::schema;
use crate::rules::{KAFKA_TOPICS, Matcher, MatcherError, Rule, RuleAction, RuleSet};

/// Reads the rules of one cluster and notes the KMSs that they use.
pub(super) fn read_rules(
    name: &str,
    cluster: &Node<'_>,
    kms: &KmsList<'_>,
    used: &mut BTreeSet<usize>,
    by: By<'_>,
) -> Option<RuleSet> {
    let list = cluster.get("topics")?;
    let Value::Array(_, values) = &list.value else {
        list.complain("this is not a list", &list.example());
        return None;
    };
    if values.is_empty() {
        list.complain(
            "there is no rule, so that every topic would be refused",
            &list.example(),
        );
        return None;
    }
    if values.len() > RULES_MAX {
        list.complain(
            &format!("these are more than {RULES_MAX} rules"),
            "match several topics with one rule",
        );
        return None;
    }
    let mut earlier: Vec<(Matcher, Option<usize>)> = Vec::new();
    let mut rules = Vec::new();
    for node in cluster.tables("topics") {
        let matcher = read_matcher(&node, &TOPICS);
        if let Some(matcher) = &matcher {
            refuse_unreachable(&node, matcher, &earlier);
            earlier.push((matcher.clone(), node.line()));
        }
        let scope = Scope {
            cluster: name,
            matcher: matcher.as_ref(),
            by,
        };
        let action = read_action(&node, scope, kms, used);
        if let (Some(matcher), Some(action)) = (matcher, action) {
            rules.push(Rule { matcher, action });
        }
    }
    (rules.len() == values.len()).then(|| RuleSet::new(rules))
}

/// What templates of a rule may speak of.
#[derive(Clone, Copy)]
struct Scope<'a> {
    cluster: &'a str,
    /// `None`: there is a mistake in it.
    matcher: Option<&'a Matcher>,
    by: By<'a>,
}

/// How the names that rules are about may be written.
pub(super) struct Names {
    pub(super) glob: fn(&str) -> Result<Matcher, MatcherError>,
    pub(super) exact: fn(&str) -> Result<Matcher, MatcherError>,
    /// What is told of whoever has written them otherwise.
    pub(super) forms: &'static str,
}

const TOPICS: Names = Names {
    glob: Matcher::glob,
    exact: Matcher::exact,
    forms: "write a glob such as \"payments-*\", or { exact = \"payments\" }, or { regex = 'team-([a-z]+)-.*' }",
};

/// Reads the `match` of a rule.
pub(super) fn read_matcher(node: &Node<'_>, names: &Names) -> Option<Matcher> {
    let written = node.get("match")?;
    let (place, parsed): (Node<'_>, Result<Matcher, MatcherError>) = match &written.value {
        Value::String(_, text) => (written.clone(), (names.glob)(text)),
        Value::Dict(..) => {
            let table = written.checked_table()?;
            match (table.written("exact"), table.written("regex")) {
                (Some(exact), None) => (exact.clone(), (names.exact)(&exact.as_text()?)),
                (None, Some(regex)) => (regex.clone(), Matcher::regex(&regex.as_text()?)),
                _ => {
                    table.complain("this is neither an exact name nor an expression", names.forms);
                    return None;
                }
            }
        }
        Value::Array(..) => {
            let problem = "lists are not taken: a rule has one name, pattern or expression";
            written.complain(problem, names.forms);
            return None;
        }
        _ => {
            written.complain("this matches nothing", names.forms);
            return None;
        }
    };
    parsed
        .map_err(|error| place.complain(&format!("this {error}"), names.forms))
        .ok()
}

fn refuse_unreachable(node: &Node<'_>, matcher: &Matcher, earlier: &[(Matcher, Option<usize>)]) {
    let Some(written) = node.written("match") else {
        return;
    };
    if let Matcher::Exact(name) = matcher
        && KAFKA_TOPICS.contains(&&**name)
    {
        written.complain(
            "this rule can never match: Kafka's own topics are outside of the rules (fetched, never sealed, never \
             produced)",
            "remove the rule",
        );
        return;
    }
    refuse_covered(node, matcher, earlier, "topics");
}

/// Complains of a rule to which earlier ones leave nothing.
pub(super) fn refuse_covered(
    node: &Node<'_>,
    matcher: &Matcher,
    earlier: &[(Matcher, Option<usize>)],
    what: &str,
) {
    let Some(written) = node.written("match") else {
        return;
    };
    if let Some((index, (first, line))) = earlier
        .iter()
        .enumerate()
        .find(|(_, (first, _))| first.covers(matcher))
    {
        let line = line.map(|line| format!(", line {line}")).unwrap_or_default();
        written.complain(
            &format!(
                "this rule can never match: rule {} (match {first}{line}) takes all its {what}",
                index.saturating_add(1)
            ),
            "move it before that rule, or remove it",
        );
    }
}

fn read_action(
    node: &Node<'_>,
    scope: Scope<'_>,
    kms: &KmsList<'_>,
    used: &mut BTreeSet<usize>,
) -> Option<RuleAction> {
    let pass = read_true(node, "pass")?;
    let reject = read_true(node, "reject")?;
    let others: &[&str] = match (pass, reject) {
        (true, true) => {
            node.complain(
                "this rule passes and rejects",
                "write either pass = true or reject = true",
            );
            return None;
        }
        // Where brokers see one and the same, they cannot protect what passes.
        (true, false) if scope.by.authorises => &["match", "pass", "open_for", "seal_for"],
        (true, false) => &["match", "pass"],
        (false, true) => &["match", "reject", "reason"],
        (false, false) if node.written("kek").is_none() && node.written("kms").is_none() => {
            node.complain(
                "this rule does not say what happens to its topics",
                "write kms and kek to seal them, or pass = true, or reject = true",
            );
            return None;
        }
        (false, false) => {
            if let Some(reason) = node.written("reason") {
                reason.complain("a reason is only given beside reject = true", "remove it");
            }
            return read_seal(node, scope, kms, used).map(|seal| RuleAction::Seal(Box::new(seal)));
        }
    };
    refuse_beside(node, if pass { "pass = true" } else { "reject = true" }, others);
    // A KMS that is named in vain is not called unused as well.
    used.extend(
        node.written("kms")
            .and_then(|name| kms.position(name.value.as_str()?)),
    );
    if pass {
        let access = scope.by.authorises.then(|| read_access(node, scope.by));
        return unless_mistaken(access).map(RuleAction::Pass);
    }
    let reason = unless_mistaken(node.written("reason").map(|written| read_reason(&written)))?;
    Some(RuleAction::Reject {
        reason: reason.map(Into::into),
    })
}

/// Notes the keys that mean nothing beside `action`.
fn refuse_beside(node: &Node<'_>, action: &str, allowed: &[&str]) {
    let meaningless = |name: &&str| !allowed.contains(name) && node.written(name).is_some();
    let names: Vec<_> = schema::names_under(RULE_PATH).filter(meaningless).collect();
    if let Some(first) = names.first().and_then(|name| node.written(name)) {
        let problem = match names.as_slice() {
            [_] => format!("this means nothing beside {action}"),
            _ => format!("{} mean nothing beside {action}", names.join(", ")),
        };
        first.complain(&problem, &format!("remove either this or {action}"));
    }
}

/// A flag that is only ever `true`.
fn read_true(node: &Node<'_>, name: &str) -> Option<bool> {
    let Some(written) = node.written(name) else {
        return Some(false);
    };
    if node.flag(name)? {
        return Some(true);
    }
    written.complain("this says nothing", &format!("write {name} = true, or remove it"));
    None
}

fn read_reason(written: &Node<'_>) -> Option<String> {
    let reason = written.as_text()?;
    let legal = (1..=REASON_BYTES_MAX).contains(&reason.len()) && !reason.chars().any(char::is_control);
    if !legal {
        written.complain(
            "this is not a line of text",
            &format!("write 1 to {REASON_BYTES_MAX} bytes without line breaks"),
        );
        return None;
    }
    Some(reason)
}

/// Far more than anyone writes by hand; looking for rules that can never match takes time in the square of it.
pub(super) const RULES_MAX: usize = 1000;

/// It goes into every refusal that a client gets.
const REASON_BYTES_MAX: usize = 256;

/// A rule in the schema.
const RULE_PATH: &str = "cluster.*.topics.[]";
