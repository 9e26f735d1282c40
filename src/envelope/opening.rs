//! One sealed record back to the record that the client wrote.
//!
//! - OPEN-1: on any refusal the output is as long as before, and what had been written behind it is overwritten
//!   (ENV-49).
//! - OPEN-2: the cipher decrypts straight into the output, in one call a record; nothing is allocated once buffers have
//!   grown.
//! - OPEN-3: a key opens only records that name exactly its wrapped DEK; no key is tried on a record (ENV-45).
//! - OPEN-4: `source` is the same after the call as before, whatever came of it: opening a record again gives the same
//!   answer.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::crypto::xaes::SALT_BYTES;
use crate::crypto::{BatchKey, RecordKey, SecretKey};
use crate::record_batch::record::header_section;
use crate::record_batch::varint::{put_varint, varint_bytes};
use crate::record_batch::{RecordError, RecordLayout, Span};

use super::additional_data::{BoundHeaders, RecordBinding, put_context, put_stored_key};
use super::form::{MarkedRecord, Marker};
use super::seal::HeaderMode;
use super::stable_key::{AcceptedDomain, SEALED_KEY_BYTES};
use super::wipe::wipe;
use super::{OpenError, StableKeyId};

/// A DEK ready to open with.
pub struct OpeningKey {
    /// Never given twice in a process, so that a remembered sub-key cannot be taken for another key's.
    id: u64,
    record_key: RecordKey,
    wrapped_dek: Box<[u8]>,
}

impl OpeningKey {
    /// Derives the record key of `dek`, which was unwrapped from `wrapped_dek`.
    ///
    /// # Errors
    /// [`OpenError::Crypto`].
    pub fn new(dek: &SecretKey, wrapped_dek: &[u8]) -> Result<Self, OpenError> {
        static NEXT_ID: AtomicU64 = AtomicU64::new(0);
        Ok(Self {
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
            record_key: RecordKey::derive(dek, wrapped_dek)?,
            wrapped_dek: wrapped_dek.into(),
        })
    }
}

/// What one executor needs to open records: buffers that are used again, and the sub-key of the batch that it is in.
#[derive(Default)]
pub struct Opener {
    last_batch: Option<LastBatch>,
    additional_data: Vec<u8>,
    displaced: Vec<u8>,
}

struct LastBatch {
    key_id: u64,
    salt: [u8; SALT_BYTES],
    batch_key: BatchKey,
}

impl Opener {
    /// Forgets the sub-key of the last batch: to be called when keys are revoked.
    pub fn forget(&mut self) {
        self.last_batch = None;
    }

    /// Opens the record in which [`form_of`](super::form_of) found a marker and appends the record that was sealed,
    /// its length included, to `out`. `key` is the one for [`Marker::wrapped_dek`]; `domains` are those that the
    /// topic's readers accept, with what opens the keys of their records.
    ///
    /// `source` is altered while the call lasts (sealed headers are moved behind the value, so that both are decrypted
    /// at once) and restored before it returns.
    ///
    /// # Errors
    /// [`OpenError`]; `out` is then as it was before.
    pub fn open_record(
        &mut self,
        key: &OpeningKey,
        source: &mut [u8],
        record: MarkedRecord<'_>,
        domains: &[AcceptedDomain],
        out: &mut Vec<u8>,
    ) -> Result<(), OpenError> {
        let seal = &record.marker.seal;
        let key_is_sealed = seal.parts.key_sealed && record.layout.key.is_some();
        if key_is_sealed && domains.iter().all(|accepted| accepted.key.is_none()) {
            return Err(OpenError::KeySealed);
        }
        if seal.parts.headers == HeaderMode::Sealed && record.layout.header_count != 1 {
            return Err(OpenError::ExtraHeaders);
        }
        if bytes_of(source, seal.wrapped_dek)? != &*key.wrapped_dek {
            return Err(OpenError::WrongKey);
        }
        let candidates = || {
            let accepted = domains.iter();
            accepted.filter(|accepted| accepted.domain.hint() == seal.domain_hint)
        };
        if candidates().next().is_none() {
            return Err(OpenError::UnknownDomain);
        }
        if !self
            .last_batch
            .as_ref()
            .is_some_and(|last| last.key_id == key.id && last.salt == seal.salt)
        {
            let batch_key = key.record_key.batch_key(&seal.salt)?;
            self.last_batch = Some(LastBatch {
                key_id: key.id,
                salt: seal.salt,
                batch_key,
            });
        }

        let moved = gather(source, record, &mut self.displaced)?;
        let start = out.len();
        let opened = match key_is_sealed {
            false => self.decrypt::<false>(source, record, moved.ciphertext, candidates(), out),
            true => self.decrypt::<true>(source, record, moved.ciphertext, candidates(), out),
        };
        restore(source, record.marker, &moved, &self.displaced);
        if opened.is_err() {
            wipe(out, start);
        }
        opened
    }

