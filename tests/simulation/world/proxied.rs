//! Worlds around the whole program: its executors, connections, keys and addresses between models of clients, of
//! brokers and of KMSs. Nothing happens but what the dice and the clock say, so that a world can be lived through
//! again, byte for byte.
//!
//! - PROXIED-1: the same seed is the same world, byte for byte.
//! - what must be true of each is in [`checks`].

mod checks;
mod faults;
mod key_checks;
mod key_faults;
mod key_setup;
mod links;
mod log;
mod login_checks;
mod login_setup;
mod logins;
mod program;
mod trace;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use sealwire::keys::canary;

use self::checks::Checks;
use self::key_setup::KeySetup;
use self::links::{ClientLink, Links};
use self::login_setup::Upstream;
use self::logins::{LoginFault, LoginWorld};
use self::program::{PORT, Program};
use self::trace::say;
use super::NODES;
use super::brokers::Brokers;
use super::clients::producer::Kind;
use super::clients::value::is_refused;
use super::clients::{Action, Client, Family, Place};
use super::crowd::Crowd;
use super::faults::Fault;
use super::kms::SimulatedKms;
use crate::dice::Dice;
use crate::{randomness, seeds};

const TOPICS: [(&str, i32); 4] = [("sealed-a", 2), ("other-a", 1), ("pass-a", 1), ("unruled-a", 1)];
const KINDS: [Kind; 6] = [
    Kind::Idempotent,
    Kind::Idempotent,
    Kind::Transactional,
    Kind::Plain { acks: -1 },
    Kind::Plain { acks: 1 },
    Kind::Plain { acks: 0 },
];
/// So many clients where they log in: what they do is seen in other worlds.
const LOGIN_PRODUCERS: [usize; 3] = [0, 2, 3];
const LOGIN_CONSUMERS: usize = 2;
/// One world of so many has long frames and little memory.
const HEAVY: u64 = 8;
/// As many worlds as `make test` lives through.
const SEEDS: u64 = 500;
/// As long as there are faults.
const TROUBLE: Duration = Duration::from_secs(8);
/// What was begun is over so long after the last of them.
const END: Duration = Duration::from_secs(100);

/// What became of a world.
pub(crate) struct Ended {
    pub(crate) seen: BTreeSet<Fault>,
    /// See [`Crowd::overdue`].
    overdue: BTreeSet<(Family, bool)>,
    /// Of every byte that went towards clients and brokers, in its order.
    pub(crate) digest: u64,
}

struct World {
    program: Program,
    kms: Vec<Arc<SimulatedKms>>,
    brokers: Brokers,
    crowd: Crowd,
    links: Links,
    checks: Checks,
    keys: KeySetup,
    /// Where clients log in.
    logins: Option<LoginWorld>,
    dice: Dice,
    digest: Digest,
    /// How much of what the program writes a connection takes before it is read.
    room: usize,
    /// One round of so many brings a fault: where they are rare, what lasts can be seen.
    calm: u64,
    resting: bool,
    seen: BTreeSet<Fault>,
}

/// Lives through a world, on a thread that nothing else uses.
///
/// # Panics
/// When something is not as it must be.
pub(crate) fn live(seed: u64) -> Ended {
    randomness::seed(seed);
    let mut world = World::new(seed, false);
    world.run();
    world.program.end();
    Ended {
        seen: world.seen,
        overdue: world.crowd.overdue(),
        digest: world.digest.0,
    }
}

impl World {
    fn new(seed: u64, has_logins: bool) -> Self {
        let mut dice = Dice(seed);
        let is_heavy = seed.is_multiple_of(HEAVY) && !has_logins;
        // Long answers have to get through before those that wait for them give up.
        let room_min = if is_heavy { 1 << 13 } else { 0 };
        let places: Vec<Place> = TOPICS
            .iter()
            .filter(|(topic, _)| !(has_logins && is_refused(topic)))
            .flat_map(|(topic, partitions)| (0..*partitions).map(|place| ((*topic).to_owned(), place)))
            .collect();
        let bootstrap = [("127.0.0.1".to_owned(), PORT)];
        let kms = vec![
            SimulatedKms::new(*b"one.", &["payments"], Dice(dice.below(u64::MAX))),
            SimulatedKms::new(*b"two.", &["other"], Dice(dice.below(u64::MAX))),
        ];
        let mut crowd = Crowd::new(&KINDS, &places, &bootstrap, is_heavy, &mut dice);
        let mut brokers = Brokers::new(&NODES, &TOPICS, 2, dice.below(u64::MAX));
        let mut logins = has_logins.then(|| LoginWorld::new(&mut dice));
        if let Some(logins) = &logins {
            crowd.shrink(&LOGIN_PRODUCERS, LOGIN_CONSUMERS);
            logins
                .at_brokers(&mut dice)
                .into_iter()
                .for_each(|logins| brokers.set_logins(logins));
        }
        let setup = logins.as_mut().map(|logins| &mut logins.setup);
        let mut keys = KeySetup::new(seed);
        let program = Program::new(kms.clone(), is_heavy, setup, &mut keys, &mut dice);
        keys.tell(&program);
        if let Some(logins) = &mut logins {
            logins.name(&mut crowd, program.realtime(), &mut dice);
        }
        Self {
            crowd,
            brokers,
            program,
            keys,
            logins,
            room: room_min.max(1 << (8 + dice.below(12))),
            calm: 20 << dice.below(5),
            links: Links::default(),
            checks: Checks::default(),
            digest: Digest::default(),
            resting: false,
            seen: BTreeSet::new(),
            kms,
            dice,
        }
    }

