//! What the audit log is told of keys that are made and unwrapped.

use super::*;

#[test]
fn a_dek_that_seals_is_told_and_which_version_sealed_before_if_it_is_another() {
    let mut desk = Desk::new(&KeyOptions::default(), 1);
    let before = |version| Some(Arc::from([version]));
    let mut last = None;
    for (blob, (version, before)) in (0..).zip([(1, None), (1, None), (2, before(1)), (2, None)]) {
        desk.seal_after(0, "payments", last.take());
        assert_eq!(desk.calls(), [Call::Generate("payments".into())]);
        let found = desk.find(Call::Generate("payments".into()), generated(version, blob));
        assert_eq!(found, Some(FindingKind::Made { before }), "{blob}");
        last = Some(wrapped(version, blob));
    }
    // What the KMS does not give is no key.
    desk.seal_after(0, "payments", last);
    assert_eq!(desk.calls(), [Call::Generate("payments".into())]);
    let refused = Outcome::Generated(Err(KmsError::KekDisabled));
    assert_eq!(desk.find(Call::Generate("payments".into()), refused), None);
}

#[test]
fn the_first_dek_that_is_unwrapped_under_a_version_is_told_and_again_once_it_was_revoked() {
    let mut desk = Desk::new(&KeyOptions::default(), 1);
    let unwrap = |desk: &mut Desk, version, blob, result| {
        let wrapped = wrapped(version, blob);
        desk.open(0, &wrapped, TAIL);
        assert_eq!(desk.calls(), [Call::Unwrap(Arc::clone(&wrapped))]);
        desk.find(Call::Unwrap(wrapped), Outcome::Unwrapped(result))
    };
    assert_eq!(unwrap(&mut desk, 1, 0, Err(KmsError::Malformed)), None);
    for (version, blob, is_told) in [(1, 1, true), (1, 2, false), (2, 3, true), (1, 4, false)] {
        let found = unwrap(&mut desk, version, blob, Ok(dek(1)));
        assert_eq!(
            found == Some(FindingKind::Unwrapped),
            is_told,
            "{blob}: {found:?}"
        );
    }
    desk.pass(INTERVALS.recheck);
    desk.calls();
    let found = desk.find(
        Call::Recheck(wrapped(1, 1)),
        Outcome::Rechecked(Err(KmsError::KekDestroyed)),
    );
    assert_eq!(found, Some(FindingKind::Revoked(KeyFailure::KekDestroyed)));
    assert_eq!(unwrap(&mut desk, 1, 1, Ok(dek(1))), Some(FindingKind::Unwrapped));
}
