//! How clients log in at the program in a world, who the program is at brokers, and what its files say of both.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::sync::{Arc, LazyLock};
use std::thread;
use std::time::Duration;

use sealwire::broker_login::BrokerAccounts;
use sealwire::config::{Config, KeySetSource, OauthBearerConfig, OwnAccount, UpstreamLogin};
use sealwire::identity::sasl::exchange::{CheckedNews, LoginMechanism};
use sealwire::identity::sasl::initiator::{Account, Credential, Proof};
use sealwire::identity::sasl::verifier::Mechanism;
use sealwire::secret_source::SecretSource;
use sealwire::server::simulated::SimulatedAccess;

use crate::dice::Dice;
use crate::world::people::{OWN_ACCOUNT, USERS, account_of, account_password, people};

/// Whom brokers see.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Upstream {
    /// Nobody: they do not ask.
    Pass,
    One,
    PerPrincipal,
    ForwardToken,
}

#[derive(Debug)]
pub(super) struct LoginSetup {
    pub(super) upstream: Upstream,
    /// How the program logs in at brokers, for each account.
    mechanisms: BTreeMap<String, LoginMechanism>,
    /// As long as a client's login is good at most.
    session_lifetime: Option<Duration>,
    /// Which password of each account the program's file has.
    pub(super) versions: BTreeMap<String, u8>,
    accounts: Arc<BrokerAccounts>,
}

/// What the configuration needs to name; nobody looks into them again.
static FILES: LazyLock<(PathBuf, PathBuf)> = LazyLock::new(|| {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    let write = |name: &str, text: &str| {
        let path = folder.join(name);
        let written = folder.join(format!("{name}-{}", std::process::id()));
        fs::write(&written, text).expect("a file");
        fs::set_permissions(&written, fs::Permissions::from_mode(0o600)).expect("its mode");
        fs::rename(written, &path).expect("its name");
        path
    };
    let users = people().credentials_text();
    (
        write("simulated-users", &users),
        write("simulated-password", "secret"),
    )
});

const SCRAM: [LoginMechanism; 2] = [
    LoginMechanism::Scram(Mechanism::Sha256),
    LoginMechanism::Scram(Mechanism::Sha512),
];

/// Makes the files, before a world has its randomness.
pub(super) fn prepare() {
    // On another thread: whatever draws something there for the first time is as new as ever here.
    thread::spawn(|| drop(LazyLock::force(&FILES).clone()))
        .join()
        .expect("files");
}

impl LoginSetup {
    pub(super) fn new(dice: &mut Dice) -> Self {
        let upstream = match dice.below(8) {
            0 => Upstream::Pass,
            1 | 2 => Upstream::One,
            3..=5 => Upstream::PerPrincipal,
            _ => Upstream::ForwardToken,
        };
        let accounts: Vec<String> = match upstream {
            Upstream::One => vec![OWN_ACCOUNT.to_owned()],
            _ => USERS.map(account_of).to_vec(),
        };
        let draw = |dice: &mut Dice| match dice.below(3) {
            2 => LoginMechanism::Plain,
            nth => SCRAM[nth as usize],
        };
        let mechanisms = accounts.iter().map(|account| (account.clone(), draw(dice)));
        let mut setup = Self {
            upstream,
            mechanisms: mechanisms.collect(),
            session_lifetime: (dice.below(4) > 0).then(|| Duration::from_millis(1500 + dice.below(4000))),
            versions: accounts.into_iter().map(|account| (account, 0)).collect(),
            accounts: Arc::default(),
        };
        setup.accounts = setup.read_accounts();
        setup
    }

    /// In which ways clients log in.
    pub(super) fn ways(&self) -> Vec<LoginMechanism> {
        let [one, other] = SCRAM;
        match self.upstream {
            Upstream::ForwardToken => vec![LoginMechanism::OauthBearer],
            _ => vec![one, other, LoginMechanism::OauthBearer, LoginMechanism::Plain],
        }
    }

    /// Who somebody is at brokers, where they ask.
    pub(super) fn user_at_brokers(&self, user: &str) -> Option<String> {
        match self.upstream {
            Upstream::Pass => None,
            Upstream::One => Some(OWN_ACCOUNT.to_owned()),
            Upstream::PerPrincipal => Some(account_of(user)),
            Upstream::ForwardToken => Some(user.to_owned()),
        }
    }

