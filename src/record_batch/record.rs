//! One record of a batch: where its fields stand.
//!
//! ```text
//! length varint | attributes i8 | timestamp delta varlong | offset delta varint
//!   | key length varint, key | value length varint, value | header count varint | headers
//! header: key length varint, key | value length varint, value
//! ```
//!
//! [`parse_record`] runs for every record that passes: it copies nothing, allocates nothing and leaves the headers to
//! [`headers`].
//!
//! - RECORD-1: every position in a [`RecordLayout`] lies inside the record, and the record inside the buffer.
//! - RECORD-2: a negative length is null where null is allowed, as to a broker and to Java; -1 is what others write.

use super::error::RecordError;
use super::span::Span;
use super::varint::{read_varint, read_varlong};

/// Where the fields of one record stand in the buffer that was parsed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordLayout {
    /// The first byte of the record's length.
    pub start: usize,
    /// The first byte behind the length: the attributes.
    pub body: usize,
    /// One past the record's last byte; where the next record starts.
    pub end: usize,
    /// Attributes, timestamp delta and offset delta, to be copied as they are.
    pub fixed: Span,
    /// The timestamp delta, milliseconds.
    pub timestamp_delta: i64,
    /// The offset delta.
    pub offset_delta: i32,
    /// The key's length and bytes; `fixed` ends where it starts, so that both can be copied at once.
    pub key_field: Span,
    /// The key; `None` is null.
    pub key: Option<Span>,
    /// The value's length and bytes.
    pub value_field: Span,
    /// The value; `None` is null.
    pub value: Option<Span>,
    /// The header section: from the header count to the record's end.
    pub headers: Span,
    /// The first byte behind the header count.
    pub first_header: usize,
    /// How many headers are announced; [`headers`] checks it.
    pub header_count: usize,
}

impl RecordLayout {
    /// The whole record, its length included.
    #[inline]
    pub fn whole(&self) -> Span {
        Span {
            start: self.start,
            end: self.end,
        }
    }

    /// Attributes, deltas and key field: what an envelope that leaves the key alone copies in one piece.
    #[inline]
    pub fn fixed_and_key(&self) -> Span {
        Span {
            start: self.body,
            end: self.key_field.end,
        }
    }
}

/// Reads the record that starts at `at`. Its headers are not looked at, apart from their count.
///
/// # Errors
///
/// See [`RecordError`]; a count of headers is refused when it is negative, more than [`HEADERS_MAX`], or so large that
/// two bytes each would not fit.
#[inline(always)]
pub fn parse_record(buf: &[u8], at: usize) -> Result<RecordLayout, RecordError> {
    let (length, body) = read_varint(buf, at)?;
    let length = usize::try_from(length).map_err(|_| RecordError::NegativeLength)?;
    let end = body.checked_add(length).ok_or(RecordError::Truncated)?;
    // Nothing below can look over the record's end.
    let record = buf.get(..end).ok_or(RecordError::Truncated)?;
    if length == 0 {
        return Err(RecordError::Truncated);
    }
    let (timestamp_delta, after) = read_varlong(record, body.saturating_add(1))?;
    let (offset_delta, fixed_end) = read_varint(record, after)?;
    let (key, key_end) = read_nullable(record, fixed_end)?;
    let (value, value_end) = read_nullable(record, key_end)?;
    let (header_count, first_header) = read_header_count(record, value_end)?;
    Ok(RecordLayout {
        start: at,
        body,
        end,
        fixed: Span {
            start: body,
            end: fixed_end,
        },
        timestamp_delta,
        offset_delta,
        key_field: Span {
            start: fixed_end,
            end: key_end,
        },
        key,
        value_field: Span {
            start: key_end,
            end: value_end,
        },
        value,
        headers: Span {
            start: value_end,
            end,
        },
        first_header,
        header_count,
    })
}

/// Walks the headers of a record that [`parse_record`] found in `buf`.
#[inline]
pub fn headers<'a>(buf: &'a [u8], layout: &RecordLayout) -> HeaderWalk<'a> {
    HeaderWalk {
        section: buf.get(..layout.end).unwrap_or_default(),
        at: layout.first_header,
        left: layout.header_count,
        finished: false,
    }
}

/// Walks a header section that stands alone: `buf[section]` begins with the header count and must end with the last
/// header. Positions are relative to `buf`.
///
/// # Errors
///
/// [`RecordError`] for the count; errors of the headers themselves come out of the walk.
pub fn header_section(buf: &[u8], section: Span) -> Result<HeaderWalk<'_>, RecordError> {
    let bounded = buf.get(..section.end).ok_or(RecordError::Truncated)?;
    let (left, at) = read_header_count(bounded, section.start)?;
    Ok(HeaderWalk {
        section: bounded,
        at,
        left,
        finished: false,
    })
}

