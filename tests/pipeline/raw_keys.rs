//! Requests that need keys to open what comes sealed, and others to seal with, of two KMSs.

use sealwire::keys::KeyRequest;
use sealwire::pipeline::Wait;

use crate::rig::{Dek, FAR, Halt, PAYMENTS, Rig, batch, dek, sealed};
use crate::wire::{only_frame, produce, stored, to_produce, verdicts};

/// What each partition of the request that has reached the broker, or was refused, was answered.
fn answers(rig: &mut Rig) -> Vec<(String, i32, i16)> {
    let request = only_frame(&rig.at_broker());
    let correlation_id = i32::from_be_bytes(*request[4..].first_chunk().unwrap());
    rig.broker_sends(&stored(9, correlation_id, &request)).unwrap();
    let told = verdicts(&only_frame(&rig.at_client()), 9).into_iter();
    told.map(|verdict| (verdict.topic, verdict.partition, verdict.error_code))
        .collect()
}

/// Records that come sealed under two keys, and some that are to be sealed under a key of another KMS.
fn three_keys() -> Vec<u8> {
    let plain = batch(&["canary"]);
    let [first, second] = [PAYMENTS, ANOTHER].map(|key| sealed(&plain, &key, "raw-a"));
    let partitions = [
        to_produce("raw-a", 0, &first),
        to_produce("raw-a", 1, &second),
        to_produce("far-a", 0, &plain),
    ];
    produce(9, 1, -1, &partitions)
}

/// Another data key of the same KEK.
const ANOTHER: Dek = dek("payments", 7);

/// SEAL-WAIT-4: a KMS that is slow, or gone, has nobody refused whose keys come from another.
#[test]
fn all_keys_are_asked_for_before_one_is_waited_for() {
    let mut rig = Rig::named(&[]);
    let until = rig.now + rig.pipeline.limits.seal_wait;
    assert!(matches!(
        rig.client_sends(&three_keys()),
        Ok(Halt::Blocked(Wait::News(_)))
    ));
    let (mut sealing, mut opening) = (Vec::new(), Vec::new());
    for request in rig.pipeline.keys.take_requests() {
        match request {
            KeyRequest::Seal { key, .. } => sealing.push(key),
            KeyRequest::Open { wrapped, .. } => opening.push(wrapped),
            _ => panic!("something else was asked for"),
        }
    }
    assert_eq!(opening, [PAYMENTS.wrapped(), ANOTHER.wrapped()]);
    assert_eq!(sealing, [FAR.id()]);
    // What comes early is used when the last has come, or when the time is over.
    rig.give_sealing(&FAR);
    rig.give_opened(&ANOTHER);
    assert!(matches!(rig.client_sends(&[]), Ok(Halt::Blocked(Wait::News(at))) if at < until));
    assert!(rig.at_broker().is_empty());
    rig.pass_time(rig.pipeline.limits.seal_wait);
    assert_eq!(rig.client_sends(&[]), Ok(Halt::More));
    let expected = [("far-a", 0, 0), ("raw-a", 0, 19), ("raw-a", 1, 0)];
    assert_eq!(
        answers(&mut rig),
        expected.map(|(topic, index, code)| (topic.to_owned(), index, code))
    );
}

/// In whatever order they come.
#[test]
fn a_request_goes_when_the_last_of_its_keys_has_come() {
    let gives: [fn(&mut Rig); 3] = [
        |rig| rig.give_opened(&PAYMENTS),
        |rig| rig.give_opened(&ANOTHER),
        |rig| rig.give_sealing(&FAR),
    ];
    for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
        let mut rig = Rig::named(&[]);
        assert!(matches!(rig.client_sends(&three_keys()), Ok(Halt::Blocked(_))));
        for (place, give) in order.into_iter().enumerate() {
            gives[give](&mut rig);
            let goes = rig.client_sends(&[]).unwrap() == Halt::More;
            assert_eq!(goes, place == 2, "{order:?}");
        }
        assert!(answers(&mut rig).iter().all(|(.., code)| *code == 0), "{order:?}");
        assert!(rig.refusals().is_empty());
    }
}

/// SEAL-WAIT-4: nor is it refused later on, because a request that had waited for the one KMS needed a key of the other
/// when its time was over.
#[test]
fn a_key_that_nobody_has_waited_for_is_not_late() {
    let mut rig = Rig::named(&[]);
    let seal_wait = rig.pipeline.limits.seal_wait;
    rig.give_share(&FAR, 1 << 20, seal_wait);
    assert!(matches!(rig.client_sends(&three_keys()), Ok(Halt::Blocked(_))));
    rig.give_opened(&ANOTHER);
    rig.pass_time(seal_wait);
    assert_eq!(rig.client_sends(&[]), Ok(Halt::More));
    let expected = [("far-a", 0, 19), ("raw-a", 0, 19), ("raw-a", 1, 0)];
    assert_eq!(
        answers(&mut rig),
        expected.map(|(topic, index, code)| (topic.to_owned(), index, code))
    );
    // It was asked for just now, and the next request waits for it as long as for any.
    let sent = produce(9, 2, -1, &[to_produce("far-b", 0, &batch(&["canary"]))]);
    let until = rig.now + seal_wait;
    assert_eq!(rig.client_sends(&sent), Ok(Halt::Blocked(Wait::News(until))));
    rig.pass_time(seal_wait / 2);
    rig.give_sealing(&dek("far", 4));
    assert_eq!(rig.client_sends(&[]), Ok(Halt::More));
    assert_eq!(answers(&mut rig), [("far-b".to_owned(), 0, 0)]);
}
