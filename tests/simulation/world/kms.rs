//! A KMS of the simulated world: late, throttling, down, silent or lying by lot; it rotates its KEKs and takes them
//! away when it is told to.
//!
//! - nothing but the [`Dice`] and the clock decides, so that the same calls at the same times get the same bytes. It
//!   waits by tokio's, which stands still where the control thread does, and notes what happens by the world's.
//! - a call is judged half-way: what it answers may be out of date when it arrives.
//! - SIM-KMS-1: no wrapped DEK is being unwrapped twice at the same time, and no more calls are under way than its
//!   budget allows. A breach is kept for [`SimulatedKms::check`], since a key service outlives a call that panics.
//! - SIM-KMS-2: nor do more begin in a second.

mod state;
#[cfg(test)]
mod tests;
mod under_way;

use std::collections::{BTreeMap, BTreeSet};
use std::future::pending;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use sealwire::clocks::simulated;
use sealwire::crypto::SecretKey;
use sealwire::envelope::WrappedDek;
use sealwire::envelope::wrapped_dek::provider;
use sealwire::keys::CallBudget;
use sealwire::kms::{GeneratedDek, KekNames, Kms, KmsError};
use tokio::time::{Instant, sleep};

use self::state::{Fault, State};
use self::under_way::{Asked, UnderWay};
use crate::dice::Dice;

/// How often the key service may look whether a KEK was rotated, whether one was disabled, and whether it still is.
pub(crate) const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// How long a call takes at most where the KMS has no trouble.
pub(crate) const CALM_LATENCY_MAX: Duration = Duration::from_millis(300);

pub(crate) struct SimulatedKms {
    authority: [u8; 4],
    state: Arc<Mutex<State>>,
}

/// How a KMS behaves: of a thousand calls so many go wrong in each way, the rest is answered.
#[derive(Clone, Debug, Default)]
pub(crate) struct Trouble {
    /// A call takes up to this long.
    pub(crate) latency_max: Duration,
    pub(crate) unavailable: u64,
    pub(crate) throttled: u64,
    pub(crate) credentials_refused: u64,
    /// Never answered.
    pub(crate) silent: u64,
    /// A new DEK is wrapped under another KEK than was asked for.
    pub(crate) under_other_kek: u64,
    /// Another DEK is given out than was wrapped.
    pub(crate) wrong_dek: u64,
    /// Every call fails.
    pub(crate) is_down: bool,
}

/// A DEK that was made, by what it is wrapped as.
#[derive(Clone)]
pub(crate) struct Made {
    /// The KEK that it was asked for.
    pub(crate) asked_for: String,
    /// The KEK that it is wrapped under: another one is a lie.
    pub(crate) kek: String,
    pub(crate) version: u32,
    pub(crate) at: Instant,
    dek: [u8; 32],
}

/// When a version of a KEK was refused.
#[derive(Clone)]
pub(crate) struct Refusal {
    pub(crate) kek: String,
    pub(crate) version: u32,
    pub(crate) from: Instant,
    /// `None`: it still is.
    pub(crate) until: Option<Instant>,
}

impl SimulatedKms {
    /// A KMS without trouble in which each of `keks` has one version.
    pub(crate) fn new(authority: [u8; 4], keks: &[&str], dice: Dice) -> Arc<Self> {
        let state = State {
            dice,
            trouble: Trouble::default(),
            keks: keks.iter().map(|kek| ((*kek).to_owned(), 1)).collect(),
            made: BTreeMap::new(),
            confirmed: BTreeMap::new(),
            refusals: Vec::new(),
            wrongly_opened: BTreeSet::new(),
            asked: Asked::default(),
        };
        Arc::new(Self {
            authority,
            state: Arc::new(Mutex::new(state)),
        })
    }

    /// From now on; calls under way keep what they drew.
    pub(crate) fn set_trouble(&self, trouble: Trouble) {
        self.state().trouble = trouble;
    }

