//! Executors as the program has them, on real rings: what is held back, and that nothing is lost by it.

use std::future::poll_fn;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream as StdTcpStream};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Instant;

use futures_lite::{AsyncReadExt, AsyncWriteExt, Future};
use glommio::net::TcpStream;
use glommio::timer::{Timer, sleep};
use glommio::{LocalExecutorBuilder, Placement};

use super::*;

/// Runs `task` on an executor as the program has them; says what it returns, and what became of the calls.
fn on_executor<T: Send + 'static>(
    task: impl FnOnce() -> Pin<Box<dyn Future<Output = T>>> + Send + 'static,
) -> (T, Counts) {
    on_executor_with(PREEMPT_AFTER, task)
}

fn on_executor_with<T: Send + 'static>(
    preempt_after: Duration,
    task: impl FnOnce() -> Pin<Box<dyn Future<Output = T>>> + Send + 'static,
) -> (T, Counts) {
    let executor = LocalExecutorBuilder::new(Placement::Unbound)
        .io_memory(65_536)
        .preempt_timer(preempt_after);
    let executor = executor.spawn(move || async move {
        let result = glommio::spawn_local(task()).await;
        (result, with(|turns| turns.counts).expect("the thread has rings"))
    });
    executor.expect("it starts").join().expect("it ends")
}

/// A client that asks, with ever another pause in between, until `over`; says how often it was answered.
fn client(address: SocketAddr, over: &AtomicBool) -> usize {
    let mut stream = StdTcpStream::connect(address).expect("it connects");
    stream.set_nodelay(true).expect("an option");
    stream.set_read_timeout(Some(STOPPED_AFTER)).expect("an option");
    let mut answers = 0_usize;
    while !over.load(Ordering::Relaxed) {
        stream.write_all(&[1]).expect("it writes");
        stream.read_exact(&mut [0]).expect("every question is answered");
        answers += 1;
        thread::sleep(Duration::from_micros(37 * (answers as u64 % 29)));
    }
    answers
}

async fn answer(stream: StdTcpStream) {
    let mut stream = TcpStream::from(glommio_socket2::Socket::from(stream));
    let mut byte = [0];
    while stream.read_exact(&mut byte).await.is_ok() {
        stream.write_all(&byte).await.expect("it writes");
    }
}

/// Clients, messages of another thread and a timer wake an executor, as it comes, for a time; says how often the timer
/// did.
fn wakings_of_all_kinds(lasting: Duration) -> (usize, Counts) {
    const CLIENTS: usize = 3;
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let over = Arc::new(AtomicBool::new(false));
    let (sender, mut receiver) = crate::channel::channel::<()>(64);
    let mut others: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let over = Arc::clone(&over);
            thread::spawn(move || assert!(client(address, &over) > 10))
        })
        .collect();
    let until = Arc::clone(&over);
    others.push(thread::spawn(move || {
        while !until.load(Ordering::Relaxed) {
            let _ = sender.try_send(());
            thread::sleep(Duration::from_micros(700));
        }
    }));
    let (ticks, counts) = on_executor(move || {
        Box::pin(async move {
            let mut served = Vec::new();
            for _ in 0..CLIENTS {
                let (stream, _) = listener.accept().expect("a client");
                served.push(glommio::spawn_local(answer(stream)));
            }
            let (begun, mut ticks) = (Instant::now(), 0);
            while begun.elapsed() < lasting {
                // It is always set, or its task is awake.
                let mut tick = pin!(Timer::new(Duration::from_millis(1)));
                poll_fn(|context| {
                    while receiver.poll_recv(context).is_ready() {}
                    tick.as_mut().poll(context)
                })
                .await;
                ticks += 1;
            }
            over.store(true, Ordering::Relaxed);
            for task in served {
                task.await;
            }
            ticks
        })
    });
    for other in others {
        other.join().expect("it was served to the end");
    }
    (ticks, counts)
}

/// TURNS-1: an executor that sleeps without a timer has put its only timer's task aside, though it was to run.
#[test]
fn whatever_wakes_an_executor_its_tasks_run_before_it_sleeps() {
    let (ticks, counts) = wakings_of_all_kinds(Duration::from_secs(2));
    assert!(ticks > 50, "{ticks} ticks");
    // It may sleep once before the first timer is set, and at the end.
    assert!(counts.untimed <= ENDS, "{counts:?}");
}

/// RING-2; on Linux 6.1 or newer.
#[test]
fn the_main_ring_defers_and_the_one_for_latency_does_not() {
    let (defers, _) = on_executor(|| {
        Box::pin(async {
            // Both rings have shown by then which they are.
            sleep(Duration::from_millis(1)).await;
            let defers = |turns: &mut Turns, ring: Option<c_int>| {
                queue_of(&mut turns.rings, ring?).map(|queue| queue.defers())
            };
            with(|turns| {
                let (main, latency) = (turns.main, turns.latency);
                [defers(turns, main), defers(turns, latency)]
            })
        })
    });
    assert_eq!(defers, Some([Some(true), Some(false)]));
}

