//! Seeded worlds of clients, brokers and KMSs that know what real ones do, each a model of its own, with the whole
//! program between them or without; nothing but dice and a clock that is moved decides.

pub(crate) mod brokers;
pub(crate) mod clients;
pub(crate) mod crowd;
mod direct;
mod faults;
pub(crate) mod kms;
pub(crate) mod people;
pub(crate) mod proxied;

/// The brokers of a world.
const NODES: [i32; 3] = [1, 2, 3];
