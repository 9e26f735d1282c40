//! Who may hold how much, who waits, and whose turn it is.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Wake;

use proptest::prelude::*;

use super::*;
use crate::ids::Id as _;

const MIB: usize = 1 << 20;
/// Three quarters of it are 768 MiB.
const BYTES_MAX: usize = 1 << 30;
const NOBODY: [u64; 0] = [];
const SECOND: Duration = Duration::from_secs(1);

/// An account, and what its halves last said of themselves.
struct Book {
    held: HeldBytes,
    start: Instant,
    now: Instant,
}

impl Book {
    fn new(bytes_max: usize) -> Self {
        let start = Instant::now();
        Self {
            held: HeldBytes::new(bytes_max),
            start,
            now: start,
        }
    }

    fn holding(&self, bytes: usize) -> Holding {
        Holding {
            cluster: ClusterId::from_number(0),
            bytes,
            proven: true,
            paced_at: self.start,
            parked: false,
        }
    }

    fn hold(&mut self, connection: u64, bytes: usize) {
        self.held
            .hold(response(connection), self.holding(bytes), self.start);
    }

    fn hold_unproven(&mut self, connection: u64, bytes: usize) {
        let holding = Holding {
            proven: false,
            ..self.holding(bytes)
        };
        self.held.hold(request(connection), holding, self.start);
    }

    /// Asks for a turn; says whether it was given.
    fn asks(&mut self, connection: u64, announced: usize) -> bool {
        self.asks_of(0, connection, announced)
    }

    fn asks_of(&mut self, cluster: u32, connection: u64, announced: usize) -> bool {
        let holding = Holding {
            cluster: ClusterId::from_number(cluster),
            ..self.holding(1)
        };
        let waker = Waker::noop();
        let turned = self
            .held
            .turn(response(connection), holding, announced, waker, self.now);
        turned == Turned::Has
    }

    fn has(&self, connection: u64) -> bool {
        let half = self.held.halves.get(&response(connection));
        half.is_some_and(|half| matches!(half.turn, Turn::Has { .. }))
    }

    fn finish(&mut self, connection: u64) {
        self.held.finish(response(connection), self.now);
    }

    /// Moves a piece at `at`.
    fn moves(&mut self, connection: u64, bytes: usize, at: Instant) {
        let holding = Holding {
            paced_at: at,
            ..self.holding(bytes)
        };
        self.held.hold(response(connection), holding, at);
    }
}

fn response(connection: u64) -> HalfKey {
    HalfKey {
        connection,
        direction: Direction::Response,
    }
}

fn request(connection: u64) -> HalfKey {
    HalfKey {
        connection,
        direction: Direction::Request,
    }
}

#[test]
fn a_quarter_is_for_short_frames_whatever_long_ones_hold() {
    let mut book = Book::new(400);
    assert!(book.asks(1, 10_000));
    book.hold(1, 10_000);
    book.hold(2, 99);
    assert!(book.held.may_pass(response(99), Waker::noop()), "HELD-1");
    book.hold(2, 100);
    assert!(!book.held.may_pass(response(99), Waker::noop()));
    book.hold(1, 299);
    assert!(
        book.held.may_pass(response(99), Waker::noop()),
        "all that is free is theirs"
    );
    book.hold(1, 300);
    assert!(!book.held.may_pass(response(99), Waker::noop()));
}

#[test]
fn what_is_not_proven_is_bounded_in_sum_and_the_largest_goes_at_once() {
    let mut book = Book::new(BYTES_MAX);
    for connection in 0..4 {
        book.hold_unproven(connection, 16 * MIB);
    }
    book.hold(9, BYTES_MAX / 2);
    assert_eq!(book.held.take_victims(), NOBODY, "HELD-3: a sixteenth");
    book.hold_unproven(5, 1);
    assert_eq!(book.held.take_victims(), [3]);
    book.hold_unproven(6, 15 * MIB);
    assert_eq!(
        book.held.take_victims(),
        NOBODY,
        "what is about to go counts no more"
    );
    book.hold_unproven(6, 17 * MIB);
    assert_eq!(book.held.take_victims(), [6]);
    book.held.forget(request(6), book.start);
    book.held.forget(request(3), book.start);
    assert_eq!(book.held.total(), BYTES_MAX / 2 + 48 * MIB + 1);
}

