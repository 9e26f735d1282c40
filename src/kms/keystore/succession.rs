//! What the next content of a keystore may be, compared with the one in force: only what the commands make of it.
//!
//! - SUCCESSION-1: nothing vanishes and nothing comes back: every KEK and version in force is there, with the same key
//!   or destroyed, and what was destroyed stays so. (A destroyed version stays in the file.)
//! - SUCCESSION-2: what a content makes more usable is told: a copy that was changed apart may undo a `disable` with a
//!   higher revision, and nothing in the file tells that from an `enable`.

use super::contents::{KekState, KekVersion, KeystoreKek, OpenKeystore};

/// Why a content does not follow another one.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotASuccessor {
    #[error("it is an older one, revision {0}")]
    Older(u64),
    #[error(
        "it has the revision {0} of what is in force and another content: two copies of one keystore were changed \
         apart from each other. Put the copy that is in force back and make the other one's change again on it, which \
         gives it a higher revision. \
         (A copy that is behind counts only once it has had more changes than the file in force)"
    )]
    Forked(u64),
    #[error(
        "{fault} (faults of this kind: {count}), which no command does: it was made from another copy of this keystore \
         than the one in force. Put the copy that is in force back and make the change again on it"
    )]
    Altered {
        /// The first.
        fault: Fault,
        /// All of them.
        count: usize,
    },
}

/// What no command makes of a version in force.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Fault {
    #[error("it lacks the key-encryption key {0}, which is in force")]
    KekMissing(KeystoreKek),
    #[error("it lacks version {1} of the key-encryption key {0}, which is in force")]
    VersionMissing(KeystoreKek, u32),
    #[error("version {1} of the key-encryption key {0} was destroyed and is not any more")]
    Revived(KeystoreKek, u32),
    #[error("version {1} of the key-encryption key {0} is another key than the one in force")]
    Exchanged(KeystoreKek, u32),
}

/// Whether `next`, a keystore of the same id, may take the place of `former`.
pub(crate) fn check(former: &OpenKeystore, next: &OpenKeystore) -> Result<(), NotASuccessor> {
    if next.revision() < former.revision() {
        return Err(NotASuccessor::Older(next.revision()));
    }
    if next.is_same_as(former) {
        return Ok(());
    }
    if next.revision() == former.revision() {
        return Err(NotASuccessor::Forked(next.revision()));
    }
    let mut faults = versions(former).filter_map(|(name, version)| fault(name, version, next));
    match faults.next() {
        None => Ok(()),
        Some(fault) => Err(NotASuccessor::Altered {
            fault,
            count: faults.count().saturating_add(1),
        }),
    }
}

/// The versions that are disabled in `former` and usable in `next`.
pub(crate) fn enabled<'k>(
    former: &'k OpenKeystore,
    next: &'k OpenKeystore,
) -> impl Iterator<Item = (&'k KeystoreKek, u32)> {
    versions(former)
        .filter(|(_, version)| version.state == KekState::Disabled)
        .filter(|(name, version)| {
            version_of(next, name, version.number)
                .is_some_and(|next| matches!(next.state, KekState::Current | KekState::DecryptOnly))
        })
        .map(|(name, version)| (name, version.number))
}

fn fault(name: &KeystoreKek, version: &KekVersion, next: &OpenKeystore) -> Option<Fault> {
    if !next.keystore.keks.contains_key(name) {
        return Some(Fault::KekMissing(name.clone()));
    }
    let number = version.number;
    let Some(next) = version_of(next, name, number) else {
        return Some(Fault::VersionMissing(name.clone(), number));
    };
    match (&version.wrapped, &next.wrapped) {
        (None, Some(_)) => Some(Fault::Revived(name.clone(), number)),
        (Some(one), Some(other)) if one != other => Some(Fault::Exchanged(name.clone(), number)),
        // A destroyed version holds no key to compare, so its date has to do.
        _ if version.created_unix_seconds != next.created_unix_seconds => {
            Some(Fault::Exchanged(name.clone(), number))
        }
        _ => None,
    }
}

fn versions(keystore: &OpenKeystore) -> impl Iterator<Item = (&KeystoreKek, &KekVersion)> {
    keystore
        .keks()
        .flat_map(|(name, versions)| versions.iter().map(move |version| (name, version)))
}

fn version_of<'k>(keystore: &'k OpenKeystore, name: &KeystoreKek, number: u32) -> Option<&'k KekVersion> {
    // They ascend (CONTENTS-1).
    let versions = keystore.keystore.keks.get(name)?;
    let at = versions
        .binary_search_by_key(&number, |version| version.number)
        .ok()?;
    versions.get(at)
}

#[cfg(test)]
mod tests {
    use super::super::tests::master;
    use super::super::{Keystore, KeystoreError};
    use super::*;

    /// The next file of the keystore in `bytes`.
    fn changed(
        bytes: &[u8],
        edit: impl FnOnce(&mut OpenKeystore) -> Result<(), KeystoreError>,
    ) -> Result<Vec<u8>, KeystoreError> {
        let mut keystore = opened(bytes)?;
        edit(&mut keystore)?;
        keystore.to_json()
    }

