//! Whether topics that are sealed take batches as long as their rules let through, and leave compact ones as they are.
//! Blocks.

use std::time::Instant;

use super::{Row, Verdict, some_of};
use crate::config::ClusterConfig;
use crate::envelope::Domain;
use crate::kafka_client::{BrokerClient, FoundCluster, TopicSettings};
use crate::record_batch::Codec;
use crate::rules::{Action, RecordKeys, is_legal_topic_name};

/// What a rule seals.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct SealedTopic {
    pub(super) name: String,
    pub(super) keys: RecordKeys,
    pub(super) domain: Domain,
    pub(super) max_message_bytes: usize,
    pub(super) is_compact: bool,
}

pub(super) fn look(
    cluster: &ClusterConfig,
    found: &FoundCluster,
    client: &mut BrokerClient,
    deadline: Instant,
    tell: &mut dyn FnMut(Row),
) {
    let unknown = |finding: &str| {
        Row::new(
            format!("{} topic limits", cluster.name),
            Verdict::Unknown,
            finding,
        )
    };
    let sealed = sealed_topics(cluster, &found.topics);
    let mut settings = Vec::new();
    for topics in sealed.chunks(TOPICS_AT_ONCE) {
        if Instant::now() >= deadline {
            return tell(unknown("not found out in time"));
        }
        let names: Vec<String> = topics.iter().map(|topic| topic.name.clone()).collect();
        match client.topic_settings(&names, SETTINGS) {
            Ok(found) => settings.extend(found),
            Err(error) => return tell(unknown(&error.to_string())),
        }
    }
    tell(compare_limits(&cluster.name, &sealed, &settings));
    compare_codecs(&cluster.name, &sealed, &settings)
        .into_iter()
        .for_each(tell);
}

