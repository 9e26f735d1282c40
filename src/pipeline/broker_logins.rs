//! Logins of the proxy's own at brokers: by which account they are made, and whom it is told what became of them.
//!
//! - BROKER-LOGINS-1: each login that has ended is counted, and is an event of the audit log where there is one.

use std::sync::Arc;
use std::time::Instant;

use super::{Cluster, Pipeline};
use crate::audit::{AuditEvent, BrokerLogin};
use crate::broker_login::{AccountFor, AccountName, BrokerAccount};
use crate::identity::{Client, Principal};
use crate::ids::ClusterId;
use crate::metrics::{BrokerLoginFault, BrokerLoginKind, BrokerLoginResult};

/// A login at a broker that has ended.
pub(crate) struct EndedLogin<'a> {
    /// Where the broker was reached; `None`: it did not come to that.
    pub(crate) broker: Option<&'a str>,
    /// The node on whose port the client came.
    pub(crate) node: Option<i32>,
    /// By which account, if there is one.
    pub(crate) account: Option<&'a AccountName>,
    /// The connection had been logged in there before.
    pub(crate) again: bool,
    /// `None`: it has ended well.
    pub(crate) fault: Option<BrokerLoginFault>,
}

impl Cluster {
    /// Whether the proxy logs in at its brokers.
    #[must_use]
    pub fn makes_logins(&self) -> bool {
        self.login_kind().is_some()
    }

    /// How it does so.
    fn login_kind(&self) -> Option<BrokerLoginKind> {
        let listed = self.accounts.as_ref().map(|accounts| accounts.kind());
        let made = self.tokens.as_ref().map(|_| BrokerLoginKind::DelegationTokens);
        listed.or(made)
    }
}

impl Pipeline {
    /// Who the proxy is at brokers of a cluster for this client; `None`: it does not log in there.
    pub(crate) fn account_for(
        &mut self,
        cluster: ClusterId,
        principal: Option<&Principal>,
        now: Instant,
    ) -> Option<AccountFor> {
        let known = self.clusters.get_mut(cluster)?;
        let listed = known.accounts.as_ref();
        let listed = listed.map(|accounts| accounts.find(principal, now));
        let tokens = known.tokens.as_mut().zip(principal);
        let made = tokens.map(|(book, principal)| {
            let (account, wish) = book.of(principal, now);
            self.token_wishes.extend(wish.map(|wish| (cluster, wish)));
            account
        });
        let nobody = known.tokens.is_some().then_some(AccountFor::Nobody);
        listed.or(made).or(nobody)
    }

    /// Brokers have refused a token (TOKENS-1).
    pub(crate) fn token_refused(
        &mut self,
        cluster: ClusterId,
        principal: Option<&Principal>,
        account: &Arc<BrokerAccount>,
    ) {
        let book = self
            .clusters
            .get_mut(cluster)
            .and_then(|cluster| cluster.tokens.as_mut());
        if let Some((book, principal)) = book.zip(principal) {
            book.refused(principal, account);
        }
    }

    /// BROKER-LOGINS-1
    pub(crate) fn broker_login(&mut self, cluster: ClusterId, client: &Client, ended: &EndedLogin<'_>) {
        let Some(cluster) = self.clusters.get(cluster) else {
            return;
        };
        let Some(kind) = cluster.login_kind() else {
            return;
        };
        let result = match ended.fault {
            Some(fault) => fault.result(),
            None if ended.again => BrokerLoginResult::Renewed,
            None => BrokerLoginResult::Accepted,
        };
        self.metrics.connections.broker_login(kind, result);
        if !self.audit_state.is_on() {
            return;
        }
        let login = BrokerLogin {
            cluster: Arc::clone(&cluster.rules.name),
            client: client.clone(),
            broker: ended.broker.map(Into::into),
            node: ended.node,
            kind,
            account: ended.account.cloned(),
            again: ended.again,
        };
        self.audit.push_event(match ended.fault {
            Some(reason) => AuditEvent::BrokerLoginRefused { login, reason },
            None => AuditEvent::BrokerLoginAccepted(login),
        });
    }
}
