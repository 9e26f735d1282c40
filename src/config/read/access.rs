//! Lists of principals, and the groups that they speak of.

use std::collections::BTreeMap;
use std::path::Path;

use figment::value::Value;

use super::keystores::{Secrecy, read_path_of};
use super::node::{Node, Reach};
use crate::config::{ClientAuth, GroupFile, ListenerConfig, read_credentials};
use crate::foreign::{Foreign, SHOWN_BYTES_MAX};
use crate::identity::Principal;
use crate::rules::{Access, Asking, Members, Principals, is_named, pattern_of};

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
    /// Brokers see one and the same, whoever the client is.
    pub(super) authorises: bool,
    /// All who can log in, where that is known.
    pub(super) users: Option<&'a [String]>,
}

/// All who can come in with a name, where that stands in files alone: tokens and certificates name whom their issuers
/// want.
pub(super) fn known_users(cluster: &Node<'_>, listeners: &[ListenerConfig]) -> Option<Vec<String>> {
    let mut users = Vec::new();
    let mut named = listeners
        .iter()
        .filter(|listener| listener.client_auth.names_clients())
        .peekable();
    if cluster.reader.reach == Reach::Skip {
        return None;
    }
    named.peek()?;
    for listener in named {
        let sasl = listener.sasl.as_ref().filter(|sasl| sasl.oauthbearer.is_none())?;
        let credentials = read_credentials(sasl.credentials.as_ref()?).ok()?;
        users.extend(credentials.users().map(|(user, ..)| user.to_owned()));
    }
    if listeners
        .iter()
        .any(|listener| listener.client_auth == ClientAuth::Network)
    {
        users.push(Principal::network().name().to_owned());
    }
    Some(users)
}

/// Reads `[cluster.NAME.groups]`.
pub(super) fn read_groups(cluster: &Node<'_>) -> Groups {
    let Some(table) = cluster.written("groups") else {
        return Some(BTreeMap::new());
    };
    let read = |(name, place): (String, Node<'_>)| {
        if let Value::String(..) = &place.value {
            let file = read_file(&place, &name)?;
            return Some((name, Group::File(file)));
        }
        let members = place.elements()?;
        let members: Option<Vec<_>> = members
            .iter()
            .map(|place| read_name(place, &place.as_text()?, false))
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
    let (open_for, seal_for) = (
        read_entries(rule, "open_for", by),
        read_entries(rule, "seal_for", by),
    );
    let raw_for = read_entries(rule, "raw_for", by);
    let raw_verify = rule.flag("raw_verify");
    if let (None, Some(written)) = (rule.written("raw_for"), rule.written("raw_verify")) {
        written.complain_of_the_name(
            "there is nobody whose records it is about",
            "add raw_for, or remove it",
        );
    }
    let (raw_for, open_for, seal_for) = (raw_for?, open_for?, seal_for?);
    for others in [&open_for, &seal_for] {
        refuse_both(raw_for.iter().flatten(), others.iter().flatten());
    }
    Some(Access {
        raw_for: raw_for.map(list_of),
        raw_verify: raw_verify?,
        open_for: open_for.map(list_of),
        seal_for: seal_for.map(list_of),
    })
}

/// Whoever may read or write plaintext has no use for what is sealed. Members of files may change: of those the names
/// of their groups are compared.
fn refuse_both<'e, 'n: 'e>(
    raw: impl Iterator<Item = &'e Entry<'n>> + Clone,
    others: impl Iterator<Item = &'e Entry<'n>>,
) {
    for entry in others {
        let is_same = |other: &Entry<'_>| {
            let names = |name| other.names.contains(name);
            entry.written == other.written || entry.names.iter().any(names)
        };
        if raw.clone().any(is_same) {
            entry.place.complain(
                "this one gets and stores records as they are stored (raw_for)",
                "take it out of one of the lists",
            );
        }
    }
}

/// Reads a list of principals, if it is there.
pub(super) fn read_list(table: &Node<'_>, name: &str, by: By<'_>) -> Option<Option<Principals>> {
    Some(read_entries(table, name, by)?.map(list_of))
}

/// Whom one entry of a list of principals stands for.
struct Entry<'a> {
    place: Node<'a>,
    written: String,
    /// Its own pattern, or those of an inline group.
    names: Vec<String>,
    /// Those of a group that stands in a file.
    file: Option<Members>,
}

