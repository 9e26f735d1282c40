//! Answers to requests that are refused, in the request's own form and version: to such as change the cluster, of
//! clients that may not, with the codes that a broker with an authorizer gives, each item that was asked for by its
//! name; to such as name what is not their client's, whole or [in parts](parts); and to whatever comes within a login,
//! in the bytes that a broker answers with.
//!
//! Request and answer are walked together, and nothing is kept of either: what a request announces costs nothing, and
//! an answer has a bound of its own.

mod administration;
mod groups;
mod parts;
mod records;

use super::api_key as key;
use super::cursor::Cursor;
use super::error::ProtocolError;
use super::error_code::{
    CLUSTER_AUTHORIZATION_FAILED, GROUP_AUTHORIZATION_FAILED, ILLEGAL_SASL_STATE, NONE,
    OPERATION_NOT_ATTEMPTED, TOPIC_AUTHORIZATION_FAILED, TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
};
use super::frame::{RequestHead, skip_request_header};
use super::policy::ApiPolicy;
use super::writer::{LengthForm, LengthSlot, put_array_len, put_i16, put_i32, put_string, put_uvarint};

pub use self::parts::{Insertion, Part, RefusedItem, part};

/// Requests that are longer are not answered: nobody without rights sends them by mistake.
pub const FRAME_BYTES_MAX: usize = 64 * 1024;
/// Nor are those whose answer would be longer: an item of one byte may be answered with thirty.
pub const ANSWER_BYTES_MAX: usize = 4 * FRAME_BYTES_MAX;

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// `admin_for` does not name its client.
    NotNamed,
    /// It is about something that is not its client's.
    Foreign(Whose),
    /// Something else in it is not its client's, without which it is nothing.
    NotAttempted,
    /// It comes within a login.
    WithinLogin,
}

/// What is not a client's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    Cluster,
    Topic,
    Group,
    TransactionalId,
}

impl Whose {
    fn code(self) -> i16 {
        match self {
            Self::Cluster => CLUSTER_AUTHORIZATION_FAILED,
            Self::Topic => TOPIC_AUTHORIZATION_FAILED,
            Self::Group => GROUP_AUTHORIZATION_FAILED,
            Self::TransactionalId => TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
        }
    }

    fn text(self) -> &'static str {
        match self {
            Self::Cluster => NOT_NAMED,
            Self::Topic => "Sealwire: the topic's rule names this client neither in open_for nor in seal_for",
            Self::Group | Self::TransactionalId => {
                "Sealwire: groups_for of the cluster does not name this client"
            }
        }
    }
}

/// Writes the answer to a request, which is at hand without its length; the answer has one.
///
/// # Errors
/// Where the request is not well formed, or not one of these, or its answer would be longer than [`ANSWER_BYTES_MAX`].
pub fn write(
    why: Why,
    head: RequestHead,
    api: &ApiPolicy,
    frame: &[u8],
    out: &mut Vec<u8>,
) -> Result<(), ProtocolError> {
    let length = LengthSlot::reserve(out, LengthForm::Int32, 0)?;
    let mut walk = Walk::begin(why, head, api, frame, out)?;
    match why {
        _ if api.admin => walk.administration()?,
        Why::NotNamed | Why::NotAttempted => return Err(walk.unknown()),
        Why::Foreign(_) | Why::WithinLogin => walk.ordinary()?,
    }
    walk.no_tags();
    length.fill_with_content_len(out)
}

/// Reads a request and writes its answer.
struct Walk<'f, 'o> {
    why: Why,
    api: &'f ApiPolicy,
    cursor: Cursor<'f>,
    out: &'o mut Vec<u8>,
    flexible: bool,
    version: i16,
    /// How many more items are told why: an answer is not to be many times as long as its request.
    texts_left: usize,
    /// Only a part of it is refused.
    parting: Option<parts::Parting<'f>>,
}

type Walked = Result<(), ProtocolError>;

impl<'f, 'o> Walk<'f, 'o> {
    /// Writes the header.
    fn begin(
        why: Why,
        head: RequestHead,
        api: &'f ApiPolicy,
        frame: &'f [u8],
        out: &'o mut Vec<u8>,
    ) -> Result<Self, ProtocolError> {
        let flexible = api.flexible(head.api_version);
        let mut cursor = Cursor::new(frame);
        skip_request_header(&mut cursor, flexible)?;
        put_i32(out, head.correlation_id);
        if api.response_header_flexible(head.api_version) {
            put_uvarint(out, 0);
        }
        Ok(Self {
            why,
            api,
            cursor,
            out,
            flexible,
            version: head.api_version,
            texts_left: TEXTS_MAX,
            parting: None,
        })
    }

