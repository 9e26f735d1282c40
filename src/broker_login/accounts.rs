//! Who the proxy is at brokers for which principal: a file of accounts, in TOML.
//!
//! ```toml
//! [[account]]
//! principals = ["User:app-1", "User:batch-*"]   # for whom; of several accounts the first
//! mechanism = "SCRAM-SHA-512"                   # or SCRAM-SHA-256, or PLAIN
//! user = "app-1"
//! password = "…"
//!
//! [[account]]
//! principals = ["User:mirror"]
//! certificate = "mirror.pem"                    # instead: what TLS shows; paths from the folder of the file
//! key = "mirror.key"
//! ```
//!
//! - ACCOUNTS-1: there is no account for whom none names: nobody is a broker's somebody by accident.
//! - ACCOUNTS-2: an account that a changed file holds as it was keeps its [`Standing`](super::Standing).
//! - ACCOUNTS-3: no message repeats anything that stands in the file, but principals that are well formed.
//! - ACCOUNTS-4: where a changed file names a certificate that cannot be used, the account keeps the one that it had by
//!   these files, or is nobody's where there is none: all else of the file is in force. What is read first is right
//!   from end to end.

use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use serde::Deserialize;
use toml::Spanned;
use zeroize::Zeroizing;

use super::{AccountFor, BrokerAccount, NoToken};
use crate::foreign::Foreign;
use crate::identity::Principal;
use crate::identity::sasl::USER_BYTES_MAX;
use crate::identity::sasl::exchange::LoginMechanism;
use crate::identity::sasl::initiator::{Account, Credential, Proof};
use crate::metrics::BrokerLoginKind;
use crate::rules::{Asking, Principals, is_named, pattern_of};
use crate::transport::certificates::{CertificateError, CertificateFiles};
use crate::transport::tls_client::ClientSet;

/// See the module.
#[derive(Debug, Default)]
pub struct BrokerAccounts {
    /// In the order of the file.
    entries: Vec<Named>,
    /// What they are for; `None`: for each client one of a file.
    kind: Option<BrokerLoginKind>,
    /// That it names.
    files: Vec<PathBuf>,
    /// Why nobody can be logged in for now.
    missing: Option<Arc<str>>,
    /// What keeps certificates of it from being used.
    faults: Vec<AccountsError>,
}

/// Who it is for whom.
#[derive(Debug)]
struct Named {
    principals: Principals,
    /// `None`: nobody, since what it is to show cannot be used (ACCOUNTS-4).
    account: Option<Arc<BrokerAccount>>,
    /// What it shows.
    files: Option<CertificateFiles>,
}

/// Why a file of accounts cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AccountsError {
    /// It is no TOML, or has keys or kinds of values that do not belong there.
    #[error(
        "line {line}: {what}: each [[account]] has principals, and either mechanism, user and password, or certificate \
         and key, and nothing else"
    )]
    Form {
        /// From 1 on.
        line: usize,
        /// What is wrong.
        what: &'static str,
    },
    /// What is wrong with an account.
    #[error("{place}: {what}")]
    Account {
        /// Which account.
        place: AccountPlace,
        /// What is wrong.
        what: &'static str,
    },
    /// The certificate of an account cannot be used.
    #[error("{place}: {error}")]
    Certificate {
        /// Which account.
        place: AccountPlace,
        /// What is wrong.
        error: Box<CertificateError>,
    },
    /// A password would be sent as it is to brokers that are spoken to in plain TCP.
    #[error(
        "an account of it sends its password as it is, and brokers are spoken to in plain TCP: use SCRAM, add \
         upstream_tls, or write allow_plaintext = true"
    )]
    Plaintext,
    /// There is none: nobody would be let in.
    #[error("there is no [[account]] in it")]
    Nobody,
    /// There are more than can be kept.
    #[error("there are more than {ACCOUNTS_MAX} accounts")]
    TooMany,
    /// The same of certificates.
    #[error("there are more than {CERTIFICATES_MAX} accounts with certificates")]
    TooManyCertificates,
}

