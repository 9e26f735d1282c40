//! What somebody would look for and this version does not have, or has under another name: it is named as such, not as
//! a misspelt key.

/// What is wrong, and what to do instead, where `name`, written as a key, is of something that is not available in this
/// version, or is Kafka's word for something that is set elsewhere.
pub(super) fn instead_of(name: &str) -> Option<(&'static str, &'static str)> {
    let name = plain(name);
    let is_it = |start: &&str| {
        let rest = name.strip_prefix(*start);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('_'))
    };
    KEYS.iter()
        .find(|(starts, _)| starts.iter().any(is_it))
        .map(|(_, instead)| *instead)
        .map(|instead| {
            if [TLS, LOGINS].contains(&instead) {
                (ELSEWHERE, instead)
            } else {
                (LATER, instead)
            }
        })
}

/// Whether a KMS of this name is one that this version does not have.
pub(super) fn is_later_provider(name: &str) -> bool {
    let name = plain(name);
    PROVIDERS.iter().any(|provider| {
        let rest = name.strip_prefix(provider);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('_'))
    })
}

/// Whether this is a way to authenticate clients that this version does not have.
pub(super) fn is_later_client_auth(name: &str) -> bool {
    CLIENT_AUTH.contains(&plain(name).as_str())
}

/// Properties of Kafka have dots, variables are in capitals, and YAML has hyphens.
fn plain(name: &str) -> String {
    name.to_ascii_lowercase().replace(['-', '.'], "_")
}

pub(super) const LATER: &str = "this is not available in this version";
const ELSEWHERE: &str = "there is no such key";
const TLS: &str =
    "TLS is set in [cluster.NAME.listeners.tls] and [cluster.NAME.upstream_tls], with PEM files";
const LOGINS: &str = "how clients log in at the proxy is set in [cluster.NAME.listeners.sasl]; without that, their \
    logins pass through to the broker";
const NO_LOGIN: &str = "remove it: the proxy itself has no account at brokers in this version; clients log in at it, \
    with client_auth = \"sasl\", or through it at the broker";
const NO_KMS: &str = "remove it: the embedded keystore, Vault and AWS KMS are the only ones in this version";
const NO_RELOAD: &str =
    "remove it: a changed configuration needs a restart in this version; only the keystore is followed";
const NO_SHARE_GROUPS: &str =
    "remove it: share groups and topic ids are not offered to clients in this version";

/// Beginnings of keys, to the end or to a `_`, and what to do instead.
const KEYS: &[(&[&str], &str)] = &[
    (
        &[
            "cert",
            "client_cert",
            "client_certificate",
            "client_key",
            "mtls",
            "private_key",
            "security",
            "server_cert",
            "server_certificate",
            "ssl",
            "truststore",
        ],
        TLS,
    ),
    (
        &[
            "authentication",
            "jaas",
            "kerberos",
            "oauth",
            "scram",
            "username",
            "users",
        ],
        NO_LOGIN,
    ),
    (
        &[
            "sasl_enabled",
            "sasl_jaas",
            "sasl_login",
            "sasl_mechanism",
            "sasl_server",
        ],
        LOGINS,
    ),
    (PROVIDERS, NO_KMS),
    (&["hot_reload", "reload", "sighup", "watch"], NO_RELOAD),
    (&["share", "share_groups"], NO_SHARE_GROUPS),
];

const PROVIDERS: &[&str] = &["azure", "branch", "gcp", "google", "hsm", "kmip", "pkcs11"];

const CLIENT_AUTH: &[&str] = &[
    "gssapi",
    "kerberos",
    "oauth",
    "oauthbearer",
    "plain",
    "sasl_plaintext",
    "sasl_ssl",
    "scram",
    "scram_sha_256",
    "scram_sha_512",
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::schema;

    #[test]
    fn names_are_known_in_every_spelling() {
        for name in [
            "SSL",
            "ssl.truststore.location",
            "security-protocol",
            "sasl_mechanism",
            "reload",
        ] {
            assert!(instead_of(name).is_some(), "{name}");
        }
        for name in ["tls", "tlss", "cat", "listen", "nods", ""] {
            assert!(instead_of(name).is_none(), "{name}");
        }
        assert!(is_later_provider("azure-kms") && is_later_provider("gcp_kms") && !is_later_provider("fil"));
        assert!(is_later_client_auth("SASL_SSL") && !is_later_client_auth("none"));
    }

    #[test]
    fn nothing_that_there_is_is_called_missing() {
        for key in schema::keys() {
            let name = key.path.rsplit('.').next().unwrap_or_default();
            assert!(instead_of(name).is_none(), "{}", key.path);
        }
    }
}