/// One header of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeaderSpan {
    /// The whole header, lengths included.
    pub span: Span,
    /// The key; never null, possibly empty. By convention UTF-8, which nobody checks.
    pub key: Span,
    /// The value; `None` is null.
    pub value: Option<Span>,
}

/// Iterates over headers; ends with one error when count, lengths and the section's end do not agree exactly.
#[derive(Clone, Debug)]
pub struct HeaderWalk<'a> {
    /// The buffer up to the end of the section.
    section: &'a [u8],
    at: usize,
    left: usize,
    finished: bool,
}

impl HeaderWalk<'_> {
    /// Walks to the end; the number of headers that were left.
    ///
    /// # Errors
    ///
    /// The first [`RecordError`] of the walk.
    pub fn check(self) -> Result<usize, RecordError> {
        let mut count = 0_usize;
        for header in self {
            header?;
            count = count.saturating_add(1);
        }
        Ok(count)
    }

    #[inline]
    fn read(&self) -> Result<HeaderSpan, RecordError> {
        let (key, key_end) = read_nullable(self.section, self.at)?;
        let key = key.ok_or(RecordError::NegativeLength)?;
        let (value, end) = read_nullable(self.section, key_end)?;
        Ok(HeaderSpan {
            span: Span { start: self.at, end },
            key,
            value,
        })
    }
}

impl Iterator for HeaderWalk<'_> {
    type Item = Result<HeaderSpan, RecordError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.finished {
            return None;
        }
        let Some(left) = self.left.checked_sub(1) else {
            self.finished = true;
            return (self.at != self.section.len()).then_some(Err(RecordError::Trailing));
        };
        let read = self.read();
        match &read {
            Ok(header) => {
                self.left = left;
                self.at = header.span.end;
            }
            Err(_) => self.finished = true,
        }
        Some(read)
    }
}

/// A length, and as many bytes, or none where it is negative: null.
#[inline(always)]
fn read_nullable(record: &[u8], at: usize) -> Result<(Option<Span>, usize), RecordError> {
    let (length, start) = read_varint(record, at)?;
    match usize::try_from(length) {
        Ok(length) => {
            if length > record.len().saturating_sub(start) {
                return Err(RecordError::Truncated);
            }
            let end = start.saturating_add(length);
            Ok((Some(Span { start, end }), end))
        }
        // RECORD-2
        Err(_) => Ok((None, start)),
    }
}

/// A header takes two bytes at least, so half of what is left bounds the count.
#[inline(always)]
fn read_header_count(record: &[u8], at: usize) -> Result<(usize, usize), RecordError> {
    let (count, first) = read_varint(record, at)?;
    match usize::try_from(count) {
        Ok(count)
            if count <= HEADERS_MAX && count <= record.len().saturating_sub(first) / HEADER_BYTES_MIN =>
        {
            Ok((count, first))
        }
        _ => Err(RecordError::HeaderCount),
    }
}

/// The smallest record: length, attributes, two deltas, null key, null value, no headers.
pub const RECORD_BYTES_MIN: usize = 7;

/// Headers of one record: nobody has so many, and a walk over them, which cannot stop half way, takes a few
/// milliseconds.
pub const HEADERS_MAX: usize = 1 << 19;