    fn run(&mut self) {
        while !(self.resting && self.crowd.is_over(&self.brokers)) {
            assert!(
                self.program.now < TROUBLE + END,
                "the world does not come to rest: {:#?}",
                self.crowd.unfinished(&self.brokers)
            );
            if !self.resting && self.program.now > TROUBLE {
                self.rest();
            }
            if !self.resting && self.dice.below(self.calm) == 0 {
                self.go_wrong();
            }
            self.issue_tokens();
            self.clients_act();
            self.brokers.tick(self.program.now);
            let ran = self.program_runs();
            let carried = self.carry();
            self.look();
            self.restart_drained();
            self.pass_time(ran || carried);
        }
        self.crowd.check(&self.brokers);
        self.check_told();
        self.check_refused();
        self.check_stored();
    }

    fn client(&mut self, at: usize) -> &mut dyn Client {
        self.crowd.client(at)
    }

    fn clients_act(&mut self) {
        for at in 0..self.crowd.len() {
            // A connection that cannot be made may be asked for anew at once.
            loop {
                let (now, mut dice) = (self.program.now, Dice(self.dice.below(u64::MAX)));
                let actions = self.client(at).act(now, &mut dice);
                if actions.is_empty() {
                    break;
                }
                for action in actions {
                    self.does(at, action);
                }
            }
        }
    }

    fn does(&mut self, at: usize, action: Action) {
        let now = self.program.now;
        match action {
            Action::Connect { id, host, port } => {
                say(now, format_args!("client {at} connects to port {port} ({id:?})"));
                let from = SocketAddr::from(([10, 1, 0, at as u8], 1024 + (id.0 % 60_000) as u16));
                let to = format!("{host}:{port}")
                    .parse()
                    .expect("the program's own address");
                match self.program.connect(from, to, self.room) {
                    None => self.client(at).failed(id, now),
                    Some(stream) => {
                        self.encrypt_some(&stream);
                        let node = port.checked_sub(PORT).filter(|node| *node > 0).map(i32::from);
                        let mut link = ClientLink::new(stream, node);
                        if self.program.is_behind_balancer {
                            link.say(&preface(from, to, &mut self.dice));
                        }
                        self.links.clients.insert((at, id), link);
                        self.client(at).connected(id, now);
                    }
                }
            }
            Action::Send { id, bytes } => {
                if let Some(link) = self.links.clients.get_mut(&(at, id)) {
                    link.send(at, &bytes);
                }
            }
            Action::Close { id } => {
                self.client_leaves((at, id));
            }
        }
    }

    /// Some of what could go on does, in any order; says whether there was anything.
    fn program_runs(&mut self) -> bool {
        let mut ran = false;
        for _ in 0..1 + self.dice.below(12) {
            let awake = self.program.server().awake() as u64;
            // One more: the control thread.
            match self.dice.below(awake + 1) {
                nth if nth < awake => {
                    ran = true;
                    self.program.server().poll(nth as usize);
                }
                _ => self.program.server().control_turn(),
            }
        }
        ran
    }

    fn pass_time(&mut self, is_busy: bool) {
        let by = if is_busy {
            Duration::from_micros(self.dice.below(3000))
        } else {
            let now = self.program.now;
            let due = [self.crowd.next_due(), self.brokers.next_due()]
                .into_iter()
                .flatten()
                .min();
            let due = due.map_or(IDLE_MAX, |due| due.saturating_sub(now));
            due.min(self.program.next_due())
                .clamp(Duration::from_micros(1), IDLE_MAX)
        };
        self.program.pass(by);
    }
}

