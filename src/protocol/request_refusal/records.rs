//! Requests about topics, their partitions and records, and transactions.

use super::{Walk, Walked};
use crate::protocol::api_key as key;
use crate::protocol::error::ProtocolError;
use crate::protocol::error_code::ILLEGAL_SASL_STATE;
use crate::protocol::writer::{put_i16, put_i32, put_i64, put_string};

impl Walk<'_, '_> {
    /// The body of the answer, where it is one of these.
    pub(super) fn records(&mut self) -> Result<bool, ProtocolError> {
        match self.api.key {
            key::PRODUCE => self.produce()?,
            key::FETCH => self.fetch()?,
            key::LIST_OFFSETS => self.list_offsets()?,
            key::METADATA => self.metadata()?,
            key::OFFSET_FOR_LEADER_EPOCH => self.offset_for_leader_epoch()?,
            key::DESCRIBE_TOPIC_PARTITIONS => self.describe_topic_partitions()?,
            key::DESCRIBE_PRODUCERS => self.describe_producers()?,
            key::DESCRIBE_LOG_DIRS => {
                self.not_throttled();
                if self.version >= 3 {
                    self.error();
                }
                self.no_items()?;
            }
            key::LIST_PARTITION_REASSIGNMENTS => {
                self.not_throttled();
                self.error_with_text(ILLEGAL_SASL_STATE)?;
                self.no_items()?;
            }
            key::INIT_PRODUCER_ID => {
                self.not_throttled();
                self.error();
                self.no_producer();
            }
            key::ADD_PARTITIONS_TO_TXN => self.add_partitions_to_txn()?,
            key::ADD_OFFSETS_TO_TXN => {
                self.not_throttled();
                self.error();
            }
            key::END_TXN => {
                self.not_throttled();
                self.error();
                if self.version >= 5 {
                    self.no_producer();
                }
            }
            key::DESCRIBE_TRANSACTIONS => self.describe_transactions()?,
            key::LIST_TRANSACTIONS => {
                self.not_throttled();
                self.error();
                self.no_items()?;
                self.no_items()?;
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Nobody waits for an answer where none is asked for.
    fn produce(&mut self) -> Walked {
        self.skip_text()?;
        if self.cursor.i16()? == 0 {
            return Err(self.unknown());
        }
        self.cursor.skip(4)?;
        self.topics(|walk| {
            walk.copy_i32()?;
            walk.cursor.bytes_spans(walk.flexible)?;
            walk.skip_tags()?;
            walk.error();
            put_i64(walk.out, -1);
            put_i64(walk.out, -1);
            if walk.version >= 5 {
                put_i64(walk.out, -1);
            }
            if walk.version >= 8 {
                walk.no_items()?;
                walk.unexpected()?;
            }
            walk.no_tags();
            Ok(())
        })?;
        self.not_throttled();
        Ok(())
    }

    fn fetch(&mut self) -> Walked {
        self.cursor.skip(4 + 4 + 4 + 4 + 1)?;
        self.not_throttled();
        if self.version >= 7 {
            self.error();
            self.copy_i32()?;
            self.cursor.skip(4)?;
        }
        self.topics(|walk| {
            walk.copy_i32()?;
            let epochs = [
                (walk.version >= 9, 4),
                (walk.version >= 12, 4),
                (walk.version >= 5, 8),
            ];
            let epochs = epochs
                .into_iter()
                .filter_map(|(is_there, bytes)| is_there.then_some(bytes));
            walk.cursor.skip(epochs.sum::<usize>().saturating_add(8 + 4))?;
            walk.skip_tags()?;
            walk.error();
            put_i64(walk.out, -1);
            put_i64(walk.out, -1);
            if walk.version >= 5 {
                put_i64(walk.out, -1);
            }
            walk.no_items()?;
            if walk.version >= 11 {
                put_i32(walk.out, -1);
            }
            // No records, which have a length as a list has.
            walk.no_items()?;
            walk.no_tags();
            Ok(())
        })
    }

    fn list_offsets(&mut self) -> Walked {
        self.cursor.skip(4)?;
        if self.version >= 2 {
            self.cursor.skip(1)?;
            self.not_throttled();
        }
        self.topics(|walk| {
            walk.copy_i32()?;
            if walk.version >= 4 {
                walk.cursor.skip(4)?;
            }
            walk.cursor.skip(8)?;
            walk.skip_tags()?;
            walk.error();
            put_i64(walk.out, -1);
            put_i64(walk.out, -1);
            if walk.version >= 4 {
                put_i32(walk.out, -1);
            }
            walk.no_tags();
            Ok(())
        })
    }

    fn metadata(&mut self) -> Walked {
        self.not_throttled_from(3);
        self.no_items()?;
        if self.version >= 2 {
            self.null()?;
        }
        if self.version >= 1 {
            put_i32(self.out, -1);
        }
        self.items(2, |walk| {
            let id = if walk.version >= 10 {
                Some(walk.cursor.uuid()?)
            } else {
                None
            };
            let name = walk.cursor.string(walk.flexible)?;
            walk.skip_tags()?;
            walk.error();
            walk.text(name.unwrap_or_default())?;
            if let Some(id) = id {
                walk.out.extend_from_slice(&id);
            }
            if walk.version >= 1 {
                walk.zeros(1);
            }
            walk.no_items()?;
            if walk.version >= 8 {
                walk.no_operations();
            }
            walk.no_tags();
            Ok(())
        })?;
        if (8..=10).contains(&self.version) {
            self.no_operations();
        }
        if self.version >= 13 {
            self.error();
        }
        Ok(())
    }

    fn offset_for_leader_epoch(&mut self) -> Walked {
        if self.version >= 3 {
            self.cursor.skip(4)?;
        }
        self.not_throttled();
        self.topics(|walk| {
            walk.error();
            walk.copy_i32()?;
            walk.cursor.skip(4 + 4)?;
            walk.skip_tags()?;
            put_i32(walk.out, -1);
            put_i64(walk.out, -1);
            walk.no_tags();
            Ok(())
        })
    }

    fn describe_topic_partitions(&mut self) -> Walked {
        self.not_throttled();
        self.items(2, |walk| {
            walk.error();
            walk.copy_text()?;
            walk.skip_tags()?;
            walk.zeros(16 + 1);
            walk.no_items()?;
            walk.no_operations();
            walk.no_tags();
            Ok(())
        })?;
        self.no_struct();
        Ok(())
    }

    fn describe_producers(&mut self) -> Walked {
        self.not_throttled();
        self.topics(|walk| {
            walk.copy_i32()?;
            walk.error();
            walk.null()?;
            walk.no_items()?;
            walk.no_tags();
            Ok(())
        })
    }

    fn add_partitions_to_txn(&mut self) -> Walked {
        self.not_throttled();
        if self.version >= 4 {
            self.error();
            return self.no_items();
        }
        self.skip_text()?;
        self.cursor.skip(8 + 2)?;
        self.topics(Self::refused_partition)
    }

    fn describe_transactions(&mut self) -> Walked {
        self.not_throttled();
        self.items(1, |walk| {
            let id = walk.cursor.string(walk.flexible)?;
            walk.error();
            put_string(walk.out, walk.flexible, id)?;
            walk.text("")?;
            walk.zeros(4 + 8 + 8 + 2);
            walk.no_items()?;
            walk.no_tags();
            Ok(())
        })
    }

    fn no_producer(&mut self) {
        put_i64(self.out, -1);
        put_i16(self.out, -1);
    }
}
