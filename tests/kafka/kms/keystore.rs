//! The embedded keystore.

use super::under_test::{KmsUnderTest, Revocation};
use crate::support::keystore::Keystore;

pub(super) struct FileKeystore(Keystore);

impl FileKeystore {
    pub(super) fn start() -> Self {
        Self(Keystore::create(&["first"]))
    }

    fn change(&self, command: &str, kek: &str, how: Revocation) {
        let version: &[&str] = match how {
            Revocation::FormerVersions => &["--key-version", "1"],
            _ => &[],
        };
        self.0.command(command, &[&[kek], version].concat());
    }
}

impl KmsUnderTest for FileKeystore {
    fn name(&self) -> &'static str {
        "file"
    }

    fn table(&self) -> String {
        let (path, master_key) = (self.0.path(), self.0.master_key());
        format!("provider = \"file\"\npath = {path:?}\nmaster_key = {{ file = {master_key:?} }}")
    }

    fn make(&self, kek: &str) {
        self.0.command("add", &[kek]);
    }

    fn rotate(&self, kek: &str) {
        self.0.command("rotate", &[kek]);
    }

    fn revocations(&self) -> &'static [Revocation] {
        &[Revocation::Disabled, Revocation::FormerVersions]
    }

    fn revoke(&self, kek: &str, how: Revocation) {
        if how == Revocation::FormerVersions {
            self.rotate(kek);
        }
        self.change("disable", kek, how);
    }

    fn restore(&self, kek: &str, how: Revocation) {
        self.change("enable", kek, how);
    }
}
