//! What handshakes get of an executor.

use futures_lite::future::poll_once;
use futures_lite::{AsyncReadExt as _, AsyncWriteExt as _};
use glommio::LocalExecutorBuilder;
use glommio::net::UnixStream;
use glommio::timer::sleep;

use super::*;
use crate::connection::{Request, Status};
use crate::executor::handshake::bounds::UnderWay;
use crate::metrics::{CloseReason, Gauges};

/// An executor of which handshakes get less than is usual.
struct Bench {
    handshakes: Handshakes,
    shared: Shared,
    others_first: Rc<OthersFirst>,
}

impl Bench {
    fn new(change: impl FnOnce(&mut Limits)) -> Self {
        let mut limits = Limits::default();
        change(&mut limits);
        let others_first = Rc::default();
        let (handshakes, shared) = executor(limits, Rc::clone(&others_first));
        Self {
            handshakes,
            shared,
            others_first,
        }
    }

    /// A connection whose client begins one.
    fn begin(&self) -> (Rc<Status>, Result<UnderWay<'_>, CloseReason>) {
        let (id, status) = self.shared.registry.borrow_mut().add(Instant::now());
        (status, self.handshakes.with_client(&self.shared, id, main()))
    }

    fn begun(&self) -> UnderWay<'_> {
        self.begin().1.expect("there is room")
    }

    fn gauges(&self) -> Gauges {
        self.shared.pipeline.borrow().metrics.gauges
    }

    /// How many wait for their clients, and how many for us.
    fn counted(&self) -> (u64, u64) {
        let gauges = self.gauges();
        (gauges.handshakes_silent, gauges.handshakes_queued)
    }
}

/// Does what a handshake does.
fn compute(took: Duration) {
    let begun = Instant::now();
    while begun.elapsed() < took {}
}

/// HANDSHAKES-1
#[test]
fn between_two_that_compute_others_have_their_turn() {
    const HANDSHAKES: usize = 60;
    let builder = LocalExecutorBuilder::default()
        .io_memory(65_536)
        .preempt_timer(crate::ring::PREEMPT_AFTER);
    let executor = builder.spawn(|| async {
        let (mut one, mut other) = UnixStream::pair().expect("a pair of sockets");
        let answered = Rc::new(Cell::new(0));
        let counter = Rc::clone(&answered);
        let answering = glommio::spawn_local(async move {
            let mut byte = [0];
            loop {
                one.read_exact(&mut byte).await.expect("a question");
                one.write_all(&byte).await.expect("an answer");
            }
        });
        let asking = glommio::spawn_local(async move {
            let mut byte = [0];
            loop {
                other.write_all(&byte).await.expect("a question");
                other.read_exact(&mut byte).await.expect("an answer");
                counter.set(counter.get() + 1);
            }
        });
        let bench = Rc::new(Bench::new(|_| {}));
        let (turns, others_first) = (Rc::new(Cell::new(0)), Rc::clone(&bench.others_first));
        let taken = Rc::clone(&turns);
        let working = glommio::spawn_local(async move {
            loop {
                others_first.go::<Glommio>().await;
                taken.set(taken.get() + 1);
            }
        });
        let seen = Rc::new(RefCell::new(Vec::new()));
        let handshakes: Vec<_> = (0..HANDSHAKES)
            .map(|number| {
                let (bench, seen) = (Rc::clone(&bench), Rc::clone(&seen));
                let (answered, turns) = (Rc::clone(&answered), Rc::clone(&turns));
                glommio::spawn_local(async move {
                    // Of clients and of brokers.
                    let handshake = match number % 2 {
                        0 => bench.begun(),
                        _ => bench.handshakes.with_broker(&bench.shared, 1000, main()),
                    };
                    let _turn = handshake.turn::<Glommio>().await.expect("a turn");
                    compute(Duration::from_micros(300));
                    seen.borrow_mut().push((number, answered.get(), turns.get()));
                })
            })
            .collect();
        for handshake in handshakes {
            handshake.await;
        }
        for task in [answering, asking, working] {
            let _: Option<()> = task.cancel().await;
        }
        seen.take()
    });
    let seen = executor.expect("its thread starts").join().expect("it runs");
    let order: Vec<usize> = seen.iter().map(|(number, ..)| *number).collect();
    assert_eq!(
        order,
        (0..HANDSHAKES).collect::<Vec<_>>(),
        "first come, first served"
    );
    // An exchange has several steps, of which each waits for a turn.
    let exchanges = seen.windows(2).filter(|pair| pair[0].1 < pair[1].1).count();
    assert!(exchanges >= HANDSHAKES / 4, "{exchanges}: {seen:?}");
    // Whoever has more to do waits behind one of them, not behind all.
    let turns = seen.windows(2).filter(|pair| pair[0].2 < pair[1].2).count();
    assert!(turns >= HANDSHAKES / 2, "{turns}: {seen:?}");
}

