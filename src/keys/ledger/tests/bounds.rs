//! How many keys, versions and questions are kept, and which of them make room.

use super::*;

#[test]
fn caches_and_queues_are_bounded() {
    let options = KeyOptions {
        service_keys_max: 2,
        waiting_max: 3,
        ..KeyOptions::default()
    };
    let mut desk = Desk::new(&options, 1);
    for blob in 0..4 {
        desk.open(0, &wrapped(1, blob), TAIL);
    }
    // The fourth was one too many.
    assert_eq!(desk.told(0), ["open 3 Unavailable"]);
    for call in desk.calls() {
        desk.finish(call, Outcome::Unwrapped(Ok(dek(1))));
    }
    assert_eq!(desk.told(0).len(), 3);
    // Of three opened ones the first newcomer was dropped.
    desk.open(0, &wrapped(1, 0), TAIL);
    desk.open(0, &wrapped(1, 2), TAIL);
    assert!(desk.calls().is_empty());
    desk.open(0, &wrapped(1, 1), TAIL);
    assert_eq!(desk.calls(), [Call::Unwrap(wrapped(1, 1))]);
    for name in ["a", "b", "c", "d"] {
        desk.seal(0, name);
    }
    assert_eq!(desk.told(0), ["open 0 1", "open 2 1", "seal d Unavailable"]);
}

/// OPENED-DEKS-1
#[test]
fn what_does_not_unwrap_takes_no_opened_key_its_place() {
    let options = KeyOptions {
        service_keys_max: 1,
        versions_max: 1,
        ..KeyOptions::default()
    };
    let mut desk = Desk::new(&options, 1);
    desk.open(0, &wrapped(1, 0), TAIL);
    assert_eq!(desk.calls().len(), 1);
    desk.finish(Call::Unwrap(wrapped(1, 0)), Outcome::Unwrapped(Ok(dek(1))));
    for (garbage, error) in (1..50).zip([KmsError::Malformed, KmsError::KekNotFound].iter().cycle()) {
        desk.open(0, &wrapped(2, garbage), TAIL);
        assert_eq!(desk.calls().len(), 1);
        desk.finish(
            Call::Unwrap(wrapped(2, garbage)),
            Outcome::Unwrapped(Err(error.clone())),
        );
    }
    desk.open(0, &wrapped(1, 0), TAIL);
    assert_eq!(desk.calls(), []);
    assert_eq!(desk.told(0).last().map(String::as_str), Some("open 0 1"));
}

/// OPENED-DEKS-4: as if each executor had let go of what it was given.
#[test]
fn what_eight_executors_ask_for_again_and_again_is_unwrapped_once() {
    let options = KeyOptions {
        opened_keys_max: 16,
        ..KeyOptions::default()
    };
    let mut desk = Desk::new(&options, 8);
    let mut unwraps = 0;
    for _ in 0..3 {
        for executor in 0..8 {
            for blob in 0..1000 {
                desk.open(executor, &wrapped(1, blob), TAIL);
            }
            loop {
                let calls = desk.calls();
                if calls.is_empty() {
                    break;
                }
                unwraps += calls.len();
                for call in calls {
                    desk.finish(call, Outcome::Unwrapped(Ok(dek(1))));
                }
            }
            assert_eq!(desk.told(executor).len(), 1000);
        }
    }
    assert_eq!(unwraps, 1000);
}

#[test]
fn the_idlest_sealing_key_is_released_for_another() {
    let options = KeyOptions {
        sealing_keys_max: 2,
        needed_for: Duration::ZERO,
        ..KeyOptions::default()
    };
    let mut desk = Desk::new(&options, 1);
    for name in ["a", "b"] {
        desk.seal(0, name);
        desk.calls();
        desk.finish(Call::Generate(name.into()), generated(1, 0));
    }
    desk.seal(0, "a");
    desk.seal(0, "c");
    desk.calls();
    desk.finish(Call::Generate("c".into()), generated(1, 0));
    assert_eq!(
        desk.told(0),
        ["seal a 1", "seal b 1", "seal a 1", "seal c 1", "released b"]
    );
}

/// OPENED-DEKS-2
#[test]
fn versions_in_use_are_bounded_and_their_keys_go_with_them() {
    let options = KeyOptions {
        versions_max: 2,
        ..KeyOptions::default()
    };
    let mut desk = Desk::new(&options, 1);
    for version in 1..=3 {
        desk.open(0, &wrapped(version, 0), TAIL);
        desk.calls();
        desk.finish(
            Call::Unwrap(wrapped(version, 0)),
            Outcome::Unwrapped(Ok(dek(version))),
        );
    }
    assert_eq!(desk.told(0), ["open 0 1", "open 0 2", "open 0 3", "revoked 1"]);
    desk.open(0, &wrapped(1, 0), TAIL);
    assert_eq!(desk.calls(), [Call::Unwrap(wrapped(1, 0))]);
}
