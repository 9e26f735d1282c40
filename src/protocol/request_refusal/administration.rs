//! Requests that change the cluster.

use super::{Walk, Walked};
use crate::protocol::api_key as key;
use crate::protocol::error_code::{
    CLUSTER_AUTHORIZATION_FAILED, GROUP_AUTHORIZATION_FAILED, TOPIC_AUTHORIZATION_FAILED,
};
use crate::protocol::writer::{LengthForm, LengthSlot, put_i16, put_i32, put_i64, put_string};

impl Walk<'_, '_> {
    /// The answer's body.
    pub(super) fn administration(&mut self) -> Walked {
        match self.api.key {
            key::CREATE_TOPICS => self.create_topics(),
            key::DELETE_TOPICS => self.delete_topics(),
            key::DELETE_RECORDS => self.delete_records(),
            key::WRITE_TXN_MARKERS => self.write_txn_markers(),
            key::DESCRIBE_ACLS => {
                self.not_throttled();
                self.error_with_text(CLUSTER_AUTHORIZATION_FAILED)?;
                self.no_items()
            }
            key::CREATE_ACLS => self.create_acls(),
            key::DELETE_ACLS => self.delete_acls(),
            key::ALTER_CONFIGS => self.alter_configs(false),
            key::INCREMENTAL_ALTER_CONFIGS => self.alter_configs(true),
            key::ALTER_REPLICA_LOG_DIRS => self.alter_replica_log_dirs(),
            key::CREATE_PARTITIONS => self.create_partitions(),
            key::DELETE_GROUPS => self.delete_groups(),
            key::ELECT_LEADERS => self.elect_leaders(),
            key::ALTER_PARTITION_REASSIGNMENTS => self.alter_partition_reassignments(),
            key::OFFSET_DELETE => {
                self.code(GROUP_AUTHORIZATION_FAILED);
                self.not_throttled();
                self.no_items()
            }
            key::ALTER_CLIENT_QUOTAS => self.alter_client_quotas(),
            key::UPDATE_FEATURES => {
                self.not_throttled();
                self.error_with_text(CLUSTER_AUTHORIZATION_FAILED)?;
                if self.version <= 1 {
                    self.no_items()?;
                }
                Ok(())
            }
            key::UNREGISTER_BROKER => {
                self.not_throttled();
                self.error_with_text(CLUSTER_AUTHORIZATION_FAILED)
            }
            key::ADD_RAFT_VOTER | key::REMOVE_RAFT_VOTER | key::UNREGISTER_CONTROLLER => {
                self.not_throttled();
                self.error_with_meaning(CLUSTER_AUTHORIZATION_FAILED)
            }
            key::ALTER_SHARE_GROUP_OFFSETS | key::DELETE_SHARE_GROUP_OFFSETS => {
                self.not_throttled();
                self.error_with_meaning(GROUP_AUTHORIZATION_FAILED)?;
                self.no_items()
            }
            _ => Err(self.unknown()),
        }
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
                walk.no_items()?;
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
                walk.error_without_text(TOPIC_AUTHORIZATION_FAILED)?;
            } else {
                walk.code(TOPIC_AUTHORIZATION_FAILED);
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
            walk.code(TOPIC_AUTHORIZATION_FAILED);
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
                walk.error_without_text(GROUP_AUTHORIZATION_FAILED)?;
            } else {
                walk.code(GROUP_AUTHORIZATION_FAILED);
            }
            walk.no_tags();
            Ok(())
        })
    }

    fn elect_leaders(&mut self) -> Walked {
        self.not_throttled();
        if self.version >= 1 {
            self.cursor.skip(1)?;
            self.code(CLUSTER_AUTHORIZATION_FAILED);
        }
        self.topics(|walk| {
            walk.copy_i32()?;
            walk.error_with_text(CLUSTER_AUTHORIZATION_FAILED)?;
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
            walk.error_with_text(CLUSTER_AUTHORIZATION_FAILED)?;
            walk.no_tags();
            Ok(())
        })
    }

    fn alter_client_quotas(&mut self) -> Walked {
        self.not_throttled();
        self.items(2, |walk| {
            walk.error_with_meaning(CLUSTER_AUTHORIZATION_FAILED)?;
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
}

/// Of a resource with configuration.
const TOPIC: i8 = 2;
const GROUP: i8 = 32;