/// Key length and value length.
const HEADER_BYTES_MIN: usize = 2;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record_batch::varint::put_varint;

    /// attributes 0, timestamp delta 1, offset delta 2, key `k`, value `vv`, headers `a`=`1`, `a`=null.
    const RECORD: [u8; 18] = [
        34, 0, 2, 4, 2, b'k', 4, b'v', b'v', 4, 2, b'a', 2, b'1', 2, b'a', 1, 0xee,
    ];

    #[test]
    fn fields_are_where_they_should_be() {
        let mut shifted = vec![0xff; 3];
        shifted.extend_from_slice(&RECORD);
        shifted[3] = 32;
        let layout = parse_record(&shifted, 3).unwrap();
        assert_eq!((layout.start, layout.body, layout.end), (3, 4, 20));
        assert_eq!(layout.whole(), Span::from(3..20));
        assert_eq!(layout.fixed.of(&shifted), [0, 2, 4]);
        assert_eq!((layout.timestamp_delta, layout.offset_delta), (1, 2));
        assert_eq!(layout.key.map(|key| key.of(&shifted)), Some(&b"k"[..]));
        assert_eq!(layout.value.map(|value| value.of(&shifted)), Some(&b"vv"[..]));
        assert_eq!(layout.fixed_and_key().of(&shifted), [0, 2, 4, 2, b'k']);
        assert_eq!(layout.value_field.of(&shifted), [4, b'v', b'v']);
        assert_eq!(layout.headers.of(&shifted), &RECORD[9..17]);
        let walked: Vec<_> = headers(&shifted, &layout).map(Result::unwrap).collect();
        assert_eq!(walked.len(), 2);
        assert!(walked.iter().all(|header| header.key.of(&shifted) == b"a"));
        assert_eq!(walked[0].value.map(|value| value.of(&shifted)), Some(&b"1"[..]));
        assert_eq!(walked[1].value, None);
        assert_eq!(walked[0].span.of(&shifted), &RECORD[10..14]);
        let alone = header_section(&shifted, layout.headers).unwrap();
        assert_eq!(alone.check(), Ok(2));
    }

    #[test]
    fn the_end_must_be_met_exactly() {
        // One byte too many: the layout stands, the walk over the headers ends with an error, and stays ended.
        let layout = parse_record(&RECORD, 0).unwrap();
        let mut walk = headers(&RECORD, &layout);
        assert!(walk.next().unwrap().is_ok() && walk.next().unwrap().is_ok());
        assert_eq!(walk.next(), Some(Err(RecordError::Trailing)));
        assert_eq!(walk.next(), None);
        // One byte too few.
        let mut short = RECORD;
        short[0] = 30;
        let layout = parse_record(&short, 0).unwrap();
        assert_eq!(headers(&short, &layout).check(), Err(RecordError::Truncated));
    }

    #[test]
    fn a_record_without_headers_must_end_after_the_count() {
        let exact = [12, 0, 0, 0, 1, 1, 0];
        let layout = parse_record(&exact, 0).unwrap();
        assert_eq!((layout.key, layout.value), (None, None));
        assert_eq!(headers(&exact, &layout).check(), Ok(0));
        let longer = [14, 0, 0, 0, 1, 1, 0, 0];
        let layout = parse_record(&longer, 0).unwrap();
        assert_eq!(headers(&longer, &layout).check(), Err(RecordError::Trailing));
    }

    #[test]
    fn headers_are_bounded() {
        for (count, outcome) in [
            (HEADERS_MAX, Ok(HEADERS_MAX)),
            (HEADERS_MAX + 1, Err(RecordError::HeaderCount)),
        ] {
            let mut body = vec![0, 0, 0, 1, 1];
            put_varint(&mut body, i32::try_from(count).unwrap());
            body.extend([0, 1].repeat(count));
            let mut record = Vec::new();
            put_varint(&mut record, i32::try_from(body.len()).unwrap());
            record.extend_from_slice(&body);
            let walked = parse_record(&record, 0).and_then(|layout| headers(&record, &layout).check());
            assert_eq!(walked, outcome);
        }
    }

    #[test]
    fn impossible_lengths_and_counts_are_refused() {
        let cases: [(&[u8], RecordError); 7] = [
            (&[], RecordError::Truncated),
            (&[0], RecordError::Truncated),
            (&[1], RecordError::NegativeLength),
            (&[14, 0, 0, 0, 1, 1, 0], RecordError::Truncated),
            (&[12, 0, 0, 0, 1, 4, 0], RecordError::Truncated),
            (&[12, 0, 0, 0, 1, 1, 1], RecordError::HeaderCount),
            (&[14, 0, 0, 0, 1, 1, 2, 0], RecordError::HeaderCount),
        ];
        for (bytes, error) in cases {
            assert_eq!(parse_record(bytes, 0), Err(error), "{bytes:?}");
        }
        // Two bytes are just enough for one header.
        assert!(parse_record(&[16, 0, 0, 0, 1, 1, 2, 0, 1], 0).is_ok());
        // A header's key is never null.
        let null_key = [16, 0, 0, 0, 1, 1, 2, 1, 1];
        let layout = parse_record(&null_key, 0).unwrap();
        assert_eq!(
            headers(&null_key, &layout).check(),
            Err(RecordError::NegativeLength)
        );
        // RECORD-2
        let negative = [16, 0, 0, 0, 3, 5, 2, 0, 3];
        let layout = parse_record(&negative, 0).unwrap();
        assert_eq!((layout.key, layout.value), (None, None));
        let header = headers(&negative, &layout).next().unwrap();
        assert_eq!(header.map(|header| header.value), Ok(None));
    }
}
