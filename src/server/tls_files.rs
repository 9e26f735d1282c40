//! The files of TLS: read before anything is served, and looked at again and again. What they hold now is for new
//! connections.
//!
//! - TLS-FILES-1: a listener's files, or a cluster's, are taken together or not at all: what is missing, broken, out of
//!   date or does not belong together changes nothing, and the log says so once for each state of the files.
//! - TLS-FILES-2: they are looked at (FOLLOWED-1) by size, times and inode, links followed, so that a file
//!   or a folder above it may be replaced in whatever way.
//!
//! Every executor is told (CONTROL-2).
//!
//! Control thread only.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::ServerError;
use super::followed_files::{Followed, FollowedFiles};
use crate::admin::TlsFacts;
use crate::config::Config;
use crate::durable_file::FileIdentity;
use crate::ids::{ClusterId, ListenerId};
use crate::messages::TlsNews;
use crate::transport::certificates::{AuthorityFacts, CertificateError, CertificateFacts};
use crate::transport::tls_client::{Trust, UpstreamTls};
use crate::transport::tls_server::ListenerTls;

/// See the module.
pub(super) type TlsFiles = FollowedFiles<TlsFollowed>;

/// One listener's files, or those of a cluster towards its brokers.
pub(super) struct TlsFollowed {
    source: Source,
    seen: Vec<Option<FileIdentity>>,
    /// What they hold now cannot be used, which was told of. It may pass: a certificate may begin only later.
    is_failing: bool,
    facts: TlsFacts,
    /// See `ServerSet`; at the start the self-check tells them.
    doubts: Vec<String>,
}

enum Source {
    Listener(ListenerId, ListenerTls),
    Upstream(ClusterId, UpstreamTls),
}

impl TlsFollowed {
    /// Reads everything, for whoever starts; with it, what was read.
    pub(super) fn read(config: &Config) -> Result<(TlsFiles, Vec<TlsNews>), ServerError> {
        let (mut followed, mut read) = (Vec::new(), Vec::new());
        for cluster in &config.clusters {
            let upstream = cluster.upstream_tls.iter();
            let upstream = upstream.map(|tls| (Source::Upstream(cluster.id, tls.clone()), ""));
            let listeners = cluster.listeners.iter().filter_map(|listener| {
                let tls = listener.tls.clone()?;
                Some((Source::Listener(listener.id, tls), listener.name.as_str()))
            });
            for (source, listener) in upstream.chain(listeners) {
                let mut one = TlsFollowed::new(source, &cluster.name, listener);
                let news = one.load().map_err(|source| ServerError::Tls {
                    name: one.name(),
                    source,
                })?;
                if one.facts.is_unverified {
                    tracing::warn!(
                        cluster = cluster.name,
                        "brokers are not verified (insecure_no_verification): whoever answers is taken for one"
                    );
                }
                followed.push(one);
                read.push(news);
            }
        }
        Ok((FollowedFiles::new("the files of TLS", followed), read))
    }
}

impl Followed for TlsFollowed {
    type News = TlsNews;
    type Facts = TlsFacts;

    /// Looks whether the files have changed; what they hold now, if they go together.
    fn look(&mut self) -> Option<TlsNews> {
        let identities = self.identities();
        let is_new = identities != self.seen;
        let has_ended = self.has_ended();
        if !is_new && !self.is_failing && !has_ended {
            return None;
        }
        let loaded = self.load();
        self.facts.is_current = loaded.is_ok();
        let was_failing = std::mem::replace(&mut self.is_failing, loaded.is_err());
        match loaded {
            Ok(news) => {
                if has_ended && !is_new {
                    tracing::warn!(
                        cluster = self.facts.cluster,
                        listener = self.facts.listener,
                        "an authority in the files of TLS has ended: it vouches for nobody any more"
                    );
                } else {
                    tracing::info!(
                        cluster = self.facts.cluster,
                        listener = self.facts.listener,
                        "the files of TLS have changed: new connections use what they hold now"
                    );
                }
                for doubt in &self.doubts {
                    tracing::warn!(
                        cluster = self.facts.cluster,
                        listener = self.facts.listener,
                        doubt,
                        "some may stumble over a file of TLS"
                    );
                }
                Some(news)
            }
            Err(reason) => {
                if is_new || !was_failing {
                    let name = self.name();
                    let change = if is_new {
                        "have changed and"
                    } else {
                        "have not changed, and"
                    };
                    tracing::error!(
                        %reason,
                        "{name} {change} cannot be used: what was read before stays in force"
                    );
                }
                None
            }
        }
    }

    fn facts(&self) -> TlsFacts {
        self.facts.clone()
    }
}

impl TlsFollowed {
    fn new(source: Source, cluster: &str, listener: &str) -> Self {
        let is_unverified = matches!(&source, Source::Upstream(_, tls) if tls.trust == Trust::Anybody);
        Self {
            source,
            seen: Vec::new(),
            is_failing: false,
            doubts: Vec::new(),
            facts: TlsFacts {
                cluster: cluster.to_owned(),
                listener: listener.to_owned(),
                certificates: Vec::new(),
                authorities: None,
                revocations: Vec::new(),
                is_current: true,
                is_unverified,
            },
        }
    }

    fn name(&self) -> String {
        let TlsFacts {
            cluster, listener, ..
        } = &self.facts;
        match &self.source {
            Source::Listener(..) => format!("the TLS files of listener {cluster}/{listener}"),
            Source::Upstream(..) => format!("the TLS files of cluster {cluster} towards brokers"),
        }
    }

