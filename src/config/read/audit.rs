//! `[audit]`.

use super::node::{Node, unless_mistaken};
use super::written_files::check_audit_file;
use crate::config::{AuditConfig, AuditTarget, OnFull};

/// Reads the table.
pub(super) fn read_audit(table: Node<'_>) -> Option<AuditConfig> {
    let table = table.checked_table()?;
    let place = table.get("to");
    let to = place.and_then(|place| match place.as_text()?.as_str() {
        "" => {
            place.complain("this is empty", &place.example());
            None
        }
        "stdout" => Some(AuditTarget::Stdout),
        path => {
            let path = place.reader.sources.folder().join(path);
            check_audit_file(&place, &path);
            Some(AuditTarget::File(path))
        }
    });
    let on_full = table
        .written("on_full")
        .map(|place| match place.as_text()?.as_str() {
            "hold" => Some(OnFull::Hold),
            "drop" => Some(OnFull::Drop),
            _ => {
                place.complain("there is no such way", "write on_full = \"hold\" or \"drop\"");
                None
            }
        });
    Some(AuditConfig {
        to: to?,
        on_full: unless_mistaken(on_full)?.unwrap_or(OnFull::Hold),
    })
}
