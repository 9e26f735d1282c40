//! What is told of refusals and of connections that end: to the audit log, to counters, to the log and to the producer.

use std::collections::BTreeMap;

use kafka_protocol::messages::ProduceResponse;
use kafka_protocol::messages::produce_response::{PartitionProduceResponse, TopicProduceResponse};
use sealwire::audit::{AuditEvent, Operation, Reason};
use sealwire::keys::KeyFailure;
use sealwire::metrics::{CloseReason, RefusalReason};

use crate::rig::{Dek, Halt, PAYMENTS, Rig, at_offset, batch, dek, sealed, tampered};
use crate::wire::{
    ToProduce, fetch_request, fetch_response, fetched, metadata_request, metadata_response, only_frame,
    produce, response, stored, text, to_produce, verdicts,
};

const NO_RULE: Reason = Reason::Counted(RefusalReason::NoRule);

/// Produces the partitions and gives what the audit log is told.
fn produced(rig: &mut Rig, partitions: &[ToProduce<'_>]) -> Vec<AuditEvent> {
    assert_eq!(rig.client_sends(&produce(9, 5, -1, partitions)), Ok(Halt::More));
    let request = only_frame(&rig.at_broker());
    assert_eq!(rig.broker_sends(&stored(9, 5, &request)), Ok(Halt::More));
    rig.pipeline.audit.take().events
}

/// Records in refused partitions, by reason.
fn refused_records(rig: &Rig) -> BTreeMap<&'static str, u64> {
    let mut records = BTreeMap::new();
    for (_, counters) in rig.pipeline.metrics.snapshot().topics {
        for refusal in counters.refusals() {
            *records.entry(refusal.reason.as_str()).or_default() += refusal.records;
        }
    }
    records
}

#[test]
fn names_that_no_topic_can_have_are_one_line_of_a_request_and_cut() {
    let mut rig = Rig::with_keys();
    let names: Vec<String> = (0..4000)
        .map(|number| format!("{number}\n{}", "\u{1b}".repeat(300)))
        .collect();
    let mut partitions: Vec<ToProduce<'_>> =
        names.iter().map(|name| to_produce(name, 7, b"records")).collect();
    partitions.push(to_produce("unknown", 1, b"records"));
    let events = produced(&mut rig, &partitions);
    let told: Vec<_> = events
        .iter()
        .map(|event| (event.records().expect("of records").reason, event.partitions()))
        .collect();
    assert_eq!(told, [(Reason::IllegalName, Some(4000)), (NO_RULE, None)]);
    assert_eq!(
        events[0].records().expect("of records").topic.len(),
        249,
        "the longest name of a topic"
    );
    assert!(names[0].starts_with(&*events[0].records().expect("of records").topic));
    assert_eq!(&*events[1].records().expect("of records").topic, "unknown");

    assert_eq!(rig.client_sends(&fetch_request(11, 6)), Ok(Halt::More));
    let illegal: Vec<_> = ["a b", "c/d", "caf\u{e9}"]
        .iter()
        .map(|topic| fetched(topic, 0, b"records"))
        .collect();
    rig.broker_sends(&fetch_response(11, 6, &illegal))
        .expect("it is held or answered");
    let events = rig.pipeline.audit.take().events;
    let told: Vec<_> = events
        .iter()
        .map(|event| {
            (
                event.records().expect("of records").operation,
                event.records().expect("of records").reason,
                event.partitions(),
            )
        })
        .collect();
    assert_eq!(told, [(Operation::Fetch, Reason::IllegalName, Some(3))]);
}

/// The longest name that is legal is its own line, one byte more is not.
#[test]
fn the_bound_of_a_legal_name_is_kafkas() {
    let mut rig = Rig::with_keys();
    let (longest, longer) = ("n".repeat(249), "n".repeat(250));
    let events = produced(
        &mut rig,
        &[to_produce(&longest, 0, b""), to_produce(&longer, 0, b"")],
    );
    let reasons: Vec<_> = events
        .iter()
        .map(|event| event.records().expect("of records").reason)
        .collect();
    assert_eq!(reasons, [NO_RULE, Reason::IllegalName]);
}

#[test]
fn a_refused_key_is_named_to_the_producer_and_in_the_audit_log() {
    let mut rig = Rig::new();
    rig.refuse_sealing(&PAYMENTS, KeyFailure::KekNotFound);
    let records = batch(&["value"]);
    assert_eq!(
        rig.client_sends(&produce(9, 5, -1, &[to_produce("sealed-a", 0, &records)])),
        Ok(Halt::More)
    );
    let request = only_frame(&rig.at_broker());
    assert_eq!(rig.broker_sends(&stored(9, 5, &request)), Ok(Halt::More));
    let verdicts = verdicts(&only_frame(&rig.at_client()), 9);
    assert_eq!(verdicts[0].error_code, 44);
    let message = &verdicts[0].message;
    assert!(message.contains("is not in the KMS (payments)"), "{message}");
    let events = rig.pipeline.audit.take().events;
    let kek = events[0]
        .records()
        .expect("of records")
        .kek
        .as_ref()
        .map(ToString::to_string);
    assert_eq!(kek.as_deref(), Some("payments"));
}