fn list_of(entries: Vec<Entry<'_>>) -> Principals {
    let names = entries.iter().flat_map(|entry| &entry.names);
    let list = Principals::new(names.map(String::as_str));
    list.with_groups(entries.into_iter().filter_map(|entry| entry.file))
}

/// Reads the entries of a list of principals, if it is there. On listeners whose clients have no names there is nobody
/// to ask.
fn read_entries<'a>(table: &Node<'a>, name: &str, by: By<'_>) -> Option<Option<Vec<Entry<'a>>>> {
    let By {
        groups,
        listeners,
        users,
        ..
    } = by;
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
    let mut entries = Vec::new();
    for place in place.elements()? {
        let written = place.as_text()?;
        let (names, file) = match written.strip_prefix("group:") {
            None => (vec![read_name(&place, &written, true)?], None),
            Some(group) => match groups.as_ref()?.get(group) {
                Some(Group::Listed(members)) => (members.clone(), None),
                Some(Group::File(file)) => (Vec::new(), Some(file.members.clone())),
                None => {
                    place.complain(
                        "there is no group of this name",
                        "add it to [cluster.NAME.groups]",
                    );
                    return None;
                }
            },
        };
        if let Some(users) = users
            && file.is_none()
        {
            warn_of_nobody(&place, &names, users);
        }
        entries.push(Entry {
            place,
            written,
            names,
            file,
        });
    }
    Some(Some(entries))
}

fn warn_of_nobody(place: &Node<'_>, names: &[String], users: &[String]) {
    let list = Principals::new(names.iter().map(String::as_str));
    let is_there = |user: &String| is_named(Some(&list), Asking::Principal(Some(user)));
    if !users.iter().any(is_there) {
        place.warn(
            "nobody can log in whom this names",
            "correct it, or add the user with `sealwire users add`",
        );
    }
}

fn read_file(place: &Node<'_>, name: &str) -> Option<GroupFile> {
    let text = place.as_text()?;
    let (kind, _) = text.split_once(':').unwrap_or_default();
    if ["user", "group"]
        .iter()
        .any(|known| kind.eq_ignore_ascii_case(known))
    {
        let fix = match pattern_of(&text) {
            Some(_) => format!("write [\"{}\"]", Foreign::new(&text)),
            None => meant_by(&text, false),
        };
        place.complain(
            "this is not the path of a file: members that stand here are a list",
            &fix,
        );
        return None;
    }
    let members = Members::default();
    let load = |path: &Path| {
        let file = GroupFile {
            name: name.to_owned(),
            path: path.to_path_buf(),
            members: members.clone(),
        };
        file.load()
    };
    let path = read_path_of(
        place,
        Secrecy::Public,
        "make a file with a principal a line, or correct the path",
        "correct the file",
        load,
    )?;
    Some(GroupFile {
        name: name.to_owned(),
        path,
        members,
    })
}

/// What stands behind `User:`; a group can be named where `may_be_group`.
fn read_name(place: &Node<'_>, text: &str, may_be_group: bool) -> Option<String> {
    if let Some(name) = pattern_of(text) {
        return Some(name.to_owned());
    }
    place.complain("this is not a principal", &meant_by(text, may_be_group));
    None
}

/// How what is probably meant would be written.
fn meant_by(text: &str, may_be_group: bool) -> String {
    let (before, name) = text.split_once(':').unwrap_or(("User", text));
    let shown = Foreign::new(name);
    if name.is_empty() || name.len() > SHOWN_BYTES_MAX {
        "write \"User:NAME\", as Kafka does; `*` stands for any characters, `?` for one byte".to_owned()
    } else if before.eq_ignore_ascii_case("group") && may_be_group {
        format!("write \"group:{shown}\" for a group of [cluster.NAME.groups]")
    } else if before.eq_ignore_ascii_case("group") {
        "write the members themselves: a group has no groups".to_owned()
    } else if name.starts_with("User:") {
        format!(
            "write \"{shown}\"; if somebody is really called that: \"User:?{}\"",
            Foreign::new(name.trim_start_matches('U'))
        )
    } else if before.eq_ignore_ascii_case("user") {
        format!("write \"User:{shown}\"")
    } else {
        format!("write \"User:{}\", as Kafka does", Foreign::new(text))
    }
}
