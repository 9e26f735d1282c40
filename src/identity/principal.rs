//! Whom a client is taken for, once something that a broker cannot influence has vouched for it.

use std::fmt;
use std::sync::Arc;

/// A name as Kafka's ACLs have it, behind `User:`. It means something only with its cluster: authorities of two
/// clusters may give the same name to two clients.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Principal(Arc<str>);

impl Principal {
    /// A name that is not empty and not longer than [`NAME_BYTES_MAX`].
    pub(super) fn new(name: &str) -> Option<Self> {
        (1..=NAME_BYTES_MAX)
            .contains(&name.len())
            .then(|| Self(name.into()))
    }

    /// Whoever the network lets reach a listener: all of them are one.
    #[must_use]
    pub fn network() -> Self {
        Self("NETWORK".into())
    }

    /// The same, for tests.
    #[cfg(test)]
    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::new(name)
    }

    /// What stands behind `User:`. It may hold any character: show it escaped.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0
    }
}

/// As Kafka writes it.
impl fmt::Display for Principal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "User:{}", self.0)
    }
}

/// Longer than any name that somebody has to write into an ACL.
pub(super) const NAME_BYTES_MAX: usize = 8192;
