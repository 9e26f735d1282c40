//! What tests, fuzzers and measurements need of the library, and the program does not: it is there with the feature
//! `testing` only.

pub mod authority;
mod batch_builder;
mod client_hello;
mod compressing;
mod faulty_kms;
mod https_server;
pub mod kms_faults;
mod memory_stream;
pub mod renewed_login;
mod sealed_batch;
pub mod simulated;
pub mod subjects;
pub mod tls_meeting;
mod tls_peer;
pub mod tokens;

/// Texts of configurations, as the tests of the whole program write them.
#[cfg(test)]
#[expect(dead_code, reason = "some of it only they need")]
#[path = "../tests/support/configuration.rs"]
pub(crate) mod configuration;

pub use batch_builder::{BatchBuilder, RecordInput, fit_length_and_crc};
pub use client_hello::client_hello;
pub use compressing::{CompressError, compress};
pub use faulty_kms::{Faults, FaultyKms};
pub use https_server::{HttpsServer, Published};
pub use memory_stream::MemoryStream;
pub use sealed_batch::{BatchSeals, SealedBatch};
pub use tls_peer::TlsPeer;

#[cfg(test)]
impl<'a> configuration::Cluster<'a> {
    /// One with everything that a configuration has to have, and these rules; nobody connects.
    pub(crate) fn ruled(rules: &'a str) -> Self {
        Self {
            brokers: vec!["kafka-1:9092".to_owned()],
            port: 9192,
            nodes: vec![(0, 9193)],
            rules,
            ..Self::default()
        }
    }
}
