//! OAUTHBEARER (RFC 7628) as Kafka's brokers speak it: a client hands over a token that somebody else has signed. Over
//! TLS only: whoever reads a token can use it.
//!
//! A token that does not convince is answered in two steps: first by [`REFUSED`] and no error, upon which the client
//! says `^A` and is told that it has failed. Java's client and librdkafka report something odd where a step is missing.
//! A message that is not well formed, or asks to act as somebody else, has failed at once.
//!
//! What Kafka does otherwise, `tests/kafka/tls/logins/compared/tokens.rs` shows; and it compares an authorization id as
//! it is escaped.
//!
//! Pure. Any thread.

pub mod key_set;
pub mod token;

use super::Failure;
use super::scram::unescaped;
use crate::identity::Principal;

/// What a client says: its token, and whom it wants to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message<'m> {
    /// Empty where it says nothing.
    authorization_id: String,
    /// As it came: see [`token`].
    token: &'m str,
}

impl<'m> Message<'m> {
    /// Reads `n,[a=authorization id],^Aauth=Bearer token^A[key=value^A…]^A`. Extensions are not looked at, but have
    /// to be well formed.
    ///
    /// # Errors
    /// [`Failure::Malformed`].
    pub fn parse(message: &'m [u8]) -> Result<Self, Failure> {
        if message.len() > MESSAGE_BYTES_MAX {
            return Err(Failure::Malformed("a message that is too long"));
        }
        // Everything that may stand in it is ASCII, whoever is named.
        let text = std::str::from_utf8(message)
            .ok()
            .filter(|text| text.is_ascii() && !text.contains('\0'))
            .ok_or(Failure::Malformed("a message that is not all ASCII"))?;
        let (authorization_id, rest) = text
            .strip_prefix("n,")
            .and_then(|rest| rest.split_once(','))
            .ok_or(Failure::Malformed("a message without its header"))?;
        let authorization_id = match authorization_id {
            "" => String::new(),
            named => named
                .strip_prefix("a=")
                .and_then(unescaped)
                .ok_or(Failure::Malformed("an authorization id that is none"))?,
        };
        let pairs = rest
            .strip_prefix(SEPARATOR)
            .and_then(|rest| rest.strip_suffix(SEPARATOR))
            .and_then(|rest| rest.strip_suffix(SEPARATOR))
            .ok_or(Failure::Malformed("a message without a token"))?;
        let mut auth = None;
        for pair in pairs.split(SEPARATOR) {
            let (key, value) = pair
                .split_once('=')
                .filter(|(key, value)| is_key(key) && is_value(value))
                .ok_or(Failure::Malformed(
                    "a message with an extension that is not well formed",
                ))?;
            if key == "auth" && auth.replace(value).is_some() {
                return Err(Failure::Malformed("a message with two tokens"));
            }
        }
        let token = auth
            .and_then(|auth| auth.split_once(' '))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
            .map(|(_, token)| token.trim_start_matches(' '))
            .filter(|token| !token.is_empty() && token.bytes().all(is_of_token))
            .ok_or(Failure::Malformed("a message without a token"))?;
        Ok(Self {
            authorization_id,
            token,
        })
    }

    /// As it came.
    #[must_use]
    pub fn token(&self) -> &'m str {
        self.token
    }

    /// Whether it asks to act as itself.
    ///
    /// # Errors
    /// [`Failure::OtherAuthorizationId`].
    pub fn check(&self, principal: &Principal) -> Result<(), Failure> {
        match self.authorization_id.is_empty() || self.authorization_id == principal.name() {
            true => Ok(()),
            false => Err(Failure::OtherAuthorizationId),
        }
    }
}

fn is_key(key: &str) -> bool {
    !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_alphabetic())
}

fn is_value(value: &str) -> bool {
    let may_be = |byte: u8| matches!(byte, 0x20..=0x7e | b'\t' | b'\r' | b'\n');
    !value.is_empty() && value.bytes().all(may_be)
}

fn is_of_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.')
}

/// What a client is answered whose token does not convince.
pub const REFUSED: &str = "{\"status\":\"invalid_token\"}";
/// `^A`
const SEPARATOR: char = '\x01';
/// A token with hundreds of groups in it, and extensions.
const MESSAGE_BYTES_MAX: usize = 48 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::sasl::USER_BYTES_MAX;

    fn token(message: &str) -> Option<&str> {
        Message::parse(message.as_bytes())
            .ok()
            .map(|message| message.token())
    }

    #[test]
    fn a_message_has_one_token_and_extensions_that_are_well_formed() {
        for taken in [
            "n,,\x01auth=Bearer a.b-_9\x01\x01",
            "n,,\x01auth=bEARER   a.b-_9\x01\x01",
            "n,a=alice,\x01auth=Bearer a.b-_9\x01traceId=1 2\t\x01\x01",
            "n,,\x01host=x=y\x01auth=Bearer a.b-_9\x01\x01",
        ] {
            assert_eq!(token(taken), Some("a.b-_9"), "{taken:?}");
        }
        for refused in [
            "",
            "n,,",
            "n,,\x01",
            "n,,\x01\x01",
            "y,,\x01auth=Bearer a\x01\x01",
            "n,,\x01auth=Bearer a\x01",
            "n,,\x01auth=Bearer a\x01\x01\x01",
            "n,,\x01auth=Bearer a\x01auth=Bearer b\x01\x01",
            "n,,\x01auth=Basic a\x01\x01",
            "n,,\x01auth=Bearer \x01\x01",
            "n,,\x01auth=Bearer a b\x01\x01",
            "n,,\x01auth=Bearer a=\x01\x01",
            "n,,\x01Auth=Bearer a\x01\x01",
            "n,,\x01auth=Bearer a\x01k1=v\x01\x01",
            "n,,\x01auth=Bearer a\x01k=\x01\x01",
            "n,,\x01auth=Bearer a\x01k=\u{e9}\x01\x01",
            "n,b=alice,\x01auth=Bearer a\x01\x01",
            "n,a=,\x01auth=Bearer a\x01\x01",
            "n,a=al=ice,\x01auth=Bearer a\x01\x01",
        ] {
            assert_eq!(token(refused), None, "{refused:?}");
        }
    }

    #[test]
    fn nobody_acts_as_somebody_else() {
        let principal = Principal::new("a,b").expect("a name");
        for (authorization_id, expected) in [
            ("", Ok(())),
            ("a=a=2Cb", Ok(())),
            ("a=a", Err(Failure::OtherAuthorizationId)),
            ("a=A=2CB", Err(Failure::OtherAuthorizationId)),
        ] {
            let message = format!("n,{authorization_id},\x01auth=Bearer t\x01\x01");
            let message = Message::parse(message.as_bytes()).expect("well formed");
            assert_eq!(message.check(&principal), expected, "{authorization_id}");
        }
    }

    #[test]
    fn what_is_too_long_is_refused() {
        for (extra, fits) in [(0, true), (1, false)] {
            let around = "n,,\x01auth=Bearer \x01\x01".len();
            let long = "t".repeat(MESSAGE_BYTES_MAX - around + extra);
            let message = format!("n,,\x01auth=Bearer {long}\x01\x01");
            assert_eq!(token(&message).is_some(), fits);
            let name = "n".repeat(USER_BYTES_MAX + extra);
            assert_eq!(
                token(&format!("n,a={name},\x01auth=Bearer t\x01\x01")).is_some(),
                fits
            );
        }
    }
}
