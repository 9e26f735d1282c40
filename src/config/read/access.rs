//! Lists of principals, and the groups that they speak of.

use std::collections::BTreeMap;
use std::path::PathBuf;

use figment::value::Value;

use super::keystores::{Secrecy, check_file};
use super::node::{Node, Reach};
use crate::config::{GroupFile, ListenerConfig};
use crate::rules::{Access, Members, Principals, pattern_of};

/// By their names; `None`: there is a mistake in them.
pub(super) type Groups = Option<BTreeMap<String, Group>>;

/// Who belongs to a group.
pub(super) enum Group {
    /// These principals, as they are written.
    Listed(Vec<String>),
    /// Those of this file.
    File(GroupFile),
}

/// By whom a cluster is used.
#[derive(Clone, Copy)]
pub(super) struct By<'a> {
    /// Whom lists of principals may name together.
    pub(super) groups: &'a Groups,
    /// Where clients come in.
    pub(super) listeners: &'a [ListenerConfig],
}

/// Reads `[cluster.NAME.groups]`.
pub(super) fn read_groups(cluster: &Node<'_>) -> Groups {
    let Some(table) = cluster.written("groups") else {
        return Some(BTreeMap::new());
    };
    let read = |(name, place): (String, Node<'_>)| {
        if let Value::String(..) = &place.value {
            let path = place.reader.sources.folder().join(place.as_text()?);
            let file = read_file(&place, &name, path);
            return Some((name, Group::File(file)));
        }
        let members = place.elements()?;
        let members: Option<Vec<_>> = members
            .iter()
            .map(|place| read_name(place, &place.as_text()?))
            .collect();
        Some((name, Group::Listed(members?)))
    };
    let read: Vec<_> = table.checked_table()?.entries().into_iter().map(read).collect();
    read.into_iter().collect()
}

/// Those whose members stand in files.
pub(super) fn files_of(groups: BTreeMap<String, Group>) -> Vec<GroupFile> {
    let file = |group| match group {
        Group::File(file) => Some(file),
        Group::Listed(_) => None,
    };
    groups.into_values().filter_map(file).collect()
}

/// Reads who may read and write the topics of a rule.
pub(super) fn read_access(rule: &Node<'_>, by: By<'_>) -> Option<Access> {
    let (open_for, seal_for) = (read_list(rule, "open_for", by), read_list(rule, "seal_for", by));
    let raw_for = read_list(rule, "raw_for", by);
    let raw_verify = rule.flag("raw_verify");
    refuse_both(rule);
    if let (None, Some(written)) = (rule.written("raw_for"), rule.written("raw_verify")) {
        written.complain_of_the_name(
            "there is nobody whose records it is about",
            "add raw_for, or remove it",
        );
    }
    Some(Access {
        raw_for: raw_for?,
        raw_verify: raw_verify?,
        open_for: open_for?,
        seal_for: seal_for?,
    })
}

/// Whoever may read or write plaintext has no use for what is sealed.
fn refuse_both(rule: &Node<'_>) {
    let entries = |name| {
        rule.written(name)
            .and_then(|list| list.elements())
            .unwrap_or_default()
    };
    let raw: Vec<_> = entries("raw_for").iter().filter_map(Node::as_text).collect();
    for name in ["open_for", "seal_for"] {
        for entry in entries(name) {
            if entry.as_text().is_some_and(|text| raw.contains(&text)) {
                entry.complain(
                    "this one gets and stores records as they are stored (raw_for)",
                    "take it out of one of the lists",
                );
            }
        }
    }
}

/// Reads a list of principals, if it is there. On listeners whose clients have no names there is nobody to ask.
pub(super) fn read_list(table: &Node<'_>, name: &str, by: By<'_>) -> Option<Option<Principals>> {
    let By { groups, listeners } = by;
    let Some(place) = table.written(name) else {
        return Some(None);
    };
    let is_nameless = |listener: &ListenerConfig| !listener.client_auth.names_clients();
    if let Some(listener) = listeners.first()
        && listeners.iter().all(is_nameless)
    {
        place.complain(
            &format!("clients of the listener {:?} have no names", listener.name),
            "have a listener of the cluster ask for names (client_auth = \"mtls\" or \"sasl\"), or remove it",
        );
    }
    let (mut names, mut files) = (Vec::new(), Vec::new());
    for entry in place.elements()? {
        let text = entry.as_text()?;
        match text.strip_prefix("group:") {
            None => names.push(read_name(&entry, &text)?),
            Some(group) => match groups.as_ref()?.get(group) {
                Some(Group::Listed(members)) => names.extend_from_slice(members),
                Some(Group::File(file)) => files.push(file.members.clone()),
                None => {
                    entry.complain(
                        "there is no group of this name",
                        "add it to [cluster.NAME.groups]",
                    );
                    return None;
                }
            },
        }
    }
    let list = Principals::new(names.iter().map(String::as_str));
    Some(Some(list.with_groups(files)))
}

fn read_file(place: &Node<'_>, name: &str, path: PathBuf) -> GroupFile {
    check_file(
        place,
        &path,
        Secrecy::Public,
        "make a file with a principal a line, or correct the path",
    );
    let file = GroupFile {
        name: name.to_owned(),
        path,
        members: Members::default(),
    };
    if place.reader.reach == Reach::Check
        && file.path.is_file()
        && let Err(error) = file.load()
    {
        place.complain(&error.to_string(), "correct the file");
    }
    file
}

/// What stands behind `User:`.
fn read_name(place: &Node<'_>, text: &str) -> Option<String> {
    match pattern_of(text) {
        Some(name) => Some(name.to_owned()),
        None => {
            place.complain(
                "this is not a principal",
                "write \"User:NAME\", as Kafka does; `*` stands for any characters, `?` for one byte",
            );
            None
        }
    }
}
