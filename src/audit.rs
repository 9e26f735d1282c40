//! What is told to whoever has to know what became of records, and who was there: declared once ([`event`]), and
//! written in one place ([`log`]): to the log, or by a thread of its own to a file ([`writer`]).
//!
//! It never holds record data, and decides about nothing but whether it can go on ([`state`]).

mod event;
mod key_event;
mod log;
mod queue;
mod state;
mod writer;

pub(crate) use event::shown;
pub use event::{
    AuditEvent, AuditedKek, BrokerLogin, EventClass, KekName, Login, Operation, Reason, RefusedRecords,
    RefusedRequest,
};
pub(crate) use log::AuditLog;
pub use queue::{AUDIT_EVENTS_MAX, AuditList, AuditQueue};
pub use state::AuditState;
