//! A file keystore, made with the program's own commands.

use std::path::PathBuf;
use std::process::Command;

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

    /// A configuration that begins with these tables and has this keystore as the KMS `local`.
    pub(crate) fn configuration(&self, tables: &str) -> Configuration {
        Configuration::with(tables).keystore("local", &self.path(), &self.master_key())
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
