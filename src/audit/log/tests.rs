//! What is written, left out, held and lost, by a log that has a file and by one that has none.

mod repeats;

use super::*;
use crate::audit::writer::QUEUE_LINES;
use crate::audit::{AUDIT_EVENTS_MAX, AuditQueue, Login, Operation, Reason, RefusedRecords};
use crate::config::{AuditTarget, OnFull};
use crate::envelope::OpenError;
use crate::identity::Client;
use crate::metrics::RefusalReason;
use crate::repeats::LINES_MAX;

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
