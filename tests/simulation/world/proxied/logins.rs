//! Worlds in which clients log in at the program and the program logs in at brokers, each for a while, and what goes
//! wrong with that. What must be true of it is in [`super::login_checks`].

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use sealwire::clocks::simulated::set_aside;
use sealwire::identity::sasl::exchange::LoginMechanism;
use sealwire::identity::sasl::verifier::Mechanism;

use super::World;
use super::login_checks::Tries;
use super::login_setup::{LoginSetup, Upstream};
use super::trace::say;
use crate::dice::Dice;
use crate::world::brokers::{LoginTrouble, Logins};
use crate::world::clients::network::Login;
use crate::world::crowd::Crowd;
use crate::world::people::{USERS, VERSIONS, people};

/// What goes wrong with logins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum LoginFault {
    Refused,
    Silent,
    CutWithin,
    WrongSignature,
    Cut,
    PasswordChanged,
    AccountsChanged,
    TokenExpired,
    HashingSlow,
    ClientLate,
    ClientIsAnother,
}

impl LoginFault {
    pub(crate) const ALL: [Self; 11] = [
        Self::Refused,
        Self::Silent,
        Self::CutWithin,
        Self::WrongSignature,
        Self::Cut,
        Self::PasswordChanged,
        Self::AccountsChanged,
        Self::TokenExpired,
        Self::HashingSlow,
        Self::ClientLate,
        Self::ClientIsAnother,
    ];
}

/// What a world with logins has beside all others.
pub(super) struct LoginWorld {
    pub(super) setup: LoginSetup,
    /// Which password of each account brokers take.
    versions: BTreeMap<String, u8>,
    /// By client: how it logs in.
    ways: Vec<LoginMechanism>,
    /// When tokens are issued anew.
    issue_at: Duration,
    /// Clients that show tokens which were over long ago.
    expired: BTreeSet<usize>,
    pub(super) tries: Tries,
    pub(super) seen: BTreeSet<LoginFault>,
    /// Logins that were renewed at brokers.
    pub(super) renewed: u64,
}

/// Who a client is.
pub(super) fn user_of(client: usize) -> &'static str {
    USERS[client % USERS.len()]
}

impl LoginWorld {
    pub(super) fn new(dice: &mut Dice) -> Self {
        let setup = LoginSetup::new(dice);
        Self {
            versions: setup.versions.clone(),
            setup,
            ways: Vec::new(),
            issue_at: Duration::ZERO,
            expired: BTreeSet::new(),
            tries: Tries::default(),
            seen: BTreeSet::new(),
            renewed: 0,
        }
    }

    /// How one logs in at brokers, where one does.
    pub(super) fn at_brokers(&self, dice: &mut Dice) -> Option<Logins> {
        let lifetime = (dice.below(4) > 0).then(|| {
            let least = Duration::from_millis(1500 + dice.below(3000));
            (least, least + Duration::from_millis(dice.below(2000)))
        });
        let accounts = self.versions.keys().cloned();
        (self.setup.upstream != Upstream::Pass).then(|| Logins::new(accounts, lifetime))
    }

    /// Every client is somebody.
    pub(super) fn name(&mut self, crowd: &mut Crowd, now: Duration, dice: &mut Dice) {
        let ways = self.setup.ways();
        say(Duration::ZERO, format_args!("{:?}", self.setup));
        for at in 0..crowd.len() {
            let way = ways[dice.below(ways.len() as u64) as usize];
            self.ways.push(way);
            say(
                Duration::ZERO,
                format_args!("client {at} is {} by {}", user_of(at), way.name()),
            );
            let user = user_of(at);
            let credential = match way {
                LoginMechanism::OauthBearer => people().token(user, now, now + TOKEN_MIN),
                way => people().credential(user, way),
            };
            crowd.client(at).network().set_login(Login {
                credential,
                again_as: None,
                is_late: false,
                renewed: 0,
                renewed_in_flight: 0,
            });
        }
    }
}

