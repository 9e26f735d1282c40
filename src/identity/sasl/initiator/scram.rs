//! SCRAM as a client of Kafka's brokers speaks it (RFC 5802, RFC 7677); the server's side is in
//! [`scram`](crate::identity::sasl::scram).

use aws_lc_rs::constant_time::verify_slices_are_equal;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use zeroize::Zeroizing;

use super::credential::Salting;
use super::{Fault, Message};
use crate::crypto::CryptoError;
use crate::identity::sasl::scram::{escaped, is_nonce, new_nonce};
use crate::identity::sasl::verifier::{Mechanism, PasswordKeys, accepted};

/// The first message is out.
pub(super) struct Opening {
    /// Without the header, as it was sent.
    bare: String,
    nonce: String,
}

/// The broker has answered it.
pub(super) struct Challenged {
    salting: Salting,
    nonce: String,
    /// `client-first-message-bare , server-first-message`, both as they were on the wire.
    exchanged: String,
}

impl Opening {
    /// `extension`: `name=value`, behind the nonce.
    pub(super) fn new(user: &str, extension: Option<&'static str>) -> Result<Self, CryptoError> {
        Ok(Self::with_nonce(user, extension, new_nonce()?))
    }

    pub(super) fn with_nonce(user: &str, extension: Option<&'static str>, nonce: String) -> Self {
        let mut bare = format!("n={},r={nonce}", escaped(user));
        if let Some(extension) = extension {
            bare.push(',');
            bare.push_str(extension);
        }
        Self { bare, nonce }
    }

    pub(super) fn message(&self) -> Message {
        Zeroizing::new(format!("{GS2_HEADER}{}", self.bare).into_bytes())
    }

    /// Reads `r=nonce,s=salt,i=iterations[,extension…]` (INITIATOR-2).
    pub(super) fn challenged(&self, message: &[u8]) -> Result<Challenged, Fault> {
        let message = text(message)?;
        let mut attributes = message.split(',');
        let mut next = |prefix: &str, missing| {
            let attribute = attributes
                .next()
                .and_then(|attribute| attribute.strip_prefix(prefix));
            attribute.ok_or(Fault::Malformed(missing))
        };
        let nonce = next("r=", "a first message of a broker without a nonce")?;
        let goes_on = nonce.strip_prefix(self.nonce.as_str());
        if !is_nonce(nonce) || goes_on.is_none_or(str::is_empty) {
            return Err(Fault::OtherNonce);
        }
        let salt = next("s=", "a first message of a broker without a salt")?;
        let salt = BASE64.decode(salt).ok();
        let salt = salt
            .filter(|salt| !salt.is_empty())
            .ok_or(Fault::Malformed("a salt that is no base64, or none"))?;
        let iterations = next("i=", "a first message of a broker without iterations")?;
        let iterations: u32 = iterations
            .parse()
            .map_err(|_| Fault::Malformed("iterations that are no number of 32 bits"))?;
        let iterations = accepted(iterations).ok_or(Fault::Iterations(iterations))?;
        Ok(Challenged {
            salting: Salting { salt, iterations },
            nonce: nonce.to_owned(),
            exchanged: format!("{},{message}", self.bare),
        })
    }
}

impl Challenged {
    pub(super) fn salting(&self) -> &Salting {
        &self.salting
    }

    /// The final message, and the signature that the broker has to answer it with.
    pub(super) fn prove(&self, mechanism: Mechanism, keys: &PasswordKeys) -> (Message, Zeroizing<Vec<u8>>) {
        let without_proof = format!("c={},r={}", BASE64.encode(GS2_HEADER), self.nonce);
        let signed = format!("{},{without_proof}", self.exchanged);
        let stored_key = Zeroizing::new(mechanism.hashed(&keys.client_key));
        let signature = mechanism.keyed(&stored_key, signed.as_bytes());
        let pairs = keys.client_key.iter().zip(signature.as_ref());
        let proof: Vec<u8> = pairs.map(|(key, signed)| key ^ signed).collect();
        let message = format!("{without_proof},p={}", BASE64.encode(proof));
        let expected = mechanism.keyed(&keys.server_key, signed.as_bytes());
        (
            Zeroizing::new(message.into_bytes()),
            Zeroizing::new(expected.as_ref().to_vec()),
        )
    }
}

/// Whether the broker's final message, `v=signature[,extension…]`, has this signature (INITIATOR-1).
pub(super) fn verify(message: &[u8], signature: &[u8]) -> Result<(), Fault> {
    let said = text(message)?.split(',').next().unwrap_or_default();
    let said = said.strip_prefix("v=").ok_or(Fault::Malformed(
        "a final message of a broker without a signature",
    ))?;
    let said = BASE64
        .decode(said)
        .map_err(|_| Fault::Malformed("a signature that is no base64"))?;
    verify_slices_are_equal(&said, signature).map_err(|_| Fault::WrongSignature)
}

fn text(message: &[u8]) -> Result<&str, Fault> {
    std::str::from_utf8(message)
        .ok()
        .filter(|text| text.len() <= MESSAGE_BYTES_MAX)
        .ok_or(Fault::Malformed("a message that is no UTF-8, or too long"))
}

/// No channel binding, and nobody but the user.
const GS2_HEADER: &str = "n,,";
/// Of what a broker may say at once; Kafka's says a hundred bytes.
const MESSAGE_BYTES_MAX: usize = 16 * 1024;
