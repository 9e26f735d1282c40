//! Clusters whose records open in each other: a mistake, unless one of them says that it is meant.
//!
//! Somebody who may write to one cluster could otherwise put its records into a topic of another, where they open.

use super::keystores::KmsList;
use super::node::Node;
use crate::config::ClusterConfig;
use crate::ids::KmsId;
use crate::rules::{Openable, Rule};

/// A cluster and where it stands; without a mistake in it, what was read.
pub(super) struct ReadCluster<'r> {
    pub(super) name: String,
    pub(super) node: Node<'r>,
    pub(super) config: Option<ClusterConfig>,
}

/// Complains about each two clusters that share a KEK and a domain and do not say so, and of each that says so in vain.
pub(super) fn refuse_sharing(clusters: &[ReadCluster<'_>], kms: &KmsList<'_>) {
    let said: Vec<Vec<Partner<'_>>> = clusters
        .iter()
        .map(|cluster| read_shared(cluster, clusters))
        .collect();
    if clusters.len() < 2 {
        return;
    }
    let identities = kms.identities();
    let identity = |id: KmsId| kms.place(id).and_then(|place| identities.get(place));
    let same_kms = |one: KmsId, other: KmsId| one == other || identity(one) == identity(other);
    let openable: Vec<_> = clusters.iter().map(openable_by).collect();
    for (index, (other, opened_by_other)) in clusters.iter().zip(&openable).enumerate() {
        for (earlier, (first, opened_by_first)) in clusters.iter().zip(&openable).enumerate().take(index) {
            let (Some(opened_by_first), Some(opened_by_other)) = (opened_by_first, opened_by_other) else {
                continue;
            };
            let say_so = |says: usize, name: usize| {
                said.get(says)
                    .into_iter()
                    .flatten()
                    .filter(move |shared| shared.cluster == name)
            };
            let mut sayings = say_so(index, earlier).chain(say_so(earlier, index)).peekable();
            let meeting = opened_by_first.iter().find_map(|one| {
                let meets = |two: &&OpeningRule| one.openable.meets(&two.openable, same_kms);
                opened_by_other.iter().find(meets).map(|two| (one, two))
            });
            match meeting {
                None => sayings.for_each(|shared| {
                    shared
                        .place
                        .complain("no record opens in both of these clusters", "remove it");
                }),
                Some((one, two)) if sayings.peek().is_none() => complain(first, one, other, two),
                Some(_) => {}
            }
        }
    }
}

/// A rule that opens records.
struct OpeningRule {
    index: usize,
    openable: Openable,
}

fn openable_by(cluster: &ReadCluster<'_>) -> Option<Vec<OpeningRule>> {
    let opened = |(index, rule): (usize, &Rule)| {
        Some(OpeningRule {
            index,
            openable: Openable::by(rule)?,
        })
    };
    let rules = cluster.config.as_ref()?.rules.rules();
    Some(rules.iter().enumerate().filter_map(opened).collect())
}

/// Another cluster that a cluster says it shares records with.
struct Partner<'r> {
    cluster: usize,
    place: Node<'r>,
}

fn read_shared<'r>(cluster: &ReadCluster<'r>, clusters: &[ReadCluster<'_>]) -> Vec<Partner<'r>> {
    let list = cluster.node.get("shares_records_with");
    let read = |place: Node<'r>| {
        let name = place.as_text()?;
        let position = clusters
            .iter()
            .position(|other| other.name == name && name != cluster.name);
        if position.is_none() {
            place.complain(
                "there is no other cluster of this name",
                "write the name of another cluster, or remove it",
            );
        }
        Some(Partner {
            cluster: position?,
            place,
        })
    };
    let places = list.and_then(|list| list.elements()).unwrap_or_default();
    places.into_iter().filter_map(read).collect()
}

fn complain(first: &ReadCluster<'_>, one: &OpeningRule, other: &ReadCluster<'_>, two: &OpeningRule) {
    let rules = other.node.written("topics").and_then(|list| list.elements());
    let rule = rules.and_then(|rules| rules.get(two.index).cloned());
    let place = rule
        .and_then(|rule| rule.written("match"))
        .unwrap_or_else(|| other.node.clone());
    let problem = format!(
        "a record of cluster {} opens here, if somebody copies it: its rule {} has a KEK and a domain in common with \
         this rule",
        first.name,
        one.index.saturating_add(1),
    );
    let fix = format!(
        "write domain = \"${{cluster}}/${{topic}}\", or take another KEK, in one of the two; if it is meant: \
         shares_records_with = [\"{}\"] in {}",
        first.name,
        format_args!("[cluster.{}]", other.name),
    );
    place.complain(&problem, &fix);
}
