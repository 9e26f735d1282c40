//! `[cluster.NAME]`: brokers, listeners, rules, and what is known of brokers beforehand.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use figment::value::Value;

use super::access::{By, files_of, known_users, read_groups, read_list};
use super::brokers::{read_address, read_brokers};
use super::groups_for::read_groups_for;
use super::keystores::KmsList;
use super::listeners::read_listeners;
use super::node::{Node, unless_mistaken};
use super::ports::PortBook;
use super::sharing::{ReadCluster, refuse_sharing};
use super::tls::read_upstream_tls;
use super::topics::read_rules;
use super::upstream_login::{read_upstream_login, shows_one};
use super::written_files::check_state_file;
use crate::config::{ClusterConfig, HostPort};
use crate::rules::RuleSet;

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
    let mut clusters = Vec::with_capacity(entries.len());
    for (name, node) in entries {
        let checked = node.clone().checked_table();
        let config = checked.and_then(|node| read_cluster(&name, &node, kms, used, ports));
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
) -> Option<ClusterConfig> {
    let bootstrap = read_bootstrap(node);
    let topic_ids = read_topic_ids(node);
    let listeners = read_listeners(name, node, ports);
    let groups = read_groups(node);
    let users = known_users(node, listeners.as_deref().unwrap_or_default());
    let by = By {
        groups: &groups,
        listeners: listeners.as_deref().unwrap_or_default(),
        authorises: shows_one(node),
        users: users.as_deref(),
    };
    let rules = read_rules(name, node, kms, used, by);
    let admin_for = read_list(node, "admin_for", by);
    let served: BTreeSet<i32> = listeners
        .iter()
        .flatten()
        .flat_map(|listener| listener.nodes.iter().copied())
        .collect();
    let upstream_tls = node.written("upstream_tls").map(read_upstream_tls);
    let opens = rules.as_ref().is_some_and(RuleSet::opens_for_some);
    let upstream_login = read_upstream_login(node, by, upstream_tls.as_ref(), opens);
    let groups_for = read_groups_for(node, by, upstream_login.is_some());
    let node_addresses = read_node_addresses(node, listeners.is_some().then_some(&served));
    let state_file = node.written("state_file").map(|place| read_state_file(&place));
    topic_ids?;
    Some(ClusterConfig {
        id: node.reader.ids.borrow_mut().clusters.id_of(name),
        name: name.to_owned(),
        bootstrap: bootstrap?,
        upstream_tls: unless_mistaken(upstream_tls)?,
        upstream_login: upstream_login?,
        listeners: listeners?,
        rules: rules?,
        admin_for: admin_for?,
        groups_for: groups_for?,
        group_files: files_of(groups?),
        node_addresses: node_addresses?,
        state_file: unless_mistaken(state_file)?,
    })
}

fn read_bootstrap(node: &Node<'_>) -> Option<Vec<HostPort>> {
    read_brokers(&node.get("bootstrap")?)
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

fn read_state_file(place: &Node<'_>) -> Option<PathBuf> {
    let text = place.as_text()?;
    if text.is_empty() {
        place.complain("this is empty", &place.example());
        return None;
    }
    let path = place.reader.sources.folder().join(text);
    check_state_file(place, &path);
    Some(path)
}
