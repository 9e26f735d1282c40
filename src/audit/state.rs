//! Whether the audit log can go on, as every thread sees it.
//!
//! - AUDIT-4: while it cannot, and `on_full` is `hold`, nothing is sealed, opened or let in; that asks for one load of
//!   an atomic and waits for nobody.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use arc_swap::ArcSwapOption;

use crate::config::OnFull;

/// See the module. Without `[audit]` nothing is ever held.
#[derive(Debug, Default)]
pub struct AuditState {
    on_full: Option<OnFull>,
    obstacles: AtomicU8,
    /// What the kernel has said of the last write, where it has failed.
    fault: ArcSwapOption<String>,
    written: AtomicU64,
    dropped: AtomicU64,
    /// Lines that were handed to the thread.
    taken: AtomicU64,
    lost: AtomicU64,
}

/// Why events are not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Obstacle {
    /// The last write has failed.
    Failing = 1,
    /// More lines wait than there is room for.
    Full = 2,
}

impl AuditState {
    /// Of a program with `[audit]`.
    #[must_use]
    pub fn new(on_full: OnFull) -> Self {
        Self {
            on_full: Some(on_full),
            ..Self::default()
        }
    }

    /// Whether there is an `[audit]`: only then is it told who logs in.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.on_full.is_some()
    }

    /// Whether what would be audited has to wait (AUDIT-4).
    #[must_use]
    pub fn holds(&self) -> bool {
        self.obstacles.load(Ordering::Relaxed) != 0 && self.on_full == Some(OnFull::Hold)
    }

    /// Whether events that find no room are dropped.
    pub(super) fn drops(&self) -> bool {
        self.on_full == Some(OnFull::Drop)
    }

    /// Why it cannot go on, for people.
    #[must_use]
    pub fn fault(&self) -> Option<String> {
        if self.obstacles.load(Ordering::Relaxed) == 0 {
            return None;
        }
        let slow = || "it is written more slowly than events come".to_owned();
        Some(self.fault.load().as_deref().cloned().unwrap_or_else(slow))
    }

    /// Events that were written.
    #[must_use]
    pub fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    /// Events that found no room.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Events that were not written when the program ended.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// The program ends, and so many will not be written.
    pub fn count_lost(&self, events: u64) {
        self.lost.fetch_add(events, Ordering::Relaxed);
    }

    /// The thread was handed a line.
    pub(super) fn count_taken(&self) {
        self.taken.fetch_add(1, Ordering::Relaxed);
    }

    /// Lines that the thread was handed and has not written.
    pub(super) fn unwritten(&self) -> u64 {
        self.taken.load(Ordering::Relaxed).saturating_sub(self.written())
    }

    pub(super) fn set(&self, obstacle: Obstacle, there: bool) {
        let bit = obstacle as u8;
        if there {
            self.obstacles.fetch_or(bit, Ordering::Relaxed);
        } else if self.obstacles.load(Ordering::Relaxed) & bit != 0 {
            self.obstacles.fetch_and(!bit, Ordering::Relaxed);
        }
    }

    /// A write has failed, or goes well again.
    pub(super) fn set_fault(&self, fault: Option<String>) {
        let is_there = fault.is_some();
        self.fault.store(fault.map(Arc::new));
        self.set(Obstacle::Failing, is_there);
    }

    pub(super) fn count_written(&self, events: u64) {
        self.written.fetch_add(events, Ordering::Relaxed);
    }

    pub(super) fn count_dropped(&self, events: u64) {
        self.dropped.fetch_add(events, Ordering::Relaxed);
    }

    /// As if the disk were full, or had room again.
    #[cfg(feature = "testing")]
    pub fn fail_for_test(&self, fails: bool) {
        self.set_fault(fails.then(|| "no space".to_owned()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// AUDIT-4
    #[test]
    fn only_where_it_is_configured_so_anything_is_held() {
        let states = [
            (AuditState::default(), false),
            (AuditState::new(OnFull::Drop), false),
            (AuditState::new(OnFull::Hold), true),
        ];
        for (state, holds) in states {
            assert!(!state.holds() && state.fault().is_none());
            for obstacle in [Obstacle::Failing, Obstacle::Full] {
                state.set(obstacle, true);
            }
            assert_eq!(state.holds(), holds);
            state.set(Obstacle::Failing, false);
            assert_eq!(state.holds(), holds, "it is still full");
            assert!(state.fault().is_some_and(|fault| fault.contains("slowly")));
            state.set(Obstacle::Full, false);
            assert!(!state.holds() && state.fault().is_none());
            state.set_fault(Some("no space".to_owned()));
            assert_eq!(state.holds(), holds);
            assert_eq!(state.fault().as_deref(), Some("no space"));
        }
    }
}
