//! The files that say who may do something, users, the keys behind tokens, and groups of rules: read before anything is
//! served, and looked at again and again. What they hold now is for the next login, or request.
//!
//! - ACCESS-FILES-1: what cannot be read or understood changes nothing, and the log says so once for each state of
//!   the file.
//! - ACCESS-FILES-2: they are looked at every [`LOOK_INTERVAL`], as those of TLS are.
//!
//! They are read by threads that may wait for a disk, and every executor is told (CONTROL-2).
//!
//! Control thread only.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::task::spawn_blocking;
use tokio::time::sleep;

use super::ServerError;
use super::sending::send;
use super::tls_files::LOOK_INTERVAL;
use crate::channel::Sender;
use crate::config::{Config, GroupFile, KeySetSource, read_credentials, read_key_set};
use crate::durable_file::FileIdentity;
use crate::identity::sasl::exchange::CheckedNews;
use crate::ids::ListenerId;
use crate::messages::ExecutorMessage;

/// See the module.
pub(super) struct AccessFiles {
    followed: Vec<Followed>,
}

struct Followed {
    kind: Kind,
    /// For the log: of which listener or group, and cluster.
    whose: String,
    path: PathBuf,
    seen: Option<FileIdentity>,
    is_failing: bool,
}

/// What is in it.
enum Kind {
    Credentials(ListenerId),
    Keys(ListenerId),
    Group(GroupFile),
}

/// Who may log in where.
pub(super) type Read = Vec<(ListenerId, CheckedNews)>;

impl AccessFiles {
    /// Reads everything, for whoever starts; with it, what was read.
    pub(super) fn read(config: &Config) -> Result<(Self, Read), ServerError> {
        let mut followed = Vec::new();
        for cluster in &config.clusters {
            for group in &cluster.group_files {
                let whose = format!("group {:?} of cluster {:?}", group.name, cluster.name);
                followed.push(Followed::new(Kind::Group(group.clone()), whose, &group.path));
            }
            for listener in &cluster.listeners {
                let Some(sasl) = &listener.sasl else { continue };
                let whose = format!("listener {}/{}", cluster.name, listener.name);
                let mut follow = |kind, path| followed.push(Followed::new(kind, whose.clone(), path));
                if let Some(path) = &sasl.credentials {
                    follow(Kind::Credentials(listener.id), path);
                }
                if let Some(KeySetSource::File(path)) = sasl.oauthbearer.as_ref().map(|bearer| &bearer.keys) {
                    follow(Kind::Keys(listener.id), path);
                }
            }
        }
        let mut read = Vec::new();
        for one in &mut followed {
            let news = one.load().map_err(|reason| ServerError::Access {
                whose: one.whose.clone(),
                reason,
            })?;
            read.extend(news);
        }
        Ok((Self { followed }, read))
    }

    /// Follows the files for as long as it is polled.
    pub(super) async fn follow(self, executors: Vec<Sender<ExecutorMessage>>) {
        let mut followed = self.followed;
        while !followed.is_empty() {
            sleep(LOOK_INTERVAL).await;
            let looked = spawn_blocking(move || {
                let news: Vec<_> = followed.iter_mut().filter_map(Followed::look).collect();
                (followed, news)
            });
            let Ok((back, news)) = looked.await else {
                tracing::error!(
                    "files that say who may log in are not followed any more: restart the program to read them"
                );
                return;
            };
            followed = back;
            for (listener, one) in news {
                for executor in &executors {
                    send(executor, ExecutorMessage::Logins(listener, one.clone())).await;
                }
            }
        }
    }
}

impl Followed {
    fn new(kind: Kind, whose: String, path: &Path) -> Self {
        Self {
            kind,
            whose,
            path: path.to_path_buf(),
            seen: None,
            is_failing: false,
        }
    }

    /// With it, what executors are to be told.
    fn load(&mut self) -> Result<Option<(ListenerId, CheckedNews)>, String> {
        // Before it is read: what changes meanwhile is another state.
        self.seen = FileIdentity::of(&self.path).ok();
        match &self.kind {
            Kind::Credentials(listener) => read_credentials(&self.path)
                .map(|credentials| Some((*listener, CheckedNews::Credentials(Arc::new(credentials)))))
                .map_err(|error| error.to_string()),
            Kind::Keys(listener) => read_key_set(&self.path)
                .map(|keys| Some((*listener, CheckedNews::Keys(Arc::new(keys), None))))
                .map_err(|error| error.to_string()),
            // Rules know its members.
            Kind::Group(group) => group.load().map(|()| None).map_err(|error| error.to_string()),
        }
    }

    fn look(&mut self) -> Option<(ListenerId, CheckedNews)> {
        let is_new = FileIdentity::of(&self.path).ok() != self.seen;
        if !is_new && !self.is_failing {
            return None;
        }
        let loaded = self.load();
        let was_failing = std::mem::replace(&mut self.is_failing, loaded.is_err());
        let (whose, what) = (&self.whose, self.kind.name());
        match loaded {
            Ok(news) => {
                let next = self.kind.next();
                tracing::info!(whose, "{what} has changed: {next} go by what it holds now");
                news
            }
            Err(reason) => {
                if is_new || !was_failing {
                    tracing::error!(
                        whose,
                        reason,
                        "{what} has changed and cannot be used: what was read before stays in force"
                    );
                }
                None
            }
        }
    }
}

impl Kind {
    fn name(&self) -> &'static str {
        match self {
            Self::Credentials(_) => "the credentials file",
            Self::Keys(_) => "the key set of oauthbearer",
            Self::Group(_) => "the file of a group",
        }
    }

    /// What is the first to go by it.
    fn next(&self) -> &'static str {
        match self {
            Self::Credentials(_) | Self::Keys(_) => "logins",
            Self::Group(_) => "requests",
        }
    }
}