    /// The body of the answer to a request that changes nothing in the cluster.
    fn ordinary(&mut self) -> Walked {
        let is_known = self.records()? || self.groups()? || self.others()?;
        if is_known { Ok(()) } else { Err(self.unknown()) }
    }

    fn unknown(&self) -> ProtocolError {
        ProtocolError::UnsupportedVersion {
            api_key: self.api.key,
            version: self.version,
        }
    }

    /// Of a login, of the cluster and its configuration.
    fn others(&mut self) -> Result<bool, ProtocolError> {
        match self.api.key {
            key::SASL_HANDSHAKE => {
                self.error();
                self.no_items()?;
            }
            key::API_VERSIONS => {
                self.error();
                self.no_items()?;
                self.not_throttled_from(1);
            }
            key::DESCRIBE_CONFIGS => self.describe_configs()?,
            key::DESCRIBE_CLIENT_QUOTAS => {
                self.not_throttled();
                self.error_with_text(ILLEGAL_SASL_STATE)?;
                self.null_items();
            }
            key::DESCRIBE_QUORUM => {
                self.error();
                if self.version >= 2 {
                    self.meaning()?;
                }
                self.no_items()?;
                if self.version >= 2 {
                    self.no_items()?;
                }
            }
            key::DESCRIBE_CLUSTER => {
                self.not_throttled();
                self.error_with_text(ILLEGAL_SASL_STATE)?;
                if self.version >= 1 {
                    self.out.push(1); // brokers
                }
                self.text("")?;
                put_i32(self.out, -1);
                self.no_items()?;
                self.no_operations();
            }
            key::GET_TELEMETRY_SUBSCRIPTIONS => {
                self.not_throttled();
                self.error();
                self.zeros(16 + 4);
                self.no_items()?;
                self.zeros(4 + 4 + 1);
                self.no_items()?;
            }
            key::PUSH_TELEMETRY => {
                self.not_throttled();
                self.error();
            }
            key::LIST_CONFIG_RESOURCES => {
                self.not_throttled();
                self.error();
                self.no_items()?;
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn describe_configs(&mut self) -> Walked {
        self.not_throttled();
        self.items(3, |walk| {
            let resource = walk.cursor.i8()?;
            let name = walk.cursor.string(walk.flexible)?;
            walk.skip_items(1, Self::skip_text)?;
            walk.skip_tags()?;
            walk.error();
            walk.meaning()?;
            walk.out.extend_from_slice(&resource.to_be_bytes());
            put_string(walk.out, walk.flexible, name)?;
            walk.no_items()?;
            walk.no_tags();
            Ok(())
        })
    }

    /// Topics by name, and of each of them partitions.
    fn topics(&mut self, partition: impl Fn(&mut Self) -> Walked) -> Walked {
        self.items(2, |walk| walk.topic(&partition))
    }

    fn topic(&mut self, partition: impl Fn(&mut Self) -> Walked) -> Walked {
        self.copy_text()?;
        self.items(4, partition)?;
        self.skip_tags()?;
        self.no_tags();
        Ok(())
    }

    /// A partition of which nothing but its number was said.
    fn refused_partition(&mut self) -> Walked {
        self.copy_i32()?;
        self.code(CLUSTER_AUTHORIZATION_FAILED);
        self.no_tags();
        Ok(())
    }

    /// An array of the request, which the answer has as well; where it is null, an empty one. Each item has so many
    /// bytes at least.
    fn items(&mut self, bytes_min: usize, item: impl Fn(&mut Self) -> Walked) -> Walked {
        if let Some(parting) = self.parting.take_if(|parting| !parting.is_over()) {
            return self.part_items(parting, bytes_min, item);
        }
        let count = self.cursor.array_len(self.flexible, bytes_min)?.unwrap_or(0);
        put_array_len(self.out, self.flexible, count)?;
        (0..count).try_for_each(|_| {
            item(self)?;
            self.is_in_bounds()
        })
    }

    fn is_in_bounds(&self) -> Walked {
        match self.out.len() <= ANSWER_BYTES_MAX {
            true => Ok(()),
            false => Err(ProtocolError::TooLong),
        }
    }

    /// One that the answer does not have.
    fn skip_items(&mut self, bytes_min: usize, mut item: impl FnMut(&mut Self) -> Walked) -> Walked {
        let count = self.cursor.array_len(self.flexible, bytes_min)?.unwrap_or(0);
        (0..count).try_for_each(|_| item(self))
    }

    fn no_items(&mut self) -> Walked {
        put_array_len(self.out, self.flexible, 0)
    }

    fn copy_text(&mut self) -> Walked {
        let text = self.cursor.string(self.flexible)?;
        put_string(self.out, self.flexible, text)
    }

    fn skip_text(&mut self) -> Walked {
        self.cursor.nullable_text_span(self.flexible).map(drop)
    }

    fn copy_i32(&mut self) -> Walked {
        let number = self.cursor.i32()?;
        put_i32(self.out, number);
        Ok(())
    }

    fn not_throttled(&mut self) {
        put_i32(self.out, 0);
    }

    fn not_throttled_from(&mut self, version: i16) {
        if self.version >= version {
            self.not_throttled();
        }
    }

    /// This code where the client may not, and that of the state where it has not logged in.
    fn code(&mut self, code: i16) {
        put_i16(
            self.out,
            match self.why {
                Why::NotNamed => code,
                Why::Foreign(whose) => whose.code(),
                Why::NotAttempted => OPERATION_NOT_ATTEMPTED,
                Why::WithinLogin => ILLEGAL_SASL_STATE,
            },
        );
    }

    /// The code of what is not only for administrators.
    fn error(&mut self) {
        self.code(ILLEGAL_SASL_STATE);
    }

    /// The code of what is refused in parts.
    fn no_error(&mut self) {
        put_i16(self.out, NONE);
    }

    /// With what the code does not say.
    fn error_with_text(&mut self, code: i16) -> Walked {
        self.code(code);
        match self.why {
            Why::NotNamed => self.told(NOT_NAMED),
            Why::Foreign(_) | Why::NotAttempted | Why::WithinLogin => self.unexpected(),
        }
    }

    /// What brokers say to a request within a login.
    fn unexpected(&mut self) -> Walked {
        if let Why::Foreign(whose) = self.why {
            return self.told(whose.text());
        }
        let told = unexpected(self.api);
        self.told(&told)
    }

    /// With what the code means, where that is all that brokers say.
    fn error_with_meaning(&mut self, code: i16) -> Walked {
        self.code(code);
        match self.why {
            Why::NotNamed => self.told(NOT_NAMED),
            Why::Foreign(_) | Why::NotAttempted | Why::WithinLogin => self.meaning(),
        }
    }

    /// With nothing, where brokers say nothing.
    fn error_without_text(&mut self, code: i16) -> Walked {
        self.code(code);
        match self.why {
            Why::NotNamed => self.told(NOT_NAMED),
            Why::Foreign(_) | Why::NotAttempted | Why::WithinLogin => self.null(),
        }
    }

    fn meaning(&mut self) -> Walked {
        self.told(match self.why {
            Why::Foreign(whose) => whose.text(),
            Why::NotNamed | Why::NotAttempted | Why::WithinLogin => MEANING,
        })
    }

    fn told(&mut self, text: &str) -> Walked {
        let text = (self.texts_left > 0).then_some(text);
        self.texts_left = self.texts_left.saturating_sub(1);
        put_string(self.out, self.flexible, text)
    }

    fn text(&mut self, text: &str) -> Walked {
        put_string(self.out, self.flexible, Some(text))
    }

    fn null(&mut self) -> Walked {
        put_string(self.out, self.flexible, None)
    }

    fn null_items(&mut self) {
        match self.flexible {
            true => put_uvarint(self.out, 0),
            false => put_i32(self.out, -1),
        }
    }

    /// A structure that may be null.
    fn no_struct(&mut self) {
        self.out.push(0xff);
    }

    /// What nobody is told of: which operations the client may ask for.
    fn no_operations(&mut self) {
        put_i32(self.out, i32::MIN);
    }

    fn zeros(&mut self, count: usize) {
        self.out.resize(self.out.len().saturating_add(count), 0);
    }

    fn skip_tags(&mut self) -> Walked {
        self.cursor.skip_tagged_fields_if(self.flexible)
    }

    fn no_tags(&mut self) {
        if self.flexible {
            put_uvarint(self.out, 0);
        }
    }
}

/// With the name that an API has among their constants.
fn unexpected(api: &ApiPolicy) -> String {
    let mut name = String::new();
    for letter in api.name.chars() {
        if letter.is_ascii_uppercase() && !name.is_empty() {
            name.push('_');
        }
        name.push(letter.to_ascii_uppercase());
    }
    format!("Unexpected Kafka request of type {name} during SASL authentication.")
}

const TEXTS_MAX: usize = 100;
/// What clients show beside the meaning of the code.
const NOT_NAMED: &str = "Sealwire: admin_for of the cluster does not name this client";
/// Of error 34, as brokers say it.
const MEANING: &str = "Request is not valid given the current SASL state.";

#[cfg(test)]
mod tests;
