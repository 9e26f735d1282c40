//! `[kms.NAME]`.

use super::Preset::{Absent, Required};
use super::{Key, count, flag, other, secret, table};

pub(super) const KEYS: &[Key] = &[
    table(
        "kms",
        Absent("only rules that do not seal are possible"),
        "Key management systems, each under a name that rules use.",
        "[kms.local]",
    ),
    table(
        "kms.*",
        Absent("only with rules that seal"),
        "One KMS. A KMS that no rule names is refused.",
        "[kms.local]",
    ),
    other(
        "kms.*.provider",
        "`\"file\"`, `\"aws\"` or `\"vault\"`",
        Required,
        "What kind of KMS it is. `file`: the embedded keystore (`sealwire keystore create`). `vault`: the transit \
         engine of HashiCorp Vault or OpenBao (docs/kms/vault.md). `aws`: AWS KMS (docs/kms/aws.md).",
        "\"file\"",
    ),
    count(
        "kms.*.calls_max",
        [1, 1000],
        "64",
        "Calls of this KMS under way at a time. Those that seal may have all of them, rechecks seven eighths, \
         consumers at the end of a log three quarters, those that read history half, and each kind that waits every \
         eighth call. At the bound: they wait their turn.",
    ),
    count(
        "kms.*.calls_per_second_max",
        [1, 100_000],
        "500",
        "Calls of this KMS that begin in a second: no more than what it permits, divided by the number of proxies. \
         A keystore file has no such bound unless this is written. At the bound: they wait, in the same order.",
    ),
    other(
        "kms.*.path",
        "path",
        Absent("needed by `file`"),
        "The keystore file.",
        "\"keystore.json\"",
    ),
    secret(table(
        "kms.*.master_key",
        Absent("needed by `file`"),
        "What unwraps the keystore: exactly one of the following four.",
        "{ file = \"master.key\" }",
    )),
    other(
        "kms.*.master_key.file",
        "path",
        Absent("another source"),
        "A key file of 32 random bytes; only its owner may read it (mode 0600).",
        "\"master.key\"",
    ),
    other(
        "kms.*.master_key.env",
        "variable name",
        Absent("another source"),
        "The name of an environment variable that holds the passphrase, or the 32 bytes of a key file in base64.",
        "\"KEYSTORE_PASSPHRASE\"",
    ),
    other(
        "kms.*.master_key.passphrase_file",
        "path",
        Absent("another source"),
        "A file that holds the passphrase; only its owner may read it (mode 0600).",
        "\"passphrase\"",
    ),
    other(
        "kms.*.master_key.systemd_credential",
        "credential name",
        Absent("another source"),
        "The name of a systemd credential (`LoadCredential=`) that holds the key file or the passphrase.",
        "\"sealwire-master-key\"",
    ),
    other(
        "kms.*.address",
        "URL",
        Absent("needed by `vault`"),
        "Where the server is: `https://HOST:PORT`. Records keep it in a shortened form, so it has to stay as it is, or \
         `identity` has to say what it was.",
        "\"https://vault.example.com:8200\"",
    ),
    other(
        "kms.*.mount",
        "path",
        Absent("`transit`"),
        "Where the transit engine is mounted.",
        "\"transit\"",
    ),
    other(
        "kms.*.namespace",
        "path",
        Absent("that of the root"),
        "The namespace that everything is in, the login too.",
        "\"payments\"",
    ),
    other(
        "kms.*.identity",
        "name",
        Absent("`address`; of `aws`, `region`"),
        "What stands for it in records, instead of its address or region: of two that are one, copies for disasters \
         for instance, and of one that has moved.",
        "\"https://vault.example.com:8200\"",
    ),
    other(
        "kms.*.ca",
        "path, or `\"system\"`",
        Absent("`\"system\"`"),
        "Who vouches for the server: a PEM file of certificates, or what this host trusts.",
        "\"vault-ca.pem\"",
    ),
    other(
        "kms.*.certificate",
        "path",
        Absent("none is shown"),
        "The certificate that the proxy shows, with those that lead from it to an authority: a PEM file, read anew \
         every minute at most.",
        "\"sealwire.pem\"",
    ),
    other(
        "kms.*.key",
        "path",
        Absent("needed by `certificate`"),
        "Its private key: a PEM file that only its owner may read.",
        "\"sealwire.key\"",
    ),
    flag(
        "kms.*.allow_plaintext",
        "false",
        "`true` lets `address` or `endpoint` begin with `http://`: whoever is on the way reads every data key.",
        "true",
    ),
    other(
        "kms.*.region",
        "name",
        Absent("needed by `aws`"),
        "The region of the keys. Records keep it in a shortened form, or `identity` where that is written.",
        "\"eu-central-1\"",
    ),
    other(
        "kms.*.endpoint",
        "URL",
        Absent("that of the region"),
        "Where AWS KMS is reached, an interface endpoint for instance.",
        "\"https://vpce-0123456789abcdef0.kms.eu-central-1.vpce.amazonaws.com\"",
    ),
    other(
        "kms.*.profile",
        "name",
        Absent("as the environment says"),
        "The profile that the proxy's own credentials are of, in the shared files or `credentials_file`, instead of \
         all other sources. Without it they come from where every program that uses AWS has them (docs/kms/aws.md).",
        "\"sealwire\"",
    ),
    other(
        "kms.*.credentials_file",
        "path",
        Absent("as the environment says"),
        "A file with the proxy's own credentials, in the form of the shared credentials file, instead of all other \
         sources; only its owner may read it (mode 0600). It is read anew each time that credentials are needed.",
        "\"aws-credentials\"",
    ),
    other(
        "kms.*.encryption_context",
        "table of texts",
        Absent("none"),
        "Bound to every data key, and shown in AWS's own log. What was sealed with another one does not open.",
        "{ application = \"sealwire\" }",
    ),
    other(
        "kms.*.encryption_context.*",
        "text",
        Absent("not in it"),
        "One part of it; the name is of your choice.",
        "\"sealwire\"",
    ),
    table(
        "kms.*.login",
        Absent("needed by `vault`"),
        "How the proxy logs in there.",
        "{ method = \"approle\", role_id = \"sealwire\", secret_id = { file = \"secret-id\" } }",
    ),
    other(
        "kms.*.login.method",
        "`\"token\"`, `\"approle\"`, `\"kubernetes\"`, `\"jwt\"` or `\"certificate\"`",
        Required,
        "`token`: by a token that stands somewhere; it is renewed, and read anew where it was replaced. `approle`: by \
         a role and its secret. `kubernetes`, `jwt`: by a token in a file, which the platform replaces. `certificate`: \
         by `certificate`.",
        "\"approle\"",
    ),
    other(
        "kms.*.login.mount",
        "path",
        Absent("the method's name; of `certificate`, `cert`"),
        "Where the method is mounted.",
        "\"approle\"",
    ),
    secret(table(
        "kms.*.login.token",
        Absent("needed by `token`"),
        "Where the token is: exactly one of the following three. One line end behind it is left out. A file is read \
         anew every 10 s.",
        "{ file = \"vault.token\" }",
    )),
    other(
        "kms.*.login.token.file",
        "path",
        Absent("another source"),
        "A file that only its owner may read (mode 0600).",
        "\"vault.token\"",
    ),
    other(
        "kms.*.login.token.env",
        "variable name",
        Absent("another source"),
        "The name of an environment variable.",
        "\"SEALWIRE_VAULT_TOKEN\"",
    ),
    other(
        "kms.*.login.token.systemd_credential",
        "credential name",
        Absent("another source"),
        "The name of a systemd credential (`LoadCredential=`).",
        "\"vault-token\"",
    ),
    other(
        "kms.*.login.role_id",
        "text",
        Absent("needed by `approle`"),
        "The role's id.",
        "\"37c37336-17bb-9a01-4154-e9c91005b198\"",
    ),
    secret(table(
        "kms.*.login.secret_id",
        Absent("needed by `approle`"),
        "Where the role's secret is: exactly one of the following three. It is read anew for each login.",
        "{ file = \"secret-id\" }",
    )),
    other(
        "kms.*.login.secret_id.file",
        "path",
        Absent("another source"),
        "As of `token`.",
        "\"secret-id\"",
    ),
    other(
        "kms.*.login.secret_id.env",
        "variable name",
        Absent("another source"),
        "As of `token`.",
        "\"SEALWIRE_SECRET_ID\"",
    ),
    other(
        "kms.*.login.secret_id.systemd_credential",
        "credential name",
        Absent("another source"),
        "As of `token`.",
        "\"vault-secret-id\"",
    ),
    other(
        "kms.*.login.role",
        "name",
        Absent("needed by `kubernetes` and `jwt`"),
        "The role to log in as; of `certificate`, the one of several that take it.",
        "\"sealwire\"",
    ),
    other(
        "kms.*.login.jwt_file",
        "path",
        Absent("of `kubernetes`, where service accounts have theirs; needed by `jwt`"),
        "The file with the token. It is read anew for each login.",
        "\"/var/run/secrets/kubernetes.io/serviceaccount/token\"",
    ),
];
