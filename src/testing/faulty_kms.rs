//! A layer around any KMS that delays, refuses, lies and counts on demand.
//!
//! ```no_run
//! # use std::sync::Arc; use std::time::Duration;
//! # fn layer(kms: Arc<dyn sealwire::kms::Kms>) {
//! use sealwire::kms::KmsError;
//! use sealwire::testing::FaultyKms;
//! let (kms, faults) = FaultyKms::around(kms);
//! faults.delay(Some(Duration::from_millis(300)));
//! faults.refuse(Some(KmsError::Unavailable("test".into())));
//! assert_eq!(faults.unwraps(), 0);
//! # }
//! ```

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use async_trait::async_trait;
use tokio::sync::watch;

use crate::crypto::SecretKey;
use crate::envelope::WrappedDek;
use crate::kms::{GeneratedDek, KekNames, Kms, KmsError};

/// The layer. A call is counted when it comes in, waits while it is held, then for the delay, then is refused or passed
/// on.
pub struct FaultyKms {
    inner: Arc<dyn Kms>,
    faults: Faults,
}

impl FaultyKms {
    /// Puts the layer around `inner`; without faults it changes nothing.
    #[must_use]
    pub fn around(inner: Arc<dyn Kms>) -> (Self, Faults) {
        let faults = Faults {
            shared: Arc::new(FaultState {
                plan: ArcSwap::from_pointee(Plan::default()),
                held: watch::Sender::new(false),
                generates: AtomicU64::new(0),
                wraps: AtomicU64::new(0),
                unwraps: AtomicU64::new(0),
                rechecks: AtomicU64::new(0),
                versions: AtomicU64::new(0),
            }),
        };
        let layer = Self {
            inner,
            faults: faults.clone(),
        };
        (layer, faults)
    }
}

/// The controls; clones control the same layer, from any thread.
#[derive(Clone)]
pub struct Faults {
    shared: Arc<FaultState>,
}

impl Faults {
    /// Delays, refuses and holds only calls about this KEK from now on; `None`: all calls.
    pub fn only(&self, kek: Option<&str>) {
        self.change(|plan| plan.kek = kek.map(Box::from));
    }

    /// Makes every call from now on take this much longer.
    pub fn delay(&self, delay: Option<Duration>) {
        self.change(|plan| plan.delay = delay);
    }

    /// Makes every call from now on fail with `error`, `current_version` too.
    pub fn refuse(&self, error: Option<KmsError>) {
        self.change(|plan| plan.refusal.clone_from(&error));
    }

    /// Whether DEKs that are made from now on are others than those that were wrapped, and keys that are wrapped too.
    pub fn make_wrong_keys(&self, wrong: bool) {
        self.change(|plan| plan.makes_wrong_keys = wrong);
    }

    /// Whether rechecks bring another DEK from now on.
    pub fn recheck_wrong_keys(&self, wrong: bool) {
        self.change(|plan| plan.rechecks_wrong_keys = wrong);
    }

    /// Says from now on that its wrapping keys are public.
    pub fn wrap_publicly(&self) {
        self.change(|plan| plan.wraps_publicly = true);
    }

    /// Holds every call from now on until [`Faults::release`].
    pub fn hold(&self) {
        self.shared.held.send_replace(true);
    }

    /// Lets the held calls go on.
    pub fn release(&self) {
        self.shared.held.send_replace(false);
    }

    /// Calls of `generate_dek` so far.
    #[must_use]
    pub fn generates(&self) -> u64 {
        self.shared.generates.load(Ordering::Relaxed)
    }

    /// Calls of `wrap` so far.
    #[must_use]
    pub fn wraps(&self) -> u64 {
        self.shared.wraps.load(Ordering::Relaxed)
    }

    /// Calls of `unwrap_dek` so far.
    #[must_use]
    pub fn unwraps(&self) -> u64 {
        self.shared.unwraps.load(Ordering::Relaxed)
    }

