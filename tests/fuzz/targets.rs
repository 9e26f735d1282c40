//! What the fuzz targets do with their bytes. Shared by `fuzz_targets/` and by the test that replays the corpora.
//!
//! Nothing may panic, whatever the bytes are; what a walker accepts must come out as it came in when nothing is
//! changed, and what it writes it must accept again.
#![allow(dead_code)] // Each target is a program of its own, and uses its own function.

#[path = "../pipeline/rig.rs"]
mod rig;
#[path = "whole.rs"]
pub(crate) mod whole;

use std::path::Path;
use std::time::Duration;

use sealwire::config::{Config, Limits};
use sealwire::envelope::{Domain, Form, Opener, OpeningKey, Seal, form_of};
use sealwire::keys::KeyFailure;
use sealwire::metrics::CloseReason;
use sealwire::pipeline::Wait;
use sealwire::protocol::addresses::{self, Rewrite};
use sealwire::protocol::fetch_response::FetchResponse;
use sealwire::protocol::policy::Policy;
use sealwire::protocol::produce_request::ProduceRequest;
use sealwire::protocol::produce_response::{self, Refusal};
use sealwire::protocol::{api_key, api_versions as versions};
use sealwire::record_batch::{
    BatchKind, Batches, Decompressor, RecordCursor, Span, check_produced, headers, parse_record,
    stored_records,
};

use rig::{Halt, PAYMENTS, Rig, address};
use whole::{Becomes, ProducedBecomes, rewrite_produce};

/// A client's certificate, by each way to a principal.
pub(crate) fn certificate_names(data: &[u8]) {
    use sealwire::identity::certificate_names::{PrincipalMapping, Rules};
    let rules = Rules::parse("RULE:^CN=([^,+]+).*$/$1/L,DEFAULT").expect("rules");
    for mapping in [
        PrincipalMapping::Subject(rules),
        PrincipalMapping::SanUri,
        PrincipalMapping::SanDns,
    ] {
        if let Ok(principal) = mapping.principal(data) {
            assert!(!principal.name().is_empty());
        }
    }
}

/// Rules, to the first line's end, and behind it a subject.
pub(crate) fn principal_rules(data: &[u8]) {
    use sealwire::identity::certificate_names::Rules;
    let text = String::from_utf8_lossy(data);
    let (rules, subject) = text.split_once('\n').unwrap_or((&text, "CN=alice,O=Example"));
    if let Ok(rules) = Rules::parse(rules) {
        let _ = rules.name_of(subject);
    }
}

/// What a client says within a login, by each mechanism: one message behind each 0xff. `NONCE` stands for what the
/// server has drawn, or nothing that is made up would come as far as its proof. Nobody gets in.
pub(crate) fn sasl_messages(data: &[u8]) {
    use sealwire::identity::sasl::credentials::Credentials;
    use sealwire::identity::sasl::exchange::{Answer, Checked, Exchange, LoginMechanism, UNKNOWN_KEY};
    use sealwire::identity::sasl::oauthbearer::REFUSED;
    use sealwire::identity::sasl::verifier::{Mechanism, Verifier};
    use std::sync::{Arc, LazyLock};
    use std::time::Duration;
    static CHECKED: LazyLock<Checked> = LazyLock::new(|| {
        let mut credentials = Credentials::new().expect("random numbers");
        for mechanism in [Mechanism::Sha256, Mechanism::Sha512] {
            let verifier = Verifier::new(mechanism, b"nobody guesses this", 4096).expect("it is hashed");
            credentials.set("alice", mechanism, verifier).expect("a name");
        }
        let (rules, keys) = issuer();
        Checked {
            credentials: Some(Arc::new(credentials)),
            token_rules: Some(Arc::new(rules)),
            keys: Some(Arc::new(keys)),
            may_find_keys: true,
        }
    });
    let now = Some(Duration::from_secs(1_700_000_000));
    for mechanism in LoginMechanism::ALL {
        let mut exchange = Exchange::new(mechanism);
        let mut nonce = String::new();
        for message in data.split(|byte| *byte == 0xff) {
            let message = match message.windows(5).position(|window| window == b"NONCE") {
                Some(at) => [&message[..at], nonce.as_bytes(), &message[at + 5..]].concat(),
                None => message.to_vec(),
            };
            match exchange.take(&message, &CHECKED, now) {
                Ok(Answer::Challenge(first)) if first == REFUSED.as_bytes() => {}
                Ok(Answer::Challenge(first)) => {
                    let first = String::from_utf8(first).expect("it is text");
                    let end = first.find(",s=").expect("a salt");
                    nonce = first["r=".len()..end].to_owned();
                }
                // As where it is nowhere.
                Ok(Answer::UnknownKey(_)) => drop(exchange.refuse(UNKNOWN_KEY)),
                Ok(Answer::Check(_)) | Err(_) => break,
                Ok(Answer::Known { .. } | Answer::Unavailable) => {
                    panic!("somebody was let in, or nobody can be")
                }
            }
        }
    }
}

