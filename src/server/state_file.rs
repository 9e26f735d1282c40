//! The file that keeps the last known addresses of brokers over a restart: one JSON object, node id to `host:port`.
//!
//! It saves clients that come straight back to a node's port the detour over a bootstrap broker. It holds nothing secret, and
//! nothing depends on it: what it says is overwritten by the first Metadata response.
//!
//! - STATE-1: it is written beside itself and renamed, so that a crash leaves the old or the new content.
//! - STATE-2: it is written at most once in [`WRITE_INTERVAL`], on a thread that may wait for a disk, and once more at the end
//!   of the program; what is written is what is known then.

use std::collections::BTreeMap;
use std::fs;
use std::io::{ErrorKind, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

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

    /// Writes the book whenever it has changed (STATE-2), until nobody changes it any more. A failure costs the detour after
    /// the next restart: it is logged, and the next change is another try.
    pub(super) async fn keep(self, mut book: watch::Receiver<AddressBook>) {
        let file = Arc::new(self);
        // An unseen change is reported even when whoever made it is gone.
        while book.changed().await.is_ok() {
            let entries = entries(&book.borrow_and_update());
            let writer = Arc::clone(&file);
            let written = spawn_blocking(move || writer.write(&entries)).await;
            if let Err(error) = written.unwrap_or_else(|error| Err(std::io::Error::other(error))) {
                tracing::warn!(path = %file.path.display(), %error, "the state file was not written");
            }
            // Cut short at the end of the program.
            let _ = timeout(WRITE_INTERVAL, ended(&book)).await;
        }
    }

    fn write(&self, entries: &BTreeMap<i32, String>) -> std::io::Result<()> {
        let beside = self.path.with_extension("new");
        let text = serde_json::to_vec_pretty(entries)?;
        let mut file = fs::File::create(&beside)?;
        file.write_all(&text)?;
        // Or the new name may come to stand for an empty file, and the next start complains of it.
        file.sync_all()?;
        fs::rename(&beside, &self.path)
    }
}

fn entries(book: &AddressBook) -> BTreeMap<i32, String> {
    book.entries()
        .into_iter()
        .map(|(node_id, address)| (node_id, address.to_string()))
        .collect()
}

/// Waits until nobody changes the book any more.
async fn ended(book: &watch::Receiver<AddressBook>) {
    let mut book = book.clone();
    while book.changed().await.is_ok() {}
}

/// A restart within a second of a change may take the detour.
const WRITE_INTERVAL: Duration = Duration::from_secs(1);

/// Ten thousand brokers with long names.
const BYTES_MAX: usize = 4 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use std::time::Instant;

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
        file.write(&entries(&book)).expect("it is written");
        let read = file.read().expect("what was written is read");
        let again = AddressBook::new(read);
        assert_eq!(again.entries(), book.entries());
    }

    fn at(port: u16) -> LearnedAddress {
        LearnedAddress {
            node_id: 1,
            address: HostPort {
                host: "kafka".to_owned(),
                port,
            },
        }
    }

    async fn written(file: &StateFile, port: u16) -> Instant {
        loop {
            let entries = file.read().unwrap_or_default();
            if entries.first().is_some_and(|(_, address)| address.port == port) {
                return Instant::now();
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// STATE-2
    #[tokio::test]
    async fn changes_are_written_once_a_second_and_the_last_at_the_end() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("nodes.json");
        let file = StateFile::new(path.clone());
        let book = watch::Sender::new(AddressBook::default());
        let keeper = tokio::spawn(StateFile::new(path).keep(book.subscribe()));
        let begun = Instant::now();
        book.send_modify(|book| assert!(book.learn(at(1))));
        written(&file, 1).await;
        for port in 2..500 {
            book.send_modify(|book| assert!(book.learn(at(port))));
        }
        let second = written(&file, 499).await;
        assert!(second - begun >= WRITE_INTERVAL, "{:?}", second - begun);
        book.send_modify(|book| assert!(book.learn(at(500))));
        drop(book);
        keeper.await.expect("it ends");
        assert_eq!(file.read().expect("a file")[0].1.port, 500);
        assert!(second.elapsed() < WRITE_INTERVAL, "the end does not wait");
    }

    #[tokio::test]
    async fn what_could_not_be_written_is_tried_again_with_the_next_change() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("later").join("nodes.json");
        let file = StateFile::new(path.clone());
        let book = watch::Sender::new(AddressBook::default());
        let keeper = tokio::spawn(StateFile::new(path).keep(book.subscribe()));
        book.send_modify(|book| assert!(book.learn(at(1))));
        tokio::time::sleep(Duration::from_millis(50)).await;
        fs::create_dir(folder.path().join("later")).expect("a folder");
        book.send_modify(|book| assert!(book.learn(at(2))));
        drop(book);
        keeper.await.expect("it ends");
        assert_eq!(file.read().expect("a file")[0].1.port, 2);
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