    #[expect(
        clippy::arithmetic_side_effects,
        clippy::indexing_slicing,
        reason = "see the INVARIANT lines"
    )]
    fn decrypt<'d, const KEY_SEALED: bool>(
        &mut self,
        source: &[u8],
        record: MarkedRecord<'_>,
        ciphertext: Span,
        candidates: impl Iterator<Item = &'d AcceptedDomain>,
        out: &mut Vec<u8>,
    ) -> Result<(), OpenError> {
        let MarkedRecord { layout, marker } = record;
        let seal = &marker.seal;
        let stored_key = layout.key.map(|key| bytes_of(source, key)).transpose()?;
        let front = Front::of(source, layout, stored_key, KEY_SEALED)?;
        let ciphertext = bytes_of(source, ciphertext)?;
        let value_bytes = layout.value.map(Span::len);
        let own = own_headers(source, record)?;

        // INVARIANT: the sizes are those of slices in memory, and the result is shorter than the stored record.
        let value_length = length_field(value_bytes)?;
        let clear_bytes = own.map_or(0, |own| {
            varint_bytes(own.count as i32) + own.before_marker.len() + own.behind_marker.len()
        });
        let body_bytes = front.bytes() + varint_bytes(value_length) + ciphertext.len() + clear_bytes;
        let body_length = length_field(Some(body_bytes))?;
        // Before anything is decrypted: a buffer that grew later would leave unverified plaintext behind.
        out.reserve(varint_bytes(body_length) + body_bytes);
        put_varint(out, body_length);
        let key_at = front.put(out);
        put_varint(out, value_length);
        let text_at = out.len();
        // The place for the text, filled with its ciphertext: no dearer than zeros, and what is read next is then in
        // the cache.
        out.extend_from_slice(ciphertext);

        let last = self.last_batch.as_ref().ok_or(OpenError::WrongKey)?;
        let mut verdict = Err(OpenError::UnknownDomain);
        // More than one only where two domains of a topic share a hint.
        for AcceptedDomain { domain, key } in candidates {
            if let Some(sealed) = front.sealed_key {
                // INVARIANT: `key_at` and, below, `text_at` were positions in `out`, which has only grown since.
                let place = &mut out[key_at.clone()];
                verdict = key
                    .as_ref()
                    .map_or(Err(OpenError::KeySealed), |key| key.open(sealed, place));
                if verdict.is_err() {
                    continue;
                }
            }
            self.additional_data.clear();
            put_context(&mut self.additional_data, seal.parts, domain);
            put_stored_key(&mut self.additional_data, stored_key);
            RecordBinding {
                value_bytes,
                bound_headers: if seal.parts.headers == HeaderMode::Bound {
                    own
                } else {
                    None
                },
            }
            .append(&mut self.additional_data);
            let text = &mut out[text_at..];
            verdict = last
                .batch_key
                .open(seal.counter, &self.additional_data, ciphertext, &seal.tag, text)
                .map_err(OpenError::from);
            if verdict.is_ok() {
                break;
            }
        }
        verdict?;

        match own {
            None => check_opened_headers(out, text_at + value_bytes.unwrap_or_default()),
            Some(own) => {
                put_varint(out, own.count as i32);
                out.extend_from_slice(own.before_marker);
                out.extend_from_slice(own.behind_marker);
                Ok(())
            }
        }
    }
}