/// Which tokens are taken, and keys that nobody has signed with.
fn issuer() -> (
    sealwire::identity::sasl::oauthbearer::token::TokenRules,
    sealwire::identity::sasl::oauthbearer::key_set::KeySet,
) {
    use sealwire::identity::sasl::oauthbearer::{key_set::KeySet, token};
    use sealwire::testing::tokens::{SigningKey, key_set};
    let keys = [SigningKey::rsa("r"), SigningKey::ec("e"), SigningKey::ed("d")];
    let rules = token::TokenRules {
        issuer: "issuer".to_owned(),
        audiences: vec!["kafka".to_owned()],
        algorithms: token::ALGORITHMS.map(|(_, algorithm)| algorithm).to_vec(),
        principal_claim: "sub".to_owned(),
    };
    (rules, KeySet::parse(key_set(&keys).as_bytes()).expect("a set"))
}

/// A token. Nobody has signed it.
pub(crate) fn token(data: &[u8]) {
    use sealwire::identity::sasl::oauthbearer::{key_set::KeySet, token::TokenRules};
    use std::sync::LazyLock;
    static ISSUER: LazyLock<(TokenRules, KeySet)> = LazyLock::new(issuer);
    let (rules, keys) = &*ISSUER;
    if let Ok(token) = std::str::from_utf8(data) {
        let now = std::time::Duration::from_secs(1_700_000_000);
        assert!(rules.check(token, keys, now).is_err(), "nobody has signed it");
    }
}

/// A keyring's file. What is taken is written as it was read, and each pin leads to a key that there is.
pub(crate) fn keyring(data: &[u8]) {
    use sealwire::keyring::Keyring;
    let Ok(keyring) = Keyring::parse(data) else { return };
    let written = keyring.to_json().expect("it is written");
    let again = Keyring::parse(&written).expect("it is read again");
    assert_eq!(again.to_json().expect("it is written"), written);
    assert_eq!(again.fingerprint(), keyring.fingerprint());
    for pin in keyring.pins() {
        assert!(keyring.key(pin.key()).is_some());
        if let Some(id) = keyring.key_of(pin.text()) {
            assert!(keyring.key(id).is_some());
        }
    }
    for key in keyring.keys() {
        assert!(!key.kek_name().is_empty());
        assert!(!keyring.next_for(Path::new("keyring.json"), key.name()).is_empty());
    }
}

/// A set of keys, and a token that may name one of them.
pub(crate) fn key_set(data: &[u8]) {
    use sealwire::identity::sasl::oauthbearer::{key_set::KeySet, token::TokenRules};
    use std::sync::LazyLock;
    static ISSUER: LazyLock<(TokenRules, KeySet)> = LazyLock::new(issuer);
    let Ok(keys) = KeySet::parse(data) else { return };
    assert!(keys.key_count() > 0);
    for algorithm in ["RS256", "PS512", "ES256", "ES384", "EdDSA"] {
        let header = format!("{{\"alg\":\"{algorithm}\",\"kid\":\"k\"}}");
        let header = sealwire::testing::tokens::encoded(header.as_bytes());
        let now = std::time::Duration::from_secs(1_700_000_000);
        assert!(ISSUER.0.check(&format!("{header}.e30.AAAA"), &keys, now).is_err());
    }
}

