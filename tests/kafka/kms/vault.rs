//! The transit engine of a real OpenBao, by a token that stands in a file.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use super::EVENTUALLY;
use super::under_test::{KmsUnderTest, NetworkKms, Revocation};
use crate::support::openbao::OpenBao;
use crate::support::secret_files::write_secret;
use crate::support::wait;

pub(super) struct Vault {
    server: Mutex<OpenBao>,
    /// KEKs, and the backups of those that were deleted.
    keks: Mutex<BTreeMap<String, Option<String>>>,
    /// Tokens of the proxy; the last one is in the file.
    tokens: Mutex<Vec<String>>,
}

impl Vault {
    pub(super) fn start() -> Self {
        let vault = Self {
            server: Mutex::new(done(OpenBao::start_kept())),
            keks: Mutex::default(),
            tokens: Mutex::default(),
        };
        vault.replace_credentials(Duration::from_secs(3600));
        vault
    }

    fn server(&self) -> MutexGuard<'_, OpenBao> {
        self.server.lock().expect("no scenario has failed")
    }

    fn tokens(&self) -> MutexGuard<'_, Vec<String>> {
        self.tokens.lock().expect("no scenario has failed")
    }

    fn keks(&self) -> MutexGuard<'_, BTreeMap<String, Option<String>>> {
        self.keks.lock().expect("no scenario has failed")
    }

    fn token_file(&self) -> PathBuf {
        self.server().folder().join("token")
    }

    fn post(&self, path: &str, body: Value) -> Value {
        done(self.server().post(path, body))
    }

    fn configure(&self, kek: &str, body: Value) {
        self.post(&format!("transit/keys/{kek}/config"), body);
    }

    /// The proxy may use these KEKs, and nothing else.
    fn grant<'a>(&self, keks: impl Iterator<Item = &'a String>) {
        let rules: String = keks.map(|kek| OpenBao::rights_to(kek)).collect();
        done(self.server().set_policy("proxy", &rules));
    }

    fn refuse(&self, tokens: &[String]) {
        for token in tokens {
            self.post("auth/token/revoke", json!({ "token": token }));
        }
    }
}

impl KmsUnderTest for Vault {
    fn name(&self) -> &'static str {
        "vault"
    }

    fn table(&self) -> String {
        let token = self.token_file();
        let address = self.server().address();
        format!(
            "provider = \"vault\"\naddress = {address:?}\nallow_plaintext = true\n\
             login = {{ method = \"token\", token = {{ file = {token:?} }} }}"
        )
    }

    fn make(&self, kek: &str) {
        let with_backup = json!({ "exportable": true, "allow_plaintext_backup": true });
        self.post(&format!("transit/keys/{kek}"), with_backup);
        self.configure(kek, json!({ "deletion_allowed": true }));
        self.keks().insert(kek.to_owned(), None);
        self.grant(self.keks().keys());
    }

    fn rotate(&self, kek: &str) {
        self.post(&format!("transit/keys/{kek}/rotate"), json!({}));
    }

    fn revocations(&self) -> &'static [Revocation] {
        &[
            Revocation::Disabled,
            Revocation::Withdrawn,
            Revocation::Deleted,
            Revocation::FormerVersions,
        ]
    }

    fn revoke(&self, kek: &str, how: Revocation) {
        let path = format!("transit/keys/{kek}");
        match how {
            Revocation::Disabled => {
                done(
                    self.server()
                        .admin(Method::DELETE, &format!("{path}/soft-delete"), None),
                );
            }
            Revocation::Withdrawn => self.grant(self.keks().keys().filter(|other| *other != kek)),
            Revocation::Deleted => {
                let kept = done(
                    self.server()
                        .admin(Method::GET, &format!("transit/backup/{kek}"), None),
                );
                let backup = kept["data"]["backup"].as_str().expect("a backup").to_owned();
                self.keks().insert(kek.to_owned(), Some(backup));
                done(self.server().admin(Method::DELETE, &path, None));
            }
            Revocation::FormerVersions => {
                self.rotate(kek);
                self.configure(kek, json!({ "min_decryption_version": 2 }));
            }
        }
    }

    fn restore(&self, kek: &str, how: Revocation) {
        match how {
            Revocation::Disabled => {
                self.post(&format!("transit/keys/{kek}/soft-delete-restore"), json!({}));
            }
            Revocation::Withdrawn => self.grant(self.keks().keys()),
            Revocation::Deleted => {
                let backup = self.keks()[kek].clone();
                self.post(&format!("transit/restore/{kek}"), json!({ "backup": backup }));
            }
            Revocation::FormerVersions => self.configure(kek, json!({ "min_decryption_version": 1 })),
        }
    }
}

impl NetworkKms for Vault {
    fn stop(&self) {
        self.server().stop();
    }

    fn resume(&self) {
        done(self.server().restart());
    }

    fn freeze(&self) {
        self.server().freeze();
    }

    fn thaw(&self) {
        self.server().thaw();
    }

    fn replace_credentials(&self, life: Duration) {
        let body = json!({ "policies": ["proxy"], "ttl": format!("{}s", life.as_secs()) });
        let made = self.post("auth/token/create", body);
        let token = made["auth"]["client_token"].as_str().expect("a token");
        write_secret(&self.token_file(), token);
        self.tokens().push(token.to_owned());
    }

    /// The server knows when the proxy has renewed its token: for the last time after it would have ended.
    fn outlive_credentials(&self, life: Duration) {
        let token = self.tokens().last().cloned();
        wait::until("the token to be renewed", life * 2 + EVENTUALLY, || {
            let known = self.post("auth/token/lookup", json!({ "token": token }));
            let seconds = |name: &str| known["data"][name].as_u64();
            let end = seconds("creation_time")? + life.as_secs();
            (seconds("last_renewal_time")? >= end).then_some(())
        });
    }

    fn refuse_former_credentials(&self) {
        let tokens = self.tokens().clone();
        let (_, former) = tokens.split_last().expect("there is one");
        self.refuse(former);
        self.tokens().drain(..former.len());
    }

    fn refuse_credentials(&self) {
        let tokens = std::mem::take(&mut *self.tokens());
        self.refuse(&tokens);
    }
}

/// What an administrator does, to its end.
pub(super) fn done<T>(does: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(does)
}
