//! `[cluster.NAME.upstream_login]`.

use super::access::By;
use super::brokers::read_brokers;
use super::keystores::{SECRET_SOURCES, Secrecy, read_path_of, read_secret_line};
use super::node::Node;
use super::sasl::oauthbearer::{read_trust, read_url, text_of};
use super::sasl::read_mechanism;
use crate::broker_login::BrokerAccounts;
use crate::config::{
    AccountsFileError, ClientAuth, ListenerConfig, OwnAccount, TokenEndpoint, UpstreamLogin, read_accounts,
};
use crate::foreign::Foreign;
use crate::identity::sasl::USER_BYTES_MAX;
use crate::identity::sasl::exchange::LoginMechanism;
use crate::transport::tls_client::UpstreamTls;

/// Whether brokers of a cluster see one and the same, whoever the client is; what is wrong with that is complained of
/// elsewhere.
pub(super) fn shows_one(cluster: &Node<'_>) -> bool {
    let table = cluster.written("upstream_login");
    let kind = table.and_then(|table| table.written("kind"));
    kind.is_some_and(|kind| kind.value.as_str() == Some("one"))
}

/// Reads whom brokers of a cluster see; `upstream_tls`: as it was read, where its brokers speak TLS; `opens`: whether a
/// rule opens records for somebody.
pub(super) fn read_upstream_login(
    cluster: &Node<'_>,
    by: By<'_>,
    upstream_tls: Option<&Option<UpstreamTls>>,
    opens: bool,
) -> Option<Option<UpstreamLogin>> {
    let listeners = by.listeners;
    let Some(written) = cluster.written("upstream_login") else {
        return Some(None);
    };
    let table = written.checked_table()?;
    let kind = table.get("kind")?;
    let allows_plaintext = table.flag("allow_plaintext")? || upstream_tls.is_some();
    let name = kind.as_text()?;
    let keys: &[&str] = match name.as_str() {
        "pass" => &[],
        "per_principal" => &["accounts"],
        "one" => &["mechanism", "user", "password", "token"],
        "forward_token" => &["broker_may_replay"],
        "delegation_tokens" => &[
            "mechanism",
            "user",
            "password",
            "token",
            "token_lifetime",
            "made_at",
        ],
        _ => {
            kind.complain(
                "there is no such way",
                "write \"pass\", \"one\", \"per_principal\", \"forward_token\" or \"delegation_tokens\"",
            );
            return None;
        }
    };
    refuse_others(&table, &name, keys)?;
    match name.as_str() {
        "pass" => {}
        "delegation_tokens" => refuse_nameless(&kind, listeners),
        _ => refuse_strangers(&kind, listeners),
    }
    Some(match name.as_str() {
        "pass" => None,
        "per_principal" => {
            let tls = upstream_tls.and_then(Option::as_ref);
            Some(read_per_principal(&table, tls, allows_plaintext, by.users)?)
        }
        "forward_token" => {
            check_forwarding(&table, &kind, listeners, opens, allows_plaintext)?;
            Some(UpstreamLogin::ForwardToken)
        }
        "delegation_tokens" => {
            let tls = upstream_tls.and_then(Option::as_ref);
            Some(read_delegation_tokens(&table, tls, allows_plaintext)?)
        }
        _ => Some(UpstreamLogin::One(read_own_account(&table, allows_plaintext)?)),
    })
}

/// Complains of keys that belong to another kind.
fn refuse_others(table: &Node<'_>, kind: &str, keys: &[&str]) -> Option<()> {
    let others = [
        "accounts",
        "mechanism",
        "user",
        "password",
        "token",
        "broker_may_replay",
        "token_lifetime",
        "made_at",
    ];
    let others = others.into_iter().filter(|key| !keys.contains(key));
    let mistaken = others.filter_map(|key| table.written(key)).inspect(|place| {
        place.complain_of_the_name(
            &format!("kind = {kind:?} does without it"),
            "remove it, or write the kind that needs it",
        );
    });
    (mistaken.count() == 0).then_some(())
}