/// What a load balancer says first of a client's connection, or of one of its own (PROXY protocol, versions 1 and 2).
fn preface(from: SocketAddr, to: SocketAddr, dice: &mut Dice) -> Vec<u8> {
    let (client, port) = (from.ip(), from.port());
    match dice.below(3) {
        0 => format!("PROXY TCP4 {client} {} {port} {}\r\n", to.ip(), to.port()).into_bytes(),
        1 => b"PROXY UNKNOWN\r\n".to_vec(),
        _ => b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0".to_vec(),
    }
}

/// Nobody waits longer at once: what the control thread waits for is not known.
const IDLE_MAX: Duration = Duration::from_millis(20);

/// FNV-1a over all that is added.
struct Digest(u64);

impl Default for Digest {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Digest {
    fn add(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
}

/// PROXIED-1, SIMULATED-1
#[test]
fn a_seed_is_the_same_world_to_the_byte() {
    fn is_the_same(live: impl Fn() -> u64 + Copy + Send + 'static) {
        let [first, second] = [0, 1].map(|_| thread::spawn(live).join());
        assert_eq!(first.expect("a world"), second.expect("a world"));
    }
    // With short frames, and with long ones.
    for seed in [3, 125 * HEAVY] {
        is_the_same(move || live(seed).digest);
    }
    for seed in [2, 4] {
        is_the_same(move || live_with_logins(seed).digest);
    }
}

/// CHECKS-3, CHECKS-6, and the others at their places.
#[test]
fn nothing_is_lost_leaked_or_stuck_whatever_happens_when() {
    let ended = seeds::each(SEEDS, live);
    if (ended.len() as u64) < SEEDS {
        return;
    }
    let overdue: BTreeSet<_> = ended.iter().flat_map(|ended| &ended.overdue).collect();
    assert_eq!(
        overdue.len(),
        4,
        "each family gives up what it sent and what it did not: {overdue:?}"
    );
    let seen: BTreeSet<Fault> = ended.into_iter().flat_map(|ended| ended.seen).collect();
    assert_eq!(
        Vec::from_iter(seen),
        Fault::all(),
        "all of it happens in some world"
    );
}

/// Lives through a world in which clients log in, and the program does.
///
/// # Panics
/// When something is not as it must be.
pub(crate) fn live_with_logins(seed: u64) -> LoginsEnded {
    login_setup::prepare();
    let logged = log::look();
    randomness::seed(seed);
    let mut world = World::new(seed, true);
    world.run();
    let by_clients = world.renewed_by_clients();
    world.program.end();
    drop(logged);
    let logins = world.logins.expect("there are some");
    LoginsEnded {
        upstream: logins.setup.upstream,
        renewed: [logins.renewed, by_clients.0, by_clients.1],
        lines: log::lines(),
        seen: logins.seen,
        digest: world.digest.0,
    }
}

/// What became of a world with logins.
pub(crate) struct LoginsEnded {
    upstream: Upstream,
    seen: BTreeSet<LoginFault>,
    /// At brokers, by clients, and by clients while requests were unanswered.
    renewed: [u64; 3],
    /// Of the log.
    lines: u64,
    digest: u64,
}

/// CHECKS-3, CHECKS-11, CHECKS-12, CHECKS-13
#[test]
fn nothing_is_lost_leaked_or_stuck_where_logins_are_made_and_renewed() {
    let ended = seeds::each(SEEDS, live_with_logins);
    if (ended.len() as u64) < SEEDS {
        return;
    }
    let upstreams: BTreeSet<Upstream> = ended.iter().map(|ended| ended.upstream).collect();
    assert_eq!(upstreams.len(), 4, "{upstreams:?}");
    for renewed in 0..3 {
        let renewed: u64 = ended.iter().map(|ended| ended.renewed[renewed]).sum();
        assert!(renewed > SEEDS, "logins are renewed");
    }
    assert!(ended.iter().any(|ended| ended.lines > 0), "the log is looked at");
    let seen: BTreeSet<LoginFault> = ended.into_iter().flat_map(|ended| ended.seen).collect();
    assert_eq!(
        Vec::from_iter(seen),
        LoginFault::ALL,
        "all of it happens in some world"
    );
}

/// An alarm that never rings proves nothing.
#[test]
fn a_fault_that_is_put_in_is_found() {
    let found = seeds::each_until_wrong(0..SEEDS, |seed| {
        canary::let_out(true);
        live(seed);
    });
    let (_, said) = found
        .map(drop)
        .expect_err("a world notices that revocations are not heeded");
    // Nor are those of a KEK that nobody has confirmed for the grace.
    let kept = ["after the KEK was refused", "after the KEK was confirmed"];
    assert!(kept.iter().any(|words| said.contains(words)), "{said}");
}
