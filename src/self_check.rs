//! The self-check: is what the configuration says there? KMSs and KEKs, the keyring, key sets, brokers and their ids,
//! names, limits of topics and of the process. Printed by `check-config --probe`, and written to the log once after the
//! start.
//!
//! It changes nothing, logs in by the proxy's own account alone, and nobody waits for it: the start neither fails nor
//! takes longer because of it.
//!
//! - SELF-CHECK-1: every wait has a deadline, and all of them together [`WHOLE_MAX`]; what was not found out by then is
//!   said so. An answer has one for all of it, and brokers to ask first share what there is.
//! - SELF-CHECK-2: what a broker says is foreign: bounded, and hosts and topics are shown whose names can be such.
//!
//! KMSs are asked by the control thread; everything that blocks has a thread of its own.
#![expect(clippy::disallowed_methods, reason = "no executor uses it")]

mod brokers;
pub(crate) mod descriptors;
mod host;
mod issuers;
mod keks;
mod keyring;
mod listeners;
mod own_account;
mod patience;
mod stored_keys;
mod topics;

use std::fmt;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use tokio::task::spawn_blocking;
use tokio::time::timeout_at;

use self::descriptors::Descriptors;
pub(crate) use self::keks::one_of_each_kms;
pub(crate) use self::keyring::warnings;
pub(crate) use self::stored_keys::{ExpectedKeys, KeyWatcher, KeysFit};
use crate::config::Config;
use crate::kms::Kms;
use crate::messages::CameBack;

/// What became of one question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// As it should be.
    Good,
    /// It cannot be asked, by whom we are or for how long we wait.
    Unknown,
    /// It works, and somebody will run into it.
    Warning,
    /// Something that is configured does not work.
    Failed,
}

impl Verdict {
    /// One word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Unknown => "unknown",
            Self::Warning => "warning",
            Self::Failed => "failed",
        }
    }
}

/// One line of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// What was looked at.
    pub subject: String,
    /// What became of it.
    pub verdict: Verdict,
    /// What was found, and what to do.
    pub finding: String,
}

impl Row {
    fn new(subject: impl Into<String>, verdict: Verdict, finding: impl Into<String>) -> Self {
        Self {
            subject: subject.into(),
            verdict,
            finding: finding.into(),
        }
    }
}

/// Everything that was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table {
    /// In the order in which things depend on each other.
    pub rows: Vec<Row>,
}

impl Table {
    /// Whether nothing that is configured was found not to work.
    pub fn is_good(&self) -> bool {
        self.count(Verdict::Failed) == 0
    }

    fn count(&self, verdict: Verdict) -> usize {
        self.rows.iter().filter(|row| row.verdict == verdict).count()
    }

    fn sum(&self) -> String {
        format!(
            "{} good, {} unknown, {} warnings, {} failed",
            self.count(Verdict::Good),
            self.count(Verdict::Unknown),
            self.count(Verdict::Warning),
            self.count(Verdict::Failed)
        )
    }
}

impl fmt::Display for Table {
    /// One line for each row, in columns, and the sum.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.rows.iter().map(|row| row.subject.chars().count()).max();
        let width = width.unwrap_or(0).min(SUBJECT_WIDTH_MAX);
        for row in &self.rows {
            let Row {
                subject,
                verdict,
                finding,
            } = row;
            writeln!(formatter, "{:<8} {subject:<width$}  {finding}", verdict.as_str())?;
        }
        writeln!(formatter, "{}", self.sum())
    }
}

/// Asks everything, on behalf of a program that does not run yet. `kms` has one entry for each KMS of the
/// configuration; `None` where it did not open, with the reason.
pub async fn look(config: &Config, kms: &[Result<Arc<dyn Kms>, String>]) -> Table {
    look_at(config, kms, None).await
}

/// What only a program that serves clients knows.
#[derive(Clone)]
pub(crate) struct RunningFacts {
    pub(crate) descriptors: Descriptors,
    /// So that it can be known what leads back to it.
    pub(crate) came_back: Arc<CameBack>,
}

