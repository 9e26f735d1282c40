//! What a session learns of brokers from the answers that pass through it, and waits for others to know.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::place::Whereabouts;
use super::run::malformed;
use super::{Session, Step, Wait};
use crate::metrics::CloseReason;
use crate::pipeline::Pipeline;
use crate::pipeline::hidden::NamedBrokers;
use crate::protocol::api_key::METADATA;

/// What comes of the addresses that the response in hand tells.
pub(super) enum Learning {
    /// It is held until every executor knows them (ADDRESS-2).
    Spreading {
        until: Instant,
        /// Its news: nodes, and what had been told of them before.
        tellings_before: HashMap<i32, u64>,
    },
    /// All are known.
    Done,
}

impl Session {
    /// Looks through a response for addresses that are not known to every executor yet; says what keeps it from being
    /// written anew. That is a step of its own.
    pub(super) fn learn(
        &mut self,
        pipeline: &mut Pipeline,
        now: Instant,
        api_key: i16,
        version: i16,
        frame: &[u8],
    ) -> Result<Option<Step>, CloseReason> {
        if let Some(Learning::Done) = self.learning {
            return Ok(None);
        }
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
        if let Some(Learning::Spreading { tellings_before, .. }) = &self.learning {
            // What has been told since they were handed over need not be what this response says: brokers disagree
            // while one moves, and a response may contradict itself. Its nodes are served all the same.
            news.retain(|learned| {
                let before = tellings_before.get(&learned.node_id);
                before == Some(&book.tellings(learned.node_id))
            });
        }
        if news.is_empty() {
            self.learning = Some(Learning::Done);
            return Ok(pipeline.work.is_spent().then_some(Step::Yield));
        }
        if let Some(Learning::Spreading { until, .. }) = self.learning {
            if now >= until {
                return Err(CloseReason::Internal);
            }
            return Ok(Some(Step::Blocked(Wait::Addresses(Vec::new(), until))));
        }
        let until = now.checked_add(LEARN_WAIT).ok_or(CloseReason::Internal)?;
        let nodes = news.iter().map(|learned| learned.node_id);
        self.learning = Some(Learning::Spreading {
            until,
            tellings_before: nodes.map(|node| (node, book.tellings(node))).collect(),
        });
        Ok(Some(Step::Blocked(Wait::Addresses(news, until))))
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
