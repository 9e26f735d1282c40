//! What a stored record is, out of one walk over its headers.
//!
//! - FORM-1: all headers are walked, to the section's exact end, before anything is said about the record.
//! - a [`Marker`] can only be made by [`form_of`]; whoever has one need not parse again.
//! - FORM-3: a record has one form. The marker decides, whatever else stands beside it; then Kroxylicious' header; then
//!   the value.

use crate::record_batch::{RecordLayout, Span, headers};

use super::OpenError;
use super::seal::{FORMAT_RECORD_SEAL, MARKER, Seal};

/// What is stored, with what its headers say of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Sealed by Sealwire, with a seal of its own (format 1).
    RecordSeal(Marker),
    /// Encrypted by Kroxylicious: no marker, and the header by which its record encryption marks records.
    Kroxylicious {
        /// The version of its format: the header's one byte; `None` where the header holds anything else.
        version: Option<u8>,
    },
    /// No marker and a null value.
    Tombstone,
    /// Anything else.
    Plaintext,
}

impl Form {
    /// The form without what the headers say.
    #[must_use]
    pub fn kind(&self) -> FormKind {
        match self {
            Self::RecordSeal(_) => FormKind::Sealwire,
            Self::Kroxylicious { .. } => FormKind::Kroxylicious,
            Self::Tombstone => FormKind::Tombstone,
            Self::Plaintext => FormKind::Plaintext,
        }
    }

    /// The number of the format in which the record is sealed or encrypted, where its headers say so.
    #[must_use]
    pub fn format(&self) -> Option<u8> {
        match self {
            Self::RecordSeal(_) => Some(FORMAT_RECORD_SEAL),
            Self::Kroxylicious { version } => *version,
            Self::Tombstone | Self::Plaintext => None,
        }
    }
}

/// A form as rules, counters and the audit log name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FormKind {
    /// It carries the marker header.
    Sealwire,
    /// See [`Form::Kroxylicious`].
    Kroxylicious,
    /// See [`Form::Tombstone`].
    Tombstone,
    /// See [`Form::Plaintext`].
    Plaintext,
}

impl FormKind {
    /// The word for configuration, counters and audit lines.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Sealwire => "sealwire",
            Self::Kroxylicious => "kroxylicious",
            Self::Tombstone => "tombstone",
            Self::Plaintext => "plaintext",
        }
    }
}

/// The marker header of one record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Marker {
    /// The whole header.
    pub(super) header: Span,
    pub(super) seal: Seal,
}

impl Marker {
    /// The seal.
    #[must_use]
    pub fn seal(&self) -> &Seal {
        &self.seal
    }

    /// Where the header stands, lengths included.
    #[must_use]
    pub fn header(&self) -> Span {
        self.header
    }

    /// The marker with the record in which it was found.
    #[inline]
    #[must_use]
    pub fn in_record<'r>(&'r self, layout: &'r RecordLayout) -> MarkedRecord<'r> {
        MarkedRecord { layout, marker: self }
    }

    /// The wrapped DEK, by which the key is found. Untrusted until the record is opened.
    ///
    /// `buf` is the buffer in which the marker was found; of another one the answer is as good as that buffer, or
    /// empty.
    #[must_use]
    pub fn wrapped_dek<'a>(&self, buf: &'a [u8]) -> &'a [u8] {
        buf.get(self.seal.wrapped_dek.range()).unwrap_or_default()
    }
}

/// A record and the marker that was found in it.
#[derive(Debug, Clone, Copy)]
pub struct MarkedRecord<'r> {
    pub(super) layout: &'r RecordLayout,
    pub(super) marker: &'r Marker,
}

/// What the record is: walks its headers once, and takes the seal of the marker apart, wherever that stands (ENV-40).
///
/// # Errors
/// [`OpenError::Record`] when the header section does not parse to its exact end, [`OpenError::MarkerTwice`], and what
/// [`Seal::parse`] returns. A marker with a null value is a truncated seal.
#[inline]
pub fn form_of(buf: &[u8], record: &RecordLayout) -> Result<Form, OpenError> {
    let mut marker: Option<(Span, Option<Span>)> = None;
    let mut twice = false;
    let mut kroxylicious: Option<Option<Span>> = None;
    for header in headers(buf, record) {
        let header = header?;
        let key = header.key.of(buf);
        if key == MARKER {
            twice |= marker.replace((header.span, header.value)).is_some();
        } else if key == KROXYLICIOUS_HEADER {
            // As its own reader has it: the first one decides.
            kroxylicious.get_or_insert(header.value);
        }
    }
    if twice {
        return Err(OpenError::MarkerTwice);
    }
    if let Some((header, value)) = marker {
        let seal = Seal::parse(buf, value.ok_or(OpenError::SealTruncated)?)?;
        return Ok(Form::RecordSeal(Marker { header, seal }));
    }
    Ok(match (kroxylicious, record.value) {
        (Some(value), _) => Form::Kroxylicious {
            version: value.and_then(|value| match value.of(buf) {
                [version] => Some(*version),
                _ => None,
            }),
        },
        (None, None) => Form::Tombstone,
        (None, Some(_)) => Form::Plaintext,
    })
}

