//! What executors have to say in the log: each kind once a minute, and not more than so many in a second.

use std::time::Instant;

use crate::broker_login::AccountName;
use crate::config::HostPort;
use crate::foreign::Foreign;
use crate::identity::Principal;
use crate::ids::{ClusterId, Ids, ListenerId};
use crate::messages::{ConnectError, Notice, NoticeKind};
use crate::metrics::CloseReason;
use crate::repeats::{News, Repeats};

/// Writes what was not written lately. The control thread only.
pub(super) struct Notices {
    said: Repeats<NoticeKind>,
    names: Ids,
}

impl Notices {
    pub(super) fn new(names: Ids) -> Self {
        Self {
            said: Repeats::new(),
            names,
        }
    }

    /// Writes a notice unless the same was written a moment ago; says whether it was.
    pub(super) fn write(&mut self, notice: &Notice, now: Instant) -> bool {
        let News::Say { left_out } = self.said.news(notice.kind.clone(), now) else {
            return false;
        };
        if left_out > 0 {
            tracing::warn!(left_out, "notices were not written: too many in a second");
        }
        let client = notice.client.address.map(|address| address.to_string());
        let client_id = Foreign::new(&*notice.client.id).to_string();
        match &notice.kind {
            NoticeKind::NoBroker {
                cluster,
                node,
                address,
                error,
            } => self.write_no_broker(*cluster, *node, address, error),
            NoticeKind::Handshake {
                listener, looks_like, ..
            } => self.write_handshake(*listener, *looks_like, notice),
            NoticeKind::Login {
                listener, claimed, ..
            } => {
                self.write_login(*listener, claimed.as_ref(), notice);
            }
            NoticeKind::BrokerLogin { .. } => self.write_broker_login(notice),
            NoticeKind::Closed {
                listener,
                reason: _,
                looks_like: Some(looks_like),
            } => self.write_no_kafka(*listener, looks_like, notice),
            NoticeKind::Closed {
                listener,
                reason: CloseReason::Loop,
                looks_like: None,
            } => tracing::error!(
                listener = self.names.listeners.name(*listener),
                client,
                "a connection of this proxy has come back to it and is refused: a port forward, a load balancer or \
                 another proxy leads here instead of to a broker; look at bootstrap, node_addresses, the state file \
                 and the brokers' advertised addresses"
            ),
            NoticeKind::Closed {
                listener,
                reason: CloseReason::TooManyProxies,
                looks_like: None,
            } => tracing::warn!(
                listener = self.names.listeners.name(*listener),
                client,
                client_id,
                "a connection that says that it has passed eight other proxies is refused: they lead to each other, or \
                 the client has made it up"
            ),
            NoticeKind::Closed {
                listener,
                reason,
                looks_like: None,
            } => tracing::warn!(
                listener = self.names.listeners.name(*listener),
                client,
                client_id,
                reason = reason.as_str(),
                fault = notice.fault,
                "a connection was closed"
            ),
        }
        true
    }

    fn write_no_kafka(&self, listener: ListenerId, looks_like: &str, notice: &Notice) {
        tracing::warn!(
            listener = self.names.listeners.name(listener),
            client = notice.client.address.map(|address| address.to_string()),
            looks_like,
            "this is no Kafka client: the port takes Kafka's protocol, and nothing in front of it"
        );
    }

    fn write_no_broker(
        &self,
        cluster: ClusterId,
        node: Option<i32>,
        address: &HostPort,
        error: &ConnectError,
    ) {
        tracing::warn!(
            cluster = self.names.clusters.name(cluster),
            node,
            address = address.to_string(),
            %error,
            "no broker could be connected to: clients are disconnected until one can"
        );
    }

    fn write_broker_login(&self, notice: &Notice) {
        let NoticeKind::BrokerLogin {
            cluster,
            principal,
            reason,
            account,
        } = &notice.kind
        else {
            return;
        };
        tracing::warn!(
            cluster = self.names.clusters.name(*cluster),
            principal = principal.as_ref().map(crate::audit::shown),
            account = account.as_ref().map(AccountName::to_string),
            reason = reason.as_str(),
            client = notice.client.address.map(|address| address.to_string()),
            client_id = Foreign::new(&*notice.client.id).to_string(),
            fault = notice.fault,
            "the proxy could not log in at a broker for a client"
        );
    }

