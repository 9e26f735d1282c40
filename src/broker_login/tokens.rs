//! Delegation tokens (KIP-48, KIP-373) as one executor knows them: by which it logs in for whom, and which are to be
//! made. Brokers make them for the proxy, for a principal each; whoever logs in by one is that principal there.
//!
//! - TOKENS-1: a principal has one token, however many connections it has: another is asked for when there is none, in
//!   the second half of its time, or when brokers have refused it.
//! - TOKENS-2: a broker may hear of a token some seconds late. One that replaces another is used once it has
//!   [settled](SETTLED_AFTER), or when the other is about to end; the first of a principal is used at once, and its
//!   refusal does not count until then.
//! - TOKENS-3: what was asked for in vain is left alone for as long as whoever makes tokens says.
//! - TOKENS-4: of at most [`PRINCIPALS_MAX`] principals something is kept; the one that was silent for longest is
//!   forgotten.
//!
//! Pure. Executor threads.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::BrokerAccount;
use crate::identity::Principal;

/// A token, and its time.
#[derive(Clone, Debug)]
pub struct DelegationToken {
    /// Who the proxy is by it.
    pub account: Arc<BrokerAccount>,
    /// When another is to be made.
    pub renew_at: Instant,
    /// When it is good no more.
    pub ends: Instant,
}

/// Why there is no token.
#[derive(Clone, Debug)]
pub struct NoToken {
    /// Brokers do not make one, and will not until somebody changes something; else they could not be asked.
    pub is_refused: bool,
    /// For the log: what is wrong, and what to do.
    pub why: Arc<str>,
    /// Until when it is left alone.
    pub until: Instant,
}

/// What has become of a wish.
pub type TokenNews = Result<DelegationToken, NoToken>;

/// That a token be made.
#[derive(Clone, Debug)]
pub struct TokenWish {
    /// For whom.
    pub principal: Principal,
    /// A token that brokers have refused.
    pub instead_of: Option<Arc<BrokerAccount>>,
}

/// Who the proxy is at brokers for a principal.
#[derive(Debug)]
pub enum AccountFor {
    /// By this.
    Known(Arc<BrokerAccount>),
    /// Nobody: no account is for it.
    Nobody,
    /// That is not known yet: news will come.
    Awaited,
    /// There is no token for it.
    NoToken(NoToken),
}

/// See the module.
#[derive(Debug, Default)]
pub struct TokenBook {
    known: HashMap<Principal, Entry>,
}

#[derive(Debug)]
struct Entry {
    token: Option<DelegationToken>,
    /// Replaces it when it has settled (TOKENS-2).
    next: Option<DelegationToken>,
    failed: Option<NoToken>,
    asked: Option<Instant>,
    /// Brokers have refused it, and whoever makes tokens may not know.
    refused: Option<Arc<BrokerAccount>>,
    used: Instant,
}

impl Entry {
    fn new(now: Instant) -> Self {
        Self {
            token: None,
            next: None,
            failed: None,
            asked: None,
            refused: None,
            used: now,
        }
    }

    /// TOKENS-2
    fn settle(&mut self, now: Instant) {
        let is_over = |token: &DelegationToken| {
            token
                .ends
                .checked_duration_since(now)
                .is_none_or(|left| left < LEFT_MIN)
        };
        let is_ready = self
            .next
            .as_ref()
            .is_some_and(|next| !next.account.is_settling(now) || self.token.as_ref().is_none_or(is_over));
        if is_ready {
            self.token = self.next.take();
        }
        if self.token.as_ref().is_some_and(is_over) {
            self.token = None;
        }
        if self.failed.as_ref().is_some_and(|failed| now >= failed.until) {
            self.failed = None;
        }
    }

    /// Asks, unless that was done a moment ago or is in vain (TOKENS-1, TOKENS-3).
    fn wish(&mut self, principal: &Principal, now: Instant) -> Option<TokenWish> {
        let is_asked = |at: Instant| now.saturating_duration_since(at) < ASK_AGAIN;
        if self.next.is_some() || self.failed.is_some() || self.asked.is_some_and(is_asked) {
            return None;
        }
        self.asked = Some(now);
        Some(TokenWish {
            principal: principal.clone(),
            instead_of: self.refused.clone(),
        })
    }
}