#[test]
fn the_name_of_a_key_in_a_record_is_told_escaped() {
    const HOSTILE: Dek = dek("k\n\u{1b}[2J\u{202e}", 3);
    let mut rig = Rig::with_keys();
    assert_eq!(rig.client_sends(&fetch_request(11, 6)), Ok(Halt::More));
    let stored = sealed(&batch(&["value", "value"]), &HOSTILE, "sealed-a");
    let response = fetch_response(11, 6, &[fetched("sealed-a", 0, &stored)]);
    rig.broker_sends(&response).expect("it is held or answered");
    let events = rig.pipeline.audit.take().events;
    assert_eq!(
        events[0].records().expect("of records").reason,
        Reason::Counted(RefusalReason::KekNotNamed)
    );
    let kek = events[0]
        .records()
        .expect("of records")
        .kek
        .as_ref()
        .map(ToString::to_string);
    assert_eq!(kek.as_deref(), Some(r"k\n\x1b[2J\xe2\x80\xae"));
    assert_eq!(refused_records(&rig), [("kek_not_named", 2)].into());
}

#[test]
fn who_it_was_is_told_by_the_id_of_the_request() {
    let mut rig = Rig::with_keys();
    let events = produced(&mut rig, &[to_produce("unknown", 0, b"records")]);
    assert_eq!(&*events[0].records().expect("of records").client.id, b"tests");
}

#[test]
fn records_of_refused_batches_are_counted_where_their_number_is_known() {
    let mut rig = Rig::with_keys();
    let long = "v".repeat(400);
    let three = batch(&[&long, &long, &long]);
    let events = produced(
        &mut rig,
        &[
            to_produce("small-a", 0, &three),
            to_produce("unknown", 0, &three),
            to_produce("reject-a", 0, &three),
            to_produce("sealed-a", 0, &tampered(&three, 0)[..three.len() - 1]),
        ],
    );
    assert_eq!(events.len(), 4);
    let counted = [
        ("malformed", 0),
        ("no_rule", 3),
        ("rejected", 3),
        ("too_large", 3),
    ];
    assert_eq!(refused_records(&rig), counted.into());

    // Of a batch that does not open; what stands before it is delivered.
    let good = sealed(&batch(&["good"]), &PAYMENTS, "sealed-a");
    let bad = at_offset(&tampered(&sealed(&three, &PAYMENTS, "sealed-a"), 0), 1);
    assert_eq!(rig.client_sends(&fetch_request(11, 6)), Ok(Halt::More));
    let response = fetch_response(11, 6, &[fetched("sealed-a", 0, &[good, bad].concat())]);
    assert_eq!(rig.broker_sends(&response), Ok(Halt::More));
    assert_eq!(refused_records(&rig).get("tag"), Some(&3));
}

#[test]
fn what_the_broker_finds_too_large_is_counted_where_it_was_sealed() {
    for (version, refused) in (3..=12).flat_map(|version| [(version, true), (version, false)]) {
        let mut rig = Rig::with_keys();
        let records = batch(&["value"]);
        let mut partitions = vec![
            to_produce("sealed-a", 0, &records),
            to_produce("sealed-a", 1, &records),
            to_produce("pass-a", 0, &records),
        ];
        if refused {
            partitions.push(to_produce("unknown", 0, &records));
        }
        assert_eq!(
            rig.client_sends(&produce(version, 5, -1, &partitions)),
            Ok(Halt::More)
        );
        rig.at_broker();
        let answer = |topic: &str, codes: &[i16]| {
            let partitions = codes.iter().enumerate().map(|(index, code)| {
                PartitionProduceResponse::default()
                    .with_index(index as i32)
                    .with_error_code(*code)
            });
            TopicProduceResponse::default()
                .with_name(text(topic).into())
                .with_partition_responses(partitions.collect())
        };
        let body = ProduceResponse::default()
            .with_responses(vec![answer("sealed-a", &[10, 0]), answer("pass-a", &[10])]);
        assert_eq!(rig.broker_sends(&response(version, 5, &body)), Ok(Halt::More));
        let counted = [("too_large_for_broker", 1), ("no_rule", 1)];
        let counted = counted.into_iter().take(1 + usize::from(refused)).collect();
        assert_eq!(rig.refusals(), counted, "version {version}");
    }
}

#[test]
fn what_is_no_kafka_client_is_told_apart() {
    let hello = [0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3, 0, 0, 0, 0, 0];
    for (bytes, expected) in [
        (&hello[..], Some("a TLS ClientHello")),
        (b"GET /metrics HTTP/1.1\r\n", Some("an HTTP request")),
        (
            b"PROXY TCP4 192.0.2.1\r\n",
            Some("a PROXY header of a load balancer"),
        ),
        (b"SSH-2.0-OpenSSH_9.9\r\n", None),
    ] {
        let mut rig = Rig::with_keys();
        assert!(rig.client_sends(bytes).is_err());
        assert_eq!(
            rig.session.looks_like(),
            None,
            "a client that has sent requests before is one"
        );
        let mut rig = Rig::stranger(sealwire::config::Limits::default(), None);
        assert!(rig.client_sends(bytes).is_err());
        assert_eq!(rig.session.looks_like(), expected);
    }
}

/// ADDR-4
#[test]
fn a_host_that_is_none_is_not_learned_and_closes() {
    for (host, is_host) in [("kafka_1.example.com", true), ("kafka\n\u{1b}[2J", false)] {
        let mut rig = Rig::with_keys();
        assert_eq!(rig.client_sends(&metadata_request(6)), Ok(Halt::More));
        let answered = rig.broker_sends(&metadata_response(6, &[(1, host, 9092)]));
        if is_host {
            assert!(answered.is_ok(), "{answered:?}");
            continue;
        }
        assert_eq!(answered, Err(CloseReason::MalformedFrame));
        let fault = rig.session.fault().expect("what was wrong");
        assert!(
            fault.to_string().contains("neither a name nor an address"),
            "{fault}"
        );
        assert!(rig.at_client().is_empty());
    }
}
