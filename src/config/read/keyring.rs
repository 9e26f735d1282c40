//! `[keyring]`.

use std::path::PathBuf;

use super::keystores::{Secrecy, read_path_of};
use super::node::Node;
use crate::keyring;

/// Reads the table: where the keyring is.
pub(super) fn read_keyring(table: Node<'_>) -> Option<PathBuf> {
    let table = table.checked_table()?;
    let place = table.get("path")?;
    read_path_of(
        &place,
        Secrecy::Public,
        "make it with `sealwire keyring create`, or correct the path",
        "restore it from a backup, or correct the path",
        |path| keyring::read_file(path).map(drop),
    )
}