/// TURNS-7: one of many sockets is answered while all others are, in calls that complete a few of them each.
#[test]
fn no_socket_of_many_is_forgotten() {
    const CLIENTS: usize = 300;
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let asks = thread::spawn(move || {
        let connect = |_| StdTcpStream::connect(address).expect("it connects");
        let mut clients: Vec<_> = (0..CLIENTS).map(connect).collect();
        for _ in 0..20 {
            for client in &mut clients {
                client.set_read_timeout(Some(STOPPED_AFTER)).expect("an option");
                client.write_all(&[1]).expect("it writes");
            }
            for client in &mut clients {
                client.read_exact(&mut [0]).expect("every question is answered");
            }
        }
    });
    let ((), _) = on_executor(move || {
        Box::pin(async move {
            let accept = |_| listener.accept().expect("a client").0;
            let streams: Vec<_> = (0..CLIENTS).map(accept).collect();
            let serve = |stream| glommio::spawn_local(answer(stream));
            let served: Vec<_> = streams.into_iter().map(serve).collect();
            for task in served {
                task.await;
            }
        })
    });
    asks.join().expect("every client was served");
}

/// TURNS-1, TURNS-2: what was held back goes out before the executor sleeps, or nothing would come back.
#[test]
fn sockets_are_served_with_fewer_calls() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let over = Arc::new(AtomicBool::new(false));
    let until = Arc::clone(&over);
    let asks = thread::spawn(move || client(address, &until));
    let ((), counts) = on_executor(move || {
        Box::pin(async move {
            let (stream, _) = listener.accept().expect("a client");
            let served = glommio::spawn_local(answer(stream));
            sleep(Duration::from_millis(300)).await;
            over.store(true, Ordering::Relaxed);
            served.await;
        })
    });
    let answers = asks.join().expect("the client was served");
    assert!(answers > 20, "{answers} answers");
    assert!(counts.made * 9 < counts.asked * 4, "{counts:?}");
}

/// TURNS-3: timers that somebody waits for fire in time, and an executor without work sleeps.
#[test]
fn timers_fire_and_nobody_spins_meanwhile() {
    let begun = Instant::now();
    let ((), counts) = on_executor(|| {
        Box::pin(async {
            for _ in 0..20 {
                sleep(Duration::from_millis(10)).await;
            }
        })
    });
    assert!(begun.elapsed() >= Duration::from_millis(200));
    // Each as late as the end of a sleep, it would be 2 s.
    assert!(begun.elapsed() < Duration::from_millis(1_500));
    assert!(counts.asked < 800, "{counts:?} for twenty timers");
}

/// TURNS-1: a wake-up from another thread is not lost.
#[test]
fn another_thread_wakes_a_sleeping_executor() {
    let (sender, mut receiver) = crate::channel::channel::<Instant>(4);
    let other = thread::spawn(move || {
        for _ in 0..20 {
            thread::sleep(Duration::from_millis(5));
            let _ = sender.try_send(Instant::now());
        }
    });
    let (slowest, counts) = on_executor(move || {
        Box::pin(async move {
            let mut slowest = Duration::ZERO;
            for _ in 0..20 {
                let sent = poll_fn(|context| receiver.poll_recv(context)).await;
                slowest = slowest.max(sent.elapsed());
            }
            slowest
        })
    });
    other.join().expect("it has sent");
    assert!(slowest < STOPPED_AFTER, "{slowest:?}");
    // Woken by the messages, not by the end of each sleep.
    assert!(counts.untimed >= 8, "{counts:?}");
}

/// TURNS-5
#[test]
fn an_executor_without_a_timer_wakes_all_the_same() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let silent = thread::spawn(move || {
        let stream = StdTcpStream::connect(address).expect("it connects");
        thread::sleep(Duration::from_millis(800));
        drop(stream);
    });
    let ((), counts) = on_executor(move || {
        Box::pin(async move {
            let (stream, _) = listener.accept().expect("a client");
            answer(stream).await;
        })
    });
    silent.join().expect("it has slept");
    assert!((4..=20).contains(&counts.untimed), "{counts:?}");
}

/// TURNS-6: a turn is two calls then, and with a wait three.
#[test]
fn there_is_no_sleep_for_a_timer_that_is_about_to_fire() {
    const TIMERS: u32 = 400;
    let ((), counts) = on_executor(|| {
        Box::pin(async {
            for _ in 0..TIMERS {
                sleep(Duration::from_micros(2)).await;
            }
        })
    });
    assert!(counts.made * 2 < TIMERS * 5, "{counts:?}");
}

/// TURNS-4: its timer does not say which rings these are.
#[test]
fn another_executor_has_every_call_made() {
    let ((), counts) = on_executor_with(Duration::from_millis(100), || {
        Box::pin(async {
            for _ in 0..10 {
                sleep(Duration::from_millis(2)).await;
            }
        })
    });
    assert!(counts.asked > 40, "{counts:?} for ten timers");
    assert_eq!(counts.made, counts.asked);
}

const STOPPED_AFTER: Duration = Duration::from_secs(5);
/// Sleeps before the first timer is set and after the last one has fired.
const ENDS: u32 = 8;