    /// Calls of `recheck` so far.
    #[must_use]
    pub fn rechecks(&self) -> u64 {
        self.shared.rechecks.load(Ordering::Relaxed)
    }

    /// Calls of `current_version` so far.
    #[must_use]
    pub fn versions(&self) -> u64 {
        self.shared.versions.load(Ordering::Relaxed)
    }

    fn change(&self, change: impl Fn(&mut Plan)) {
        self.shared.plan.rcu(|plan| {
            let mut plan = Plan::clone(plan);
            change(&mut plan);
            plan
        });
    }

    async fn pass(&self, counter: &AtomicU64, kek: &[u8]) -> Result<(), KmsError> {
        counter.fetch_add(1, Ordering::Relaxed);
        let concerned = |plan: &Plan| plan.kek.as_ref().is_none_or(|only| only.as_bytes() == kek);
        if !concerned(&self.shared.plan.load()) {
            return Ok(());
        }
        // The sender lives in `self`, so waiting cannot fail.
        let _ = self.shared.held.subscribe().wait_for(|held| !held).await;
        let plan = self.shared.plan.load_full();
        if let Some(delay) = plan.delay {
            tokio::time::sleep(delay).await;
        }
        plan.refusal.clone().map_or(Ok(()), Err)
    }
}

#[async_trait]
impl Kms for FaultyKms {
    fn kek_names(&self) -> KekNames {
        self.inner.kek_names()
    }

    fn check_kek(&self, kek: &str) -> Result<(), KmsError> {
        self.inner.check_kek(kek)
    }

    fn check_wrapped(&self, wrapped: &[u8]) -> Result<(), KmsError> {
        self.inner.check_wrapped(wrapped)
    }

    async fn generate_dek(&self, kek: &str) -> Result<GeneratedDek, KmsError> {
        self.faults
            .pass(&self.faults.shared.generates, kek.as_bytes())
            .await?;
        let generated = self.inner.generate_dek(kek).await?;
        Ok(match self.faults.shared.plan.load().makes_wrong_keys {
            true => GeneratedDek {
                dek: other_key()?,
                ..generated
            },
            false => generated,
        })
    }

    async fn wrap(&self, kek: &str, key: &SecretKey) -> Result<Box<[u8]>, KmsError> {
        self.faults
            .pass(&self.faults.shared.wraps, kek.as_bytes())
            .await?;
        match self.faults.shared.plan.load().makes_wrong_keys {
            true => self.inner.wrap(kek, &other_key()?).await,
            false => self.inner.wrap(kek, key).await,
        }
    }

    async fn unwrap_dek(&self, wrapped: &[u8]) -> Result<SecretKey, KmsError> {
        self.faults
            .pass(&self.faults.shared.unwraps, kek_of(wrapped))
            .await?;
        self.inner.unwrap_dek(wrapped).await
    }

    async fn recheck(&self, wrapped: &[u8]) -> Result<SecretKey, KmsError> {
        self.faults
            .pass(&self.faults.shared.rechecks, kek_of(wrapped))
            .await?;
        let dek = self.inner.recheck(wrapped).await?;
        match self.faults.shared.plan.load().rechecks_wrong_keys {
            true => other_key(),
            false => Ok(dek),
        }
    }

    async fn background(&self) {
        self.inner.background().await;
    }

    fn wraps_publicly(&self) -> bool {
        self.faults.shared.plan.load().wraps_publicly || self.inner.wraps_publicly()
    }

    fn is_stale(&self) -> bool {
        self.inner.is_stale()
    }

    async fn current_version(&self, kek: &str) -> Result<Option<Vec<u8>>, KmsError> {
        self.faults
            .pass(&self.faults.shared.versions, kek.as_bytes())
            .await?;
        self.inner.current_version(kek).await
    }

    fn version_poll_interval(&self) -> Duration {
        self.inner.version_poll_interval()
    }

    fn recheck_interval(&self) -> Duration {
        self.inner.recheck_interval()
    }

