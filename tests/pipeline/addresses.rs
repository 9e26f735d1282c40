//! Broker addresses in answers: learned before the client hears of them, mapped to the listener's, cut where not
//! served.

use std::time::Duration;

use kafka_protocol::messages::FetchResponse;
use kafka_protocol::messages::fetch_response::NodeEndpoint;
use sealwire::metrics::CloseReason;
use sealwire::pipeline::{LearnedAddress, Wait};
use sealwire::protocol::api_key::FETCH;
use sealwire::protocol::policy::{ApiPolicy, Policy};

use crate::rig::{Halt, Rig, address};
use crate::wire::{
    brokers, decode_response, fetch_request, metadata_request, metadata_response, only_frame, response,
};

const LEARN_WAIT: Duration = Duration::from_secs(2);

fn learned(node_id: i32, host: &str, port: u16) -> LearnedAddress {
    LearnedAddress {
        node_id,
        address: address(host, port),
    }
}

#[test]
fn an_answer_with_news_is_held_until_every_executor_knows() {
    let mut rig = Rig::new();
    rig.client_sends(&metadata_request(1)).unwrap();
    let told = [(0, "kafka-0", 9092), (1, "kafka-1", 9092), (7, "kafka-7", 9092)];
    let until = rig.now + LEARN_WAIT;
    let news = vec![learned(0, "kafka-0", 9092), learned(1, "kafka-1", 9092)];
    assert_eq!(
        rig.broker_sends(&metadata_response(1, &told)),
        Ok(Halt::Blocked(Wait::Addresses(news.clone(), until)))
    );
    assert_eq!(
        rig.broker_sends(&[]),
        Ok(Halt::Blocked(Wait::Addresses(Vec::new(), until))),
        "they are handed over once"
    );
    rig.learn(news[..1].to_vec());
    assert_eq!(
        rig.broker_sends(&[]),
        Ok(Halt::Blocked(Wait::Addresses(Vec::new(), until)))
    );
    assert_eq!(rig.at_client(), b"");
    rig.learn(news);
    assert_eq!(rig.broker_sends(&[]), Ok(Halt::More));
    let proxy = "proxy.example.com".to_owned();
    assert_eq!(
        brokers(&only_frame(&rig.at_client())),
        [(0, proxy.clone(), 9193), (1, proxy, 9194)],
        "ids are kept, and a node that is not served is cut"
    );

    // The same again is no news, and a broker that has moved is.
    rig.client_sends(&metadata_request(2)).unwrap();
    assert_eq!(rig.broker_sends(&metadata_response(2, &told)), Ok(Halt::More));
    rig.client_sends(&metadata_request(3)).unwrap();
    let halted = rig.broker_sends(&metadata_response(3, &[(1, "kafka-9", 9092)]));
    let Ok(Halt::Blocked(Wait::Addresses(news, _))) = halted else {
        panic!("{halted:?}")
    };
    assert_eq!(news, [learned(1, "kafka-9", 9092)]);
}

#[test]
fn an_answer_whose_news_are_never_spread_closes_rather_than_mislead() {
    let mut rig = Rig::new();
    rig.client_sends(&metadata_request(1)).unwrap();
    let halted = rig.broker_sends(&metadata_response(1, &[(0, "kafka-0", 9092)]));
    assert!(matches!(halted, Ok(Halt::Blocked(_))));
    rig.pass_time(LEARN_WAIT);
    assert_eq!(rig.broker_sends(&[]), Err(CloseReason::Internal));
    assert_eq!(rig.at_client(), b"");
}

#[test]
fn an_answer_that_contradicts_itself_is_held_once() {
    let mut rig = Rig::new();
    rig.client_sends(&metadata_request(1)).unwrap();
    let told = [(0, "kafka-0", 9092), (0, "kafka-9", 9092)];
    let halted = rig.broker_sends(&metadata_response(1, &told));
    let Ok(Halt::Blocked(Wait::Addresses(news, _))) = halted else {
        panic!("{halted:?}")
    };
    assert_eq!(news, [learned(0, "kafka-0", 9092)]);
    rig.learn(news);
    assert_eq!(rig.broker_sends(&[]), Ok(Halt::More));
    assert_eq!(brokers(&only_frame(&rig.at_client())).len(), 2);
}

