//! `[cluster.NAME]`, but for its lists.

use super::Preset::{Absent, Required, Value};
use super::{Key, flag, other, table};

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
         there and is no such file is left alone: a warning at the start, and nothing is kept.",
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
];
