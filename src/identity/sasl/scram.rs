//! SCRAM as Kafka's brokers speak it (RFC 5802, RFC 7677), the server's side: who knows a password proves it without
//! sending it, and is shown that the server knew of it.
//!
//! What Kafka does otherwise than the RFC: passwords are the bytes that they are (no SASLprep), there is no channel
//! binding, and a failure is told by the protocol around it, not by `e=`.
//!
//! - SCRAM-1: what is signed is what was received, to the byte.
//! - SCRAM-2: the nonce of the second message is equal to the one that was agreed on, all of it (CVE-2024-56128).
//!
//! A challenge and its answer cost three HMACs. Any thread.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use zeroize::Zeroizing;

use super::credentials::Credentials;
use super::verifier::{Mechanism, Verifier};
use super::{Failure, USER_BYTES_MAX};
use crate::crypto::CryptoError;

/// A login between its two steps.
pub struct Challenge {
    mechanism: Mechanism,
    user: String,
    verifier: Verifier,
    is_known: bool,
    /// What stood in front of the client's first message, as it came.
    gs2_header: String,
    nonce: String,
    /// `client-first-message-bare , server-first-message`, both as they were on the wire (SCRAM-1).
    exchanged: String,
    server_first: String,
}

impl Challenge {
    /// Answers the first message of a client.
    ///
    /// # Errors
    /// [`Failure::Malformed`], [`Failure::OtherAuthorizationId`].
    pub fn new(
        mechanism: Mechanism,
        client_first: &[u8],
        credentials: &Credentials,
        server_nonce: &ServerNonce,
    ) -> Result<Self, Failure> {
        let first = ClientFirst::parse(client_first)?;
        let known = credentials.of(&first.user, mechanism);
        // In either case: whoever is not there takes no longer than whoever is.
        let decoy = credentials.decoy(mechanism, &first.user);
        let verifier = known.cloned().unwrap_or(decoy);
        let nonce = format!("{}{}", first.nonce, server_nonce.0);
        let salt = BASE64.encode(&verifier.salt);
        let server_first = format!("r={nonce},s={salt},i={}", verifier.iterations);
        Ok(Self {
            mechanism,
            is_known: known.is_some(),
            verifier,
            gs2_header: first.gs2_header.to_owned(),
            nonce,
            exchanged: format!("{},{server_first}", first.bare),
            server_first,
            user: first.user,
        })
    }

    /// What is sent to the client.
    pub fn message(&self) -> &[u8] {
        self.server_first.as_bytes()
    }

    /// The user who wants to be let in, whether there is such a one or not.
    pub fn user(&self) -> &str {
        &self.user
    }

    /// Judges the second message of the client: what is sent to it when it is let in.
    ///
    /// # Errors
    /// [`Failure`].
    pub fn finish(&self, client_final: &[u8]) -> Result<Vec<u8>, Failure> {
        let last = ClientFinal::parse(client_final)?;
        if last.channel_binding != BASE64.encode(&self.gs2_header) {
            return Err(Failure::OtherBinding);
        }
        // SCRAM-2
        if last.nonce != self.nonce {
            return Err(Failure::OtherNonce);
        }
        let message = format!("{},{}", self.exchanged, last.without_proof);
        let signature = self
            .mechanism
            .keyed(&self.verifier.stored_key, message.as_bytes());
        if last.proof.len() != signature.as_ref().len() {
            return Err(Failure::Malformed(
                "a proof that does not have the length of the hash",
            ));
        }
        let pairs = last.proof.iter().zip(signature.as_ref());
        let client_key = Zeroizing::new(pairs.map(|(proof, signed)| proof ^ signed).collect::<Vec<u8>>());
        let stored_key = self.mechanism.hashed(&client_key);
        let is_right = verify_slices_are_equal(&stored_key, &self.verifier.stored_key).is_ok();
        match (self.is_known, is_right) {
            (false, _) => Err(Failure::UnknownUser),
            (true, false) => Err(Failure::WrongPassword),
            (true, true) => {
                let signature = self
                    .mechanism
                    .keyed(&self.verifier.server_key, message.as_bytes());
                Ok(format!("v={}", BASE64.encode(signature)).into_bytes())
            }
        }
    }
}

/// The server's part of a nonce.
#[derive(Clone, Debug)]
pub struct ServerNonce(String);

impl ServerNonce {
    /// One that nobody can foresee.
    ///
    /// # Errors
    /// [`CryptoError::Random`].
    pub fn new() -> Result<Self, CryptoError> {
        new_nonce().map(Self)
    }
}

/// Somebody's part of a nonce.
pub(super) fn new_nonce() -> Result<String, CryptoError> {
    let mut bytes = [0; NONCE_BYTES];
    getrandom::fill(&mut bytes).map_err(|_| CryptoError::Random)?;
    Ok(BASE64.encode(bytes))
}

struct ClientFirst<'m> {
    gs2_header: &'m str,
    bare: &'m str,
    user: String,
    nonce: &'m str,
}

