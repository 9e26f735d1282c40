//! The models of clients and of brokers against each other, with nothing between them but a network that gives bytes on
//! in pieces of any size: what is acknowledged is stored and read, exactly once where it has sequences, whatever
//! restarts and moves there are. What goes wrong in a whole world is then not the models' fault.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::NODES;
use super::brokers::{self, Brokers, ConnectionId};
use super::clients::producer::{Kind, Outcome};
use super::clients::{Action, Client, LinkId, Place};
use super::crowd::Crowd;
use super::faults::Fault;
use crate::dice::Dice;
use crate::seeds;

const SEEDS: u64 = 50;
const TOPICS: [(&str, i32); 2] = [("sealed-a", 3), ("pass-a", 2)];
/// `max.message.bytes` in some worlds: enough for one record, and for few more.
const TIGHT_BYTES: usize = 400;
/// As long as there are faults.
const TROUBLE: Duration = Duration::from_secs(20);
/// All of what was begun is over by then.
const END: Duration = Duration::from_secs(200);

#[test]
fn what_is_acknowledged_is_stored_and_read_whatever_happens_when() {
    let ended = seeds::each(SEEDS, |seed| Direct::new(seed).run());
    if (ended.len() as u64) < SEEDS {
        return;
    }
    let (faults, events): (Vec<_>, Vec<_>) = ended.into_iter().unzip();
    let faults: BTreeSet<Fault> = faults.into_iter().flatten().collect();
    let of_brokers = Fault::all().into_iter().take_while(|fault| *fault != Fault::Lied);
    assert!(
        faults.into_iter().eq(of_brokers),
        "all of it happens in some world"
    );
    let events: BTreeSet<Event> = events.into_iter().flatten().collect();
    let all = [
        Event::Committed,
        Event::Aborted,
        Event::Overdue,
        Event::Lost,
        Event::TooLarge,
    ];
    assert_eq!(Vec::from_iter(events), all, "all of it happens in some world");
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Committed,
    Aborted,
    Overdue,
    Lost,
    TooLarge,
}

/// A connection of a client, and what is on its way.
struct Pipe {
    connection: ConnectionId,
    to_broker: Vec<u8>,
    to_client: Vec<u8>,
}

struct Direct {
    brokers: Brokers,
    crowd: Crowd,
    pipes: BTreeMap<(usize, LinkId), Pipe>,
    dice: Dice,
    now: Duration,
    resting: bool,
    faults: BTreeSet<Fault>,
    seen: BTreeSet<Event>,
}

impl Direct {
    fn new(seed: u64) -> Self {
        let mut dice = Dice(seed);
        let places: Vec<Place> = TOPICS
            .iter()
            .flat_map(|(topic, partitions)| {
                (0..*partitions).map(|partition| ((*topic).to_owned(), partition))
            })
            .collect();
        let kinds = [
            Kind::Idempotent,
            Kind::Idempotent,
            Kind::Transactional,
            Kind::Plain { acks: -1 },
            Kind::Plain { acks: 1 },
            Kind::Plain { acks: 0 },
        ];
        let bootstrap = NODES.map(|node| (format!("10.0.0.{node}"), 9092));
        let mut brokers = Brokers::new(&NODES, &TOPICS, 2, seed);
        if seed.is_multiple_of(3) {
            brokers.set_max_message_bytes(TIGHT_BYTES);
        }
        Self {
            brokers,
            crowd: Crowd::new(&kinds, &places, &bootstrap, false, &mut dice),
            pipes: BTreeMap::new(),
            dice,
            now: Duration::ZERO,
            resting: false,
            faults: BTreeSet::new(),
            seen: BTreeSet::new(),
        }
    }

    fn run(mut self) -> (BTreeSet<Fault>, BTreeSet<Event>) {
        while !(self.resting && self.crowd.is_over(&self.brokers)) {
            assert!(
                self.now < END,
                "the world does not come to rest: {:#?}",
                self.crowd.unfinished(&self.brokers)
            );
            if !self.resting && self.now > TROUBLE {
                self.rests();
            }
            if !self.resting && self.dice.below(60) == 0 {
                self.goes_wrong();
            }
            self.clients_act();
            self.brokers.tick(self.now);
            let is_quiet = !self.carries_bytes();
            self.checks_requests();
            self.passes_time(is_quiet);
        }
        self.checks();
        (self.faults, self.seen)
    }

    /// The clients send nothing that a broker does not take, but for what is too large.
    fn checks_requests(&mut self) {
        for event in self.brokers.take_events() {
            match event {
                brokers::Event::Request { .. } => {}
                brokers::Event::BadBatch { code: 10, .. } => drop(self.seen.insert(Event::TooLarge)),
                other => panic!("{other:?}"),
            }
        }
    }

