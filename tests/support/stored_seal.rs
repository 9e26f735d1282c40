//! The marker header of a stored record, taken apart by a second reading of `docs/envelope.md`, so that tests can put
//! it together wrongly.

use super::records::{Bytes, Header};

pub(crate) const MARKER: &str = "sealwire";

/// A seal's fields, as they follow each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StoredSeal {
    pub(crate) format: u8,
    pub(crate) parts: u8,
    pub(crate) domain_hint: [u8; 4],
    pub(crate) wrapped_dek: Vec<u8>,
    pub(crate) salt: [u8; 12],
    pub(crate) counter: u64,
    /// The header section's ciphertext.
    pub(crate) hidden: Vec<u8>,
    pub(crate) tag: [u8; 16],
}

/// What a wrapped DEK says of where it can be unwrapped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StoredDek {
    pub(crate) provider: u8,
    pub(crate) authority: [u8; 4],
    pub(crate) kek: Vec<u8>,
    pub(crate) version: Vec<u8>,
    /// What the provider unwraps.
    pub(crate) blob: Vec<u8>,
}

impl StoredSeal {
    /// From the one marker among a record's headers.
    pub(crate) fn of(headers: &[Header]) -> Self {
        let markers: Vec<&Header> = headers.iter().filter(|header| header.0 == MARKER).collect();
        assert_eq!(markers.len(), 1, "markers among {headers:?}");
        let value = markers[0].1.as_ref().expect("a marker has a value");
        Self::parse(&value.0).unwrap_or_else(|| panic!("no seal: {value:?}"))
    }

    fn parse(mut bytes: &[u8]) -> Option<Self> {
        let [format] = take(&mut bytes)?;
        let [parts] = take(&mut bytes)?;
        let domain_hint = take(&mut bytes)?;
        let length = usize::try_from(take_number(&mut bytes)?).ok()?;
        let (wrapped_dek, rest) = bytes.split_at_checked(length)?;
        bytes = rest;
        let salt = take(&mut bytes)?;
        let counter = take_number(&mut bytes)?;
        let (hidden, tag) = bytes.split_last_chunk::<16>()?;
        let (wrapped_dek, hidden) = (wrapped_dek.to_vec(), hidden.to_vec());
        Some(StoredSeal {
            format,
            parts,
            domain_hint,
            wrapped_dek,
            salt,
            counter,
            hidden,
            tag: *tag,
        })
    }

    pub(crate) fn dek(&self) -> StoredDek {
        let mut bytes = self.wrapped_dek.as_slice();
        let parse = |bytes: &mut &[u8]| {
            let [provider] = take(bytes)?;
            let authority = take(bytes)?;
            let (kek, version) = (take_short(bytes)?, take_short(bytes)?);
            let blob = bytes.to_vec();
            Some(StoredDek {
                provider,
                authority,
                kek,
                version,
                blob,
            })
        };
        parse(&mut bytes).unwrap_or_else(|| panic!("no wrapped DEK: {:?}", self.wrapped_dek))
    }

    pub(crate) fn header(&self) -> Header {
        let mut bytes = vec![self.format, self.parts];
        bytes.extend(self.domain_hint);
        put_number(self.wrapped_dek.len() as u64, &mut bytes);
        bytes.extend(&self.wrapped_dek);
        bytes.extend(self.salt);
        put_number(self.counter, &mut bytes);
        bytes.extend(&self.hidden);
        bytes.extend(self.tag);
        Header(MARKER.to_owned(), Some(Bytes(bytes)))
    }
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (first, rest) = bytes.split_first_chunk::<N>()?;
    *bytes = rest;
    Some(*first)
}

/// Bytes behind their length, which is one byte.
fn take_short(bytes: &mut &[u8]) -> Option<Vec<u8>> {
    let [length] = take(bytes)?;
    let (short, rest) = bytes.split_at_checked(usize::from(length))?;
    *bytes = rest;
    Some(short.to_vec())
}

fn take_number(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for place in 0..5 {
        let [byte] = take(bytes)?;
        number |= u64::from(byte & 0x7f) << (7 * place);
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

fn put_number(mut number: u64, bytes: &mut Vec<u8>) {
    while number > 0x7f {
        bytes.push(number.to_le_bytes()[0] & 0x7f | 0x80);
        number >>= 7;
    }
    bytes.push(number.to_le_bytes()[0]);
}
