//! One clear record to one sealed record.
//!
//! - SEALING-1: a salt is drawn when a batch begins ([`SaltSource`]) and dies with the [`BatchSealer`]; there is no way
//!   to set, keep or copy it, nor to go back to a counter. A batch that is sealed again, for whatever reason, gets a
//!   new one (ENV-25).
//! - SEALING-2: a counter is used up before the cipher is called, so a failure never leads to a second use (ENV-15).
//! - SEALING-3: neither the output nor a buffer ever holds plaintext of what is being sealed: the cipher writes from
//!   `source` to `out`, value and headers in one call.
//! - SEALING-4: what is sealed opens to the same record: a record that nobody could read back is refused (ENV-7).

use std::ops::Range;
use std::sync::Arc;

use bytes::BufMut;

use crate::crypto::xaes::{SALT_BYTES, TAG_BYTES};
use crate::crypto::{BatchKey, RecordKey, SecretKey};
use crate::record_batch::varint::{put_varint, varint_bytes};
use crate::record_batch::{CompactFrame, Middle, RecordError, RecordLayout, Span, headers};

use super::additional_data::{BoundHeaders, RecordBinding, put_context, put_sealed_key, put_stored_key};
use super::seal::{COUNTER_MAX, HeaderMode, MARKER, Parts, SealHead};
use super::stable_key::SEALED_KEY_BYTES;
use super::uvarint::{put_uvarint, uvarint_bytes};
use super::wrapped_dek::WRAPPED_DEK_BYTES_MAX;
use super::{BatchPlace, Domain, DomainKey, SaltSource, SealError};

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

    /// Begins one attempt to seal one batch, which came at `place`, on these terms: draws its salt, derives its
    /// sub-key, and writes down what its records have in common.
    ///
    /// # Errors
    /// [`SealError::Crypto`].
    pub fn begin(
        &self,
        salts: &mut SaltSource,
        place: &BatchPlace<'_>,
        terms: &SealTerms<'_>,
        mut buffers: SealBuffers,
    ) -> Result<BatchSealer, SealError> {
        buffers.additional_data.clear();
        put_context(&mut buffers.additional_data, terms.parts(), terms.domain);
        let salt = salts.next(place, &buffers.additional_data, &self.wrapped_dek)?;
        self.begin_with(salt, terms, buffers)
    }

    fn begin_with(
        &self,
        salt: [u8; SALT_BYTES],
        terms: &SealTerms<'_>,
        mut buffers: SealBuffers,
    ) -> Result<BatchSealer, SealError> {
        let parts = terms.parts();
        buffers.seal_head.clear();
        SealHead {
            parts,
            domain_hint: terms.domain.hint(),
            wrapped_dek: &self.wrapped_dek,
            salt: &salt,
        }
        .write(&mut buffers.seal_head);
        buffers.additional_data.clear();
        put_context(&mut buffers.additional_data, parts, terms.domain);
        Ok(BatchSealer {
            batch_key: self.record_key.batch_key(&salt)?,
            headers: terms.headers,
            keys: terms.keys.cloned(),
            context_bytes: buffers.additional_data.len(),
            buffers,
            middle_of: None,
            middle_ends: [0; 3],
            next_counter: 0,
        })
    }

    /// For the generator of the published vectors; not compiled into anything that is not a unit test of this crate.
    #[cfg(test)]
    pub(super) fn begin_with_salt_for_vectors(
        &self,
        salt: [u8; SALT_BYTES],
        first_counter: u32,
        terms: &SealTerms<'_>,
        buffers: SealBuffers,
    ) -> Result<BatchSealer, SealError> {
        let mut sealer = self.begin_with(salt, terms, buffers)?;
        sealer.next_counter = first_counter;
        Ok(sealer)
    }
}

/// What records are sealed to, and how much of them.
#[derive(Clone, Copy)]
pub struct SealTerms<'a> {
    /// What they are bound to.
    pub domain: &'a Domain,
    /// What happens to their headers.
    pub headers: HeaderMode,
    /// What seals their keys, derived for this domain; `None`: they stay readable.
    pub keys: Option<&'a Arc<DomainKey>>,
}

impl<'a> SealTerms<'a> {
    /// With keys that stay readable.
    #[must_use]
    pub fn new(domain: &'a Domain, headers: HeaderMode) -> Self {
        Self {
            domain,
            headers,
            keys: None,
        }
    }