/// The requests of a login, each in every version.
pub(crate) fn sasl_frames(data: &[u8]) {
    use sealwire::protocol::sasl;
    if let Ok(mechanism) = sasl::mechanism(data) {
        assert!(mechanism.len() <= data.len());
    }
    for version in 0..=2 {
        if let Ok(token) = sasl::token(data, version) {
            assert!(
                data.windows(token.len().max(1))
                    .any(|window| token.is_empty() || window == token)
            );
        }
    }
}

/// What a load balancer may say first. It is the same however it comes, and nothing behind it belongs to it.
pub(crate) fn proxy_protocol(data: &[u8]) {
    use sealwire::transport::proxy_protocol::{PREFACE_BYTES_MAX, Parsed, parse};
    let parsed = parse(data);
    let Ok(Parsed::Whole { bytes, .. }) = parsed else {
        return;
    };
    assert!(bytes <= PREFACE_BYTES_MAX);
    assert_eq!(parse(&data[..bytes]), parsed);
    for cut in 0..bytes {
        let more = parse(&data[..cut]);
        assert!(
            matches!(more, Ok(Parsed::More { at_most }) if at_most >= bytes - cut),
            "{more:?}"
        );
    }
}

/// A session between a client and a broker. The bytes are a script: an opcode, and for what either side sends a length
/// (two bytes) and that many bytes.
pub(crate) fn frame(data: &[u8]) {
    play(Rig::new(), data);
}

/// The same of a client that comes straight to node 1's port, and whom the broker has not answered yet.
pub(crate) fn stranger(data: &[u8]) {
    play(
        Rig::stranger(Limits::default(), Some((1, address("kafka-1", 9092)))),
        data,
    );
}

fn play(mut rig: Rig, mut script: &[u8]) {
    while let Some((&opcode, rest)) = script.split_first() {
        script = rest;
        let halted = match opcode % 8 {
            0 | 1 => {
                let Some((length, rest)) = script.split_first_chunk() else {
                    break;
                };
                let sent = rest.len().min(usize::from(u16::from_be_bytes(*length)));
                let (sent, rest) = rest.split_at(sent);
                script = rest;
                if opcode % 8 == 0 {
                    rig.client_sends(sent)
                } else {
                    rig.broker_sends(sent)
                }
            }
            other => {
                match other {
                    2 => rig.pass_time(Duration::from_millis(300)),
                    3 => rig.pass_time(Duration::from_secs(3)),
                    4 => rig.give_sealing(&PAYMENTS),
                    5 => rig.give_opened(&PAYMENTS),
                    6 => rig.refuse_sealing(&PAYMENTS, KeyFailure::Unavailable),
                    _ => rig.refuse_opened(&PAYMENTS, KeyFailure::KekDisabled),
                }
                rig.client_sends(&[]).and_then(|_| rig.broker_sends(&[]))
            }
        };
        match halted {
            Ok(Halt::Blocked(Wait::Addresses(learned, _))) => rig.learn(learned),
            Ok(_) => {}
            Err(reason) => {
                assert_ne!(reason, CloseReason::Internal, "no bytes are a fault of our own");
                break;
            }
        }
    }
    rig.session.abandon(&mut rig.pipeline);
    assert_eq!(rig.pipeline.metrics.gauges.requests_in_flight, 0);
    assert_eq!(rig.parked(), (0, 0));
}

/// Responses that carry broker addresses. The first two bytes choose API and version.
pub(crate) fn addresses(data: &[u8]) {
    let &[api, version, ref frame @ ..] = data else {
        return;
    };
    let apis = [
        api_key::METADATA,
        api_key::FIND_COORDINATOR,
        api_key::DESCRIBE_CLUSTER,
        api_key::PRODUCE,
        api_key::FETCH,
        api_key::SHARE_FETCH,
        api_key::SHARE_ACKNOWLEDGE,
    ];
    let (api, version) = (apis[usize::from(api) % apis.len()], i16::from(version % 20));
    let mut out = Vec::new();
    let told = Rewrite::Replace {
        host: "proxy",
        port: 9,
    };
    let serve_even = &mut |node| if node % 2 == 0 { told } else { Rewrite::Unserved };
    let Ok(written) = addresses::rewrite(api, version, frame, serve_even, &mut out) else {
        assert!(out.is_empty());
        return;
    };
    out.extend_from_slice(&frame[written..]);
    addresses::visit(api, version, unprefixed(&out), &mut |broker| {
        assert_eq!((broker.host, broker.port, broker.node_id % 2), ("proxy", 9, 0));
    })
    .expect("what was written is read");
}