/// HANDSHAKES-1
#[test]
fn whoever_goes_while_it_waits_for_its_turn_keeps_nobody_waiting() {
    run(async {
        let bench = Rc::new(Bench::new(|_| {}));
        let first = bench.begun();
        let turn = first.turn::<Glommio>().await;
        let waiting = || {
            let bench = Rc::clone(&bench);
            glommio::spawn_local(async move { bench.begun().turn::<Glommio>().await.is_some() })
        };
        let (gone, next) = (waiting(), waiting());
        yield_now().await;
        assert_eq!(bench.counted(), (1, 2));
        // It is the next one's already, which does not know it yet.
        drop(turn);
        gone.cancel().await;
        let never = async {
            sleep(LONG).await;
            false
        };
        assert!(or(next, never).await);
        assert_eq!(bench.counted(), (1, 0));
    });
}

/// HANDSHAKES-2
#[test]
fn so_many_are_answered_in_a_second_in_the_order_in_which_they_came() {
    run(async {
        let bench = Bench::new(|limits| limits.handshakes_per_second_max = 100);
        let answered = RefCell::new(Vec::new());
        let answer = async |numbers: std::ops::Range<u32>| {
            let begun = Instant::now();
            let waiting: Vec<_> = numbers.map(|number| (number, bench.begun())).collect();
            let mut tasks: Vec<_> = waiting
                .iter()
                .map(|(number, handshake)| {
                    Box::pin(async {
                        handshake.may_be_answered::<Glommio>(LONG).await;
                        answered.borrow_mut().push(*number);
                    })
                })
                .collect();
            poll_fn(|context| {
                tasks.retain_mut(|task| task.as_mut().poll(context).is_pending());
                if tasks.is_empty() {
                    Poll::Ready(())
                } else {
                    Poll::Pending
                }
            })
            .await;
            begun.elapsed()
        };
        let took = answer(0..21).await;
        assert!((Duration::from_millis(200)..LONG).contains(&took), "{took:?}");
        // What was not used is not saved up, but for a moment.
        sleep(Duration::from_millis(400)).await;
        let took = answer(21..52).await;
        assert!((Duration::from_millis(200)..LONG).contains(&took), "{took:?}");
        assert_eq!(answered.into_inner(), (0..52).collect::<Vec<_>>());
    });
}

