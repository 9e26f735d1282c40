//! `[cluster.NAME.upstream_login]`.

use super::keystores::{Secrecy, read_path_of};
use super::node::Node;
use crate::broker_login::BrokerAccounts;
use crate::config::{AccountsFileError, ClientAuth, ListenerConfig, UpstreamLogin, read_accounts};

/// Reads whom brokers of a cluster see; `has_tls`: whether its brokers speak TLS.
pub(super) fn read_upstream_login(
    cluster: &Node<'_>,
    listeners: &[ListenerConfig],
    has_tls: bool,
) -> Option<Option<UpstreamLogin>> {
    let Some(written) = cluster.written("upstream_login") else {
        return Some(None);
    };
    let table = written.checked_table()?;
    let kind = table.get("kind")?;
    let accounts = table.written("accounts");
    match kind.as_text()?.as_str() {
        "pass" => {
            if let Some(place) = accounts {
                place.complain_of_the_name(
                    "the proxy logs in nowhere",
                    "write kind = \"per_principal\", or remove it",
                );
                return None;
            }
            Some(None)
        }
        "per_principal" => {
            refuse_strangers(&kind, listeners);
            let Some(place) = accounts else {
                table.missing("accounts");
                return None;
            };
            let allows = table.flag("allow_plaintext")?;
            let mut sends_passwords = false;
            let path = read_path_of(
                &place,
                Secrecy::OwnerOnly,
                "make a file with an [[account]] for each principal (docs/authentication.md), or correct the path",
                "correct the file",
                |path| {
                    let accounts = read_accounts(path, &BrokerAccounts::default())?;
                    sends_passwords = accounts.mechanisms().any(|mechanism| mechanism.needs_tls());
                    Ok::<_, AccountsFileError>(())
                },
            )?;
            if sends_passwords && !has_tls && !allows {
                place.complain(
                    "an account of it sends its password as it is, and brokers are spoken to in plain TCP",
                    "use SCRAM, add upstream_tls, or write allow_plaintext = true",
                );
            }
            Some(Some(UpstreamLogin::PerPrincipal(path)))
        }
        _ => {
            kind.complain("there is no such way", "write \"pass\" or \"per_principal\"");
            None
        }
    }
}

/// Where brokers decide who logs in, there is nobody else to log in for.
fn refuse_strangers(kind: &Node<'_>, listeners: &[ListenerConfig]) {
    if let Some(listener) = listeners
        .iter()
        .find(|listener| listener.client_auth == ClientAuth::Broker)
    {
        kind.complain(
            &format!(
                "at listener {:?} clients log in at brokers (client_auth = \"broker\")",
                listener.name
            ),
            "write client_auth = \"sasl\", \"mtls\" or \"network\" there, or kind = \"pass\" here",
        );
    }
}
