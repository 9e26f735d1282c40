//! `[cluster.NAME.listeners.sasl.oauthbearer]`.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use reqwest::Url;

use crate::config::read::keystores::{Secrecy, read_path_of};
use crate::config::read::node::{Node, Reach};
use crate::config::read::tls::read_authorities;
use crate::config::{KeySetSource, KeySetUrl, OauthBearerConfig, read_key_set};
use crate::identity::sasl::exchange::LoginMechanism;
use crate::identity::sasl::oauthbearer::token::{ALGORITHMS, TokenRules, algorithm};
use crate::transport::tls_client::{Trust, UpstreamTls};

/// Reads which tokens are taken, where any are.
pub(super) fn read_oauthbearer(
    sasl: &Node<'_>,
    mechanisms: Option<&[LoginMechanism]>,
) -> Option<Option<OauthBearerConfig>> {
    let is_needed = mechanisms?.contains(&LoginMechanism::OauthBearer);
    let Some(written) = sasl.written("oauthbearer") else {
        if is_needed {
            sasl.missing("oauthbearer");
            return None;
        }
        return Some(None);
    };
    let table = written.checked_table()?;
    if !is_needed {
        table.complain_of_the_name(
            "no client can log in by a token here",
            "add \"OAUTHBEARER\" to mechanisms, or remove it",
        );
        return None;
    }
    let keys = read_source(&table);
    let (issuer, audiences) = (
        not_empty(&table, "issuer"),
        read_list(&table, "audience", text_of),
    );
    let algorithms = read_list(&table, "algorithms", |place| {
        let known = algorithm(&place.as_text()?);
        if known.is_none() {
            let names = ALGORITHMS.map(|(name, _)| format!("\"{name}\""));
            place.complain(
                "there is no such algorithm by which a public key verifies",
                &format!("write {}", names.join(", ")),
            );
        }
        known
    });
    let principal_claim = not_empty(&table, "principal_claim");
    Some(Some(OauthBearerConfig {
        keys: keys?,
        rules: Arc::new(TokenRules {
            issuer: issuer?,
            audiences: audiences?,
            algorithms: algorithms?,
            principal_claim: principal_claim?,
        }),
    }))
}

/// Where the keys are that tokens are signed with.
fn read_source(table: &Node<'_>) -> Option<KeySetSource> {
    match (table.written("jwks_file"), table.written("jwks_url")) {
        (Some(file), None) => {
            if let Some(ca) = table.written("jwks_ca") {
                ca.complain_of_the_name("nothing is fetched that it could vouch for", "remove it");
            }
            read_file(&file).map(KeySetSource::File)
        }
        (None, Some(url)) => {
            let trust = read_trust(table, "jwks_ca");
            Some(KeySetSource::Url(KeySetUrl {
                url: read_url(&url)?,
                trust: trust?,
            }))
        }
        (None, None) => {
            table.complain_of_the_name(
                "this does not say whose tokens are believed",
                "add jwks_url, where their issuer publishes its key set, or jwks_file",
            );
            None
        }
        (Some(_), Some(_)) => {
            table.complain_of_the_name(
                "this says in two ways whose tokens are believed",
                "write one of jwks_url and jwks_file",
            );
            None
        }
    }
}

/// Who vouches for whoever is asked by HTTPS.
pub(in crate::config::read) fn read_trust(table: &Node<'_>, name: &str) -> Option<Trust> {
    match table.written(name) {
        Some(place) => read_authorities(&place).inspect(|trust| check_authorities(&place, trust)),
        None => Some(Trust::System),
    }
}

/// There has to be one, as when something is fetched.
#[expect(
    clippy::disallowed_methods,
    reason = "certificates are compared with the date once, when they are read"
)]
fn check_authorities(place: &Node<'_>, trust: &Trust) {
    let is_there = matches!(trust, Trust::File(path) if path.is_file());
    if place.reader.reach == Reach::Skip || !is_there {
        return;
    }
    let tls = UpstreamTls::trusting(trust.clone());
    if let Err(error) = tls.load(SystemTime::now()) {
        place.complain(&error.to_string(), "correct the file, or name another");
    }
}

fn read_file(place: &Node<'_>) -> Option<PathBuf> {
    read_path_of(
        place,
        Secrecy::Public,
        "fetch the key set of the tokens' issuer, or correct the path",
        "fetch the key set of the tokens' issuer again",
        |path| read_key_set(path).map(drop),
    )
}

/// An address of HTTPS.
pub(in crate::config::read) fn read_url(place: &Node<'_>) -> Option<Url> {
    let url = Url::parse(&place.as_text()?).ok();
    let is_fit = |url: &Url| {
        let is_bare = url.username().is_empty() && url.password().is_none() && url.fragment().is_none();
        url.scheme() == "https" && url.has_host() && is_bare
    };
    let url = url.filter(is_fit);
    if url.is_none() {
        place.complain(
            "this is not an address of HTTPS, without a user and without a #",
            &place.example(),
        );
    }
    url
}

fn not_empty(table: &Node<'_>, name: &str) -> Option<String> {
    let place = table.get(name)?;
    text_of(&place)
}

/// A text with something in it.
pub(in crate::config::read) fn text_of(place: &Node<'_>) -> Option<String> {
    let text = place.as_text()?;
    if text.is_empty() {
        place.complain("there is nothing in it", &place.example());
        return None;
    }
    Some(text)
}

/// A list with something in it.
fn read_list<T>(table: &Node<'_>, name: &str, one: impl Fn(&Node<'_>) -> Option<T>) -> Option<Vec<T>> {
    let list = table.get(name)?;
    let elements = list.elements()?;
    if elements.is_empty() {
        list.complain("there is nothing in it", &list.example());
        return None;
    }
    elements.iter().map(one).collect()
}