impl<'m> ClientFirst<'m> {
    /// `n,[a=authorization id],[m=…,]n=user,r=nonce[,extension…]`
    fn parse(message: &'m [u8]) -> Result<Self, Failure> {
        let message = text(message)?;
        let mut header = message.splitn(3, ',');
        let (Some(flag), Some(authorization_id), Some(bare)) = (header.next(), header.next(), header.next())
        else {
            return Err(Failure::Malformed("a first message without its header"));
        };
        if flag != "n" {
            return Err(Failure::Malformed(
                "a first message that asks for channel binding",
            ));
        }
        let gs2_header = message.strip_suffix(bare).unwrap_or_default();
        let mut attributes = bare.split(',');
        let mut next = attributes.next().unwrap_or_default();
        if next.starts_with("m=") {
            return Err(Failure::Malformed("a first message with a mandatory extension"));
        }
        let user = next
            .strip_prefix("n=")
            .and_then(unescaped)
            .ok_or(Failure::Malformed("a first message without a user"))?;
        next = attributes.next().unwrap_or_default();
        let nonce = next
            .strip_prefix("r=")
            .filter(|nonce| is_nonce(nonce))
            .ok_or(Failure::Malformed("a first message without a nonce"))?;
        for extension in attributes {
            let (name, value) = extension.split_once('=').ok_or(Failure::Malformed(
                "a first message with an extension that has no value",
            ))?;
            if name == "tokenauth" && value.eq_ignore_ascii_case("true") {
                return Err(Failure::Malformed(
                    "a delegation token, which only a broker knows",
                ));
            }
        }
        if !authorization_id.is_empty() {
            let other = authorization_id.strip_prefix("a=").and_then(unescaped);
            let other = other.ok_or(Failure::Malformed("an authorization id that is none"))?;
            if other != user {
                return Err(Failure::OtherAuthorizationId);
            }
        }
        Ok(Self {
            gs2_header,
            bare,
            user,
            nonce,
        })
    }
}

struct ClientFinal<'m> {
    channel_binding: &'m str,
    nonce: &'m str,
    proof: Vec<u8>,
    without_proof: &'m str,
}

impl<'m> ClientFinal<'m> {
    /// `c=base64,r=nonce[,extension…],p=base64`
    fn parse(message: &'m [u8]) -> Result<Self, Failure> {
        let (without_proof, proof) = text(message)?
            .rsplit_once(",p=")
            .ok_or(Failure::Malformed("a final message without a proof"))?;
        let proof = BASE64
            .decode(proof)
            .map_err(|_| Failure::Malformed("a proof that is no base64"))?;
        let mut attributes = without_proof.split(',');
        let mut next = |prefix: &str| {
            attributes
                .next()
                .and_then(|attribute| attribute.strip_prefix(prefix))
        };
        let channel_binding =
            next("c=").ok_or(Failure::Malformed("a final message without channel binding"))?;
        let nonce = next("r=").ok_or(Failure::Malformed("a final message without a nonce"))?;
        Ok(Self {
            channel_binding,
            nonce,
            proof,
            without_proof,
        })
    }
}

fn text(message: &[u8]) -> Result<&str, Failure> {
    let text = std::str::from_utf8(message).map_err(|_| Failure::Malformed("a message that is no UTF-8"))?;
    match text.len() <= MESSAGE_BYTES_MAX && !text.contains('\0') {
        true => Ok(text),
        false => Err(Failure::Malformed("a message that is too long, or with a NUL")),
    }
}

/// A `saslname`: `=2C` is a comma, `=3D` an equals sign, and there is no other one.
pub(super) fn unescaped(name: &str) -> Option<String> {
    let mut parts = name.split('=');
    let mut plain = parts.next()?.to_owned();
    for part in parts {
        let (sign, rest) = match (part.strip_prefix("2C"), part.strip_prefix("3D")) {
            (Some(rest), _) => (',', rest),
            (None, Some(rest)) => ('=', rest),
            (None, None) => return None,
        };
        plain.push(sign);
        plain.push_str(rest);
    }
    (1..=USER_BYTES_MAX).contains(&plain.len()).then_some(plain)
}

/// A `saslname`, of which [`unescaped`] makes the name.
pub(super) fn escaped(name: &str) -> String {
    name.replace('=', "=3D").replace(',', "=2C")
}

/// Printable ASCII but the comma.
pub(super) fn is_nonce(nonce: &str) -> bool {
    (1..=NONCE_BYTES_MAX).contains(&nonce.len())
        && nonce.bytes().all(|byte| byte.is_ascii_graphic() && byte != b',')
}

const NONCE_BYTES: usize = 24;
/// Clients have 20 to 60.
const NONCE_BYTES_MAX: usize = 512;
/// All that a client may say at once, but what a token takes.
const MESSAGE_BYTES_MAX: usize = 16 * 1024;

#[cfg(test)]
pub(super) mod tests;