    fn parts(&self) -> Parts {
        Parts {
            headers: self.headers,
            key_sealed: self.keys.is_some(),
        }
    }
}

/// What a [`BatchSealer`] writes to besides the output: used again for every batch ([`BatchSealer::end`]). Holds no
/// plaintext but bound headers and, where keys are not sealed, record keys, which are readable at rest.
#[derive(Default)]
pub struct SealBuffers {
    /// What all seals of the batch begin with.
    seal_head: Vec<u8>,
    /// What stands between value and counter in the record that was sealed last.
    middle: Vec<u8>,
    /// The additional data of one record, with what the batch has in common in front.
    additional_data: Vec<u8>,
}

/// Seals the records of one batch, in order, in one go or in several. Neither `Clone` nor to be begun anew: see
/// SEALING-1.
pub struct BatchSealer {
    batch_key: BatchKey,
    headers: HeaderMode,
    keys: Option<Arc<DomainKey>>,
    /// How much of the additional data is the same for every record.
    context_bytes: usize,
    buffers: SealBuffers,
    /// The header count and the seal's length that [`SealBuffers::middle`] says, once there is one.
    middle_of: Option<(i32, i32)>,
    /// Where its parts end ([`Middle::ends`]).
    middle_ends: [usize; 3],
    next_counter: u32,
}

impl BatchSealer {
    /// Ends the batch: the salt is gone, and the buffers may serve the next one.
    #[must_use]
    pub fn end(self) -> SealBuffers {
        self.buffers
    }

    /// How long `record` will be at most once it is sealed.
    #[inline]
    #[must_use]
    pub fn sealed_bytes_max(&self, record: &RecordLayout) -> usize {
        record
            .whole()
            .len()
            .saturating_add(self.buffers.seal_head.len())
            .saturating_add(SEAL_FRAMING_BYTES_MAX)
    }

    /// Seals the record that [`parse_record`](crate::record_batch::parse_record) found in `source` and appends one
    /// complete record, its length included, to `out`.
    ///
    /// # Errors
    /// [`SealError`]; `out` is then as it was before.
    pub fn seal_record(
        &mut self,
        source: &[u8],
        record: &RecordLayout,
        out: &mut Vec<u8>,
    ) -> Result<(), SealError> {
        let start = out.len();
        let sealed = match self.keys {
            None => self.seal_or_leave_rest::<false>(source, record, None, out),
            Some(_) => self.seal_or_leave_rest::<true>(source, record, None, out),
        };
        if sealed.is_err() {
            out.truncate(start);
        }
        sealed
    }

    /// The same through the frame of a compact batch, which ends where `out` does.
    ///
    /// # Errors
    /// [`SealError`]; the frame is then of no more use.
    #[inline]
    pub fn seal_compact_record(
        &mut self,
        source: &[u8],
        record: &RecordLayout,
        frame: &mut CompactFrame,
        out: &mut Vec<u8>,
    ) -> Result<(), SealError> {
        match self.keys {
            None => self.seal_or_leave_rest::<false>(source, record, Some(frame), out)?,
            Some(_) => self.seal_or_leave_rest::<true>(source, record, Some(frame), out)?,
        }
        frame.placed(out);
        Ok(())
    }

