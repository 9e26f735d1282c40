//! Fetch responses whose keys come late, or never.

use std::time::Duration;

use sealwire::ids::{Id as _, KmsId};
use sealwire::keys::{KeyFailure, KeyReply};
use sealwire::kms::KekNames;
use sealwire::pipeline::Wait;

use crate::rig::{Halt, OTHER, PAYMENTS, Rig, batch, dek, sealed};
use crate::wire::{
    Fetched, delivered, fetch_request, fetch_response, fetched, only_frame, produce, to_produce,
};

const HOLD: Duration = Duration::from_millis(200);

fn fetch(rig: &mut Rig, partitions: &[Fetched]) -> Halt {
    assert_eq!(rig.client_sends(&fetch_request(11, 3)), Ok(Halt::More));
    rig.broker_sends(&fetch_response(11, 3, partitions)).unwrap()
}

fn at_client(rig: &mut Rig) -> Vec<Fetched> {
    delivered(&only_frame(&rig.at_client()), 11)
}

#[test]
fn a_response_is_held_for_its_keys_and_goes_when_they_come() {
    let mut rig = Rig::new();
    let clear = batch(&["value"]);
    let sent = fetched("sealed-a", 0, &sealed(&clear, &PAYMENTS, "sealed-a"));
    let until = rig.now + HOLD;
    assert_eq!(
        fetch(&mut rig, std::slice::from_ref(&sent)),
        Halt::Blocked(Wait::News(until))
    );
    assert_eq!(rig.asked_to_open(), [PAYMENTS.wrapped()]);
    assert_eq!(rig.parked(), (0, 1));
    rig.pass_time(Duration::from_millis(50));
    rig.give_opened(&OTHER);
    assert_eq!(rig.broker_sends(&[]), Ok(Halt::Blocked(Wait::News(until))));
    rig.give_opened(&PAYMENTS);
    assert_eq!(rig.broker_sends(&[]), Ok(Halt::More));
    assert_eq!(at_client(&mut rig), [sent.with(&clear)]);
    assert_eq!(rig.parked(), (0, 0));
}

/// FRAME-HELD-2.
#[test]
fn a_connection_that_ends_while_something_waits_leaves_nothing_counted() {
    let mut rig = Rig::new();
    let clear = batch(&["value"]);
    let sent = fetched("sealed-a", 0, &sealed(&clear, &PAYMENTS, "sealed-a"));
    assert!(matches!(
        fetch(&mut rig, std::slice::from_ref(&sent)),
        Halt::Blocked(Wait::News(_))
    ));
    let waits = produce(9, 1, -1, &[to_produce("sealed-a", 0, &clear)]);
    assert!(matches!(rig.client_sends(&waits), Ok(Halt::Blocked(_))));
    assert_eq!(rig.parked(), (1, 1));
    rig.session.abandon(&mut rig.pipeline);
    assert_eq!(rig.parked(), (0, 0));
}

#[test]
fn a_key_that_does_not_come_is_no_data_yet() {
    let mut rig = Rig::new();
    let sent = fetched("sealed-a", 0, &sealed(&batch(&["value"]), &PAYMENTS, "sealed-a"));
    for _ in 0..3 {
        assert!(matches!(
            fetch(&mut rig, std::slice::from_ref(&sent)),
            Halt::Blocked(Wait::News(_))
        ));
        rig.pass_time(HOLD);
        assert_eq!(rig.broker_sends(&[]), Ok(Halt::More));
        assert_eq!(at_client(&mut rig), [sent.emptied(0)]);
    }
    assert_eq!(rig.asked_to_open().len(), 1, "asked for once");
    assert!(rig.refusals().is_empty(), "nothing was refused");
}

#[test]
fn an_outage_is_no_data_yet_as_well() {
    let mut rig = Rig::new();
    let sent = fetched("sealed-a", 0, &sealed(&batch(&["value"]), &PAYMENTS, "sealed-a"));
    rig.refuse_opened(&PAYMENTS, KeyFailure::Unavailable);
    assert!(matches!(
        fetch(&mut rig, std::slice::from_ref(&sent)),
        Halt::Blocked(Wait::News(_))
    ));
    rig.pass_time(HOLD);
    assert_eq!(rig.broker_sends(&[]), Ok(Halt::More));
    assert_eq!(at_client(&mut rig), [sent.emptied(0)]);
}

#[test]
fn partitions_whose_keys_are_there_go_out_without_waiting() {
    let mut rig = Rig::with_keys();
    let clear = batch(&["value"]);
    let late = fetched("sealed-a", 0, &sealed(&clear, &dek("payments", 9), "sealed-a"));
    let ready = fetched("sealed-a", 1, &sealed(&clear, &PAYMENTS, "sealed-a"));
    let passed = fetched("pass-a", 0, b"records");
    let sent = [late.clone(), ready.clone(), passed.clone()];
    assert_eq!(fetch(&mut rig, &sent), Halt::More);
    assert_eq!(at_client(&mut rig), [late.emptied(0), ready.with(&clear), passed]);
}

#[test]
fn batches_in_front_of_one_that_waits_go_out_and_its_successors_do_not() {
    let mut rig = Rig::with_keys();
    let clear = batch(&["value"]);
    let ready = sealed(&clear, &PAYMENTS, "sealed-a");
    let late = sealed(&clear, &dek("payments", 9), "sealed-a");
    let sent = fetched(
        "sealed-a",
        0,
        &[ready.as_slice(), &late, &ready, &ready[..50]].concat(),
    );
    assert_eq!(fetch(&mut rig, std::slice::from_ref(&sent)), Halt::More);
    assert_eq!(at_client(&mut rig), [sent.with(&clear)]);
}

