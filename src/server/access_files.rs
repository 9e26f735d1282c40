//! The files that say who may do something, users, the keys behind tokens, and groups of rules: read before anything is
//! served, and looked at again and again. What they hold now is for the next login, or request.
//!
//! - ACCESS-FILES-1: what cannot be read or understood changes nothing, and the log says so once for each state of
//!   the file. Of accounts at brokers, one whose certificate cannot be used keeps nothing else back (ACCOUNTS-4).
//! - ACCESS-FILES-2: they are looked at as those of TLS are (FOLLOWED-1).
//!
//! Every executor is told of logins (CONTROL-2), and the audit log of groups.
//!
//! Control thread only.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::ServerError;
use super::followed_files::{Followed, FollowedFiles};
use crate::admin::AccessFacts;
use crate::broker_login::BrokerAccounts;
use crate::config::{
    Config, GroupFile, KeySetSource, OwnAccount, UpstreamLogin, read_accounts, read_credentials, read_key_set,
};
use crate::durable_file::FileIdentity;
use crate::identity::sasl::exchange::CheckedNews;
use crate::ids::{ClusterId, ListenerId};
use crate::secret_source::check_owner_only;
use crate::transport::tls_client::UpstreamTls;

/// See the module.
pub(super) type AccessFiles = FollowedFiles<AccessFollowed>;

/// One of them.
pub(super) struct AccessFollowed {
    kind: Kind,
    cluster: String,
    /// Of which listener or group.
    name: String,
    path: PathBuf,
    seen: Vec<Option<FileIdentity>>,
    /// Why it is not in force, or not all of it.
    fault: Option<String>,
    /// What is read of a pipe is there no second time, and whoever opens one waits.
    is_read_once: bool,
}

/// What is in it.
enum Kind {
    Credentials(ListenerId),
    Keys(ListenerId),
    /// With the number of rules of its cluster.
    Group(GroupFile, usize),
    /// With how brokers are spoken to.
    Accounts {
        cluster: ClusterId,
        tls: Option<UpstreamTls>,
        allows_plaintext: bool,
        accounts: Arc<BrokerAccounts>,
    },
    /// The proxy's own account, for everybody.
    OwnAccount(ClusterId, OwnAccount, Arc<BrokerAccounts>),
}

/// What changes by it.
pub(super) enum AccessNews {
    /// Who may log in where.
    Logins(ListenerId, CheckedNews),
    /// Who the proxy is at brokers of a cluster.
    Accounts(ClusterId, Arc<BrokerAccounts>),
    /// Rules of a cluster know the new members of a group already.
    Group(GroupNews),
}

/// A group has changed.
pub(super) struct GroupNews {
    pub(super) cluster: String,
    /// How many rules the cluster has.
    pub(super) rules: usize,
    pub(super) group: String,
}

/// What there was at the start.
pub(super) type Read = Vec<AccessNews>;

impl AccessFollowed {
    /// Reads everything, for whoever starts; with it, what was read.
    pub(super) fn read(config: &Config) -> Result<(AccessFiles, Read), ServerError> {
        let mut followed = Vec::new();
        for cluster in &config.clusters {
            let rules = cluster.rules.rules().len();
            let mut follow =
                |kind, name: &str, path| followed.push(Self::new(kind, &cluster.name, name, path));
            for group in &cluster.group_files {
                follow(Kind::Group(group.clone(), rules), &group.name, &group.path);
            }
            match &cluster.upstream_login {
                Some(UpstreamLogin::PerPrincipal {
                    accounts,
                    allows_plaintext,
                }) => {
                    let kind = Kind::Accounts {
                        cluster: cluster.id,
                        tls: cluster.upstream_tls.clone(),
                        allows_plaintext: *allows_plaintext,
                        accounts: Arc::default(),
                    };
                    follow(kind, "", accounts);
                }
                // One that is in no file is read once.
                Some(UpstreamLogin::One(own @ (OwnAccount::Password { .. } | OwnAccount::Token(_)))) => {
                    let kind = Kind::OwnAccount(cluster.id, own.clone(), Arc::default());
                    follow(kind, "", own.path().unwrap_or(Path::new("")));
                }
                // Of those by which tokens are made or fetched, the secret is read each time.
                Some(
                    UpstreamLogin::One(_)
                    | UpstreamLogin::ForwardToken
                    | UpstreamLogin::DelegationTokens { .. },
                )
                | None => {}
            }
            for listener in &cluster.listeners {
                let Some(sasl) = &listener.sasl else { continue };
                if let Some(path) = &sasl.credentials {
                    follow(Kind::Credentials(listener.id), &listener.name, path);
                }
                if let Some(KeySetSource::File(path)) = sasl.oauthbearer.as_ref().map(|bearer| &bearer.keys) {
                    follow(Kind::Keys(listener.id), &listener.name, path);
                }
            }
        }
        let mut read = Vec::new();
        for one in &mut followed {
            let news = one.load().map_err(|reason| ServerError::Access {
                whose: one.whose(),
                reason,
            })?;
            read.push(news);
        }
        let what = "files that say who may log in, and who belongs to a group,";
        Ok((FollowedFiles::new(what, followed), read))
    }

    fn new(kind: Kind, cluster: &str, name: &str, path: &Path) -> Self {
        Self {
            kind,
            cluster: cluster.to_owned(),
            name: name.to_owned(),
            path: path.to_path_buf(),
            seen: Vec::new(),
            fault: None,
            is_read_once: false,
        }
    }

    /// For the log.
    fn whose(&self) -> String {
        let Self { cluster, name, .. } = self;
        match self.kind {
            Kind::Group(..) => format!("group {name:?} of cluster {cluster:?}"),
            Kind::Accounts { .. } | Kind::OwnAccount(..) => format!("cluster {cluster:?}"),
            Kind::Credentials(_) | Kind::Keys(_) => format!("listener {cluster}/{name}"),
        }
    }

