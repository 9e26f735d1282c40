//! What an executor asks of the control thread. Each kind is bounded by itself, so that none of them keeps another
//! waiting.
//!
//! - ERRANDS-1: what does not fit into the channel waits here and is sent with a tick; addresses are never dropped.
//! - ERRANDS-2: of addresses, one request of each cluster is on its way; what responses tell meanwhile is collected,
//!   the newest address of each node, and is the next.
//! - ERRANDS-3: of refusals for the audit log, and of notices for the log, one list is on its way or waits; what finds
//!   it full is counted elsewhere and not written to the log.
//!
//! Executor threads only.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use crate::audit::AuditQueue;
use crate::broker_login::TokenWish;
use crate::channel::Sender;
use crate::config::HostPort;
use crate::identity::sasl::exchange::PasswordCheck;
use crate::identity::sasl::initiator::Hashing;
use crate::ids::{ClusterId, ListenerId};
use crate::messages::{ControlRequest, Notice};
use crate::messages::{HiddenBrokers, LearnedAddress, LookSubject};

/// See the module.
pub(crate) struct Errands {
    executor: usize,
    control: Sender<ControlRequest>,
    unsent: RefCell<VecDeque<ControlRequest>>,
    /// By cluster.
    addresses: RefCell<HashMap<ClusterId, ToSpread>>,
    notices: RefCell<Vec<Notice>>,
    /// The newest of each listener.
    hidden: RefCell<Vec<HiddenBrokers>>,
    /// The control thread has a clone of it while it has a list of refusals.
    audit_turn: Arc<()>,
}

#[derive(Default)]
struct ToSpread {
    /// A request is on its way (ERRANDS-2).
    asked: bool,
    next: HashMap<i32, HostPort>,
}

impl Errands {
    pub(crate) fn new(executor: usize, control: Sender<ControlRequest>) -> Self {
        Self {
            executor,
            control,
            unsent: RefCell::default(),
            addresses: RefCell::default(),
            notices: RefCell::default(),
            hidden: RefCell::default(),
            audit_turn: Arc::new(()),
        }
    }

    /// The addresses of a host are wanted; beyond the bound whoever asked runs into its own deadline.
    pub(crate) fn resolve(&self, host: HostPort) {
        if self.unsent.borrow().len() < UNSENT_MAX {
            let executor = self.executor;
            self.send(ControlRequest::Resolve { executor, host });
        }
    }

    /// A password is to be hashed; beyond the bound whoever waits runs into its own deadline.
    pub(crate) fn check_password(&self, connection: u32, check: PasswordCheck) {
        if self.unsent.borrow().len() < UNSENT_MAX {
            let executor = self.executor;
            self.send(ControlRequest::CheckPassword {
                executor,
                connection,
                check,
            });
        }
    }

    /// A password of the proxy's own is to be hashed; beyond the bound it is asked for again.
    pub(crate) fn hash_password(&self, cluster: ClusterId, hashing: Hashing) {
        if self.unsent.borrow().len() < UNSENT_MAX {
            self.send(ControlRequest::HashPassword { cluster, hashing });
        }
    }

    /// A delegation token is to be made; beyond the bound it is asked for again.
    pub(crate) fn make_token(&self, cluster: ClusterId, wish: TokenWish) {
        if self.unsent.borrow().len() < UNSENT_MAX {
            let executor = self.executor;
            self.send(ControlRequest::MakeToken {
                executor,
                cluster,
                wish,
            });
        }
    }

    /// A topic is to be looked at; beyond the bound it is asked for again.
    pub(crate) fn look_at_topic(&self, subject: LookSubject) {
        if self.unsent.borrow().len() < UNSENT_MAX {
            self.send(ControlRequest::LookAtTopic(subject));
        }
    }

    /// A key set is to be fetched; beyond the bound the client tries again.
    pub(crate) fn fetch_keys(&self, listener: ListenerId) {
        if self.unsent.borrow().len() < UNSENT_MAX {
            self.send(ControlRequest::FetchKeys { listener });
        }
    }

    /// Has addresses made known to every executor.
    pub(crate) fn learn(&self, cluster: ClusterId, learned: Vec<LearnedAddress>) {
        if learned.is_empty() {
            return;
        }
        let learned = learned
            .into_iter()
            .map(|learned| (learned.node_id, learned.address));
        self.addresses
            .borrow_mut()
            .entry(cluster)
            .or_default()
            .next
            .extend(learned);
        self.send_addresses(cluster);
    }

    /// The control thread has spread addresses of this cluster: the next may be sent.
    pub(crate) fn spread(&self, cluster: ClusterId) {
        if let Some(addresses) = self.addresses.borrow_mut().get_mut(&cluster) {
            addresses.asked = false;
        }
        self.send_addresses(cluster);
    }

    /// Something is to be said in the log.
    pub(crate) fn notice(&self, notice: Notice) {
        let mut list = self.notices.borrow_mut();
        if list.len() < NOTICES_MAX && list.iter().all(|known| known.kind != notice.kind) {
            list.push(notice);
        }
    }

    /// Listeners hide other brokers than before.
    pub(crate) fn hidden(&self, news: Vec<HiddenBrokers>) {
        let mut waiting = self.hidden.borrow_mut();
        for news in news {
            waiting.retain(|older| older.cluster != news.cluster || older.listener != news.listener);
            waiting.push(news);
        }
    }

