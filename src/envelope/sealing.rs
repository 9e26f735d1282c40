//! One clear record to one sealed record.
//!
//! - SEALING-1: a salt is drawn when a batch begins and dies with the [`BatchSealer`]; there is no way to set, keep or copy it.
//!   A batch that is sealed again, for whatever reason, gets a new one (ENV-25). A `BatchSealer` must not live across an await.
//! - SEALING-2: a counter is used up before the cipher is called, so a failure never leads to a second use (ENV-15).
//! - SEALING-3: the output buffer never holds plaintext of what is being sealed: the cipher writes from `source` to `out`.
//! - SEALING-4: what is sealed opens to the same record: a record that nobody could read back is refused (ENV-7).

use crate::crypto::xaes::{SALT_BYTES, TAG_BYTES};
use crate::crypto::{BatchKey, CryptoError, RecordKey, SecretKey};
use crate::record_batch::varint::{put_varint, varint_bytes};
use crate::record_batch::{RecordError, RecordLayout, Span, headers};

use super::additional_data::{AdditionalData, BoundHeaders};
use super::seal::{COUNTER_MAX, HeaderMode, MARKER, Parts, SealHead};
use super::wrapped_dek::WRAPPED_DEK_BYTES_MAX;
use super::{Domain, SealError};

/// A DEK ready to seal with: the record key derived from it, and the wrapped DEK that goes into every seal.
pub struct SealingKey {
    record_key: RecordKey,
    wrapped_dek: Box<[u8]>,
}

impl SealingKey {
    /// Derives the record key of `dek`.
    ///
    /// # Errors
    /// [`SealError::WrappedDekLength`] unless `wrapped_dek` has 1 to 2048 bytes, [`SealError::Crypto`].
    pub fn new(dek: &SecretKey, wrapped_dek: impl Into<Box<[u8]>>) -> Result<Self, SealError> {
        let wrapped_dek = wrapped_dek.into();
        if wrapped_dek.is_empty() || wrapped_dek.len() > WRAPPED_DEK_BYTES_MAX {
            return Err(SealError::WrappedDekLength);
        }
        let record_key = RecordKey::derive(dek, &wrapped_dek)?;
        Ok(Self {
            record_key,
            wrapped_dek,
        })
    }

    /// The wrapped DEK, as it is stored.
    #[must_use]
    pub fn wrapped_dek(&self) -> &[u8] {
        &self.wrapped_dek
    }

    /// Begins one attempt to seal one batch: draws its salt from the kernel and derives its sub-key.
    ///
    /// # Errors
    /// [`SealError::Crypto`].
    pub fn begin(&self) -> Result<BatchSealer<'_>, SealError> {
        let mut salt = [0; SALT_BYTES];
        getrandom::fill(&mut salt).map_err(|_| CryptoError::Random)?;
        self.begin_with(salt)
    }

    fn begin_with(&self, salt: [u8; SALT_BYTES]) -> Result<BatchSealer<'_>, SealError> {
        let batch_key = self.record_key.batch_key(&salt)?;
        Ok(BatchSealer {
            key: self,
            batch_key,
            salt,
            next_counter: 0,
        })
    }

    /// For the generator of the published vectors; not compiled into anything that is not a unit test of this crate.
    #[cfg(test)]
    pub(super) fn begin_with_salt_for_vectors(
        &self,
        salt: [u8; SALT_BYTES],
        first_counter: u32,
    ) -> Result<BatchSealer<'_>, SealError> {
        let mut sealer = self.begin_with(salt)?;
        sealer.next_counter = first_counter;
        Ok(sealer)
    }
}

/// Seals the records of one batch, in order. Neither `Clone` nor to be kept: see SEALING-1.
pub struct BatchSealer<'k> {
    key: &'k SealingKey,
    batch_key: BatchKey,
    salt: [u8; SALT_BYTES],
    next_counter: u32,
}