    fn verdict_memory(&self) -> Duration {
        self.inner.verdict_memory()
    }
}

struct FaultState {
    plan: ArcSwap<Plan>,
    held: watch::Sender<bool>,
    generates: AtomicU64,
    wraps: AtomicU64,
    unwraps: AtomicU64,
    rechecks: AtomicU64,
    versions: AtomicU64,
}

#[derive(Clone, Default)]
struct Plan {
    kek: Option<Box<str>>,
    delay: Option<Duration>,
    refusal: Option<KmsError>,
    wraps_publicly: bool,
    makes_wrong_keys: bool,
    rechecks_wrong_keys: bool,
}

fn other_key() -> Result<SecretKey, KmsError> {
    SecretKey::generate().map_err(|_| KmsError::Unavailable("no random bytes".to_owned()))
}

fn kek_of(wrapped: &[u8]) -> &[u8] {
    WrappedDek::parse(wrapped).map_or(&[][..], |parsed| parsed.kek)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A KMS whose every DEK is the same.
    struct Fixed;

    #[async_trait]
    impl Kms for Fixed {
        fn kek_names(&self) -> KekNames {
            KekNames::as_written(1, [0; 4])
        }
        async fn generate_dek(&self, kek: &str) -> Result<GeneratedDek, KmsError> {
            let dek = self.unwrap_dek(&[]).await?;
            let wrapped = self.wrap(kek, &dek).await?;
            Ok(GeneratedDek { dek, wrapped })
        }
        async fn wrap(&self, kek: &str, _: &SecretKey) -> Result<Box<[u8]>, KmsError> {
            let wrapped = self.kek_names().wrapped(kek, &[], &[]);
            wrapped.map(Vec::into_boxed_slice).ok_or(KmsError::KekNotFound)
        }
        async fn unwrap_dek(&self, _: &[u8]) -> Result<SecretKey, KmsError> {
            SecretKey::from_bytes(&mut [1; 32]).map_err(|_| KmsError::Malformed)
        }
        async fn recheck(&self, wrapped: &[u8]) -> Result<SecretKey, KmsError> {
            self.unwrap_dek(wrapped).await
        }
        fn wraps_publicly(&self) -> bool {
            false
        }
        async fn current_version(&self, _: &str) -> Result<Option<Vec<u8>>, KmsError> {
            Ok(None)
        }
    }

    #[tokio::test(flavor = "current_thread")]
    async fn faults_come_and_go_and_can_concern_one_kek_only() -> Result<(), KmsError> {
        let (kms, faults) = FaultyKms::around(Arc::new(Fixed));
        let generated = kms.generate_dek("a").await?;
        faults.refuse(Some(KmsError::KekDisabled));
        assert_eq!(kms.generate_dek("a").await.err(), Some(KmsError::KekDisabled));
        assert_eq!(
            kms.unwrap_dek(&generated.wrapped).await.err(),
            Some(KmsError::KekDisabled)
        );
        assert_eq!(kms.current_version("a").await, Err(KmsError::KekDisabled));
        faults.only(Some("b"));
        assert!(kms.unwrap_dek(&generated.wrapped).await.is_ok());
        assert!(kms.generate_dek("a").await.is_ok());
        assert!(kms.generate_dek("b").await.is_err());
        faults.only(None);
        faults.refuse(None);
        assert_eq!(
            (faults.generates(), faults.unwraps(), faults.versions()),
            (4, 2, 1)
        );

        faults.hold();
        let held = kms.generate_dek("a");
        tokio::pin!(held);
        let early = tokio::time::timeout(Duration::from_millis(10), &mut held).await;
        assert!(early.is_err(), "it was not held");
        faults.release();
        assert!(held.await.is_ok());

        faults.delay(Some(Duration::from_millis(30)));
        let started = std::time::Instant::now();
        assert!(kms.generate_dek("a").await.is_ok());
        assert!(started.elapsed() >= Duration::from_millis(30));
        Ok(())
    }
}