    /// The keys of the listener's `sasl`, as far as a file can say them that speaks no TLS.
    pub(super) fn sasl(&self) -> String {
        format!("mechanisms = [\"SCRAM-SHA-256\"]\ncredentials = {:?}\n", FILES.0)
    }

    /// What stands behind the rules.
    pub(super) fn tables(&self) -> String {
        match self.upstream {
            Upstream::One => format!(
                "open_for = [\"User:*\"]\nseal_for = [\"User:*\"]\n\
                 [cluster.main.upstream_login]\nkind = \"one\"\nmechanism = \"SCRAM-SHA-256\"\n\
                 user = {OWN_ACCOUNT:?}\npassword = {{ file = {:?} }}\n\
                 [[cluster.main.groups_for]]\nmatch = \"*\"\nfor = [\"User:*\"]\n",
                FILES.1
            ),
            _ => String::new(),
        }
    }

    /// What streams that only look like TLS leave unsaid.
    pub(super) fn complete(&self, config: &mut Config) {
        let cluster = &mut config.clusters[0];
        let sasl = cluster.listeners[0].sasl.as_mut().expect("logins end there");
        sasl.mechanisms = self.ways();
        sasl.session_lifetime = self.session_lifetime;
        sasl.oauthbearer = Some(OauthBearerConfig {
            keys: KeySetSource::File("/keys".into()),
            rules: Arc::clone(&people().rules),
        });
        match self.upstream {
            Upstream::Pass => {}
            Upstream::One => {
                let own = OwnAccount::Password {
                    mechanism: self.mechanisms[OWN_ACCOUNT],
                    user: OWN_ACCOUNT.to_owned(),
                    password: SecretSource::Environment("PASSWORD".to_owned()),
                };
                cluster.upstream_login = Some(UpstreamLogin::One(own));
            }
            Upstream::PerPrincipal => {
                cluster.upstream_login = Some(UpstreamLogin::PerPrincipal {
                    accounts: "/accounts.toml".into(),
                    allows_plaintext: true,
                });
            }
            Upstream::ForwardToken => cluster.upstream_login = Some(UpstreamLogin::ForwardToken),
        }
    }

    /// What all files say, to a program that starts.
    pub(super) fn access(&mut self, config: &Config) -> Vec<SimulatedAccess> {
        let listener = config.clusters[0].listeners[0].id;
        let checked = people().checked_at_proxy();
        let credentials = checked.credentials.expect("there are users");
        self.accounts = Arc::default();
        vec![
            SimulatedAccess::Logins(listener, CheckedNews::Credentials(credentials)),
            SimulatedAccess::Logins(listener, CheckedNews::Keys(Arc::clone(&people().keys), None)),
            self.new_accounts(config),
        ]
    }

    /// What the file of accounts, or of the program's own, says that has changed.
    pub(super) fn new_accounts(&mut self, config: &Config) -> SimulatedAccess {
        self.accounts = self.read_accounts();
        SimulatedAccess::Accounts(config.clusters[0].id, Arc::clone(&self.accounts))
    }

    fn read_accounts(&self) -> Arc<BrokerAccounts> {
        if self.upstream == Upstream::One {
            let password = account_password(OWN_ACCOUNT, self.versions[OWN_ACCOUNT]);
            let account = Account::new(OWN_ACCOUNT.to_owned(), password.into());
            let proof = match self.mechanisms[OWN_ACCOUNT] {
                LoginMechanism::Scram(hash) => Proof::Scram(hash, account, None),
                _ => Proof::Plain(account),
            };
            return Arc::new(BrokerAccounts::for_all(Credential::new(proof), &self.accounts));
        }
        let entries = USERS.iter().map(|user| {
            let account = account_of(user);
            let password = account_password(&account, self.versions[&account]);
            let mechanism = self.mechanisms[&account].name();
            format!(
                "[[account]]\nprincipals = [\"User:{user}\"]\nmechanism = {mechanism:?}\nuser = {account:?}\n\
                 password = {password:?}\n"
            )
        });
        let text: String = entries.collect();
        let read = BrokerAccounts::parse(text.as_bytes(), &self.accounts, None);
        Arc::new(read.expect("a file of accounts"))
    }
}
