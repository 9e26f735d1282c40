//! Every key that a configuration may have: one table, from which defaults, unknown-key messages, ranges and the reference in
//! `docs/configuration.md` come.
//!
//! - SCHEMA-1: a key that is not in the table is refused, and a key that is in the table is in the reference.

use std::time::Duration;

use Preset::{Absent, Required, Value};

/// One key.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// Names from the root, joined by `.`; `*` stands for a name that the operator chooses, `[]` for each element of a list.
    pub path: &'static str,
    /// What may stand there.
    pub kind: Kind,
    /// What holds where it does not stand there.
    pub preset: Preset,
    /// What it means, and what happens at the bound where it is one.
    #[cfg_attr(
        not(feature = "testing"),
        expect(dead_code, reason = "the reference is written by a test")
    )]
    pub meaning: &'static str,
    /// A value as an operator would write it, for messages.
    pub example: &'static str,
}

/// What may stand at a key. Ranges include both ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A table whose keys the schema has.
    Table,
    /// A list of tables.
    Tables,
    /// `true` or `false`.
    Flag,
    /// A whole number.
    Count {
        /// The least.
        min: u64,
        /// The most.
        max: u64,
    },
    /// Bytes: a whole number, or text with `KiB`, `MiB`, `GiB`.
    Size {
        /// The least, in bytes.
        min: u64,
        /// The most, in bytes.
        max: u64,
    },
    /// Text with `ms`, `s`, `m`, `h`.
    Time {
        /// The least.
        min: Duration,
        /// The most.
        max: Duration,
    },
    /// Anything else; the text says what.
    Other(&'static str),
}

/// What holds where a key does not stand in the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preset {
    /// This TOML value.
    Value(&'static str),
    /// Nothing does; the text says what that means.
    Absent(&'static str),
    /// It has to be there.
    Required,
}

/// The key at `path`, in the table's spelling.
pub fn key(path: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.path == path)
}

/// The names that may stand directly under `path` (empty for the root), except `*` and `[]`.
pub fn names_under(path: &str) -> impl Iterator<Item = &'static str> + '_ {
    KEYS.iter().filter_map(move |key| {
        let (parent, name) = key.path.rsplit_once('.').unwrap_or(("", key.path));
        (parent == path && name != "*" && name != "[]").then_some(name)
    })
}

/// Whether operators choose the names under `path`.
pub fn names_are_free(path: &str) -> bool {
    KEYS.iter()
        .any(|key| key.path.strip_prefix(path).is_some_and(|rest| rest == ".*"))
}

/// A schema path as the reference prints it: `kms.NAME.path`, `cluster.NAME.topics[].match`.
pub(super) fn spelled(path: &str) -> String {
    let path = path.replace("node_addresses.*", "node_addresses.ID");
    path.replace(".[]", "[]").replace('*', "NAME")
}

const fn table(path: &'static str, preset: Preset, meaning: &'static str, example: &'static str) -> Key {
    Key {
        path,
        kind: Kind::Table,
        preset,
        meaning,
        example,
    }
}

const fn tables(path: &'static str, preset: Preset, meaning: &'static str, example: &'static str) -> Key {
    Key {
        path,
        kind: Kind::Tables,
        preset,
        meaning,
        example,
    }
}

const fn other(
    path: &'static str,
    kind: &'static str,
    preset: Preset,
    meaning: &'static str,
    example: &'static str,
) -> Key {
    Key {
        path,
        kind: Kind::Other(kind),
        preset,
        meaning,
        example,
    }
}

const fn count(path: &'static str, [min, max]: [u64; 2], preset: &'static str, meaning: &'static str) -> Key {
    Key {
        path,
        kind: Kind::Count { min, max },
        preset: Preset::Value(preset),
        meaning,
        example: preset,
    }
}

const fn size(path: &'static str, [min, max]: [u64; 2], preset: &'static str, meaning: &'static str) -> Key {
    Key {
        path,
        kind: Kind::Size { min, max },
        preset: Preset::Value(preset),
        meaning,
        example: preset,
    }
}

