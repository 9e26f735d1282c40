//! A whole executor: what its ticks do though nobody wakes it, how it ends, and what it does while the control thread
//! takes nothing.

mod bench;

use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use self::bench::{Bench, EVENTUALLY, LEAVE_GROUP, TICKS, until};
use crate::audit::AUDIT_EVENTS_MAX;
use crate::config::{HostPort, Limits};
use crate::executor::platform::Glommio;
use crate::executor::serve::serve;
use crate::ids::{ClusterId, Id as _};
use crate::keys::KeyRequest;
use crate::messages::{ControlRequest, ExecutorMessage, LearnedAddress};
use crate::metrics::{CloseReason, RefusalReason};

/// Every connection has one for as long as it lasts.
#[test]
fn what_serves_a_connection_is_small() {
    fn bytes_of_future<A, B, C, D, F>(_: fn(A, B, C, D) -> F) -> usize {
        size_of::<F>()
    }
    let bytes = bytes_of_future(serve::<Glommio>);
    assert!(bytes <= 5 * 1024 + 512, "{bytes}");
}

/// EXECUTOR-MAIN-4
#[test]
fn what_nobody_wakes_the_executor_for_is_done_with_a_tick() {
    let bench = Bench::start(Limits::default(), 64);
    bench.seats.refused.store(3, Ordering::Relaxed);
    until("the count of those whom the acceptor has refused", || {
        (bench.seats.refused.load(Ordering::Relaxed) == 0).then_some(())
    });
    let (reply, mut answer) = oneshot::channel();
    let lost = ExecutorMessage::Snapshot(reply);
    assert!(bench.messages.try_send_without_waking(lost).is_ok());
    let counters = until("an answer to what the wake-up was lost of", || {
        answer.try_recv().ok()
    });
    assert_eq!(counters.connections.accepted, 3);
    assert_eq!(counters.connections.closed_by(CloseReason::Limit), 3);
}

#[test]
fn a_deadline_is_kept_though_nothing_else_happens() {
    let seal_wait = Duration::from_millis(300);
    let limits = Limits {
        seal_wait,
        ..Limits::default()
    };
    let mut bench = Bench::start(limits, 64);
    let mut client = bench.served();
    let begun = Instant::now();
    client.produce("sealed", 1);
    let answer = client.receive();
    let took = begun.elapsed();
    assert!((seal_wait..EVENTUALLY).contains(&took), "{took:?}");
    let refused = [&b"sealed"[..], &[0, 0, 0, 1, 0, 0, 0, 0, 0, 19]].concat();
    assert!(answer.windows(refused.len()).any(|window| window == refused));
}

/// EXECUTOR-MAIN-2
#[test]
fn a_client_that_comes_next_is_connected_to_what_was_said_before() {
    let mut bench = Bench::start(Limits::default(), 64);
    let node_1 = HostPort {
        host: "node-1.test".to_owned(),
        port: 9092,
    };
    let learned = LearnedAddress {
        node_id: 1,
        address: node_1.clone(),
    };
    // The wake-up of what is said is lost, and the client's is not.
    let said = ExecutorMessage::Learned {
        cluster: ClusterId::from_number(0),
        learned: [learned].into(),
    };
    assert!(bench.messages.try_send_without_waking(said).is_ok());
    let _client = bench.connect_to_node(1);
    let first_asked = until("a question for a name", || match bench.control.try_recv()? {
        ControlRequest::Resolve { host, .. } => Some(host),
        _ => None,
    });
    assert_eq!(first_asked, node_1);
}

/// CONNECTION-1
#[test]
fn when_one_side_has_gone_so_has_the_other() {
    let mut bench = Bench::start(Limits::default(), 64);
    let (gone, mut left) = (bench.served(), bench.served());
    until("two connections", || (bench.broker.open() == 2).then_some(()));
    drop(gone);
    until("the end of one", || (bench.broker.open() == 1).then_some(()));
    left.send(12, 0, &[7; 20]);
    left.receive();
    left.send(LEAVE_GROUP.into(), 0, &[0; 8]);
    assert!(left.is_closed());
    until("the end of the other", || {
        (bench.broker.open() == 0).then_some(())
    });
    assert_eq!(bench.counters().connections.open(), 0);
}

/// ERRANDS-1
#[test]
fn what_found_a_channel_full_is_sent_with_a_tick_once_there_is_room() {
    let limits = Limits {
        seal_wait: 2 * EVENTUALLY,
        connect_timeout: 2 * EVENTUALLY,
        ..Limits::default()
    };
    let mut bench = Bench::start(limits, 1);
    let filled = bench.to_control.try_send(ControlRequest::Notices(Vec::new()));
    assert!(filled.is_ok());
    let mut client = bench.connect(0);
    client.produce("sealed", 1);
    thread::park_timeout(TICKS);
    let filler = bench.control.try_recv();
    assert!(matches!(filler, Some(ControlRequest::Notices(list)) if list.is_empty()));
    // Nobody wakes the executor for the room that there is now.
    let look_up = until("the question for the broker's name", || bench.control.try_recv());
    let full = KeyRequest::Seal {
        executor: FILLER,
        key: crate::keys::KeyId::first("filler"),
        used_up: None,
    };
    assert!(bench.to_keys.try_send(full).is_ok());
    bench.answer_name(look_up);
    until("a produce request that waits", || {
        (bench.counters().gauges.produce_parked == 1).then_some(())
    });
    thread::park_timeout(TICKS);
    let mut asked = || match bench.key_requests.try_recv() {
        Some(KeyRequest::Seal { executor, .. }) => Some(executor),
        _ => None,
    };
    assert_eq!(asked(), Some(FILLER));
    assert_eq!(until("the question for the key", asked), 0);
}

