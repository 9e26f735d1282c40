//! Which kind of call is next where calls of several kinds wait for one KMS.
//!
//! - CALL-TURNS-1: sealing goes first, then checks, then consumers at the end of the log, then those that read history.
//!   But a kind that waits has one call in [`CALLS_TO_A_TURN`] at least, in whichever slot: however much one of them
//!   wants, by a client that names KEK after KEK, or where fewer calls may begin in a second than rechecks are due, it
//!   keeps no other from the KMS.

/// What calls are for, the most urgent first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Seal,
    Check,
    Tail,
    Backfill,
}

impl Kind {
    pub(super) const ALL: [Self; 4] = [Self::Seal, Self::Check, Self::Tail, Self::Backfill];

    /// How many eighths of the slots it may take out of turn.
    pub(super) fn share_of_8(self) -> usize {
        match self {
            Self::Seal => 8,
            Self::Check => 7,
            Self::Tail => 6,
            Self::Backfill => 4,
        }
    }
}

/// How often each kind was passed over in a row, in the order of [`Kind`].
#[derive(Default, Clone, Copy)]
pub(super) struct Turns([u32; Kind::ALL.len()]);

impl Turns {
    /// Whether it is this kind's turn, whatever else waits.
    pub(super) fn is_up(&self, kind: Kind) -> bool {
        let passed_over = self.0.get(kind as usize).copied().unwrap_or_default();
        passed_over >= CALLS_TO_A_TURN.saturating_sub(1)
    }

    /// A call of this kind begins.
    pub(super) fn began(&mut self, begun: Kind, waits: impl Fn(Kind) -> bool) {
        for (kind, count) in Kind::ALL.into_iter().zip(&mut self.0) {
            *count = match kind != begun && waits(kind) {
                true => count.saturating_add(1),
                false => 0,
            };
        }
    }
}

/// Few enough that rechecks keep their interval in an eighth of the calls that a KMS permits by default, and readers
/// come to their keys; many enough that whoever is more urgent notices nothing.
pub(super) const CALLS_TO_A_TURN: u32 = 8;