    /// Reads the files and takes what they hold.
    #[expect(
        clippy::disallowed_methods,
        reason = "certificates are compared with the date when they are read"
    )]
    fn load(&mut self) -> Result<TlsNews, CertificateError> {
        // Before they are read: what changes meanwhile is another state.
        self.seen = self.identities();
        let now = SystemTime::now();
        let (certificates, authorities, revocations): (Vec<CertificateFacts>, Option<AuthorityFacts>, _);
        self.doubts.clear();
        let news = match &self.source {
            Source::Listener(id, tls) => {
                let set = tls.load(now)?;
                self.doubts.clone_from(&set.doubts);
                certificates = set.certificates.clone();
                (authorities, revocations) = (set.authorities.clone(), set.revocations.clone());
                TlsNews::Listener(*id, Arc::new(set))
            }
            Source::Upstream(id, tls) => {
                let set = tls.load(now)?;
                certificates = set.certificate.iter().cloned().collect();
                (authorities, revocations) = (set.authorities.clone(), Vec::new());
                TlsNews::Upstream(*id, Arc::new(set))
            }
        };
        self.facts.certificates = certificates
            .iter()
            .map(|facts| (facts.path.display().to_string(), facts.not_after))
            .collect();
        self.facts.authorities = authorities.map(|facts| (facts.path.display().to_string(), facts.first_end));
        self.facts.revocations = revocations
            .iter()
            .filter_map(|facts| Some((facts.path.display().to_string(), facts.next_update?)))
            .collect();
        Ok(news)
    }

    /// CERTIFICATES-3
    #[expect(
        clippy::disallowed_methods,
        reason = "certificates are compared with the date when they are looked at"
    )]
    fn has_ended(&self) -> bool {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let now = now.unwrap_or(Duration::ZERO).as_secs();
        let mut ends = self.facts.authorities.iter();
        ends.any(|(_, end)| i64::try_from(now).is_ok_and(|now| *end < now))
    }

    fn identities(&self) -> Vec<Option<FileIdentity>> {
        let of = |path: &std::path::PathBuf| FileIdentity::of(path).ok();
        match &self.source {
            Source::Listener(_, tls) => tls.files().map(of).collect(),
            Source::Upstream(_, tls) => tls.files().map(of).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::ids::Id as _;
    use crate::testing::authority::{Authority, Wanted};
    use crate::testing::tls_meeting::listener;
    use crate::transport::certificates::CertificateFiles;

    fn followed(files: CertificateFiles) -> TlsFollowed {
        let source = Source::Listener(ListenerId::from_number(0), listener(vec![files]));
        TlsFollowed::new(source, "main", "lan")
    }

    fn server_names(news: &TlsNews) -> bool {
        let TlsNews::Listener(_, set) = news else {
            return false;
        };
        set.certificates.iter().any(|facts| facts.covers("new"))
    }

    /// CERTIFICATES-3
    #[test]
    fn files_are_read_again_when_an_authority_has_ended() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let root = Authority::root("root");
        let files = root
            .issue(&Wanted::for_hosts(&["a"]))
            .write(folder.path(), "server");
        let ca = folder.path().join("ca.pem");
        fs::write(&ca, root.pem()).expect("it is written");
        let tls = ListenerTls {
            client_ca: Some(ca),
            ..listener(vec![files])
        };
        let source = Source::Listener(ListenerId::from_number(0), tls);
        let mut followed = TlsFollowed::new(source, "main", "lan");
        followed.load().expect("it is good");
        let before = followed.facts.authorities.clone();
        assert!(before.is_some() && followed.look().is_none());
        // As of one that has ended since.
        if let Some((_, end)) = &mut followed.facts.authorities {
            *end = 1;
        }
        assert!(followed.look().is_some(), "without it");
        assert_eq!(followed.facts.authorities, before);
    }

    /// TLS-FILES-1, TLS-FILES-2
    #[test]
    fn a_set_is_taken_whole_or_not_at_all() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let root = Authority::root("root");
        let files = root
            .issue(&Wanted::for_hosts(&["old"]))
            .write(folder.path(), "server");
        let mut followed = followed(files.clone());
        assert!(!server_names(&followed.load().expect("it is good")));
        let ends = followed.facts.certificates.clone();
        assert_eq!(ends.len(), 1);
        assert!(followed.look().is_none(), "nothing has changed");

        let new = root.issue(&Wanted::for_hosts(&["new"]));
        fs::write(&files.certificate, &new.chain).expect("it is written");
        assert!(followed.look().is_none(), "the key is another one's");
        assert!(!followed.facts.is_current);
        assert_eq!(followed.facts.certificates, ends, "the old one is in force");
        assert!(
            followed.look().is_none() && !followed.facts.is_current,
            "nor is it later"
        );

        let beside = new.write(folder.path(), "beside");
        fs::rename(&beside.key, &files.key).expect("it is replaced");
        assert!(server_names(&followed.look().expect("they belong together")));
        assert!(followed.facts.is_current);

        fs::remove_file(&files.key).expect("it is removed");
        assert!(followed.look().is_none() && !followed.facts.is_current);
        new.write(folder.path(), "server");
        assert!(followed.look().is_some() && followed.facts.is_current);
    }
}