    #[expect(
        clippy::arithmetic_side_effects,
        clippy::indexing_slicing,
        reason = "see the INVARIANT lines"
    )]
    fn seal_or_leave_rest<const KEYS_SEALED: bool>(
        &mut self,
        source: &[u8],
        record: &RecordLayout,
        frame: Option<&mut CompactFrame>,
        out: &mut Vec<u8>,
    ) -> Result<(), SealError> {
        refuse_unsealable_headers(source, record)?;
        let counter = take_counter(&mut self.next_counter)?;
        let Pieces {
            text,
            hidden_bytes,
            clear,
            header_count,
            binding,
        } = Pieces::of(source, record, self.headers)?;

        // All sizes are known, so every length is written once, in its shortest form (ENV-8).
        let value_length = length_field(binding.value_bytes)?;
        // INVARIANT: sums of lengths of slices in memory and of a few bytes; they do not overflow a usize.
        let seal_bytes = self.buffers.seal_head.len() + uvarint_bytes(counter) + hidden_bytes + TAG_BYTES;
        let seal_length = length_field(Some(seal_bytes))?;
        let as_before = self.has_middle(header_count, seal_length);
        let SealBuffers {
            middle,
            additional_data,
            ..
        } = &mut self.buffers;
        additional_data.truncate(self.context_bytes);
        let keys = self.keys.as_deref().filter(|_| KEYS_SEALED);
        let key = StoredKey::put(source, record, keys, additional_data)?;
        binding.append(additional_data);

        let value_bytes = binding.value_bytes.unwrap_or_default();
        let back_bytes = uvarint_bytes(counter) + hidden_bytes + TAG_BYTES + clear.len();
        let key_bytes = key.bytes();
        let body_bytes = key_bytes + varint_bytes(value_length) + value_bytes + middle.len() + back_bytes;
        let body_length = length_field(Some(body_bytes))?;

        let front_bytes = varint_bytes(body_length) + key_bytes + varint_bytes(value_length);
        let middle = match frame {
            None => middle,
            Some(frame) => {
                let middle = Middle {
                    bytes: middle,
                    ends: self.middle_ends,
                    as_before,
                };
                frame.place(out, [front_bytes + value_bytes, back_bytes], &middle)
            }
        };
        let start = out.len();
        out.resize(start + front_bytes + value_bytes + middle.len() + back_bytes, 0);
        // INVARIANT: the place has the size of all that is put into it, in the order in which it was added up above;
        // what is hidden is followed by at least its own length and the tag.
        let (mut front, back) = out[start..].split_at_mut(front_bytes);
        put_varint(&mut front, body_length);
        front.put_slice(key.copied);
        if let Some((length, sealed)) = key.sealed {
            put_varint(&mut front, length);
            front.put_slice(&additional_data[sealed]);
        }
        put_varint(&mut front, value_length);

        // In one piece behind the value's length; then what is hidden moves to the place that the seal has for it.
        let tag = self
            .batch_key
            .seal(counter, additional_data, text, &mut back[..text.len()])?;
        let (_, mut back) = back.split_at_mut(text.len() - hidden_bytes);
        let hidden_at = back.len() - clear.len() - TAG_BYTES - hidden_bytes;
        back.copy_within(..hidden_bytes, hidden_at);
        back.put_slice(middle);
        put_uvarint(&mut back, counter);
        let (_, mut back) = back.split_at_mut(hidden_bytes);
        back.put_slice(&tag);
        back.put_slice(clear);
        Ok(())
    }
}

impl BatchSealer {
    /// Writes what stands between value and counter, unless it is the same as for the record before; says which.
    // Always: it has more than one caller for each kind of keys, and would be called for each record.
    #[inline(always)]
    fn has_middle(&mut self, header_count: i32, seal_length: i32) -> bool {
        let of = Some((header_count, seal_length));
        if self.middle_of == of {
            return true;
        }
        self.middle_of = of;
        let SealBuffers {
            seal_head, middle, ..
        } = &mut self.buffers;
        middle.clear();
        put_varint(middle, header_count);
        let count_end = middle.len();
        put_varint(middle, MARKER_LENGTH);
        middle.extend_from_slice(MARKER);
        let name_end = middle.len();
        put_varint(middle, seal_length);
        self.middle_ends = [count_end, name_end, middle.len()];
        middle.extend_from_slice(seal_head);
        false
    }
}

/// What one sealed record is put together from.
struct Pieces<'s> {
    /// The value, then what is hidden (ENV-23); a record has them in this order, with nothing between.
    text: &'s [u8],
    hidden_bytes: usize,
    /// The headers that stay readable.
    clear: &'s [u8],
    /// With the marker.
    header_count: i32,
    binding: RecordBinding<'s>,
}

