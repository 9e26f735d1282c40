//! A hostile shape, sent again and again, and how long a neighbour on the same executor waits meanwhile.
//!
//! `tests/neighbours/main.rs` and `bench-harness hostile` both use this: sockets, a stand-in broker, and a real proxy
//! between. Clients and broker of the hostile connections let all other threads go first, and the neighbour and its
//! broker go before them where that is allowed, so that what is measured is the proxy's doing.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use kafka_protocol::messages::{ApiKey, HeartbeatRequest};

use super::broker::{Broker, frame_length, read_frame};
use super::shapes::Frames;
use super::wire::{frames, metadata_request, request};

/// For the topics of the hostile set. The names of KMS and KEK are the quickstart's.
pub(crate) const RULES: &str = r#"
[[cluster.main.topics]]
match = "pass-*"
pass = true

[[cluster.main.topics]]
match = "sealed-*"
kms = "local"
kek = "quickstart"

[[cluster.main.topics]]
match = "mixed-*"
kms = "local"
kek = "quickstart"
accept = ["sealwire", "plaintext"]

[[cluster.main.topics]]
match = "tombs-*"
kms = "local"
kek = "quickstart"
accept = ["sealwire", "tombstone"]

[[cluster.main.topics]]
match = "skip-*"
kms = "local"
kek = "quickstart"
on_unreadable = "skip"

[[cluster.main.topics]]
match = "null-*"
kms = "local"
kek = "quickstart"
accept = ["sealwire", "tombstone"]
on_unreadable = "null"
"#;

/// How many connections send the shape at the same time.
pub(crate) const HOSTILE_CONNECTIONS: usize = 2;

/// What a neighbour has seen.
pub(crate) struct Waits {
    pub(crate) longest: Duration,
    pub(crate) median: Duration,
    /// The most that the executor ran while the neighbour waited for one answer: what is left of `longest` when other
    /// programs use the processors as well.
    pub(crate) executor_ran: Duration,
    /// The longest wait of another who asks the broker itself: what the machine adds to all waits.
    pub(crate) longest_direct: Duration,
    /// How often the proxy took in all of the shape's requests.
    pub(crate) rounds: usize,
}

impl fmt::Display for Waits {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            longest,
            median,
            executor_ran,
            longest_direct,
            rounds,
        } = self;
        write!(
            formatter,
            "longest {longest:?} (the executor ran {executor_ran:?}, without a proxy {longest_direct:?}), \
             median {median:?}, {rounds} rounds"
        )
    }
}

/// A proxy with one executor, without other clients.
pub(crate) struct Besieged {
    /// Where clients bootstrap.
    pub(crate) address: String,
    pub(crate) process: u32,
    /// The cluster.
    pub(crate) broker: Broker,
}

/// Sends `shape` for `time`, at least once, and until the proxy has done with it.
pub(crate) fn besiege(besieged: &Besieged, shape: Frames, time: Duration) -> io::Result<Waits> {
    let Besieged {
        address: proxy,
        process,
        broker,
    } = besieged;
    let (requests, answers) = match shape {
        Frames::Requests(requests) => {
            let answers = frames(&requests).len();
            (requests, answers)
        }
        Frames::Response { request, response } => {
            broker.answer_fetches_with(response);
            (request, 1)
        }
    };
    go_first();
    let clock = ExecutorClock::of(*process)?;
    let mut neighbour = Neighbour::connect(proxy, &clock)?;
    let mut direct = Neighbour::connect(&broker.address(), &clock)?;
    let (over, done) = (AtomicBool::new(false), AtomicBool::new(false));
    let rounds = AtomicUsize::new(0);
    thread::scope(|scope| {
        let direct_watch = scope.spawn(|| direct.watch(|| !done.load(Ordering::Relaxed)));
        for _ in 0..HOSTILE_CONNECTIONS {
            scope.spawn(|| {
                give_way();
                while !over.load(Ordering::Relaxed) {
                    // The proxy may close at any byte.
                    if attack(proxy, &requests, answers, &over, &rounds).is_err() {
                        pause(Duration::from_millis(1));
                    }
                }
            });
        }
        let begun = Instant::now();
        let sieged = neighbour.watch(|| {
            let none = rounds.load(Ordering::Relaxed) == 0;
            begun.elapsed() < if none { SENT_WITHIN } else { time }
        });
        over.store(true, Ordering::Relaxed);
        let ended = Instant::now();
        // The two that wait have a connection each.
        let wound_down = neighbour.watch(|| broker.connections() > 2 && ended.elapsed() < WIND_DOWN_MAX);
        done.store(true, Ordering::Relaxed);
        let direct = direct_watch
            .join()
            .unwrap_or_else(|_| Err(io::Error::other("it panicked")));
        sieged.and(wound_down).and(direct)
    })?;
    let (longest, median) = longest_and_median(neighbour.waited)?;
    let (longest_direct, _) = longest_and_median(direct.waited)?;
    Ok(Waits {
        longest,
        median,
        executor_ran: neighbour.executor_ran,
        longest_direct,
        rounds: rounds.into_inner(),
    })
}