    /// Sends what waits; of `audit` nothing while an earlier list is on its way.
    pub(crate) fn tick(&self, audit: &mut AuditQueue) {
        let mut unsent = self.unsent.borrow_mut();
        while let Some(request) = unsent.pop_front() {
            if let Err(request) = self.control.try_send(request) {
                unsent.push_front(request);
                return;
            }
        }
        drop(unsent);
        let mut notices = self.notices.borrow_mut();
        if !notices.is_empty()
            && let Err(ControlRequest::Notices(back)) = self
                .control
                .try_send(ControlRequest::Notices(std::mem::take(&mut *notices)))
        {
            *notices = back;
        }
        let mut hidden = self.hidden.borrow_mut();
        if !hidden.is_empty()
            && let Err(ControlRequest::Hidden(back)) = self
                .control
                .try_send(ControlRequest::Hidden(std::mem::take(&mut *hidden)))
        {
            *hidden = back;
        }
        if !audit.is_empty() && Arc::strong_count(&self.audit_turn) == 1 {
            let request = ControlRequest::Audit {
                list: audit.take(),
                turn: Arc::clone(&self.audit_turn),
            };
            if let Err(ControlRequest::Audit { list, .. }) = self.control.try_send(request) {
                audit.put_back(list);
            }
        }
    }

    fn send_addresses(&self, cluster: ClusterId) {
        let mut addresses = self.addresses.borrow_mut();
        let Some(addresses) = addresses.get_mut(&cluster) else {
            return;
        };
        if addresses.asked || addresses.next.is_empty() {
            return;
        }
        addresses.asked = true;
        let learned = addresses
            .next
            .drain()
            .map(|(node_id, address)| LearnedAddress { node_id, address })
            .collect();
        self.send(ControlRequest::Learn { cluster, learned });
    }

    /// Now, or behind what waits.
    fn send(&self, request: ControlRequest) {
        let mut unsent = self.unsent.borrow_mut();
        if !unsent.is_empty() {
            unsent.push_back(request);
        } else if let Err(request) = self.control.try_send(request) {
            unsent.push_back(request);
        }
    }
}

/// Names that wait to be looked up: as many as connections of one executor, which each wait for one.
const UNSENT_MAX: usize = 10_000;
/// Kinds of notices between two ticks: the log says each once a minute.
const NOTICES_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::{Operation, Reason, RefusedRecords};
    use crate::channel::channel;
    use crate::identity::Client;
    use crate::ids::Id as _;
    use crate::messages::{ConnectError, NoticeKind};

    fn told(port: u16) -> Vec<LearnedAddress> {
        vec![LearnedAddress {
            node_id: 1,
            address: HostPort {
                host: "kafka".to_owned(),
                port,
            },
        }]
    }

    /// ERRANDS-2
    #[test]
    fn addresses_go_one_request_at_a_time_and_the_newest_wins() {
        let (sender, mut requests) = channel(8);
        let errands = Errands::new(0, sender);
        let (main, other) = (ClusterId::from_number(0), ClusterId::from_number(1));
        for port in 1..=3 {
            errands.learn(main, told(port));
        }
        errands.learn(other, told(9));
        let mut sent = || match requests.try_recv() {
            Some(ControlRequest::Learn { cluster, learned }) => Some((cluster, learned)),
            _ => None,
        };
        assert_eq!(sent(), Some((main, told(1))));
        assert_eq!(sent(), Some((other, told(9))), "another cluster does not wait");
        assert_eq!(sent(), None);
        errands.spread(main);
        assert_eq!(sent(), Some((main, told(3))));
        errands.spread(main);
        assert_eq!(sent(), None);
    }

    /// ERRANDS-1
    #[test]
    fn addresses_are_sent_later_when_the_channel_is_full() {
        let (sender, mut requests) = channel(1);
        let errands = Errands::new(0, sender);
        for cluster in (0..3).map(ClusterId::from_number) {
            errands.learn(cluster, told(1));
        }
        for expected in (0..3).map(ClusterId::from_number) {
            errands.tick(&mut AuditQueue::default());
            let Some(ControlRequest::Learn { cluster, .. }) = requests.try_recv() else {
                panic!("{expected:?} is sent");
            };
            assert_eq!(cluster, expected);
        }
    }

    /// ERRANDS-3
    #[test]
    fn one_list_of_refusals_is_on_its_way() {
        let (sender, mut requests) = channel(8);
        let errands = Errands::new(0, sender);
        let refusal = || RefusedRecords {
            cluster: "main".into(),
            client: Client::default(),
            operation: Operation::Fetch,
            topic: "payments".into(),
            partition: 0,
            offset: 1,
            reason: Reason::TooManyKeys,
            kek: None,
        };
        let mut audit = AuditQueue::default();
        audit.push(refusal());
        errands.tick(&mut audit);
        assert!(audit.is_empty());
        audit.push(refusal());
        errands.tick(&mut audit);
        assert!(!audit.is_empty(), "the first was not taken yet");
        drop(requests.try_recv());
        errands.tick(&mut audit);
        assert!(audit.is_empty());
    }

    #[test]
    fn each_kind_of_notice_is_told_once_a_tick() {
        let (sender, mut requests) = channel(8);
        let errands = Errands::new(0, sender);
        for node in (0..100).chain(0..100) {
            let LearnedAddress { address, .. } = told(9092).remove(0);
            errands.notice(Notice {
                kind: NoticeKind::NoBroker {
                    cluster: ClusterId::from_number(0),
                    node: Some(node),
                    address,
                    error: ConnectError::TimedOut,
                },
                client: Client::default(),
                fault: None,
            });
        }
        errands.tick(&mut AuditQueue::default());
        let Some(ControlRequest::Notices(list)) = requests.try_recv() else {
            panic!("they are told");
        };
        assert_eq!(list.len(), NOTICES_MAX);
        errands.tick(&mut AuditQueue::default());
        assert!(requests.try_recv().is_none());
    }
}
