//! A small file is made, or replaced whole and durably, by whoever holds its lock.

use std::fs::{self, File, OpenOptions, Permissions, TryLockError};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, fchown};
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::FileError;

/// Whose file it is, which decides what replacing it keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keeper {
    /// People keep it with the command line: a link at its path is followed, so that all names of the file have one
    /// lock and the link survives, and the file keeps its owner and mode, so that an administrator's change does not
    /// lock the proxy's user out.
    People,
    /// The running program keeps it: a link at its path is replaced, and the file belongs to whoever the program runs
    /// as.
    Program,
}

/// The right to replace the file at a path, until it is dropped (FILE-2).
pub struct FileLock {
    path: PathBuf,
    keeper: Keeper,
    _file: File,
}

impl FileLock {
    /// Waits for `patience` at most until no other process holds the lock.
    ///
    /// # Errors
    /// [`FileError::Locked`], [`FileError::Failed`].
    #[expect(
        clippy::disallowed_methods,
        reason = "whoever calls this may wait for a disk, and is no executor"
    )]
    pub fn acquire_within(path: &Path, keeper: Keeper, patience: Duration) -> Result<Self, FileError> {
        let (path, lock_path, file) = open(path, keeper)?;
        let begun = Instant::now();
        loop {
            match file.try_lock() {
                Ok(()) => {
                    return Ok(Self {
                        path,
                        keeper,
                        _file: file,
                    });
                }
                Err(TryLockError::WouldBlock) if begun.elapsed() < patience => sleep(LOCK_POLL_INTERVAL),
                Err(TryLockError::WouldBlock) => {
                    return Err(FileError::Locked {
                        path: lock_path,
                        patience,
                    });
                }
                Err(TryLockError::Error(error)) => return Err(FileError::failed("lock", &lock_path)(error)),
            }
        }
    }

    /// The file that is locked.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Replaces the file with `bytes`, mode 0600 unless it keeps its own ([`Keeper`]). On disk when this returns; on
    /// error the old file is still there.
    ///
    /// # Errors
    /// [`FileError::Failed`].
    pub fn replace(&self, bytes: &[u8]) -> Result<(), FileError> {
        let path = &self.path;
        let temporary = beside(path, NEW_SUFFIX);
        // What a writer left that died; the lock says that it is nobody's any more.
        match fs::remove_file(&temporary) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(FileError::failed("remove", &temporary)(error));
            }
            _ => {}
        }
        let written = self
            .write_new(&temporary, bytes)
            .and_then(|()| fs::rename(&temporary, path).map_err(FileError::failed("replace", path)));
        if written.is_err() {
            // The error that is reported is the first one.
            let _ = fs::remove_file(&temporary);
        }
        written?;
        sync_folder_of(path)
    }

    fn write_new(&self, temporary: &Path, bytes: &[u8]) -> Result<(), FileError> {
        let file = create_new(temporary)?;
        if self.keeper == Keeper::People
            && let Ok(old) = fs::metadata(&self.path)
        {
            let new = file.metadata().map_err(FileError::failed("read", temporary))?;
            if (old.uid(), old.gid()) != (new.uid(), new.gid()) {
                fchown(&file, Some(old.uid()), Some(old.gid()))
                    .map_err(FileError::failed("give its owner to", temporary))?;
            }
            // Last: whoever owned it before might be let in.
            file.set_permissions(Permissions::from_mode(old.mode() & MODE_BITS))
                .map_err(FileError::failed("give its mode to", temporary))?;
        }
        write_all(file, temporary, bytes)
    }
}

/// Makes a file of `bytes` where there is none, mode 0600. On disk when this returns.
///
/// # Errors
/// [`FileError::Failed`]; when writing failed, a part of the file may be there.
pub fn create(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    write_all(create_new(path)?, path, bytes)?;
    sync_folder_of(path)
}

/// Follows no link, and takes nothing that is there (FILE-3).
fn create_new(path: &Path) -> Result<File, FileError> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .map_err(FileError::failed("create", path))
}

fn write_all(mut file: File, path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    file.write_all(bytes)
        .and_then(|()| file.sync_all())
        .map_err(FileError::failed("write", path))
}

/// The path that will be replaced, the lock file's, and the lock file.
fn open(path: &Path, keeper: Keeper) -> Result<(PathBuf, PathBuf, File), FileError> {
    let path = match keeper {
        Keeper::People => fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf()),
        Keeper::Program => path.to_path_buf(),
    };
    let lock_path = beside(&path, LOCK_SUFFIX);
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
        .open(&lock_path)
        .map_err(FileError::failed("create the lock file", &lock_path))?;
    Ok((path, lock_path, file))
}

/// The file whose name is `path`'s and `suffix`: two files never share one.
pub(crate) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(suffix);
    path.with_file_name(name)
}

/// Makes a name that was created or replaced in `path`'s folder durable.
///
/// # Errors
/// [`FileError::Failed`].
fn sync_folder_of(path: &Path) -> Result<(), FileError> {
    let folder = match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(FileError::failed("sync", folder))
}

