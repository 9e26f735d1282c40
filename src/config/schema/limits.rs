//! `[limits]`.

use std::time::Duration;

use super::Preset::Absent;
use super::{
    DAY, FRAME_BYTES_MAX, GIB, KIB, Key, MIB, MILLISECOND, MINUTE, SECOND, count, size, table, time,
};

pub(super) const KEYS: &[Key] = &[
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
        "Client connections of the whole process. At the bound: a further connection is closed as soon as it is \
         accepted, and counted; the log says it once a minute. Each takes two file descriptors: where the limit of the \
         process has too few, fewer connections are served, and the log says so at the start.",
    ),
    count(
        "limits.connections_per_address_max",
        [1, 1_000_000],
        "10000",
        "Connections from one address, as a load balancer says it where `proxy_protocol` is set; each executor has its \
         share of them, and what is over. At the bound: a further one is closed, and counted (`address_limit`); the \
         log says it once a minute.",
    ),
    count(
        "limits.connections_per_principal_max",
        [1, 1_000_000],
        "10000",
        "The same of one principal of a cluster, where certificates or logins name clients (`principal_limit`).",
    ),
    count(
        "limits.failed_logins_per_address_max",
        [1, 1_000_000],
        "600",
        "Logins from one address that fail in a minute, where logins end at the proxy; each executor has its share. At \
         the bound: until the minute is over, whoever connects from there is closed before a login, and counted \
         (`login_limit`). Clients behind one address share it.",
    ),
    count(
        "limits.handshakes_max",
        [1, 1_000_000],
        "5000",
        "TLS handshakes with clients that the whole process has under way, of which each executor has its share; half \
         of `connections_max` at most, so that they leave place for others. At the bound: for a further one the one is \
         closed that has waited longest for its client to begin, or else has not gone on for a second since it was \
         answered; where there is none, the further one is. Either is counted, and the log says it once a minute and \
         address.",
    ),
    count(
        "limits.handshakes_per_second_max",
        [1, 1_000_000],
        "500",
        "TLS handshakes with clients that one executor answers in a second, and so a bound on the time that they take \
         from connections that there are: with RSA of 2048 bits two fifths of a core, with ECDSA a tenth. At the \
         bound: they wait in the order in which they came, and the time of each (`handshake_timeout`) runs on; whoever \
         would wait for more than half of it is closed at once, and counted like those beyond `handshakes_max`.",
    ),
    count(
        "limits.in_flight_requests_max",
        [1, 100_000],
        "1000",
        "Requests of one connection that are not answered yet. At the bound: nothing more is read from that connection \
         until an answer has gone out.",
    ),
    size(
        "limits.in_flight_bytes_max",
        [64 * KIB, 16 * GIB],
        "\"128MiB\"",
        "Bytes of one connection's requests that are not answered yet; at least `request_bytes_max`. At the bound: \
         nothing more is read from that connection until an answer has gone out.",
    ),
    size(
        "limits.request_bytes_max",
        [64 * KIB, FRAME_BYTES_MAX],
        "\"100MiB\"",
        "One request frame. At the bound: a longer one closes the connection, and is counted. Kafka's own setting is \
         `socket.request.max.bytes`.",
    ),
    size(
        "limits.unauthenticated_request_bytes_max",
        [KIB, FRAME_BYTES_MAX],
        "\"512KiB\"",
        "One request frame of a connection on which the broker has not shown yet, by its answers, that the client is \
         logged in or need not be; at most `request_bytes_max`. At the bound: one of the SASL exchange closes the \
         connection, and is counted; any other is not read on until the broker has answered.",
    ),
    size(
        "limits.fetch_response_bytes_max",
        [64 * KIB, FRAME_BYTES_MAX],
        "\"256MiB\"",
        "One Fetch response of a broker. At the bound: a longer one closes the connection, and is counted; lower \
         `fetch.max.bytes` of the consumer then.",
    ),
    size(
        "limits.decompressed_batch_bytes_max",
        [64 * KIB, FRAME_BYTES_MAX],
        "\"64MiB\"",
        "One batch after decompression, be it read or a compact one that is to be written; at least every rule's \
         `max_message_bytes`. At the bound: the partition is refused, on produce as too large, on fetch as corrupt. \
         Do not lower it below what is stored.",
    ),
    size(
        "limits.executor_bytes_max",
        [MIB, 1024 * GIB],
        "\"1GiB\"",
        "Bytes that one executor holds for all its connections together; at least `request_bytes_max` and \
         `fetch_response_bytes_max`. A quarter of it is for frames up to 64 KiB alone, a sixteenth for connections \
         that are not logged in. At the bound: longer frames take turns, and a connection that stands still is closed \
         when others need the room.",
    ),
    count(
        "limits.topics_max",
        [1, 100_000],
        "10000",
        "Topics whose rule an executor remembers and that have counters of their own. At the bound: remembered rules \
         are forgotten and looked up anew, further topics are counted together.",
    ),
    count(
        "limits.opened_keys_max",
        [16, 10_000_000],
        "4096",
        "Opened keys that one executor remembers. At the bound: the one that was not used for longest is wiped, once \
         it was not needed for 30 s; those that are needed are kept up to 16384, or to this number where it is larger. \
         What was wiped is asked for again when a record needs it: of the key service, which keeps as many, and only \
         then of the KMS.",
    ),
    count(
        "limits.sealing_keys_max",
        [1, 1_000_000],
        "4096",
        "KEKs that the process holds a sealing key for. At the bound: the one that was not used for longest is wiped, \
         once it was not needed for 30 s; those that are needed are kept up to 8192, or to this number where it is \
         larger. The KMS makes a new one when it is needed again.",
    ),
    count(
        "limits.data_key_batches_max",
        [1024, 1 << 28],
        "268435456",
        "Batches that one data key seals. At half of them the next one is fetched; each executor has an equal part, \
         and at its bound waits for the next one (`seal_wait`). More than the default would let two batches draw the \
         same salt too easily.",
    ),
    size(
        "limits.data_key_bytes_max",
        [MIB, 16 * 1024 * GIB],
        "\"16384GiB\"",
        "Bytes of plaintext that one data key seals; the last batch of each executor may end past it. At half of them \
         the next one is fetched; each executor has an equal part, and at its bound waits for the next one \
         (`seal_wait`).",
    ),
    time(
        "limits.data_key_age_max",
        [Duration::from_secs(10), DAY],
        "\"24h\"",
        "At this age a data key that is in use is replaced, and one that is not is wiped; where the KMS makes none, \
         the old one seals on until it is twice as old. Each key in use costs its KMS one call in this time.",
    ),
    time(
        "limits.outage_grace",
        [Duration::from_secs(5), DAY],
        "\"1h\"",
        "How long keys are used on while their KMS is away, throttles, or refuses the proxy's credentials, counted \
         from when it last made, unwrapped or rechecked a key under the same version of the KEK. At the bound: those \
         keys are wiped, and what needs them is refused as retriable until the KMS answers. Nothing has to be \
         restarted then, and connections stay open.",
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
        "The same for a connection that has not got through its first exchange or its SASL authentication, in all; \
         what the broker takes to answer is not the client's and does not count, until the connection is six times as \
         old. A client that has ended its side is waited for so long too, from the last byte on, whatever the broker \
         owes it. At most `idle_timeout`.",
    ),
    time(
        "limits.connect_timeout",
        [MILLISECOND, MINUTE],
        "\"5s\"",
        "How long connecting to a broker may take, the look-up of its name included. At the bound: the client's \
         connection is closed, and it tries again.",
    ),
    time(
        "limits.seal_wait",
        [MILLISECOND, MINUTE],
        "\"2s\"",
        "How long a produce request waits for a sealing key, through an outage of the KMS as well; what is behind it \
         on its connection waits too. At the bound: the partitions without a key are refused as retriable (error 19), \
         nothing of them is stored, and later requests do not wait for that key again until it has come, nor for ten \
         seconds for other keys of that KMS.",
    ),
    time(
        "limits.fetch_hold",
        [MILLISECOND, Duration::from_secs(10)],
        "\"200ms\"",
        "How long a fetch response is held back that has nothing to deliver because keys are not there yet or records \
         are refused; the next in a row twice as long, up to 5 s, where much is sent in vain. At the bound: it goes \
         out as \"no data yet\", and the client asks again.",
    ),
    time(
        "limits.drain_timeout",
        [MILLISECOND, DAY],
        "\"30s\"",
        "How long what is in flight may take to finish after SIGTERM. At the bound: connections are closed and the \
         program exits.",
    ),
];
