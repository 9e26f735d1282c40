//! Who there is in worlds with logins: users of the proxy, accounts at brokers, and whoever signs tokens. What has to
//! be hashed is hashed once, for all worlds.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use sealwire::identity::sasl::credentials::Credentials;
use sealwire::identity::sasl::exchange::{Answer, Checked, Exchange, LoginMechanism};
use sealwire::identity::sasl::initiator::{Account, Credential, Initiation, Next, Proof};
use sealwire::identity::sasl::oauthbearer::key_set::KeySet;
use sealwire::identity::sasl::oauthbearer::token::{TokenRules, algorithm};
use sealwire::identity::sasl::verifier::{ITERATIONS_MIN, Mechanism, Verifier};
use sealwire::testing::tokens::{SigningKey, key_set};
use serde_json::json;

pub(crate) const USERS: [&str; 3] = ["ann", "ben", "cleo"];
/// Who the proxy is at brokers, where it is one and the same.
pub(crate) const OWN_ACCOUNT: &str = "sealwire";
/// Every password of a client begins so, and every one of an account.
pub(crate) const CLIENTS_SECRET: &str = "hunter-";
pub(crate) const ACCOUNTS_SECRET: &str = "kafkasecret-";
/// How every token begins that is signed here.
pub(crate) const TOKEN_SECRET: &str = "eyJhbGciOiJFZERTQSIs";
/// How many passwords an account has had, one after the other.
pub(crate) const VERSIONS: u8 = 2;
const HASHES: [Mechanism; 2] = [Mechanism::Sha256, Mechanism::Sha512];
const ISSUER: &str = "https://login.example.com";

static PEOPLE: LazyLock<People> = LazyLock::new(People::new);

pub(crate) struct People {
    /// The users of the proxy.
    credentials: Arc<Credentials>,
    clients: BTreeMap<(&'static str, &'static str), Arc<Credential>>,
    /// By account, hash and version.
    verifiers: BTreeMap<(String, Mechanism, u8), Verifier>,
    key: SigningKey,
    pub(crate) keys: Arc<KeySet>,
    pub(crate) rules: Arc<TokenRules>,
}

/// All of them. To be called before a world has its randomness: it draws some.
pub(crate) fn people() -> &'static People {
    &PEOPLE
}

/// The account that stands for a user.
pub(crate) fn account_of(user: &str) -> String {
    format!("kafka-{user}")
}

pub(crate) fn account_password(account: &str, version: u8) -> String {
    format!("{ACCOUNTS_SECRET}{account}-{version}")
}

fn client_password(user: &str) -> String {
    format!("{CLIENTS_SECRET}{user}")
}

fn verifier(mechanism: Mechanism, password: &str) -> Verifier {
    Verifier::new(mechanism, password.as_bytes(), ITERATIONS_MIN).expect("a verifier")
}

impl People {
    fn new() -> Self {
        let mut credentials = Credentials::new().expect("randomness");
        let mut clients = BTreeMap::new();
        for user in USERS {
            let password = client_password(user);
            let account = || Account::new(user.to_owned(), password.clone().into());
            for hash in HASHES {
                credentials
                    .set(user, hash, verifier(hash, &password))
                    .expect("a user");
                let credential = Credential::new(Proof::Scram(hash, account(), None));
                clients.insert((user, hash.name()), Arc::new(credential));
            }
            let plain = Credential::new(Proof::Plain(account()));
            clients.insert((user, LoginMechanism::Plain.name()), Arc::new(plain));
        }
        let own = [OWN_ACCOUNT.to_owned()];
        let mut verifiers = BTreeMap::new();
        for account in USERS.map(account_of).into_iter().chain(own) {
            for (hash, version) in HASHES
                .into_iter()
                .flat_map(|hash| (0..VERSIONS).map(move |version| (hash, version)))
            {
                let password = account_password(&account, version);
                verifiers.insert((account.clone(), hash, version), verifier(hash, &password));
            }
        }
        let key = SigningKey::ed_numbered("one", 1);
        let keys = KeySet::parse(key_set([&key]).as_bytes()).expect("a key set");
        let rules = TokenRules {
            issuer: ISSUER.to_owned(),
            audiences: vec!["kafka".to_owned()],
            algorithms: vec![algorithm("EdDSA").expect("an algorithm")],
            principal_claim: "sub".to_owned(),
        };
        let people = Self {
            credentials: Arc::new(credentials),
            clients,
            verifiers,
            key,
            keys: Arc::new(keys),
            rules: Arc::new(rules),
        };
        people.hash_once();
        people
    }

    /// What a client makes of his password does not depend on the world.
    fn hash_once(&self) {
        let against = self.checked_at_proxy();
        for ((_, mechanism), credential) in &self.clients {
            let Ok(LoginMechanism::Scram(hash)) = mechanism.parse() else {
                continue;
            };
            let (mut initiation, first) = Initiation::begin(Arc::clone(credential)).expect("randomness");
            let mut exchange = Exchange::new(LoginMechanism::Scram(hash));
            let Ok(Answer::Challenge(challenge)) = exchange.take(&first, &against, None) else {
                panic!("a challenge")
            };
            if let Next::Hash = initiation.take(&challenge).expect("a challenge") {
                initiation
                    .hashing("the proxy")
                    .expect("nobody else hashes it")
                    .run();
            }
        }
    }

    /// The text of a file with the users of the proxy.
    pub(crate) fn credentials_text(&self) -> String {
        self.credentials.text()
    }

    /// What logins at the proxy are checked against.
    pub(crate) fn checked_at_proxy(&self) -> Checked {
        Checked {
            credentials: Some(Arc::clone(&self.credentials)),
            token_rules: Some(Arc::clone(&self.rules)),
            keys: Some(Arc::clone(&self.keys)),
            may_find_keys: false,
        }
    }

    /// What logins at brokers are, where each account has the password of this version.
    pub(crate) fn checked_at_brokers(&self, versions: &BTreeMap<String, u8>) -> Checked {
        let mut credentials = Credentials::new().expect("randomness");
        for (account, version) in versions {
            for hash in HASHES {
                let verifier = &self.verifiers[&(account.clone(), hash, *version)];
                credentials
                    .set(account, hash, verifier.clone())
                    .expect("an account");
            }
        }
        Checked {
            credentials: Some(Arc::new(credentials)),
            ..self.checked_at_proxy()
        }
    }

    /// What a user shows who logs in by a password.
    pub(crate) fn credential(&self, user: &'static str, mechanism: LoginMechanism) -> Arc<Credential> {
        Arc::clone(&self.clients[&(user, mechanism.name())])
    }

    /// What a user shows whose token is good from `now` on, since 1970, up to `ends`.
    pub(crate) fn token(&self, user: &str, now: Duration, ends: Duration) -> Arc<Credential> {
        let claims = json!({
            "iss": ISSUER,
            "aud": "kafka",
            "sub": user,
            "iat": now.as_secs(),
            "exp": ends.as_secs_f64(),
        });
        let token = self.key.token(&claims);
        Arc::new(Credential::new(Proof::Token(token.into())))
    }
}
