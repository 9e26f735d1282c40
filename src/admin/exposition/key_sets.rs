//! Key sets that are fetched for logins by token.

use std::fmt::Error;

use super::Exposition;
use super::families::{Families, Labels, SECONDS};
use crate::admin::KeySetFacts;

impl Exposition {
    pub(super) fn key_sets(&self, families: &mut Families<'_>) -> Result<(), Error> {
        let sets = &self.collection.key_sets;
        families.gauge(
            "sealwire_key_set_keys",
            "Keys in force of a key set that is fetched; 0: none was yet, and nobody can log in by a token",
            None,
            sets.iter()
                .map(|facts| (place(facts), u64::try_from(facts.keys).unwrap_or(u64::MAX))),
        )?;
        families.gauge(
            "sealwire_key_set_fetched_timestamp",
            "When a key set was fetched last, Unix time; 0: not yet",
            SECONDS,
            sets.iter().map(|facts| (place(facts), facts.fetched)),
        )?;
        families.counter(
            "sealwire_key_set_failures",
            "Times that a key set was to be fetched, and was not",
            None,
            sets.iter().map(|facts| (place(facts), facts.failures)),
        )
    }
}

fn place(facts: &KeySetFacts) -> Labels {
    vec![
        ("cluster", facts.cluster.clone()),
        ("listener", facts.listener.clone()),
    ]
}