impl BatchSealer<'_> {
    /// Seals the record that [`parse_record`](crate::record_batch::parse_record) found in `source` and appends one complete
    /// record, its length included, to `out`. `scratch` holds the additional data; its content is of no interest.
    ///
    /// # Errors
    /// [`SealError`]; `out` is then as it was before.
    pub fn seal_record(
        &mut self,
        source: &[u8],
        record: &RecordLayout,
        domain: &Domain,
        headers: HeaderMode,
        scratch: &mut Vec<u8>,
        out: &mut Vec<u8>,
    ) -> Result<(), SealError> {
        let start = out.len();
        let sealed = self.seal_or_leave_rest(source, record, domain, headers, scratch, out);
        if sealed.is_err() {
            out.truncate(start);
        }
        sealed
    }

    fn seal_or_leave_rest(
        &mut self,
        source: &[u8],
        record: &RecordLayout,
        domain: &Domain,
        mode: HeaderMode,
        scratch: &mut Vec<u8>,
        out: &mut Vec<u8>,
    ) -> Result<(), SealError> {
        refuse_unsealable_headers(source, record)?;
        let fixed_and_key = bytes_of(source, record.fixed_and_key())?;
        let stored_key = record.key.map(|key| bytes_of(source, key)).transpose()?;
        let value = record.value.map(|value| bytes_of(source, value)).transpose()?;
        let section = bytes_of(source, record.headers)?;
        let own_headers = bytes_of(
            source,
            Span {
                start: record.first_header,
                end: record.end,
            },
        )?;
        // The text is the value, then what is hidden (ENV-23).
        let (hidden, clear, header_count) = match mode {
            HeaderMode::Sealed => (section, &[][..], 1),
            HeaderMode::Free | HeaderMode::Bound => (&[][..], own_headers, record.header_count + 1),
        };
        let parts = Parts {
            headers: mode,
            key_sealed: false,
        };
        let head = SealHead {
            parts,
            domain_hint: domain.hint(),
            wrapped_dek: &self.key.wrapped_dek,
            salt: &self.salt,
            counter: take_counter(&mut self.next_counter)?,
        };

        // Fixed part and key are copied (ENV-1, ENV-2). All sizes are known, so every length is written once, in its shortest form (ENV-8).
        let value_length = length_field(value.map(<[u8]>::len))?;
        let header_count = i32::try_from(header_count).map_err(|_| SealError::TooLarge)?;
        let value_bytes = value.map_or(0, <[u8]>::len);
        // INVARIANT: sums of lengths of slices in memory and of a few bytes; they do not overflow a usize.
        let seal_bytes = head.bytes() + hidden.len() + TAG_BYTES;
        let seal_length = length_field(Some(seal_bytes))?;
        let marker_bytes =
            varint_bytes(MARKER_LENGTH) + MARKER.len() + varint_bytes(seal_length) + seal_bytes;
        let body_bytes = fixed_and_key.len()
            + varint_bytes(value_length)
            + value_bytes
            + varint_bytes(header_count)
            + marker_bytes
            + clear.len();
        let body_length = length_field(Some(body_bytes))?;

        AdditionalData {
            parts,
            domain,
            stored_key,
            value_bytes: value.map(<[u8]>::len),
            bound_headers: (mode == HeaderMode::Bound).then_some(BoundHeaders {
                count: record.header_count,
                before_marker: &[],
                behind_marker: own_headers,
            }),
        }
        .write(scratch);

        out.reserve(varint_bytes(body_length) + body_bytes);
        put_varint(out, body_length);
        out.extend_from_slice(fixed_and_key);
        put_varint(out, value_length);
        let value_at = out.len();
        out.resize(value_at + value_bytes, 0);
        put_varint(out, header_count);
        put_varint(out, MARKER_LENGTH);
        out.extend_from_slice(MARKER);
        put_varint(out, seal_length);
        head.write(out);
        let hidden_at = out.len();
        out.resize(hidden_at + hidden.len() + TAG_BYTES, 0);

        // INVARIANT: both positions were taken from the length of `out`, which has only grown since.
        let (front, hidden_and_tag) = out.split_at_mut(hidden_at);
        let ciphertext = &mut front[value_at..value_at + value_bytes];
        self.batch_key.seal(
            head.counter,
            scratch,
            value.unwrap_or_default(),
            ciphertext,
            hidden,
            hidden_and_tag,
        )?;
        out.extend_from_slice(clear);
        Ok(())
    }
}

