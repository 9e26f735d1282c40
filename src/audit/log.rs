//! The audit log: one line for each record or partition that was refused, and not one for each time that a client asks
//! again; the same of logins that were refused. Who was let in is written each time.
//!
//! In a second that has too many, the rest is left out, and how much that was is said: the metrics count every refusal.
//! What shows that stored records were tampered with has a second of its own, in each cluster: whoever can reach a port
//! can be refused as often as he likes, and pushes no such line out.
//!
//! With `[audit]` lines are JSON and go to its thread ([`super::writer`]); without it, those on records go to the log
//! under the target `sealwire::audit`. They hold names, numbers and a reason class, never record data.
//!
//! - AUDIT-6: where the thread has no room, `on_full = "drop"` counts what it drops; otherwise lists wait here, one of
//!   each executor, and no list after it is taken from that executor.
//! - AUDIT-7: when the program ends, what waits is written for [`END_WAIT`] at most; what is not is counted, and the
//!   log says how much it is.

mod line;

use std::collections::{HashMap, VecDeque};
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::time::timeout_at;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime as _, SystemTime};

use self::line::Line;
use super::event::{AuditEvent, EventClass, KekName, ShownClient};
use super::queue::AuditList;
use super::state::{AuditState, Obstacle};
use super::writer::AuditWriter;
use crate::config::AuditConfig;
use crate::foreign::Foreign;
use crate::keys::ToldKeyEvent;
use crate::repeats::{News, Repeats};

/// Writes what was not written lately.
#[derive(Default)]
pub(crate) struct AuditLog {
    /// By cluster or KMS, and class.
    said: HashMap<(Arc<str>, EventClass), Repeats<Line>>,
    /// Of what executors had no room for; the next line says it.
    left_out: u64,
    writer: Option<AuditWriter>,
    /// What executors have sent and is not written yet, each with its turn (AUDIT-6).
    waiting: VecDeque<(VecDeque<AuditEvent>, Option<Arc<()>>)>,
}

/// A line as `[audit]` has it.
#[derive(Serialize)]
struct Written<'a> {
    time: String,
    #[serde(flatten)]
    event: &'a AuditEvent,
}

impl AuditLog {
    /// Begins with the audit log as the configuration has it; starts its thread.
    ///
    /// # Errors
    /// The file cannot be opened.
    pub(crate) fn open(config: Option<&AuditConfig>) -> io::Result<Self> {
        let start = |config: &AuditConfig| {
            let state = Arc::new(AuditState::new(config.on_full));
            AuditWriter::start(&config.to, state)
        };
        Ok(Self {
            writer: config.map(start).transpose()?,
            ..Self::default()
        })
    }

    /// Whether it can go on, to be shared.
    pub(crate) fn state(&self) -> Arc<AuditState> {
        let writer = self.writer.as_ref();
        writer.map(AuditWriter::state).cloned().unwrap_or_default()
    }

    /// Takes an executor's list in, and holds its `turn` until it is done with.
    pub(crate) fn take(&mut self, list: AuditList, turn: Option<Arc<()>>, now: Instant) {
        self.left_out = self.left_out.saturating_add(list.left_out);
        if let Some(writer) = &self.writer {
            writer.state().count_dropped(list.left_out);
        }
        self.waiting.push_back((list.events.into(), turn));
        self.advance(now);
    }

    /// Rules of a cluster are in force.
    pub(crate) fn tell_rules(&mut self, cluster: &str, rules: usize, group: Option<&str>, now: Instant) {
        let event = AuditEvent::RulesLoaded {
            cluster: cluster.into(),
            rules,
            group: group.map(|group| Foreign::new(group).to_string()),
        };
        let events = vec![event];
        self.take(AuditList { events, left_out: 0 }, None, now);
    }

    /// Something happened to a key or a KMS; without `[audit]` the key service has said in the log what it has to.
    pub(crate) fn tell_key(&mut self, told: ToldKeyEvent, now: Instant) {
        if self.writer.is_some() {
            let list = AuditList {
                events: vec![told.event.into()],
                left_out: told.left_out,
            };
            self.take(list, None, now);
        }
    }

    /// The same of the keyring and its keys, of which the log has what it has to.
    pub(crate) fn tell_keyring(&mut self, list: AuditList, now: Instant) {
        if self.writer.is_some() {
            self.take(list, None, now);
        }
    }

    /// Whether lists wait.
    pub(crate) fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Waits until [`Self::advance`] can do something.
    pub(crate) async fn room(&self) {
        if let Some(writer) = &self.writer {
            writer.room(LINES_OF_EVENT).await;
        }
    }

