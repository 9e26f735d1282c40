//! Fetches of topics that pass: streamed, to the byte as if they were held, and not a byte of anything else.

use kafka_protocol::messages::{ApiKey, FetchRequest};
use sealwire::config::Limits;
use sealwire::metrics::CloseReason;
use sealwire::pipeline::{Wait, Work};
use sealwire::protocol::ProtocolError;

use crate::rig::{Halt, PAYMENTS, Rig, batch, contains, dek, sealed};
use crate::wire::{
    FetchSession, Fetched, SESSIONLESS, api_versions_request, correlation_ids, decode_request, delivered,
    fetch_of, fetch_request, fetch_response, fetch_response_of, fetched, frames, only_frame, prefixed,
    request,
};

const VERSIONS: std::ops::RangeInclusive<i16> = 4..=12;
/// A version with sessions.
const WITH_SESSIONS: i16 = 11;
const OPENS: FetchSession = (0, 0);
const CANARY: &str = "canary-of-nobody";

/// What brokers answer to whoever asks for `pass-a`, `pass-b` and `__consumer_offsets`.
fn answers() -> Vec<Vec<Fetched>> {
    vec![
        vec![],
        vec![fetched("pass-a", 0, b"")],
        vec![fetched("pass-a", 0, b"first").emptied(3)],
        vec![
            fetched("pass-a", 0, &batch(&["first"])),
            fetched("pass-a", 1, b""),
            // A truncated tail, alone.
            fetched("pass-b", 7, &batch(&["second"])[..40]),
            fetched("__consumer_offsets", 2, b"whatever"),
        ],
    ]
}

fn asks(rig: &mut Rig, version: i16, session: FetchSession, topics: &[&str]) {
    let sent = fetch_of(version, 1, session, topics);
    assert_eq!(rig.client_sends(&sent), Ok(Halt::More));
    assert_eq!(rig.at_broker(), sent);
}

/// The broker answers; says whether anything went on before all of it was there.
fn is_streamed(rig: &mut Rig, response: &[u8]) -> bool {
    let (last, rest) = response.split_last().unwrap();
    assert_eq!(rig.broker_sends(rest), Ok(Halt::More));
    let early = rig.at_client();
    assert_eq!(
        rig.session.only_polls(),
        early.is_empty(),
        "a drain waits for its end"
    );
    assert_eq!(rig.broker_sends(&[*last]), Ok(Halt::More));
    let late = rig.at_client();
    assert_eq!([early.as_slice(), &late].concat(), response);
    assert!(rig.session.is_quiet());
    !early.is_empty()
}

fn bytes_passed(rig: &Rig) -> Vec<(String, u64)> {
    let topics = rig.pipeline.metrics.snapshot().topics.into_iter();
    topics
        .map(|(name, counters)| (name.topic.to_string(), counters.bytes_passed))
        .collect()
}

#[test]
fn wherever_it_is_cut_what_streams_is_what_was_held() {
    for version in VERSIONS {
        for partitions in answers() {
            let response = fetch_response_of(version, 1, 0, &partitions);
            let (mut streaming, mut holding) = (Rig::new(), Rig::new());
            // A topic that is counted although nothing of it comes would make a difference.
            let topics: Vec<&str> = match partitions.is_empty() {
                true => vec!["pass-a"],
                false => partitions.iter().map(|asked| asked.topic.as_str()).collect(),
            };
            for cut in 0..=response.len() {
                asks(&mut streaming, version, SESSIONLESS, &topics);
                assert_eq!(holding.client_sends(&fetch_request(version, 1)), Ok(Halt::More));
                for piece in [&response[..cut], &response[cut..]] {
                    assert_eq!(streaming.broker_sends(piece), Ok(Halt::More), "PASSING-1");
                    assert_eq!(holding.broker_sends(piece), Ok(Halt::More));
                }
                assert_eq!(streaming.at_client(), response, "version {version}, cut at {cut}");
                assert_eq!(holding.at_client(), response);
                assert!(streaming.session.is_quiet());
            }
            let counted = |rig: &Rig| {
                let mut passed = bytes_passed(rig);
                passed.retain(|(_, bytes)| *bytes > 0);
                passed
            };
            assert_eq!(counted(&streaming), counted(&holding));
            asks(&mut streaming, version, SESSIONLESS, &topics);
            for byte in &response {
                assert_eq!(streaming.broker_sends(&[*byte]), Ok(Halt::More));
            }
            assert_eq!(streaming.at_client(), response);
        }
    }
}

