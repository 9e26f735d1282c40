//! Has a broker make a delegation token. Blocks.
#![expect(clippy::disallowed_methods, reason = "no executor uses it")]

use std::fmt::Display;
use std::io::ErrorKind;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use arc_swap::ArcSwap;

use crate::broker_login::{Admission, BrokerAccount, BrokerAccounts, DelegationToken, LoginError, Trial};
use crate::config::{ClusterConfig, HostPort, OwnAccount, UpstreamLogin};
use crate::identity::Principal;
use crate::identity::sasl::exchange::LoginMechanism;
use crate::identity::sasl::initiator::{Account, Credential, Proof};
use crate::identity::sasl::verifier::Mechanism;
use crate::kafka_client::{BrokerClient, ClientError, MadeToken, Patience};
use crate::protocol::error_code::{
    CLUSTER_AUTHORIZATION_FAILED, DELEGATION_TOKEN_AUTH_DISABLED, DELEGATION_TOKEN_AUTHORIZATION_FAILED,
    DELEGATION_TOKEN_REQUEST_NOT_ALLOWED, INVALID_PRINCIPAL_TYPE, UNSUPPORTED_VERSION,
};
use crate::transport::tls_client::{ClientSet, UpstreamTls};

/// What tokens of one cluster are made with.
pub(super) struct Maker {
    brokers: Vec<HostPort>,
    upstream_tls: Option<UpstreamTls>,
    own: OwnAccount,
    lifetime: Duration,
    /// Whom the proxy was when it was asked last.
    account: ArcSwap<BrokerAccounts>,
}

/// Why there is no token.
#[derive(Debug)]
pub(super) struct NotMade {
    /// Not before somebody changes something.
    pub(super) is_refused: bool,
    pub(super) why: String,
}

impl NotMade {
    /// It may be made a moment later.
    pub(super) fn outage(why: &dyn Display) -> Self {
        Self {
            is_refused: false,
            why: format!("no token could be made: {why}"),
        }
    }

    fn refused(why: &dyn Display) -> Self {
        Self {
            is_refused: true,
            why: format!("no token is made: {why}"),
        }
    }
}

impl Maker {
    /// Of a cluster whose brokers make tokens.
    pub(super) fn of(cluster: &ClusterConfig) -> Option<Self> {
        let Some(UpstreamLogin::DelegationTokens {
            own,
            lifetime,
            made_at,
        }) = &cluster.upstream_login
        else {
            return None;
        };
        let brokers = match made_at.as_slice() {
            [] => &cluster.bootstrap,
            made_at => made_at,
        };
        Some(Self {
            brokers: brokers.to_vec(),
            upstream_tls: cluster.upstream_tls.clone(),
            own: own.clone(),
            lifetime: *lifetime,
            account: ArcSwap::default(),
        })
    }

    /// One that has nobody to ask, and a secret that is there.
    #[cfg(test)]
    pub(super) fn nowhere() -> Self {
        Self {
            brokers: Vec::new(),
            upstream_tls: None,
            own: OwnAccount::Password {
                mechanism: LoginMechanism::Plain,
                user: "sealwire".to_owned(),
                password: crate::secret_source::SecretSource::Environment("PATH".to_owned()),
            },
            lifetime: Duration::from_secs(3600),
            account: ArcSwap::default(),
        }
    }

    /// Who the proxy is, as its secret is now: one that was refused is left alone (STANDING-2). `None`: whoever its
    /// certificate says.
    pub(super) fn own_account(&self) -> Result<Option<Arc<BrokerAccount>>, String> {
        let credential = self.own.read().map_err(|error| error.to_string())?;
        let Some(credential) = credential else {
            return Ok(None);
        };
        let accounts = BrokerAccounts::for_all(credential, &self.account.load());
        let account = accounts.of("").cloned();
        self.account.store(Arc::new(accounts));
        Ok(account)
    }

    /// Has one made by the first broker that makes it: what one refuses another may grant.
    pub(super) fn make(&self, owner: &Principal) -> Result<DelegationToken, NotMade> {
        let deadline = Instant::now() + MAKE_MAX;
        let account = self.own_account().map_err(|error| NotMade::outage(&error))?;
        let tls = self.upstream_tls.as_ref();
        let tls = tls.map(|tls| tls.load(SystemTime::now())).transpose();
        let tls = tls.map_err(|error| NotMade::outage(&error))?;
        let mut last = NotMade::outage(&"there is nobody to ask");
        for (place, broker) in self.brokers.iter().enumerate() {
            let brokers = u32::try_from(self.brokers.len().saturating_sub(place)).unwrap_or(u32::MAX);
            let left = deadline.saturating_duration_since(Instant::now());
            let until = Instant::now() + left.checked_div(brokers).unwrap_or_default();
            match self.make_at(broker, tls.as_ref(), account.as_ref(), owner, until) {
                // What the first one has refused is what there is to mend.
                Err(_) if last.is_refused => {}
                Err(failed) => last = failed,
                made => return made,
            }
        }
        Err(last)
    }