    fn write_login(&self, listener: ListenerId, claimed: Option<&Principal>, notice: &Notice) {
        tracing::warn!(
            listener = self.names.listeners.name(listener),
            client = notice.client.address.map(|address| address.to_string()),
            client_id = Foreign::new(&*notice.client.id).to_string(),
            claimed = claimed.map(crate::audit::shown),
            fault = notice.fault,
            "a client could not log in"
        );
    }

    fn write_handshake(&self, listener: ListenerId, looks_like: Option<&'static str>, notice: &Notice) {
        let listener = self.names.listeners.name(listener);
        let client = notice.client.address.map(|address| address.to_string());
        match looks_like {
            Some(looks_like) => tracing::warn!(
                listener,
                client,
                looks_like,
                "this client speaks no TLS, and the port speaks nothing else: set security.protocol to SSL (or \
                 SASL_SSL) in the client"
            ),
            None => tracing::warn!(
                listener,
                client,
                fault = notice.fault,
                "TLS was not agreed on with a client: docs/authentication.md has such faults and their causes"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::Client;
    use crate::ids::Id as _;
    use crate::metrics::BrokerLoginFault;
    use crate::repeats::KEPT;

    fn no_broker(port: u16, error: ConnectError) -> Notice {
        let host = "kafka-1".to_owned();
        Notice {
            kind: NoticeKind::NoBroker {
                cluster: ClusterId::from_number(0),
                node: None,
                address: HostPort { host, port },
                error,
            },
            client: Client::default(),
            fault: None,
        }
    }

    fn closed(listener: u32, looks_like: Option<&'static str>, client: u16) -> Notice {
        Notice {
            kind: NoticeKind::Closed {
                listener: ListenerId::from_number(listener),
                reason: CloseReason::DeniedApi,
                looks_like,
            },
            client: Client::at(([127, 0, 0, 1], client).into()),
            fault: None,
        }
    }

    #[test]
    fn each_kind_is_said_once_a_minute_whoever_it_is() {
        let mut notices = Notices::new(Ids::default());
        let now = Instant::now();
        assert!(notices.write(&closed(0, Some("a TLS ClientHello"), 1), now));
        assert!(!notices.write(&closed(0, Some("a TLS ClientHello"), 2), now));
        assert!(notices.write(&closed(0, Some("an HTTP request"), 2), now));
        assert!(notices.write(&closed(0, None, 2), now));
        assert!(notices.write(&closed(1, None, 2), now), "another listener");
        assert!(notices.write(&closed(0, None, 3), now + KEPT));
    }

    /// Whoever's token could not be made a moment ago is told of the account that a broker refuses.
    #[test]
    fn each_fault_of_a_login_at_a_broker_is_said_with_its_account() {
        let mut notices = Notices::new(Ids::default());
        let now = Instant::now();
        let failed = |reason, user: Option<&str>| Notice {
            kind: NoticeKind::BrokerLogin {
                cluster: ClusterId::from_number(0),
                principal: Principal::named("app-1"),
                reason,
                account: user.map(|user| AccountName {
                    mechanism: "PLAIN",
                    user: Some(user.into()),
                }),
            },
            client: Client::default(),
            fault: None,
        };
        assert!(notices.write(&failed(BrokerLoginFault::NoToken, None), now));
        assert!(!notices.write(&failed(BrokerLoginFault::NoToken, None), now));
        for (user, is_written) in [("team-a", true), ("team-b", true), ("team-a", false)] {
            let refused = failed(BrokerLoginFault::Refused, Some(user));
            assert_eq!(notices.write(&refused, now), is_written, "{user}");
        }
    }

    #[test]
    fn each_address_is_said_with_each_cause() {
        let mut notices = Notices::new(Ids::default());
        let now = Instant::now();
        assert!(notices.write(&no_broker(1, ConnectError::TimedOut), now));
        assert!(!notices.write(&no_broker(1, ConnectError::TimedOut), now));
        assert!(notices.write(&no_broker(2, ConnectError::TimedOut), now));
        assert!(notices.write(&no_broker(1, ConnectError::NoDescriptor), now));
    }
}
