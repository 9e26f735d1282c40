//! `[keyring]`.

use std::path::PathBuf;

use super::keystores::{Secrecy, read_path_of};
use super::node::Node;
use crate::foreign::shell_word;
use crate::keyring;

/// Reads the table: where the keyring is.
pub(super) fn read_keyring(table: Node<'_>) -> Option<PathBuf> {
    let table = table.checked_table()?;
    let place = table.get("path")?;
    let path = place
        .reader
        .sources
        .folder()
        .join(place.value.as_str().unwrap_or_default());
    let create = format!("sealwire keyring create {}", shell_word(&path.to_string_lossy()));
    read_path_of(
        &place,
        Secrecy::Public,
        &format!("correct the path; if there is no keyring yet, make it with: {create}"),
        "restore it from a backup, or correct the path",
        |path| keyring::read_file(path).map(drop),
    )
}
