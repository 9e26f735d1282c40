//! Where a response's broker addresses are, and their rewriting, the same for all messages.

use std::ops::Range;

use super::{BROKERS_MAX, BrokerEndpoint, NOT_SERVED, Rewrite, is_host};
use crate::protocol::cursor::{Cursor, ProtocolError};
use crate::protocol::error_code::{NONE, POLICY_VIOLATION};
use crate::protocol::recycle;
use crate::protocol::splice::Splice;
use crate::protocol::writer::{LengthForm, put_i16, put_i32, put_string};

/// One entry that names a broker.
#[derive(Debug)]
pub(in crate::protocol) struct Endpoint {
    /// The whole element of the array, or the whole message.
    pub(super) element: Range<usize>,
    /// Node id, host and port, which are neighbours in every message.
    pub(super) address: Range<usize>,
    pub(super) node_id: i32,
    /// The host's text.
    pub(super) host: Range<usize>,
    pub(super) port: i32,
    /// The entry's error, where it has room for one: then it is answered instead of cut.
    pub(super) error: Option<EntryError>,
}

/// The error of one entry.
#[derive(Debug, Clone)]
pub(super) struct EntryError {
    /// The position of the code, behind which the message stands.
    pub(super) at: usize,
    pub(super) code: i16,
    /// The field that holds the message, its length included; `None` in versions without one.
    pub(super) message: Option<Range<usize>>,
}

impl EntryError {
    /// Reads code and, where there is one, message.
    pub(super) fn parse(
        cursor: &mut Cursor<'_>,
        has_message: bool,
        flexible: bool,
    ) -> Result<Self, ProtocolError> {
        let at = cursor.position();
        let code = cursor.i16()?;
        let start = cursor.position();
        if has_message {
            cursor.string(flexible)?;
        }
        Ok(Self {
            at,
            code,
            message: has_message.then(|| start..cursor.position()),
        })
    }
}

/// The tagged field (KIP-951) that holds the entries.
#[derive(Debug)]
struct TagSpan {
    /// The field that counts the tagged fields.
    count: Range<usize>,
    tags: usize,
    /// The tagged field, from its tag to its end.
    field: Range<usize>,
    /// The field that holds its size.
    size: Range<usize>,
}

/// The broker addresses of one response.
#[derive(Debug, Default)]
pub(in crate::protocol) struct Endpoints {
    pub(super) entries: Vec<Endpoint>,
    /// The field that counts the entries; `None` where there is a single one at the top level of the message, or none.
    pub(super) count: Option<Range<usize>>,
    pub(super) flexible: bool,
    /// They are not brokers: never shown, never mapped.
    pub(super) controllers: bool,
    tag: Option<TagSpan>,
}

impl Endpoints {
    pub(in crate::protocol) fn clear(&mut self) {
        recycle(&mut self.entries);
        self.count = None;
        self.flexible = false;
        self.controllers = false;
        self.tag = None;
    }