/// Which account of a file it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountPlace {
    /// In the order of the file, from 1 on.
    number: usize,
    /// Where it begins, from 1 on.
    line: usize,
    /// The first that it names, if that is well formed.
    principal: Option<String>,
}

impl fmt::Display for AccountPlace {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "line {}: account {}", self.line, self.number)?;
        match &self.principal {
            Some(principal) => write!(formatter, ", of {}", Foreign::new(principal)),
            None => Ok(()),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenFile {
    #[serde(default)]
    account: Vec<Spanned<WrittenAccount>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenAccount {
    principals: Vec<String>,
    mechanism: Option<String>,
    user: Option<String>,
    password: Option<String>,
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
}

/// Reads a certificate that is to be shown to brokers, by files that it may name otherwise than they are written.
pub type ReadCertificate<'r> = dyn FnMut(&mut CertificateFiles) -> Result<ClientSet, CertificateError> + 'r;

/// How somebody proves who he is.
enum Entry {
    Said(Credential),
    Shown(CertificateFiles),
}

impl BrokerAccounts {
    /// Reads the text of a file; what `before` holds as well is kept (ACCOUNTS-2). `shown` reads certificates; `None`:
    /// none can be shown.
    ///
    /// # Errors
    /// [`AccountsError`].
    pub fn parse(
        text: &[u8],
        before: &Self,
        mut shown: Option<&mut ReadCertificate<'_>>,
    ) -> Result<Self, AccountsError> {
        let text = std::str::from_utf8(text).map_err(|error| AccountsError::Form {
            line: line_of(text, error.valid_up_to()),
            what: "this is not UTF-8 text",
        })?;
        let written: WrittenFile = toml::from_str(text).map_err(|error| AccountsError::Form {
            line: line_of(text.as_bytes(), error.span().map_or(0, |span| span.start)),
            what: meaning_of(error.message()),
        })?;
        if written.account.is_empty() {
            return Err(AccountsError::Nobody);
        }
        if written.account.len() > ACCOUNTS_MAX {
            return Err(AccountsError::TooMany);
        }
        let mut known: HashMap<(LoginMechanism, &str), Vec<&Arc<BrokerAccount>>> = HashMap::new();
        for account in before.accounts() {
            if let Some(identity) = account.credential().and_then(|kept| kept.identity()) {
                known.entry(identity).or_default().push(account);
            }
        }
        let mut accounts = Self {
            entries: Vec::with_capacity(written.account.len()),
            ..Self::default()
        };
        for (number, written) in (1..).zip(written.account) {
            let place = AccountPlace::of(number, &written, text);
            let wrong = |what| AccountsError::Account {
                place: place.clone(),
                what,
            };
            let (principals, entry) = written.into_inner().into_entry().map_err(wrong)?;
            let (account, files) = match entry {
                Entry::Said(credential) => {
                    let kept = credential.identity().and_then(|identity| known.get(&identity));
                    let mut kept = kept.into_iter().flatten();
                    let account = match kept.find(|kept| proves_the_same(kept, &credential)) {
                        Some(kept) => Arc::clone(kept),
                        None => Arc::new(BrokerAccount::new(credential)),
                    };
                    (Some(account), None)
                }
                Entry::Shown(mut files) => {
                    let shown = shown.as_mut().ok_or(wrong(NO_TLS))?;
                    let account = match shown(&mut files) {
                        Ok(set) => Some(Arc::new(BrokerAccount::of_certificate(Arc::new(set)))),
                        Err(error) => {
                            let error = Box::new(error);
                            accounts.faults.push(AccountsError::Certificate { place, error });
                            before.by_files(&files)
                        }
                    };
                    let CertificateFiles { certificate, key } = files.clone();
                    accounts.files.extend([certificate, key]);
                    if accounts.files.len() > CERTIFICATES_MAX * 2 {
                        return Err(AccountsError::TooManyCertificates);
                    }
                    (account, Some(files))
                }
            };
            accounts.entries.push(Named {
                principals,
                account,
                files,
            });
        }
        match before.is_empty() {
            true => accounts.faults.pop().map_or(Ok(accounts), Err),
            false => Ok(accounts),
        }
    }

    /// One for everybody; `before` has it already if it proves the same (ACCOUNTS-2).
    #[must_use]
    pub fn for_all(credential: Credential, before: &Self) -> Self {
        let mut accounts = before.accounts();
        let account = match accounts.find(|account| proves_the_same(account, &credential)) {
            Some(kept) => Arc::clone(kept),
            None => Arc::new(BrokerAccount::new(credential)),
        };
        Self {
            entries: vec![Named {
                principals: Principals::new(["*"]),
                account: Some(account),
                files: None,
            }],
            kind: Some(BrokerLoginKind::One),
            ..Self::default()
        }
    }

    /// None for now, for this reason: the proxy has an account, and cannot show it.
    #[must_use]
    pub fn missing(why: &str) -> Self {
        Self {
            missing: Some(why.into()),
            kind: Some(BrokerLoginKind::One),
            ..Self::default()
        }
    }

    /// None: each client's own token is sent on.
    #[must_use]
    pub fn of_clients() -> Self {
        Self {
            kind: Some(BrokerLoginKind::ForwardToken),
            ..Self::default()
        }
    }

    /// Whether each client's own token is sent on, instead of an account.
    #[must_use]
    pub fn forwards_tokens(&self) -> bool {
        self.kind() == BrokerLoginKind::ForwardToken
    }

    /// How the proxy logs in by them.
    #[must_use]
    pub fn kind(&self) -> BrokerLoginKind {
        self.kind.unwrap_or(BrokerLoginKind::PerPrincipal)
    }

    /// Who the proxy is for this principal (ACCOUNTS-1, ACCOUNTS-4).
    #[must_use]
    pub fn of(&self, principal: &str) -> Option<&Arc<BrokerAccount>> {
        self.entries.get(self.first_for(principal)?)?.account.as_ref()
    }

    fn first_for(&self, principal: &str) -> Option<usize> {
        let asking = Asking::Principal(Some(principal));
        let mut entries = self.entries.iter();
        entries.position(|named| is_named(Some(&named.principals), asking))
    }

    /// Of the accounts those that are for none of these users, by their numbers from 1 on; and of the users those for
    /// whom there is none.
    #[must_use]
    pub fn compare<'u>(&self, users: &'u [String]) -> (Vec<usize>, Vec<&'u str>) {
        let mut used = vec![false; self.entries.len()];
        let mut nobodys = Vec::new();
        for user in users {
            match self.first_for(user).and_then(|place| used.get_mut(place)) {
                Some(used) => *used = true,
                None => nobodys.push(user.as_str()),
            }
        }
        let numbered = (1..).zip(used).filter(|(_, is_used)| !is_used);
        (numbered.map(|(number, _)| number).collect(), nobodys)
    }

    /// The same of a client that is there at `now`.
    #[must_use]
    pub fn find(&self, principal: Option<&Principal>, now: Instant) -> AccountFor {
        if let Some(why) = &self.missing {
            return AccountFor::NoToken(NoToken {
                is_refused: false,
                why: Arc::clone(why),
                until: now,
            });
        }
        let account = principal.and_then(|principal| self.of(principal.name()));
        account.map_or(AccountFor::Nobody, |account| {
            AccountFor::Known(Arc::clone(account))
        })
    }

    /// By which mechanisms.
    pub fn mechanisms(&self) -> impl Iterator<Item = LoginMechanism> + '_ {
        self.accounts()
            .filter_map(|account| Some(account.credential()?.mechanism()))
    }

    /// Whether brokers have refused one that they have not taken since.
    #[must_use]
    pub fn is_refused(&self) -> bool {
        self.accounts().any(|account| account.standing.is_refused())
    }

    /// Whether it is for nobody.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The files that it names: certificates and their keys.
    pub fn files(&self) -> &[PathBuf] {
        &self.files
    }

    /// What keeps certificates of it from being used (ACCOUNTS-4).
    pub fn faults(&self) -> &[AccountsError] {
        &self.faults
    }

    fn accounts(&self) -> impl Iterator<Item = &Arc<BrokerAccount>> {
        self.entries.iter().filter_map(|named| named.account.as_ref())
    }

    /// Who shows what is in these files, or was.
    fn by_files(&self, files: &CertificateFiles) -> Option<Arc<BrokerAccount>> {
        let mut entries = self.entries.iter();
        entries
            .find(|named| named.files.as_ref() == Some(files))?
            .account
            .clone()
    }
}

