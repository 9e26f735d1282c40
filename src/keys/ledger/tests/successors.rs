//! The next DEK of whoever seals already.

use super::*;

/// SEALING-DEKS-5: clients name KEK after KEK, and as many wait as may.
#[test]
fn who_seals_already_has_the_next_key_before_all_that_is_new() {
    let options = KeyOptions {
        waiting_max: 10,
        ..KeyOptions::default()
    };
    let budget = CallBudget {
        calls_max: 1,
        ..CallBudget::default()
    };
    let mut desk = Desk::seldom_asking(&options, budget, 1);
    let first = desk.generate_first(&[0]);
    for number in 0..20 {
        desk.seal(0, &format!("missing-{number}"));
    }
    let begun = desk.calls().pop().expect("one");
    desk.used(0, &first, options.dek.batches_max / 2, 1);
    desk.finish(begun, Outcome::Generated(Err(KmsError::KekNotFound)));
    assert_eq!(desk.calls(), [Call::Generate("payments".into())]);
}
