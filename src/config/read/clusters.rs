//! `[cluster.NAME]`: brokers, listeners, rules, and what is known of brokers beforehand.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use figment::value::Value;

use super::access::{By, files_of, read_groups, read_list};
use super::keystores::{KmsList, check_state_file};
use super::listeners::{NO_SCHEME, read_listeners};
use super::node::{Node, Reach, unless_mistaken};
use super::ports::PortBook;
use super::sharing::{ReadCluster, refuse_sharing};
use super::tls::read_upstream_tls;
use super::topics::read_rules;
use crate::config::scalars::parse_host_port;
use crate::config::{ClusterConfig, HostPort};
use crate::durable_file::{LOCK_SUFFIX, NEW_SUFFIX, beside};

pub(super) fn read_clusters(
    root: &Node<'_>,
    kms: &KmsList<'_>,
    used: &mut BTreeSet<usize>,
    ports: &mut PortBook,
) -> Option<Vec<ClusterConfig>> {
    let table = root.table("cluster")?;
    let entries = table.entries();
    if entries.is_empty() {
        table.complain("there is no cluster", "add [cluster.main]");
        return None;
    }
    let mut state_files = BTreeSet::new();
    let mut clusters = Vec::with_capacity(entries.len());
    for (name, node) in entries {
        let checked = node.clone().checked_table();
        let config = checked.and_then(|node| read_cluster(&name, &node, kms, used, ports, &mut state_files));
        clusters.push(ReadCluster { name, node, config });
    }
    refuse_sharing(&clusters, kms);
    clusters.into_iter().map(|cluster| cluster.config).collect()
}

fn read_cluster(
    name: &str,
    node: &Node<'_>,
    kms: &KmsList<'_>,
    used: &mut BTreeSet<usize>,
    ports: &mut PortBook,
    state_files: &mut BTreeSet<PathBuf>,
) -> Option<ClusterConfig> {
    let bootstrap = read_bootstrap(node);
    let topic_ids = read_topic_ids(node);
    let listeners = read_listeners(name, node, ports);
    let groups = read_groups(node);
    let by = By {
        groups: &groups,
        listeners: listeners.as_deref().unwrap_or_default(),
    };
    let rules = read_rules(name, node, kms, used, by);
    let admin_for = read_list(node, "admin_for", by);
    let served: BTreeSet<i32> = listeners
        .iter()
        .flatten()
        .flat_map(|listener| listener.nodes.iter().copied())
        .collect();
    let upstream_tls = node.written("upstream_tls").map(read_upstream_tls);
    let node_addresses = read_node_addresses(node, listeners.is_some().then_some(&served));
    let state_file = node
        .written("state_file")
        .map(|place| read_state_file(&place, kms, state_files));
    topic_ids?;
    Some(ClusterConfig {
        id: node.reader.ids.borrow_mut().clusters.id_of(name),
        name: name.to_owned(),
        bootstrap: bootstrap?,
        upstream_tls: unless_mistaken(upstream_tls)?,
        listeners: listeners?,
        rules: rules?,
        admin_for: admin_for?,
        group_files: files_of(groups?),
        node_addresses: node_addresses?,
        state_file: unless_mistaken(state_file)?,
    })
}

fn read_address(place: &Node<'_>) -> Option<HostPort> {
    let text = place.as_text()?;
    if text.contains("://") {
        place.complain("this names a protocol", NO_SCHEME);
        return None;
    }
    parse_host_port(&text)
        .map_err(|problem| {
            place.complain(
                &format!("this {problem}"),
                "write HOST:PORT, such as \"kafka-1:9092\"",
            )
        })
        .ok()
}

fn read_bootstrap(node: &Node<'_>) -> Option<Vec<HostPort>> {
    let list = node.get("bootstrap")?;
    let places = list.elements()?;
    if places.is_empty() {
        list.complain("there is no broker to ask", &list.example());
        return None;
    }
    let mut seen = BTreeSet::new();
    let read = |place: &Node<'_>| {
        let address = read_address(place)?;
        if !seen.insert(address.clone()) {
            place.complain("this broker is in the list twice", "remove it");
        }
        Some(address)
    };
    places.iter().map(read).collect::<Vec<_>>().into_iter().collect()
}

fn read_topic_ids(node: &Node<'_>) -> Option<()> {
    let place = node.get("topic_ids")?;
    if matches!(place.value, Value::Bool(_, false)) {
        return Some(());
    }
    place.complain(
        "topic ids are not available in this version: topics are known by the names that clients send",
        "write topic_ids = false, or remove it",
    );
    None
}

fn read_node_addresses(node: &Node<'_>, served: Option<&BTreeSet<i32>>) -> Option<BTreeMap<i32, HostPort>> {
    let Some(table) = node.written("node_addresses") else {
        return Some(BTreeMap::new());
    };
    let read = |(id, place): (String, Node<'_>)| {
        let Some(id) = id
            .parse::<i32>()
            .ok()
            .filter(|number| *number >= 0 && number.to_string() == id)
        else {
            place.complain(
                "this is not a broker id",
                "write a whole number from 0, such as { 0 = \"kafka-1:9092\" }",
            );
            return None;
        };
        if served.is_some_and(|served| !served.contains(&id)) {
            place.complain(
                "no listener serves this broker",
                "add its id to nodes of a listener, or remove it",
            );
        }
        Some((id, read_address(&place)?))
    };
    let read: Vec<_> = table.checked_table()?.entries().into_iter().map(read).collect();
    read.into_iter().collect()
}

/// Whether two files are one, or one is made beside the other when that is written (FILE-2, FILE-3).
fn share(one: &Path, other: &Path) -> bool {
    let is_beside = |file: &Path, made: &Path| {
        [LOCK_SUFFIX, NEW_SUFFIX]
            .iter()
            .any(|suffix| beside(file, suffix) == made)
    };
    one == other || is_beside(one, other) || is_beside(other, one)
}

/// Two spellings of one file are one file, which need not be there yet.
fn one_spelling(path: &Path) -> PathBuf {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
        return path.to_path_buf();
    };
    let here = Path::new(".");
    let whole = fs::canonicalize(if folder == Path::new("") { here } else { folder });
    whole.unwrap_or_else(|_| folder.to_path_buf()).join(name)
}

fn read_state_file(place: &Node<'_>, kms: &KmsList<'_>, taken: &mut BTreeSet<PathBuf>) -> Option<PathBuf> {
    let text = place.as_text()?;
    if text.is_empty() {
        place.complain("this is empty", &place.example());
        return None;
    }
    let path = place.reader.sources.folder().join(text);
    check_state_file(place, &path);
    let file = match place.reader.reach {
        Reach::Check => one_spelling(&path),
        Reach::Skip => path.clone(),
    };
    if taken.iter().any(|taken| share(taken, &file)) {
        place.complain(
            "another cluster writes this file, or makes it beside its own",
            "give each cluster a file of its own",
        );
    }
    let named = kms.files().map(|named| match place.reader.reach {
        Reach::Check => fs::canonicalize(named).unwrap_or_else(|_| named.to_path_buf()),
        Reach::Skip => named.to_path_buf(),
    });
    if named.into_iter().any(|named| share(&named, &file)) {
        place.complain(
            "this is a keystore or a key, or a file that is made beside one",
            "name a file that is for nothing else",
        );
    }
    taken.insert(file);
    Some(path)
}
