//! `[[cluster.NAME.topics]]`.

use super::Preset::{Absent, Required, Value};
use super::{FRAME_BYTES_MAX, KIB, Key, flag, other, size, tables};

pub(super) const KEYS: &[Key] = &[
    tables(
        "cluster.*.topics",
        Required,
        "Rules, in order: the first whose `match` takes a topic's whole name decides, and a topic that no rule takes \
         is refused. Kafka's own topics are outside of the rules: they may be fetched and are never sealed.",
        "[[cluster.main.topics]]",
    ),
    other(
        "cluster.*.topics.[].match",
        "glob, `{ exact = … }` or `{ regex = … }`",
        Required,
        "Which topics. In a glob `*` stands for any characters and `?` for one. A rule that an earlier one leaves \
         nothing to match is refused.",
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
        "Records go through unsealed in both directions. Stands alone beside `match`; where \
         `upstream_login` has `kind = \"one\"`, `open_for` and `seal_for` say who reads and writes there.",
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
        "The KEK that new records are sealed under (only for sealing rules). `${topic}` is the topic's name, \
         `${cluster}` the cluster's, `${1}` and `${name}` are groups of the rule's `regex`, `$$` is a plain `$`. A \
         topic for which it is empty or too long is refused. A keystore's KEKs have names of ASCII, without spaces.",
        "\"payments\"",
    ),
    other(
        "cluster.*.topics.[].open_keks",
        "list of templates and of `{ kms = …, kek = … }`",
        Value("[]"),
        "Further KEKs that records may name; `kek` itself is always among them. A record that names any other is \
         refused before the KMS is asked.",
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
        "What new records are bound to: a record moved to a topic with another domain does not open. With several \
         clusters under one KEK write `${cluster}/${topic}`, so that none moves to another cluster either. The \
         cluster's name is then part of what was sealed: after renaming it, older records need `open_domains`.",
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
        "`sealed` encrypts record headers; `bound` leaves them readable at rest and authenticates them; `free` leaves \
         them readable and unauthenticated, for tools that add headers behind the proxy.",
        "\"sealed\"",
    ),
    other(
        "cluster.*.topics.[].open_headers",
        "`\"sealed\"`, `\"bound\"` or `\"free\"`",
        Absent("as strong as `headers`"),
        "How well headers of records that are read have to be protected at least: `free` is weaker than `bound`, \
         `bound` than `sealed`. A record with weaker ones is refused (`weak_headers`). After `headers` was made \
         stronger, the weaker mode of older records has to be written here as long as they are to be read; while it \
         stands, whoever writes to the log can add to and change the headers of those that are `free`.",
        "\"bound\"",
    ),
    other(
        "cluster.*.topics.[].key",
        "`\"clear\"` or `\"stable\"`",
        Value("\"clear\""),
        "How record keys are stored. `clear` leaves them as they are (and binds them). `stable` seals them under the \
         stable key that the `[keyring]` has for their domain, so that equal keys stay equal for partitioning and \
         compaction; which keys are equal, how often and how long they are stays visible. A domain that has no stable \
         key is refused. It cannot be changed while a topic that is compacted lives: see `docs/keys-of-records.md`.",
        "\"stable\"",
    ),
    flag(
        "cluster.*.topics.[].accept_clear_keys",
        "false",
        "Beside `key = \"stable\"`: readers get records whose keys are not sealed, too. Refused for topics that are \
         compacted.",
        "true",
    ),
    flag(
        "cluster.*.topics.[].accept_sealed_keys",
        "false",
        "Beside `key = \"clear\"`: readers get records whose keys are sealed, too. Refused for topics that are \
         compacted.",
        "true",
    ),
    other(
        "cluster.*.topics.[].accept",
        "list of forms",
        Value("[\"sealwire\"]"),
        "Which forms of stored records readers may get: `sealwire` (always among them), `tombstone` (a null value \
         without a seal; it comes without headers unless `plaintext` is accepted too), `plaintext`. Each further form \
         lets a broker that lies inject records of it: use them while migrating. `kroxylicious` is not available in \
         this version.",
        "[\"sealwire\", \"plaintext\", \"tombstone\"]",
    ),
    other(
        "cluster.*.topics.[].stored_codec",
        "`\"lz4\"` or `\"none\"`",
        Value("\"lz4\""),
        "How sealed batches are written. `lz4`: compact, as one LZ4 frame in which what the seals of a batch have in \
         common stands once; a record is then about 25 bytes longer than its client wrote it, not 100 to 130. Nothing \
         of the content is compressed. Batches of one record, and of records of more than 4 KiB, are written as with \
         `none`. Every version reads both.",
        "\"none\"",
    ),
    size(
        "cluster.*.topics.[].max_message_bytes",
        [KIB, FRAME_BYTES_MAX],
        "1048588",
        "What the topic allows for one batch (Kafka's `max.message.bytes`); at most `limits.request_bytes_max`. At the \
         bound: a larger sealed batch is refused with error 10, which Java clients answer by splitting it and \
         librdkafka by dropping it. Sealing makes batches larger: give topics that librdkafka writes 2 MiB, in Kafka \
         and here.",
    ),
    other(
        "cluster.*.topics.[].on_unreadable",
        "`\"refuse\"`, `\"skip\"` or `\"null\"`",
        Value("\"refuse\""),
        "What happens to a record that does not open. `refuse` stops the partition there with error 2; `skip` leaves \
         the record out; `null` delivers its key with a null value and no headers, and is allowed only where `accept` \
         has `tombstone`: nobody has verified that key. Either way it is counted and audited.",
        "\"refuse\"",
    ),
    flag(
        "cluster.*.topics.[].forgeable_kek",
        "false",
        "Allows KEKs whose wrapping key is public (RSA): anyone could then make records that open. No KMS of this \
         version has such keys.",
        "false",
    ),
    other(
        "cluster.*.topics.[].open_for",
        "list of principals",
        Absent("nobody, where clients have names; with `client_auth = \"network\"` everybody"),
        "Who gets records of these topics opened: `\"User:NAME\"`, in which `*` stands for any characters and `?` \
         for one byte, or `\"group:NAME\"`. Anybody else is refused (error 29), whatever the broker says. It \
         holds at listeners that give their clients names (`mtls`, `sasl`), where nobody reads without it; one with \
         `network` beside them serves everybody who reaches it.",
        "[\"User:reports\", \"group:payments\"]",
    ),
    other(
        "cluster.*.topics.[].raw_for",
        "list of principals",
        Absent("nobody"),
        "Who gets records of these topics as they are stored, and may store such as are sealed already: mirrors and \
         backups, which need not read. Written as `open_for` is, at listeners that give their clients names. Whoever \
         stands here reads and writes nothing else, whatever the other lists say.",
        "[\"User:mirror\"]",
    ),
    flag(
        "cluster.*.topics.[].raw_verify",
        "true",
        "Whether what `raw_for` stores has to open. Without it records are only looked at: whether they are sealed, in \
         a format that is known, under a KEK and for a domain that the rule has.",
        "false",
    ),
    other(
        "cluster.*.topics.[].seal_for",
        "list of principals",
        Absent("nobody, where clients have names; with `client_auth = \"network\"` everybody"),
        "Whose records to these topics are sealed and stored, in the same way; anybody else is refused (error 44).",
        "[\"group:payments\"]",
    ),
];
