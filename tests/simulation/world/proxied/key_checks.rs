//! What a KMS has to say to what is done under its keys.
//!
//! - CHECKS-5: nothing is sealed or delivered under a KEK that was refused [`REVOKED_AFTER`] ago by a KMS that answers,
//!   or as long as its rechecks wait for the KMS's budget. Calls that hang are over after their time-out.
//! - CHECKS-14: nor under one that its KMS has last confirmed longer ago than the grace for outages, time that the
//!   machine slept included, or has not confirmed to this process.

use std::collections::BTreeMap;
use std::time::Duration;

use super::World;
use super::checks::{ON_ITS_WAY_MAX, wrapped_deks};
use crate::world::clients::consumer::Delivered;
use crate::world::clients::value::is_passed;
use crate::world::kms::{CALM_LATENCY_MAX, Made};

#[derive(Default)]
pub(super) struct KeyChecks {
    /// By KMS: since when it answers without trouble, and until when.
    calm: BTreeMap<usize, Vec<(Duration, Option<Duration>)>>,
    /// By KMS: until when calls may hang; [`Duration::MAX`] where it is not known yet.
    hangs_until: BTreeMap<usize, Duration>,
    /// When the machine slept, and for how long.
    sleeps: Vec<(Duration, Duration)>,
    /// When the program was cut off.
    crashes: Vec<Duration>,
}

impl KeyChecks {
    /// `hangs`: calls that begin from now on may do so, for `call_timeout`.
    pub(super) fn kms_changes(
        &mut self,
        kms: usize,
        (is_calm, hangs): (bool, bool),
        now: Duration,
        call_timeout: Duration,
    ) {
        let hangs_until = self.hangs_until.entry(kms).or_default();
        if hangs {
            *hangs_until = Duration::MAX;
        } else {
            *hangs_until = (*hangs_until).min(now + call_timeout);
        }
        let calm_from = now.max(*hangs_until);
        let calm = self
            .calm
            .entry(kms)
            .or_insert_with(|| vec![(Duration::ZERO, None)]);
        match (is_calm, calm.last_mut()) {
            (false, Some((_, until @ None))) => *until = Some(now),
            (true, Some((_, Some(_)))) => calm.push((calm_from, None)),
            _ => {}
        }
    }

    /// The machine sleeps at `now` for so long, which the world's time does not show.
    pub(super) fn sleeps(&mut self, now: Duration, by: Duration) {
        self.sleeps.push((now, by));
    }

    /// Whatever was confirmed before was not confirmed to the process that begins.
    pub(super) fn crashes(&mut self, now: Duration) {
        self.crashes.push(now);
    }

    /// How long the machine slept between two times.
    fn slept(&self, from: Duration, until: Duration) -> Duration {
        let sleeps = self.sleeps.iter().filter(|(at, _)| (from..until).contains(at));
        sleeps.map(|(_, by)| *by).sum()
    }
}

impl World {
    /// CHECKS-5, CHECKS-14
    pub(super) fn check_delivered(&self, delivered: &Delivered) {
        let (topic, partition) = &delivered.place;
        // Elsewhere the grace is longer than the world.
        let is_checked = self.keys.is_scarce || self.kms.iter().any(|kms| kms.refuses_any());
        if is_passed(topic) || !is_checked {
            return;
        }
        let log = self.brokers.log(topic, *partition);
        let at = log.partition_point(|stored| stored.end() <= delivered.offset);
        for wrapped in log.get(at).map(wrapped_deks).unwrap_or_default() {
            self.check_leave(&wrapped, self.program.now, "delivered");
        }
    }

    /// At `now` something happened under a DEK that has to have the leave of its KMS.
    pub(super) fn check_leave(&self, wrapped: &[u8], now: Duration, what: &str) {
        let (kms, made) = self.made(wrapped);
        self.check_refusals(kms, &made, now, what);
        self.check_confirmed(kms, &made, now, what);
    }

