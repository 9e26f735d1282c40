//! Who the proxy is at a broker, and how it proves that.

use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;

use arc_swap::ArcSwap;
use zeroize::Zeroizing;

use super::Message;
use crate::identity::sasl::exchange::LoginMechanism;
use crate::identity::sasl::verifier::{Mechanism, PasswordKeys};

/// See the module. Whatever is shown of it is no secret.
pub struct Credential {
    proof: Proof,
}

/// What is said to a broker.
pub enum Proof {
    /// The password itself.
    Plain(Account),
    /// That it is known; with an extension in the first message, for delegation tokens (KIP-48).
    Scram(Mechanism, Account, Option<&'static str>),
    /// What somebody has issued.
    Token(Zeroizing<String>),
}

impl Credential {
    /// Who proves it so.
    #[must_use]
    pub fn new(proof: Proof) -> Self {
        Self { proof }
    }

    pub(super) fn proof(&self) -> &Proof {
        &self.proof
    }

    pub(super) fn account(&self) -> Option<&Account> {
        match &self.proof {
            Proof::Plain(account) | Proof::Scram(_, account, _) => Some(account),
            Proof::Token(_) => None,
        }
    }

    /// Who it is, and by which mechanism, where it has a name.
    #[must_use]
    pub fn identity(&self) -> Option<(LoginMechanism, &str)> {
        let account = self.account()?;
        Some((self.mechanism(), account.user()))
    }

    /// Whether both are one: by the same mechanism, with the same secret.
    #[must_use]
    pub fn proves_the_same(&self, other: &Self) -> bool {
        match (&self.proof, &other.proof) {
            (Proof::Plain(one), Proof::Plain(another)) => one.is(another),
            (Proof::Scram(by, one, extension), Proof::Scram(other_by, another, other_extension)) => {
                by == other_by && extension == other_extension && one.is(another)
            }
            (Proof::Token(one), Proof::Token(another)) => one == another,
            _ => false,
        }
    }

    /// By which mechanism.
    #[must_use]
    pub fn mechanism(&self) -> LoginMechanism {
        match &self.proof {
            Proof::Plain(_) => LoginMechanism::Plain,
            Proof::Scram(mechanism, ..) => LoginMechanism::Scram(*mechanism),
            Proof::Token(_) => LoginMechanism::OauthBearer,
        }
    }
}

/// Without what is secret.
impl fmt::Debug for Credential {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Credential")
            .field("mechanism", &self.mechanism())
            .field("user", &self.account().map(Account::user))
            .finish_non_exhaustive()
    }
}

/// A user and its password.
pub struct Account {
    user: String,
    password: Zeroizing<String>,
    /// What was made of the password for each broker last, the oldest first. Brokers of a cluster have one salt for a
    /// user, so there is one, but where a broker says others.
    hashed: ArcSwap<Vec<Arc<Hashed>>>,
    /// For which brokers it is hashed now.
    under_way: ArcSwap<Vec<Box<str>>>,
}

struct Hashed {
    broker: Box<str>,
    salting: Salting,
    keys: PasswordKeys,
}

/// How a broker wants a password hashed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Salting {
    pub(super) salt: Vec<u8>,
    pub(super) iterations: NonZeroU32,
}

impl Account {
    /// Passwords are the bytes that they are: there is no SASLprep in Kafka.
    #[must_use]
    pub fn new(user: String, password: Zeroizing<String>) -> Self {
        Self {
            user,
            password,
            hashed: ArcSwap::default(),
            under_way: ArcSwap::default(),
        }
    }

    pub(super) fn user(&self) -> &str {
        &self.user
    }

    fn is(&self, other: &Self) -> bool {
        self.user == other.user && self.password == other.password
    }

    /// RFC 4616: `NUL user NUL password`.
    pub(super) fn plain(&self) -> Message {
        let bytes = self.user.len().saturating_add(self.password.len());
        let mut message = Zeroizing::new(Vec::with_capacity(bytes.saturating_add(2)));
        message.push(0);
        message.extend_from_slice(self.user.as_bytes());
        message.push(0);
        message.extend_from_slice(self.password.as_bytes());
        message
    }

    /// What was made of the password for this salt, if it was the last of some broker.
    pub(super) fn keys(&self, salting: &Salting) -> Option<Keys> {
        let known = self.hashed.load();
        let found = known.iter().find(|hashed| hashed.salting == *salting);
        found.cloned().map(Keys)
    }

    /// Whether nobody else hashes it for this broker; from now on somebody does, until [`Self::end_hashing`].
    pub(super) fn begin_hashing(&self, broker: &str) -> bool {
        let is_under_way = |before: &Vec<Box<str>>| before.iter().any(|other| **other == *broker);
        let before = self.under_way.rcu(|before| {
            let mut after = Vec::clone(before);
            if !is_under_way(before) {
                after.push(broker.into());
            }
            after
        });
        !is_under_way(&before)
    }

    pub(super) fn end_hashing(&self, broker: &str) {
        self.under_way.rcu(|before| {
            let mut after = Vec::clone(before);
            after.retain(|other| **other != *broker);
            after
        });
    }

    /// Hashes it as `broker` wants it, unless that was done for another.
    pub(super) fn hash(&self, mechanism: Mechanism, broker: &str, salting: &Salting) {
        if self.keys(salting).is_some() {
            return;
        }
        let keys = PasswordKeys::derive(
            mechanism,
            self.password.as_bytes(),
            &salting.salt,
            salting.iterations,
        );
        let hashed = Arc::new(Hashed {
            broker: broker.into(),
            salting: salting.clone(),
            keys,
        });
        self.hashed.rcu(|before| {
            let others = before.iter().filter(|known| *known.broker != *broker);
            let mut after: Vec<_> = others.cloned().collect();
            if after.len() >= HASHED_MAX {
                after.remove(0);
            }
            after.push(Arc::clone(&hashed));
            after
        });
    }
}

/// More salts than a cluster's brokers have for a user: one, and another while a password is changed.
const HASHED_MAX: usize = 8;

/// What was made of a password.
pub(super) struct Keys(Arc<Hashed>);

impl std::ops::Deref for Keys {
    type Target = PasswordKeys;

    fn deref(&self) -> &PasswordKeys {
        &self.0.keys
    }
}
