//! `[[cluster.NAME.topics]]`: rules, and rules that can never match.

use std::collections::BTreeSet;

use figment::value::Value;

use super::keystores::KmsList;
use super::node::Node;
use crate::config::schema;
use crate::envelope::HeaderMode;
use crate::ids::KmsId;
use crate::rules::{
    Captures, Forms, KAFKA_TOPICS, KEK_BYTES_MAX, Matcher, MatcherError, OnUnreadable, Rule, RuleAction,
    RuleSet, SealTemplate, Template,
};

/// Reads the rules of one cluster and notes the KMSs that they use.
pub(super) fn read_rules(
    name: &str,
    cluster: &Node<'_>,
    kms: &KmsList<'_>,
    used: &mut BTreeSet<usize>,
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
        let matcher = read_matcher(&node);
        if let Some(matcher) = &matcher {
            refuse_unreachable(&node, matcher, &earlier);
            earlier.push((matcher.clone(), node.line()));
        }
        let scope = Scope {
            cluster: name,
            matcher: matcher.as_ref(),
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
}

fn read_matcher(node: &Node<'_>) -> Option<Matcher> {
    let written = node.get("match")?;
    let (place, parsed): (Node<'_>, Result<Matcher, MatcherError>) = match &written.value {
        Value::String(_, text) => (written.clone(), Matcher::glob(text)),
        Value::Dict(..) => {
            let table = written.checked_table()?;
            match (table.written("exact"), table.written("regex")) {
                (Some(exact), None) => (exact.clone(), Matcher::exact(&exact.as_text()?)),
                (None, Some(regex)) => (regex.clone(), Matcher::regex(&regex.as_text()?)),
                _ => {
                    table.complain("this is neither an exact name nor an expression", MATCH_FORMS);
                    return None;
                }
            }
        }
        _ => {
            written.complain("this matches nothing", MATCH_FORMS);
            return None;
        }
    };
    parsed
        .map_err(|error| place.complain(&format!("this {error}"), MATCH_FORMS))
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
            "this rule can never match: Kafka's own topics are outside of the rules (fetched, never sealed, never produced)",
            "remove the rule",
        );
        return;
    }
    if let Some((index, (first, line))) = earlier
        .iter()
        .enumerate()
        .find(|(_, (first, _))| first.covers(matcher))
    {
        let line = line.map(|line| format!(", line {line}")).unwrap_or_default();
        written.complain(
            &format!(
                "this rule can never match: rule {} (match {first}{line}) takes all its topics",
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
        return Some(RuleAction::Pass);
    }
    let reason = match node.written("reason") {
        Some(written) => Some(read_reason(&written)?),
        None => None,
    };
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

fn read_seal(
    node: &Node<'_>,
    scope: Scope<'_>,
    kms: &KmsList<'_>,
    used: &mut BTreeSet<usize>,
) -> Option<SealTemplate> {
    let own_kms = read_kms_name(node, kms, used);
    let template = |place: &Node<'_>| read_template(place, scope);
    let kek = node.get("kek").and_then(|place| read_kek(&place, scope));
    let open_keks = read_open_keks(node, scope, own_kms, kms, used);
    let domain = node.get("domain").and_then(|place| template(&place));
    let open_domains = node
        .get("open_domains")
        .and_then(|list| list.elements())
        .map(|places| places.iter().map(template).collect::<Vec<_>>());
    let headers = read_choice(node, "headers", &HEADER_MODES);
    let open_headers = read_open_headers(node, headers);
    let key_is_clear = read_key_mode(node);
    let accept = read_accept(node);
    let max_message_bytes = node.quantity("max_message_bytes");
    let on_unreadable = read_on_unreadable(node, accept);
    let forgeable_kek = node.flag("forgeable_kek");
    key_is_clear?;
    Some(SealTemplate {
        kms: own_kms?,
        kek: kek?,
        open_keks: open_keks?,
        domain: domain?,
        open_domains: open_domains?.into_iter().collect::<Option<_>>()?,
        headers: headers?,
        open_headers: open_headers?,
        accept: accept?,
        max_message_bytes: max_message_bytes?,
        on_unreadable: on_unreadable?,
        forgeable_kek: forgeable_kek?,
    })
}

fn read_kms_name(node: &Node<'_>, kms: &KmsList<'_>, used: &mut BTreeSet<usize>) -> Option<KmsId> {
    let name = node.text("kms")?;
    let written = node.written("kms")?;
    let position = kms.position(&name);
    match position {
        Some(position) => {
            used.insert(position);
            kms.id(position)
        }
        None => {
            // Any of them may have been meant: none is called unused as well.
            used.extend(0..kms.names.len());
            let known: Vec<_> = kms.names.iter().map(|(name, _)| name.as_str()).collect();
            let fix = match known.as_slice() {
                [] => format!("add [kms.{name}]"),
                _ => format!("write one of {}, or add [kms.{name}]", known.join(", ")),
            };
            written.complain("there is no KMS of this name", &fix);
            None
        }
    }
}

fn read_template(place: &Node<'_>, scope: Scope<'_>) -> Option<Template> {
    let text = place.as_text()?;
    // Without a matcher nothing can be said about groups; what is wrong with `match` has been noted.
    match Template::parse(&text, scope.matcher?, scope.cluster) {
        Ok(template) => Some(template),
        Err(error) => {
            place.complain(
                &format!("this {error}"),
                "use ${topic} and ${cluster}, or ${1} and ${name} for groups of a regex in match",
            );
            None
        }
    }
}

fn read_kek(place: &Node<'_>, scope: Scope<'_>) -> Option<Template> {
    let template = read_template(place, scope)?;
    // An exact name has one expansion: what is wrong with it can be said now.
    let bytes = match scope.matcher {
        Some(Matcher::Exact(topic)) => template.expand(topic, &Captures::None).len(),
        _ => template.bytes_min(),
    };
    if bytes > KEK_BYTES_MAX {
        place.complain(
            &format!("this names a KEK of {bytes} bytes"),
            &format!("name one of at most {KEK_BYTES_MAX} bytes"),
        );
        return None;
    }
    Some(template)
}

fn read_open_keks(
    node: &Node<'_>,
    scope: Scope<'_>,
    own_kms: Option<KmsId>,
    kms: &KmsList<'_>,
    used: &mut BTreeSet<usize>,
) -> Option<Vec<(KmsId, Template)>> {
    let mut keks = Vec::new();
    let mut all_good = true;
    for place in node.get("open_keks")?.elements()? {
        let entry = match &place.value {
            Value::String(..) => own_kms.zip(read_kek(&place, scope)),
            Value::Dict(..) => place.checked_table().and_then(|table| {
                let kms = read_kms_name(&table, kms, used);
                kms.zip(table.get("kek").and_then(|place| read_kek(&place, scope)))
            }),
            _ => {
                place.complain(
                    "this names no KEK",
                    "write a name, or { kms = \"…\", kek = \"…\" }",
                );
                None
            }
        };
        match entry {
            Some(entry) => keks.push(entry),
            None => all_good = false,
        }
    }
    all_good.then_some(keks)
}

fn read_choice<T: Copy>(node: &Node<'_>, name: &str, choices: &[(&str, T)]) -> Option<T> {
    let place = node.get(name)?;
    let text = place.as_text()?;
    let found = choices
        .iter()
        .find(|(choice, _)| *choice == text)
        .map(|(_, value)| *value);
    if found.is_none() {
        let known: Vec<_> = choices
            .iter()
            .map(|(choice, _)| format!("\"{choice}\""))
            .collect();
        place.complain(
            "there is no such choice",
            &format!("write one of {}", known.join(", ")),
        );
    }
    found
}

/// The floor for readers: as strong as what the rule seals, unless a weaker one is written.
fn read_open_headers(node: &Node<'_>, headers: Option<HeaderMode>) -> Option<HeaderMode> {
    let Some(written) = node.written("open_headers") else {
        return headers;
    };
    let open_headers = read_choice(node, "open_headers", &HEADER_MODES)?;
    if headers.is_some_and(|headers| open_headers > headers) {
        written.complain(
            "readers could not get what this rule seals: its headers are less protected",
            "write what headers says or something weaker, or remove it",
        );
        return None;
    }
    Some(open_headers)
}

fn read_on_unreadable(node: &Node<'_>, accept: Option<Forms>) -> Option<OnUnreadable> {
    let choices = [
        ("refuse", OnUnreadable::Refuse),
        ("skip", OnUnreadable::Skip),
        ("null", OnUnreadable::Null),
    ];
    let on_unreadable = read_choice(node, "on_unreadable", &choices)?;
    // ENV-46: the key of a record that does not open is nobody's word.
    if on_unreadable == OnUnreadable::Null
        && accept.is_some_and(|accept| !accept.contains(Forms::TOMBSTONE))
        && let Some(written) = node.written("on_unreadable")
    {
        written.complain(
            "a record that does not open would delete its key, which nobody has verified",
            "write \"skip\", or add \"tombstone\" to accept: whoever writes to the log can delete any key then",
        );
        return None;
    }
    Some(on_unreadable)
}

fn read_key_mode(node: &Node<'_>) -> Option<()> {
    let place = node.get("key")?;
    let problem = match place.as_text()?.as_str() {
        "clear" => return Some(()),
        "stable" => "sealed record keys are not available in this version",
        _ => "there is no such choice",
    };
    place.complain(
        problem,
        "write key = \"clear\", or leave it out: record keys are then stored as they are",
    );
    None
}

fn read_accept(node: &Node<'_>) -> Option<Forms> {
    let list = node.get("accept")?;
    let mut forms = Forms::NONE;
    let mut all_good = true;
    for place in list.elements()? {
        let form = match place.as_text().as_deref() {
            Some("sealwire") => Forms::SEALWIRE,
            Some("tombstone") => Forms::TOMBSTONE,
            Some("plaintext") => Forms::PLAINTEXT,
            Some("kroxylicious") => {
                place.complain(
                    "records of Kroxylicious cannot be opened by this version",
                    "remove it",
                );
                all_good = false;
                continue;
            }
            Some(_) => {
                place.complain(
                    "there is no such form",
                    "write \"sealwire\", \"tombstone\" or \"plaintext\"",
                );
                all_good = false;
                continue;
            }
            None => {
                all_good = false;
                continue;
            }
        };
        forms = forms.with(form);
    }
    if all_good && !forms.contains(Forms::SEALWIRE) {
        list.complain("readers could not get what this rule seals", "add \"sealwire\"");
        return None;
    }
    all_good.then_some(forms)
}

const HEADER_MODES: [(&str, HeaderMode); 3] = [
    ("sealed", HeaderMode::Sealed),
    ("bound", HeaderMode::Bound),
    ("free", HeaderMode::Free),
];

/// Far more than anyone writes by hand; looking for rules that can never match takes time in the square of it.
const RULES_MAX: usize = 1000;

/// It goes into every refusal that a client gets.
const REASON_BYTES_MAX: usize = 256;

const MATCH_FORMS: &str =
    "write a glob such as \"payments-*\", or { exact = \"payments\" }, or { regex = 'team-([a-z]+)-.*' }";

/// A rule in the schema.
const RULE_PATH: &str = "cluster.*.topics.[]";
