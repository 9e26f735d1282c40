//! Whether topics that are sealed take batches as long as their rules let through. Blocks.

use std::time::Instant;

use super::{Row, Verdict, some_of};
use crate::config::ClusterConfig;
use crate::kafka_client::{BrokerClient, FoundCluster, TopicSetting};
use crate::rules::{Action, is_legal_topic_name};

pub(super) fn look(
    cluster: &ClusterConfig,
    found: &FoundCluster,
    client: &mut BrokerClient,
    deadline: Instant,
) -> Row {
    let subject = format!("{} topic limits", cluster.name);
    let sealed = sealed_topics(cluster, &found.topics);
    let mut limits = Vec::new();
    for names in sealed.chunks(TOPICS_AT_ONCE) {
        if Instant::now() >= deadline {
            return Row::new(subject, Verdict::Unknown, "not found out in time");
        }
        let names: Vec<String> = names.iter().map(|(name, _)| name.clone()).collect();
        match client.topic_setting(&names, SETTING) {
            Ok(found) => limits.extend(found),
            Err(error) => return Row::new(subject, Verdict::Unknown, error.to_string()),
        }
    }
    compare(subject, &sealed, &limits)
}

fn compare(subject: String, sealed: &[(String, usize)], limits: &[TopicSetting]) -> Row {
    let rule_of = |topic: &str| {
        sealed
            .iter()
            .find(|(name, _)| name == topic)
            .map(|(_, bytes)| *bytes as u64)
    };
    let (mut lower, mut refused, mut good) = (Vec::new(), 0_usize, 0_usize);
    for TopicSetting { topic, value } in limits {
        match (value, rule_of(topic)) {
            (Ok(limit), Some(rule)) if u64::try_from(*limit).unwrap_or(0) < rule => {
                lower.push(format!("{topic} ({limit} bytes, its rule {rule})"));
            }
            (Ok(_), Some(_)) => good += 1,
            (Err(_), Some(_)) => refused += 1,
            (_, None) => {}
        }
    }
    if !lower.is_empty() {
        let finding = format!(
            "{SETTING} of {} is below max_message_bytes of the rule: a broker refuses what the proxy lets through \
             (error 10); make them equal",
            some_of(&lower)
        );
        return Row::new(subject, Verdict::Warning, finding);
    }
    if refused > 0 {
        let finding = format!(
            "{refused} of {} topics: the broker does not say (is it permitted?)",
            sealed.len()
        );
        return Row::new(subject, Verdict::Unknown, finding);
    }
    Row::new(
        subject,
        Verdict::Good,
        format!("{good} sealed topics take what their rules let through"),
    )
}

/// Kafka's name of it.
const SETTING: &str = "max.message.bytes";
/// More are not asked about.
const TOPICS_MAX: usize = 5000;
/// In one request, so that answers stay short.
const TOPICS_AT_ONCE: usize = 200;

/// What rules seal of what a broker names, with what they let through (SELF-CHECK-2).
fn sealed_topics(cluster: &ClusterConfig, topics: &[String]) -> Vec<(String, usize)> {
    topics
        .iter()
        .filter(|name| is_legal_topic_name(name))
        .filter_map(|name| match cluster.rules.resolve(name)?.action {
            Action::Seal(rule) => Some((name.clone(), rule.max_message_bytes)),
            _ => None,
        })
        .take(TOPICS_MAX)
        .collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::Config;
    use crate::testing::configuration::{Cluster as ClusterText, Configuration};

    /// SELF-CHECK-2
    #[test]
    fn no_more_topics_are_asked_for_than_enough_and_none_that_cannot_be() {
        let rules = "[[cluster.main.topics]]\nmatch = \"*\"\nkms = \"local\"\nkek = \"any\"\n";
        let text = Configuration::default()
            .keystore("local", Path::new("keystore.json"), Path::new("master.key"))
            .cluster(&ClusterText::ruled(rules))
            .text();
        let config = Config::from_toml_text(&text, Path::new("sealwire.toml")).expect("a configuration");
        let mut topics = vec!["a\nforged line".to_owned(), "..".to_owned(), "x".repeat(250)];
        assert_eq!(sealed_topics(&config.clusters[0], &topics), []);
        topics.extend((0..=TOPICS_MAX).map(|topic| topic.to_string()));
        let sealed = sealed_topics(&config.clusters[0], &topics);
        assert_eq!(sealed.len(), TOPICS_MAX);
        assert_eq!(sealed[0], ("0".to_owned(), 1_048_588));
    }

    #[test]
    fn a_limit_that_is_one_byte_lower_is_named() {
        let sealed = [("a".to_owned(), 1000), ("b".to_owned(), 1000)];
        let row = |limits: &[(&str, Result<i64, i16>)]| {
            let limits: Vec<_> = limits
                .iter()
                .map(|(topic, value)| TopicSetting {
                    topic: (*topic).to_owned(),
                    value: *value,
                })
                .collect();
            compare("topics".to_owned(), &sealed, &limits)
        };
        assert_eq!(row(&[("a", Ok(1000)), ("b", Ok(2000))]).verdict, Verdict::Good);
        let lower = row(&[("a", Ok(999)), ("b", Ok(2000))]);
        assert_eq!(lower.verdict, Verdict::Warning);
        assert!(
            lower.finding.contains("a (999 bytes, its rule 1000)"),
            "{lower:?}"
        );
        assert_eq!(row(&[("a", Ok(1000)), ("b", Err(29))]).verdict, Verdict::Unknown);
    }
}
