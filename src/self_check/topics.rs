//! Whether topics that are sealed take batches as long as their rules let through. Blocks.

use std::time::Instant;

use super::{Row, Verdict, some_of};
use crate::config::ClusterConfig;
use crate::kafka_client::{Client, Cluster, TopicSetting};
use crate::rules::{Action, is_legal_topic_name};

pub(super) fn look(cluster: &ClusterConfig, found: &Cluster, client: &mut Client, deadline: Instant) -> Row {
    let subject = format!("{} topic limits", cluster.name);
    let sealed: Vec<(String, usize)> = found
        .topics
        .iter()
        .filter(|name| is_legal_topic_name(name))
        .filter_map(|name| match cluster.rules.resolve(name)?.action {
            Action::Seal(rule) => Some((name.clone(), rule.max_message_bytes)),
            _ => None,
        })
        .take(TOPICS_MAX)
        .collect();
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

#[cfg(test)]
mod tests {
    use super::*;

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
