//! Whether each KMS answers, and has each KEK that a rule names without naming a topic for it. Before the program runs,
//! each KEK is tried as well: of one that seals a data key is made, unwrapped, and compared; of one that only opens a
//! data key that nobody has made is shown, which is refused as such by a KMS that lets the proxy use the KEK.
//!
//! A KEK whose name is made of a topic's is found by the first client of that topic: which topics there will be nobody
//! knows.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::timeout;

use super::{Row, Verdict, left, some_of};
use crate::config::{Config, KmsConfig, KmsKind};
use crate::ids::KmsId;
use crate::kms::{Kms, KmsError};

/// A KEK, and where it is named.
#[derive(Default)]
struct Named {
    /// Rules that seal under it.
    seals: Vec<String>,
    /// Rules that only open what was sealed under it.
    opens: Vec<String>,
}

/// How much is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Depth {
    /// Whether each KEK is there.
    Presence,
    /// Whether each does what it is for, too.
    Use,
}

pub(super) async fn look(
    config: &Config,
    kms: &[Result<Arc<dyn Kms>, String>],
    depth: Depth,
    deadline: Instant,
) -> Vec<Row> {
    let mut rows = Vec::new();
    let named = named(config);
    for (settings, opened) in config.kms.iter().zip(kms) {
        let subject = format!("kms {}", settings.name);
        rows.push(match opened {
            Ok(kms) if depth == Depth::Use && !named.keys().any(|(id, _)| *id == settings.id) => {
                let asked = kms.current_version(kek_of_nobody(&settings.kind));
                let asked = timeout(left(deadline, ANSWER_MAX), asked).await;
                nameless_row(subject, asked.ok())
            }
            // Whether it answers is said of each KEK.
            Ok(_) => Row::new(subject, Verdict::Good, "its settings can be used"),
            Err(reason) => Row::new(subject, Verdict::Failed, reason.as_str()),
        });
    }
    // `kms` is in the order of the configuration.
    let opened = |id: KmsId| {
        let mut known = config.kms.iter().zip(kms);
        let (settings, opened) = known.find(|(settings, _)| settings.id == id)?;
        Some((settings, opened.as_ref().ok()?))
    };
    let wraps_publicly = |id: KmsId| opened(id).is_some_and(|(_, kms)| kms.wraps_publicly());
    for forgeable in config.forgeable_keks(wraps_publicly) {
        let subject = format!("kek {}/{}", forgeable.kms, forgeable.kek);
        rows.push(Row::new(subject, Verdict::Failed, forgeable.to_string()));
    }
    for ((id, kek), named) in named {
        let Some((settings, kms)) = opened(id) else {
            continue;
        };
        let asked = ask(&**kms, &kek, depth, !named.seals.is_empty());
        let asked = timeout(left(deadline, ANSWER_MAX), asked).await;
        rows.push(row(settings, &kek, &named, asked.ok(), depth));
    }
    rows
}

/// One KEK of each KMS that has one which seals and can be named without a topic: by its version it is seen at the
/// start whether the KMS is there, before anybody needs it.
pub(crate) fn one_of_each_kms(config: &Config) -> Vec<(KmsId, Arc<str>)> {
    let mut first: BTreeMap<KmsId, Arc<str>> = BTreeMap::new();
    for ((kms, kek), named) in named(config) {
        if !named.seals.is_empty() {
            first.entry(kms).or_insert(kek);
        }
    }
    first.into_iter().collect()
}

/// The name of a KEK that nobody has made: what a KMS says of it shows that it is there and takes the proxy's login.
fn kek_of_nobody(kind: &KmsKind) -> &'static str {
    match kind {
        #[cfg(feature = "kms-aws")]
        KmsKind::Aws(_) => "alias/sealwire-probe",
        _ => "sealwire-probe",
    }
}

fn nameless_row(subject: String, answer: Option<Result<Option<Vec<u8>>, KmsError>>) -> Row {
    match answer {
        None => Row::new(subject, Verdict::Failed, "it did not answer in time"),
        Some(Err(error)) if !error.is_verdict() => Row::new(subject, Verdict::Failed, error.to_string()),
        Some(_) => Row::new(
            subject,
            Verdict::Good,
            "it answers; topics name its key-encryption keys, which are found when clients come",
        ),
    }
}

