//! Finding the marker among a record's headers, and what form a stored record has.
//!
//! - MARKER-1: all headers are walked, to the section's exact end, before anything is said about the record.
//! - MARKER-2: a [`Marker`] can only be made by [`find_marker`]; whoever has one need not parse again.

use crate::record_batch::{RecordLayout, Span, headers};

use super::OpenError;
use super::seal::{MARKER, Seal};

/// What kind of record is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Form {
    /// It carries the marker header.
    Sealwire,
    /// No marker, and the header by which Kroxylicious' record encryption marks its records.
    Kroxylicious,
    /// No marker and a null value.
    Tombstone,
    /// Anything else.
    Plaintext,
}

impl Form {
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

/// Whether a record is marked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Marked {
    /// One marker header, whose value is a seal of a known format.
    One(Marker),
    /// No marker header; the form is any but [`Form::Sealwire`].
    None(Form),
}

impl Marked {
    /// The record's form.
    #[must_use]
    pub fn form(&self) -> Form {
        match self {
            Self::One(_) => Form::Sealwire,
            Self::None(form) => *form,
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

    /// The wrapped DEK, by which the key is found. Untrusted until the record is opened.
    ///
    /// `buf` is the buffer in which the marker was found; of another one the answer is as good as that buffer, or empty.
    #[must_use]
    pub fn wrapped_dek<'a>(&self, buf: &'a [u8]) -> &'a [u8] {
        buf.get(self.seal.wrapped_dek.range()).unwrap_or_default()
    }
}

/// Looks for the marker, wherever it stands among the headers (ENV-40), and takes its seal apart.
///
/// # Errors
/// [`OpenError::Record`] when the header section does not parse to its exact end, [`OpenError::MarkerTwice`], and what
/// [`Seal::parse`] returns. A marker with a null value is a truncated seal.
#[inline]
pub fn find_marker(buf: &[u8], record: &RecordLayout) -> Result<Marked, OpenError> {
    let mut found: Option<(Span, Option<Span>)> = None;
    let mut twice = false;
    let mut kroxylicious = false;
    for header in headers(buf, record) {
        let header = header?;
        let key = header.key.of(buf);
        if key == MARKER {
            twice |= found.replace((header.span, header.value)).is_some();
        } else if key == KROXYLICIOUS_HEADER {
            kroxylicious = true;
        }
    }
    if twice {
        return Err(OpenError::MarkerTwice);
    }
    let Some((header, value)) = found else {
        return Ok(Marked::None(match record.value {
            _ if kroxylicious => Form::Kroxylicious,
            None => Form::Tombstone,
            Some(_) => Form::Plaintext,
        }));
    };
    let seal = Seal::parse(buf, value.ok_or(OpenError::SealTruncated)?)?;
    Ok(Marked::One(Marker { header, seal }))
}

/// By this header Kroxylicious' record encryption marks its records (kroxylicious-record-encryption, `EncryptionHeader`).
const KROXYLICIOUS_HEADER: &[u8] = b"kroxylicious.io/encryption";
