//! The connections of one client: to whom, when again, what is unanswered on each, and what Metadata has told.
//!
//! - answers come in the order of the requests of a connection, or it is a panic.
//! - a request without its answer in time closes its connection; whatever is unanswered on a connection that ends is
//!   told of ([`Event::Unanswered`]).
//! - an address is connected to again only after a back-off that doubles.
//! - where it logs in, nothing else is sent before and within a login.
//! - a connection to where a node is no longer is closed, as librdkafka does and Java since KIP-1242.

mod cluster;
mod link;
mod login;
mod requests;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

pub(crate) use self::cluster::Cluster;
use self::link::{Asked, Link};
pub(crate) use self::login::Login;
use super::{Action, ClientSettings, Family, LinkId};
use crate::dice::Dice;

/// What has come of a request.
#[derive(Debug)]
pub(crate) enum Event {
    Answered { correlation_id: i32, frame: Vec<u8> },
    Unanswered { correlation_id: i32 },
}

/// Who is at the other end of a connection, as far as the client knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Peer {
    Bootstrap(usize),
    Node(i32),
}

pub(crate) type Address = (String, u16);

pub(crate) struct Network {
    settings: ClientSettings,
    topics: Vec<String>,
    /// Who it is, where that is asked.
    login: Option<Login>,
    pub(crate) cluster: Cluster,
    links: BTreeMap<LinkId, Link>,
    back_offs: BTreeMap<Peer, BackOff>,
    /// Nodes that want to be left alone until then.
    throttled: BTreeMap<i32, Duration>,
    next_link: u32,
    next_correlation_id: i32,
    metadata_due: Duration,
    metadata_asked: bool,
    actions: Vec<Action>,
    events: VecDeque<Event>,
    now: Duration,
    /// Something has come since the client acted.
    is_touched: bool,
}

#[derive(Clone, Copy, Default)]
struct BackOff {
    until: Duration,
    failures: u32,
}

impl Network {
    pub(crate) fn new(settings: ClientSettings) -> Self {
        let mut topics: Vec<String> = settings.places.iter().map(|(topic, _)| topic.clone()).collect();
        topics.dedup();
        Self {
            settings,
            topics,
            login: None,
            cluster: Cluster::default(),
            links: BTreeMap::new(),
            back_offs: BTreeMap::new(),
            throttled: BTreeMap::new(),
            next_link: 0,
            next_correlation_id: 0,
            metadata_due: Duration::ZERO,
            metadata_asked: false,
            actions: Vec::new(),
            events: VecDeque::new(),
            now: Duration::ZERO,
            is_touched: true,
        }
    }

    /// Whether there is nothing to do at `now`, if nothing but `due` is due.
    pub(crate) fn is_idle(&self, due: Option<Duration>, now: Duration) -> bool {
        !self.is_touched && due.is_none_or(|due| due > now)
    }

    /// There is something to do that nobody else tells of.
    pub(crate) fn touch(&mut self) {
        self.is_touched = true;
    }

    pub(crate) fn connected(&mut self, id: LinkId, now: Duration) {
        self.touch();
        if self.links.contains_key(&id) {
            let version = match self.settings.family {
                Family::Java => 5,
                Family::Librdkafka => 3,
            };
            self.ask_versions(id, version, now);
        }
    }

    /// The connection `id` is over, whoever ended it.
    pub(crate) fn ended(&mut self, id: LinkId, now: Duration) {
        self.touch();
        let Some(link) = self.links.remove(&id) else {
            return;
        };
        for sent in link.unanswered {
            match sent.asked {
                Asked::Metadata => self.metadata_asked = false,
                Asked::Versions | Asked::Mechanism | Asked::Token => {}
                Asked::Other => self.events.push_back(Event::Unanswered {
                    correlation_id: sent.correlation_id,
                }),
            }
        }
        let back_off = self.back_offs.entry(link.peer).or_default();
        let wait = BACK_OFF_MIN * 2_u32.pow(back_off.failures.min(5));
        back_off.until = now + wait;
        back_off.failures += 1;
        self.refresh(now);
    }

    pub(crate) fn received(&mut self, id: LinkId, bytes: &[u8], now: Duration) {
        self.touch();
        let Some(link) = self.links.get_mut(&id) else {
            return;
        };
        link.input.extend_from_slice(bytes);
        while let Some(frame) = self.links.get_mut(&id).and_then(Link::next_frame) {
            self.answered(id, frame, now);
        }
    }

    /// What has come of requests since the last call.
    pub(crate) fn next_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Ends what takes too long or is no longer where it should be. To be called before events are taken.
    pub(crate) fn begin(&mut self, now: Duration) {
        self.now = now;
        let over: Vec<LinkId> = self.late_links().chain(self.moved_links()).collect();
        for id in over {
            self.actions.push(Action::Close { id });
            self.ended(id, now);
        }
        self.renew_logins();
        self.is_touched = false;
    }