#[test]
fn what_streams_goes_on_as_far_as_it_is_known() {
    for version in VERSIONS {
        let mut rig = Rig::new();
        asks(&mut rig, version, SESSIONLESS, &["pass-a"]);
        let records = vec![7; 100_000];
        let response = fetch_response(version, 1, &[fetched("pass-a", 0, &records)]);
        assert_eq!(rig.broker_sends(&response[..50_000]), Ok(Halt::More));
        assert_eq!(rig.at_client(), &response[..50_000]);
        assert_eq!(
            rig.session.announced(sealwire::metrics::Direction::Response, b""),
            None
        );
        assert_eq!(rig.broker_sends(&response[50_000..]), Ok(Halt::More));
        assert_eq!(rig.at_client(), &response[50_000..]);
        assert!(rig.session.only_polls() && rig.session.is_quiet());
    }
}

/// PASSING-2
#[test]
fn a_broker_that_puts_in_what_was_not_asked_for_is_closed_before_a_byte_of_it() {
    let clear = batch(&[CANARY]);
    let stored = sealed(&clear, &PAYMENTS, "sealed-a");
    let overlong = format!("pass-{}", "x".repeat(245));
    let foreign = [
        ("sealed-a", clear.as_slice()),
        ("sealed-a", &stored),
        ("sealed-a", b""),
        ("unknown", &clear),
        ("reject-a", &clear),
        ("pass/a", &clear),
        ("Pass-a", &clear),
        ("pass-a\0", &clear),
        ("", &clear),
        (&overlong, &clear),
    ];
    for version in VERSIONS {
        for (name, records) in foreign {
            let partitions = [
                fetched("pass-a", 0, b"before"),
                fetched(name, 0, records),
                fetched("pass-b", 0, CANARY.as_bytes()),
            ];
            let response = fetch_response(version, 1, &partitions);
            // Behind it is a count of tagged fields.
            let foreign_at =
                response.len() - fetched_bytes(version, &partitions[1..]) - usize::from(version >= 12);
            for cut in (0..=response.len()).step_by(7) {
                let mut rig = Rig::with_keys();
                asks(&mut rig, version, SESSIONLESS, &["pass-a", "pass-b"]);
                let halted = rig
                    .broker_sends(&response[..cut])
                    .and_then(|_| rig.broker_sends(&response[cut..]));
                assert_eq!(halted, Err(CloseReason::UnexpectedResponse), "{name} {version}");
                assert!(matches!(
                    rig.session.fault(),
                    Some(ProtocolError::NotAskedFor { .. })
                ));
                let got = rig.at_client();
                assert_eq!(got, &response[..foreign_at], "{name} {version} {cut}");
                assert!(contains(&got, "before") && !contains(&got, CANARY), "{name}");
            }
        }
    }
}

/// How many bytes these take in a response.
fn fetched_bytes(version: i16, partitions: &[Fetched]) -> usize {
    let none = fetch_response(version, 1, &[]).len();
    fetch_response(version, 1, partitions).len() - none
}

#[test]
fn what_is_malformed_goes_no_further_than_it_is_well_formed() {
    for version in VERSIONS {
        let partitions = [fetched("pass-a", 0, b"records"), fetched("pass-b", 0, b"others")];
        let frame = &fetch_response(version, 1, &partitions)[4..];
        let closed = |frame: &[u8]| {
            let mut rig = Rig::new();
            asks(&mut rig, version, SESSIONLESS, &["pass-a", "pass-b"]);
            let response = prefixed(frame);
            let reason = rig.broker_sends(&response).unwrap_err();
            assert!(rig.session.fault().is_some());
            let got = rig.at_client();
            assert!(response.starts_with(&got));
            (reason, got.len())
        };
        let malformed = CloseReason::MalformedFrame;
        let longer = closed(&[frame, b"+"].concat());
        assert!(
            longer.0 == malformed && longer.1 <= 4 + frame.len(),
            "an extra byte"
        );
        for end in 5..frame.len() {
            let (reason, got) = closed(&frame[..end]);
            assert!(reason == malformed && got <= 4 + end, "cut at {end}");
        }
        // A name that is not UTF-8.
        let at = frame.windows(6).position(|window| window == b"pass-b").unwrap();
        let mut renamed = frame.to_vec();
        renamed[at] = 0xff;
        let (reason, got) = closed(&renamed);
        assert!(reason == malformed && got <= 4 + at);
    }
}

