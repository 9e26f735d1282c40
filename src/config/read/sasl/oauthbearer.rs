//! `[cluster.NAME.listeners.sasl.oauthbearer]`.

use std::sync::Arc;

use crate::config::read::keystores::{Secrecy, check_file};
use crate::config::read::node::{Node, Reach};
use crate::config::{OauthBearerConfig, read_key_set};
use crate::identity::sasl::exchange::LoginMechanism;
use crate::identity::sasl::oauthbearer::token::{ALGORITHMS, TokenRules, algorithm};

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
    let jwks_file = table.get("jwks_file").and_then(|place| {
        let path = place.reader.sources.folder().join(place.as_text()?);
        check_file(
            &place,
            &path,
            Secrecy::Public,
            "fetch the key set of the tokens' issuer, or correct the path",
        );
        if place.reader.reach == Reach::Check
            && path.is_file()
            && let Err(error) = read_key_set(&path)
        {
            place.complain(
                &error.to_string(),
                "fetch the key set of the tokens' issuer again",
            );
        }
        Some(path)
    });
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
        jwks_file: jwks_file?,
        rules: Arc::new(TokenRules {
            issuer: issuer?,
            audiences: audiences?,
            algorithms: algorithms?,
            principal_claim: principal_claim?,
        }),
    }))
}

fn not_empty(table: &Node<'_>, name: &str) -> Option<String> {
    let place = table.get(name)?;
    text_of(&place)
}

fn text_of(place: &Node<'_>) -> Option<String> {
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