/// EXECUTOR-MAIN-3, SERVE-3
#[test]
fn an_executor_that_is_stopped_closes_every_connection_whatever_it_waits_for() {
    let mut bench = Bench::start(Limits::default(), 64);
    let mut served: Vec<_> = (0..3).map(|_| bench.served()).collect();
    let mut silent = bench.connect(0);
    let mut dialling = bench.connect(1);
    dialling.send(12, 0, &[7; 20]);
    until("the question for a name", || {
        let request = bench.control.try_recv()?;
        matches!(request, ControlRequest::Resolve { host, .. } if host.host == "nowhere.test").then_some(())
    });
    // It is counted as closed; its socket is not yet.
    let mut parting = bench.connect(0);
    parting.say(&[0xff; 64]);
    assert!(parting.is_closed());
    assert_eq!(bench.seats.taken.load(Ordering::Relaxed), 6);
    assert_eq!(bench.counters().connections.open(), 5);
    assert!(bench.alive.try_recv() == Err(oneshot::error::TryRecvError::Empty));

    bench.stop();
    assert_eq!(bench.seats.taken.load(Ordering::Relaxed), 0);
    assert!(bench.alive.try_recv() == Err(oneshot::error::TryRecvError::Closed));
    for client in served.iter_mut().chain([&mut silent, &mut dialling]) {
        assert!(client.is_closed());
    }
    until("the end of the broker's connections", || {
        (bench.broker.open() == 0).then_some(())
    });
}

/// SERVE-1, SERVE-3
#[test]
fn a_drain_ends_connections_in_every_stage() {
    let mut bench = Bench::start(Limits::default(), 64);
    let mut clients = vec![bench.served(), bench.connect(0), bench.connect(1)];
    clients[2].send(12, 0, &[7; 20]);
    until("the question for a name", || {
        let request = bench.control.try_recv()?;
        matches!(request, ControlRequest::Resolve { host, .. } if host.host == "nowhere.test").then_some(())
    });
    let (reply, mut drained) = oneshot::channel();
    bench.tell(ExecutorMessage::Drain(reply));
    assert!(clients.iter_mut().all(bench::Client::is_closed));
    drop(clients);
    until("the end of the drain", || drained.try_recv().ok());
    let connections = bench.counters().connections;
    assert_eq!(
        (connections.accepted, connections.closed_by(CloseReason::Drain)),
        (3, 3)
    );
    assert_eq!(bench.seats.taken.load(Ordering::Relaxed), 0);
}

/// AUDIT-1, ERRANDS-3: the control thread has a list of refusals and comes to nothing.
#[test]
fn refusals_that_nobody_takes_are_kept_up_to_a_bound_and_all_counted_and_delay_nothing() {
    const REFUSED: u32 = 3 * AUDIT_EVENTS_MAX as u32;
    let mut bench = Bench::start(Limits::default(), 64);
    let mut client = bench.served();
    client.produce("unruled", 1);
    client.receive();
    let audit = |bench: &mut Bench| match bench.control.try_recv() {
        Some(ControlRequest::Audit { list, turn }) => Some((list, turn)),
        Some(other) => {
            bench.answer_name(other);
            None
        }
        None => None,
    };
    let (list, taken) = until("the first list", || audit(&mut bench));
    assert_eq!(list.events.len(), 1);

    client.produce("unruled", REFUSED);
    let answer = client.receive();
    assert!(answer.len() > 2 * REFUSED as usize, "one refusal for each");
    // Others, and what they want of the control thread, have their way.
    let mut another = bench.connect(1);
    another.send(12, 0, &[7; 20]);
    let mut lists = 0;
    until("the question for a name", || match bench.control.try_recv()? {
        ControlRequest::Resolve { host, .. } => (host.host == "nowhere.test").then_some(()),
        ControlRequest::Audit { .. } => {
            lists += 1;
            None
        }
        _ => None,
    });
    client.send(12, 0, &[7; 20]);
    assert_eq!(client.receive().len(), 4 + 2);
    thread::park_timeout(TICKS);
    assert!(
        audit(&mut bench).is_none() && lists == 0,
        "one list is on its way"
    );
    let refused = || {
        let topics = bench.counters().topics;
        let refusals = topics.values().flat_map(|topic| topic.refusals());
        let unruled = refusals.filter(|refusal| refusal.reason == RefusalReason::NoRule);
        unruled.map(|refusal| refusal.partitions).sum::<u64>()
    };
    assert_eq!(refused(), u64::from(REFUSED) + 1);

    drop(taken);
    let (list, taken) = until("the list that waits", || audit(&mut bench));
    assert_eq!(list.events.len(), AUDIT_EVENTS_MAX);
    assert_eq!(list.left_out, u64::from(REFUSED) - AUDIT_EVENTS_MAX as u64);
    drop(taken);
    client.produce("unruled", 2);
    client.receive();
    let (list, _) = until("what was refused since", || audit(&mut bench));
    assert_eq!(list.events.len(), 2, "what was left out does not come later");
}

/// What stands in a channel before the executor's own.
const FILLER: usize = 99;