#[test]
fn only_what_names_nothing_else_is_streamed() {
    let response = |version| fetch_response(version, 1, &[fetched("pass-a", 0, b"records")]);
    for version in VERSIONS {
        let mut rig = Rig::with_keys();
        for (topics, streams) in [
            (&["pass-a"][..], true),
            (&["pass-a", "pass-b", "__consumer_offsets"], true),
            (&[], false),
            (&["sealed-a"], false),
            (&["pass-a", "sealed-a"], false),
            (&["pass-a", "unknown", "pass-b"], false),
            (&["reject-a"], false),
            (&["pass/a"], false),
            (&["pass-a"], true),
        ] {
            asks(&mut rig, version, SESSIONLESS, topics);
            assert_eq!(
                is_streamed(&mut rig, &response(version)),
                streams,
                "{topics:?} {version}"
            );
        }
    }
}

/// PASSING-1
#[test]
fn a_session_is_streamed_for_as_long_as_nothing_else_was_asked_for() {
    let answered =
        |session_id| fetch_response_of(WITH_SESSIONS, 1, session_id, &[fetched("pass-a", 0, b"records")]);
    let mut rig = Rig::with_keys();
    let mut streams = |asked: FetchSession, topics: &[&str], told: i32| {
        asks(&mut rig, WITH_SESSIONS, asked, topics);
        is_streamed(&mut rig, &answered(told))
    };
    assert!(!streams((5, 1), &[], 5), "nobody knows where it was opened");
    assert!(streams(OPENS, &["pass-a"], 5));
    assert!(streams((5, 1), &[], 5));
    assert!(streams((5, 2), &["pass-b"], 5));
    assert!(!streams((6, 1), &[], 6), "another one");
    assert!(streams((5, 3), &[], 0), "the broker has forgotten it");
    assert!(streams((5, 4), &[], 5));
    assert!(!streams((5, 5), &["sealed-a"], 5));
    assert!(!streams((5, 6), &[], 5), "what was added may come at any time");
    assert!(!streams((5, 7), &["pass-a"], 5));

    assert!(streams((5, 0), &["pass-a"], 6), "another one instead");
    assert!(streams((6, 1), &[], 6));
    assert!(!streams((5, 8), &[], 5));
    assert!(!streams((6, 0), &["pass-a", "other-a"], 7));
    assert!(!streams((7, 1), &[], 7));
    assert!(!streams((6, 2), &[], 6), "it is not there any more");

    assert!(streams((0, 0), &["pass-a"], 0), "a broker that opens none");
    assert!(!streams((0, 1), &[], 0));
    assert!(streams(OPENS, &["pass-a"], 8));
    assert!(streams(SESSIONLESS, &["pass-b"], 0), "beside it");
    assert!(!streams(SESSIONLESS, &["sealed-a"], 0));
    assert!(streams((8, 1), &[], 8));
    assert!(
        streams((8, -1), &["pass-a"], 0),
        "the last of a session names all"
    );
    assert!(!streams((8, -1), &[], 0), "or nothing");
}

#[test]
fn each_of_several_in_flight_is_answered_as_the_session_was_when_it_was_sent() {
    let mut rig = Rig::with_keys();
    asks(&mut rig, WITH_SESSIONS, OPENS, &["pass-a"]);
    assert!(is_streamed(
        &mut rig,
        &fetch_response_of(WITH_SESSIONS, 1, 5, &[])
    ));
    let requests = [
        fetch_of(WITH_SESSIONS, 1, (5, 1), &["pass-b"]),
        api_versions_request(99, 2),
        fetch_of(WITH_SESSIONS, 3, (5, 2), &["sealed-a"]),
        fetch_of(WITH_SESSIONS, 4, (5, 3), &[]),
        fetch_of(WITH_SESSIONS, 5, SESSIONLESS, &["pass-a"]),
    ];
    assert_eq!(rig.client_sends(&requests.concat()), Ok(Halt::More));
    let clear = batch(&["value"]);
    let stored = sealed(&clear, &PAYMENTS, "sealed-a");
    let passed = fetched("pass-b", 0, b"records");
    let answers = [
        fetch_response_of(WITH_SESSIONS, 1, 5, std::slice::from_ref(&passed)),
        fetch_response_of(WITH_SESSIONS, 3, 5, &[fetched("sealed-a", 0, &stored)]),
        fetch_response_of(
            WITH_SESSIONS,
            4,
            5,
            &[passed.clone(), fetched("sealed-a", 0, &stored)],
        ),
        fetch_response_of(WITH_SESSIONS, 5, 0, &[fetched("pass-a", 0, b"records")]),
    ]
    .concat();
    assert_eq!(rig.broker_sends(&answers), Ok(Halt::More));
    let got = rig.at_client();
    assert_eq!(correlation_ids(&got), [1, 2, 3, 4, 5]);
    let frames = frames(&got);
    assert_eq!(
        delivered(&frames[2], WITH_SESSIONS),
        [fetched("sealed-a", 0, &clear)]
    );
    assert_eq!(
        delivered(&frames[3], WITH_SESSIONS),
        [passed, fetched("sealed-a", 0, &clear)]
    );
    assert!(rig.session.is_quiet());
    assert_eq!(rig.pipeline.metrics.gauges.requests_in_flight, 0);
}