/// A world goes on.
impl World {
    /// Tokens are issued before others are over.
    pub(super) fn issue_tokens(&mut self) {
        let realtime = self.program.realtime();
        if let Some(logins) = self.brokers.logins() {
            logins.set_time(realtime);
        }
        let Some(logins) = &mut self.logins else { return };
        if realtime < logins.issue_at {
            return;
        }
        logins.issue_at = realtime + ISSUED_EVERY;
        for (at, way) in logins.ways.iter().enumerate() {
            if *way != LoginMechanism::OauthBearer {
                continue;
            }
            let ends = match logins.expired.contains(&at) {
                true => realtime - EXPIRED_FOR,
                false => realtime + TOKEN_MIN + Duration::from_millis(self.dice.below(8000)),
            };
            let token = people().token(user_of(at), realtime - EXPIRED_FOR * 2, ends);
            let login = self.crowd.client(at).network().login();
            login.expect("everybody logs in").credential = token;
        }
    }

    /// Something goes wrong with a login.
    pub(super) fn trouble_logins(&mut self) {
        let Some(mut logins) = self.logins.take() else {
            return;
        };
        let drawn = self.dice.below(14);
        let fault = match drawn {
            0..=4 => self.trouble_at_brokers(&logins, drawn),
            5 | 6 => self.cut_one(),
            7 | 8 => self.change_password(&mut logins),
            9 | 10 => self.change_accounts(&mut logins),
            11 => self.expire_token(&mut logins),
            12 => {
                let takes = Duration::from_millis(self.dice.below(4000));
                say(self.program.now, format_args!("hashing takes {takes:?}"));
                set_aside(takes);
                Some(LoginFault::HashingSlow)
            }
            _ => self.trouble_client(),
        };
        if let Some(fault) = fault {
            say(self.program.now, format_args!("{fault:?}"));
            logins.seen.insert(fault);
        }
        self.logins = Some(logins);
    }

    fn trouble_at_brokers(&mut self, logins: &LoginWorld, drawn: u64) -> Option<LoginFault> {
        let accounts: Vec<String> = match logins.setup.upstream {
            Upstream::ForwardToken => USERS.map(str::to_owned).to_vec(),
            _ => logins.versions.keys().cloned().collect(),
        };
        let account = &accounts[self.dice.below(accounts.len() as u64) as usize];
        let mut trouble = LoginTrouble::default();
        let fault = match drawn {
            0 => {
                trouble.refused.insert(account.clone());
                Some(LoginFault::Refused)
            }
            1 => {
                trouble.silent = 200;
                Some(LoginFault::Silent)
            }
            2 => {
                trouble.cut = 200;
                Some(LoginFault::CutWithin)
            }
            3 => {
                trouble.wrong_signature = 300;
                Some(LoginFault::WrongSignature)
            }
            _ => None,
        };
        say(self.program.now, format_args!("logins at brokers: {trouble:?}"));
        self.brokers.logins()?.trouble = trouble;
        fault
    }

    /// One connection ends, whatever is on its way.
    fn cut_one(&mut self) -> Option<LoginFault> {
        let clients: Vec<_> = self.links.clients.keys().copied().collect();
        let brokers: Vec<_> = self.links.brokers.keys().copied().collect();
        let count = (clients.len() + brokers.len()) as u64;
        if count == 0 {
            return None;
        }
        let drawn = self.dice.below(count) as usize;
        match clients.get(drawn) {
            Some(&key) => {
                self.client_leaves(key);
                let now = self.program.now;
                self.client(key.0).closed(key.1, now);
            }
            None => {
                let connection = brokers[drawn - clients.len()];
                say(self.program.now, format_args!("{connection:?} is cut"));
                self.brokers.cut(connection);
                self.links.cut(connection, &mut self.dice);
            }
        }
        Some(LoginFault::Cut)
    }

    fn draw_account(&mut self, logins: &LoginWorld) -> String {
        let nth = self.dice.below(logins.versions.len() as u64) as usize;
        logins.versions.keys().nth(nth).expect("an account").clone()
    }