    fn client(&mut self, at: usize) -> &mut dyn Client {
        self.crowd.client(at)
    }

    fn clients_act(&mut self) {
        for at in 0..self.crowd.len() {
            let (now, mut dice) = (self.now, Dice(self.dice.below(u64::MAX)));
            for action in self.client(at).act(now, &mut dice) {
                self.does(at, action);
            }
        }
        self.crowd.note(|_, _| {});
    }

    fn does(&mut self, at: usize, action: Action) {
        let now = self.now;
        match action {
            Action::Connect { id, host, port } => match self.brokers.connect(&host, port) {
                None => self.client(at).failed(id, now),
                Some(connection) => {
                    let pipe = Pipe {
                        connection,
                        to_broker: Vec::new(),
                        to_client: Vec::new(),
                    };
                    self.pipes.insert((at, id), pipe);
                    self.client(at).connected(id, now);
                }
            },
            Action::Send { id, bytes } => {
                if let Some(pipe) = self.pipes.get_mut(&(at, id)) {
                    pipe.to_broker.extend(bytes);
                }
            }
            Action::Close { id } => {
                if let Some(pipe) = self.pipes.remove(&(at, id)) {
                    self.brokers.end(pipe.connection);
                }
            }
        }
    }

    /// Gives pieces of what is on its way on; whether there were any.
    fn carries_bytes(&mut self) -> bool {
        let (mut carried, mut ended) = (false, Vec::new());
        let keys: Vec<_> = self.pipes.keys().copied().collect();
        for key in keys {
            let (now, resting) = (self.now, self.resting);
            let pipe = self.pipes.get_mut(&key).expect("the connection is there");
            if !pipe.to_broker.is_empty() {
                let piece = self.dice.piece(&mut pipe.to_broker, resting);
                self.brokers.receive(pipe.connection, &piece, now);
                carried = true;
            }
            pipe.to_client
                .extend(self.brokers.take_output(pipe.connection, now));
            if !pipe.to_client.is_empty() {
                let piece = self.dice.piece(&mut pipe.to_client, resting);
                self.client(key.0).received(key.1, &piece, now);
                carried = true;
            } else if self.brokers.is_closed(pipe.connection) {
                ended.push(key);
            }
        }
        for key in ended {
            let pipe = self.pipes.remove(&key).expect("the connection is there");
            self.brokers.end(pipe.connection);
            let now = self.now;
            self.client(key.0).closed(key.1, now);
            carried = true;
        }
        carried
    }

    fn passes_time(&mut self, is_quiet: bool) {
        if !is_quiet {
            self.now += Duration::from_millis(self.dice.below(4));
            return;
        }
        let brokers = self.brokers.next_due();
        let due = self
            .crowd
            .next_due()
            .into_iter()
            .chain(brokers)
            .min()
            .unwrap_or(END);
        let soon = self.now + Duration::from_millis(1);
        self.now = due.max(soon).min(self.now + Duration::from_millis(200));
    }

    fn goes_wrong(&mut self) {
        let fault = match self.dice.below(6) {
            nth @ 0..Fault::AT_BROKERS => Fault::at_brokers(nth, &mut self.brokers, &mut self.dice),
            _ => {
                let quota = [None, Some(20_000)][self.dice.below(2) as usize];
                self.brokers.set_quota(quota);
                quota.and(Some(Fault::Throttled))
            }
        };
        self.faults.extend(fault);
    }

    fn rests(&mut self) {
        self.resting = true;
        self.brokers.set_quota(None);
        self.brokers.start_all();
        self.crowd.rest();
    }

    fn checks(&mut self) {
        self.crowd.check(&self.brokers);
        for producer in &self.crowd.producers {
            assert!(
                !producer.acknowledged().is_empty() || producer.settings().kind == Kind::Plain { acks: 0 }
            );
        }
        let is_seen = [
            (Event::Lost, self.crowd.has_lost(&self.brokers)),
            (Event::Overdue, !self.crowd.overdue().is_empty()),
            (Event::Committed, self.crowd.has_outcome(Outcome::Committed)),
            (Event::Aborted, self.crowd.has_outcome(Outcome::Aborted)),
        ];
        let seen = is_seen.into_iter().filter(|(_, is_seen)| *is_seen);
        self.seen.extend(seen.map(|(event, _)| event));
        let read: Vec<usize> = self
            .crowd
            .accounts
            .iter()
            .map(|account| account.delivered().values().map(BTreeMap::len).sum())
            .collect();
        assert_eq!(read[2], read[3], "two that read everything read the same");
    }
}