/// HANDSHAKE-1: the time of a client runs on while others are answered.
#[test]
fn whoever_waits_for_its_answer_has_its_time_and_no_more() {
    run(async {
        let bench = Bench::new(|limits| limits.handshakes_per_second_max = 1);
        bench.begun().may_be_answered::<Glommio>(LONG).await;
        // Whoever is next never goes on.
        let before = bench.begun();
        let mut next = Box::pin(before.may_be_answered::<Glommio>(LONG));
        assert!(poll_once(&mut next).await.is_none());
        let begun = Instant::now();
        let meeting = Meeting::of(Version::Tls13);
        let cable = Cable::new();
        let (mut to_client, mut to_server) = (
            Wire::plain(cable.server.clone()),
            Wire::plain(cable.client.clone()),
        );
        let with_broker = bench.handshakes.with_broker(&bench.shared, 1000, main());
        let connecting =
            connect::<Glommio, _>(&mut to_server, with_broker, LONG, meeting.client(), server_name());
        let choose = |_: Option<&str>| Some((meeting.server(), ()));
        let accepting = accept::<Glommio, _, _>(&mut to_client, bench.begun(), SHORT, choose);
        let accepted = cable.carrying(
            100_000,
            or(accepting, async {
                let (connected, _) = zip(connecting, sleep(LONG)).await;
                panic!("it had no end: {connected:?}")
            }),
        );
        assert_eq!(kind(accepted.await), FailureKind::TimedOut);
        assert!((SHORT..LONG).contains(&begun.elapsed()));
        assert_eq!(bench.counted(), (0, 1), "only who is next is left");
    });
}

/// HANDSHAKES-3
#[test]
fn the_oldest_that_waits_for_its_client_makes_room_for_another() {
    run(async {
        let bench = Bench::new(|limits| limits.handshakes_max = 3);
        let all: Vec<_> = (0..3).map(|_| bench.begin()).collect();
        let handshakes: Vec<_> = all
            .iter()
            .map(|(_, begun)| begun.as_ref().expect("there is room"))
            .collect();
        let begun;
        // The very oldest waits for us.
        let turn = bench.handshakes.with_broker(&bench.shared, 1000, main());
        let turn = turn.turn::<Glommio>().await;
        let mut first = Box::pin(handshakes[0].turn::<Glommio>());
        assert!(poll_once(&mut first).await.is_none());
        let newcomer = bench.begin();
        begun = newcomer.1.expect("there is room");
        let asked = |number: usize| all[number].0.request();
        assert_eq!(asked(0), Request::Run);
        assert_eq!(asked(1), Request::Close(CloseReason::HandshakeLimit));
        assert_eq!(asked(2), Request::Run);
        assert_eq!(bench.counted(), (2, 1), "whoever is to go does not count");
        // All that there are wait for us.
        let mut last = Box::pin(begun.turn::<Glommio>());
        let mut other = Box::pin(handshakes[2].turn::<Glommio>());
        for queued in [&mut last, &mut other] {
            assert!(poll_once(queued).await.is_none());
        }
        assert_eq!(bench.begin().1.err(), Some(CloseReason::HandshakeLimit));
        assert_eq!(
            (asked(0), asked(2), newcomer.0.request()),
            (Request::Run, Request::Run, Request::Run)
        );
        drop(turn);
        for queued in [first, last, other] {
            drop(queued.await.expect("a turn"));
        }
    });
}

/// HANDSHAKES-3: clients that are there go on, however many come.
#[test]
fn who_was_answered_is_spared_for_a_while() {
    run(async {
        let bench = Bench::new(|limits| limits.handshakes_max = 2);
        let all = [bench.begin(), bench.begin()];
        let asked = |number: usize| all[number].0.request();
        for (_, begun) in &all {
            let begun = begun.as_ref().expect("there is room");
            begun.may_be_answered::<Glommio>(LONG).await;
        }
        assert_eq!(bench.counted(), (2, 0));
        assert_eq!(bench.begin().1.err(), Some(CloseReason::HandshakeLimit));
        assert_eq!((asked(0), asked(1)), (Request::Run, Request::Run));
        sleep(Duration::from_millis(1_100)).await;
        let (status, newcomer) = bench.begin();
        let newcomer = newcomer.expect("there is room");
        assert_eq!(asked(0), Request::Close(CloseReason::HandshakeLimit));
        // Who has said nothing goes first, though the other one has been there for longer.
        let _next = bench.begun();
        assert_eq!(status.request(), Request::Close(CloseReason::HandshakeLimit));
        assert_eq!(asked(1), Request::Run);
        drop(newcomer);
        assert_eq!(bench.counted(), (2, 0));
    });
}

