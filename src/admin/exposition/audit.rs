//! The audit log, where there is an `[audit]`.

use std::fmt::Error;

use super::Exposition;
use super::families::{Families, NONE};

impl Exposition {
    pub(super) fn audit(&self, families: &mut Families<'_>) -> Result<(), Error> {
        let audit = &self.collection.audit;
        let is_on = audit.is_on();
        families.counter(
            "sealwire_audit_written",
            "Lines of the audit log that were written",
            None,
            is_on.then(|| (NONE, audit.written())),
        )?;
        families.counter(
            "sealwire_audit_dropped",
            "Events that are not in the audit log because there was no room for them",
            None,
            is_on.then(|| (NONE, audit.dropped())),
        )?;
        families.gauge(
            "sealwire_audit_held",
            "Whether all that is audited waits because the audit log cannot be written",
            None,
            is_on.then(|| (NONE, u64::from(audit.holds()))),
        )
    }
}