    fn opened(bytes: &[u8]) -> Result<OpenKeystore, KeystoreError> {
        Keystore::parse(bytes)?.authenticate(master(1))
    }

    /// The verdict on a copy that was changed apart until it has a higher revision than any here.
    fn verdict(former: &[u8], fork: &[u8]) -> Result<Result<(), NotASuccessor>, KeystoreError> {
        let mut fork = opened(fork)?;
        for _ in 0..9 {
            fork.to_json()?;
        }
        Ok(check(&opened(former)?, &fork))
    }

    fn altered(fault: Fault, count: usize) -> Result<(), NotASuccessor> {
        Err(NotASuccessor::Altered { fault, count })
    }

    /// SUCCESSION-1
    #[test]
    fn a_higher_revision_takes_nothing_away_and_brings_nothing_back() -> Result<(), KeystoreError> {
        let name = |name| KeystoreKek::new(name);
        let mut empty = OpenKeystore::create(master(1))?;
        let payments = changed(&empty.to_json()?, |keystore| keystore.add("payments"))?;
        let orders = changed(&payments, |keystore| keystore.add("orders"))?;
        let rotate = |bytes: &[u8]| changed(bytes, |keystore| keystore.rotate("payments").map(drop));
        let destroy =
            |bytes: &[u8]| changed(bytes, |keystore| keystore.destroy("payments", Some(2)).map(drop));
        let rotated = rotate(&orders)?;
        let destroyed = destroy(&rotated)?;

        let missing = Fault::VersionMissing(name("payments")?, 2);
        assert_eq!(verdict(&destroyed, &orders)?, altered(missing, 1));
        assert_eq!(
            verdict(&destroyed, &payments)?,
            altered(Fault::KekMissing(name("orders")?), 2)
        );
        let revived = || name("payments").map(|name| Fault::Revived(name, 2));
        assert_eq!(verdict(&destroyed, &rotated)?, altered(revived()?, 1));
        assert_eq!(verdict(&destroyed, &rotate(&orders)?)?, altered(revived()?, 1));
        let exchanged = || name("payments").map(|name| Fault::Exchanged(name, 2));
        assert_eq!(verdict(&rotated, &rotate(&orders)?)?, altered(exchanged()?, 1));
        let made_later = changed(&destroyed, |keystore| {
            for versions in keystore.keystore.keks.values_mut() {
                for version in versions.iter_mut().filter(|version| version.number == 2) {
                    version.created_unix_seconds += 1;
                }
            }
            Ok(())
        })?;
        assert_eq!(verdict(&destroyed, &made_later)?, altered(exchanged()?, 1));

        // What the commands make follows, and the same content follows itself.
        for next in [
            destroyed.clone(),
            rotate(&destroyed)?,
            changed(&destroyed, |keystore| keystore.add("audit"))?,
            changed(&destroyed, |keystore| keystore.disable("orders", None).map(drop))?,
            changed(&destroyed, |keystore| keystore.destroy("orders", None).map(drop))?,
        ] {
            assert_eq!(check(&opened(&destroyed)?, &opened(&next)?), Ok(()));
        }
        assert_eq!(
            check(&opened(&destroyed)?, &opened(&rotated)?),
            Err(NotASuccessor::Older(4))
        );
        let forked = changed(&rotated, |keystore| keystore.add("audit"))?;
        let verdict = check(&opened(&destroyed)?, &opened(&forked)?);
        assert_eq!(verdict, Err(NotASuccessor::Forked(5)));
        Ok(())
    }

    /// SUCCESSION-2
    #[test]
    fn what_is_enabled_is_named_and_nothing_else() -> Result<(), KeystoreError> {
        let mut keystore = OpenKeystore::create(master(1))?;
        keystore.add("orders")?;
        keystore.add("payments")?;
        keystore.rotate("payments")?;
        keystore.disable("payments", None)?;
        let disabled = keystore.to_json()?;
        let enabled_by = |edit: fn(&mut OpenKeystore) -> Result<Vec<u32>, KeystoreError>| {
            let next = opened(&changed(&disabled, |keystore| edit(keystore).map(drop))?)?;
            let former = opened(&disabled)?;
            let named = enabled(&former, &next).map(|(name, number)| format!("{name} {number}"));
            Ok::<_, KeystoreError>(named.collect::<Vec<_>>())
        };
        assert_eq!(
            enabled_by(|keystore| keystore.enable("payments", None))?,
            ["payments 1", "payments 2"]
        );
        assert_eq!(
            enabled_by(|keystore| keystore.enable("payments", Some(1)))?,
            ["payments 1"]
        );
        for edit in [
            (|keystore| keystore.destroy("payments", None)) as fn(&mut OpenKeystore) -> _,
            |keystore| keystore.rotate("payments").map(|number| vec![number]),
            |keystore| keystore.disable("orders", None),
        ] {
            assert_eq!(enabled_by(edit)?, [""; 0]);
        }
        Ok(())
    }
}
