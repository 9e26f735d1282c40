//! The running program: executors, acceptor and control thread, from start to clean end.
//!
//! ```text
//! main thread        reads the configuration, opens keystores, starts the rest, and is the control thread
//! acceptor           takes connections and spreads them evenly
//! executor 0..n      see `executor`
//! ```
//!
//! - SERVER-1: nothing is served before every listener is bound and every executor runs.
//! - SERVER-2: SIGTERM and SIGINT drain: nothing new is accepted, what is in flight is finished, at most for
//!   `limits.drain_timeout`; then every task is cancelled and every thread joined. Ports are closed at once, since it
//!   takes a second or two where brokers answer: a successor can bind them meanwhile.
//! - SERVER-3: an executor that ends unasked ends the program with an error, at once: the rest could not serve its
//!   share.
//! - SERVER-4: the self-check runs beside, when clients are served already, and is left behind when the program ends.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]
#![expect(
    clippy::disallowed_methods,
    reason = "threads that are not executors read the clock themselves"
)]

mod acceptor;
mod access_files;
mod aside;
mod broker_tokens;
mod control;
mod delegation_tokens;
mod followed_files;
mod hidden;
mod key_sets;
mod names;
mod notices;
mod passwords;
mod prepared;
mod sending;
mod shut_out;
#[cfg(feature = "testing")]
pub mod simulated;
mod spread;
mod stable_keys;
mod start;
mod state_file;
mod threads;
mod tls_files;
mod topic_looks;

use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
#[cfg(feature = "testing")]
use std::sync::Arc;
#[cfg(feature = "testing")]
use std::thread::JoinHandle;

use tokio::sync::oneshot;

use self::prepared::Prepared;
use self::stable_keys::StableKeysFile;
use crate::admin::ProcessFacts;
use crate::config::{Config, ForgeableKek};
use crate::crypto::memory::{self, MemoryProtection};
use crate::envelope::StableKeyId;
use crate::keyring::{Keyring, KeyringError};
#[cfg(feature = "testing")]
use crate::kms::Kms;
use crate::kms::keystore::KeystoreError;
use crate::ring;
use crate::transport::certificates::CertificateError;

/// Why the program does not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServerError {
    /// io_uring cannot be used.
    #[error(transparent)]
    Ring(#[from] ring::RingError),
    /// A keystore does not open.
    #[error("kms {name:?}: {source}")]
    Keystore {
        /// The KMS's name in the configuration.
        name: String,
        /// What is wrong.
        source: KeystoreError,
    },
    /// The keyring cannot be read.
    #[error("keyring: {0}")]
    Keyring(#[from] KeyringError),
    /// A key of the keyring that seals record keys does not open.
    #[error("keyring: {}: stable key {id} ({name}): {reason}", path.display())]
    StableKey {
        /// The keyring.
        path: PathBuf,
        /// Which key.
        id: StableKeyId,
        /// Its name.
        name: String,
        /// Why not.
        reason: String,
    },
    /// A rule uses a KEK with a public wrapping key, and does not say that it may.
    #[error(transparent)]
    ForgeableKek(#[from] ForgeableKek),
    /// Files of TLS cannot be used.
    #[error("{name}: {source}")]
    Tls {
        /// Whose they are.
        name: String,
        /// What is wrong.
        source: CertificateError,
    },
    /// A file that says who may do something cannot be used.
    #[error("{whose}: {reason}")]
    Access {
        /// Of which listener or group, and cluster.
        whose: String,
        /// What is wrong.
        reason: String,
    },
    /// The audit log cannot be written to where it should.
    #[error("audit.to: the audit log cannot be opened: {0}")]
    Audit(io::Error),
    /// A port cannot be listened on.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the kernel said.
        source: io::Error,
    },
    /// An executor did not start.
    #[error("executor {0} does not start: {1}")]
    Executor(usize, String),
    /// The ring flags were not set: the program was linked without its own io_uring stubs.
    #[error("this build does not set its io_uring flags: src/ring.rs was not linked")]
    RingFlags,
    /// The runtime of the control thread does not start.
    #[error("the control thread does not start: {0}")]
    Control(io::Error),
}

/// Runs the proxy on this thread until SIGTERM or SIGINT, and drains.
///
/// # Errors
/// [`ServerError`] before anything is served.
pub fn run(config: Config) -> Result<(), Box<dyn Error>> {
    let server = Prepared::from_config(config, |kms| kms)?;
    let (_stop, stopped) = oneshot::channel();
    server.run(stopped, true)?;
    Ok(())
}

/// A proxy that runs inside a test: the same as [`run`], on threads of its own.
#[cfg(feature = "testing")]
pub struct Running {
    stop: oneshot::Sender<()>,
    thread: JoinHandle<Result<(), ServerError>>,
}

#[cfg(feature = "testing")]
impl Running {
    /// Starts a proxy whose KMSs are wrapped by `layer`.
    ///
    /// # Errors
    /// [`ServerError`] when it does not start.
    pub fn start(
        config: Config,
        layer: impl Fn(Arc<dyn Kms>) -> Arc<dyn Kms> + Send + 'static,
    ) -> Result<Self, ServerError> {
        let server = Prepared::from_config(config, layer)?;
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::Builder::new()
            .name("control".to_owned())
            .spawn(move || server.run(stopped, false))
            .map_err(ServerError::Control)?;
        Ok(Self { stop, thread })
    }

    /// Drains and ends it.
    ///
    /// # Errors
    /// What the control thread ended with.
    pub fn stop(self) -> Result<(), ServerError> {
        let _ = self.stop.send(());
        self.thread.join().unwrap_or_else(|_| {
            Err(ServerError::Control(io::Error::other(
                "the control thread panicked",
            )))
        })
    }
}

fn protect_keys(slots: usize) -> MemoryProtection {
    let dumpable = !memory::forbid_core_dumps();
    let protection = memory::initialise(slots);
    if dumpable || !protection.is_complete() {
        tracing::warn!(
            locked = protection.locked,
            excluded_from_dumps = protection.excluded_from_dumps,
            core_dumps_forbidden = !dumpable,
            "the kernel does not protect key memory fully: raise the memlock limit (LimitMEMLOCK=)"
        );
    }
    protection
}

fn log_start(config: &Config, executors: usize, facts: &ProcessFacts, stable_keys: Option<&StableKeysFile>) {
    let stable_keys = stable_keys.map(StableKeysFile::keys);
    let keyring = stable_keys.as_ref().map(|keys| keys.keyring());
    let listeners: Vec<String> = config
        .clusters
        .iter()
        .flat_map(|cluster| {
            cluster
                .listeners
                .iter()
                .map(move |listener| format!("{}/{} on {}", cluster.name, listener.name, listener.listen))
        })
        .collect();
    let rules: usize = config
        .clusters
        .iter()
        .map(|cluster| cluster.rules.rules().len())
        .sum();
    let kms: Vec<&str> = config.kms.iter().map(|kms| kms.name.as_str()).collect();
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        executors,
        listeners = listeners.join(", "),
        rules,
        kms = kms.join(", "),
        keys_locked = facts.keys_locked,
        keys_excluded_from_dumps = facts.keys_excluded_from_dumps,
        keyring = keyring.map(Keyring::fingerprint),
        stable_keys = keyring.map(|keyring| keyring.keys().len()),
        pins = keyring.map(|keyring| keyring.pins().len()),
        "sealwire serves"
    );
    for warning in &config.warnings {
        let (problem, instead) = (&warning.problem, &warning.fix);
        tracing::warn!(problem, instead, "{}: {}", warning.origin, warning.key);
    }
}