/// By this header Kroxylicious' record encryption marks its records (kroxylicious-record-encryption,
/// `EncryptionHeader`).
const KROXYLICIOUS_HEADER: &[u8] = b"kroxylicious.io/encryption";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::record_batch::parse_record;
    use crate::record_batch::varint::put_varint;

    /// A record with this value and these headers.
    fn record(value: Option<&[u8]>, headers: &[(&[u8], Option<&[u8]>)]) -> (Vec<u8>, RecordLayout) {
        let put = |out: &mut Vec<u8>, bytes: Option<&[u8]>| {
            put_varint(out, bytes.map_or(-1, |bytes| bytes.len() as i32));
            out.extend_from_slice(bytes.unwrap_or_default());
        };
        // Attributes, timestamp delta, offset delta.
        let mut body = vec![0, 0, 0];
        put(&mut body, None);
        put(&mut body, value);
        put_varint(&mut body, headers.len() as i32);
        for (key, value) in headers {
            put(&mut body, Some(key));
            put(&mut body, *value);
        }
        let mut bytes = Vec::new();
        put_varint(&mut bytes, body.len() as i32);
        bytes.extend_from_slice(&body);
        let layout = parse_record(&bytes, 0).unwrap();
        (bytes, layout)
    }

    fn form(value: Option<&[u8]>, headers: &[(&[u8], Option<&[u8]>)]) -> Result<Form, OpenError> {
        let (bytes, record) = record(value, headers);
        form_of(&bytes, &record)
    }

    const VALUE: Option<&[u8]> = Some(b"value");

    /// FORM-3, of records without a marker.
    #[test]
    fn each_form_is_recognised() {
        assert_eq!(form(VALUE, &[]), Ok(Form::Plaintext));
        assert_eq!(form(None, &[]), Ok(Form::Tombstone));
        assert_eq!(form(None, &[(b"sealwire2", VALUE)]), Ok(Form::Tombstone));
        for (header, version) in [
            (Some(&[2][..]), Some(2)),
            (Some(&[0xff][..]), Some(0xff)),
            (Some(&[][..]), None),
            (Some(&[2, 2][..]), None),
            (None, None),
        ] {
            for value in [VALUE, None] {
                let found = form(value, &[(b"a", None), (KROXYLICIOUS_HEADER, header)]);
                assert_eq!(found, Ok(Form::Kroxylicious { version }));
            }
        }
        let first = [
            (KROXYLICIOUS_HEADER, Some(&[2][..])),
            (KROXYLICIOUS_HEADER, Some(&[3][..])),
        ];
        assert_eq!(form(VALUE, &first), Ok(Form::Kroxylicious { version: Some(2) }));
        assert_eq!(
            form(VALUE, &first).map(|form| (form.kind(), form.format())),
            Ok((FormKind::Kroxylicious, Some(2)))
        );
        assert_eq!((Form::Tombstone.format(), Form::Plaintext.format()), (None, None));
    }

    /// FORM-1, FORM-3
    #[test]
    fn the_marker_decides_wherever_it_stands_and_all_headers_are_walked() {
        let unknown = Some(&[2][..]);
        for headers in [
            [(MARKER, unknown), (KROXYLICIOUS_HEADER, unknown)],
            [(KROXYLICIOUS_HEADER, unknown), (MARKER, unknown)],
        ] {
            assert_eq!(form(VALUE, &headers), Err(OpenError::UnknownFormat { format: 2 }));
        }
        assert_eq!(form(VALUE, &[(MARKER, None)]), Err(OpenError::SealTruncated));
        assert_eq!(form(VALUE, &[(MARKER, Some(b""))]), Err(OpenError::SealTruncated));
        // Nothing is said of the first before the second was seen.
        for first in [None, unknown] {
            let twice = [(MARKER, first), (b"a", None), (MARKER, first)];
            assert_eq!(form(VALUE, &twice), Err(OpenError::MarkerTwice));
            assert_eq!(form(VALUE, &[(MARKER, first); 3]), Err(OpenError::MarkerTwice));
        }
        let (mut bytes, record) = record(VALUE, &[(MARKER, None), (b"a", Some(b"b"))]);
        let last = bytes.len() - 2;
        bytes[last] = 100;
        assert!(matches!(form_of(&bytes, &record), Err(OpenError::Record(_))));
    }

    proptest! {
        /// FORM-1: whatever stands in the headers, nothing is read beyond them.
        #[test]
        fn any_bytes_are_walked(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(record) = parse_record(&bytes, 0) {
                let _ = form_of(&bytes, &record);
            }
        }
    }
}
