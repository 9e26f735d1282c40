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

use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::time::timeout_at;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime as _, SystemTime};

use super::event::{AuditEvent, AuditedKek, EventClass, KekName, Operation, Reason, ShownClient};
use super::queue::AuditList;
use super::state::{AuditState, Obstacle};
use super::writer::AuditWriter;
use crate::broker_login::AccountName;
use crate::config::AuditConfig;
use crate::foreign::Foreign;
use crate::identity::Principal;
use crate::keys::ToldKeyEvent;
use crate::metrics::{BrokerLoginFault, RefusalReason};
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

/// What makes two lines the same: the client that met it first is named, and others in a later minute. Names that no
/// topic can have are all the same. Whom a rule does not name, or who may not change the cluster, has lines of his own.
#[derive(PartialEq, Eq, Hash)]
enum Line {
    IllegalNames(Operation),
    Records {
        topic: Arc<str>,
        partition: i32,
        offset: i64,
        operation: Operation,
        reason: &'static str,
        principal: Option<Principal>,
    },
    Request {
        api: &'static str,
        reason: &'static str,
        name: Option<Arc<str>>,
        principal: Option<Principal>,
    },
    Login(Option<IpAddr>, &'static str, Option<Principal>),
    /// Whichever connection of the client's it was for.
    BrokerLogin {
        broker: Option<Arc<str>>,
        reason: BrokerLoginFault,
        account: Option<AccountName>,
        principal: Option<Principal>,
    },
    /// Whoever needed it.
    UnwrappedKey(AuditedKek),
    RefusedKey(AuditedKek, &'static str),
}

impl Line {
    /// In which cluster or KMS, and what; no place of what is written each time, no line of what is never the same.
    fn of(event: &AuditEvent) -> Option<(&Arc<str>, Option<Self>)> {
        match event {
            AuditEvent::IllegalNames { first, .. } => {
                Some((&first.cluster, Some(Self::IllegalNames(first.operation))))
            }
            AuditEvent::Refused(refused) => {
                let is_about_client = refused.reason == Reason::Counted(RefusalReason::NotNamed);
                let principal = refused.client.principal.as_ref();
                let line = Self::Records {
                    topic: Arc::clone(&refused.topic),
                    partition: refused.partition,
                    offset: refused.offset,
                    operation: refused.operation,
                    reason: refused.reason.as_str(),
                    principal: principal.filter(|_| is_about_client).cloned(),
                };
                Some((&refused.cluster, Some(line)))
            }
            AuditEvent::RefusedRequest(refused) => {
                let line = Self::Request {
                    api: refused.api,
                    reason: refused.reason.as_str(),
                    name: refused.name.clone(),
                    principal: refused.client.principal.clone(),
                };
                Some((&refused.cluster, Some(line)))
            }
            AuditEvent::LoginRefused {
                login,
                reason,
                claimed,
            } => {
                let address = login.client.address.map(|address| address.ip());
                let line = Self::Login(address, reason, claimed.clone());
                Some((&login.cluster, Some(line)))
            }
            AuditEvent::BrokerLoginRefused { login, reason } => {
                let line = Self::BrokerLogin {
                    broker: login.broker.clone(),
                    reason: *reason,
                    account: login.account.clone(),
                    principal: login.client.principal.clone(),
                };
                Some((&login.cluster, Some(line)))
            }
            AuditEvent::LoginAccepted(_)
            | AuditEvent::BrokerLoginAccepted(_)
            | AuditEvent::RulesLoaded { .. }
            | AuditEvent::LeftOut { .. } => None,
            AuditEvent::KeyUnwrapped(key) => Some((&key.kms, Some(Self::UnwrappedKey(key.clone())))),
            AuditEvent::KeyRefused { key, reason } => {
                Some((&key.kms, Some(Self::RefusedKey(key.clone(), reason))))
            }
            AuditEvent::KeyMade(key)
            | AuditEvent::KeyRotated { key, .. }
            | AuditEvent::KeyRevoked { key, .. }
            | AuditEvent::KeyLapsed(key)
            | AuditEvent::KeyWrong { key, .. } => Some((&key.kms, None)),
            AuditEvent::KmsLost { kms, .. } | AuditEvent::KmsFound { kms, .. } => Some((kms, None)),
        }
    }
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
mod tests {
    use super::*;
    use crate::audit::writer::QUEUE_LINES;
    use crate::audit::{AUDIT_EVENTS_MAX, AuditQueue, BrokerLogin, Login, RefusedRecords};
    use crate::config::{AuditTarget, OnFull};
    use crate::envelope::OpenError;
    use crate::identity::Client;
    use crate::metrics::{BrokerLoginKind, RefusalReason};
    use crate::repeats::{KEPT, LINES_MAX};

    const TAMPERED: Reason = Reason::Open(OpenError::Tag);
    const NO_RULE: Reason = Reason::Counted(RefusalReason::NoRule);

    fn event(operation: Operation, reason: Reason, change: impl FnOnce(&mut RefusedRecords)) -> AuditEvent {
        let mut refused = RefusedRecords {
            cluster: "main".into(),
            client: Client::default(),
            operation,
            topic: "payments".into(),
            partition: 0,
            offset: -1,
            reason,
            kek: None,
        };
        change(&mut refused);
        let mut queue = AuditQueue::default();
        queue.push(refused);
        queue.take().events.remove(0)
    }

    #[test]
    fn the_same_refusal_is_written_once_a_minute() {
        let mut log = AuditLog::default();
        let now = Instant::now();
        let event = |offset| event(Operation::Fetch, TAMPERED, |refused| refused.offset = offset);
        assert!(log.write(&event(1), now));
        assert!(!log.write(&event(1), now + Duration::from_secs(59)));
        assert!(log.write(&event(2), now));
        assert!(log.write(&event(1), now + KEPT));
    }

    #[test]
    fn what_clients_ask_in_vain_pushes_out_nothing_that_was_tampered_with() {
        let mut log = AuditLog::default();
        let now = Instant::now();
        let said = |log: &mut AuditLog, cluster: &str, operation, reason| {
            let said = |partition| {
                let event = event(operation, reason, |refused| {
                    refused.cluster = cluster.into();
                    refused.partition = partition;
                });
                log.write(&event, now)
            };
            (0..1000).map(said).filter(|said| *said).count()
        };
        let rejected = Reason::Counted(RefusalReason::Rejected);
        assert_eq!(said(&mut log, "main", Operation::Produce, NO_RULE), LINES_MAX);
        assert_eq!(said(&mut log, "main", Operation::Fetch, rejected), 0);
        assert_eq!(said(&mut log, "main", Operation::Fetch, TAMPERED), LINES_MAX);
        assert_eq!(said(&mut log, "other", Operation::Fetch, TAMPERED), LINES_MAX);
    }

    /// AUDIT-1: what an executor keeps is more than a second has room for; how much of it was left out is said.
    #[test]
    fn the_next_line_says_how_many_of_a_full_queue_were_left_out() {
        let mut queue = AuditQueue::default();
        for partition in 0..2 * AUDIT_EVENTS_MAX as i32 {
            let one = event(Operation::Produce, NO_RULE, |refused| {
                refused.partition = partition
            });
            queue.push_event(one);
        }
        let now = Instant::now();
        let mut log = AuditLog::default();
        let first = lines(|| {
            log.take(queue.take(), None, now);
            while log.is_waiting() {
                log.advance(now);
            }
        });
        let at_once = format!("left_out={AUDIT_EVENTS_MAX}");
        assert!(
            first.contains(&at_once),
            "what found no room in the queue: {first}"
        );
        assert_eq!(first.lines().count(), LINES_MAX + 1, "{first}");
        let later = event(Operation::Produce, NO_RULE, |refused| refused.partition = -1);
        let next = lines(|| {
            log.write(&later, now + Duration::from_secs(1));
        });
        let left_out = format!("left_out={}", AUDIT_EVENTS_MAX - LINES_MAX);
        assert!(next.contains(&left_out) && next.lines().count() == 2, "{next}");
    }

    /// AUDIT-7
    #[tokio::test]
    async fn what_waits_at_the_end_is_written_or_counted() {
        const EVENTS: usize = 2 * QUEUE_LINES;
        let folder = tempfile::tempdir().expect("a folder");
        for (name, is_freed) in [("freed", true), ("full", false)] {
            let path = folder.path().join(name);
            std::os::unix::fs::symlink("/dev/full", &path).expect("a link");
            let config = AuditConfig {
                to: AuditTarget::File(path.clone()),
                on_full: OnFull::Hold,
            };
            let mut log = AuditLog::open(Some(&config)).expect("it is opened");
            let login = AuditEvent::LoginAccepted(Login {
                cluster: "main".into(),
                client: Client::default(),
                mechanism: None,
                again: false,
            });
            let events = vec![login; EVENTS];
            let now = Instant::now();
            log.take(AuditList { events, left_out: 0 }, None, now);
            while log.may_write() {
                log.advance(now);
            }
            assert!(log.is_waiting(), "there is no room for all");
            let state = log.state();
            let freeing = async {
                if is_freed {
                    std::fs::remove_file(&path).expect("it is removed");
                }
            };
            tokio::join!(log.end(now), freeing);
            let lost = if is_freed { 0 } else { EVENTS };
            assert_eq!((state.lost(), state.dropped()), (lost as u64, 0));
            if is_freed {
                let text = std::fs::read_to_string(&path).expect("it is read");
                assert_eq!(text.lines().count(), EVENTS);
            }
        }
    }

    /// What `write` logs.
    fn lines(write: impl FnOnce()) -> String {
        let (sender, written) = std::sync::mpsc::channel();
        let subscriber = tracing_subscriber::fmt()
            .with_ansi(false)
            .with_writer(move || Lines(sender.clone()))
            .finish();
        tracing::subscriber::with_default(subscriber, write);
        let written: Vec<u8> = written.try_iter().flatten().collect();
        String::from_utf8(written).expect("text")
    }

    struct Lines(std::sync::mpsc::Sender<Vec<u8>>);

    impl std::io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            // Whoever reads waits for all of it.
            let _ = self.0.send(bytes.to_vec());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_was_done_is_part_of_what_was_refused_and_who_did_it_is_not() {
        let mut log = AuditLog::default();
        let now = Instant::now();
        let event = |operation, id: &[u8]| event(operation, NO_RULE, |refused| refused.client.id = id.into());
        assert!(log.write(&event(Operation::Produce, b"one"), now));
        assert!(log.write(&event(Operation::Fetch, b"one"), now));
        assert!(!log.write(&event(Operation::Fetch, b"other"), now));
    }

    #[test]
    fn names_that_no_topic_can_have_are_one_line() {
        let mut log = AuditLog::default();
        let now = Instant::now();
        let event = |topic: &str, partition, operation| {
            event(operation, Reason::IllegalName, |refused| {
                refused.topic = topic.into();
                refused.partition = partition;
            })
        };
        assert!(log.write(&event("a b", 0, Operation::Produce), now));
        assert!(!log.write(&event("c d", 7, Operation::Produce), now));
        assert!(log.write(&event("c d", 7, Operation::Fetch), now));
    }

    fn open(on_full: OnFull) -> (AuditLog, tempfile::TempDir) {
        let folder = tempfile::tempdir().expect("a folder");
        std::os::unix::fs::symlink("/dev/full", folder.path().join("audit")).expect("a link");
        let to = AuditTarget::File(folder.path().join("audit"));
        let log = AuditLog::open(Some(&AuditConfig { to, on_full })).expect("it is opened");
        (log, folder)
    }

    fn login(port: u16) -> Login {
        Login {
            cluster: "main".into(),
            client: Client::at(([127, 0, 0, 1], port).into()),
            mechanism: Some("PLAIN"),
            again: false,
        }
    }

    fn accepted(count: u16) -> AuditList {
        let events = (0..count).map(|port| AuditEvent::LoginAccepted(login(port)));
        AuditList {
            events: events.collect(),
            left_out: 0,
        }
    }

    /// AUDIT-6
    #[tokio::test]
    async fn lists_wait_for_room_with_their_turn_and_lose_nothing() {
        let (mut log, folder) = open(OnFull::Hold);
        let (now, turn) = (Instant::now(), Arc::new(()));
        log.take(accepted(1000), Some(Arc::clone(&turn)), now);
        let until = Instant::now() + Duration::from_secs(10);
        while (log.may_write() || !log.state().holds()) && Instant::now() < until {
            log.advance(now);
        }
        assert!(log.is_waiting() && log.state().holds());
        assert_eq!(Arc::strong_count(&turn), 2, "the executor sends nothing more");
        std::fs::remove_file(folder.path().join("audit")).expect("it is removed");
        while log.is_waiting() {
            log.room().await;
            log.advance(now);
        }
        assert_eq!(Arc::strong_count(&turn), 1);
        let state = log.state();
        log.end(now).await;
        assert!(!state.holds());
        assert_eq!((state.written(), state.dropped()), (1000, 0));
        let text = std::fs::read_to_string(folder.path().join("audit")).expect("it is read");
        let ports: Vec<String> = text
            .lines()
            .map(|line| {
                let line: serde_json::Value = serde_json::from_str(line).expect("JSON");
                line["client"].as_str().expect("text").to_owned()
            })
            .collect();
        let expected: Vec<String> = (0..1000).map(|port| format!("127.0.0.1:{port}")).collect();
        assert_eq!(ports, expected);
    }

    /// AUDIT-6
    #[tokio::test]
    async fn what_finds_no_room_is_dropped_and_counted_where_that_is_wanted() {
        let (mut log, _folder) = open(OnFull::Drop);
        let now = Instant::now();
        log.take(accepted(1000), None, now);
        while log.is_waiting() {
            log.advance(now);
        }
        let state = log.state();
        assert!(!state.holds());
        // One batch has left the queue.
        let dropped = state.dropped();
        assert!((1..=1000 - QUEUE_LINES as u64).contains(&dropped), "{dropped}");
    }

    /// Not for each connection that a client makes, and a fault hides no other.
    #[test]
    fn a_login_at_a_broker_is_refused_once_a_minute_and_accepted_each_time() {
        let mut log = AuditLog::default();
        let now = Instant::now();
        let at_broker = |port, user: Option<&str>| BrokerLogin {
            cluster: "main".into(),
            client: Client::at(([127, 0, 0, 1], port).into()),
            broker: Some("kafka:9092".into()),
            node: None,
            kind: BrokerLoginKind::PerPrincipal,
            account: user.map(|user| AccountName {
                mechanism: "PLAIN",
                user: Some(user.into()),
            }),
            again: false,
        };
        for (port, user, reason, is_written) in [
            (1, None, BrokerLoginFault::NoToken, true),
            (2, None, BrokerLoginFault::NoToken, false),
            (1, Some("team-a"), BrokerLoginFault::Refused, true),
            (1, Some("team-b"), BrokerLoginFault::Refused, true),
            (2, Some("team-a"), BrokerLoginFault::Refused, false),
        ] {
            let login = at_broker(port, user);
            let event = AuditEvent::BrokerLoginRefused { login, reason };
            assert_eq!(log.write(&event, now), is_written, "{event:?}");
        }
        for _ in 0..2 * LINES_MAX {
            let accepted = AuditEvent::BrokerLoginAccepted(at_broker(1, None));
            assert!(log.write(&accepted, now));
        }
    }

    #[test]
    fn a_login_is_refused_once_a_minute_for_each_address_user_and_reason_and_accepted_each_time() {
        let mut log = AuditLog::default();
        let now = Instant::now();
        let refused = |port, reason, claimed: Option<&str>| AuditEvent::LoginRefused {
            login: login(port),
            reason,
            claimed: claimed.and_then(Principal::named),
        };
        assert!(log.write(&refused(1, "unknown_user", None), now));
        assert!(!log.write(&refused(2, "unknown_user", None), now));
        for (user, is_written) in [("alice", true), ("bob", true), ("alice", false)] {
            let event = refused(2, "wrong_password", Some(user));
            assert_eq!(log.write(&event, now), is_written, "{user}");
        }
        for _ in 0..2 * LINES_MAX {
            assert!(log.write(&AuditEvent::LoginAccepted(login(1)), now));
        }
    }
}
