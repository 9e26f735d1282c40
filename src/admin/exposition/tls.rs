//! TLS: until when certificates and revocation lists are good, and whether what is in force is what the files hold.

use std::fmt::Error;
use std::time::{Duration, SystemTime};

use super::families::{Families, Labels, SECONDS};
use super::{Exposition, text_of};
use crate::admin::TlsFacts;

impl Exposition {
    pub(super) fn tls(&self, families: &mut Families<'_>) -> Result<(), Error> {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let now = i64::try_from(now.unwrap_or(Duration::ZERO).as_secs()).unwrap_or(i64::MAX);
        let tls = &self.collection.tls;
        families.gauge(
            "sealwire_tls_certificate_left",
            "Until a certificate in force ends; negative when it has",
            SECONDS,
            tls.iter().flat_map(|facts| left(facts, &facts.certificates, now)),
        )?;
        families.gauge(
            "sealwire_tls_authority_left",
            "Until the first authority of a file in force ends; negative when it has, and vouches for nobody any more",
            SECONDS,
            tls.iter()
                .flat_map(|facts| left(facts, facts.authorities.as_slice(), now)),
        )?;
        families.gauge(
            "sealwire_tls_revocations_left",
            "Until a revocation list in force is to be replaced; negative when that is over, and nobody is let in",
            SECONDS,
            tls.iter()
                .flat_map(|facts| left(facts, &facts.revocations, now)),
        )?;
        families.gauge(
            "sealwire_tls_files_current",
            "Whether what is in force is what the files hold; 0: they have changed and cannot be used",
            None,
            tls.iter()
                .map(|facts| (place(facts), u64::from(facts.is_current))),
        )?;
        let upstream = tls.iter().filter(|facts| facts.listener.is_empty());
        families.gauge(
            "sealwire_upstream_unverified",
            "Whether whoever answers is taken for a broker (insecure_no_verification)",
            None,
            upstream.map(|facts| {
                let labels = vec![("cluster", facts.cluster.clone())];
                (labels, u64::from(facts.is_unverified))
            }),
        )
    }
}

fn left(facts: &TlsFacts, ends: &[(String, i64)], now: i64) -> impl Iterator<Item = (Labels, i64)> {
    ends.iter().map(move |(path, end)| {
        let mut labels = place(facts);
        labels.push(("path", path.clone()));
        (labels, end.saturating_sub(now))
    })
}

fn place(facts: &TlsFacts) -> Labels {
    let side = if facts.listener.is_empty() {
        "brokers"
    } else {
        "clients"
    };
    vec![
        ("cluster", facts.cluster.clone()),
        ("listener", facts.listener.clone()),
        ("side", text_of(side)),
    ]
}