#[test]
fn an_answer_that_opens_a_session_after_a_later_request_makes_no_other_one_known() {
    let mut rig = Rig::with_keys();
    let requests = [
        fetch_of(WITH_SESSIONS, 1, OPENS, &["pass-a"]),
        fetch_of(WITH_SESSIONS, 1, OPENS, &["pass-a", "sealed-a"]),
    ];
    assert_eq!(rig.client_sends(&requests.concat()), Ok(Halt::More));
    rig.at_broker();
    assert!(is_streamed_behind(&mut rig, 5));
    assert!(!is_streamed_behind(&mut rig, 6));
    for (id, streams) in [(6, false), (5, true)] {
        asks(&mut rig, WITH_SESSIONS, (id, 1), &[]);
        let response = fetch_response_of(WITH_SESSIONS, 1, id, &[fetched("pass-a", 0, b"records")]);
        assert_eq!(is_streamed(&mut rig, &response), streams, "{id}");
    }
}

/// The same as [`is_streamed`], while others are in flight.
fn is_streamed_behind(rig: &mut Rig, session_id: i32) -> bool {
    let response = fetch_response_of(WITH_SESSIONS, 1, session_id, &[fetched("pass-a", 0, b"records")]);
    let (last, rest) = response.split_last().unwrap();
    assert_eq!(rig.broker_sends(rest), Ok(Halt::More));
    let early = rig.at_client();
    assert_eq!(rig.broker_sends(&[*last]), Ok(Halt::More));
    rig.at_client();
    !early.is_empty()
}

#[test]
fn a_request_that_is_too_long_to_be_looked_at_is_held_and_ends_what_is_known() {
    let names: Vec<String> = (0..3000).map(|number| format!("pass-{number}-of-many")).collect();
    let many: Vec<&str> = names.iter().map(String::as_str).collect();
    let response = fetch_response_of(WITH_SESSIONS, 1, 5, &[fetched("pass-a", 0, b"records")]);
    let mut rig = Rig::new();
    asks(&mut rig, WITH_SESSIONS, OPENS, &["pass-a"]);
    assert!(is_streamed(&mut rig, &response));
    let sent = fetch_of(WITH_SESSIONS, 1, (5, 1), &many);
    assert!(sent.len() > 64 << 10);
    assert_eq!(rig.client_sends(&sent[..30_000]), Ok(Halt::More));
    assert_eq!(rig.at_broker(), &sent[..30_000], "it need not be there whole");
    assert_eq!(rig.client_sends(&sent[30_000..]), Ok(Halt::More));
    assert_eq!(rig.at_broker(), &sent[30_000..]);
    assert!(!is_streamed(&mut rig, &response));
    asks(&mut rig, WITH_SESSIONS, (5, 2), &[]);
    assert!(!is_streamed(&mut rig, &response));
}

#[test]
fn requests_are_looked_at_wherever_they_are_cut_and_in_turns() {
    let names: Vec<String> = (0..20).map(|number| format!("pass-{number}")).collect();
    let many: Vec<&str> = names.iter().map(String::as_str).collect();
    let response = fetch_response(WITH_SESSIONS, 1, &[fetched("pass-3", 0, b"records")]);
    for foreign in [false, true] {
        let mut asked = many.clone();
        if foreign {
            asked.push("sealed-a");
        }
        let sent = fetch_of(WITH_SESSIONS, 1, SESSIONLESS, &asked);
        for cut in (0..sent.len()).step_by(11) {
            let mut rig = Rig::with_keys();
            assert_eq!(rig.client_sends(&sent[..cut]), Ok(Halt::More));
            assert_eq!(rig.at_broker(), b"");
            assert_eq!(rig.client_sends(&sent[cut..]), Ok(Halt::More));
            assert_eq!(rig.at_broker(), sent);
            assert_eq!(is_streamed(&mut rig, &response), !foreign);
        }
        let mut rig = Rig::with_keys();
        rig.pipeline.work = Work::new(1);
        assert_eq!(rig.client_sends(&sent), Ok(Halt::More));
        assert_eq!(rig.yields, asked.len() - 1, "a topic in a turn");
        assert_eq!(is_streamed(&mut rig, &response), !foreign);
    }
}

