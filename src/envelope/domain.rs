//! The text that a seal is bound to, by default the topic's name.
//!
//! - DOMAIN-1: 1 to 65535 bytes of UTF-8 (ENV-30): what the additional data's length field can say, and never empty, so
//!   that a template which expands to nothing cannot tie all topics together.

use super::short_digest::short_digest;

/// Longest domain, in bytes: its length field in the additional data is a u16.
pub const DOMAIN_BYTES_MAX: usize = u16::MAX as usize;

/// A domain and its hint.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Domain {
    name: Box<str>,
    hint: [u8; 4],
}

/// Why a text is no domain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DomainError {
    /// The text is empty.
    #[error("a domain must not be empty")]
    Empty,
    /// The text is longer than [`DOMAIN_BYTES_MAX`] bytes.
    #[error("a domain must not be longer than 65535 bytes")]
    TooLong,
}

impl Domain {
    /// The domain `name`.
    ///
    /// # Errors
    /// [`DomainError`] when `name` is empty or longer than 65535 bytes.
    pub fn new(name: impl Into<Box<str>>) -> Result<Self, DomainError> {
        let name = name.into();
        if name.is_empty() {
            return Err(DomainError::Empty);
        }
        if name.len() > DOMAIN_BYTES_MAX {
            return Err(DomainError::TooLong);
        }
        let hint = short_digest(name.as_bytes());
        Ok(Self { name, hint })
    }

    /// The text.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The first four bytes of SHA-256 of the text (ENV-12): what a seal carries to say which domain it is bound to.
    #[must_use]
    pub fn hint(&self) -> [u8; 4] {
        self.hint
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hint_is_the_start_of_sha_256() -> Result<(), DomainError> {
        // SHA-256("abc") of FIPS 180-4.
        assert_eq!(Domain::new("abc")?.hint(), [0xba, 0x78, 0x16, 0xbf]);
        Ok(())
    }

    /// DOMAIN-1
    #[test]
    fn length_limits() {
        assert_eq!(Domain::new(""), Err(DomainError::Empty));
        assert!(Domain::new("a").is_ok());
        assert!(Domain::new("a".repeat(65535)).is_ok());
        assert_eq!(Domain::new("a".repeat(65536)), Err(DomainError::TooLong));
    }
}
