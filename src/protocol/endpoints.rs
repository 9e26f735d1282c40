//! Where a response's broker addresses are, and their rewriting, the same for all messages.

use std::ops::Range;

use super::bounds::{BROKERS_MAX, recycle};
use super::cursor::Cursor;
use super::error::ProtocolError;
use super::error_code::{NONE, POLICY_VIOLATION};
use super::splice::Splice;
use super::writer::{LengthForm, put_i16, put_i32, put_string};

/// Whether `text` can be a broker's host: the characters that Kafka takes in `advertised.listeners` (names with `_`
/// too, as container networks have them, and IPv6 addresses with a zone), and no more of them than a DNS name has.
pub fn is_host(text: &str) -> bool {
    let is_of_host =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b':' | b'%');
    (1..=HOST_BYTES_MAX).contains(&text.len()) && text.bytes().all(is_of_host)
}

/// RFC 1035, 2.3.4.
pub const HOST_BYTES_MAX: usize = 255;

/// What clients are told of a coordinator that they cannot reach.
pub const NOT_SERVED: &str =
    "Sealwire: the coordinator is a broker that the proxy hides, since the listener's `nodes` do not have it";

/// A broker as a response names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BrokerEndpoint<'a> {
    /// Never negative.
    pub node_id: i32,
    /// Never empty.
    pub host: &'a str,
    /// Never negative.
    pub port: i32,
}

/// What a client is to be told of a broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rewrite<'m> {
    /// This address.
    Replace { host: &'m str, port: u16 },
    /// That it does not exist: it is cut from lists of brokers; a coordinator becomes 44 POLICY_VIOLATION (node -1,
    /// host empty, port -1), which clients show and survive, while they would ask for one that is not available for
    /// ever, in silence.
    Unserved,
}

/// One entry that names a broker.
#[derive(Debug)]
pub(super) struct Endpoint {
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
pub(super) struct Endpoints {
    pub(super) entries: Vec<Endpoint>,
    /// The field that counts the entries; `None` where there is a single one at the top level of the message, or none.
    pub(super) count: Option<Range<usize>>,
    pub(super) flexible: bool,
    /// They are not brokers: never shown, never mapped.
    pub(super) controllers: bool,
    tag: Option<TagSpan>,
}

impl Endpoints {
    pub(super) fn clear(&mut self) {
        recycle(&mut self.entries);
        self.count = None;
        self.flexible = false;
        self.controllers = false;
        self.tag = None;
    }

    /// Whether there is nothing to map.
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Where what holds them begins; `None` where nothing does.
    pub(super) fn start(&self) -> Option<usize> {
        let tags = self.tag.as_ref().map(|tag| tag.count.start);
        tags.or_else(|| self.count.as_ref().map(|count| count.start))
    }

    /// By how much they may grow where each gets another host.
    pub(super) fn growth_max(&self) -> usize {
        self.entries.len().saturating_mul(HOST_BYTES_MAX)
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
    pub(super) fn parse_tagged(
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

    /// Writes the part of the frame that holds the addresses. What is before it must have been copied or edited
    /// already.
    pub(super) fn rewrite<'m>(
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
            kept = kept.saturating_add(1);
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
        let text = cursor.string_non_null(flexible)?;
        let host = cursor.position().saturating_sub(text.len())..cursor.position();
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
