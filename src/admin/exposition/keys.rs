//! Keys that executors hold, and the KMSs that they come from.

use std::fmt::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::families::{BYTES, Buckets, Families, Labels, SECONDS};
use super::{Exposition, text_of};
use crate::foreign::Foreign;
use crate::keys::ledger::{BreakerState, KmsStanding, SealingStanding};
use crate::keys::statistics::{CallKind, CallOutcome, KmsState, KmsStatistics};

impl Exposition {
    pub(super) fn keys(&self, families: &mut Families<'_>) -> Result<(), Error> {
        let (cache, gauges) = (self.sum.key_cache, self.sum.gauges);
        families.counter(
            "sealwire_key_lookups",
            "Look-ups in the executors' own keys, by outcome",
            None,
            [
                ("ready", cache.ready),
                ("waiting", cache.waiting),
                ("failed", cache.failed),
            ]
            .map(|(outcome, count)| (vec![("outcome", text_of(outcome))], count)),
        )?;
        families.gauge(
            "sealwire_keys_held",
            "Keys that executors hold, each executor's copy counted",
            None,
            [("sealing", gauges.sealing_keys), ("opening", gauges.opening_keys)]
                .map(|(purpose, count)| (vec![("purpose", text_of(purpose))], count)),
        )?;
        self.kms_calls(families)?;
        self.kms_states(families)
    }

    fn kms_calls(&self, families: &mut Families<'_>) -> Result<(), Error> {
        type Read = fn(&KmsStatistics) -> u64;
        let counters: [(&str, &str, Read); 9] = [
            ("sealwire_deks_made", "DEKs made for sealing", |kms| {
                kms.generated.get()
            }),
            ("sealwire_deks_unwrapped", "DEKs unwrapped for opening", |kms| {
                kms.unwrapped.get()
            }),
            (
                "sealwire_deks_rechecked",
                "KEK versions in use of which the KMS was asked whether they are still good",
                |kms| kms.rechecked.get(),
            ),
            (
                "sealwire_kek_version_polls",
                "Questions for the current version of a KEK",
                |kms| kms.version_polls.get(),
            ),
            (
                "sealwire_kek_revocations",
                "KEK versions whose keys were taken away from every executor",
                |kms| kms.revocations.get(),
            ),
            (
                "sealwire_kek_lapses",
                "KEK versions whose keys were taken away because the KMS has not confirmed them for outage_grace",
                |kms| kms.lapses.get(),
            ),
            (
                "sealwire_kms_wrong_deks",
                "DEKs that the KMS unwraps to others than those that it had made or unwrapped before",
                |kms| kms.wrong_deks.get(),
            ),
            (
                "sealwire_kms_calls_spared",
                "Questions that were refused at once, without a call, since the KMS was known to be away",
                |kms| kms.standing().spared,
            ),
            (
                "sealwire_service_key_hits",
                "Questions for an opened DEK that the key service remembered",
                |kms| kms.standing().opened_hits,
            ),
        ];
        for (name, help, read) in counters {
            let samples = self
                .collection
                .kms()
                .map(|(kms, counters)| (label(kms), read(counters)));
            families.counter(name, help, None, samples)?;
        }
        self.ended_calls(families)
    }

    fn ended_calls(&self, families: &mut Families<'_>) -> Result<(), Error> {
        let ended = self.collection.kms().flat_map(|(name, kms)| {
            CallKind::ALL.into_iter().flat_map(move |kind| {
                CallOutcome::ALL.map(|outcome| {
                    let mut labels = label(name);
                    labels.push(("call", text_of(kind.as_str())));
                    labels.push(("outcome", text_of(outcome.as_str())));
                    (labels, kms.calls(kind, outcome).get())
                })
            })
        });
        families.counter(
            "sealwire_kms_calls",
            "KMS calls that have ended, by what was asked and how it ended",
            None,
            ended,
        )?;
        let calls = self.collection.kms().flat_map(|(name, kms)| {
            CallKind::ALL.map(|kind| {
                let labels = vec![("kms", name.to_owned()), ("call", text_of(kind.as_str()))];
                (labels, Buckets::of_kms(kms.latency(kind)))
            })
        });
        families.histogram(
            "sealwire_kms_call",
            "How long KMS calls take, failed ones included",
            calls,
        )
    }