    /// Whether there is nothing to map.
    pub(in crate::protocol) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Reads an array of entries. `parse_entry` reads one, and may leave `element` to this function.
    pub(super) fn parse_array(
        &mut self,
        cursor: &mut Cursor<'_>,
        flexible: bool,
        entries_max: usize,
        entry_bytes_min: usize,
        mut parse_entry: impl FnMut(&mut Cursor<'_>) -> Result<Endpoint, ProtocolError>,
    ) -> Result<(), ProtocolError> {
        self.flexible = flexible;
        let count_start = cursor.position();
        let count = cursor.array_len_non_null(flexible, entry_bytes_min)?;
        self.count = Some(count_start..cursor.position());
        if count > entries_max {
            return Err(ProtocolError::TooManyBrokers);
        }
        self.entries.reserve(Cursor::reservable(count));
        for _ in 0..count {
            let start = cursor.position();
            let entry = parse_entry(cursor)?;
            self.entries.push(Endpoint {
                element: start..cursor.position(),
                ..entry
            });
        }
        Ok(())
    }

    /// Reads an array of node endpoints: node id, host, port, rack (KIP-951), in compact form.
    pub(super) fn parse_node_endpoints(&mut self, cursor: &mut Cursor<'_>) -> Result<(), ProtocolError> {
        self.parse_array(cursor, true, BROKERS_MAX, 4 + 1 + 4 + 1 + 1, |cursor| {
            let entry = Endpoint::parse(cursor, true)?;
            cursor.string(true)?; // rack
            cursor.skip_tagged_fields()?;
            Ok(entry)
        })
    }

    /// Reads a section of tagged fields in which field 0 holds node endpoints.
    pub(in crate::protocol) fn parse_tagged(
        &mut self,
        cursor: &mut Cursor<'_>,
        frame: &[u8],
    ) -> Result<(), ProtocolError> {
        let count_start = cursor.position();
        let tags = cursor.tag_count()?;
        let count = count_start..cursor.position();
        for _ in 0..tags {
            let start = cursor.position();
            let mut size_at = cursor.clone();
            let (tag, content) = cursor.tagged_field()?;
            if tag != 0 {
                continue;
            }
            if self.tag.is_some() {
                return Err(ProtocolError::DuplicateTag { at: start });
            }
            size_at.uvarint()?;
            self.tag = Some(TagSpan {
                count: count.clone(),
                tags,
                field: start..cursor.position(),
                size: size_at.position()..content.start,
            });
            let mut inside = Cursor::within(frame, &content)?;
            self.parse_node_endpoints(&mut inside)?;
            inside.expect_end()?;
        }
        Ok(())
    }

    pub(super) fn visit(
        &self,
        frame: &[u8],
        each: &mut dyn FnMut(BrokerEndpoint<'_>),
    ) -> Result<(), ProtocolError> {
        if self.controllers {
            return Ok(());
        }
        for entry in self
            .entries
            .iter()
            .filter(|entry| entry.has_address() && entry.node_id >= 0)
        {
            let host = frame
                .get(entry.host.clone())
                .and_then(|host| std::str::from_utf8(host).ok())
                .ok_or(ProtocolError::LayoutMismatch)?;
            each(BrokerEndpoint {
                node_id: entry.node_id,
                host,
                port: entry.port,
            });
        }
        Ok(())
    }

    /// Writes the part of the frame that holds the addresses. What is before it must have been copied or edited already.
    pub(in crate::protocol) fn rewrite<'m>(
        &self,
        splice: &mut Splice<'_, '_>,
        map: &mut dyn FnMut(i32) -> Rewrite<'m>,
    ) -> Result<(), ProtocolError> {
        let Some(tag) = &self.tag else {
            return self.rewrite_entries(splice, map).map(|_| ());
        };
        let tags_slot = splice.copy_slot(LengthForm::Varint, &tag.count)?;
        splice.copy_to(tag.field.start)?;
        let mark = splice.written();
        let size_slot = splice.copy_slot(LengthForm::Varint, &tag.size)?;
        let kept = self.rewrite_entries(splice, map)?;
        if kept == 0 && !self.entries.is_empty() {
            // Java leaves the field out when it is empty, and some clients know no other way.
            splice.take_back(mark)?;
            splice.skip_to(tag.field.end)?;
            return tags_slot.fill(splice.out(), tag.tags.saturating_sub(1));
        }
        splice.copy_to(tag.field.end)?;
        tags_slot.leave();
        if size_slot.content_len(splice.out())? == tag.field.end.saturating_sub(tag.size.end) {
            size_slot.leave();
            Ok(())
        } else {
            size_slot.fill_with_content_len(splice.out())
        }
    }

    /// Writes count and entries, and says how many entries are left.
    fn rewrite_entries<'m>(
        &self,
        splice: &mut Splice<'_, '_>,
        map: &mut dyn FnMut(i32) -> Rewrite<'m>,
    ) -> Result<usize, ProtocolError> {
        let form = LengthForm::of(self.flexible);
        let count_slot = self
            .count
            .as_ref()
            .map(|count| splice.copy_slot(form, count))
            .transpose()?;
        let mut kept = 0usize;
        for entry in &self.entries {
            let rewrite = if !entry.has_address() {
                None
            } else if self.controllers || entry.node_id < 0 {
                Some(Rewrite::Unserved)
            } else {
                Some(map(entry.node_id))
            };
            match (rewrite, &entry.error) {
                (None, _) => {}
                (Some(Rewrite::Replace { host, port }), _) => {
                    splice.copy_to(entry.address.start.saturating_add(4))?;
                    put_string(splice.out(), self.flexible, Some(host))?;
                    put_i32(splice.out(), i32::from(port));
                    splice.skip_to(entry.address.end)?;
                }
                (Some(Rewrite::Unserved), None) => {
                    splice.copy_to(entry.element.start)?;
                    splice.skip_to(entry.element.end)?;
                    continue;
                }
                (Some(Rewrite::Unserved), Some(error)) => {
                    self.write_not_served(entry, error, splice)?;
                }
            }
            splice.copy_to(entry.element.end)?;
            kept += 1;
        }
        match count_slot {
            Some(slot) if kept != self.entries.len() => slot.fill(splice.out(), kept)?,
            Some(slot) => slot.leave(),
            None => {}
        }
        Ok(kept)
    }