fn compare_limits(cluster: &str, sealed: &[SealedTopic], settings: &[Settings]) -> Row {
    let subject = format!("{cluster} topic limits");
    let (mut lower, mut refused, mut good) = (Vec::new(), 0_usize, 0_usize);
    for (topic, values) in told(sealed, settings) {
        let Ok([limit, _]) = values else {
            refused += 1;
            continue;
        };
        let Some(limit) = limit.as_ref().and_then(|limit| limit.parse::<i64>().ok()) else {
            continue;
        };
        let (name, rule) = (&topic.name, topic.max_message_bytes);
        if usize::try_from(limit).unwrap_or(0) < rule {
            lower.push(format!("{name} ({limit} bytes, its rule {rule})"));
        } else {
            good += 1;
        }
    }
    if !lower.is_empty() {
        let finding = format!(
            "max.message.bytes of {} is below max_message_bytes of the rule: a broker refuses what the proxy lets \
             through (error 10); make them equal",
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

/// `None` where there is nothing to be said: no batch is compact, or the broker does not say what it does with them.
fn compare_codecs(cluster: &str, sealed: &[SealedTopic], settings: &[Settings]) -> Option<Row> {
    let (mut forced, mut grown, mut good) = (Vec::new(), false, 0_usize);
    for (topic, values) in told(sealed, settings).filter(|(topic, _)| topic.is_compact) {
        match values {
            Ok([_, Some(codec)]) if REWRITING.contains(&codec.as_str()) => {
                forced.push(format!("{} ({codec})", topic.name));
                grown |= codec == UNCOMPRESSED;
            }
            Ok([_, Some(_)]) => good += 1,
            _ => {}
        }
    }
    let subject = format!("{cluster} topic codecs");
    if !forced.is_empty() {
        let [grown, instead] = if grown {
            [
                "; uncompressed they are as long as with stored_codec = \"none\", and count so against \
                 max.message.bytes",
                ", or where it is uncompressed stored_codec of the rule to none",
            ]
        } else {
            [""; 2]
        };
        let finding = format!(
            "compression.type of {} makes the broker write every compact batch anew, which costs its processor{grown}; \
             set it to producer{instead}",
            some_of(&forced)
        );
        return Some(Row::new(subject, Verdict::Warning, finding));
    }
    (good > 0).then(|| {
        let finding = format!("{good} topics store compact batches as they are sent");
        Row::new(subject, Verdict::Good, finding)
    })
}

/// What was said of topics that were asked about.
fn told<'a>(
    sealed: &'a [SealedTopic],
    settings: &'a [Settings],
) -> impl Iterator<Item = (&'a SealedTopic, &'a Result<[Option<String>; 2], i16>)> {
    settings.iter().filter_map(|TopicSettings { topic, values }| {
        let asked = sealed.iter().find(|sealed| sealed.name == *topic)?;
        Some((asked, values))
    })
}

type Settings = TopicSettings<{ SETTINGS.len() }>;

/// Kafka's names of them.
const SETTINGS: [&str; 2] = ["max.message.bytes", "compression.type"];
/// The values of the latter with which an LZ4 batch does not stay as it is.
const REWRITING: [&str; 4] = [UNCOMPRESSED, "gzip", "snappy", "zstd"];
const UNCOMPRESSED: &str = "uncompressed";
/// More are not asked about.
const TOPICS_MAX: usize = 5000;
/// In one request, so that answers stay short.
const TOPICS_AT_ONCE: usize = 200;

/// What rules seal of what a broker names (SELF-CHECK-2).
pub(super) fn sealed_topics(cluster: &ClusterConfig, topics: &[String]) -> Vec<SealedTopic> {
    topics
        .iter()
        .filter(|name| is_legal_topic_name(name))
        .filter_map(|name| match cluster.rules.resolve(name)?.action {
            Action::Seal(rule) => Some(SealedTopic {
                name: name.clone(),
                keys: rule.keys,
                domain: rule.domain.clone(),
                max_message_bytes: rule.max_message_bytes,
                is_compact: rule.stored_codec == Codec::Lz4,
            }),
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
        let first = SealedTopic {
            name: "0".to_owned(),
            keys: RecordKeys::CLEAR,
            domain: Domain::new("0").expect("a domain"),
            max_message_bytes: 1_048_588,
            is_compact: true,
        };
        assert_eq!(sealed[0], first);
    }

    /// `a` is written compact, `b` is not; both may have batches of 1000 bytes.
    fn sealed() -> [SealedTopic; 2] {
        [("a", true), ("b", false)].map(|(name, is_compact)| SealedTopic {
            name: name.to_owned(),
            keys: RecordKeys::CLEAR,
            domain: Domain::new(name).expect("a domain"),
            max_message_bytes: 1000,
            is_compact,
        })
    }

    fn said(topic: &str, values: Result<[&str; 2], i16>) -> Settings {
        TopicSettings {
            topic: topic.to_owned(),
            values: values.map(|values| values.map(|value| Some(value.to_owned()))),
        }
    }

    #[test]
    fn a_limit_that_is_one_byte_lower_is_named() {
        let row = |limits: [Result<[&str; 2], i16>; 2]| {
            let [a, b] = limits;
            compare_limits("main", &sealed(), &[said("a", a), said("b", b)])
        };
        let good = row([Ok(["1000", "producer"]), Ok(["2000", "producer"])]);
        assert_eq!(good.verdict, Verdict::Good);
        let lower = row([Ok(["999", "producer"]), Ok(["2000", "producer"])]);
        assert_eq!(lower.verdict, Verdict::Warning);
        assert!(
            lower.finding.contains("a (999 bytes, its rule 1000)"),
            "{lower:?}"
        );
        let refused = row([Ok(["1000", "producer"]), Err(29)]);
        assert_eq!(refused.verdict, Verdict::Unknown);
    }

    #[test]
    fn a_codec_that_undoes_compact_batches_is_named_where_they_are_written() {
        let row = |a: &str, b: &str| {
            let settings = [said("a", Ok(["1000", a])), said("b", Ok(["1000", b]))];
            compare_codecs("main", &sealed(), &settings)
        };
        for kept in ["producer", "lz4"] {
            assert_eq!(row(kept, "gzip").unwrap().verdict, Verdict::Good, "{kept}");
        }
        for forced in ["gzip", "snappy", "zstd", "uncompressed"] {
            let row = row(forced, "gzip").unwrap();
            assert_eq!(row.verdict, Verdict::Warning);
            assert!(row.finding.contains(&format!("of a ({forced}) makes")), "{row:?}");
            let grows = row.finding.contains("max.message.bytes");
            assert_eq!(grows, forced == "uncompressed", "{row:?}");
            // A broker compresses what has no codec, too.
            assert_eq!(row.finding.contains("stored_codec of the rule"), grows, "{row:?}");
        }
        assert_eq!(compare_codecs("main", &sealed(), &[said("a", Err(29))]), None);
        assert_eq!(
            compare_codecs("main", &sealed(), &[said("b", Ok(["1000", "gzip"]))]),
            None
        );
    }
}