#[test]
fn a_few_that_are_not_proven_fit_into_a_small_bound() {
    let mut book = Book::new(32 * MIB);
    book.hold_unproven(1, UNPROVEN_BYTES_MIN);
    assert_eq!(book.held.take_victims(), NOBODY);
    book.hold_unproven(1, UNPROVEN_BYTES_MIN + 1);
    assert_eq!(book.held.take_victims(), [1]);
    let mut book = Book::new(MIB);
    book.hold_unproven(1, MIB / 4);
    assert_eq!(book.held.take_victims(), NOBODY);
    book.hold_unproven(1, MIB / 4 + 1);
    assert_eq!(book.held.take_victims(), [1]);
}

#[test]
fn a_long_answer_to_one_that_is_not_proven_takes_its_turn() {
    let mut book = Book::new(BYTES_MAX);
    assert!(book.asks(1, 100 * MIB));
    let answer = Holding {
        proven: false,
        ..book.holding(100 * MIB)
    };
    book.held.hold(response(1), answer, book.start);
    assert_eq!(book.held.take_victims(), NOBODY, "only a broker can send it");
    book.finish(1);
    assert_eq!(book.held.take_victims(), [1]);
}

#[test]
fn who_proves_to_be_logged_in_is_no_longer_among_those() {
    let mut book = Book::new(BYTES_MAX);
    book.hold_unproven(1, 64 * MIB);
    book.held.hold(request(1), book.holding(65 * MIB), book.start);
    book.hold_unproven(2, 64 * MIB);
    assert_eq!(book.held.take_victims(), NOBODY);
}

#[test]
fn turns_are_given_in_order_for_as_long_as_what_is_announced_fits_twice() {
    let mut book = Book::new(BYTES_MAX);
    assert!(book.asks(1, 256 * MIB));
    assert!(!book.asks(2, 128 * MIB + 1), "TURN-1");
    assert!(!book.asks(3, 1), "nobody overtakes");
    assert_eq!(book.held.waiting(), 2);
    book.finish(1);
    assert!(book.has(2) && book.has(3));
    let mut book = Book::new(BYTES_MAX);
    assert!(book.asks(1, 256 * MIB));
    assert!(book.asks(2, 128 * MIB));
    assert!(!book.asks(3, 1));
    book.held.forget(response(3), book.start);
    assert_eq!(book.held.waiting(), 0, "who is gone waits no more");
}

#[test]
fn what_is_written_of_frames_counts_when_it_is_more_than_they_announced() {
    let mut book = Book::new(BYTES_MAX);
    assert!(book.asks(1, MIB));
    book.hold(1, 767 * MIB);
    assert!(!book.asks(2, MIB / 2 + 1));
    book.hold(1, 767 * MIB - 2);
    book.held.tick(book.start);
    assert!(book.has(2));
}

#[test]
fn one_always_has_its_turn() {
    let mut book = Book::new(MIB);
    assert!(book.asks(1, 100 * MIB), "TURN-2");
    assert!(!book.asks(2, 100 * MIB));
    book.finish(1);
    assert!(book.has(2));
}

#[test]
fn a_cluster_has_half_of_it_while_others_wait() {
    let mut book = Book::new(BYTES_MAX);
    assert!(book.asks_of(0, 1, 128 * MIB));
    assert!(book.asks_of(0, 2, 128 * MIB), "nobody else wants any");
    assert!(book.asks_of(0, 3, 128 * MIB));
    assert!(!book.asks_of(0, 4, 64 * MIB));
    assert!(!book.asks_of(0, 5, 64 * MIB));
    for connection in 6..=8 {
        assert!(!book.asks_of(1, connection, 64 * MIB));
    }
    // 512 MiB are taken by the first cluster, which is more than its half: 384 MiB.
    book.finish(1);
    assert!(book.has(6) && book.has(7), "TURN-3: they came later");
    assert!(!book.has(4) && !book.has(8));
    // 256 and 256 MiB; with one more frame each the first cluster has its half.
    book.finish(2);
    assert!(book.has(4));
    assert!(!book.has(5) || book.has(8));
}

