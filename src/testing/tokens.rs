//! Whoever signs tokens: keys, the set that publishes them, and tokens, good ones and others.

use aws_lc_rs::encoding::{AsDer as _, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256,
    RSA_PSS_SHA256, RsaKeyPair,
};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};

/// A key that tokens are signed with.
pub struct SigningKey {
    /// Its id; none where that is empty.
    id: String,
    pair: Pair,
}

enum Pair {
    Rsa(Box<RsaKeyPair>),
    Ec(EcdsaKeyPair),
    Ed(Ed25519KeyPair),
}

impl SigningKey {
    /// Of RSA, 2048 bits.
    #[must_use]
    pub fn rsa(id: &str) -> Self {
        let pair = RsaKeyPair::generate(KeySize::Rsa2048).expect("randomness");
        Self::new(id, Pair::Rsa(Box::new(pair)))
    }

    /// On P-256.
    #[must_use]
    pub fn ec(id: &str) -> Self {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("randomness");
        Self::new(id, Pair::Ec(pair))
    }

    /// Of Ed25519.
    #[must_use]
    pub fn ed(id: &str) -> Self {
        Self::new(id, Pair::Ed(Ed25519KeyPair::generate().expect("randomness")))
    }

    /// The same, always the one of this number.
    #[must_use]
    pub fn ed_numbered(id: &str, number: u8) -> Self {
        let pair = Ed25519KeyPair::from_seed_unchecked(&[number; 32]).expect("a seed");
        Self::new(id, Pair::Ed(pair))
    }

    fn new(id: &str, pair: Pair) -> Self {
        let id = id.to_owned();
        Self { id, pair }
    }

    /// What it signs with unless told otherwise.
    #[must_use]
    pub fn algorithm(&self) -> &'static str {
        match &self.pair {
            Pair::Rsa(_) => "RS256",
            Pair::Ec(_) => "ES256",
            Pair::Ed(_) => "EdDSA",
        }
    }

    /// Its public part.
    #[must_use]
    pub fn jwk(&self) -> Value {
        let mut jwk = match &self.pair {
            Pair::Rsa(pair) => {
                let public = pair.public_key();
                let modulus = public.modulus().big_endian_without_leading_zero();
                let exponent = public.exponent().big_endian_without_leading_zero();
                json!({"kty": "RSA", "n": encoded(modulus), "e": encoded(exponent)})
            }
            Pair::Ec(pair) => {
                let (x, y) = pair.public_key().as_ref()[1..].split_at(32);
                json!({"kty": "EC", "crv": "P-256", "x": encoded(x), "y": encoded(y)})
            }
            Pair::Ed(pair) => {
                let public = encoded(pair.public_key().as_ref());
                json!({"kty": "OKP", "crv": "Ed25519", "x": public})
            }
        };
        if !self.id.is_empty() {
            jwk["kid"] = json!(self.id);
        }
        jwk["use"] = json!("sig");
        jwk
    }

    /// The same in PEM, of a key on P-256.
    ///
    /// # Panics
    /// Of others.
    #[must_use]
    pub fn public_pem(&self) -> String {
        let Pair::Ec(pair) = &self.pair else {
            panic!("a key on P-256");
        };
        let der: PublicKeyX509Der<'_> = pair.public_key().as_der().expect("it has one");
        let text = STANDARD.encode(der.as_ref());
        format!("-----BEGIN PUBLIC KEY-----\n{text}\n-----END PUBLIC KEY-----\n")
    }

    /// A token with these claims.
    #[must_use]
    pub fn token(&self, claims: &Value) -> String {
        let mut header = json!({"alg": self.algorithm(), "typ": "JWT"});
        if !self.id.is_empty() {
            header["kid"] = json!(self.id);
        }
        self.sign(&header, claims)
    }

    /// The same with this in front of them, whatever it says.
    #[must_use]
    pub fn sign(&self, header: &Value, claims: &Value) -> String {
        let signed = unsigned(header, claims);
        let random = SystemRandom::new();
        let signature = match &self.pair {
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                let message = signed.as_bytes();
                match header["alg"] == "PS256" {
                    true => pair.sign(&RSA_PSS_SHA256, &random, message, &mut signature),
                    false => pair.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature),
                }
                .expect("it signs");
                signature
            }
            Pair::Ec(pair) => {
                let signature = pair.sign(&random, signed.as_bytes()).expect("it signs");
                signature.as_ref().to_vec()
            }
            Pair::Ed(pair) => pair.sign(signed.as_bytes()).as_ref().to_vec(),
        };
        format!("{signed}.{}", encoded(&signature))
    }

    /// What is taken for its secret where a public key is mistaken for one: its modulus.
    #[must_use]
    pub fn mistaken_secret(&self) -> Vec<u8> {
        match &self.pair {
            Pair::Rsa(pair) => pair.public_key().as_ref().to_vec(),
            Pair::Ec(pair) => pair.public_key().as_ref().to_vec(),
            Pair::Ed(pair) => pair.public_key().as_ref().to_vec(),
        }
    }
}

/// Header and claims, as they are signed.
#[must_use]
pub fn unsigned(header: &Value, claims: &Value) -> String {
    let [header, claims] = [header, claims].map(|part| encoded(part.to_string().as_bytes()));
    format!("{header}.{claims}")
}

/// The set that publishes these keys.
#[must_use]
pub fn key_set<'k>(keys: impl IntoIterator<Item = &'k SigningKey>) -> String {
    let keys: Vec<_> = keys.into_iter().map(SigningKey::jwk).collect();
    json!({ "keys": keys }).to_string()
}

/// As it stands in tokens.
#[must_use]
pub fn encoded(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}
