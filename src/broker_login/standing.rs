//! How a credential fares at brokers, so that a wrong one does not lock an account that others use, and so that no
//! broker keeps anybody out of the others.
//!
//! - STANDING-1: one that no broker has taken yet is tried by one connection at a time, wherever; others wait for what
//!   becomes of that.
//! - STANDING-2: a broker that has refused it is left alone for [`BACK_OFF_MIN`], then tried by one connection, and for
//!   twice as long after each further refusal there, up to [`BACK_OFF_MAX`]. Meanwhile its clients are refused without
//!   it being asked.
//! - STANDING-3: only a broker's verdict counts: one that is away, or answers nothing, says nothing of the credential.
//! - STANDING-4: other brokers are tried still. Where a second one refuses as well, and none has taken the credential
//!   since, all of them are left alone, for twice as long after each further refusal, whoever refuses: what counts
//!   failures for all brokers, as a directory does, counts one more than with one broker.
//! - STANDING-5: once a broker takes it, those alone are left alone that have refused it. Their refusals say nothing of
//!   the others from then on, until they have taken it in between.
//! - STANDING-6: at most [`BROKERS_MAX`] refusals are known: the one that ends first makes room.
//!
//! Lock-free: executors share it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;

/// See the module. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Standing(Arc<ArcSwap<Known>>);

#[derive(Clone, Debug, Default)]
struct Known {
    is_proven: bool,
    /// By one that has the only trial (STANDING-1).
    is_tried: bool,
    /// Refusals since a broker has taken it last.
    times: u32,
    /// Until when all brokers are left alone (STANDING-4).
    until: Option<Instant>,
    /// By whom it was refused, and not taken since.
    refusals: Vec<Refusal>,
}

#[derive(Clone, Debug)]
struct Refusal {
    /// Its address.
    broker: Box<str>,
    until: Instant,
    times: u32,
    /// Since a broker has taken it last.
    is_recent: bool,
    is_tried: bool,
}

/// Whether a credential may be tried.
pub enum Admission {
    /// As one that brokers take.
    Free,
    /// Alone: the outcome decides for the others.
    Alone(Trial),
    /// Somebody else is trying it: ask again soon.
    Later,
    /// It was refused a moment ago.
    Refused,
}

/// Somebody tries the credential, until this is dropped.
pub struct Trial {
    standing: Standing,
    /// The broker whose trial it is; `None`: that of all.
    broker: Option<Box<str>>,
}

impl Drop for Trial {
    fn drop(&mut self) {
        self.standing.change(
            |known| match self.broker.as_ref().map(|broker| known.refusal(broker)) {
                Some(Some(refusal)) => refusal.is_tried = false,
                Some(None) => {}
                None => known.is_tried = false,
            },
        );
    }
}

impl Standing {
    /// Whether it may be tried now at the broker that has this address.
    #[must_use]
    pub fn admit(&self, broker: &str, now: Instant) -> Admission {
        if self.0.load().is_good_at(broker) {
            return Admission::Free;
        }
        let trial = |broker| Trial {
            standing: self.clone(),
            broker,
        };
        match self.change(|known| known.admit(broker, now)) {
            Judgement::Free => Admission::Free,
            Judgement::AloneThere => Admission::Alone(trial(Some(broker.into()))),
            Judgement::Alone => Admission::Alone(trial(None)),
            Judgement::Later => Admission::Later,
            Judgement::Refused => Admission::Refused,
        }
    }

    /// A broker has taken it.
    pub fn accepted(&self, broker: &str) {
        if !self.0.load().is_good_at(broker) {
            self.change(|known| known.accepted(broker));
        }
    }

    /// A broker has refused it.
    pub fn refused(&self, broker: &str, now: Instant) {
        self.change(|known| known.refused(broker, now));
    }

    /// Whether a broker has refused it, and none has taken it since.
    #[must_use]
    pub fn is_refused(&self) -> bool {
        self.0.load().times > 0
    }

    fn change<T>(&self, change: impl Fn(&mut Known) -> T) -> T {
        loop {
            let before = self.0.load();
            let mut after = Known::clone(&before);
            let done = change(&mut after);
            let found = self.0.compare_and_swap(&*before, Arc::new(after));
            if Arc::ptr_eq(&found, &before) {
                return done;
            }
        }
    }
}

/// [`Admission`], by the one that is to have the trial.
enum Judgement {
    Free,
    Alone,
    AloneThere,
    Later,
    Refused,
}

impl Known {
    fn is_good_at(&self, broker: &str) -> bool {
        self.is_proven && !self.refusals.iter().any(|refusal| *refusal.broker == *broker)
    }