#[test]
fn one_frame_of_a_cluster_goes_on_although_it_is_more_than_its_half() {
    let mut book = Book::new(BYTES_MAX);
    assert!(book.asks_of(1, 1, 192 * MIB));
    assert!(!book.asks_of(1, 2, 192 * MIB + 1));
    assert!(!book.asks_of(0, 3, 192 * MIB + 1));
    book.finish(1);
    assert!(book.has(2) && !book.has(3));
    book.finish(2);
    assert!(book.has(3));
}

#[test]
fn who_stands_still_for_a_second_loses_its_turn_if_others_wait() {
    let mut book = Book::new(MIB);
    let start = book.start;
    assert!(book.asks(1, MIB));
    book.held.tick(start + 10 * SECOND);
    assert!(book.has(1), "nobody waits");
    assert!(!book.asks(2, MIB));
    book.moves(1, 10, start + 10 * SECOND);
    book.held.tick(start + 11 * SECOND - Duration::from_nanos(1));
    assert!(book.has(1));
    book.held.tick(start + 11 * SECOND);
    assert!(!book.has(1) && book.has(2), "TURN-4");
    // The second one could not move before; its second begins with its turn.
    assert!(!book.asks(3, MIB));
    book.held.tick(start + 12 * SECOND - Duration::from_nanos(1));
    assert!(book.has(2));
    book.held.tick(start + 12 * SECOND);
    assert!(book.has(3));
}

#[test]
fn who_lost_its_turn_waits_again_behind_the_others() {
    let mut book = Book::new(MIB);
    let later = book.start + SECOND;
    assert!(book.asks(1, MIB) && !book.asks(2, MIB) && !book.asks(3, MIB));
    book.held.tick(later);
    let holding = book.holding(1);
    let again = book.held.turn(response(1), holding, MIB, Waker::noop(), later);
    assert_eq!(again, Turned::Lost);
    book.held.wait_again(response(1), Waker::noop(), later);
    let waits = book.held.turn(response(1), holding, MIB, Waker::noop(), later);
    assert_eq!(waits, Turned::Waits);
    book.finish(2);
    assert!(book.has(3));
    book.finish(3);
    assert!(book.has(1));
}

/// Frames of 100 bytes, of which those that lost their turn hold 60 each.
fn lost(count: u64) -> (Book, Instant) {
    let mut book = Book::new(1000);
    for connection in 0..count {
        assert!(book.asks(connection, 100) || connection > 2);
        book.hold(connection, 60);
    }
    assert!(!book.asks(100, 200));
    while !book.has(100) {
        book.now += SECOND;
        book.held.tick(book.now);
    }
    let now = book.now;
    (book, now)
}

#[test]
fn who_stands_still_is_closed_only_when_the_next_one_does_not_fit_beside_it() {
    let (mut book, now) = lost(10);
    assert_eq!(book.held.take_victims(), NOBODY, "TURN-5: 600 and 400 fit");
    book.finish(100);
    assert!(book.asks(101, 201), "one always has its turn");
    assert_eq!(book.held.take_victims(), [9], "one is enough");
    book.held.forget(response(9), now);
    assert_eq!(book.held.total(), 9 * 60);
}

#[test]
fn who_waits_for_us_is_not_closed_and_is_waited_for() {
    let (mut book, now) = lost(10);
    let parked = |bytes, parked| Holding {
        parked,
        ..book.holding(bytes)
    };
    let (waits, ends) = (parked(60, true), parked(0, false));
    for connection in 5..10 {
        book.held.hold(response(connection), waits, now);
    }
    book.finish(100);
    assert!(!book.asks(101, 351));
    assert_eq!(book.held.take_victims(), [4, 3, 2, 1, 0]);
    book.held.hold(response(9), ends, now);
    book.finish(9);
    assert!(book.has(101), "TURN-2: 240 and 702 fit");
}

#[test]
fn who_waits_for_us_has_no_turn_while_others_want_it() {
    let mut book = Book::new(MIB);
    assert!(book.asks(1, MIB / 4));
    let parked = Holding {
        parked: true,
        ..book.holding(MIB / 4)
    };
    book.held.hold(response(1), parked, book.start);
    book.held.tick(book.start);
    assert!(book.has(1), "nobody wants it");
    assert!(!book.asks(2, MIB / 4));
    book.held.tick(book.start);
    assert!(book.has(2), "TURN-4");
}

