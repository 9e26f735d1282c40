//! Addresses of one cluster's brokers on their way to every executor, in rounds of two messages: what was learned, and
//! then that everybody has it.
//!
//! - SPREAD-1: the second message goes out when the first is in every executor's channel: a client that is told of a
//!   node finds its address, whichever executor takes its connection.
//! - SPREAD-2: a round begins [`ROUND_INTERVAL`] after the last at the earliest. What is wanted meanwhile is collected,
//!   the newest address of each node, so that a broker that tells others all the time costs other clusters nothing.
//! - SPREAD-3: nobody is waited for here: an executor whose channel is full delays this cluster's round and nothing
//!   else.
//!
//! Pure: the time is a parameter. The control thread only.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::sending::RETRY_AFTER;
use crate::channel::Sender;
use crate::config::HostPort;
use crate::ids::ClusterId;
use crate::messages::ExecutorMessage;
use crate::messages::LearnedAddress;
use crate::pipeline::AddressBook;

/// See the module.
pub(super) struct Spread {
    cluster: ClusterId,
    name: String,
    /// What is known; whoever keeps it in a file watches it.
    book: watch::Sender<AddressBook>,
    wanted: BTreeMap<i32, HostPort>,
    /// Somebody waits for the end of a round that begins from now on.
    asked: bool,
    round: Option<Round>,
    not_before: Option<Instant>,
    /// News that the log was not told of, and when it was told last.
    unlogged: usize,
    logged: Option<Instant>,
}

struct Round {
    learned: Arc<[LearnedAddress]>,
    /// The first message is in every channel.
    is_learned: bool,
    /// Executors that do not have the current message yet.
    left: Vec<usize>,
}

impl Spread {
    pub(super) fn new(cluster: ClusterId, name: String, book: AddressBook) -> Self {
        Self {
            cluster,
            name,
            book: watch::Sender::new(book),
            wanted: BTreeMap::new(),
            asked: false,
            round: None,
            not_before: None,
            unlogged: 0,
            logged: None,
        }
    }

    /// The book, whenever it changes.
    pub(super) fn watch(&self) -> watch::Receiver<AddressBook> {
        self.book.subscribe()
    }

    /// An executor wants these addresses to be known to all.
    pub(super) fn want(&mut self, learned: Vec<LearnedAddress>) {
        self.asked = true;
        let learned = learned
            .into_iter()
            .map(|learned| (learned.node_id, learned.address));
        self.wanted.extend(learned);
    }

    /// Sends what can be sent now; says when to go on, if there is more to do.
    pub(super) fn advance(&mut self, now: Instant, executors: &[Sender<ExecutorMessage>]) -> Option<Instant> {
        loop {
            let Some(round) = &mut self.round else {
                if !self.asked {
                    return None;
                }
                if let Some(not_before) = self.not_before.filter(|not_before| now < *not_before) {
                    return Some(not_before);
                }
                self.begin(now, executors.len());
                continue;
            };
            let cluster = self.cluster;
            round.left.retain(|executor| {
                let message = if round.is_learned {
                    ExecutorMessage::Spread { cluster }
                } else {
                    let learned = Arc::clone(&round.learned);
                    ExecutorMessage::Learned { cluster, learned }
                };
                let sender = executors.get(*executor);
                sender.is_some_and(|sender| sender.try_send(message).is_err())
            });
            if !round.left.is_empty() {
                return Some(now + RETRY_AFTER);
            }
            if round.is_learned {
                self.round = None;
            } else {
                round.is_learned = true;
                round.left = (0..executors.len()).collect();
            }
        }
    }

    fn begin(&mut self, now: Instant, executors: usize) {
        self.asked = false;
        self.not_before = Some(now + ROUND_INTERVAL);
        let learned: Arc<[LearnedAddress]> = std::mem::take(&mut self.wanted)
            .into_iter()
            .map(|(node_id, address)| LearnedAddress { node_id, address })
            .collect();
        let mut news = 0;
        self.book.send_if_modified(|book| {
            for address in learned.iter() {
                news = usize::saturating_add(news, book.learn(address.clone()).into());
            }
            book.spread();
            news > 0
        });
        self.round = Some(Round {
            learned,
            is_learned: false,
            left: (0..executors).collect(),
        });
        self.unlogged = self.unlogged.saturating_add(news);
        let is_due = self
            .logged
            .is_none_or(|logged| now.saturating_duration_since(logged) >= LOG_INTERVAL);
        if self.unlogged > 0 && is_due {
            let changes = std::mem::take(&mut self.unlogged);
            self.logged = Some(now);
            let known = self.book.borrow().entries().len();
            tracing::info!(
                cluster = self.name,
                changes,
                known,
                "addresses of brokers learned"
            );
        }
    }
}

