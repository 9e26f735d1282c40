//! What to do about a KEK that a KMS refuses: for the self-check and the command line, in words.

use super::{KmsError, KmsKind};
use crate::foreign::shell_word;
use crate::kms::keystore::MasterKeySource;

impl KmsKind {
    /// What somebody does who wants to use this KEK, of which the KMS says this.
    pub(crate) fn advice(&self, error: &KmsError, kek: &str) -> String {
        match error {
            KmsError::KekDisabled => match self.keystore_command("enable", kek) {
                Some(command) => format!("enable it: {command}"),
                None => "enable it there".to_owned(),
            },
            KmsError::KekDestroyed => "name another one".to_owned(),
            // A KMS that lets us use some KEKs says the same of those that it has not.
            KmsError::KekUnsuitable(_) => "name another one".to_owned(),
            KmsError::KekDenied(_) => "grant it, correct the name, or name another one".to_owned(),
            _ => match self.keystore_command("add", kek) {
                Some(command) => format!("correct the name, or add it: {command}"),
                None => "correct the name, or make it there".to_owned(),
            },
        }
    }

    /// A command of `sealwire keystore` for this KEK, to be pasted; `None`: it is no keystore.
    fn keystore_command(&self, command: &str, kek: &str) -> Option<String> {
        #[cfg_attr(
            not(any(feature = "kms-aws", feature = "kms-vault")),
            expect(irrefutable_let_patterns, reason = "there are other KMSs with other features")
        )]
        let Self::File { path, master_key } = self else {
            return None;
        };
        let (option, value) = match master_key {
            MasterKeySource::File(path) => ("--master-key-file", path.to_string_lossy()),
            MasterKeySource::Environment(name) => ("--master-key-env", name.into()),
            MasterKeySource::PassphraseFile(path) => ("--passphrase-file", path.to_string_lossy()),
            MasterKeySource::SystemdCredential(name) => ("--systemd-credential", name.into()),
        };
        Some(format!(
            "sealwire keystore {command} {} {} {option} {}",
            shell_word(&path.to_string_lossy()),
            shell_word(kek),
            shell_word(&value)
        ))
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    #[test]
    fn what_is_advised_of_a_keystore_can_be_pasted() {
        let keystore = KmsKind::File {
            path: PathBuf::from("my keys/keystore.json"),
            master_key: MasterKeySource::File(PathBuf::from("master.key")),
        };
        assert_eq!(
            keystore.advice(&KmsError::KekNotFound, "record-keys"),
            "correct the name, or add it: sealwire keystore add 'my keys/keystore.json' record-keys \
             --master-key-file master.key"
        );
        assert_eq!(
            keystore.advice(&KmsError::KekDisabled, "record-keys"),
            "enable it: sealwire keystore enable 'my keys/keystore.json' record-keys --master-key-file master.key"
        );
    }
}
