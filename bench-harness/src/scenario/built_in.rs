//! The scenarios that are part of the program.

/// Name and text of each, in the order of `list`.
pub(crate) const BUILT_IN: &[(&str, &str)] = &[
    ("pass", include_str!("../../scenarios/pass.toml")),
    ("seal", include_str!("../../scenarios/seal.toml")),
    ("open", include_str!("../../scenarios/open.toml")),
    ("both", include_str!("../../scenarios/both.toml")),
];
