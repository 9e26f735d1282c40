//! What a request names: topics, groups, transactional ids. Read where brokers see the proxy alone, so that no client
//! comes by what is another's.
//!
//! - ASKED-NAMES-1: nothing that a broker would act upon is passed over: whatever cannot be walked is an error, and
//!   what is asked for without a name (every topic there is) is said to be the cluster's.
//!
//! Requests of several things that have nothing to do with each other are lists: of what stands in one it is said in
//! which item, so that the others can go on without it.
//!
//! Nothing but names is read, and nothing is kept. The layouts are those of the versions that [`About::Names`] and
//! [`About::FirstNames`] of the policy table let through ([`ApiPolicy::named_to`]).

use super::api_key as key;
use super::cursor::Cursor;
use super::error::ProtocolError;
use super::frame::skip_request_header;
use super::policy::{About, ApiPolicy};

/// Something that a request names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Name<'f> {
    /// A topic that is described, or read.
    Topic(&'f str),
    /// One that is written to, if only the markers of a transaction.
    StoredTopic(&'f str),
    /// A group of any kind.
    Group(&'f str),
    TransactionalId(&'f str),
    /// A producer without a name.
    Producer,
    /// What is everybody's.
    Cluster,
}

/// Shows each name of a request, until `each` says that this is enough, and in which item of its list it stands: none
/// where it is about all of the request. `frame` has no length; `missing` bytes behind
/// it have not come yet, which only requests may lack whose names come first.
///
/// # Errors
/// Where the request is not well formed, or of an API that names nothing.
pub fn visit<'f>(
    api: &ApiPolicy,
    version: i16,
    frame: &'f [u8],
    missing: usize,
    each: &mut dyn FnMut(Name<'f>, Option<usize>) -> bool,
) -> Result<(), ProtocolError> {
    let flexible = api.flexible(version);
    let missing = match api.about {
        About::FirstNames => missing,
        _ => 0,
    };
    let mut cursor = Cursor::of_part(frame, missing);
    skip_request_header(&mut cursor, flexible)?;
    let mut walk = Walk {
        cursor,
        flexible,
        version,
        item: None,
        each,
    };
    match walk.api(api.key) {
        Ok(()) | Err(Stop::Enough) => Ok(()),
        Err(Stop::Fault(error)) => Err(error),
    }
}

struct Walk<'f, 'e> {
    cursor: Cursor<'f>,
    flexible: bool,
    version: i16,
    /// That of the list in which the walk is.
    item: Option<usize>,
    each: &'e mut dyn FnMut(Name<'f>, Option<usize>) -> bool,
}

enum Stop {
    Fault(ProtocolError),
    /// Nobody wants to know more.
    Enough,
}

impl From<ProtocolError> for Stop {
    fn from(error: ProtocolError) -> Self {
        Self::Fault(error)
    }
}

type Walked = Result<(), Stop>;

impl<'f> Walk<'f, '_> {
    fn api(&mut self, api_key: i16) -> Walked {
        match api_key {
            key::PRODUCE => match self.cursor.string(self.flexible)? {
                Some(id) => self.tell(Name::TransactionalId(id)),
                None => Ok(()),
            },
            // Only brokers have a number. Topics are judged by what comes of them.
            key::FETCH => match self.cursor.i32()? {
                0.. => self.tell(Name::Cluster),
                _ => Ok(()),
            },
            key::INIT_PRODUCER_ID => match self.cursor.string(self.flexible)? {
                Some(id) => self.tell(Name::TransactionalId(id)),
                None => self.tell(Name::Producer),
            },
            key::JOIN_GROUP | key::SYNC_GROUP | key::HEARTBEAT | key::LEAVE_GROUP => self.group(),
            key::END_TXN => self.transactional_id(),
            key::ADD_OFFSETS_TO_TXN => {
                self.transactional_id()?;
                self.skip(8 + 2)?;
                self.group()
            }
            key::LIST_OFFSETS => self.list_offsets(),
            key::OFFSET_FOR_LEADER_EPOCH => {
                self.skip_from(3, 4)?;
                self.topics(2, |walk| {
                    walk.skip(4 + 4 + 4)?;
                    walk.skip_tags()
                })
            }
            key::DESCRIBE_PRODUCERS => self.topics(2, |walk| walk.number()),
            key::DESCRIBE_TOPIC_PARTITIONS => self.describe_topic_partitions(),
            key::DESCRIBE_CONFIGS => self.describe_configs(),
            key::ADD_PARTITIONS_TO_TXN => self.add_partitions_to_txn(),
            key::DESCRIBE_TRANSACTIONS => self.items(1, Self::transactional_id),
            key::FIND_COORDINATOR => self.find_coordinator(),
            key::DESCRIBE_GROUPS | key::CONSUMER_GROUP_DESCRIBE | key::STREAMS_GROUP_DESCRIBE => {
                self.items(1, Self::group)
            }
            key::CONSUMER_GROUP_HEARTBEAT => self.consumer_group_heartbeat(),
            key::OFFSET_COMMIT => self.offset_commit(),
            key::OFFSET_FETCH => self.offset_fetch(),
            key::TXN_OFFSET_COMMIT => self.txn_offset_commit(),
            key::DESCRIBE_SHARE_GROUP_OFFSETS => self.items(3, |walk| {
                walk.group()?;
                walk.topics(3, |walk| walk.number())?;
                walk.skip_tags()
            }),
            api_key => Err(Stop::Fault(ProtocolError::UnsupportedVersion {
                api_key,
                version: self.version,
            })),
        }
    }

    fn list_offsets(&mut self) -> Walked {
        self.skip(4)?;
        self.skip_from(2, 1)?;
        self.topics(2, |walk| {
            walk.skip(4)?;
            walk.skip_from(4, 4)?;
            walk.skip(8)?;
            walk.skip_tags()
        })
    }

    /// No topic stands for all of them.
    fn describe_topic_partitions(&mut self) -> Walked {
        let mut count = 0_usize;
        self.items(2, |walk| {
            count = count.saturating_add(1);
            walk.topic()?;
            walk.skip_tags()
        })?;
        if count == 0 {
            self.tell(Name::Cluster)?;
        }
        self.skip(4)?;
        if self.cursor.i8()? >= 0 {
            self.topic()?;
        }
        Ok(())
    }

    fn describe_configs(&mut self) -> Walked {
        self.items(3, |walk| {
            let kind = walk.cursor.i8()?;
            let name = walk.text()?;
            walk.tell(match kind {
                TOPIC => Name::Topic(name),
                GROUP => Name::Group(name),
                _ => Name::Cluster,
            })?;
            walk.items(1, Self::skip_text)?;
            walk.skip_tags()
        })
    }

    fn add_partitions_to_txn(&mut self) -> Walked {
        if self.version <= 3 {
            self.transactional_id()?;
            self.skip(8 + 2)?;
            return self.stored_topics();
        }
        // As brokers ask each other.
        self.inseparable(1 + 8 + 2 + 1 + 1, |walk| {
            walk.transactional_id()?;
            walk.skip(8 + 2 + 1)?;
            walk.stored_topics()?;
            walk.skip_tags()
        })
    }

    fn stored_topics(&mut self) -> Walked {
        self.items(2, |walk| {
            let name = walk.text()?;
            walk.tell(Name::StoredTopic(name))?;
            walk.items(4, |walk| walk.skip(4))?;
            walk.skip_tags()
        })
    }

    fn find_coordinator(&mut self) -> Walked {
        if self.version >= 4 {
            let kind = self.cursor.i8()?;
            return self.items(1, |walk| {
                let name = walk.text()?;
                walk.coordinated(kind, name)
            });
        }
        let name = self.text()?;
        let kind = match self.version {
            0 => OF_GROUP,
            _ => self.cursor.i8()?,
        };
        self.coordinated(kind, name)
    }

    fn coordinated(&mut self, kind: i8, name: &'f str) -> Walked {
        self.tell(match kind {
            OF_GROUP => Name::Group(name),
            OF_TRANSACTION => Name::TransactionalId(name),
            // Partitions of share groups, which are between brokers, and what there may be one day.
            _ => Name::Cluster,
        })
    }

    /// Topics that an expression takes could be any.
    fn consumer_group_heartbeat(&mut self) -> Walked {
        self.group()?;
        self.skip_text()?;
        self.skip(4)?;
        self.skip_text()?;
        self.skip_text()?;
        self.skip(4)?;
        self.inseparable(1, Self::topic)?;
        if self.version >= 1
            && self
                .cursor
                .string(self.flexible)?
                .is_some_and(|text| !text.is_empty())
        {
            self.tell(Name::Cluster)?;
        }
        Ok(())
    }

    fn offset_commit(&mut self) -> Walked {
        self.group()?;
        self.skip(4)?;
        self.skip_text()?;
        if self.version >= 7 {
            self.skip_text()?;
        }
        if self.version <= 4 {
            self.skip(8)?;
        }
        self.topics(2, |walk| walk.committed_offset(6))
    }

    fn txn_offset_commit(&mut self) -> Walked {
        self.transactional_id()?;
        self.group()?;
        self.skip(8 + 2)?;
        if self.version >= 3 {
            self.skip(4)?;
            self.skip_text()?;
            self.skip_text()?;
        }
        self.topics(2, |walk| walk.committed_offset(2))
    }

    fn committed_offset(&mut self, epoch_from: i16) -> Walked {
        self.skip(4 + 8)?;
        self.skip_from(epoch_from, 4)?;
        self.skip_text()?;
        self.skip_tags()
    }

    /// No list of topics stands for all of the group. Of one group alone its topics are the list.
    fn offset_fetch(&mut self) -> Walked {
        if self.version <= 7 {
            self.group()?;
            return self.topics(2, |walk| walk.number());
        }
        let is_alone = self.cursor.clone().array_len(self.flexible, 3)? == Some(1);
        match is_alone {
            true => self.inseparable(3, Self::offsets_of_group),
            false => self.items(3, Self::offsets_of_group),
        }
    }

    fn offsets_of_group(&mut self) -> Walked {
        self.group()?;
        if self.version >= 9 {
            self.skip_text()?;
            self.skip(4)?;
        }
        self.topics(2, |walk| walk.number())?;
        self.skip_tags()
    }

    /// Topics, and of each of them partitions.
    fn topics(&mut self, bytes_min: usize, partition: impl Fn(&mut Self) -> Walked) -> Walked {
        self.items(bytes_min, |walk| {
            walk.topic()?;
            walk.items(4, &partition)?;
            walk.skip_tags()
        })
    }

    /// A partition of which nothing but its number is said.
    fn number(&mut self) -> Walked {
        self.skip(4)
    }

    /// A list, unless it stands in one.
    fn items(&mut self, bytes_min: usize, mut item: impl FnMut(&mut Self) -> Walked) -> Walked {
        if self.item.is_some() {
            return self.inseparable(bytes_min, item);
        }
        let mut position = 0_usize;
        self.inseparable(bytes_min, |walk| {
            walk.item = Some(position);
            position = position.saturating_add(1);
            item(walk)
        })?;
        self.item = None;
        Ok(())
    }

    /// Items of which one is nothing without the others.
    fn inseparable(&mut self, bytes_min: usize, mut item: impl FnMut(&mut Self) -> Walked) -> Walked {
        let count = self.cursor.array_len(self.flexible, bytes_min)?.unwrap_or(0);
        (0..count).try_for_each(|_| item(self))
    }

    fn topic(&mut self) -> Walked {
        let name = self.text()?;
        self.tell(Name::Topic(name))
    }

    fn group(&mut self) -> Walked {
        let name = self.text()?;
        self.tell(Name::Group(name))
    }

    fn transactional_id(&mut self) -> Walked {
        let name = self.text()?;
        self.tell(Name::TransactionalId(name))
    }

    fn tell(&mut self, name: Name<'f>) -> Walked {
        match (self.each)(name, self.item) {
            true => Ok(()),
            false => Err(Stop::Enough),
        }
    }

    fn text(&mut self) -> Result<&'f str, Stop> {
        Ok(self.cursor.string_non_null(self.flexible)?)
    }

    fn skip_text(&mut self) -> Walked {
        self.cursor.nullable_text_span(self.flexible)?;
        Ok(())
    }

    fn skip(&mut self, count: usize) -> Walked {
        Ok(self.cursor.skip(count)?)
    }

    fn skip_from(&mut self, version: i16, count: usize) -> Walked {
        match self.version >= version {
            true => self.skip(count),
            false => Ok(()),
        }
    }

    fn skip_tags(&mut self) -> Walked {
        Ok(self.cursor.skip_tagged_fields_if(self.flexible)?)
    }
}

/// Of a resource with configuration.
const TOPIC: i8 = 2;
const GROUP: i8 = 32;
/// Of what has a coordinator.
const OF_GROUP: i8 = 0;
const OF_TRANSACTION: i8 = 1;

#[cfg(test)]
mod tests;