/// Every KEK that can be named without a topic.
fn named(config: &Config) -> BTreeMap<(KmsId, Arc<str>), Named> {
    let mut named: BTreeMap<(KmsId, Arc<str>), Named> = BTreeMap::new();
    for rule in config.seal_rules() {
        for (position, (kms, template)) in rule.seal.keks().enumerate() {
            let Some(kek) = template.for_every_topic(rule.matcher) else {
                continue;
            };
            let entry = named.entry((kms, kek.into())).or_default();
            let list = if position == 0 {
                &mut entry.seals
            } else {
                &mut entry.opens
            };
            list.push(format!("{}/{}", rule.cluster.name, rule.matcher));
        }
    }
    named
}

/// What was found of a KEK.
enum Found {
    /// It is there.
    There,
    /// What it has wrapped may be unwrapped.
    Opens,
    /// A data key was made and unwrapped, in these times.
    Seals { made: Duration, unwrapped: Duration },
}

async fn ask(kms: &dyn Kms, kek: &str, depth: Depth, seals: bool) -> Result<Found, KmsError> {
    let version = kms.current_version(kek).await?;
    if depth == Depth::Presence {
        return Ok(Found::There);
    }
    if !seals {
        let version = version.unwrap_or_default();
        let made_up = kms.kek_names().wrapped(kek, &version, &[0; MADE_UP_BYTES]);
        let made_up = made_up.ok_or(KmsError::KekNotFound)?;
        // Or nobody would be asked (KMS-4).
        kms.check_wrapped(&made_up)?;
        return match kms.unwrap_dek(&made_up).await {
            Ok(_) | Err(KmsError::Malformed) => Ok(Found::Opens),
            Err(error) => Err(error),
        };
    }
    let started = Instant::now();
    let made = kms.generate_dek(kek).await?;
    let made_after = started.elapsed();
    let unwrapped = kms.unwrap_dek(&made.wrapped).await?;
    if !unwrapped.is_same(&made.dek) {
        let lie = "it unwraps another data key than it has made: what is sealed under it would never open";
        return Err(KmsError::KekUnsuitable(lie.to_owned()));
    }
    Ok(Found::Seals {
        made: made_after,
        unwrapped: started.elapsed().saturating_sub(made_after),
    })
}

fn row(
    settings: &KmsConfig,
    kek: &str,
    named: &Named,
    answer: Option<Result<Found, KmsError>>,
    depth: Depth,
) -> Row {
    let kms = settings.name.as_str();
    let subject = format!("kek {kms}/{kek}");
    let rules = some_of(if named.seals.is_empty() {
        &named.opens
    } else {
        &named.seals
    });
    // Who has a KMS tried wants to know whether it works; a start goes on without it.
    let without_answer = match depth {
        Depth::Use => Verdict::Failed,
        Depth::Presence => Verdict::Unknown,
    };
    let error = match answer {
        Some(Ok(found)) => {
            let how = match found {
                Found::There => String::new(),
                Found::Opens => ": what it has wrapped may be unwrapped".to_owned(),
                Found::Seals { made, unwrapped } => format!(
                    ": a data key was made in {} ms and unwrapped in {} ms",
                    made.as_millis(),
                    unwrapped.as_millis()
                ),
            };
            return Row::new(subject, Verdict::Good, format!("it is there, for {rules}{how}"));
        }
        None => {
            let finding = format!("KMS {kms} did not answer in time");
            return Row::new(subject, without_answer, finding);
        }
        Some(Err(error)) if !error.refuses_kek() => {
            return Row::new(subject, without_answer, error.to_string());
        }
        Some(Err(error)) => error,
    };
    let instead = settings.kind.advice(&error, kek);
    if named.seals.is_empty() {
        let finding = format!("{error}: what was sealed under it does not open, in {rules}: {instead}");
        return Row::new(subject, Verdict::Warning, finding);
    }
    let finding = format!("{error}: producers are refused (error 44), in {rules}: {instead}");
    Row::new(subject, Verdict::Failed, finding)
}