fn read_per_principal(
    table: &Node<'_>,
    tls: Option<&UpstreamTls>,
    allows_plaintext: bool,
    users: Option<&[String]>,
) -> Option<UpstreamLogin> {
    let Some(place) = table.written("accounts") else {
        table.missing("accounts");
        return None;
    };
    let accounts = read_path_of(
        &place,
        Secrecy::OwnerOnly,
        "make a file with an [[account]] for each principal (docs/authentication.md), or correct the path",
        "correct the file",
        |path| {
            let read = read_accounts(path, tls, allows_plaintext, &BrokerAccounts::default())?;
            if let Some(users) = users {
                warn_of_differences(&place, &read, users);
            }
            Ok::<_, AccountsFileError>(())
        },
    )?;
    Some(UpstreamLogin::PerPrincipal {
        accounts,
        allows_plaintext,
    })
}

/// Accounts for nobody, and users without one.
fn warn_of_differences(place: &Node<'_>, accounts: &BrokerAccounts, users: &[String]) {
    let (unused, nobodys) = accounts.compare(users);
    if let [first, more @ ..] = &unused[..] {
        place.warn(
            &format!(
                "account {first} of this file is for nobody who can log in, or for whom an account before it is{}",
                and_as_many(more.len())
            ),
            "correct its principals, or add the user with `sealwire users add`",
        );
    }
    if let [first, more @ ..] = &nobodys[..] {
        place.warn(
            &format!(
                "User:{} can log in, and no account is for him{}",
                Foreign::new(first),
                and_as_many(more.len())
            ),
            "add an [[account]], or remove the user with `sealwire users remove`",
        );
    }
}

fn and_as_many(more: usize) -> String {
    match more {
        0 => String::new(),
        more => format!("; the same is true of {more} more"),
    }
}

/// Clients' own tokens are sent on: every client has to have one, and whoever gets it can use it.
fn check_forwarding(
    table: &Node<'_>,
    kind: &Node<'_>,
    listeners: &[ListenerConfig],
    opens: bool,
    allows_plaintext: bool,
) -> Option<()> {
    let takes_others = |listener: &&ListenerConfig| {
        let sasl = listener.sasl.as_ref();
        sasl.is_none_or(|sasl| sasl.mechanisms != [LoginMechanism::OauthBearer])
    };
    if let Some(listener) = listeners.iter().find(takes_others) {
        let problem = format!("listener {:?} takes clients without a token", listener.name);
        let fix =
            "write client_auth = \"sasl\" and mechanisms = [\"OAUTHBEARER\"] there, or another kind here";
        kind.complain(&problem, fix);
        return None;
    }
    if !allows_plaintext {
        kind.complain(
            "tokens would be sent as they are, and brokers are spoken to in plain TCP",
            "add upstream_tls, or write allow_plaintext = true",
        );
        return None;
    }
    if opens && !table.flag("broker_may_replay")? {
        kind.complain(
            "a broker that gets a client's token can log in with it here and read what open_for lets that client read",
            "write broker_may_replay = true if brokers may, or another kind",
        );
        return None;
    }
    Some(())
}

fn read_delegation_tokens(
    table: &Node<'_>,
    tls: Option<&UpstreamTls>,
    allows_plaintext: bool,
) -> Option<UpstreamLogin> {
    let made_at = match table.written("made_at") {
        Some(place) => {
            let has_certificate = tls.is_some_and(|tls| tls.client.is_some());
            if table.written("mechanism").is_none() && !has_certificate {
                place.complain_of_the_name(
                    "the proxy has neither a mechanism nor a certificate to show there",
                    "add certificate and key to upstream_tls, or mechanism",
                );
                return None;
            }
            read_brokers(&place)?
        }
        None if table.written("mechanism").is_none() => {
            table.missing("mechanism");
            return None;
        }
        None => Vec::new(),
    };
    let own = read_own_account(table, allows_plaintext)?;
    if matches!(own, OwnAccount::Fetched(_))
        && let Some(place) = table.written("token")
    {
        place.complain_of_the_name(
            "delegation tokens are not made for a token that is fetched",
            "name another source of it, or another mechanism",
        );
        return None;
    }
    Some(UpstreamLogin::DelegationTokens {
        own,
        lifetime: table.duration("token_lifetime")?,
        made_at,
    })
}