fn proves_the_same(account: &BrokerAccount, credential: &Credential) -> bool {
    account
        .credential()
        .is_some_and(|kept| kept.proves_the_same(credential))
}

impl AccountPlace {
    fn of(number: usize, written: &Spanned<WrittenAccount>, text: &str) -> Self {
        let first = written.get_ref().principals.first();
        Self {
            number,
            line: line_of(text.as_bytes(), written.span().start),
            principal: first.filter(|name| pattern_of(name).is_some()).cloned(),
        }
    }
}

/// What a parser says of a text, without what it repeats of it (ACCOUNTS-3).
fn meaning_of(message: &str) -> &'static str {
    let meanings = [
        ("missing field `principals`", "principals is missing"),
        ("missing field", "a key is missing"),
        ("unknown field", "there is no such key"),
        ("duplicate key", "this key stands there twice"),
        (
            "invalid type",
            "this is a value of another kind: principals is a list of text, all else text",
        ),
    ];
    let mut meanings = meanings.into_iter();
    let found = meanings.find(|(start, _)| message.starts_with(start));
    found.map_or("this is not understood", |(_, meaning)| meaning)
}

impl WrittenAccount {
    fn into_entry(self) -> Result<(Principals, Entry), &'static str> {
        let password = self.password.map(Zeroizing::new);
        let patterns = self.principals.iter().map(|written| pattern_of(written));
        let patterns: Option<Vec<_>> = patterns.collect();
        let patterns = patterns
            .ok_or("one of its principals is none: write \"User:NAME\"; groups are not taken here")?;
        if patterns.is_empty() {
            return Err("it is for nobody: name somebody in principals");
        }
        let principals = Principals::new(patterns);
        let (user, password, mechanism) = match (self.user, password, self.mechanism) {
            (Some(user), Some(password), Some(mechanism)) => (user, password, mechanism),
            (None, None, None) => {
                let (Some(certificate), Some(key)) = (self.certificate, self.key) else {
                    return Err(NEITHER);
                };
                return Ok((principals, Entry::Shown(CertificateFiles { certificate, key })));
            }
            _ => return Err(NEITHER),
        };
        if self.certificate.is_some() || self.key.is_some() {
            return Err(NEITHER);
        }
        if user.is_empty() || user.len() > USER_BYTES_MAX || user.contains('\0') {
            return Err("its user is empty, too long, or has a NUL");
        }
        if password.is_empty() || password.contains('\0') {
            return Err("its password is empty, or has a NUL");
        }
        let account = Account::new(user, password);
        let proof = match mechanism.parse() {
            Ok(LoginMechanism::Plain) => Proof::Plain(account),
            Ok(LoginMechanism::Scram(mechanism)) => Proof::Scram(mechanism, account, None),
            _ => return Err("its mechanism is none of SCRAM-SHA-512, SCRAM-SHA-256 and PLAIN"),
        };
        Ok((principals, Entry::Said(Credential::new(proof))))
    }
}