/// As many as transit wraps a DEK into: nonce, key and tag.
const MADE_UP_BYTES: usize = 12 + 32 + 16;
/// As long as the key service waits for one call.
pub(super) const ANSWER_MAX: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::crypto::SecretKey;
    use crate::kms::{GeneratedDek, KekNames};
    use crate::testing::configuration::{Cluster, Configuration};

    const RULES: &str = r#"
[[cluster.main.topics]]
match = { exact = "payments" }
kms = "local"
kek = "of-${topic}"
open_keks = ["former", "missing-too"]

[[cluster.main.topics]]
match = "orders-*"
kms = "local"
kek = "orders"

[[cluster.main.topics]]
match = { regex = '([a-z]+)-.*' }
kms = "local"
kek = "team-${1}"
open_keks = ["orders"]

[[cluster.main.topics]]
match = "*"
kms = "local"
kek = "missing"
"#;

    /// Has some KEKs, with public wrapping keys or without.
    struct Keks(&'static [&'static str], bool);

    #[async_trait::async_trait]
    impl Kms for Keks {
        fn kek_names(&self) -> KekNames {
            KekNames::as_written(0, [0; 4])
        }

        async fn generate_dek(&self, _: &str) -> Result<GeneratedDek, KmsError> {
            panic!("no key is made for a check")
        }

        async fn wrap(&self, _: &str, _: &SecretKey) -> Result<Box<[u8]>, KmsError> {
            panic!("no key is wrapped for a check")
        }

        async fn unwrap_dek(&self, _: &[u8]) -> Result<SecretKey, KmsError> {
            Err(KmsError::Malformed)
        }

        async fn recheck(&self, _: &[u8]) -> Result<SecretKey, KmsError> {
            Err(KmsError::Malformed)
        }

        fn wraps_publicly(&self) -> bool {
            self.1
        }

        async fn current_version(&self, kek: &str) -> Result<Option<Vec<u8>>, KmsError> {
            match kek {
                "former" => Err(KmsError::KekDisabled),
                kek if self.0.contains(&kek) => Ok(None),
                _ => Err(KmsError::KekNotFound),
            }
        }
    }

    #[tokio::test]
    async fn every_kek_that_needs_no_topic_is_asked_for_and_only_those() {
        let text = Configuration::default()
            .keystore("local", Path::new("keystore.json"), Path::new("master.key"))
            .cluster(&Cluster::ruled(RULES))
            .text();
        let config = Config::from_toml_text(&text, Path::new("sealwire.toml")).expect("a configuration");
        let kms: Arc<dyn Kms> = Arc::new(Keks(&["orders", "of-payments"], false));
        let deadline = Instant::now() + Duration::from_secs(10);
        let rows = look(&config, &[Ok(kms)], Depth::Presence, deadline).await;
        let found: Vec<_> = rows
            .iter()
            .map(|row| (row.subject.as_str(), row.verdict))
            .collect();
        assert_eq!(
            found,
            [
                ("kms local", Verdict::Good),
                ("kek local/former", Verdict::Warning),
                ("kek local/missing", Verdict::Failed),
                ("kek local/missing-too", Verdict::Warning),
                ("kek local/of-payments", Verdict::Good),
                ("kek local/orders", Verdict::Good),
            ]
        );
        let missing = &rows[2].finding;
        assert!(
            missing
                .contains("add it: sealwire keystore add keystore.json missing --master-key-file master.key")
                && missing.contains("main/\"*\""),
            "{missing}"
        );
        let public: Arc<dyn Kms> = Arc::new(Keks(&["orders", "of-payments", "missing", "missing-too"], true));
        let rows = look(&config, &[Ok(public)], Depth::Presence, deadline).await;
        let forgeable = rows.iter().filter(|row| {
            row.verdict == Verdict::Failed && row.finding.contains("write forgeable_kek = true in the rule")
        });
        assert_eq!(forgeable.count(), 7, "{rows:?}");
        let rows = look(&config, &[Err("wrong key".to_owned())], Depth::Use, deadline).await;
        assert_eq!(rows, [Row::new("kms local", Verdict::Failed, "wrong key")]);
    }
}
