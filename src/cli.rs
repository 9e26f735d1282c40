//! The sub-commands of the `sealwire` program, each of which takes its arguments and writes to what it is given.

pub mod inspect;