const fn time(
    path: &'static str,
    [min, max]: [Duration; 2],
    preset: &'static str,
    meaning: &'static str,
) -> Key {
    Key {
        path,
        kind: Kind::Time { min, max },
        preset: Preset::Value(preset),
        meaning,
        example: preset,
    }
}

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
/// The length of a Kafka frame is a signed 32-bit number.
const FRAME_BYTES_MAX: u64 = i32::MAX as u64;
const MILLISECOND: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// The table, in the order of the reference.
pub const KEYS: &[Key] = &[
    table(
        "runtime",
        Absent("all defaults"),
        "How the program runs.",
        "[runtime]",
    ),
    other(
        "runtime.executors",
        "`\"auto\"` or 1 to 1024",
        Value("\"auto\""),
        "How many executors run, each a pinned thread with its own io_uring. `auto` is one for each core of the process' affinity mask.",
        "\"auto\"",
    ),
    Key {
        path: "runtime.self_check",
        kind: Kind::Flag,
        preset: Value("true"),
        meaning: "Whether the program compares the configuration with what is there, once after it has started, and writes what it finds to the log: KMSs, KEKs, brokers and their ids and addresses, limits of topics and of the process. Serving does not wait for it. `sealwire check-config --probe` does the same.",
        example: "false",
    },
    table(
        "log",
        Absent("all defaults"),
        "Log lines, written to standard error.",
        "[log]",
    ),
    other(
        "log.format",
        "`\"text\"` or `\"json\"`",
        Value("\"text\""),
        "`text` is for people, `json` is one object a line.",
        "\"json\"",
    ),
    other(
        "log.filter",
        "filter text",
        Value("\"info\""),
        "Which lines are written: a level (`error`, `warn`, `info`, `debug`, `trace`), and after commas levels of parts of the program. What is neither is refused. The audit log is written whatever the filter says. No level writes record contents or key material.",
        "\"info,sealwire::keys=debug\"",
    ),
    table(
        "admin",
        Absent("no admin port"),
        "Admin HTTP: `/metrics`, `/livez`, `/readyz`.",
        "[admin]",
    ),
    other(
        "admin.listen",
        "`\"IP:PORT\"`",
        Required,
        "Where admin HTTP is served. It has no authentication: keep it on loopback or on a network of your own.",
        "\"127.0.0.1:9190\"",
    ),
    table(
        "limits",
        Absent("all defaults"),
        "Every bound of the running program.",
        "[limits]",
    ),
    count(
        "limits.connections_max",
        [1, 1_000_000],
        "10000",
        "Client connections of the whole process. At the bound: a further connection is closed as soon as it is accepted, and counted; the log says it once a minute. Each takes two file descriptors: where the limit of the process has too few, fewer connections are served, and the log says so at the start.",
    ),
    count(
        "limits.in_flight_requests_max",
        [1, 100_000],
        "1000",
        "Requests of one connection that are not answered yet. At the bound: nothing more is read from that connection until an answer has gone out.",
    ),
    size(
        "limits.in_flight_bytes_max",
        [64 * KIB, 16 * GIB],
        "\"128MiB\"",
        "Bytes of one connection's requests that are not answered yet; at least `request_bytes_max`. At the bound: nothing more is read from that connection until an answer has gone out.",
    ),
    size(
        "limits.request_bytes_max",
        [64 * KIB, FRAME_BYTES_MAX],
        "\"100MiB\"",
        "One request frame. At the bound: a longer one closes the connection, and is counted. Kafka's own setting is `socket.request.max.bytes`.",
    ),
    size(
        "limits.unauthenticated_request_bytes_max",
        [KIB, FRAME_BYTES_MAX],
        "\"512KiB\"",
        "One request frame of a connection on which the broker has not shown yet, by its answers, that the client is logged in or need not be; at most `request_bytes_max`. At the bound: one of the SASL exchange closes the connection, and is counted; any other is not read on until the broker has answered.",
    ),
    size(
        "limits.fetch_response_bytes_max",
        [64 * KIB, FRAME_BYTES_MAX],
        "\"256MiB\"",
        "One Fetch response of a broker. At the bound: a longer one closes the connection, and is counted; lower `fetch.max.bytes` of the consumer then.",
    ),
    size(
        "limits.decompressed_batch_bytes_max",
        [64 * KIB, FRAME_BYTES_MAX],
        "\"64MiB\"",
        "One batch after decompression; at least every rule's `max_message_bytes`. At the bound: the partition is refused, on produce as too large, on fetch as corrupt.",
    ),
    size(
        "limits.executor_bytes_max",
        [MIB, 1024 * GIB],
        "\"1GiB\"",
        "Bytes that one executor holds for all its connections together; at least `request_bytes_max` and `fetch_response_bytes_max`. A quarter of it is for frames up to 64 KiB alone, a sixteenth for connections that are not logged in. At the bound: longer frames take turns, and a connection that stands still is closed when others need the room.",
    ),
    count(
        "limits.topics_max",
        [1, 10_000_000],
        "10000",
        "Topics whose rule an executor remembers and that have counters of their own. At the bound: remembered rules are forgotten and looked up anew, further topics are counted together.",
    ),
    count(
        "limits.opened_keys_max",
        [16, 10_000_000],
        "4096",
        "Opened keys that one executor remembers. At the bound: the one that was not used for longest is wiped, once it was not needed for 30 s; those that are needed are kept up to 16384, or to this number where it is larger. What was wiped is asked for again when a record needs it: of the key service, which keeps as many, and only then of the KMS.",
    ),
    count(
        "limits.sealing_keys_max",
        [1, 1_000_000],
        "4096",
        "KEKs that the process holds a sealing key for. At the bound: the one that was not used for longest is wiped; the KMS makes a new one when it is needed again.",
    ),
    time(
        "limits.idle_timeout",
        [SECOND, DAY],
        "\"10m\"",
        "A connection without a frame for this long is closed. Kafka's own setting is `connections.max.idle.ms`.",
    ),
    time(
        "limits.idle_timeout_unauthenticated",
        [SECOND, DAY],
        "\"10s\"",
        "The same for a connection that has not got through its first exchange or its SASL authentication, in all; what the broker takes to answer is not the client's and does not count, until the connection is six times as old. A client that has ended its side is waited for so long too, from the last byte on, whatever the broker owes it. At most `idle_timeout`.",
    ),
    time(
        "limits.connect_timeout",
        [MILLISECOND, MINUTE],
        "\"5s\"",
        "How long connecting to a broker may take, the look-up of its name included. At the bound: the client's connection is closed, and it tries again.",
    ),
    time(
        "limits.seal_wait",
        [MILLISECOND, MINUTE],
        "\"2s\"",
        "How long a produce request waits for a sealing key, through an outage of the KMS as well; what is behind it on its connection waits too. At the bound: the partitions without a key are refused as retriable (error 19), nothing of them is stored, and later requests do not wait for that key again until it has come, nor for ten seconds for other keys of that KMS.",
    ),
    time(
        "limits.fetch_hold",
        [MILLISECOND, Duration::from_secs(10)],
        "\"200ms\"",
        "How long a fetch response is held back that has nothing to deliver because keys are not there yet or records are refused; the next in a row twice as long, up to 5 s, where much is sent in vain. At the bound: it goes out as \"no data yet\", and the client asks again.",
    ),
    time(
        "limits.drain_timeout",
        [MILLISECOND, DAY],
        "\"30s\"",
        "How long what is in flight may take to finish after SIGTERM. At the bound: connections are closed and the program exits.",
    ),
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
        "`\"file\"`",
        Required,
        "What kind of KMS it is. This version has `file`, the embedded keystore (`sealwire keystore create`).",
        "\"file\"",
    ),
    other(
        "kms.*.path",
        "path",
        Required,
        "The keystore file.",
        "\"keystore.json\"",
    ),
    table(
        "kms.*.master_key",
        Required,
        "What unwraps the keystore: exactly one of the following four.",
        "{ file = \"master.key\" }",
    ),
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
    Key {
        path: "cluster.*.topic_ids",
        kind: Kind::Flag,
        preset: Value("false"),
        meaning: "Whether topics may be named by id. `true` is not available in this version: topics are known by the names that clients send.",
        example: "false",
    },
    other(
        "cluster.*.shares_records_with",
        "list of cluster names",
        Value("[]"),
        "Other clusters whose records may open in this one, and this one's in them. Without it two clusters of which a rule each has a KEK and a domain in common are a mistake: whoever may write to one could copy its records into the other. It is enough that one of the two says it.",
        "[\"west\"]",
    ),
    other(
        "cluster.*.state_file",
        "path",
        Absent("nothing is kept"),
        "Keeps the last known addresses of brokers, so that node ports work at once after a restart. Written when they change, at most once a second, and at the end. Its folder must exist and be writable: `.lock` and `.new` are made beside it, and a link at its path is replaced, not followed. It wins over `node_addresses`. What is there and is no such file is left alone: a warning at the start, and nothing is kept.",
        "\"addresses.json\"",
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
        "`\"network\"`",
        Required,
        "Who vouches for clients. There is no default, because whoever gets through reads plaintext. `network` says that only trusted clients can reach this address; this version has no other.",
        "\"network\"",
    ),
    other(
        "cluster.*.listeners.[].advertised_host",
        "host",
        Required,
        "The host that clients are told for every broker: a name or an address that reaches this listener.",
        "\"proxy.example.com\"",
    ),
    other(
        "cluster.*.listeners.[].nodes",
        "ids and ranges",
        Required,
        "Broker ids that are served, as text (`\"0-5,9\"`) or as a list of numbers. A broker that is not among them is hidden from clients of this listener.",
        "\"0-5\"",
    ),
    other(
        "cluster.*.listeners.[].node_ports",
        "ports and ranges",
        Required,
        "One port for each of `nodes`, in the same order.",
        "\"9193-9198\"",
    ),
    tables(
        "cluster.*.topics",
        Required,
        "Rules, in order: the first whose `match` takes a topic's whole name decides, and a topic that no rule takes is refused. Kafka's own topics are outside of the rules: they may be fetched and are never sealed.",
        "[[cluster.main.topics]]",
    ),
    other(
        "cluster.*.topics.[].match",
        "glob, `{ exact = … }` or `{ regex = … }`",
        Required,
        "Which topics. In a glob `*` stands for any characters and `?` for one. A rule that an earlier one leaves nothing to match is refused.",
        "\"payments-*\"",
    ),
    other(
        "cluster.*.topics.[].match.exact",
        "topic name",
        Absent("another form of `match`"),
        "One topic.",
        "\"payments\"",
    ),
    other(
        "cluster.*.topics.[].match.regex",
        "regular expression",
        Absent("another form of `match`"),
        "A regular expression over the whole name; its groups may be used as `${1}` or `${name}`.",
        "'team-(?<team>[a-z]+)-.*'",
    ),
    other(
        "cluster.*.topics.[].pass",
        "`true`",
        Absent("not passed"),
        "Records go through unsealed in both directions. Stands alone beside `match`.",
        "true",
    ),
    other(
        "cluster.*.topics.[].reject",
        "`true`",
        Absent("not rejected"),
        "The topic is refused in both directions. Stands alone beside `match` and `reason`.",
        "true",
    ),
    other(
        "cluster.*.topics.[].reason",
        "text",
        Absent("a general message"),
        "What producers are told when `reject = true` refuses them.",
        "\"moved to orders-v2\"",
    ),
    other(
        "cluster.*.topics.[].kms",
        "KMS name",
        Required,
        "The KMS that new records are sealed with (only for sealing rules).",
        "\"local\"",
    ),
    other(
        "cluster.*.topics.[].kek",
        "template, at most 255 bytes",
        Required,
        "The KEK that new records are sealed under (only for sealing rules). `${topic}` is the topic's name, `${cluster}` the cluster's, `${1}` and `${name}` are groups of the rule's `regex`, `$$` is a plain `$`. A topic for which it is empty or too long is refused.",
        "\"payments\"",
    ),
    other(
        "cluster.*.topics.[].open_keks",
        "list of templates and of `{ kms = …, kek = … }`",
        Value("[]"),
        "Further KEKs that records may name; `kek` itself is always among them. A record that names any other is refused before the KMS is asked.",
        "[\"payments-2019\", { kms = \"old\", kek = \"payments\" }]",
    ),
    other(
        "cluster.*.topics.[].open_keks.[].kms",
        "KMS name",
        Required,
        "The KMS of a further KEK.",
        "\"old\"",
    ),
    other(
        "cluster.*.topics.[].open_keks.[].kek",
        "template",
        Required,
        "The further KEK.",
        "\"payments\"",
    ),
    other(
        "cluster.*.topics.[].domain",
        "template, at most 65535 bytes",
        Value("\"${topic}\""),
        "What new records are bound to: a record moved to a topic with another domain does not open. With several clusters under one KEK write `${cluster}/${topic}`, so that none moves to another cluster either. The cluster's name is then part of what was sealed: after renaming it, older records need `open_domains`.",
        "\"${topic}\"",
    ),
    other(
        "cluster.*.topics.[].open_domains",
        "list of templates",
        Value("[]"),
        "Further domains that records may be bound to, for mirrors under another name.",
        "[\"eu.${topic}\"]",
    ),
    other(
        "cluster.*.topics.[].headers",
        "`\"sealed\"`, `\"bound\"` or `\"free\"`",
        Value("\"sealed\""),
        "`sealed` encrypts record headers; `bound` leaves them readable at rest and authenticates them; `free` leaves them readable and unauthenticated, for tools that add headers behind the proxy.",
        "\"sealed\"",
    ),
    other(
        "cluster.*.topics.[].open_headers",
        "`\"sealed\"`, `\"bound\"` or `\"free\"`",
        Absent("as strong as `headers`"),
        "How well headers of records that are read have to be protected at least: `free` is weaker than `bound`, `bound` than `sealed`. A record with weaker ones is refused (`weak_headers`). After `headers` was made stronger, the weaker mode of older records has to be written here as long as they are to be read; while it stands, whoever writes to the log can add to and change the headers of those that are `free`.",
        "\"bound\"",
    ),
    other(
        "cluster.*.topics.[].key",
        "`\"clear\"`",
        Value("\"clear\""),
        "How record keys are stored. `clear` leaves them as they are (and binds them). `stable` is not available in this version.",
        "\"clear\"",
    ),
    other(
        "cluster.*.topics.[].accept",
        "list of forms",
        Value("[\"sealwire\"]"),
        "Which forms of stored records readers may get: `sealwire` (always among them), `tombstone` (a null value without a seal; it comes without headers unless `plaintext` is accepted too), `plaintext`. Each further form lets a broker that lies inject records of it: use them while migrating. `kroxylicious` is not available in this version.",
        "[\"sealwire\", \"plaintext\", \"tombstone\"]",
    ),
    size(
        "cluster.*.topics.[].max_message_bytes",
        [KIB, FRAME_BYTES_MAX],
        "1048588",
        "What the topic allows for one batch (Kafka's `max.message.bytes`); at most `limits.request_bytes_max`. At the bound: a larger sealed batch is refused with error 10, which Java clients answer by splitting it and librdkafka by dropping it. Sealing makes batches larger: give topics that librdkafka writes 2 MiB, in Kafka and here.",
    ),
    other(
        "cluster.*.topics.[].on_unreadable",
        "`\"refuse\"`, `\"skip\"` or `\"null\"`",
        Value("\"refuse\""),
        "What happens to a record that does not open. `refuse` stops the partition there with error 2; `skip` leaves the record out; `null` delivers its key with a null value and no headers, and is allowed only where `accept` has `tombstone`: nobody has verified that key. Either way it is counted and audited.",
        "\"refuse\"",
    ),
    Key {
        path: "cluster.*.topics.[].forgeable_kek",
        kind: Kind::Flag,
        preset: Value("false"),
        meaning: "Allows KEKs whose wrapping key is public (RSA): anyone could then make records that open. No KMS of this version has such keys.",
        example: "false",
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_unique_and_have_parents() {
        for (index, entry) in KEYS.iter().enumerate() {
            assert!(
                KEYS.iter().skip(index + 1).all(|other| other.path != entry.path),
                "{} twice",
                entry.path
            );
            if let Some((parent, name)) = entry.path.rsplit_once('.') {
                let parent = if name == "*" || parent.ends_with(".[]") {
                    parent.trim_end_matches(".[]")
                } else {
                    parent
                };
                assert!(key(parent).is_some(), "{} has no parent", entry.path);
            }
        }
    }

    #[test]
    fn names_are_found_by_level() {
        assert_eq!(
            names_under("").collect::<Vec<_>>(),
            ["runtime", "log", "admin", "limits", "kms", "cluster"]
        );
        assert!(names_under("cluster.*.topics.[]").any(|name| name == "match"));
        assert!(names_are_free("kms") && names_are_free("cluster.*.node_addresses"));
        assert!(!names_are_free("limits"));
    }
}