fn line_of(text: &[u8], at: usize) -> usize {
    let before = text.get(..at).unwrap_or(text);
    before
        .iter()
        .filter(|byte| **byte == b'\n')
        .count()
        .saturating_add(1)
}

const NEITHER: &str = "it has neither mechanism, user and password, nor certificate and key, or some of both";
const NO_TLS: &str = "it has a certificate, and brokers are spoken to in plain TCP: add upstream_tls";
/// Each keeps a configuration of TLS.
const CERTIFICATES_MAX: usize = 1000;
/// As many as there may be users.
const ACCOUNTS_MAX: usize = 10_000;

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::transport::suites::TlsChoice;
    use crate::transport::tls_client::{Trust, UpstreamTls};

    const FILE: &str = r#"
# two teams
[[account]]
principals = ["User:app-1", "User:batch-*"]
mechanism = "SCRAM-SHA-512"
user = "app"
password = "hunter2"

[[account]]
principals = ["User:*"]
mechanism = "PLAIN"
user = "rest"
password = "hunter3"
"#;

    fn parse(text: &str) -> Result<BrokerAccounts, AccountsError> {
        BrokerAccounts::parse(text.as_bytes(), &BrokerAccounts::default(), None)
    }

    /// ACCOUNTS-1
    #[test]
    fn the_first_account_that_names_somebody_is_his() {
        let accounts = parse(FILE).expect("well formed");
        let user = |name| {
            accounts
                .of(name)
                .and_then(|account| account.credential()?.identity())
        };
        let sha512 = LoginMechanism::Scram(crate::identity::sasl::verifier::Mechanism::Sha512);
        for name in ["app-1", "batch-", "batch-7"] {
            assert_eq!(user(name), Some((sha512, "app")), "{name}");
        }
        assert_eq!(user("app-2"), Some((LoginMechanism::Plain, "rest")));
        let only = FILE
            .split("[[account]]")
            .take(2)
            .collect::<Vec<_>>()
            .join("[[account]]");
        let accounts = parse(&only).expect("well formed");
        assert!(accounts.of("app-1").is_some() && accounts.of("app-2").is_none());
        assert!(matches!(parse("# nobody"), Err(AccountsError::Nobody)));
    }

    /// ACCOUNTS-2
    #[test]
    fn an_account_that_stays_keeps_its_standing() {
        let before = parse(FILE).expect("well formed");
        let changed = FILE.replace("hunter3", "hunter4").replace("# two teams", "");
        let after = BrokerAccounts::parse(changed.as_bytes(), &before, None).expect("well formed");
        let same = |name| Arc::ptr_eq(before.of(name).expect("one"), after.of(name).expect("one"));
        assert!(same("app-1") && !same("app-2"));
    }

    /// ACCOUNTS-3
    #[test]
    fn mistakes_are_told_without_what_stands_there() {
        let mistakes = [
            ("password = \"hunter2\"", "password = 7", 3, "of another kind"),
            (
                "password = \"hunter2\"",
                "pasword = \"hunter2\"",
                3,
                "no such key",
            ),
            (
                "password = \"hunter2\"",
                "password = \"hunter2\"\npassword = \"hunter2\"",
                8,
                "stands there twice",
            ),
            (
                "principals = [\"User:app-1\", \"User:batch-*\"]\n",
                "",
                3,
                "principals is missing",
            ),
            ("user = \"app\"", "user = \"app", 6, "not understood"),
        ];
        for (from, to, expected, what) in mistakes {
            match parse(&FILE.replacen(from, to, 1)) {
                Err(error @ AccountsError::Form { line, .. }) => {
                    assert!((expected..=expected.max(7)).contains(&line), "{to}: {line}");
                    let error = error.to_string();
                    assert!(error.contains(what) && !error.contains("hunter"), "{error}");
                }
                other => panic!("{to}: {other:?}"),
            }
        }
        for (from, to, number) in [
            ("User:app-1", "app-1", 1),
            ("[\"User:*\"]", "[]", 2),
            ("\"PLAIN\"", "\"GSSAPI\"", 2),
            ("\"PLAIN\"", "\"OAUTHBEARER\"", 2),
            ("\"hunter3\"", "\"\"", 2),
            ("\"rest\"", "\"\"", 2),
            ("mechanism = \"SCRAM-SHA-512\"\n", "", 1),
            (
                "password = \"hunter3\"",
                "certificate = \"a.pem\"\nkey = \"a.key\"",
                2,
            ),
            ("user = \"rest\"", "user = \"rest\"\nkey = \"a.key\"", 2),
        ] {
            match parse(&FILE.replacen(from, to, 1)) {
                Err(error @ AccountsError::Account { .. }) => {
                    let error = error.to_string();
                    let place = match number {
                        1 => "line 3: account 1",
                        _ => "line 9: account 2",
                    };
                    assert!(error.starts_with(place), "{error}");
                    let (first, is_named) = match number {
                        1 => (", of User:app-1: ", to != "app-1"),
                        _ => (", of User:*: ", to != "[]"),
                    };
                    assert_eq!(error.contains(first), is_named, "{error}");
                    assert!(!error.contains("hunter"), "{error}");
                }
                other => panic!("{to}: {other:?}"),
            }
        }
        let shown = format!("{:?}", parse(FILE));
        assert!(!shown.contains("hunter"), "{shown}");
    }

    #[test]
    fn certificates_are_shown_where_brokers_speak_tls() {
        let text = "[[account]]\nprincipals = [\"User:a\"]\ncertificate = \"a.pem\"\nkey = \"a.key\"\n";
        let error = parse(text).expect_err("plain TCP").to_string();
        assert!(error.contains("add upstream_tls"), "{error}");
        let mut asked = Vec::new();
        let mut refuse = |files: &mut CertificateFiles| {
            asked.push(files.certificate.clone());
            let what = "certificate";
            let path = files.certificate.clone();
            Err(CertificateError::Nothing { path, what })
        };
        let error = BrokerAccounts::parse(text.as_bytes(), &BrokerAccounts::default(), Some(&mut refuse));
        let error = error.expect_err("there is none").to_string();
        assert!(
            error.starts_with("line 1: account 1, of User:a: a.pem holds no"),
            "{error}"
        );
        assert_eq!(asked, [PathBuf::from("a.pem")]);
    }

    /// ACCOUNTS-4
    #[test]
    fn a_certificate_that_cannot_be_used_keeps_nothing_else_back() {
        let account = |principal: &str, name: &str| {
            format!(
                "[[account]]\nprincipals = [{principal:?}]\ncertificate = \"{name}.pem\"\nkey = \"{name}.key\"\n"
            )
        };
        let bad = ["bad.pem", "worse.pem"].map(PathBuf::from);
        let read = |text: &str, before: &BrokerAccounts, bad: &[PathBuf]| {
            let tls = UpstreamTls {
                trust: Trust::Anybody,
                server_name: None,
                client: None,
                choice: TlsChoice::default(),
            };
            let mut shown = |files: &mut CertificateFiles| {
                let (path, what) = (files.certificate.clone(), "certificate");
                match bad.contains(&path) {
                    true => Err(CertificateError::Nothing { path, what }),
                    false => tls.load(SystemTime::now()),
                }
            };
            BrokerAccounts::parse(text.as_bytes(), before, Some(&mut shown))
        };
        let start = account("User:a", "bad") + &account("User:b", "good") + FILE;
        let none = BrokerAccounts::default();
        let error = read(&start, &none, &bad).expect_err("what is read first is right");
        assert!(
            error
                .to_string()
                .starts_with("line 1: account 1, of User:a: bad.pem"),
            "{error}"
        );
        let before = read(&start, &none, &[]).expect("well formed");
        // Both end, one of an account that is new; a password is changed, and whose the good one is.
        let changed =
            account("User:a", "bad") + &account("User:new", "worse") + &account("User:c", "good") + FILE;
        let after = read(&changed.replace("hunter3", "hunter4"), &before, &bad).expect("in part");
        let faults: Vec<String> = after.faults().iter().map(ToString::to_string).collect();
        assert!(
            faults.len() == 2 && faults[1].starts_with("line 5: account 2, of User:new: worse.pem"),
            "{faults:?}"
        );
        let of = |accounts: &BrokerAccounts, name| accounts.of(name).map(Arc::as_ptr);
        assert_eq!(of(&after, "a"), of(&before, "a"), "it keeps what it had");
        assert_eq!(of(&after, "new"), None, "and is not whoever is named later");
        assert!(after.of("c").is_some_and(|account| account.tls().is_some()));
        assert_ne!(of(&after, "app-2"), of(&before, "app-2"));
        // They are followed all the same, and are mended one by one.
        assert_eq!(after.files().len(), 6);
        let mended = read(&changed, &after, &[]).expect("well formed");
        assert!(mended.faults().is_empty() && mended.of("new").is_some());
    }
}
