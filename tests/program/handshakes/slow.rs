//! Clients by the thousand that say nothing, drip, or stop behind their ClientHello.

use std::io::Write;
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::{Bench, EVENTUALLY, assert_served};
use crate::support::raw_client::RawClient;
use crate::support::wait;

/// HANDSHAKES-1, HANDSHAKES-3, HANDSHAKES-4
#[test]
fn two_thousand_slow_handshakes_keep_nobody_out_and_hold_little() {
    let bench = Bench::start(&[&format!("limits.handshakes_max={UNDER_WAY_MAX}")]);
    let mut established = bench.served();
    // What is allocated once is there by then.
    (0..50).for_each(|_| assert_served(&mut established));
    let before = bench.proxy.resident_bytes();
    let mut resident = Vec::new();
    for round in 1..=2_usize {
        let slow = Slow::come(&bench);
        let refused = (round * (SLOW - UNDER_WAY_MAX)) as f64;
        wait::until("that all of them stand still", EVENTUALLY, || {
            let still = bench.under_way() == (UNDER_WAY_MAX as f64, 0.0);
            (still && bench.closed("handshake_limit") >= refused).then_some(())
        });
        resident.push(bench.proxy.resident_bytes());
        let over = AtomicBool::new(false);
        let (met, besieged) = thread::scope(|scope| {
            let end = SetAtTheEnd(&over);
            scope.spawn(|| slow.drip(&over));
            let watch = scope.spawn(|| waits(&mut established, || !over.load(Ordering::Relaxed)));
            let met = (0..HONEST).map(|_| {
                let begun = Instant::now();
                drop(bench.served());
                begun.elapsed()
            });
            let met = met.max().expect("one at least");
            drop(end);
            (met, watch.join().expect("it is served"))
        });
        assert!(met < WAIT_MAX, "{met:?}");
        assert!(besieged.longest < WAIT_MAX, "{besieged:?}");
        assert!(besieged.median < MEDIAN_MAX, "{besieged:?}");
        drop(slow);
        bench.is_quiet_but_for(1);
    }
    let [first, second] = resident[..] else {
        unreachable!("there are two rounds")
    };
    let each = first.saturating_sub(before) / UNDER_WAY_MAX as u64;
    assert!(each <= EACH_BYTES_MAX, "{each} bytes for each");
    assert!(
        second <= first + first / 8,
        "{first}, and {second} the second time"
    );
    let log = bench.proxy.output();
    assert_eq!(log.matches("limits.handshakes_max").count(), 1, "{log}");
    let Bench { mut proxy, .. } = bench;
    drop(established);
    proxy.terminate();
}

/// However the end comes.
struct SetAtTheEnd<'a>(&'a AtomicBool);

impl Drop for SetAtTheEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Clients that never finish.
struct Slow(Vec<(TcpStream, Vec<u8>)>);

impl Slow {
    /// A third says nothing for now, a third half of its ClientHello, and a third stops behind it.
    fn come(bench: &Bench) -> Self {
        let hello = bench.shaking(false).words();
        let come = (0..SLOW).map(|number| {
            let mut socket = bench.socket();
            let said = match number % 3 {
                0 => 0,
                1 => hello.len() / 2,
                _ => hello.len(),
            };
            socket
                .write_all(&hello[..said])
                .expect("a socket's buffer is empty");
            (socket, hello[said..].to_vec())
        });
        Self(come.collect())
    }

    /// Says what is left, a byte every now and then.
    fn drip(&self, over: &AtomicBool) {
        let mut said = 0;
        while !over.load(Ordering::Relaxed) {
            for (mut socket, left) in self.0.iter().map(|(socket, left)| (socket, left)) {
                if let Some(byte) = left.get(said) {
                    // It may have made room for others.
                    let _ = socket.write_all(&[*byte]);
                }
            }
            said += 1;
            wait::pause(Duration::from_millis(50));
        }
    }
}

/// How long exchanges took.
#[derive(Debug)]
struct Waits {
    longest: Duration,
    median: Duration,
}

fn waits(client: &mut RawClient, goes_on: impl Fn() -> bool) -> Waits {
    let mut waited = Vec::new();
    while goes_on() {
        let asked = Instant::now();
        assert_served(client);
        waited.push(asked.elapsed());
    }
    waited.sort_unstable();
    Waits {
        longest: waited.last().copied().expect("one at least"),
        median: waited[waited.len() / 2],
    }
}

const SLOW: usize = 2000;
/// Fewer than come: some have to make room.
const UNDER_WAY_MAX: usize = 1500;
const HONEST: usize = 30;
/// On a machine that is busy with other things; whoever is kept out waits for minutes.
const WAIT_MAX: Duration = Duration::from_secs(10);
/// A hundred times what it is, and more, where other programs use the processors as well.
const MEDIAN_MAX: Duration = Duration::from_millis(100);
/// Half as much again as it is.
const EACH_BYTES_MAX: u64 = 32 * 1024;