    /// Of the file, and of those that it names.
    fn identities(&self) -> Vec<Option<FileIdentity>> {
        let of = |path: &PathBuf| FileIdentity::of(path).ok();
        let mut identities = vec![of(&self.path)];
        if let Kind::Accounts { tls, accounts, .. } = &self.kind
            && !accounts.files().is_empty()
        {
            identities.extend(accounts.files().iter().map(of));
            identities.extend(tls.iter().flat_map(UpstreamTls::files).map(of));
        }
        identities
    }

    /// With it, what changes.
    fn load(&mut self) -> Result<AccessNews, String> {
        // Before it is read: what changes meanwhile is another state.
        self.seen = self.identities();
        if matches!(self.kind, Kind::Credentials(_) | Kind::Accounts { .. }) {
            check_owner_only(&self.path).map_err(|error| error.to_string())?;
        }
        match &mut self.kind {
            Kind::Credentials(listener) => read_credentials(&self.path)
                .map(|read| AccessNews::Logins(*listener, CheckedNews::Credentials(Arc::new(read))))
                .map_err(|error| error.to_string()),
            Kind::Keys(listener) => read_key_set(&self.path)
                .map(|keys| AccessNews::Logins(*listener, CheckedNews::Keys(Arc::new(keys), None)))
                .map_err(|error| error.to_string()),
            Kind::Accounts {
                cluster,
                tls,
                allows_plaintext,
                accounts,
            } => {
                let read = read_accounts(&self.path, tls.as_ref(), *allows_plaintext, accounts);
                let read = read.map_err(|error| error.to_string())?;
                let names_others = read.files() != accounts.files();
                *accounts = Arc::new(read);
                let news = AccessNews::Accounts(*cluster, Arc::clone(accounts));
                if names_others {
                    let own = self.seen.first().cloned();
                    self.seen = self.identities();
                    // What has changed while it was read is another state.
                    for (seen, own) in self.seen.iter_mut().zip(own) {
                        *seen = own;
                    }
                }
                Ok(news)
            }
            Kind::OwnAccount(cluster, own, accounts) => {
                if own.path().is_some_and(is_no_file) {
                    if !accounts.is_empty() {
                        return Err(format!("{} is no regular file any more", self.path.display()));
                    }
                    self.is_read_once = true;
                }
                let read = own.read().map_err(|error| error.to_string())?;
                let read = read.map(|credential| BrokerAccounts::for_all(credential, accounts));
                *accounts = Arc::new(read.unwrap_or_default());
                Ok(AccessNews::Accounts(*cluster, Arc::clone(accounts)))
            }
            Kind::Group(group, rules) => {
                group.load().map_err(|error| error.to_string())?;
                Ok(AccessNews::Group(GroupNews {
                    cluster: self.cluster.clone(),
                    rules: *rules,
                    group: self.name.clone(),
                }))
            }
        }
    }
}

impl Followed for AccessFollowed {
    type News = AccessNews;
    type Facts = AccessFacts;

    fn look(&mut self) -> Option<AccessNews> {
        if self.is_read_once {
            return None;
        }
        let is_new = self.identities() != self.seen;
        if !is_new && self.fault.is_none() {
            return None;
        }
        let loaded = self.load();
        let fault = match &loaded {
            Ok(_) => self.kind.fault(),
            Err(reason) => Some(reason.clone()),
        };
        let is_known = !is_new && self.fault == fault;
        self.fault.clone_from(&fault);
        if is_known {
            return None;
        }
        let (whose, what) = (self.whose(), self.kind.name());
        match (&loaded, fault) {
            (Ok(_), None) => {
                let next = self.kind.next();
                tracing::info!(whose, "{what} has changed: {next} go by what it holds now");
            }
            (Ok(_), Some(reason)) => tracing::error!(
                whose,
                reason,
                "{what} has changed, and a certificate of it cannot be used: its account keeps the one that it had, \
                 or is nobody's; all else is in force"
            ),
            (Err(_), reason) => tracing::error!(
                whose,
                reason,
                "{what} has changed and cannot be used: what was read before stays in force"
            ),
        }
        loaded.ok()
    }

    fn facts(&self) -> AccessFacts {
        AccessFacts {
            kind: match self.kind {
                Kind::Credentials(_) => "credentials",
                Kind::Keys(_) => "key_set",
                Kind::Group(..) => "group",
                Kind::Accounts { .. } => "accounts",
                Kind::OwnAccount(..) => "own_account",
            },
            cluster: self.cluster.clone(),
            name: self.name.clone(),
            is_current: self.fault.is_none(),
        }
    }
}

fn is_no_file(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|about| !about.is_file())
}

impl Kind {
    fn name(&self) -> &'static str {
        match self {
            Self::Credentials(_) => "the credentials file",
            Self::Keys(_) => "the key set of oauthbearer",
            Self::Group(..) => "the file of a group",
            Self::Accounts { .. } => "the file of accounts at brokers",
            Self::OwnAccount(..) => "the file of the proxy's own secret for brokers",
        }
    }

    /// Why not all of it is in force.
    fn fault(&self) -> Option<String> {
        let Self::Accounts { accounts, .. } = self else {
            return None;
        };
        let [first, others @ ..] = accounts.faults() else {
            return None;
        };
        Some(match others.len() {
            0 => first.to_string(),
            others => format!("{first}; and {others} more"),
        })
    }

    /// What is the first to go by it.
    fn next(&self) -> &'static str {
        match self {
            Self::Credentials(_) | Self::Keys(_) | Self::Accounts { .. } | Self::OwnAccount(..) => "logins",
            Self::Group(..) => "requests",
        }
    }
}
