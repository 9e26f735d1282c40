//! `[[cluster.NAME.listeners]]`.

use std::time::Duration;

use super::Preset::{Absent, Required, Value};
use super::{DAY, Key, MILLISECOND, MINUTE, flag, other, table, tables, time};

pub(super) const KEYS: &[Key] = &[
    tables(
        "cluster.*.listeners",
        Required,
        "Where clients connect; at least one.",
        "[[cluster.main.listeners]]",
    ),
    other(
        "cluster.*.listeners.[].name",
        "name",
        Required,
        "For messages and metrics; unique in its cluster.",
        "\"lan\"",
    ),
    other(
        "cluster.*.listeners.[].listen",
        "`\"IP:PORT\"`",
        Required,
        "Where clients bootstrap; node ports are bound on the same address.",
        "\"0.0.0.0:9192\"",
    ),
    other(
        "cluster.*.listeners.[].client_auth",
        "`\"network\"`, `\"broker\"`, `\"mtls\"` or `\"sasl\"`",
        Required,
        "Who vouches for clients. There is no default, because whoever gets through reads plaintext. `network` says \
         that only trusted clients can reach this address; nobody logs in. `broker` passes logins by SASL on to the \
         brokers: who says yes there reads plaintext, so a broker that lies decides who does. `mtls` asks each client \
         for a certificate that `tls.client_ca` vouches for, and lets nobody else in. `sasl` has each client log in at \
         the proxy, by `sasl`; nothing is sent to a broker before.",
        "\"network\"",
    ),
    other(
        "cluster.*.listeners.[].proxy_protocol",
        "`\"required\"`",
        Absent("clients connect themselves"),
        "A load balancer in front says with each connection where it comes from, by the PROXY protocol, version 1 or \
         2: on every port of the listener, and before anything else. A connection that begins otherwise is closed. \
         What it says is for logs and the audit log: nobody is let in for it.",
        "\"required\"",
    ),
    other(
        "cluster.*.listeners.[].proxy_protocol_sources",
        "list of networks",
        Absent("needed with `proxy_protocol`"),
        "Where load balancers connect from: whoever connects from elsewhere is closed, since it could say that it were \
         anybody.",
        "[\"10.1.0.0/24\"]",
    ),
    other(
        "cluster.*.listeners.[].advertised_host",
        "host",
        Required,
        "The host that clients are told for every broker: a name or an address that reaches this listener. With \
         `$(node)` in it, which stands for the broker's id, each broker has a name of its own at the port of \
         `listen`, where TLS tells them apart: one port for all brokers, and for other listeners of the kind, of \
         whichever cluster.",
        "\"proxy.example.com\"",
    ),
    other(
        "cluster.*.listeners.[].nodes",
        "ids and ranges",
        Required,
        "Broker ids that are served, as text (`\"0-5,9\"`) or as a list of numbers. A broker that is not among them is \
         hidden from clients of this listener.",
        "\"0-5\"",
    ),
    other(
        "cluster.*.listeners.[].bootstrap_host",
        "host",
        Absent("brokers are told apart by port"),
        "The name under which clients bootstrap, beside the brokers' own; required where `advertised_host` has \
         `$(node)`. A client that names another host is refused by an alert (`unrecognized_name`).",
        "\"kafka.example.com\"",
    ),
    other(
        "cluster.*.listeners.[].node_ports",
        "ports and ranges",
        Absent("brokers are told apart by name"),
        "One port for each of `nodes`, in the same order; required where `advertised_host` has no `$(node)`.",
        "\"9193-9198\"",
    ),
    table(
        "cluster.*.listeners.[].tls",
        Absent("clients speak plain TCP"),
        "TLS towards clients, on all ports of the listener. Its files are looked at every 10 s and read again when \
         one of them has changed; what is read is for new connections. Files that do not go together, or are out of \
         date, change nothing: what was read before stays, and the log and `sealwire_tls_files_current` say so.",
        "[cluster.main.listeners.tls]",
    ),
    other(
        "cluster.*.listeners.[].tls.certificate",
        "path",
        Required,
        "PEM: the listener's certificate, and behind it those that vouch for it up to what clients know. It has to \
         name `advertised_host` among its subject alternative names, or clients would refuse it.",
        "\"tls/server.pem\"",
    ),
    other(
        "cluster.*.listeners.[].tls.key",
        "path",
        Required,
        "PEM: its private key, without a password, in a file that only the owner and its group can read.",
        "\"tls/server.key\"",
    ),
    tables(
        "cluster.*.listeners.[].tls.more_certificates",
        Absent("there is one"),
        "Further certificates, each for the names that it has: a client gets the one for the host that it names \
         (SNI). One that names none, or another, gets the first.",
        "[[cluster.main.listeners.tls.more_certificates]]",
    ),
    other(
        "cluster.*.listeners.[].tls.more_certificates.[].certificate",
        "path",
        Required,
        "As `certificate` above.",
        "\"tls/other.pem\"",
    ),
    other(
        "cluster.*.listeners.[].tls.more_certificates.[].key",
        "path",
        Required,
        "As `key` above.",
        "\"tls/other.key\"",
    ),
    other(
        "cluster.*.listeners.[].tls.client_ca",
        "path",
        Absent("clients are asked for no certificate"),
        "PEM: the authorities that vouch for clients. It belongs to `client_auth = \"mtls\"`.",
        "\"tls/clients-ca.pem\"",
    ),
    other(
        "cluster.*.listeners.[].tls.crl",
        "list of paths",
        Value("[]"),
        "PEM: revocation lists of those authorities. With any, each authority of a client's chain needs one, signed \
         with its key, and one that is past its next update lets nobody in: replace it in time. Lists under which all \
         clients of an authority in `client_ca` would be refused are refused.",
        "[\"tls/clients.crl\"]",
    ),
    other(
        "cluster.*.listeners.[].tls.principal",
        "`\"subject\"`, `\"san_uri\"` or `\"san_dns\"`",
        Value("\"subject\""),
        "What of its certificate names a client, with `client_auth = \"mtls\"`: the subject, as Kafka's brokers do \
         it; or the one URI, or the one DNS name, among its subject alternative names. A client whose certificate \
         has no such name is refused. The audit log names it.",
        "\"san_uri\"",
    ),
    other(
        "cluster.*.listeners.[].tls.principal_mapping_rules",
        "text",
        Value("\"DEFAULT\""),
        "How a subject becomes a name, in the grammar of Kafka's `ssl.principal.mapping.rules`: the first rule that \
         fits. `DEFAULT` is the whole subject.",
        "\"RULE:^CN=([^,]+),.*$/$1/L,DEFAULT\"",
    ),
    other(
        "cluster.*.listeners.[].tls.versions",
        "list of `\"1.2\"` and `\"1.3\"`",
        Value("[\"1.2\", \"1.3\"]"),
        "Versions of TLS that clients may use. There are no older ones.",
        "[\"1.3\"]",
    ),
    other(
        "cluster.*.listeners.[].tls.cipher_suites",
        "list of names",
        Value("[]"),
        "Cipher suites that clients may use, the preferred first, by the names that Kafka's `ssl.cipher.suites` has; \
         empty: all nine. Each has forward secrecy and authenticated encryption.",
        "[\"TLS_AES_256_GCM_SHA384\"]",
    ),
    time(
        "cluster.*.listeners.[].tls.handshake_timeout",
        [MILLISECOND, MINUTE],
        "\"10s\"",
        "A client that has not shaken hands by then is closed. It may send 64 KiB meanwhile.",
    ),
    flag(
        "cluster.*.listeners.[].tls.resumption",
        "false",
        "`true` lets clients resume sessions by tickets, of this listener and for the same name only, until its files \
         change, or for 12 h at most. It saves CPU with RSA certificates and next to nothing with others, and whoever \
         finds the key of the tickets in memory can read what TLS 1.2 sessions have sent that were given a ticket, or \
         were resumed by one (a ticket holds their secret): with `versions = [\"1.3\"]` there are none. Not together \
         with `client_ca`: a resumed session brings back a certificate that nobody looks at.",
        "true",
    ),
    table(
        "cluster.*.listeners.[].sasl",
        Absent("the proxy asks for no login"),
        "Logins that end at the proxy, with `client_auth = \"sasl\"`.",
        "[cluster.main.listeners.sasl]",
    ),
    other(
        "cluster.*.listeners.[].sasl.credentials",
        "path",
        Absent("nobody has a password"),
        "Who may log in with a password, needed unless `OAUTHBEARER` is the one mechanism: a file that `sealwire \
         users` keeps, mode 0600. It is looked at every 10 s; what it holds is \
         for the next login, and a file that cannot be used changes nothing, as the log says.",
        "\"users\"",
    ),
    other(
        "cluster.*.listeners.[].sasl.mechanisms",
        "list of names",
        Value("[\"SCRAM-SHA-512\", \"SCRAM-SHA-256\"]"),
        "How clients may log in: `SCRAM-SHA-512`, `SCRAM-SHA-256`, and over TLS `PLAIN`, against the same file; \
         over TLS `OAUTHBEARER` too, by tokens that `oauthbearer` describes.",
        "[\"SCRAM-SHA-512\", \"PLAIN\"]",
    ),
    Key {
        preset: Absent("as long as its connection"),
        ..time(
            "cluster.*.listeners.[].sasl.session_lifetime",
            [Duration::from_secs(2), DAY],
            "\"1h\"",
            "For how long a login is good. Clients log in again before that (KIP-368), over the connections that they \
             have; one that goes on without is disconnected. No two logins come within a second, and clients begin up \
             to a second before the end, so that less than 2 s would let nobody in again. A user who is removed has \
             that long at most. By `OAUTHBEARER` a login ends with its token, if that is sooner.",
        )
    },
    table(
        "cluster.*.listeners.[].sasl.oauthbearer",
        Absent("no token is taken"),
        "Which tokens (JWT) are taken, with `mechanisms = [\"OAUTHBEARER\"]`.",
        "[cluster.main.listeners.sasl.oauthbearer]",
    ),
    other(
        "cluster.*.listeners.[].sasl.oauthbearer.jwks_file",
        "path",
        Absent("`jwks_url`"),
        "Whose signatures tokens have to bear: a JSON Web Key Set (RFC 7517) as their issuer publishes it. RSA from \
         2048 bits on, P-256, P-384 and Ed25519; keys of other kinds are left out. It is looked at every 10 s; what it \
         holds is for the next login, and a file that cannot be used changes nothing, as the log says.",
        "\"jwks.json\"",
    ),
    other(
        "cluster.*.listeners.[].sasl.oauthbearer.jwks_url",
        "URL",
        Absent("`jwks_file`"),
        "The same set where its issuer publishes it, by HTTPS (\"jwks_uri\" in the issuer's \
         `.well-known/openid-configuration`). It is fetched at the start, every hour, and when a token names a key \
         that it does not have: once a minute for each such key, and not within 10 s of the last time. An issuer that \
         does not answer changes nothing: what was fetched last stays in force. While nothing was, and while a key is \
         looked for, logins end without an answer, upon which clients try again. Neither proxies nor redirects are \
         followed.",
        "\"https://login.example.com/keys\"",
    ),
    other(
        "cluster.*.listeners.[].sasl.oauthbearer.jwks_ca",
        "path or `\"system\"`",
        Value("\"system\""),
        "Who vouches for whoever is at `jwks_url`: a PEM file of certificates, read anew each time, or what this host \
         trusts.",
        "\"login-ca.pem\"",
    ),
    other(
        "cluster.*.listeners.[].sasl.oauthbearer.issuer",
        "text",
        Required,
        "Who has issued them: exactly what they have in `iss`.",
        "\"https://login.example.com\"",
    ),
    other(
        "cluster.*.listeners.[].sasl.oauthbearer.audience",
        "list of text",
        Required,
        "Whom they are for: one of these has to be in their `aud`.",
        "[\"kafka\"]",
    ),
    other(
        "cluster.*.listeners.[].sasl.oauthbearer.algorithms",
        "list of names",
        Value("[\"RS256\"]"),
        "What they may be signed by: `RS256`, `RS384`, `RS512`, `PS256`, `PS384`, `PS512`, `ES256`, `ES384`, `EdDSA`. \
         A key that names one is used with that only.",
        "[\"ES256\"]",
    ),
    other(
        "cluster.*.listeners.[].sasl.oauthbearer.principal_claim",
        "text",
        Value("\"sub\""),
        "The claim that has the client's name.",
        "\"client_id\"",
    ),
];