    fn kms_states(&self, families: &mut Families<'_>) -> Result<(), Error> {
        let now = Instant::now();
        let states = self
            .collection
            .kms()
            .map(|(name, kms)| (label(name), kms.state(now)));
        families.gauge(
            "sealwire_kms_available",
            "Whether the KMS answered when it was last asked; 1 before it was ever asked",
            None,
            states.clone().map(|(labels, state)| {
                let silent = matches!(state, KmsState::Silent(_));
                (labels, u64::from(!silent))
            }),
        )?;
        families.gauge(
            "sealwire_kms_stale",
            "Whether the KMS's keystore file cannot be used as it is now, and what was read before stays in force",
            None,
            self.collection
                .kms()
                .map(|(name, kms)| (label(name), u64::from(kms.is_stale()))),
        )?;
        self.kms_standings(families)?;
        families.gauge(
            "sealwire_kms_outage",
            "For how long the KMS has not answered; 0 while it does, and before it was ever asked",
            SECONDS,
            states.map(|(labels, state)| {
                let silent = match state {
                    KmsState::Silent(silent) => silent,
                    KmsState::Unasked | KmsState::Answering => Duration::ZERO,
                };
                (labels, silent.as_secs_f64())
            }),
        )
    }

    /// As of the key service's last tick.
    fn kms_standings(&self, families: &mut Families<'_>) -> Result<(), Error> {
        let standings: Vec<(&str, Arc<KmsStanding>)> = self
            .collection
            .kms()
            .map(|(name, kms)| (name, kms.standing()))
            .collect();
        type Read = fn(&KmsStanding) -> u64;
        let gauges: [(&str, &str, Read); 5] = [
            (
                "sealwire_kms_breaker",
                "Whether the KMS is called: 0 it is, 1 one call finds out whether it is back, 2 it is not for a moment",
                |standing| match standing.breaker {
                    BreakerState::Closed => 0,
                    BreakerState::Probing => 1,
                    BreakerState::Open => 2,
                },
            ),
            (
                "sealwire_kms_calls_in_flight",
                "Calls of the KMS under way",
                |standing| size(standing.running),
            ),
            (
                "sealwire_kms_calls_waiting",
                "Calls of the KMS that wait until they may begin",
                |standing| size(standing.waiting),
            ),
            (
                "sealwire_kms_calls_max",
                "Calls of the KMS that may be under way",
                |standing| size(standing.calls_max),
            ),
            (
                "sealwire_service_keys",
                "Opened DEKs that the key service remembers",
                |standing| size(standing.opened),
            ),
        ];
        for (name, help, read) in gauges {
            let samples = standings
                .iter()
                .map(|(kms, standing)| (label(kms), read(standing)));
            families.gauge(name, help, None, samples)?;
        }
        sealing_keys(&standings, families)
    }
}

/// Those that seal, by their KEKs.
fn sealing_keys(standings: &[(&str, Arc<KmsStanding>)], families: &mut Families<'_>) -> Result<(), Error> {
    let sealing = standings.iter().flat_map(|(kms, standing)| {
        standing.sealing.iter().map(|dek| {
            let mut labels = label(kms);
            labels.push(("kek", Foreign::new(&*dek.kek).to_string()));
            (labels, dek)
        })
    });
    type Read = fn(&SealingStanding) -> Duration;
    let times: [(_, _, Read); 2] = [
        (
            "sealwire_sealing_key_age",
            "Since the DEK that seals under the KEK was made",
            |dek| dek.age,
        ),
        (
            "sealwire_sealing_key_left",
            "Until the next DEK is made for the age of this one, if it is used; a limit may be reached before",
            |dek| dek.left,
        ),
    ];
    for (name, help, read) in times {
        let samples = sealing.clone();
        let samples = samples.map(|(labels, dek)| (labels, read(dek).as_secs_f64()));
        families.gauge(name, help, SECONDS, samples)?;
    }
    families.gauge(
        "sealwire_sealing_key_batches",
        "Batches that the DEK that seals under the KEK has sealed, as executors have reported",
        None,
        sealing.clone().map(|(labels, dek)| (labels, dek.batches)),
    )?;
    families.gauge(
        "sealwire_sealing_key",
        "Bytes of plaintext that the DEK that seals under the KEK has sealed, as executors have reported",
        BYTES,
        sealing.map(|(labels, dek)| (labels, dek.bytes)),
    )
}

fn size(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

fn label(kms: &str) -> Labels {
    vec![("kms", kms.to_owned())]
}