/// ENV-6 and ENV-7.
#[inline]
fn refuse_unsealable_headers(source: &[u8], record: &RecordLayout) -> Result<(), SealError> {
    for header in headers(source, record) {
        if header?.key.of(source) == MARKER {
            return Err(SealError::ClientMarker);
        }
    }
    Ok(())
}

/// The next counter, used up whether the record gets sealed or not.
#[inline]
fn take_counter(next: &mut u32) -> Result<u32, SealError> {
    let counter = *next;
    if counter > COUNTER_MAX {
        return Err(SealError::CounterExhausted);
    }
    *next = counter + 1;
    Ok(counter)
}

#[inline]
fn bytes_of(source: &[u8], span: Span) -> Result<&[u8], RecordError> {
    source.get(span.range()).ok_or(RecordError::Truncated)
}

/// A length of a record; -1 for null.
#[inline]
fn length_field(length: Option<usize>) -> Result<i32, SealError> {
    length.map_or(Ok(-1), |length| {
        i32::try_from(length).map_err(|_| SealError::TooLarge)
    })
}

/// The marker's key length, as a record has it.
const MARKER_LENGTH: i32 = MARKER.len() as i32;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record_batch::parse_record;

    type TestResult = Result<(), Box<dyn std::error::Error>>;

    fn sealing_key() -> Result<SealingKey, SealError> {
        SealingKey::new(&SecretKey::from_bytes(&mut [1; 32])?, *b"wrapped")
    }

    /// No key, value `v`, the given header section.
    fn record(section: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0; 1];
        bytes.extend_from_slice(&[0, 0, 0, 1, 2, b'v']);
        bytes.extend_from_slice(section);
        bytes[0] = u8::try_from((bytes.len() - 1) * 2).unwrap();
        bytes
    }

    fn try_seal(source: &[u8], first_counter: u32, out: &mut Vec<u8>) -> Result<(), SealError> {
        let key = sealing_key()?;
        let mut sealer = key.begin_with_salt_for_vectors([3; 12], first_counter)?;
        let layout = parse_record(source, 0)?;
        let domain = Domain::new("orders").unwrap();
        sealer.seal_record(source, &layout, &domain, HeaderMode::Sealed, &mut Vec::new(), out)
    }

    #[test]
    fn refusals_leave_the_output_as_it_was() {
        let marked = record(b"\x02\x10sealwire\x00");
        let trailing = record(b"\x00\x00");
        let cases = [
            (&marked, 0, SealError::ClientMarker),
            (&trailing, 0, SealError::Record(RecordError::Trailing)),
            (&record(b"\x00"), COUNTER_MAX + 1, SealError::CounterExhausted),
        ];
        for (source, counter, error) in cases {
            let mut out = vec![7; 3];
            assert_eq!(try_seal(source, counter, &mut out), Err(error));
            assert_eq!(out, [7; 3]);
        }
        let mut out = vec![7; 3];
        assert_eq!(try_seal(&record(b"\x00"), COUNTER_MAX, &mut out), Ok(()));
        assert!(out.len() > 3 && out.starts_with(&[7; 3]));
    }

    #[test]
    fn headers_that_resemble_the_marker_are_the_clients_business() {
        for section in [b"\x02\x10Sealwire\x00", b"\x02\x10sealwirE\x00"] {
            assert_eq!(try_seal(&record(section), 0, &mut Vec::new()), Ok(()));
        }
    }

    #[test]
    fn wrapped_dek_length_limits() -> TestResult {
        let dek = SecretKey::from_bytes(&mut [1; 32])?;
        for length in [1, 2048] {
            assert!(SealingKey::new(&dek, vec![0; length]).is_ok());
        }
        for length in [0, 2049] {
            assert!(matches!(
                SealingKey::new(&dek, vec![0; length]),
                Err(SealError::WrappedDekLength)
            ));
        }
        Ok(())
    }

    #[test]
    fn every_batch_has_its_own_salt_and_counts_from_zero() -> TestResult {
        let key = sealing_key()?;
        let (one, two) = (key.begin()?, key.begin()?);
        assert_ne!(one.salt, two.salt);
        assert_eq!((one.next_counter, two.next_counter), (0, 0));
        Ok(())
    }
}