    /// A process begins to ask, which may ask this much.
    pub(crate) fn begin_anew(&self, budget: CallBudget) {
        self.state().asked.begin_anew(budget);
    }

    /// A new version becomes the current one.
    pub(crate) fn rotate(&self, kek: &str) {
        *self.state().keks.get_mut(kek).expect("a KEK of this KMS") += 1;
    }

    /// Refuses a version of a KEK from now on.
    pub(crate) fn disable(&self, kek: &str, version: u32) {
        let mut state = self.state();
        assert!(version <= state.keks[kek], "there is no such version");
        if state.refusal(kek, version).is_none() {
            state.refusals.push(Refusal {
                kek: kek.to_owned(),
                version,
                from: now(),
                until: None,
            });
        }
    }

    /// The opposite of [`SimulatedKms::disable`].
    pub(crate) fn enable(&self, kek: &str, version: u32) {
        if let Some(refusal) = self.state().refusal(kek, version) {
            refusal.until = Some(now());
        }
    }

    pub(crate) fn current(&self, kek: &str) -> u32 {
        self.state().keks[kek]
    }

    /// Every DEK that was made, by what it is wrapped as.
    pub(crate) fn made(&self, wrapped: &[u8]) -> Option<Made> {
        self.state().made.get(wrapped).cloned()
    }

    /// All the times at which a version of a KEK was refused, in the order in which they began.
    pub(crate) fn refusals(&self) -> Vec<Refusal> {
        self.state().refusals.clone()
    }

    /// All the times at which a key under a version of a KEK was given out, in their order.
    pub(crate) fn confirmed(&self, kek: &str, version: u32) -> Vec<Instant> {
        let version = (kek.to_owned(), version);
        self.state().confirmed.get(&version).cloned().unwrap_or_default()
    }

    /// Whether any version of any KEK is refused now.
    pub(crate) fn refuses_any(&self) -> bool {
        self.state()
            .refusals
            .iter()
            .any(|refusal| refusal.until.is_none())
    }

    /// Whether another DEK was ever given out for `wrapped`.
    pub(crate) fn was_wrongly_opened(&self, wrapped: &[u8]) -> bool {
        self.state().wrongly_opened.contains(wrapped)
    }

    /// Panics if it was asked what it may not be asked (SIM-KMS-1, SIM-KMS-2).
    pub(crate) fn check(&self) {
        let breaches = self.state().asked.breaches.clone();
        assert!(breaches.is_empty(), "the KMS was asked wrongly: {breaches:?}");
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// One call: late, then judged by `answer` or by the lot, then late again.
    async fn ask<T>(
        &self,
        unwrapped: Option<&[u8]>,
        answer: impl FnOnce(&mut State) -> Result<T, KmsError>,
    ) -> Result<T, KmsError> {
        let _under_way = UnderWay::begin(&self.state, unwrapped);
        let (before, fault, after) = self.state().draw_call();
        sleep(before).await;
        let answer = match fault {
            Some(Fault::Silent) => pending().await,
            Some(Fault::Fails(error)) => Err(error),
            None if self.state().trouble.is_down => Err(KmsError::Unavailable("down".to_owned())),
            None => answer(&mut self.state()),
        };
        sleep(after).await;
        answer
    }

    fn wrap(&self, kek: &str, version: u32, serial: usize) -> Vec<u8> {
        let mut wrapped = Vec::new();
        WrappedDek {
            provider: provider::VAULT_TRANSIT,
            authority: self.authority,
            kek: kek.as_bytes(),
            version: &shown(version),
            blob: &serial.to_be_bytes(),
        }
        .write(&mut wrapped)
        .expect("names are short");
        wrapped
    }

    fn generate(&self, state: &mut State, kek: &str) -> Result<GeneratedDek, KmsError> {
        state.usable(kek, None)?;
        let lies = state.dice.below(1000) < state.trouble.under_other_kek;
        let other = state.keks.keys().find(|other| lies && *other != kek);
        let under = other.map_or_else(|| kek.to_owned(), Clone::clone);
        let version = state.keks[&under];
        let dek = state.draw_dek();
        let wrapped = self.wrap(&under, version, state.made.len());
        let made = Made {
            asked_for: kek.to_owned(),
            kek: under,
            version,
            at: now(),
            dek,
        };
        state.made.insert(wrapped.clone(), made);
        Ok(GeneratedDek {
            dek: key(dek),
            wrapped: wrapped.into(),
        })
    }

    /// The DEK inside `wrapped`, if its KEK may still be used.
    fn find(&self, state: &State, wrapped: &[u8]) -> Result<[u8; 32], KmsError> {
        let parsed = WrappedDek::parse(wrapped).map_err(|_| KmsError::Malformed)?;
        if (parsed.provider, parsed.authority) != (provider::VAULT_TRANSIT, self.authority) {
            return Err(KmsError::KekNotFound);
        }
        let kek = str::from_utf8(parsed.kek).map_err(|_| KmsError::KekNotFound)?;
        let version = str::from_utf8(parsed.version).map_err(|_| KmsError::Malformed)?;
        state.usable(kek, Some(version.parse().map_err(|_| KmsError::Malformed)?))?;
        let made = state.made.get(wrapped).ok_or(KmsError::Malformed)?;
        Ok(made.dek)
    }
}

#[async_trait]
impl Kms for SimulatedKms {
    fn kek_names(&self) -> KekNames {
        KekNames::as_written(provider::VAULT_TRANSIT, self.authority)
    }

