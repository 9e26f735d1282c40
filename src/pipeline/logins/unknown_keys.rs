//! Keys that tokens name and nobody knows: whoever signs tokens may have a new one.
//!
//! - UNKNOWN-KEYS-1: for each of them the key set is fetched once a minute, and no token is refused for its key before
//!   that. Until then it is not known whose it is (LOGIN-2).
//! - UNKNOWN-KEYS-2: so many are looked for at a time: anybody may make up ids. Each new one counts as a login that has
//!   failed, of the address that it came from; whoever comes with one that is looked for already does not.
//!
//! Executor threads only.

use std::time::Duration;

/// Those that are looked for, or were not found, at one listener.
#[derive(Debug, Default)]
pub(super) struct UnknownKeys {
    looked_for: Vec<Sought>,
    /// When the fetching of the set in force was begun, since 1970; `None`: it was not fetched.
    fetched: Option<Duration>,
}

/// What is known of a key that a token names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Search {
    /// The set is to be fetched for it.
    Begins,
    /// The set has not come yet.
    IsUnderWay,
    /// There is no room for one more search.
    NoRoom,
    /// The issuer does not know it either.
    WasInVain,
}

#[derive(Debug)]
struct Sought {
    id: Box<str>,
    /// Since 1970.
    since: Duration,
}

impl UnknownKeys {
    /// A set is in force whose fetching was begun then, since 1970. What was asked for later may not be in it yet.
    pub(super) fn fetched(&mut self, begun: Duration) {
        self.fetched = Some(begun);
    }

    /// A token names this key (UNKNOWN-KEYS-1); `now`: since 1970.
    pub(super) fn search(&mut self, id: &str, now: Duration) -> Search {
        // What is later than now was so before the clock was set.
        self.looked_for
            .retain(|sought| now.checked_sub(sought.since).is_some_and(|ago| ago < REMEMBERED));
        if let Some(sought) = self.looked_for.iter().find(|sought| &*sought.id == id) {
            return match self.fetched.is_some_and(|begun| begun >= sought.since) {
                true => Search::WasInVain,
                false => Search::IsUnderWay,
            };
        }
        // UNKNOWN-KEYS-2
        if self.looked_for.len() >= SOUGHT_MAX {
            return Search::NoRoom;
        }
        self.looked_for.push(Sought {
            id: id.into(),
            since: now,
        });
        Search::Begins
    }
}

/// How long a key that was not found counts as one that there is not.
const REMEMBERED: Duration = Duration::from_secs(60);
/// Each of them up to 1000 bytes.
const SOUGHT_MAX: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(1_000_000);

    /// UNKNOWN-KEYS-1
    #[test]
    fn no_key_is_unknown_before_the_issuer_was_asked() {
        const SECOND: Duration = Duration::from_secs(1);
        let mut keys = UnknownKeys::default();
        keys.fetched(NOW - SECOND);
        assert_eq!(keys.search("a", NOW), Search::Begins);
        assert_eq!(keys.search("a", NOW), Search::IsUnderWay);
        // One that was under way by then: the issuer may have said it before it had the key.
        keys.fetched(NOW - SECOND / 2);
        assert_eq!(keys.search("a", NOW + SECOND), Search::IsUnderWay);
        keys.fetched(NOW);
        assert_eq!(keys.search("a", NOW + REMEMBERED / 2), Search::WasInVain);
        assert_eq!(keys.search("b", NOW + SECOND), Search::Begins);
        // A minute later, or after the clock was set back.
        for later in [NOW + REMEMBERED + SECOND, NOW - SECOND * 10] {
            assert_eq!(keys.search("a", later), Search::Begins);
            keys.fetched(later);
            assert_eq!(keys.search("a", later), Search::WasInVain);
        }
    }

    /// UNKNOWN-KEYS-2
    #[test]
    fn ids_that_are_made_up_take_no_more_room_than_there_is() {
        let mut keys = UnknownKeys::default();
        let begun = (0..1000).filter(|number| keys.search(&number.to_string(), NOW) == Search::Begins);
        assert_eq!(begun.count(), SOUGHT_MAX);
        keys.fetched(NOW);
        assert_eq!(keys.search("another", NOW), Search::NoRoom);
        assert_eq!(keys.search("another", NOW + REMEMBERED), Search::Begins);
    }
}