    /// Writes what waits, [`EVENTS_OF_TURN`] of it at most, and no more than there is room for (AUDIT-6).
    pub(crate) fn advance(&mut self, now: Instant) {
        let mut left = EVENTS_OF_TURN;
        while let Some((mut events, turn)) = self.waiting.pop_front() {
            while left > 0
                && self.may_write()
                && let Some(event) = events.pop_front()
            {
                self.write(&event, now);
                left = left.saturating_sub(1);
            }
            if !events.is_empty() {
                self.waiting.push_front((events, turn));
                break;
            }
        }
        if let Some(writer) = &self.writer {
            let is_full = self.is_waiting() && !writer.has_room(LINES_OF_EVENT);
            writer.state().set(Obstacle::Full, is_full);
        }
    }

    /// Whether an event may be taken out of its list.
    fn may_write(&self) -> bool {
        let Some(writer) = &self.writer else { return true };
        writer.state().drops() || writer.has_room(LINES_OF_EVENT)
    }

    /// Ends the thread; until then what waits is written, or counted as lost (AUDIT-7).
    pub(crate) async fn end(mut self, now: Instant) {
        let deadline = tokio::time::Instant::now() + END_WAIT;
        let written = async {
            while self.is_waiting() {
                if !self.may_write() {
                    self.room().await;
                }
                self.advance(now);
            }
        };
        // Whether all could be handed over or not: it is over.
        let _ = timeout_at(deadline, written).await;
        if let Some(writer) = self.writer {
            let unsaid = self.waiting.iter().map(|(events, _)| events.len() as u64).sum();
            writer.state().count_lost(unsaid);
            writer.end(deadline).await;
        }
    }

    /// Writes the event unless the same was written a moment ago; says whether it was.
    pub(crate) fn write(&mut self, event: &AuditEvent, now: Instant) -> bool {
        let mut left_out = 0;
        if let Some((cluster, line)) = Line::of(event) {
            let place = (Arc::clone(cluster), event.class());
            let said = self.said.entry(place).or_insert_with(Repeats::new);
            let news = match line {
                Some(line) => said.news(line, now),
                None => said.another(now),
            };
            let News::Say { left_out: unsaid } = news else {
                return false;
            };
            left_out = unsaid;
        }
        let left_out = left_out.saturating_add(std::mem::take(&mut self.left_out));
        match &self.writer {
            Some(writer) => {
                if left_out > 0 {
                    write_json(writer, &AuditEvent::LeftOut { count: left_out });
                }
                write_json(writer, event);
            }
            None => log(event, left_out),
        }
        true
    }
}

/// Hands a line over; where there is no room, it is counted as dropped.
fn write_json(writer: &AuditWriter, event: &AuditEvent) {
    let mut time = String::new();
    // A clock before 1970 leaves it empty.
    let _ = SystemTime.format_time(&mut Writer::new(&mut time));
    if let Ok(mut line) = serde_json::to_string(&Written { time, event }) {
        line.push('\n');
        writer.write(line);
    }
}

/// Without `[audit]`: what was refused, and nothing else.
fn log(event: &AuditEvent, left_out: u64) {
    if left_out > 0 {
        tracing::warn!(target: "sealwire::audit", left_out, "refusals were not written: too many in a second");
    }
    match event {
        AuditEvent::Refused(refused) | AuditEvent::IllegalNames { first: refused, .. } => {
            let shown = ShownClient::of(&refused.client);
            tracing::warn!(
                target: "sealwire::audit",
                cluster = &*refused.cluster,
                topic = &*Foreign::new(&*refused.topic).to_string(),
                partition = refused.partition,
                offset = refused.offset,
                operation = refused.operation.as_str(),
                reason = refused.reason.as_str(),
                kek = refused.kek.as_ref().map(KekName::to_string).as_deref(),
                client = shown.client.as_deref(),
                client_id = shown.client_id,
                principal = shown.principal.as_deref(),
                partitions = event.partitions(),
                "refused"
            );
        }
        AuditEvent::RefusedRequest(refused) => {
            let shown = ShownClient::of(&refused.client);
            tracing::warn!(
                target: "sealwire::audit",
                cluster = &*refused.cluster,
                api = refused.api,
                about = refused.reason.as_str(),
                name = refused.name.as_ref().map(|name| Foreign::new(&**name).to_string()).as_deref(),
                client = shown.client.as_deref(),
                client_id = shown.client_id,
                principal = shown.principal.as_deref(),
                "refused a request"
            );
        }
        _ => {}
    }
}

/// Itself, and how many before it were left out.
const LINES_OF_EVENT: usize = 2;
/// How long the end of the program waits for a disk.
pub(super) const END_WAIT: Duration = Duration::from_secs(2);
/// Some 5 us each: others on the control thread have their turn.
const EVENTS_OF_TURN: usize = 128;

#[cfg(test)]
mod tests;
