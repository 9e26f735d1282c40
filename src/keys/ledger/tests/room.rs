//! What gives way to what where there is not room for all.

use super::*;

/// SEALING-DEKS-4
#[test]
fn sealing_keys_that_are_needed_together_drive_none_of_them_out() {
    let options = KeyOptions {
        sealing_keys_max: 1,
        needed_sealing_keys_max: 3,
        ..KeyOptions::default()
    };
    let mut desk = Desk::seldom_asking(&options, CallBudget::default(), 1);
    let make = |desk: &mut Desk, name: &str| {
        desk.seal(0, name);
        assert_eq!(desk.calls(), [Call::Generate(name.into())]);
        let made = good_answer(&Call::Generate(name.into()), 0);
        desk.finish(Call::Generate(name.into()), made);
        desk.told(0)
    };
    for name in ["a", "b", "c"] {
        assert_eq!(make(&mut desk, name), [format!("seal {name} 1")]);
    }
    desk.now += options.needed_for - Duration::from_millis(1);
    desk.seal(0, "a");
    assert_eq!(desk.told(0), ["seal a 1"]);
    assert_eq!(
        make(&mut desk, "d"),
        ["seal d 1", "released b"],
        "that is one too many"
    );
    desk.pass(Duration::from_millis(1));
    assert_eq!(desk.told(0), ["released c"]);
}

/// OPENED-DEKS-6: AWS does not look at the part of a version that says of what material its key is.
#[test]
fn versions_that_somebody_makes_up_take_no_other_kek_its_place() {
    let options = KeyOptions {
        versions_max: 6,
        versions_of_a_kek_max: 3,
        ..KeyOptions::default()
    };
    let mut desk = Desk::seldom_asking(&options, CallBudget::default(), 1);
    let open = |desk: &mut Desk, wrapped: &Arc<[u8]>| {
        desk.open(0, wrapped, TAIL);
        for call in desk.calls() {
            let answer = good_answer(&call, 0);
            desk.finish(call, answer);
        }
        desk.told(0)
    };
    let others = ["order", "orders", "orders-2"].map(|kek| wrapped_under(kek, 1, 0));
    for other in &others {
        assert_eq!(open(&mut desk, other), ["open 0 1"]);
    }
    for version in 1..=20 {
        let told = open(&mut desk, &wrapped(version, 9));
        let mut expected = vec!["open 9 1".to_owned()];
        if version > 3 {
            expected.push(format!("revoked {}", version - 3));
        }
        assert_eq!(told, expected, "the idlest of the same KEK");
    }
    for other in &others {
        desk.open(0, other, TAIL);
        assert_eq!(desk.calls(), [], "{other:?}");
    }
}

/// Where a version has to make room nothing was refused: what is under way is as good as before.
#[test]
fn a_version_that_makes_room_has_nothing_made_twice() {
    let options = KeyOptions {
        versions_max: 1,
        ..KeyOptions::default()
    };
    let mut desk = Desk::seldom_asking(&options, CallBudget::default(), 1);
    desk.seal(0, "a");
    desk.seal(0, "b");
    desk.seal(0, "c");
    for call in desk.calls() {
        let answer = good_answer(&call, 0);
        desk.finish(call, answer);
    }
    assert_eq!(desk.calls(), []);
    let told = desk.told(0);
    let sealed = told.iter().filter(|told| told.starts_with("seal"));
    assert_eq!(sealed.count(), 3, "{told:?}");
}
