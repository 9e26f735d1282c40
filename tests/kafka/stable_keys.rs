//! Programs that live on the keys of records, with all their topics sealed, those of their own among them: Kafka
//! Streams, Kafka Connect, and a map in a compacted topic as registries of schemas keep theirs.

use std::path::PathBuf;
use std::sync::LazyLock;

use crate::support::broker_properties::Login;
use crate::support::rig::Rig;
use crate::support::shared;

mod compaction;
mod connect;
mod partitioners;
mod registry;
mod streams;

static RIG: LazyLock<Rig> =
    LazyLock::new(|| Rig::assemble_with(shared::one_broker(), Login::Plaintext, &["orders"], RULES));

/// Files of the broker in which one of these texts can be read.
fn readable(texts: &[&str]) -> Vec<PathBuf> {
    let found = texts
        .iter()
        .flat_map(|text| RIG.cluster.canary_in_data_dir(text.as_bytes()));
    found.collect()
}

const RULES: &str = r#"
[[cluster.main.topics]]
match = "stable-*"
kms = "local"
kek = "orders"
key = "stable"
"#;
