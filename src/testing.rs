//! What tests, fuzzers and measurements need of the library, and the program does not: it is there with the feature
//! `testing` only.

mod batch_builder;
mod compressing;
mod faulty_kms;

pub use batch_builder::{BatchBuilder, RecordInput, fit_length_and_crc};
pub use compressing::{CompressError, compress};
pub use faulty_kms::{Faults, FaultyKms};
