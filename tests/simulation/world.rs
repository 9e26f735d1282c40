//! Seeded worlds of clients, brokers and KMSs that know what real ones do, each a model of its own, with the whole
//! program between them or without; nothing but dice and a clock that is moved decides.

pub(crate) mod brokers;
#[allow(
    dead_code,
    unused_imports,
    reason = "a world of its own kind uses its own part"
)]
pub(crate) mod clients;
#[allow(dead_code)]
pub(crate) mod crowd;
mod direct;
pub(crate) mod kms;
pub(crate) mod proxied;
