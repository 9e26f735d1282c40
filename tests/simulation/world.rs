//! A seeded world around the whole program: clients, brokers and KMSs that know what real ones do, each a model of its
//! own; nothing but dice and a clock that is moved decides.

pub(crate) mod brokers;
#[allow(
    dead_code,
    unused_imports,
    reason = "a world of its own kind uses its own part"
)]
pub(crate) mod clients;
mod direct;
pub(crate) mod kms;
