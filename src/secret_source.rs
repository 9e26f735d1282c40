//! Where a secret comes from that never stands in a configuration.
//!
//! - SECRET-SOURCE-1: a file that others than its owner may access is refused, and no more of it is read than a secret
//!   has.
//! - secrets are read into memory that is wiped, and no message repeats a byte of them.
#![expect(clippy::disallowed_methods, reason = "a secret may come from the environment")]

use std::env;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretSource {
    /// A file that only its owner may access.
    File(PathBuf),
    /// An environment variable.
    Environment(String),
    /// A file of this name in `$CREDENTIALS_DIRECTORY` (systemd.exec, LoadCredential=). systemd guards the folder, so
    /// the mode of the file is not looked at.
    SystemdCredential(String),
}

/// Why a secret cannot be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SecretError {
    /// A file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Others than its owner may access a file.
    #[error("{} can be accessed by others than its owner (mode {mode:04o}): run chmod 0600", path.display())]
    Permissions {
        /// Which file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// A file is longer than any secret.
    #[error("{} has more than {SECRET_BYTES_MAX} bytes", .0.display())]
    TooLong(PathBuf),
    /// There is no such variable, or it holds no text.
    #[error("the environment variable {0} is not set, or not text")]
    NoVariable(String),
    /// The service has no credentials.
    #[error("$CREDENTIALS_DIRECTORY is not set: the service's unit needs LoadCredential= for it")]
    NoCredentials,
    /// The name would lead out of the folder that systemd guards.
    #[error("{0:?} cannot name a systemd credential")]
    CredentialName(String),
}

impl SecretSource {
    /// Reads the secret. Blocks on a small file.
    ///
    /// # Errors
    /// [`SecretError`].
    pub fn read(&self) -> Result<Zeroizing<Vec<u8>>, SecretError> {
        match self {
            Self::File(path) => read_file(path, Access::OwnerOnly),
            Self::Environment(name) => match env::var(name) {
                Ok(value) => Ok(Zeroizing::new(value.into_bytes())),
                Err(_) => Err(SecretError::NoVariable(name.clone())),
            },
            Self::SystemdCredential(name) => {
                let folder = env::var_os("CREDENTIALS_DIRECTORY").ok_or(SecretError::NoCredentials)?;
                // A name with a slash in it would leave the folder that systemd guards.
                if name.is_empty() || name.contains('/') || name == ".." || name == "." {
                    return Err(SecretError::CredentialName(name.clone()));
                }
                read_file(&Path::new(&folder).join(name), Access::Guarded)
            }
        }
    }

    /// The same without one line end after it, as text.
    ///
    /// # Errors
    /// [`SecretError`]; `None` where it is empty, has several lines, or is no text.
    pub fn read_line(&self) -> Result<Option<Zeroizing<String>>, SecretError> {
        let bytes = self.read()?;
        let kept = without_line_end(&bytes);
        let is_line = |text: &&str| !text.is_empty() && !text.contains(['\r', '\n']);
        let text = std::str::from_utf8(kept).ok().filter(is_line);
        Ok(text.map(|text| Zeroizing::new(text.to_owned())))
    }

    /// The file that it is in, if it is in one that may change.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::File(path) => Some(path),
            Self::Environment(_) | Self::SystemdCredential(_) => None,
        }
    }
}

/// Editors and `echo` put one there.
#[must_use]
pub fn without_line_end(bytes: &[u8]) -> &[u8] {
    match bytes {
        [kept @ .., b'\r', b'\n'] | [kept @ .., b'\n'] => kept,
        all => all,
    }
}

/// Whether nobody but its owner may access a file that holds secrets (SECRET-SOURCE-1). It blocks.
///
/// # Errors
/// [`SecretError::Read`], [`SecretError::Permissions`].
pub fn check_owner_only(path: &Path) -> Result<(), SecretError> {
    let about = fs::metadata(path).map_err(|source| SecretError::Read {
        path: path.to_path_buf(),
        source,
    })?;
    // A pipe or /dev/stdin has no mode that would say anything.
    let mode = about.mode() & 0o7777;
    if about.is_file() && mode & 0o077 != 0 {
        return Err(SecretError::Permissions {
            path: path.to_path_buf(),
            mode,
        });
    }
    Ok(())
}

enum Access {
    OwnerOnly,
    Guarded,
}

/// Reads a small secret into memory that is wiped.
fn read_file(path: &Path, access: Access) -> Result<Zeroizing<Vec<u8>>, SecretError> {
    let failed = |source| SecretError::Read {
        path: path.to_path_buf(),
        source,
    };
    if matches!(access, Access::OwnerOnly) {
        check_owner_only(path)?;
    }
    // Room for all of it at once: growing would leave copies behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(SECRET_BYTES_MAX + 1));
    File::open(path)
        .and_then(|file| {
            file.take((SECRET_BYTES_MAX as u64).saturating_add(1))
                .read_to_end(&mut bytes)
        })
        .map_err(failed)?;
    if bytes.len() > SECRET_BYTES_MAX {
        return Err(SecretError::TooLong(path.to_path_buf()));
    }
    Ok(bytes)
}

/// Longest secret, in bytes: a token with many claims.
const SECRET_BYTES_MAX: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn file(text: &[u8], mode: u32) -> (tempfile::TempDir, SecretSource) {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("secret");
        fs::write(&path, text).expect("written");
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("its mode");
        (folder, SecretSource::File(path))
    }

    /// SECRET-SOURCE-1
    #[test]
    fn a_file_is_its_owners_and_short() {
        let (_folder, source) = file(b"hunter2\n", 0o600);
        assert_eq!(**source.read().expect("it is good"), *b"hunter2\n");
        let (_folder, source) = file(b"hunter2", 0o640);
        assert!(matches!(
            source.read(),
            Err(SecretError::Permissions { mode: 0o640, .. })
        ));
        let (_folder, source) = file(&[b'x'; SECRET_BYTES_MAX + 1], 0o600);
        assert!(matches!(source.read(), Err(SecretError::TooLong(_))));
        let nowhere = SecretSource::File("/nowhere/at/all".into());
        assert!(matches!(nowhere.read(), Err(SecretError::Read { .. })));
    }

    #[test]
    fn a_line_is_read_without_its_end() {
        for (text, expected) in [
            (&b"hunter2"[..], Some("hunter2")),
            (b"hunter2\n", Some("hunter2")),
            (b"hunter2\r\n", Some("hunter2")),
            (b"hunter2\n\n", None),
            (b"one\ntwo", None),
            (b" ", Some(" ")),
            (b"\n", None),
            (b"", None),
            (b"\xff", None),
        ] {
            let (_folder, source) = file(text, 0o600);
            let read = source.read_line().expect("it is good");
            assert_eq!(read.as_ref().map(|text| text.as_str()), expected, "{text:?}");
        }
    }

    #[test]
    fn what_is_not_there_is_said_without_a_secret() {
        let variable = SecretSource::Environment("SEALWIRE_NO_SUCH_VARIABLE".to_owned());
        let error = variable.read().expect_err("it is not set").to_string();
        assert!(error.contains("SEALWIRE_NO_SUCH_VARIABLE"), "{error}");
        assert!(SecretSource::SystemdCredential("../x".to_owned()).read().is_err());
    }
}