/// Fixed part and key of a stored record.
struct Front<'s> {
    /// What is copied in one piece: the fixed part, and a key that is not sealed.
    copied: &'s [u8],
    sealed_key: Option<&'s [u8]>,
    /// The length of what that opens to.
    key_bytes: usize,
}

impl<'s> Front<'s> {
    // Always: handed back as a value, it would go through memory.
    #[inline(always)]
    fn of(
        source: &'s [u8],
        layout: &RecordLayout,
        key: Option<&'s [u8]>,
        key_sealed: bool,
    ) -> Result<Self, OpenError> {
        let sealed_key = key.filter(|_| key_sealed);
        let copied = match sealed_key {
            None => layout.fixed_and_key(),
            Some(sealed) => {
                StableKeyId::in_sealed_key(sealed)?;
                layout.fixed
            }
        };
        Ok(Self {
            copied: bytes_of(source, copied)?,
            sealed_key,
            // INVARIANT: that was checked, where there is one.
            key_bytes: sealed_key.map_or(0, |sealed| sealed.len().saturating_sub(SEALED_KEY_BYTES)),
        })
    }

    /// How long they are once opened.
    #[inline(always)]
    #[expect(clippy::arithmetic_side_effects, reason = "lengths of slices in memory")]
    fn bytes(&self) -> usize {
        let key = self
            .sealed_key
            .map_or(0, |_| varint_bytes(self.key_bytes as i32) + self.key_bytes);
        self.copied.len() + key
    }

    /// Appends them, with zeros in the place of a key that is to be opened; says where that is.
    #[inline(always)]
    fn put(&self, out: &mut Vec<u8>) -> Range<usize> {
        out.extend_from_slice(self.copied);
        if self.sealed_key.is_none() {
            return 0..0;
        }
        put_varint(out, self.key_bytes as i32);
        let start = out.len();
        out.resize(start.saturating_add(self.key_bytes), 0);
        start..out.len()
    }
}

/// How value and hidden headers were brought together.
struct Displaced {
    /// Where the whole ciphertext stands now.
    ciphertext: Span,
    /// Where `hidden` was moved to, if it had to be.
    target: Option<Span>,
}

/// Makes the ciphertext one piece: `hidden` is moved right behind the value. What it overwrites is the header count and
/// the front of the marker header; as much of that as it covers goes to `displaced`.
#[expect(clippy::arithmetic_side_effects, reason = "see the INVARIANT line")]
fn gather(
    source: &mut [u8],
    record: MarkedRecord<'_>,
    displaced: &mut Vec<u8>,
) -> Result<Displaced, RecordError> {
    let hidden = record.marker.seal.hidden;
    let Some(value) = record.layout.value.filter(|value| !value.is_empty()) else {
        return Ok(Displaced {
            ciphertext: hidden,
            target: None,
        });
    };
    if hidden.is_empty() {
        return Ok(Displaced {
            ciphertext: value,
            target: None,
        });
    }
    let gap = hidden
        .start
        .checked_sub(value.end)
        .ok_or(RecordError::Truncated)?;
    if hidden.end > source.len() {
        return Err(RecordError::Truncated);
    }
    // INVARIANT: the target ends where `hidden` ends or before, so everything below is inside `source`.
    let target = Span {
        start: value.end,
        end: value.end + hidden.len(),
    };
    displaced.clear();
    displaced.extend_from_slice(bytes_of(
        source,
        Span {
            start: value.end,
            end: value.end + gap.min(hidden.len()),
        },
    )?);
    source.copy_within(hidden.range(), target.start);
    Ok(Displaced {
        ciphertext: Span {
            start: value.start,
            end: target.end,
        },
        target: Some(target),
    })
}