/// Of the new content, until it is in place.
pub(crate) const NEW_SUFFIX: &str = ".new";
/// Of the lock file.
pub(crate) const LOCK_SUFFIX: &str = ".lock";

/// Who may read, write and execute.
const MODE_BITS: u32 = 0o777;

/// A writer holds the lock for as long as a disk takes.
const LOCK_POLL_INTERVAL: Duration = Duration::from_millis(5);

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::os::unix::fs::symlink;

    use tempfile::TempDir;

    use super::*;

    fn folder() -> TempDir {
        tempfile::tempdir().expect("a temporary folder")
    }

    fn replace(path: &Path, keeper: Keeper, bytes: &[u8]) -> Result<(), FileError> {
        FileLock::acquire_within(path, keeper, Duration::ZERO)?.replace(bytes)
    }

    /// FILE-3
    #[test]
    fn planted_links_are_not_followed() {
        for keeper in [Keeper::People, Keeper::Program] {
            let folder = folder();
            let (path, victim) = (folder.path().join("file"), folder.path().join("victim"));
            fs::write(&victim, "untouched").expect("it is written");
            symlink(&victim, folder.path().join("file.new")).expect("a link");
            replace(&path, keeper, b"new").expect("it is replaced");
            assert_eq!(fs::read(&path).expect("a file"), b"new");

            fs::remove_file(folder.path().join("file.lock")).expect("the lock file stays");
            symlink(&victim, folder.path().join("file.lock")).expect("a link");
            let error = replace(&path, keeper, b"newer").expect_err("the lock is a link");
            assert!(error.to_string().contains("file.lock"), "{error}");
            assert_eq!(fs::read(&path).expect("a file"), b"new");
            assert_eq!(fs::read(&victim).expect("a file"), b"untouched");
        }
    }

    #[test]
    fn a_link_is_followed_for_people_and_replaced_for_the_program() {
        let folder = folder();
        let (path, target) = (folder.path().join("link"), folder.path().join("target"));
        fs::write(&target, "old").expect("it is written");
        symlink(&target, &path).expect("a link");
        replace(&path, Keeper::People, b"of people").expect("it is replaced");
        assert_eq!(fs::read(&target).expect("a file"), b"of people");
        replace(&path, Keeper::Program, b"of the program").expect("it is replaced");
        assert_eq!(fs::read(&target).expect("a file"), b"of people");
        assert_eq!(fs::read(&path).expect("a file"), b"of the program");
    }

    #[test]
    fn a_file_of_people_keeps_its_mode_and_any_other_is_private() {
        let folder = folder();
        let path = folder.path().join("file");
        let mode = || fs::metadata(&path).expect("a file").mode() & 0o7777;
        for keeper in [Keeper::People, Keeper::Program] {
            replace(&path, keeper, b"first").expect("it is made");
            assert_eq!(mode(), 0o600, "{keeper:?}");
            fs::set_permissions(&path, Permissions::from_mode(0o4640)).expect("it is ours");
            replace(&path, keeper, b"second").expect("it is replaced");
            let kept = if keeper == Keeper::People { 0o640 } else { 0o600 };
            assert_eq!(mode(), kept, "{keeper:?}");
            fs::remove_file(&path).expect("it is there");
        }
    }

    #[test]
    fn files_that_differ_in_their_extension_share_nothing() {
        let folder = folder();
        let (one, other) = (folder.path().join("nodes.a"), folder.path().join("nodes.b"));
        let held = FileLock::acquire_within(&one, Keeper::Program, Duration::ZERO).expect("it is free");
        FileLock::acquire_within(&other, Keeper::Program, Duration::ZERO)
            .expect("another file")
            .replace(b"other")
            .expect("it is written");
        held.replace(b"one").expect("it is written");
        assert_eq!(fs::read(&one).expect("a file"), b"one");
        assert_eq!(fs::read(&other).expect("a file"), b"other");
    }

    /// FILE-1
    #[test]
    fn readers_see_the_old_content_or_the_new_one() {
        let folder = folder();
        let path = folder.path().join("file");
        create(&path, b"old").expect("there is none");
        assert!(create(&path, b"other").is_err(), "there is one");
        let mut reader = File::open(&path).expect("it is there");
        replace(&path, Keeper::Program, b"the new one").expect("it is replaced");
        let mut seen = Vec::new();
        reader.read_to_end(&mut seen).expect("it is still whole");
        assert_eq!(seen, b"old");
        assert_eq!(fs::read(&path).expect("a file"), b"the new one");
        assert!(!beside(&path, NEW_SUFFIX).exists());
    }

    /// FILE-2
    #[test]
    fn one_writer_at_a_time() {
        let folder = folder();
        let path = folder.path().join("file");
        let held = FileLock::acquire_within(&path, Keeper::Program, Duration::ZERO).expect("it is free");
        let second = || FileLock::acquire_within(&path, Keeper::Program, Duration::from_millis(20));
        let error = second().err().expect("it is held").to_string();
        assert!(error.contains("file.lock for 20ms"), "{error}");
        drop(held);
        assert!(second().is_ok());
    }
}
