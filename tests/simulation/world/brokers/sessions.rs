//! The fetch sessions of a node (KIP-227): what a client has said once it need not say again, and is told again only
//! when it has changed.
//!
//! - SESSIONS-1: a session is known by its id to the node that opened it, until that restarts; each request in it has
//!   the epoch after that of the one before.

use std::collections::BTreeMap;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::fetch_request::FetchTopic;
use kafka_protocol::messages::{FetchRequest, TopicName};

/// A partition as a client wants it.
#[derive(Clone)]
pub(super) struct Wanted {
    pub(super) topic: TopicName,
    pub(super) partition: i32,
    pub(super) offset: i64,
    pub(super) max_bytes: usize,
    /// The high watermark that the client was told last.
    pub(super) told_high_watermark: Option<i64>,
}

/// What a request is about.
pub(super) enum Asked {
    /// All of it is said, and answered; a session is opened with it if `opens`.
    Full { partitions: Vec<Wanted>, opens: bool },
    /// What the session of this number knows.
    Session(i32),
}

pub(super) struct Sessions {
    sessions: BTreeMap<i32, Session>,
    last_id: i32,
}

struct Session {
    next_epoch: i32,
    partitions: Vec<Wanted>,
}

const INITIAL_EPOCH: i32 = 0;
/// Of a request that ends a session, or has nothing to do with any.
const FINAL_EPOCH: i32 = -1;

impl Sessions {
    /// Of a node. A real one draws its ids: what it or another node gave once nobody else is given.
    pub(super) fn new(node: i32) -> Self {
        Self {
            sessions: BTreeMap::new(),
            last_id: node * 1_000_000,
        }
    }

    /// Takes in what a request says.
    pub(super) fn asked(&mut self, request: &FetchRequest) -> Result<Asked, ResponseError> {
        let epoch = request.session_epoch;
        if epoch == INITIAL_EPOCH || epoch == FINAL_EPOCH {
            self.sessions.remove(&request.session_id);
            let partitions: Vec<Wanted> = wanted(&request.topics).collect();
            let opens = epoch == INITIAL_EPOCH && !partitions.is_empty();
            return Ok(Asked::Full { partitions, opens });
        }
        let session = self
            .sessions
            .get_mut(&request.session_id)
            .ok_or(ResponseError::FetchSessionIdNotFound)?;
        if session.next_epoch != epoch {
            return Err(ResponseError::InvalidFetchSessionEpoch);
        }
        session.next_epoch = next_epoch(epoch);
        for wanted in wanted(&request.topics) {
            let known =
                |known: &&mut Wanted| known.topic == wanted.topic && known.partition == wanted.partition;
            match session.partitions.iter_mut().find(known) {
                Some(known) => {
                    known.offset = wanted.offset;
                    known.max_bytes = wanted.max_bytes;
                }
                None => session.partitions.push(wanted),
            }
        }
        for forgotten in &request.forgotten_topics_data {
            session.partitions.retain(|known| {
                known.topic != forgotten.topic || !forgotten.partitions.contains(&known.partition)
            });
        }
        if session.partitions.is_empty() {
            self.sessions.remove(&request.session_id);
            return Ok(Asked::Full {
                partitions: Vec::new(),
                opens: false,
            });
        }
        Ok(Asked::Session(request.session_id))
    }

    /// A new session about these partitions, as they were told.
    pub(super) fn open(&mut self, partitions: Vec<Wanted>) -> i32 {
        self.last_id += 1;
        let session = Session {
            next_epoch: next_epoch(INITIAL_EPOCH),
            partitions,
        };
        self.sessions.insert(self.last_id, session);
        self.last_id
    }

    pub(super) fn partitions(&self, id: i32) -> Option<&Vec<Wanted>> {
        self.sessions.get(&id).map(|session| &session.partitions)
    }

    pub(super) fn partitions_mut(&mut self, id: i32) -> Option<&mut Vec<Wanted>> {
        self.sessions.get_mut(&id).map(|session| &mut session.partitions)
    }

    /// As when the cache of sessions is full, or the node has restarted.
    pub(super) fn evict_all(&mut self) {
        self.sessions.clear();
    }
}

fn wanted(topics: &[FetchTopic]) -> impl Iterator<Item = Wanted> {
    topics.iter().flat_map(|topic| {
        topic.partitions.iter().map(|partition| Wanted {
            topic: topic.topic.clone(),
            partition: partition.partition,
            offset: partition.fetch_offset,
            max_bytes: usize::try_from(partition.partition_max_bytes).unwrap_or(0),
            told_high_watermark: None,
        })
    })
}

/// Epochs of sessions begin with 1 again behind the greatest one.
fn next_epoch(epoch: i32) -> i32 {
    epoch.checked_add(1).unwrap_or(1)
}
