//! JSON Web Key Sets (RFC 7517): the public keys of whoever signs tokens.
//!
//! - KEY-SET-1: only public keys of asymmetric algorithms are taken: no secret that is published could vouch for
//!   anything, and no public key is ever used as one.
//! - KEY-SET-2: a key is used with the algorithms of its type and curve only, and with one only where it names one.
//!
//! Pure. Any thread.

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, KeyOperations, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;

/// The keys that tokens may be signed with.
#[derive(Debug, Default)]
pub struct KeySet {
    keys: Vec<Key>,
}

#[derive(Debug)]
struct Key {
    id: Option<Box<str>>,
    algorithms: &'static [Algorithm],
    key: DecodingKey,
}

/// Why a key set cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeySetError {
    /// Longer than anybody's.
    #[error("it is longer than {} KiB", SET_BYTES_MAX / 1024)]
    TooLong,
    /// Not what RFC 7517 describes.
    #[error("it is not a JSON object with a list of keys")]
    Malformed,
    /// More keys than anybody has.
    #[error("it has more than {KEYS_MAX} keys")]
    TooMany,
    /// None of its keys can be used.
    #[error(
        "it has no public key to verify signatures with (RSA from 2048 bits on, P-256, P-384 or Ed25519)"
    )]
    Empty,
}

impl KeySet {
    /// Reads a set. Keys that cannot be used are left out, as RFC 7517 asks for.
    ///
    /// # Errors
    /// [`KeySetError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, KeySetError> {
        #[derive(Deserialize)]
        struct Written {
            keys: Vec<serde_json::Value>,
        }
        if bytes.len() > SET_BYTES_MAX {
            return Err(KeySetError::TooLong);
        }
        let written: Written = serde_json::from_slice(bytes).map_err(|_| KeySetError::Malformed)?;
        if written.keys.len() > KEYS_MAX {
            return Err(KeySetError::TooMany);
        }
        let keys: Vec<Key> = written.keys.into_iter().filter_map(Key::usable).collect();
        match keys.is_empty() {
            true => Err(KeySetError::Empty),
            false => Ok(Self { keys }),
        }
    }

    /// How many keys can be used.
    #[must_use]
    pub fn key_count(&self) -> usize {
        self.keys.len()
    }

    /// Whether there is a key of this id; of `None`, whether there is one without an id.
    #[must_use]
    pub fn knows(&self, id: Option<&str>) -> bool {
        self.keys.iter().any(|key| key.id.as_deref() == id)
    }

    /// The keys of this id that a token of this algorithm may be signed with: one, or a few (KEY-SET-2).
    pub(super) fn fitting(
        &self,
        id: Option<&str>,
        algorithm: Algorithm,
    ) -> impl Iterator<Item = &DecodingKey> {
        self.keys
            .iter()
            .filter(move |key| key.id.as_deref() == id && key.algorithms.contains(&algorithm))
            .map(|key| &key.key)
            .take(SAME_ID_MAX)
    }
}

impl Key {
    /// KEY-SET-1
    fn usable(written: serde_json::Value) -> Option<Self> {
        // Whoever publishes a private key has none any more.
        if written.get("d").is_some() {
            return None;
        }
        let jwk = Jwk::deserialize(written).ok()?;
        let common = &jwk.common;
        let is_for_signatures = matches!(common.public_key_use, None | Some(PublicKeyUse::Signature));
        let verifies = common
            .key_operations
            .as_ref()
            .is_none_or(|operations| operations.contains(&KeyOperations::Verify));
        if !is_for_signatures || !verifies {
            return None;
        }
        let id = common.key_id.as_deref();
        if id.is_some_and(|id| id.len() > ID_BYTES_MAX) {
            return None;
        }
        let key = DecodingKey::from_jwk(&jwk).ok()?;
        Some(Self {
            id: id.map(Into::into),
            algorithms: algorithms(&jwk, &key)?,
            key,
        })
    }
}

/// KEY-SET-2
fn algorithms(jwk: &Jwk, key: &DecodingKey) -> Option<&'static [Algorithm]> {
    let of_type: &'static [Algorithm] = match (&jwk.algorithm, key.kind()) {
        (AlgorithmParameters::RSA(_), jsonwebtoken::DecodingKeyKind::RsaModulusExponent { n, .. })
            if RSA_BYTES.contains(&n.iter().skip_while(|byte| **byte == 0).count()) =>
        {
            &RSA
        }
        (AlgorithmParameters::EllipticCurve(point), _) => match point.curve {
            EllipticCurve::P256 => &[Algorithm::ES256],
            EllipticCurve::P384 => &[Algorithm::ES384],
            _ => return None,
        },
        (AlgorithmParameters::OctetKeyPair(pair), _) if pair.curve == EllipticCurve::Ed25519 => {
            &[Algorithm::EdDSA]
        }
        _ => return None,
    };
    let Some(named) = jwk.common.key_algorithm else {
        return Some(of_type);
    };
    let one = |named: KeyAlgorithm| {
        let named: Algorithm = named.to_string().parse().ok()?;
        of_type.iter().position(|known| *known == named)
    };
    one(named).and_then(|at| of_type.get(at..=at))
}

/// Of a key's id; Kafka's bound for those of tokens.
pub(crate) const ID_BYTES_MAX: usize = 1000;
/// Providers publish a handful.
const KEYS_MAX: usize = 200;
/// Some publish chains of certificates with each key.
pub const SET_BYTES_MAX: usize = 512 * 1024;
/// What one token may cost: a set that has more keys of one id is a mistake.
const SAME_ID_MAX: usize = 4;
const RSA_BYTES: std::ops::RangeInclusive<usize> = 256..=1024;
const RSA: [Algorithm; 6] = [
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
];
