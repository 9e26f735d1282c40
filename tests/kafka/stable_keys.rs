//! Programs that live on the keys of records, with all their topics sealed, those of their own among them: Kafka
//! Streams, Kafka Connect, and a map in a compacted topic as registries of schemas keep theirs.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::LazyLock;

use crate::support::broker_properties::Login;
use crate::support::operations::From;
use crate::support::rig::Rig;
use crate::support::shared;

mod compaction;
mod connect;
mod partitioners;
mod registry;
mod streams;
mod switching;

static RIG: LazyLock<Rig> =
    LazyLock::new(|| Rig::assemble_with(shared::one_broker(), Login::Plaintext, &["orders"], RULES));

/// Files of the broker in which one of these texts can be read.
fn readable(texts: &[&str]) -> Vec<PathBuf> {
    let found = texts
        .iter()
        .flat_map(|text| RIG.cluster.canary_in_data_dir(text.as_bytes()));
    found.collect()
}

/// What the broker has of these partitions has keys, and each of them is sealed under the one stable key.
fn assert_keys_are_sealed(topic: &str, partitions: i32) {
    let stored = RIG
        .java
        .read_to_end(&RIG.direct(), &From::partitions(topic, partitions));
    assert!(!stored.is_empty(), "{topic} has no records");
    let ids = stored.iter().map(|record| {
        let key = record.key.as_ref().expect("a key");
        assert!(
            key.0.len() >= 1 + ID_BYTES + TAG_BYTES && key.0[0] == SEALED,
            "{record:?}"
        );
        &key.0[1..][..ID_BYTES]
    });
    let ids: BTreeSet<&[u8]> = ids.collect();
    assert_eq!(ids.len(), 1, "stable keys of {topic}");
}

/// With which the key of a record begins that is sealed; the id of the stable key stands behind it.
const SEALED: u8 = 1;
const ID_BYTES: usize = 4;
/// At its end.
const TAG_BYTES: usize = 16;
const RULES: &str = r#"
[[cluster.main.topics]]
match = "stable-dead-*"
kms = "local"
kek = "orders"
key = "stable"
accept = ["sealwire", "tombstone"]

[[cluster.main.topics]]
match = "stable-*"
kms = "local"
kek = "orders"
key = "stable"
"#;
