//! What a changed keyring takes from the one before: said in the log, for what is stored under the former key of a
//! domain is read with that one alone.
//!
//! - KEYRING-CHANGE-1: each pattern of domains whose stable key is another one now, or is none, and each key that is
//!   gone, has a line of its own, [`LINES_MAX`] of them at most; the last one says how many more there are.

use std::collections::HashSet;
use std::fmt;

use crate::envelope::StableKeyId;
use crate::foreign::Foreign;
use crate::keyring::Keyring;

/// Something that was in the keyring before, and is not now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// These domains have another stable key than before.
    Domains {
        /// A domain, or a glob over domains.
        domains: String,
        before: ShownKey,
        /// `None`: they have none.
        after: Option<ShownKey>,
    },
    /// A stable key is not there any more.
    KeyGone(ShownKey),
    /// It was changed without a new revision, or an older one was put back.
    Revision { before: u64, after: u64 },
}

/// A stable key, as the log shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ShownKey {
    id: StableKeyId,
    name: String,
}

impl ShownKey {
    fn of(keyring: &Keyring, id: StableKeyId) -> Self {
        let name = keyring.key(id).map(|key| key.name().to_owned());
        Self {
            id,
            name: name.unwrap_or_default(),
        }
    }
}

impl fmt::Display for ShownKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} ({})", self.id, self.name)
    }
}

/// What whoever runs the proxy is to hear of a changed keyring.
pub(super) fn changes(before: &Keyring, after: &Keyring) -> Vec<Change> {
    let mut changes = Vec::new();
    let is_other = || before.to_json().ok() != after.to_json().ok();
    if after.revision() <= before.revision() && is_other() {
        changes.push(Change::Revision {
            before: before.revision(),
            after: after.revision(),
        });
    }
    let pins = before.pins().iter().chain(after.pins());
    let mut seen = HashSet::new();
    for domains in pins.map(|pin| pin.text()).filter(|text| seen.insert(*text)) {
        // A glob takes itself as a domain, and so does any that takes all of its domains.
        let (key, key_now) = (before.key_of(domains), after.key_of(domains));
        if let Some(key) = key
            && key_now != Some(key)
        {
            changes.push(Change::Domains {
                domains: domains.to_owned(),
                before: ShownKey::of(before, key),
                after: key_now.map(|key| ShownKey::of(after, key)),
            });
        }
    }
    let gone = before.keys().iter().filter(|key| after.key(key.id()).is_none());
    changes.extend(gone.map(|key| Change::KeyGone(ShownKey::of(before, key.id()))));
    changes
}

/// KEYRING-CHANGE-1
pub(super) fn log(changes: &[Change]) {
    for change in changes.iter().take(LINES_MAX) {
        match change {
            Change::Domains {
                domains,
                before,
                after,
            } => {
                let domains = Foreign::new(domains);
                let after = after.as_ref().map(ToString::to_string);
                tracing::warn!(
                    %domains, %before, after,
                    "the keyring gives these domains another stable key than before, or none: what is stored under \
                     the former one is not read any more, and equal record keys are stored differently"
                );
            }
            Change::KeyGone(key) => tracing::warn!(
                %key,
                "a stable key is gone from the keyring: nothing that is stored under it is read any more"
            ),
            Change::Revision { before, after } => tracing::warn!(
                before,
                after,
                "the keyring has other content than before under a revision that is not newer: an older one was put \
                 back, or it was changed by hand"
            ),
        }
    }
    let more = changes.len().saturating_sub(LINES_MAX);
    if more > 0 {
        tracing::warn!(more, "the keyring has changed in more places than these");
    }
}

const LINES_MAX: usize = 20;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::SecretKey;
    use crate::kms::KekNames;

    /// With two keys, and these pins: a domain, and the place of its key.
    fn keyring(pins: &[(&str, usize)]) -> Keyring {
        let mut keyring = Keyring::default();
        let ids = [1, 2].map(|byte| {
            let secret = SecretKey::from_bytes(&mut [byte; 32]).expect("a key");
            let wrapped = KekNames::as_written(2, [7; 4]).wrapped("payments", &[1], &[byte; 60]);
            let added = keyring.add(&format!("key-{byte}"), &secret, &wrapped.expect("it fits"), 0);
            added.expect("it is added")
        });
        for (domain, key) in pins {
            keyring.assign(domain, ids[*key], true).expect("a pin");
        }
        keyring
    }

    /// What is said of each change, in a word or two.
    fn said(before: &Keyring, after: &Keyring) -> Vec<String> {
        let said = changes(before, after).into_iter().map(|change| match change {
            Change::Domains { domains, after, .. } => match after {
                Some(after) => format!("{domains} has {}", after.name),
                None => format!("{domains} has none"),
            },
            Change::KeyGone(key) => format!("{} is gone", key.name),
            Change::Revision { .. } => "revision".to_owned(),
        });
        said.collect()
    }

    /// The same with its revision, which grows with each pin, so high.
    fn at_revision(keyring: &Keyring, revision: u64) -> Keyring {
        edited(keyring, |document| document["revision"] = revision.into())
    }

    fn edited(keyring: &Keyring, edit: impl Fn(&mut serde_json::Value)) -> Keyring {
        let mut document = serde_json::from_slice(&keyring.to_json().expect("it fits")).expect("JSON");
        edit(&mut document);
        Keyring::parse(&serde_json::to_vec(&document).expect("JSON")).expect("a keyring")
    }

    /// KEYRING-CHANGE-1
    #[test]
    fn domains_that_lose_their_key_and_keys_that_are_gone_are_named() {
        let before = keyring(&[("customers-*", 0), ("orders", 0)]);
        let later = |pins: &[(&str, usize)]| at_revision(&keyring(pins), 100);
        let others = [
            (later(&[("customers-*", 0), ("orders", 0), ("new", 1)]), vec![]),
            (
                later(&[("customers-*", 0), ("orders", 1)]),
                vec!["orders has key-2"],
            ),
            (later(&[("orders", 0)]), vec!["customers-* has none"]),
            // What others take is not concerned: one domain out of a pattern, a pattern that another pattern takes.
            (
                later(&[("customers-*", 0), ("customers-eu", 1), ("orders", 0)]),
                vec!["customers-eu has key-2"],
            ),
            (later(&[("*", 0)]), vec![]),
            (
                later(&[("*", 1)]),
                vec!["customers-* has key-2", "orders has key-2"],
            ),
        ];
        for (after, expected) in others {
            assert_eq!(said(&before, &after), expected, "{:?}", after.pins());
        }
        let without_second = edited(&before, |document| {
            document["revision"] = 100.into();
            document["keys"].as_array_mut().expect("keys").pop();
        });
        assert_eq!(said(&before, &without_second), ["key-2 is gone"]);
    }

    #[test]
    fn other_content_under_a_revision_that_is_not_newer_is_named() {
        let before = at_revision(&keyring(&[("orders", 0)]), 7);
        let more = keyring(&[("orders", 0), ("payments", 0)]);
        assert_eq!(said(&before, &before), [""; 0], "the same, written again");
        for (revision, expected) in [(6, &["revision"][..]), (7, &["revision"]), (8, &[])] {
            assert_eq!(said(&before, &at_revision(&more, revision)), expected);
        }
    }
}
