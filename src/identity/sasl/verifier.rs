//! What is kept of a password for SCRAM: the salted hash of RFC 5802, as Kafka's brokers keep it.
//!
//! [`Verifier::new`] and [`Verifier::is_password`] hash a password, which takes milliseconds: not on an executor.

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::{digest, hmac, pbkdf2};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use zeroize::Zeroizing;

use crate::crypto::CryptoError;

/// Which hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Mechanism {
    /// SCRAM-SHA-256
    Sha256,
    /// SCRAM-SHA-512
    Sha512,
}

impl Mechanism {
    /// As the protocol names it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "SCRAM-SHA-256",
            Self::Sha512 => "SCRAM-SHA-512",
        }
    }

    pub(super) fn digest(self) -> &'static digest::Algorithm {
        match self {
            Self::Sha256 => &digest::SHA256,
            Self::Sha512 => &digest::SHA512,
        }
    }

    pub(super) fn hmac(self) -> hmac::Algorithm {
        match self {
            Self::Sha256 => hmac::HMAC_SHA256,
            Self::Sha512 => hmac::HMAC_SHA512,
        }
    }

    pub(super) fn pbkdf2(self) -> pbkdf2::Algorithm {
        match self {
            Self::Sha256 => pbkdf2::PBKDF2_HMAC_SHA256,
            Self::Sha512 => pbkdf2::PBKDF2_HMAC_SHA512,
        }
    }

    pub(super) fn hashed(self, bytes: &[u8]) -> Vec<u8> {
        digest::digest(self.digest(), bytes).as_ref().to_vec()
    }

    pub(super) fn keyed(self, key: &[u8], message: &[u8]) -> hmac::Tag {
        hmac::sign(&hmac::Key::new(self.hmac(), key), message)
    }
}

/// What SCRAM makes of a password, its salt and its iterations. Whoever has it can log in.
pub(super) struct PasswordKeys {
    pub(super) client_key: Zeroizing<Vec<u8>>,
    pub(super) server_key: Zeroizing<Vec<u8>>,
}

impl PasswordKeys {
    /// Takes milliseconds, and longer with more iterations.
    pub(super) fn derive(mechanism: Mechanism, password: &[u8], salt: &[u8], iterations: NonZeroU32) -> Self {
        let mut salted = Zeroizing::new(vec![0; mechanism.digest().output_len()]);
        pbkdf2::derive(mechanism.pbkdf2(), iterations, salt, password, &mut salted);
        let of = |what: &[u8]| Zeroizing::new(mechanism.keyed(&salted, what).as_ref().to_vec());
        Self {
            client_key: of(b"Client Key"),
            server_key: of(b"Server Key"),
        }
    }
}

impl fmt::Display for Mechanism {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl FromStr for Mechanism {
    type Err = ();

    fn from_str(name: &str) -> Result<Self, ()> {
        [Self::Sha256, Self::Sha512]
            .into_iter()
            .find(|mechanism| mechanism.name() == name)
            .ok_or(())
    }
}

/// What is kept of a password: enough to recognise who knows it, and not enough to be taken for him elsewhere. It can
/// be guessed by whoever has it and time.
#[derive(Clone, PartialEq, Eq)]
pub struct Verifier {
    pub(super) salt: Vec<u8>,
    pub(super) iterations: NonZeroU32,
    pub(super) stored_key: Vec<u8>,
    pub(super) server_key: Vec<u8>,
}

impl Verifier {
    /// That of `password`, under a new salt.
    ///
    /// # Errors
    /// [`CryptoError::Random`], and [`CryptoError::Library`] where `iterations` is not within [`ITERATIONS_MIN`] and
    /// [`ITERATIONS_MAX`].
    pub fn new(mechanism: Mechanism, password: &[u8], iterations: u32) -> Result<Self, CryptoError> {
        let iterations = accepted(iterations).ok_or(CryptoError::Library)?;
        let mut salt = vec![0; SALT_BYTES];
        getrandom::fill(&mut salt).map_err(|_| CryptoError::Random)?;
        Ok(Self::under(mechanism, password, salt, iterations))
    }

    pub(super) fn under(
        mechanism: Mechanism,
        password: &[u8],
        salt: Vec<u8>,
        iterations: NonZeroU32,
    ) -> Self {
        let keys = PasswordKeys::derive(mechanism, password, &salt, iterations);
        Self {
            stored_key: mechanism.hashed(&keys.client_key),
            server_key: keys.server_key.to_vec(),
            salt,
            iterations,
        }
    }

