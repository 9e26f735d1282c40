//! Requests of groups, and about their offsets.

use super::{Walk, Walked};
use crate::protocol::api_key as key;
use crate::protocol::error::ProtocolError;
use crate::protocol::writer::{put_array_len, put_i32, put_i64};

impl Walk<'_, '_> {
    /// The body of the answer, where it is one of these.
    pub(super) fn groups(&mut self) -> Result<bool, ProtocolError> {
        match self.api.key {
            key::FIND_COORDINATOR => self.find_coordinator()?,
            key::JOIN_GROUP => self.join_group()?,
            key::HEARTBEAT => {
                self.not_throttled_from(1);
                self.error();
            }
            key::LEAVE_GROUP => {
                self.not_throttled_from(1);
                self.error();
                if self.version >= 3 {
                    self.no_items()?;
                }
            }
            key::SYNC_GROUP => {
                self.not_throttled_from(1);
                self.error();
                if self.version >= 5 {
                    self.null()?;
                    self.null()?;
                }
                // No assignment, which has a length as a list has.
                self.no_items()?;
            }
            key::LIST_GROUPS => {
                self.not_throttled_from(1);
                self.error();
                self.no_items()?;
            }
            key::CONSUMER_GROUP_HEARTBEAT => {
                self.not_throttled();
                self.error();
                self.null()?;
                self.null()?;
                self.zeros(4 + 4);
                self.no_struct();
            }
            key::DESCRIBE_GROUPS | key::CONSUMER_GROUP_DESCRIBE | key::STREAMS_GROUP_DESCRIBE => {
                self.not_throttled_from(i16::from(self.api.key == key::DESCRIBE_GROUPS));
                self.items(1, Self::described_group)?;
            }
            key::OFFSET_COMMIT => self.offset_commit()?,
            key::TXN_OFFSET_COMMIT => self.txn_offset_commit()?,
            key::OFFSET_FETCH => self.offset_fetch()?,
            key::DESCRIBE_SHARE_GROUP_OFFSETS => self.describe_share_group_offsets()?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn find_coordinator(&mut self) -> Walked {
        if self.version >= 4 {
            self.cursor.skip(1)?;
            self.not_throttled();
            return self.items(1, |walk| {
                walk.copy_text()?;
                walk.no_coordinator()?;
                walk.error();
                walk.meaning()?;
                walk.no_tags();
                Ok(())
            });
        }
        self.not_throttled_from(1);
        self.error();
        if self.version >= 1 {
            self.meaning()?;
        }
        self.no_coordinator()
    }

    fn no_coordinator(&mut self) -> Walked {
        put_i32(self.out, -1);
        self.text("")?;
        put_i32(self.out, -1);
        Ok(())
    }

    fn join_group(&mut self) -> Walked {
        self.not_throttled_from(2);
        self.error();
        put_i32(self.out, -1);
        if self.version >= 7 {
            self.null()?;
            self.null()?;
        } else {
            self.text("")?;
        }
        self.text("")?;
        if self.version >= 9 {
            self.zeros(1);
        }
        self.text("")?;
        self.no_items()
    }

    fn described_group(&mut self) -> Walked {
        let id = self.cursor.string_non_null(self.flexible)?;
        self.error();
        let is_classic = self.api.key == key::DESCRIBE_GROUPS;
        if !is_classic || self.version >= 6 {
            self.null()?;
        }
        self.text(id)?;
        self.text("")?;
        match self.api.key {
            key::DESCRIBE_GROUPS => {
                self.text("")?;
                self.text("")?;
            }
            key::CONSUMER_GROUP_DESCRIBE => {
                self.zeros(4 + 4);
                self.text("")?;
            }
            _ => {
                self.zeros(4 + 4);
                self.no_struct();
            }
        }
        self.no_items()?;
        if !is_classic || self.version >= 3 {
            self.no_operations();
        }
        self.no_tags();
        Ok(())
    }

    fn offset_commit(&mut self) -> Walked {
        self.skip_text()?;
        self.cursor.skip(4)?;
        self.skip_text()?;
        if self.version >= 7 {
            self.skip_text()?;
        }
        if self.version <= 4 {
            self.cursor.skip(8)?;
        }
        self.not_throttled_from(3);
        self.items(2, |walk| {
            walk.copy_topic(10)?;
            walk.items(4, |walk| walk.committed_offset(6))?;
            walk.skip_tags()?;
            walk.no_tags();
            Ok(())
        })
    }

    fn txn_offset_commit(&mut self) -> Walked {
        // Version 6 is in no release yet that could be asked what it answers.
        if self.version >= 6 {
            return Err(self.unknown());
        }
        self.skip_text()?;
        self.skip_text()?;
        self.cursor.skip(8 + 2)?;
        if self.version >= 3 {
            self.cursor.skip(4)?;
            self.skip_text()?;
            self.skip_text()?;
        }
        self.not_throttled();
        self.topics(|walk| walk.committed_offset(2))
    }

    /// The offset of a partition, with its epoch from a version on.
    fn committed_offset(&mut self, epoch_from: i16) -> Walked {
        self.copy_i32()?;
        self.cursor.skip(8)?;
        if self.version >= epoch_from {
            self.cursor.skip(4)?;
        }
        self.skip_text()?;
        self.skip_tags()?;
        self.error();
        self.no_tags();
        Ok(())
    }

    fn offset_fetch(&mut self) -> Walked {
        if self.parting.is_some() && self.version <= 7 {
            self.not_throttled_from(3);
            self.skip_text()?;
            self.topics(Self::fetched_offset)?;
            if self.version >= 2 {
                self.no_error();
            }
            return Ok(());
        }
        if self.version >= 8 {
            self.not_throttled();
            if self.parting.is_some() && self.cursor.clone().array_len(self.flexible, 3)? == Some(1) {
                return self.offset_fetch_of_one();
            }
            return self.items(3, |walk| {
                walk.copy_text()?;
                if walk.version >= 9 {
                    walk.skip_text()?;
                    walk.cursor.skip(4)?;
                }
                walk.skip_items(2, |walk| {
                    if walk.version >= 10 {
                        walk.cursor.skip(16)?;
                    } else {
                        walk.skip_text()?;
                    }
                    walk.skip_items(4, |walk| walk.cursor.skip(4))?;
                    walk.skip_tags()
                })?;
                walk.skip_tags()?;
                walk.no_items()?;
                walk.error();
                walk.no_tags();
                Ok(())
            });
        }
        if self.version >= 2 {
            self.not_throttled_from(3);
            self.no_items()?;
            self.error();
            return Ok(());
        }
        self.skip_text()?;
        self.topics(Self::fetched_offset)
    }

    /// A group, of which some topics are refused.
    fn offset_fetch_of_one(&mut self) -> Walked {
        self.cursor.array_len(self.flexible, 3)?;
        put_array_len(self.out, self.flexible, 1)?;
        self.copy_text()?;
        if self.version >= 9 {
            self.skip_text()?;
            self.cursor.skip(4)?;
        }
        self.topics(Self::fetched_offset)?;
        self.no_error();
        self.no_tags();
        Ok(())
    }

    fn fetched_offset(&mut self) -> Walked {
        self.copy_i32()?;
        put_i64(self.out, -1);
        if self.version >= 5 {
            put_i32(self.out, -1);
        }
        self.text("")?;
        self.error();
        self.no_tags();
        Ok(())
    }

    fn describe_share_group_offsets(&mut self) -> Walked {
        self.not_throttled();
        self.items(3, |walk| {
            walk.copy_text()?;
            walk.skip_items(3, |walk| {
                walk.skip_text()?;
                walk.skip_items(4, |walk| walk.cursor.skip(4))?;
                walk.skip_tags()
            })?;
            walk.skip_tags()?;
            walk.no_items()?;
            walk.error();
            walk.unexpected()?;
            walk.no_tags();
            Ok(())
        })
    }

    /// A topic, by its id from a version on.
    fn copy_topic(&mut self, id_from: i16) -> Walked {
        if self.version >= id_from {
            let id = self.cursor.uuid()?;
            self.out.extend_from_slice(&id);
            return Ok(());
        }
        self.copy_text()
    }
}
