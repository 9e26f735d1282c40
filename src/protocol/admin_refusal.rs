//! Answers to requests that change the cluster, for clients that may not: in the request's own form and version, with
//! the codes that a broker with an authorizer gives, each item that was asked for by its name.
//!
//! Request and answer are walked together, and nothing is kept of either: what a request announces costs nothing.

use super::api_key as key;
use super::cursor::Cursor;
use super::error::ProtocolError;
use super::error_code::{
    CLUSTER_AUTHORIZATION_FAILED, GROUP_AUTHORIZATION_FAILED, TOPIC_AUTHORIZATION_FAILED,
};
use super::frame::{RequestHead, skip_request_header};
use super::policy::ApiPolicy;
use super::writer::{
    LengthForm, LengthSlot, put_array_len, put_i16, put_i32, put_i64, put_string, put_uvarint,
};

/// Requests that are longer are not answered: nobody without rights sends them by mistake.
pub const FRAME_BYTES_MAX: usize = 64 * 1024;

/// Writes the answer to a request, which is at hand without its length; the answer has one.
///
/// # Errors
/// Where the request is not well formed, or not one of these.
pub fn write(
    head: RequestHead,
    api: &ApiPolicy,
    frame: &[u8],
    out: &mut Vec<u8>,
) -> Result<(), ProtocolError> {
    let flexible = api.flexible(head.api_version);
    let mut cursor = Cursor::new(frame);
    skip_request_header(&mut cursor, flexible)?;
    let length = LengthSlot::reserve(out, LengthForm::Int32, 0)?;
    put_i32(out, head.correlation_id);
    if flexible {
        put_uvarint(out, 0);
    }
    let walk = Walk {
        cursor,
        out,
        flexible,
        version: head.api_version,
        texts_left: TEXTS_MAX,
    };
    walk.answer(head.api_key)?;
    length.fill_with_content_len(out)
}

/// Reads a request and writes its answer.
struct Walk<'f, 'o> {
    cursor: Cursor<'f>,
    out: &'o mut Vec<u8>,
    flexible: bool,
    version: i16,
    /// How many more items are told why: an answer is not to be many times as long as its request.
    texts_left: usize,
}

type Walked = Result<(), ProtocolError>;