#[test]
fn who_is_written_again_is_not_closed_for_having_waited_for_us() {
    let (mut book, now) = lost(10);
    let parked = |parked| Holding {
        parked,
        ..book.holding(60)
    };
    let (waits, goes_on) = (parked(true), parked(false));
    book.held.hold(response(9), waits, now);
    book.held.hold(response(9), goes_on, now);
    book.finish(100);
    let asks = |book: &mut Book, at| {
        let holding = book.holding(1);
        book.held.turn(response(101), holding, 500, Waker::noop(), at);
        book.held.tick(at);
        book.held.take_victims()
    };
    assert_eq!(asks(&mut book, now), [8, 7, 6, 5, 4, 3, 2, 1, 0]);
    assert!(!book.has(101));
    assert_eq!(asks(&mut book, now + SECOND - Duration::from_nanos(1)), NOBODY);
    assert_eq!(asks(&mut book, now + SECOND), [9]);
    assert!(book.has(101));
}

struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn those_that_stand_still_are_closed_when_short_frames_find_no_room() {
    let mut book = Book::new(400);
    let (start, later) = (book.start, book.start + SECOND);
    for (connection, bytes) in [(1, 150), (2, 100), (3, 60), (4, 50), (5, 40)] {
        book.hold(connection, bytes);
    }
    // The largest moves, and the second waits for us.
    book.moves(1, 150, later);
    let parked = Holding {
        parked: true,
        ..book.holding(100)
    };
    book.held.hold(response(2), parked, start);
    book.held.tick(later);
    assert_eq!(book.held.take_victims(), NOBODY, "nobody wants room");
    let count = Arc::new(Count(AtomicUsize::new(0)));
    let waker = Waker::from(Arc::clone(&count));
    assert!(!book.held.may_pass(response(99), &waker) && !book.held.may_pass(response(99), &waker));
    book.held.tick(later - Duration::from_nanos(1));
    assert_eq!(book.held.take_victims(), NOBODY, "HELD-4: not for a second yet");
    assert_eq!(count.0.load(Ordering::Relaxed), 0);
    book.held.tick(later);
    assert_eq!(book.held.take_victims(), [3]);
    assert_eq!(count.0.load(Ordering::Relaxed), 1, "woken once");
    assert!(book.held.may_pass(response(99), &waker));
}

/// HELD-5.
#[test]
fn short_answers_are_read_whatever_is_held_of_requests() {
    let mut book = Book::new(400);
    for connection in 0..4 {
        let waits = Holding {
            parked: true,
            ..book.holding(100)
        };
        book.held.hold(request(connection), waits, book.start);
    }
    assert!(!book.held.may_pass(request(99), Waker::noop()));
    assert!(book.held.may_pass(response(99), Waker::noop()));
    book.hold(1, 50);
    assert!(!book.held.may_pass(response(99), Waker::noop()), "an eighth");
    book.held.tick(book.start + SECOND);
    assert_eq!(
        book.held.take_victims(),
        [1],
        "it stands still, the others wait for us"
    );
}

/// Otherwise each would wait for the other, until the connection is closed for what is our own doing.
/// TURN-2
#[test]
fn requests_whose_own_answer_waits_for_a_turn_are_not_waited_for() {
    let mut book = Book::new(MIB);
    let (start, later) = (book.start, book.start + SECOND);
    let asks = |book: &mut Book, key, announced, now| {
        let holding = book.holding(1);
        book.held.turn(key, holding, announced, Waker::noop(), now)
    };
    assert_eq!(asks(&mut book, request(1), 300_000, start), Turned::Has);
    book.held.hold(request(1), book.holding(300_000), start);
    // It is read, and waits for room among the requests in flight: for the answer that asks now.
    assert_eq!(asks(&mut book, response(1), 500_000, later), Turned::Waits);
    book.held.tick(later);
    assert_eq!(book.held.take_victims(), NOBODY);
    assert!(book.has(1), "the answer");
}