    fn make_at(
        &self,
        broker: &HostPort,
        tls: Option<&ClientSet>,
        account: Option<&Arc<BrokerAccount>>,
        owner: &Principal,
        until: Instant,
    ) -> Result<DelegationToken, NotMade> {
        // A time-out of zero would be none at all.
        let left = until.saturating_duration_since(Instant::now());
        let left = left.max(Duration::from_millis(1));
        let patience = Patience {
            connect: left,
            answer: left,
            answer_bytes_max: ANSWER_BYTES_MAX,
        };
        let connected = BrokerClient::connect(&broker.to_string(), tls, patience);
        let mut client = connected.map_err(|error| NotMade::outage(&error))?;
        client.wait_until(until);
        if let Some(account) = account {
            log_in(&mut client, account, &broker.to_string(), until)?;
        }
        let made = client.make_token(owner.name(), self.lifetime);
        self.token(made.map_err(|error| not_made(&error, owner))?)
    }

    fn token(&self, made: MadeToken) -> Result<DelegationToken, NotMade> {
        let good_for = made.good_for.min(self.lifetime);
        if good_for < GOOD_FOR_MIN {
            let why = format!(
                "brokers make it good for {good_for:?} only: look at delegation.token.max.lifetime.ms and \
                 delegation.token.expiry.time.ms"
            );
            return Err(NotMade::refused(&why));
        }
        let mechanism = match self.own {
            OwnAccount::Password {
                mechanism: LoginMechanism::Scram(mechanism),
                ..
            } => mechanism,
            _ => Mechanism::Sha256,
        };
        let account = Account::new(made.id, made.hmac);
        let credential = Credential::new(Proof::Scram(mechanism, account, Some("tokenauth=true")));
        let issued = Instant::now();
        Ok(DelegationToken {
            account: Arc::new(BrokerAccount::of_token(credential, issued)),
            renew_at: issued + good_for.mul_f64(0.5),
            ends: issued + good_for,
        })
    }
}

fn log_in(
    client: &mut BrokerClient,
    account: &Arc<BrokerAccount>,
    broker: &str,
    until: Instant,
) -> Result<(), NotMade> {
    let _trial = admit(account, broker, until)?;
    match client.log_in(account) {
        Ok(()) => {
            account.standing.accepted(broker);
            Ok(())
        }
        Err(ClientError::Login {
            source: error @ LoginError::Refused { .. },
            ..
        }) => {
            account.standing.refused(broker, Instant::now());
            let why = format!(
                "brokers do not take the proxy's own account, {}: {error}",
                account.name
            );
            Err(NotMade::refused(&why))
        }
        Err(error) => Err(NotMade::outage(&error)),
    }
}

fn admit(account: &BrokerAccount, broker: &str, until: Instant) -> Result<Option<Trial>, NotMade> {
    loop {
        match account.standing.admit(broker, Instant::now()) {
            Admission::Free => return Ok(None),
            Admission::Alone(trial) => return Ok(Some(trial)),
            Admission::Refused => {
                return Err(NotMade::refused(
                    &"brokers did not take the proxy's own account a moment ago, and it is left alone for a while",
                ));
            }
            Admission::Later if Instant::now() >= until => {
                return Err(NotMade::outage(&"the proxy's own account is tried for too long"));
            }
            Admission::Later => thread::sleep(LOOK_AGAIN),
        }
    }
}

/// What a broker's answer means, and what to do.
fn not_made(error: &ClientError, owner: &Principal) -> NotMade {
    let code = match error {
        ClientError::Refused { code, .. } => *code,
        ClientError::Broker { source, .. } if source.kind() == ErrorKind::UnexpectedEof => {
            let why = format!("{error} (brokers older than Kafka 3.3 make no tokens for others)");
            return NotMade::outage(&why);
        }
        _ => return NotMade::outage(error),
    };
    let what_to_do = match code {
        DELEGATION_TOKEN_AUTH_DISABLED => {
            "brokers have no delegation tokens: give each the same delegation.token.secret.key".to_owned()
        }
        DELEGATION_TOKEN_AUTHORIZATION_FAILED | CLUSTER_AUTHORIZATION_FAILED => format!(
            "the proxy's own account has no right to that: allow it CREATE_TOKENS for {:?} (kafka-acls \
             --user-principal)",
            owner.to_string()
        ),
        DELEGATION_TOKEN_REQUEST_NOT_ALLOWED => {
            "brokers make none for whoever comes so: the proxy's own account may be no token, and the listener has to \
             ask for SASL or for a certificate (ssl.client.auth)"
                .to_owned()
        }
        INVALID_PRINCIPAL_TYPE | UNSUPPORTED_VERSION => {
            "brokers do not make tokens for others: Kafka 3.3 or newer does".to_owned()
        }
        _ => return NotMade::outage(error),
    };
    NotMade::refused(&what_to_do)
}

/// Less than executors wait.
const MAKE_MAX: Duration = Duration::from_secs(8);
const ANSWER_BYTES_MAX: u64 = 64 * 1024;
/// Another has to settle within half of it.
const GOOD_FOR_MIN: Duration = Duration::from_secs(20);
const LOOK_AGAIN: Duration = Duration::from_millis(20);
