//! The policy against what was audited, here, and against the versions that the oracle knows: a bump on either side is
//! a conscious act. For an API whose messages are decoded it means to have read what the new version carries, and
//! where: records, brokers' addresses, topics by name or by id; the walkers' own tests then have to go as far.

use std::ops::RangeInclusive;

use kafka_protocol::messages::ApiKey;
use sealwire::protocol::api_key;
use sealwire::protocol::policy::{NEVER, Policy, ResponseHandling};

/// API key, lowest and highest version of ours, lowest and highest version of the oracle.
type Audited = (i16, (i16, i16), (i16, i16));

/// Decoded APIs: ours (what is let through), then the oracle's (what it can encode).
const DECODED: &[Audited] = &[
    (api_key::PRODUCE, (3, 12), (3, 13)), // 13 knows topics by id
    (api_key::FETCH, (4, 12), (4, 18)),   // 13 to 18 know topics by id; 16 to 18 carry addresses of brokers
    (api_key::METADATA, (0, 13), (0, 13)),
    (api_key::FIND_COORDINATOR, (0, 6), (0, 6)),
    (api_key::SASL_HANDSHAKE, (1, 1), (0, 1)), // 0 goes on without Kafka headers
    (api_key::API_VERSIONS, (0, 5), (0, 4)),   // 5 has the response of 4 (KIP-1242)
    (api_key::SASL_AUTHENTICATE, (0, 2), (0, 2)),
    (api_key::DESCRIBE_CLUSTER, (0, 2), (0, 2)),
];

/// Walkers that are ready although their API is hidden: versions of ours, and of the oracle.
const HIDDEN: &[Audited] = &[
    (api_key::SHARE_FETCH, (1, 2), (1, 1)),
    (api_key::SHARE_ACKNOWLEDGE, (1, 2), (1, 1)),
];

/// Opaque APIs whose audited maximum is not the oracle's: Kafka 4.2 to 4.4 raised it, or (InitProducerId) the oracle
/// has an unstable version.
const OPAQUE_MAX: &[(i16, i16, i16)] = &[
    (2, 11, 10),
    (22, 5, 6),
    (27, 2, 1),
    (28, 6, 5),
    (35, 5, 4),
    (42, 3, 2),
    (80, 1, 0),
    (90, 1, 0),
];

/// What the tests of the walkers go through.
pub(crate) const PRODUCE_VERSIONS: RangeInclusive<i16> = 3..=13;
pub(crate) const FETCH_VERSIONS: RangeInclusive<i16> = 4..=18;

fn oracle(key: i16) -> Option<ApiKey> {
    ApiKey::try_from(key).ok()
}

fn oracle_range(key: i16) -> (i16, i16) {
    let range = oracle(key).unwrap().valid_versions();
    (range.min, range.max)
}

#[test]
fn decoded_versions_are_what_was_audited() {
    for (key, ours, oracles) in DECODED {
        let policy = Policy::BY_NAME.api(*key).unwrap();
        assert_eq!((policy.min, policy.max), *ours, "{}", policy.name);
        assert_eq!(
            oracle_range(*key),
            *oracles,
            "kafka-protocol has other versions of {} now",
            policy.name
        );
    }
    for (key, _, oracles) in HIDDEN {
        assert_eq!(Policy::BY_NAME.api(*key), None);
        assert_eq!(oracle_range(*key), *oracles);
    }
    let held = Policy::BY_NAME
        .apis()
        .iter()
        .filter(|policy| policy.response == ResponseHandling::Hold);
    let held: Vec<i16> = held.map(|policy| policy.key).collect();
    let decoded: Vec<i16> = DECODED.iter().map(|(key, ..)| *key).collect();
    assert_eq!(held, decoded);
}

/// What the walkers of records are proven for (`unchanged`, `rewritten`, `hostile`) is at least what is let through.
#[test]
fn walkers_of_records_go_as_far_as_the_policy() {
    for (key, proven) in [
        (api_key::PRODUCE, PRODUCE_VERSIONS),
        (api_key::FETCH, FETCH_VERSIONS),
    ] {
        let policy = Policy::BY_NAME.api(key).unwrap();
        assert!(
            proven.contains(&policy.min) && proven.contains(&policy.max),
            "{}",
            policy.name
        );
        let (min, max) = oracle_range(key);
        assert_eq!(proven, min..=max, "{}", policy.name);
    }
}

#[test]
fn opaque_versions_are_what_was_audited() {
    for policy in Policy::BY_NAME
        .apis()
        .iter()
        .filter(|policy| policy.response == ResponseHandling::Stream)
    {
        let Some(_) = oracle(policy.key) else {
            assert!(
                [88, 89, 93, 94].contains(&policy.key),
                "{} is not known to the oracle",
                policy.name
            );
            continue;
        };
        let (min, max) = oracle_range(policy.key);
        assert_eq!(policy.min, min, "{}", policy.name);
        let audited = OPAQUE_MAX.iter().find(|(key, ..)| *key == policy.key);
        let (ours, oracles) = audited.map_or((max, max), |(_, ours, oracles)| (*ours, *oracles));
        assert_eq!((policy.max, max), (ours, oracles), "{}", policy.name);
    }
}

#[test]
fn names_and_headers_agree() {
    for policy in Policy::BY_NAME.apis() {
        let Some(api) = oracle(policy.key) else { continue };
        assert_eq!(format!("{api:?}"), policy.name);
        let (min, max) = oracle_range(policy.key);
        for version in min..=max {
            let flexible = policy.flexible(version);
            assert_eq!(
                api.request_header_version(version) >= 2,
                flexible,
                "{} {version}",
                policy.name
            );
            let response = policy.response_header_flexible(version);
            assert_eq!(
                api.response_header_version(version) >= 1,
                response,
                "{} {version}",
                policy.name
            );
        }
        if policy.flexible_from == NEVER {
            assert!(api.request_header_version(max) < 2, "{}", policy.name);
        }
    }
}
