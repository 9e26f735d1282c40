//! `[cluster.NAME.listeners.sasl]`.

pub(super) mod oauthbearer;

use self::oauthbearer::read_oauthbearer;
use std::path::PathBuf;

use super::keystores::{Secrecy, read_path_of};
use super::node::Node;
use crate::config::{ClientAuth, ListenerSasl, read_credentials};
use crate::identity::sasl::exchange::LoginMechanism;

/// Reads how clients log in, where the listener has them do so; `has_tls`: whether it speaks TLS.
pub(super) fn read_sasl(
    node: &Node<'_>,
    client_auth: Option<ClientAuth>,
    has_tls: bool,
) -> Option<Option<ListenerSasl>> {
    let Some(table) = node.written("sasl") else {
        if let (Some(ClientAuth::Sasl), Some(written)) = (client_auth, node.written("client_auth")) {
            written.complain(
                "it is not said who may log in",
                "add [cluster.main.listeners.sasl] with credentials, a file that `sealwire users create` makes, or \
                 with mechanisms = [\"OAUTHBEARER\"] and oauthbearer",
            );
            return None;
        }
        return Some(None);
    };
    let table = table.checked_table()?;
    if client_auth.is_some_and(|auth| auth != ClientAuth::Sasl) {
        table.complain_of_the_name(
            "clients are not asked to log in here",
            "write client_auth = \"sasl\", or remove it",
        );
    }
    let mechanisms = read_mechanisms(&table, has_tls);
    let credentials = read_credentials_path(&table, mechanisms.as_deref());
    let oauthbearer = read_oauthbearer(&table, mechanisms.as_deref());
    let session_lifetime = match table.written("session_lifetime") {
        Some(_) => Some(table.duration("session_lifetime")?),
        None => None,
    };
    Some(Some(ListenerSasl {
        credentials: credentials?,
        mechanisms: mechanisms?,
        session_lifetime,
        oauthbearer: oauthbearer?,
    }))
}

/// Who may log in with a password, where anybody may.
fn read_credentials_path(table: &Node<'_>, mechanisms: Option<&[LoginMechanism]>) -> Option<Option<PathBuf>> {
    let is_needed = mechanisms?.iter().any(|mechanism| mechanism.needs_credentials());
    match (table.written("credentials"), is_needed) {
        (Some(place), true) => {
            let path = read_path_of(
                &place,
                Secrecy::OwnerOnly,
                "make one with `sealwire users create`, or correct the path",
                "correct the file: `sealwire users list` reads it as well",
                |path| read_credentials(path).map(drop),
            );
            path.map(Some)
        }
        (None, true) => {
            table.missing("credentials");
            None
        }
        (Some(place), false) => {
            place.complain_of_the_name(
                "no mechanism of this listener asks for a password",
                "remove it, or name such a mechanism in mechanisms",
            );
            None
        }
        (None, false) => Some(None),
    }
}

pub(super) fn read_mechanism(place: &Node<'_>) -> Option<LoginMechanism> {
    let mechanism = place.as_text()?.parse().ok();
    if mechanism.is_none() {
        let known = LoginMechanism::ALL.map(|known| format!("\"{}\"", known.name()));
        place.complain(
            "there is no such mechanism",
            &format!("write {}", known.join(", ")),
        );
    }
    mechanism
}

fn read_mechanisms(table: &Node<'_>, has_tls: bool) -> Option<Vec<LoginMechanism>> {
    let list = table.get("mechanisms")?;
    let mut mechanisms: Vec<LoginMechanism> = Vec::new();
    for place in list.elements()? {
        let mechanism = read_mechanism(&place)?;
        if mechanism.needs_tls() && !has_tls {
            place.complain(
                "clients would send what anybody on the way can read and use",
                "add [cluster.main.listeners.tls], or leave it to SCRAM",
            );
        }
        if mechanisms.contains(&mechanism) {
            place.complain("this mechanism is named before", "name each once");
            return None;
        }
        mechanisms.push(mechanism);
    }
    if mechanisms.is_empty() {
        list.complain("there is no way to log in", "name at least one mechanism");
        return None;
    }
    Some(mechanisms)
}
