//! A file keystore, made with the program's own commands.

use std::path::{Path, PathBuf};
use std::process::Command;

use futures_lite::future::block_on;
use sealwire::keyring::{Keyring, lock_file, read_file};
use sealwire::kms::Kms as _;
use sealwire::kms::file::FileKms;
use sealwire::kms::keystore::MasterKeySource;

use super::cache;
use super::configuration::Configuration;
use super::launch::DataFolder;

/// Several proxies may share one, and then read what the others have written.
#[derive(Debug)]
pub(crate) struct Keystore {
    folder: DataFolder,
}

impl Keystore {
    /// Creates a keystore with these KEKs.
    pub(crate) fn create(keks: &[&str]) -> Self {
        let keystore = Keystore {
            folder: DataFolder::create("keystore"),
        };
        keystore.command("create", &[]);
        keystore.command("add", keks);
        keystore
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join("keystore.json")
    }

    pub(crate) fn master_key(&self) -> PathBuf {
        self.folder.path().join("master.key")
    }

    /// A configuration that begins with these tables and has this keystore as the KMS `local`, and the keyring if there
    /// is one.
    pub(crate) fn configuration(&self, tables: &str) -> Configuration {
        let mut tables = tables.to_owned();
        if self.keyring().exists() {
            tables.push_str(&format!("\n[keyring]\npath = {:?}\n", self.keyring()));
        }
        Configuration::with(&tables).keystore("local", &self.path(), &self.master_key())
    }

    pub(crate) fn keyring(&self) -> PathBuf {
        self.folder.path().join("keyring.json")
    }

    /// Makes a stable key under this KEK for each of these domains, or patterns of domains, in the keyring.
    pub(crate) fn add_stable_keys(&self, kek: &str, domains: &[&str]) {
        let kms = FileKms::open(&self.path(), &MasterKeySource::File(self.master_key()));
        add_stable_keys(&self.keyring(), &kms.expect("the keystore"), kek, domains);
    }

    /// Gives this domain the stable key of this name, as one whose topic is new; gives the key's id.
    pub(crate) fn assign_to_new(&self, domain: &str, key: &str) -> String {
        let (mut keyring, _) = read_file(&self.keyring()).expect("the keyring");
        let id = keyring.named(key).expect("a key").id();
        keyring.assign(domain, id, true).expect("a pin");
        let lock = lock_file(&self.keyring()).expect("the keyring's lock");
        lock.replace(&keyring.to_json().expect("a document"))
            .expect("written");
        id.to_string()
    }

    /// `sealwire keystore COMMAND KEYSTORE ARGUMENTS`; gives what it prints.
    pub(crate) fn command(&self, command: &str, arguments: &[&str]) -> String {
        let mut program = Command::new(env!("CARGO_BIN_EXE_sealwire"));
        program
            .args(["keystore", command])
            .arg(self.path())
            .args(arguments);
        program.arg("--master-key-file").arg(self.master_key());
        cache::run(&mut program)
    }
}

/// The same in this keyring, which is made where there is none.
pub(crate) fn add_stable_keys(keyring_path: &Path, kms: &FileKms, kek: &str, domains: &[&str]) {
    let mut keyring = match read_file(keyring_path) {
        Ok((keyring, _)) => keyring,
        Err(_) => Keyring::default(),
    };
    for domain in domains {
        let made = block_on(kms.generate_dek(kek)).expect("a key");
        let name = format!("key-{}", keyring.keys().len());
        let id = keyring.add(&name, &made.dek, &made.wrapped, 1_700_000_000);
        keyring
            .assign(domain, id.expect("a new key"), false)
            .expect("a new pin");
    }
    let lock = lock_file(keyring_path).expect("the keyring's lock");
    lock.replace(&keyring.to_json().expect("a document"))
        .expect("written");
}
