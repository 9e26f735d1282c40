//! AUDIT-4: while the audit log cannot be written nothing is sealed or opened; it waits as for a key.

use std::sync::Arc;
use std::time::Duration;

use sealwire::audit::AuditState;
use sealwire::config::OnFull;
use sealwire::pipeline::Wait;

use crate::rig::{Halt, PAYMENTS, Rig, batch, contains, sealed};
use crate::wire::{
    delivered, fetch_request, fetch_response, fetched, only_frame, produce, produced, stored, to_produce,
    verdicts,
};

const SEAL_WAIT: Duration = Duration::from_secs(2);
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(100);
const HOLD: Duration = Duration::from_millis(200);

fn rig(on_full: OnFull) -> Rig {
    let mut rig = Rig::with_keys();
    rig.pipeline.audit_state = Arc::new(AuditState::new(on_full));
    rig.pipeline.audit_state.fail_for_test(true);
    rig
}

#[test]
fn producers_wait_and_go_on_when_it_is_written_again() {
    let mut rig = rig(OnFull::Hold);
    let sent = produce(9, 1, -1, &[to_produce("sealed-a", 0, &batch(&["value-canary"]))]);
    // What holds it may have passed before anybody is told.
    let until = rig.now + LOOK_AGAIN_AFTER;
    assert_eq!(rig.client_sends(&sent), Ok(Halt::Blocked(Wait::News(until))));
    assert_eq!(rig.at_broker(), b"");
    rig.pipeline.audit_state.fail_for_test(false);
    assert_eq!(rig.client_sends(&[]), Ok(Halt::More));
    let request = only_frame(&rig.at_broker());
    assert!(!contains(&request, "value-canary"));
    assert!(rig.refusals().is_empty());
}

#[test]
fn producers_get_error_19_in_the_end_and_what_passes_goes_on() {
    let mut rig = rig(OnFull::Hold);
    let records = batch(&["value-canary"]);
    let sent = produce(
        9,
        1,
        -1,
        &[
            to_produce("sealed-a", 0, &records),
            to_produce("pass-a", 0, &records),
        ],
    );
    assert!(matches!(rig.client_sends(&sent), Ok(Halt::Blocked(_))));
    rig.pass_time(SEAL_WAIT);
    assert_eq!(rig.client_sends(&[]), Ok(Halt::More));
    let request = only_frame(&rig.at_broker());
    assert_eq!(produced(&request, 9).len(), 1);
    rig.broker_sends(&stored(9, 1, &request)).unwrap();
    let verdicts = verdicts(&only_frame(&rig.at_client()), 9);
    let code = |topic: &str| {
        verdicts
            .iter()
            .find(|verdict| verdict.topic == topic)
            .unwrap()
            .error_code
    };
    assert_eq!((code("sealed-a"), code("pass-a")), (19, 0));
    assert_eq!(
        rig.refusals().into_iter().collect::<Vec<_>>(),
        [("audit_held", 1)]
    );
    assert!(rig.audit().is_empty(), "it is no event of what cannot be written");
}

#[test]
fn consumers_get_no_data_yet() {
    let mut rig = rig(OnFull::Hold);
    let clear = batch(&["value"]);
    let records = fetched("sealed-a", 0, &sealed(&clear, &PAYMENTS, "sealed-a"));
    let passing = fetched("pass-a", 0, &clear);
    let fetch = |rig: &mut Rig, partitions: &[_]| {
        assert_eq!(rig.client_sends(&fetch_request(11, 3)), Ok(Halt::More));
        rig.broker_sends(&fetch_response(11, 3, partitions)).unwrap()
    };
    let until = rig.now + HOLD;
    let alone = std::slice::from_ref(&records);
    assert_eq!(fetch(&mut rig, alone), Halt::Blocked(Wait::News(until)));
    rig.pass_time(HOLD);
    assert_eq!(rig.broker_sends(&[]), Ok(Halt::More));
    assert_eq!(delivered(&only_frame(&rig.at_client()), 11), [records.emptied(0)]);

    assert_eq!(fetch(&mut rig, &[records.clone(), passing.clone()]), Halt::More);
    let both = delivered(&only_frame(&rig.at_client()), 11);
    assert_eq!(both, [records.emptied(0), passing]);

    assert!(matches!(fetch(&mut rig, alone), Halt::Blocked(Wait::News(_))));
    rig.pipeline.audit_state.fail_for_test(false);
    assert_eq!(rig.broker_sends(&[]), Ok(Halt::More));
    assert_eq!(
        delivered(&only_frame(&rig.at_client()), 11),
        [records.with(&clear)]
    );
    assert!(rig.refusals().is_empty() && rig.audit().is_empty());
}

#[test]
fn nothing_waits_where_events_may_be_lost() {
    let mut rig = rig(OnFull::Drop);
    let sent = produce(9, 1, -1, &[to_produce("sealed-a", 0, &batch(&["value"]))]);
    assert_eq!(rig.client_sends(&sent), Ok(Halt::More));
    assert!(!rig.at_broker().is_empty());
}