/// Produce requests. The first byte chooses the version.
pub(crate) fn produce_request(data: &[u8]) {
    let Some((&version, frame)) = data.split_first() else {
        return;
    };
    let version = i16::from(version % 16);
    let mut layout = ProduceRequest::default();
    if layout.parse(frame, version).is_err() {
        return;
    }
    let mut out = Vec::new();
    rewrite_produce(&layout, frame, &mut out, &mut |_, _| ProducedBecomes::Kept)
        .expect("what was read is written");
    assert_eq!(unprefixed(&out), frame);
    out.clear();
    let rewritten = rewrite_produce(
        &layout,
        frame,
        &mut out,
        &mut |position, out| match position % 3 {
            0 => ProducedBecomes::Kept,
            1 => ProducedBecomes::Cut,
            _ => {
                out.extend_from_slice(b"sealed");
                ProducedBecomes::Written
            }
        },
    );
    rewritten.expect("what was read is written");
    let kept = (0..layout.partitions.len())
        .filter(|position| position % 3 != 1)
        .count();
    layout
        .parse(unprefixed(&out), version)
        .expect("what was written is read");
    assert_eq!(layout.partitions.len(), kept);
}

/// Produce responses. The first byte chooses the version.
pub(crate) fn produce_response(data: &[u8]) {
    let Some((&version, frame)) = data.split_first() else {
        return;
    };
    let version = i16::from(version % 16);
    let refusals = ["a", "b"].map(|topic| Refusal {
        topic: topic.into(),
        partition: 1,
        error_code: 44,
        message: "refused".into(),
    });
    let mut out = Vec::new();
    let (addresses, errors) = (&mut |_| Rewrite::Unserved, &mut |_: &str, _| ());
    let merged = produce_response::merge(frame, version, &refusals, addresses, errors, &mut out);
    if merged.is_err() {
        assert!(out.is_empty());
        return;
    }
    let mut again = Vec::new();
    let is_written = produce_response::merge(unprefixed(&out), version, &[], addresses, errors, &mut again)
        .expect("what was written is read");
    assert!(!is_written || out == again, "nothing is left to be changed");
}

/// Fetch responses. The first byte chooses the version.
pub(crate) fn fetch_response(data: &[u8]) {
    let Some((&version, frame)) = data.split_first() else {
        return;
    };
    let version = i16::from(version % 20);
    let mut layout = FetchResponse::default();
    let parsed = layout.parse(frame, version);
    if version <= 12 {
        for piece_bytes in [1, 7, usize::MAX / 2] {
            let streamed = whole::stream_fetch(frame, version, piece_bytes, &mut |_, _| ());
            assert_eq!(streamed, parsed, "STREAM-WALK-1");
        }
    }
    if parsed.is_err() {
        return;
    }
    let found = layout.partitions();
    let mut has_addresses = false;
    let mut out = Vec::new();
    let address = &mut |_| {
        has_addresses = true;
        Rewrite::Unserved
    };
    whole::rewrite_records(found, frame, &mut out, &mut |_| Becomes::Kept, address)
        .expect("what was read is written");
    assert!(has_addresses || version >= 16 || unprefixed(&out) == frame);
    out.clear();
    let each = &mut |position| match position % 2 {
        0 => Becomes::Blank(Some(29)),
        _ => Becomes::Records(b"opened"),
    };
    whole::rewrite_records(found, frame, &mut out, each, &mut |_| Rewrite::Unserved)
        .expect("what was read is written");
    let partitions = found.len();
    let written = unprefixed(&out);
    addresses::visit(api_key::FETCH, version, written, &mut |broker| {
        panic!("{broker:?} is told")
    })
    .expect("what was written is read");
    layout.parse(written, version).expect("what was written is read");
    let found = layout.partitions();
    assert_eq!(found.len(), partitions, "no partition is ever left out");
    for position in 0..partitions {
        if position % 2 == 0 {
            assert_eq!(found.get(position).map(|place| place.error_code), Some(29));
            assert!(found.records(written, position).is_empty());
        } else {
            assert_eq!(found.records(written, position), b"opened");
        }
    }
}

