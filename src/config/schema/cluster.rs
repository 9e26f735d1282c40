//! `[cluster.NAME]`, but for its lists.

use super::Preset::{Absent, Required, Value};
use super::{DAY, Key, MINUTE, flag, other, secret, table, tables, time};

pub(super) const KEYS: &[Key] = &[
    table(
        "cluster",
        Required,
        "Kafka clusters, each under a name for messages and metrics.",
        "[cluster.main]",
    ),
    table(
        "cluster.*",
        Required,
        "One cluster; at least one.",
        "[cluster.main]",
    ),
    other(
        "cluster.*.bootstrap",
        "list of `\"HOST:PORT\"`",
        Required,
        "Brokers that are asked first, as in a client's `bootstrap.servers`. Names are looked up when they are used.",
        "[\"kafka-1:9092\", \"kafka-2:9092\"]",
    ),
    flag(
        "cluster.*.topic_ids",
        "false",
        "Whether topics may be named by id. `true` is not available in this version: topics are known by the names \
         that clients send.",
        "false",
    ),
    other(
        "cluster.*.shares_records_with",
        "list of cluster names",
        Value("[]"),
        "Other clusters whose records may open in this one, and this one's in them. Without it two clusters of which a \
         rule each has a KEK and a domain in common are a mistake: whoever may write to one could copy its records \
         into the other. It is enough that one of the two says it.",
        "[\"west\"]",
    ),
    other(
        "cluster.*.state_file",
        "path",
        Absent("nothing is kept"),
        "Keeps the last known addresses of brokers, so that node ports work at once after a restart. Written when they \
         change, at most once a second, and at the end. Its folder must exist and be writable: `.lock` and `.new` are \
         made beside it, and a link at its path is replaced, not followed. It wins over `node_addresses`. What is \
         there and is no such file is left alone: a warning at the start, and nothing is kept. No other key may name \
         the file, or one that is made beside it.",
        "\"addresses.json\"",
    ),
    other(
        "cluster.*.admin_for",
        "list of principals",
        Absent(
            "nobody, where clients have names; with `client_auth = \"network\"` or `\"broker\"` brokers decide",
        ),
        "Who may change the cluster: create and delete topics, records, groups and ACLs, alter configurations and so \
         on (docs/authentication.md has the list), and read the topics that Kafka keeps for itself, such as \
         `__consumer_offsets`. Written as `open_for` is. On listeners with `mtls` and `sasl` the broker sees the \
         proxy, whoever asks: who is not named here is refused by the proxy.",
        "[\"User:admin\", \"group:operators\"]",
    ),
    tables(
        "cluster.*.groups_for",
        Absent("nobody may use any"),
        "Who may use which groups (of consumers and of shares) and transactional ids, where `upstream_login` has \
         `kind = \"one\"`: brokers cannot tell clients apart there, so the proxy does. The first rule whose `match` \
         takes the whole name decides; what no rule takes, and names of more than 255 bytes, nobody may use. Whom \
         `admin_for` names may use all of them. Only on listeners with `mtls` and `sasl`.",
        "[[cluster.main.groups_for]]",
    ),
    other(
        "cluster.*.groups_for.[].match",
        "glob, `{ exact = … }` or `{ regex = … }`",
        Required,
        "Which names, as of topics; they may have any characters. `?` stands for one byte.",
        "\"payments-*\"",
    ),
    other(
        "cluster.*.groups_for.[].match.exact",
        "name",
        Absent("another form of `match`"),
        "One name.",
        "\"payments\"",
    ),
    other(
        "cluster.*.groups_for.[].match.regex",
        "regular expression",
        Absent("another form of `match`"),
        "A regular expression over the whole name.",
        "'team-[a-z]+-.*'",
    ),
    other(
        "cluster.*.groups_for.[].for",
        "list of principals",
        Required,
        "Who may use them. Written as `open_for` is.",
        "[\"User:app-1\", \"group:payments\"]",
    ),
    table(
        "cluster.*.groups",
        Absent("there are none"),
        "Groups of principals, for `admin_for` and `groups_for`, and for `open_for` and `seal_for` of the cluster's \
         rules.",
        "{ payments = [\"User:app-1\", \"User:app-2\"] }",
    ),
    other(
        "cluster.*.groups.*",
        "list of principals, or path",
        Absent("there is no such group"),
        "Who belongs to this group: `\"User:NAME\"`, where `*` stands for any characters and `?` for one byte. Or a \
         file with such a principal a line; empty lines, and those that begin with `#`, are left out. It is looked at \
         every 10 s; what it holds is for the next request, of whoever is connected as well, and a file that cannot be \
         used changes nothing, as the log says.",
        "[\"User:app-1\", \"User:batch-*\"]",
    ),
    table(
        "cluster.*.node_addresses",
        Absent("addresses are learned"),
        "Addresses of brokers that are known beforehand, by broker id.",
        "{ 0 = \"kafka-1:9092\" }",
    ),
    other(
        "cluster.*.node_addresses.*",
        "`\"HOST:PORT\"`",
        Absent("its address is learned"),
        "The address of the broker with this id; replaced by what the cluster's Metadata says.",
        "\"kafka-1:9092\"",
    ),
    table(
        "cluster.*.upstream_tls",
        Absent("brokers are spoken to in plain TCP"),
        "TLS towards brokers. Exactly one of `ca`, `pin_sha256` and `insecure_no_verification` says which brokers are \
         believed. Files are followed as those of listeners are.",
        "[cluster.main.upstream_tls]",
    ),
    other(
        "cluster.*.upstream_tls.ca",
        "path or `\"system\"`",
        Absent("another key says who is believed"),
        "PEM: the authorities that vouch for brokers; `system`: those that this host trusts when the \
         program starts. Certificates need a subject alternative name with the host that is connected to.",
        "\"tls/brokers-ca.pem\"",
    ),
    other(
        "cluster.*.upstream_tls.server_name",
        "host",
        Absent("the host that is connected to"),
        "The name that brokers' certificates have to have, and that they are asked for (SNI).",
        "\"kafka.example.com\"",
    ),
    other(
        "cluster.*.upstream_tls.certificate",
        "path",
        Absent("none is shown"),
        "PEM: the certificate that the proxy shows to brokers that ask for one, with those that vouch for it. To \
         brokers every client is then the principal of this certificate.",
        "\"tls/proxy.pem\"",
    ),
    other(
        "cluster.*.upstream_tls.key",
        "path",
        Absent("none is shown"),
        "PEM: its private key, as of a listener.",
        "\"tls/proxy.key\"",
    ),
    other(
        "cluster.*.upstream_tls.pin_sha256",
        "list of hexadecimal digests",
        Absent("another key says who is believed"),
        "SHA-256 of the brokers' certificates (`openssl x509 -fingerprint -sha256`): these are taken, whatever names \
         and dates they have, and no others. For certificates that rustls refuses: self-signed ones with `CA:TRUE`, \
         names in the CN alone.",
        "[\"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\"]",
    ),
    flag(
        "cluster.*.upstream_tls.insecure_no_verification",
        "false",
        "`true` believes whoever answers: somebody who can redirect connections can then read what is not sealed, and \
         logins. For trying only; each start and `sealwire_upstream_unverified` say so.",
        "true",
    ),
    other(
        "cluster.*.upstream_tls.versions",
        "list of `\"1.2\"` and `\"1.3\"`",
        Value("[\"1.2\", \"1.3\"]"),
        "Versions of TLS that brokers may choose.",
        "[\"1.3\"]",
    ),
    other(
        "cluster.*.upstream_tls.cipher_suites",
        "list of names",
        Value("[]"),
        "As of listeners.",
        "[\"TLS_AES_256_GCM_SHA384\"]",
    ),
    table(
        "cluster.*.upstream_login",
        Absent("as with `kind = \"pass\"`"),
        "Whom brokers see (docs/authentication.md has a table of which way is for which brokers).",
        "[cluster.main.upstream_login]",
    ),
    other(
        "cluster.*.upstream_login.kind",
        "`\"pass\"`, `\"one\"`, `\"per_principal\"`, `\"forward_token\"` or `\"delegation_tokens\"`",
        Required,
        "`pass`: the proxy logs in nowhere. Logins of clients pass through it with `client_auth = \"broker\"`; \
         else brokers see the proxy's certificate, or nobody. `per_principal`: the proxy logs in for each client by \
         an account of `accounts`, so that brokers see whom that names. `one`: the proxy logs in by an account of its \
         own, whoever the client is; without `mechanism` that is `upstream_tls.certificate`, or nobody. \
         `delegation_tokens`: by that account the proxy has brokers make a token for each client (KIP-48), and logs in \
         by that, so that they see the client's own principal; on listeners with `mtls` and `sasl` only. \
         `forward_token`: by the token that the client logs in with (listeners with OAUTHBEARER alone). Only `pass` \
         goes with `client_auth = \"broker\"`.",
        "\"per_principal\"",
    ),
    other(
        "cluster.*.upstream_login.accounts",
        "path",
        Absent("needed by `per_principal`"),
        "A file in TOML with an `[[account]]` for each principal, or several of them: `principals`, and `mechanism` \
         (`SCRAM-SHA-512`, `SCRAM-SHA-256` or `PLAIN`), `user` and `password`, or `certificate` and `key`. The first \
         that names a client is used; a client that none names is refused. Only its owner may read it (mode 0600). It \
         is looked at every 10 s; what it holds is for the next login, and a file that cannot be used changes nothing, \
         as the log says.",
        "\"accounts.toml\"",
    ),
    other(
        "cluster.*.upstream_login.mechanism",
        "`\"SCRAM-SHA-512\"`, `\"SCRAM-SHA-256\"`, `\"PLAIN\"` or `\"OAUTHBEARER\"`",
        Absent("it shows its certificate, or nothing; needed by `delegation_tokens` without `made_at`"),
        "How the proxy logs in by its own account (`one`, `delegation_tokens`).",
        "\"SCRAM-SHA-512\"",
    ),
    other(
        "cluster.*.upstream_login.user",
        "user name",
        Absent("needed by `PLAIN` and SCRAM"),
        "The user that the proxy is at the brokers.",
        "\"sealwire\"",
    ),
    secret(table(
        "cluster.*.upstream_login.password",
        Absent("needed by `PLAIN` and SCRAM"),
        "Where its password is: exactly one of the following three. One line end behind it is left out.",
        "{ file = \"brokers.password\" }",
    )),
    other(
        "cluster.*.upstream_login.password.file",
        "path",
        Absent("another source"),
        "A file that only its owner may read (mode 0600). It is looked at every 10 s; what it holds is for the next \
         login, and a file that cannot be used changes nothing, as the log says.",
        "\"brokers.password\"",
    ),
    other(
        "cluster.*.upstream_login.password.env",
        "variable name",
        Absent("another source"),
        "The name of an environment variable.",
        "\"KAFKA_PASSWORD\"",
    ),
    other(
        "cluster.*.upstream_login.password.systemd_credential",
        "credential name",
        Absent("another source"),
        "The name of a systemd credential (`LoadCredential=`).",
        "\"kafka-password\"",
    ),
    secret(table(
        "cluster.*.upstream_login.token",
        Absent("needed by `OAUTHBEARER`"),
        "Where its token is: exactly one of `endpoint` (with `kind = \"one\"`), `file`, `env` and \
         `systemd_credential`. Whoever issues one that is not fetched has to replace it before it ends.",
        "{ endpoint = \"https://login.example.com/token\", client_id = \"sealwire\", client_secret = { file = \
         \"client.secret\" } }",
    )),
    other(
        "cluster.*.upstream_login.token.endpoint",
        "URL",
        Absent("another source"),
        "Where the proxy fetches its token, by HTTPS and the credentials of a client (RFC 6749, 4.4; \
         \"token_endpoint\" in the issuer's `.well-known/openid-configuration`). It is fetched at the start, again \
         when 60 to 75 % of its time are over, and when a broker has refused it. While the endpoint is away it is \
         asked again, after 1 s and longer each time up to a minute; one that refuses the client after five minutes, \
         or as soon as `client_secret` has changed. A token that there is is used until it ends; without one, \
         connections of clients end without an answer. Neither proxies nor redirects are followed.",
        "\"https://login.example.com/token\"",
    ),
    other(
        "cluster.*.upstream_login.token.ca",
        "path or `\"system\"`",
        Value("\"system\""),
        "Who vouches for whoever is at `endpoint`: a PEM file of certificates, read anew each time, or what this host \
         trusts.",
        "\"login-ca.pem\"",
    ),
    other(
        "cluster.*.upstream_login.token.client_id",
        "text",
        Absent("needed by `endpoint`"),
        "Who the proxy is at `endpoint`. It is shown there with its secret by HTTP Basic (RFC 6749, 2.3.1).",
        "\"sealwire\"",
    ),
    secret(table(
        "cluster.*.upstream_login.token.client_secret",
        Absent("needed by `endpoint`"),
        "Where its secret is: exactly one of the following three, read each time.",
        "{ file = \"client.secret\" }",
    )),
    other(
        "cluster.*.upstream_login.token.client_secret.file",
        "path",
        Absent("another source"),
        "A file that only its owner may read (mode 0600).",
        "\"client.secret\"",
    ),
    other(
        "cluster.*.upstream_login.token.client_secret.env",
        "variable name",
        Absent("another source"),
        "The name of an environment variable.",
        "\"CLIENT_SECRET\"",
    ),
    other(
        "cluster.*.upstream_login.token.client_secret.systemd_credential",
        "credential name",
        Absent("another source"),
        "The name of a systemd credential (`LoadCredential=`).",
        "\"client-secret\"",
    ),
    other(
        "cluster.*.upstream_login.token.scope",
        "text",
        Absent("none is asked for"),
        "What the token is to be good for, where the endpoint has to be told.",
        "\"kafka\"",
    ),
    other(
        "cluster.*.upstream_login.token.audience",
        "text",
        Absent("none is asked for"),
        "Whom the token is to be for, where the endpoint has to be told.",
        "\"kafka\"",
    ),
    other(
        "cluster.*.upstream_login.token.file",
        "path",
        Absent("another source"),
        "As of `password`.",
        "\"brokers.token\"",
    ),
    other(
        "cluster.*.upstream_login.token.env",
        "variable name",
        Absent("another source"),
        "As of `password`.",
        "\"KAFKA_TOKEN\"",
    ),
    other(
        "cluster.*.upstream_login.token.systemd_credential",
        "credential name",
        Absent("another source"),
        "As of `password`.",
        "\"kafka-token\"",
    ),
    time(
        "cluster.*.upstream_login.token_lifetime",
        [MINUTE.saturating_mul(10), DAY.saturating_mul(7)],
        "\"4h\"",
        "For how long a delegation token is to be good; brokers may make it shorter \
         (`delegation.token.max.lifetime.ms`, `delegation.token.expiry.time.ms`). In the second half of its time the \
         next login has another one made.",
    ),
    other(
        "cluster.*.upstream_login.made_at",
        "list of `host:port`",
        Absent("`bootstrap`"),
        "Where brokers make delegation tokens, asked in this order: another listener of theirs. Without `mechanism` it \
         is one that asks for certificates (`SSL`, `ssl.client.auth=required`), and `upstream_tls.certificate` is the \
         proxy's own account there.",
        "[\"kafka-1:9094\", \"kafka-2:9094\"]",
    ),
    flag(
        "cluster.*.upstream_login.broker_may_replay",
        "false",
        "`true` lets `forward_token` go with rules that open records (`open_for`): a broker that gets a client's token \
         can log in with it at the proxy, and read what that client may read. Against brokers that lie those rules \
         are then worth nothing.",
        "true",
    ),
    flag(
        "cluster.*.upstream_login.allow_plaintext",
        "false",
        "`true` lets passwords be sent to brokers without TLS (`PLAIN`): whoever is on the way can read and use them.",
        "true",
    ),
];
