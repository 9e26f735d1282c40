//! The files that say who may log in, users and the keys behind tokens: read before anything is served, and looked at
//! again and again. What they hold now is for the next login.
//!
//! - LOGIN-FILES-1: what cannot be read or understood changes nothing, and the log says so once for each state of
//!   the file.
//! - LOGIN-FILES-2: they are looked at every [`LOOK_INTERVAL`], as those of TLS are.
//!
//! They are read by threads that may wait for a disk, and every executor is told (CONTROL-2).
//!
//! Control thread only.

use std::path::PathBuf;
use std::sync::Arc;

use tokio::task::spawn_blocking;
use tokio::time::sleep;

use super::ServerError;
use super::sending::send;
use super::tls_files::LOOK_INTERVAL;
use crate::channel::Sender;
use crate::config::{Config, KeySetSource, read_credentials, read_key_set};
use crate::durable_file::FileIdentity;
use crate::identity::sasl::exchange::CheckedNews;
use crate::ids::ListenerId;
use crate::messages::ExecutorMessage;

/// See the module.
pub(super) struct LoginFiles {
    followed: Vec<Followed>,
}

/// One file of a listener.
struct Followed {
    listener: ListenerId,
    kind: Kind,
    /// Its name and its cluster's, for the log.
    name: String,
    path: PathBuf,
    seen: Option<FileIdentity>,
    is_failing: bool,
}

/// What is in it.
#[derive(Clone, Copy)]
enum Kind {
    Credentials,
    Keys,
}

/// Who may log in where.
pub(super) type Read = Vec<(ListenerId, CheckedNews)>;

impl LoginFiles {
    /// Reads everything, for whoever starts; with it, what was read.
    pub(super) fn read(config: &Config) -> Result<(Self, Read), ServerError> {
        let (mut followed, mut read) = (Vec::new(), Vec::new());
        for cluster in &config.clusters {
            for listener in &cluster.listeners {
                let Some(sasl) = &listener.sasl else { continue };
                let credentials = sasl.credentials.iter().map(|path| (Kind::Credentials, path));
                let keys = sasl.oauthbearer.iter().filter_map(|bearer| match &bearer.keys {
                    KeySetSource::File(path) => Some((Kind::Keys, path)),
                    KeySetSource::Url(_) => None,
                });
                for (kind, path) in credentials.chain(keys) {
                    let mut one = Followed {
                        listener: listener.id,
                        kind,
                        name: format!("{}/{}", cluster.name, listener.name),
                        path: path.clone(),
                        seen: None,
                        is_failing: false,
                    };
                    let news = one.load().map_err(|reason| ServerError::Logins {
                        listener: one.name.clone(),
                        reason,
                    })?;
                    read.push((listener.id, news));
                    followed.push(one);
                }
            }
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
    fn load(&mut self) -> Result<CheckedNews, String> {
        // Before it is read: what changes meanwhile is another state.
        self.seen = FileIdentity::of(&self.path).ok();
        match self.kind {
            Kind::Credentials => read_credentials(&self.path)
                .map(|credentials| CheckedNews::Credentials(Arc::new(credentials)))
                .map_err(|error| error.to_string()),
            Kind::Keys => read_key_set(&self.path)
                .map(|keys| CheckedNews::Keys(Arc::new(keys)))
                .map_err(|error| error.to_string()),
        }
    }

    fn look(&mut self) -> Option<(ListenerId, CheckedNews)> {
        let is_new = FileIdentity::of(&self.path).ok() != self.seen;
        if !is_new && !self.is_failing {
            return None;
        }
        let loaded = self.load();
        let was_failing = std::mem::replace(&mut self.is_failing, loaded.is_err());
        match loaded {
            Ok(news) => {
                tracing::info!(
                    listener = self.name,
                    "{} has changed: logins go by what it holds now",
                    self.kind.name()
                );
                Some((self.listener, news))
            }
            Err(reason) => {
                if is_new || !was_failing {
                    tracing::error!(
                        listener = self.name,
                        reason,
                        "{} has changed and cannot be used: what was read before stays in force",
                        self.kind.name()
                    );
                }
                None
            }
        }
    }
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Credentials => "the credentials file",
            Self::Keys => "the key set of oauthbearer",
        }
    }
}