async fn look_at(
    config: &Config,
    kms: &[Result<Arc<dyn Kms>, String>],
    running: Option<RunningFacts>,
) -> Table {
    let deadline = Instant::now() + WHOLE_MAX;
    let descriptors = running.as_ref().map(|running| running.descriptors);
    let depth = match running {
        Some(_) => keks::Depth::Presence,
        None => keks::Depth::Use,
    };
    let came_back = running.map(|running| running.came_back);
    // Side by side: one that hangs takes no time from the others.
    let mut looking = Vec::new();
    for (place, cluster) in config.clusters.iter().enumerate() {
        let (config, came_back) = (config.clone(), came_back.clone());
        let (sender, found) = mpsc::channel();
        let task = spawn_blocking(move || {
            if let Some(cluster) = config.clusters.get(place) {
                let deadlines = deadline - LAST_WORDS;
                for row in listeners::look(cluster) {
                    let _ = sender.send(row);
                }
                brokers::look(&config, cluster, deadlines, came_back.as_deref(), &mut |row| {
                    // Whoever waits for it may have given up.
                    let _ = sender.send(row);
                });
            }
        });
        looking.push((cluster, task, found));
    }
    let (mut rows, keyring, issuers) = tokio::join!(
        keks::look(config, kms, depth, deadline),
        keyring::look(config, kms, depth, deadline),
        issuers::look(config, deadline)
    );
    rows.extend(keyring);
    rows.extend(issuers);
    for (cluster, task, found) in looking {
        let ended = timeout_at(deadline.into(), task).await;
        rows.extend(found.try_iter());
        if !matches!(ended, Ok(Ok(()))) {
            rows.push(Row::new(
                format!("{} brokers", cluster.name),
                Verdict::Failed,
                "not everything was found out in time: the resolution of a name, or a broker, hangs",
            ));
        }
    }
    rows.extend(host::look(config, descriptors));
    Table { rows }
}

/// The self-check of a running program: to the log, one line for each row. What is good is of level INFO, what is not
/// WARN.
pub(crate) async fn log(config: Config, kms: Arc<[Arc<dyn Kms>]>, running: RunningFacts) {
    let kms: Vec<_> = kms.iter().map(|kms| Ok(Arc::clone(kms))).collect();
    let table = look_at(&config, &kms, Some(running)).await;
    for Row {
        subject,
        verdict,
        finding,
    } in &table.rows
    {
        match verdict {
            Verdict::Good => tracing::info!(subject, verdict = verdict.as_str(), "self-check: {finding}"),
            _ => tracing::warn!(subject, verdict = verdict.as_str(), "self-check: {finding}"),
        }
    }
    tracing::info!("self-check: {}", table.sum());
}

/// What is left until `deadline`, and no more than `most`.
fn left(deadline: Instant, most: Duration) -> Duration {
    deadline.saturating_duration_since(Instant::now()).min(most)
}

/// The first few of `items`, and how many there are besides.
fn some_of(items: &[String]) -> String {
    let mut text = items.get(..SHOWN_MAX).unwrap_or(items).join(", ");
    if let Some(more) = items.len().checked_sub(SHOWN_MAX).filter(|more| *more > 0) {
        text.push_str(&format!(" and {more} more"));
    }
    text
}

/// Longer than a person likes to wait, and a start is not kept by it.
const WHOLE_MAX: Duration = Duration::from_secs(30);
/// What was found is told within it.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// Of each kind, in one line.
const SHOWN_MAX: usize = 10;
const SUBJECT_WIDTH_MAX: usize = 48;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_columns_and_a_sum() {
        let table = Table {
            rows: vec![
                Row::new("kek local/a", Verdict::Good, "it seals"),
                Row::new("kek local/longer", Verdict::Failed, "it is not in this KMS"),
            ],
        };
        assert_eq!(
            table.to_string(),
            "good     kek local/a       it seals\n\
             failed   kek local/longer  it is not in this KMS\n\
             1 good, 0 unknown, 0 warnings, 1 failed\n"
        );
        assert!(!table.is_good() && Table::default().is_good());
    }

    #[test]
    fn only_some_of_many_are_shown() {
        let items: Vec<String> = (0..12).map(|item| item.to_string()).collect();
        assert_eq!(some_of(&items[..2]), "0, 1");
        assert_eq!(some_of(&items), "0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 2 more");
    }
}