fn longest_and_median(mut waited: Vec<Duration>) -> io::Result<(Duration, Duration)> {
    waited.sort_unstable();
    match (waited.last(), waited.get(waited.len() / 2)) {
        (Some(longest), Some(median)) => Ok((*longest, *median)),
        _ => Err(io::Error::other("nothing was answered")),
    }
}

/// Lets other threads go before this one.
pub(crate) fn give_way() {
    // Without it the figures have more noise, that is all.
    let _ = rustix::process::setpriority_process(None, 19);
}

/// Lets this thread go before others, if whoever runs it is allowed to.
pub(crate) fn go_first() {
    let _ = rustix::process::setpriority_process(None, -20);
}

/// One connection: shows that it needs no login, sends everything, waits for the answers. Its answers are held the
/// longer, the more of them deliver nothing, so that each round has a connection of its own.
fn attack(
    proxy: &str,
    requests: &[u8],
    answers: usize,
    over: &AtomicBool,
    rounds: &AtomicUsize,
) -> io::Result<()> {
    let socket = TcpStream::connect(proxy)?;
    socket.set_read_timeout(Some(LOOKS_UP_EVERY))?;
    socket.set_write_timeout(Some(LOOKS_UP_EVERY))?;
    let mut line = Line { socket, over };
    line.write_all(&metadata_request(1))?;
    read_frame(&mut line)?;
    line.write_all(requests)?;
    rounds.fetch_add(1, Ordering::Relaxed);
    for _ in 0..answers {
        let length = frame_length(&mut line)?;
        io::copy(&mut (&mut line).take(length as u64), &mut io::sink())?;
    }
    Ok(())
}

/// A hostile connection, until all is over.
struct Line<'a> {
    socket: TcpStream,
    over: &'a AtomicBool,
}

impl Line<'_> {
    fn go_on<T>(&mut self, mut step: impl FnMut(&mut TcpStream) -> io::Result<T>) -> io::Result<T> {
        while !self.over.load(Ordering::Relaxed) {
            match step(&mut self.socket) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                other => return other,
            }
        }
        Err(io::Error::other("all is over"))
    }
}

impl Read for Line<'_> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.go_on(|socket| socket.read(bytes))
    }
}

impl Write for Line<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.go_on(|socket| socket.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A client that asks little, and wants its answer.
pub(crate) struct Neighbour<'a> {
    socket: TcpStream,
    clock: &'a ExecutorClock,
    waited: Vec<Duration>,
    /// The most that the executor ran while it waited for one answer.
    pub(crate) executor_ran: Duration,
}

impl<'a> Neighbour<'a> {
    pub(crate) fn connect(address: &str, clock: &'a ExecutorClock) -> io::Result<Self> {
        let mut socket = TcpStream::connect(address)?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.write_all(&metadata_request(1))?;
        read_frame(&mut socket)?;
        Ok(Self {
            socket,
            clock,
            waited: Vec::new(),
            executor_ran: Duration::ZERO,
        })
    }

    /// Sends heartbeats, one after the other, while `goes_on` says so.
    pub(crate) fn watch(&mut self, goes_on: impl Fn() -> bool) -> io::Result<()> {
        let heartbeat = request(ApiKey::Heartbeat, 0, 2, &HeartbeatRequest::default());
        while goes_on() {
            let (ran, asked) = (self.clock.now()?, Instant::now());
            self.socket.write_all(&heartbeat)?;
            read_frame(&mut self.socket)?;
            self.waited.push(asked.elapsed());
            self.executor_ran = self.executor_ran.max(self.clock.now()?.saturating_sub(ran));
            pause(BETWEEN_HEARTBEATS);
        }
        Ok(())
    }
}

/// How long the executor's thread has been on a core, as the kernel counts it: to a few milliseconds while it runs.
pub(crate) struct ExecutorClock(File);

impl ExecutorClock {
    pub(crate) fn of(process: u32) -> io::Result<Self> {
        for task in fs::read_dir(format!("/proc/{process}/task"))? {
            let task = task?.path();
            if fs::read_to_string(task.join("comm"))?.starts_with("executor-") {
                return Ok(Self(File::open(task.join("schedstat"))?));
            }
        }
        Err(io::Error::other("the proxy has no executor"))
    }

    pub(crate) fn now(&self) -> io::Result<Duration> {
        let mut bytes = [0; 64];
        let count = self.0.read_at(&mut bytes, 0)?;
        let text = String::from_utf8_lossy(&bytes[..count]);
        let on_core = text.split_ascii_whitespace().next().unwrap_or_default();
        on_core
            .parse()
            .map(Duration::from_nanos)
            .map_err(io::Error::other)
    }
}

// Not an executor's thread.
#[allow(clippy::disallowed_methods)]
fn pause(time: Duration) {
    thread::sleep(time);
}

/// So that it begins at any moment of the executor's turns.
const BETWEEN_HEARTBEATS: Duration = Duration::from_millis(1);
const LOOKS_UP_EVERY: Duration = Duration::from_millis(50);
/// A neighbour that waits for longer ends the measurement.
const PATIENCE: Duration = Duration::from_secs(120);
/// For shapes that are long, on a machine that is busy.
const SENT_WITHIN: Duration = Duration::from_secs(10);
/// What was taken in is worked off; whoever takes longer disturbs the next shape.
const WIND_DOWN_MAX: Duration = Duration::from_secs(30);
