//! The file that keeps the last known addresses of brokers over a restart: one JSON object, node id to `host:port`.
//!
//! It saves clients that come straight back to a node's port the detour over a bootstrap broker. It holds nothing
//! secret, and nothing depends on it: what it says is overwritten by the first Metadata response.
//!
//! - STATE-1: it is a [`durable_file`](crate::durable_file): a crash leaves the old or the new content, and no link is
//!   followed.
//! - STATE-2: it is written at most once in [`WRITE_INTERVAL`], on a thread that may wait for a disk, and once more at
//!   the end of the program; what is written is what is known then.
//! - STATE-3: what is there and is no state file is neither believed nor replaced: it may be something that is needed.
//!   The program runs without one then, and says so.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use crate::config::{ClusterConfig, HostPort};
use crate::durable_file::{self, FileError, FileLock, Keeper};
use crate::ids::ClusterId;
use crate::pipeline::AddressBook;

/// What is known of a cluster's addresses at the start, and where it is kept.
pub(super) struct ClusterAddresses {
    pub(super) cluster: ClusterId,
    pub(super) book: AddressBook,
    /// `None`: nowhere.
    pub(super) file: Option<StateFile>,
}

impl ClusterAddresses {
    /// What the configuration says, and what was kept, which is newer.
    pub(super) fn read(cluster: &ClusterConfig) -> Self {
        let opened = cluster.state_file.clone().map(StateFile::open);
        let (file, kept) = opened.unwrap_or_default();
        let mut addresses = cluster.node_addresses.clone();
        addresses.extend(kept);
        Self {
            cluster: cluster.id,
            book: AddressBook::new(addresses),
            file,
        }
    }
}

/// One cluster's file.
pub(super) struct StateFile {
    path: PathBuf,
}

impl StateFile {
    /// The file at `path` and what it says: nothing when it is not there yet. Neither when it cannot be used (STATE-3).
    pub(super) fn open(path: PathBuf) -> (Option<Self>, Vec<(i32, HostPort)>) {
        let file = Self { path };
        match file.read() {
            Ok(entries) => (Some(file), entries),
            Err(error) => {
                tracing::warn!(
                    path = %file.path.display(),
                    %error,
                    "the state file cannot be used: addresses of brokers are not kept over a restart; \
                     remove it, if it is not needed for anything else, and restart"
                );
                (None, Vec::new())
            }
        }
    }

    fn read(&self) -> Result<Vec<(i32, HostPort)>, StateFileError> {
        let text = match durable_file::read(&self.path, BYTES_MAX) {
            Ok((text, _)) => text,
            Err(error) if error.is_not_found() => return Ok(Vec::new()),
            Err(error) => return Err(error.into()),
        };
        let entries: BTreeMap<i32, String> = serde_json::from_slice(&text)?;
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

    /// Writes the book whenever it has changed (STATE-2), until nobody changes it any more. A failure costs the detour
    /// after the next restart: it is logged, and the next change is another try.
    pub(super) async fn keep(self, mut book: watch::Receiver<AddressBook>) {
        let file = Arc::new(self);
        // An unseen change is reported even when whoever made it is gone.
        while book.changed().await.is_ok() {
            let entries = entries(&book.borrow_and_update());
            let writer = Arc::clone(&file);
            let written = spawn_blocking(move || writer.write(&entries)).await;
            if let Err(error) = written.unwrap_or(Err(StateFileError::Thread)) {
                tracing::warn!(path = %file.path.display(), %error, "the state file was not written");
            }
            // Cut short at the end of the program.
            let _ = timeout(WRITE_INTERVAL, ended(&book)).await;
        }
    }

    fn write(&self, entries: &BTreeMap<i32, String>) -> Result<(), StateFileError> {
        let text = serde_json::to_vec_pretty(entries)?;
        let lock = FileLock::acquire_within(&self.path, Keeper::Program, LOCK_PATIENCE)?;
        Ok(lock.replace(&text)?)
    }
}

#[derive(Debug, thiserror::Error)]
enum StateFileError {
    #[error(transparent)]
    File(#[from] FileError),
    /// Where, and not what: it may be another file, and secret.
    #[error("it does not hold addresses of brokers (line {}, column {})", .0.line(), .0.column())]
    Content(#[from] serde_json::Error),
    #[error("the thread that writes it failed")]
    Thread,
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

/// Another instance that was given the same file holds its lock for as long as a disk takes; the program's end waits
/// for it.
const LOCK_PATIENCE: Duration = Duration::from_secs(1);

/// Ten thousand brokers with long names.
const BYTES_MAX: usize = 4 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::Instant;

    use super::*;
    use crate::messages::LearnedAddress;

    #[test]
    fn what_is_written_is_read_again() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = at_path(folder.path().join("nodes.json"));
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

    fn at_path(path: PathBuf) -> StateFile {
        StateFile { path }
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
        let file = at_path(path.clone());
        let book = watch::Sender::new(AddressBook::default());
        let keeper = tokio::spawn(at_path(path).keep(book.subscribe()));
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
        let file = at_path(path.clone());
        let book = watch::Sender::new(AddressBook::default());
        let keeper = tokio::spawn(at_path(path).keep(book.subscribe()));
        book.send_modify(|book| assert!(book.learn(at(1))));
        tokio::time::sleep(Duration::from_millis(50)).await;
        fs::create_dir(folder.path().join("later")).expect("a folder");
        book.send_modify(|book| assert!(book.learn(at(2))));
        drop(book);
        keeper.await.expect("it ends");
        assert_eq!(file.read().expect("a file")[0].1.port, 2);
    }

    /// STATE-3
    #[test]
    fn what_is_no_state_file_is_not_used() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("nodes.json");
        let (file, entries) = StateFile::open(path.clone());
        assert!(file.is_some() && entries.is_empty(), "absent: it will be made");
        let longest = format!("{{}}{}", " ".repeat(BYTES_MAX - 2));
        for (content, usable) in [
            (r#"{"1":"kafka:9092"}"#, true),
            (longest.as_str(), true),
            (format!("{longest} ").as_str(), false),
            ("not json", false),
            ("", false),
            (r#"{"format":"1"}"#, false),
        ] {
            fs::write(&path, content).expect("the file is written");
            assert_eq!(StateFile::open(path.clone()).0.is_some(), usable);
        }
    }
}
