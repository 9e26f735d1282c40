//! The keyring, and which stable key each domain has.

use std::fmt::Error;

use super::Exposition;
use super::families::{Families, NONE};

impl Exposition {
    pub(super) fn keyring(&self, families: &mut Families<'_>) -> Result<(), Error> {
        let facts = self.collection.keyring.as_ref();
        families.gauge(
            "sealwire_keyring_info",
            "The keyring by its fingerprint, which two keyrings share that seal record keys in the same way; always 1",
            None,
            facts.map(|facts| (vec![("fingerprint", facts.fingerprint.clone())], 1u64)),
        )?;
        families.gauge(
            "sealwire_keyring_current",
            "Whether the keyring in force is what its file holds",
            None,
            facts.map(|facts| (NONE, u64::from(facts.is_current))),
        )?;
        families.gauge(
            "sealwire_keyring_keys",
            "Stable keys of the keyring, by whether they may be used",
            None,
            facts.into_iter().flat_map(|facts| {
                let usable = facts.keys.saturating_sub(facts.refused);
                [("usable", usable), ("refused", facts.refused)]
                    .map(|(state, count)| (vec![("state", state.to_owned())], count))
            }),
        )?;
        families.gauge(
            "sealwire_stable_key_info",
            "The stable key that record keys of a domain are sealed under, of topics that were used since the keyring \
             was read; always 1",
            None,
            self.sum.stable_keys.iter().map(|((cluster, domain), key)| {
                let labels = vec![
                    ("cluster", cluster.to_string()),
                    ("domain", domain.to_string()),
                    ("key", key.to_string()),
                ];
                (labels, 1u64)
            }),
        )
    }
}
