//! What a rule says that seals: under which key, bound to what, and what its readers get.

use std::collections::BTreeSet;

use figment::value::Value;

use super::Scope;
use crate::config::read::access::read_access;
use crate::config::read::keystores::KmsList;
use crate::config::read::node::Node;
use crate::envelope::HeaderMode;
use crate::ids::KmsId;
use crate::record_batch::Codec;
use crate::rules::{
    Captures, Forms, KEK_BYTES_MAX, Matcher, OnUnreadable, RecordKeys, SealTemplate, Template,
};

pub(super) fn read_seal(
    node: &Node<'_>,
    scope: Scope<'_>,
    kms: &KmsList<'_>,
    used: &mut BTreeSet<usize>,
) -> Option<SealTemplate> {
    let own_kms = read_kms_name(node, kms, used);
    let template = |place: &Node<'_>| read_template(place, scope);
    let kek = node
        .get("kek")
        .and_then(|place| read_kek(&place, scope, own_kms, kms));
    let open_keks = read_open_keks(node, scope, own_kms, kms, used);
    let domain = node.get("domain").and_then(|place| template(&place));
    let open_domains = node
        .get("open_domains")
        .and_then(|list| list.elements())
        .map(|places| places.iter().map(template).collect::<Vec<_>>());
    let headers = read_choice(node, "headers", &HEADER_MODES);
    let open_headers = read_open_headers(node, headers);
    let keys = read_keys(node);
    let accept = read_accept(node);
    let stored_codec = read_choice(node, "stored_codec", &STORED_CODECS);
    let max_message_bytes = node.quantity("max_message_bytes");
    let on_unreadable = read_on_unreadable(node, accept, keys);
    let forgeable_kek = node.flag("forgeable_kek");
    let access = read_access(node, scope.by);
    Some(SealTemplate {
        kms: own_kms?,
        kek: kek?,
        open_keks: open_keks?,
        domain: domain?,
        open_domains: open_domains?.into_iter().collect::<Option<_>>()?,
        headers: headers?,
        open_headers: open_headers?,
        keys: keys?,
        accept: accept?,
        stored_codec: stored_codec?,
        max_message_bytes: max_message_bytes?,
        on_unreadable: on_unreadable?,
        forgeable_kek: forgeable_kek?,
        access: access?,
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

fn read_kek(
    place: &Node<'_>,
    scope: Scope<'_>,
    in_kms: Option<KmsId>,
    kms: &KmsList<'_>,
) -> Option<Template> {
    let template = read_template(place, scope)?;
    let named = |id| template.texts().try_for_each(|text| kms.may_name(id, text));
    if let Err(fix) = in_kms.map_or(Ok(()), named) {
        place.complain("this KMS holds no KEK of such a name", fix);
        return None;
    }
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
            Value::String(..) => own_kms.zip(read_kek(&place, scope, own_kms, kms)),
            Value::Dict(..) => place.checked_table().and_then(|table| {
                let its_kms = read_kms_name(&table, kms, used);
                let kek = table.get("kek");
                its_kms.zip(kek.and_then(|place| read_kek(&place, scope, its_kms, kms)))
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

fn read_on_unreadable(
    node: &Node<'_>,
    accept: Option<Forms>,
    keys: Option<RecordKeys>,
) -> Option<OnUnreadable> {
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
    if on_unreadable == OnUnreadable::Null
        && keys.is_some_and(RecordKeys::need_stable_keys)
        && let Some(written) = node.written("on_unreadable")
    {
        written.complain(
            "the key of a record that does not open stays sealed: nobody would know what was deleted",
            "write \"skip\"",
        );
        return None;
    }
    Some(on_unreadable)
}

fn read_keys(node: &Node<'_>) -> Option<RecordKeys> {
    let sealed = read_choice(node, "key", &[("clear", false), ("stable", true)]);
    // What is stored in the other way has a name of its own on either side.
    let others = [("accept_clear_keys", true), ("accept_sealed_keys", false)]
        .map(|(name, of_sealed)| (name, of_sealed, node.flag(name)));
    let sealed = sealed?;
    let mut accept_others = false;
    let mut all_good = true;
    for (name, of_sealed, flag) in others {
        let flag = flag?;
        if flag
            && of_sealed != sealed
            && let Some(written) = node.written(name)
        {
            let (problem, fix) = match sealed {
                true => ("sealed keys are what this rule is for", "remove it"),
                false => (
                    "clear keys are what this rule is for",
                    "remove it, or write key = \"stable\"",
                ),
            };
            written.complain(problem, fix);
            all_good = false;
        }
        accept_others |= flag;
    }
    let keys = RecordKeys {
        sealed,
        accept_others,
    };
    if keys.need_stable_keys() && node.reader.root().written("keyring").is_none() {
        let name = match sealed {
            true => "key",
            false => "accept_sealed_keys",
        };
        if let Some(written) = node.written(name) {
            written.complain(
                "there is no keyring to seal and open record keys with",
                "add [keyring] with its path; this makes one: sealwire keyring create keyring.json",
            );
        }
        return None;
    }
    all_good.then_some(keys)
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

const STORED_CODECS: [(&str, Codec); 2] = [("lz4", Codec::Lz4), ("none", Codec::None)];

const HEADER_MODES: [(&str, HeaderMode); 3] = [
    ("sealed", HeaderMode::Sealed),
    ("bound", HeaderMode::Bound),
    ("free", HeaderMode::Free),
];
