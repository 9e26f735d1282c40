//! Examples of `sealwire keyring`, for `--help`.

macro_rules! exit_codes {
    () => {
        "Exit codes: 0 success, 1 failure at run time, 2 mistake in arguments or configuration."
    };
}

/// Of all commands.
pub(super) const EXAMPLES: &str = concat!(
    "\
Examples:
  sealwire keystore add keystore.json record-keys --master-key-file master.key
  sealwire keyring create keyring.json
  sealwire keyring new keyring.json customers --config sealwire.toml --kms local --kek record-keys
  sealwire keyring assign keyring.json 'customers-*' customers
  sealwire check-config sealwire.toml --probe

",
    exit_codes!(),
    "\ndocs/keyring.md says what has to be backed up, and docs/keys-of-records.md what sealing record keys means."
);

pub(super) const CREATE: &str = concat!(
    "\
Example:
  sealwire keyring create keyring.json

",
    exit_codes!()
);

pub(super) const NEW: &str = concat!(
    "\
Example:
  sealwire keyring new keyring.json customers --config sealwire.toml --kms local --kek record-keys

The KMS has to have the KEK; of a keystore: sealwire keystore add keystore.json record-keys --master-key-file master.key
Back the keyring up afterwards.

",
    exit_codes!()
);

pub(super) const ASSIGN: &str = concat!(
    "\
Examples:
  sealwire keyring assign keyring.json customers-eu customers
  sealwire keyring assign keyring.json 'customers-*' customers

Quote a pattern, or the shell replaces it by names of files.

",
    exit_codes!()
);

pub(super) const UNASSIGN: &str = concat!(
    "\
Example:
  sealwire keyring unassign keyring.json 'customers-*' --topic-is-gone

",
    exit_codes!()
);

pub(super) const REMOVE: &str = concat!(
    "\
Example:
  sealwire keyring remove keyring.json customers --confirm customers

",
    exit_codes!()
);

pub(super) const LIST: &str = concat!(
    "\
Example:
  sealwire keyring list keyring.json

",
    exit_codes!()
);

pub(super) const REWRAP: &str = concat!(
    "\
Examples:
  sealwire keyring rewrap keyring.json --config sealwire.toml
  sealwire keyring rewrap keyring.json customers --config sealwire.toml --kms vault --kek record-keys

Back the keyring up afterwards.

",
    exit_codes!()
);

pub(super) const FINGERPRINT: &str = concat!(
    "\
Examples:
  sealwire keyring fingerprint keyring.json
  sealwire keyring fingerprint keyring.json customers-eu customers-us

/metrics has the fingerprint in sealwire_keyring_info.

",
    exit_codes!()
);
