//! The scenarios that are part of the program.

/// Name and text of each, in the order of `list`.
pub(crate) const BUILT_IN: &[(&str, &str)] = &[
    ("pass", include_str!("../../scenarios/pass.toml")),
    ("seal", include_str!("../../scenarios/seal.toml")),
    ("open", include_str!("../../scenarios/open.toml")),
    ("both", include_str!("../../scenarios/both.toml")),
    ("tls-pass", include_str!("../../scenarios/tls-pass.toml")),
    ("tls-seal", include_str!("../../scenarios/tls-seal.toml")),
    ("tls-open", include_str!("../../scenarios/tls-open.toml")),
    ("handshakes", include_str!("../../scenarios/handshakes.toml")),
    ("latency", include_str!("../../scenarios/latency.toml")),
    ("connections", include_str!("../../scenarios/connections.toml")),
    ("idle", include_str!("../../scenarios/idle.toml")),
    ("topics", include_str!("../../scenarios/topics.toml")),
    ("rules", include_str!("../../scenarios/rules.toml")),
    ("keks", include_str!("../../scenarios/keks.toml")),
    ("history", include_str!("../../scenarios/history.toml")),
    ("records", include_str!("../../scenarios/records.toml")),
    ("codecs", include_str!("../../scenarios/codecs.toml")),
    ("executors", include_str!("../../scenarios/executors.toml")),
    ("cold", include_str!("../../scenarios/cold.toml")),
    ("real", include_str!("../../scenarios/real.toml")),
    ("real-latency", include_str!("../../scenarios/real-latency.toml")),
    (
        "real-latency-open",
        include_str!("../../scenarios/real-latency-open.toml"),
    ),
    (
        "stored-codecs",
        include_str!("../../scenarios/stored-codecs.toml"),
    ),
];