/// Fifty rounds a second: a client that waits for one does not notice, and nobody else does.
const ROUND_INTERVAL: Duration = Duration::from_millis(20);
/// How often the log says that a cluster's addresses change.
const LOG_INTERVAL: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channel::{Receiver, channel};
    use crate::ids::Id as _;

    fn told(node_id: i32, port: u16) -> LearnedAddress {
        LearnedAddress {
            node_id,
            address: HostPort {
                host: "kafka".to_owned(),
                port,
            },
        }
    }

    /// Ports that were learned, or `None` where it said that they are spread.
    fn taken(receiver: &mut Receiver<ExecutorMessage>) -> Vec<Option<Vec<u16>>> {
        let mut taken = Vec::new();
        while let Some(message) = receiver.try_recv() {
            taken.push(match message {
                ExecutorMessage::Learned { learned, .. } => {
                    Some(learned.iter().map(|learned| learned.address.port).collect())
                }
                ExecutorMessage::Spread { .. } => None,
                _ => panic!("nothing else is sent"),
            });
        }
        taken
    }

    fn spread() -> Spread {
        Spread::new(
            ClusterId::from_number(0),
            "main".to_owned(),
            AddressBook::default(),
        )
    }

    /// SPREAD-1, SPREAD-3, CONTROL-1
    #[test]
    fn nobody_is_told_before_every_channel_has_the_address() {
        let (slow, mut slow_end) = channel(1);
        let (fast, mut fast_end) = channel(8);
        let executors = [fast, slow];
        let now = Instant::now();
        let mut spread = spread();
        let mut other = Spread::new(
            ClusterId::from_number(1),
            "other".to_owned(),
            AddressBook::default(),
        );
        assert!(executors[1].try_send(ExecutorMessage::Stop).is_ok(), "full");
        spread.want(vec![told(1, 9092)]);
        assert_eq!(spread.advance(now, &executors), Some(now + RETRY_AFTER));
        assert_eq!(taken(&mut fast_end), [Some(vec![9092])]);
        assert_eq!(spread.advance(now, &executors), Some(now + RETRY_AFTER));
        assert!(taken(&mut fast_end).is_empty(), "the other has no room yet");
        assert!(slow_end.try_recv().is_some());
        assert_eq!(spread.advance(now, &executors), Some(now + RETRY_AFTER));
        assert_eq!(taken(&mut fast_end), [None], "it is in both channels");
        assert_eq!(taken(&mut slow_end), [Some(vec![9092])]);
        assert_eq!(spread.advance(now, &executors), None);
        assert_eq!(taken(&mut slow_end), [None]);
        // A cluster's round is its own.
        other.want(vec![told(1, 9093)]);
        assert!(other.advance(now, &executors[..1]).is_none());
        assert_eq!(taken(&mut fast_end), [Some(vec![9093]), None]);
    }

    /// SPREAD-2
    #[test]
    fn rounds_keep_their_distance_and_the_newest_address_wins() {
        let (sender, mut receiver) = channel(8);
        let executors = [sender];
        let now = Instant::now();
        let mut spread = spread();
        spread.want(vec![told(1, 1)]);
        assert_eq!(spread.advance(now, &executors), None);
        assert_eq!(
            taken(&mut receiver),
            [Some(vec![1]), None],
            "the first goes at once"
        );
        for port in 2..2000 {
            spread.want(vec![told(1, port)]);
            let almost = now + ROUND_INTERVAL - Duration::from_nanos(1);
            assert_eq!(spread.advance(almost, &executors), Some(now + ROUND_INTERVAL));
        }
        assert!(taken(&mut receiver).is_empty());
        assert_eq!(spread.advance(now + ROUND_INTERVAL, &executors), None);
        assert_eq!(taken(&mut receiver), [Some(vec![1999]), None]);
        let book = spread.watch();
        assert_eq!(book.borrow().get(1).map(|address| address.port), Some(1999));
    }

    /// Whoever asks is answered, also where it is no news here: it may be to the one who asks.
    #[test]
    fn what_is_known_is_answered_too() {
        let (sender, mut receiver) = channel(8);
        let executors = [sender];
        let now = Instant::now();
        let mut spread = spread();
        let mut book = spread.watch();
        for round in 0..2 {
            spread.want(vec![told(1, 1)]);
            assert_eq!(spread.advance(now + round * ROUND_INTERVAL, &executors), None);
            assert_eq!(taken(&mut receiver), [Some(vec![1]), None]);
        }
        assert!(book.has_changed().is_ok_and(|changed| changed));
        book.mark_unchanged();
        spread.want(vec![told(1, 1)]);
        spread.advance(now + 2 * ROUND_INTERVAL, &executors);
        assert!(
            book.has_changed().is_ok_and(|changed| !changed),
            "nothing to write"
        );
    }
}