/// ApiVersions responses. The first byte chooses the version.
pub(crate) fn api_versions(data: &[u8]) {
    let Some((&version, frame)) = data.split_first() else {
        return;
    };
    let version = i16::from(version % 8);
    let mut once = Vec::new();
    if versions::intersect(frame, version, Policy::BY_NAME, &mut once).is_err() {
        assert!(once.is_empty());
        return;
    }
    let mut twice = Vec::new();
    versions::intersect(unprefixed(&once), version, Policy::BY_NAME, &mut twice)
        .expect("what was written is read");
    assert_eq!(once, twice, "nothing is left to be changed");
}

/// A records field: as a producer sends it, and as a broker does.
pub(crate) fn record_batch(data: &[u8]) {
    let mut decompressor = Decompressor::new();
    if let Ok(header) = check_produced(data, 12) {
        assert_eq!(header.batch_bytes(), data.len());
    }
    let mut batches = Batches::new(data);
    let mut end = 0;
    for slice in batches.by_ref().map_while(Result::ok) {
        assert_eq!(slice.span.start, end, "batches lie back to back");
        end = slice.span.end;
        let batch = slice.span.of(data);
        let BatchKind::V2(header) = slice.kind else {
            continue;
        };
        let limit = 1 << 20;
        let mut plain = Vec::new();
        match stored_records(batch, &header, limit, &mut decompressor, &mut plain) {
            Ok((records, cursor)) => {
                walk(records, cursor);
                assert!(plain.len() <= limit);
            }
            Err(_) => assert!(plain.is_empty()),
        }
    }
    let tail = batches.tail();
    assert_eq!((tail.start, tail.end), (end, data.len()));
}

fn walk(records: &[u8], mut cursor: RecordCursor) {
    while let Ok(Some(record)) = cursor.next(records) {
        let _ = headers(records, &record).check();
        let _ = form_of(records, &record);
    }
}

/// A seal by itself, and a record that may carry one.
pub(crate) fn seal(data: &[u8]) {
    let span = Span {
        start: 0,
        end: data.len(),
    };
    if let Ok(seal) = Seal::parse(data, span) {
        assert!(seal.hidden.end <= data.len() && seal.wrapped_dek.end <= seal.hidden.start);
    }
    let Ok(record) = parse_record(data, 0) else { return };
    let Ok(Form::RecordSeal(marker)) = form_of(data, &record) else {
        return;
    };
    let key =
        OpeningKey::new(&PAYMENTS.secret(), marker.wrapped_dek(data)).expect("a length that was checked");
    let domains = [Domain::new("sealed-a").expect("a good domain").into()];
    let mut source = data.to_vec();
    let mut out = b"before".to_vec();
    let opened =
        Opener::default().open_record(&key, &mut source, marker.in_record(&record), &domains, &mut out);
    assert_eq!(source, data, "the record is as it was");
    match opened {
        Ok(()) => {
            let record = parse_record(&out, 6).expect("what was opened is a record");
            assert_eq!(record.end, out.len());
        }
        Err(_) => assert_eq!(out, b"before"),
    }
}

/// A configuration file.
pub(crate) fn configuration(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    if let Err(errors) = Config::from_toml_text(text, Path::new("sealwire.toml")) {
        assert!(!errors.to_string().is_empty());
    }
}

fn unprefixed(out: &[u8]) -> &[u8] {
    let (length, frame) = out.split_first_chunk::<4>().expect("a length prefix");
    assert_eq!(u32::from_be_bytes(*length) as usize, frame.len());
    frame
}
