//! What a scrape looks like, and that docs/metrics.md has all of it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::admin::{AccessFacts, BrokerTokenFacts, KeySetFacts, TokenFacts};
use crate::audit::AuditState;
use crate::config::OnFull;
use crate::keys::statistics::KeyStatistics;
use crate::metrics::{CloseReason, ExecutorMetrics, RefusalReason};

fn facts() -> ProcessFacts {
    ProcessFacts {
        started: SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000),
        keys_locked: true,
        keys_excluded_from_dumps: false,
    }
}

fn busy() -> Collection {
    let mut executor = ExecutorMetrics::new(0, 10);
    let topic = executor.topic_index(&Arc::from("main"), "payments");
    executor.topic(topic).sealed(10, 1_000, 2_000);
    let reason = RefusalReason::NoRule;
    executor.topic(topic).refused(Direction::Request, reason, 3, 300);
    executor.frames(Direction::Request).frame(0);
    executor.frames(Direction::Request).frame(300);
    executor.time(TimeKind::Produce, Duration::from_micros(30));
    executor.time(TimeKind::Produce, Duration::from_secs(30));
    Collection {
        executors: vec![Some(executor.snapshot()), None],
        keys: Some(Arc::new(KeyStatistics::for_test(&[true, false]))),
        kms_names: vec!["local".to_owned(), "vault".to_owned()],
        audit: Arc::new(AuditState::new(OnFull::Hold)),
        access: vec![AccessFacts {
            kind: "group",
            cluster: "main".to_owned(),
            name: "payers".to_owned(),
            is_current: true,
        }],
        key_sets: vec![KeySetFacts {
            cluster: "main".to_owned(),
            listener: "lan".to_owned(),
            keys: 2,
            fetched: 1_700_000_000,
            failures: 3,
        }],
        tokens: vec![TokenFacts {
            cluster: "main".to_owned(),
            made: 5,
            failures: 2,
            known: 4,
        }],
        broker_tokens: vec![BrokerTokenFacts {
            cluster: "main".to_owned(),
            ends: 1_700_000_000,
            given: 6,
            refusals: 2,
            failures: 1,
            is_refused: false,
        }],
        ..Collection::default()
    }
}

#[test]
fn counters_come_out_with_their_labels() {
    let text = text(&busy(), facts()).unwrap();
    for line in [
        "sealwire_sealed_records_total{cluster=\"main\",topic=\"payments\"} 10",
        "sealwire_sealed_stored_bytes_total{cluster=\"main\",topic=\"payments\"} 2000",
        "sealwire_refused_partitions_total{cluster=\"main\",topic=\"payments\",operation=\"produce\",\
         reason=\"no_rule\"} 1",
        "sealwire_frames_total{direction=\"request\",api=\"Produce\",api_key=\"0\"} 1",
        "sealwire_frames_total{direction=\"request\",api=\"unknown\",api_key=\"other\"} 1",
        "sealwire_access_file_current{kind=\"group\",cluster=\"main\",name=\"payers\"} 1",
        "sealwire_key_set_keys{cluster=\"main\",listener=\"lan\"} 2",
        "sealwire_key_set_fetched_timestamp_seconds{cluster=\"main\",listener=\"lan\"} 1700000000",
        "sealwire_key_set_failures_total{cluster=\"main\",listener=\"lan\"} 3",
        "sealwire_delegation_tokens{cluster=\"main\"} 4",
        "sealwire_delegation_tokens_made_total{cluster=\"main\"} 5",
        "sealwire_delegation_token_failures_total{cluster=\"main\"} 2",
        "sealwire_broker_token_ends_timestamp_seconds{cluster=\"main\"} 1700000000",
        "sealwire_broker_token_fetches_total{cluster=\"main\",result=\"given\"} 6",
        "sealwire_broker_token_fetches_total{cluster=\"main\",result=\"refused\"} 2",
        "sealwire_broker_token_fetches_total{cluster=\"main\",result=\"failed\"} 1",
        "sealwire_executors 2",
        "sealwire_executors_answering 1",
        "sealwire_deks_made_total{kms=\"local\"} 0",
        "sealwire_kms_available{kms=\"local\"} 1",
        "sealwire_kms_available{kms=\"vault\"} 0",
        "sealwire_kms_outage_seconds{kms=\"local\"} 0.0",
        "sealwire_kms_call_seconds_bucket{le=\"+Inf\",kms=\"vault\",call=\"unwrap\"} 0",
        "sealwire_proxy_seconds_bucket{le=\"0.00002\",kind=\"produce\"} 0",
        "sealwire_proxy_seconds_bucket{le=\"0.00005\",kind=\"produce\"} 1",
        "sealwire_proxy_seconds_bucket{le=\"10.0\",kind=\"produce\"} 1",
        "sealwire_proxy_seconds_bucket{le=\"+Inf\",kind=\"produce\"} 2",
        "sealwire_proxy_seconds_count{kind=\"produce\"} 2",
    ] {
        assert!(
            text.lines().any(|found| found == line),
            "{line} is missing from\n{text}"
        );
    }
}

#[test]
fn the_document_names_every_metric_and_no_other() {
    let text = text(&Collection::default(), facts()).unwrap();
    let exported: BTreeSet<String> = text
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE "))
        .filter_map(|rest| {
            let (name, kind) = rest.split_once(' ')?;
            Some(if kind == "counter" {
                format!("{name}_total")
            } else {
                name.to_owned()
            })
        })
        .collect();
    let documented: BTreeSet<String> = include_str!("../../../docs/metrics.md")
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split('`').next())
        .filter(|name| name.starts_with("sealwire_") || name.starts_with("process_"))
        .map(str::to_owned)
        .collect();
    assert!(exported.len() > 30);
    assert_eq!(exported, documented);
}

#[test]
fn the_document_explains_every_reason() {
    let document = include_str!("../../../docs/metrics.md");
    let refusals = RefusalReason::ALL.iter().map(|reason| reason.as_str());
    let closes = CloseReason::ALL.iter().map(|reason| reason.as_str());
    for reason in refusals.chain(closes) {
        assert!(
            document.contains(&format!("| `{reason}` |")),
            "{reason} is missing"
        );
    }
}
