//! How `inspect` reaches brokers: as its arguments say, or as the proxy of a configuration does.
//!
//! - INSPECT-3: a secret that is sent as it is (PLAIN, OAUTHBEARER) goes to nobody without TLS, but where the
//!   configuration of the proxy says that it may.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use clap::Args;

use super::InspectError;
use crate::broker_login::{BrokerAccount, bearer};
use crate::config::{ClusterConfig, Config, Overrides, OwnAccount};
use crate::identity::sasl::exchange::LoginMechanism;
use crate::issuer::FETCH_TIMEOUT;
use crate::issuer::token::fetch_token;
use crate::kafka_client::{BrokerClient, ClientError, PATIENT};
use crate::secret_source::SecretSource;
use crate::transport::certificates::CertificateFiles;
use crate::transport::suites::TlsChoice;
use crate::transport::tls_client::{ClientSet, Trust, UpstreamTls};

#[derive(Debug, Args)]
pub(super) struct BrokerArguments {
    /// A broker, to read a topic from: HOST:PORT. Name the broker itself: through the proxy records are opened
    #[arg(long, value_name = "HOST:PORT", requires = "topic")]
    pub(super) bootstrap: Option<String>,
    /// Reach brokers as the proxy with this configuration does: by its bootstrap, its `upstream_tls`, and the account
    /// of its own that `upstream_login` names (kinds `one` and `delegation_tokens`)
    #[arg(long, value_name = "FILE", requires = "topic", conflicts_with = "tls_ca")]
    pub(super) config: Option<PathBuf>,
    /// Which cluster of that configuration, if it has several
    #[arg(long, value_name = "NAME", requires = "config")]
    cluster: Option<String>,
    /// Speak TLS to brokers that these authorities vouch for: a PEM file, or `system` for those of this host
    #[arg(long, value_name = "FILE", requires = "bootstrap")]
    tls_ca: Option<PathBuf>,
    /// Show brokers this certificate: a PEM file
    #[arg(long, value_name = "FILE", requires_all = ["tls_ca", "tls_key"])]
    tls_certificate: Option<PathBuf>,
    /// The key of that certificate: a PEM file
    #[arg(long, value_name = "FILE", requires = "tls_certificate")]
    tls_key: Option<PathBuf>,
    /// Log in at brokers as this user, who may read the topic there
    #[arg(
        long,
        value_name = "NAME",
        requires_all = ["topic", "login_mechanism", "login_password_file"]
    )]
    login_user: Option<String>,
    /// By this mechanism: SCRAM-SHA-512, SCRAM-SHA-256, or, with TLS, PLAIN
    #[arg(long, value_name = "MECHANISM", requires = "login_user", value_parser = password_mechanism)]
    login_mechanism: Option<LoginMechanism>,
    /// File with the user's password, which only its owner may access; one line end after it is not part of it
    #[arg(long, value_name = "FILE", requires = "login_user")]
    login_password_file: Option<PathBuf>,
    /// Log in at brokers by the token in this file, which only its owner may access (OAUTHBEARER, with TLS)
    #[arg(long, value_name = "FILE", requires = "topic", conflicts_with = "login_user")]
    login_token_file: Option<PathBuf>,
}

/// Brokers, and who asks them.
pub(super) struct Brokers {
    /// To ask first, in this order; one at least.
    pub(super) bootstrap: Vec<String>,
    tls: Option<ClientSet>,
    account: Option<Arc<BrokerAccount>>,
}

impl Brokers {
    /// A connection on which nothing was said.
    pub(super) fn connect(&self, address: &str) -> Result<BrokerClient, ClientError> {
        BrokerClient::connect(address, self.tls.as_ref(), PATIENT)
    }

    /// One at which brokers know who asks, if they want to.
    pub(super) fn log_in(&self, address: &str) -> Result<BrokerClient, ClientError> {
        let mut client = self.connect(address)?;
        if let Some(account) = &self.account {
            client.log_in(account)?;
        }
        Ok(client)
    }

    /// Whether nobody was named that they could know.
    pub(super) fn is_nobody(&self) -> bool {
        self.account.is_none()
    }
}

