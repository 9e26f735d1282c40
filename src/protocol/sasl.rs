//! The two requests of a login (KIP-43, KIP-152, KIP-368): SaslHandshake 1, and SaslAuthenticate 0 to 2, where it ends
//! at the proxy, or [`OWN_AUTHENTICATE_VERSION`], where the proxy itself logs in at a broker.
//!
//! What is read borrows from the frame: tokens are secrets, and are not copied here.

use std::time::Duration;

use super::api_key::{SASL_AUTHENTICATE, SASL_HANDSHAKE};
use super::cursor::Cursor;
use super::error::ProtocolError;
use super::error_code::{ILLEGAL_SASL_STATE, NONE, SASL_AUTHENTICATION_FAILED};
use super::frame::{RequestHead, skip_request_header, skip_response_header};
use super::own_request;
use super::writer::{
    LengthForm, LengthSlot, put_array_len, put_i16, put_i32, put_i64, put_string, put_uvarint,
};

/// The mechanism that a SaslHandshake request, without its length, names.
pub fn mechanism(frame: &[u8]) -> Result<&str, ProtocolError> {
    let mut cursor = Cursor::new(frame);
    skip_request_header(&mut cursor, false)?;
    let mechanism = cursor.string_non_null(false)?;
    cursor.expect_end()?;
    Ok(mechanism)
}

/// The token of a SaslAuthenticate request of `version`, without its length.
pub fn token(frame: &[u8], version: i16) -> Result<&[u8], ProtocolError> {
    let flexible = is_flexible(version);
    let mut cursor = Cursor::new(frame);
    skip_request_header(&mut cursor, flexible)?;
    let at = cursor.position();
    let (_, content) = cursor.bytes_spans(flexible)?;
    cursor.skip_tagged_fields_if(flexible)?;
    cursor.expect_end()?;
    content
        .and_then(|content| frame.get(content))
        .ok_or(ProtocolError::NegativeLength { at })
}

/// The answer to a SaslHandshake request, length included: an error or none, and what mechanisms there are.
pub fn write_handshake(
    head: RequestHead,
    code: i16,
    mechanisms: &[&str],
    out: &mut Vec<u8>,
) -> Result<(), ProtocolError> {
    debug_assert_eq!(head.api_key, SASL_HANDSHAKE);
    let length = LengthSlot::reserve(out, LengthForm::Int32, 0)?;
    put_i32(out, head.correlation_id);
    put_i16(out, code);
    put_array_len(out, false, mechanisms.len())?;
    for mechanism in mechanisms {
        put_string(out, false, Some(mechanism))?;
    }
    length.fill_with_content_len(out)
}

/// What a SaslAuthenticate request is answered with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenAnswer<'a> {
    /// The server's own token; at the end of a login how long it is good for, where it has an end.
    Accepted(&'a [u8], Option<Duration>),
    /// Error 58, with this for the user.
    Failed(&'a str),
    /// Error 34: there is no place for it, in brokers' words.
    OutOfTurn,
}

/// Writes the answer to a SaslAuthenticate request, length included.
pub fn write_answer(
    head: RequestHead,
    answer: TokenAnswer<'_>,
    out: &mut Vec<u8>,
) -> Result<(), ProtocolError> {
    debug_assert_eq!(head.api_key, SASL_AUTHENTICATE);
    let flexible = is_flexible(head.api_version);
    let (code, text, token, lifetime) = match answer {
        TokenAnswer::Accepted(token, lifetime) => (NONE, Some(""), token, lifetime),
        TokenAnswer::Failed(text) => (SASL_AUTHENTICATION_FAILED, Some(text), &[][..], None),
        TokenAnswer::OutOfTurn => (ILLEGAL_SASL_STATE, Some(OUT_OF_TURN), &[][..], None),
    };
    let length = LengthSlot::reserve(out, LengthForm::Int32, 0)?;
    put_i32(out, head.correlation_id);
    if flexible {
        put_uvarint(out, 0);
    }
    put_i16(out, code);
    put_string(out, flexible, text)?;
    put_bytes(out, flexible, token)?;
    if head.api_version >= 1 {
        let lifetime = lifetime.map_or(0, |lifetime| lifetime.as_millis());
        put_i64(out, i64::try_from(lifetime).unwrap_or(i64::MAX));
    }
    if flexible {
        put_uvarint(out, 0);
    }
    length.fill_with_content_len(out)
}

/// Appends the request by which the proxy begins a login of its own, length included.
pub fn write_own_handshake(
    correlation_id: i32,
    mechanism: &str,
    out: &mut Vec<u8>,
) -> Result<(), ProtocolError> {
    let length = own_request::begin(SASL_HANDSHAKE, OWN_HANDSHAKE_VERSION, correlation_id, out)?;
    put_string(out, false, Some(mechanism))?;
    length.fill_with_content_len(out)
}

/// Appends the request by which the proxy says something in a login of its own, length included. The token, which may
/// be a secret, stands at its end: it is copied once, and nothing of it is left where `out` has grown.
pub fn write_own_token(correlation_id: i32, token: &[u8], out: &mut Vec<u8>) -> Result<(), ProtocolError> {
    let length = own_request::begin(SASL_AUTHENTICATE, OWN_AUTHENTICATE_VERSION, correlation_id, out)?;
    put_bytes(out, false, token)?;
    length.fill_with_content_len(out)
}

/// The code in the answer to [`write_own_handshake`], without its length.
pub fn own_handshake_code(frame: &[u8]) -> Result<i16, ProtocolError> {
    let mut cursor = Cursor::new(frame);
    skip_response_header(&mut cursor, false)?;
    let code = cursor.i16()?;
    for _ in 0..cursor.array_len_non_null(false, 2)? {
        cursor.text(false)?;
    }
    cursor.expect_end()?;
    Ok(code)
}

/// What a broker answers [`write_own_token`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OwnTokenAnswer<'a> {
    /// Zero, or why the login has failed.
    pub code: i16,
    /// What the broker says about it.
    pub text: Option<&'a str>,
    /// Its own token.
    pub token: &'a [u8],
    /// How long the login is good for, where it has an end.
    pub lifetime: Option<Duration>,
}