    fn refusal(&mut self, broker: &str) -> Option<&mut Refusal> {
        self.refusals
            .iter_mut()
            .find(|refusal| *refusal.broker == *broker)
    }

    fn admit(&mut self, broker: &str, now: Instant) -> Judgement {
        let is_left_alone = !self.is_proven && self.until.is_some_and(|until| now < until);
        let is_proven = self.is_proven;
        let (is_tried, alone) = match self.refusal(broker) {
            Some(refusal) if now < refusal.until => return Judgement::Refused,
            Some(refusal) if is_proven => (&mut refusal.is_tried, Judgement::AloneThere),
            None if is_proven => return Judgement::Free,
            _ if is_left_alone => return Judgement::Refused,
            _ => (&mut self.is_tried, Judgement::Alone),
        };
        match std::mem::replace(is_tried, true) {
            true => Judgement::Later,
            false => alone,
        }
    }

    fn accepted(&mut self, broker: &str) {
        self.is_proven = true;
        (self.times, self.until) = (0, None);
        self.refusals.retain(|refusal| *refusal.broker != *broker);
        for refusal in &mut self.refusals {
            refusal.is_recent = false;
        }
    }

    fn refused(&mut self, broker: &str, now: Instant) {
        let is_proven = self.is_proven;
        match self.refusal(broker) {
            // Of those that were tried together as one that brokers take, one counts.
            Some(refusal) if now < refusal.until => return,
            Some(refusal) => {
                refusal.until = after(now, refusal.times);
                refusal.times = refusal.times.saturating_add(1);
                // STANDING-5
                if is_proven {
                    return;
                }
                refusal.is_recent = true;
            }
            None => self.note(broker, now),
        }
        self.is_proven = false;
        // Who was on the way with it as well.
        if self.until.is_some_and(|until| now < until) {
            return;
        }
        let others = self.refusals.iter().filter(|refusal| refusal.is_recent).count() > 1;
        // The first one has cost no time.
        self.until = others.then(|| after(now, self.times));
        self.times = self.times.saturating_add(1);
    }

    /// The first refusal there (STANDING-6).
    fn note(&mut self, broker: &str, now: Instant) {
        if self.refusals.len() >= BROKERS_MAX {
            let first = self
                .refusals
                .iter()
                .enumerate()
                .min_by_key(|(_, refusal)| refusal.until);
            if let Some((place, _)) = first {
                self.refusals.swap_remove(place);
            }
        }
        self.refusals.push(Refusal {
            broker: broker.into(),
            until: after(now, 0),
            times: 1,
            is_recent: true,
            is_tried: false,
        });
    }
}

fn after(now: Instant, times: u32) -> Instant {
    now.checked_add(back_off(times)).unwrap_or(now)
}

/// For how long something is left alone that was refused, after so many times before (STANDING-2).
#[must_use]
pub fn back_off(times: u32) -> Duration {
    let wait = BACK_OFF_MIN.saturating_mul(1_u32.checked_shl(times).unwrap_or(u32::MAX));
    wait.min(BACK_OFF_MAX)
}

