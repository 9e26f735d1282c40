//! Delegation tokens that brokers make for the proxy.

use std::fmt::Error;

use super::Exposition;
use super::families::{Families, Labels};
use crate::admin::TokenFacts;

impl Exposition {
    pub(super) fn delegation_tokens(&self, families: &mut Families<'_>) -> Result<(), Error> {
        let tokens = &self.collection.tokens;
        families.gauge(
            "sealwire_delegation_tokens",
            "Delegation tokens at hand, one for each principal that has logged in",
            None,
            tokens.iter().map(|facts| (place(facts), facts.known)),
        )?;
        families.counter(
            "sealwire_delegation_tokens_made",
            "Delegation tokens that brokers have made",
            None,
            tokens.iter().map(|facts| (place(facts), facts.made)),
        )?;
        families.counter(
            "sealwire_delegation_token_failures",
            "Times that brokers were to make a delegation token, and did not",
            None,
            tokens.iter().map(|facts| (place(facts), facts.failures)),
        )
    }
}

fn place(facts: &TokenFacts) -> Labels {
    vec![("cluster", facts.cluster.clone())]
}
