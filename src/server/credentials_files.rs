//! The files that say who may log in: read before anything is served, and looked at again and again. What they hold now
//! is for the next login.
//!
//! - CREDENTIALS-FILES-1: what cannot be read or understood changes nothing, and the log says so once for each state of
//!   the file.
//! - CREDENTIALS-FILES-2: they are looked at every [`LOOK_INTERVAL`], as those of TLS are.
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
use crate::config::{Config, read_credentials};
use crate::durable_file::FileIdentity;
use crate::identity::sasl::credentials::Credentials;
use crate::ids::ListenerId;
use crate::messages::ExecutorMessage;

/// See the module.
pub(super) struct CredentialsFiles {
    followed: Vec<Followed>,
}

/// One listener's file.
struct Followed {
    listener: ListenerId,
    /// Its name and its cluster's, for the log.
    name: String,
    path: PathBuf,
    seen: Option<FileIdentity>,
    is_failing: bool,
}

/// Who may log in where.
pub(super) type Read = Vec<(ListenerId, Arc<Credentials>)>;

impl CredentialsFiles {
    /// Reads everything, for whoever starts; with it, what was read.
    pub(super) fn read(config: &Config) -> Result<(Self, Read), ServerError> {
        let (mut followed, mut read) = (Vec::new(), Vec::new());
        for cluster in &config.clusters {
            for listener in &cluster.listeners {
                let Some(sasl) = &listener.sasl else { continue };
                let mut one = Followed {
                    listener: listener.id,
                    name: format!("{}/{}", cluster.name, listener.name),
                    path: sasl.credentials.clone(),
                    seen: None,
                    is_failing: false,
                };
                let credentials = one.load().map_err(|reason| ServerError::Credentials {
                    listener: one.name.clone(),
                    reason,
                })?;
                read.push((listener.id, credentials));
                followed.push(one);
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
                    "credentials files are not followed any more: restart the program to read them"
                );
                return;
            };
            followed = back;
            for (listener, credentials) in news {
                for executor in &executors {
                    let credentials = Arc::clone(&credentials);
                    send(executor, ExecutorMessage::Credentials(listener, credentials)).await;
                }
            }
        }
    }
}

impl Followed {
    fn load(&mut self) -> Result<Arc<Credentials>, String> {
        // Before it is read: what changes meanwhile is another state.
        self.seen = FileIdentity::of(&self.path).ok();
        let read = read_credentials(&self.path).map_err(|error| error.to_string());
        read.map(Arc::new)
    }

    fn look(&mut self) -> Option<(ListenerId, Arc<Credentials>)> {
        let is_new = FileIdentity::of(&self.path).ok() != self.seen;
        if !is_new && !self.is_failing {
            return None;
        }
        let loaded = self.load();
        let was_failing = std::mem::replace(&mut self.is_failing, loaded.is_err());
        match loaded {
            Ok(credentials) => {
                tracing::info!(
                    listener = self.name,
                    "the credentials file has changed: logins go by what it holds now"
                );
                Some((self.listener, credentials))
            }
            Err(reason) => {
                if is_new || !was_failing {
                    tracing::error!(
                        listener = self.name,
                        reason,
                        "the credentials file has changed and cannot be used: what was read before stays in force"
                    );
                }
                None
            }
        }
    }
}