impl TokenBook {
    /// By what it is logged in for this principal; and what is to be asked for, if anything.
    pub fn of(&mut self, principal: &Principal, now: Instant) -> (AccountFor, Option<TokenWish>) {
        if !self.known.contains_key(principal) {
            self.make_room();
        }
        let entry = self
            .known
            .entry(principal.clone())
            .or_insert_with(|| Entry::new(now));
        entry.used = now;
        entry.settle(now);
        match (&entry.token, &entry.failed) {
            (Some(token), _) => {
                let known = AccountFor::Known(Arc::clone(&token.account));
                let is_due = now >= token.renew_at;
                (known, is_due.then(|| entry.wish(principal, now)).flatten())
            }
            (None, Some(failed)) => (AccountFor::NoToken(failed.clone()), None),
            (None, None) => (AccountFor::Awaited, entry.wish(principal, now)),
        }
    }

    /// What has become of a wish. Nobody waits for one of a principal that was forgotten.
    pub fn take(&mut self, principal: &Principal, news: TokenNews, now: Instant) {
        let Some(entry) = self.known.get_mut(principal) else {
            return;
        };
        match news {
            Ok(token) => {
                let is_same = |known: &Arc<BrokerAccount>| Arc::ptr_eq(known, &token.account);
                if entry.refused.as_ref().is_some_and(is_same) {
                    return;
                }
                if entry.token.as_ref().is_some_and(|known| is_same(&known.account)) {
                    return;
                }
                entry.asked = None;
                entry.refused = None;
                entry.failed = None;
                entry.next = Some(token);
                entry.settle(now);
            }
            Err(failed) => {
                entry.asked = None;
                entry.failed = Some(failed);
            }
        }
    }

    /// Brokers have refused this token, which had settled: it is used no more.
    pub fn refused(&mut self, principal: &Principal, account: &Arc<BrokerAccount>) {
        let Some(entry) = self.known.get_mut(principal) else {
            return;
        };
        let is_it = |token: &DelegationToken| Arc::ptr_eq(&token.account, account);
        if entry.token.as_ref().is_some_and(is_it) {
            entry.token = None;
            entry.refused = Some(Arc::clone(account));
        }
    }

    /// TOKENS-4
    fn make_room(&mut self) {
        if self.known.len() < PRINCIPALS_MAX {
            return;
        }
        let silent = self.known.iter().min_by_key(|(_, entry)| entry.used);
        if let Some(principal) = silent.map(|(principal, _)| principal.clone()) {
            self.known.remove(&principal);
        }
    }
}