    /// Writes no address, and the error, which stands before or behind it.
    fn write_not_served(
        &self,
        entry: &Endpoint,
        error: &EntryError,
        splice: &mut Splice<'_, '_>,
    ) -> Result<(), ProtocolError> {
        if error.at < entry.address.start {
            self.write_error(error, splice)?;
        }
        splice.copy_to(entry.address.start)?;
        put_i32(splice.out(), -1);
        put_string(splice.out(), self.flexible, Some(""))?;
        put_i32(splice.out(), -1);
        splice.skip_to(entry.address.end)?;
        if error.at >= entry.address.end {
            self.write_error(error, splice)?;
        }
        Ok(())
    }

    /// Says why there is no address, unless the broker has given an error itself.
    fn write_error(&self, error: &EntryError, splice: &mut Splice<'_, '_>) -> Result<(), ProtocolError> {
        if error.code != NONE {
            return Ok(());
        }
        splice.copy_to(error.at)?;
        put_i16(splice.out(), POLICY_VIOLATION);
        splice.skip_to(error.at.saturating_add(2))?;
        if let Some(message) = &error.message {
            put_string(splice.out(), self.flexible, Some(NOT_SERVED))?;
            splice.skip_to(message.end)?;
        }
        Ok(())
    }
}

impl Endpoint {
    /// Reads node id, host and port.
    pub(super) fn parse(cursor: &mut Cursor<'_>, flexible: bool) -> Result<Self, ProtocolError> {
        let start = cursor.position();
        let node_id = cursor.i32()?;
        let mut host_at = cursor.clone();
        let host = cursor.string_span(flexible)?;
        let text = host_at.string_non_null(flexible)?;
        // ADDR-4
        if !text.is_empty() && !is_host(text) {
            return Err(ProtocolError::NotAHost { at: host.start });
        }
        let port = cursor.i32()?;
        let address = start..cursor.position();
        Ok(Self {
            element: address.clone(),
            address,
            node_id,
            host,
            port,
            error: None,
        })
    }

    /// Whether a client could connect to it.
    fn has_address(&self) -> bool {
        !self.host.is_empty() && self.port >= 0
    }
}

#[cfg(test)]
mod tests {
    use super::super::{HOST_BYTES_MAX, NOT_SERVED, Rewrite, rewrite, visit};
    use crate::protocol::ProtocolError;
    use crate::protocol::api_key::{FETCH, FIND_COORDINATOR};

    /// A Fetch response of version 16 without topics, with the given tagged fields.
    fn fetch_with_tags(tags: &[u8]) -> Vec<u8> {
        [&[0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9, 1], tags].concat()
    }

    /// Two node endpoints, 2 and 3, between two unknown fields.
    const TAGS: &[u8] = &[
        3, //
        1, 1, 0xaa, // an unknown field
        0, 25, 3, // field 0: 25 bytes, two endpoints
        0, 0, 0, 2, 2, b'a', 0, 0, 0x23, 0x84, 0, 0, //
        0, 0, 0, 3, 2, b'b', 0, 0, 0x23, 0x85, 0, 0, //
        9, 1, 0xbb, // another
    ];

    fn rewritten(frame: &[u8], served: &[i32]) -> Vec<u8> {
        let mut out = Vec::new();
        let mut map = |node_id: i32| match served.contains(&node_id) {
            true => Rewrite::Replace {
                host: "proxy",
                port: 9193,
            },
            false => Rewrite::Unserved,
        };
        rewrite(FETCH, 16, frame, &mut map, &mut out).unwrap();
        out.split_off(4)
    }