#[test]
fn whoever_is_given_a_turn_is_woken() {
    let mut book = Book::new(MIB);
    let count = Arc::new(Count(AtomicUsize::new(0)));
    let waker = Waker::from(Arc::clone(&count));
    assert!(book.asks(1, MIB));
    let holding = book.holding(1);
    book.held.turn(response(2), holding, MIB, &waker, book.start);
    assert_eq!(count.0.load(Ordering::Relaxed), 0);
    book.held.forget(response(1), book.start);
    assert_eq!(count.0.load(Ordering::Relaxed), 1);
}

#[derive(Clone, Debug)]
enum Event {
    Hold {
        bytes: usize,
        proven: bool,
        parked: bool,
    },
    Ask {
        announced: usize,
    },
    Again,
    Finish,
    Forget,
    Tick,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        (0..200_usize, any::<bool>(), any::<bool>()).prop_map(|(bytes, proven, parked)| Event::Hold {
            bytes,
            proven,
            parked
        }),
        (1..600_usize).prop_map(|announced| Event::Ask { announced }),
        Just(Event::Again),
        Just(Event::Finish),
        Just(Event::Forget),
        Just(Event::Tick),
    ]
}

proptest! {
    /// Sums are those of the halves, whoever waits has somebody to wait for, and all goes when all have gone.
    #[test]
    fn the_account_is_right_whatever_happens(
        events in proptest::collection::vec((0..12_u64, 0..400_u64, event()), 1..200),
    ) {
        let mut book = Book::new(1000);
        let mut now = book.start;
        for (connection, elapsed, event) in events {
            now += Duration::from_millis(elapsed);
            let cluster = ClusterId::from_number((connection % 3) as u32);
            let key = response(connection);
            let said = book.held.halves.get(&key).map(|half| half.holding);
            let said = said.unwrap_or(Holding { cluster, ..book.holding(0) });
            let ticks = matches!(event, Event::Tick);
            match event {
                Event::Hold { bytes, proven, parked } => {
                    book.held.hold(key, Holding { bytes, proven, parked, paced_at: now, ..said }, now);
                }
                Event::Ask { announced } => {
                    book.held.turn(key, said, announced, Waker::noop(), now);
                }
                Event::Again => book.held.wait_again(key, Waker::noop(), now),
                Event::Finish => book.held.finish(key, now),
                Event::Forget => book.held.forget(key, now),
                Event::Tick => {
                    book.held.may_pass(response(99), Waker::noop());
                    book.held.tick(now);
                }
            }
            let HeldBytes { halves, sums, taken, taken_count, lost, .. } = &book.held;
            let mut expected = [0; Class::COUNT];
            halves.values().for_each(|half| expected[half.class() as usize] += half.holding.bytes);
            prop_assert_eq!(sums, &expected);
            let has = halves.values().filter_map(|half| match half.turn {
                Turn::Has { announced } => Some(2 * announced),
                _ => None,
            });
            let has: Vec<_> = has.collect();
            prop_assert_eq!((*taken, *taken_count), (has.iter().sum(), has.len()));
            prop_assert!(*taken <= 750 || *taken_count == 1, "TURN-1");
            let standing = halves.values().filter(|half| half.turn.is_lost());
            prop_assert_eq!(*lost, standing.map(|half| half.holding.bytes).sum::<usize>());
            let waiting = halves.values().filter(|half| matches!(half.turn, Turn::Waiting { .. }));
            prop_assert_eq!(book.held.waiting(), waiting.count());
            let lasts = |half: &HeldHalf| half.holding.parked || !half.stands_still(now);
            let ends = halves.values().any(|half| matches!(half.turn, Turn::Lost { .. }) && lasts(half));
            prop_assert!(*taken_count > 0 || !book.held.is_any_waiting() || ends || !ticks, "TURN-2");
            prop_assert!(book.held.sum(Class::Unproven) <= 250, "HELD-3");
        }
        (0..12).for_each(|connection| book.held.forget(response(connection), now));
        prop_assert_eq!(book.held.total(), 0);
        prop_assert!(book.held.halves.is_empty() && book.held.taken_by_cluster.is_empty());
    }
}
