//! A private key out of PEM text (RFC 7468), with every copy wiped that is made on the way (CERTIFICATES-2).

use base64ct::{Base64, Encoding as _};
use rustls::pki_types::PrivateKeyDer;
use zeroize::Zeroizing;

/// Why there is no key. Neither repeats anything of the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoKey {
    /// Nothing in the text is one.
    Absent,
    /// What there is does not end, or is no Base64.
    Malformed,
}

/// The first private key of `text`, whatever else stands there: PKCS #8, PKCS #1 or SEC 1. What it is made of is not
/// looked at. Whoever gets it wipes it, as rustls does.
pub(super) fn decode(text: &[u8]) -> Result<PrivateKeyDer<'static>, NoKey> {
    let mut lines = text.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    let (end, into_key) = lines.by_ref().find_map(kind_of).ok_or(NoKey::Absent)?;
    // As much room as it can need: where a vector grows it leaves a copy behind.
    let mut base64 = Zeroizing::new(Vec::with_capacity(text.len()));
    loop {
        match lines.next() {
            None => return Err(NoKey::Malformed),
            Some(line) if line == end => break,
            Some(line) => base64.extend_from_slice(line),
        }
    }
    let der = Base64::decode_in_place(&mut base64).map_err(|_| NoKey::Malformed)?;
    Ok(into_key(der.to_vec()))
}

type IntoKey = fn(Vec<u8>) -> PrivateKeyDer<'static>;

/// With which line a key ends that begins with this one, and what it is.
fn kind_of(line: &[u8]) -> Option<(&'static [u8], IntoKey)> {
    match line {
        b"-----BEGIN PRIVATE KEY-----" => Some((b"-----END PRIVATE KEY-----", |der| {
            PrivateKeyDer::Pkcs8(der.into())
        })),
        b"-----BEGIN RSA PRIVATE KEY-----" => Some((b"-----END RSA PRIVATE KEY-----", |der| {
            PrivateKeyDer::Pkcs1(der.into())
        })),
        b"-----BEGIN EC PRIVATE KEY-----" => Some((b"-----END EC PRIVATE KEY-----", |der| {
            PrivateKeyDer::Sec1(der.into())
        })),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(text: &str) -> Result<Vec<u8>, NoKey> {
        decode(text.as_bytes()).map(|key| key.secret_der().to_vec())
    }

    #[test]
    fn the_first_key_is_taken_whatever_stands_around_it() {
        let key = "-----BEGIN EC PRIVATE KEY-----\nAQID\nBA==\n-----END EC PRIVATE KEY-----\n";
        let other = "-----BEGIN PRIVATE KEY-----\nBQ==\n-----END PRIVATE KEY-----";
        let beside = "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n";
        for text in [
            key.to_owned(),
            key.trim_end().to_owned(),
            key.replace('\n', " \r\n"),
            format!("Bag Attributes: none\n{beside}{key}{other}"),
            key.replace("AQID\nBA==", "AQIDBA=="),
        ] {
            assert_eq!(decoded(&text), Ok(vec![1, 2, 3, 4]), "{text}");
        }
        assert_eq!(decoded(other), Ok(vec![5]));
        assert!(matches!(decode(key.as_bytes()), Ok(PrivateKeyDer::Sec1(_))));
        assert!(matches!(decode(other.as_bytes()), Ok(PrivateKeyDer::Pkcs8(_))));
        let rsa = other.replace("PRIVATE", "RSA PRIVATE");
        assert!(matches!(decode(rsa.as_bytes()), Ok(PrivateKeyDer::Pkcs1(_))));
    }

    #[test]
    fn what_is_no_key_is_refused() {
        for (text, expected) in [
            ("", NoKey::Absent),
            (
                "-----BEGIN CERTIFICATE-----\nAQ==\n-----END CERTIFICATE-----",
                NoKey::Absent,
            ),
            ("-----BEGIN PRIVATE KEY-----\nAQ==\n", NoKey::Malformed),
            (
                "-----BEGIN PRIVATE KEY-----\nAQ==\n-----END EC PRIVATE KEY-----",
                NoKey::Malformed,
            ),
            (
                "-----BEGIN PRIVATE KEY-----\nA%==\n-----END PRIVATE KEY-----",
                NoKey::Malformed,
            ),
            (
                "-----BEGIN PRIVATE KEY-----\nAQ\n-----END PRIVATE KEY-----",
                NoKey::Malformed,
            ),
        ] {
            assert_eq!(decoded(text), Err(expected), "{text}");
        }
    }
}
