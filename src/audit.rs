//! What is told to whoever has to know what became of records, and who was there: declared once ([`event`]), and
//! written in one place ([`log`]).
//!
//! It never holds record data, and decides about nothing.

mod event;
mod log;

pub use event::{
    AUDIT_EVENTS_MAX, AuditEvent, AuditList, AuditQueue, KekName, Operation, Reason, RefusedRecords,
    RefusedRequest,
};
pub(crate) use log::AuditLog;
