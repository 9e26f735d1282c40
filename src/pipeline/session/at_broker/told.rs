//! What is told of renewals: to the audit log, the counters, and whoever closes the connection.

use std::sync::Arc;

use super::AtBroker;
use crate::broker_login::{AccountFor, AccountName, BrokerAccount, LoginError};
use crate::metrics::{BrokerLoginFault, CloseReason};
use crate::pipeline::session::Session;
use crate::pipeline::{EndedLogin, Pipeline};

/// Which broker it is at.
#[derive(Clone, Debug)]
pub struct ReachedBroker {
    /// Where it was reached.
    pub address: String,
    /// The node on whose port the client came.
    pub node: Option<i32>,
}

/// Why a login at a broker came to nothing.
#[derive(Clone, Debug)]
pub struct BrokerFault {
    /// In one word.
    pub reason: BrokerLoginFault,
    /// In words, for the log.
    pub why: String,
    /// By which account, if there is one.
    pub account: Option<AccountName>,
}

impl Session {
    /// Why a login at the broker was not renewed, where that has ended the connection.
    pub fn broker_login_fault(&self) -> Option<&BrokerFault> {
        self.at_broker.as_ref()?.fault.as_ref()
    }

    /// The same, told as [`Self::tell_renewal`] does.
    pub(super) fn tell_fault(&self, pipeline: &mut Pipeline) {
        if let Some(fault) = self.broker_login_fault() {
            self.tell_renewal(pipeline, Err(fault));
        }
    }

    /// Counts a renewal that is over, by this account or in vain, and has the audit log tell of it (BROKER-LOGINS-1).
    pub(super) fn tell_renewal(&self, pipeline: &mut Pipeline, ended: Result<&AccountName, &BrokerFault>) {
        let Some(at_broker) = &self.at_broker else {
            return;
        };
        let (account, fault) = match ended {
            Ok(account) => (Some(account), None),
            Err(fault) => (fault.account.as_ref(), Some(fault.reason)),
        };
        let ended = EndedLogin {
            broker: Some(&at_broker.broker.address),
            node: at_broker.broker.node,
            account,
            again: true,
            fault,
        };
        pipeline.broker_login(self.listener.cluster, &self.client, &ended);
    }
}

impl AtBroker {
    /// A renewal by the account that the connection has came to nothing.
    pub(super) fn note(&mut self, reason: BrokerLoginFault, why: &str) {
        let account = Arc::clone(&self.account);
        self.note_of(Some(&account), reason, why);
    }

    pub(super) fn note_of(&mut self, account: Option<&BrokerAccount>, reason: BrokerLoginFault, why: &str) {
        self.fault = Some(BrokerFault {
            reason,
            why: why.to_owned(),
            account: account.map(|account| account.name.clone()),
        });
    }

    /// There is none to renew it by.
    pub(super) fn no_account(&mut self, found: Option<AccountFor>) -> CloseReason {
        match found {
            Some(AccountFor::NoToken(no_token)) => {
                self.note_of(None, BrokerLoginFault::NoToken, &no_token.why);
                match no_token.is_refused {
                    true => CloseReason::BrokerLogin,
                    false => CloseReason::LoginUnavailable,
                }
            }
            _ => {
                let why = "no account is for this principal any more";
                self.note_of(None, BrokerLoginFault::NoAccount, why);
                CloseReason::BrokerLogin
            }
        }
    }

    /// AT-BROKER-3
    pub(super) fn fail(&mut self, error: &LoginError) -> CloseReason {
        let is_token = self.account.is_token();
        let reason = match error.kind() {
            BrokerLoginFault::Refused if is_token => BrokerLoginFault::TokenRefused,
            kind => kind,
        };
        let renewal = self.renewal.take();
        let account = renewal.map_or_else(|| Arc::clone(&self.account), |renewal| renewal.account);
        self.note_of(Some(&account), reason, &error.to_string());
        match error {
            // The client comes again, by when there is another token.
            LoginError::Refused { .. } if is_token => CloseReason::LoginUnavailable,
            LoginError::Refused { .. } => CloseReason::BrokerLogin,
            _ => CloseReason::UnexpectedResponse,
        }
    }
}
