//! Small files that the program keeps: read bounded, replaced whole and durably, by one writer at a time. The keystore
//! and the brokers' addresses are such files.
//!
//! - FILE-1: a reader sees the old content or the new one, never half of one: a file is replaced by rename, after its
//!   bytes are on disk, and the folder is synced after it.
//! - FILE-2: whoever replaces a file holds its [`FileLock`]. The lock is the kernel's (flock), so it ends with its
//!   process; the lock file stays.
//! - FILE-3: nothing that stands beside the file is followed or written into: the lock file must be no link, and the
//!   new file is made anew.
//! - FILE-4: no more is read than was asked for, and only of a regular file: a pipe or a device does not make anybody
//!   wait.
//!
//! Everything here blocks: it belongs to the command line, to the start, and to threads that may wait for a disk.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

mod replace;

pub use self::replace::{FileLock, Keeper, create};
pub(crate) use self::replace::{LOCK_SUFFIX, NEW_SUFFIX, beside};

use std::fs::{self, Metadata, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Why a file could not be read or replaced. The messages are for the operator.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FileError {
    /// An operation failed.
    #[error("cannot {what} {}: {source}", path.display())]
    Failed {
        /// What was tried, as a verb.
        what: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The path is a folder, a device, or the like.
    #[error("{} is not a regular file", .0.display())]
    NotAFile(PathBuf),
    /// Somebody else replaces the file, or hangs while doing so.
    #[error(
        "another process has held the lock {} for {patience:?}: let the command that changes the file end, or end it, \
         and try again (the lock ends with its process; the file is to stay)",
        path.display()
    )]
    Locked {
        /// The lock file.
        path: PathBuf,
        /// How long was waited.
        patience: Duration,
    },
    /// Larger than its reader allows.
    #[error("{} is larger than the {bytes_max} bytes that such a file may have", path.display())]
    TooLarge {
        /// Which file.
        path: PathBuf,
        /// What is allowed.
        bytes_max: usize,
    },
}

impl FileError {
    /// For `map_err`: what was tried on which file.
    pub(crate) fn failed(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::Failed { what, path, source }
    }

    /// Whether the file is not there.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Failed { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }
}

/// Tells one state of a file from the next: device, inode, size and times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileIdentity {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl FileIdentity {
    /// What `path` is now, links followed.
    ///
    /// # Errors
    /// [`FileError::Failed`].
    pub fn of(path: &Path) -> Result<Self, FileError> {
        fs::metadata(path)
            .map(|about| Self::from_metadata(&about))
            .map_err(FileError::failed("read", path))
    }

    fn from_metadata(about: &Metadata) -> Self {
        Self {
            device: about.dev(),
            inode: about.ino(),
            size: about.size(),
            modified: (about.mtime(), about.mtime_nsec()),
            changed: (about.ctime(), about.ctime_nsec()),
        }
    }
}

/// Reads the file at `path`, links followed, if it has at most `bytes_max` bytes (FILE-4).
///
/// # Errors
/// [`FileError`].
pub fn read(path: &Path, bytes_max: usize) -> Result<(Vec<u8>, FileIdentity), FileError> {
    let read_error = || FileError::failed("read", path);
    let file = OpenOptions::new()
        .read(true)
        // Or opening a pipe would wait for a writer.
        .custom_flags(libc::O_NONBLOCK)
        .open(path)
        .map_err(read_error())?;
    let about = file.metadata().map_err(read_error())?;
    if !about.is_file() {
        return Err(FileError::NotAFile(path.to_path_buf()));
    }
    // Room for all of it, and for seeing that it ends: what is secret leaves no copy behind where a vector grows.
    let size = usize::try_from(about.size()).unwrap_or(usize::MAX);
    let mut bytes = Vec::with_capacity(size.min(bytes_max).saturating_add(1));
    file.take((bytes_max as u64).saturating_add(1))
        .read_to_end(&mut bytes)
        .map_err(read_error())?;
    if bytes.len() > bytes_max {
        return Err(FileError::TooLarge {
            path: path.to_path_buf(),
            bytes_max,
        });
    }
    Ok((bytes, FileIdentity::from_metadata(&about)))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn no_more_is_read_than_was_asked_for() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("file");
        fs::write(&path, [7; 100]).expect("it is written");
        assert_eq!(read(&path, 100).expect("exactly at the limit").0, [7; 100]);
        assert!(matches!(
            read(&path, 99),
            Err(FileError::TooLarge { bytes_max: 99, .. })
        ));
        assert!(
            read(&folder.path().join("none"), 1)
                .expect_err("absent")
                .is_not_found()
        );
    }

    /// FILE-4
    #[test]
    fn a_pipe_makes_nobody_wait() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("pipe");
        assert!(
            Command::new("mkfifo")
                .arg(&path)
                .status()
                .expect("it runs")
                .success()
        );
        assert!(matches!(read(&path, 1), Err(FileError::NotAFile(_))));
        assert!(matches!(read(folder.path(), 1), Err(FileError::NotAFile(_))));
    }
}
