//! The file that keeps the last known addresses of brokers over a restart: one JSON object, node id to `host:port`.
//!
//! It saves clients that come straight back to a node's port the detour over a bootstrap broker. It holds nothing secret, and
//! nothing depends on it: what it says is overwritten by the first Metadata response.
//!
//! - STATE-1: it is written beside itself and renamed, so that a crash leaves the old or the new content.

use std::collections::BTreeMap;
use std::fs;
use std::io::{ErrorKind, Write};
use std::path::PathBuf;

use super::ServerError;
use crate::config::HostPort;
use crate::pipeline::AddressBook;

/// One cluster's file.
pub(super) struct StateFile {
    path: PathBuf,
}

impl StateFile {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// What it says; nothing when it is not there yet.
    pub(super) fn read(&self) -> Result<Vec<(i32, HostPort)>, ServerError> {
        let problem = |problem: String| ServerError::StateFile {
            path: self.path.display().to_string(),
            problem,
        };
        let text = match fs::read(&self.path) {
            Ok(text) if text.len() > BYTES_MAX => {
                return Err(problem(format!("larger than {BYTES_MAX} bytes")));
            }
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(problem(error.to_string())),
        };
        let entries: BTreeMap<i32, String> = serde_json::from_slice(&text)
            .map_err(|error| problem(format!("{error}; remove it to start with an empty one")))?;
        Ok(entries
            .into_iter()
            .filter_map(|(node_id, address)| {
                let (host, port) = address.rsplit_once(':')?;
                let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
                let port = port.parse().ok()?;
                Some((node_id, HostPort { host, port }))
            })
            .collect())
    }

    /// Writes what is known now. A failure costs the detour after the next restart, and is only logged.
    pub(super) fn write(&self, book: &AddressBook) {
        let entries: BTreeMap<i32, String> = book
            .entries()
            .into_iter()
            .map(|(node_id, address)| (node_id, address.to_string()))
            .collect();
        let beside = self.path.with_extension("new");
        let written = serde_json::to_vec_pretty(&entries)
            .map_err(std::io::Error::other)
            .and_then(|text| {
                let mut file = fs::File::create(&beside)?;
                file.write_all(&text)?;
                // Or the new name may come to stand for an empty file, and the next start complains of it.
                file.sync_all()
            })
            .and_then(|()| fs::rename(&beside, &self.path));
        if let Err(error) = written {
            tracing::warn!(path = %self.path.display(), %error, "the state file was not written");
        }
    }
}

/// Ten thousand brokers with long names.
const BYTES_MAX: usize = 4 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::LearnedAddress;

    #[test]
    fn what_is_written_is_read_again() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = StateFile::new(folder.path().join("nodes.json"));
        assert!(file.read().expect("an absent file is empty").is_empty());
        let mut book = AddressBook::default();
        for (node_id, host) in [(1, "kafka-1.example.com"), (7, "fd00::7")] {
            book.learn(LearnedAddress {
                node_id,
                address: HostPort {
                    host: host.to_owned(),
                    port: 9092,
                },
            });
        }
        file.write(&book);
        let read = file.read().expect("what was written is read");
        let again = AddressBook::new(read);
        assert_eq!(again.entries(), book.entries());
    }

    #[test]
    fn a_broken_file_is_named() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("nodes.json");
        fs::write(&path, "not json").expect("the file is written");
        let error = StateFile::new(path.clone()).read().expect_err("no JSON");
        assert!(error.to_string().contains(&path.display().to_string()));
    }
}