impl BrokerArguments {
    /// Reads what they name. It blocks.
    pub(super) fn brokers(&self) -> Result<Brokers, InspectError> {
        let cluster = self.cluster()?;
        let bootstrap = match (&self.bootstrap, &cluster) {
            (Some(bootstrap), _) => vec![bootstrap.clone()],
            (None, Some(cluster)) => cluster.bootstrap.iter().map(ToString::to_string).collect(),
            (None, None) => return Err(InspectError::Arguments),
        };
        let tls = match &cluster {
            Some(cluster) => cluster.upstream_tls.clone(),
            None => self.upstream_tls(),
        };
        let own = cluster
            .as_ref()
            .and_then(|cluster| cluster.upstream_login.as_ref()?.own());
        let account = match self.account()? {
            Some((mechanism, _)) if mechanism.needs_tls() && tls.is_none() => {
                return Err(InspectError::Plaintext(mechanism.name()));
            }
            Some((_, said)) => account_of(&said)?,
            None => own.map(account_of).transpose()?.flatten(),
        };
        let tls = tls.map(|tls| tls.load(SystemTime::now())).transpose()?;
        Ok(Brokers {
            bootstrap,
            tls,
            account,
        })
    }

    fn cluster(&self) -> Result<Option<ClusterConfig>, InspectError> {
        let Some(path) = &self.config else {
            return Ok(None);
        };
        let mut clusters = Config::load(path, Overrides::default())?.clusters;
        match &self.cluster {
            Some(name) => clusters.retain(|cluster| cluster.name == *name),
            None if clusters.len() > 1 => return Err(InspectError::WhichCluster),
            None => {}
        }
        let found = clusters.pop().ok_or_else(|| InspectError::NoCluster {
            name: self.cluster.clone().unwrap_or_default(),
        })?;
        Ok(Some(found))
    }

    /// Who was named to log in, and how.
    fn account(&self) -> Result<Option<(LoginMechanism, OwnAccount)>, InspectError> {
        if let Some(path) = &self.login_token_file {
            let token = OwnAccount::Token(SecretSource::File(path.clone()));
            return Ok(Some((LoginMechanism::OauthBearer, token)));
        }
        match (&self.login_user, self.login_mechanism, &self.login_password_file) {
            (None, None, None) => Ok(None),
            (Some(user), Some(mechanism), Some(path)) => {
                let account = OwnAccount::Password {
                    mechanism,
                    user: user.clone(),
                    password: SecretSource::File(path.clone()),
                };
                Ok(Some((mechanism, account)))
            }
            _ => Err(InspectError::Arguments),
        }
    }

    fn upstream_tls(&self) -> Option<UpstreamTls> {
        let trust = match self.tls_ca.as_ref()? {
            system if system.as_os_str() == "system" => Trust::System,
            path => Trust::File(path.clone()),
        };
        let client = self.tls_certificate.clone().zip(self.tls_key.clone());
        Some(UpstreamTls {
            trust,
            server_name: None,
            client: client.map(|(certificate, key)| CertificateFiles { certificate, key }),
            choice: TlsChoice::default(),
        })
    }
}

/// Who logs in; `None`: TLS shows who it is.
fn account_of(own: &OwnAccount) -> Result<Option<Arc<BrokerAccount>>, InspectError> {
    let Some(endpoint) = own.endpoint() else {
        let credential = own.read()?;
        return Ok(credential.map(|credential| Arc::new(BrokerAccount::new(credential))));
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let fetched = runtime.block_on(fetch_token(endpoint, FETCH_TIMEOUT));
    // A resolver that hangs is not waited for.
    runtime.shutdown_background();
    let fetched = fetched.map_err(|error| InspectError::Token(Box::new(error)))?;
    Ok(Some(bearer(&fetched.token)))
}

fn password_mechanism(name: &str) -> Result<LoginMechanism, &'static str> {
    let known = name.parse().ok();
    known
        .filter(|mechanism: &LoginMechanism| mechanism.needs_credentials())
        .ok_or("write SCRAM-SHA-512, SCRAM-SHA-256 or PLAIN")
}
