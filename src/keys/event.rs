//! What happens to keys and KMSs, for the audit log.
//!
//! - KEY-EVENT-1: the key service waits for nobody who takes them: what finds no room is counted, and the next one that
//!   is taken says how many those were. What records and clients can name has room of its own, and pushes out nothing
//!   else.
//! - they name KMSs, KEKs and versions, and hold no key.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;
use std::time::Duration;

use super::ledger::WrongDek;
use super::request::KeyFailure;
use crate::channel::{Receiver, Sender, channel};
use crate::envelope::WrappedDek;
use crate::kms::KmsError;

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyEvent {
    /// The KMS, as the configuration names it.
    pub kms: Arc<str>,
    /// What.
    pub kind: KeyEventKind,
}

/// See [`KeyEvent`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyEventKind {
    /// A DEK was made, and seals from now on.
    Made(KekVersion),
    /// A DEK was unwrapped, the first under a version that was not in use.
    Unwrapped(KekVersion),
    /// The KMS refuses a KEK, or a version of it.
    Refused(KekVersion, KeyFailure),
    /// Another version of a KEK seals from now on.
    Rotated {
        /// That one.
        kek: KekVersion,
        /// The one before.
        before: Arc<[u8]>,
    },
    /// The KMS refuses a version in use: every key under it was dropped.
    Revoked(KekVersion, KeyFailure),
    /// The KMS has not confirmed a version in use for too long: every key under it was dropped.
    Lapsed(KekVersion),
    /// The KMS unwraps another DEK than the one that is known.
    Wrong(KekVersion, WrongDek),
    /// The KMS does not answer any more.
    Lost(Absence),
    /// It answers again, after so long.
    Found(Duration),
}

impl KeyEventKind {
    /// Whether records or clients can have it happen as often as they like.
    #[must_use]
    pub fn is_named(&self) -> bool {
        matches!(self, Self::Unwrapped(_) | Self::Refused(..))
    }
}

/// A KEK, and a version of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KekVersion {
    /// The name, as a rule or a stored record has it: any bytes.
    pub kek: Arc<[u8]>,
    /// As wrapped DEKs have it; empty where there is none, or it is not known.
    pub version: Arc<[u8]>,
}

impl KekVersion {
    /// That of a wrapped DEK, or of what one starts with; nothing of what cannot be read.
    pub(super) fn of(wrapped: &[u8]) -> Self {
        let parsed = WrappedDek::parse(wrapped);
        let (kek, version) = parsed.map_or((&[][..], &[][..]), |parsed| (parsed.kek, parsed.version));
        Self {
            kek: kek.into(),
            version: version.into(),
        }
    }

    /// A KEK of which no version is meant.
    pub(super) fn any(kek: &Arc<str>) -> Self {
        Self {
            kek: Arc::clone(kek).into(),
            version: Arc::default(),
        }
    }
}

/// Why a KMS counts as away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Absence {
    /// It cannot be reached, does not answer in time, or answers nonsense.
    Unavailable,
    /// It is asked too often.
    Throttled,
    /// It refuses the proxy's own credentials.
    CredentialsRefused,
}

impl Absence {
    /// All of them.
    #[cfg(any(test, feature = "testing"))]
    pub const ALL: [Self; 3] = [Self::Unavailable, Self::Throttled, Self::CredentialsRefused];

    /// A fixed word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unavailable => "unavailable",
            Self::Throttled => "throttled",
            Self::CredentialsRefused => "credentials_refused",
        }
    }

    /// That of an error which is no verdict.
    pub(super) fn of(outage: &KmsError) -> Self {
        match outage {
            KmsError::Throttled { .. } => Self::Throttled,
            KmsError::CredentialsRefused(_) => Self::CredentialsRefused,
            _ => Self::Unavailable,
        }
    }
}

/// An event, and how many others found no room since the one before.
pub struct ToldKeyEvent {
    /// The event.
    pub event: KeyEvent,
    /// Others.
    pub left_out: u64,
}

/// The key service's end.
pub(super) struct KeyEvents {
    named: Sender<KeyEvent>,
    others: Sender<KeyEvent>,
    left_out: Arc<AtomicU64>,
}

/// The end of whoever writes them.
pub struct ToldKeyEvents {
    named: Receiver<KeyEvent>,
    others: Receiver<KeyEvent>,
    left_out: Arc<AtomicU64>,
}

/// Both ends.
pub(super) fn key_events() -> (KeyEvents, ToldKeyEvents) {
    let (to_named, named) = channel(KEY_EVENTS_MAX);
    let (to_others, others) = channel(KEY_EVENTS_MAX);
    let left_out = Arc::new(AtomicU64::new(0));
    let events = KeyEvents {
        named: to_named,
        others: to_others,
        left_out: Arc::clone(&left_out),
    };
    let told = ToldKeyEvents {
        named,
        others,
        left_out,
    };
    (events, told)
}

impl KeyEvents {
    /// KEY-EVENT-1
    pub(super) fn tell(&self, event: KeyEvent) {
        let room = match event.kind.is_named() {
            true => &self.named,
            false => &self.others,
        };
        if room.try_send(event).is_err() {
            self.left_out.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl ToldKeyEvents {
    /// Takes the next one; whoever stops waiting loses none.
    pub async fn recv(&mut self) -> ToldKeyEvent {
        let event = poll_fn(|context| match self.others.poll_recv(context) {
            Poll::Ready(event) => Poll::Ready(event),
            Poll::Pending => self.named.poll_recv(context),
        })
        .await;
        ToldKeyEvent {
            event,
            left_out: self.left_out.swap(0, Ordering::Relaxed),
        }
    }
}

/// Events of either kind that wait for whoever writes them.
const KEY_EVENTS_MAX: usize = 256;

#[cfg(test)]
mod tests {
    use futures_lite::future::{block_on, poll_once};

    use super::*;

    /// KEY-EVENT-1
    #[test]
    fn what_finds_no_room_is_counted_and_pushes_out_no_other_kind() {
        let (events, mut told) = key_events();
        let mut next = || block_on(poll_once(told.recv()));
        let tell = |kind| {
            events.tell(KeyEvent {
                kms: "local".into(),
                kind,
            });
        };
        let refused = || KeyEventKind::Refused(KekVersion::any(&"a".into()), KeyFailure::KekDenied);
        for _ in 0..KEY_EVENTS_MAX + 3 {
            tell(refused());
        }
        tell(KeyEventKind::Lost(Absence::Throttled));
        let first = next().expect("it has room of its own");
        assert_eq!(
            (first.event.kind, first.left_out),
            (KeyEventKind::Lost(Absence::Throttled), 3)
        );
        for _ in 0..KEY_EVENTS_MAX {
            let told = next().expect("it waits");
            assert_eq!((told.event.kind, told.left_out), (refused(), 0));
        }
        assert!(next().is_none());
    }
}