/// Reads the answer to [`write_own_token`], without its length.
pub fn own_token_answer(frame: &[u8]) -> Result<OwnTokenAnswer<'_>, ProtocolError> {
    let mut cursor = Cursor::new(frame);
    skip_response_header(&mut cursor, false)?;
    let code = cursor.i16()?;
    let text = cursor.string(false)?;
    let (_, token) = cursor.bytes_spans(false)?;
    let lifetime = cursor.i64()?;
    cursor.expect_end()?;
    Ok(OwnTokenAnswer {
        code,
        text,
        token: token.and_then(|token| frame.get(token)).unwrap_or_default(),
        lifetime: u64::try_from(lifetime)
            .ok()
            .filter(|lifetime| *lifetime > 0)
            .map(Duration::from_millis),
    })
}

fn put_bytes(out: &mut Vec<u8>, flexible: bool, bytes: &[u8]) -> Result<(), ProtocolError> {
    // A length is written as that of an array: both are counts with the same two forms.
    put_array_len(out, flexible, bytes.len())?;
    out.extend_from_slice(bytes);
    Ok(())
}

fn is_flexible(version: i16) -> bool {
    version >= 2
}

/// Answered by whatever answers SaslAuthenticate at all (Kafka 1.0).
pub const OWN_HANDSHAKE_VERSION: i16 = 1;
/// The first whose answer says how long a login is good for (Kafka 2.2).
pub const OWN_AUTHENTICATE_VERSION: i16 = 1;
/// As brokers say it, and clients show it.
const OUT_OF_TURN: &str = "SaslAuthenticate request received after successful authentication";

#[cfg(test)]
mod tests {
    use bytes::{Bytes, BytesMut};
    use kafka_protocol::messages::{
        RequestHeader, ResponseHeader, SaslAuthenticateRequest, SaslAuthenticateResponse,
        SaslHandshakeRequest, SaslHandshakeResponse,
    };
    use kafka_protocol::protocol::{Decodable as _, Encodable as _, StrBytes};
    use proptest::prelude::*;

    use super::*;

    fn request(api_key: i16, version: i16, header: i16, body: impl FnOnce(&mut BytesMut)) -> Vec<u8> {
        let mut frame = BytesMut::new();
        RequestHeader::default()
            .with_request_api_key(api_key)
            .with_request_api_version(version)
            .with_correlation_id(7)
            .with_client_id(Some(StrBytes::from_static_str("me")))
            .encode(&mut frame, header)
            .expect("a header");
        body(&mut frame);
        frame.to_vec()
    }

    fn head(api_key: i16, api_version: i16) -> RequestHead {
        RequestHead {
            api_key,
            api_version,
            correlation_id: 7,
        }
    }

    #[test]
    fn requests_are_read_as_others_write_them() {
        let handshake = SaslHandshakeRequest::default().with_mechanism(StrBytes::from_static_str("PLAIN"));
        let frame = request(SASL_HANDSHAKE, 1, 1, |frame| {
            handshake.encode(frame, 1).expect("it is one")
        });
        assert_eq!(mechanism(&frame), Ok("PLAIN"));
        for version in 0..=2 {
            let authenticate =
                SaslAuthenticateRequest::default().with_auth_bytes(Bytes::from_static(b"\0me\0secret"));
            let header = if version == 2 { 2 } else { 1 };
            let frame = request(SASL_AUTHENTICATE, version, header, |frame| {
                authenticate.encode(frame, version).expect("it is one");
            });
            assert_eq!(
                token(&frame, version),
                Ok(&b"\0me\0secret"[..]),
                "version {version}"
            );
            assert!(token(&frame[..frame.len() - 1], version).is_err());
        }
    }