    /// What nobody has the password of, for a user that there is not; the same as long as `secret` is (SASL-1).
    pub(super) fn decoy(mechanism: Mechanism, secret: &[u8], user: &str, iterations: NonZeroU32) -> Self {
        let of = |what: &str| {
            let message = [
                what.as_bytes(),
                b"\0",
                mechanism.name().as_bytes(),
                b"\0",
                user.as_bytes(),
            ]
            .concat();
            Mechanism::Sha512.keyed(secret, &message)
        };
        let some = |what: &str, bytes: usize| of(what).as_ref().get(..bytes).unwrap_or_default().to_vec();
        let bytes = mechanism.digest().output_len();
        Self {
            salt: some("salt", SALT_BYTES),
            iterations,
            stored_key: some("stored key", bytes),
            server_key: some("server key", bytes),
        }
    }

    /// Whether it is that of `password`. Takes as long whether it is or not.
    pub(super) fn is_password(&self, mechanism: Mechanism, password: &[u8]) -> bool {
        let other = Self::under(mechanism, password, self.salt.clone(), self.iterations);
        verify_slices_are_equal(&other.stored_key, &self.stored_key).is_ok()
    }

    /// How often the password was hashed.
    pub fn iterations(&self) -> NonZeroU32 {
        self.iterations
    }

    /// Reads what [`fmt::Display`] writes, in any order.
    pub(super) fn parse(mechanism: Mechanism, text: &str) -> Result<Self, &'static str> {
        let [mut salt, mut stored_key, mut server_key] = [None, None, None];
        let mut iterations = None;
        for part in text.split(',') {
            let (name, value) = part.split_once('=').ok_or("a part without a value")?;
            let bytes = || BASE64.decode(value).map_err(|_| "a value that is no base64");
            let is_new = match name {
                "salt" => salt.replace(bytes()?).is_none(),
                "stored_key" => stored_key.replace(bytes()?).is_none(),
                "server_key" => server_key.replace(bytes()?).is_none(),
                "iterations" => {
                    let number: Option<u32> = value.parse().ok();
                    let number = number.and_then(accepted);
                    let number = number.ok_or("iterations that are not between 4096 and 1000000")?;
                    iterations.replace(number).is_none()
                }
                _ => return Err("a part that is none of salt, stored_key, server_key, iterations"),
            };
            if !is_new {
                return Err("a part that is there twice");
            }
        }
        let missing = "one of salt, stored_key, server_key, iterations is missing";
        let verifier = Self {
            salt: salt.ok_or(missing)?,
            iterations: iterations.ok_or(missing)?,
            stored_key: stored_key.ok_or(missing)?,
            server_key: server_key.ok_or(missing)?,
        };
        let bytes = mechanism.digest().output_len();
        if [&verifier.stored_key, &verifier.server_key]
            .iter()
            .any(|key| key.len() != bytes)
        {
            return Err("a key that does not have the length of the mechanism's hash");
        }
        if !(SALT_BYTES_MIN..=SALT_BYTES_MAX).contains(&verifier.salt.len()) {
            return Err("a salt of fewer than 8 or more than 255 bytes");
        }
        Ok(verifier)
    }
}

/// As Kafka keeps it: `salt=…,stored_key=…,server_key=…,iterations=…`.
impl fmt::Display for Verifier {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [salt, stored_key, server_key] =
            [&self.salt, &self.stored_key, &self.server_key].map(|bytes| BASE64.encode(bytes));
        write!(
            formatter,
            "salt={salt},stored_key={stored_key},server_key={server_key},iterations={}",
            self.iterations
        )
    }
}

pub(super) fn accepted(iterations: u32) -> Option<NonZeroU32> {
    NonZeroU32::new(iterations)
        .filter(|iterations| (ITERATIONS_MIN..=ITERATIONS_MAX).contains(&iterations.get()))
}

/// Java, franz-go and kafkajs refuse less.
pub const ITERATIONS_MIN: u32 = 4096;
/// librdkafka refuses more.
pub const ITERATIONS_MAX: u32 = 1_000_000;
/// Random, so that no two passwords look alike.
const SALT_BYTES: usize = 24;
const SALT_BYTES_MIN: usize = 8;
const SALT_BYTES_MAX: usize = 255;
