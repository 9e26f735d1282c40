//! Whatever arrives, a step is short: the hostile set, measured (WORK-1).
//!
//! What is measured is the time of the processor, so that neither other tests nor other programs count, but for the caches that
//! they share with us.

use std::time::Duration;

use sealwire::pipeline::TURN_BYTES;

use crate::rig::Rig;
use crate::shapes::SHAPES;
use crate::wire::{produce, to_produce};

/// What the longest step of a shape may take.
const STEP_MAX: Duration = Duration::from_millis(10);
/// The same in turns of ordinary sealing, for a build or a machine that is slower than those that ship.
const TURNS_MAX: u32 = 20;
/// A step that was longer once and not again was none of ours.
const TRIES: usize = 3;

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