    fn change_password(&mut self, logins: &mut LoginWorld) -> Option<LoginFault> {
        let account = self.draw_account(logins);
        let version = (logins.versions[&account] + 1) % VERSIONS;
        self.brokers.logins()?.set_password(&account, version);
        say(self.program.now, format_args!("{account} has password {version}"));
        logins.versions.insert(account, version);
        Some(LoginFault::PasswordChanged)
    }

    fn change_accounts(&mut self, logins: &mut LoginWorld) -> Option<LoginFault> {
        let account = self.draw_account(logins);
        let version = logins.versions[&account];
        let is_new = logins.setup.versions.insert(account, version) != Some(version);
        self.tell_accounts(logins);
        is_new.then_some(LoginFault::AccountsChanged)
    }

    fn tell_accounts(&mut self, logins: &mut LoginWorld) {
        if matches!(logins.setup.upstream, Upstream::Pass | Upstream::ForwardToken) {
            return;
        }
        let now = self.program.now;
        say(
            now,
            format_args!("the program's passwords are {:?}", logins.setup.versions),
        );
        logins.tries = Tries::replaced(now);
        self.program.take_accounts(&mut logins.setup);
    }

    fn expire_token(&mut self, logins: &mut LoginWorld) -> Option<LoginFault> {
        if !logins.expired.is_empty() {
            logins.expired.clear();
            return None;
        }
        let client = self.dice.below(self.crowd.len() as u64) as usize;
        logins.issue_at = Duration::ZERO;
        logins.expired.insert(client);
        (logins.ways[client] == LoginMechanism::OauthBearer).then_some(LoginFault::TokenExpired)
    }

    fn trouble_client(&mut self) -> Option<LoginFault> {
        let at = self.dice.below(self.crowd.len() as u64) as usize;
        let is_late = self.dice.below(2) == 0;
        let other = people().credential(user_of(at + 1), LoginMechanism::Scram(Mechanism::Sha256));
        let login = self.crowd.client(at).network().login()?;
        if is_late {
            login.is_late = !login.is_late;
            return login.is_late.then_some(LoginFault::ClientLate);
        }
        login.again_as = Some(other);
        Some(LoginFault::ClientIsAnother)
    }

    /// How many logins of clients were renewed, and how many of these while requests were unanswered.
    pub(super) fn renewed_by_clients(&mut self) -> (u64, u64) {
        let mut renewed = (0, 0);
        for at in 0..self.crowd.len() {
            if let Some(login) = self.crowd.client(at).network().login() {
                renewed.0 += login.renewed;
                renewed.1 += login.renewed_in_flight;
            }
        }
        renewed
    }

    /// Nothing goes wrong any more.
    pub(super) fn rest_logins(&mut self) {
        let Some(mut logins) = self.logins.take() else {
            return;
        };
        if let Some(at_brokers) = self.brokers.logins() {
            at_brokers.trouble = LoginTrouble::default();
        }
        set_aside(Duration::ZERO);
        logins.expired.clear();
        logins.issue_at = Duration::ZERO;
        for at in 0..self.crowd.len() {
            if let Some(login) = self.crowd.client(at).network().login() {
                (login.is_late, login.again_as) = (false, None);
            }
        }
        logins.setup.versions = logins.versions.clone();
        self.tell_accounts(&mut logins);
        self.logins = Some(logins);
    }

    /// The program begins anew, and with it what it knows of its accounts.
    pub(super) fn crash(&mut self) {
        self.cut_all();
        self.checks.keys.crashes(self.program.now);
        if let Some(logins) = &mut self.logins {
            logins.tries = Tries::default();
        }
        self.program
            .crash(self.logins.as_mut().map(|logins| &mut logins.setup));
    }
}

const ISSUED_EVERY: Duration = Duration::from_millis(700);
const TOKEN_MIN: Duration = Duration::from_secs(3);
/// Longer than clocks may differ.
const EXPIRED_FOR: Duration = Duration::from_secs(60);
