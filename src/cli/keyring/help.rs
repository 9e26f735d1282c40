//! Examples of `sealwire keyring`, for `--help`.

/// Of all commands.
pub(super) const EXAMPLES: &str = "\
Examples:
  sealwire keystore add keystore.json record-keys --master-key-file master.key
  sealwire keyring create keyring.json
  sealwire keyring new keyring.json customers --config sealwire.toml --kms local --kek record-keys
  sealwire keyring assign keyring.json 'customers-*' customers
  sealwire check-config sealwire.toml --probe

Exit codes: 0 success, 1 failure at run time, 2 mistake in arguments or configuration.
docs/keyring.md says what has to be backed up, and docs/keys-of-records.md what sealing record keys means.";

pub(super) const CREATE: &str = "\
Example:
  sealwire keyring create keyring.json

Exit codes: 0 success, 1 failure at run time, 2 mistake in arguments or configuration.";

pub(super) const NEW: &str = "\
Example:
  sealwire keyring new keyring.json customers --config sealwire.toml --kms local --kek record-keys

The KMS has to have the KEK; of a keystore: sealwire keystore add keystore.json record-keys --master-key-file master.key
Back the keyring up afterwards.

Exit codes: 0 success, 1 failure at run time, 2 mistake in arguments or configuration.";

pub(super) const ASSIGN: &str = "\
Examples:
  sealwire keyring assign keyring.json customers-eu customers
  sealwire keyring assign keyring.json 'customers-*' customers

Quote a pattern, or the shell replaces it by names of files.

Exit codes: 0 success, 1 failure at run time, 2 mistake in arguments or configuration.";

pub(super) const UNASSIGN: &str = "\
Example:
  sealwire keyring unassign keyring.json 'customers-*' --topic-is-gone

Exit codes: 0 success, 1 failure at run time, 2 mistake in arguments or configuration.";

pub(super) const REMOVE: &str = "\
Example:
  sealwire keyring remove keyring.json customers --confirm customers

Exit codes: 0 success, 1 failure at run time, 2 mistake in arguments or configuration.";

pub(super) const LIST: &str = "\
Example:
  sealwire keyring list keyring.json

Exit codes: 0 success, 1 failure at run time, 2 mistake in arguments or configuration.";

pub(super) const REWRAP: &str = "\
Examples:
  sealwire keyring rewrap keyring.json --config sealwire.toml
  sealwire keyring rewrap keyring.json customers --config sealwire.toml --kms vault --kek record-keys

Back the keyring up afterwards.

Exit codes: 0 success, 1 failure at run time, 2 mistake in arguments or configuration.";

pub(super) const FINGERPRINT: &str = "\
Examples:
  sealwire keyring fingerprint keyring.json
  sealwire keyring fingerprint keyring.json customers-eu customers-us

/metrics has the fingerprint in sealwire_keyring_info.

Exit codes: 0 success, 1 failure at run time, 2 mistake in arguments or configuration.";
