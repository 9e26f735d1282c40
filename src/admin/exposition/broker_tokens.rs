//! Tokens that are fetched for brokers.

use std::fmt::Error;

use super::Exposition;
use super::families::{Families, Labels, SECONDS};
use crate::admin::BrokerTokenFacts;

impl Exposition {
    pub(super) fn broker_tokens(&self, families: &mut Families<'_>) -> Result<(), Error> {
        let tokens = &self.collection.broker_tokens;
        families.gauge(
            "sealwire_broker_token_ends_timestamp",
            "When the token that is fetched for brokers ends, Unix time; 0: there is none",
            SECONDS,
            tokens.iter().map(|facts| (of(facts), facts.ends)),
        )?;
        families.counter(
            "sealwire_broker_token_fetches",
            "Times that a token for brokers was asked for, by what became of it",
            None,
            tokens.iter().flat_map(|facts| {
                let results = [
                    ("given", facts.given),
                    ("refused", facts.refusals),
                    ("failed", facts.failures),
                ];
                results.map(|(result, count)| {
                    let mut labels = of(facts);
                    labels.push(("result", result.to_owned()));
                    (labels, count)
                })
            }),
        )
    }
}

fn of(facts: &BrokerTokenFacts) -> Labels {
    vec![("cluster", facts.cluster.clone())]
}