    /// Connects to `wanted` nodes, and asks for Metadata. To be called before anything is sent.
    pub(crate) fn connect_and_look(&mut self, wanted: &[i32], dice: &mut Dice) {
        match self.settings.family {
            Family::Java => wanted.iter().for_each(|&node| self.connect(Peer::Node(node))),
            Family::Librdkafka => {
                for node in self.cluster.nodes.keys().copied().collect::<Vec<_>>() {
                    self.connect(Peer::Node(node));
                }
            }
        }
        if self.metadata_due <= self.now && !self.metadata_asked {
            self.ask_metadata(dice);
        }
    }

    /// Asks the brokers soon who leads what.
    pub(crate) fn refresh(&mut self, now: Duration) {
        self.refresh_at(now + METADATA_AGAIN_AFTER);
    }

    /// Asks them then at the latest.
    pub(crate) fn refresh_at(&mut self, due: Duration) {
        self.metadata_due = self.metadata_due.min(due);
    }

    /// Whether a connection is not over.
    pub(crate) fn has(&self, id: LinkId) -> bool {
        self.links.contains_key(&id)
    }

    /// Sends nothing to `node` for so long.
    pub(crate) fn throttle(&mut self, node: i32, for_ms: i32, now: Duration) {
        if for_ms > 0 && self.settings.family == Family::Java {
            let until = now + Duration::from_millis(u64::try_from(for_ms).unwrap());
            self.throttled.insert(node, until);
        }
    }

    /// The connection to `node`, if it may be used now.
    pub(crate) fn ready(&self, node: i32) -> Option<LinkId> {
        if self.throttled.get(&node).is_some_and(|&until| until > self.now) {
            return None;
        }
        let (&id, _) = self
            .links
            .iter()
            .find(|(_, link)| link.peer == Peer::Node(node) && link.may_send())?;
        Some(id)
    }

    /// Any connection to a node that may be used now.
    pub(crate) fn any_ready(&self) -> Option<LinkId> {
        self.cluster.nodes.keys().find_map(|&node| self.ready(node))
    }

    /// Requests to it that are unanswered.
    pub(crate) fn in_flight(&self, id: LinkId) -> usize {
        self.links.get(&id).map_or(0, |link| link.unanswered.len())
    }

    /// What is to be done by the world, in this order.
    pub(crate) fn take_actions(&mut self) -> Vec<Action> {
        std::mem::take(&mut self.actions)
    }

    pub(crate) fn next_due(&self) -> Option<Duration> {
        let deadlines = self
            .links
            .values()
            .map(|link| link.deadline(self.settings.request_timeout));
        let back_offs = self.back_offs.values().map(|back_off| back_off.until);
        deadlines
            .chain(back_offs)
            .chain(self.links.values().filter_map(|link| link.login.due()))
            .chain(self.throttled.values().copied())
            .chain([self.metadata_due])
            .filter(|&due| due > self.now)
            .min()
    }

    fn late_links(&self) -> impl Iterator<Item = LinkId> {
        let is_late = |link: &Link| link.deadline(self.settings.request_timeout) <= self.now;
        self.links
            .iter()
            .filter(move |(_, link)| is_late(link))
            .map(|(&id, _)| id)
    }

    /// To librdkafka a bootstrap address at which a node turns out to be is that node's.
    fn adopt_bootstrap(&mut self) {
        if self.settings.family != Family::Librdkafka {
            return;
        }
        for (&node, address) in &self.cluster.nodes {
            let has_link = self.links.values().any(|link| link.peer == Peer::Node(node));
            let is_it = |link: &&mut Link| {
                !has_link && matches!(link.peer, Peer::Bootstrap(_)) && link.address == *address
            };
            if let Some(link) = self.links.values_mut().find(is_it) {
                link.peer = Peer::Node(node);
            }
        }
    }

    /// Connections to where a node was before it moved: another one may have taken the call.
    fn moved_links(&self) -> impl Iterator<Item = LinkId> {
        let is_moved = |link: &Link| match link.peer {
            Peer::Node(node) => self
                .cluster
                .nodes
                .get(&node)
                .is_some_and(|address| *address != link.address),
            Peer::Bootstrap(_) => false,
        };
        self.links
            .iter()
            .filter(move |(_, link)| is_moved(link))
            .map(|(&id, _)| id)
    }

    fn connect(&mut self, peer: Peer) {
        let is_known = self.links.values().any(|link| link.peer == peer);
        let waits = self
            .back_offs
            .get(&peer)
            .is_some_and(|back_off| back_off.until > self.now);
        let address = match peer {
            Peer::Bootstrap(index) => self.settings.bootstrap.get(index),
            Peer::Node(node) => self.cluster.nodes.get(&node),
        };
        let (false, false, Some(address)) = (is_known, waits, address) else {
            return;
        };
        let id = LinkId(self.next_link);
        self.next_link += 1;
        self.actions.push(Action::Connect {
            id,
            host: address.0.clone(),
            port: address.1,
        });
        self.links.insert(id, Link::new(peer, address.clone(), self.now));
    }
}

/// Doubled with each failure, up to 1.6 s.
const BACK_OFF_MIN: Duration = Duration::from_millis(50);
const METADATA_AGAIN_AFTER: Duration = Duration::from_millis(100);