#[test]
fn all_keys_of_a_response_are_asked_for_at_once() {
    let mut rig = Rig::with_keys();
    let clear = batch(&["value"]);
    let (first, second, third) = (dek("payments", 7), dek("payments", 8), dek("other", 9));
    let one = [
        sealed(&clear, &first, "sealed-a"),
        sealed(&clear, &PAYMENTS, "sealed-a"),
        sealed(&clear, &second, "sealed-a"),
    ]
    .concat();
    let other = sealed(&clear, &third, "other-a");
    let sent = [fetched("sealed-a", 0, &one), fetched("other-a", 0, &other)];
    assert!(matches!(fetch(&mut rig, &sent), Halt::Blocked(Wait::News(_))));
    let mut asked = rig.asked_to_open();
    asked.sort();
    let mut expected = [first.wrapped(), second.wrapped(), third.wrapped()];
    expected.sort();
    assert_eq!(asked, expected);
}

#[test]
fn a_key_of_a_kek_that_the_rule_does_not_name_is_never_asked_for() {
    let mut rig = Rig::new();
    let clear = batch(&["value"]);
    let foreign = fetched("sealed-a", 0, &sealed(&clear, &OTHER, "sealed-a"));
    let control = fetched("pass-a", 0, b"records");
    assert_eq!(fetch(&mut rig, &[foreign.clone(), control.clone()]), Halt::More);
    assert_eq!(at_client(&mut rig), [foreign.emptied(29), control.clone()]);
    assert!(rig.asked_to_open().is_empty());
    assert_eq!(rig.refusals(), [("kek_not_named", 1)].into());

    // Not even when another topic has brought it in.
    rig.give_opened(&OTHER);
    assert_eq!(fetch(&mut rig, &[foreign.clone(), control.clone()]), Halt::More);
    assert_eq!(at_client(&mut rig), [foreign.emptied(29), control]);
}

#[test]
fn what_keks_are_called_is_taken_over_whenever_it_is_told() {
    let mut rig = Rig::with_keys();
    let clear = batch(&["value"]);
    let sent = fetched("sealed-a", 0, &sealed(&clear, &PAYMENTS, "sealed-a"));
    for (authority, expected) in [(*b"gone", sent.emptied(29)), (*b"test", sent.with(&clear))] {
        // The topic was resolved with the former names.
        rig.apply(KeyReply::KekNames {
            kms: KmsId::from_number(0),
            names: KekNames::as_written(1, authority),
        });
        let beside = fetched("pass-a", 0, b"records");
        assert_eq!(fetch(&mut rig, &[sent.clone(), beside.clone()]), Halt::More);
        assert_eq!(at_client(&mut rig), [expected, beside]);
    }
}

#[test]
fn a_refused_key_is_said_counted_and_audited_also_when_it_was_waited_for() {
    for (failure, code, reason) in [
        (KeyFailure::KekDisabled, 29, "kek_refused"),
        (KeyFailure::KekDestroyed, 29, "kek_refused"),
        (KeyFailure::KekNotFound, 29, "kek_refused"),
        (KeyFailure::KekVersionNotFound, 29, "kek_refused"),
        (KeyFailure::Malformed, 2, "tag"),
    ] {
        let mut rig = Rig::new();
        let sent = fetched("sealed-a", 0, &sealed(&batch(&["value"]), &PAYMENTS, "sealed-a"));
        let unknown = fetched("unknown", 0, b"records");
        let both = [sent.clone(), unknown.clone()];
        assert!(matches!(fetch(&mut rig, &both), Halt::Blocked(Wait::News(_))));
        rig.refuse_opened(&PAYMENTS, failure);
        let until = rig.now + HOLD;
        assert_eq!(
            rig.broker_sends(&[]),
            Ok(Halt::Blocked(Wait::Until(until))),
            "still paced: nothing is delivered"
        );
        rig.pass_time(HOLD);
        assert_eq!(rig.broker_sends(&[]), Ok(Halt::More));
        assert_eq!(at_client(&mut rig), [sent.emptied(code), unknown.emptied(29)]);
        assert_eq!(rig.refusals(), [(reason, 1), ("no_rule", 1)].into());
        assert_eq!(rig.audit(), ["no_rule", failure.reason()]);
    }
}

#[test]
fn what_was_revoked_opens_nothing_any_more() {
    let mut rig = Rig::with_keys();
    let clear = batch(&["value"]);
    let sent = fetched("sealed-a", 0, &sealed(&clear, &PAYMENTS, "sealed-a"));
    assert_eq!(fetch(&mut rig, std::slice::from_ref(&sent)), Halt::More);
    assert_eq!(at_client(&mut rig), [sent.with(&clear)]);
    let wrapped = PAYMENTS.wrapped();
    rig.apply(KeyReply::Revoked {
        prefix: wrapped[..wrapped.len() - 40].into(),
    });
    assert!(matches!(
        fetch(&mut rig, std::slice::from_ref(&sent)),
        Halt::Blocked(Wait::News(_))
    ));
    assert_eq!(rig.asked_to_open(), [wrapped]);
}
