//! Rules that use KEKs whose wrapping key is public, without saying that they may: anybody could make a record that
//! they open.

use super::Config;
use crate::ids::KmsId;
use crate::rules::RuleRef;

/// A KEK that a rule must not use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "cluster {cluster}: {rule}: the KEK {kek:?} of the KMS {kms} has a public wrapping key, so that anybody can make \
     records that open under it: name a KEK of a KMS whose keys are secret, or write forgeable_kek = true in the rule"
)]
pub struct ForgeableKek {
    /// Of the rule.
    pub cluster: String,
    /// Which rule.
    pub rule: RuleRef,
    /// The KEK, as the rule writes it.
    pub kek: String,
    /// The KMS's name in the configuration.
    pub kms: String,
}

impl Config {
    /// Every KEK that a rule uses without being allowed to, where `wraps_publicly` says of which KMSs the wrapping keys
    /// are public ([`crate::kms::Kms::wraps_publicly`]).
    pub fn forgeable_keks(&self, wraps_publicly: impl Fn(KmsId) -> bool) -> Vec<ForgeableKek> {
        let rules = self.seal_rules().filter(|rule| !rule.seal.forgeable_kek);
        let keks = rules.flat_map(|rule| rule.seal.keks().map(move |(kms, kek)| (rule, kms, kek)));
        keks.filter(|(_, kms, _)| wraps_publicly(*kms))
            .map(|(rule, kms, kek)| ForgeableKek {
                cluster: rule.cluster.name.clone(),
                rule: RuleRef::new(rule.index, rule.matcher),
                kek: kek.to_string(),
                kms: self.ids.kms.name(kms).to_owned(),
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::testing::configuration::{Cluster, Configuration};

    const RULES: &str = r#"
[[cluster.main.topics]]
match = "allowed-*"
kms = "shown"
kek = "any"
forgeable_kek = true

[[cluster.main.topics]]
match = "opened-*"
kms = "secret"
kek = "good"
open_keks = [{ kms = "shown", kek = "former-$$-${topic}" }]

[[cluster.main.topics]]
match = { regex = '(?<team>[a-z]+)-([0-9]+)' }
kms = "shown"
kek = "of-${team}-${2}"
"#;

    #[test]
    fn a_rule_that_may_not_use_a_public_wrapping_key_is_named_with_its_kek_and_kms() {
        let (key, at) = (Path::new("master.key"), Path::new("sealwire.toml"));
        let text = Configuration::default()
            .keystore("secret", Path::new("secret.json"), key)
            .keystore("shown", Path::new("shown.json"), key)
            .cluster(&Cluster::ruled(RULES))
            .text();
        let config = Config::from_toml_text(&text, at).expect("a configuration");
        assert_eq!(config.forgeable_keks(|_| false), []);
        let public = config
            .kms
            .iter()
            .find(|kms| kms.name == "shown")
            .map(|kms| kms.id);
        let said: Vec<_> = config
            .forgeable_keks(|kms| Some(kms) == public)
            .iter()
            .map(ForgeableKek::to_string)
            .collect();
        let all = |rule: &str, kek: &str| {
            format!(
                "cluster main: {rule}: the KEK \"{kek}\" of the KMS shown has a public wrapping key, so that anybody \
                 can make records that open under it: name a KEK of a KMS whose keys are secret, or write \
                 forgeable_kek = true in the rule"
            )
        };
        assert_eq!(
            said,
            [
                all("rule 2 (match \"opened-*\")", "former-$$-${topic}"),
                all(
                    "rule 3 (match { regex = \"(?<team>[a-z]+)-([0-9]+)\" })",
                    "of-${team}-${2}"
                ),
            ]
        );
    }
}