    async fn generate_dek(&self, kek: &str) -> Result<GeneratedDek, KmsError> {
        let generated = self.ask(None, |state| self.generate(state, kek)).await?;
        self.state().confirm(&generated.wrapped, now());
        Ok(generated)
    }

    async fn wrap(&self, _: &str, _: &SecretKey) -> Result<Box<[u8]>, KmsError> {
        panic!("the proxy wraps no key that exists")
    }

    async fn unwrap_dek(&self, wrapped: &[u8]) -> Result<SecretKey, KmsError> {
        let open = |state: &mut State| {
            let mut dek = self.find(state, wrapped)?;
            if state.dice.below(1000) < state.trouble.wrong_dek {
                dek = state.draw_dek();
                state.wrongly_opened.insert(wrapped.to_vec());
            }
            Ok(key(dek))
        };
        let opened = self.ask(Some(wrapped), open).await?;
        self.state().confirm(wrapped, now());
        Ok(opened)
    }

    async fn recheck(&self, wrapped: &[u8]) -> Result<SecretKey, KmsError> {
        let open = |state: &mut State| {
            let dek = self.find(state, wrapped)?;
            let lies = state.dice.below(1000) < state.trouble.wrong_dek;
            Ok(key(if lies { state.draw_dek() } else { dek }))
        };
        let opened = self.ask(None, open).await?;
        self.state().confirm(wrapped, now());
        Ok(opened)
    }

    async fn current_version(&self, kek: &str) -> Result<Option<Vec<u8>>, KmsError> {
        let current = |state: &mut State| state.usable(kek, None).map(|version| Some(shown(version)));
        self.ask(None, current).await
    }

    fn wraps_publicly(&self) -> bool {
        false
    }

    fn version_poll_interval(&self) -> Duration {
        LOOK_INTERVAL
    }

    fn recheck_interval(&self) -> Duration {
        LOOK_INTERVAL
    }

    fn verdict_memory(&self) -> Duration {
        LOOK_INTERVAL
    }
}

/// The world's time; tokio's, where there is no world.
fn now() -> Instant {
    simulated::time().map_or_else(Instant::now, |time| Instant::from_std(time.now))
}

/// A version as wrapped DEKs carry it.
fn shown(version: u32) -> Vec<u8> {
    version.to_string().into_bytes()
}

fn key(mut dek: [u8; 32]) -> SecretKey {
    SecretKey::from_bytes(&mut dek).expect("a key has 32 bytes")
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().expect("nothing panics under the lock")
}
