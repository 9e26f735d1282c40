//! What a session learns of brokers from the answers that pass through it, and waits for others to know.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::place::Whereabouts;
use super::run::malformed;
use super::{Session, Wait};
use crate::metrics::CloseReason;
use crate::pipeline::Pipeline;
use crate::pipeline::hidden::NamedBrokers;
use crate::protocol::api_key::METADATA;

/// A response told addresses, and is held until every executor knows them (ADDRESS-2).
pub(super) struct Learning {
    until: Instant,
    /// Its news: nodes, and what had been told of them before.
    tellings_before: HashMap<i32, u64>,
}

impl Session {
    /// Whether the response tells addresses that are not known to every executor yet: what is to be waited for.
    pub(super) fn learn(
        &mut self,
        pipeline: &mut Pipeline,
        now: Instant,
        api_key: i16,
        version: i16,
        frame: &[u8],
    ) -> Result<Option<Wait>, CloseReason> {
        let cluster = pipeline
            .clusters
            .get_mut(self.listener.cluster)
            .ok_or(CloseReason::Internal)?;
        let book = &cluster.addresses;
        let mut named = NamedBrokers::default();
        let mut news = book
            .news(&self.listener, api_key, version, frame, &mut named)
            .map_err(|error| {
                self.fault = Some(error);
                malformed(error)
            })?;
        if api_key == METADATA {
            cluster.hidden.note(&self.listener, named);
        }
        if let Some(learning) = &self.learning {
            // What has been told since they were handed over need not be what this response says: brokers disagree
            // while one moves, and a response may contradict itself. Its nodes are served all the same.
            news.retain(|learned| {
                let before = learning.tellings_before.get(&learned.node_id);
                before == Some(&book.tellings(learned.node_id))
            });
        }
        if news.is_empty() {
            self.learning = None;
            return Ok(None);
        }
        if let Some(learning) = &self.learning {
            if now >= learning.until {
                return Err(CloseReason::Internal);
            }
            return Ok(Some(Wait::Addresses(Vec::new(), learning.until)));
        }
        let until = now.checked_add(LEARN_WAIT).ok_or(CloseReason::Internal)?;
        let nodes = news.iter().map(|learned| learned.node_id);
        self.learning = Some(Learning {
            until,
            tellings_before: nodes.map(|node| (node, book.tellings(node))).collect(),
        });
        Ok(Some(Wait::Addresses(news, until)))
    }

    /// Takes note of what an answer says of brokers: whether the client is logged in, and whether this is the one that
    /// it came for.
    pub(super) fn take_note(
        &mut self,
        api_key: i16,
        version: i16,
        frame: &[u8],
    ) -> Result<Whereabouts, CloseReason> {
        if self.is_logged_in() && !self.place.is_sought() {
            return Ok(Whereabouts::Here);
        }
        let told = self
            .place
            .take_answer(api_key, version, frame)
            .map_err(malformed)?;
        if told.any {
            self.login.named_brokers();
        }
        Ok(told.whereabouts)
    }
}

/// The control thread answers within a tick; seconds are a hang.
const LEARN_WAIT: Duration = Duration::from_secs(2);