/// PIPELINE-5
#[test]
fn a_response_of_many_partitions_is_passed_in_turns() {
    let partitions: Vec<Fetched> = (0..40)
        .map(|number| fetched("pass-a", number, b"records"))
        .collect();
    let response = fetch_response(WITH_SESSIONS, 1, &partitions);
    let mut rig = Rig::in_pieces(1);
    rig.stops_at_yields = false;
    let asked = fetch_of(WITH_SESSIONS, 1, SESSIONLESS, &["pass-a"]);
    assert_eq!(rig.client_sends(&asked), Ok(Halt::More));
    let before = rig.yields;
    // The proxy's own answer, which waits behind it.
    assert_eq!(rig.client_sends(&api_versions_request(99, 2)), Ok(Halt::More));
    assert_eq!(rig.broker_sends(&response), Ok(Halt::More));
    assert!(rig.yields - before > 40, "{}", rig.yields - before);
    let got = rig.at_client();
    assert_eq!(correlation_ids(&got), [1, 2]);
    assert!(got.starts_with(&response));
}

#[test]
fn a_frame_that_announces_more_than_a_fetch_response_may_have_is_closed_on() {
    let bytes_max = 1000;
    let limits = Limits {
        fetch_response_bytes_max: bytes_max,
        ..Limits::default()
    };
    let least = fetch_response(12, 1, &[fetched("pass-a", 0, &[0; 500])]).len() - 4 - 500;
    let of = |bytes: usize| fetch_response(12, 1, &[fetched("pass-a", 0, &vec![0; bytes - least])]);
    let mut rig = Rig::with(limits);
    asks(&mut rig, 12, SESSIONLESS, &["pass-a"]);
    assert!(is_streamed(&mut rig, &of(bytes_max)));
    asks(&mut rig, 12, SESSIONLESS, &["pass-a"]);
    assert_eq!(
        rig.broker_sends(&of(bytes_max + 1)),
        Err(CloseReason::FrameTooLarge)
    );
    assert_eq!(rig.at_client(), b"");
}

#[test]
fn what_is_streamed_ends_that_little_is_asked_for_if_it_delivers() {
    let mut rig = Rig::new();
    let stuck = sealed(&batch(&["value"]), &dek("payments", 9), "sealed-a");
    let stuck = stuck.repeat((1 << 20) / stuck.len());
    assert_eq!(rig.client_sends(&fetch_request(12, 1)), Ok(Halt::More));
    let halted = rig.broker_sends(&fetch_response(12, 1, &[fetched("sealed-a", 0, &stuck)]));
    let Ok(Halt::Blocked(Wait::News(until))) = halted else {
        panic!("{halted:?}")
    };
    rig.pass_time(until - rig.now);
    assert_eq!(rig.broker_sends(&[]), Ok(Halt::More));
    rig.at_client();
    rig.at_broker();
    let mut asked_for = |records: &[u8]| {
        let wanted = fetch_of(12, 1, SESSIONLESS, &["pass-a"]);
        let body: FetchRequest = decode_request(&wanted[4..], 12);
        let wanted = request(ApiKey::Fetch, 12, 1, &body.with_max_bytes(50 << 20));
        assert_eq!(rig.client_sends(&wanted), Ok(Halt::More));
        let asked: FetchRequest = decode_request(&only_frame(&rig.at_broker()), 12);
        let response = fetch_response(12, 1, &[fetched("pass-a", 0, records)]);
        assert!(is_streamed(&mut rig, &response));
        asked.max_bytes
    };
    assert_eq!(asked_for(b""), 256 << 10);
    assert_eq!(asked_for(b"records"), 256 << 10, "nothing was delivered");
    assert_eq!(asked_for(b""), 50 << 20);
}

#[test]
fn what_strangers_ask_for_is_held_and_none_of_its_names_remembered() {
    let mut rig = Rig::stranger(Limits::default(), None);
    let response = fetch_response_of(WITH_SESSIONS, 1, 5, &[fetched("pass-a", 0, b"records")]);
    asks(&mut rig, WITH_SESSIONS, OPENS, &["pass-b"]);
    assert!(!rig.session.is_logged_in());
    assert_eq!(bytes_passed(&rig), []);
    assert!(!is_streamed(&mut rig, &response));
    assert!(rig.session.is_logged_in(), "its answer has shown so");
    asks(&mut rig, WITH_SESSIONS, (5, 1), &[]);
    assert!(!is_streamed(&mut rig, &response));
    asks(&mut rig, WITH_SESSIONS, OPENS, &["pass-b"]);
    assert!(is_streamed(&mut rig, &response));
}