impl<'s> Pieces<'s> {
    // Always: handed back as a value, they would go through memory.
    #[inline(always)]
    fn of(source: &'s [u8], record: &RecordLayout, mode: HeaderMode) -> Result<Self, SealError> {
        let own_headers = bytes_of(
            source,
            Span {
                start: record.first_header,
                end: record.end,
            },
        )?;
        let (text_end, clear, header_count) = match mode {
            HeaderMode::Sealed => (record.end, &[][..], 1),
            HeaderMode::Free | HeaderMode::Bound => (
                record.headers.start,
                own_headers,
                record.header_count.saturating_add(1),
            ),
        };
        let text_start = record.value.map_or(record.headers.start, |value| value.start);
        Ok(Self {
            text: source.get(text_start..text_end).ok_or(RecordError::Truncated)?,
            hidden_bytes: text_end.saturating_sub(record.headers.start),
            clear,
            header_count: i32::try_from(header_count).map_err(|_| SealError::TooLarge)?,
            binding: RecordBinding {
                value_bytes: record.value.map(Span::len),
                bound_headers: (mode == HeaderMode::Bound).then_some(BoundHeaders {
                    count: record.header_count,
                    before_marker: &[],
                    behind_marker: own_headers,
                }),
            },
        })
    }
}

/// Fixed part and key, as they are stored.
struct StoredKey<'s> {
    /// What is copied in one piece: the fixed part, and the key that stays as it is (ENV-1, ENV-2).
    copied: &'s [u8],
    /// The length of a key that was sealed (ENV-70), and where in the additional data it stands.
    sealed: Option<(i32, Range<usize>)>,
}

impl<'s> StoredKey<'s> {
    /// Appends the key to the additional data.
    // Always: handed back as a value, it would go through memory.
    #[inline(always)]
    fn put(
        source: &'s [u8],
        record: &RecordLayout,
        keys: Option<&DomainKey>,
        additional_data: &mut Vec<u8>,
    ) -> Result<Self, SealError> {
        let key = record.key.map(|key| bytes_of(source, key)).transpose()?;
        if let (Some(keys), Some(key)) = (keys, key) {
            let length = length_field(Some(key.len().saturating_add(SEALED_KEY_BYTES)))?;
            return Ok(Self {
                copied: bytes_of(source, record.fixed)?,
                sealed: Some((length, put_sealed_key(additional_data, keys, key)?)),
            });
        }
        put_stored_key(additional_data, key);
        Ok(Self {
            copied: bytes_of(source, record.fixed_and_key())?,
            sealed: None,
        })
    }

    #[inline(always)]
    #[expect(clippy::arithmetic_side_effects, reason = "lengths of what is in memory")]
    fn bytes(&self) -> usize {
        let sealed = self.sealed.as_ref();
        let sealed = sealed.map_or(0, |(length, sealed)| varint_bytes(*length) + sealed.len());
        self.copied.len() + sealed
    }
}

/// ENV-6 and ENV-7.
// Always: as `has_middle`.
#[inline(always)]
fn refuse_unsealable_headers(source: &[u8], record: &RecordLayout) -> Result<(), SealError> {
    // Most records have none, and to set up a walk takes longer than to see that.
    if record.header_count == 0 && record.first_header == record.end {
        return Ok(());
    }
    for header in headers(source, record) {
        if header?.key.of(source) == MARKER {
            return Err(SealError::ClientMarker);
        }
    }
    Ok(())
}

/// The next counter, used up whether the record gets sealed or not.
#[inline]
#[expect(clippy::arithmetic_side_effects, reason = "below COUNTER_MAX")]
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

/// Marker, counter, tag, what a sealed key has more, and all lengths at their longest.
const SEAL_FRAMING_BYTES_MAX: usize = MARKER.len() + TAG_BYTES + SEALED_KEY_BYTES + 7 * 5;