/// A user that was made a moment ago is not known to every broker.
const BACK_OFF_MIN: Duration = Duration::from_secs(1);
/// A dozen tries in an hour; whoever mends it waits no longer.
const BACK_OFF_MAX: Duration = Duration::from_secs(300);
/// More than clusters have brokers whose logins are refused and others' are not.
const BROKERS_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    const A: u16 = 1;
    const B: u16 = 2;
    const C: u16 = 3;

    /// An account, and a clock.
    struct Scene {
        standing: Standing,
        now: Instant,
    }

    fn at(port: u16) -> String {
        format!("kafka:{port}")
    }

    impl Scene {
        fn set() -> Self {
            let (standing, now) = (Standing::default(), Instant::now());
            Self { standing, now }
        }

        fn admit(&self, port: u16) -> Admission {
            self.standing.admit(&at(port), self.now)
        }

        fn is_alone(&self, port: u16) -> bool {
            matches!(self.admit(port), Admission::Alone(_))
        }

        fn is_refused(&self, port: u16) -> bool {
            matches!(self.admit(port), Admission::Refused)
        }

        fn is_free(&self, port: u16) -> bool {
            matches!(self.admit(port), Admission::Free)
        }

        fn accepted(&self, port: u16) {
            self.standing.accepted(&at(port));
        }

        fn refused(&self, port: u16) {
            self.standing.refused(&at(port), self.now);
        }

        /// Brokers that take nobody are tried as soon as may be: when that was, in seconds.
        fn tries(&mut self, ports: &[u16], tries: usize) -> Vec<u64> {
            let begun = self.now;
            let mut tried = Vec::new();
            while tried.len() < tries {
                for port in ports {
                    if let Admission::Alone(_trial) = self.admit(*port) {
                        self.refused(*port);
                        tried.push((self.now - begun).as_secs());
                    }
                }
                self.now += Duration::from_secs(1);
            }
            tried
        }
    }

    /// STANDING-1
    #[test]
    fn one_that_nobody_has_taken_is_tried_alone() {
        let scene = Scene::set();
        let trial = scene.admit(A);
        assert!(matches!(trial, Admission::Alone(_)));
        for port in [A, B] {
            assert!(matches!(scene.admit(port), Admission::Later));
        }
        drop(trial);
        assert!(scene.is_alone(A), "the broker was away");
        scene.accepted(A);
        for port in [A, A, B, B] {
            assert!(scene.is_free(port));
        }
    }

    /// STANDING-2
    #[test]
    fn a_refused_one_is_left_alone_for_longer_and_longer() {
        let mut scene = Scene::set();
        for seconds in [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300] {
            scene.refused(A);
            // Others who were on their way with it.
            scene.refused(A);
            let wait = Duration::from_secs(seconds);
            assert!(scene.is_refused(A));
            let begun = scene.now;
            scene.now = begun + wait - Duration::from_millis(1);
            assert!(scene.is_refused(A), "{seconds}");
            scene.now = begun + wait;
            assert!(scene.is_alone(A), "{seconds}");
        }
        scene.accepted(A);
        scene.refused(A);
        assert!(scene.is_refused(A));
        scene.now += Duration::from_secs(1);
        assert!(scene.is_alone(A), "it begins anew");
    }

    /// STANDING-4: a directory that counts failures counts one more.
    #[test]
    fn one_that_is_wrong_everywhere_is_tried_as_seldom_as_at_one_broker() {
        let at_one = Scene::set().tries(&[A], 10);
        assert_eq!(at_one, [0, 1, 3, 7, 15, 31, 63, 127, 255, 511]);
        let ports: Vec<u16> = (1..=50).collect();
        let mut scene = Scene::set();
        let at_many = scene.tries(&ports, 12);
        assert_eq!(at_many, [0, 0, 2, 6, 14, 30, 62, 126, 254, 510, 810, 1110]);
        // One that was good, and is not any more, while many are on their way.
        scene.accepted(A);
        for port in &ports {
            scene.refused(*port);
        }
        assert!(ports.iter().all(|port| scene.is_refused(*port)));
        assert_eq!(scene.tries(&ports, 3), [2, 6, 14]);
    }

    /// STANDING-5: whatever one broker says, the others are open, and it is left alone.
    #[test]
    fn one_broker_that_refuses_keeps_nobody_out_of_the_others() {
        for is_proven in [false, true] {
            let mut scene = Scene::set();
            if is_proven {
                scene.accepted(C);
            }
            for seconds in [1, 2, 4, 8, 16, 32, 64, 128, 256, 300] {
                scene.refused(A);
                assert!(scene.is_refused(A));
                // As one that is tried, then as one that is good.
                assert!(
                    scene.is_alone(B) || (seconds > 1 && scene.is_free(B)),
                    "{seconds}"
                );
                scene.accepted(B);
                assert!(scene.is_free(B) && scene.is_free(C) && scene.is_refused(A));
                scene.now += Duration::from_secs(seconds);
                assert!(scene.is_free(B));
                let trial = scene.admit(A);
                assert!(matches!(trial, Admission::Alone(_)), "{seconds}");
                assert!(matches!(scene.admit(A), Admission::Later) && scene.is_free(C));
            }
            // Many of its refusals, before anybody has been elsewhere.
            let mut scene = Scene::set();
            scene.tries(&[A], 12);
            assert!(scene.is_alone(B));
            scene.accepted(B);
            assert!(scene.is_free(C));
            scene.now += BACK_OFF_MAX;
            scene.accepted(A);
            assert!(scene.is_free(A));
        }
    }

    /// STANDING-6
    #[test]
    fn so_many_refusals_are_known() {
        let scene = Scene::set();
        for port in 0..1000 {
            scene.refused(port);
        }
        let known = scene.standing.0.load();
        assert_eq!(known.refusals.len(), BROKERS_MAX);
        scene.accepted(A);
        scene.refused(A);
        assert!(scene.is_refused(A));
    }
}