    #[test]
    fn answers_are_read_by_others_as_they_were_meant() {
        let mut out = Vec::new();
        write_handshake(head(SASL_HANDSHAKE, 1), 33, &["PLAIN", "X"], &mut out).expect("written");
        let mut bytes = Bytes::from(out.split_off(4));
        assert_eq!(
            u32::from_be_bytes(out.try_into().expect("four")) as usize,
            bytes.len()
        );
        ResponseHeader::decode(&mut bytes, 0).expect("a header");
        let read = SaslHandshakeResponse::decode(&mut bytes, 1).expect("an answer");
        assert_eq!((read.error_code, read.mechanisms.len(), bytes.len()), (33, 2, 0));
        for version in 0..=2 {
            for (answer, code, text, token, lifetime) in [
                (
                    TokenAnswer::Accepted(b"v=", Some(Duration::from_secs(5))),
                    0,
                    Some(""),
                    &b"v="[..],
                    5000,
                ),
                (TokenAnswer::Failed("no"), 58, Some("no"), b"", 0),
                (TokenAnswer::OutOfTurn, 34, Some(OUT_OF_TURN), b"", 0),
            ] {
                let mut out = Vec::new();
                write_answer(head(SASL_AUTHENTICATE, version), answer, &mut out).expect("written");
                let mut bytes = Bytes::from(out.split_off(4));
                let header = ResponseHeader::decode(&mut bytes, i16::from(version == 2)).expect("a header");
                assert_eq!(header.correlation_id, 7);
                let read = SaslAuthenticateResponse::decode(&mut bytes, version).expect("an answer");
                assert_eq!((read.error_code, read.error_message.as_deref()), (code, text));
                assert_eq!((&*read.auth_bytes, bytes.len()), (token, 0));
                assert_eq!(read.session_lifetime_ms, if version == 0 { 0 } else { lifetime });
            }
        }
    }

    #[test]
    fn requests_of_our_own_are_read_by_others() {
        let mut out = Vec::new();
        write_own_handshake(7, "PLAIN", &mut out).expect("written");
        let mut bytes = Bytes::from(out.split_off(4));
        assert_eq!(
            u32::from_be_bytes(out.try_into().expect("four")) as usize,
            bytes.len()
        );
        let header = RequestHeader::decode(&mut bytes, 1).expect("a header");
        assert_eq!(
            (
                header.request_api_key,
                header.request_api_version,
                header.correlation_id
            ),
            (17, 1, 7)
        );
        let read = SaslHandshakeRequest::decode(&mut bytes, 1).expect("a request");
        assert_eq!((&*read.mechanism, bytes.len()), ("PLAIN", 0));

        let mut out = Vec::new();
        write_own_token(7, b"\0me\0secret", &mut out).expect("written");
        let mut bytes = Bytes::from(out.split_off(4));
        let header = RequestHeader::decode(&mut bytes, 1).expect("a header");
        assert_eq!((header.request_api_key, header.request_api_version), (36, 1));
        let read = SaslAuthenticateRequest::decode(&mut bytes, 1).expect("a request");
        assert_eq!((&*read.auth_bytes, bytes.len()), (&b"\0me\0secret"[..], 0));
    }

    #[test]
    fn answers_to_our_own_are_read_as_others_write_them() {
        let mut out = Vec::new();
        write_handshake(head(SASL_HANDSHAKE, 1), 33, &["PLAIN", "X"], &mut out).expect("written");
        assert_eq!(own_handshake_code(&out[4..]), Ok(33));
        assert!(own_handshake_code(&out[4..out.len() - 1]).is_err());
        for (answer, code, text, token, lifetime) in [
            (TokenAnswer::Accepted(b"v=", None), 0, "", &b"v="[..], None),
            (
                TokenAnswer::Accepted(b"", Some(Duration::from_secs(5))),
                0,
                "",
                b"",
                Some(Duration::from_secs(5)),
            ),
            (TokenAnswer::Failed("no"), 58, "no", b"", None),
        ] {
            let mut out = Vec::new();
            write_answer(head(SASL_AUTHENTICATE, 1), answer, &mut out).expect("written");
            let read = own_token_answer(&out[4..]).expect("an answer");
            assert_eq!((read.code, read.text, read.token), (code, Some(text), token));
            assert_eq!(read.lifetime, lifetime);
            assert!(own_token_answer(&out[4..out.len() - 1]).is_err());
        }
        // A time that is negative is none.
        let mut out = Vec::new();
        let answer = TokenAnswer::Accepted(b"", Some(Duration::from_secs(1)));
        write_answer(head(SASL_AUTHENTICATE, 1), answer, &mut out).expect("written");
        let at = out.len() - 8;
        out[at..].fill(0xff);
        assert_eq!(own_token_answer(&out[4..]).expect("an answer").lifetime, None);
    }

    proptest! {
        #[test]
        fn whatever_comes_is_read_or_refused(
            frame in proptest::collection::vec(any::<u8>(), 0..200),
            version in 0i16..3,
        ) {
            let _ = mechanism(&frame);
            let _ = token(&frame, version);
            let _ = own_handshake_code(&frame);
            let _ = own_token_answer(&frame);
        }
    }
}
