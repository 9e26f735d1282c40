//! Keys that executors hold, and the KMSs that they come from.

use std::fmt::Error;
use std::time::{Duration, Instant};

use super::families::{Buckets, Families, Labels, SECONDS};
use super::{Exposition, text_of};
use crate::keys::statistics::{CallKind, KmsState, KmsStatistics};

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
        let counters: [(&str, &str, Read); 8] = [
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
                "sealwire_kms_verdicts",
                "KMS calls that ended in a verdict: disabled, destroyed, not found, malformed",
                |kms| kms.verdicts.get(),
            ),
        ];
        for (name, help, read) in counters {
            let samples = self
                .collection
                .kms()
                .map(|(kms, counters)| (label(kms), read(counters)));
            families.counter(name, help, None, samples)?;
        }
        families.counter(
            "sealwire_kms_outages",
            "KMS calls that were not answered, or whose answer was no verdict, time-outs included",
            None,
            self.collection
                .kms()
                .map(|(name, kms)| (label(name), kms.outages.get())),
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
        families.gauge(
            "sealwire_kms_breaker",
            "Whether the KMS is called: 0 it is, 1 one call finds out whether it is back, 2 it is not for a moment",
            None,
            self.collection.kms().map(|(name, kms)| (label(name), kms.breaker())),
        )?;
        families.gauge(
            "sealwire_kms_calls_in_flight",
            "Calls of the KMS under way",
            None,
            self.collection
                .kms()
                .map(|(name, kms)| (label(name), kms.calls())),
        )?;
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
}

fn label(kms: &str) -> Labels {
    vec![("kms", kms.to_owned())]
}
