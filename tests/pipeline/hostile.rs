//! Whatever arrives, a step is short: the hostile set, measured (WORK-1).
//!
//! What is measured is the time of the processor, so that neither other tests nor other programs count, but for the
//! caches that they share with us.

use std::time::Duration;

use kafka_protocol::messages::find_coordinator_response::Coordinator;
use kafka_protocol::messages::{ApiKey, BrokerId, FindCoordinatorRequest, FindCoordinatorResponse};
use kafka_protocol::protocol::StrBytes;
use sealwire::metrics::CloseReason;
use sealwire::pipeline::{LearnedAddress, TURN_BYTES};
use sealwire::protocol::addresses::COORDINATORS_MAX;

use crate::rig::{Halt, Rig, address};
use crate::shapes::SHAPES;
use crate::wire::{produce, request, response, to_produce};

/// What the longest step of a shape may take.
const STEP_MAX: Duration = Duration::from_millis(10);
/// The same in turns of ordinary sealing, for a build or a machine that is slower than those that ship.
const TURNS_MAX: u32 = 20;
/// A step that was longer once and not again was none of ours.
const TRIES: usize = 10;

/// A turn of ordinary sealing: 1 MiB of records of 1 KiB.
fn ordinary_turn() -> Duration {
    let value = "x".repeat(1024);
    let batch = crate::rig::batch(&vec![value.as_str(); 100]);
    let partitions: Vec<_> = (0..20)
        .map(|partition| to_produce("sealed-a", partition, &batch))
        .collect();
    let request = produce(9, 5, -1, &partitions);
    assert!(request.len() > TURN_BYTES);
    (0..5)
        .map(|_| {
            let mut rig = Rig::measured();
            rig.client_sends(&request).expect("it is sealed");
            assert!(rig.yields > 0);
            rig.longest_step
        })
        .min()
        .expect("five times")
}

/// All groups of a large cluster, and one more than may be.
#[test]
fn the_answer_on_many_coordinators_is_rewritten_in_a_short_step() {
    let answered = |count: usize| {
        let coordinators = (0..count).map(|number| {
            Coordinator::default()
                .with_key(StrBytes::from_string(format!("group-of-consumers-{number:08}")))
                .with_node_id(BrokerId(i32::try_from(number % 3).unwrap()))
                .with_host(StrBytes::from_static_str("kafka-1.kafka.example.com"))
                .with_port(9092)
        });
        let body = FindCoordinatorResponse::default().with_coordinators(coordinators.collect());
        let response = response(4, 1, &body);
        let mut rig = Rig::measured();
        let told = (0..3).map(|node_id| LearnedAddress {
            node_id,
            address: address("kafka-1.kafka.example.com", 9092),
        });
        rig.learn(told.collect());
        let request = request(ApiKey::FindCoordinator, 4, 1, &FindCoordinatorRequest::default());
        rig.client_sends(&request).unwrap();
        rig.longest_step = Duration::ZERO;
        let outcome = rig.broker_sends(&response);
        (response.len(), outcome, rig.at_client(), rig.longest_step)
    };
    let (length, outcome, told, _) = answered(COORDINATORS_MAX);
    assert!(length > 1 << 20, "{length}");
    assert_eq!(outcome, Ok(Halt::More));
    assert!(
        !told.windows(6).any(|bytes| bytes == b"kafka-"),
        "an address is left"
    );
    let step_max = STEP_MAX.max(ordinary_turn() * TURNS_MAX);
    let longest = (0..TRIES)
        .map(|_| answered(COORDINATORS_MAX).3)
        .min()
        .expect("tries");
    assert!(longest <= step_max, "{longest:?} is longer than {step_max:?}");
    assert_eq!(answered(COORDINATORS_MAX + 1).1, Err(CloseReason::MalformedFrame));
}

#[test]
fn no_step_is_long_whatever_arrives() {
    let step_max = STEP_MAX.max(ordinary_turn() * TURNS_MAX);
    let mut too_long = Vec::new();
    for shape in SHAPES {
        let frames = (shape.make)();
        let mut longest = frames.longest_step();
        for _ in 1..TRIES {
            if longest > step_max {
                longest = longest.min(frames.longest_step());
            }
        }
        if longest > step_max {
            too_long.push((shape.name, longest));
        }
    }
    assert!(too_long.is_empty(), "longer than {step_max:?}: {too_long:#?}");
}