/// As many as there may be users.
const PRINCIPALS_MAX: usize = 10_000;
/// A broker that has not heard of a token by then does not follow its controller.
pub(super) const SETTLED_AFTER: Duration = Duration::from_secs(10);
/// A login by a token that is good for less would have to be renewed within a second, which brokers refuse (KIP-368).
const LEFT_MIN: Duration = Duration::from_secs(2);
/// A wish may have found no room.
const ASK_AGAIN: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use zeroize::Zeroizing;

    use super::*;
    use crate::identity::sasl::initiator::{Account, Credential, Proof};
    use crate::identity::sasl::verifier::Mechanism;

    const SECOND: Duration = Duration::from_secs(1);

    fn principal(name: &str) -> Principal {
        Principal::named(name).expect("a name")
    }

    /// Good for 100 s.
    fn token(now: Instant) -> DelegationToken {
        let account = Account::new("id".to_owned(), Zeroizing::new("secret".to_owned()));
        let credential = Credential::new(Proof::Scram(Mechanism::Sha256, account, Some("tokenauth=true")));
        DelegationToken {
            account: Arc::new(BrokerAccount::of_token(credential, now)),
            renew_at: now + 50 * SECOND,
            ends: now + 100 * SECOND,
        }
    }

    fn is(found: &AccountFor, token: &DelegationToken) -> bool {
        matches!(found, AccountFor::Known(account) if Arc::ptr_eq(account, &token.account))
    }

    /// TOKENS-1, TOKENS-2
    #[test]
    fn one_token_is_used_until_the_next_has_settled() {
        let (mut book, app, begun) = (TokenBook::default(), principal("app"), Instant::now());
        let (found, wish) = book.of(&app, begun);
        assert!(matches!(found, AccountFor::Awaited) && wish.is_some());
        let (found, wish) = book.of(&app, begun + SECOND);
        assert!(matches!(found, AccountFor::Awaited) && wish.is_none(), "one wish");
        assert!(book.of(&app, begun + 2 * SECOND).1.is_some(), "it may be lost");
        let first = token(begun);
        book.take(&app, Ok(first.clone()), begun + 3 * SECOND);
        for seconds in [3, 49] {
            let (found, wish) = book.of(&app, begun + seconds * SECOND);
            assert!(is(&found, &first) && wish.is_none(), "{seconds}");
        }
        let (found, wish) = book.of(&app, begun + 50 * SECOND);
        assert!(is(&found, &first) && wish.is_some());
        let second = token(begun + 50 * SECOND);
        book.take(&app, Ok(second.clone()), begun + 51 * SECOND);
        let (found, wish) = book.of(&app, begun + 59 * SECOND);
        assert!(is(&found, &first) && wish.is_none(), "it has not settled");
        assert!(is(&book.of(&app, begun + 60 * SECOND).0, &second));
        let late = token(begun + 145 * SECOND);
        book.take(&app, Ok(late.clone()), begun + 145 * SECOND);
        assert!(is(&book.of(&app, begun + 147 * SECOND).0, &second));
        assert!(
            is(&book.of(&app, begun + 149 * SECOND).0, &late),
            "the other ends"
        );
        let (found, wish) = book.of(&app, begun + 245 * SECOND);
        assert!(matches!(found, AccountFor::Awaited) && wish.is_some());
    }

    /// TOKENS-3
    #[test]
    fn what_was_asked_for_in_vain_is_left_alone() {
        let (mut book, app, begun) = (TokenBook::default(), principal("app"), Instant::now());
        let failed = |until| NoToken {
            is_refused: true,
            why: "no right".into(),
            until,
        };
        let _ = book.of(&app, begun);
        book.take(&app, Err(failed(begun + 4 * SECOND)), begun);
        for seconds in [0, 3] {
            let (found, wish) = book.of(&app, begun + seconds * SECOND);
            assert!(matches!(found, AccountFor::NoToken(_)) && wish.is_none());
        }
        let (found, wish) = book.of(&app, begun + 4 * SECOND);
        assert!(matches!(found, AccountFor::Awaited) && wish.is_some());
        // A token that there is stays in use.
        let known = token(begun);
        book.take(&app, Ok(known.clone()), begun);
        let _ = book.of(&app, begun + 50 * SECOND);
        book.take(&app, Err(failed(begun + 60 * SECOND)), begun + 50 * SECOND);
        let (found, wish) = book.of(&app, begun + 59 * SECOND);
        assert!(is(&found, &known) && wish.is_none());
        assert!(book.of(&app, begun + 60 * SECOND).1.is_some());
    }

    /// TOKENS-1
    #[test]
    fn a_refused_token_is_replaced() {
        let (mut book, app, begun) = (TokenBook::default(), principal("app"), Instant::now());
        let _ = book.of(&app, begun);
        let known = token(begun);
        book.take(&app, Ok(known.clone()), begun);
        book.refused(&app, &known.account);
        let (found, wish) = book.of(&app, begun + SECOND);
        assert!(matches!(found, AccountFor::Awaited));
        let instead_of = wish.and_then(|wish| wish.instead_of).expect("it is said which");
        assert!(Arc::ptr_eq(&instead_of, &known.account));
        // As from whoever does not know of it.
        book.take(&app, Ok(known), begun + SECOND);
        assert!(matches!(book.of(&app, begun + SECOND).0, AccountFor::Awaited));
    }

    /// TOKENS-4
    #[test]
    fn whoever_was_silent_for_longest_is_forgotten() {
        let (mut book, begun) = (TokenBook::default(), Instant::now());
        for number in 0..PRINCIPALS_MAX as u32 {
            let _ = book.of(&principal(&number.to_string()), begun + number * SECOND);
        }
        let later = begun + PRINCIPALS_MAX as u32 * SECOND;
        let _ = book.of(&principal("0"), later);
        let _ = book.of(&principal("more"), later);
        assert_eq!(book.known.len(), PRINCIPALS_MAX);
        assert!(book.known.contains_key(&principal("0")) && !book.known.contains_key(&principal("1")));
    }
}
