//! `open_for` and `seal_for` of rules, and the groups that they speak of.

use std::collections::BTreeMap;

use super::node::Node;
use crate::config::{ClientAuth, ListenerConfig};
use crate::rules::{Access, Principals};

/// Names of principals by group, as they are written; `None`: there is a mistake in them.
pub(super) type Groups = Option<BTreeMap<String, Vec<String>>>;

/// Reads `[cluster.NAME.groups]`.
pub(super) fn read_groups(cluster: &Node<'_>) -> Groups {
    let Some(table) = cluster.written("groups") else {
        return Some(BTreeMap::new());
    };
    let read = |(name, list): (String, Node<'_>)| {
        let members = list.elements()?;
        let members: Option<Vec<_>> = members
            .iter()
            .map(|place| read_name(place, &place.as_text()?))
            .collect();
        Some((name, members?))
    };
    let read: Vec<_> = table.checked_table()?.entries().into_iter().map(read).collect();
    read.into_iter().collect()
}

/// Reads who may read and write the topics of a rule. On listeners whose clients have no names there is nobody to ask.
pub(super) fn read_access(rule: &Node<'_>, groups: &Groups, listeners: &[ListenerConfig]) -> Option<Access> {
    let is_nameless = |listener: &&ListenerConfig| listener.client_auth == ClientAuth::Network;
    let nameless = listeners
        .first()
        .filter(|_| listeners.iter().all(|one| is_nameless(&one)));
    let list = |name: &str| -> Option<Option<Principals>> {
        let Some(place) = rule.written(name) else {
            return Some(None);
        };
        if let Some(listener) = nameless {
            place.complain(
                &format!("clients of the listener {:?} have no names", listener.name),
                "have a listener of the cluster ask for names (client_auth = \"mtls\" or \"sasl\"), or remove it",
            );
        }
        let mut names = Vec::new();
        for entry in place.elements()? {
            let text = entry.as_text()?;
            match text.strip_prefix("group:") {
                None => names.push(read_name(&entry, &text)?),
                Some(group) => match groups.as_ref()?.get(group) {
                    Some(members) => names.extend_from_slice(members),
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
        Some(Some(Principals::new(names.iter().map(String::as_str))))
    };
    let (open_for, seal_for) = (list("open_for"), list("seal_for"));
    Some(Access {
        open_for: open_for?,
        seal_for: seal_for?,
    })
}

/// What stands behind `User:`.
fn read_name(place: &Node<'_>, text: &str) -> Option<String> {
    match text.strip_prefix("User:") {
        Some(name) if (1..=NAME_BYTES_MAX).contains(&name.len()) => Some(name.to_owned()),
        _ => {
            place.complain(
                "this is not a principal",
                "write \"User:NAME\", as Kafka does; `*` stands for any characters, `?` for one byte",
            );
            None
        }
    }
}

/// As long as a principal may be.
const NAME_BYTES_MAX: usize = 8192;
