//! Files that nobody but their owner may read, as an operator would replace them: at once, by renaming.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use sealwire::identity::sasl::credentials::Credentials;
use sealwire::identity::sasl::verifier::{Mechanism, Verifier};

/// Puts `text` there.
pub(crate) fn write_secret(path: &Path, text: &str) {
    let new = path.with_extension("new");
    fs::write(&new, text).expect("written");
    fs::set_permissions(&new, fs::Permissions::from_mode(0o600)).expect("mode 0600");
    fs::rename(&new, path).expect("in its place");
}

/// Puts a file of users and their passwords there, each by both hashes.
pub(crate) fn write_users(path: &Path, users: &[(&str, &str)]) {
    let mut credentials = Credentials::new().expect("random numbers");
    for (user, password) in users {
        for mechanism in [Mechanism::Sha256, Mechanism::Sha512] {
            let verifier = Verifier::new(mechanism, password.as_bytes(), 4096).expect("it is hashed");
            credentials.set(user, mechanism, verifier).expect("a name");
        }
    }
    write_secret(path, &credentials.text());
}