/// Undoes [`gather`].
#[expect(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    reason = "see the INVARIANT lines"
)]
fn restore(source: &mut [u8], marker: &Marker, moved: &Displaced, displaced: &[u8]) {
    if let Some(target) = moved.target {
        // INVARIANT: the same positions that `gather` checked.
        source.copy_within(target.range(), marker.seal.hidden.start);
        source[target.start..target.start + displaced.len()].copy_from_slice(displaced);
    }
}

/// The clear headers without the marker; `None` where headers are sealed.
fn own_headers<'a>(
    source: &'a [u8],
    record: MarkedRecord<'_>,
) -> Result<Option<BoundHeaders<'a>>, RecordError> {
    let MarkedRecord { layout, marker } = record;
    if marker.seal.parts.headers == HeaderMode::Sealed {
        return Ok(None);
    }
    Ok(Some(BoundHeaders {
        count: layout
            .header_count
            .checked_sub(1)
            .ok_or(RecordError::HeaderCount)?,
        before_marker: bytes_of(
            source,
            Span {
                start: layout.first_header,
                end: marker.header.start,
            },
        )?,
        behind_marker: bytes_of(
            source,
            Span {
                start: marker.header.end,
                end: layout.end,
            },
        )?,
    }))
}

/// ENV-48: the opened header section parses exactly to its end, which is the end of `out`.
fn check_opened_headers(out: &[u8], section_start: usize) -> Result<(), OpenError> {
    let section = Span {
        start: section_start,
        end: out.len(),
    };
    header_section(out, section)
        .and_then(|walk| walk.check())
        .map(|_| ())
        .map_err(|_| OpenError::HiddenHeaders)
}

#[inline]
fn bytes_of(source: &[u8], span: Span) -> Result<&[u8], RecordError> {
    source.get(span.range()).ok_or(RecordError::Truncated)
}