    #[test]
    fn endpoints_are_replaced_and_cut_and_the_field_shrinks() {
        let expected = [
            3, //
            1, 1, 0xaa, //
            0, 17, 2, //
            0, 0, 0, 3, 6, b'p', b'r', b'o', b'x', b'y', 0, 0, 0x23, 0xe9, 0, 0, //
            9, 1, 0xbb,
        ];
        assert_eq!(
            rewritten(&fetch_with_tags(TAGS), &[3]),
            fetch_with_tags(&expected)
        );
    }

    #[test]
    fn the_field_goes_when_nothing_is_left_of_it() {
        let expected = [2, 1, 1, 0xaa, 9, 1, 0xbb];
        assert_eq!(rewritten(&fetch_with_tags(TAGS), &[]), fetch_with_tags(&expected));
    }

    #[test]
    fn an_empty_field_stays() {
        let frame = fetch_with_tags(&[1, 0, 1, 1]);
        assert_eq!(rewritten(&frame, &[]), frame);
    }

    #[test]
    fn a_field_that_lies_about_its_size_is_refused() {
        let mut none = |_: super::BrokerEndpoint<'_>| {};
        for size in [24, 26] {
            let mut tags = TAGS.to_vec();
            tags[5] = size;
            assert!(
                visit(FETCH, 16, &fetch_with_tags(&tags), &mut none).is_err(),
                "{size}"
            );
        }
        let twice = fetch_with_tags(&[2, 0, 1, 1, 0, 1, 1]);
        assert_eq!(
            visit(FETCH, 16, &twice, &mut none),
            Err(ProtocolError::DuplicateTag { at: 20 })
        );
    }

    /// ADDR-4
    #[test]
    fn a_host_is_a_name_or_an_address_and_bounded() {
        let longest = "h".repeat(HOST_BYTES_MAX);
        let good = [
            "kafka-1.example.com",
            "kafka_1",
            "10.0.0.1",
            "fe80::1%eth0",
            &longest,
        ];
        let too_long = "h".repeat(HOST_BYTES_MAX + 1);
        let bad = [
            "a b",
            "a\nb",
            "\u{1b}[2J",
            "caf\u{e9}",
            "a\u{202e}",
            "a=b",
            "a/b",
            "a\"",
            &too_long,
        ];
        for host in good.into_iter().chain(bad) {
            let mut frame = vec![0, 0, 0, 1, 0, 0, 0, 0, 0, 4];
            frame.extend((host.len() as u16).to_be_bytes());
            frame.extend(host.as_bytes());
            frame.extend([0, 0, 0x23, 0x84]);
            let mut seen = 0;
            let visited = visit(FIND_COORDINATOR, 0, &frame, &mut |_| seen += 1);
            if good.contains(&host) {
                assert_eq!((visited, seen), (Ok(()), 1), "{host}");
            } else {
                assert_eq!(visited, Err(ProtocolError::NotAHost { at: 12 }), "{host:?}");
            }
        }
    }

    #[test]
    fn a_coordinator_that_is_not_served_is_told_as_a_policy_violation() {
        let rewritten = |version, frame: &[u8]| {
            let mut out = Vec::new();
            rewrite(
                FIND_COORDINATOR,
                version,
                frame,
                &mut |_| Rewrite::Unserved,
                &mut out,
            )
            .unwrap();
            out
        };
        let none = [0xff, 0xff, 0xff, 0xff, 0, 0, 0xff, 0xff, 0xff, 0xff];
        let frame = [0, 0, 0, 1, 0, 0, 0, 0, 0, 4, 0, 1, b'h', 0, 0, 0x23, 0x84];
        let expected = [&[0, 0, 0, 16, 0, 0, 0, 1, 0, 44][..], &none].concat();
        assert_eq!(rewritten(0, &frame), expected);
        // What the broker says itself stays.
        let mut failed = frame;
        failed[5] = 30;
        assert_eq!(rewritten(0, &failed)[8..10], [0, 30]);
        // Throttle time, error, and a message, which may be null.
        let address = &frame[6..];
        for message in [&[0xff, 0xff][..], &[0, 2, b'n', b'o']] {
            let frame = [&[0, 0, 0, 1, 0, 0, 0, 0, 0, 0][..], message, address].concat();
            let length = u8::try_from(NOT_SERVED.len()).unwrap();
            let told = [&[0, 44, 0, length], NOT_SERVED.as_bytes()].concat();
            let expected = [&[0, 0, 0, 1, 0, 0, 0, 0][..], &told, &none].concat();
            assert_eq!(rewritten(1, &frame)[4..], expected);
        }
    }
}