/// The marker's key length, as a record has it.
const MARKER_LENGTH: i32 = MARKER.len() as i32;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::memory::tests::{ChildEnd, fork};
    use crate::crypto::{CryptoError, memory};
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
        let layout = parse_record(source, 0)?;
        let (domain, buffers) = (Domain::new("orders").unwrap(), SealBuffers::default());
        key.begin_with_salt_for_vectors(
            [3; 12],
            first_counter,
            &SealTerms::new(&domain, HeaderMode::Sealed),
            buffers,
        )?
        .seal_record(source, &layout, out)
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

    /// SEALING-1, SEALING-2, XAES-1
    #[test]
    fn every_batch_has_its_own_salt_and_counts_from_zero() -> TestResult {
        let key = sealing_key()?;
        let domain = Domain::new("orders")?;
        let mut salts = SaltSource::new(0);
        let mut begin = || {
            let place = BatchPlace::default();
            key.begin(
                &mut salts,
                &place,
                &SealTerms::new(&domain, HeaderMode::Sealed),
                SealBuffers::default(),
            )
        };
        let (one, two) = (begin()?, begin()?);
        assert_ne!(one.buffers.seal_head, two.buffers.seal_head);
        assert_eq!((one.next_counter, two.next_counter), (0, 0));
        Ok(())
    }

    #[test]
    fn the_buffers_of_one_batch_serve_the_next() -> TestResult {
        let key = sealing_key()?;
        let domain = Domain::new("orders")?;
        let mut salts = SaltSource::new(0);
        let mut begin = |buffers| {
            let place = BatchPlace::default();
            key.begin(
                &mut salts,
                &place,
                &SealTerms::new(&domain, HeaderMode::Sealed),
                buffers,
            )
        };
        let first = begin(SealBuffers::default())?;
        let addresses =
            |buffers: &SealBuffers| [buffers.seal_head.as_ptr(), buffers.additional_data.as_ptr()];
        let of_the_first = addresses(&first.buffers);
        assert_eq!(addresses(&begin(first.end())?.buffers), of_the_first);
        Ok(())
    }

    /// MEMORY-5: the record key is on a heap that a fork copies; the child ends all the same before it has a salt's
    /// sub-key.
    #[test]
    fn a_forked_child_that_holds_keys_seals_nothing_and_ends() -> TestResult {
        assert!(memory::initialise(1000).wiped_on_fork);
        let key = sealing_key()?;
        let domain = Domain::new("orders")?;
        let mut salts = SaltSource::new(0);
        let begin = |salts: &mut SaltSource| {
            let begun = key.begin(
                salts,
                &BatchPlace::default(),
                &SealTerms::new(&domain, HeaderMode::Sealed),
                SealBuffers::default(),
            );
            i32::from(begun.is_ok())
        };
        assert_eq!(fork(|| begin(&mut salts)), ChildEnd::Signal(libc::SIGABRT));
        let dek = SecretKey::from_bytes(&mut [1; 32])?;
        let new_key = || i32::from(SealingKey::new(&dek, *b"wrapped").is_ok());
        assert_eq!(fork(new_key), ChildEnd::Signal(libc::SIGABRT));
        assert_eq!(begin(&mut salts), 1, "the parent goes on");
        Ok(())
    }

    /// Beginning a batch (random bytes, sub-key, key schedule) with the hedge against without, in one run: the least of
    /// many rounds of each, which noise can only make longer. It is 1.4 times as long where the CPU computes SHA-256
    /// itself; one that does not takes about four times the instructions.
    #[test]
    fn the_hedge_of_a_salt_costs_no_multiple_of_beginning_a_batch() -> TestResult {
        let key = SealingKey::new(&SecretKey::from_bytes(&mut [1; 32])?, vec![7; 90])?;
        let domain = Domain::new("orders")?;
        let place = BatchPlace {
            cluster: "main",
            topic: "orders",
            batch_header: &[3; 61],
            ..BatchPlace::default()
        };
        let mut salts = SaltSource::new(0);
        let mut buffers = Some(SealBuffers::default());
        let least = |begin: &mut dyn FnMut(SealBuffers) -> Result<BatchSealer, SealError>,
                     buffers: &mut Option<SealBuffers>| {
            let mut least = std::time::Duration::MAX;
            for _ in 0..400 {
                let started = std::time::Instant::now();
                for _ in 0..20 {
                    let sealer = begin(buffers.take().unwrap_or_default());
                    *buffers = sealer.ok().map(BatchSealer::end);
                }
                least = least.min(started.elapsed());
            }
            least
        };
        let with = least(
            &mut |buffers| {
                key.begin(
                    &mut salts,
                    &place,
                    &SealTerms::new(&domain, HeaderMode::Sealed),
                    buffers,
                )
            },
            &mut buffers,
        );
        let without = least(
            &mut |mut buffers| {
                let mut salt = [0; SALT_BYTES];
                getrandom::fill(&mut salt).map_err(|_| CryptoError::Random)?;
                buffers.additional_data.clear();
                let terms = SealTerms::new(&domain, HeaderMode::Sealed);
                put_context(&mut buffers.additional_data, terms.parts(), &domain);
                key.begin_with(salt, &terms, buffers)
            },
            &mut buffers,
        );
        assert!(with < without * 5, "{with:?} with it, {without:?} without");
        Ok(())
    }
}
