//! Broker addresses in answers: learned before the client hears of them, mapped to the listener's, cut where not served.

use std::time::Duration;

use sealwire::metrics::CloseReason;
use sealwire::pipeline::{LearnedAddress, Wait};

use crate::rig::{Halt, Rig, address};
use crate::wire::{brokers, metadata_request, metadata_response, only_frame};

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