/// While a broker moves, others name its old address or its new one.
#[test]
fn an_answer_that_another_connection_contradicts_meanwhile_goes_out() {
    let mut rig = Rig::new();
    rig.learn(vec![learned(0, "kafka-0", 9092), learned(1, "kafka-1", 9092)]);
    rig.client_sends(&metadata_request(1)).unwrap();
    let told = [(0, "kafka-5", 9092), (1, "kafka-1", 9092)];
    let halted = rig.broker_sends(&metadata_response(1, &told));
    let Ok(Halt::Blocked(Wait::Addresses(news, until))) = halted else {
        panic!("{halted:?}")
    };
    // Of a node that is no news of this answer: not what it waits for.
    rig.learn(vec![learned(1, "kafka-6", 9092)]);
    assert_eq!(
        rig.broker_sends(&[]),
        Ok(Halt::Blocked(Wait::Addresses(Vec::new(), until)))
    );
    rig.learn(news);
    rig.learn(vec![learned(0, "kafka-0", 9092)]);
    assert_eq!(rig.broker_sends(&[]), Ok(Halt::More));
    assert_eq!(brokers(&only_frame(&rig.at_client())).len(), 2);
}

#[test]
fn a_port_that_cannot_be_is_never_learned() {
    let mut rig = Rig::new();
    for port in [0, 65_536] {
        rig.client_sends(&metadata_request(1)).unwrap();
        assert_eq!(
            rig.broker_sends(&metadata_response(1, &[(0, "kafka-0", port)])),
            Ok(Halt::More)
        );
        let told = brokers(&only_frame(&rig.at_client()));
        assert_eq!(told, [(0, "proxy.example.com".to_owned(), 9193)]);
    }
}

/// RESPONSE-1. The policy lets no version through yet in which Fetch responses carry addresses; when it does, they are
/// mapped.
#[test]
fn no_version_of_fetch_tells_a_brokers_own_address() {
    let raised = |api: &ApiPolicy| ApiPolicy {
        max: if api.key == FETCH { 18 } else { api.max },
        ..*api
    };
    let apis: Vec<ApiPolicy> = Policy::BY_NAME.apis().iter().map(raised).collect();
    let policy = Policy::new(apis.leak());
    for version in 4..=18 {
        let mut rig = Rig::with_policy(policy);
        rig.client_sends(&fetch_request(version, 1)).unwrap();
        let nodes = [(0, "kafka-0", 9092), (7, "kafka-7", 9092)];
        let nodes = nodes.map(|(node_id, host, port)| {
            NodeEndpoint::default()
                .with_node_id(node_id.into())
                .with_host(host.into())
                .with_port(port)
        });
        let told = version >= 16;
        let endpoints = if told { nodes.to_vec() } else { Vec::new() };
        let body = FetchResponse::default().with_node_endpoints(endpoints);
        let halted = rig.broker_sends(&response(version, 1, &body)).unwrap();
        if let Halt::Blocked(Wait::Addresses(news, _)) = halted {
            rig.learn(news);
            assert_eq!(rig.broker_sends(&[]), Ok(Halt::More));
        }
        let answer: FetchResponse = decode_response(&only_frame(&rig.at_client()), version);
        let clients: Vec<(i32, &str, i32)> = answer
            .node_endpoints
            .iter()
            .map(|node| (node.node_id.0, node.host.as_str(), node.port))
            .collect();
        let expected: &[_] = if told {
            &[(0, "proxy.example.com", 9193)]
        } else {
            &[]
        };
        assert_eq!(clients, expected, "version {version}");
    }
}