    fn check_refusals(&self, kms: usize, made: &Made, now: Duration, what: &str) {
        let always = [(Duration::ZERO, None)];
        let calm = self.checks.keys.calm.get(&kms);
        let calm = calm.map_or(&always[..], Vec::as_slice);
        let is_within =
            |from: Duration, until: Option<Duration>| from <= now && until.is_none_or(|until| now <= until);
        for refusal in self.kms[kms].refusals() {
            if (refusal.kek.as_str(), refusal.version) != (made.kek.as_str(), made.version) {
                continue;
            }
            let from = self.since_beginning(refusal.from);
            let until = refusal.until.map(|until| self.since_beginning(until));
            for (calm_from, calm_until) in calm {
                if is_within(from, until) && is_within(*calm_from, *calm_until) {
                    let known_from = from.max(*calm_from);
                    let known_for = (now - known_from).saturating_sub(self.checks.stalled(known_from, now));
                    let most = REVOKED_AFTER + self.checked_within(kms, &made.kek);
                    assert!(
                        known_for <= most,
                        "{what} {known_for:?} after the KEK was refused"
                    );
                }
            }
        }
    }

    /// How long a recheck may wait for its turn at a KMS that answers: behind one of each version and a poll, each of
    /// which may let a DEK be made first.
    fn checked_within(&self, kms: usize, kek: &str) -> Duration {
        let budget = self.program.budget(kms);
        let calls = 2 * (self.kms[kms].current(kek) + 1);
        let slots = u32::try_from(budget.calls_max * 7 / 8).unwrap_or(u32::MAX);
        let turn = CALM_LATENCY_MAX / slots.max(1);
        let rate = budget
            .per_second_max
            .map_or(Duration::ZERO, |rate| Duration::from_secs(1) / rate.get());
        turn.max(rate) * calls
    }

    fn check_confirmed(&self, kms: usize, made: &Made, now: Duration, what: &str) {
        let confirmed = self.kms[kms].confirmed(&made.kek, made.version);
        let at = confirmed.partition_point(|at| self.since_beginning(*at) <= now);
        let last = at
            .checked_sub(1)
            .map(|last| self.since_beginning(confirmed[last]));
        let last = last.unwrap_or_else(|| panic!("{what} under a KEK that was never confirmed"));
        // What was done before is on its way for so long.
        let done = now.saturating_sub(ON_ITS_WAY_MAX);
        let began = self.checks.keys.crashes.iter().rfind(|at| **at <= done);
        assert!(
            began.is_none_or(|began| last >= *began),
            "{what} under a KEK that was not confirmed to this process"
        );
        let slept = self.checks.keys.slept(last + HEARD_WITHIN, done);
        let age = (now - last + slept).saturating_sub(self.checks.stalled(last, now));
        let most = self.program.keys.outage_grace + LOOKED_AT_EVERY + ON_ITS_WAY_MAX;
        assert!(age <= most, "{what} {age:?} after the KEK was confirmed");
    }

    /// Which KMS has made a DEK, and when.
    pub(super) fn made(&self, wrapped: &[u8]) -> (usize, Made) {
        let mut all = self.kms.iter().enumerate();
        let made = all.find_map(|(at, kms)| Some((at, kms.made(wrapped)?)));
        made.unwrap_or_else(|| panic!("no KMS has made the DEK {wrapped:02x?}"))
    }

    pub(super) fn since_beginning(&self, instant: tokio::time::Instant) -> Duration {
        let began = self.program.began();
        instant.into_std().saturating_duration_since(began)
    }
}

/// A KMS is asked again every second, and what was sealed before may be on its way.
const REVOKED_AFTER: Duration = Duration::from_secs(3);
/// How soon an answer has been taken in that a KMS has given, the control thread's pauses included.
const HEARD_WITHIN: Duration = Duration::from_secs(1);
/// How often the key service looks for what is over.
const LOOKED_AT_EVERY: Duration = Duration::from_millis(250);