impl<'f> Walk<'f, '_> {
    /// The answer's body.
    fn answer(mut self, api_key: i16) -> Walked {
        match api_key {
            key::CREATE_TOPICS => self.create_topics()?,
            key::DELETE_TOPICS => self.delete_topics()?,
            key::DELETE_RECORDS => self.delete_records()?,
            key::WRITE_TXN_MARKERS => self.write_txn_markers()?,
            key::DESCRIBE_ACLS => {
                self.not_throttled();
                self.error_with_text(CLUSTER_AUTHORIZATION_FAILED)?;
                self.no_items()?;
            }
            key::CREATE_ACLS => self.create_acls()?,
            key::DELETE_ACLS => self.delete_acls()?,
            key::ALTER_CONFIGS => self.alter_configs(false)?,
            key::INCREMENTAL_ALTER_CONFIGS => self.alter_configs(true)?,
            key::ALTER_REPLICA_LOG_DIRS => self.alter_replica_log_dirs()?,
            key::CREATE_PARTITIONS => self.create_partitions()?,
            key::DELETE_GROUPS => self.delete_groups()?,
            key::ELECT_LEADERS => self.elect_leaders()?,
            key::ALTER_PARTITION_REASSIGNMENTS => self.alter_partition_reassignments()?,
            key::OFFSET_DELETE => {
                put_i16(self.out, GROUP_AUTHORIZATION_FAILED);
                self.not_throttled();
                self.no_items()?;
            }
            key::ALTER_CLIENT_QUOTAS => self.alter_client_quotas()?,
            key::UPDATE_FEATURES => {
                self.not_throttled();
                self.error_with_text(CLUSTER_AUTHORIZATION_FAILED)?;
                if self.version <= 1 {
                    self.no_items()?;
                }
            }
            key::UNREGISTER_BROKER
            | key::ADD_RAFT_VOTER
            | key::REMOVE_RAFT_VOTER
            | key::UNREGISTER_CONTROLLER => {
                self.not_throttled();
                self.error_with_text(CLUSTER_AUTHORIZATION_FAILED)?;
            }
            key::ALTER_SHARE_GROUP_OFFSETS | key::DELETE_SHARE_GROUP_OFFSETS => {
                self.not_throttled();
                self.error_with_text(GROUP_AUTHORIZATION_FAILED)?;
                self.no_items()?;
            }
            _ => {
                return Err(ProtocolError::UnsupportedVersion {
                    api_key,
                    version: self.version,
                });
            }
        }
        self.no_tags();
        Ok(())
    }

    fn create_topics(&mut self) -> Walked {
        self.not_throttled();
        self.items(13, |walk| {
            walk.copy_text()?;
            walk.cursor.skip(4 + 2)?;
            walk.skip_items(8, |walk| {
                walk.cursor.skip(4)?;
                walk.skip_items(4, |walk| walk.cursor.skip(4))?;
                walk.skip_tags()
            })?;
            walk.skip_items(2, |walk| {
                walk.skip_text()?;
                walk.skip_text()?;
                walk.skip_tags()
            })?;
            walk.skip_tags()?;
            if walk.version >= 7 {
                walk.out.extend_from_slice(&[0; 16]);
            }
            walk.error_with_text(TOPIC_AUTHORIZATION_FAILED)?;
            if walk.version >= 5 {
                put_i32(walk.out, -1);
                put_i16(walk.out, -1);
                // No configuration.
                put_uvarint(walk.out, 0);
            }
            walk.no_tags();
            Ok(())
        })
    }

    fn delete_topics(&mut self) -> Walked {
        self.not_throttled();
        self.items(1, |walk| {
            walk.copy_text()?;
            if walk.version >= 6 {
                let id = walk.cursor.uuid()?;
                walk.out.extend_from_slice(&id);
                walk.skip_tags()?;
            }
            if walk.version >= 5 {
                walk.error_with_text(TOPIC_AUTHORIZATION_FAILED)?;
            } else {
                put_i16(walk.out, TOPIC_AUTHORIZATION_FAILED);
            }
            walk.no_tags();
            Ok(())
        })
    }

    fn delete_records(&mut self) -> Walked {
        self.not_throttled();
        self.topics(|walk| {
            walk.copy_i32()?;
            walk.cursor.skip(8)?;
            walk.skip_tags()?;
            put_i64(walk.out, -1);
            put_i16(walk.out, TOPIC_AUTHORIZATION_FAILED);
            walk.no_tags();
            Ok(())
        })
    }

    /// From one broker to others, and by tools that end transactions.
    fn write_txn_markers(&mut self) -> Walked {
        self.items(8 + 2 + 1 + 1 + 4, |walk| {
            let producer = walk.cursor.i64()?;
            put_i64(walk.out, producer);
            walk.cursor.skip(2 + 1)?;
            walk.topics(|walk| walk.refused_partition())?;
            walk.cursor.skip(4)?;
            if walk.version >= 2 {
                walk.cursor.skip(1)?;
            }
            walk.skip_tags()?;
            walk.no_tags();
            Ok(())
        })
    }

    fn create_acls(&mut self) -> Walked {
        self.not_throttled();
        self.items(7, |walk| {
            walk.refused_acl()?;
            walk.no_tags();
            Ok(())
        })
    }

    fn delete_acls(&mut self) -> Walked {
        self.not_throttled();
        self.items(7, |walk| {
            walk.refused_acl()?;
            walk.no_items()?;
            walk.no_tags();
            Ok(())
        })
    }

    /// One that is to be made, or a filter for such as are to be deleted.
    fn refused_acl(&mut self) -> Walked {
        self.cursor.skip(1)?;
        self.skip_text()?;
        self.cursor.skip(1)?;
        self.skip_text()?;
        self.skip_text()?;
        self.cursor.skip(2)?;
        self.skip_tags()?;
        self.error_with_text(CLUSTER_AUTHORIZATION_FAILED)
    }

    /// `incremental`: each change says which it is.
    fn alter_configs(&mut self, incremental: bool) -> Walked {
        self.not_throttled();
        self.items(3, |walk| {
            let resource = walk.cursor.i8()?;
            let name = walk.cursor.string(walk.flexible)?;
            walk.skip_items(2, |walk| {
                walk.skip_text()?;
                if incremental {
                    walk.cursor.skip(1)?;
                }
                walk.skip_text()?;
                walk.skip_tags()
            })?;
            walk.skip_tags()?;
            walk.error_with_text(match resource {
                TOPIC => TOPIC_AUTHORIZATION_FAILED,
                GROUP => GROUP_AUTHORIZATION_FAILED,
                _ => CLUSTER_AUTHORIZATION_FAILED,
            })?;
            walk.out.extend_from_slice(&resource.to_be_bytes());
            put_string(walk.out, walk.flexible, name)?;
            walk.no_tags();
            Ok(())
        })
    }

    /// The answer has no folders: all their topics one after the other.
    fn alter_replica_log_dirs(&mut self) -> Walked {
        self.not_throttled();
        let slot = LengthSlot::reserve(self.out, LengthForm::of(self.flexible), 0)?;
        let mut topics = 0_usize;
        self.skip_items(2, |walk| {
            walk.skip_text()?;
            walk.skip_items(2, |walk| {
                topics = topics.saturating_add(1);
                walk.topic(|walk| walk.refused_partition())
            })?;
            walk.skip_tags()
        })?;
        slot.fill(self.out, topics)
    }

    fn create_partitions(&mut self) -> Walked {
        self.not_throttled();
        self.items(6, |walk| {
            walk.copy_text()?;
            walk.cursor.skip(4)?;
            walk.skip_items(1, |walk| {
                walk.skip_items(4, |walk| walk.cursor.skip(4))?;
                walk.skip_tags()
            })?;
            walk.skip_tags()?;
            walk.error_with_text(TOPIC_AUTHORIZATION_FAILED)?;
            walk.no_tags();
            Ok(())
        })
    }

    fn delete_groups(&mut self) -> Walked {
        self.not_throttled();
        self.items(1, |walk| {
            walk.copy_text()?;
            if walk.version >= 3 {
                walk.error_with_text(GROUP_AUTHORIZATION_FAILED)?;
            } else {
                put_i16(walk.out, GROUP_AUTHORIZATION_FAILED);
            }
            walk.no_tags();
            Ok(())
        })
    }

    fn elect_leaders(&mut self) -> Walked {
        self.not_throttled();
        if self.version >= 1 {
            self.cursor.skip(1)?;
            put_i16(self.out, CLUSTER_AUTHORIZATION_FAILED);
        }
        self.topics(|walk| {
            walk.copy_i32()?;
            put_i16(walk.out, CLUSTER_AUTHORIZATION_FAILED);
            put_string(walk.out, walk.flexible, None)?;
            walk.no_tags();
            Ok(())
        })
    }

    /// Java's client wants both: the error of all, and each partition.
    fn alter_partition_reassignments(&mut self) -> Walked {
        self.not_throttled();
        self.cursor.skip(4)?;
        if self.version >= 1 {
            let may_change_factor = self.cursor.boolean()?;
            self.out.push(may_change_factor.into());
        }
        self.error_with_text(CLUSTER_AUTHORIZATION_FAILED)?;
        self.topics(|walk| {
            walk.copy_i32()?;
            walk.skip_items(4, |walk| walk.cursor.skip(4))?;
            walk.skip_tags()?;
            put_i16(walk.out, CLUSTER_AUTHORIZATION_FAILED);
            put_string(walk.out, walk.flexible, None)?;
            walk.no_tags();
            Ok(())
        })
    }

    fn alter_client_quotas(&mut self) -> Walked {
        self.not_throttled();
        self.items(2, |walk| {
            walk.error_with_text(CLUSTER_AUTHORIZATION_FAILED)?;
            walk.items(2, |walk| {
                walk.copy_text()?;
                walk.copy_text()?;
                walk.skip_tags()?;
                walk.no_tags();
                Ok(())
            })?;
            walk.skip_items(10, |walk| {
                walk.skip_text()?;
                walk.cursor.skip(8 + 1)?;
                walk.skip_tags()
            })?;
            walk.skip_tags()?;
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
        put_i16(self.out, CLUSTER_AUTHORIZATION_FAILED);
        self.no_tags();
        Ok(())
    }

    /// An array of the request, which the answer has as well; where it is null, an empty one. Each item has so many
    /// bytes at least.
    fn items(&mut self, bytes_min: usize, item: impl Fn(&mut Self) -> Walked) -> Walked {
        let count = self.cursor.array_len(self.flexible, bytes_min)?.unwrap_or(0);
        put_array_len(self.out, self.flexible, count)?;
        (0..count).try_for_each(|_| item(self))
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

    fn error_with_text(&mut self, code: i16) -> Walked {
        put_i16(self.out, code);
        let text = (self.texts_left > 0).then_some(TEXT);
        self.texts_left = self.texts_left.saturating_sub(1);
        put_string(self.out, self.flexible, text)
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

const TEXTS_MAX: usize = 100;
/// What clients show beside the meaning of the code.
const TEXT: &str = "Sealwire: admin_for of the cluster does not name this client";
/// Of a resource with configuration.
const TOPIC: i8 = 2;
const GROUP: i8 = 32;

#[cfg(test)]
mod tests;
