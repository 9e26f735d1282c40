//! What `--version` says: the version, the commit that it was built from, and the features that it was built with.
//!
//! The commit is said by whoever builds (`make build` does), or by the archive of the sources that git makes. Nothing
//! looks for it by itself: then each commit would have everybody build the program anew.

use std::sync::LazyLock;

/// Every feature of the package, and whether this program has it.
pub(super) const FEATURES: [(&str, bool); 3] = [
    ("kms-aws", cfg!(feature = "kms-aws")),
    ("kms-vault", cfg!(feature = "kms-vault")),
    ("testing", cfg!(feature = "testing")),
];

/// The version, commit and features, on one line.
pub(super) fn text() -> &'static str {
    static TEXT: LazyLock<String> = LazyLock::new(|| {
        let features: Vec<&str> = FEATURES
            .iter()
            .filter(|(_, is_there)| *is_there)
            .map(|(name, _)| *name)
            .collect();
        let features = if features.is_empty() {
            "none".to_owned()
        } else {
            features.join(" ")
        };
        let commit = commit(option_env!("SEALWIRE_COMMIT"), include_str!("version/commit"));
        format!(
            "{} (commit {commit}, features: {features})",
            env!("CARGO_PKG_VERSION")
        )
    });
    &TEXT
}

/// `archived` is a file whose only line git replaces by the commit when it makes an archive.
fn commit<'a>(said: Option<&'a str>, archived: &'a str) -> &'a str {
    let archived = Some(archived.trim()).filter(|commit| !commit.starts_with('$'));
    said.map(str::trim)
        .filter(|commit| !commit.is_empty())
        .or(archived)
        .unwrap_or("unknown")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn who_builds_says_the_commit_or_else_the_archive_does() {
        assert_eq!(commit(Some("0123456789ab\n"), "$Format:%H$\n"), "0123456789ab");
        assert_eq!(commit(Some(""), "456\n"), "456");
        assert_eq!(commit(None, "456\n"), "456");
        assert_eq!(commit(None, "$Format:%H$\n"), "unknown");
    }

    #[test]
    fn all_features_of_the_package_are_known() {
        let manifest: toml::Table =
            toml::from_str(include_str!("../../Cargo.toml")).expect("the manifest is TOML");
        let features = manifest["features"].as_table().expect("a table of features");
        let written = features
            .keys()
            .map(String::as_str)
            .filter(|name| *name != "default");
        let written: BTreeSet<&str> = written.collect();
        let known: BTreeSet<&str> = FEATURES.iter().map(|(name, _)| *name).collect();
        assert_eq!(known, written);
    }
}
