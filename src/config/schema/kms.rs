//! `[kms.NAME]`.

use super::Preset::{Absent, Required};
use super::{Key, other, secret, table};

pub(super) const KEYS: &[Key] = &[
    table(
        "kms",
        Absent("only rules that do not seal are possible"),
        "Key management systems, each under a name that rules use.",
        "[kms.local]",
    ),
    table(
        "kms.*",
        Absent("only with rules that seal"),
        "One KMS. A KMS that no rule names is refused.",
        "[kms.local]",
    ),
    other(
        "kms.*.provider",
        "`\"file\"`",
        Required,
        "What kind of KMS it is. This version has `file`, the embedded keystore (`sealwire keystore create`).",
        "\"file\"",
    ),
    other(
        "kms.*.path",
        "path",
        Required,
        "The keystore file.",
        "\"keystore.json\"",
    ),
    secret(table(
        "kms.*.master_key",
        Required,
        "What unwraps the keystore: exactly one of the following four.",
        "{ file = \"master.key\" }",
    )),
    other(
        "kms.*.master_key.file",
        "path",
        Absent("another source"),
        "A key file of 32 random bytes; only its owner may read it (mode 0600).",
        "\"master.key\"",
    ),
    other(
        "kms.*.master_key.env",
        "variable name",
        Absent("another source"),
        "The name of an environment variable that holds the passphrase, or the 32 bytes of a key file in base64.",
        "\"KEYSTORE_PASSPHRASE\"",
    ),
    other(
        "kms.*.master_key.passphrase_file",
        "path",
        Absent("another source"),
        "A file that holds the passphrase; only its owner may read it (mode 0600).",
        "\"passphrase\"",
    ),
    other(
        "kms.*.master_key.systemd_credential",
        "credential name",
        Absent("another source"),
        "The name of a systemd credential (`LoadCredential=`) that holds the key file or the passphrase.",
        "\"sealwire-master-key\"",
    ),
];
