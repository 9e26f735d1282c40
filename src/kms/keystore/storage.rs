//! The keystore's file: read whole and bounded, replaced whole and durably, by one writer at a time.
//!
//! - STORAGE-1: a file is replaced by rename, after its bytes are on disk; the folder is synced after it.
//! - STORAGE-2: whoever changes the keystore holds [`KeystoreLock`] from before reading until after writing. The lock is the
//!   kernel's (flock), so it ends with its process; the lock file stays.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, fchown};
use std::path::{Path, PathBuf};

use super::{KEYSTORE_BYTES_MAX, KeystoreError};

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
    /// [`KeystoreError::File`].
    pub fn of(path: &Path) -> Result<Self, KeystoreError> {
        fs::metadata(path)
            .map(|about| Self::from_metadata(&about))
            .map_err(KeystoreError::file("read", path))
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

/// Reads a keystore file. Blocks; at most [`KEYSTORE_BYTES_MAX`] bytes are read.
///
/// # Errors
/// [`KeystoreError::File`], [`KeystoreError::NotAFile`], [`KeystoreError::TooLarge`].
pub fn read_file(path: &Path) -> Result<(Vec<u8>, FileIdentity), KeystoreError> {
    let read_error = || KeystoreError::file("read", path);
    // Before it is opened: opening a pipe would wait for a writer.
    if !fs::metadata(path).map_err(read_error())?.is_file() {
        return Err(KeystoreError::NotAFile(path.to_path_buf()));
    }
    let file = File::open(path).map_err(read_error())?;
    let identity = FileIdentity::from_metadata(&file.metadata().map_err(read_error())?);
    let mut bytes = Vec::new();
    file.take(KEYSTORE_BYTES_MAX as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(read_error())?;
    if bytes.len() > KEYSTORE_BYTES_MAX {
        return Err(KeystoreError::TooLarge(path.to_path_buf()));
    }
    Ok((bytes, identity))
}

/// The right to change the keystore at `path`, until it is dropped.
pub struct KeystoreLock {
    path: PathBuf,
    _file: File,
}

impl KeystoreLock {
    /// Waits until no other process holds the lock. A link at `path` is followed first, so that all names of a keystore have
    /// one lock and the link survives a change.
    ///
    /// # Errors
    /// [`KeystoreError::File`].
    pub fn acquire(path: &Path) -> Result<Self, KeystoreError> {
        let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
        let mut name = path.file_name().unwrap_or_default().to_os_string();
        name.push(".lock");
        let lock_path = path.with_file_name(name);
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&lock_path)
            .map_err(KeystoreError::file("create the lock file", &lock_path))?;
        file.lock().map_err(KeystoreError::file("lock", &lock_path))?;
        Ok(Self { path, _file: file })
    }

    /// The keystore that is locked.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Replaces the locked keystore with `bytes`, mode 0600. On disk when this returns; on error the old file is still there.
/// A file that was there keeps its owner, so that an administrator's change does not lock the proxy's user out.
///
/// # Errors
/// [`KeystoreError::File`].
pub fn write_file(lock: &KeystoreLock, bytes: &[u8]) -> Result<(), KeystoreError> {
    let path = lock.path();
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(".new");
    let temporary = path.with_file_name(name);
    // What a writer left that died; the lock says that it is nobody's any more.
    match fs::remove_file(&temporary) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(KeystoreError::file("remove", &temporary)(error));
        }
        _ => {}
    }
    let written = write_new(&temporary, path, bytes)
        .and_then(|()| fs::rename(&temporary, path).map_err(KeystoreError::file("replace", path)));
    if written.is_err() {
        // The error that is reported is the first one.
        let _ = fs::remove_file(&temporary);
    }
    written?;
    sync_folder_of(path)
}

fn write_new(temporary: &Path, replaced: &Path, bytes: &[u8]) -> Result<(), KeystoreError> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(temporary)
        .map_err(KeystoreError::file("create", temporary))?;
    if let Ok(old) = fs::metadata(replaced) {
        let new = file.metadata().map_err(KeystoreError::file("read", temporary))?;
        if (old.uid(), old.gid()) != (new.uid(), new.gid()) {
            fchown(&file, Some(old.uid()), Some(old.gid()))
                .map_err(KeystoreError::file("give its owner to", temporary))?;
        }
    }
    file.write_all(bytes)
        .and_then(|()| file.sync_all())
        .map_err(KeystoreError::file("write", temporary))
}

/// Makes a name that was created or replaced in `path`'s folder durable.
pub(super) fn sync_folder_of(path: &Path) -> Result<(), KeystoreError> {
    let folder = match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(KeystoreError::file("sync", folder))
}