/// HANDSHAKES-2
#[test]
fn who_would_have_no_time_left_is_refused_at_once() {
    run(async {
        let bench = Bench::new(|limits| limits.handshakes_per_second_max = 10);
        let all: Vec<_> = (0..9).map(|_| bench.begin()).collect();
        let mut answered: Vec<_> = all
            .iter()
            .map(|(_, begun)| begun.as_ref().expect("there is room"))
            .map(|begun| Box::pin(begun.may_be_answered::<Glommio>(Duration::from_secs(1))))
            .collect();
        let mut at_once = 0;
        for answered in &mut answered {
            at_once += usize::from(poll_once(answered).await.is_some());
        }
        let refused = all
            .iter()
            .filter(|(status, _)| status.request() != Request::Run)
            .count();
        assert_eq!((at_once, refused), (1, 2), "half of a second is five at least");
    });
}

/// HANDSHAKES-2
#[test]
fn who_has_left_meanwhile_is_not_answered() {
    run(async {
        let bench = Bench::new(|limits| limits.handshakes_per_second_max = 10);
        bench.begun().may_be_answered::<Glommio>(LONG).await;
        let meeting = Meeting::of(Version::Tls13);
        for leaves in [false, true] {
            let stream = MemoryStream::with_room(1 << 20);
            stream.arrive(&client_hello(SERVER.as_bytes()));
            let mut wire = Wire::plain(stream.clone());
            let choose = |_: Option<&str>| Some((meeting.server(), ()));
            let mut accepting = Box::pin(accept::<Glommio, _, _>(&mut wire, bench.begun(), LONG, choose));
            assert!(poll_once(&mut accepting).await.is_none());
            if leaves {
                stream.end();
                assert_eq!(kind(accepting.await), FailureKind::Left);
            } else {
                let waited = sleep(Duration::from_millis(300));
                or(async { drop(accepting.await) }, waited).await;
            }
            assert_eq!(stream.take_written().is_empty(), leaves);
        }
    });
}

/// HANDSHAKES-4, HELD-3: what slow clients have sent is on the account, and the one that has sent most goes first.
#[test]
fn what_handshakes_hold_is_bounded_in_sum() {
    run(async {
        let bench = Bench::new(|limits| limits.executor_bytes_max = 1 << 20);
        // A quarter of the bound is for those that are not logged in, at so small a one.
        let hello = |bytes: usize| {
            [
                &[22, 3, 1][..],
                &[0x3f, 0xff, 1, 0, 0xff, 0xff],
                &vec![0; bytes - 9],
            ]
            .concat()
        };
        let sizes = [10_000, 9_000, 16_000, 8_000];
        let begin = |size: usize| {
            let stream = MemoryStream::with_room(1 << 20);
            stream.arrive(&hello(size));
            let (status, begun) = bench.begin();
            let begun = begun.expect("there is room");
            let listening = async move {
                let mut wire = Wire::plain(stream);
                accept::<Glommio, _, _>(&mut wire, begun, LONG, |_| None::<(_, ())>).await
            };
            (size, status, Box::pin(listening))
        };
        let mut all: Vec<_> = sizes.iter().map(|size| begin(*size)).collect();
        for (.., listening) in &mut all {
            assert!(poll_once(listening).await.is_none());
        }
        let held = bench.gauges().bytes_held as usize;
        let sent: usize = sizes.iter().sum();
        // As it came, and the copy that is looked at.
        assert!((2 * sent..4 * sent).contains(&held), "{held} of {sent}");
        while all.iter().all(|(_, status, _)| status.request() == Request::Run) {
            assert!(all.len() < 100, "{held}");
            all.push(begin(9_500));
            assert!(poll_once(&mut all.last_mut().expect("one").2).await.is_none());
        }
        let (largest, ..) = *all
            .iter()
            .find(|(_, status, _)| status.request() != Request::Run)
            .expect("one");
        assert_eq!(largest, 16_000);
        let held = bench.gauges().bytes_held as usize;
        assert!((200_000..350_000).contains(&held), "{held}");
        all.clear();
        assert_eq!(bench.gauges().bytes_held, 0);
    });
}