/// A length of a record; -1 for null.
#[inline]
fn length_field(length: Option<usize>) -> Result<i32, RecordError> {
    length.map_or(Ok(-1), |length| {
        i32::try_from(length).map_err(|_| RecordError::Truncated)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::envelope::{
        BatchPlace, Domain, Form, SaltSource, SealBuffers, SealTerms, SealingKey, form_of,
    };
    use crate::record_batch::parse_record;

    /// Key `k`, value `v`, header `a` = `b`.
    const CLEAR: [u8; 13] = [24, 0, 0, 0, 2, b'k', 2, b'v', 2, 2, b'a', 2, b'b'];

    struct Sealed {
        stored: Vec<u8>,
        domains: [AcceptedDomain; 1],
    }

    fn dek(byte: u8) -> SecretKey {
        SecretKey::from_bytes(&mut [byte; 32]).unwrap()
    }

    fn sealed(dek: &SecretKey) -> Sealed {
        sealed_with(dek, HeaderMode::Sealed)
    }

    fn sealed_with(dek: &SecretKey, headers: HeaderMode) -> Sealed {
        let record = parse_record(&CLEAR, 0).unwrap();
        let domains = [AcceptedDomain::from(Domain::new("orders").unwrap())];
        let key = SealingKey::new(dek, *b"wrapped").unwrap();
        let mut stored = Vec::new();
        let mut salts = SaltSource::new(0);
        key.begin(
            &mut salts,
            &BatchPlace::default(),
            &SealTerms::new(&domains[0].domain, headers),
            SealBuffers::default(),
        )
        .unwrap()
        .seal_record(&CLEAR, &record, &mut stored)
        .unwrap();
        Sealed { stored, domains }
    }

    impl Sealed {
        fn open(&mut self, opener: &mut Opener, key: &OpeningKey) -> Result<Vec<u8>, OpenError> {
            let record = parse_record(&self.stored, 0)?;
            let Form::RecordSeal(marker) = form_of(&self.stored, &record)? else {
                panic!("sealed")
            };
            let mut out = Vec::new();
            opener.open_record(
                key,
                &mut self.stored,
                marker.in_record(&record),
                &self.domains,
                &mut out,
            )?;
            Ok(out)
        }
    }

    #[test]
    fn a_remembered_sub_key_is_not_taken_for_another_keys() -> Result<(), OpenError> {
        let mut one = sealed(&dek(1));
        let right = OpeningKey::new(&dek(1), b"wrapped")?;
        let wrong = OpeningKey::new(&dek(2), b"wrapped")?;
        let mut opener = Opener::default();
        for _ in 0..2 {
            assert!(one.open(&mut opener, &right).is_ok());
            assert_eq!(one.open(&mut opener, &wrong), Err(OpenError::Tag));
        }
        Ok(())
    }

    #[test]
    fn batches_in_turn_each_open_and_forgetting_loses_nothing() -> Result<(), OpenError> {
        let (mut one, mut two) = (sealed(&dek(1)), sealed(&dek(1)));
        let key = OpeningKey::new(&dek(1), b"wrapped")?;
        let mut opener = Opener::default();
        for _ in 0..2 {
            assert!(one.open(&mut opener, &key).is_ok());
            assert!(two.open(&mut opener, &key).is_ok());
            opener.forget();
            assert!(opener.last_batch.is_none());
        }
        Ok(())
    }

    /// OPEN-1: a buffer that grew once the text is in it would leave a copy of the text behind.
    #[test]
    fn the_output_grows_once_and_to_the_records_size() -> Result<(), OpenError> {
        let key = OpeningKey::new(&dek(1), b"wrapped")?;
        for headers in [HeaderMode::Free, HeaderMode::Bound, HeaderMode::Sealed] {
            let opened = sealed_with(&dek(1), headers).open(&mut Opener::default(), &key)?;
            assert_eq!((&opened[..], opened.capacity()), (&CLEAR[..], CLEAR.len()));
        }
        Ok(())
    }

    /// A marker that belongs to another record is a mistake of ours; it must not become a panic.
    #[test]
    fn a_marker_of_another_record_is_an_error() -> Result<(), OpenError> {
        let one = sealed(&dek(1));
        let record = parse_record(&one.stored, 0)?;
        let Form::RecordSeal(marker) = form_of(&one.stored, &record)? else {
            panic!("sealed")
        };
        let key = OpeningKey::new(&dek(1), b"wrapped")?;
        // (The tag is in the marker already, so only what stands before it is missed.)
        for end in 0..=marker.seal.hidden.end {
            let mut short = one.stored[..end].to_vec();
            let mut out = Vec::new();
            let opened = Opener::default().open_record(
                &key,
                &mut short,
                marker.in_record(&record),
                &one.domains,
                &mut out,
            );
            assert_eq!(opened.is_ok(), end == marker.seal.hidden.end, "{end}");
            assert_eq!(out, if opened.is_ok() { &CLEAR[..] } else { &[] });
            assert_eq!(short, one.stored[..end]);
        }
        Ok(())
    }

    #[test]
    fn hidden_headers_move_behind_the_value_and_back() -> Result<(), OpenError> {
        let one = sealed(&dek(1));
        let record = parse_record(&one.stored, 0)?;
        let Form::RecordSeal(marker) = form_of(&one.stored, &record)? else {
            panic!("sealed")
        };
        let (mut moving, mut displaced) = (one.stored.clone(), Vec::new());
        let moved = gather(&mut moving, marker.in_record(&record), &mut displaced)?;
        let value = record
            .value
            .map(|value| value.of(&one.stored))
            .unwrap_or_default();
        assert_eq!(
            moved.ciphertext.of(&moving),
            [value, marker.seal.hidden.of(&one.stored)].concat()
        );
        assert_ne!(moving, one.stored);
        restore(&mut moving, &marker, &moved, &displaced);
        assert_eq!(moving, one.stored);
        Ok(())
    }
}
