//! What one listener tells its clients of brokers: its own addresses, in place of theirs.
//!
//! - ADDRESS-1: a client is never told a broker's own address: one that the listener does not serve is left out.
//!
//! Executor threads only; it does not change while the program runs, but for whether brokers are hidden.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::config::{ClientAuth, ListenerConfig};
use crate::identity::{Client, Principal};
use crate::ids::ClusterId;
use crate::protocol::ProtocolError;
use crate::protocol::addresses::{Rewrite, rewrite};
use crate::protocol::policy::Policy;
use crate::rules::{Asking, GroupRules, Principals, is_named};

/// See the module.
#[derive(Clone, Debug)]
pub struct ListenerMap {
    /// Its cluster.
    pub cluster: ClusterId,
    /// Which APIs its clients may use: the cluster's.
    pub policy: Policy,
    /// The listener's name in the configuration.
    pub name: Arc<str>,
    /// Who may change the cluster, of clients that have names.
    admin_for: Option<Principals>,
    /// Whose groups and transactional ids are whose, where clients have names and brokers do not learn them.
    groups_for: Option<GroupRules>,
    /// Who vouches for its clients.
    pub client_auth: ClientAuth,
    /// Brokers see whom the configuration says.
    own_logins: bool,
    /// What clients are told of each node.
    addresses: HashMap<i32, (Box<str>, u16)>,
    /// Whether any broker is hidden from its clients, for all executors (HIDDEN-3).
    hides: Arc<AtomicBool>,
}

impl ListenerMap {
    /// The map of a listener of `cluster`.
    pub fn new(cluster: ClusterId, listener: &ListenerConfig) -> Self {
        Self {
            cluster,
            policy: match listener.client_auth.names_clients() {
                false => Policy::BY_NAME,
                true => Policy::BY_NAME.for_named_clients(),
            },
            admin_for: None,
            groups_for: None,
            client_auth: listener.client_auth,
            own_logins: false,
            name: listener.name.as_str().into(),
            addresses: listener
                .node_addresses()
                .map(|(node_id, host, port)| (node_id, (host.into(), port)))
                .collect(),
            hides: Arc::default(),
        }
    }

    /// The same, where these may change the cluster.
    #[must_use]
    pub fn administered_by(self, admin_for: Option<Principals>) -> Self {
        Self { admin_for, ..self }
    }

    /// The same, where the proxy logs in at brokers for clients: what would be about that login is not offered, whether
    /// clients have names or not.
    #[must_use]
    pub fn of_own_logins(self) -> Self {
        Self {
            policy: Policy::BY_NAME.for_named_clients(),
            own_logins: true,
            ..self
        }
    }

    /// The same, where brokers see one client whoever asks: what its clients with names use has to be theirs.
    #[must_use]
    pub fn authorising(self, groups_for: GroupRules) -> Self {
        if !self.client_auth.names_clients() {
            return self;
        }
        Self {
            policy: self.policy.by_name_alone(),
            groups_for: Some(groups_for),
            ..self
        }
    }

    /// By what the groups of `client` are told from others', if it may not use just anything.
    pub(super) fn groups_of(&self, client: &Client) -> Option<&GroupRules> {
        self.groups_for.as_ref().filter(|_| !self.may_administer(client))
    }

    /// Whether no client is let in by a broker.
    pub(super) fn ends_logins(&self) -> bool {
        self.own_logins || self.client_auth == ClientAuth::Network
    }

    /// Whether `client` may change the cluster. Where clients have no names, brokers decide.
    pub(super) fn may_administer(&self, client: &Client) -> bool {
        is_named(self.admin_for.as_ref(), self.asking(client))
    }

    /// Whom rules are asked about, where `client` wants something.
    pub(super) fn asking<'c>(&self, client: &'c Client) -> Asking<'c> {
        match self.client_auth.names_clients() {
            false => Asking::Anybody,
            true => Asking::Principal(client.principal.as_ref().map(Principal::name)),
        }
    }

    /// Whether a node is served.
    pub(super) fn serves(&self, node_id: i32) -> bool {
        self.addresses.contains_key(&node_id)
    }

    /// The ids of the nodes that are served.
    pub(super) fn nodes(&self) -> impl Iterator<Item = i32> {
        self.addresses.keys().copied()
    }

    pub(super) fn set_hides(&self, hides: bool) {
        // Nothing else depends on it.
        self.hides.store(hides, Ordering::Relaxed);
    }

    pub(super) fn hides(&self) -> bool {
        self.hides.load(Ordering::Relaxed)
    }

    /// What clients are told of a node (ADDRESS-1).
    pub(super) fn address_of(&self, node_id: i32) -> Rewrite<'_> {
        match self.addresses.get(&node_id) {
            Some((host, port)) => Rewrite::Replace { host, port: *port },
            None => Rewrite::Unserved,
        }
    }

    /// Writes a response anew with the listener's own addresses; says how much of the frame that stands for, behind
    /// which the rest is to follow as it is, and how many brokers in it are not served.
    pub(super) fn rewrite(
        &self,
        api_key: i16,
        version: i16,
        frame: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(usize, u64), ProtocolError> {
        let mut unserved = 0_u64;
        let mut map = |node_id| {
            let address = self.address_of(node_id);
            if matches!(address, Rewrite::Unserved) {
                unserved = unserved.saturating_add(1);
            }
            address
        };
        let written = rewrite(api_key, version, frame, &mut map, out)?;
        Ok((written, unserved))
    }
}
