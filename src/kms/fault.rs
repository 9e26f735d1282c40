//! A layer around any KMS that delays, refuses and counts on demand. For tests only: no configuration can name it.
//!
//! ```no_run
//! # use std::sync::Arc; use std::time::Duration;
//! # fn layer(kms: Arc<dyn sealwire::kms::Kms>) {
//! use sealwire::kms::{KmsError, fault::FaultyKms};
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

use super::{GeneratedDek, Kms, KmsError};
use crate::crypto::SecretKey;
use crate::envelope::KekId;

/// The layer. A call is counted when it comes in, waits while it is held, then for the delay, then is refused or passed on.
pub struct FaultyKms {
    inner: Arc<dyn Kms>,
    faults: Faults,
}

impl FaultyKms {
    /// Puts the layer around `inner`; without faults it changes nothing.
    #[must_use]
    pub fn around(inner: Arc<dyn Kms>) -> (Self, Faults) {
        let faults = Faults {
            shared: Arc::new(Shared {
                plan: ArcSwap::from_pointee(Plan::default()),
                held: watch::Sender::new(false),
                generates: AtomicU64::new(0),
                unwraps: AtomicU64::new(0),
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
    shared: Arc<Shared>,
}

impl Faults {
    /// Makes every call from now on take this much longer.
    pub fn delay(&self, delay: Option<Duration>) {
        self.change(|plan| plan.delay = delay);
    }

    /// Makes every call from now on fail with `error`, `current_version` too.
    pub fn refuse(&self, error: Option<KmsError>) {
        self.change(|plan| plan.refusal.clone_from(&error));
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

    /// Calls of `unwrap_dek` so far, rechecks included.
    #[must_use]
    pub fn unwraps(&self) -> u64 {
        self.shared.unwraps.load(Ordering::Relaxed)
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

    async fn pass(&self, counter: &AtomicU64) -> Result<(), KmsError> {
        counter.fetch_add(1, Ordering::Relaxed);
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
    fn kek_id(&self, kek: &str) -> Result<KekId, KmsError> {
        self.inner.kek_id(kek)
    }

    async fn generate_dek(&self, kek: &str) -> Result<GeneratedDek, KmsError> {
        self.faults.pass(&self.faults.shared.generates).await?;
        self.inner.generate_dek(kek).await
    }

    async fn unwrap_dek(&self, wrapped: &[u8]) -> Result<SecretKey, KmsError> {
        self.faults.pass(&self.faults.shared.unwraps).await?;
        self.inner.unwrap_dek(wrapped).await
    }

    async fn current_version(&self, kek: &str) -> Result<Option<Vec<u8>>, KmsError> {
        self.faults.pass(&self.faults.shared.versions).await?;
        self.inner.current_version(kek).await
    }

    fn version_poll_interval(&self) -> Duration {
        self.inner.version_poll_interval()
    }

    fn recheck_interval(&self) -> Duration {
        self.inner.recheck_interval()
    }
}

struct Shared {
    plan: ArcSwap<Plan>,
    held: watch::Sender<bool>,
    generates: AtomicU64,
    unwraps: AtomicU64,
    versions: AtomicU64,
}

#[derive(Clone, Default)]
struct Plan {
    delay: Option<Duration>,
    refusal: Option<KmsError>,
}