/// Who the proxy itself is.
fn read_own_account(table: &Node<'_>, allows_plaintext: bool) -> Option<OwnAccount> {
    let Some(place) = table.written("mechanism") else {
        for key in ["user", "password", "token"] {
            if let Some(place) = table.written(key) {
                place.complain_of_the_name("it is not said how to log in", "add mechanism, or remove it");
                return None;
            }
        }
        return Some(OwnAccount::Certificate);
    };
    let mechanism = read_mechanism(&place)?;
    if mechanism.needs_tls() && !allows_plaintext {
        place.complain(
            "it sends its secret as it is, and brokers are spoken to in plain TCP",
            "use SCRAM, add upstream_tls, or write allow_plaintext = true",
        );
    }
    let (needed, other) = match mechanism {
        LoginMechanism::OauthBearer => ("token", "password"),
        LoginMechanism::Plain | LoginMechanism::Scram(_) => ("password", "token"),
    };
    if let Some(place) = table.written(other) {
        place.complain_of_the_name(&format!("{} does without it", mechanism.name()), "remove it");
        return None;
    }
    let user = table.written("user");
    if mechanism == LoginMechanism::OauthBearer {
        if let Some(place) = user {
            place.complain_of_the_name("the token says who it is", "remove it");
            return None;
        }
        return read_token(table);
    }
    let secret = read_secret_line(table, needed)?;
    Some(match (mechanism, user) {
        (_, None) => {
            table.missing("user");
            return None;
        }
        (mechanism, Some(place)) => {
            let user = place.as_text()?;
            if user.is_empty() || user.len() > USER_BYTES_MAX || user.contains('\0') {
                place.complain("this is no user", "write the name of a user at the brokers");
                return None;
            }
            OwnAccount::Password {
                mechanism,
                user,
                password: secret,
            }
        }
    })
}

/// The proxy's own token, or where it is given one.
fn read_token(table: &Node<'_>) -> Option<OwnAccount> {
    let Some(token) = table.written("token") else {
        table.missing("token");
        return None;
    };
    let token = token.checked_table()?;
    let Some(written) = token.written("endpoint") else {
        if let Some(place) = OF_ENDPOINT.iter().find_map(|name| token.written(name)) {
            place.complain_of_the_name(
                "nothing is fetched that this is for",
                "add endpoint, or remove it",
            );
            return None;
        }
        return read_secret_line(table, "token").map(OwnAccount::Token);
    };
    if let Some(place) = SECRET_SOURCES.iter().find_map(|name| token.written(name)) {
        place.complain_of_the_name("the token is fetched", "remove it, or remove endpoint");
        return None;
    }
    let text = |name: &str| match token.written(name) {
        Some(place) => text_of(&place).map(Some),
        None => Some(None),
    };
    let (url, trust) = (read_url(&written), read_trust(&token, "ca"));
    let client_id = match token.written("client_id") {
        Some(place) => text_of(&place),
        None => {
            token.missing("client_id");
            None
        }
    };
    let client_secret = read_secret_line(&token, "client_secret");
    let (scope, audience) = (text("scope"), text("audience"));
    Some(OwnAccount::Fetched(Box::new(TokenEndpoint {
        url: url?,
        trust: trust?,
        client_id: client_id?,
        client_secret: client_secret?,
        scope: scope?,
        audience: audience?,
    })))
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

/// A token is for somebody.
fn refuse_nameless(kind: &Node<'_>, listeners: &[ListenerConfig]) {
    if let Some(listener) = listeners
        .iter()
        .find(|listener| !matches!(listener.client_auth, ClientAuth::Mtls | ClientAuth::Sasl))
    {
        kind.complain(
            &format!(
                "at listener {:?} clients have no names of their own",
                listener.name
            ),
            "write client_auth = \"sasl\" or \"mtls\" there, or another kind here",
        );
    }
}

const OF_ENDPOINT: [&str; 5] = ["ca", "client_id", "client_secret", "scope", "audience"];
